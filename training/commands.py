"""The functions of the training commands; cli.py defines their arguments. Torch is imported inside the functions."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sngan_hub.cli.parser import check_writable
from sngan_hub.text import plural

from .config.schema import Config, make_config

if TYPE_CHECKING:
    from .engine.state import State


def check_run_flags(arguments: argparse.Namespace) -> None:
    if arguments.predicted_for and not arguments.dry_run:
        raise ValueError(f"--for needs --dry-run (got {arguments.predicted_for!r})")


def config_of(arguments: argparse.Namespace) -> Config:
    fields = {field.name for field in dataclasses.fields(Config)} - {"preset"}
    return make_config(arguments.preset, **with_home({k: v for k, v in vars(arguments).items() if k in fields}))


def with_home(fields: dict[str, Any]) -> dict[str, Any]:
    """``fields`` with the home folder for ~ in paths: a shell leaves that of --out=~/run as it is."""
    return {k: os.path.expanduser(v) if k in ("out", "data", "held_out") else v for k, v in fields.items()}


def check_folders(config: Config, dry_run: bool = False) -> None:
    """Raises an error unless ``config.out`` is apart from the data and, if not a dry run, can be written."""
    from .engine.run_folder import check_out
    from .feed.checks import check_apart

    check_apart(config.out, data=config.data, held_out=config.test_folder)
    if not dry_run:
        check_out(Path(config.out))
        check_writable(Path(config.out), create=True)


def prepare(arguments: argparse.Namespace) -> None:
    from sngan_hub.data.prepared import is_prepared

    from .feed.checks import check_apart
    from .prepare.build import Recipe, prepare, verify
    from .prepare.sources import dogs_and_cats, list_source

    if arguments.folder is None:
        if not is_prepared(arguments.source):
            raise ValueError("out is missing; name the folder to write: sngan prepare SOURCE OUT")
        print(verify(Path(arguments.source)))
        return

    check_apart(arguments.folder, source=arguments.source)
    check_writable(arguments.folder, create=True)
    fields = recipe_of(arguments.preset) if arguments.preset else {}
    given = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(Recipe)}
    recipe = Recipe(**{**fields, **{name: value for name, value in given.items() if value is not None}})
    listing = list_source(arguments.source)
    for line in listing.notes:
        print(line, file=sys.stderr)
    if (arguments.preset or "").startswith("dogcat"):
        listing = dogs_and_cats(listing)
    about = prepare(listing, arguments.folder, recipe, arguments.source, arguments.workers)
    few = min(zip(about["counts"], about["classes"], strict=True))
    n, k = about["images"], len(about["classes"])
    print(f"{arguments.folder}: {plural(n, 'image')} of {about['size']} px in {plural(k, 'class', 'classes')}; the "
          f"smallest class is {few[1]}, with {few[0]:,}. To train on it: --data {arguments.folder}")  # fmt: skip
    if n := about["refused"]:
        print(f"Skipped {n:,} image{'s' * (n != 1)}; {arguments.folder / 'refused.tsv'} lists each, with the reason. "
              f"After repairing them, prepare the source in another folder")  # fmt: skip


def recipe_of(preset: str) -> dict[str, Any]:
    """The preprocessing of a preset. For ImageNet, the authors scale the short side to 256 and skip smaller images."""
    config = make_config(preset)
    size = config.stored_size or config.size
    if not config.contrast_stretch:
        return {"size": size}
    own = config.stretches_at_load(config.size)
    return {"size": size, "short_side": 256, "min_side": 256, "contrast_stretch": own, "test_every": 0}


def train(arguments: argparse.Namespace) -> None:
    config = config_of(arguments)
    check_run_flags(arguments)
    if not config.out and not arguments.dry_run:
        raise ValueError("out is missing; name a folder for the run: --out RUN")
    if not config.data and not arguments.dry_run:
        raise ValueError("data is missing; name a folder or a data set: --data FOLDER")
    check_folders(config, arguments.dry_run)
    print_plan(config, arguments)
    if arguments.dry_run:
        return

    from .engine.loop import train

    print_done(config, train(config))


def print_plan(config: Config, arguments: argparse.Namespace) -> None:
    """Prints what a run will do: all settings and the cost for a dry run, otherwise six lines on stderr.

    Of several processes of a run, only the first prints.
    """
    from .config.dry_run import describe, summary
    from .engine.run_folder import is_first_process

    if not is_first_process():
        return
    if arguments.dry_run:
        print(describe(config, predict=True, device=arguments.predicted_for or ""))
    else:
        print(describe(config) if arguments.verbose else summary(config), file=sys.stderr)


def print_done(config: Config, state: State) -> None:
    from .engine.run_folder import is_first_process

    if is_first_process():
        print(f"{config.out}: {state.step} steps done; sample it: sngan sample {config.out} --out samples.png")


def finetune(arguments: argparse.Namespace) -> None:
    from sngan_hub.data import source_classes

    from .finetune.load import begin, prepare_run

    config, dry = config_of(arguments), arguments.dry_run
    check_run_flags(arguments)
    if not config.data or not (config.out or dry):
        raise ValueError("fine-tuning needs data and out: --data FOLDER --out RUN")
    check_folders(config, dry)
    source_classes(config.data)
    given = {field.name for field in dataclasses.fields(Config) if hasattr(arguments, field.name)}
    config, data, start = prepare_run(config, given, open_images=not dry)
    print_plan(config, arguments)
    if dry:
        print("\n".join(start.notes if start else [f"{config.out}: resumes from the last checkpoint"]))
        return
    from .engine.loop import train
    from .engine.run_folder import is_first_process
    from .monitor.report import write_report

    state = train(config, data, (lambda new: begin(new, start, config)) if start else None)
    if not is_first_process():
        return
    try:
        path, said = write_report(Path(config.out), data)
        print(f"{path}: {said}", file=sys.stderr)
    except (ValueError, OSError) as error:  # not fatal: the networks are saved, and the report can be written again
        print(f"Could not write the report: {error}", file=sys.stderr)
    print_done(config, state)


def study(arguments: argparse.Namespace) -> None:
    from .config.presets import METHODS, SETTINGS
    from .study.page import write_page
    from .study.plan import OWN, cells, check_fields
    from .study.run import STUDY, Study, read_study, run_study

    out = Path(os.path.expanduser(getattr(arguments, "out", "")))
    if not getattr(arguments, "out", ""):
        raise ValueError("out is missing; name a folder for the study: --out FOLDER")
    if arguments.page:
        print(f"{write_page(out, arguments.page)}: written")
        return
    for name in ("method", "setting", "seed"):
        if hasattr(arguments, name):
            raise ValueError(f"{name}: a study takes several: --{name}s A,B (got --{name})")
    known = {field.name for field in dataclasses.fields(Config)}
    fields = with_home({name: value for name, value in vars(arguments).items() if name in known and name not in OWN})
    if not fields.get("data"):
        raise ValueError("data is missing; name a folder or a data set: --data FOLDER")
    if not arguments.samples > 1 or arguments.rounds < 0:
        raise ValueError(
            f"samples must be 2 or more and rounds 0 or more (got {arguments.samples}, {arguments.rounds})"
        )
    wanted = cells(
        listed(arguments.methods) or METHODS, listed(arguments.settings) or SETTINGS,
        numbers("seeds", arguments.seeds, int), numbers("widths", arguments.widths, float),
    )  # fmt: skip
    begun = read_study(out)["fields"] if (out / STUDY).is_file() else {}
    new = {name: value for name, value in fields.items() if name not in begun}  # of early studies, these are ignored
    for line in check_fields(new, list(dict.fromkeys(cell.method for cell in wanted))):
        print(line, file=sys.stderr)
    if arguments.parallel < 1:
        raise ValueError(f"parallel must be 1 or more (got {arguments.parallel})")
    study = Study(arguments.preset, fields, arguments.samples)
    run_study(out, study, wanted, arguments.rounds, arguments.dry_run, arguments.parallel)
    if not arguments.dry_run:
        print(f"{write_page(out)}: written")


def listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def numbers(what: str, text: str, kind: type[Any]) -> list[Any]:
    try:
        return [kind(word) for word in listed(text)]
    except ValueError:
        raise ValueError(f"{what} must be numbers with commas between them (got {text!r})") from None


def report(arguments: argparse.Namespace) -> None:
    from .monitor.report import write_report

    path, said = write_report(arguments.folder)
    print(f"{path}: {said}")


def import_(arguments: argparse.Namespace) -> None:
    from sngan_hub.data.prepared import check_blocks

    from .config.schema import save_config
    from .engine.checkpoints import HAD_CHECKPOINTS, checkpoints, save_checkpoint
    from .engine.import_chainer import import_snapshot
    from .engine.run_folder import locked
    from .engine.snapshots import save_snapshot
    from .feed.images import stored_images

    config = config_of(arguments)
    if not config.out or not config.data:
        raise ValueError("import needs out and data: --out RUN --data FOLDER")
    check_folders(config)
    out = Path(config.out)
    if checkpoints(out):
        raise FileExistsError(f"out must not contain a run (got {out}); choose another folder")
    data = stored_images(config, config.size)
    check_blocks(data)
    state = import_snapshot(arguments.snapshot, config, data.classes)
    with locked(out):
        # If this is cut off before the checkpoint, train refuses the folder (it would start at step 0), and the same
        # import makes it whole.
        (out / HAD_CHECKPOINTS).touch()
        save_config(config, out / "config.json")
        save_snapshot(state, out)
        save_checkpoint(state, config, data.fingerprint(), out)
    print(
        f"{out}: imported iteration {state.step:,} of {arguments.snapshot}; sngan train with the same flags resumes it"
    )


def status(arguments: argparse.Namespace) -> None:
    import time

    from .monitor.status import as_json, has_ended, lines, status

    while True:
        found = status(arguments.folder)
        print(as_json(found) if arguments.json else lines(found), flush=True)
        if not arguments.watch or has_ended(arguments.folder):
            return
        time.sleep(10)
        print()


def probe(arguments: argparse.Namespace) -> None:
    import json

    from sngan_hub.hub.calibrations import calibration_folder
    from sngan_hub.sampling.refine import save_calibration

    from .finetune.calibrate import calibrate
    from .finetune.probe import probe

    arguments.data = os.path.expanduser(arguments.data)
    if arguments.calibrate:
        folder = calibration_folder(arguments.donor)
        check_writable(folder, create=False)
        fitted = calibrate(arguments.donor, arguments.data, arguments.seed, arguments.device)
        print(f"{save_calibration(fitted, folder)}: log ratio = {fitted.slope:.4g} score + {fitted.offset:.4g}, "
              f"fitted to {fitted.real:,} held-out and {fitted.generated:,} generated images. Next: sngan sample "
              f"{arguments.donor} --rejection --out samples.png")  # fmt: skip
        return
    if arguments.n < 20:
        raise ValueError(f"n must be 20 or more (got {arguments.n})")
    if not 0 <= arguments.seed < 2**63:
        raise ValueError(f"seed must be between 0 and 2^63 - 1 (got {arguments.seed})")
    print(
        json.dumps(
            probe(arguments.donor, arguments.data, arguments.n, arguments.layer, arguments.seed, arguments.device)
        )
    )


def publish(arguments: argparse.Namespace) -> None:
    import tempfile

    from sngan_hub.cli.library import push_all

    from .publish.publish import stage

    with tempfile.TemporaryDirectory() as folder:
        texts = (arguments.about, arguments.data_about, arguments.licence)
        push_all(stage(arguments.folder, arguments.repo, Path(folder), *texts), arguments)


def ship(arguments: argparse.Namespace) -> None:
    from .publish.ship import ship

    of = {key: getattr(arguments, key) for key in ("source", "before", "note")}
    print(ship(arguments.folder, arguments.name, **of))


def reference(arguments: argparse.Namespace) -> None:
    from .publish.ship import reference

    print(reference(arguments.name, held_out=arguments.held_out))


def tables(arguments: argparse.Namespace) -> None:
    from sngan_hub.hub.cards import write_cards
    from sngan_hub.weights.records import WEIGHTS

    from .publish.tables import ROOT, with_tables

    for record in WEIGHTS.values():
        if record.where == "shipped" and record.folder is not None:
            write_cards(record.folder.parent)
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
