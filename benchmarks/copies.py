"""Are the samples of an included model alike, or copies of training images? Distances within and to the data.

``python benchmarks/copies.py MODEL --data SOURCE --held-out FOLDER --record`` adds a row to ``records/copies.jsonl``
and prints ``records/copies.md``. Distances are root mean square differences in levels of 256 over a grid of 16x16
squares.

``--figure FILE`` writes samples beside their nearest training images. It contains images of the data: do not commit it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sngan_hub import labelled_grid, load_generator, save_png  # noqa: E402
from sngan_hub.data import load_images  # noqa: E402
from sngan_hub.files import read_json_lines, write_json_lines, write_text  # noqa: E402
from training.feed.near_copies import copying, nearest, small  # noqa: E402

RECORD = ROOT / "benchmarks" / "records" / "copies.jsonl"
PAIRS, COPIES, SHOWN = 64, 200, 2  # of each class: images compared in pairs, and with the data, and in the figure


def measure(model: str, source: str, held_out: str, figure: Path | None, n: int = COPIES) -> dict[str, Any]:
    """For each class: the nearest pair of 64 samples and of 64 test images, and whether samples repeat the data."""
    g = load_generator(model).for_sampling()
    classes = list(g.classes or [])
    splits = ((held_out, "all"), (source, "all")) if held_out else ((source, "test"), (source, "train"))
    test, train = (load_images(*of, g.size, left_out=[]).in_order(classes) for of in splits)
    pairs, real_pairs, repeats, shown = [], [], [], []
    for label, name in enumerate(classes):
        samples = g.sample(classes=[name], n=n, seed=0)
        rows = np.flatnonzero(train.labels == label)
        known = small(np.asarray(train.images[rows]))
        real = small(np.asarray(test.images[np.flatnonzero(test.labels == label)[:n]]))
        made, scale = small(samples), known.shape[1] ** 0.5
        for found, x in ((pairs, made), (real_pairs, real)):
            found.append(float(nearest(x[:PAIRS], x[:PAIRS], itself=True).distance.min()) / scale)
        near = nearest(made, known)
        repeats.append(copying(near.distance, nearest(real, known).distance))
        for i in range(SHOWN):
            shown += [samples[i], torch.from_numpy(np.asarray(train.images[rows[[int(near.row[i])]]])[0])]
    if figure:
        save_png(labelled_grid(torch.stack(shown), columns=2 * SHOWN, row_labels=classes), figure, {"model": model})
    closest = int(np.argmin(pairs))
    return {
        "model": model, "samples": n, "seed": 0, "torch": str(torch.__version__),
        "nearest_pair": round(pairs[closest], 1), "nearest_pair_class": classes[closest],
        "nearest_pair_real": round(real_pairs[closest], 1), "copying": round(float(np.mean(repeats)), 3),
        "copying_worst": round(max(repeats), 3), "copying_worst_class": classes[int(np.argmax(repeats))],
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| model | nearest pair of 64 samples (of 64 test images of that class) | probability that a sample is "
             "nearer to the training images than a test image is, mean / worst class |", "|---|---|---|"]  # fmt: skip
    for row in rows:
        lines.append(f"| `{row['model']}` | {row['nearest_pair']:.1f} ({row['nearest_pair_real']:.1f}), "
                     f"{row['nearest_pair_class']} | {row['copying']:.2f} / {row['copying_worst']:.2f}, "
                     f"{row['copying_worst_class']} |")  # fmt: skip
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="sngan_fashion32")
    parser.add_argument("--data", default="fashion", help="training images")
    parser.add_argument("--held-out", default="", metavar="FOLDER", help="test images, where the data have no split")
    parser.add_argument("--figure", type=Path, help="PNG of samples, each beside its nearest training image")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="few images, as a test of the script")
    arguments = parser.parse_args()
    found = measure(
        arguments.model, arguments.data, arguments.held_out, arguments.figure, 5 if arguments.smoke else COPIES
    )
    others = [row for row in read_json_lines(RECORD) if row["model"] != found["model"]]
    rows = sorted([*others, found], key=lambda row: row["model"])
    if arguments.record and not arguments.smoke:
        write_json_lines(RECORD, rows)
        write_text(RECORD.with_suffix(".md"), "\n".join(table(rows)) + "\n")
    print("\n".join(table([found])))


if __name__ == "__main__":
    main()
