"""Adversarial losses, functions of D's scores (N, 1), and the similarity of generated images -> scalars."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Loss(NamedTuple):
    """D's loss is the sum of a term of real scores and a term of fake scores, which are back-propagated separately."""

    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]  # of fake scores

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return self.real(real) + self.fake(fake)


# fmt: off
LOSSES = {
    # E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))): Miyato & Koyama 2018, eq. 17 (authors' updater.py loss_hinge_*)
    "hinge":          Loss(lambda s: F.relu(1 - s).mean(), lambda s: F.relu(1 + s).mean(), lambda s: -s.mean()),
    # Goodfellow et al. 2014 with softplus (authors' updater.py loss_dcgan_*)
    "non_saturating": Loss(lambda s: F.softplus(-s).mean(), lambda s: F.softplus(s).mean(),
                           lambda s: F.softplus(-s).mean()),
    # E D(G(z)) - E D(x): Arjovsky et al. 2017, with a penalty or clipped weights that keep D near 1-Lipschitz
    "wasserstein":    Loss(lambda s: -s.mean(), lambda s: s.mean(), lambda s: -s.mean()),
}
# fmt: on


def similarity(images: Tensor, y: Tensor | None, distance: float) -> Tensor:
    """Sum of max(0, 1 - d / ``distance``)^2 over pairs of images (N, 3, H, W) of a class, divided by N.

    d is the root mean square difference of the two images on a grid of 16x16 squares. As in Yang et al. 2019,
    pairs that are far enough apart do not count; unlike there, d is not divided by the distance of the latents, which
    is nearly the same for all pairs of a normal distribution in many dimensions.
    """
    x = images.float() if images.dtype == torch.bfloat16 else images
    x = F.adaptive_avg_pool2d(x, 16).flatten(1)
    # Not by a product of matrices, which rounds the distances of similar images to 0
    d = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist") / x.shape[1] ** 0.5
    near = F.relu(1 - d / distance).square()
    if y is not None:
        near = near * (y[:, None] == y)
    return near.triu(1).sum() / len(x)
