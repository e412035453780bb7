"""``sngan app``: serves the Gradio page."""

from __future__ import annotations

import argparse
from typing import Any

from .parser import new_command
from .parts import import_part


def add_commands(subparsers: Any) -> None:
    command = new_command(subparsers, "app", app, "serve the Gradio page", example="sngan app --model runs/fashion")
    command.add_argument("--model", action="append", default=[], metavar="MODEL",
                         help="a run, a network's folder or a Hub repository id, selected by default")  # fmt: skip


def app(arguments: argparse.Namespace) -> None:
    import_part("space.app").serve(arguments.model)
