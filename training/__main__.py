"""``python -m training train | ship | tables``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from sngan_hub.commandline import Parser, run

from .config import PRESETS, Config, make_config


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m training", description="Train SNGAN and projection-discriminator models.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)

    command = commands.add_parser(
        "train",
        help="train, or go on with the run in --out",
        description="The same command resumes a run. Every field of the config is a flag.",
    )
    command.add_argument("--preset", required=True, help=", ".join(PRESETS))
    command.add_argument("--dry_run", action="store_true", help="print the run and stop")
    for field in dataclasses.fields(Config):
        if field.name != "preset":
            kind = type(field.default)
            command.add_argument(
                f"--{field.name}", type=_truth if kind is bool else kind, default=argparse.SUPPRESS,
                metavar=kind.__name__.upper(),
            )  # fmt: skip
    command.set_defaults(run=train)

    command = commands.add_parser("ship", help="copy a run's pair into the package, with its record and cards")
    command.add_argument("folder", metavar="RUN", type=Path)
    command.add_argument("name", metavar="ARCHITECTURE.TAG")
    command.set_defaults(run=ship)

    command = commands.add_parser("tables", help="print the README's table of scores anew from the records")
    command.set_defaults(run=tables)

    arguments = parser.parse_args(argv)
    return run(f"python -m training {arguments.command}", lambda: arguments.run(arguments))


def train(arguments: argparse.Namespace) -> None:
    fields = {field.name for field in dataclasses.fields(Config)} - {"preset"}
    config = make_config(arguments.preset, **{k: v for k, v in vars(arguments).items() if k in fields})
    if not config.out and not arguments.dry_run:
        raise ValueError("out: missing; name the run's folder: --out RUN")
    print(describe(config), file=sys.stderr)
    if arguments.dry_run:
        return
    from sngan_hub.cli import check_writable

    check_writable(Path(config.out), create=True)
    from .loop import train

    state = train(config)
    print(f"{config.out}: {state.step} steps done; sample it: sngan sample {config.out} --out samples.png")


def describe(config: Config) -> str:
    """The run on a screen: its settings, networks and images per iteration."""
    from sngan_hub.models import create_discriminator, create_generator
    from sngan_hub.sources import source_classes

    n = len(source_classes(config.data))
    networks = [create(config.architecture, n_classes=n) for create in (create_generator, create_discriminator)]
    counts = [f"{sum(p.numel() for p in network.parameters()):,}" for network in networks]
    lines = [f"{key:18}{value}" for key, value in dataclasses.asdict(config).items()]
    lines += [
        f"{'classes':18}{n}",
        f"{'parameters':18}generator {counts[0]}, discriminator {counts[1]}",
        f"{'per iteration':18}{config.n_dis * config.batch_size} real and "
        f"{config.n_dis * config.batch_size + config.g_batch_size} generated images",
    ]
    return "\n".join(lines)


def ship(arguments: argparse.Namespace) -> None:
    from .ship import ship

    print(ship(arguments.folder, arguments.name))


def tables(arguments: argparse.Namespace) -> None:
    from .ship import readme_tables

    path = Path(__file__).parent.parent / "README.md"
    path.write_text(readme_tables(path.read_text(encoding="utf-8")), encoding="utf-8")


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"got {text!r}, legal are true, false")
    return text.lower() in ("true", "1")


if __name__ == "__main__":
    raise SystemExit(main())
