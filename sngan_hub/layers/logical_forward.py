"""Logical forwards: defines what counts as one forward of a network when a batch is split or batches are combined.

A module in training mode changes its state in every call: a spectrally normalised layer makes one power iteration, and
batch norm updates its running statistics. The authors' algorithm makes one forward per whole batch, one for real images
and one for fakes. To save memory, a batch is split over several calls; to save time, real and fake images share a call.
``logical_forwards`` states which calls form one forward.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .normalizers import BatchNorm2d
from .sigma_gradient import Estimate, as_matrix, as_weight
from .spectral_norm import SpectralNorm, full_precision


@contextmanager
def logical_forwards(
    *networks: nn.Module, count: int = 1, batch_norm_group: int = 0, twice: bool = False
) -> Iterator[LogicalForwards]:
    """Inside this context, calls of ``networks`` are parts of ``count`` logical forwards.

    A logical forward is one forward of a whole batch as the authors' algorithm counts it. It may be computed as several
    calls (micro-batches), and several of them may be computed as one call (real and fake images in one batch). Each
    logical forward changes the state of a network in training mode once:

    * **u and v** of a spectrally normalised layer: one power iteration for each of the ``count`` forwards, all of them
      done on entry, each from the previous u. This is exact, because the weights do not change in between. A call then
      uses the estimate of its forward. u and v keep the values of the last forward.
    * **running statistics** of batch norm: updated from the first group of the first micro-batch. The micro-batches
      after ``next_micro_batch()`` do not change them. This is exact if no micro-batch splits a group.

    Layers in evaluation mode, which includes frozen ones, are not affected. After the context, each call is one
    forward again, with statistics of its whole batch. Contexts of one network cannot be nested. The CPU does not wait
    for the device.

    Args:
        networks: the networks to which this applies.
        count: number of logical forwards; 2 for the real and the fake images of a D step.
        batch_norm_group: number of consecutive images that share batch-norm statistics, as with several processes (0:
            the whole batch of the call).
        twice: whether the gradient with respect to the input is differentiated again, as for a gradient penalty. Then
            weights are divided by sigma instead of outputs, because a divided output cannot be differentiated twice.

    Yields:
        The object that selects the current forward. The first forward has begun.
    """
    layers = [layer for network in networks for layer in normalized_layers(network)]
    norms = [module for network in networks for module in network.modules() if isinstance(module, BatchNorm2d)]
    forwards = LogicalForwards(layers, iterate(layers, count), norms)
    try:
        for norm in norms:
            norm.group = batch_norm_group
        for layer in layers:
            layer.normalize.divides_weight = twice
        forwards.begin(0)
        yield forwards
    finally:
        for norm in norms:
            norm.group, norm.held = 0, False
        for layer in layers:
            layer.normalize.estimates, layer.normalize.divides_weight = (), False


class LogicalForwards:
    """The object that ``logical_forwards`` yields: selects the forward to which the following calls belong."""

    def __init__(self, layers: Sequence[Any], found: list[list[Estimate]], norms: Sequence[BatchNorm2d]):
        self._layers, self._found, self._norms = layers, found, norms

    def begin(self, number: int) -> None:
        """The following calls are micro-batches of forward ``number``, from 0. The first one updates the statistics."""
        self._use([self._found[number]])
        self._hold(False)

    def all_in_one(self) -> None:
        """Each following call contains the images of all forwards, as equal consecutive parts of its batch.

        Not for networks with batch norm in training mode: its statistics must come from the images of one forward.
        """
        self._use(self._found)

    def next_micro_batch(self) -> None:
        """The following calls belong to the same forward and do not update the running statistics."""
        self._hold(True)

    def _use(self, found: list[list[Estimate]]) -> None:
        for i, layer in enumerate(self._layers):
            layer.normalize.estimates = tuple(estimates[i] for estimates in found)

    def _hold(self, held: bool) -> None:
        for norm in self._norms:
            norm.held = held


# ---------------------------------------------------------------------------------------------------------------------
# The power iterations of all layers at once


def normalized_layers(network: nn.Module) -> list[Any]:
    """The spectrally normalised layers in training mode, whose u changes."""
    return [m for m in network.modules() if m.training and isinstance(getattr(m, "normalize", None), SpectralNorm)]


@torch.no_grad()
def iterate(layers: Sequence[Any], count: int = 1) -> list[list[Estimate]]:
    """``count`` power iterations of every layer, each from the previous u.

    Needs two matrix products per layer and a few operations for all layers together. The CPU does not wait for
    the device.

    Args:
        layers: spectrally normalised layers. Their u, and v if it is stored, keep the values of the last iteration.
        count: number of iterations.

    Returns:
        For each iteration, each layer's estimate; v in the order of ``as_matrix(layer.weight)``.
    """
    if not layers:
        return [[] for _ in range(count)]
    with full_precision(layers[0].weight):
        matrices = [as_matrix(layer.weight) for layer in layers]
        us, found, vs = [layer.u for layer in layers], [], []
        for _ in range(count):
            vs, _ = _units([matrix.t() @ u for matrix, u in zip(matrices, us, strict=True)])
            us, sigmas = _units([matrix @ v for matrix, v in zip(matrices, vs, strict=True)])
            found.append([Estimate(*own) for own in zip(sigmas, us, vs, strict=True)])
        torch._foreach_copy_([layer.u for layer in layers], us)
        for layer, v in zip(layers, vs, strict=True):
            if layer.normalize.sn_eval == "stored":
                layer.v.copy_(as_weight(v[None], layer.weight).flatten())
    return found


def _units(vectors: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Each vector divided by its length, and the inner product of both; for W v, this is sigma = u' . W v."""
    sizes = [len(vector) for vector in vectors]
    lengths = torch.stack(torch._foreach_norm(vectors))
    guarded = lengths + 1e-12
    of_each = torch.cat([own.expand(n) for own, n in zip(guarded.unbind(), sizes, strict=True)])
    flat = torch.cat(vectors) / of_each
    return list(flat.split(sizes)), list((lengths * (lengths / guarded)).unbind())
