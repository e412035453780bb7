"""``sngan app`` and ``static``: serves the Gradio page; builds the page that needs no server."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .parser import MODEL, check_writable, home_path, new_command
from .parts import import_part


def add_commands(subparsers: Any) -> None:
    command = new_command(subparsers, "app", app, "serve the Gradio page", example="sngan app --model runs/fashion")
    command.add_argument("--model", action="append", default=[], metavar="MODEL",
                         help=f"{MODEL}; it is listed first and selected; repeat --model for several")  # fmt: skip

    command = new_command(
        subparsers, "static", static, "build a page that computes images in the visitor's browser",
        "OUT can be served as it is by GitHub Pages, a static Hugging Face Space or any file server, without Python. "
        "It contains the included models as ONNX, and onnxruntime-web, which npm downloads once.",
        "sngan static --out site && python -m http.server --directory site",
    )  # fmt: skip
    command.add_argument("--out", type=home_path, required=True, metavar="OUT",
                         help="a new folder, or that of an earlier build")  # fmt: skip
    command.add_argument("--runtime", type=home_path, metavar="FILE.tgz",
                         help="the package file of onnxruntime-web, instead of a download")  # fmt: skip


def app(arguments: argparse.Namespace) -> None:
    import_part("space.app").serve(arguments.model)


def static(arguments: argparse.Namespace) -> None:
    import onnx  # noqa: F401  (before anything is computed)
    import onnxruntime  # noqa: F401
    import onnxscript  # noqa: F401

    check_writable(arguments.out, create=True)
    builder = import_part("space.build_static")
    builder.build(arguments.out, arguments.runtime, lambda line: print(line, file=sys.stderr, flush=True))
