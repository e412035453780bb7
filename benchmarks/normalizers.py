"""Seconds per update of every method that the SN paper compares, relative to weight normalisation (its timing figure).

``python benchmarks/normalizers.py [--size 32] [--rounds 5]``: the CNN pair of the paper on synthetic images, batch 64.
The methods take turns within each round, so that a busy machine slows all of them.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sngan_hub.data import Images  # noqa: E402
from training.config.dry_run import device_kind  # noqa: E402
from training.config.schema import METHODS, make_config  # noqa: E402
from training.study.timing import seconds_per_iteration  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=32, choices=(32, 48))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--n_dis", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="one round with few images, as a test of the script")
    arguments = parser.parse_args()
    fields = {}
    if arguments.smoke:
        arguments.rounds, arguments.n_dis, fields = 1, 1, {"batch_size": 2, "g_batch_size": 2}
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (640, 3, arguments.size, arguments.size), dtype=np.uint8)
    data = Images(images, np.zeros(640, np.int64), ["image"])
    preset = {32: "cnn_cifar10", 48: "cnn_stl10"}[arguments.size]
    configs = {method: make_config(preset, method=method, setting="A", n_dis=arguments.n_dis, device=arguments.device,
                                   **fields) for method in METHODS}  # fmt: skip
    seconds = seconds_per_iteration(configs, data, arguments.rounds)
    base = seconds["weight_norm"].median
    rows = {method: (*taken, taken.median / base) for method, taken in seconds.items()}
    if arguments.json:
        names = ("median", "min", "max", "relative")
        print(json.dumps({method: dict(zip(names, row, strict=True)) for method, row in rows.items()}))
        return
    lines = ["| method | seconds per iteration, median (least to most) | time relative to `weight_norm` |",
             "|---|---|---|"]  # fmt: skip
    for method, (median, least, most, relative) in sorted(rows.items(), key=lambda item: item[1][3]):
        lines.append(f"| `{method}` | {median:.3f} ({least:.3f} to {most:.3f}) | {relative:.2f} |")
    what = f"{arguments.size} px, batch 64, {arguments.n_dis} D steps and a G step, n = {arguments.rounds}, in turns"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    lines += ["", f"{what}; {device_kind(arguments.device)}, {versions}."]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.record:
        path = ROOT / "benchmarks" / "records" / "normalizers.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
