"""Standing statistics: the batch-norm statistics of a trained generator, estimated again from many batches.

The stored statistics are running averages of training, where weights and latents were others. For truncated latents the
difference is large. Source: Brock et al. 2019, appendix A ("standing statistics").
"""

from __future__ import annotations

import copy
from typing import Any

import torch

from ..layers.normalizers import BatchNorm2d
from ..sampling import generate as sampling

BATCHES, BATCH = 200, 64
STREAM = 2**34  # of random numbers, apart from those of samples


@torch.no_grad()
def standing_statistics(
    generator: Any, truncation: float | None = None, batches: int = BATCHES, batch_size: int = BATCH, seed: int = 0
) -> Any:
    """A copy of a generator whose batch norms hold the mean statistics of ``batches`` batches.

    Args:
        generator: a generator that can be trained; it is not changed. Not one that ``for_sampling()`` returned.
        truncation: of the latents, as the copy will be sampled.
        batches: over which means and (unbiased) variances are averaged.
        batch_size: images of each batch, with labels uniform over the classes.
        seed: of the latents, which are independent of the samples of the same seed.

    Returns:
        The copy, in eval mode, on the same device.

    Raises:
        ValueError: if the generator has no batch norm to estimate.
    """
    found = copy.deepcopy(getattr(generator, "_orig_mod", generator)).eval()
    norms = [module for module in found.modules() if isinstance(module, BatchNorm2d)]
    if not norms:
        raise ValueError("standing statistics need a generator with batch norm, as loaded; for_sampling() removes it")
    device = next(found.parameters()).device
    for norm in norms:
        norm.train()
    kept = [norm.momentum for norm in norms]
    for i in range(batches):
        for norm in norms:
            norm.momentum = 1 / (i + 1)  # a cumulative average; the first batch replaces what was stored
        z, y = sampling.latents(seed, i * batch_size, batch_size, found.z_dim, found.n_classes, truncation, STREAM)
        found(z.to(device), None if y is None else y.to(device))
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    return found.eval()
