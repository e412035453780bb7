"""Finds images that are nearly equal: within the data, and between generated and training images."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sngan_hub.data.images import Images, Rows
from sngan_hub.sampling.generate import as_tensor

SIDE = 16  # images are compared as means over a grid of this many squares per side
NEAR = 4.0  # root mean square difference of near copies, in levels of 256
SHARED = 0.01  # largest allowed share of held-out images that are also training images
ALARM = 0.8  # probability from which the report warns; see ``copying``


def small(images: np.ndarray | Tensor) -> Tensor:
    """uint8 (N, 3, S, S) -> (N, 768) levels, float32."""
    return F.adaptive_avg_pool2d(as_tensor(images).float(), SIDE).flatten(1)


def equal_rows(images: np.ndarray | Rows, training: np.ndarray | Rows) -> list[int]:
    """Which of ``images`` (N, 3, S, S) equal a training image (M, 3, S, S) byte for byte."""
    wanted: dict[bytes, list[int]] = {}
    for i, found in enumerate(_digests(images)):
        wanted.setdefault(found, []).append(i)
    known = set()
    for found in _digests(training):
        if found in wanted:
            known.add(found)
    return sorted(i for found in known for i in wanted[found])


def _digests(images: np.ndarray | Rows) -> Iterator[bytes]:
    for i in range(0, len(images), 1000):
        for image in np.asarray(images[np.arange(i, min(i + 1000, len(images)))]):
            yield hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()


def near_copies(images: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of images that differ only about as much as by JPEG compression or resizing."""
    x = small(images)
    apart = torch.cdist(x, x) / x.shape[1] ** 0.5
    apart[torch.ones_like(apart, dtype=torch.bool).tril()] = float("inf")
    return [(int(i), int(j)) for i, j in (apart < NEAR).nonzero()]


def check_no_training_images(held: Images, training: Images, what: str, or_else: str = "") -> None:
    """Raises ``ValueError`` if more than ``SHARED`` of the held-out images equal training images byte for byte.

    If fewer do, prints their number. ``what``: the argument and the folder, for the message. ``or_else``: another way
    out.
    """
    if held.images.shape[1:] != training.images.shape[1:]:
        print(f"{what}: not compared with the training images, whose size is {training.images.shape[-1]} px and not "
              f"{held.images.shape[-1]} px", file=sys.stderr)  # fmt: skip
        return
    n, same = len(held.images), len(equal_rows(held.images, training.images))
    if same > SHARED * n:
        raise ValueError(f"{what}: {same:,} of {n:,} images are also training images, so scores would not measure how "
                         f"the model generalizes; name a folder of images that are not used for training{or_else}"
                         )  # fmt: skip
    if same:
        print(f"{what}: {same:,} of {n:,} images {_also(same)}", file=sys.stderr)


def say_shared(held: Images, training: Images, source: str) -> None:
    """Prints how many images of the held-out tenth of ``source`` equal training images byte for byte, if any do."""
    same = len(equal_rows(held.images, training.images))
    if same:
        print(f"data: {same:,} of {len(held.images):,} held-out images {_also(same)}, so scores are too good; "
              f"remove the duplicates from {source}, or name other images with --held-out FOLDER",
              file=sys.stderr)  # fmt: skip


def _also(n: int) -> str:
    return "is also a training image" if n == 1 else "are also training images"


class Nearest(NamedTuple):
    row: Tensor  # (N,) of the nearest training image
    distance: Tensor  # (N,)


def nearest(features: Tensor, training: Tensor, itself: bool = False) -> Nearest:
    """For each row of (N, F), the nearest row of ``training`` (M, F). ``itself``: row i is not a neighbour of row i."""
    apart = torch.cdist(features, training)
    if itself:
        apart.fill_diagonal_(float("inf"))
    return Nearest(apart.argmin(1), apart.min(1).values)


def copying(generated: Tensor, real: Tensor) -> float:
    """The probability that a generated image is nearer to a training image than a real image that was not trained on.

    The arguments are distances to the nearest training image, of generated (N,) and of real images (M,). The result is
    one half if generated images follow the distribution of the data, and close to 1 if G repeats training images (the
    statistic of Meehan et al. 2020, as a probability).
    """
    apart = generated[:, None] - real[None]
    return float((apart < 0).double().mean() + (apart == 0).double().mean() / 2)
