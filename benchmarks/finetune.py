"""Compares fine-tuning with training from scratch, on classes that the donor was not trained on: two studies.

``avatars``: five avatar styles, from the included models. ``photographs``: three classes of CIFAR-10, from a donor that
is first trained on the other seven; ``--data`` names the folder with ``train`` and ``test``.

Every run uses the command line. Recorded runs are not repeated, interrupted runs are resumed. One thread for each run:
``python benchmarks/finetune.py FOLDER --study NAME``; ``--print`` writes the tables and the curves from the records.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sngan_hub.data import draw_avatars  # noqa: E402
from sngan_hub.files import append_json, read_json_lines  # noqa: E402
from sngan_hub.metrics.protocols import machine, made_on, versions  # noqa: E402
from training.monitor.log import read_log  # noqa: E402
from training.monitor.score import SCORES, scores_of_run  # noqa: E402

RECORD = ROOT / "benchmarks" / "records" / "finetune.jsonl"
DONOR = "donor"  # of a study that trains its own: the folder of that run, below the study's folder


class Run(NamedTuple):
    arm: str
    images: int  # per class
    seed: int


class Study(NamedTuple):
    """``lay_out(study, data, folder)`` writes one folder of training images per size, and ``held_out``."""

    classes: list[str]
    what: str  # the classes, above the table
    sizes: list[int]  # training images per class
    held_out: int  # per class
    common: dict[str, Any]
    arms: dict[str, dict[str, Any]]
    runs: list[Run]
    lay_out: Callable[[Study, Path | None, Path], None]
    curves: str  # file below docs/
    donor: dict[str, Any] = {}  # settings of a donor that the study trains, if any


def draw(study: Study, data: Path | None, folder: Path) -> None:
    """Draws avatars."""
    for split, n in (("finetune", max(study.sizes)), ("held_out", study.held_out)):
        images = draw_avatars(study.classes, range(n), split, 32).transpose(0, 2, 3, 1)
        for k, image in enumerate(images):
            style, number = study.classes[k // n], k % n
            for part in [str(size) for size in study.sizes if number < size] if split == "finetune" else [split]:
                (folder / part / style).mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(folder / part / style / f"{number:03d}.png")


def choose(study: Study, data: Path | None, folder: Path) -> None:
    """Copies the first files of each class, and links the other classes for the donor."""
    if data is None:
        raise SystemExit("--data is missing: the folder with train and test, each with one folder per class")
    for split, parts in (("train", {str(size): size for size in study.sizes}), ("test", {"held_out": study.held_out})):
        for part, n in parts.items():
            for name in study.classes:
                (folder / part / name).mkdir(parents=True, exist_ok=True)
                for path in sorted((data / split / name).iterdir())[:n]:
                    shutil.copy(path, folder / part / name)
    (folder / f"{DONOR}-data").mkdir(exist_ok=True)
    for other in sorted((data / "train").iterdir()):
        if other.name not in study.classes:
            shutil.copytree(other, folder / f"{DONOR}-data" / other.name, dirs_exist_ok=True)


# fmt: off
COMMON: dict[str, Any] = dict(
    steps=1000, decay_from=500, decay_to=1000, batch_size=32, g_batch_size=32, lr_g=3e-4, lr_d=6e-4,
    ema_decay=0.99, augment="color,translation,cutout", precision="bf16", channels_last="true", threads=1,
    log_every=100, sample_every=200, snapshot_every=200, checkpoint_every=200, spectrum_every=0, score_every=200,
    score="kid1k_held_out",
)
STUDIES: dict[str, Study] = {
    "avatars": Study(
        classes=["cameo", "clay", "open-peeps", "slice", "voxel-bot"], what="New styles of drawings",
        sizes=[20, 100, 500], held_out=200, common=COMMON, lay_out=draw, curves="fine-tuning.png",
        arms={
            "full":           {"from": "sngan_avatars32", "trained": "all",   "freeze_d": 0},
            "FreezeD":        {"from": "sngan_avatars32", "trained": "all",   "freeze_d": 2},
            "gains":          {"from": "sngan_avatars32", "trained": "gains", "freeze_d": 0},
            "from Fashion":   {"from": "sngan_fashion32", "trained": "all",   "freeze_d": 0},
            "random foreign": {"from": "tests/golden/foreign/mmgen32_cond10_wo.pth", "trained": "all", "freeze_d": 0},
            "from scratch":   {"preset": "finetune", "architecture": "sngan_avatars32", "warm_up": 0},
        },
        runs=[Run(arm, 100, seed) for seed in range(3) for arm in ("full", "from scratch", "FreezeD", "gains")]
        + [Run("from Fashion", 100, 0), Run("random foreign", 100, 0)]
        + [Run(arm, n, 0) for n in (20, 500) for arm in ("full", "from scratch", "FreezeD")],
    ),
    "photographs": Study(
        classes=["cat", "horse", "ship"], what="New classes of photographs, CIFAR-10 as JPEG", sizes=[100, 500],
        held_out=1000, common=COMMON | dict(flip="true"), lay_out=choose, curves="fine-tuning-photographs.png",
        arms={
            "full":         {"from": DONOR, "trained": "all", "freeze_d": 0},
            "FreezeD":      {"from": DONOR, "trained": "all", "freeze_d": 2},
            "from scratch": {"preset": "finetune", "architecture": "sngan_cifar10_small", "warm_up": 0},
        },
        runs=[Run(arm, n, 0) for n in (100, 500) for arm in ("full", "from scratch", "FreezeD")],
        donor=dict(preset="cifar10_small", n_classes=7, n_dis=1, batch_size=64, g_batch_size=64, lr_g=4e-4, lr_d=8e-4,
                   augment="translation", ema_decay=0.999, one_pass="false", steps=4000, decay_from=2000, decay_to=4000,
                   threads=1, compile="on", log_every=50, sample_every=500, snapshot_every=1000,
                   checkpoint_every=250),
    ),
}
# fmt: on


def command(study: Study, run: Run, folder: Path) -> list[str]:
    arm = dict(study.arms[run.arm])
    if arm.get("from") == DONOR:
        arm["from"] = folder / DONOR
    settings = {**study.common, **arm, "seed": run.seed, "data": folder / str(run.images)}
    settings |= {"held_out": folder / "held_out", "out": out_of(run, folder)}
    return words("finetune" if "from" in arm else "train", settings)


def words(verb: str, settings: dict[str, Any]) -> list[str]:
    flags = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    return [sys.executable, "-m", "training", verb, *flags]


def out_of(run: Run, folder: Path) -> Path:
    return folder / "runs" / f"{run.arm}-{run.images}-{run.seed}".replace(" ", "_")


def run_to_end(line: list[str], log: Path) -> None:
    """Runs or resumes a command of the trainer."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a") as file:
        subprocess.run(line, cwd=ROOT, stdout=file, stderr=file, check=True)


def prepare(study: Study, data: Path | None, folder: Path) -> None:
    """The images, unless they are there, and the study's donor, if it has one."""
    if not (folder / "ready").is_file():
        study.lay_out(study, data, folder)
        (folder / "ready").touch()
    if study.donor:
        settings = study.donor | {"data": folder / f"{DONOR}-data", "out": folder / DONOR}
        run_to_end(words("train", settings), folder / f"{DONOR}.log")


def train(study: Study, run: Run, folder: Path) -> None:
    run_to_end(command(study, run, folder), out_of(run, folder).with_suffix(".log"))


def row_of(name: str, run: Run, folder: Path) -> dict[str, Any]:
    """The scores that a run wrote."""
    study, out = STUDIES[name], out_of(run, folder)
    scores = scores_of_run(out, study.common["score"])
    return {"study": name, **run._asdict(), "kid": {row["step"]: row["value"] for row in scores},
            "floor": scores[-1]["floor"], "evaluator": scores[-1]["evaluator"], "donor": study.donor,
            "settings": {**study.common, **study.arms[run.arm]}, "classes": study.classes,
            "seconds_per_step": round(sum(row["seconds_per_step"] for row in read_log(out)) / len(read_log(out)), 3),
            "machine": machine().split(",")[0] + ", 1 thread", "versions": versions()}  # fmt: skip


def read_records(name: str) -> list[dict[str, Any]]:
    """The rows of a study. The first rows name none: they are of the avatars."""
    return [row for row in read_json_lines(RECORD) if row.get("study", "avatars") == name]


def kids(rows: list[dict[str, Any]], arm: str, images: int) -> np.ndarray:
    """(seeds, score points)"""
    return np.array([list(row["kid"].values()) for row in rows if (row["arm"], row["images"]) == (arm, images)])


def table(study: Study, rows: list[dict[str, Any]]) -> list[str]:
    points = list(map(int, rows[0]["kid"]))
    lines = [f"{study.what}: {', '.join(study.classes)}.", "",
             "| images of each class | run | seeds | " + " | ".join(f"step {step}" for step in points) + " |",
             "|---" * (3 + len(points)) + "|"]  # fmt: skip
    known = {(row["images"], row["arm"]) for row in rows}
    for images, arm in [(n, arm) for n in study.sizes for arm in study.arms if (n, arm) in known]:
        found = kids(rows, arm, images)
        cells = [f"{column.mean():.4f}" + (f" ({column.min():.4f} to {column.max():.4f})" if len(column) > 1 else "")
                 for column in found.T]  # fmt: skip
        lines.append(f"| {images} | {arm} | {len(found)} | " + " | ".join(cells) + " |")
    lines.append("")
    for images in sorted({row["images"] for row in rows}):
        end = kids(rows, "from scratch", images)[:, -1].mean()
        for arm in study.arms:
            found = kids(rows, arm, images)
            if arm != "from scratch" and len(found):
                passed = [step for step, value in zip(points, found.mean(0), strict=True) if value <= end]
                when = f"by step {passed[0]}" if passed else f"not within {points[-1]} steps"
                lines.append(f"* {images} images of each class, {arm}: from scratch's final KID ({end:.4f}) {when}.")
    floors = [row["floor"] for row in rows]
    total = study.held_out * len(study.classes)
    lines += ["", f"KID of 1,000 samples against {total:,} images that no run was trained on, mean (least to most) "
              f"over seeds; {rows[-1]['evaluator']}. Training images instead of the samples: {min(floors):.4f} to "
              f"{max(floors):.4f}. {made_on(rows)}."]  # fmt: skip
    return lines


def draw_curves(study: Study, rows: list[dict[str, Any]], path: Path) -> None:
    """One panel per number of images; bands show the minimum and maximum over seeds."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    counts = sorted({row["images"] for row in rows})
    figure = Figure((3.6 * len(counts) + 1.4, 3.4), layout="constrained")
    for axes, images in zip(figure.subplots(1, len(counts), sharey=True, squeeze=False)[0], counts, strict=True):
        for arm in study.arms:
            found = kids(rows, arm, images)
            if len(found):
                steps = list(map(int, rows[0]["kid"]))
                color = f"C{list(study.arms).index(arm)}"
                axes.plot(steps, found.mean(0), marker=".", label=arm, color=color)
                axes.fill_between(steps, found.min(0), found.max(0), alpha=0.2, color=color, linewidth=0)
        axes.set_title(f"{images} images of each class")
        axes.set_xlabel("step")
        axes.set_ylim(0, 1.05 * max(max(row["kid"].values()) for row in rows))
        axes.spines[["top", "right"]].set_visible(False)
    handles = [Line2D([], [], color=f"C{i}", marker=".", label=arm) for i, arm in enumerate(study.arms)]
    figure.legend(handles=handles, loc="outside right center", frameon=False)
    figure.supylabel("KID")
    figure.savefig(path, dpi=100)


def smoke() -> None:
    """The images of both studies, and donor, two runs, table and curves of the photographs, which are noise here. The
    scores are invented, because Inception takes minutes.
    """
    small = dict(steps=2, decay_from=1, decay_to=2, batch_size=4, g_batch_size=4, log_every=1, sample_every=1,
                 snapshot_every=1, checkpoint_every=1, precision="fp32")  # fmt: skip
    study = STUDIES["photographs"]
    study = STUDIES["photographs"] = study._replace(
        sizes=[4], held_out=2, common=study.common | small | dict(score_every=0),
        donor=study.donor | small | dict(n_classes=2),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as home:
        draw(STUDIES["avatars"]._replace(sizes=[2], held_out=1), None, Path(home) / "avatars")
        noise, folder, rows = np.random.default_rng(0), Path(home) / "photographs", []
        for split, label in [(s, label) for s in ("train", "test") for label in (*study.classes, "dog", "frog")]:
            (Path(home) / split / label).mkdir(parents=True)
            for i in range(4):
                image = Image.fromarray(noise.integers(0, 256, (32, 32, 3), dtype=np.uint8))
                image.save(Path(home) / split / label / f"{i}.png")
        prepare(study, Path(home), folder)
        for arm in ("FreezeD", "from scratch"):
            run = Run(arm, 4, 0)
            train(study, run, folder)
            invented = {"step": 2, "protocol": study.common["score"], "value": 0.1, "floor": 0.0, "evaluator": "none"}
            (out_of(run, folder) / SCORES).write_text(json.dumps(invented) + "\n")
            rows.append(json.loads(json.dumps(row_of("photographs", run, folder))))
        print("\n".join(table(study, rows)))
        draw_curves(study, rows, Path(home) / "curves.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="for images and runs")
    parser.add_argument("--study", choices=STUDIES, default="avatars")
    parser.add_argument("--data", type=Path, help="photographs: the folder with train and test")
    parser.add_argument("--at-once", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--print", action="store_true", help="write tables and curves from the records and stop")
    parser.add_argument("--smoke", action="store_true", help="two steps of two arms of each study, without scores")
    arguments = parser.parse_args()
    if arguments.smoke:
        smoke()
        return
    if arguments.print:
        parts: list[str] = []
        for name, study in STUDIES.items():
            if rows := read_records(name):
                parts += [*([""] if parts else []), *table(study, rows)]
                draw_curves(study, rows, ROOT / "docs" / study.curves)
        RECORD.with_suffix(".md").write_text("\n".join(parts) + "\n", encoding="utf-8")
        return
    if arguments.folder is None:
        parser.error("FOLDER is missing: it keeps the images and the runs")
    name, study, folder = arguments.study, STUDIES[arguments.study], arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    prepare(study, arguments.data, folder)
    done = {(row["arm"], row["images"], row["seed"]) for row in read_records(name)}
    with ThreadPoolExecutor(arguments.at_once) as pool:

        def one(run: Run) -> None:
            start = time.perf_counter()
            train(study, run, folder)
            row = row_of(name, run, folder)
            append_json(RECORD, row)
            print(f"{run}: {row['kid']} in {time.perf_counter() - start:.0f} s", flush=True)

        list(pool.map(one, [run for run in study.runs if run not in done]))


if __name__ == "__main__":
    main()
