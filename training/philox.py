"""numpy's Philox in integer tensor operations: the same float32 draws on any device, without drawing on the host."""

from __future__ import annotations

import torch
from torch import Tensor

LOW = 0xFFFFFFFF
MULTIPLIERS = 0xD2E7470EE14C6C93, 0xCA5A826395121157  # Salmon et al. 2011: Philox4x64, ten rounds
KEY_STEPS = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
PER_BLOCK = 8  # float32 values of one value of the counter: four words of 64 bits, the lower half of each first


def uniform(key: tuple[int, int], steps: Tensor, first: int, count: int, part: int = 0) -> Tensor:
    """(len(steps), count) float32 in [0, 1) on the device of ``steps`` (int64): for each step the draws ``first`` and
    on of ``data.draws(*key, step, part).random(dtype=float32)``.
    """
    block, skipped = divmod(first, PER_BLOCK)
    blocks = -(-(skipped + count) // PER_BLOCK)
    c0 = torch.arange(block + 1, block + 1 + blocks, device=steps.device).expand(len(steps), -1)  # numpy counts first
    c1 = torch.zeros_like(c0)
    c2, c3 = torch.full_like(c0, part), steps[:, None].expand_as(c0)
    k0, k1 = key
    for _ in range(10):
        high0, low0 = _product(c0, MULTIPLIERS[0])
        high1, low1 = _product(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ _signed(k0), low1, high0 ^ c3 ^ _signed(k1), low0
        k0, k1 = k0 + KEY_STEPS[0], k1 + KEY_STEPS[1]
    halves = torch.stack((c0, c1, c2, c3), -1).view(torch.int32).flatten(1)[:, skipped : skipped + count]
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
