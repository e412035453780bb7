"""The ResNet generator and discriminator of SNGAN and cGAN with projection discriminator, at every size.

One ``Generator`` and one ``Discriminator`` over a table of rows. Defaults are the authors' (pfnet-research/
sngan_projection, gen_models/resnet*.py and dis_models/snresnet*.py); the other fields exist because weights that other
code bases trained need them (mmgeneration, StudioGAN, mimicry).
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..layers.normalizers import WEIGHT_NORMALIZERS, BatchNorm2d, Conv2d, Embedding, Linear, lookup_class
from ..layers.resample import UPSAMPLE_MODES
from ..layers.spectral_norm import full_precision, spectral_norm
from .base import AnyDiscriminator, AnyGenerator, check_arguments, check_classes
from .blocks import DiscriminatorBlock, GeneratorBlock, glorot_
from .inference import FastGenerator


class Row(NamedTuple):
    """Widths are multiples of a base width: of G's first map and of each up block's output; of each D block's."""

    bottom_width: int
    g_base: int
    g_widths: tuple[int, ...]
    d_base: int
    d_widths: tuple[int, ...]
    d_down: str  # one digit per D block: 1 halves the map
    d_head_bias: bool = True


# fmt: off
ROWS: dict[str, Row] = {  # authors' files: resnet_32/snresnet_32, *_64, resnet/snresnet, *_256, *_small; 48: SN paper
    "32":    Row(4, 256, (1, 1, 1, 1),            128, (1, 1, 1, 1),             "1100", d_head_bias=False),
    "48":    Row(6,  64, (8, 4, 2, 1),             64, (1, 2, 4, 8, 16),         "11110"),
    "64":    Row(4,  64, (16, 8, 4, 2, 1),         64, (1, 2, 4, 8, 16),         "11111"),
    "128":   Row(4,  64, (16, 16, 8, 4, 2, 1),     64, (1, 2, 4, 8, 16, 16),     "111110"),
    "256":   Row(4,  32, (16, 16, 8, 8, 4, 2, 1),  32, (1, 2, 4, 8, 8, 16, 16),  "1111110"),
    "small": Row(4,  64, (8, 8, 4, 4, 2, 1),       64, (1, 2, 4, 4, 8, 8),       "111110"),
}
# fmt: on


class Generator(
    AnyGenerator,
    library_name="sngan-hub",
    tags=["gan", "sngan", "image-generation"],
    pipeline_tag="unconditional-image-generation",
):
    """z (N, z_dim), labels -> images (N, 3, size, size) in [-1, 1].

    Every argument is a plain JSON value: config.json is the call. Source: authors' gen_models/resnet*.py; Miyato et al.
    2018, appendix B.

    Args:
        size: side of the images.
        n_classes: 0 builds the unconditional network.
        z_dim: length of a latent vector, sampled from N(0, I).
        widths: channels of the first map and of each block's output; None: those of the row for ``size``.
        bottom_width: side of the first map, which each block doubles; None: that of the row.
        upsample: ``nearest`` (the authors) or ``bilinear`` (mimicry).
        bn_eps: see ``BatchNorm2d``.
        bn_momentum: see ``BatchNorm2d``.
        classes: the class names, in the order of the labels; None: unnamed.

    Raises:
        ValueError: naming the argument that is not legal.
    """

    def __init__(
        self,
        size: int,
        n_classes: int = 0,
        z_dim: int = 128,
        widths: list[int] | None = None,
        bottom_width: int | None = None,
        upsample: str = "nearest",
        bn_eps: float = 2e-5,
        bn_momentum: float = 0.1,
        classes: list[str] | None = None,
    ):
        check_arguments(locals())
        super().__init__()
        row = _row(size, widths, bottom_width)
        widths = list(widths or [row.g_base * k for k in row.g_widths])
        bottom_width = bottom_width or row.bottom_width
        side = bottom_width * 2 ** (len(widths) - 1)
        if side != size:
            raise ValueError(f"size must be {side} with bottom_width {bottom_width} and {len(widths)} widths "
                             f"(got {size})")  # fmt: skip
        if upsample not in UPSAMPLE_MODES:
            raise ValueError(f"upsample must be one of {', '.join(UPSAMPLE_MODES)} (got {upsample!r})")
        check_classes(n_classes, classes)
        self.size, self.n_classes, self.z_dim, self.classes = size, n_classes, z_dim, classes
        self.widths, self.bottom_width = widths, bottom_width
        self.l1 = Linear(z_dim, widths[0] * bottom_width**2)
        self.blocks = nn.ModuleList(
            GeneratorBlock(c_in, c_out, n_classes, upsample, bn_eps, bn_momentum)
            for c_in, c_out in zip(widths, widths[1:], strict=False)
        )
        self.bn = BatchNorm2d(widths[-1], 0, bn_eps, bn_momentum)  # plain even in conditional networks
        self.conv = Conv2d(widths[-1], 3, 3, padding=1)
        glorot_(self.l1)
        glorot_(self.conv)
        self.set_config(
            size=size, n_classes=n_classes, z_dim=z_dim, widths=widths, bottom_width=bottom_width, upsample=upsample,
            bn_eps=bn_eps, bn_momentum=bn_momentum, classes=classes,
        )  # fmt: skip

    def forward(self, z: Tensor, y: Tensor | None = None, class_weights: Tensor | None = None) -> Tensor:
        """Images of latent vectors.

        Args:
            z: (N, z_dim).
            y: None without classes; else labels (N,), or (N, K), int64 in 0..n_classes - 1.
            class_weights: (N, K) for ``y`` (N, K), which mix the gains and biases of K classes; else None.

        Returns:
            (N, 3, size, size) in [-1, 1], in the dtype of ``z``.

        Raises:
            ValueError: for latents or labels that do not fit.
        """
        self.check_latents(z)
        self.check_labels(z.shape[0], y, class_weights)
        h = self.l1(z.to(self.l1.weight.dtype)).view(z.shape[0], -1, self.bottom_width, self.bottom_width)
        if self.conv.weight.is_contiguous(memory_format=torch.channels_last):
            h = h.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            h = block(h, y, class_weights, self.class_strength)
        h = F.relu(self.bn(h), inplace=True)
        return torch.tanh(self.conv(h).to(z.dtype))

    def for_sampling(self, dtype: torch.dtype = torch.float32) -> AnyGenerator:
        return FastGenerator(self, dtype)


class Discriminator(
    AnyDiscriminator,
    library_name="sngan-hub",
    tags=["gan", "sngan", "discriminator"],
    pipeline_tag="image-classification",
):
    """Images (N, 3, size, size) in [-1, 1], labels -> scores (N, 1), no sigmoid.

    Every argument is a plain JSON value: config.json is the call. Source: authors' dis_models/snresnet*.py; Miyato et
    al. 2018, appendix B; Miyato & Koyama 2018, eq. 4.

    Args:
        size: side of the images.
        n_classes: 0 builds the unconditional network.
        widths: channels of each block's output; None: those of the row for ``size``.
        down: a digit per block, 1 halves the map; None: that of the row.
        conditioning: ``projection`` adds <embed(y), features> to the score; ``concat`` appends an embedding of the
            class to the map behind block ``concat_after``.
        embedding_dim: length of that embedding, of ``concat`` alone.
        concat_after: number of that block, from 1, of ``concat`` alone.
        hidden: width between a block's convolutions, its input's (``in``, the authors) or its output's (``out``).
        shortcut_relu: see ``DiscriminatorBlock``.
        head_bias: whether the linear layer has a bias; None: as the row says.
        sn_eval: see ``SpectralNorm``.
        head_sn_eval: that of the linear layer and the embedding; None: the same (mimicry's 32-px cGAN has one of each).
        normalizer: of all weights, by its name in ``WEIGHT_NORMALIZERS``.
        head_scale: spectral norm of the linear layer, other than 1 where fine-tuning has changed it.
        embed_scale: spectral norm of the class table, likewise.
        classes: the class names, in the order of the labels; None: unnamed.

    Raises:
        ValueError: naming the argument that is not legal.
    """

    def __init__(
        self,
        size: int,
        n_classes: int = 0,
        widths: list[int] | None = None,
        down: str | None = None,
        conditioning: str = "projection",
        embedding_dim: int = 128,
        concat_after: int = 3,
        hidden: str = "in",
        shortcut_relu: bool = False,
        head_bias: bool | None = None,
        sn_eval: str = "iterate",
        head_sn_eval: str | None = None,
        normalizer: str = "spectral",
        head_scale: float = 1.0,
        embed_scale: float = 1.0,
        classes: list[str] | None = None,
    ):
        check_arguments(locals())
        super().__init__()
        row = _row(size, widths, down)
        widths = list(widths or [row.d_base * k for k in row.d_widths])
        down = down or row.d_down
        head_bias = row.d_head_bias if head_bias is None else head_bias
        if len(down) != len(widths) or set(down) - set("01"):
            raise ValueError(f"down must have one digit, 0 or 1, for each of the {len(widths)} widths (got {down!r})")
        if conditioning not in ("projection", "concat"):
            raise ValueError(f"conditioning must be one of projection, concat (got {conditioning!r})")
        if hidden not in ("in", "out"):
            raise ValueError(f"hidden must be one of in, out (got {hidden!r})")
        if normalizer not in WEIGHT_NORMALIZERS:
            raise ValueError(f"normalizer must be one of {', '.join(WEIGHT_NORMALIZERS)} (got {normalizer!r})")
        check_classes(n_classes, classes)
        self.size, self.n_classes, self.classes, self.widths = size, n_classes, classes, widths
        concat = conditioning == "concat" and n_classes > 0
        if concat and concat_after >= len(widths):
            raise ValueError(f"concat_after must be below {len(widths)}, the number of blocks (got {concat_after})")
        self.concat_after = concat_after if concat else None
        of_weights = of_head = of_classes = WEIGHT_NORMALIZERS[normalizer]
        if normalizer == "spectral":
            of_weights = partial(spectral_norm, sn_eval=sn_eval)
            of_head = partial(spectral_norm, sn_eval=head_sn_eval or sn_eval, scale=head_scale)
            of_classes = partial(spectral_norm, sn_eval=head_sn_eval or sn_eval, scale=embed_scale)
        self.blocks = nn.ModuleList()
        c_in = 3
        for i, c_out in enumerate(widths):
            first = i == 0
            c_hidden = c_out if first or hidden == "out" else c_in
            relu = shortcut_relu and not first
            self.blocks.append(DiscriminatorBlock(c_in, c_out, c_hidden, down[i] == "1", first, relu, of_weights))
            c_in = c_out + (embedding_dim if i + 1 == self.concat_after else 0)
        self.linear = Linear(widths[-1], 1, bias=head_bias)
        glorot_(self.linear)
        of_head(self.linear)
        self.embed = None
        if n_classes:
            self.embed = Embedding(n_classes, embedding_dim if concat else widths[-1])
            glorot_(self.embed)
            of_classes(self.embed)
        self.set_config(
            size=size, n_classes=n_classes, widths=widths, down=down, conditioning=conditioning,
            embedding_dim=embedding_dim, concat_after=concat_after, hidden=hidden, shortcut_relu=shortcut_relu,
            head_bias=head_bias, sn_eval=sn_eval, head_sn_eval=head_sn_eval, normalizer=normalizer,
            head_scale=head_scale, embed_scale=embed_scale, classes=classes,
        )  # fmt: skip

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Scores of images.

        Args:
            x: (N, 3, size, size) in [-1, 1].
            y: None without classes; else labels (N,), int64 in 0..n_classes - 1.

        Returns:
            (N, 1), any real numbers, in the dtype of the weights.

        Raises:
            ValueError: for images or labels that do not fit.
        """
        self.check_images(x)
        self.check_labels(x.shape[0], y)
        features = self._pooled(x, y)
        with full_precision(x):
            score = self.linear(features)
            if self.embed is not None and self.concat_after is None:
                assert y is not None
                e = self.embed.lookup(y, self.class_strength)
                score = score + (e * features).sum(1, keepdim=True)
        return score

    def class_scores(self, x: Tensor) -> Tensor:
        if self.embed is None or self.concat_after is not None:
            return super().class_scores(x)
        self.check_range(x)
        self.check_images(x)
        features = self._pooled(x, None)  # the image once, then a product with every class's embedding
        with full_precision(x):
            labels = torch.arange(self.n_classes, device=x.device)
            table = lookup_class(self.embed.effective_weight(), labels, strength=self.class_strength)
            return self.linear(features) + features @ table.t()

    def features(self, x: Tensor, layer: int | None = None) -> Tensor:
        """relu of the map behind a block, summed over positions.

        Args:
            x: images (N, 3, size, size) in [-1, 1].
            layer: number of the block, from 1; None: the last one, phi of the projection paper, which the head sees.

        Returns:
            (N, widths[layer - 1]), not negative.

        Raises:
            ValueError: for a layer that is not there, and for one behind the class of a discriminator that concatenates
                it.
        """
        self.check_images(x)
        last = len(self.blocks) if layer is None else layer
        if not 1 <= last <= len(self.blocks):
            raise ValueError(f"layer must be between 1 and {len(self.blocks)}, or None for the last (got {layer})")
        if self.concat_after is not None and last > self.concat_after:
            raise ValueError(f"layer must be between 1 and {self.concat_after} (got {last}): the class is concatenated "
                             f"after block {self.concat_after}, and later features depend on it")  # fmt: skip
        return self._pooled(x, None, last)

    def _pooled(self, x: Tensor, y: Tensor | None, last: int | None = None) -> Tensor:
        """-> relu of the last map, summed over positions (never their mean): (N, widths[-1])."""
        h = x
        first: Any = self.blocks[0]
        if first.c1.weight.is_contiguous(memory_format=torch.channels_last):
            h = h.contiguous(memory_format=torch.channels_last)
        for i, block in enumerate(self.blocks, 1):
            h = block(h)
            if i == last:
                break
            if i == self.concat_after:
                assert self.embed is not None and y is not None  # the network has checked
                e = self.embed.lookup(y, self.class_strength)
                h = torch.cat([h, e[:, :, None, None].expand(-1, -1, *h.shape[2:]).to(h.dtype)], 1)
        with full_precision(x):
            return F.relu(h).sum((2, 3), dtype=self.linear.weight.dtype)


def _row(size: int, *given: object) -> Row:
    if str(size) in ROWS:
        return ROWS[str(size)]
    if all(value is not None for value in given):
        return ROWS["128"]  # every field that depends on the size is given
    legal = ", ".join(key for key in ROWS if key.isdigit())
    raise ValueError(f"size must be one of {legal} unless widths are given (got {size})")
