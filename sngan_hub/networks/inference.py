"""The fast copy of a ResNet generator for sampling: all that depends only on the weights is computed once.

Batch normalization in eval mode is a multiply-add per channel. If it directly follows a convolution, it is folded into
the convolution's weight and bias. Otherwise, if it depends on the class or follows a shortcut, its gains and biases are
premultiplied tables, concatenated to a single table, so that a batch needs one look-up. Both are linear in the class
tables, so interpolated classes are exact too.

Weights are converted once to the layout that oneDNN's convolutions use. Otherwise, every call would reorder every
weight, which makes 4x4 kernels slow on small maps: at batch 1, the 1024-1024 block at 4 px takes 15 ms with a converted
kernel, 63 ms without, and 58 ms unfused. Processors with this layout therefore use the fused form everywhere; others
follow the table layers/resample_table.json.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from ..layers.normalizers import BatchNorm2d, Linear, lookup_class
from ..layers.resample import exporting, prefers_fused, up_kernel, upsample2x
from .base import AnyGenerator

PRECISIONS = ("fp32", "bf16", "auto")


class FastGenerator(AnyGenerator):
    """A trained ResNet generator in eval mode, for sampling: same call, same images to 1e-4 in float32.

    z (N, z_dim) float32, labels (N,) int64, or (N, K) with weights (N, K) -> images (N, 3, size, size) in [-1, 1].
    Device and dtype are fixed; it cannot be trained or saved. Gradients with respect to z are supported, without the
    special layout. The class strength of a run is included in the tables.

    Args:
        generator: a ``Generator``, which is not changed.
        dtype: of weights and feature maps.
        form: of the convolutions behind an upsampling: ``plain``, ``fused``, or ``auto``: the faster one.
    """

    table: Tensor  #: buffer (n_classes or 1, sum of widths): all gains and biases, premultiplied

    def __init__(self, generator: Any, dtype: torch.dtype = torch.float32, form: str = "auto"):
        super().__init__()
        self.size, self.n_classes, self.z_dim = generator.size, generator.n_classes, generator.z_dim
        self.classes, self.bottom_width = generator.classes, generator.bottom_width
        parts: list[Tensor] = []  # of the table
        self.blocks = nn.ModuleList()
        after = fold(generator.bn)
        l1 = generator.l1.effective_weight().detach(), generator.l1.bias.detach()
        device = l1[0].device
        if not len(generator.blocks):
            l1 = scaled(*l1, *(part.repeat_interleave(self.bottom_width**2) for part in after))
        for i, block in enumerate(generator.blocks):
            parts += fold(block.b1, generator.class_strength)
            if block.b2.n_classes:
                parts += fold(block.b2, generator.class_strength)
            side = self.bottom_width * 2**i
            self.blocks.append(FastBlock(block, side, dtype, after if i + 1 == len(generator.blocks) else None, form))
        self.l1 = Linear(*generator.l1.weight.shape[::-1], device="meta")
        self.l1.weight, self.l1.bias = (nn.Parameter(part.to(dtype, copy=True).to(device), False) for part in l1)
        conv = generator.conv
        self.conv = FrozenConv(conv.effective_weight().detach(), conv.bias.detach(), dtype, generator.size)
        rows = max(self.n_classes, 1)
        table = torch.cat([part.expand(rows, -1) for part in parts] or [l1[0].new_zeros(rows, 0)], 1)
        self.register_buffer("table", table.float().to(device))
        self.widths = [part.shape[-1] for part in parts]
        self._hub_mixin_config = None
        self.eval()

    def forward(self, z: Tensor, y: Tensor | None = None, class_weights: Tensor | None = None) -> Tensor:
        """Images of latent vectors, as ``Generator.forward``: (N, 3, size, size) in [-1, 1], in the dtype of ``z``."""
        self.check_latents(z)
        self.check_labels(z.shape[0], y, class_weights)
        rows = self.table if y is None else lookup_class(self.table, y, class_weights)
        return self.from_gains(z, rows.split(self.widths, 1))

    def from_gains(self, z: Tensor, gains_and_biases: Sequence[Tensor]) -> Tensor:
        """Images of latent vectors, by the parts of rows of ``table``, in its order: (N or 1, width) each."""
        dtype = self.l1.weight.dtype
        parts = [part.to(dtype)[:, :, None, None] for part in gains_and_biases]
        h = self.l1(z.to(dtype)).view(z.shape[0], -1, self.bottom_width, self.bottom_width)
        h = h.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            used = 4 if self.n_classes else 2
            h = block(h, *parts[:used])
            del parts[:used]
        return torch.tanh(self.conv(F.relu(h, inplace=not h.requires_grad)).to(z.dtype))

    @classmethod
    def from_config(cls, config: dict[str, Any], source: str = "config") -> FastGenerator:
        raise ValueError(f"{source}: describes a generator converted by for_sampling(), which cannot be loaded; load "
                         f"the original generator and call for_sampling()")  # fmt: skip

    def for_sampling(self, dtype: torch.dtype = torch.float32) -> AnyGenerator:
        if dtype != self.l1.weight.dtype:
            raise ValueError(
                f"this generator was converted by for_sampling() to {self.l1.weight.dtype}; for {dtype}, call "
                f"for_sampling({dtype}) on the original generator"
            )
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FastGenerator:
        weight = self.l1.weight
        moved = fn(weight[:0])
        if (moved.device, moved.dtype) != (weight.device, weight.dtype):
            raise ValueError(f"this generator was converted by for_sampling() for {weight.device} and "
                             f"{weight.dtype}, and cannot be moved; move the original generator, then call "
                             f"for_sampling(dtype)")  # fmt: skip
        return self


class FastBlock(nn.Module):
    """A ``GeneratorBlock`` with folded batch norms: (N, I, H, W) -> (N, O, 2H, 2W)."""

    def __init__(
        self, block: Any, side: int, dtype: torch.dtype, after: tuple[Tensor, Tensor] | None, form: str = "auto"
    ):
        """``side``: H. ``after``: gain and bias (O,) of a normalization of the output, to fold into the block."""
        super().__init__()
        self.upsample: str = block.upsample
        c1, c2, c_sc = ((c.effective_weight().detach(), c.bias.detach()) for c in (block.c1, block.c2, block.c_sc))
        self.relu_follows = not block.b2.n_classes
        if self.relu_follows:
            c1 = scaled(*c1, *fold(block.b2))
        if after is not None:
            gain, bias = after
            c2, c_sc = scaled(*c2, gain, bias), scaled(*c_sc, gain, torch.zeros_like(bias))
        weight, device = c1[0], block.c1.weight.device
        fused = self.upsample == "nearest" and (
            form == "fused"
            if form != "auto"
            else packs(device, dtype) or prefers_fused("up", weight.shape[1], weight.shape[0], side, dtype, device.type)
        )
        self.c1 = FrozenConv(*c1, dtype, side if fused else 2 * side, up=fused, relu=self.relu_follows, device=device)
        self.c2 = FrozenConv(*c2, dtype, 2 * side, device=device)
        self.c_sc = FrozenConv(*c_sc, dtype, side, device=device)

    def forward(
        self, x: Tensor, gain1: Tensor, bias1: Tensor, gain2: Tensor | None = None, bias2: Tensor | None = None
    ) -> Tensor:
        """Gains and biases: (N, C, 1, 1) or (1, C, 1, 1). ``x`` is overwritten, unless a gradient is recorded."""
        shortcut = self.c_sc(x)  # first, because x is overwritten afterwards
        h = scale_shift_relu(x, gain1, bias1)
        h = self.c1(h if self.c1.up else upsample2x(h, self.upsample))
        if gain2 is not None and bias2 is not None:
            h = scale_shift_relu(h, gain2, bias2)
        return add_upsampled(self.c2(h), shortcut, self.upsample)


class FrozenConv(nn.Module):
    """A convolution (N, I, H, W) -> (N, O, H, W), or (N, O, 2H, 2W) with ``up``, whose weight never changes."""

    bias: Tensor

    def __init__(
        self, weight: Tensor, bias: Tensor, dtype: torch.dtype, side: int, up: bool = False, relu: bool = False,
        device: torch.device | None = None,
    ):  # fmt: skip
        """``weight`` (O, I, k, k), k odd. ``side``: H. ``up``: nearest upsampling first. ``relu``: of the output.
        ``device``: of the layer; None: that of ``weight``.
        """
        super().__init__()
        self.up, self.relu = up, relu
        self.padding = 1 if up else weight.shape[-1] // 2
        device = device or weight.device
        kernel = (up_kernel(weight) if up else weight).to(dtype).to(device)
        kernel = kernel.contiguous(memory_format=torch.channels_last)
        self.shape = kernel.shape
        self.register_buffer("bias", bias.to(dtype, copy=True).to(device))
        self.side = side
        self._lay_out(kernel)

    def _lay_out(self, kernel: Tensor) -> None:
        # Plain attributes, because a packed weight cannot be moved or copied like a buffer.
        self._packed = pack(kernel, self.side, self.padding, self.up)
        self._dense = kernel if self._packed is None else None

    def __getstate__(self) -> dict[str, Any]:
        """For pickles and copies: the kernel in the standard layout. The special one is valid in this process only."""
        return {
            **super().__getstate__(),
            "_packed": None,
            "_dense": self.kernel().contiguous(memory_format=torch.channels_last),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._lay_out(state["_dense"])

    def forward(self, x: Tensor) -> Tensor:
        ends = (1, "relu" if self.relu else "none", [], "")  # groups; arguments of the following operation
        p = [self.padding] * 2
        if self._packed is not None and not x.requires_grad and not exporting():
            if self.up:
                return torch.ops.mkldnn._convolution_transpose_pointwise(
                    x, self._packed, self.bias, p, [0, 0], [2, 2], [1, 1], *ends
                )
            return torch.ops.mkldnn._convolution_pointwise(x, self._packed, self.bias, p, [1, 1], [1, 1], *ends)
        kernel = self.kernel()
        h = (
            F.conv_transpose2d(x, kernel, self.bias, 2, 1)
            if self.up
            else F.conv2d(x, kernel, self.bias, 1, self.padding)
        )
        return F.relu(h, inplace=True) if self.relu else h

    def kernel(self) -> Tensor:
        """(O, I, k, k), or (I, O, 4, 4) with ``up``."""
        if self._packed is None:
            assert self._dense is not None
            return self._dense
        with (
            _disable_current_modes() if exporting() else nullcontext()
        ):  # an exported graph contains values without their layout
            kernel = self._packed.to_dense()
        return kernel.transpose(0, 1) if self.up else kernel

    def flops(self, n: int, side: int) -> int:
        """FLOPs for ``n`` images in this form (a multiply-add counts as two). ``side``: of the input."""
        return 2 * n * side * side * self.shape.numel()


# ---------------------------------------------------------------------------------------------------------------------
# Folding


def fold(norm: BatchNorm2d, strength: float | Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Batch norm in eval mode -> gain and bias of the multiply-add that it is, ``exact``: (C,) or (classes, C) each.

    ``strength`` in [0, 1]: see ``lookup_class``; None: 1.
    """
    gain, bias = exact(norm.weight), exact(norm.bias)
    if norm.n_classes and strength is not None and float(strength) != 1.0:
        gain, bias = (torch.lerp(t.mean(0).expand_as(t), t, float(strength)) for t in (gain, bias))
    gain = gain * (exact(norm.running_var) + norm.eps).rsqrt()
    return gain, bias - exact(norm.running_mean) * gain


def scaled(weight: Tensor, bias: Tensor, gain: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (O, ...) and bias (O,) of a layer -> those whose output is ``gain`` (O,) times it plus ``shift`` (O,).

    Both are ``exact``.
    """
    gain, shift = exact(gain), exact(shift)
    return exact(weight) * gain.view(-1, *[1] * (weight.ndim - 1)), exact(bias) * gain + shift


def exact(tensor: Tensor) -> Tensor:
    """The tensor in float64, on the CPU: a Mac's GPU has no float64."""
    return tensor.detach().cpu().double()


def scale_shift_relu(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """relu(x * gain + bias): (N, C, H, W) -> same, written over ``x`` unless a gradient is recorded.

    On a CPU, allocating a new map takes several times as long as the arithmetic, because of page faults.
    """
    if x.requires_grad:
        return F.relu(torch.addcmul(bias, x, gain), inplace=True)
    return torch.addcmul(bias, x, gain, out=x).relu_()


def add_upsampled(h: Tensor, shortcut: Tensor, mode: str) -> Tensor:
    """``h`` (N, C, 2H, 2W) plus ``shortcut`` (N, C, H, W) upsampled, over ``h`` unless a gradient is recorded."""
    if h.requires_grad or mode != "nearest":
        return h + upsample2x(shortcut, mode)
    height, width = shortcut.shape[2:]
    h.unflatten(3, (width, 2)).unflatten(2, (height, 2)).add_(shortcut[:, :, :, None, :, None])
    return h


# ---------------------------------------------------------------------------------------------------------------------
# Properties of the processor


def packs(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN lays weights out in advance here; in bfloat16 only where the processor computes in it."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    needed = ("_convolution_pointwise", "_convolution_transpose_pointwise", "_reorder_convolution_weight",
              "_reorder_convolution_transpose_weight", "_is_mkldnn_bf16_supported")  # fmt: skip
    if not all(hasattr(torch.ops.mkldnn, name) for name in needed):  # used by torch.compile, but not documented
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and fast_bfloat16(device))


def pack(kernel: Tensor, side: int, padding: int, up: bool) -> Tensor | None:
    """A weight in oneDNN's own layout for maps of ``side``, at any batch; None where there is none."""
    if not packs(kernel.device, kernel.dtype):
        return None
    if up:
        shape = [1, kernel.shape[0], side, side]
        return torch.ops.mkldnn._reorder_convolution_transpose_weight(
            kernel, [padding] * 2, [0, 0], [2, 2], [1, 1], 1, shape
        )
    shape = [1, kernel.shape[1], side, side]
    return torch.ops.mkldnn._reorder_convolution_weight(kernel, [padding] * 2, [1, 1], [1, 1], 1, shape)


def sampling_dtype(precision: str, device: torch.device | str = "cpu") -> torch.dtype:
    """``fp32``, ``bf16``, or ``auto``: bfloat16 where ``device`` computes in it, float32 elsewhere."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)} (got {precision!r})")
    return torch.bfloat16 if precision == "bf16" or (precision == "auto" and fast_bfloat16(device)) else torch.float32


def fast_bfloat16(device: torch.device | str) -> bool:
    """Whether bfloat16 is computed as such on ``device``, and not emulated or left to a reference kernel."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return False
    return bool(bfloat16_unit())


def bfloat16_unit() -> str:
    """The processor's unit that multiplies bfloat16: ``AMX``, ``AVX-512 BF16``, or nothing."""
    can = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else None  # torch 2.10 and later
    if can is None:
        amx, avx = "_is_amx_tile_supported", "_is_avx512_bf16_supported"
        can = {"amx_bf16": getattr(torch.cpu, amx, bool)(), "avx512_bf16": getattr(torch.cpu, avx, bool)()}
    return "AMX" if can.get("amx_bf16") else "AVX-512 BF16" if can.get("avx512_bf16") else ""
