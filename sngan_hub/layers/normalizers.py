"""Normalisers: layer -> layer for weights, and batch normalisation with a gain per class for activations.

A weight normaliser takes one of the three layers below, registers what it needs to remember on it, and returns it.
The layer then computes with ``layer.effective_weight()`` instead of ``layer.weight``; ``layer.weight`` stays the raw,
trained tensor, so state dicts keep the authors' names (weight, bias, u). Spectral normalisation itself is in
spectral_norm.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .spectral_norm import SpectralNorm, apply_linear, unit


class Normalized(nn.Module):
    """What the three layers share: a weight that may be normalised."""

    weight: Any
    normalize: Callable[[Any], Tensor] | None = None

    def effective_weight(self) -> Tensor:
        """The weight as the layer uses it."""
        return self.weight if self.normalize is None else self.normalize(self)

    def effective_weights(self) -> list[Tensor]:
        """One for each equal part of the batch; more than one only within ``spectral_norm.estimated``."""
        return self.normalize.weights(self) if isinstance(self.normalize, SpectralNorm) else [self.effective_weight()]

    def extra_repr(self) -> str:
        name = getattr(self.normalize, "__name__", repr(self.normalize))
        return super().extra_repr() + ("" if self.normalize is None else f", normalize={name.strip('_')}")


class Conv2d(Normalized, nn.Conv2d):
    """``nn.Conv2d`` whose weight may be normalised."""

    def forward(self, input: Tensor) -> Tensor:
        return apply_linear(self, input, self._conv_forward)


class Linear(Normalized, nn.Linear):
    """``nn.Linear`` whose weight may be normalised."""

    def forward(self, input: Tensor) -> Tensor:
        return apply_linear(self, input, F.linear)


class Embedding(Normalized, nn.Embedding):
    """``nn.Embedding`` whose table may be normalised, as one matrix (classes x channels)."""

    def forward(self, input: Tensor) -> Tensor:
        return self.lookup(input)

    def lookup(self, y: Tensor, strength: float | Tensor = 1.0) -> Tensor:
        """Labels (N,) -> rows (N, C) of the normalised table; ``strength``: see ``lookup_class``."""
        tables = self.effective_weights()
        if len(tables) == 1:
            return lookup_class(tables[0], y, strength=strength)
        parts = zip(tables, y.chunk(len(tables)), strict=True)
        return torch.cat([lookup_class(own, part, strength=strength) for own, part in parts])


Layer = TypeVar("Layer", Conv2d, Linear, Embedding)


def spectral_norm(layer: Layer, sn_eval: str = "iterate", scale: float = 1.0) -> Layer:
    """Divides the weight by an estimate of its largest singular value, one power iteration per forward.

    ``u`` starts as a normal vector of any length, as the authors'. In eval mode ``sn_eval="iterate"`` (the authors)
    iterates once more from the stored u and stores nothing; ``"stored"`` uses the stored u and v as they are. The
    authors' Linear and Embedding store u in eval mode too; here evaluating never changes a network. ``scale`` is
    the norm that is left, 1 but for a network whose class table was changed (training/finetune/plan.py).
    """
    normalize = SpectralNorm(sn_eval, scale)
    layer.register_buffer("u", torch.randn(layer.weight.shape[0]))
    if sn_eval == "stored":
        layer.register_buffer("v", unit(torch.randn(layer.weight[0].numel())))
    layer.normalize = normalize
    return layer


# ---------------------------------------------------------------------------------------------------------------------
# Batch normalisation (authors' source/links/categorical_conditional_batch_normalization.py)


def lookup_class(
    table: Tensor, y: Tensor, class_weights: Tensor | None = None, strength: float | Tensor = 1.0
) -> Tensor:
    """Rows of ``table`` (classes, C) for ``y`` (N,), or their sums over ``y`` (N, K) with weights (N, K) -> (N, C).

    ``strength`` in [0, 1] scales what is particular to the class: 0 gives every label the table's mean row, 1 its own.
    As a tensor () on the table's device it may change without a compiled step being compiled again.
    """
    rows = F.embedding(y, table)
    if class_weights is not None:
        rows = (rows * class_weights.unsqueeze(-1)).sum(1)
    if isinstance(strength, Tensor):
        rows = torch.lerp(table.mean(0).expand_as(rows), rows, strength.to(rows.dtype))
    elif strength != 1.0:
        rows = torch.lerp(table.mean(0).expand_as(rows), rows, strength)
    return rows


class BatchNorm2d(nn.Module):
    """Batch normalisation with one gain and bias per channel (``n_classes=0``), or per class and channel.

    Biased variance normalises, the unbiased one enters the running average, eps 2e-5 and momentum 0.1 are the authors'.
    ``group``: in training, statistics are of consecutive groups of that many images (0: of the whole batch), as on so
    many processes; running statistics follow the first group. ``held``: they stay as they are.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, n_classes: int = 0, eps: float = 2e-5, momentum: float = 0.1):
        super().__init__()
        self.channels, self.n_classes, self.eps, self.momentum = channels, n_classes, eps, momentum
        self.group, self.held = 0, False
        shape = (n_classes, channels) if n_classes else (channels,)
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.int64))

    def extra_repr(self) -> str:
        return f"{self.channels}, n_classes={self.n_classes}, eps={self.eps:g}, momentum={self.momentum:g}"

    def gain_and_bias(
        self, y: Tensor | None, class_weights: Tensor | None = None, strength: float | Tensor = 1.0
    ) -> tuple[Tensor, Tensor]:
        """-> gain and bias, (C,) without classes, (N, C) with them."""
        if not self.n_classes:
            return self.weight, self.bias
        assert y is not None  # the network has checked
        return (
            lookup_class(self.weight, y, class_weights, strength),
            lookup_class(self.bias, y, class_weights, strength),
        )

    def forward(
        self, x: Tensor, y: Tensor | None = None, class_weights: Tensor | None = None, strength: float | Tensor = 1.0
    ) -> Tensor:  # (N, C, H, W) -> same
        gain, bias = self.gain_and_bias(y, class_weights, strength)
        mean, var = self.running_mean, self.running_var
        if self.training:
            size = self.group or len(x)
            if len(x) % size:
                raise ValueError(f"batch: {len(x)} images are no whole number of batch-norm groups of {size}")
            if not self.held:
                self.num_batches_tracked += 1
            if torch.compiler.is_compiling():
                return self._in_one_pass(x, gain, bias, size)
            if not self.n_classes:
                return self._by_groups(x, size, gain, bias)
            x = self._by_groups(x, size)
        elif not self.n_classes:
            return F.batch_norm(x, mean, var, gain, bias, False, self.momentum, self.eps)
        else:  # one pass over the map instead of two
            gain = gain * (var + self.eps).rsqrt()
            bias = bias - mean * gain
        return torch.addcmul(bias[:, :, None, None].to(x.dtype), x, gain[:, :, None, None].to(x.dtype))

    def _by_groups(self, x: Tensor, size: int, gain: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        parts = []
        for i, part in enumerate(x.split(size)):
            running = (self.running_mean, self.running_var) if not self.held and i == 0 else (None, None)
            parts.append(F.batch_norm(part, *running, gain, bias, True, self.momentum, self.eps))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _in_one_pass(self, x: Tensor, gain: Tensor, bias: Tensor, size: int) -> Tensor:
        """The same as one reduction for all groups and one multiply-add, which a compiler fuses with its neighbours."""
        groups = x.view(-1, size, *x.shape[1:]).to(gain.dtype)
        var, mean = torch.var_mean(groups, (1, 3, 4), correction=0)  # (groups, C)
        if not self.held:
            m = size * x.shape[2] * x.shape[3]
            with torch.no_grad():
                self.running_mean.lerp_(mean[0], self.momentum)
                self.running_var.lerp_(var[0] * (m / (m - 1)), self.momentum)
        scale = (var + self.eps).rsqrt()
        scale, mean = (each.repeat_interleave(size, 0, output_size=len(x)) for each in (scale, mean))  # (N, C)
        scale = scale * gain
        shift = bias - mean * scale
        return (x.to(gain.dtype) * scale[:, :, None, None] + shift[:, :, None, None]).to(x.dtype)


def set_batch_norm_group(network: nn.Module, group: int) -> None:
    for module in network.modules():
        if isinstance(module, BatchNorm2d):
            module.group = group


@contextmanager
def as_one_forward(*networks: nn.Module) -> Iterator[Callable[[], None]]:
    """Forwards inside are micro-batches of one; yields ``hold``, to be called behind the first.

    Then running statistics stay, so that they move once: exact for groups that no micro-batch splits. Power
    iterations: see ``spectral_norm.estimated``.
    """
    layers = [m for network in networks for m in network.modules() if isinstance(m, BatchNorm2d)]

    def hold(held: bool = True) -> None:
        for layer in layers:
            layer.held = held

    try:
        yield hold
    finally:
        hold(False)


# ---------------------------------------------------------------------------------------------------------------------
# The comparators of the SN paper that act on layers


def no_norm(layer: Layer) -> Layer:
    return layer


def _unit_rows(layer: nn.Module) -> Tensor:
    weight: Tensor = layer.weight  # type: ignore[assignment]
    norms = weight.flatten(1).norm(dim=1).view(-1, *[1] * (weight.ndim - 1))
    gain = getattr(layer, "gain", None)
    return weight / norms if gain is None else weight / norms * gain.view_as(norms)


def weight_norm(layer: Layer, gain: bool = False) -> Layer:
    """Divides each output's weights by their norm (Salimans & Kingma 2016, eq. 2: w = g v / |v|).

    Without ``gain`` g is 1, as in the SN paper's comparison; with it, a learned g per output that starts at |v|.
    """
    if gain:
        layer.gain = nn.Parameter(layer.weight.detach().flatten(1).norm(dim=1))
    layer.normalize = _unit_rows
    return layer


def spectral_norm_with_gain(layer: Layer) -> Layer:
    """Spectral normalisation times one learned factor, which starts at the largest singular value (SN paper, appendix
    E; authors' sn_*.py with use_gamma): the layer starts as it was, and may leave the unit ball.
    """
    spectral_norm(layer)
    layer.gamma = nn.Parameter(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2))
    layer.normalize = SpectralNorm(gain=True)
    return layer


class LayerNorm(nn.Module):
    """Over channels and positions of each image, with a gain and a bias per channel (Ba et al. 2016)."""

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps:g}"

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> same
        return F.group_norm(x, 1, self.weight, self.bias, self.eps)


def layer_norm(channels: int) -> LayerNorm:
    return LayerNorm(channels)


#: name -> function layer -> layer, for weights
WEIGHT_NORMALIZERS: dict[str, Callable] = {
    "none": no_norm,
    "spectral": spectral_norm,
    "spectral_gain": spectral_norm_with_gain,
    "weight": weight_norm,
}
