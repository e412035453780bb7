"""Differentiable augmentation (Zhao et al. 2020): the same random family before every look of the discriminator.

Real and fake images pass through it alike, in D's step and in G's, so that D cannot use what the augmentation hides,
and G is not taught to draw it. Every draw is a function of (seed, step, part, index in the batch).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .data import Stream, draws


class Place(NamedTuple):
    """Which images of a step's whole batch are here: draws are of the whole batch, whoever computes which part."""

    start: int
    total: int

    def of(self, drawn: np.ndarray, x: Tensor) -> Tensor:
        """(..., total, ...) with the batch as second dimension -> the part of ``x``, on its device."""
        return torch.from_numpy(drawn[:, self.start : self.start + len(x)]).to(x.device)


def color(x: Tensor, rng: np.random.Generator, place: Place | None = None) -> Tensor:
    """Brightness -0.5..0.5, saturation 0..2, contrast 0.5..1.5."""
    place = place or Place(0, len(x))
    u = place.of(rng.random((3, place.total, 1, 1, 1), dtype=np.float32), x)
    x = x + (u[0] - 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (u[1] * 2) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (u[2] + 0.5) + mean


def translation(x: Tensor, rng: np.random.Generator, place: Place | None = None, ratio: float = 1 / 8) -> Tensor:
    """Shifts by up to ``ratio`` of the side, in whole pixels; what moves in is 0."""
    n, _, height, width = x.shape
    side = round(width * ratio)
    place = place or Place(0, n)
    shift = place.of(rng.integers(-side, side + 1, (2, place.total, 1)), x)
    padded = torch.nn.functional.pad(x, (side, side, side, side))
    rows = torch.arange(height, device=x.device) + side + shift[0]  # (N, H)
    columns = torch.arange(width, device=x.device) + side + shift[1]
    batch = torch.arange(n, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(x: Tensor, rng: np.random.Generator, place: Place | None = None, ratio: float = 1 / 2) -> Tensor:
    """A square of ``ratio`` of the side, anywhere (partly outside too), becomes 0."""
    n, _, height, width = x.shape
    side = round(width * ratio)
    place = place or Place(0, n)
    corner = place.of(rng.integers(-(side // 2), width - side // 2 + 1, (2, place.total, 1)), x)
    inside = [
        (torch.arange(length, device=x.device) >= c) & (torch.arange(length, device=x.device) < c + side)
        for length, c in zip((height, width), corner, strict=True)
    ]
    return x * ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])


AUGMENTATIONS = {"color": color, "translation": translation, "cutout": cutout}


def augment(
    x: Tensor, names: list[str], seed: int, step: int, part: int, place: Place | None = None
) -> Tensor:  # (N, 3, S, S) -> same
    if names:
        rng = draws(seed, Stream.AUGMENT, step, part)
        for name in names:
            x = AUGMENTATIONS[name](x, rng, place)
    return x
