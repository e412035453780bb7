"""Spectral normalisation: a weight divided by an estimate of its largest singular value.

Source: Miyato et al. 2018, Algorithm 1; authors' source/functions/max_sv.py and source/links/sn_*.py. The weight is
treated as a matrix (shape[0], rest). Its rows are the output channels of a convolution, the classes of an embedding.

The path from a layer to sigma::

    Conv2d.forward               (normalizers.py) a convolution with the normalised weight
      apply_linear               asks the layer for that weight
        SpectralNorm.weights     W / sigma, times scale and gain
          SpectralNorm.sigma     one power iteration from the layer's u; in training the new u is stored
            power_iteration      v = unit(W^T u), u' = unit(W v), sigma = u' . W v

A training step computes the same function in another way: ``logical_forwards`` (logical_forward.py) makes the power
iterations of all layers first and stores the results in ``SpectralNorm.estimates``; sigma_gradient.py divides by sigma.
"""

# Tensor.norm and torch.linalg have no types:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ..devices import AUTOCAST
from .sigma_gradient import Estimate, LinearMap, divided, scaled_output

SN_EVAL = ("iterate", "stored")


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """A context without autocast on the device of ``x``, for what must not be bfloat16 (sigma, sums, scores).

    On a GPU, matrix products may still use TF32, if the run allows it.
    """
    device = x.device.type
    return torch.autocast(device, enabled=False) if device in AUTOCAST else nullcontext()


def unit(x: Tensor) -> Tensor:
    """x / (|x| + 1e-12). As in the authors' _l2normalize, the constant is added; it is not a minimum."""
    return x / (x.norm() + 1e-12)


def power_iteration(matrix: Tensor, u: Tensor) -> Estimate:
    """One step of the power iteration (Miyato et al. 2018, Algorithm 1; authors' max_sv.py).

    Args:
        matrix: W (rows, columns).
        u: the left vector before the step (rows,), of any length except 0.

    Returns:
        sigma = u' . W v (), u' (rows,) and v (columns,); sigma is computed with the new u'. Only ``matrix`` gets a
        gradient from it; u' and v are constants of the graph.
    """
    with torch.no_grad():
        v = unit(matrix.t() @ u)
        u = unit(matrix @ v)
    return Estimate(torch.dot(u, matrix @ v), u, v)


def converged_estimate(matrix: Tensor) -> Estimate:
    """sigma, u and v of the largest singular value of a matrix (rows, columns)."""
    return power_iteration(matrix, torch.linalg.svd(matrix, full_matrices=False).U[:, 0])


# ---------------------------------------------------------------------------------------------------------------------
# A layer with a normalised weight


class Normalizer(Protocol):
    """The type of ``layer.normalize``: an object that shows its settings and computes the normalised weight."""

    def weights(self, layer: NormalizedLayer) -> list[Tensor]:
        """The weight for each equal part of the batch: one part, except within ``logical_forwards``."""
        ...


class NormalizedLayer(nn.Module):
    """Base class of ``Conv2d``, ``Linear`` and ``Embedding``: a layer whose weight may be normalised.

    ``weight`` remains the raw, trained tensor, so state dicts keep the authors' names (weight, bias, u).
    """

    weight: Any
    normalize: Normalizer | None = None

    u: Tensor  #: buffer (rows,), of ``spectral_norm``
    v: Tensor  #: buffer (columns,), of ``spectral_norm`` with ``sn_eval="stored"``
    gamma: Tensor  #: parameter (), of ``spectral_norm_with_gain``
    gain: Tensor  #: parameter (rows,), of ``weight_norm`` with a gain

    def effective_weight(self) -> Tensor:
        """The weight as the layer uses it, for a batch whose parts share one estimate of sigma."""
        (weight,) = self.effective_weights()
        return weight

    def effective_weights(self) -> list[Tensor]:
        """As ``effective_weight``, for each equal part of the batch: one part, except within ``logical_forwards``."""
        return [self.weight] if self.normalize is None else self.normalize.weights(self)

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.normalize is None else f", normalize={self.normalize!r}")


def apply_linear(layer: Any, x: Tensor, linear: LinearMap) -> Tensor:
    """Applies ``linear`` with the normalised weight of ``layer``.

    Args:
        layer: a ``NormalizedLayer`` with a ``bias`` (rows,) or None.
        x: (N, ...).
        linear: ``linear(x, weight, bias)``, linear in x and in the weight: a convolution, a matrix product.

    Returns:
        The result of ``linear``: (N, rows, ...).
    """
    normalize, weight, bias = layer.normalize, layer.weight, layer.bias
    if isinstance(normalize, SpectralNorm) and layer.training and normalize.scales_output(weight, x):
        return scaled_output(x, weight, bias, linear, normalize.estimates)
    weights = layer.effective_weights()
    if len(weights) == 1:
        return linear(x, weights[0], bias)
    of_parts = zip(x.chunk(len(weights)), weights, strict=True)
    return torch.cat([linear(part, own, bias) for part, own in of_parts])


# ---------------------------------------------------------------------------------------------------------------------
# The normaliser


@dataclass(eq=False)
class SpectralNorm:
    """A layer's spectral normalisation, as ``layer.normalize``; ``print(network)`` shows it.

    It holds the settings; u, v and gamma are tensors of the layer, see ``NormalizedLayer``. Pickles and copies hold
    only the settings.

    Args:
        sn_eval: what evaluation mode does. ``"iterate"`` (the authors) iterates once more from the stored u and stores
            nothing; ``"stored"`` (torch's ``spectral_norm``, and so every other PyTorch code base) uses the stored u
            and v.
        scale: the weight is divided by sigma and multiplied by this factor, which becomes its spectral norm.
        gain: whether the layer's parameter ``gamma`` is another factor.

    Raises:
        ValueError: for an unknown ``sn_eval``.
    """

    sn_eval: str = "iterate"
    scale: float = 1.0
    gain: bool = False

    #: Within ``logical_forwards``, for layers in training mode: the estimate for each equal part of the batch
    estimates: tuple[Estimate, ...] = field(default=(), init=False, repr=False)
    #: Within ``logical_forwards(twice=True)``: the weight is divided, whatever its size
    divides_weight: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.sn_eval not in SN_EVAL:
            raise ValueError(
                f"sn_eval must be one of iterate (as the authors), stored (as PyTorch) (got {self.sn_eval!r})"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return SpectralNorm, (self.sn_eval, self.scale, self.gain)

    def weights(self, layer: NormalizedLayer) -> list[Tensor]:
        """The normalised weight for each part of the batch.

        Args:
            layer: the layer of the weight. In training mode outside of ``logical_forwards``, its u is updated.

        Returns:
            One tensor like ``layer.weight``; two if real and fake images are in one batch.
        """
        weight: Tensor = layer.weight
        with full_precision(weight):
            if self.estimates and layer.training:
                weights = [divided(weight, estimate) for estimate in self.estimates]
            else:
                weights = [weight / self.sigma(layer, weight.flatten(1))]
        if self.scale != 1:
            weights = [own * self.scale for own in weights]
        return [own * layer.gamma for own in weights] if self.gain else weights

    def sigma(self, layer: NormalizedLayer, matrix: Tensor) -> Tensor:
        """The estimate of the largest singular value of ``matrix``, the layer's weight (rows, columns) -> ()."""
        if self.sn_eval == "stored" and not layer.training:
            return torch.dot(layer.u, matrix @ layer.v)
        sigma, u, v = power_iteration(matrix, layer.u)
        if layer.training:
            # Copied into the buffers, while the graph holds u and v themselves: a second forward before the first
            # one's backward (real, then fake) must not change what that backward needs.
            with torch.no_grad():
                layer.u.copy_(u)
                if self.sn_eval == "stored":
                    layer.v.copy_(v)
        return sigma

    def scales_output(self, weight: Tensor, x: Tensor) -> bool:
        """Whether the layer's output is divided by sigma instead of ``weight``, for an input ``x``.

        It is divided if the parts of the batch have several estimates, or if the weight is larger than ``x``. In low
        precision the weight is divided for a single estimate, because that division is done in float32.
        """
        if not self.estimates or self.divides_weight or self.scale != 1 or self.gain:
            return False
        return len(self.estimates) > 1 or not (weight.numel() <= x.numel() or _low_precision(x))


def _low_precision(x: Tensor) -> bool:
    return x.dtype not in (torch.float32, torch.float64) or torch.is_autocast_enabled(x.device.type)


Layer = TypeVar("Layer", bound=NormalizedLayer)


def spectral_norm(layer: Layer, sn_eval: str = "iterate", scale: float = 1.0) -> Layer:
    """Normalises a layer: its weight is divided by an estimate of its largest singular value.

    Each forward makes one power iteration from the buffer ``u``. As in the authors' code, u starts as a normal vector
    that is not scaled to length 1. The authors' Linear and Embedding store u in eval mode too; here evaluation never
    changes a network.

    Args:
        layer: a ``Conv2d``, ``Linear`` or ``Embedding`` of normalizers.py. It gets the buffer ``u`` (rows,), and ``v``
            (columns,) for ``"stored"``.
        sn_eval: ``"iterate"`` or ``"stored"``: what evaluation mode does, see ``SpectralNorm``.
        scale: spectral norm of the normalised weight, 1 except for a network whose class table was changed
            (training/finetune/plan.py).

    Returns:
        The same layer.

    Raises:
        ValueError: for an unknown ``sn_eval``.

    Example:
        >>> conv = spectral_norm(Conv2d(3, 64, 3, padding=1))  # of sngan_hub.layers.normalizers
    """
    normalize = SpectralNorm(sn_eval, scale)
    layer.register_buffer("u", torch.randn(layer.weight.shape[0]))
    if sn_eval == "stored":
        layer.register_buffer("v", unit(torch.randn(layer.weight[0].numel())))
    layer.normalize = normalize
    return layer


def spectral_norm_with_gain(layer: Layer) -> Layer:
    """Spectral normalisation times one learned factor ``gamma``, so the layer's spectral norm may exceed 1.

    Source: Miyato et al. 2018, appendix E; authors' sn_*.py with use_gamma.

    Args:
        layer: see ``spectral_norm``. It gets the parameter ``gamma`` (), which starts at the weight's largest singular
            value, so that the effective weight starts unchanged.

    Returns:
        The same layer.
    """
    spectral_norm(layer)
    layer.gamma = nn.Parameter(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2))
    layer.normalize = SpectralNorm(gain=True)
    return layer
