"""Compares training settings at equal computing time: ``python benchmarks/recipes.py FOLDER --data SOURCE``

Every recipe is BASE with the changes of its row in RECIPES. BASE's networks have a quarter to a third of the width of
the included ones, so that a run of minutes has thousands of iterations. The seconds per iteration of a recipe are
measured first, then it trains as many iterations as fit into ``--minutes``. Compilation does not count. The averaged G
is scored by FID and KID.

``--rates`` measures the seconds per iteration and stops: on a CPU twice, in processes of their own, and the shorter
time counts; on a GPU in turns. This needs an idle machine; several processes may train at the same time afterwards.
Recipes that compute the same are measured once. FOLDER keeps rates and runs: recorded rows are not repeated,
interrupted runs are resumed. ``--only "NAME; ..."`` selects rows, ``--print`` writes the table.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sngan_hub import load_generator  # noqa: E402
from sngan_hub.data import load_images  # noqa: E402
from sngan_hub.files import append_json, read_json_lines, write_json, write_text  # noqa: E402
from sngan_hub.metrics.protocols import Evaluation, machine, made_on, versions  # noqa: E402
from sngan_hub.metrics.scores import fid, kid  # noqa: E402
from training.config.schema import make_config  # noqa: E402
from training.engine.machine import set_up  # noqa: E402
from training.monitor.log import read_log  # noqa: E402
from training.study.timing import seconds_per_iteration  # noqa: E402

RECORD = ROOT / "benchmarks" / "records" / "recipes.jsonl"
UNTIMED, TIMED = 50, 150  # the iterations between these two steps are timed
SAMPLES, KID_SAMPLES = 2000, 1000
ENDLESS = 10_000_000  # "no decay" as a step, until the number of steps is known

# fmt: off
BASE: dict[str, Any] = dict(
    preset="cifar10_small", batch_size=64, g_batch_size=64, n_dis=1, lr_g=4e-4, lr_d=8e-4, beta2=0.99, ema_decay=0.999,
    augment="translation", flip="true", precision="bf16", channels_last="true", one_pass="false", log_every=50,
    sample_every=ENDLESS, snapshot_every=ENDLESS, checkpoint_every=250, keep_checkpoints=1, spectrum_every=0,
    score_every=0, generator_fields='{"widths": [64, 64, 48, 32]}',
    discriminator_fields='{"widths": [32, 32, 32, 32]}',
)
RECIPES: dict[str, dict[str, Any]] = {
    "base":                      {},
    "n_dis 2":                   dict(n_dis=2),
    "n_dis 3":                   dict(n_dis=3),
    "n_dis 5":                   dict(n_dis=5),
    "lr 4e-4, 4e-4":             dict(lr_d=4e-4),
    "lr 2e-4, 4e-4":             dict(lr_g=2e-4, lr_d=4e-4),
    "no augmentation":           dict(augment=""),
    "augmentation in 2nd half":  dict(late=True),
    "colour, translation":       dict(augment="color,translation"),
    "no flips":                  dict(flip="false"),
    "batch 32":                  dict(batch_size=32, g_batch_size=32),
    "batch 128":                 dict(batch_size=128, g_batch_size=128),
    "EMA 0.99":                  dict(ema_decay=0.99),
    "z_dim 64":                  dict(generator_fields='{"widths": [64, 64, 48, 32], "z_dim": 64}'),
    "non-saturating loss":       dict(loss="non_saturating"),
    "R1, weight 1":              dict(penalty="r1", penalty_weight=1.0, penalty_every=8),
    "R1, weight 10":             dict(penalty="r1", penalty_weight=10.0, penalty_every=8),
    "class transition":          dict(transition=True),
    "rates fall to 0":           dict(decay=True),
    "D 64-64-64-64":             dict(discriminator_fields='{"widths": [64, 64, 64, 64]}'),
    "D 16-32-64-64":             dict(discriminator_fields='{"widths": [16, 32, 64, 64]}'),
    "D with 3 blocks":           dict(discriminator_fields='{"widths": [32, 32, 32], "down": "110"}'),
    "G 96-64-32-16":             dict(generator_fields='{"widths": [96, 64, 32, 16]}'),
    "G 64-64-64-64":             dict(generator_fields='{"widths": [64, 64, 64, 64]}'),
}
# fmt: on


#: Settings that do not change what an iteration computes
SAME_WORK = {"lr_g", "lr_d", "ema_decay", "flip", "loss", "penalty_weight", "decay", "transition", "late"}


def timed_as(recipe: str) -> str:
    """The first recipe that computes the same: its seconds per iteration count for all of them."""
    work = {name: {key: value for key, value in changes.items() if key not in SAME_WORK}
            for name, changes in RECIPES.items()}  # fmt: skip
    return next(name for name in RECIPES if work[name] == work[recipe])


def settings_of(recipe: str, seed: int, steps: int | None, out: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """``steps`` None: until it is stopped.

    A transition takes the second eighth of a run, a decay the second half, and late augmentation begins at the half.
    """
    settings = {**BASE, **RECIPES[recipe], **arguments.smaller, "seed": seed, "data": arguments.data,
                "held_out": arguments.held_out, "out": out, "compile": arguments.compile, "threads": arguments.threads,
                "device": arguments.device}  # fmt: skip
    last = steps or ENDLESS
    settings["steps"] = last
    fall, transition = settings.pop("decay", False), settings.pop("transition", False)
    settings |= dict(decay_from=last // 2 if fall else last, decay_to=last)
    if settings.pop("late", False):
        settings |= dict(augment_from=last // 2)
    if transition:
        settings |= dict(transition_from=last // 8, transition_to=last // 4)
    return {key: value for key, value in settings.items() if value != ""}


def command(recipe: str, seed: int, steps: int | None, out: Path, arguments: argparse.Namespace) -> list[str]:
    words = [sys.executable, "-m", "training", "train"]
    settings = settings_of(recipe, seed, steps, out, arguments)
    return words + [word for key, value in settings.items() for word in (f"--{key}", str(value))]


def environment(arguments: argparse.Namespace) -> dict[str, str]:
    """All runs share a folder of compiled code, so that the timing of a recipe compiles for its training."""
    return {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(arguments.folder / "compiled")}


def measure_rates(recipes: list[str], arguments: argparse.Namespace) -> None:
    """Seconds per iteration of the recipes that have none, of each that computes the same once."""
    todo = [name for name in dict.fromkeys(map(timed_as, recipes)) if not rate_file(name, arguments).is_file()]
    data = None
    for recipe in todo:
        if arguments.device == "cpu":
            seconds = min(seconds_of_run(recipe, arguments) for _ in range(2))
        else:
            given = {key: {"true": True, "false": False}.get(value, value) for key, value in settings_of(
                recipe, 0, None, arguments.folder / "timing", arguments).items()}  # fmt: skip
            form = "off" if given.get("penalty_every", 1) > 1 else "graphs_only"  # as a run selects it
            config = set_up(make_config(given.pop("preset"), **{**given, "out": str(given["out"]), "compile": form}))
            data = data or load_images(config.data, config.split, 32)
            seconds = seconds_per_iteration({recipe: config}, data, arguments.rounds)[recipe].median
        write_json(rate_file(recipe, arguments), {"seconds": seconds})
        print(f"{recipe}: {seconds:.5f} s per iteration", flush=True)


def named(recipe: str) -> str:
    return recipe.replace(" ", "_").replace(",", "")


def rate_file(recipe: str, arguments: argparse.Namespace) -> Path:
    return arguments.folder / f"{named(recipe)}.rate.json"


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def seconds_of_run(recipe: str, arguments: argparse.Namespace) -> float:
    """CPU seconds per iteration of a recipe, in a new run."""
    timing = arguments.folder / f"{named(recipe)}-timing"
    shutil.rmtree(timing, ignore_errors=True)
    log, marks = timing / "log.jsonl", dict[int, float]()
    with open(arguments.folder / f"{named(recipe)}-timing.log", "a") as text:
        words = command(recipe, 0, None, timing, arguments)
        run = subprocess.Popen(words, cwd=ROOT, stdout=text, stderr=text, env=environment(arguments))
        process = psutil.Process(run.pid)
        while len(marks) < 2:
            if run.poll() is not None:
                raise RuntimeError(f"{recipe}: the run ended early; see {text.name}")
            step = read_log(timing)[-1]["step"] if log.is_file() and log.stat().st_size else 0
            for number, least in enumerate((arguments.untimed, arguments.timed)):
                if step >= least and number == len(marks):
                    marks[step] = cpu_seconds(process)
            time.sleep(0.2)
        run.send_signal(signal.SIGTERM)
        run.wait()
    (first, start), (last, end) = marks.items()
    return (end - start) / (last - first)


def train(recipe: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Runs or resumes a recipe for its time, scores it and returns the row."""
    out = arguments.folder / f"{named(recipe)}-{seed}"
    measure_rates([recipe], arguments)
    rate = json.loads(rate_file(timed_as(recipe), arguments).read_text())["seconds"]
    steps = max(round(60 * arguments.minutes / rate), 2)
    with open(arguments.folder / f"{out.name}.log", "a") as text:
        words = command(recipe, seed, steps, out, arguments)
        subprocess.run(words, cwd=ROOT, stdout=text, stderr=text, check=True, env=environment(arguments))
    settings = json.loads((out / "config.json").read_text(encoding="utf-8"))
    lines = read_log(out)
    return {"recipe": recipe, "seed": seed, "minutes": arguments.minutes, "steps": steps, "seconds_per_step": rate,
            "images": steps * settings["batch_size"] * settings["n_dis"], "spread": lines[-1]["spread"],
            "loss_d": sum(line["loss_d"] for line in lines[-10:]) / len(lines[-10:]),
            **arguments.score(out, arguments), "changes": RECIPES[recipe], "base": BASE, "data": arguments.source,
            "device": arguments.device, "machine": machine(), "versions": versions()}  # fmt: skip


def score(run: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """FID and KID of the averaged generator of a run, with Inception in ``arguments.precision``."""
    generator = load_generator(str(run / "generator"), device=arguments.device).for_sampling()
    e = Evaluation(generator, arguments.data, held_out=arguments.held_out, precision=arguments.precision)
    real, samples = e.real_features("test", None, balanced=False), e.sample_features(SAMPLES)
    evaluator = f"{e.evaluator}; {SAMPLES:,} samples (KID {KID_SAMPLES:,}), {len(real):,} test images"
    few = kid(samples[:KID_SAMPLES], e.real_features("test", KID_SAMPLES))
    return {"fid": fid(samples, real), "kid": few, "evaluator": evaluator}


def tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    """One table for each machine, time and data: the mean over seeds, best FID first."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["data"], row["device"], row["machine"], row["minutes"]), []).append(row)
    for (data, device, _, minutes), group in groups.items():
        yield f"{data}, {minutes:g} minutes on {'one core' if device == 'cpu' else 'one GPU'}:"
        yield ""
        yield "| recipe | seeds | iterations | FID | KID | spread of samples | D's hinge loss |"
        yield "|---" * 7 + "|"
        recipes = {row["recipe"]: [other for other in group if other["recipe"] == row["recipe"]] for row in group}
        mean: Callable[[list[dict[str, Any]], str], float] = lambda own, key: sum(r[key] for r in own) / len(own)  # noqa: E731
        for recipe, own in sorted(recipes.items(), key=lambda item: mean(item[1], "fid")):
            fids = [row["fid"] for row in own]
            between = f" ({min(fids):.1f} to {max(fids):.1f})" if len(fids) > 1 else ""
            yield (f"| {recipe} | {len(own)} | {mean(own, 'steps'):,.0f} | {mean(own, 'fid'):.1f}{between} | "
                   f"{mean(own, 'kid'):.4f} | {mean(own, 'spread'):.2f} | {mean(own, 'loss_d'):.2f} |")  # fmt: skip
        yield ""
        yield f"{group[-1]['evaluator']}. {made_on(group)}."
        yield ""


def write_table() -> None:
    write_text(RECORD.with_suffix(".md"), "\n".join(tables(read_json_lines(RECORD))))


def smoke(arguments: argparse.Namespace) -> None:
    """Two recipes of two iterations on Fashion-MNIST, scores invented: Inception takes minutes."""
    with tempfile.TemporaryDirectory() as home:
        arguments.folder, arguments.data, arguments.held_out, arguments.source = Path(home), "fashion", "", "fashion"
        arguments.untimed, arguments.timed, arguments.minutes, arguments.compile = 1, 2, 1e-9, "off"
        arguments.smaller = dict(batch_size=4, g_batch_size=4, log_every=1, precision="fp32")
        arguments.smaller |= dict(
            generator_fields='{"widths": [8, 8, 8, 8]}', discriminator_fields='{"widths": [8, 8, 8, 8]}'
        )
        arguments.score = lambda run, _: {"fid": 100.0, "kid": 0.1, "evaluator": "none: invented"}
        rows = [train(recipe, 0, arguments) for recipe in ("n_dis 2", "rates fall to 0")]
        print("\n".join(tables(json.loads(json.dumps(rows)))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="for the runs")
    parser.add_argument("--data", default="cifar10", help="training images")
    parser.add_argument("--held-out", default="", metavar="DIR", help="test images, where the data have no split")
    parser.add_argument("--source", default="CIFAR-10 as JPEG", help="name of the data in the table")
    parser.add_argument("--minutes", type=float, default=10.0, help="computing time of each recipe")
    parser.add_argument("--only", default="", metavar="NAME;...", help="these recipes alone (default: all)")
    parser.add_argument("--seeds", default="0", metavar="S,...")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", default="on")
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16"), help="of Inception")
    parser.add_argument("--rates", action="store_true", help="measure the seconds per iteration, and stop")
    parser.add_argument("--rounds", type=int, default=50, help="GPU: timed iterations of each recipe")
    parser.add_argument("--print", action="store_true", help="write the table from the records and stop")
    parser.add_argument("--smoke", action="store_true", help="two tiny runs with invented scores, as a test")
    arguments = parser.parse_args()
    arguments.untimed, arguments.timed, arguments.smaller, arguments.score = UNTIMED, TIMED, {}, score
    if arguments.smoke:
        return smoke(arguments)
    if arguments.print:
        return write_table()
    if arguments.folder is None:
        parser.error("FOLDER is missing: it keeps the runs")
    names = [name.strip() for name in arguments.only.split(";") if name.strip()] or list(RECIPES)
    if unknown := set(names) - set(RECIPES):
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}; there are {'; '.join(RECIPES)}")
    arguments.folder = arguments.folder.resolve()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.rates:
        return measure_rates(names, arguments)
    done = {(row["recipe"], row["seed"], row["minutes"], row["device"], row["data"]) for row in read_json_lines(RECORD)}
    for seed in map(int, arguments.seeds.split(",")):
        for name in names:
            if (name, seed, arguments.minutes, arguments.device, arguments.source) in done:
                continue
            row = train(name, seed, arguments)
            append_json(RECORD, row)
            print(
                f"{name}, seed {seed}: {row['steps']:,} iterations, FID {row['fid']:.1f}, KID {row['kid']:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
