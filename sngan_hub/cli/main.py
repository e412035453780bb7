"""The ``sngan`` command. Torch is imported only after the arguments are parsed."""
# PYTHON_ARGCOMPLETE_OK

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from types import ModuleType

from .. import __version__
from . import drawing, exporting, library, page, scoring, weights
from .parser import Parser, run
from .parts import import_part

#: Commands in the order of the help: using models, making pages and files, training, publishing
ORDER = (
    "list", "info", "sample", "morph", "walk", "score", "app", "static", "evaluate", "spectrum", "export", "train",
    "finetune", "prepare", "import", "study", "status", "report", "probe", "publish", "push", "convert", "mirror",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):  # the name of a file may not be text: then it is escaped, not an error
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    parser = Parser(
        prog="sngan", description="Sample, score, train and publish SNGAN and projection-discriminator models.",
        epilog="sngan COMMAND --help explains a command.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"sngan-hub {__version__}")
    subparsers = parser.add_subparsers(dest="command", parser_class=Parser, metavar="COMMAND")
    for group in command_groups():
        group.add_commands(subparsers)
    subparsers._choices_actions.sort(key=lambda action: ORDER.index(action.dest))  # type: ignore[attr-defined]
    _offer_completion(parser)
    arguments, unknown = parser.parse_known_args(argv)
    if not arguments.command:
        parser.print_help()
        return 0
    if unknown:
        subparsers.choices[arguments.command].error(f"unrecognized arguments: {' '.join(unknown)}")
    return run(f"sngan {arguments.command}", lambda: arguments.run(arguments))


def command_groups() -> list[ModuleType]:
    """The modules whose ``add_commands`` adds subcommands."""
    groups = [weights, library, drawing, scoring, exporting]
    try:
        groups.append(import_part("training.cli"))
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("training"):
            raise
    return [*groups, page]


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


if __name__ == "__main__":
    raise SystemExit(main())
