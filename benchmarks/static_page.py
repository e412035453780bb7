"""Measures the static page in Chromium with WebAssembly: seconds to images, frames per second, difference from Python.

``python benchmarks/static_page.py [--record]``. The page is built and served on this machine, so a first visit does
not include a download. Needs chromium, playwright, and the extra ``onnx``.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sngan_hub import load_generator  # noqa: E402
from training.config.dry_run import device_kind  # noqa: E402

N, SEEDS, IMAGES = 5, 10, 4
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
]

#: An engine of its own in the page, with the functions that are timed
PREPARE = """async ([folder, model]) => {
    const { Engine } = await import(new URL("engine.js", document.baseURI));
    const engine = new Engine(folder, "wasm");
    await engine.open(model);
    window.timed = {
        pictures: async () => { // four rows of eight, as the page draws them
            const start = performance.now();
            for (let row = 0; row < 4; row++) {
                const places = Array.from({ length: 8 }, (_, i) => 8 * row + i);
                await engine.draw({ model, seed: 1, places, weights: Array(8).fill([[row, 1]]) });
            }
            return (performance.now() - start) / 1000;
        },
        walk: async seconds => {
            const start = performance.now();
            let frames = 0;
            for (; performance.now() - start < 1000 * seconds; frames++)
                await engine.draw({ model, seed: 1, places: [frames % 192 / 192], walk: true, weights: [[[0, 1]]] });
            return 1000 * frames / (performance.now() - start);
        },
        sample: async (seed, n) => (await engine.draw({ model, seed, places: Array.from({ length: n }, (_, i) => i),
            weights: Array.from({ length: n }, (_, i) => [[i % model.n_classes, 1]]) })).map(image => [...image.data]),
    };
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="everything once, as a test of the script")
    arguments = parser.parse_args()
    runs, seeds, seconds = (1, 1, 0.2) if arguments.smoke else (N, SEEDS, 3)
    if not shutil.which("chromium"):
        print("skipped: the static page, which needs chromium")
        return
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        site = Path(name) / "site"
        subprocess.run([sys.executable, "-m", "sngan_hub.cli", "static", "--out", str(site)], check=True, cwd=ROOT)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        found = json.loads((site / "models.json").read_text(encoding="utf-8"))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        first, again = zip(*(visits(browser, url) for _ in range(runs)), strict=True)
        page = browser.new_page()
        page.goto(url)
        lines = [f"| | median of {runs} (least to most) |", "|---|---|",
                 row("first visit, files from this machine: seconds to 32 images", first),
                 row("later visit, offline: seconds to 32 images", again)]  # fmt: skip
        for model in found["models"]:
            page.evaluate(PREPARE, [found["runtime"]["folder"], model])
            what = f"`{model['name'].split('.')[0]}` ({model['bytes'] / 1e6:.1f} MB): "
            page.evaluate("() => timed.walk(1)")  # the browser compiles what runs often
            lines.append(
                row(f"{what}seconds to 32 new images", [page.evaluate("() => timed.pictures()") for _ in range(runs)])
            )
            rates = [page.evaluate("seconds => timed.walk(seconds)", seconds) for _ in range(runs)]
            lines.append(row(f"{what}frames per second of a walk", rates, 0))
            worst = max(difference(page, model, seed) for seed in range(seeds))
            lines.append(f"| {what}greatest difference from Python, {seeds} seeds | {worst} of 255 levels |")
        version = browser.version
        browser.close()
        server.shutdown()
    text = (
        "\n".join(
            [
                *lines,
                "",
                f"Chromium {version.split('.')[0]}, WebAssembly, one thread. {device_kind('cpu')}; "
                f"load average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores.",
            ]
        )
        + "\n"
    )
    print(text)
    if arguments.record and not arguments.smoke:
        (ROOT / "benchmarks" / "records" / "static.md").write_text(text, encoding="utf-8")


def visits(browser: Any, url: str) -> tuple[float, float]:
    """Seconds from opening the page to its images: with nothing stored, and then with everything stored."""
    context = browser.new_context()
    page = context.new_page()
    taken = []
    for later in (False, True):
        context.set_offline(later)
        start = time.perf_counter()
        page.goto(url)
        page.locator("#status", has_text="images in").wait_for(timeout=120_000)
        taken.append(time.perf_counter() - start)
        page.locator("#offline", has_text="Available offline").wait_for(timeout=120_000)
    context.close()
    return taken[0], taken[1]


def difference(page: Any, model: dict[str, Any], seed: int) -> int:
    pixels = np.array(page.evaluate("([seed, n]) => timed.sample(seed, n)", [seed, IMAGES]), np.int64)
    found = pixels.reshape(IMAGES, model["size"], model["size"], 4)[..., :3]
    generator = load_generator(model["name"])
    # Image i of the seed in class i: row i of the sample of all classes with one image each
    expected = generator.sample(list(range(IMAGES)), n=1, seed=seed)
    return int(np.abs(found - expected.permute(0, 2, 3, 1).numpy()).max())


def row(what: str, values: Any, digits: int = 2) -> str:
    return f"| {what} | {statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f}) |"


if __name__ == "__main__":
    main()
