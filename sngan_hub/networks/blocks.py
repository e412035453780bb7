"""The residual blocks of the ResNet generator and discriminator, and their initial weights."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..layers.normalizers import BatchNorm2d, Conv2d, Embedding, Linear, WeightNormalizer
from ..layers.resample import Resampling, conv_down, downsample2x, up_conv, upsample2x


class GeneratorBlock(Resampling):
    """BN, relu, up, conv3x3, BN, relu, conv3x3, plus up and conv1x1 of the raw input.

    Source: authors' gen_models/resblocks.py, Block.
    """

    def __init__(self, c_in: int, c_out: int, n_classes: int, upsample: str, bn_eps: float, bn_momentum: float):
        super().__init__()
        self.upsample = upsample
        self.b1 = BatchNorm2d(c_in, n_classes, bn_eps, bn_momentum)
        self.c1 = Conv2d(c_in, c_out, 3, padding=1)
        self.b2 = BatchNorm2d(c_out, n_classes, bn_eps, bn_momentum)
        self.c2 = Conv2d(c_out, c_out, 3, padding=1)
        self.c_sc = Conv2d(c_in, c_out, 1)
        _init_block(self)

    def forward(
        self, x: Tensor, y: Tensor | None, class_weights: Tensor | None, strength: float | Tensor
    ) -> Tensor:  # (N, I, H, W) -> (N, O, 2H, 2W)
        h = F.relu(self.b1(x, y, class_weights, strength), inplace=True)
        h = up_conv(h, self.c1, self.upsample, self.form)
        h = F.relu(self.b2(h, y, class_weights, strength), inplace=True)
        return self.c2(h) + upsample2x(self.c_sc(x), self.upsample)


class DiscriminatorBlock(Resampling):
    """relu, conv3x3, relu, conv3x3, mean; plus conv1x1 and mean of the raw input.

    Source: authors' dis_models/resblocks.py, Block; the first block has no leading relu (OptimizedBlock).
    ``shortcut_relu``: the shortcut reads relu(x), as in code bases whose in-place relu overwrites the block's input.
    ``normalize``: layer -> layer, for each convolution.
    """

    def __init__(self, c_in: int, c_out: int, hidden: int, down: bool, first: bool, shortcut_relu: bool,
                 normalize: WeightNormalizer):  # fmt: skip
        super().__init__()
        self.down, self.first, self.shortcut_relu = down, first, shortcut_relu
        self.c1 = Conv2d(c_in, hidden, 3, padding=1)
        self.c2 = Conv2d(hidden, c_out, 3, padding=1)
        self.c_sc = Conv2d(c_in, c_out, 1) if down or c_in != c_out else None
        _init_block(self)
        for conv in (self.c1, self.c2, self.c_sc):
            if conv is not None:
                normalize(conv)

    def forward(self, x: Tensor) -> Tensor:  # (N, I, H, W) -> (N, O, H, W), halved where down
        h = x if self.first else F.relu(x)  # never in place: the shortcut needs x
        shortcut = h if self.shortcut_relu else x
        h = F.relu(self.c1(h), inplace=True)
        h = conv_down(h, self.c2, self.form) if self.down else self.c2(h)
        if self.down:
            shortcut = downsample2x(shortcut)
        if self.c_sc is not None:
            shortcut = self.c_sc(shortcut)
        return h + shortcut


def _init_block(block: GeneratorBlock | DiscriminatorBlock) -> None:
    """Glorot uniform, gain sqrt 2 for the 3x3 convolutions and 1 for the shortcut; biases 0."""
    for conv, gain in ((block.c1, 2**0.5), (block.c2, 2**0.5), (block.c_sc, 1.0)):
        if conv is not None:
            glorot_(conv, gain)


def glorot_(layer: Conv2d | Linear | Embedding, gain: float = 1.0) -> None:
    nn.init.xavier_uniform_(layer.weight, gain)
    if not isinstance(layer, Embedding) and layer.bias is not None:
        nn.init.zeros_(layer.bias)
