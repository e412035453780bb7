"""Measures the data feed: images/s of its parts and of whole iterations with 1 and 2 threads, the time to load
folders of JPEGs, and the time that a training loop waits. ``python benchmarks/feed.py [--smoke] [--record]``.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import numpy as np
import PIL
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from accelerate import Accelerator  # noqa: E402

from sngan_hub.data import Images, load_images  # noqa: E402
from sngan_hub.data import folders as folder_source  # noqa: E402
from sngan_hub.data.images import Rows  # noqa: E402
from training.config.dry_run import device_kind  # noqa: E402
from training.config.schema import make_config  # noqa: E402
from training.engine.state import new_state  # noqa: E402
from training.engine.step import train_step  # noqa: E402
from training.feed.draws import batch_index, dequantised, draw_dequantisation, real_pixels  # noqa: E402
from training.feed.feed import Feed, new_feed  # noqa: E402

BATCH, N_DIS = 64, 5
WHOLE = {"whole iterations": False, "whole iterations but for the noise": True}  # dequantisation_on_device
JPEG_SIDES = ((500, 375), (375, 500), (500, 333), (640, 480))


def stored(folder: Path, kind: str, size: int, n: int) -> Images:
    """``n`` images of noise, as the memory map of a prepared data set in the page cache, or as an array in memory."""
    images = np.random.default_rng(0).integers(0, 256, (n, 3, size, size), dtype=np.uint8)
    if kind == "prepared":
        path = folder / f"{size}.npy"
        np.save(path, images)
        images = Rows(np.load(path, mmap_mode="r"), np.arange(n))
    return Images(images, np.arange(n) % 10, [str(i) for i in range(10)])


def per_second(act: Callable[[int], object], threads: int, batches: int) -> float:
    """Images per second of ``act``, which is called with the number of a batch."""
    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        list(pool.map(act, range(batches)))
        return batches * BATCH / (time.perf_counter() - start)


def parts_of(data: Images, size: int) -> dict[str, Callable[[int], object]]:
    n = len(data.images)
    pixels, noise = np.zeros((BATCH, 3, size, size), np.uint8), np.zeros((BATCH, 3, size, size), np.float32)
    flips = np.random.default_rng(0).random(BATCH) < 0.5

    def flipped(_: int) -> np.ndarray:
        out = pixels.copy()
        out[flips] = out[flips][..., ::-1]
        return out

    return {
        "read": lambda i: data.images[batch_index(0, i, BATCH, n)],
        "flip": flipped,
        "read and flip": lambda i: real_pixels(data, 0, i, BATCH, True),
        "noise": lambda i: draw_dequantisation(0, i, 0, np.empty_like(noise)),
        "to float, on the CPU": lambda i: dequantised(torch.from_numpy(pixels), torch.from_numpy(noise)),
    }


def iterations(data: Images, size: int, threads: int, steps: int, dequantisation_on_device: bool) -> float:
    """Images per second that ``Feed`` prepares on the host for a step that takes no time."""
    config = make_config("fashion32", batch_size=BATCH, g_batch_size=128, n_dis=N_DIS, flip=True, steps=steps + 1)
    feed = Feed(data, config, size, 128, 10, threads=threads, dequantisation_on_device=dequantisation_on_device)
    if dequantisation_on_device:
        elsewhere = torch.zeros(N_DIS, BATCH, 3, size, size)
        feed._dequantisation = lambda step: elsewhere
    feed.iteration(0)
    start = time.perf_counter()
    for step in range(1, steps + 1):
        feed.iteration(step)
    seconds = time.perf_counter() - start
    feed.close()
    return steps * N_DIS * BATCH / seconds


def rates(sizes: list[int], rounds: int, folder: Path) -> list[str]:
    lines = ["| images | part | 1 thread | 2 threads |", "|---|---|---|---|"]
    for size in sizes:
        for kind in ("prepared", "in memory"):
            data = stored(folder, kind, size, 64 * 2**20 // (3 * size**2))
            acts = parts_of(data, size)
            found: dict[tuple[str, int], list[float]] = {}
            for turn in range(rounds + 1):  # the first warms up
                for threads in (1, 2):
                    for name, act in acts.items():
                        value = per_second(act, threads, max(4, 1024 // size))
                        found.setdefault((name, threads), []).append(value)
                    for name, there in WHOLE.items():
                        value = iterations(data, size, threads, max(3, 256 // size), there)
                        found.setdefault((name, threads), []).append(value)
                if not turn:
                    found = {}
            for name in [*acts, *WHOLE]:
                one, two = (statistics.median(found[name, threads]) for threads in (1, 2))
                lines.append(f"| {size} px, {kind} | {name} | {one:,.0f} | {two:,.0f} |")
    return lines


def loading(n: int, rounds: int, folder: Path) -> list[str]:
    """Loads JPEGs of ImageNet's size at 128 px."""
    for i in range(n):
        rng = np.random.default_rng(i)
        image = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(JPEG_SIDES[i % 4], 3)
        pixels = np.array(image) + rng.integers(0, 24, (image.height, image.width, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        path = folder / "jpegs" / f"class{i % 10}" / f"{i:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())
    seconds: dict[int, list[float]] = {1: [], 2: []}
    prints = set()
    for _ in range(rounds):
        for threads in seconds:
            with mock.patch.object(folder_source.os, "cpu_count", lambda threads=threads: threads):
                start = time.perf_counter()
                data = load_images(str(folder / "jpegs"), "all", 128)
                seconds[threads].append(time.perf_counter() - start)
            prints.add(data.fingerprint())
    assert len(prints) == 1
    one, two = (n / statistics.median(seconds[threads]) for threads in (1, 2))
    return [f"A folder of {n:,} JPEGs of about 500x375 px, read at 128 px: {one:,.0f} images/s by 1 thread, {two:,.0f} "
            f"by 2, the same array; 20,000 take {20_000 / one:.0f} s and {20_000 / two:.0f} s."]  # fmt: skip


def waiting(size: int, step_seconds: float, steps: int, folder: Path, dequantisation_on_device: bool = False) -> str:
    """A loop whose step takes ``step_seconds`` on another device."""
    data = stored(folder, "prepared", size, 64 * 2**20 // (3 * size**2))
    config = make_config("fashion32", batch_size=BATCH, g_batch_size=128, n_dis=N_DIS, flip=True, steps=steps)
    feed = Feed(data, config, size, 128, 10, threads=2, dequantisation_on_device=dequantisation_on_device)
    if dequantisation_on_device:
        elsewhere = torch.zeros(N_DIS, BATCH, 3, size, size)
        feed._dequantisation = lambda step: elsewhere
    feed.iteration(0)
    first, start = feed.waited, time.perf_counter()
    for step in range(1, steps):
        feed.iteration(step)
        time.sleep(step_seconds)
    wall, waited = time.perf_counter() - start, feed.waited - first
    feed.close()
    need = N_DIS * BATCH / step_seconds
    noise = ", noise left to the device" if dequantisation_on_device else ""
    return (f"| {size} px, a step of {1000 * step_seconds:.0f} ms ({need:,.0f} images/s){noise} | {steps - 1} | "
            f"{wall:.2f} | {waited:.3f} | {waited / wall:.1%} |")  # fmt: skip


def training(steps: int, batch: int) -> str:
    """Real steps of small 32-px networks on the CPU, which they share with the feed's threads."""
    fields = '{"widths": [16, 16, 16, 16]}'
    config = make_config("fashion32", n_dis=N_DIS, batch_size=batch, g_batch_size=2 * batch, steps=steps,
                         generator_fields=fields, discriminator_fields=fields, precision="fp32")  # fmt: skip
    rng = np.random.default_rng(0)
    data = Images(rng.integers(0, 256, (2000, 3, 32, 32), dtype=np.uint8), np.arange(2000) % 10, list("abcdefghij"))
    accelerator, state = Accelerator(cpu=True), new_state(config, data.classes)
    feed = new_feed(data, config, state, accelerator)
    train_step(state, config, feed, accelerator)
    first, start = feed.waited, time.perf_counter()
    for _ in range(steps - 1):
        train_step(state, config, feed, accelerator)
    wall, waited = time.perf_counter() - start, feed.waited - first
    feed.close()
    what = f"32 px, real steps of small networks on the CPU, batch {config.batch_size}"
    return f"| {what} | {steps - 1} | {wall:.2f} | {waited:.3f} | {waited / wall:.1%} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true", help="a few of each, as a test of the script")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    smoke = arguments.smoke
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        lines = ["Images/s, batches of 64, medians; an iteration is 5 of them, with latents and labels.", ""]
        lines += rates([32] if smoke else [32, 64, 128], 1 if smoke else 5, folder)
        lines += ["", *loading(40 if smoke else 400, 1 if smoke else 3, folder), ""]
        lines += ["| loop | iterations | seconds | of them waiting for the feed | |", "|---|---|---|---|---|"]
        lines += [waiting(32 if smoke else 64, 0.1, 4 if smoke else 40, folder)]
        if not smoke:
            lines += [waiting(size, s, 40, folder) for size, s in ((64, 0.032), (128, 0.2), (128, 0.1))]
            lines += [waiting(size, s, 40, folder, True) for size, s in ((64, 0.032), (128, 0.1))]
        lines += [training(3, 8) if smoke else training(8, BATCH)]
    cores = os.cpu_count()
    load = os.getloadavg()[0]
    lines += [
        "",
        f"Load average at the end {load:.1f}, this benchmark's included: what others leave is what is measured.",
    ]
    lines += ["", f"{device_kind('cpu').split(',')[0]}, {cores} cores; Python {platform.python_version()}, numpy "
                  f"{np.__version__}, Pillow {PIL.__version__}. Nothing here has run on a GPU. "
                  "Rows with noise left to the device do not include the time to generate it."]  # fmt: skip
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.record:
        (ROOT / "benchmarks" / "records" / "feed.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
