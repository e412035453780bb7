"""Differentiable augmentation (Zhao et al. 2020): applied to every image that the discriminator scores.

Real and fake images pass through it alike, in D's step and in G's, so that D cannot use what the augmentation hides,
and G is not taught to draw it. Every draw is a function of (seed, step, part, index in the batch); each augmentation
takes its draws as one tensor (k, N, ...) on the images' device, so that it is made of tensor operations alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .streams import Stream, draws


def color(x: Tensor, u: Tensor) -> Tensor:
    """Brightness -0.5..0.5, saturation 0..2, contrast 0.5..1.5, from ``u`` (3, N, 1, 1, 1) in [0, 1)."""
    x = x + (u[0] - 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (u[1] * 2) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (u[2] + 0.5) + mean


def color_draws(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    return rng.random((3, n, 1, 1, 1), dtype=np.float32)


def translation(x: Tensor, shift: Tensor) -> Tensor:
    """Moves by ``shift`` (2, N, 1), rows and columns, in whole pixels; what moves in is 0."""
    n, _, height, width = x.shape
    side = round(width * SHIFT)
    padded = torch.nn.functional.pad(x, (side, side, side, side))
    rows = torch.arange(height, device=x.device) + side + shift[0]  # (N, H)
    columns = torch.arange(width, device=x.device) + side + shift[1]
    batch = torch.arange(n, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def translation_draws(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    side = round(size * SHIFT)
    return rng.integers(-side, side + 1, (2, n, 1))


def cutout(x: Tensor, corner: Tensor) -> Tensor:
    """A square with its top left at ``corner`` (2, N, 1), partly outside too, becomes 0."""
    height, width = x.shape[2:]
    side = round(width * CUT)
    inside = [
        (torch.arange(length, device=x.device) >= c) & (torch.arange(length, device=x.device) < c + side)
        for length, c in zip((height, width), corner, strict=True)
    ]
    return x * ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])


def cutout_draws(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    side = round(size * CUT)
    return rng.integers(-(side // 2), size - side // 2 + 1, (2, n, 1))


SHIFT, CUT = 1 / 8, 1 / 2  # of the image's side: the farthest shift, and the side of the square that is cut


class Augmentation(NamedTuple):
    apply: Callable[[Tensor, Tensor], Tensor]  # images (N, 3, S, S) and draws (k, N, ...) -> images
    draws: Callable[[np.random.Generator, int, int], np.ndarray]  # of n images of a size -> (k, n, ...)


AUGMENTATIONS = {
    "color": Augmentation(color, color_draws),
    "translation": Augmentation(translation, translation_draws),
    "cutout": Augmentation(cutout, cutout_draws),
}


def augment_draws(names: list[str], seed: int, step: int, part: int, total: int, size: int) -> list[np.ndarray]:
    """The draws of each of ``names`` for look ``part`` of a step at ``total`` images, of all processes together."""
    rng = draws(seed, Stream.AUGMENT, step, part)
    return [AUGMENTATIONS[name].draws(rng, total, size) for name in names]


def augment(x: Tensor, names: list[str], drawn: Sequence[Tensor]) -> Tensor:
    """(N, 3, S, S) -> same, by the draws of these N images, one tensor for each of ``names``."""
    for name, values in zip(names, drawn, strict=True):
        x = AUGMENTATIONS[name].apply(x, values)
    return x
