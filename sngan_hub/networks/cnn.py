"""The plain CNN pairs: the SN paper's (Tables 3 and 4) and chainer-gan-lib's DCGAN and ResNet pairs, all unconditional.

One ``CNNGenerator`` and one ``CNNDiscriminator`` span the first two, which differ in where the width grows and in the
slope of the leaky relu; ``GanLibResNetGenerator`` and its partner are the WGAN-GP-style ResNets. Sources: Miyato et al.
2018, appendix B; pfnet-research/chainer-gan-lib, common/net.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers.normalizers import WEIGHT_NORMALIZERS, BatchNorm2d, Conv2d, LayerNorm, Linear
from ..layers.spectral_norm import full_precision
from .base import AnyDiscriminator, AnyGenerator, check_arguments

ACTIVATION_NORMALIZERS: dict[str, Callable[[int], nn.Module] | None] = {
    "none": None,
    "batch": BatchNorm2d,
    "layer": LayerNorm,
}


class CNNGenerator(AnyGenerator, library_name="sngan-hub", pipeline_tag="unconditional-image-generation", tags=["gan"]):
    """z (N, z_dim) -> images (N, 3, 8 bottom_width, 8 bottom_width) in [-1, 1].

    A dense layer, three transposed 4x4 convolutions of stride 2, each halving the width, and a 3x3 convolution; batch
    norm and ReLU after each but the last. After the dense layer, batch norm is per feature, as in chainer-gan-lib, or
    per channel of the map, as in torch-fidelity's example.
    Source: Miyato et al. 2018, Table 3; chainer-gan-lib, common/net.py.

    Args:
        size: side of the images, 8 bottom_width.
        n_classes: 0.
        z_dim: length of a latent vector, sampled from N(0, I).
        width: channels of the first feature map, at least 8.
        batch_norm: whether to use batch norm.
        bn_eps: added to the variance.
        first_norm: ``feature`` or ``channel``: what has statistics of its own after the dense layer.

    Raises:
        ValueError: if an argument is invalid.
    """

    def __init__(
        self,
        size: int = 32,
        n_classes: int = 0,
        z_dim: int = 128,
        width: int = 512,
        batch_norm: bool = True,
        bn_eps: float = 2e-5,
        first_norm: str = "feature",
    ):
        check_arguments(locals())
        super().__init__()
        if first_norm not in ("feature", "channel"):
            raise ValueError(f"first_norm must be feature or channel (got {first_norm!r})")
        if size % 8 or n_classes:
            raise ValueError(f"size must be a multiple of 8, and n_classes must be 0 (got {size} and {n_classes})")
        if width < 8:
            raise ValueError(f"width must be at least 8 (got {width}); it is halved three times")
        self.size, self.n_classes, self.z_dim, self.classes, self.width = size, 0, z_dim, None, width
        widths = [width, width // 2, width // 4, width // 8]
        self.l0 = Linear(z_dim, width * (size // 8) ** 2)
        self.bn0 = None
        if batch_norm:
            flat = first_norm == "feature"
            self.bn0 = FlatBatchNorm(self.l0.out_features, eps=bn_eps) if flat else BatchNorm2d(width, eps=bn_eps)
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in zip(widths, widths[1:], strict=False))
        self.bn = nn.ModuleList(BatchNorm2d(b, eps=bn_eps) for b in widths[1:]) if batch_norm else None
        self.conv = nn.ConvTranspose2d(widths[-1], 3, 3, 1, 1)
        for layer in (self.l0, *self.up, self.conv):
            _normal(layer)
        self.set_config(size=size, n_classes=n_classes, z_dim=z_dim, width=width, batch_norm=batch_norm,
                        bn_eps=bn_eps, first_norm=first_norm)  # fmt: skip

    def forward(self, z: Tensor, y: Tensor | None = None, class_weights: Tensor | None = None) -> Tensor:
        """z (N, z_dim) -> images (N, 3, size, size) in [-1, 1]; ``y`` and ``class_weights`` are None."""
        self.check_latents(z)
        self.check_labels(z.shape[0], y, class_weights)
        h = self.l0(z.to(self.l0.weight.dtype))
        shape = (z.shape[0], self.width, self.size // 8, self.size // 8)
        if self.bn0 is not None:
            h = self.bn0(h if isinstance(self.bn0, FlatBatchNorm) else h.view(shape))
        h = F.relu(h).view(shape)
        for i, up in enumerate(self.up):
            h = up(h)
            h = F.relu(h if self.bn is None else self.bn[i](h))
        return torch.tanh(self.conv(h).to(z.dtype))


class FlatBatchNorm(BatchNorm2d):
    """Batch normalisation of features (N, C): chainer-gan-lib's bn0."""

    def forward(
        self, x: Tensor, y: Tensor | None = None, class_weights: Tensor | None = None, strength: float | Tensor = 1.0
    ) -> Tensor:  # (N, C) -> same
        return super().forward(x[:, :, None, None], y, class_weights, strength)[:, :, 0, 0]


class CNNDiscriminator(AnyDiscriminator, library_name="sngan-hub", tags=["gan", "discriminator"]):
    """Images (N, 3, size, size) in [-1, 1] -> scores (N, 1).

    Seven convolutions, alternately 3x3 and 4x4 of stride 2, each followed by leaky ReLU, and a dense layer.
    Source: Miyato et al. 2018, Table 3; chainer-gan-lib, common/net.py.

    Args:
        size: side of the images, a multiple of 8.
        n_classes: 0.
        widths: outputs of the seven. The paper's (None) grow in the 3x3: 64, 64, 128, 128, 256, 256, 512;
            chainer-gan-lib's in the strided one: 64, 128, 128, 256, 256, 512, 512.
        slope: of the leaky relu: 0.1 in the paper, 0.2 in chainer-gan-lib.
        normalizer: of weights: a name in ``WEIGHT_NORMALIZERS``; of activations: ``batch`` or ``layer``, after every
            convolution but the first.

    Raises:
        ValueError: if an argument is invalid.
    """

    def __init__(
        self,
        size: int = 32,
        n_classes: int = 0,
        widths: list[int] | None = None,
        slope: float = 0.1,
        normalizer: str = "spectral",
    ):
        check_arguments(locals())
        super().__init__()
        widths = list(widths or [64, 64, 128, 128, 256, 256, 512])
        if size % 8 or n_classes or len(widths) != 7:
            raise ValueError(
                f"size must be a multiple of 8, n_classes must be 0, and widths must have 7 values "
                f"(got {size}, {n_classes} and {len(widths)} values)"
            )
        if normalizer not in WEIGHT_NORMALIZERS and normalizer not in ACTIVATION_NORMALIZERS:
            legal = dict.fromkeys([*WEIGHT_NORMALIZERS, *ACTIVATION_NORMALIZERS])
            raise ValueError(f"normalizer must be one of {', '.join(legal)} (got {normalizer!r})")
        self.size, self.n_classes, self.classes, self.slope = size, 0, None, slope
        of_weights = WEIGHT_NORMALIZERS.get(normalizer, WEIGHT_NORMALIZERS["none"])
        of_activations = ACTIVATION_NORMALIZERS.get(normalizer)
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        c_in = 3
        for i, c_out in enumerate(widths):
            conv = Conv2d(c_in, c_out, 4, 2, 1) if i % 2 else Conv2d(c_in, c_out, 3, 1, 1)
            self.convs.append(of_weights(_normal(conv)))
            self.norms.append(of_activations(c_out) if of_activations and i else nn.Identity())
            c_in = c_out
        self.linear = Linear(c_in * (size // 8) ** 2, 1)
        of_weights(_normal(self.linear))
        self.set_config(size=size, n_classes=n_classes, widths=widths, slope=slope, normalizer=normalizer)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Images (N, 3, size, size) in [-1, 1] -> scores (N, 1), any real numbers; ``y`` is None."""
        self.check_images(x)
        self.check_labels(x.shape[0], y)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.leaky_relu(norm(conv(x)), self.slope)
        with full_precision(x):
            return self.linear(x.flatten(1).to(self.linear.weight.dtype))


# ---------------------------------------------------------------------------------------------------------------------
# chainer-gan-lib's ResNet pair


class GanLibResNetGenerator(AnyGenerator, library_name="sngan-hub", tags=["gan", "image-generation"]):
    """z (N, width) -> images (N, 3, 32, 32) in [-1, 1].

    ReLU on the dense layer, three upsampling blocks of the same width, ReLU, batch norm. Source: chainer-gan-lib,
    common/net.py.

    Args:
        size: 32.
        n_classes: 0.
        width: of all feature maps, and length of a latent vector.

    Raises:
        ValueError: if an argument is invalid.
    """

    def __init__(self, size: int = 32, n_classes: int = 0, width: int = 128):
        check_arguments(locals())
        super().__init__()
        if size != 32 or n_classes:
            raise ValueError(f"size must be 32 and n_classes must be 0 (got {size} and {n_classes})")
        self.size, self.n_classes, self.z_dim, self.classes, self.width = 32, 0, width, None, width
        self.l0 = Linear(width, 16 * width)
        self.blocks = nn.ModuleList(_UpBlock(width) for _ in range(3))
        self.bn, self.conv = BatchNorm2d(width), Conv2d(width, 3, 3, padding=1)
        nn.init.normal_(self.l0.weight, std=width**-0.5)  # LeCun: Chainer's default
        nn.init.zeros_(self.l0.bias)
        _normal(self.conv)
        self.set_config(size=size, n_classes=n_classes, width=width)

    def forward(self, z: Tensor, y: Tensor | None = None, class_weights: Tensor | None = None) -> Tensor:
        """z (N, z_dim) -> images (N, 3, size, size) in [-1, 1]; ``y`` and ``class_weights`` are None."""
        self.check_latents(z)
        self.check_labels(z.shape[0], y, class_weights)
        h = F.relu(self.l0(z.to(self.l0.weight.dtype))).view(z.shape[0], self.width, 4, 4)
        for block in self.blocks:
            h = block(h)
        return torch.tanh(self.conv(self.bn(F.relu(h))).to(z.dtype))  # batch norm after ReLU, as in chainer-gan-lib


class _UpBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.bn0, self.bn1 = BatchNorm2d(width), BatchNorm2d(width)
        self.c0, self.c1, self.cs = (_normal(Conv2d(width, width, 3, padding=1)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        h = self.c0(F.interpolate(F.relu(self.bn0(x)), scale_factor=2))
        return self.c1(F.relu(self.bn1(h))) + self.cs(F.interpolate(x, scale_factor=2))


class GanLibResNetDiscriminator(AnyDiscriminator, library_name="sngan-hub", tags=["gan", "discriminator"]):
    """Images (N, 3, 32, 32) in [-1, 1] -> scores (N, 1).

    Two blocks halve the map by 4x4 convolutions, two keep its size; there are no norms. Source: chainer-gan-lib,
    common/net.py.

    Args:
        size: 32.
        n_classes: 0.
        width: of all feature maps.

    Raises:
        ValueError: if an argument is invalid.
    """

    def __init__(self, size: int = 32, n_classes: int = 0, width: int = 128):
        check_arguments(locals())
        super().__init__()
        if size != 32 or n_classes:
            raise ValueError(f"size must be 32 and n_classes must be 0 (got {size} and {n_classes})")
        self.size, self.n_classes, self.classes = 32, 0, None
        self.blocks = nn.ModuleList(
            _DownBlock(3 if i == 0 else width, width, down=i < 2, first=i == 0) for i in range(4)
        )
        self.linear = Linear(64 * width, 1)
        _normal(self.linear)
        self.set_config(size=size, n_classes=n_classes, width=width)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Images (N, 3, size, size) in [-1, 1] -> scores (N, 1), any real numbers; ``y`` is None."""
        self.check_images(x)
        self.check_labels(x.shape[0], y)
        for block in self.blocks:
            x = block(x)
        with full_precision(x):
            return self.linear(F.relu(x).flatten(1).to(self.linear.weight.dtype))


class _DownBlock(nn.Module):
    def __init__(self, c_in: int, width: int, down: bool, first: bool):
        super().__init__()
        self.first = first
        self.c0 = _normal(Conv2d(c_in, width, 3, padding=1))
        self.c1 = _normal(Conv2d(width, width, 4, 2, 1) if down else Conv2d(width, width, 3, padding=1))
        self.cs = _normal(Conv2d(c_in, width, 4, 2, 1)) if down else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.c1(F.relu(self.c0(x if self.first else F.relu(x))))
        return h + (x if self.cs is None else self.cs(x))


def _normal(layer: Any) -> Any:
    nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer
