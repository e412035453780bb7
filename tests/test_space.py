"""The page in a real browser: classes are picked, pictures come, two visitors do not see each other's."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from .conftest import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip


@pytest.fixture(scope="module")
def page_url(tmp_path_factory):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(tmp_path_factory.mktemp("gradio")),
                   "GRADIO_SERVER_NAME": "127.0.0.1"}  # fmt: skip
    process = subprocess.Popen([sys.executable, "space/app.py"], cwd=ROOT, env=environment)
    url = f"http://127.0.0.1:{port}"
    for _ in range(240):
        assert process.poll() is None, "the page stopped"
        try:
            urllib.request.urlopen(url, timeout=2).read()
            break
        except OSError:
            time.sleep(0.5)
    yield url
    process.terminate()
    process.wait(20)


@pytest.fixture(scope="module")
def client(page_url):
    pytest.importorskip("gradio_client")
    from gradio_client import Client

    return Client(page_url, verbose=False)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_two_visitors(page_url):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        outside = []
        visitors = []
        for seed, name in (("11", "planets"), ("22", "thumbs")):
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            page.on(
                "request",
                lambda r: outside.append(r.url) if not r.url.startswith((page_url, "data:", "blob:")) else None,
            )
            page.goto(page_url)
            page.get_by_label("Model").wait_for(timeout=60_000)
            classes = page.get_by_label("Classes")
            classes.click()
            classes.press_sequentially(name)
            page.get_by_role("option", name=name).first.click()
            page.keyboard.press("Escape")
            page.get_by_label("Seed", exact=True).fill(seed)
            visitors.append((page, seed, name))
        for page, *_ in visitors:  # both at once
            page.get_by_role("button", name="Sample", exact=True).click()
        for page, seed, name in visitors:
            said = page.get_by_label("What you see")
            page.wait_for_function("s => [...document.querySelectorAll('textarea,input')].some(e => e.value.includes('seed ' + s))",
                                   arg=seed, timeout=60_000)  # fmt: skip
            assert f"seed {seed}" in said.input_value() and "8 pictures" in said.input_value()
            page.locator(".grid-container img").first.wait_for(timeout=30_000)
            assert page.locator(".grid-container img").count() == 8
            assert name in page.locator(".grid-container").inner_text()
        first = [page.locator(".grid-container img").first.get_attribute("src") for page, *_ in visitors]
        assert first[0] != first[1]
        for page, seed, _ in visitors:  # and what each sees stays its own
            assert f"seed {seed}" in page.get_by_label("What you see").input_value()
        page = visitors[0][0]
        page.get_by_role("button", name="New seed").click()
        page.wait_for_function(
            "() => ![...document.querySelectorAll('textarea,input')].some(e => e.value.endsWith('seed 11'))",
            timeout=60_000,
        )
        page.get_by_label("Seed", exact=True).fill("-5")
        page.get_by_role("button", name="Sample", exact=True).click()
        page.get_by_text("seed: got -5, legal is 0 to 2^63 - 1").wait_for(timeout=30_000)
        browser.close()
        assert outside == []


@pytest.mark.slow
def test_the_endpoint_gives_the_same_picture_for_the_same_seed(client):
    calls = [client.predict("sngan_avatars32", ["planets"], 2, "9", 0.8, api_name="/sample") for _ in range(2)]
    pictures = [open(gallery[0]["image"], "rb").read() for gallery, *_ in calls]
    assert pictures[0] == pictures[1] and calls[0][1] == "9" and len(calls[0][0]) == 2


@pytest.mark.slow
def test_the_endpoint_takes_every_models_classes(client):
    gallery, seed, _, said = client.predict("sngan_fashion32", ["Sneaker", "Bag"], 1, "", 0, api_name="/sample")
    assert [item["caption"] for item in gallery] == ["Sneaker", "Bag"] and f"seed {seed}" in said


@pytest.mark.slow
@pytest.mark.parametrize("arguments, text", [
    (("sngan_x", [], 2, "1", 0), "not in the list of choices|model: got"),
    (("sngan_avatars32", ["planet"], 2, "1", 0), "not in the list|no class"),
    (("sngan_avatars32", ["planets"], -2, "1", 0), "n: got -2|less than|minimum"),
    (("sngan_avatars32", ["planets"], 2, str(2**63), 0), "seed: got 9223372036854775808"),
    (("sngan_avatars32", ["planets"], 2, "seven", 0), "seed: got 'seven'"),
    (("sngan_avatars32", ["planets"], 2, "1", -1), "truncation: got -1|less than|minimum"),
    (("sngan_avatars32", [], 64, "1", 0), "is 640 pictures, legal is up to 256"),
])  # fmt: skip
def test_bad_values_answer_with_a_sentence(client, arguments, text):
    import re

    with pytest.raises(Exception) as error:  # noqa: B017  (gradio_client's own type differs between versions)
        client.predict(*arguments, api_name="/sample")
    assert re.search(text, str(error.value)), str(error.value)
