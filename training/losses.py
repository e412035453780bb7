"""Adversarial losses: pairs of pure functions of D's scores (N, 1) -> scalar."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Loss(NamedTuple):
    discriminator: Callable[[Tensor, Tensor], Tensor]  # scores of real, of fake
    generator: Callable[[Tensor], Tensor]  # scores of fake


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))): Miyato & Koyama 2018, eq. 17 (authors' updater.py loss_hinge_dis)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    return -fake.mean()


def non_saturating_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Goodfellow et al. 2014 with softplus (authors' updater.py loss_dcgan_dis)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def non_saturating_generator(fake: Tensor) -> Tensor:
    return F.softplus(-fake).mean()


LOSSES = {
    "hinge": Loss(hinge_discriminator, hinge_generator),
    "non_saturating": Loss(non_saturating_discriminator, non_saturating_generator),
}
