"""The page in a real browser and through its API: every tab, links, uploads of every kind, many visitors at once."""

import hashlib
import io
import json
import os
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from sngan_hub import load_generator
from sngan_hub.hub.load import load_discriminator
from sngan_hub.metrics.discriminator_scores import scores_of
from sngan_hub.sampling.pictures import to_pil
from sngan_hub.weights.records import WEIGHTS

from .conftest import GOLDEN, ROOT
from .loopback import Server, whole

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
SOAK = bool(os.environ.get("SOAK"))


@contextmanager
def serving(folder, *arguments, home=ROOT / "space", **variables):
    """-> (address, process)"""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(folder),
                   "GRADIO_SERVER_NAME": "127.0.0.1", **variables}  # fmt: skip
    process = subprocess.Popen([sys.executable, str(home / "app.py"), *map(str, arguments)], cwd=home.parent, env=environment,
                               stdout=subprocess.DEVNULL)  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            assert process.poll() is None, "the page stopped"
            try:
                urllib.request.urlopen(url, timeout=2).read()
                break
            except OSError:
                time.sleep(0.25)
        yield url, process
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("gradio")) as found:
        yield found


@pytest.fixture(scope="module")
def page_url(served):
    return served[0]


@pytest.fixture(scope="module")
def client(page_url):
    pytest.importorskip("gradio_client")
    from gradio_client import Client

    return Client(page_url, verbose=False)


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


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


# The browser


@pytest.mark.slow
def test_two_visitors(browser, page_url):
    visitors = []
    for seed, name in (("11", "planets"), ("22", "thumbs")):
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
            page.locator("#judge-scores").get_by_text("planets").wait_for(timeout=60_000)
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
    page.locator("#judge-scores").get_by_text("planets").wait_for(timeout=60_000)


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


# The API


def test_the_endpoint_gives_the_same_picture_for_the_same_seed(client):
    calls = [client.predict("sngan_avatars32", ["planets"], 2, "9", 0.8, api_name="/sample") for _ in range(2)]
    pictures = [open(gallery[0]["image"], "rb").read() for gallery, *_ in calls]
    assert pictures[0] == pictures[1] and calls[0][1] == "9" and len(calls[0][0]) == 2
    pure = load_generator("sngan_avatars32").sample(["planets"], 2, 9, 0.8)
    shown = pixels(calls[0][0][1]["image"])[2::4, 2::4]
    assert np.abs(shown.astype(int) - pure[1].permute(1, 2, 0).numpy()).max() <= 1


def test_morph_walk_and_judge_through_the_api(client):
    from gradio_client import handle_file

    strip, seed, said, _ = client.predict("sngan_avatars32", ["planets", "moods"], "6", "5", api_name="/morph")
    image = pixels(strip)
    assert seed == "5" and "24 images" in said and image.shape[1] > image.shape[0]
    g = load_generator("sngan_avatars32")
    for column, name in ((0, "planets"), (5, "moods")):  # its ends are the pure classes' pictures
        pure = g.sample([name], 1, 5)[0].permute(1, 2, 0).numpy()
        x = 2 + column * 98
        assert np.abs(image[2 + 1 : 98 : 3, x + 1 : x + 96 : 3].astype(int) - pure).max() <= 1
    blend, *_ = client.predict("sngan_avatars32", ["planets", "moods"], "0, 1", "5", api_name="/morph")
    assert np.abs(pixels(blend)[3:98:3, 3:98:3].astype(int) - pure).max() <= 1
    film, seed, said, *_ = client.predict("sngan_avatars32", ["planets"], 2, "3", api_name="/walk")
    film = film["video"] if isinstance(film, dict) else film
    from imageio_ffmpeg import count_frames_and_secs

    assert count_frames_and_secs(film)[0] == 48 and "48 frames" in said
    *_, kept = client.predict("sngan_avatars32", ["planets"], 1, "3", 0, True, api_name="/walk")
    assert Image.open(kept).n_frames == 24
    path = g.sample(["planets"], 1, 5)
    file = film + ".png"
    to_pil(path[0]).save(file)
    scores = client.predict("sngan_avatars32", handle_file(file), api_name="/judge")
    expected = scores_of(load_discriminator("sngan_avatars32"), path)[0]
    assert list(scores) == g.classes and np.abs(np.array(list(scores.values())) - expected.numpy()).max() < 1e-3


BAD = [
    ("/sample", ("sngan_x", [], 2, "1", 0)), ("/sample", ("../etc/passwd", [], 2, "1", 0)),
    ("/sample", ("sngan_avatars32", ["planet"], 2, "1", 0)), ("/sample", ("sngan_avatars32", ["Sneaker"], 2, "1", 0)),
    ("/sample", ("sngan_avatars32", ["planets"] * 5, 64, "1", 0)), ("/sample", ("sngan_avatars32", [99], 2, "1", 0)),
    *[("/sample", ("sngan_avatars32", ["planets"], n, "1", 0)) for n in (-2, 0, 65, 1.5, 1e18, None, "many")],
    *[("/sample", ("sngan_avatars32", ["planets"], 2, s, 0)) for s in ("-1", str(2**63), "seven", "1e3", "0x10", "9" * 5000)],
    *[("/sample", ("sngan_avatars32", ["planets"], 2, "1", t)) for t in (-1, -0.001, 1e9, "much", float("nan"))],
    *[("/morph", ("sngan_avatars32", c, "8", "1", 0)) for c in ([], ["planets"], ["planets"] * 5, ["planets", "x"], None)],
    *[("/morph", ("sngan_avatars32", ["planets", "moods"], w, "1", 0))
      for w in ("1", "17", "-3", "2.5", "a", "1,2,3", "0,0", "-1,2", "nan,1", "inf,1", ",", "1e400,1")],
    *[("/morph", ("sngan_avatars32", ["planets", "moods"], "8", s, 0)) for s in ("-1", "x", str(2**63))],
    *[("/walk", ("sngan_avatars32", ["planets"], s, "1", 0)) for s in (0, -1, 13, 1.5, 1e9, None, "long")],
    *[("/walk", ("sngan_avatars32", c, 1, "1", 0)) for c in (["planets"] * 5, ["nobody"], [""])],
    *[("/walk", ("sngan_avatars32", ["planets"], 1, s, 0)) for s in ("-1", "x")],
    *[("/walk", ("sngan_avatars32", ["planets"], 1, "1", t)) for t in (-3, 1e300, "x")],
    ("/judge", ("sngan_avatars32", None)), ("/judge", ("nobody", None)),
]  # fmt: skip


def answers(client, calls):
    """(result, None) or (None, error) of each (endpoint, arguments), a few at a time: the page's queue holds 32."""
    for first in range(0, len(calls), 16):
        jobs = [client.submit(*arguments, api_name=endpoint) for endpoint, arguments in calls[first : first + 16]]
        for job in jobs:
            error = job.exception(60)
            yield (None, error) if error else (job.result(), None)


def test_out_of_range_calls_are_answered_with_a_sentence(client, page_url):
    assert len(BAD) >= 60
    for (endpoint, arguments), (_, error) in zip(BAD, answers(client, BAD), strict=True):
        assert error, f"{endpoint} took {arguments}"
        said = str(error)
        assert said and "Traceback" not in said and "show_error=True" not in said and len(said) < 3000, (
            endpoint,
            arguments,
            said,
        )
    told = type(client)(page_url, verbose=False, download_files=False)  # not the 256 files, one by one
    gallery, _, said, *_ = told.predict("sngan_avatars32", [], 64, "1", 0, api_name="/sample")
    assert len(gallery) == 256 and "the first 4 of 10 classes" in said  # what is left out is said


def uploads(folder):
    """(path, whether it can be scored) of sixty odd and hostile files."""
    rng = np.random.default_rng(0)
    base = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    made = []

    def put(name, data, good):
        (folder / name).write_bytes(data)
        made.append((folder / name, good))

    def encoded(image, kind, **options):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    for kind, suffix in (
        ("PNG", "png"),
        ("JPEG", "jpg"),
        ("WEBP", "webp"),
        ("BMP", "bmp"),
        ("GIF", "gif"),
        ("TIFF", "tif"),
        ("PPM", "ppm"),
    ):
        put(f"plain.{suffix}", encoded(base, kind), True)
        data = encoded(base, kind)
        put(f"cut.{suffix}", data[: len(data) // 3], kind in ("GIF",) and None)
        put(f"head.{suffix}", data[:20], False)
        put(f"other.{suffix}", b"<html>not a picture</html>" + data, False)
    for mode in ("L", "LA", "P", "1", "RGBA", "CMYK", "I;16", "F", "YCbCr", "LAB", "HSV"):
        image = (
            base.convert("L").convert("I").point(lambda v: v * 256).convert("I;16")
            if mode == "I;16"
            else base.convert(mode)
        )
        kind = "TIFF" if mode in ("CMYK", "F", "YCbCr", "LAB", "HSV") else "PNG"
        try:
            put(
                f"mode-{mode.replace(';', '')}.{kind.lower()}",
                encoded(image, kind),
                mode not in ("LAB", "HSV", "YCbCr") or None,
            )
        except OSError:
            continue
    put("cmyk.jpg", encoded(base.convert("CMYK"), "JPEG"), True)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        put(f"turned{orientation}.jpg", encoded(base, "JPEG", exif=exif), True)
    frames = [Image.new("RGB", (40, 40), c) for c in ("white", "black")]
    put("animated.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), True)
    put("animated.webp", encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]), True)
    put("animated.png", encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]), True)
    put("one.png", encoded(Image.new("RGB", (1, 1)), "PNG"), True)
    put("thin.png", encoded(Image.new("RGB", (5000, 1)), "PNG"), True)
    put("fifty.png", encoded(Image.new("L", (10_000, 5_000)), "PNG"), False)
    put("bomb.png", encoded(Image.new("1", (30_000, 30_000)), "PNG", optimize=False), False)
    info = PngImagePlugin.PngInfo()
    info.add_text("a", "b" * 1000, zip=True)
    put("text.png", encoded(base, "PNG", pnginfo=info), True)
    put("script.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", False)
    put("script.png", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", False)
    put("empty.png", b"", False)
    put("zeros.png", bytes(1000), False)
    put("pickle.png", b"\x80\x04cos\nsystem\n(S'true'\ntR.", False)
    put("zip.jpg", b"PK\x03\x04" + bytes(100), False)
    put("no-suffix", encoded(base, "PNG"), True)
    put("naïve 絵 🎲.png", encoded(base, "PNG"), True)
    put("shell;rm -rf.png", encoded(base, "PNG"), True)
    put("large.bmp", encoded(Image.new("RGB", (2200, 2200)), "BMP"), False)  # 14 MB
    broken = bytearray(encoded(base, "PNG"))
    broken[200] ^= 255
    put("crc.png", bytes(broken), False)
    huge = bytearray(encoded(base, "PNG"))
    huge[16:24] = b"\x7f\xff\xff\xff" * 2
    put("lies.png", bytes(huge), False)
    return made


def test_odd_and_hostile_uploads_are_scored_or_refused_in_a_sentence(client, served, tmp_path):
    from gradio_client import handle_file

    made = uploads(tmp_path)
    assert len(made) >= 60
    calls = [("/judge", ("sngan_avatars32", handle_file(str(path)))) for path, _ in made]
    start = time.monotonic()
    for (path, good), (scores, error) in zip(made, answers(client, calls), strict=True):
        if error:
            said = str(error)
            assert good is not True, f"{path.name}: {said}"
            assert "Traceback" not in said and "show_error=True" not in said and len(said) < 1000, (
                f"{path.name}: {said}"
            )
        else:
            assert good is not False and len(scores) == 10 and all(np.isfinite(list(scores.values()))), path.name
        assert time.monotonic() - start < 20, path.name  # since the one before it was answered
        start = time.monotonic()
    assert served[1].poll() is None
    upright = [
        client.predict("sngan_avatars32", handle_file(str(tmp_path / f"turned{o}.jpg")), api_name="/judge")
        for o in (1, 3)
    ]
    assert upright[0] != upright[1]  # a picture and itself upside down are two
    white = tmp_path / "white.png"
    Image.new("RGB", (40, 40), "white").save(white)
    first, only = (client.predict("sngan_avatars32", handle_file(str(tmp_path / n)), api_name="/judge")
                   for n in ("animated.gif", "white.png"))  # fmt: skip
    assert np.allclose(list(first.values()), list(only.values()), atol=1e-3)  # the first frame is the one that counts


def resident(process):
    for line in open(f"/proc/{process.pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


@pytest.mark.slow
def test_many_visitors_at_once(tmp_path, capsys):
    """SOAK: 32 clients for two minutes; else 8 for ten seconds. No error but "busy", nobody gets another's pictures."""
    from gradio_client import Client

    clients, seconds = (32, 120) if SOAK else (8, 10)
    generator = load_generator("sngan_avatars32")
    with serving(tmp_path) as (url, process):
        latencies, wrong, busy, memory = [], [], [], {}
        stop = time.monotonic() + seconds + 5

        def visitor(number):
            rng = random.Random(number)
            client = Client(url, verbose=False)
            while time.monotonic() < stop:
                seed, name = rng.randrange(10**6), rng.choice(generator.classes)
                start = time.monotonic()
                try:
                    gallery, said_seed, *_ = client.predict(
                        "sngan_avatars32", [name], 1, str(seed), 0, api_name="/sample"
                    )
                except Exception as error:
                    (busy if re.search("queue|busy|full", str(error), re.I) else wrong).append(str(error))
                    time.sleep(0.5)
                    continue
                latencies.append(time.monotonic() - start)
                shown = pixels(gallery[0]["image"])[2::4, 2::4].astype(int)
                mine = generator.sample([name], 1, seed)[0].permute(1, 2, 0).numpy()
                if said_seed != str(seed) or gallery[0]["caption"] != name or np.abs(shown - mine).max() > 1:
                    wrong.append(f"seed {seed} {name}: another's picture")

        threads = [threading.Thread(target=visitor, args=(i,)) for i in range(clients)]
        torch.set_num_threads(1)
        for thread in threads:
            thread.start()
        time.sleep(min(60, seconds / 2))
        memory["first"] = resident(process)
        for thread in threads:
            thread.join()
        memory["end"] = resident(process)
    latencies.sort()
    with capsys.disabled():
        print(f"\n{clients} clients, {seconds} s: {len(latencies)} answers, p50 {statistics.median(latencies):.2f} s, "
              f"p95 {latencies[int(0.95 * len(latencies))]:.2f} s, busy {len(busy)}, RSS {memory['first']:.0f} MB after the "
              f"first minute (or half), {memory['end']:.0f} MB at the end")  # fmt: skip
    assert not wrong, wrong[:3]
    assert len(latencies) >= clients
    assert memory["end"] <= 1.1 * memory["first"]


OWN = WEIGHTS["sngan_fashion32.v1"].folder.parent


@pytest.fixture(scope="module")
def other_page(tmp_path_factory):
    """(address, the publisher's server) of a page with ``--model OWN`` and records of others' weights."""
    home = tmp_path_factory.mktemp("other page")
    data = (GOLDEN / "foreign" / "mmgen32_cond10_wo.pth").read_bytes()
    server = Server()
    server.answer["/file.pth"] = whole(data)
    records = {"sngan_cifar10.mmgen_fid": {"url": f"{server.url}/file.pth", "sha256": hashlib.sha256(data).hexdigest()},
               "sngan_cifar10.mmgen_is": {"url": f"{server.url}/none.pth", "mirrors": []}}  # fmt: skip
    (home / "records.json").write_text(json.dumps(records))
    variables = {"SNGAN_HUB_RECORDS": str(home / "records.json"), "SNGAN_HUB_CACHE": str(home / "cache")}
    with serving(home / "gradio", "--model", OWN, **variables) as (url, _):
        yield url, server
    server.close()


def test_others_weights_are_fetched_when_they_are_asked_for(other_page):
    """Once for all visitors, the discriminator along with the generator; and what cannot be had is a sentence."""
    from gradio_client import Client, handle_file

    url, server = other_page
    clients = [Client(url, verbose=False) for _ in range(2)]
    jobs = [c.submit("sngan_cifar10.mmgen_fid", ["frog"], 1, "1", 0, api_name="/sample") for c in clients]
    shown = [job.result()[0][0] for job in jobs]
    assert [picture["caption"] for picture in shown] == ["frog", "frog"]
    scores = clients[0].predict("sngan_cifar10.mmgen_fid", handle_file(shown[0]["image"]), api_name="/judge")
    assert len(scores) == 10 and "frog" in scores
    assert [path for path, _ in server.log] == ["/file.pth"]
    with pytest.raises(Exception, match="sngan_cifar10.mmgen_is: "):
        clients[0].predict("sngan_cifar10.mmgen_is", ["frog"], 1, "1", 0, api_name="/sample")


def test_a_deployed_space_stands_alone(tmp_path):
    """The folder that goes to the Hub runs by itself, and its front matter says so to the Hub."""
    from gradio_client import Client

    home = tmp_path / "space"
    subprocess.run(["bash", "space/deploy.sh", str(home)], cwd=ROOT, check=True, capture_output=True)
    names = {path.name for path in home.iterdir()}
    assert names == {"app.py", "actions.py", "requirements.txt", "README.md", "sngan_hub"}
    again = subprocess.run(["bash", "space/deploy.sh", str(home)], cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 2 and "is not empty" in again.stderr
    with serving(tmp_path / "gradio", home=home) as (url, process):
        gallery, *_ = Client(url, verbose=False).predict("sngan_avatars32", ["moods"], 1, "1", 0, api_name="/sample")
        assert len(gallery) == 1
    yaml = pytest.importorskip("yaml")
    front = yaml.safe_load((home / "README.md").read_text().split("---")[1])
    assert front["app_file"] == "app.py" and front["sdk"] == "gradio" and front["license"] == "mit"


def test_ones_own_model_is_offered_first(other_page):
    from gradio_client import Client

    url, _ = other_page
    gallery, *_ = Client(url, verbose=False).predict(str(OWN), ["Sneaker"], 1, "1", 0, api_name="/sample")
    assert gallery[0]["caption"] == "Sneaker"
    assert f"{OWN.name} (your model)" in urllib.request.urlopen(url).read().decode()
    done = subprocess.run(
        [sys.executable, "space/app.py", "--model", "nowhere/here/at-all"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2 and "there is no file or folder" in done.stderr and "Traceback" not in done.stderr


@pytest.fixture
def actions(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "space")
    import actions

    return actions


def test_links_carry_what_they_must(actions):
    made = actions.link("sample", model="a/b c", classes=["x", "y|z"], n=3, seed=0, truncation=None)
    said = dict(urllib.parse.parse_qsl(made[1:]))
    assert said["model"] == "a/b c" and said["tab"] == "sample" and "truncation" not in said
    assert said["seed"] == "0"
    assert actions.parse_way("8", 2) == (8, None) and actions.parse_way("2, 1", 2) == (0, [2.0, 1.0])
    assert actions.parse_way("", 2) == (8, None) and actions.parse_way([1, 3], 2) == (0, [1.0, 3.0])
    labels = [label for label, _ in actions.model_choices()]
    assert labels[:2] == ["sngan_avatars32", "sngan_fashion32"] and any("326 MB" in label for label in labels)
    assert actions.classes_of("sngan_imagenet128.mmgen_fid")[207] == "golden retriever"  # nothing is fetched for a list


def test_a_request_leaves_no_folder_behind_once_its_files_are_deleted(actions, tmp_path, monkeypatch):
    """Gradio deletes the files of a request after an hour, and leaves the folders, of which each request has several."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    old, new = [tmp_path / "sngan_hub" / "tmpold", tmp_path / ("a1" * 32)], [tmp_path / ("b2" * 32), tmp_path / "other"]
    full = tmp_path / ("c3" * 32)
    for folder in (*old, *new, full):
        folder.mkdir(parents=True)
    (full / "image.png").write_bytes(b"shown still")
    for folder in (*old, full, tmp_path / "other"):
        os.utime(folder, (0, 0))
    *_, path = actions.sample("sngan_avatars32", ["planets"], 1, 1, 0)
    assert Path(path).is_file() and not any(folder.exists() for folder in old)
    assert all(folder.exists() for folder in (*new, full))  # what a request is filling, what is shown, what is not ours
    old[0].mkdir()
    os.utime(old[0], (0, 0))
    actions.judge("sngan_avatars32", path)
    assert not old[0].exists()
