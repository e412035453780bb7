"""``python -m training train | import | status | ship | tables``."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    command.add_argument("--dry_run", action="store_true", help="print the run and stop")
    add_fields(command)
    command.set_defaults(run=train)

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

    command = commands.add_parser("ship", help="copy a run's pair into the package, with its record and cards")
    command.add_argument("folder", metavar="RUN", type=Path)
    command.add_argument("name", metavar="ARCHITECTURE.TAG")
    command.set_defaults(run=ship)

    command = commands.add_parser("tables", help="print the README's table of scores anew from the records")
    command.set_defaults(run=tables)

    arguments = parser.parse_args(argv)
    return run(f"python -m training {arguments.command}", lambda: arguments.run(arguments))


def add_fields(command: argparse.ArgumentParser) -> None:
    """Every field of the config as a flag."""
    command.add_argument("--preset", required=True, help=", ".join(PRESETS))
    for field in dataclasses.fields(Config):
        if field.name != "preset":
            kind = type(field.default)
            command.add_argument(
                f"--{field.name}", type=_truth if kind is bool else kind, default=argparse.SUPPRESS,
                metavar=kind.__name__.upper(),
            )  # fmt: skip


def config_of(arguments: argparse.Namespace) -> Config:
    fields = {field.name for field in dataclasses.fields(Config)} - {"preset"}
    return make_config(arguments.preset, **{k: v for k, v in vars(arguments).items() if k in fields})


def train(arguments: argparse.Namespace) -> None:
    config = config_of(arguments)
    if not config.out and not arguments.dry_run:
        raise ValueError("out: missing; name the run's folder: --out RUN")
    if not config.data and not arguments.dry_run:
        raise ValueError("data: missing; name a folder of class folders: --data FOLDER")
    print(describe(config), file=sys.stderr)
    if arguments.dry_run:
        return
    from sngan_hub.cli import check_writable

    check_writable(Path(config.out), create=True)
    from .loop import train

    state = train(config)
    print(f"{config.out}: {state.step} steps done; sample it: sngan sample {config.out} --out samples.png")


def import_(arguments: argparse.Namespace) -> None:
    from sngan_hub.cli import check_writable
    from sngan_hub.models import find_model
    from sngan_hub.sources import load_images

    from .config import save_config
    from .import_snapshot import import_snapshot
    from .state import checkpoints, save_checkpoint, save_snapshot

    config = config_of(arguments)
    if not config.out or not config.data:
        raise ValueError("out, data: a run needs both: --out RUN --data FOLDER")
    out = Path(config.out)
    if checkpoints(out):
        raise FileExistsError(f"out: {out} holds a run already; choose another")
    check_writable(out, create=True)
    data = load_images(config.data, "train", find_model(config.architecture).size)
    state = import_snapshot(arguments.snapshot, config, data.classes)
    out.mkdir(parents=True, exist_ok=True)
    save_config(config, out / "config.json")
    save_snapshot(state, out)
    save_checkpoint(state, config, data.fingerprint(), out)
    print(
        f"{out}: iteration {state.step} of {arguments.snapshot}; the train command with the same flags goes on from it"
    )


def describe(config: Config) -> str:
    """The run on a screen: its settings, networks and images per iteration."""
    import torch

    from sngan_hub.sources import source_classes

    from .state import new_networks

    n = len(source_classes(config.data)) if config.data else config.n_classes
    with torch.device("meta"):
        networks = new_networks(config, n)
    counts = [f"{sum(p.numel() for p in network.parameters()):,}" for network in networks]
    flops = [forward_flops(network) for network in networks]
    judged = 2 * config.n_dis * config.batch_size
    # Backward costs twice the forward; but G's D-step fakes are not back-propagated, nor D's weights in G's step.
    total = (
        config.g_batch_size * (3 * flops[0] + 2 * flops[1])
        + config.n_dis * config.batch_size * flops[0]
        + 3 * judged * flops[1]
    )
    lines = [f"{key:18}{value}" for key, value in dataclasses.asdict(config).items()]
    lines += [
        f"{'classes':18}{networks[0].n_classes or 'none'}",
        f"{'parameters':18}generator {counts[0]}, discriminator {counts[1]}",
        f"{'forward':18}generator {flops[0] / 2e9:.3g} GMAC an image, discriminator {flops[1] / 2e9:.3g}",
        f"{'per iteration':18}{config.n_dis * config.batch_size} real and "
        f"{config.n_dis * config.batch_size + config.g_batch_size} generated images, about {total / 1e12:.3g} TFLOP",
        f"{'in all':18}about {total * config.steps / 1e18:.3g} EFLOP in {config.steps:,} iterations; hours: unknown",
    ]
    return "\n".join(lines)


def forward_flops(network: Any) -> int:
    """Floating-point operations for one image, two for each multiplication with its addition, counted on the way."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    y = torch.zeros(1, dtype=torch.int64, device="meta") if network.n_classes else None
    shape = (1, network.z_dim) if hasattr(network, "z_dim") else (1, 3, network.size, network.size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(shape, device="meta"), y)
    return counter.get_total_flops()


def status(arguments: argparse.Namespace) -> None:
    import time

    from .status import as_json, lines, status

    while True:
        found = status(arguments.folder)
        print(as_json(found) if arguments.json else lines(found), flush=True)
        if not arguments.watch or found["step"] == found["steps"]:
            return
        time.sleep(10)
        print()


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
