"""Converts a file, or a folder of checkpoints of another code base; writes folders in this project's format."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..files import write_folder
from ..networks.mixin import CONFIG_NAME
from .assumptions import Options
from .code_bases import CODE_BASES
from .networks import Converted, convert_file

_SUFFIXES = (".pth", ".npz", ".pt", ".ckpt")
_DEPTH = max(code_base.folder_depth for code_base in CODE_BASES)
_PREFERRED = [code_base.preferred for code_base in CODE_BASES if code_base.preferred]


def convert_path(path: Path, options: Options) -> list[Converted]:
    """The networks of a file, or of the newest checkpoints in a folder: at most one of each kind, generator first."""
    if not path.is_dir():
        return convert_file(path, options)
    if (path / CONFIG_NAME).is_file() or (path / "generator" / CONFIG_NAME).is_file():
        raise ValueError(
            f"{path}: this network already has the format of sngan-hub; to write the authors' format, use OUT.npz as "
            f"output"
        )
    files = newest(path)
    found = [(file, converted) for file in files for converted in convert_file(file, options)]
    for kind in ("generator", "discriminator"):
        same = [str(file.relative_to(path)) for file, converted in found if converted.kind == kind]
        if len(same) > 1:
            raise ValueError(f"{path}: several files contain a {kind}: {', '.join(same)}; convert one of these files")
    networks = [converted for _, converted in sorted(found, key=lambda pair: pair[1].kind != "generator")]
    _share_class_names(networks)
    return networks


def newest(folder: Path) -> list[Path]:
    """The newest checkpoints. Of files of a folder whose names differ only in numbers, the one with the highest
    numbers; of StudioGAN's best and current, best.
    """
    groups: dict[str, tuple[tuple, Path]] = {}
    paths = [p for p in folder.rglob("*") if p.is_file() and (p.suffix in _SUFFIXES or _is_copy(p))]
    for path in sorted(paths):
        name = path.relative_to(folder)
        if len(name.parts) > _DEPTH:
            continue
        numbers = tuple(map(int, re.findall(r"\d+", path.name)))
        file = re.sub(r"\d+", "#", path.name)
        for better, other in _PREFERRED:
            file = file.replace(other, better)
        group = str(name.with_name(file))  # numbers of folders stay: run1 and run2 are two runs
        rank = (any(better in path.name for better, _ in _PREFERRED), numbers)
        if group not in groups or rank > groups[group][0]:
            groups[group] = (rank, path)
    found = [path for _, path in groups.values()]
    if not found:
        raise FileNotFoundError(f"{folder}: the folder contains no checkpoint ({', '.join(_SUFFIXES)})")
    networks = [path for path in found if not _is_copy(path)]
    return networks or found


def _is_copy(path: Path) -> bool:
    """Whether other files of the folder contain the same networks, as for the authors' whole-trainer snapshots."""
    return any(code_base.is_copy(path.name) for code_base in CODE_BASES)


def _share_class_names(networks: list[Converted]) -> None:
    """Copies class names between the networks of a pair: only StudioGAN's discriminator file has the run name."""
    for one in tuple(networks):
        for other in tuple(networks):
            named, unnamed = one.network, other.network
            if named.classes and not unnamed.classes and unnamed.n_classes == named.n_classes:
                unnamed.name_classes(named.classes)
                place = networks.index(other)
                networks[place] = replace(other, notes=(*other.notes[:-1], f"class names: taken from its {one.kind}"))


def save_networks(networks: Sequence[Converted], out: Path) -> list[Path]:
    """Writes one network to ``out``, or two to ``out``/generator and ``out``/discriminator: all files, or none.

    ``out`` is new, or a folder without visible files.
    """
    if out.exists() and not (out.is_dir() and all(path.name.startswith(".") for path in out.iterdir())):
        raise FileExistsError(f"out: {out} exists and is not an empty folder; choose another name")
    places = [Path(converted.kind if len(networks) > 1 else "") for converted in networks]

    def fill(folder: Path) -> None:
        for converted, place in zip(networks, places, strict=True):
            (folder / place).mkdir(exist_ok=True)
            converted.network._save_pretrained(folder / place)

    out.parent.mkdir(parents=True, exist_ok=True)
    if out.is_dir():  # it stays, because it may be a mount point, a link or the current folder
        part = out / ".part"
        write_folder(part, fill)
        for path in part.iterdir():
            os.replace(path, out / path.name)
        part.rmdir()
    else:
        write_folder(out, fill)
    return [out / place for place in places]
