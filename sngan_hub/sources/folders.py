"""A folder of class folders, read whole into memory; what is too large for that is prepared first."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from .images import DAMAGED, SUFFIXES, TEST_EVERY, Images, in_split, read_picture


def class_folders(source: str) -> list[Path]:
    """The folders of ``source`` that hold images, in name order: their names are the classes, their order the labels.
    A folder with images and no such folder in it is one class.

    Raises ``FileNotFoundError`` where there are no images, or where the classes lie one folder deeper.
    """
    folders = _inside(source)
    classes = [path for path in folders if any(is_image(child) for child in path.iterdir())]
    deeper = [path for path in folders if path not in classes and any(_holds_classes(path))]
    if deeper and len(classes) < 2:  # a parent of train/ and val/, say: every image would get label 0
        names = " or ".join(map(str, deeper[:3]))
        raise FileNotFoundError(f"data: the class folders lie one folder deeper: name {names} instead of {source}")
    if not classes and _images_beside(source):
        return [Path(source).resolve()]
    if not classes:
        raise FileNotFoundError(f"data: {source} holds no folder with images; expected {source}/CLASS/IMAGE.png")
    return classes


def of_no_class(source: str) -> list[str]:
    """A line for each folder of ``source`` that holds no image, and one for images beside its class folders."""
    classes, beside = class_folders(source), _images_beside(source)
    lines = [f"no class, for it holds no image: {path.name}" for path in _inside(source) if path not in classes]
    if beside and classes != [Path(source).resolve()]:
        lines.append(f"of no class, left out: {len(beside)} image(s) beside the class folders ({beside[0].name} ...)")
    return lines


def _images_beside(source: str) -> list[Path]:
    return sorted(path for path in Path(source).iterdir() if is_image(path) and path.is_file())


def _inside(source: str) -> list[Path]:
    """The folders in ``source``, but for hidden ones and links back to it or to what it lies in."""
    above = [Path(source).resolve(), *Path(source).resolve().parents]
    found = (path for path in Path(source).iterdir() if path.is_dir() and not path.name.startswith("."))
    return sorted(path for path in found if path.resolve() not in above)


def _holds_classes(folder: Path) -> list[Path]:
    inner = (path for path in folder.iterdir() if path.is_dir())
    return [path for path in inner if any(is_image(child) for child in path.iterdir())]


def is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def load_folder(source: str, split: str, size: int, stretch: bool = False, left_out: list[str] | None = None) -> Images:
    """Raises ``ValueError`` where the split is empty, and naming every damaged image; with a list ``left_out`` they
    are left out and named in it instead.
    """
    folders = class_folders(source)
    chosen = [
        (path, label)
        for label, folder in enumerate(folders)
        for i, path in enumerate(sorted(filter(is_image, folder.iterdir())))
        if in_split(i, TEST_EVERY, split)
    ]
    images, labels, damaged = np.empty((len(chosen), 3, size, size), np.uint8), [], []
    Image.init()  # the threads would race: of two at once, one looks for its decoder before they are all known

    def read(path: Path) -> np.ndarray | str:
        try:
            return read_picture(path.read_bytes(), size, stretch=stretch)
        except DAMAGED as error:
            return f"{path}: {error}"

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes and resizes outside the interpreter's lock
        for (_, label), found in zip(chosen, pool.map(read, [path for path, _ in chosen]), strict=True):
            if isinstance(found, str):
                damaged.append(found)
            else:
                images[len(labels)] = found
                labels.append(label)
    if left_out is not None:
        left_out += damaged
    elif damaged:
        raise ValueError(f"data: {len(damaged)} damaged image(s); mend or remove them, or leave them out by `python -m "
                         f"training prepare {source} OUT`:\n  " + "\n  ".join(damaged))  # fmt: skip
    if damaged and not labels:
        raise ValueError(f"data: none of the {len(damaged)} image(s) in {source} can be read; {damaged[0]}")
    if not labels:
        raise ValueError(f"data: {source} has no image in split {split!r} (every tenth of a class is kept for test)")
    return Images(images[: len(labels)], np.array(labels, np.int64), [folder.name for folder in folders])
