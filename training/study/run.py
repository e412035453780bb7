"""Makes a study: times all methods, trains and scores every run that has no result yet, and writes the page.

``FOLDER/study.json`` holds the settings of all runs, ``results.jsonl`` a line per finished run, ``times.json`` the
seconds per iteration, ``samples/`` a strip of samples of each run, ``runs/`` the runs. A killed study is resumed by the
same command; further methods, settings and seeds can be added to a folder.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sngan_hub.data import Images, NoTestSplit
from sngan_hub.devices import resolve_device
from sngan_hub.files import append_json, read_json_lines, write_json
from sngan_hub.hub.load import load_discriminator, load_generator
from sngan_hub.metrics.protocols import Evaluation, machine, versions
from sngan_hub.metrics.scores import fid, kid
from sngan_hub.metrics.spectrum import spectra
from sngan_hub.text import plural

from ..config.schema import FREE, Config
from ..engine.loop import train
from ..engine.machine import set_up
from ..engine.state import new_networks
from ..feed.images import held_out_images, stored_images
from ..monitor.log import fixed_samples, read_log, save_grid
from .plan import Cell, config_of
from .timing import Seconds, seconds_per_iteration
from .worker_processes import nothing_to_save, run_in_processes

RESULTS, TIMES, STUDY, SAMPLES = "results.jsonl", "times.json", "study.json", "samples"
IMAGES = "images"  # in study.json: hashes of the images
STRIP = 8  # images of a strip
POINTS = 64  # singular values that are kept of a layer
KID_SAMPLES = 1000
#: Settings that may change between the runs of a folder: those that a resumed run may change, but not those on which
#: the results of whole runs depend
LOOSE = FREE - {"data", "held_out", "speed", "steps", "score_every", "score", "patience"}


@dataclasses.dataclass(frozen=True)
class Study:
    """What all runs of a folder share."""

    preset: str
    fields: dict[str, Any]  # settings of training that are not the preset's
    samples: int = 2000

    def config(self, cell: Cell, folder: Path) -> Config:
        return config_of(cell, self.preset, {**self.fields, "out": str(folder / "runs" / cell.name)})


def begin(folder: Path, study: Study) -> None:
    """Writes study.json, or raises ``ValueError`` where the folder holds runs of a study with other settings."""
    path, now = folder / STUDY, json.loads(json.dumps(dataclasses.asdict(study)))
    if path.is_file():
        old = read_study(folder)
        was, wanted = ({**other, **other["fields"]} for other in (old, now))
        changed = [f"{name}: was {was.get(name)!r}, now {wanted.get(name)!r}" for name in {**was, **wanted}
                   if name not in {"fields", IMAGES, *LOOSE} and was.get(name) != wanted.get(name)]  # fmt: skip
        if not changed:
            return
        if has_runs(folder):
            raise ValueError(f"out: {folder} holds a study with other settings ({'; '.join(changed)}); use these, or "
                             f"another --out")  # fmt: skip
        (folder / TIMES).unlink(missing_ok=True)  # of the other settings
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, now)


def has_runs(folder: Path) -> bool:
    return bool(read_results(folder)) or any((folder / "runs").glob("*/config.json"))


def check_images(folder: Path, config: Config) -> None:
    """Adds hashes of the training and held-out images to study.json, unless it has them (early studies have none).

    Raises ``ValueError`` where the folder holds runs with other images.
    """
    study, now = read_study(folder), {"data": data_of(config).fingerprint()}
    with suppress(NoTestSplit):  # the scores need one, and say so
        now["held_out"] = held_out_images(config, config.size).fingerprint()
    was = study.get(IMAGES, now)
    changed = [f"{name} {getattr(config, name)}" for name in {**was, **now} if was.get(name) != now.get(name)]
    if changed and has_runs(folder):
        raise ValueError(f"out: the images have changed since the runs in {folder} were made ({', '.join(changed)}); "
                         f"restore them, or use another --out")  # fmt: skip
    if study.get(IMAGES) != now:
        write_json(folder / STUDY, {**study, IMAGES: now})


def read_study(folder: Path) -> dict[str, Any]:
    """The settings in study.json. Raises ``ValueError`` if it holds something else."""
    path = folder / STUDY
    try:
        study = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # no JSON, or no UTF-8
        study = None
    if not isinstance(study, dict) or not {"preset", "fields", "samples"} <= study.keys():
        raise ValueError(f"{path}: not the settings of a study; restore the file, or choose another --out")
    return study


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The finished runs. A last line that a kill cut off is left out."""
    return read_json_lines(folder / RESULTS)


def cell_of(row: Mapping[str, Any]) -> Cell:
    return Cell(row["method"], row["setting"], row["seed"], row["width"])


def missing(folder: Path, wanted: list[Cell]) -> list[Cell]:
    done = {cell_of(row) for row in read_results(folder)}
    return [cell for cell in wanted if cell not in done]


def times(folder: Path, study: Study, methods: list[str], data: Images, rounds: int) -> dict[str, Seconds]:
    """Seconds per iteration in setting A, of five D steps and a G step.

    All methods of the folder are measured together, so that their times can be compared.
    """
    every = dict.fromkeys([*read_times(folder), *methods])
    configs = {method: study.config(Cell(method, "A", 0), folder) for method in every}
    found, place = seconds_per_iteration(configs, data, rounds), place_of(configs[methods[0]])
    write_json(folder / TIMES, {"seconds": found, "rounds": rounds, **place, "versions": versions()})
    return found


def place_of(config: Config) -> dict[str, str]:
    """Where the runs are made. Raises ``ValueError`` if this machine does not have the device."""
    device = set_up(config).device.partition(":")[0]  # before machine(), which has threads
    return {"machine": machine(), "device": device}


def times_here(folder: Path, config: Config) -> dict[str, Seconds]:
    """``read_times``, or empty if they were measured on another machine or device, or with other threads."""
    known = read_times(folder)
    if not known:
        return {}
    stored = json.loads((folder / TIMES).read_text(encoding="utf-8"))
    try:
        here = place_of(config)
    except ValueError:  # a dry run needs no device
        return {}
    return known if all(stored.get(name, value) == value for name, value in here.items()) else {}


def read_times(folder: Path) -> dict[str, Seconds]:
    """The measured seconds per iteration of each method; empty if there are none."""
    path = folder / TIMES
    rows = json.loads(path.read_text(encoding="utf-8"))["seconds"] if path.is_file() else {}
    return {name: Seconds(*row) for name, row in rows.items()}


def cost_lines(
    todo: list[Cell], study: Study, folder: Path, seconds: Mapping[str, Seconds], parallel: int = 1
) -> list[str]:
    """How many runs are missing, and their hours on this machine, without scoring. A D step is counted as one sixth of
    a timed iteration, which has five of them and a G step. Of methods without a time, the hours are unknown.
    """
    total, timed = 0.0, [cell for cell in todo if cell.method in seconds]
    for cell in timed:
        config = study.config(cell, folder)
        total += seconds[cell.method].median * (config.n_dis + 1) / 6 * config.steps
    done = len(read_results(folder))
    hours = f"about {total / 3600:.1f} hours" if total >= 3600 else f"about {total / 60:.0f} minutes"
    if todo and not timed:
        hours = "an unknown time"
    elif len(timed) < len(todo):
        untimed = list(dict.fromkeys(cell.method for cell in todo if cell.method not in seconds))
        hours += (f" for {plural(len(timed), 'run')} and an unknown time for "
                  f"{plural(len(todo) - len(timed), 'run')} (not timed: {', '.join(untimed)})")  # fmt: skip
    shared = f", shared by {parallel} processes" if parallel > 1 else ""
    cost = f"{hours} of training on this machine{shared}, and {study.samples:,} samples to score after each run"
    return [f"{plural(len(todo), 'run')} to make, {done} done", cost]


Scorer = Callable[[Path, Study, Config], dict[str, Any]]


def run_study(
    folder: Path, study: Study, wanted: list[Cell], rounds: int = 5, dry_run: bool = False, parallel: int = 1,
    score: Scorer | None = None,
) -> None:  # fmt: skip
    """Makes the runs of ``wanted`` that have no result, ``parallel`` of them at a time in processes of their own.

    ``score``: in place of FID and KID, for tests.
    """
    first = study.config(wanted[0], folder)
    if first.held_out == "none":
        raise ValueError("a study needs held-out images (got held_out none); set --held-out to tenth or a folder")
    if not dry_run:
        begin(folder, study)
    todo = missing(folder, wanted)
    if todo and not dry_run:
        check_images(folder, first)
    methods = list(dict.fromkeys(cell.method for cell in wanted))
    seconds = times_here(folder, first) if todo else read_times(folder)  # no hours to state: of any machine
    if rounds and not dry_run and not set(methods) <= set(seconds):
        seconds = times(folder, study, methods, data_of(first), rounds)
    print("\n".join(cost_lines(todo, study, folder, seconds, parallel)), file=sys.stderr)
    if dry_run:
        print("\n".join(cell.name for cell in todo))
        return
    if todo and score is None:  # before the first run: unusable data are an error now, and processes share the features
        features_of_real_images(study, first, parallel)
    for number, row in enumerate(results(todo, study, folder, score or fid_and_kid, parallel), 1):
        cell = cell_of(row)
        if missing(folder, [cell]):  # else another process has made it: a second row would count as a second seed
            append_json(folder / RESULTS, row)
        shutil.rmtree(folder / "runs" / cell.name / "checkpoints", ignore_errors=True)
        said = f"FID {row['fid']:.1f}" if row["fid"] is not None else f"diverged at {row['diverged']}"
        print(f"{number} of {len(todo)} runs done: {cell.name}, {said}", file=sys.stderr)


def results(todo: list[Cell], study: Study, folder: Path, score: Scorer, parallel: int) -> Iterator[dict[str, Any]]:
    """The row of every run, in the order in which the runs end."""
    if parallel > 1:
        yield from run_in_processes(result_of, [(cell, study, folder, score) for cell in todo], parallel,
                               [folder / "runs" / f"{cell.name}.log" for cell in todo])  # fmt: skip
        return
    for number, cell in enumerate(todo, 1):
        print(f"run {number} of {len(todo)}: {cell.name}", file=sys.stderr)
        yield result_of(cell, study, folder, score)


def data_of(config: Config) -> Images:
    size = config.size
    key = config.data, config.split, config.stored_size or size, config.stretches_at_load(size)
    if key not in _data:
        _data.clear()
        _data[key] = stored_images(config, size)
    return _data[key]


_data: dict[tuple[str, str, int, bool], Images] = {}  # all runs of a process train on the same images


def result_of(cell: Cell, study: Study, folder: Path, score: Scorer) -> dict[str, Any]:
    """Trains (or resumes) a run and measures it. A run whose losses are not finite has no scores.

    The row of a run that another process has made since this one began is that in the results.
    """
    config, out = set_up(study.config(cell, folder)), folder / "runs" / cell.name  # before machine(), which has threads
    row: dict[str, Any] = {**cell._asdict(), "steps": config.steps, "machine": machine(), "versions": versions()}
    data = data_of(config)
    for made in read_results(folder):
        if cell_of(made) == cell:
            return made
    try:
        state = train(config, data)
    except FloatingPointError as error:
        return {**row, "diverged": str(error).partition(":")[0], "fid": None, "kid": None}
    with nothing_to_save():  # the run is finished: the same command measures it again
        lines = read_log(out)
        shown = fixed_samples(state.ema, config.seed)[:STRIP]
        save_grid(shown, folder / SAMPLES / f"{cell.name}.png", STRIP)
        seconds = sorted(line["seconds_per_step"] for line in lines)
        return {**row, **score(out, study, config), "loss_d": lines[-1]["loss_d"], "spread": lines[-1]["spread"],
                "seconds_per_step": seconds[len(seconds) // 2], "spectrum": singular_values(out)}  # fmt: skip


def singular_values(run: Path) -> dict[str, list[float]]:
    """Squared singular values of every layer of D over the largest, at most ``POINTS`` evenly spaced ranks."""
    found = {}
    for row in spectra(load_discriminator(str(run / "discriminator"))):
        n = min(len(row.values), POINTS)
        if n > 1:
            ranks = [round(i * (len(row.values) - 1) / (n - 1)) for i in range(n)]
            found[row.layer] = [round(float((row.values[k] / row.values[0]) ** 2), 5) for k in ranks]
    return found


def fid_and_kid(run: Path, study: Study, config: Config) -> dict[str, Any]:
    """FID of the study's number of samples against all test images, and KID of 1,000."""
    generator = load_generator(str(run / "generator"), device=resolve_device(config.device)).for_sampling()
    e = evaluation_of(generator, config)
    real, samples = e.real_features("test", None, balanced=False), e.sample_features(study.samples)
    n = min(KID_SAMPLES, len(real), study.samples)
    return {"fid": fid(samples, real), "kid": kid(samples[:n], real[:n]),
            "fid_floor": floor_of(study.samples, config.data, config.test_folder, e),
            "evaluator": f"{e.evaluator}; {study.samples:,} samples, {len(real):,} test images"}  # fmt: skip


_floors: dict[tuple[int, str, str, str], float] = {}


def floor_of(n: int, data: str, held_out: str, e: Evaluation) -> float:
    """FID of ``n`` training images, once for each process."""
    key = n, data, held_out, e.precision
    if key not in _floors:
        _floors[key] = fid(e.real_features("train", n), e.real_features("test", None, balanced=False))
    return _floors[key]


def evaluation_of(generator: Any, config: Config, workers: int = 1) -> Evaluation:
    return Evaluation(generator, config.data, held_out=config.test_folder, precision=config.precision, workers=workers,
                      stretch=config.contrast_stretch)  # fmt: skip


def features_of_real_images(study: Study, config: Config, workers: int) -> None:
    """Computes them on ``workers`` threads, unless they are in the cache."""
    classes = data_of(config).classes
    generator, _ = new_networks(config, len(classes), classes)  # with the classes of the runs, which order the images
    e = evaluation_of(generator.to(resolve_device(config.device)), config, workers)
    print(f"real images: features of {len(e.real.test.labels):,} test and {study.samples:,} training images, "
          f"unless they are in the cache", file=sys.stderr)  # fmt: skip
    e.real_features("test", None, balanced=False)
    e.real_features("train", study.samples)
