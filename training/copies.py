"""Which pictures are nearly the same: in the data, and between what a generator draws and what it was shown."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sngan_hub.sampling import as_tensor

SIDE = 16  # pictures are compared as means over so many squares a side
NEAR = 4.0  # root mean square difference of near copies, in levels of 256
ALARM = 0.8  # share of generated pictures that lie nearer to the training images than real ones do


def small(images: np.ndarray | Tensor) -> Tensor:
    """uint8 (N, 3, S, S) -> (N, 768) levels, float32."""
    return F.adaptive_avg_pool2d(as_tensor(images).float(), SIDE).flatten(1)


def near_copies(images: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of pictures that differ by a saving as JPEG or a change of size, and no more."""
    x = small(images)
    apart = torch.cdist(x, x) / x.shape[1] ** 0.5
    apart[torch.ones_like(apart, dtype=torch.bool).tril()] = float("inf")
    return [(int(i), int(j)) for i, j in (apart < NEAR).nonzero()]


class Nearest(NamedTuple):
    row: Tensor  # (N,) of the nearest training image
    distance: Tensor  # (N,)


def nearest(features: Tensor, training: Tensor, itself: bool = False) -> Nearest:
    """For each row of (N, F), the nearest row of ``training`` (M, F); ``itself``: row i of it is no neighbour of i."""
    apart = torch.cdist(features, training)
    if itself:
        apart.fill_diagonal_(float("inf"))
    return Nearest(apart.argmin(1), apart.min(1).values)


def copying(generated: Tensor, real: Tensor) -> float:
    """Distances to the nearest training image, of generated pictures (N,) and of real ones that were not trained on
    (M,) -> the probability that the generated one lies nearer. A half where G draws as the data were drawn; towards 1
    where it repeats what it was shown (the statistic of Meehan et al. 2020, as a probability).
    """
    apart = generated[:, None] - real[None]
    return float((apart < 0).double().mean() + (apart == 0).double().mean() / 2)
