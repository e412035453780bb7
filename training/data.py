"""What a step is fed: real batches, latents and labels, each a pure function of (seed, step, index in the batch)."""

from __future__ import annotations

import enum
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from sngan_hub.sources import Images


class Stream(enum.IntEnum):
    """Independent streams of random numbers. Values are part of every run: add, never renumber."""

    ORDER = 0
    FLIP = 1
    NOISE = 2
    LATENT = 3
    LABEL = 4
    AUGMENT = 5


def draws(seed: int, stream: Stream, step: int, part: int = 0) -> np.random.Generator:
    """The random numbers of one purpose in one step; ``part`` tells the uses within a step apart."""
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, part, step]))


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, n: int) -> np.ndarray:
    return draws(seed, Stream.ORDER, epoch).permutation(n)


def real_batch(data: Images, seed: int, position: int, batch_size: int, flip: bool = False) -> tuple[Tensor, Tensor]:
    """Batch number ``position`` of a run -> images (B, 3, S, S) float32 in [-1, 1), labels (B,).

    x = pixel / 128 - 1 + U[0, 1/128), the authors' dequantisation (datasets/imagenet.py). Epochs are permutations.
    """
    n = len(data.images)
    places = np.arange(position * batch_size, (position + 1) * batch_size)
    index = np.array([_order(seed, int(p) // n, n)[int(p) % n] for p in places])
    x = torch.from_numpy(data.images[index]).float().div_(128).sub_(1)
    if flip:
        flips = torch.from_numpy(draws(seed, Stream.FLIP, position).random(batch_size) < 0.5)
        x = torch.where(flips[:, None, None, None], x.flip(3), x)
    noise = draws(seed, Stream.NOISE, position).random(x.shape, dtype=np.float32)
    return x.add_(torch.from_numpy(noise), alpha=1 / 128), torch.from_numpy(data.labels[index])


def latents(seed: int, step: int, part: int, n: int, z_dim: int, n_classes: int) -> tuple[Tensor, Tensor | None]:
    """-> z (n, z_dim) standard normal, and labels (n,) uniform over the classes, independent of any real label."""
    z = torch.from_numpy(draws(seed, Stream.LATENT, step, part).standard_normal((n, z_dim), dtype=np.float32))
    if not n_classes:
        return z, None
    return z, torch.from_numpy(draws(seed, Stream.LABEL, step, part).integers(0, n_classes, n))
