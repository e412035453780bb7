"""A folder of images in place of a generator: pictures from any program, as the samples of a protocol.

Class folders give the classes; a folder without them, or with other folders than the data's classes, is one set. The
pictures are taken in a random order that the seed fixes, class by class in turn, so that the first n of a larger folder
are an even choice.
"""

# torch.from_numpy and ndarray methods have no types, or not for all that they take:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..data import Images, load_images
from ..data.folders import find_images, folder_classes
from ..data.images import FORMATS
from ..text import plural
from .references import by_name, interleaved

NETWORKS = ("config.json", "generator", "discriminator", "snapshots")  # in a network's folder, a pair or a run
CHECKPOINTS = (".pth", ".npz", ".pt", ".ckpt")


def is_pictures(model: str | Path) -> bool:
    """Whether MODEL is a folder of images, and not a network's folder, a pair or a run."""
    folder = Path(os.path.expanduser(model))  # unlike Path.expanduser, it keeps ~NAME of an unknown user
    if not folder.is_dir() or any((folder / name).exists() for name in NETWORKS):
        return False
    if any(path.suffix in CHECKPOINTS for path in folder.iterdir()):
        return False  # of another code base, with its sample pictures beside it
    return bool(find_images(str(folder)).images)


class Pictures:
    """Stands in a generator's place in ``Evaluation``; attributes as those of a generator.

    Args:
        folder: of images, or of class folders, which may have subfolders.
        size: the pictures' side. None: their own, which must be the same for all. Otherwise, pictures of another size
            are cropped to the centre square and resized (bilinear, antialiased).

    Raises:
        ValueError: if sizes differ, or if images are damaged; the message names them.
    """

    z_dim = 0

    def __init__(self, folder: str, size: int | None = None):
        self.folder = folder
        folder = folder if os.path.dirname(folder) else os.path.join(os.curdir, folder)  # not the source of that name
        paths = [path for own in folder_classes(folder).values() for path in own]
        self.resized = size is not None
        self.size = size or _common_size(paths)
        damaged: list[str] = []
        self.data = by_name(load_images(folder, "all", self.size, left_out=damaged))
        if damaged:
            raise ValueError(f"{folder}: {plural(len(damaged), 'picture')} cannot be read; repair or remove these:\n  "
                             + "\n  ".join(damaged))  # fmt: skip
        self.classes: list[str] | None = self.data.classes if len(self.data.classes) > 1 else None
        self.n_classes = len(self.classes or [])
        self.digest = self._content = self.data.sha256()
        self._orders: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.data.images)

    def match(self, classes: list[str]) -> None:
        """Orders the classes as the data's. Where they have other names, the pictures become one set, which is said.

        ``digest``, by which features are cached, depends on the order: it decides which picture is sample i.
        """
        if self.classes is None:
            return
        if sorted(self.classes) == sorted(classes):
            self.data = self.data.in_order(classes)
            self.classes = self.data.classes
        else:
            self._forget_classes(classes)
        self._orders = {}
        self.digest = hashlib.sha256(json.dumps([self._content, self.classes]).encode()).hexdigest()

    def _forget_classes(self, classes: list[str]) -> None:
        assert self.classes is not None
        unknown = [name for name in self.classes if name not in classes]
        other = next(iter(unknown or [name for name in classes if name not in self.classes]))
        print(f"{self.folder}: its folders are not the classes of the data ({other!r} is only in one of them), so all "
              f"pictures are taken as one set, without classes", file=sys.stderr)  # fmt: skip
        self.data, self.classes, self.n_classes = self.data.as_one_class(), None, 0

    def order(self, seed: int) -> np.ndarray:
        """Rows in the order of samples: shuffled by ``seed``, then the classes in turn."""
        if seed not in self._orders:
            shuffled = np.random.Generator(np.random.Philox(key=[seed, 0])).permutation(len(self.data.labels))
            view = Images(self.data.images, self.data.labels[shuffled], self.data.classes)
            self._orders[seed] = shuffled[interleaved(view, None, balanced=False)]
        return self._orders[seed]

    def draw(self, seed: int, which: np.ndarray, cycle: np.ndarray | None = None) -> tuple[Tensor, Tensor]:
        """Samples number ``which``, and their classes (0 where there are none).

        ``cycle``: the classes of samples 0, 1, 2 ..., over and over; each takes the next picture of its class.

        Raises ``ValueError`` if there are too few pictures.
        """
        rows = self.order(seed)
        if cycle is None or not self.n_classes:
            self._check(int(which.max()) + 1, len(rows), "")
            chosen = rows[which]
        else:
            place, turn = which % len(cycle), which // len(cycle)
            before = np.array([int((cycle[:p] == label).sum()) for p, label in enumerate(cycle)])
            each = np.bincount(cycle, minlength=self.n_classes)
            wanted, rank = cycle[place], turn * each[cycle[place]] + before[place]
            chosen = np.empty(len(which), np.int64)
            for label in np.unique(wanted):
                own = rows[self.data.labels[rows] == label]
                mine = wanted == label
                self._check(int(rank[mine].max()) + 1, len(own), f" of class {self.data.classes[label]}")
                chosen[mine] = own[rank[mine]]
        labels = self.data.labels[chosen] if self.n_classes else np.zeros(len(chosen), np.int64)
        return torch.from_numpy(np.array(self.data.images[chosen])), torch.from_numpy(labels)

    def check_cycle(self, n: int, cycle: np.ndarray) -> None:
        """Raises ``ValueError`` if a class has too few pictures for ``n`` samples of the classes ``cycle`` in turn."""
        there = np.bincount(self.data.labels, minlength=self.n_classes)
        for label, needed in enumerate(np.bincount(np.resize(cycle, n), minlength=self.n_classes)):
            self._check(int(needed), int(there[label]), f" of class {self.data.classes[label]}")

    def _check(self, needed: int, there: int, of: str) -> None:
        if needed > there:
            raise ValueError(f"{self.folder}: at least {needed:,} pictures{of} are needed (got {there:,})")


def _common_size(paths: list[Path]) -> int:
    found: dict[tuple[int, int], list[Path]] = {}
    for path in paths:
        try:
            with Image.open(path, formats=FORMATS) as image:
                found.setdefault(image.size, []).append(path)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"{path}: the image cannot be read ({error}); repair or remove it") from error
    ((width, height), own), *others = sorted(found.items(), key=lambda item: -len(item[1]))
    if width == height and not others:
        return width
    said = f"{plural(len(own), 'picture has', 'pictures have')} {width}x{height} px"
    if others:
        (w, h), different = others[0]
        said += f", {different[0].name} {w}x{h}"
    raise ValueError(f"size must be given, because the pictures are not squares of one size ({said}); "
                     f"--size {min(width, height)} crops and resizes them")  # fmt: skip
