"""What a step is fed: real batches, latents and labels, each a pure function of (seed, step, index in the batch)."""

from __future__ import annotations

import enum
import os
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from sngan_hub.sources import Images
from sngan_hub.sources.images import cropped

if TYPE_CHECKING:
    from .config import Config


class Stream(enum.IntEnum):
    """Independent streams of random numbers. Values are part of every run: add, never renumber."""

    ORDER = 0
    FLIP = 1
    NOISE = 2
    LATENT = 3
    LABEL = 4
    AUGMENT = 5
    CROP = 6
    PENALTY = 7


def draws(seed: int, stream: Stream, step: int, part: int = 0) -> np.random.Generator:
    """The random numbers of one purpose in one step; ``part`` tells the uses within a step apart."""
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, part, step]))


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, n: int) -> np.ndarray:
    return draws(seed, Stream.ORDER, epoch).permutation(n)


class Feed:
    """Batch number ``position`` of a run, computed ahead by threads while a step runs.

    Every batch is a function of (seed, position), so nothing needs to be saved, and any position may be asked for.
    """

    def __init__(self, data: Images, config: Config, size: int, ahead: int = 4):
        self.data, self.config, self.size, self.ahead = data, config, size, ahead
        self.pool = ThreadPoolExecutor(max_workers=min(ahead, os.cpu_count() or 1))
        self.coming: dict[int, Future] = {}

    def __call__(self, position: int) -> tuple[Tensor, Tensor]:
        for p in range(position, position + self.ahead + 1):
            if p not in self.coming:
                self.coming[p] = self.pool.submit(self.compute, p)
        batch = self.coming.pop(position).result()
        self.coming = {p: future for p, future in self.coming.items() if p > position}
        return batch

    def compute(self, position: int) -> tuple[Tensor, Tensor]:
        c = self.config
        return real_batch(self.data, c.seed, position, c.batch_size, c.flip, c.crop, self.size, c.contrast_stretch)

    def close(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)


def real_batch(
    data: Images,
    seed: int,
    position: int,
    batch_size: int,
    flip: bool = False,
    crop: float = 1.0,
    size: int = 0,
    stretch: bool = False,
) -> tuple[Tensor, Tensor]:
    """Batch number ``position`` of a run -> images (B, 3, S, S) float32 in [-1, 1), labels (B,).

    x = pixel / 128 - 1 + U[0, 1/128), the authors' dequantisation (datasets/imagenet.py). Epochs are permutations.
    Images that are stored larger than ``size``, or cropped, go through the authors' crop, stretch and resize.
    """
    n, stored = len(data.images), data.images.shape[-1]
    index = batch_index(seed, position, batch_size, n)
    pixels = data.images[index]
    flips = draws(seed, Stream.FLIP, position).random(batch_size) < 0.5 if flip else np.zeros(batch_size, bool)
    if crop < 1 or (size or stored) != stored:
        pixels = random_crops(pixels, draws(seed, Stream.CROP, position), flips, crop, size or stored, stretch)
    elif flip:
        pixels = np.where(flips[:, None, None, None], pixels[..., ::-1], pixels)
    x = torch.from_numpy(pixels).float().div_(128).sub_(1)
    noise = draws(seed, Stream.NOISE, position).random(x.shape, dtype=np.float32)
    return x.add_(torch.from_numpy(noise), alpha=1 / 128), torch.from_numpy(data.labels[index])


def batch_index(seed: int, position: int, batch_size: int, n: int) -> np.ndarray:
    """Which images batch number ``position`` holds: consecutive ones of a permutation of each epoch."""
    places = np.arange(position * batch_size, (position + 1) * batch_size)
    return np.array([_order(seed, int(p) // n, n)[int(p) % n] for p in places])


def random_crops(
    pixels: np.ndarray, rng: np.random.Generator, flips: np.ndarray, crop: float, size: int, stretch: bool
) -> np.ndarray:
    """Squares of ``crop`` times the side, anywhere but the last offset, as the authors draw them; 1 is the whole."""
    stored = pixels.shape[-1]
    side = int(stored * crop)
    offsets = rng.integers(0, max(stored - side, 1), (len(pixels), 2))  # 0 .. stored - side - 1
    return np.stack([
        cropped(image.transpose(1, 2, 0), top, left, side, size, bool(flipped), stretch)
        for image, (top, left), flipped in zip(pixels, offsets, flips, strict=True)
    ])  # fmt: skip


def penalty_points(seed: int, step: int, part: int, n: int) -> Tensor:
    """(n,) uniform in [0, 1): where between a real and a generated image each gradient penalty is taken."""
    return torch.from_numpy(draws(seed, Stream.PENALTY, step, part).random(n, dtype=np.float32))


def latents(seed: int, step: int, part: int, n: int, z_dim: int, n_classes: int) -> tuple[Tensor, Tensor | None]:
    """-> z (n, z_dim) standard normal, and labels (n,) uniform over the classes, independent of any real label."""
    z = torch.from_numpy(draws(seed, Stream.LATENT, step, part).standard_normal((n, z_dim), dtype=np.float32))
    if not n_classes:
        return z, None
    return z, torch.from_numpy(draws(seed, Stream.LABEL, step, part).integers(0, n_classes, n))
