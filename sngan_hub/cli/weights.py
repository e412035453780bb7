"""``sngan list`` and ``mirror``: lists trained weights, verifies local files, and makes mirrors."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from .parser import check_writable, home_path, new_command


def add_commands(subparsers: Any) -> None:
    command = new_command(
        subparsers, "list", list_, "list every model: size, classes, source, scores",
        example="sngan list --size 128 --classes 1000\nsngan list --verify",
    )  # fmt: skip
    command.add_argument("--size", type=int, metavar="PX", help="only models for images of this side")
    command.add_argument("--classes", type=int, metavar="N",
                         help="only models with N classes; 0: unconditional ones")  # fmt: skip
    command.add_argument("--cached", action="store_true", help="only models that load without a network connection")
    command.add_argument("--verify", action="store_true", help="compute the hashes of the local files of these models "
                         "again; exit code 2 if one is wrong")  # fmt: skip
    command.add_argument("--json", action="store_true", help="print JSON")

    command = new_command(
        subparsers, "mirror", mirror, "copy published weights to a folder or a Hub repository, to serve them yourself",
        "Fetches, verifies and converts the models, and writes NAME/generator and NAME/discriminator with cards, and "
        "records.json for SNGAN_HUB_RECORDS. A repeated call adds models and copies what is missing. Licences are "
        "carried to the cards; a licence that is not stated is named.",
        "sngan mirror sngan_imagenet128 sngan_cifar10.mimicry /srv/weights --url https://lab.example/weights",
    )  # fmt: skip
    command.add_argument("names", metavar="NAME", nargs="+", help="architecture or architecture.tag")
    command.add_argument("target", metavar="FOLDER|REPO", help="a folder, or NAMESPACE/NAME of your account "
                         "on the Hub (a folder of two new names: ./NAME/NAME)")  # fmt: skip
    command.add_argument("--url", default="", metavar="ADDRESS",
                         help="address at which FOLDER will be served (default: records.json leads to it)")  # fmt: skip
    command.add_argument("--private", action="store_true", help="create a new REPO as private")
    command.add_argument("--records", type=home_path, metavar="FILE.json",
                         help="records file to write for REPO; other entries of it stay (default: its name, in the "
                              "current folder)")  # fmt: skip


def list_(arguments: argparse.Namespace) -> None:
    from ..hub.listing import LEGEND, list_lines, listing

    rows = listing(arguments.size, arguments.classes, arguments.cached)
    if arguments.verify:
        _verify({row["name"] for row in rows}, arguments.json)
    elif arguments.json:
        print(json.dumps(rows, ensure_ascii=False))
    elif not rows:
        print("no model fits these filters", file=sys.stderr)
    else:
        print("\n".join(list_lines(rows)))
        print(LEGEND, end="")


def _verify(names: set[str], as_json: bool) -> None:
    from ..hub.verify import check_files
    from ..weights.records import WEIGHTS

    checked, unknown, wrong = 0, 0, []
    for file in check_files(record for record in WEIGHTS.values() if record.name in names):
        checked += 1
        if file.problem:
            wrong.append(f"{file.path}: {file.problem}" if str(file.path) not in file.problem else file.problem)
        unknown += not file.known
        if as_json:
            print(json.dumps({"name": file.name, "path": str(file.path), "ok": not file.problem if file.known else None,
                              "problem": file.problem or (None if file.known else "no hash known")},
                             ensure_ascii=False), flush=True)  # fmt: skip
        else:
            verdict = "wrong" if file.problem else "ok" if file.known else "no hash known"
            print(f"{verdict:6} {file.name}  {file.path}", flush=True)
    if wrong:
        raise ValueError(f"{len(wrong)} of {checked} files wrong: {'; '.join(wrong)}")
    if not as_json:
        print(f"{checked - unknown} file{'s' * (checked - unknown != 1)} verified"
              + (f", {unknown} not: no hash is known" if unknown else ""))  # fmt: skip


def mirror(arguments: argparse.Namespace) -> None:
    from ..hub.mirror import is_repository, mirror_to_folder, mirror_to_hub

    if is_repository(arguments.target):
        if arguments.url:
            raise ValueError("url is for a folder that you serve; a Hub repository has its own address")
        records = arguments.records or Path(f"{arguments.target.split('/')[1]}.records.json")
        check_writable(records.absolute().parent, create=False)
        lines = mirror_to_hub(arguments.names, arguments.target, arguments.private, records)
    else:
        if arguments.private or arguments.records:
            raise ValueError("private and records are for a Hub repository NAMESPACE/NAME")
        try:
            folder = Path(arguments.target).expanduser()
        except RuntimeError as error:  # ~NAME
            user = Path(arguments.target).parts[0][1:]
            raise ValueError(f"target: there is no user {user} on this machine (got {arguments.target}); write "
                             f"the whole path of the folder") from error  # fmt: skip
        check_writable(folder, create=True)
        lines = mirror_to_folder(arguments.names, folder, arguments.url)
    for line in lines:
        print(line, flush=True)
