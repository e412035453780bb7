"""The static page built once, served by Python's plain file server, and opened in a browser that sees no other host."""

import functools
import http.server
import json
import re
import threading
import urllib.parse
from contextlib import contextmanager

import numpy as np
import pytest

from .conftest import once
from .space_browser import CHROMIUM, FLAGS


def needed():
    """Skips where the page cannot be built: without the exporter, or onnxruntime-web, which `make static` downloads."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from space import build_static

    if CHROMIUM is None:
        pytest.skip("no chromium")
    if not build_static.package_path().is_file():
        pytest.skip("onnxruntime-web is not in the cache; `make static` downloads it")
    return build_static


def built(tmp_path_factory):
    """The folder that ``sngan static`` writes."""
    build = needed().build
    return once(tmp_path_factory, "static-page", lambda folder: build(folder / "site")) / "site"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def serving(folder):
    """-> (address, a function that stops the server)"""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def stop():
        server.shutdown()
        server.server_close()
        thread.join()

    try:
        yield f"http://127.0.0.1:{server.server_port}/", stop
    finally:
        stop()


def launch(playwright, *flags):
    return playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *flags])


def visit(browser, url, address="", width=1280, **options):
    """A page in a context of its own, in which every request to another host fails and is noted."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    outside, faults = [], []

    def route(route):
        if route.request.url.startswith((url, "data:", "blob:")):
            route.continue_()
        else:
            outside.append(route.request.url)
            route.abort()

    context.route("**/*", route)
    page = context.new_page()
    page.outside, page.faults = outside, faults
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
    page.goto(url + address)
    return page


def wait_for(page, selector, text, seconds=180):
    """The page's policy forbids strings as code, so Playwright's wait_for_function cannot be used. A pattern, because
    texts match in any case: "Not yet available offline" would do for "Available offline".
    """
    page.locator(selector, has_text=re.compile(re.escape(text))).wait_for(timeout=1000 * seconds, state="attached")


def drawn(page, seed, view="sample"):
    wait_for(page, "#status", f"seed {seed}")
    assert page.locator("#failure").is_hidden()
    return pictures(page, view)


def pictures(page, view="sample"):
    """The pixels of the view: a list of uint8 (S, S, 3), as the canvases hold them."""
    found = page.evaluate("""view => [...document.querySelectorAll(`#view-${view} canvas`)].map(canvas =>
        [canvas.width, [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.width).data]])""", view)  # fmt: skip
    return np.stack([np.array(pixels, np.uint8).reshape(side, side, 4)[..., :3] for side, pixels in found])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return built(tmp_path_factory)


@pytest.fixture(scope="module")
def models(site):
    return json.loads((site / "models.json").read_text())["models"]


@pytest.fixture(scope="module")
def url(site):
    with serving(site) as (url, _):
        yield url


@pytest.fixture(scope="module")
def playwright():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def chromium(playwright):
    browser = launch(playwright, "--disable-gpu")
    yield browser
    browser.close()


@pytest.fixture
def browser(chromium):
    yield chromium
    for context in chromium.contexts:  # a page that is open goes on computing
        context.close()


def link(tab, model, seed, classes, **more):
    return "#" + urllib.parse.urlencode(
        {"tab": tab, "model": model["name"], "seed": seed, "classes": "|".join(classes), **more}
    )


def follow(page, address):
    page.evaluate("address => { document.querySelector('#status').textContent = ''; location.hash = address }", address)


def levels(found, expected):
    """The greatest difference; ``expected`` (N, 3, S, S)."""
    return int(np.abs(found.astype(int) - expected.permute(0, 2, 3, 1).numpy().astype(int)).max())
