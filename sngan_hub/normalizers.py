"""Normalisers: layer -> layer for weights, and batch normalisation with a gain per class for activations.

A weight normaliser takes one of the three layers below, registers what it needs to remember on it, and returns it.
The layer then computes with ``layer.effective_weight()`` instead of ``layer.weight``; ``layer.weight`` stays the raw,
trained tensor, so state dicts keep the authors' names (weight, bias, u).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv2d(nn.Conv2d):
    """``nn.Conv2d`` whose weight may be normalised."""

    normalize: Callable[[nn.Module], Tensor] | None = None

    def effective_weight(self) -> Tensor:
        return self.weight if self.normalize is None else self.normalize(self)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.effective_weight(), self.bias)


class Linear(nn.Linear):
    """``nn.Linear`` whose weight may be normalised."""

    normalize: Callable[[nn.Module], Tensor] | None = None

    def effective_weight(self) -> Tensor:
        return self.weight if self.normalize is None else self.normalize(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.effective_weight(), self.bias)


class Embedding(nn.Embedding):
    """``nn.Embedding`` whose table may be normalised, as one matrix (classes x channels)."""

    normalize: Callable[[nn.Module], Tensor] | None = None

    def effective_weight(self) -> Tensor:
        return self.weight if self.normalize is None else self.normalize(self)

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(input, self.effective_weight())


def full_precision(x: Tensor) -> AbstractContextManager:
    """Turns autocast off for what must stay float32 (sigma, sums, scores)."""
    device = x.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


Layer = TypeVar("Layer", Conv2d, Linear, Embedding)


# ---------------------------------------------------------------------------------------------------------------------
# Spectral normalisation (Miyato et al. 2018, Algorithm 1; authors' source/functions/max_sv.py and source/links/sn_*.py)


def _unit(x: Tensor) -> Tensor:
    return x / (x.norm() + 1e-12)  # plus, not max: as the authors' _l2normalize


def power_iteration(matrix: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One step: ``matrix`` (rows, cols) and left vector ``u`` (rows,) -> sigma (), new u (rows,), v (cols,).

    sigma = u' W v uses the new u'. Its gradient reaches ``matrix`` alone; u' and v are constants of the graph.
    """
    with torch.no_grad():
        v = _unit(matrix.t() @ u)
        u = _unit(matrix @ v)
    return torch.dot(u, matrix @ v), u, v


def _spectral_weight(layer: nn.Module, sn_eval: str) -> Tensor:
    weight: Tensor = layer.weight  # type: ignore[assignment]
    with full_precision(weight):
        matrix = weight.flatten(1)
        if sn_eval == "stored" and not layer.training:
            return weight / torch.dot(layer.u, matrix @ layer.v)  # type: ignore[arg-type]
        held: list[Tensor] | None = getattr(layer, _HELD, None)
        if held and layer.training:  # a later micro-batch of the same logical forward
            u, v = held
            return weight / torch.dot(u, matrix @ v)
        sigma, u, v = power_iteration(matrix, layer.u)  # type: ignore[arg-type]
        if layer.training:
            if held is not None:
                held += [u, v]
            # Copied into the buffers, while the graph above holds u and v themselves: a second forward before the
            # first one's backward (real, then fake) must not change what that backward needs.
            with torch.no_grad():
                layer.u.copy_(u)  # type: ignore[operator]
                if sn_eval == "stored":
                    layer.v.copy_(v)  # type: ignore[operator]
        return weight / sigma


def spectral_norm(layer: Layer, sn_eval: str = "iterate", scale: float = 1.0) -> Layer:
    """Divides the weight by an estimate of its largest singular value, one power iteration per forward.

    The weight counts as a matrix (shape[0], rest): out-channels for convolutions, classes for embeddings. ``u`` starts
    as a normal vector of any length, as the authors'. In eval mode ``sn_eval="iterate"`` (the authors) iterates once
    more from the stored u and stores nothing; ``"stored"`` (torch's ``spectral_norm``, and so every other PyTorch code
    base) uses the stored u and v as they are.

    The authors' Linear and Embedding store u in eval mode too; here evaluating never changes a network. ``scale`` is
    the norm that is left, 1 but for a network whose class table was changed (training/finetune.py).
    """
    if sn_eval not in ("iterate", "stored"):
        raise ValueError(f"sn_eval: got {sn_eval!r}, legal are 'iterate' (the authors') and 'stored' (torch's)")
    rows = layer.weight.shape[0]
    layer.register_buffer("u", torch.randn(rows))
    if sn_eval == "stored":
        layer.register_buffer("v", _unit(torch.randn(layer.weight[0].numel())))
    layer.normalize = partial(_spectral_weight, sn_eval=sn_eval)
    if scale != 1.0:
        layer.normalize = lambda own: _spectral_weight(own, sn_eval) * scale
    return layer


# ---------------------------------------------------------------------------------------------------------------------
# Micro-batches

_HELD = "held_by_one_forward"


@contextmanager
def as_one_forward(*networks: nn.Module) -> Iterator[None]:
    """Forwards inside are micro-batches of one: u, v and running statistics move in the first alone.

    Exact for spectral normalisation, whose u and v are functions of the weights, and for batch normalisation over
    groups that no micro-batch splits.
    """
    modules = [module for network in networks for module in network.modules()]
    layers = [m for m in modules if isinstance(m, BatchNorm2d) or getattr(m, "normalize", None) is not None]
    for layer in layers:
        object.__setattr__(layer, _HELD, [])
    try:
        yield
    finally:
        for layer in layers:
            object.__delattr__(layer, _HELD)


# ---------------------------------------------------------------------------------------------------------------------
# Batch normalisation (authors' source/links/categorical_conditional_batch_normalization.py)


def lookup_class(table: Tensor, y: Tensor, class_weights: Tensor | None = None, strength: float = 1.0) -> Tensor:
    """Rows of ``table`` (classes, C) for ``y`` (N,), or their sums over ``y`` (N, K) with weights (N, K) -> (N, C).

    ``strength`` in [0, 1] scales what is particular to the class: 0 gives every label the table's mean row, 1 its own.
    """
    rows = F.embedding(y, table)
    if class_weights is not None:
        rows = (rows * class_weights.unsqueeze(-1)).sum(1)
    if strength != 1.0:
        rows = torch.lerp(table.mean(0).expand_as(rows), rows, strength)
    return rows


class BatchNorm2d(nn.Module):
    """Batch normalisation with one gain and bias per channel (``n_classes=0``), or per class and channel.

    Biased variance normalises, the unbiased one enters the running average, eps 2e-5 and momentum 0.1 are the authors'.
    ``group``: in training, statistics are of consecutive groups of that many images (0: of the whole batch), as on so
    many processes; running statistics follow the first group.
    """

    group: int = 0

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, n_classes: int = 0, eps: float = 2e-5, momentum: float = 0.1):
        super().__init__()
        self.channels, self.n_classes, self.eps, self.momentum = channels, n_classes, eps, momentum
        shape = (n_classes, channels) if n_classes else (channels,)
        self.weight = nn.Parameter(torch.ones(shape))
        self.bias = nn.Parameter(torch.zeros(shape))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.int64))

    def gain_and_bias(
        self, y: Tensor | None, class_weights: Tensor | None = None, strength: float = 1.0
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
        self, x: Tensor, y: Tensor | None = None, class_weights: Tensor | None = None, strength: float = 1.0
    ) -> Tensor:  # (N, C, H, W) -> same
        gain, bias = self.gain_and_bias(y, class_weights, strength)
        mean, var = self.running_mean, self.running_var
        if not self.n_classes:
            if self.training:
                return self._by_groups(x, gain, bias)
            return F.batch_norm(x, mean, var, gain, bias, False, self.momentum, self.eps)
        if self.training:
            x = self._by_groups(x)
        else:  # one pass over the map instead of two
            gain = gain * (var + self.eps).rsqrt()
            bias = bias - mean * gain
        return torch.addcmul(bias[:, :, None, None].to(x.dtype), x, gain[:, :, None, None].to(x.dtype))

    def _by_groups(self, x: Tensor, gain: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        size = self.group or len(x)
        if len(x) % size:
            raise ValueError(f"batch: {len(x)} images are no whole number of batch-norm groups of {size}")
        held: list[bool] | None = getattr(self, _HELD, None)
        first = not held
        if held is not None:
            held.append(True)
        if first:
            self.num_batches_tracked += 1
        parts = []
        for i, part in enumerate(x.split(size)):
            running = (self.running_mean, self.running_var) if first and i == 0 else (None, None)
            parts.append(F.batch_norm(part, *running, gain, bias, True, self.momentum, self.eps))
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def set_batch_norm_group(network: nn.Module, group: int) -> None:
    for module in network.modules():
        if isinstance(module, BatchNorm2d):
            module.group = group


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
    inner = layer.normalize
    assert inner is not None
    layer.normalize = lambda own: inner(own) * own.gamma  # type: ignore[operator]
    return layer


class LayerNorm(nn.Module):
    """Over channels and positions of each image, with a gain and a bias per channel (Ba et al. 2016)."""

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

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
