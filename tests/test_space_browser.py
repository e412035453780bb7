"""The page in a real browser: first load, each tab by mouse and keyboard, at two widths, light and dark."""

import pytest

from sngan_hub import load_generator, morph

from . import space_server
from .space_browser import (
    GRADIOS_OWN,
    TABS,
    browser,
    closed,
    cut,
    decoded,
    field,
    open_advanced,
    press,
    result,
    said,
    same_pixels,
    type_into,
    unloaded,
    visit,
)

browser, closed = browser, closed
served, page_url, client = space_server.served, space_server.page_url, space_server.client


@pytest.mark.slow
@pytest.mark.parametrize("width, theme", [
    (1280, "light"), (390, "dark"), *(pytest.param(*pair, marks=pytest.mark.soak) for pair in ((390, "light"), (1280, "dark"))),
])  # fmt: skip
def test_every_tab_opens_with_images_and_draws_anew(browser, page_url, width, theme):
    """Nothing is empty, cut, wider than the page, or hard to read; and nothing is asked of another host."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(browser, page_url, f"?__theme={theme}", width, color_scheme=theme)
    for tab in TABS:
        page.get_by_role("tab", name=tab.capitalize()).click()
        result(page, tab).wait_for()
        for moment in ("opened", "drawn"):
            if moment == "drawn":
                press(page, tab)
            if tab == "walk":  # the film plays
                page.wait_for_function("() => { const v = document.querySelector('#walk-result video'); return v && v.readyState >= 3 && v.duration > 3.9 }",
                                       timeout=30_000)  # fmt: skip
            else:
                assert page.locator(f"#{tab}-result img").count() and not unloaded(page, tab), f"{tab}, {moment}"
            assert field(page, f"{tab}-link").input_value().startswith(f"{page_url}/?tab={tab}&"), f"{tab}, {moment}"
            assert not page.locator(".field-error").count() and not page.locator(f"#{tab}-result.stale").count()
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{tab} is wider than the page"
            assert not cut(page), f"{tab}, {moment}, cut at {width} px: {cut(page)[:3]}"
            for fault in axe.run(page).response["violations"]:
                if fault["impact"] in ("serious", "critical"):
                    ours = [n["html"] for n in fault["nodes"] if GRADIOS_OWN.get(fault["id"], "\0") not in n["html"]]
                    assert not ours, f"{tab}, {theme}: {fault['id']}: {ours[:3]}"
    assert page.outside == []


@pytest.mark.slow
@pytest.mark.parametrize("width, theme", [(1280, "dark"), (390, "light")])
def test_an_image_opens_in_large_by_a_click(browser, page_url, width, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(browser, page_url, f"?__theme={theme}", width, color_scheme=theme)
    image, large = page.locator("#sample-result .cells img").nth(2), page.locator("dialog.enlarged")
    for close in (lambda: page.keyboard.press("Escape"), lambda: large.get_by_text("Close").click(), large.click):
        image.click()
        assert large.locator("img").get_attribute("src") == image.get_attribute("src")
        assert large.locator("p").inner_text() == image.get_attribute("alt")
        box = large.bounding_box()
        assert box["width"] > 300 and box["x"] >= 0 and box["x"] + box["width"] <= width
        assert box["y"] >= 0 and box["y"] + box["height"] <= page.viewport_size["height"]
        faults = [
            fault
            for fault in axe.run(page, "dialog.enlarged").response["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
        assert not faults
        close()
        large.wait_for(state="detached")


@pytest.mark.slow
def test_a_phone_shows_images_first_and_keeps_the_button_in_reach(browser, page_url):
    page = visit(browser, page_url, width=390)
    rows = page.locator("#sample-result .row")
    generator = load_generator("sngan_cifar10_small")
    assert rows.locator("h3").all_inner_texts() == generator.classes
    for i in range(3):  # one row per class, eight images beside each other, in the first screen
        boxes = [image.bounding_box() for image in rows.nth(i).locator("img").all()]
        assert len(boxes) == 8 and len({round(box["y"]) for box in boxes}) == 1 and boxes[0]["y"] < 844
        assert boxes[-1]["x"] + boxes[-1]["width"] <= 390
    page.locator("#sample-n").scroll_into_view_if_needed()
    button = page.locator("#sample-go").bounding_box()
    assert 0 < button["y"] < 900 - button["height"]
    for tab in TABS:  # the whole button takes a tap, whatever lies below it
        page.get_by_role("tab", name=tab.capitalize()).click()
        page.locator(f"#{tab}-go").wait_for()
        for y in range(0, page.evaluate("document.documentElement.scrollHeight - innerHeight"), 97):
            covered = page.evaluate(
                """([id, y]) => { scrollTo(0, y); const button = document.getElementById(id), b = button.getBoundingClientRect();
                return [0.05, 0.2, 0.5, 0.8, 0.95].filter(
                  (k) => !button.contains(document.elementFromPoint(b.x + k * b.width, b.y + b.height / 2))); }""",
                [f"{tab}-go", y],
            )
            assert not covered, f"{tab}, scrolled by {y}: something lies over the button at {covered}"
    page.get_by_role("tab", name="Sample").click()
    press(page, "sample")
    page.wait_for_function(
        "() => { const y = document.querySelector('#sample-result img').getBoundingClientRect().y; return y > 0 && y < 400 }"
    )


@pytest.mark.slow
def test_sampling_again_draws_anew_unless_the_seed_is_kept(browser, page_url):
    page = visit(browser, page_url)
    page.locator("#sample-thumbs button[data-class=horse]").click()
    page.locator("#sample-result.stale .note").wait_for()  # what is shown is not what is asked for
    page.locator("#sample-thumbs button[data-class=horse]").click()
    page.locator("#sample-result:not(.stale)").wait_for()  # and now it is again
    page.locator("#sample-thumbs button[data-class=horse]").click()
    first = [press(page, "sample") for _ in range(2)]
    assert first[0] != first[1] and page.locator("#sample-result .row").count() == 1
    open_advanced(page, "sample")
    seed = field(page, "sample-seed").input_value()
    assert first[1].endswith(f"seed {seed}")
    type_into(page, "sample-seed", "77")
    assert page.locator("#sample-locked input").is_checked()
    pictures = []
    for _ in range(2):
        assert press(page, "sample").endswith("seed 77")
        pictures.append(decoded(page, "sample"))
    same_pixels(pictures[0], pictures[1], 0)
    same_pixels(pictures[0], load_generator("sngan_cifar10_small").sample(["horse"], 8, 77))
    page.locator("#sample-locked input").click()
    assert not press(page, "sample").endswith("seed 77")


@pytest.mark.slow
def test_another_format_is_of_the_same_video(browser, page_url):
    page = visit(browser, page_url)
    page.get_by_role("tab", name="Walk").click()
    open_advanced(page, "walk")
    press(page, "walk")
    before = field(page, "walk-seed").input_value()
    page.get_by_label("Download as GIF instead of MP4").click()
    for _ in range(20):
        with page.expect_download() as download:
            page.get_by_text("Download the video").click()
        if download.value.suggested_filename.endswith(".gif"):
            break
        page.wait_for_timeout(1000)
    assert download.value.suggested_filename == f"sngan_cifar10_small-walk-{before}.gif"
    assert field(page, "walk-seed").input_value() == before


@pytest.mark.slow
def test_a_change_while_images_are_drawn_is_not_forgotten(browser, page_url):
    """The images that arrive are those of the settings at the press."""
    page = visit(browser, page_url)
    before = said(page, "sample")
    page.evaluate("""() => {
        document.querySelector('#sample-go').click();
        document.querySelector('#sample-thumbs button[data-class=horse]').click();
        document.querySelector('#sample-thumbs button[data-class=truck]').click();
    }""")
    page.locator("#sample-result .said").filter(has_not_text=before).wait_for(timeout=60_000)
    page.wait_for_timeout(300)
    assert page.locator("#sample-result .row").count() == 10, "all classes were asked for"
    page.locator("#sample-result.stale .note").wait_for(timeout=5_000)
    press(page, "sample")
    assert page.locator("#sample-result h3").all_inner_texts() == ["horse", "truck"], "both clicks count"
    assert not page.locator("#sample-result.stale").count()


@pytest.mark.slow
def test_of_two_models_chosen_in_a_row_the_last_one_counts(browser, page_url):
    page = visit(browser, page_url)
    for name in ("avatars", "Clothing"):
        page.locator("#sample-model input").click()
        page.get_by_role("option", name=name).first.click()
    page.locator("#sample-result h3", has_text="Ankle boot").wait_for(timeout=60_000)
    assert page.locator("#sample-thumbs button").first.get_attribute("data-class") == "T-shirt"
    assert not page.locator("#sample-result.stale").count()


@pytest.mark.slow
def test_an_image_opens_in_large_by_keyboard(browser, page_url):
    page = visit(browser, page_url)
    row = page.locator("#sample-result .cells").nth(1).locator("img")
    assert [row.nth(i).get_attribute("tabindex") for i in range(3)] == ["0", "-1", "-1"]
    row.first.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    large = page.locator("dialog.enlarged")
    assert large.locator("p").inner_text() == row.nth(1).get_attribute("alt")
    page.keyboard.press("Escape")
    large.wait_for(state="detached")
    assert page.evaluate("document.activeElement.alt") == row.nth(1).get_attribute("alt")
    page.keyboard.press("Space")
    large.wait_for()


@pytest.mark.slow
def test_another_model_never_shows_the_images_of_the_one_before(browser, page_url):
    page = visit(browser, page_url)
    page.locator("#sample-model input").click()
    page.get_by_role("option", name="avatars").first.click()
    page.locator("#sample-thumbs button[data-class=moods]").wait_for()
    page.locator("#sample-result h3", has_text="moods").wait_for()
    expected = load_generator("sngan_avatars32").sample(load_generator("sngan_avatars32").classes, 8, 0)
    same_pixels(decoded(page, "sample"), expected)
    page.locator("#sample-model input").click()
    page.get_by_role("option", name="ImageNet · 128 px").first.click()
    page.locator("#sample-result .waiting").wait_for()  # a download is the visitor's decision
    assert "MB" in page.locator("#sample-result .waiting").inner_text()
    assert not page.locator("#sample-result img").count() and not field(page, "sample-link").count()
    assert page.locator("#sample-classes").is_visible() and not page.locator("#sample-thumbs button").count()


@pytest.mark.slow
def test_one_large_image_is_large(browser, page_url):
    for width, least in ((1280, 512), (390, 340)):
        page = visit(browser, page_url, width=width)
        page.get_by_label("One large image").click()
        press(page, "sample")
        box = page.locator("#sample-result img").bounding_box()
        assert page.locator("#sample-result img").count() == 1 and least <= box["width"] == box["height"]
        page.context.close()


@pytest.mark.slow
def test_errors_stand_below_their_field_until_it_is_corrected(browser, page_url):
    page = visit(browser, page_url)
    open_advanced(page, "sample")
    for tab, name, bad, good, words in (
        ("sample", "seed", "-5", "5", "Seed must be between 0 and 2^63 - 1 (got -5)"),
        ("sample", "seed", "seven", "7", "Seed must be a whole number"),
        ("morph", "class-1", "zebra", "", "there is no class 'zebra'"),
        ("compare", "left-class", "zebra", "", "there is no class 'zebra'"),
        ("score", "class", "zebra", "", "there is no class 'zebra'"),
    ):
        page.get_by_role("tab", name=tab.capitalize()).click()
        type_into(page, f"{tab}-{name}", bad)
        page.locator(f"#{tab}-go").click()
        error = page.locator(f"#{tab}-result").locator("xpath=..").locator(".field-error")
        error.wait_for(timeout=30_000)
        assert words in error.inner_text() and "Traceback" not in error.inner_text()
        below = error.bounding_box()["y"] - page.locator(f"#{tab}-{name}").bounding_box()["y"]
        assert 0 < below < 420, f"{tab} {name}: {below} px away"
        assert error.get_attribute("role") == "alert"
        type_into(page, f"{tab}-{name}", good or page.locator(f"#{tab}-{name} input").input_value()[:-1])
        error.wait_for(state="detached", timeout=30_000)


@pytest.mark.slow
def test_morphs_and_mixes(browser, page_url):
    page = visit(browser, page_url)
    page.get_by_role("tab", name="Morph").click()
    generator = load_generator("sngan_cifar10_small")
    a, b = generator.classes[:2]
    same_pixels(decoded(page, "morph"), morph(generator, [a, b], 8, 4, 0).flatten(0, 1))
    assert page.locator("#morph-result .ends span").all_inner_texts() == [a, b]
    assert page.locator("#morph-steps").is_visible() and not page.locator("#morph-weight-1").is_visible()
    page.get_by_label("Mix by weight").click()
    page.locator("#morph-weight-1").wait_for()
    assert not page.locator("#morph-steps").is_visible()
    for i, weight in ((1, "0"), (2, "1")):  # a mix with one weight alone is that class
        box = page.locator(f"#morph-weight-{i} input[type=number]")
        box.fill(weight)
        box.press("Tab")
    line = press(page, "morph")
    assert f"100% {b}" in line
    same_pixels(decoded(page, "morph"), generator.sample([b], 16, int(line.split("seed ")[1])))


@pytest.mark.slow
def test_the_score_tab_says_where_an_image_lies(browser, page_url, tmp_path):
    from sngan_hub import load_discriminator, scores_of
    from sngan_hub.sampling.pictures import to_pil
    from sngan_hub.weights import reference_scores

    generator, name = load_generator("sngan_cifar10_small"), "ship"
    page = visit(browser, page_url)
    page.get_by_role("tab", name="Score").click()
    page.locator("#score-result .bar").wait_for()
    image = generator.sample([name], 1, 3)
    to_pil(image[0]).save(tmp_path / "ship.png")
    page.locator("#score-file input[type=file]").set_input_files(tmp_path / "ship.png")
    page.locator("#score-result .verdict").wait_for()
    page.wait_for_function(
        "() => document.querySelector('#score-link input, #score-link textarea').value.startsWith('Uploaded')"
    )
    page.locator("#score-class input").click()
    page.get_by_role("option", name=name).click()
    page.locator(".verdict", has_text=f"class {name}").wait_for(timeout=30_000)
    scores = scores_of(load_discriminator("sngan_cifar10_small"), image)[0]
    value = float(scores[generator.classes.index(name)])
    assert f"{value:.2f}" in page.locator(".verdict b").inner_text()
    spans = reference_scores("sngan_cifar10_small")[name]
    label = page.locator("#score-result .bar").get_attribute("aria-label")
    assert all(f"{spans[kind][i]:.1f}" in label for kind in ("real", "generated") for i in (0, 2))
    same_pixels(decoded(page, "score"), image)
    assert not page.locator("#score-result table").is_visible()
    page.locator("#score-result summary").click()
    rows = page.locator("#score-result tbody tr")
    assert rows.count() == 10
    press(page, "score")  # draws, and takes the uploaded image away
    page.locator("#score-file input[type=file]").set_input_files(__file__)
    page.locator("#score-image-error .field-error").wait_for()
    assert "PNG, JPEG" in page.locator("#score-image-error").inner_text()


@pytest.mark.slow
def test_compare_draws_the_same_latents_through_two_models(browser, page_url):
    page = visit(
        browser,
        page_url,
        "?tab=compare&left=sngan_fashion32&left_class=Bag&right=sngan_avatars32&right_class=moods&n=4&seed=9",
    )
    page.locator("#compare-result .side", has_text="moods").wait_for(timeout=30_000)
    pictures = decoded(page, "compare")
    same_pixels(pictures[:4], load_generator("sngan_fashion32").sample(["Bag"], 4, 9))
    same_pixels(pictures[4:], load_generator("sngan_avatars32").sample(["moods"], 4, 9))
    from sngan_hub import WEIGHTS
    from space.views import LABELS

    for side, name in enumerate(("sngan_fashion32.v1", "sngan_avatars32.v1")):
        text = page.locator("#compare-result .side").nth(side).inner_text()
        assert name in text and all(LABELS[protocol] in text for protocol in WEIGHTS[name].scores)


@pytest.mark.slow
def test_every_tab_by_keyboard(browser, page_url):
    page = visit(browser, page_url)

    def press_until(reached, key="Tab", most=60):
        for _ in range(most):
            page.keyboard.press(key)
            if page.evaluate(f"() => {{ const e = document.activeElement; return {reached} }}"):
                return
        raise AssertionError(f"the keyboard never reached {reached}")

    for i, tab in enumerate(TABS):
        press_until(
            f"e.getAttribute('role') === 'tab' && e.innerText === '{tab.capitalize()}'", "Shift+Tab" if i else "Tab"
        )
        page.keyboard.press("Enter")
        if tab == "sample":
            press_until("e.dataset.class === 'horse'")
            page.keyboard.press("Space")
        press_until(f"e.closest('#{tab}-advanced') !== null")
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)  # Gradio writes the values of new fields again within 50 ms; nobody types that soon
        press_until(f"e.closest('#{tab}-seed') !== null")
        page.keyboard.press("Control+A")
        page.keyboard.type("77")
        press_until(f"e.closest('#{tab}-go') !== null || e.id === '{tab}-go'", "Shift+Tab")
        page.keyboard.press("Enter")
        page.wait_for_function("([id]) => document.querySelector(`#${id}-link input, #${id}-link textarea`).value.includes('seed=77')", arg=[tab],
                               timeout=60_000)  # fmt: skip
        if tab == "sample":
            assert "8 images" in said(page, "sample")
