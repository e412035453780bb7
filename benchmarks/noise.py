"""KID of real training images with added noise: how much scores depend on noise that is hardly visible.

``python benchmarks/noise.py SOURCE [--record]`` adds Gaussian noise of some standard deviations, in levels of 0 to 255,
to 1,000 training images and compares them with 1,000 test images.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sngan_hub import create_generator  # noqa: E402
from sngan_hub.files import write_text  # noqa: E402
from sngan_hub.metrics.evaluation import Evaluation  # noqa: E402
from sngan_hub.metrics.inception import features  # noqa: E402
from sngan_hub.metrics.protocols import machine, made_on, versions  # noqa: E402
from sngan_hub.metrics.references import interleaved  # noqa: E402
from sngan_hub.metrics.scores import kid  # noqa: E402

RECORD = ROOT / "benchmarks" / "records" / "noise.jsonl"
LEVELS, IMAGES = (0.0, 1.0, 2.0, 4.0), 1000


def measure(source: str, levels: tuple[float, ...] = LEVELS, images: int = IMAGES) -> dict[str, Any]:
    e = Evaluation(create_generator("sngan_cifar10_unconditional"), source)  # of 32 px; it is not asked for images
    real = e.real_features("test", images)
    chosen = e.train.images[interleaved(e.train, images, True)]
    rng, found = np.random.default_rng(0), {}
    for level in levels:
        noisy = np.clip(np.rint(chosen + level * rng.standard_normal(chosen.shape)), 0, 255).astype(np.uint8)
        batches = torch.from_numpy(noisy).split(50)
        found[f"{level:g}"] = kid(features(e.inception, batches, images, f"noise of {level:g}", e.precision), real)
    return {"source": source, "images": images, "kid": found, "machine": machine(), "versions": versions()}


def lines(rows: list[dict[str, Any]]) -> list[str]:
    levels = list(rows[0]["kid"])
    table = ["| training images of | " + " | ".join(f"KID, noise of {level} levels" for level in levels) + " |",
             "|---" * (1 + len(levels)) + "|"]  # fmt: skip
    for row in rows:
        table.append("| " + " | ".join([row["source"], *(f"{row['kid'][level]:.4f}" for level in levels)]) + " |")
    return [*table, "", f"{rows[0]['images']:,} images on each side. {made_on(rows)}."]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "source", nargs="?", default="avatars", help="real images of 32 px, as `sngan train` reads them"
    )
    parser.add_argument("--record", action="store_true", help="add the row to the records and print the table anew")
    parser.add_argument("--smoke", action="store_true", help="a few images, as a test")
    arguments = parser.parse_args()
    if arguments.smoke:
        print("\n".join(lines([measure("fashion", (0.0, 4.0), 20)])))
        return
    rows = [json.loads(line) for line in RECORD.read_text().splitlines()] if RECORD.is_file() else []
    rows = [row for row in rows if row["source"] != arguments.source] + [measure(arguments.source)]
    print("\n".join(lines(rows)))
    if arguments.record:
        write_text(RECORD, "".join(json.dumps(row) + "\n" for row in rows))
        write_text(RECORD.with_suffix(".md"), "\n".join(lines(rows)) + "\n")


if __name__ == "__main__":
    main()
