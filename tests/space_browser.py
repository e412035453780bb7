"""A browser, and what tests of the page ask of it."""

import base64
import io
import shutil

import numpy as np
import pytest
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
TABS = ("sample", "morph", "walk", "score", "compare")
#: Faults in Gradio's own markup, by component, which cannot be changed from outside
GRADIOS_OWN = {"button-name": '<button class="svelte', "aria-prohibited-attr": "Empty value"}


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def closed(browser):
    """Pages of one test take no time from the next."""
    yield
    for context in browser.contexts:
        context.close()


def visit(browser, url, address="", width=1280, **options):
    """Opens the page, with requests to other hosts blocked and noted, and waits until its links are complete."""
    page = browser.new_context(viewport={"width": width, "height": 900 if width > 500 else 844}, **options).new_page()
    page.outside = []

    def sort(route):
        if route.request.url.startswith((url, "data:", "blob:")):
            return route.continue_()
        page.outside.append(route.request.url)
        return route.abort()

    page.route("**/*", sort)
    page.goto(url + "/" + address)
    page.get_by_role("tab", name="Sample").wait_for(timeout=60_000)
    page.wait_for_function("() => document.querySelector('.field-error') || [...document.querySelectorAll('[id$=\"-link\"] input, [id$=\"-link\"] textarea')].some(e => e.value.startsWith('http'))",
                           timeout=60_000)  # fmt: skip
    return page


def field(page, name):
    return page.locator(f"#{name} textarea, #{name} input").first


def type_into(page, name, text):
    """As a person does: key by key. Tab would open the list of the next field, which may lie on the button."""
    box = field(page, name)
    box.click()
    box.press("Control+A")
    page.keyboard.type(text)
    box.blur()


def open_advanced(page, tab):
    page.locator(f"#{tab}-advanced button").first.click()
    page.locator(f"#{tab}-seed").wait_for()


def result(page, tab):
    return page.locator(f"#{tab}-result .drawn").first


def said(page, tab):
    line = page.locator(f"#{tab}-result .said")
    return line.inner_text() if line.count() else ""


def press(page, tab):
    """Presses the tab's button and waits for its result -> the line about it."""
    before = field(page, f"{tab}-link").input_value()
    locked = page.locator(f"#{tab}-locked input")
    kept = locked.count() and locked.is_checked()
    page.evaluate("(tab) => document.querySelector(`#${tab}-result .drawn`).remembered = true", tab)
    page.locator(f"#{tab}-go").click()
    if kept and f"seed={field(page, f'{tab}-seed').input_value()}" in before:
        page.wait_for_timeout(1500)
    else:
        page.wait_for_function(
            "([tab, before]) => { const v = document.querySelector(`#${tab}-link input, #${tab}-link textarea`)?.value; return v && v !== before && v.startsWith('http') }",
            arg=[tab, before], timeout=60_000,
        )  # fmt: skip
    return said(page, tab)


def unloaded(page, tab):
    return page.evaluate(
        "(tab) => [...document.querySelectorAll(`#${tab}-result img`)].filter(e => !e.complete || !e.naturalWidth).length",
        tab,
    )


def cut(page):
    """Visible elements whose text does not fit, but for the address in the link box, which scrolls."""
    return page.evaluate("""() => [...document.querySelectorAll('.gradio-container *')].filter(e => e.offsetParent !== null
        && e.clientWidth > 20 && e.scrollWidth > e.clientWidth + 2 && !e.closest('[id$="-link"]')
        && (e.tagName === 'INPUT' || (getComputedStyle(e).overflowX === 'hidden' && e.innerText?.trim()))
        ).map(e => e.outerHTML.slice(0, 120))""")


def decoded(page, tab):
    """The images of the result -> uint8 (N, 3, S, S)."""
    sources = page.locator(f"#{tab}-result img").evaluate_all("es => es.map(e => e.src)")
    images = []
    for source in sources:
        with Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1]))) as image:
            images.append(np.asarray(image.convert("RGB")).transpose(2, 0, 1))
    return np.stack(images)


def same_pixels(found, expected, levels=1):
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= levels
