"""The static page in a browser: its pictures are Python's to two levels, and it needs no host but its own, then none
at all.
"""

import numpy as np
import pytest
import torch

from sngan_hub import blend, load_generator, morph
from sngan_hub.sampling.morph import walk

from . import static_site
from .static_site import drawn, follow, levels, link, pictures, visit, wait_for

site, models, url = static_site.site, static_site.models, static_site.url
playwright, chromium, browser = static_site.playwright, static_site.chromium, static_site.browser


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, *(pytest.param(n, marks=pytest.mark.soak) for n in (1, 2))])
def test_ten_seeds_draw_pythons_pictures_to_two_levels(browser, url, models, number):
    model = models[number]
    generator = load_generator(model["name"])
    a, b, c = model["classes"][1], model["classes"][-1], model["classes"][4]
    page = visit(browser, url, "#backend=wasm&model=" + model["name"])
    drawn(page, 0)
    worst = 0
    for k, seed in enumerate([0, 1, 2, 3, 41, 999, 2**31, 2**53 + 1, 2**62, 2**63 - 1]):
        truncation = (None, 0.7)[k % 2]
        more = {"truncation": truncation} if truncation else {}
        follow(page, link("sample", model, seed, [a, b], n=3, **more))
        worst = max(worst, levels(drawn(page, seed), generator.sample([a, b], n=3, seed=seed, truncation=truncation)))
        follow(page, link("morph", model, seed, [a, b, c], steps=4, weights="20|50|10", **more))
        found = drawn(page, seed, "morph")
        worst = max(worst, levels(found[:4], blend(generator, [a, b, c], [2, 5, 1], 4, seed, truncation)))
        way = morph(generator, [a, b, c], 4, 2, seed, truncation)  # (2, 7, 3, S, S): two latents, two legs of four
        for row, (leg, latent) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
            expected = way[latent, 3 * leg : 3 * leg + 4]
            worst = max(worst, levels(found[4 + 4 * row : 8 + 4 * row], expected))
        frames = torch.cat(list(walk(generator, [a, b], 48, seed, truncation)))
        for frame in (0, 13, 40):
            follow(page, link("walk", model, seed, [a, b], seconds=2, frame=frame, **more))
            page.locator("#view-walk canvas").wait_for()
            wait_until_walk_shows(page, frames[frame])
    assert worst <= 2
    assert page.outside == page.faults == []


def wait_until_walk_shows(page, expected, seconds=20):
    for _ in range(10 * seconds):
        found = pictures(page, "walk")
        if found.shape[1] > 1 and levels(found, expected[None]) <= 2:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"the walk's picture differs by {levels(found, expected[None])} levels")


@pytest.mark.slow
def test_without_a_network_it_works_as_before(browser, site, models):
    with static_site.serving(site) as (url, stop):
        page = visit(browser, url)
        first = drawn(page, 0)
        wait_for(page, "#offline", "Available offline")
        stop()
        page.reload()
        assert np.array_equal(drawn(page, 0), first)
        for seed, model in enumerate(models, 7):  # also those that were never opened
            follow(page, link("sample", model, seed, model["classes"][:1], n=1))
            assert levels(drawn(page, seed), load_generator(model["name"]).sample([0], n=1, seed=seed)) <= 2
        assert page.outside == []


@pytest.mark.slow
def test_a_slider_redraws_while_it_moves_and_ends_with_its_last_place(browser, url, models):
    model = models[-1]
    names = model["classes"][:2]
    page = visit(browser, url, link("sample", model, 3, names, n=2))
    before = drawn(page, 3)
    slider = page.locator("#truncation")
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 8, box["y"] + box["height"] / 2)
    page.mouse.down()
    seen = []
    for part in (0.9, 0.7, 0.5, 0.3):
        page.mouse.move(box["x"] + part * box["width"], box["y"] + box["height"] / 2)
        page.wait_for_timeout(700)
        seen.append(pictures(page).tobytes())
    assert len({before.tobytes(), *seen}) == 5, "pictures must change before the button is released"
    page.mouse.up()
    page.wait_for_timeout(700)
    truncation = float(slider.input_value())
    assert levels(pictures(page), load_generator(model["name"]).sample(names, 2, 3, truncation)) <= 2
    page.wait_for_timeout(300)
    assert f"truncation={truncation}" in page.url


@pytest.mark.slow
def test_new_pictures_unless_the_seed_is_kept(browser, url):
    page = visit(browser, url)
    first = drawn(page, 0)
    page.get_by_role("button", name="New images").click()
    seed = page.locator("#seed").input_value()
    assert seed != "0" and not np.array_equal(drawn(page, seed), first)
    page.get_by_label("Keep this seed").check()
    page.get_by_role("button", name="New images").click()
    assert page.locator("#seed").input_value() == seed


@pytest.mark.slow
def test_no_picture_of_another_model_stays(browser, url, models):
    page = visit(browser, url)
    drawn(page, 0)
    left, status, about = page.evaluate("""() => {
        document.querySelectorAll('#models input')[1].click();
        const found = [...document.querySelectorAll('#view-sample canvas')].map(canvas =>
            canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.width).data.some(value => value));
        return [found, document.querySelector('#status').textContent, document.querySelector('#about').textContent];
    }""")
    assert about == "" and not any(left) and len(left) == 8 * len(models[1]["first"])
    assert models[1]["title"] in status
    wait_for(page, "#status", "images in")
    expected = load_generator(models[1]["name"]).sample(models[1]["first"], n=8, seed=0)
    assert levels(pictures(page), expected) <= 2


@pytest.mark.slow
def test_a_link_counts_though_the_page_writes_its_own_address_at_that_moment(browser, url, models):
    page = visit(browser, url)
    drawn(page, 0)
    address = link("sample", models[-1], 12, models[-1]["classes"][:1], n=1)
    page.evaluate(
        "address => { const own = location.href; location.hash = address; history.replaceState(null, '', own) }",
        address,
    )
    assert levels(drawn(page, 12), load_generator(models[-1]["name"]).sample([0], n=1, seed=12)) <= 2


@pytest.mark.slow
def test_by_keyboard(browser, url, models):
    page = visit(browser, url, link("sample", models[-1], 1, models[-1]["classes"][:2], n=2))
    before = drawn(page, 1)

    def focused():
        return page.evaluate(
            "() => { const e = document.activeElement; return e.id || e.value || e.getAttribute('aria-label') || e.textContent }"
        )

    def press_until(name, key="Tab", most=40):
        for _ in range(most):
            page.keyboard.press(key)
            if focused() == name:
                return
        raise AssertionError(f"the keyboard never reached {name}")

    first = models[-1]["classes"]
    press_until(models[-1]["name"])
    press_until("tab-sample")
    press_until(f"{first[0]}, image 1: show large")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert focused() == f"{first[1]}, image 2: show large"
    page.keyboard.press("Enter")
    assert page.locator("#large").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#large").is_hidden() and focused() == f"{first[1]}, image 2: show large"
    press_until("again")
    press_until(first[2])
    page.keyboard.press("Space")
    assert focused() == first[2] and page.locator("#classes input:checked").count() == 3
    press_until("n")
    page.keyboard.press("ArrowRight")
    press_until("truncation")
    page.keyboard.press("ArrowLeft")
    press_until("seed")
    page.keyboard.press("Control+a")
    page.keyboard.type("77")
    page.wait_for_timeout(100)
    after = drawn(page, 77)
    assert len(before) == 4 and len(after) == 9
    press_until("tab-sample", "Shift+Tab")
    page.keyboard.press("ArrowRight")
    assert focused() == "tab-morph" and page.locator("#view-morph").is_visible()
    press_until("weight-0")
    page.keyboard.press("ArrowRight")
    press_until("tab-morph", "Shift+Tab")
    page.keyboard.press("ArrowRight")
    press_until("play")
    page.keyboard.press("Enter")
    assert page.get_by_role("button", name="Play").is_visible()


@pytest.mark.slow
@pytest.mark.parametrize("width, theme", [
    (1280, "light"), (390, "dark"), *(pytest.param(*pair, marks=pytest.mark.soak) for pair in ((390, "light"), (1280, "dark"))),
])  # fmt: skip
def test_every_view_at_desktop_and_phone_width_light_and_dark(browser, url, models, width, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for view, model in zip(("sample", "morph", "walk"), models, strict=True):
        classes = model["classes"][: {"sample": 4, "morph": 4, "walk": 1}[view]]
        page = visit(browser, url, link(view, model, 5, classes, n=12, steps=6), width, color_scheme=theme)
        drawn(page, 5, view)
        page.locator("summary").click()
        if view == "walk":
            page.get_by_role("button", name="Pause").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{view} is wider than the page"
        cut = page.evaluate("""() => [...document.querySelectorAll('body *')].filter(e => e.clientWidth > 1 &&
            e.scrollWidth > e.clientWidth + 1 && e.checkVisibility()).map(e => e.outerHTML.slice(0, 80))""")
        assert not cut, f"cut at {width} px: {cut[:3]}"
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor").removeprefix("rgb(").split(",")
        assert (int(ground[0]) < 64) == (theme == "dark")
        result, controls = (page.locator(name).bounding_box() for name in (".result", "#controls"))
        if width == 390:
            assert result["y"] < controls["y"]  # pictures first
        if view == "sample":
            page.locator("#view-sample button").first.click()
        faults = [f"{fault['id']}: {fault['nodes'][0]['html']}" for fault in axe.run(page).response["violations"]
                  if fault["impact"] in ("serious", "critical")]  # fmt: skip
        assert not faults and page.outside == page.faults == []


@pytest.mark.slow
@pytest.mark.long
def test_webgpu_on_a_software_adapter_draws_pythons_pictures(playwright, url, models):
    model = models[-1]
    name = model["classes"][0]
    flags = ("--enable-unsafe-webgpu", "--enable-features=Vulkan,WebGPU", "--use-webgpu-adapter=swiftshader",
             "--use-vulkan=swiftshader", "--ignore-gpu-blocklist")  # fmt: skip
    browser = static_site.launch(playwright, *flags)
    try:
        page = visit(browser, url, link("sample", model, 4, [name], n=1, backend="webgpu"))
        if not page.evaluate("async () => !!(navigator.gpu && await navigator.gpu.requestAdapter())"):
            pytest.skip("this browser has no WebGPU adapter")
        wait_for(page, "#status", "seed 4", 400)
        wait_for(page, "#about", "Computed with WebGPU")
        assert levels(pictures(page), load_generator(model["name"]).sample([name], n=1, seed=4)) <= 2
        assert page.outside == []
    finally:
        browser.close()
