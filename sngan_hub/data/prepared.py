"""Loads a prepared data set: a folder that ``sngan prepare`` writes, with images.npy, labels.npy and dataset.json.

images.npy  (rows, 3, S, S) uint8, read through a memory map; the rows of skipped images are zero
labels.npy  (rows,) int32: the class of each row; -1 for a skipped image
dataset.json  class names, counts, settings, and checksums of labels.npy and of each block of images.npy
"""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..progress import Progress
from .images import Images, NoTestSplit, Rows, in_split

IMAGES, LABELS, ABOUT, REFUSED = "images.npy", "labels.npy", "dataset.json", "refused.tsv"
BLOCK_BYTES = 2**25  # size of the blocks of rows that are written and checksummed together
HEADER = 128  # bytes of images.npy before its first row
AGAIN = "prepare the data set again in another folder"  # the same command would keep the changed file


def is_prepared(source: str) -> bool:
    return (Path(source) / ABOUT).is_file()


def read_about(source: str) -> dict[str, Any]:
    path = Path(source) / ABOUT
    wanted = {"classes", "rows", "size", "test_every", "blocks", "labels_sha256", "contrast_stretch"}
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        missing = wanted - about.keys()
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path}: this is not the description of a prepared data set; run sngan prepare again"
        ) from error
    if missing:
        raise ValueError(f"{path}: this is not the description of a prepared data set ({min(missing)} is missing); run "
                         f"sngan prepare again")  # fmt: skip
    return about


def load_prepared(source: str, split: str, size: int) -> Images:
    """Images that were prepared larger than ``size`` are resized when they are read.

    Raises ``ValueError`` if ``size`` is above the prepared size, or if the files are incomplete or have changed.
    """
    folder, about = Path(source), read_about(source)
    side = about["size"]
    if size > side:
        raise ValueError(
            f"size must be at most {side}, the size that {source} was prepared with (got {size}); for a larger size, "
            f"run sngan prepare with --size {size} and a new folder"
        )
    expected = HEADER + about["rows"] * 3 * side * side
    path = folder / IMAGES
    found = path.stat().st_size if path.is_file() else 0
    if found != expected:
        raise ValueError(f"{path}: the file must have {expected:,} bytes (got {found:,}); it is incomplete; run "
                         f"sngan prepare again")  # fmt: skip
    labels = _read_labels(folder, about)
    index = np.array(split_rows(labels, len(about["classes"]), about["test_every"], split), np.int64)
    if not len(index):
        most, every = int(np.bincount(labels[labels >= 0]).max()), about["test_every"]
        why = f"has no class of {every} images, so no test image" if every else "was prepared without a test split"
        again = f"run sngan prepare with --test-every {min(most, 10)} and a new folder, or " if most > 1 else ""
        raise NoTestSplit(f"data: {source} {why}; {again}prepare a separate folder of test images")
    store = np.memmap(path, np.uint8, "r", HEADER, (about["rows"], 3, side, side))
    digest = hashlib.sha256(json.dumps([about["blocks"], about["labels_sha256"], about["classes"], split,
                                        about["test_every"]]).encode()).hexdigest()[:16]  # fmt: skip
    if size != side:
        digest += f"-{size}"
    return Images(Rows(store, index, size), labels[index].astype(np.int64), about["classes"], digest, about)


def count_prepared(source: str) -> tuple[int, int]:
    """The number of images, and of those in the test split. Opens no image."""
    about = read_about(source)
    labels = _read_labels(Path(source), about)
    held = split_rows(labels, len(about["classes"]), about["test_every"], "test")
    return int((labels >= 0).sum()), len(held)


def _read_labels(folder: Path, about: dict[str, Any]) -> np.ndarray:
    path = folder / LABELS
    try:
        raw = path.read_bytes()
        labels = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: the file cannot be read ({error}); {AGAIN}") from error
    if hashlib.sha256(raw).hexdigest() != about["labels_sha256"] or labels.shape != (about["rows"],):
        raise ValueError(f"{path}: the file does not match {ABOUT}; {AGAIN}")
    if labels.max(initial=-1) >= len(about["classes"]):
        raise ValueError(f"{path}: labels must be between 0 and {len(about['classes']) - 1} (got {labels.max()})")
    return labels


def split_rows(labels: np.ndarray, n_classes: int, test_every: int, split: str) -> list[int]:
    """Rows of the split, in order. Skipped images do not count when images of a class are numbered."""
    seen = [0] * n_classes
    rows = []
    for row, label in enumerate(labels.tolist()):
        if label >= 0:
            if in_split(seen[label], test_every, split):
                rows.append(row)
            seen[label] += 1
    return rows


def damaged_blocks(folder: Path, about: dict[str, Any]) -> list[int]:
    """Blocks of images.npy whose checksum has changed. Reads the whole file.

    Uses one thread per core: hashing releases the interpreter's lock.
    """
    size = block_rows(about["size"]) * 3 * about["size"] ** 2

    def found(block: int) -> str:
        with open(folder / IMAGES, "rb") as file:
            file.seek(HEADER + block * size)
            return block_digest(file.read(size))

    known = about["blocks"]
    with ThreadPoolExecutor(os.cpu_count()) as pool, Progress(len(known), "checksums", "blocks") as progress:
        changed: list[int] = []
        for block, digest in enumerate(pool.map(found, range(len(known)))):
            changed += [block] * (digest != known[block])
            progress.update(1)
        return changed


def check_blocks(data: Images) -> None:
    """Raises ``ValueError`` if a prepared data set on disk has changed. Images in memory are not checked."""
    if not isinstance(data.images, Rows) or "blocks" not in data.made:
        return
    path = Path(str(cast("np.memmap", data.images.store).filename))
    if damaged := damaged_blocks(path.parent, data.made):
        raise ValueError(f"{path}: {changed_blocks(damaged)}; restore the file, or prepare the source again in another "
                         f"folder")  # fmt: skip


def changed_blocks(damaged: list[int]) -> str:
    return f"{len(damaged)} block(s) have changed since they were written; the first is block {damaged[0]}"


def block_rows(size: int) -> int:
    return max(1, BLOCK_BYTES // (3 * size**2))


def block_digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
