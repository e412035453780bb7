"""KID of real training images that were changed: what the score sees, and what it hardly sees.

``python benchmarks/changed.py SOURCE [--record]`` changes 1,000 training images in several ways and compares them with
1,000 test images. Changes that have a recorded value are not measured again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sngan_hub import create_generator  # noqa: E402
from sngan_hub.files import read_json_lines, write_json_lines, write_text  # noqa: E402
from sngan_hub.metrics.evaluation import Evaluation  # noqa: E402
from sngan_hub.metrics.inception import features  # noqa: E402
from sngan_hub.metrics.protocols import machine, made_on, versions  # noqa: E402
from sngan_hub.metrics.references import interleaved  # noqa: E402
from sngan_hub.metrics.scores import kid  # noqa: E402

RECORD = ROOT / "benchmarks" / "records" / "changed.jsonl"
IMAGES = 1000
Change = Callable[[np.ndarray, int], np.ndarray]  # (N, 3, S, S) uint8 and the number of classes -> the same shape


def noise(images: np.ndarray, n_classes: int, level: float) -> np.ndarray:
    """Gaussian noise with a standard deviation of ``level``, of 0 to 255."""
    drawn = level * np.random.default_rng(0).standard_normal(images.shape)
    return np.clip(np.rint(images + drawn), 0, 255).astype(np.uint8)


def few(images: np.ndarray, n_classes: int, each: int) -> np.ndarray:
    """``each`` images of every class, repeated. The classes of the images take turns."""
    return images[np.arange(len(images)) % (each * n_classes)]


def median(images: np.ndarray, n_classes: int) -> np.ndarray:
    """A median filter of 3x3 pixels."""
    filtered = [Image.fromarray(image.transpose(1, 2, 0)).filter(ImageFilter.MedianFilter(3)) for image in images]
    return np.stack([np.asarray(image).transpose(2, 0, 1) for image in filtered])


def edge(images: np.ndarray, n_classes: int) -> np.ndarray:
    """The lowest row of pixels is grey, as where an augmentation shows."""
    images = images.copy()
    images[:, :, -1] = 128
    return images


CHANGES: dict[str, Change] = {
    "none": lambda images, n_classes: images,
    **{f"noise of {level} level{'s' * (level > 1)}": partial(noise, level=level) for level in (1, 2, 4)},
    "median filter, 3x3": median,
    "lowest row grey": edge,
    **{f"{each} images of each class, repeated": partial(few, each=each) for each in (5, 20)},
}


def measure(source: str, known: dict[str, float], images: int = IMAGES) -> dict[str, Any]:
    e = Evaluation(create_generator("sngan_cifar10_unconditional"), source)  # of 32 px; it is not asked for images
    real = e.real_features("test", images)
    chosen = np.asarray(e.real.train.images[interleaved(e.real.train, images, True)])
    found = dict(known)
    for name, change in CHANGES.items():
        if name not in found:
            batches = torch.from_numpy(change(chosen, len(e.real.train.classes))).split(50)
            found[name] = kid(features(e.inception, batches, images, name, e.precision), real)
    return {"source": source, "images": images, "kid": found, "machine": machine(), "versions": versions()}


def lines(rows: list[dict[str, Any]]) -> list[str]:
    table = ["| change | " + " | ".join(f"KID, {row['source']}" for row in rows) + " |", "|---" * (1 + len(rows)) + "|"]
    for name in (name for name in CHANGES if all(name in row["kid"] for row in rows)):
        table.append(f"| {name} | " + " | ".join(f"{row['kid'][name]:.4f}" for row in rows) + " |")
    return [*table, "", f"{rows[0]['images']:,} images on each side. {made_on(rows)}."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "source", nargs="?", default="avatars", help="real images of 32 px, as `sngan train` reads them"
    )
    parser.add_argument("--record", action="store_true", help="add the row to the records and print the table anew")
    parser.add_argument("--smoke", action="store_true", help="two changes of a few images, as a test")
    arguments = parser.parse_args()
    if arguments.smoke:
        known = dict.fromkeys(list(CHANGES)[1:-1], 0.0)
        print("\n".join(lines([measure("fashion", known, 20)])))
        return
    rows = read_json_lines(RECORD)
    known = next((row["kid"] for row in rows if row["source"] == arguments.source), {})
    rows = [row for row in rows if row["source"] != arguments.source] + [measure(arguments.source, known)]
    print("\n".join(lines(rows)))
    if arguments.record:
        write_json_lines(RECORD, rows)
        write_text(RECORD.with_suffix(".md"), "\n".join(lines(rows)) + "\n")


if __name__ == "__main__":
    main()
