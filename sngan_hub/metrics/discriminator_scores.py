"""Pictures of any kind -> a discriminator's score of each, as each class. Takes any discriminator, imports none.

A score as class y says how real a picture looks among those of y. It has no unit, compares pictures under one
discriminator alone, and does not tell which class a picture is of: in training all pictures, real and generated, came
with a label that fits, so what D says of a wrong one is nobody's.
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


class Scored(NamedTuple):
    path: Path
    scores: Tensor | None  # (classes,), or (1,) of an unconditional discriminator; None where it could not be read
    error: str = ""


def pictures_in(folder: Path) -> list[Path]:
    """A picture file itself, or every picture below a folder, in name order. Raises ``FileNotFoundError``."""
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no file or folder {folder}")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise FileNotFoundError(f"folder: {folder} contains no image ({', '.join(sorted(SUFFIXES))})")
    return paths


def as_input(images: np.ndarray | Tensor) -> Tensor:
    """uint8 (N, 3, S, S) -> float32 in [-1, 1], as sampled pictures are turned back."""
    return as_tensor(images).float() / 127.5 - 1


@torch.no_grad()
def scores_of(discriminator: Any, images: np.ndarray | Tensor, batch_size: int = 50) -> Tensor:
    """The discriminator's score of each image as each class.

    Args:
        discriminator: in any mode; it stays so.
        images: uint8 (N, 3, S, S), 0 to 255, of the discriminator's size.
        batch_size: images computed at once.

    Returns:
        float32 (N, n_classes) on the CPU, or (N, 1) without classes. A score has no unit: higher is more real.

    Example:
        >>> images = load_generator("sngan_fashion32").sample(["Sneaker"], n=4, seed=0)
        >>> scores = scores_of(load_discriminator("sngan_fashion32"), images)
    """
    like = next(discriminator.parameters())
    network = evaluating(discriminator)
    return torch.cat([network.class_scores(as_input(images[i : i + batch_size]).to(like)).float().cpu()
                      for i in range(0, len(images), batch_size)])  # fmt: skip


def score_files(discriminator: Any, paths: list[Path], batch_size: int = 50) -> Iterator[Scored]:
    """Each picture's scores, in order. It is turned as its EXIF says, cropped to its centre and scaled to D's size."""
    for start in range(0, len(paths), batch_size):
        batch = paths[start : start + batch_size]
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
