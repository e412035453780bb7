"""Adversarial losses: pure functions of D's scores (N, 1) -> scalar."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

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
