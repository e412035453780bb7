"""The training commands of ``sngan`` and ``python -m training``: help, and flags generated from the settings."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from sngan_hub.cli.parser import add_device, add_push_flags, home_path, new_command

from . import commands
from .config.presets import METHODS, PRESETS
from .config.settings import GROUPS, FineTuningSettings, flag, meaning

MODEL = "name, run, folder or Hub repository id of a generator and its discriminator"
TRAIN = """\
sngan train --preset fashion32 --data fashion --out runs/fashion
sngan train --preset imagenet128_projection --data prepared/imagenet --dry-run --for H100
torchrun --nproc_per_node=4 -m PACKAGE train --preset imagenet128_projection --data prepared/imagenet --out runs/a"""
FINETUNE = """\
sngan finetune --from sngan_avatars32 --data images --out runs/mine
sngan finetune --from sngan_imagenet128 --data images --out runs/mine --freeze-d 3 --steps 2000
sngan finetune --from runs/fashion --data images --dry-run"""
PREPARE = """\
sngan prepare imagenet/train prepared/imagenet --preset imagenet128_projection
sngan prepare images.tar prepared/images --size 64
sngan prepare prepared/images"""

#: Settings that a fine-tuning run takes from its donor
NOT_OF_FINE_TUNING = ("preset", "method", "architecture", "generator_fields", "discriminator_fields")
STUDY = """\
sngan study --preset cnn_cifar10 --data cifar10 --out study --steps 2000
sngan study --preset cnn_cifar10 --data cifar10 --out study --steps 2000 --methods none --settings A,D --seeds 0,1,2
sngan study --preset cnn_cifar10 --out study --page docs"""


def add_commands(subparsers: Any) -> None:
    """Adds every training command to the subparsers of a parser."""
    add_train(subparsers)
    add_finetune(subparsers)
    add_prepare(subparsers)
    add_import(subparsers)
    add_study(subparsers)
    add_reading_commands(subparsers)


def add_train(subparsers: Any) -> None:
    command = new_command(
        subparsers, "train", commands.train, "train a generator and a discriminator, or resume the run in --out",
        "Trains a generator and a discriminator. The same command resumes an interrupted run. A preset replaces the "
        "defaults below; --dry-run prints the values that a run uses.", TRAIN.replace("PACKAGE", str(__package__)),
    )  # fmt: skip
    add_run_flags(command)
    add_settings(command)


def add_finetune(subparsers: Any) -> None:
    command = new_command(
        subparsers, "finetune", commands.finetune, "fine-tune a trained pair on your own classes",
        "Adapts a trained generator and discriminator to the classes of a folder. The same command resumes an "
        "interrupted run. The number of images and the model after --from change the defaults of --augment, "
        "--batch-size, --g-batch-size, --freeze-d, --d-warm-up, --warm-up, --conditioning, --held-out, --score and "
        "--score-every; --dry-run prints the values that a run uses.", FINETUNE,
    )  # fmt: skip
    command.add_argument("--from", dest="donor", required=True, metavar="MODEL", help=f"{MODEL}, or a file of another "
                         "code base that contains both networks")  # fmt: skip
    add_run_flags(command)
    add_settings(command, preset="finetune")


def add_prepare(subparsers: Any) -> None:
    command = new_command(
        subparsers, "prepare", commands.prepare, "convert images of any kind to a prepared data set",
        "Reads SOURCE and writes square images of one size to OUT, for data sets that are too large to load each time. "
        "SOURCE is a folder of class folders or of .tar files, a .tar file, celeba, lsun, or hf:NAME[:SPLIT]. A "
        "prepared folder alone is verified by its checksums. The same command resumes.", PREPARE,
    )  # fmt: skip
    command.add_argument("source", metavar="SOURCE")
    command.add_argument("folder", metavar="OUT", type=Path, nargs="?")
    command.add_argument("--preset", help="use the image size and the preprocessing of this preset")
    command.add_argument("--size", type=int, help="side of the stored images in pixels (default: 128)")
    command.add_argument("--short-side", type=int, help="scale the short side to this first (default: 0, off)")
    command.add_argument("--min-side", type=int, help="skip images with a shorter side (default: 0)")
    command.add_argument("--contrast-stretch", type=truth, metavar="true|false",
                         help="stretch contrast as the authors' datasets/imagenet.py (default: false)")  # fmt: skip
    command.add_argument("--test-every", type=int,
                         help="hold out every n-th image of a class for scores (default: 10; 0: none)")  # fmt: skip
    command.add_argument("--workers", type=int, default=0, help="number of processes (default: 0, one per core)")


def add_import(subparsers: Any) -> None:
    command = new_command(
        subparsers, "import", commands.import_, "create a run from a whole-trainer snapshot of the authors",
        "Reads snapshot_iter_N of the authors' Chainer code. Takes the flags of train, which must match the snapshot.",
    )  # fmt: skip
    command.add_argument("snapshot", metavar="SNAPSHOT", type=Path)
    add_settings(command)


def add_study(subparsers: Any) -> None:
    command = new_command(
        subparsers, "study", commands.study, "compare normalisation methods as the SN paper does",
        "Trains and scores every method in every optimiser setting for every seed, and writes tables and figures "
        "beside what the paper reports. The same command resumes; runs with a result are skipped, and more methods, "
        "settings and seeds can be added to a folder. All other flags are those of train and apply to every run.",
        STUDY,
    )  # fmt: skip
    command.add_argument("--methods", default="", metavar="A,B", help=f"methods (default: all: {', '.join(METHODS)})")
    command.add_argument("--settings", default="", metavar="A,B", help="optimiser settings (default: A,B,C,D,E,F)")
    command.add_argument("--seeds", default="0", metavar="N,M", help="seeds of the runs (default: 0)")
    command.add_argument("--widths", default="", metavar="X,Y", help="widths of D's last feature map over the "
                         "architecture's, for spectral_norm and orthonormal in setting C (default: none)")  # fmt: skip
    command.add_argument(
        "--samples", type=int, default=2000, metavar="N", help="number of samples of each FID (default: 2000)"
    )
    command.add_argument("--rounds", type=int, default=5, metavar="N", help="timed iterations of each method; 0: do "
                         "not time (default: 5)")  # fmt: skip
    command.add_argument("--parallel", type=int, default=1, metavar="N", help="number of runs at a time, each in its "
                         "own process, which prints to runs/NAME.log (default: 1)")  # fmt: skip
    command.add_argument("--page", type=home_path, metavar="DIR", help="write the page and its figures there and stop "
                         "(default: into --out, at the end)")  # fmt: skip
    command.add_argument("--dry-run", action="store_true", help="print the runs that are missing, and stop")
    add_settings(command)


def add_reading_commands(subparsers: Any) -> None:
    """The commands that read a finished or running run, or a discriminator."""
    command = new_command(
        subparsers, "status", commands.status, "print the progress, speed and remaining time of a run"
    )
    command.add_argument("folder", metavar="RUN", type=Path)
    command.add_argument("--watch", action="store_true", help="repeat every ten seconds until the run ends")
    command.add_argument("--json", action="store_true", help="print JSON")

    command = new_command(subparsers, "report", commands.report,
                  "write RUN/report.html: samples over time, curves, nearest training images, settings")  # fmt: skip
    command.add_argument("folder", metavar="RUN", type=Path)

    command = new_command(
        subparsers, "publish", commands.publish, "upload both networks of a run to the Hugging Face Hub"
    )
    command.add_argument("folder", metavar="RUN", type=Path)
    command.add_argument("repo", metavar="NAMESPACE/NAME",
                         help="repository of the generator; the discriminator's is NAME-discriminator")  # fmt: skip
    command.add_argument("--about", default="", help="description for the model cards")
    command.add_argument("--data-about", default="", help="origin of the training data, for the model cards")
    command.add_argument("--licence", default="", help="licence of the weights, in the Hub's spelling: mit, cc0-1.0")
    add_push_flags(command)

    command = new_command(
        subparsers, "probe", commands.probe, "train a linear classifier on the features of a discriminator",
        "Prints its test accuracy, and the accuracy for the features of an untrained discriminator.",
    )  # fmt: skip
    command.add_argument("--from", dest="donor", required=True, metavar="MODEL", help=MODEL)
    command.add_argument("--data", required=True, metavar="SOURCE", help="images with classes, as `sngan train` reads")
    command.add_argument("--layer", type=int, help="use the features of this block (default: the last)")
    command.add_argument("--n", type=int, default=5000, help="maximum number of images per split (default: 5000)")
    command.add_argument(
        "--calibrate", action="store_true",
        help="calibrate the scores on held-out images instead, for `sngan sample --rejection` and `--ddls`",
    )  # fmt: skip
    command.add_argument("--seed", type=int, default=0, help="seed of the split (default: 0)")
    add_device(command)


def add_run_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dry-run", action="store_true", help="print the settings and the cost, and stop")
    command.add_argument("--verbose", action="store_true", help="print every setting before the run starts")
    command.add_argument("--for", dest="predicted_for", metavar="DEVICE", help="with --dry-run: predict the time on "
                         "this device (H100, RTX 4090 ...) instead of this machine")  # fmt: skip


def add_settings(command: argparse.ArgumentParser, preset: str = "") -> None:
    """Adds a flag for every setting that the command reads. ``preset``: if given, the only choice."""
    if preset:
        command.set_defaults(preset=preset)
    for group in GROUPS:
        of_fine_tuning = group is FineTuningSettings
        if of_fine_tuning and not preset:
            for field in dataclasses.fields(group):
                names = dict.fromkeys([flag(field), f"--{field.name}".replace("_", "-")])
                command.add_argument(*names, action=_OfFineTuning, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
            continue
        section = command.add_argument_group(group.__doc__)
        for field in dataclasses.fields(group):
            if field.name in ("donor", "class_order", "source") or (preset and field.name in NOT_OF_FINE_TUNING):
                continue
            kind, known = type(field.default), meaning(field)
            shown = "true|false" if kind is bool else {int: "N", float: "X", str: "TEXT"}[kind]
            if field.name == "preset":
                section.add_argument("--preset", required=True, metavar="NAME", help=f"{known.help} One of: "
                                     f"{', '.join(PRESETS)}.")  # fmt: skip
                continue
            section.add_argument(
                flag(field), type=truth if kind is bool else kind, default=argparse.SUPPRESS,
                metavar="|".join(filter(None, known.choices)) if 0 < len(known.choices) < 7 else shown,
                help=help_of(field, preset),
            )  # fmt: skip


def help_of(field: dataclasses.Field[Any], preset: str = "") -> str:
    """The help of a flag: meaning, default if there is one, and the legal values if they are many.

    ``preset``: its row replaces the default.
    """
    known, default = meaning(field), PRESETS.get(preset, {}).get(field.name, field.default)
    text = known.help
    if len(known.choices) >= 7:
        text += f" One of: {', '.join(filter(None, known.choices))}."
    shown = str(default).lower() if isinstance(default, bool) else f"{default}"
    return (f"{text} (default: {shown})" if shown else text).replace("%", "%%")


class _OfFineTuning(argparse.Action):
    """A flag of another command, which is an error here."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        parser.error(f"{option_string} is a setting of fine-tuning: sngan finetune --from MODEL")


def truth(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"must be true or false (got {text!r})")
    return text.lower() in ("true", "1")
