"""``sngan list | info | sample | morph | walk | score | push | evaluate | convert | spectrum``.

Imports torch only for well-formed arguments.
"""
# PYTHON_ARGCOMPLETE_OK

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from . import commands
from .parser import Parser, run

MODEL = (
    "a name (sngan_imagenet128), a network's folder, a run's folder, a file that `sngan convert` reads, or a Hub "
    "repository id"
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="sngan", description="Sample and score SNGAN and projection-discriminator models.")
    subparsers = parser.add_subparsers(dest="command", required=True, parser_class=Parser)

    command = subparsers.add_parser("list", help="every name: size, classes, licence, how it is had, scores")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=commands.list_)

    command = subparsers.add_parser("info", help="parameters, classes, licence and scores of a model")
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=commands.info)

    command = subparsers.add_parser("sample", help="images by class, as one labelled grid or a file each")
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("--classes", nargs="+", metavar="NAME", help="names or indices; --n images of each")
    command.add_argument("--n", type=int, default=16, help="images of each class, or in all (default 16)")
    command.add_argument("--seed", type=int, help="0 .. 2^63 - 1; drawn and shown when left out")
    command.add_argument("--truncation", type=float, metavar="T", help="draw latents with |z| < T only")
    refine = command.add_mutually_exclusive_group()
    refine.add_argument("--rejection", action="store_true", help="keep what the calibrated discriminator accepts")
    refine.add_argument("--ddls", action="store_true", help="50 Langevin steps of z by the calibrated discriminator")
    command.add_argument("--batch_size", type=int, default=50)
    _add_precision(command)
    command.add_argument(
        "--out", type=Path, required=True, metavar="FILE.png|DIR", help="a folder gets a file an image"
    )
    add_device(command)
    command.set_defaults(run=commands.sample)

    command = subparsers.add_parser("morph", help="from class to class, z staying: a strip of pictures, or a film")
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("--classes", nargs="+", required=True, metavar="NAME", help="two to four names or indices")
    command.add_argument("--steps", type=int, default=8, help="pictures from one class to the next (default 8)")
    command.add_argument("--n", type=int, default=4, help="rows, each of another z (default 4; a film shows one)")
    command.add_argument("--seed", type=int, help="0 .. 2^63 - 1; drawn and shown when left out")
    command.add_argument("--truncation", type=float, metavar="T")
    _add_precision(command)
    command.add_argument("--out", type=Path, required=True, metavar="FILE.png|.gif|.mp4")
    add_device(command)
    command.set_defaults(run=commands.morph)

    command = subparsers.add_parser("walk", help="a film along a closed path through z")
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("--classes", nargs="+", metavar="NAME", help="one that stays, or up to four that it passes")
    command.add_argument("--seconds", type=float, default=8.0)
    command.add_argument("--seed", type=int, help="0 .. 2^63 - 1; drawn and shown when left out")
    command.add_argument("--truncation", type=float, metavar="T")
    _add_precision(command)
    command.add_argument("--out", type=Path, required=True, metavar="FILE.gif|.mp4")
    add_device(command)
    command.set_defaults(run=commands.walk)

    command = subparsers.add_parser(
        "score",
        help="the discriminator's score of pictures, best first",
        description="How real each picture looks as a class: the one given, else the one that its folder is named "
        "after, else the one with the highest score. It is no classifier: labels that do not fit were never trained.",
    )
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("folder", metavar="FOLDER", type=Path, help="a folder of pictures, or one picture")
    command.add_argument("--class", dest="class_name", metavar="NAME")
    command.add_argument("--at_least", type=float, metavar="SCORE", help="only pictures that reach it")
    command.add_argument("--json", action="store_true", help="a line a picture, with its score as every class")
    add_device(command)
    command.set_defaults(run=commands.score)

    command = subparsers.add_parser(
        "push",
        help="a network's folder, or a pair's, to the Hugging Face Hub",
        description="A folder with generator/ and discriminator/ goes to REPO and REPO-discriminator. The token is the "
        "one of `hf auth login`, or HF_TOKEN.",
    )
    command.add_argument("folder", metavar="FOLDER", type=Path)
    command.add_argument("repo", metavar="REPO", help="NAMESPACE/NAME")
    add_push_flags(command)
    command.set_defaults(run=commands.push)

    command = subparsers.add_parser("evaluate", help="scores against real images, one JSON line a protocol")
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument(
        "--data", required=True, metavar="SOURCE", help="fashion, avatars, or a folder of class folders"
    )
    command.add_argument("--protocol", required=True, metavar="P,P", help="fid5k_test,kid1k_test,agreement2k,diversity")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--json", action="store_true", help="no table, only the JSON lines")
    command.add_argument("--record", action="store_true", help="keep the scores in a shipped model's record and cards")
    add_device(command)
    command.set_defaults(run=commands.evaluate)

    command = subparsers.add_parser(
        "convert", help="the authors', mmgeneration's, StudioGAN's or mimicry's file -> a folder of ours, and back",
        description="FILE: an authors' .npz, a .pth of mmgeneration, StudioGAN or mimicry, or a folder of theirs. OUT: "
        "a new folder; two networks go to OUT/generator and OUT/discriminator. With OUT.npz, the authors' form of one "
        "network. What tensors cannot tell comes from the file's configuration, its name or its code base, and is "
        "said; the three flags override it.",
    )  # fmt: skip
    command.add_argument("file", metavar="FILE", type=Path)
    command.add_argument("out", metavar="OUT", type=Path)
    command.add_argument("--gain_offset", type=int, choices=(0, 1), help="added to the stored gains of the classes")
    command.add_argument("--shortcut_relu", type=int, choices=(0, 1), help="whether D's shortcuts read relu(x)")
    command.add_argument("--channel_order", choices=("rgb", "bgr"), help="of the images that it was trained on")
    command.add_argument(
        "--classes",
        metavar="LIST|FILE",
        help="names: imagenet, dogs_and_cats, cifar10, cifar100, or a file, a name a line",
    )
    command.set_defaults(run=commands.convert)

    command = subparsers.add_parser("spectrum", help="singular values of each layer, as a table and a figure")
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("--network", choices=("discriminator", "generator"), default="discriminator")
    command.add_argument("--out", type=Path, metavar="FILE.png", help="the figure; without, the table alone")
    command.add_argument("--json", action="store_true", help="every singular value, as JSON")
    add_device(command)
    command.set_defaults(run=commands.spectrum)

    _offer_completion(parser)
    arguments = parser.parse_args(argv)
    return run(f"sngan {arguments.command}", lambda: arguments.run(arguments))


def _offer_completion(parser: argparse.ArgumentParser) -> None:
    """Tab completion where argcomplete is installed: ``eval "$(register-python-argcomplete sngan)"``."""
    try:
        import argcomplete  # type: ignore[import-not-found]
    except ImportError:
        return
    for action in parser._subparsers._group_actions[0].choices.values():  # type: ignore[union-attr,attr-defined]
        for argument in action._actions:
            if argument.dest == "model":
                argument.completer = _model_names
    argcomplete.autocomplete(parser)


def _model_names(**_: object) -> list[str]:
    from ..networks.registry import MODELS
    from ..weights.records import WEIGHTS

    return [*MODELS, *(name for name, record in WEIGHTS.items() if record.kind == "generator")]


def _add_precision(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--precision",
        choices=("fp32", "bf16", "auto"),
        default="fp32",
        help="of the network (default fp32); auto: bf16 where the processor computes in it, half a level away",
    )


def add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--device",
        default="auto",
        help="auto (an NVIDIA GPU where there is one, else the CPU), cpu, cuda, cuda:N, mps",
    )


def add_push_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--private", action="store_true", help="make new repositories private")
    command.add_argument("--revision", metavar="BRANCH", help="write to this branch, made where it is missing")
    command.add_argument("--tag", help="mark the commit with this tag")
    command.add_argument("--create_pr", action="store_true", help="open a pull request instead of writing")
    command.add_argument("--dry_run", action="store_true", help="show the cards and the files, and send nothing")


if __name__ == "__main__":
    raise SystemExit(main())
