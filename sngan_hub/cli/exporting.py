"""``sngan export``: writes a network for other programs, as ONNX or as a torch.export archive."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from .parser import MODEL, check_file, home_path, new_command


def add_commands(subparsers: Any) -> None:
    command = new_command(
        subparsers, "export", export, "write a network as ONNX or as a torch.export archive",
        "FILE.onnx is an ONNX file, FILE.pt2 an archive that torch.export.load reads. Both take any batch size. A "
        "generator's inputs are z (N, z_dim) and class_weights (N, n_classes): a row with a single 1 is that class, "
        "other rows that sum to 1 are mixtures. Its output is images in [-1, 1]. A discriminator's inputs are images "
        "in [-1, 1] and labels. Metadata states model, classes, z_dim, licence and hash.",
        "sngan export sngan_fashion32 --out fashion.onnx --verify",
    )  # fmt: skip
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("--out", type=home_path, required=True, metavar="FILE.onnx|.pt2", help="the file to write")
    command.add_argument("--discriminator", action="store_true", help="the discriminator instead of the generator")
    command.add_argument(
        "--half", action="store_true", help="store weights in float16; ONNX only. Computation stays in float32"
    )
    command.add_argument("--verify", action="store_true",
                         help="run the file and print its greatest difference from the network")  # fmt: skip


def export(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    suffix = out.suffix.lower()
    if suffix not in (".onnx", ".pt2"):
        raise ValueError(f"out must be FILE.onnx or FILE.pt2 (got {out})")
    if arguments.half and suffix != ".onnx":
        raise ValueError("half applies to FILE.onnx only")
    check_file(out)
    if suffix == ".onnx":
        import onnx  # noqa: F401  (before anything is loaded or computed)
        import onnxscript  # noqa: F401

        if arguments.verify:
            import onnxruntime  # noqa: F401
    from ..exporting import describe, difference, write_onnx, write_program
    from ..hub.load import load_discriminator, load_generator

    network = (load_discriminator if arguments.discriminator else load_generator)(arguments.model)
    about = describe(arguments.model, network)
    print(f"exporting {network.kind} of {arguments.model} ...", file=sys.stderr, flush=True)
    if suffix == ".onnx":
        write_onnx(network, out, about, arguments.half)
    else:
        write_program(network, out, about)
    print(f"{out}: {network.kind} of {arguments.model}, {out.stat().st_size / 1e6:.1f} MB")
    if arguments.verify:
        worst = difference(out, network)
        unit = "of pixels in [-1, 1]" if network.kind == "generator" else "of scores"
        levels = f" ({worst * 127.5:.2g} of 255 levels)" if network.kind == "generator" else ""
        print(f"verified: greatest difference {unit} {worst:.2g}{levels}, batches of 1 and 7")
