"""Differentiable augmentation (Zhao et al. 2020): the same random family before every look of the discriminator.

Real and fake images pass through it alike, in D's step and in G's, so that D cannot use what the augmentation hides,
and G is not taught to draw it. Every draw is a function of (seed, step, part, index in the batch).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .data import Stream, draws


def color(x: Tensor, u: Tensor) -> Tensor:
    """Brightness -0.5..0.5, saturation 0..2, contrast 0.5..1.5, by ``u`` (3, N, 1, 1, 1) in [0, 1)."""
    x = x + (u[0] - 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (u[1] * 2) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (u[2] + 0.5) + mean


def translation(x: Tensor, shift: Tensor) -> Tensor:
    """Shifts by ``shift`` (2, N, 1) whole pixels, down and right, up to an eighth of the side; what moves in is 0."""
    n, _, height, width = x.shape
    side = _most(width)
    padded = torch.nn.functional.pad(x, (side, side, side, side))
    rows = torch.arange(height, device=x.device) + side + shift[0]  # (N, H)
    columns = torch.arange(width, device=x.device) + side + shift[1]
    batch = torch.arange(n, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(x: Tensor, corner: Tensor) -> Tensor:
    """A square of half the side from ``corner`` (2, N, 1) on, which may lie outside, becomes 0."""
    height, width = x.shape[2:]
    inside = [
        (torch.arange(length, device=x.device) >= c) & (torch.arange(length, device=x.device) < c + width // 2)
        for length, c in zip((height, width), corner, strict=True)
    ]
    return x * ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])


def _most(size: int) -> int:
    """The largest shift, in pixels."""
    return round(size / 8)


class Augmentation(NamedTuple):
    draw: Callable[[np.random.Generator, int, int], np.ndarray]  # for n images of a size, the batch second
    apply: Callable[[Tensor, Tensor], Tensor]


def _u(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    return rng.random((3, n, 1, 1, 1), dtype=np.float32)


def _shift(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    return rng.integers(-_most(size), _most(size) + 1, (2, n, 1))


def _corner(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    return rng.integers(-(size // 4), size - size // 4 + 1, (2, n, 1))


AUGMENTATIONS = {
    "color": Augmentation(_u, color),
    "translation": Augmentation(_shift, translation),
    "cutout": Augmentation(_corner, cutout),
}


def augment_draws(names: list[str], size: int, seed: int, step: int, part: int, total: int) -> list[Tensor]:
    """What ``augment`` needs for a whole batch of ``total`` images, whoever computes which part: on the CPU, the batch
    second in each.
    """
    rng = draws(seed, Stream.AUGMENT, step, part)
    return [torch.from_numpy(AUGMENTATIONS[name].draw(rng, total, size)) for name in names]


def augment(x: Tensor, names: list[str], drawn: list[Tensor]) -> Tensor:  # (N, 3, S, S) -> same
    for name, own in zip(names, drawn, strict=True):
        x = AUGMENTATIONS[name].apply(x, own)
    return x
