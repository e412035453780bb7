"""Upsampling before and downsampling after a convolution, in a plain and a fused form: the hot path.

Nearest 2x upsampling followed by conv3x3 is one transposed 4x4 convolution of stride 2, and conv3x3 followed by a 2x2
mean is one 4x4 convolution of stride 2: 16 multiplications instead of 36 per low-resolution pixel and pair of channels,
with the same parameters, equal up to rounding. A 1x1 convolution commutes with both, so shortcuts always run on the
small map. In training, the fused kernel is computed from the weight in every call, so the plain form can be faster for
small maps with many channels. ``resample_table.json``, written by benchmarks/resample.py, states which form a layer
uses; nothing is timed at run time, so images and resumed runs are reproducible.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..devices import autocast_on
from .normalizers import Conv2d
from .spectral_norm import apply_linear

FORMS = ("auto", "plain", "fused")
UPSAMPLE_MODES = ("nearest", "bilinear")
TABLE = Path(__file__).with_name("resample_table.json")
TABLE_ROWS: dict[str, dict] = json.loads(TABLE.read_text())["layers"]  # at import: a compiled step cannot read files
BATCHES = (8, 64)  # the batch sizes of the table's rows
AMX = bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


class Resampling(nn.Module):
    """A block that up- or downsamples. ``form``: ``auto``, ``plain`` or ``fused``."""

    form: str = "auto"
    c1: Conv2d  # follows the upsampling
    c2: Conv2d  # precedes the downsampling


def upsample2x(x: Tensor, mode: str = "nearest") -> Tensor:
    """Doubles the sides of a map.

    Args:
        x: (N, C, H, W).
        mode: ``nearest`` repeats pixels (the authors' unpooling_2d); ``bilinear`` is mimicry's, corners not aligned.

    Returns:
        (N, C, 2H, 2W).
    """
    if mode == "nearest":
        return F.interpolate(x, scale_factor=2, mode="nearest")
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def downsample2x(x: Tensor) -> Tensor:
    """The means over 2x2 positions: (N, C, H, W) -> (N, C, H/2, W/2) (authors' dis_models/resblocks.py)."""
    return F.avg_pool2d(x, 2)


def _with_box(weight: Tensor) -> Tensor:
    """(..., 3, 3) -> (..., 4, 4): the full convolution with a 2x2 box of ones."""
    w = F.pad(weight, (1, 1, 1, 1))
    w = w[..., :-1, :] + w[..., 1:, :]
    return w[..., :-1] + w[..., 1:]


def up_kernel(weight: Tensor) -> Tensor:
    """(out, in, 3, 3) -> (in, out, 4, 4): the transposed convolution that equals upsample-then-conv3x3."""
    return _with_box(weight.flip(2, 3)).transpose(0, 1)


def down_kernel(weight: Tensor) -> Tensor:
    """(out, in, 3, 3) -> (out, in, 4, 4): the strided convolution that equals conv3x3-then-mean."""
    return _with_box(weight) * 0.25


def conv_up_with_kernel(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """Convolves with an ``up_kernel`` (I, O, 4, 4): (N, I, H, W) -> (N, O, 2H, 2W)."""
    return F.conv_transpose2d(x, kernel, bias, stride=2, padding=1)


def conv_down_with_kernel(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """Convolves with a ``down_kernel`` (O, I, 4, 4): (N, I, H, W) -> (N, O, H/2, W/2)."""
    return F.conv2d(x, kernel, bias, stride=2, padding=1)


def up_conv(x: Tensor, conv: Conv2d, mode: str = "nearest", form: str = "auto") -> Tensor:
    """Upsampling, then a 3x3 convolution.

    Args:
        x: (N, I, H, W).
        conv: I to O channels, 3x3, padding 1; its normalised weight is used.
        mode: see ``upsample2x``. Bilinear upsampling has no fused form.
        form: ``plain``, ``fused``, or ``auto``, which selects by the table. All compute the same up to rounding.

    Returns:
        (N, O, 2H, 2W).
    """
    if mode == "nearest" and _fused("up", x, conv.weight, form):
        return apply_linear(conv, x, lambda x, weight, bias: conv_up_with_kernel(x, up_kernel(weight), bias))
    return conv(upsample2x(x, mode))


def conv_down(x: Tensor, conv: Conv2d, form: str = "auto") -> Tensor:
    """A 3x3 convolution, then the mean over 2x2.

    Args:
        x: (N, I, H, W), H and W even.
        conv: I to O channels, 3x3, padding 1; its normalised weight is used.
        form: see ``up_conv``.

    Returns:
        (N, O, H/2, W/2).
    """
    if _fused("down", x, conv.weight, form):
        return apply_linear(conv, x, lambda x, weight, bias: conv_down_with_kernel(x, down_kernel(weight), bias))
    return downsample2x(conv(x))


def _fused(kind: str, x: Tensor, weight: Tensor, form: str) -> bool:
    if form != "auto":
        return form == "fused"
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if autocast_on(device) else x.dtype
    batch = BATCHES[0] if exporting() else len(x)  # an exported graph accepts any batch size
    return prefers_fused(kind, weight.shape[1], weight.shape[0], x.shape[-1], dtype, device, batch)


def prefers_fused(
    kind: str, c_in: int, c_out: int, side: int, dtype: torch.dtype, device: str, batch: int = BATCHES[0]
) -> bool:
    """Looks up in the table whether the fused form is faster for a layer.

    Uses the row of the nearest measured batch size. For shapes that were not measured, a rule applies that holds for
    most measured ones: fused if the small map is large enough relative to the number of channels.

    Args:
        kind: ``up`` or ``down``.
        c_in: channels of the input.
        c_out: channels of the output.
        side: side of the input map.
        dtype: dtype of the computation.
        device: device type, such as ``cpu``.
        batch: number of images.

    Returns:
        Whether the fused form is faster.
    """
    small_first = BATCHES if batch < BATCHES[1] // 2 else BATCHES[::-1]
    for measured in small_first:
        row = TABLE_ROWS.get(layer_key(kind, c_in, c_out, side, dtype, device, measured))
        if row is not None:
            return row["fused"]
    small = side if kind == "up" else side // 2
    return small >= 16 or (small >= 8 and c_in * c_out <= 512 * 256)


def exporting() -> bool:
    """Whether torch.export is tracing: its graphs must work on any machine and with any batch size."""
    return getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)()


def layer_key(kind: str, c_in: int, c_out: int, side: int, dtype: torch.dtype, device: str, batch: int) -> str:
    """``cpu-amx/bfloat16/up/256-128@32x8``: a row of the table, for a batch of 8 maps of 32 x 32."""
    unit = "-amx" if device == "cpu" and dtype == torch.bfloat16 and AMX else ""  # has separate measurements
    return f"{device}{unit}/{str(dtype).removeprefix('torch.')}/{kind}/{c_in}-{c_out}@{side}x{batch}"


@cache
def table_digest() -> str:
    """A hash of the table, which a run records: another table may select other forms, which round differently."""
    return hashlib.sha256(TABLE.read_bytes()).hexdigest()[:16]
