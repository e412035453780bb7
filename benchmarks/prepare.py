"""Measures how fast ``sngan prepare`` reads images, compared with the decoder alone, and how fast the loader reads the
prepared data: ``python benchmarks/prepare.py [--images 20000]``. Every 400th image is damaged.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sngan_hub.data import load_images  # noqa: E402
from training.config.dry_run import device_kind  # noqa: E402
from training.feed.draws import batch_index  # noqa: E402

SIDES = ((500, 375), (375, 500), (500, 333), (640, 480))
PER_FILE = 400


def make(task: tuple[Path, int, int]) -> list[str]:
    """Writes JPEGs ``start`` .. ``stop`` of ImageNet's size, smooth noise with edges. Returns the damaged ones."""
    folder, start, stop = task
    damaged = []
    for i in range(start, stop):
        rng = np.random.default_rng(i)
        width, height = SIDES[i % len(SIDES)]
        image = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((width, height), 3)
        pixels = np.array(image)
        pixels[height // 3 : height // 2, width // 4 : width // 2] += rng.integers(0, 256, dtype=np.uint8)
        pixels += rng.integers(0, 24, pixels.shape, dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        path = folder / f"class{i % 10}" / f"{i:06d}.jpg"
        data = buffer.getvalue()
        if i % PER_FILE == 7:
            data = [data[: len(data) // 2], b"", b"<html>" + data, data[:200]][i // PER_FILE % 4]
            damaged.append(str(path))
        path.write_bytes(data)
    return damaged


def decode(path: Path) -> None:
    """Only decodes and resizes: the upper limit for a loader."""
    with Image.open(path) as image:
        image.draft("RGB", (256, 256))
        image.convert("RGB").resize((128, 128), Image.Resampling.BILINEAR)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="60 images, as a test of the script")
    arguments = parser.parse_args()
    n = 60 if arguments.smoke else arguments.images
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as home:
        source, out = Path(home) / "source", Path(home) / "out"
        for c in range(10):
            (source / f"class{c}").mkdir(parents=True)
        with ProcessPoolExecutor(cores) as pool:
            tasks = [(source, i, min(i + 500, n)) for i in range(0, n, 500)]
            damaged = [name for part in pool.map(make, tasks) for name in part]
            good = [path for path in sorted(source.rglob("*.jpg")) if str(path) not in damaged][: n // 4]
            start = time.perf_counter()
            list(pool.map(decode, good, chunksize=100))
            ceiling = len(good) / (time.perf_counter() - start)
        command = [sys.executable, "-m", "training", "prepare", str(source), str(out), "--size", "128"]
        start = time.perf_counter()
        first = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)

        def done() -> int:
            path = out / "progress.jsonl"
            return len(path.read_text().splitlines()) if path.exists() else 0

        while first.poll() is None and done() < 4:  # few images are done before
            time.sleep(0.05)
        if first.poll() is None:
            os.killpg(first.pid, signal.SIGKILL)  # interrupted, and resumed
        first.wait()
        before, kept = time.perf_counter() - start, done()
        subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr, stderr=subprocess.DEVNULL)
        about = json.loads((out / "dataset.json").read_text())
        rows = len(about["blocks"])
        named = {line.split("\t")[0] for line in (out / "refused.tsv").read_text().splitlines()}
        assert named == set(damaged) and about["images"] == n - len(damaged), (len(named), len(damaged))
        whole = Path(home) / "whole"
        start = time.perf_counter()
        command = [*command[:-3], str(whole), *command[-2:]]
        subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        assert (whole / "images.npy").read_bytes() == (out / "images.npy").read_bytes()

        data = load_images(str(out), "train", 128)
        loader = []
        for _ in range(3):  # the first pass fills the page cache
            start = time.perf_counter()
            batches = len(data.images) // 64
            for position in range(batches):
                data.images[batch_index(0, position, 64, len(data.images))]
            loader.append(batches * 64 / (time.perf_counter() - start))
    text = f"""\
* {n:,} JPEGs of about 500x375 px, {len(damaged)} of them damaged: all {len(named)} named in `refused.tsv`.
* Killed after {before:.0f} s with {kept} of {rows} blocks done, and resumed: byte-equal to an unbroken run.
* `prepare` at 128 px: {n / seconds:,.0f} images/s, start-up and checksums included. Decoder and resize alone, in as
  many processes: {ceiling:,.0f} images/s.
* Loader, 128 px, batches of 64 in random order, from page cache: {max(loader):,.0f} uint8 images/s, best of 3.
* {device_kind("cpu").split(",")[0]}, {cores} cores; Python {platform.python_version()}, Pillow {PIL.__version__}.
"""
    print(text)
    if arguments.record:
        path = ROOT / "benchmarks" / "records" / "prepare.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
