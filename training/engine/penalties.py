"""Regularisers of D: gradient penalties, and the SN paper's orthonormal penalty and weight clipping."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sngan_hub.layers.normalizers import Conv2d, Embedding, Linear


def gradient_penalty(
    discriminator: nn.Module, real: Tensor, fake: Tensor, epsilon: Tensor, y: Tensor | None = None
) -> Tensor:
    """E (|grad D(x)| - 1)^2 at x = epsilon real + (1 - epsilon) fake: Gulrajani et al. 2017, eq. 3, without its factor.

    ``epsilon`` (N,) is uniform in [0, 1], given by the caller. WGAN-GP adds it to the Wasserstein loss, GAN-GP to the
    non-saturating one. Needs double backward, so D runs uncompiled.
    """
    epsilon = epsilon.view(-1, *[1] * (real.ndim - 1))
    x = (epsilon * real + (1 - epsilon) * fake).detach().requires_grad_()
    score = discriminator(x) if y is None else discriminator(x, y)
    (gradient,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()


def r1_penalty(discriminator: nn.Module, real: Tensor, y: Tensor | None = None) -> Tensor:
    """E |grad D(x)|^2 / 2 at real images x: R1 of Mescheder et al. 2018, eq. 9, without its factor.

    Needs double backward, so D runs uncompiled.
    """
    x = real.detach().requires_grad_()
    score = discriminator(x) if y is None else discriminator(x, y)
    (gradient,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    return (gradient.flatten(1) ** 2).sum(1).mean() / 2


def orthonormal_penalty(network: nn.Module) -> Tensor:
    """Sum over layers of |G - I|_F^2 with the smaller Gram matrix G of the weight (out, rest): Brock et al. 2016, as
    the SN paper compares it. The smaller one can be the identity; the other cannot.
    """
    terms = []
    for layer in network.modules():
        if isinstance(layer, Conv2d | Linear | Embedding):
            w = layer.weight.flatten(1)
            gram = w @ w.t() if w.shape[0] <= w.shape[1] else w.t() @ w
            terms.append(((gram - torch.eye(len(gram), dtype=w.dtype, device=w.device)) ** 2).sum())
    return torch.stack(terms).sum()


@torch.no_grad()
def orthonormal_(network: nn.Module) -> None:
    """Initialises every weight as a random matrix with orthonormal rows or columns, so that the penalty starts at 0."""
    for layer in network.modules():
        if isinstance(layer, Conv2d | Linear | Embedding):
            nn.init.orthogonal_(layer.weight)


@torch.no_grad()
def clip_weights_(network: nn.Module, limit: float = 0.01) -> None:
    """Clips every trained parameter to [-limit, limit], after D's step (Arjovsky et al. 2017, algorithm 1)."""
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.clamp_(-limit, limit)
