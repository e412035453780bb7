"""``sngan info``, ``convert`` and ``push``: describes, converts and uploads networks."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from .parser import MODEL, add_push_flags, check_writable, new_command


def add_commands(subparsers: Any) -> None:
    command = new_command(
        subparsers, "info", info, "print the parameters, classes, licence and scores of a model",
        example="sngan info sngan_imagenet128",
    )  # fmt: skip
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("--json", action="store_true", help="print JSON")

    command = new_command(
        subparsers, "convert", convert, "convert weights of other code bases to this format, and back",
        "FILE is an .npz file of the authors' Chainer code, a .pth file of mmgeneration, StudioGAN, mimicry, "
        "sngan.pytorch or torch-fidelity, or a folder with such files. OUT is a new folder; two networks go to "
        "OUT/generator and OUT/discriminator. With OUT.npz, one network is written in the authors' format. Settings "
        "that the tensors do not contain are taken from the configuration, the file name or the code base, and "
        "printed; the flags below override them.",
        "sngan convert ResNetGenerator_850000.npz converted",
    )  # fmt: skip
    command.add_argument("file", metavar="FILE", type=Path)
    command.add_argument("out", metavar="OUT", type=Path)
    command.add_argument("--gain-offset", type=int, choices=(0, 1), help="number to add to the stored class gains")
    command.add_argument("--shortcut-relu", type=int, choices=(0, 1),
                         help="1: the discriminator's shortcuts read relu(x)")  # fmt: skip
    command.add_argument("--channel-order", choices=("rgb", "bgr"), help="channel order of the training images")
    command.add_argument("--code-base", metavar="ID", help="code base of the file, where its keys fit several: "
                         "sngan_pytorch for a generator's state_dict of GongXinyuu/sngan.pytorch")  # fmt: skip
    command.add_argument("--classes", metavar="LIST|FILE", help="class names: imagenet, dogs_and_cats, cifar10, "
                         "cifar100, or a text file with one name per line")  # fmt: skip

    command = new_command(
        subparsers, "push", push, "upload the folder of a network, or of a pair, to the Hugging Face Hub",
        "A folder with generator/ and discriminator/ is uploaded to REPO and REPO-discriminator. The access token is "
        "that of `hf auth login`, or HF_TOKEN.", "sngan push runs/fashion me/fashion",
    )  # fmt: skip
    command.add_argument("folder", metavar="FOLDER", type=Path)
    command.add_argument("repo", metavar="REPO", help="NAMESPACE/NAME")
    add_push_flags(command)


def info(arguments: argparse.Namespace) -> None:
    from ..hub import listing

    about = listing.about(arguments.model)
    if arguments.json:
        print(json.dumps(about, ensure_ascii=False), flush=True)
        return
    for key, value in about.items():
        if key == "parameters":
            value = ", ".join(f"{kind} {count:,}" for kind, count in value.items())
        elif key == "recipe" and value:
            value = ", ".join(f"{name} {setting}" for name, setting in value.items())
        elif key == "classes" and value:
            value = ", ".join(value[:20]) + (
                f" and {len(value) - 20:,} more (--json prints all)" if len(value) > 20 else ""
            )
        elif key == "scores":
            for protocol, score in value.items():
                real = "" if score["floor"] is None else f"real images: {score['floor']:.3g}; "
                n = "n not stated" if score["n"] is None else f"n {score['n']:,}"
                by = f"; stated by {score['stated_by']}" if score["stated_by"] else ""
                print(f"{protocol:20}{score['value']:.4g} ({real}{n}; {score['evaluator']}{by})")
            continue
        if value not in (None, "", {}, []):
            print(f"{key:20}{value}")


def convert(arguments: argparse.Namespace) -> None:
    from ..convert import Options, convert_path, save_networks, save_snapshot
    from ..hub.listing import count_parameters

    options = Options(
        arguments.gain_offset, None if arguments.shortcut_relu is None else bool(arguments.shortcut_relu),
        arguments.channel_order, _class_names(arguments.classes), arguments.code_base,
    )  # fmt: skip
    file, out = arguments.file, arguments.out
    if not file.exists():
        raise FileNotFoundError(f"there is no file or folder {file}")
    if out.suffix == ".npz":
        if out.exists():
            raise FileExistsError(f"out: {out} exists; choose another name")
        check_writable(out.parent, create=False)
        network = _one_network(file, arguments, options)
        save_snapshot(network, out)
        print(f"{out}: {type(network).__name__.lower()}, {network.size} px, in the authors' format")
        return
    check_writable(out, create=True)
    converted = convert_path(file, options)
    for one, place in zip(converted, save_networks(converted, out), strict=True):
        network = one.network
        classes = f"{network.n_classes:,} classes" if network.n_classes else "unconditional"
        print(
            f"{place}: {one.kind}, {network.size} px, {classes}, {count_parameters([network])[one.kind]:,} parameters"
        )
        print("\n".join(f"  {note}" for note in one.notes))


def _class_names(given: str | None) -> tuple[str, ...] | None:
    from ..class_names import CLASS_LISTS, class_list

    if given is None or given in CLASS_LISTS:
        return None if given is None else class_list(given)
    given = os.path.expanduser(given)  # a shell leaves the ~ of --classes=~/file as it is
    if not Path(given).is_file():
        raise ValueError(
            f"classes must be one of {', '.join(CLASS_LISTS)}, or a text file with one name per line (got {given!r})"
        )
    try:
        return tuple(line.strip() for line in Path(given).read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except UnicodeDecodeError as error:
        raise ValueError(f"classes: {given} is not a UTF-8 text file") from error


def _one_network(file: Path, arguments: argparse.Namespace, options: object):
    """The network to write in the authors' format, from a folder in this project's format or a foreign file."""
    from ..convert import Options, convert_path
    from ..hub.push import load_any
    from ..networks.mixin import CONFIG_NAME
    from ..weights.record import KINDS

    if (file / CONFIG_NAME).is_file():
        names = ("gain_offset", "shortcut_relu", "channel_order", "code_base", "classes")
        if given := [name for name in names if getattr(arguments, name) is not None]:
            raise ValueError(f"{', '.join(given)}: only for files of other code bases, but {file} has the format of "
                             f"sngan-hub; omit {'them' if len(given) > 1 else 'it'}")  # fmt: skip
        return load_any(file)
    if inner := [str(file / kind) for kind in KINDS if (file / kind / CONFIG_NAME).is_file()]:
        raise ValueError(f"file: {file} is a folder of networks, but an .npz file can store only one; use "
                         f"{' or '.join(inner)}")  # fmt: skip
    assert isinstance(options, Options)
    converted = convert_path(file, options)
    if len(converted) > 1:
        raise ValueError(
            f"file: {file} contains two networks, but an .npz file can store only one; convert it to a folder first"
        )
    return converted[0].network


def push(arguments: argparse.Namespace) -> None:
    from ..hub.push import networks_in

    push_all(list(networks_in(arguments.folder, arguments.repo)), arguments)


def push_all(folders: list[tuple[Path, str]], arguments: argparse.Namespace) -> None:
    """Uploads each folder to its repository; with ``--dry-run``, prints what would be uploaded."""
    from ..hub import push as hub_push
    from ..hub.push import FILES, card_of, check_push
    from ..networks.card import CARD, own_card

    if len(folders) > 1 and not arguments.dry_run:
        for folder, repo in folders:
            check_push(folder, repo, arguments.private, arguments.revision, arguments.tag)
    for folder, repo in folders:
        files = [folder / name for name in FILES if (folder / name).is_file()]
        if own_card(folder) is None:  # a generated card is made anew, or left out where the repository has another
            files = [path for path in files if path.name != CARD]
        if arguments.dry_run:
            print(f"{repo}: " + ", ".join(f"{path.name} ({path.stat().st_size:,} bytes)" for path in files))
            print(card_of(folder, repo))
            continue
        address = hub_push.push(folder, repo, arguments.private, arguments.revision, arguments.tag, arguments.create_pr)
        print(f"{address}: {', '.join(path.name for path in files)}")
