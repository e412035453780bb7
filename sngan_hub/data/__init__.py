"""Loads real images: the name of a source, or a folder -> uint8 images, labels and class names.

``fashion``   Fashion-MNIST, padded to 32 px, three equal channels (Debian's dataset-fashion-mnist, or torchvision)
``avatars``   DiceBear avatars in ten CC0 styles, generated locally from a seed: procedural drawings, not photographs
``cifar10``, ``cifar100``, ``stl10``  from torchvision; for STL-10 the unlabelled images, at 48 px
a folder      with one folder per class, or a folder written by ``sngan prepare`` (CelebA, LSUN, ImageNet)

Every source has two disjoint splits: ``train``, and ``test`` for scores. Folders also have the split ``all``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ..class_names import class_list
from ..hub.cache import cache_folder
from ..text import nearest
from .avatars import AVATAR_STYLES, AVATARS_PER_CLASS, draw_avatars, load_avatars
from .folders import folder_classes, load_folder, of_no_class
from .images import SPLITS, TEST_EVERY, Images, NoTestSplit
from .prepared import count_prepared, is_prepared, load_prepared, read_about
from .torchvision_sets import FASHION_CLASSES, FASHION_DEBIAN, load_cifar, load_fashion, load_stl10

__all__ = ["FASHION_DEBIAN", "SOURCES", "Images", "NoTestSplit", "cache_folder", "count_images", "draw_avatars",
           "load_images", "source_classes", "say_left_out"]  # fmt: skip


class Source(NamedTuple):
    load: Callable[[str, int], Images]
    classes: list[str]
    images: tuple[int, int]  # in the splits train and test


_AVATARS = tuple(AVATARS_PER_CLASS[split] * len(AVATAR_STYLES) for split in ("train", "test"))
SOURCES = {
    "fashion": Source(load_fashion, FASHION_CLASSES, (60_000, 10_000)),
    "avatars": Source(load_avatars, AVATAR_STYLES, (_AVATARS[0], _AVATARS[1])),
    "cifar10": Source(partial(load_cifar, "cifar10"), list(class_list("cifar10")), (50_000, 10_000)),
    "cifar100": Source(partial(load_cifar, "cifar100"), list(class_list("cifar100")), (50_000, 10_000)),
    "stl10": Source(load_stl10, ["image"], (100_000, 8_000)),
}
PREPARED_FIRST = ("celeba", "lsun")  # too large to load at every start


def source_classes(source: str) -> list[str]:
    """The class names of a source. Opens no image.

    Args:
        source: a name in ``SOURCES``, or a folder.

    Returns:
        The names, in the order of the labels.

    Raises:
        FileNotFoundError: if the source is missing.
        ValueError: if it is damaged.
    """
    if source in SOURCES:
        return SOURCES[source].classes
    if is_prepared(source):
        return read_about(source)["classes"]
    return list(folder_classes(_known(source)))


def say_left_out(source: str) -> None:
    """Prints which images of a folder are ignored because they belong to no class. A named or prepared set has none.

    Args:
        source: a name in ``SOURCES``, or a folder; if empty or missing, nothing is printed.

    Returns:
        Nothing.
    """
    if source and source not in SOURCES and Path(source).is_dir() and not is_prepared(source):
        for line in of_no_class(source):
            print(f"{source}: {line}", file=sys.stderr)


def count_images(source: str) -> tuple[int, int]:
    """Counts the images of a source. Opens no image.

    Args:
        source: a name in ``SOURCES``, or a folder.

    Returns:
        The number of all images, and the number of those in the test split.

    Raises:
        FileNotFoundError: if the source is missing.
        ValueError: if it is damaged.
    """
    if source in SOURCES:
        train, test = SOURCES[source].images
        return train + test, test
    if is_prepared(source):
        return count_prepared(source)
    counts = [len(own) for own in folder_classes(_known(source)).values()]
    return sum(counts), sum(n // TEST_EVERY for n in counts)


def load_images(
    source: str,
    split: str = "train",
    size: int = 32,
    stretch: bool = False,
    left_out: list[str] | None = None,
    squash: bool = False,
    recipe: Mapping[str, Any] | None = None,
) -> Images:
    """Loads a source as square images.

    Args:
        source: a name in ``SOURCES``, or a folder.
        split: ``train`` or ``test``; for folders also ``all``.
        size: side of the images in pixels.
        stretch: whether to apply the authors' contrast stretch (folders of image files only).
        left_out: a list to which damaged images of a folder are added; they are skipped. None: they are an error.
        squash: whether to resize whole images of a folder to the square, without a crop. Prepared sets are cropped
            already.
        recipe: the ``made`` of prepared images: those of a folder are first prepared as these were, in place of
            ``stretch``.

    Returns:
        The images (N, 3, size, size) uint8, their labels (N,), and the class names.

    Raises:
        FileNotFoundError: if the source is missing.
        ValueError: if it is damaged, or has no such split.

    Example:
        >>> images, labels, classes, *_ = load_images("fashion", "test")
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)} (got {split!r})")
    if source in SOURCES:
        if split == "all":
            raise ValueError(f"data: {source} has its own test split; use held_out only with a folder")
        return SOURCES[source].load(split, size)
    if is_prepared(source):
        return load_prepared(source, split, size)
    return load_folder(_known(source), split, size, stretch, left_out, squash, recipe)


def _known(source: str) -> str:
    if source in PREPARED_FIRST:
        raise FileNotFoundError(
            f"data: {source} must be prepared first: run sngan prepare {source} OUT --size 64, then use --data OUT"
        )
    if not Path(source).is_dir():
        names = [*SOURCES, *PREPARED_FIRST, "FOLDER of class folders"]
        raise FileNotFoundError(f"data: there is no folder or data set {source!r}{nearest(source, names)}")
    return source
