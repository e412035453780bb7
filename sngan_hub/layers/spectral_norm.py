"""Spectral normalisation: a weight divided by an estimate of its largest singular value.

Miyato et al. 2018, Algorithm 1; authors' source/functions/max_sv.py and source/links/sn_*.py. The weight counts as a
matrix (shape[0], rest): out-channels for convolutions, classes for embeddings.

There are two forms of one function. The plain form is what a layer computes by itself: one power iteration, W / sigma,
and autograd. Training uses the fast form inside ``estimated``: the power iterations of all layers are done first, and
the gradient through sigma is written by hand. Both agree up to rounding; tests hold them together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

SN_EVAL = ("iterate", "stored")


def full_precision(x: Tensor) -> AbstractContextManager:
    """Turns autocast off for what must stay float32 (sigma, sums, scores)."""
    device = x.device.type
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


class Estimate(NamedTuple):
    """What one power iteration of one layer gives: sigma (), left vector u (rows,), right vector v (columns,)."""

    sigma: Tensor
    u: Tensor
    v: Tensor


def unit(x: Tensor) -> Tensor:
    return x / (x.norm() + 1e-12)  # plus, not max: as the authors' _l2normalize


def power_iteration(matrix: Tensor, u: Tensor) -> Estimate:
    """One step: ``matrix`` (rows, columns) and left vector ``u`` (rows,) -> sigma, the new u, v.

    sigma = u' W v uses the new u'. Its gradient reaches ``matrix`` alone; u' and v are constants of the graph.
    """
    with torch.no_grad():
        v = unit(matrix.t() @ u)
        u = unit(matrix @ v)
    return Estimate(torch.dot(u, matrix @ v), u, v)


class SpectralNorm:
    """A layer's normaliser: ``layer.normalize``. ``u`` (and ``v`` for ``stored``) are buffers of the layer.

    ``sn_eval``: what evaluation mode does. ``iterate`` (the authors) iterates once more from the stored u and stores
    nothing; ``stored`` (torch's ``spectral_norm``, and so every other PyTorch code base) uses the stored u and v.
    ``scale``: the spectral norm that is left. ``gain``: the layer's parameter ``gamma`` is a factor of it.
    """

    def __init__(self, sn_eval: str = "iterate", scale: float = 1.0, gain: bool = False):
        if sn_eval not in SN_EVAL:
            raise ValueError(f"sn_eval: got {sn_eval!r}, legal are 'iterate' (the authors') and 'stored' (torch's)")
        self.sn_eval, self.scale, self.gain = sn_eval, scale, gain
        self.parts: tuple[Estimate, ...] = ()  # within `estimated`: one for each equal part of the batch
        self.divide = False  # within `estimated`: whether the weight is divided whatever its size

    def __repr__(self) -> str:
        scale = "" if self.scale == 1 else f", scale={self.scale:g}"
        return f"SpectralNorm(sn_eval={self.sn_eval!r}{scale}{', gain=True' if self.gain else ''})"

    def __call__(self, layer: nn.Module) -> Tensor:
        """The normalised weight, for a batch whose parts share one estimate."""
        (weight,) = self.weights(layer)
        return weight

    def weights(self, layer: nn.Module) -> list[Tensor]:
        """The normalised weight for each part of the batch: one, but for real and fake images in one pass."""
        weight: Any = layer.weight
        with full_precision(weight):
            if self.parts and layer.training:
                weights = [_Divided.apply(weight, *part) for part in self.parts]
            else:
                weights = [weight / self._sigma(layer, weight.flatten(1))]
        if self.scale != 1:
            weights = [own * self.scale for own in weights]
        return [own * layer.gamma for own in weights] if self.gain else weights  # type: ignore[operator]

    def _sigma(self, layer: Any, matrix: Tensor) -> Tensor:
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


def apply_linear(
    layer: Any, x: Tensor, linear: Callable[[Tensor, Tensor, Tensor | None], Tensor]
) -> Tensor:  # (N, ...) -> (N, ...)
    """``linear(x, weight, bias)`` by the layer's normalised weight; it must be linear in x and in the weight.

    Within ``estimated``, where that is less work, the raw weight is used and the output of each part of the batch is
    divided by its sigma, which is the same function.
    """
    normalize, bias = layer.normalize, layer.bias
    scaling = isinstance(normalize, SpectralNorm) and layer.training and not normalize.divide
    parts = normalize.parts if scaling else ()
    weight = layer.weight
    if len(parts) == 1 and (weight.numel() <= x.numel() or _low_precision(x)):
        parts = ()  # the weight is the smaller one to divide, or its division is what float32 has to compute
    if not parts or normalize.scale != 1 or normalize.gain:
        weights = layer.effective_weights()
        if len(weights) == 1:
            return linear(x, weights[0], bias)
        of_parts = zip(x.chunk(len(weights)), weights, strict=True)
        return torch.cat([linear(part, own, bias) for part, own in of_parts])
    if weight.requires_grad and torch.is_grad_enabled():
        x, weight = _Undivided.apply(x, weight, *(tensor for part in parts for tensor in part))  # type: ignore[misc]
    y = linear(x, weight, None)
    share, ones = len(x) // len(parts), [1] * (y.ndim - 1)
    scale = torch.stack([part.sigma for part in parts]).reciprocal()
    scale = scale.repeat_interleave(share, output_size=len(x)).view(-1, *ones)
    shift = None if bias is None else bias.view(1, -1, *[1] * (y.ndim - 2))
    scaled = y * scale if shift is None else torch.addcmul(shift, y.to(scale.dtype), scale)
    return scaled.to(y.dtype)


def _low_precision(x: Tensor) -> bool:
    return x.dtype not in (torch.float32, torch.float64) or torch.is_autocast_enabled(x.device.type)


def _by_memory(weight: Tensor) -> bool:
    return weight.ndim == 4 and not weight.is_contiguous()


def as_matrix(weight: Tensor) -> Tensor:
    """(rows, columns) without a copy: the columns of a channels-last weight stand in the order of its memory.

    u is the same in every order of the columns; v is in this one.
    """
    return (weight.permute(0, 2, 3, 1) if _by_memory(weight) else weight).flatten(1)


def _as_weight(matrix: Tensor, weight: Tensor) -> Tensor:
    """``as_matrix`` backwards, for rows of the order of ``weight``."""
    if not _by_memory(weight):
        return matrix.view(-1, *weight.shape[1:])
    _, c, height, width = weight.shape
    return matrix.view(-1, height, width, c).permute(0, 3, 1, 2)


def _minus_outer(gradient: Tensor, weight: Tensor, us: Tensor, vs: Tensor) -> Tensor:
    """gradient - sum over k of us[k] vs[k]^T, as a tensor like ``weight``: us (K, rows), vs (K, columns).

    Element by element, which autocast leaves in float32. Turning autocast off within a backward breaks torch.compile.
    """
    matrix = (gradient.permute(0, 2, 3, 1) if _by_memory(weight) else gradient).flatten(1)
    for u, v in zip(us, vs, strict=True):
        matrix = torch.addcmul(matrix, u[:, None], v[None], value=-1)
    return _as_weight(matrix, weight)


class _Divided(torch.autograd.Function):
    """W -> W / sigma, with u and v constant: dL/dW = (G - <G, W / sigma> u v^T) / sigma for the gradient G."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, sigma: Tensor, u: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(weight, sigma, u, v)
        return weight / sigma

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        weight, sigma, u, v = ctx.saved_tensors
        gradient = gradient / sigma
        inner = (gradient * weight).sum() / sigma
        return _minus_outer(gradient, weight, (inner * u)[None], v[None]), None, None, None


class _Undivided(torch.autograd.Function):
    """x, W -> x, W, for a layer whose output is divided by sigma_k in part k of the batch, sigma_k a constant there.

    The layer's own backward then gives sum_k G_k / sigma_k; what is missing is the way through sigma_k, which is
    -<G_k / sigma_k, W> / sigma_k u_k v_k^T. The layer being linear in x and in W, <G_k / sigma_k, W> is <dL/dx, x>
    over part k: nothing else has to be kept for it.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, *estimates: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, weight, *estimates)
        return x.view_as(x), weight.view_as(weight)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_x: Tensor, of_weight: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight, *estimates = ctx.saved_tensors
        sigmas, us, vs = (torch.stack(estimates[i::3]) for i in range(3))
        products = (of_x.to(sigmas.dtype) * x.to(sigmas.dtype)).flatten(1).sum(1)
        inner = products.view(len(sigmas), -1).sum(1) / sigmas
        gradient = _minus_outer(of_weight.to(weight.dtype), weight, inner[:, None] * us, vs)
        return of_x, gradient, *[None] * len(estimates)


# ---------------------------------------------------------------------------------------------------------------------
# The power iterations of all layers at once


def normalized_layers(network: nn.Module) -> list[Any]:
    """The spectrally normalised layers that are in training mode: those whose u moves."""
    return [m for m in network.modules() if m.training and isinstance(getattr(m, "normalize", None), SpectralNorm)]


@torch.no_grad()
def iterate(layers: Sequence[Any], forwards: int = 1) -> list[list[Estimate]]:
    """``forwards`` power iterations of every layer, each from the u before -> for each forward, each layer's estimate.

    u (and v where it is stored) are left as behind the last one. Two matrix products a layer and a few operations for
    all layers together; nothing waits for the device.
    """
    if not layers:
        return [[] for _ in range(forwards)]
    with full_precision(layers[0].weight):
        matrices = [as_matrix(layer.weight) for layer in layers]
        us, found, vs = [layer.u for layer in layers], [], []
        for _ in range(forwards):
            vs, _ = _units([matrix.t() @ u for matrix, u in zip(matrices, us, strict=True)])
            us, sigmas = _units([matrix @ v for matrix, v in zip(matrices, vs, strict=True)])
            found.append([Estimate(*own) for own in zip(sigmas, us, vs, strict=True)])
        torch._foreach_copy_([layer.u for layer in layers], us)
        for layer, v in zip(layers, vs, strict=True):
            if layer.normalize.sn_eval == "stored":
                layer.v.copy_(_as_weight(v[None], layer.weight).flatten())
    return found


def _units(vectors: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Each vector over its length, and the product of both: for W v that is sigma = u' W v."""
    sizes = [len(vector) for vector in vectors]
    lengths = torch.stack(torch._foreach_norm(vectors))
    guarded = lengths + 1e-12
    of_each = torch.cat([own.expand(n) for own, n in zip(guarded.unbind(), sizes, strict=True)])
    flat = torch.cat(vectors) / of_each
    return list(flat.split(sizes)), list((lengths * (lengths / guarded)).unbind())


@contextmanager
def estimated(network: nn.Module, forwards: int = 1, twice: bool = False) -> Iterator[Callable[[int | None], None]]:
    """Does the power iterations of the next ``forwards`` logical forwards of ``network`` first; yields ``use``.

    ``use(k)``: the forwards that follow are of number k (micro-batches of one logical forward share it). ``use(None)``:
    each forward holds the images of all of them, as equal consecutive parts of its batch. Exact, for the weights do not
    move in between. Layers in evaluation mode go on by themselves. ``twice``: their gradient by x is
    differentiated again, as a gradient penalty is; then every weight is divided, for a scaled output gives none.
    """
    layers = normalized_layers(network)
    found = iterate(layers, forwards)

    def use(which: int | None) -> None:
        for i, layer in enumerate(layers):
            layer.normalize.parts = tuple(own[i] for own in (found if which is None else [found[which]]))
            layer.normalize.divide = twice

    use(0)
    try:
        yield use
    finally:
        for layer in layers:
            layer.normalize.parts, layer.normalize.divide = (), False
