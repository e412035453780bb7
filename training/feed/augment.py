"""Differentiable augmentation (Zhao et al. 2020): applied to every image that the discriminator scores.

Real and fake images are augmented in the same way, in D's step and in G's, so that G does not learn to generate
augmented images. Each random number is a function of (seed, step, part, index in the batch). Each augmentation takes
its random numbers as one tensor (k, N, ...) on the images' device, so that it consists of tensor operations only.
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
    """Shifts by ``shift`` (2, N, 1), rows and columns, in whole pixels; pads with 0."""
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
    """Sets a square with top-left corner ``corner`` (2, N, 1) to 0. It may be partly outside of the image."""
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


def noise(x: Tensor, e: Tensor) -> Tensor:
    """Adds ``e`` (1, N, 3, S, S). It hides small differences, such as noise in areas of one colour."""
    return x + e[0]


def noise_draws(rng: np.random.Generator, n: int, size: int) -> np.ndarray:
    return rng.standard_normal((1, n, 3, size, size), dtype=np.float32)


SHIFT, CUT = 1 / 8, 1 / 2  # as fractions of the image's side: maximum shift, and side of the square


class Augmentation(NamedTuple):
    apply: Callable[[Tensor, Tensor], Tensor]  # images (N, 3, S, S) and random numbers (k, N, ...) -> images
    draws: Callable[[np.random.Generator, int, int], np.ndarray]  # of n images of a size -> (k, n, ...)
    without: float = 0.0  # instead of every random number, leaves images as they are


AUGMENTATIONS = {
    "color": Augmentation(color, color_draws, without=0.5),
    "translation": Augmentation(translation, translation_draws),
    "cutout": Augmentation(cutout, cutout_draws, without=2**20),  # a corner outside of every image
    "noise": Augmentation(noise, noise_draws),
}


def augment_draws(
    names: list[str], seed: int, step: int, part: int, total: int, size: int, deviation: float = 1.0, start: int = 0
) -> list[np.ndarray]:
    """The random numbers of each of ``names`` for D's forward ``part`` of a step, for all ``total`` images.

    ``deviation``: of the noise. ``start``: before this step, the numbers leave images as they are, except for noise.
    """
    rng = draws(seed, Stream.AUGMENT, step, part)
    found = [AUGMENTATIONS[name].draws(rng, total, size) for name in names]
    for name, values in zip(names, found, strict=True):
        if name == "noise":
            values *= np.float32(deviation)
        elif step < start:
            values[...] = AUGMENTATIONS[name].without
    return found


def augment(x: Tensor, names: list[str], drawn: Sequence[Tensor]) -> Tensor:
    """(N, 3, S, S) -> same shape. ``drawn``: the random numbers of these N images, one tensor for each of ``names``."""
    for name, values in zip(names, drawn, strict=True):
        x = AUGMENTATIONS[name].apply(x, values)
    return x
