"""The page in a real browser: every tab, by mouse and keyboard, at two widths, light and dark; links; two visitors."""

import shutil

import pytest

from . import space_server

served, page_url, client = space_server.served, space_server.page_url, space_server.client

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def visit(browser, url, address="", width=1280, **options):
    page = browser.new_context(viewport={"width": width, "height": 900}, **options).new_page()
    page.outside = []
    page.on("request", lambda r: page.outside.append(r.url) if not r.url.startswith((url, "data:", "blob:")) else None)
    page.goto(url + address)
    page.get_by_label("Model").locator("visible=true").first.wait_for(timeout=60_000)
    return page


def wait_for_text(page, tab, text):
    page.wait_for_function("([id, t]) => document.querySelector(`#${id} textarea, #${id} input`)?.value.includes(t)",
                           arg=[f"{tab}-said", text], timeout=60_000)  # fmt: skip


@pytest.mark.slow
def test_two_visitors(browser, page_url):
    visitors = []
    for seed, name in (("11", "horse"), ("22", "truck")):
        page = visit(browser, page_url)
        classes = page.locator("#sample-classes input")
        classes.click()
        classes.press_sequentially(name)
        page.get_by_role("option", name=name).first.click()
        page.keyboard.press("Escape")
        page.locator("#sample-seed textarea, #sample-seed input").fill(seed)
        visitors.append((page, seed, name))
    for page, *_ in visitors:  # both at once
        page.get_by_role("button", name="Sample", exact=True).click()
    for page, seed, name in visitors:
        wait_for_text(page, "sample", f"seed {seed}")
        page.locator(".grid-container img").first.wait_for(timeout=30_000)
        assert page.locator(".grid-container img").count() == 8
        assert name in page.locator(".grid-container").inner_text()
    first = [page.locator(".grid-container img").first.get_attribute("src") for page, *_ in visitors]
    assert first[0] != first[1]
    page = visitors[0][0]
    page.locator("#sample-dice").click()
    page.wait_for_function(
        "() => !document.querySelector('#sample-said textarea, #sample-said input').value.endsWith('seed 11')"
    )
    page.locator("#sample-seed textarea, #sample-seed input").fill("-5")
    page.get_by_role("button", name="Sample", exact=True).click()
    page.get_by_text("seed must be between 0 and 2^63 - 1 (got -5)").wait_for(timeout=30_000)
    wait_for_text(visitors[1][0], "sample", "seed 22")  # what the other sees stays
    assert all(page.outside == [] for page, *_ in visitors)


#: Faults in Gradio's own markup, by component: the button round an Image has no name, nor can one be given to it; an
#: empty Image names a plain element.
GRADIOS_OWN = {"button-name": '<button class="svelte', "aria-prohibited-attr": "Empty value"}


@pytest.mark.slow
@pytest.mark.parametrize("width, theme", [(1280, "light"), (390, "dark"), (390, "light"), (1280, "dark")])
def test_every_tab_at_desktop_and_phone_width_light_and_dark(browser, page_url, width, theme):
    page = visit(browser, page_url, f"?__theme={theme}", width, color_scheme=theme)
    for tab, button in (("Sample", "Sample"), ("Morph", "Morph"), ("Walk", "Walk"), ("Score", "Generate and score")):
        page.get_by_role("tab", name=tab).click()
        page.get_by_role("button", name=button, exact=True).last.click()
        if tab == "Score":
            page.locator("#judge-scores").get_by_text("horse").wait_for(timeout=60_000)
            page.locator(".image-frame img").last.wait_for(timeout=60_000)
            cut = page.evaluate("""() => [...document.querySelectorAll('#judge-scores *')].filter(e => e.clientWidth > 40
                && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== 'visible').map(e => e.outerHTML.slice(0, 80))""")
            assert not cut, f"cut at {width} px: {cut[:2]}"
            page.wait_for_function("() => !document.querySelector('.meta-text')")
        else:
            wait_for_text(page, tab.lower(), "seed")
            page.wait_for_function("id => document.querySelector(`#${id} textarea, #${id} input`).value.startsWith('http')",
                                   arg=f"{tab.lower()}-link")  # fmt: skip
        if tab == "Walk":  # the film plays
            page.wait_for_function("() => { const v = document.querySelector('video'); return v && v.readyState >= 3 && v.duration > 3.9 }",
                                   timeout=30_000)  # fmt: skip
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{tab} is wider than the page"
        axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
        for fault in axe.run(page).response["violations"]:
            if fault["impact"] in ("serious", "critical"):
                ours = [n["html"] for n in fault["nodes"] if GRADIOS_OWN.get(fault["id"], "\0") not in n["html"]]
                assert not ours, f"{tab}, {theme}: {fault['id']}: {ours[:3]}"
    assert page.outside == []


@pytest.mark.slow
def test_every_tab_by_keyboard(browser, page_url):
    page = visit(browser, page_url)

    def press_until(reached, key="Tab", most=60):
        for _ in range(most):
            page.keyboard.press(key)
            if page.evaluate(f"() => {{ const e = document.activeElement; return {reached} }}"):
                return
        raise AssertionError(f"the keyboard never reached {reached}")

    for tab in ("Sample", "Morph", "Walk"):
        press_until(
            f"e.getAttribute('role') === 'tab' && e.innerText === '{tab}'", "Shift+Tab" if tab != "Sample" else "Tab"
        )
        page.keyboard.press("Enter")
        press_until(f"e.closest('#{tab.lower()}-seed') !== null")
        page.keyboard.type("77")
        press_until(f"e.tagName === 'BUTTON' && e.innerText.trim() === '{tab}' && e.getAttribute('role') !== 'tab'")
        page.keyboard.press("Enter")
        wait_for_text(page, tab.lower(), "seed 77")
    press_until("e.getAttribute('role') === 'tab' && e.innerText === 'Score'", "Shift+Tab")
    page.keyboard.press("Enter")
    press_until("e.tagName === 'BUTTON' && e.innerText.trim() === 'Generate and score'")
    page.keyboard.press("Enter")
    page.locator("#judge-scores").get_by_text("horse").wait_for(timeout=60_000)


@pytest.mark.slow
def test_a_link_shows_the_same_again(browser, page_url, client):
    *_, again, _ = client.predict("sngan_avatars32", ["planets", "moods"], 3, "41", 0.8, api_name="/sample")
    assert again.startswith("?tab=sample&") and "planets%7Cmoods" in again
    page = visit(browser, page_url, again)
    page.wait_for_function("() => document.querySelector('#sample-seed textarea, #sample-seed input')?.value === '41'")
    page.get_by_role("button", name="Sample", exact=True).click()
    wait_for_text(page, "sample", "6 images")
    assert "moods" in page.locator(".grid-container").inner_text()
    pictures = []
    for _ in range(2):  # two visitors with the same link see the same picture, byte for byte
        page = visit(browser, page_url, again)
        page.wait_for_function(
            "() => document.querySelector('#sample-seed textarea, #sample-seed input')?.value === '41'"
        )
        page.get_by_role("button", name="Sample", exact=True).click()
        wait_for_text(page, "sample", "6 images")
        sources = [page.locator(".grid-container img").nth(i).get_attribute("src") for i in range(6)]
        pictures.append([page.request.get(source).body() for source in sources])
    assert pictures[0] == pictures[1] and len(set(pictures[0])) == 6
    *_, again = client.predict("sngan_fashion32", ["Bag", "Coat"], "5", "9", api_name="/morph")
    page = visit(browser, page_url, again)
    page.wait_for_function("() => document.querySelector('#morph-way textarea, #morph-way input')?.value === '5'")
    assert page.get_by_role("tab", name="Morph").get_attribute("aria-selected") == "true"
    page.get_by_role("button", name="Morph", exact=True).click()
    wait_for_text(page, "morph", "Bag to Coat")
    visit(browser, page_url, "?tab=nothing&seed=%00&classes=<script>&n=x")  # rubbish is a page like any other
