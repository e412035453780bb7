"""Loads a folder of class folders into memory. Larger data sets must be prepared first (``sngan prepare``).

``arrange`` defines the classes of folders and of archives: the top-level folders are the classes, and all images below
a class folder, at any depth, belong to it. A single top-level folder that contains only folders is skipped. A source
without folders is one class, with the name of the source.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..text import first_line
from .images import (
    DAMAGED,
    SUFFIXES,
    TEST_EVERY,
    Images,
    NoTestSplit,
    cropped,
    in_split,
    is_of_the_image,
    read_picture,
)

#: Suffixes of images that are not read
UNREAD = {".heic", ".heif", ".avif", ".jfif", ".jxl", ".jp2", ".jpe", ".dng", ".cr2", ".nef", ".arw", ".raw", ".psd",
          ".svg", ".tga", ".pgm", ".pbm", ".ico"}  # fmt: skip

Parts = tuple[str, ...]  # of an image's path below the source


def is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


# ---------------------------------------------------------------------------------------------------------------------
# The rule


class Arranged(NamedTuple):
    classes: dict[str, list[int]]  # name -> indices of its paths, sorted by their parts
    root: Parts  # the single top-level folders that were skipped
    notes: list[str]  # what is ignored or skipped, one line each


def arrange(paths: Sequence[Parts], name: str, source: str) -> Arranged:
    """Finds the classes. ``paths``: images below ``source``. ``name``: the class name if there are no folders.

    Raises ``FileNotFoundError`` if there is no image, or if the class folders are one level deeper, and ``ValueError``
    if the name of a class is not valid UTF-8.
    """
    order = sorted(range(len(paths)), key=lambda i: paths[i])
    root: Parts = ()
    while True:
        depth = len(root)
        beside = [i for i in order if len(paths[i]) == depth + 1]
        below = [i for i in order if len(paths[i]) > depth + 1]
        tops = list(dict.fromkeys(paths[i][depth] for i in below))
        direct = {paths[i][depth] for i in below if len(paths[i]) == depth + 2}
        if direct or not tops:
            break
        if len(tops) > 1 or beside:  # such as train/ and val/, which would otherwise become the classes
            raise FileNotFoundError(_deeper(source, root, tops))
        root += (tops[0],)
    if not order:
        raise FileNotFoundError(f"data: {source} contains no folder with images; expected {source}/CLASS/IMAGE.png")
    notes = [f"the class folders are those of {'/'.join(root)}"] if root else []
    check_names(tops or [name], source)
    if not tops:
        return Arranged({name: beside}, root, notes)
    if beside:
        first = paths[beside[0]][-1]
        notes.append(f"ignored {len(beside)} image(s) beside the class folders ({first} ...)")
    notes += [f"class {top}: all its images are in subfolders" for top in tops if top not in direct]
    classes: dict[str, list[int]] = {top: [] for top in tops}
    for i in below:
        classes[paths[i][depth]].append(i)
    return Arranged(classes, root, notes)


def _deeper(source: str, root: Parts, tops: list[str]) -> str:
    if Path(source).is_file():
        return (f"source: the class folders of {source} are one folder deeper; unpack it and name the folder "
                f"{' or '.join('/'.join((*root, top)) for top in tops[:3])}")  # fmt: skip
    names = " or ".join(str(Path(source, *root, top)) for top in tops[:3])
    return f"data: the class folders are one folder deeper: name {names} instead of {source}"


def check_names(names: Iterable[str], source: str) -> None:
    """Raises ``ValueError`` if a class name is not valid UTF-8: networks, logs and cards could not store it."""
    for name in names:
        if (shown := printable(name)) != name:
            raise ValueError(f"data: the class folder {shown} of {printable(source)} is not valid UTF-8; rename it")


def printable(name: str) -> str:
    """``name`` with its bytes that are not valid UTF-8 in hexadecimal, as in caf\\xe9."""
    shown = re.sub("[\udc80-\udcff]", lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", name)
    return shown.encode("utf-8", "backslashreplace").decode()  # Windows has other invalid characters


def product(names: Collection[str], config: Callable[[], bytes]) -> str:
    """The kind of output of this project that a folder with these ``names`` is; empty for any other folder.

    ``config`` reads its config.json.
    """
    if {"dataset.json", "images.npy"} <= set(names):
        return "a prepared data set"
    if "config.json" not in names:
        return ""
    if "model.safetensors" in names:
        return "a network"
    try:
        fields = json.loads(config())
    except (OSError, ValueError):
        return ""
    of_run = {"checkpoints", "log.jsonl", "snapshots"} & set(names)
    return "a run" if isinstance(fields, dict) and "preset" in fields and of_run else ""


# ---------------------------------------------------------------------------------------------------------------------
# Folders


class Found(NamedTuple):
    images: list[tuple[Parts, Path]]
    outputs: list[tuple[Parts, str]]  # folders that are a run, a network or a prepared data set
    unread: list[Parts]  # images of formats that are not read


def find_images(source: str) -> Found:
    """All images below ``source``, sorted by the parts of their paths.

    Hidden names and circular links are ignored. A broken link is included and fails when it is read.
    """
    found = Found([], [], [])

    def visit(folder: Path, parts: Parts, above: frozenset[str]) -> None:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
        kind = product({entry.name for entry in entries}, (folder / "config.json").read_bytes)
        if kind and not parts:
            raise ValueError(f"data: {source} is {kind}; choose a folder of images")
        if kind:
            found.outputs.append((parts, kind))
            return
        for entry in entries:
            path, link = Path(entry.path), entry.is_symlink()
            if entry.name.startswith("."):
                continue
            if path.is_dir() if link else entry.is_dir():
                real = os.path.realpath(path)
                if real not in above:
                    visit(path, (*parts, entry.name), above | {real})
            elif is_image(path) and (entry.is_file() if not link else path.is_file() or not path.exists()):
                found.images.append(((*parts, entry.name), path))
            elif path.suffix.lower() in UNREAD:
                found.unread.append((*parts, entry.name))

    start = Path(source).resolve()
    visit(Path(source), (), frozenset(map(str, [start, *start.parents])))
    return found


def _arranged(source: str, found: Found) -> Arranged:
    if found.unread and not found.images:
        raise FileNotFoundError(f"data: {source} contains only {_of_other_formats(found)}")
    return arrange([parts for parts, _ in found.images], Path(source).resolve().name, source)


def folder_classes(source: str) -> dict[str, list[Path]]:
    """The classes of a folder in the order of their labels, and the images of each. Both are sorted by name.

    Raises ``FileNotFoundError`` or ``ValueError`` if the folder has no valid classes.
    """
    found = find_images(source)
    return {name: [found.images[i][1] for i in own] for name, own in _arranged(source, found).classes.items()}


def of_no_class(source: str) -> list[str]:
    """One line for each folder of ``source`` that is not used as a class, for what ``arrange`` ignores, and for images
    of formats that are not read.
    """
    found = find_images(source)
    arranged = _arranged(source, found)
    outputs = dict(found.outputs)
    lines = [f"not used as a class, because it is {kind}: {'/'.join(parts)}" for parts, kind in outputs.items()]
    start = Path(source).resolve()
    above, top = [start, *start.parents], Path(source, *arranged.root)
    for path in sorted(path for path in top.iterdir() if path.is_dir() and not path.name.startswith(".")):
        empty = path.name not in arranged.classes and (*arranged.root, path.name) not in outputs
        if empty and path.resolve() not in above:
            lines.append(f"not used as a class, because it contains no image: {path.name}")
    if found.unread:
        lines.append(_of_other_formats(found))
    return lines + arranged.notes


def _of_other_formats(found: Found) -> str:
    counts = Counter(Path(parts[-1]).suffix.lower() for parts in found.unread)
    formats = ", ".join(f"{n} {suffix}" for suffix, n in counts.most_common())
    return (f"{len(found.unread)} image(s) of formats that are not read ({formats}; {found.unread[0][-1]} ...); "
            f"convert them to .jpg or .png to use them")  # fmt: skip


def load_folder(
    source: str,
    split: str,
    size: int,
    stretch: bool = False,
    left_out: list[str] | None = None,
    squash: bool = False,
    recipe: Mapping[str, Any] | None = None,
) -> Images:
    """Raises ``ValueError`` if the split is empty, or if images are damaged; the message names them. Raises ``OSError``
    if an image cannot be read at the moment.

    With a list ``left_out``, damaged images are skipped and added to it instead. ``squash``: see ``read_picture``.
    ``recipe``: see ``load_images``.
    """
    classes = folder_classes(source)
    chosen = [
        (path, label)
        for label, own in enumerate(classes.values())
        for i, path in enumerate(own)
        if in_split(i, TEST_EVERY, split)
    ]
    images, labels, damaged = np.empty((len(chosen), 3, size, size), np.uint8), [], []
    made = recipe or {}
    stored, short_side = made.get("size", size), made.get("short_side", 0)
    stretch = made.get("contrast_stretch", stretch)
    Image.init()  # before the threads start: registering the decoders is not thread-safe

    def read(path: Path) -> np.ndarray | str:
        try:
            picture = read_picture(path.read_bytes(), stored, short_side, stretch, squash=squash)
            return picture if stored == size else cropped(picture.transpose(1, 2, 0), 0, 0, stored, size)
        except DAMAGED as error:
            if not is_of_the_image(error):
                why = first_line(error)
                raise OSError(f"data: could not read {path} ({why}); the file may be whole: check the disk, the "
                              f"network and the memory, and run the command again") from error  # fmt: skip
            return printable(f"{path}: {error}")

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes and resizes without the interpreter's lock
        for (_, label), found in zip(chosen, pool.map(read, [path for path, _ in chosen]), strict=True):
            if isinstance(found, str):
                damaged.append(found)
            else:
                images[len(labels)] = found
                labels.append(label)
    if left_out is not None:
        left_out += damaged
    elif damaged:
        raise ValueError(f"data: {len(damaged)} damaged image(s); repair or remove them, or skip them with sngan "
                         f"prepare {source} OUT:\n  " + "\n  ".join(damaged))  # fmt: skip
    if damaged and not labels:
        raise ValueError(f"data: none of the {len(damaged)} image(s) in {source} can be read; {damaged[0]}")
    if not labels:
        raise (NoTestSplit if split == "test" else ValueError)(
            f"data: {source} has no image in split {split!r} (every tenth image of a class is in the test split)"
        )
    return Images(images[: len(labels)], np.array(labels, np.int64), list(classes))
