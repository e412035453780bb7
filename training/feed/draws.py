"""Real batches, latents and labels of a step, each a pure function of (seed, step, index in the batch)."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from sngan_hub.data import Images
from sngan_hub.data.images import cropped

from .streams import Stream, draws


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, n: int) -> np.ndarray:
    return draws(seed, Stream.ORDER, epoch).permutation(n)


def real_pixels(
    data: Images,
    seed: int,
    position: int,
    batch_size: int,
    flip: bool = False,
    crop: float = 1.0,
    size: int = 0,
    stretch: bool = False,
    own: slice = slice(None),
) -> tuple[np.ndarray, np.ndarray]:
    """Images ``own`` of batch number ``position`` -> (N, 3, S, S) uint8, labels (N,). Epochs are permutations.

    Images that are stored larger than ``size``, or cropped, go through the authors' crop, stretch and resize.
    """
    n, stored = len(data.images), data.images.shape[-1]
    index = batch_index(seed, position, batch_size, n)[own]
    pixels = data.images[index]  # indexing with an array makes a copy
    flips = (draws(seed, Stream.FLIP, position).random(batch_size) < 0.5 if flip else np.zeros(batch_size, bool))[own]
    if crop < 1 or (size or stored) != stored:
        offsets = crop_offsets(draws(seed, Stream.CROP, position), batch_size, stored, crop)[own]
        pixels = random_crops(pixels, offsets, flips, crop, size or stored, stretch)
    elif flip:
        pixels[flips] = pixels[flips][..., ::-1]
    return pixels, data.labels[index]


def draw_dequantisation(seed: int, position: int, start: int, out: np.ndarray) -> np.ndarray:
    """Writes the dequantisation noise of the images from ``start`` on of batch number ``position`` to ``out``.

    ``out`` (N, 3, S, S): float32 in [0, 1). The values are the same as when the noise of the whole batch is generated.
    """
    rng = draws(seed, Stream.DEQUANTISATION, position)
    before = start * math.prod(out.shape[1:])
    rng.bit_generator.advance(before // 8)  # type: ignore  # each value of Philox's counter gives 8 float32
    rng.random(before % 8, dtype=np.float32)
    return rng.random(out=out, dtype=np.float32)


def dequantised(pixels: Tensor, noise: Tensor) -> Tensor:
    """uint8 and U[0, 1) -> float32: pixel / 128 - 1 + noise / 128, the authors' dequantisation (datasets/imagenet.py).

    All operations except the last sum are exact in float32, so every device gives the same number.
    """
    return pixels.float().div_(128).sub_(1).add_(noise, alpha=1 / 128)


def batch_index(seed: int, position: int, batch_size: int, n: int) -> np.ndarray:
    """Indices of the images in batch number ``position``: consecutive ones of the permutation of each epoch."""
    first, stop = position * batch_size, (position + 1) * batch_size
    epochs = range(first // n, (stop - 1) // n + 1)
    return np.concatenate([_order(seed, e, n)[max(first - e * n, 0) : stop - e * n] for e in epochs])


def crop_offsets(rng: np.random.Generator, n: int, stored: int, crop: float) -> np.ndarray:
    """(n, 2): top and left of each crop. As in the authors' code, the last offset is never used."""
    side = int(stored * crop)
    return rng.integers(0, max(stored - side, 1), (n, 2))  # 0 .. stored - side - 1


def random_crops(
    pixels: np.ndarray, offsets: np.ndarray, flips: np.ndarray, crop: float, size: int, stretch: bool
) -> np.ndarray:
    """Crops squares of ``crop`` times the side at ``offsets`` (N, 2), after the flips. 1: no crop."""
    side = int(pixels.shape[-1] * crop)
    return np.stack([
        cropped(image.transpose(1, 2, 0), top, left, side, size, bool(flipped), stretch)
        for image, (top, left), flipped in zip(pixels, offsets, flips, strict=True)
    ])  # fmt: skip


def penalty_points(seed: int, step: int, part: int, n: int) -> Tensor:
    """(n,) uniform in [0, 1): positions between real and generated images at which the gradient penalty is computed."""
    return torch.from_numpy(draws(seed, Stream.PENALTY, step, part).random(n, dtype=np.float32))


def latents(seed: int, step: int, part: int, n: int, z_dim: int, n_classes: int) -> tuple[Tensor, Tensor | None]:
    """-> z (n, z_dim) standard normal, and labels (n,) uniform over the classes, independent of any real label."""
    z = torch.from_numpy(draws(seed, Stream.LATENT, step, part).standard_normal((n, z_dim), dtype=np.float32))
    if not n_classes:
        return z, None
    return z, torch.from_numpy(draws(seed, Stream.LABEL, step, part).integers(0, n_classes, n))
