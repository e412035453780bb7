"""Measures the web page: cold start, clicks in a browser, calls of its API. ``python benchmarks/space.py [--record]``

The included models are measured through the page's server: by clicks on Sample in Chromium, and by a client on this
machine without a browser. For sizes without included weights, the function behind the button is measured with an
untrained network. Needs chromium and playwright; without them, the clicks are left out.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sngan_hub import create_generator  # noqa: E402
from sngan_hub.sampling.generate import sample  # noqa: E402
from training.config.dry_run import device_kind  # noqa: E402

N = 5
NETWORKS = (("sngan_imagenet64", 1000), ("sngan_imagenet128", 1000), ("sngan_dogcat256", 143))  # and their classes
CALLS = (
    ("8 images of 32 px", "/sample", ("sngan_cifar10_small", ["horse"], 8, "1", 0)),
    ("a morph of 32 images of 32 px", "/morph", ("sngan_cifar10_small", ["horse", "ship"], "8", "1", 0)),
    ("a walk of 4 s, 96 frames of 32 px", "/walk", ("sngan_cifar10_small", ["horse"], 4, "1", 0)),
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="everything once, as a test of the script")
    arguments = parser.parse_args()
    record, runs, cold_starts, networks = arguments.record, N, 3, NETWORKS
    if arguments.smoke:
        record, runs, cold_starts, networks = False, 1, 1, NETWORKS[:1]
    from gradio_client import Client

    with socket.socket() as probe:  # a free port
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    rows, starts = [], []
    for attempt in range(cold_starts):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": folder}
            start = time.perf_counter()
            page = subprocess.Popen(
                [sys.executable, "space/app.py"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL
            )
            try:
                while True:
                    if page.poll() is not None:
                        raise SystemExit(f"the page ended with exit code {page.returncode}")
                    try:
                        urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5).read()
                        break
                    except OSError:
                        time.sleep(0.05)
                starts.append(time.perf_counter() - start)
                if attempt == cold_starts - 1:
                    rows += clicks(f"http://127.0.0.1:{port}", runs)
                    client = Client(f"http://127.0.0.1:{port}", verbose=False)
                    for what, endpoint, arguments in CALLS:
                        call = functools.partial(client.predict, *arguments, api_name=endpoint)
                        rows.append((what, [timed(call) for _ in range(runs)]))
            finally:
                page.terminate()
                page.wait()
    for name, classes in networks:
        generator = create_generator(name).eval().for_sampling()
        size = generator.size
        sample(generator, [0], 1, 0)
        call = functools.partial(sample, generator, [1], 8, 1)
        what = f"8 images of {size} px ({classes:,} classes; network only, random weights)"
        rows.append((what, [timed(call) for _ in range(runs)]))
    cold = f"{statistics.median(starts):.1f} ({min(starts):.1f} to {max(starts):.1f}), of {cold_starts}"
    head = "| page, or call of its functions by `gradio_client` | seconds, median of"
    lines = [f"{head} {runs} (least to most) |", "|---|---|",
             f"| from start to the page's HTML | {cold} |"]  # fmt: skip
    lines += [f"| {what} | {statistics.median(s):.2f} ({min(s):.2f} to {max(s):.2f}) |" for what, s in rows]
    text = "\n".join([*lines, "", f"{device_kind('cpu')}, torch {torch.__version__}."]) + "\n"
    print(text)
    if record:
        (ROOT / "benchmarks" / "records" / "space.md").write_text(text, encoding="utf-8")


def clicks(url: str, runs: int) -> list[tuple[str, list[float]]]:
    """From a click on Sample, as the page opens, until all new images are decoded."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return []
    if not (chromium := shutil.which("chromium")):
        return []
    images = "[...document.querySelectorAll('#sample-result img')]"
    done = f"() => {images}.length && {images}.every(e => e.complete && e.naturalWidth && !window.shown.has(e.src))"

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(url)
        page.wait_for_function(  # until the first images are complete: a click before is lost
            f"() => document.querySelector('#sample-link input, #sample-link textarea')?.value.startsWith('http') && "
            f"{images}.length && {images}.every(e => e.complete)", timeout=60_000,
        )  # fmt: skip

        def click() -> None:
            page.locator("#sample-go").click()
            page.wait_for_function(done, timeout=60_000)

        taken = []
        for _ in range(runs + 1):
            page.wait_for_timeout(1000)
            page.evaluate(f"() => {{ window.shown = new Set({images}.map(e => e.src)) }}")
            taken.append(timed(click))
        return [("from a click on Sample to new images in Chromium", taken[1:])]


def timed(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
