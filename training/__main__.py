"""``python -m training prepare | train | finetune | import | status | report | publish | probe | ship | tables``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sngan_hub.cli.main import add_device, add_push_flags
from sngan_hub.cli.parser import Parser, check_writable, run

from .config.schema import PRESETS, Config, make_config


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m training", description="Train SNGAN and projection-discriminator models.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)

    command = commands.add_parser(
        "train",
        help="train, or go on with the run in --out",
        description="The same command resumes a run. Every field of the config is a flag.",
    )
    command.add_argument("--dry_run", action="store_true", help="print the run and stop; no image is opened")
    add_for(command)
    add_fields(command)
    command.set_defaults(run=train)

    command = commands.add_parser(
        "prepare",
        help="pictures -> a prepared data set, for data too large to be read at every start",
        description="SOURCE: a folder of class folders or of .tar files, a .tar, celeba, lsun, hf:NAME[:SPLIT], or a "
        "prepared folder alone, whose checksums are then verified. The same command goes on where it was stopped.",
    )
    command.add_argument("source", metavar="SOURCE")
    command.add_argument("folder", metavar="OUT", type=Path, nargs="?")
    command.add_argument("--preset", help="the size and the recipe that this preset trains on")
    command.add_argument("--size", type=int, help="side of the stored squares (128)")
    command.add_argument("--short_side", type=int, help="scale the short side to this first (0: not)")
    command.add_argument("--min_side", type=int, help="refuse smaller pictures (0)")
    command.add_argument("--contrast_stretch", type=_truth, metavar="BOOL", help="as the authors' imresize (false)")
    command.add_argument("--test_every", type=int, help="keep every n-th picture of a class for scores (10; 0: none)")
    command.add_argument("--workers", type=int, default=0, help="processes (0: one a core)")
    command.set_defaults(run=prepare)

    command = commands.add_parser(
        "finetune",
        help="a trained pair on your own classes, or go on with the run in --out",
        description="MODEL: a name, a run, a folder, a Hub repository id, or a file of another code base with both "
        "networks. The same command resumes. Every field is a flag; defaults follow the number of images.",
    )
    command.add_argument("--from", dest="donor", required=True, metavar="MODEL")
    command.add_argument("--dry_run", action="store_true", help="print the run and stop; no image is opened")
    add_for(command)
    add_fields(command, preset="finetune")
    command.set_defaults(run=finetune)

    command = commands.add_parser("import", help="the authors' whole-trainer snapshot -> a run that goes on from it",
                                  description="Takes the flags of train, for the snapshot's own recipe.")  # fmt: skip
    command.add_argument("snapshot", metavar="SNAPSHOT", type=Path)
    add_fields(command)
    command.set_defaults(run=import_)

    command = commands.add_parser("status", help="how far a run is, how fast, and what is left")
    command.add_argument("folder", metavar="RUN", type=Path)
    command.add_argument("--watch", action="store_true", help="again every ten seconds, until it is done")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=status)

    command = commands.add_parser(
        "report", help="RUN/report.html: pictures over time, curves, the nearest training images, settings"
    )
    command.add_argument("folder", metavar="RUN", type=Path)
    command.set_defaults(run=report)

    command = commands.add_parser("publish", help="a run's pair, with cards and a picture, to the Hugging Face Hub")
    command.add_argument("folder", metavar="RUN", type=Path)
    command.add_argument("repo", metavar="NAMESPACE/NAME", help="the generator's; the other is NAME-discriminator")
    command.add_argument("--about", default="", help="a sentence for the cards")
    command.add_argument("--data_about", default="", help="where the training data come from, for the cards")
    command.add_argument("--licence", default="", help="of the weights, as the Hub spells it: mit, cc0-1.0 ...")
    add_push_flags(command)
    command.set_defaults(run=publish)

    command = commands.add_parser(
        "probe", help="a linear classifier on a discriminator's features, beside an untrained's"
    )
    command.add_argument("--from", dest="donor", required=True, metavar="MODEL")
    command.add_argument("--data", required=True, metavar="SOURCE")
    command.add_argument("--layer", type=int, help="behind this block (default: the last)")
    command.add_argument("--n", type=int, default=5000, help="images of each split, at most")
    command.add_argument(
        "--calibrate", action="store_true",
        help="instead: fit what a score means on held-out images, for `sngan sample --rejection` and `--ddls`",
    )  # fmt: skip
    command.add_argument("--seed", type=int, default=0)
    add_device(command)
    command.set_defaults(run=probe)

    command = commands.add_parser("ship", help="copy a run's pair into the package, with its record and cards")
    command.add_argument("folder", metavar="RUN", type=Path)
    command.add_argument("name", metavar="ARCHITECTURE.TAG")
    command.set_defaults(run=ship)

    command = commands.add_parser("reference", help="a shipped discriminator's scores of real and generated pictures")
    command.add_argument("name", metavar="ARCHITECTURE")
    command.set_defaults(run=reference)

    command = commands.add_parser(
        "tables", help="print the tables of the README and the guides, and the cards, anew from the records"
    )
    command.set_defaults(run=tables)

    arguments = parser.parse_args(argv)
    return run(f"python -m training {arguments.command}", lambda: arguments.run(arguments))


#: Fields that only `finetune` reads
FINE_TUNING = ("donor", "new_classes", "like", "class_order", "trained", "freeze_d", "l2_sp", "d_warm_up")


def add_fields(command: argparse.ArgumentParser, preset: str = "") -> None:
    """Every field of the config that the command reads, as a flag; ``preset``: the only one there is."""
    if preset:
        command.set_defaults(preset=preset)
    else:
        command.add_argument("--preset", required=True, help=", ".join(PRESETS))
        for name in FINE_TUNING:
            command.add_argument(f"--{name}", action=_OfFineTuning, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    for field in dataclasses.fields(Config):
        if field.name not in ("preset", *(["donor", "class_order"] if preset else FINE_TUNING)):
            kind = type(field.default)
            command.add_argument(
                f"--{field.name}", type=_truth if kind is bool else kind, default=argparse.SUPPRESS,
                metavar=kind.__name__.upper(),
            )  # fmt: skip


class _OfFineTuning(argparse.Action):
    """A flag that this command would read and not obey."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, option_string: str | None = None) -> None:
        parser.error(f"{option_string} is a setting of fine-tuning: python -m training finetune --from MODEL")


def add_for(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--for", dest="predicted_for", metavar="DEVICE",
        help="with --dry-run: predict the seconds on this device (H100, RTX 4090 ...) instead of this machine",
    )  # fmt: skip


def asked_device(arguments: argparse.Namespace) -> str | None:
    """Of a dry run: the device to predict for, "" for this machine; None where the run goes on."""
    if arguments.predicted_for and not arguments.dry_run:
        raise ValueError(f"for: got {arguments.predicted_for!r}, which predicts and needs --dry-run")
    return (arguments.predicted_for or "") if arguments.dry_run else None


def config_of(arguments: argparse.Namespace) -> Config:
    fields = {field.name for field in dataclasses.fields(Config)} - {"preset"}
    return make_config(arguments.preset, **{k: v for k, v in vars(arguments).items() if k in fields})


def prepare(arguments: argparse.Namespace) -> None:
    from sngan_hub.data.prepared import is_prepared

    from .feed.checks import check_apart
    from .prepare.build import Recipe, prepare, verify
    from .prepare.sources import dogs_and_cats, list_source

    if arguments.folder is None:
        if not is_prepared(arguments.source):
            raise ValueError("out: missing; name the folder to write: prepare SOURCE OUT")
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
    print(f"{arguments.folder}: {about['images']:,} images of {about['size']} px in {len(about['classes'])} classes, "
          f"at least {few[0]:,} ({few[1]}); train on it: --data {arguments.folder}")  # fmt: skip
    if about["refused"]:
        print(f"{about['refused']} pictures were refused: {arguments.folder / 'refused.tsv'} names each, and why")


def recipe_of(preset: str) -> dict[str, Any]:
    """What a preset trains on. The authors scale ImageNet's short side to 256 first, and leave smaller pictures out."""
    from sngan_hub.networks.registry import find_model

    config = make_config(preset)
    size = config.stored_size or find_model(config.architecture).size
    if not config.contrast_stretch:
        return {"size": size}
    own = config.stretches_at_load(find_model(config.architecture).size)
    return {"size": size, "short_side": 256, "min_side": 256, "contrast_stretch": own, "test_every": 0}


def train(arguments: argparse.Namespace) -> None:
    config, device = config_of(arguments), asked_device(arguments)
    if not config.out and not arguments.dry_run:
        raise ValueError("out: missing; name the run's folder: --out RUN")
    if not config.data and not arguments.dry_run:
        raise ValueError("data: missing; name a folder or a source: --data FOLDER")
    from .config.dry_run import describe
    from .engine.run_folder import check_out
    from .feed.checks import check_apart

    check_apart(config.out, data=config.data, held_out=config.test_folder)
    if not arguments.dry_run:
        check_out(Path(config.out))
        check_writable(Path(config.out), create=True)
    print(describe(config, device), file=sys.stderr)
    if arguments.dry_run:
        return

    from .engine.loop import train

    state = train(config)
    print(f"{config.out}: {state.step} steps done; sample it: sngan sample {config.out} --out samples.png")


def finetune(arguments: argparse.Namespace) -> None:
    from sngan_hub.data import source_classes

    from .engine.run_folder import check_out
    from .feed.checks import check_apart
    from .finetune.load import begin, prepare_run

    config, dry, device = config_of(arguments), arguments.dry_run, asked_device(arguments)
    if not config.data or not (config.out or dry):
        raise ValueError("out, data: fine-tuning needs both: --data FOLDER --out RUN")
    check_apart(config.out, data=config.data, held_out=config.test_folder)
    source_classes(config.data)
    if not dry:
        check_out(Path(config.out))
        check_writable(Path(config.out), create=True)
    given = {field.name for field in dataclasses.fields(Config) if hasattr(arguments, field.name)}
    config, data, start = prepare_run(config, given, open_images=not dry)
    from .config.dry_run import describe

    print(describe(config, device), file=sys.stderr)
    if dry:
        print("\n".join(start.notes if start else [f"{config.out}: goes on from its last checkpoint"]), file=sys.stderr)
        return
    from .engine.distributed import is_first_process
    from .engine.loop import train
    from .monitor.report import write_report

    state = train(config, data, (lambda new: begin(new, start, config)) if start else None)
    if not is_first_process():
        return
    try:
        path, said = write_report(Path(config.out), data)
        print(f"{path}: {said}", file=sys.stderr)
    except (ValueError, OSError) as error:  # the networks are safe, and the report can be written anew
        print(f"no report: {error}", file=sys.stderr)
    print(f"{config.out}: {state.step} steps done; sample it: sngan sample {config.out} --out samples.png")


def report(arguments: argparse.Namespace) -> None:
    from .monitor.report import write_report

    path, said = write_report(arguments.folder)
    print(f"{path}: {said}")


def import_(arguments: argparse.Namespace) -> None:
    from sngan_hub.data import load_images
    from sngan_hub.data.prepared import check_blocks
    from sngan_hub.networks.registry import find_model

    from .config.schema import save_config
    from .engine.checkpoints import checkpoints, save_checkpoint
    from .engine.import_chainer import import_snapshot
    from .engine.run_folder import check_out, locked
    from .engine.snapshots import save_snapshot
    from .feed.checks import check_apart

    config = config_of(arguments)
    if not config.out or not config.data:
        raise ValueError("out, data: a run needs both: --out RUN --data FOLDER")
    check_apart(config.out, data=config.data, held_out=config.test_folder)
    out = Path(config.out)
    check_out(out)
    if checkpoints(out):
        raise FileExistsError(f"out: {out} holds a run already; choose another")
    check_writable(out, create=True)
    size = find_model(config.architecture).size
    data = load_images(config.data, "train", config.stored_size or size, config.stretches_at_load(size))
    check_blocks(data)
    state = import_snapshot(arguments.snapshot, config, data.classes)
    with locked(out):
        save_config(config, out / "config.json")
        save_snapshot(state, out)
        save_checkpoint(state, config, data.fingerprint(), out)
    print(
        f"{out}: iteration {state.step} of {arguments.snapshot}; the train command with the same flags goes on from it"
    )


def status(arguments: argparse.Namespace) -> None:
    import time

    from .monitor.status import as_json, lines, status

    while True:
        found = status(arguments.folder)
        print(as_json(found) if arguments.json else lines(found), flush=True)
        if not arguments.watch or found["step"] == found["steps"]:
            return
        time.sleep(10)
        print()


def probe(arguments: argparse.Namespace) -> None:
    import json

    from sngan_hub.hub.load import calibration_folder
    from sngan_hub.sampling.refine import save_calibration

    from .finetune.probe import calibrate, probe

    if arguments.calibrate:
        folder = calibration_folder(arguments.donor)
        check_writable(folder, create=False)
        fitted = calibrate(arguments.donor, arguments.data, arguments.seed, arguments.device)
        print(f"{save_calibration(fitted, folder)}: log ratio = {fitted.slope:.4g} score + {fitted.offset:.4g}, by "
              f"{fitted.real:,} held-out and {fitted.generated:,} generated pictures; now: sngan sample "
              f"{arguments.donor} --rejection --out samples.png")  # fmt: skip
        return
    if arguments.n < 20:
        raise ValueError(f"n: got {arguments.n}, legal is 20 or more")
    print(
        json.dumps(
            probe(arguments.donor, arguments.data, arguments.n, arguments.layer, arguments.seed, arguments.device)
        )
    )


def publish(arguments: argparse.Namespace) -> None:
    import tempfile

    from sngan_hub.cli.commands import push_all

    from .publish.publish import stage

    with tempfile.TemporaryDirectory() as folder:
        texts = (arguments.about, arguments.data_about, arguments.licence)
        push_all(stage(arguments.folder, arguments.repo, Path(folder), *texts), arguments)


def ship(arguments: argparse.Namespace) -> None:
    from .publish.ship import ship

    print(ship(arguments.folder, arguments.name))


def reference(arguments: argparse.Namespace) -> None:
    from .publish.ship import reference

    print(reference(arguments.name))


def tables(arguments: argparse.Namespace) -> None:
    from sngan_hub.hub.cards import write_cards
    from sngan_hub.weights.records import WEIGHTS

    from .publish.ship import ROOT, guide_tables, readme_tables

    for record in WEIGHTS.values():
        if record.folder is not None:
            write_cards(record.folder.parent)
    guides = [(path, guide_tables) for path in sorted((ROOT / "docs").glob("*.md"))]
    for path, printed in [(ROOT / "README.md", readme_tables), *guides]:
        path.write_text(printed(path.read_text(encoding="utf-8")), encoding="utf-8")


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"got {text!r}, legal are true, false")
    return text.lower() in ("true", "1")


if __name__ == "__main__":
    raise SystemExit(main())
