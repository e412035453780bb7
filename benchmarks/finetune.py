"""Compares fine-tuning with training from scratch, on five avatar styles that no donor was trained on.

Every run uses the command line. Recorded runs are not repeated, interrupted runs are resumed. Two runs at a time,
one thread each: ``python benchmarks/finetune.py FOLDER``; ``--print`` writes the table and the curves from the records.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sngan_hub.data import draw_avatars  # noqa: E402
from sngan_hub.metrics.protocols import machine, made_on, versions  # noqa: E402
from training.monitor.log import read_log  # noqa: E402
from training.monitor.score import SCORES, scores_of_run  # noqa: E402

STYLES = ["cameo", "clay", "open-peeps", "slice", "voxel-bot"]
SIZES = (20, 100, 500)  # images per class
HELD_OUT = 200  # per class, 1,000 in total
STEPS = 1000
RECORDS = ROOT / "benchmarks" / "records"

# fmt: off
COMMON: dict[str, Any] = dict(
    steps=STEPS, decay_from=STEPS // 2, decay_to=STEPS, batch_size=32, g_batch_size=32, lr_g=3e-4, lr_d=6e-4,
    ema_decay=0.99, augment="color,translation,cutout", precision="bf16", channels_last="true", threads=1,
    log_every=100, sample_every=200, snapshot_every=200, checkpoint_every=200, spectrum_every=0, score_every=200,
    score="kid1k_held_out",
)
ARMS: dict[str, dict[str, Any]] = {
    "full":           {"from": "sngan_avatars32", "trained": "all",   "freeze_d": 0},
    "FreezeD":        {"from": "sngan_avatars32", "trained": "all",   "freeze_d": 2},
    "gains":          {"from": "sngan_avatars32", "trained": "gains", "freeze_d": 0},
    "from Fashion":   {"from": "sngan_fashion32", "trained": "all",   "freeze_d": 0},
    "random foreign": {"from": "tests/golden/foreign/mmgen32_cond10_wo.pth", "trained": "all", "freeze_d": 0},
    "from scratch":   {"preset": "finetune", "architecture": "sngan_avatars32", "warm_up": 0},
}
# fmt: on


class Run(NamedTuple):
    arm: str
    images: int  # per class
    seed: int


RUNS = [Run(arm, 100, seed) for seed in range(3) for arm in ("full", "from scratch", "FreezeD", "gains")]
RUNS += [Run("from Fashion", 100, 0), Run("random foreign", 100, 0)]
RUNS += [Run(arm, n, 0) for n in (20, 500) for arm in ("full", "from scratch", "FreezeD")]


def draw(folder: Path) -> None:
    """Writes ``folder/20``, ``100``, ``500`` and ``held_out``, each with one folder of PNG files per style."""
    for split, n in (("finetune", max(SIZES)), ("held_out", HELD_OUT)):
        if all((folder / name).is_dir() for name in ("held_out", *map(str, SIZES))):
            return
        images = draw_avatars(STYLES, range(n), split, 32).transpose(0, 2, 3, 1)
        for k, image in enumerate(images):
            style, number = STYLES[k // n], k % n
            for part in [str(size) for size in SIZES if number < size] if split == "finetune" else [split]:
                (folder / part / style).mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(folder / part / style / f"{number:03d}.png")


def command(run: Run, folder: Path, out: Path) -> list[str]:
    arm = ARMS[run.arm]
    settings = {**COMMON, **arm, "seed": run.seed, "data": folder / str(run.images), "held_out": folder / "held_out"}
    words = [sys.executable, "-m", "training", "finetune" if "from" in arm else "train", "--out", str(out)]
    return words + [word for key, value in settings.items() for word in (f"--{key}", str(value))]


def out_of(run: Run, folder: Path) -> Path:
    return folder / "runs" / f"{run.arm}-{run.images}-{run.seed}".replace(" ", "_")


def train(run: Run, folder: Path) -> None:
    """Runs or resumes a run."""
    out = out_of(run, folder)
    out.parent.mkdir(exist_ok=True)
    with open(out.with_suffix(".log"), "a") as log:
        subprocess.run(command(run, folder, out), cwd=ROOT, stdout=log, stderr=log, check=True)


def row_of(run: Run, folder: Path) -> dict[str, Any]:
    """The scores that a run wrote."""
    out = out_of(run, folder)
    scores = scores_of_run(out, COMMON["score"])
    return {**run._asdict(), "kid": {row["step"]: row["value"] for row in scores}, "floor": scores[-1]["floor"],
            "evaluator": scores[-1]["evaluator"], "settings": {**COMMON, **ARMS[run.arm]}, "classes": STYLES,
            "seconds_per_step": round(sum(row["seconds_per_step"] for row in read_log(out)) / len(read_log(out)), 3),
            "machine": machine().split(",")[0] + ", 1 thread", "versions": versions()}  # fmt: skip


def read_records() -> list[dict[str, Any]]:
    path = RECORDS / "finetune.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def kids(rows: list[dict[str, Any]], arm: str, images: int) -> np.ndarray:
    """(seeds, score points)"""
    return np.array([list(row["kid"].values()) for row in rows if (row["arm"], row["images"]) == (arm, images)])


def table(rows: list[dict[str, Any]]) -> list[str]:
    points = list(map(int, rows[0]["kid"]))
    lines = ["| images of each class | started | seeds | " + " | ".join(f"step {step}" for step in points) + " |",
             "|---" * (3 + len(points)) + "|"]  # fmt: skip
    known = {(row["images"], row["arm"]) for row in rows}
    for images, arm in [(n, arm) for n in SIZES for arm in ARMS if (n, arm) in known]:
        found = kids(rows, arm, images)
        cells = [f"{column.mean():.4f}" + (f" ({column.min():.4f} to {column.max():.4f})" if len(column) > 1 else "")
                 for column in found.T]  # fmt: skip
        lines.append(f"| {images} | {arm} | {len(found)} | " + " | ".join(cells) + " |")
    lines.append("")
    for images in sorted({row["images"] for row in rows}):
        end = kids(rows, "from scratch", images)[:, -1].mean()
        for arm in ARMS:
            found = kids(rows, arm, images)
            if arm != "from scratch" and len(found):
                passed = [step for step, value in zip(points, found.mean(0), strict=True) if value <= end]
                when = f"by step {passed[0]}" if passed else f"not within {points[-1]} steps"
                lines.append(f"* {images} images of each class, {arm}: from scratch's final KID ({end:.4f}) {when}.")
    floors = [row["floor"] for row in rows]
    lines += ["", f"KID of 1,000 samples against {HELD_OUT * len(STYLES):,} images that no run was trained on, mean "
              f"(least to most) over seeds; {rows[-1]['evaluator']}. Training images in the samples' place: "
              f"{min(floors):.4f} to {max(floors):.4f}. Styles: {', '.join(STYLES)}. {made_on(rows)}."]  # fmt: skip
    return lines


def draw_curves(rows: list[dict[str, Any]], path: Path) -> None:
    """One panel per number of images; bands show the minimum and maximum over seeds."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    counts = sorted({row["images"] for row in rows})
    figure = Figure((3.6 * len(counts) + 1.4, 3.4), layout="constrained")
    for axes, images in zip(figure.subplots(1, len(counts), sharey=True, squeeze=False)[0], counts, strict=True):
        for arm in ARMS:
            found = kids(rows, arm, images)
            if len(found):
                steps = list(map(int, rows[0]["kid"]))
                color = f"C{list(ARMS).index(arm)}"
                axes.plot(steps, found.mean(0), marker=".", label=arm, color=color)
                axes.fill_between(steps, found.min(0), found.max(0), alpha=0.2, color=color, linewidth=0)
        axes.set_title(f"{images} images of each class")
        axes.set_xlabel("step")
        axes.set_ylim(0, 1.05 * max(max(row["kid"].values()) for row in rows))
        axes.spines[["top", "right"]].set_visible(False)
    handles = [Line2D([], [], color=f"C{i}", marker=".", label=arm) for i, arm in enumerate(ARMS)]
    figure.legend(handles=handles, loc="outside right center", frameon=False)
    figure.supylabel("KID")
    figure.savefig(path, dpi=100)


def smoke() -> None:
    """Runs everything once with small settings: images, two runs, table and curves. The scores are invented, because
    Inception takes minutes.
    """
    global SIZES, HELD_OUT
    SIZES, HELD_OUT = (4,), 2
    COMMON.update(steps=2, decay_from=1, decay_to=2, batch_size=4, g_batch_size=4, log_every=1, sample_every=1,
                  snapshot_every=1, checkpoint_every=1, score_every=0, precision="fp32")  # fmt: skip
    with tempfile.TemporaryDirectory() as home:
        draw(Path(home))
        rows = []
        for arm in ("gains", "from scratch"):
            run = Run(arm, 4, 0)
            train(run, Path(home))
            made_up = {
                "step": 2,
                "protocol": COMMON["score"],
                "value": 0.1,
                "floor": 0.0,
                "evaluator": "none: invented",
            }
            (out_of(run, Path(home)) / SCORES).write_text(json.dumps(made_up) + "\n")
            rows.append(json.loads(json.dumps(row_of(run, Path(home)))))
        print("\n".join(table(rows)))
        draw_curves(rows, Path(home) / "curves.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--print", action="store_true")
    parser.add_argument(
        "--smoke", action="store_true", help="two steps of two arms in a separate folder, without scores"
    )
    arguments = parser.parse_args()
    if arguments.smoke:
        smoke()
        return
    if arguments.print:
        rows = read_records()
        (RECORDS / "finetune.md").write_text("\n".join(table(rows)) + "\n", encoding="utf-8")
        draw_curves(rows, ROOT / "docs" / "fine-tuning.png")
        return
    folder = arguments.folder.resolve()
    draw(folder)
    done = {(row["arm"], row["images"], row["seed"]) for row in read_records()}
    with ThreadPoolExecutor(2) as pool:

        def one(run: Run) -> None:
            start = time.perf_counter()
            train(run, folder)
            row = row_of(run, folder)
            with open(RECORDS / "finetune.jsonl", "a") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{run}: {row['kid']} in {time.perf_counter() - start:.0f} s", flush=True)

        list(pool.map(one, [run for run in RUNS if run not in done]))


if __name__ == "__main__":
    main()
