"""Division by a sigma that is already known, with the gradient through sigma written by hand.

For estimates u, v of one power iteration, sigma = u^T W v. u and v are treated as constants, so d sigma / dW = u v^T.
There are two ways to use this: ``divided`` divides the weight; ``scaled_output`` divides the layer's output, which is
cheaper if the weight is larger than the feature maps, or if the halves of a batch have different sigmas.

Source: Miyato et al. 2018, section 2.3 (the gradient). The plain form, by autograd, is in spectral_norm.py; both agree
up to rounding (tests/test_fast_step.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

#: ``linear(x, weight, bias)`` -> output, linear in x and in the weight
LinearMap = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Estimate(NamedTuple):
    """The result of one power iteration of one layer: sigma (), left vector u (rows,), right vector v (columns,)."""

    sigma: Tensor
    u: Tensor
    v: Tensor


def divided(weight: Tensor, estimate: Estimate) -> Tensor:
    """Divides ``weight`` by ``estimate.sigma``, with the gradient through sigma.

    Args:
        weight: the raw weight (rows, ...).
        estimate: the estimate of this weight; v in the order of ``as_matrix(weight)``.

    Returns:
        A tensor like ``weight``. It can be differentiated twice with respect to the layer's input,
        once with respect to the weight.
    """
    return _Divided.apply(weight, *estimate)


def scaled_output(
    x: Tensor, weight: Tensor, bias: Tensor | None, linear: LinearMap, estimates: Sequence[Estimate]
) -> Tensor:
    """Applies ``linear`` with the raw weight and divides the output by sigma: equal to using the divided weight.

    Args:
        x: (N, ...), N a multiple of the number of estimates.
        weight: the raw weight (rows, ...).
        bias: (rows,), or None.
        linear: see ``LinearMap``.
        estimates: one for each equal, consecutive part of the batch.

    Returns:
        (N, rows, ...), in the dtype of ``linear``'s output. It cannot be differentiated twice.
    """
    if weight.requires_grad and torch.is_grad_enabled():
        x, weight = _Undivided.apply(x, weight, *[tensor for estimate in estimates for tensor in estimate])
    y = linear(x, weight, None)
    share, ones = len(x) // len(estimates), [1] * (y.ndim - 1)
    scale = torch.stack([estimate.sigma for estimate in estimates]).reciprocal()
    scale = scale.repeat_interleave(share, output_size=len(x)).view(-1, *ones)
    shift = None if bias is None else bias.view(1, -1, *[1] * (y.ndim - 2))
    scaled = y * scale if shift is None else torch.addcmul(shift, y.to(scale.dtype), scale)
    return scaled.to(y.dtype)


# ---------------------------------------------------------------------------------------------------------------------
# Weights as matrices, in the order of their memory


def _is_channels_last(weight: Tensor) -> bool:
    return weight.ndim == 4 and not weight.is_contiguous()


def as_matrix(weight: Tensor) -> Tensor:
    """A weight (rows, ...) as a matrix (rows, columns) without a copy.

    The columns of a channels-last weight are in the order of its memory. u does not depend on the order of the columns;
    v has this order.
    """
    return (weight.permute(0, 2, 3, 1) if _is_channels_last(weight) else weight).flatten(1)


def as_weight(matrix: Tensor, weight: Tensor) -> Tensor:
    """The inverse of ``as_matrix``: a matrix (any rows, columns) in the shape and order of ``weight``'s rows."""
    if not _is_channels_last(weight):
        return matrix.view(-1, *weight.shape[1:])
    _, c, height, width = weight.shape
    return matrix.view(-1, height, width, c).permute(0, 3, 1, 2)


def _minus_outer(gradient: Tensor, weight: Tensor, us: Tensor, vs: Tensor) -> Tensor:
    """gradient - sum over k of us[k] vs[k]^T, as a tensor like ``weight``: us (K, rows), vs (K, columns).

    Uses element-wise operations, which autocast leaves in float32: turning autocast off within a backward breaks
    torch.compile.
    """
    matrix = (gradient.permute(0, 2, 3, 1) if _is_channels_last(weight) else gradient).flatten(1)
    for u, v in zip(us, vs, strict=True):
        matrix = torch.addcmul(matrix, u[:, None], v[None], value=-1)
    return as_weight(matrix, weight)


# ---------------------------------------------------------------------------------------------------------------------
# The gradients

_once_differentiable = cast("Callable[[Any], Any]", torch.autograd.function.once_differentiable)


class _Divided(torch.autograd.Function):
    """W -> W / sigma, with u and v constant: dL/dW = (G - <G, W / sigma> u v^T) / sigma for the gradient G."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, sigma: Tensor, u: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(weight, sigma, u, v)
        return weight / sigma

    @staticmethod
    @_once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        weight, sigma, u, v = ctx.saved_tensors
        gradient = gradient / sigma
        inner = (gradient * weight).sum() / sigma
        return _minus_outer(gradient, weight, (inner * u)[None], v[None]), None, None, None


class _Undivided(torch.autograd.Function):
    """x, W -> x, W, for a layer whose output is divided by sigma_k in part k of the batch; that division treats sigma_k
    as a constant.

    The layer's own backward then gives sum_k G_k / sigma_k, where G_k is the gradient of W / sigma_k. This function
    adds the gradient through sigma_k: -<G_k / sigma_k, W> / sigma_k u_k v_k^T. Because the layer is linear in x and W,
    <G_k / sigma_k, W> = <dL/dx, x> over part k, so the backward needs only dL/dx and x for it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, *estimates: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, weight, *estimates)
        return x.view_as(x), weight.view_as(weight)

    @staticmethod
    @_once_differentiable
    def backward(ctx: Any, of_x: Tensor, of_weight: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *estimates = ctx.saved_tensors
        sigmas, us, vs = (torch.stack(estimates[i::3]) for i in range(3))
        products = (of_x.to(sigmas.dtype) * x.to(sigmas.dtype)).flatten(1).sum(1)
        inner = products.view(len(sigmas), -1).sum(1) / sigmas
        gradient = _minus_outer(of_weight.to(weight.dtype), weight, inner[:, None] * us, vs)
        return of_x, gradient, *[None] * len(estimates)
