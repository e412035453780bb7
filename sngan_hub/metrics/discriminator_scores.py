"""Computes a discriminator's score of images, as each class. Works with any discriminator.

The score as class y measures how real an image looks among the images of y. It has no unit and is comparable only
between images scored by the same discriminator. It does not classify images: the discriminator was trained with correct
labels only, so its score for an incorrect label has no meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data.images import DAMAGED, SUFFIXES, read_picture
from ..evaluating import evaluating
from ..sampling.generate import as_tensor

BATCH = 50  # images that are scored at once


class Scored(NamedTuple):
    path: Path
    scores: Tensor | None  # (classes,), or (1,) if unconditional; None if the file cannot be read
    error: str = ""


def pictures_in(folder: Path) -> list[Path]:
    """An image file, or all images below a folder without hidden names, sorted. Raises ``FileNotFoundError``."""
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no file or folder {folder}")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
                   and not any(part.startswith(".") for part in path.relative_to(folder).parts))  # fmt: skip
    if not paths:
        raise FileNotFoundError(f"folder: {folder} contains no image ({', '.join(sorted(SUFFIXES))})")
    return paths


def as_input(images: np.ndarray | Tensor) -> Tensor:
    """uint8 (N, 3, S, S) -> float32 in [-1, 1]: the inverse of the conversion of samples to uint8."""
    return as_tensor(images).float() / 127.5 - 1


@torch.no_grad()
def scores_of(discriminator: Any, images: np.ndarray | Tensor, batch_size: int = BATCH) -> Tensor:
    """The discriminator's score of each image as each class.

    Args:
        discriminator: in training or eval mode, which is not changed. Scores are computed in eval mode.
        images: uint8 (N, 3, S, S), 0 to 255, of the discriminator's size.
        batch_size: images per batch.

    Returns:
        float32 (N, n_classes) on the CPU, or (N, 1) without classes. A score has no unit: higher is more real.

    Raises:
        ValueError: for images of another type than uint8, or another shape.

    Example:
        >>> images = load_generator("sngan_fashion32").sample(["Sneaker"], n=4, seed=0)
        >>> scores = scores_of(load_discriminator("sngan_fashion32"), images)
    """
    given = str(getattr(images, "dtype", type(images).__name__)).removeprefix("torch.")
    if given != "uint8":
        raise ValueError(f"images must be uint8 of shape (N, 3, S, S), 0 to 255 (got {given}); for images in [-1, 1], "
                         f"call discriminator.class_scores(images)")  # fmt: skip
    like = next(discriminator.parameters())
    network = evaluating(discriminator)
    return torch.cat([network.class_scores(as_input(images[i : i + batch_size]).to(like)).float().cpu()
                      for i in range(0, len(images), batch_size)])  # fmt: skip


def score_files(discriminator: Any, paths: list[Path]) -> Iterator[Scored]:
    """The scores of each image, in order. Images are rotated by EXIF, cropped to the centre square and resized."""
    for start in range(0, len(paths), BATCH):
        batch = paths[start : start + BATCH]
        images: list[np.ndarray] = []
        errors: dict[Path, str] = {}
        for path in batch:
            try:
                images.append(read_picture(path.read_bytes(), discriminator.size))
            except DAMAGED as error:
                errors[path] = " ".join(str(error).split()) or repr(error)
        scores = iter(scores_of(discriminator, np.stack(images)) if images else [])
        for path in batch:
            yield Scored(path, None, errors[path]) if path in errors else Scored(path, next(scores))
