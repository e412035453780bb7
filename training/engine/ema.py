"""The exponential moving average of a generator, batch-norm statistics included."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_ema(average: nn.Module, current: nn.Module, decay: float, step: int) -> None:
    """``decay`` is at most (1 + step) / (10 + step), so that early weights have little influence.

    Running statistics are averaged like weights. With outdated statistics, the average would generate grey images.
    """
    decay = min(decay, (1 + step) / (10 + step))
    ours, theirs = average.state_dict(), current.state_dict()
    floats = [name for name in ours if ours[name].is_floating_point()]
    torch._foreach_lerp_([ours[name] for name in floats], [theirs[name] for name in floats], 1 - decay)
    for name in ours.keys() - set(floats):
        ours[name].copy_(theirs[name])
