"""Normalisers of weights, and batch normalisation of activations with one gain per class.

A weight normaliser takes one of the three layers below, registers its state on it, and returns it. The layer then
computes with ``layer.effective_weight()`` instead of ``layer.weight``. Spectral normalisation and the base class of the
three layers are in spectral_norm.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .spectral_norm import Layer, NormalizedLayer, apply_linear, spectral_norm, spectral_norm_with_gain

#: A layer -> the same layer, whose weight is normalised from then on
WeightNormalizer = Callable[[NormalizedLayer], NormalizedLayer]


class Conv2d(NormalizedLayer, nn.Conv2d):
    """``nn.Conv2d`` whose weight (out-channels, in-channels, k, k) may be normalised, as a matrix (out-channels, rest).

    The bias is not normalised. Source: authors' source/links/sn_convolution_2d.py.
    """

    def forward(self, input: Tensor) -> Tensor:
        return apply_linear(self, input, self._conv_forward)


class Linear(NormalizedLayer, nn.Linear):
    """``nn.Linear`` whose weight (out, in) may be normalised. Source: authors' source/links/sn_linear.py."""

    def forward(self, input: Tensor) -> Tensor:
        return apply_linear(self, input, F.linear)


class Embedding(NormalizedLayer, nn.Embedding):
    """``nn.Embedding`` whose table may be normalised, as one matrix (classes, channels).

    Source: authors' source/links/sn_embed_id.py.
    """

    def forward(self, input: Tensor) -> Tensor:
        return self.lookup(input)

    def lookup(self, y: Tensor, strength: float | Tensor = 1.0) -> Tensor:
        """Rows of the normalised table.

        Args:
            y: labels (N,), int64 in 0..classes - 1.
            strength: see ``lookup_class``.

        Returns:
            (N, C), in the table's dtype.
        """
        tables = self.effective_weights()
        if len(tables) == 1:
            return lookup_class(tables[0], y, strength=strength)
        parts = zip(tables, y.chunk(len(tables)), strict=True)
        return torch.cat([lookup_class(own, part, strength=strength) for own, part in parts])


# ---------------------------------------------------------------------------------------------------------------------
# Batch normalisation (authors' source/links/categorical_conditional_batch_normalization.py)


def lookup_class(
    table: Tensor, y: Tensor, class_weights: Tensor | None = None, strength: float | Tensor = 1.0
) -> Tensor:
    """Rows of a class table, or weighted sums of them.

    Args:
        table: (classes, C).
        y: labels (N,), or (N, K) to mix K rows; int64 in 0..classes - 1.
        class_weights: the weights of the K rows (N, K); None if ``y`` has shape (N,).
        strength: in [0, 1], interpolates between the mean row of the table (0) and the class's own row (1); see the
            class transition, Shahbazi et al. 2022. As a tensor () on the table's device, it can change without a
            recompilation of compiled steps.

    Returns:
        (N, C), in the table's dtype.
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
    """Batch normalisation with one gain and bias per channel, or per class and channel.

    Normalises by the biased variance; the running average uses the unbiased one. Source: authors'
    source/links/categorical_conditional_batch_normalization.py, whose eps and momentum are the defaults.

    Args:
        channels: C.
        n_classes: 0: one gain and one bias (C,). Otherwise they are tables (n_classes, C).
        eps: added to the variance.
        momentum: weight of the new statistics in the running average.
    """

    #: Within ``logical_forwards``: number of consecutive images that share statistics (0: the whole batch); running
    #: statistics use the first group
    group: int
    #: Within ``logical_forwards``: the running statistics do not change
    held: bool

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
        """Gain and bias to apply after the normalisation.

        Args:
            y: see ``lookup_class``; ignored without classes.
            class_weights: see ``lookup_class``.
            strength: see ``lookup_class``.

        Returns:
            Gain and bias, (C,) each without classes, (N, C) with them.
        """
        if not self.n_classes:
            return self.weight, self.bias
        assert y is not None  # checked by the network
        return (
            lookup_class(self.weight, y, class_weights, strength),
            lookup_class(self.bias, y, class_weights, strength),
        )

    def forward(
        self, x: Tensor, y: Tensor | None = None, class_weights: Tensor | None = None, strength: float | Tensor = 1.0
    ) -> Tensor:
        """Normalises a batch of maps.

        In training mode, uses the statistics of the batch, group by group, and updates the running statistics; in
        evaluation mode, uses the running statistics.

        Args:
            x: (N, C, H, W).
            y: see ``lookup_class``; required with classes, ignored without.
            class_weights: see ``lookup_class``.
            strength: see ``lookup_class``.

        Returns:
            (N, C, H, W), in the dtype of ``x``.

        Raises:
            ValueError: if the batch size is not a multiple of the group size.
        """
        gain, bias = self.gain_and_bias(y, class_weights, strength)
        mean, var = self.running_mean, self.running_var
        if self.training:
            size = self.group or len(x)
            if len(x) % size:
                raise ValueError(
                    f"the batch size must be a multiple of the batch-norm group size {size} (got {len(x)})"
                )
            if not self.held:
                self.num_batches_tracked += 1
            if torch.compiler.is_compiling():
                return self._in_one_pass(x, gain, bias, size)
            if not self.n_classes:
                return self._by_groups(x, size, gain, bias)
            x = self._by_groups(x, size)
        elif not self.n_classes:
            return F.batch_norm(x, mean, var, gain, bias, False, self.momentum, self.eps)
        else:  # one pass over the feature map instead of two
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
        """Computes the same with one reduction for all groups and one multiply-add, which a compiler can fuse."""
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


# ---------------------------------------------------------------------------------------------------------------------
# Other normalisations of layers in the SN paper's comparison


def no_norm(layer: Layer) -> Layer:
    """Returns the layer unchanged."""
    return layer


@dataclass(eq=False)
class WeightNorm:
    """Weight normalisation of a layer, as ``layer.normalize``: divides the weights of each output by their norm.

    Args:
        gain: whether the layer's parameter ``gain`` (rows,) multiplies them.
    """

    gain: bool = False

    def weights(self, layer: NormalizedLayer) -> list[Tensor]:
        """The normalised weight of ``layer``, in a list of one."""
        weight: Tensor = layer.weight
        norms = weight.flatten(1).norm(dim=1).view(-1, *[1] * (weight.ndim - 1))
        return [weight / norms * layer.gain.view_as(norms) if self.gain else weight / norms]


def weight_norm(layer: Layer, gain: bool = False) -> Layer:
    """Divides the weights of each output by their norm: w = g v / |v|.

    Source: Salimans & Kingma 2016, eq. 2; with g = 1 it is the variant that the SN paper compares with.

    Args:
        layer: a ``Conv2d``, ``Linear`` or ``Embedding``.
        gain: whether g is learned, as the parameter ``gain`` (rows,), which starts at |v|; otherwise g is 1.

    Returns:
        The same layer.
    """
    if gain:
        layer.gain = nn.Parameter(layer.weight.detach().flatten(1).norm(dim=1))
    layer.normalize = WeightNorm(gain)
    return layer


class LayerNorm(nn.Module):
    """Layer normalisation over channels and positions of each image, with a gain and a bias per channel.

    Source: Ba et al. 2016, eq. 3.

    Args:
        channels: C.
        eps: added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.eps:g}"

    def forward(self, x: Tensor) -> Tensor:  # (N, C, H, W) -> same
        return F.group_norm(x, 1, self.weight, self.bias, self.eps)


#: name -> function layer -> layer, for weights
WEIGHT_NORMALIZERS: dict[str, WeightNormalizer] = {
    "none": no_norm,
    "spectral": spectral_norm,
    "spectral_gain": spectral_norm_with_gain,
    "weight": weight_norm,
}
