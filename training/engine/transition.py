"""The class transition (Shahbazi et al. 2022): training moves gradually from unconditional to conditional.

During the transition a network interpolates each class embedding between the mean of all classes and its own value, by
a strength in [0, 1] that is not saved. ``with_strength_applied`` applies the strength to the embeddings, so that a
snapshot alone gives the network that was logged and scored.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from sngan_hub.layers.normalizers import BatchNorm2d, Embedding, lookup_class
from sngan_hub.layers.spectral_norm import SpectralNorm, converged_estimate
from sngan_hub.networks.base import AnyDiscriminator, AnyGenerator, Network


def set_class_strength(networks: Iterable[Network], strength: float, device: torch.device) -> None:
    """Sets the class strength in [0, 1] of ``networks``; see ``Network.class_strength``.

    The strength is a tensor on ``device`` that is updated in place, so that compiled and recorded steps read it.
    """
    networks = list(networks)
    value = networks[0].class_strength
    if not isinstance(value, Tensor) or any(network.class_strength is not value for network in networks):
        value = torch.empty((), device=device)
    value.fill_(strength)
    for network in networks:
        network.class_strength = value


@torch.no_grad()
def with_strength_applied(network: Any) -> Any:
    """``network`` itself at strength 1, otherwise a copy with strength 1 that computes the same as ``network``.

    Args: a generator or a discriminator. Returns one of the same kind; a discriminator's ``embed_scale`` becomes the
    spectral norm of its class table.
    """
    strength = float(network.class_strength)
    if strength == 1 or not network.n_classes:
        return network
    new: Network = copy.deepcopy(network).eval()
    new.class_strength = 1.0
    labels = torch.arange(network.n_classes, device=next(network.parameters()).device)
    for module in new.modules():
        if isinstance(module, BatchNorm2d) and module.n_classes:
            for table in (module.weight, module.bias):
                table.copy_(lookup_class(table, labels, strength=strength))
        elif isinstance(module, Embedding):
            rows = lookup_class(module.effective_weight().double(), labels, strength=strength)
            set_table(new, module, rows)
    return new


def set_table(network: Network, layer: Any, rows: Tensor) -> None:
    """Sets the effective class table of ``network`` to ``rows`` (classes, channels), whatever its normalisation."""
    layer.weight.copy_(rows)
    if isinstance(layer.normalize, SpectralNorm):
        sigma, u, v = converged_estimate(rows)
        layer.u.copy_(u)
        if layer.normalize.sn_eval == "stored":
            layer.v.copy_(v)
        if layer.normalize.gain:
            layer.gamma.copy_(sigma)
        else:
            layer.normalize.scale = float(sigma)
            assert isinstance(network._hub_mixin_config, dict)
            network._hub_mixin_config["embed_scale"] = float(sigma)


def check_transition(generator: AnyGenerator, discriminator: AnyDiscriminator) -> None:
    """Raises ``ValueError`` for a class table whose rows cannot represent a strength."""
    embed = getattr(discriminator, "embed", None)
    if embed is not None and embed.normalize is not None and not isinstance(embed.normalize, SpectralNorm):
        raise ValueError("transition_to must be 0 for this discriminator, whose class embeddings all have length 1; "
                         "set transition_from and transition_to to 0")  # fmt: skip
