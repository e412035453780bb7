"""Independent streams of random numbers: each number is a function of (seed, stream, step, part)."""

from __future__ import annotations

import enum

import numpy as np


class Stream(enum.IntEnum):
    """The purpose of a stream. The values determine the random numbers of runs: do not change them."""

    ORDER = 0
    FLIP = 1
    DEQUANTISATION = 2
    LATENT = 3
    LABEL = 4
    AUGMENT = 5
    CROP = 6
    PENALTY = 7


def draws(seed: int, stream: Stream, step: int, part: int = 0) -> np.random.Generator:
    """The random numbers for one purpose in one step. ``part`` distinguishes several uses within a step."""
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, part, step]))
