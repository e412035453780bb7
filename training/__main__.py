"""``python -m training``: the training commands of ``sngan``, for use with torchrun, and commands for maintainers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sngan_hub.cli.parser import Parser, new_command, run

from . import commands
from .cli import add_commands


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m training", description="Train SNGAN and projection-discriminator models.")
    subparsers = parser.add_subparsers(dest="command", required=True, parser_class=Parser, metavar="COMMAND")
    add_commands(subparsers)

    command = new_command(subparsers, "ship", commands.ship, "copy both networks of a run into the package")
    command.add_argument("folder", metavar="RUN", type=Path)
    command.add_argument("name", metavar="ARCHITECTURE.TAG")
    command.add_argument("--source", default="", help="row of CARD_TEXTS with the texts of the cards "
                         "(training/publish/record.py; default: of the run's data)")  # fmt: skip
    command.add_argument("--before", action="append", default=[], metavar="RUN", help="the run, or included weights, "
                         "that this one continued; repeat it for several, the earliest first")  # fmt: skip
    command.add_argument("--note", default="", help="a line for the recipe in the cards")
    command = new_command(subparsers, "reference", commands.reference,
                  "measure the scores of an included discriminator for real and generated images")  # fmt: skip
    command.add_argument("name", metavar="ARCHITECTURE")
    command.add_argument("--held-out", default="", metavar="FOLDER", help="test images, for a model of a folder")
    new_command(
        subparsers,
        "tables",
        commands.tables,
        "rewrite the tables of README.md and docs/, and the model cards, from the records",
    )

    arguments = parser.parse_args(argv)
    return run(f"python -m training {arguments.command}", lambda: arguments.run(arguments))


if __name__ == "__main__":
    raise SystemExit(main())
