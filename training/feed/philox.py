"""NumPy's Philox generator in integer tensor operations: generates the same float32 numbers on any device."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

LOW = 0xFFFFFFFF
MULTIPLIERS = 0xD2E7470EE14C6C93, 0xCA5A826395121157  # Salmon et al. 2011: Philox4x64, ten rounds
KEY_STEPS = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
PER_BLOCK = 8  # float32 values of one value of the counter: four words of 64 bits, the lower half of each first


def uniform(
    key: tuple[int, int], steps: Tensor, first: int, count: int, part: int = 0, compiled: bool = False
) -> Tensor:
    """(len(steps), count) float32 in [0, 1) on the device of ``steps`` (int64).

    For each step, these are the numbers from index ``first`` on of
    ``streams.draws(*key, step, part).random(dtype=float32)``. ``compiled``: use one kernel instead of hundreds.
    """
    block, skipped = divmod(first, PER_BLOCK)
    blocks = -(-(skipped + count) // PER_BLOCK)
    counter = torch.arange(block + 1, block + 1 + blocks, device=steps.device)  # NumPy increments before use
    values = (compiled_rounds() if compiled else rounds)(
        counter, torch.full_like(steps, part), steps, _round_keys(key, steps.device)
    )
    return values[:, skipped : skipped + count]


@lru_cache(maxsize=8)  # one copy to the device for all steps
def _round_keys(key: tuple[int, int], device: torch.device) -> Tensor:
    rows = [[_signed(k + i * by) for k, by in zip(key, KEY_STEPS, strict=True)] for i in range(10)]
    return torch.tensor(rows, device=device)


@lru_cache(maxsize=1)
def compiled_rounds() -> Callable[..., Tensor]:
    return torch.compile(rounds, fullgraph=True, dynamic=False)


def rounds(counter: Tensor, part: Tensor, steps: Tensor, keys: Tensor) -> Tensor:
    """(B,), (n,), (n,) and (10, 2), all int64 -> (n, 8 B) float32. Tensors alone: it may be compiled, to one kernel."""
    c0 = counter.expand(len(steps), -1)
    c1 = torch.zeros_like(c0)
    c2, c3 = part[:, None].expand_as(c0), steps[:, None].expand_as(c0)
    for key in keys.unbind():
        high0, low0 = _product(c0, MULTIPLIERS[0])
        high1, low1 = _product(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ key[0], low1, high0 ^ c3 ^ key[1], low0
    words = torch.stack((c0, c1, c2, c3), -1)
    halves = torch.stack((words, words >> 32), -1).flatten(1)  # the lower half of each first
    return ((halves >> 8) & 0xFFFFFF).float() * 2**-24


def _signed(x: int) -> int:
    """The int64 that has the bits of ``x`` modulo 2**64."""
    x &= 2**64 - 1
    return x - 2**64 if x >= 2**63 else x


def _product(x: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """The upper and the lower 64 bits of the product of unsigned integers; int64 products wrap."""
    low, high = x & LOW, (x >> 32) & LOW
    f_low, f_high = factor & LOW, factor >> 32
    middle = high * f_low, low * f_high
    carry = ((low * f_low >> 32) & LOW) + (middle[0] & LOW) + (middle[1] & LOW)
    upper = high * f_high + ((middle[0] >> 32) & LOW) + ((middle[1] >> 32) & LOW) + ((carry >> 32) & LOW)
    return upper, x * _signed(factor)
