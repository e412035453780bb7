"""Linear probes of each block of the included discriminators, and of untrained ones: ``python benchmarks/probe.py``"""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from training.finetune.probe import probe  # noqa: E402

PAIRS = (  # model, its training data, and other data
    ("sngan_fashion32", "fashion"), ("sngan_avatars32", "avatars"), ("sngan_avatars32", "fashion"),
    ("sngan_fashion32", "avatars"),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="one pair, few images, as a test of the script")
    arguments = parser.parse_args()
    record, pairs, n = arguments.record, PAIRS, 5000
    if arguments.smoke:
        record, pairs, n = False, PAIRS[:1], 100
    lines = ["| discriminator | data | block 1 | block 2 | block 3 | block 4 |", "|---|---|---|---|---|---|"]
    for model, data in pairs:
        found = [probe(model, data, n, layer) for layer in (1, 2, 3, 4)]
        cells = [f"{f['trained']:.1%} ({f['untrained']:.1%})" for f in found]
        lines.append(f"| `{model}` | {data} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    counts = f"{found[0]['train']:,} training and {found[0]['test']:,} test images, seed 0"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    lines += ["", f"Accuracy on test images, in brackets an untrained discriminator's; {counts}; {versions}."]
    if record:
        (ROOT / "benchmarks" / "records" / "probe.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
