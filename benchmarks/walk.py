"""Times the README's commands: a folder of images -> a fine-tuned pair -> a grid of its classes.

``python benchmarks/walk.py --record`` generates the folder (three avatar styles that the donor was not trained on, 100
images each), and writes ``records/walk.md`` and the images of docs/.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sngan_hub.data import draw_avatars  # noqa: E402
from sngan_hub.metrics.protocols import machine  # noqa: E402
from training.monitor.score import scores_of_run  # noqa: E402

STYLES = ["clay", "open-peeps", "voxel-bot"]
PICTURES, SIDE = 100, 96
COMMANDS = (
    ("fine-tune, with four scores and the report", "-m training finetune --from sngan_avatars32 --data pets --out RUN"),
    ("a grid of the new classes", "-m sngan_hub.cli sample RUN --classes clay open-peeps voxel-bot --n 10 --seed 0 "
                                  "--out grid.png"),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="few images, two steps, as a test of the script")
    arguments = parser.parse_args()
    record, pictures, more = arguments.record, PICTURES, []
    if arguments.smoke:
        record, pictures, more = False, 4, ["--steps=2", "--batch_size=4", "--g_batch_size=4"]
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        for k, image in enumerate(draw_avatars(STYLES, range(pictures), "walk", SIDE).transpose(0, 2, 3, 1)):
            path = home / "pets" / STYLES[k // pictures] / f"{k % pictures:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
        lines, whole = ["| step | time |", "|---|---|"], 0.0
        for what, words in COMMANDS:
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, *words.split(), *(more if "finetune" in words else [])],
                cwd=home,
                check=True,
                env=_with_checkout(),
            )
            seconds = time.perf_counter() - start
            whole += seconds
            lines.append(f"| {what} | {_clock(seconds)} |")
        lines += [f"| total | {_clock(whole)} |", ""]
        scores = scores_of_run(home / "RUN", "kid1k_held_out")
        if not scores:  # too few images
            print("\n".join(lines))
            return
        best = min(scores, key=lambda row: row["value"])
        lines += [f"{len(STYLES) * pictures} images of {SIDE} px, {scores[-1]['step']:,} steps; KID "
                  f"{best['value']:.4f} at step {best['step']} against {best['evaluator'].split('; ')[-1]}. "
                  f"{machine()}, torch {torch.__version__}."]  # fmt: skip
        print("\n".join(lines))
        if record:
            (ROOT / "benchmarks" / "records" / "walk.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
            shutil.copy(home / "RUN" / "data.png", ROOT / "docs" / "walk-data.png")
            shutil.copy(home / "grid.png", ROOT / "docs" / "walk-result.png")


def _with_checkout() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


if __name__ == "__main__":
    main()
