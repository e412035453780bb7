"""The four code bases that published weights of these networks, as tables: what each calls a tensor, how it stores the
gains of a class, and in which fields its networks differ from the authors'.

Sources: the authors' pfnet-research/sngan_projection (Chainer), open-mmlab/mmgeneration 0.7.3 (models/architectures/
sngan_proj), POSTECH-CVLab/PyTorch-StudioGAN (models/resnet.py, both storage generations) and kwotsin/mimicry
(torch_mimicry/nets).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from torch import Tensor

FAMILIES = {
    "chainer": "the authors' Chainer code",
    "mmgen": "mmgeneration",
    "studio": "StudioGAN",
    "mimicry": "mimicry",
}

CODE = {family: f"{name}'s code" for family, name in FAMILIES.items()} | {"chainer": "the authors' code"}

#: The networks of a family where they differ from the authors', as fields of Generator and Discriminator.
#: ``hidden`` counts only where shapes leave it open; ``shortcut_relu`` of mmgen depends on the run.
FIELDS: dict[str, dict[str, dict[str, Any]]] = {
    "chainer": {"generator": {}, "discriminator": {"hidden": "in"}},
    "mmgen": {"generator": {"bn_eps": 1e-4},
              "discriminator": {"hidden": "out", "sn_eval": "stored", "shortcut_relu": False}},
    "studio": {"generator": {"bn_eps": 1e-4},
               "discriminator": {"hidden": "out", "sn_eval": "stored", "shortcut_relu": True}},
    "mimicry": {"generator": {"bn_eps": 1e-5, "upsample": "bilinear"},
                "discriminator": {"hidden": "in", "sn_eval": "stored", "shortcut_relu": True}},
}  # fmt: skip

#: What is added to the stored gains of a class.
GAIN_OFFSETS = {"chainer": 0, "mmgen": 1, "studio": 1, "mimicry": 0}

#: Blocks of a discriminator -> which of them halve the map, and the image size.
DOWN = {4: ("1100", 32), 5: ("11111", 64), 6: ("111110", 128), 7: ("1111110", 256)}
DOWN_STUDIO_64 = ("11110", 64)
DOWN_MIMICRY_48 = ("11110", 48)

#: Keys that only this family and network has, in any file, however damaged.
_MARKS: list[tuple[str, str, tuple[str, ...]]] = [
    ("mmgen", "generator", ("noise2feat.", "to_rgb.")),
    ("mmgen", "discriminator", ("from_rgb.", "decision.", "proj_y.")),
    ("studio", "generator", ("linear0.", "conv2d5.", "bn4.")),
    ("studio", "discriminator", ("linear1.", "blocks.0.0.conv2d0.", "embedding.")),
    ("chainer", "discriminator", ("block1/", "l_y/")),
    ("chainer", "generator", ("l1/", "block2/")),
    ("mimicry", "discriminator", ("block1.", "l_y.")),
    ("mimicry", "generator", ("l1.", "block2.")),
]


def recognise(keys: Collection[str]) -> tuple[str, str] | None:
    """-> (family, generator or discriminator), or None for keys of no family."""
    for family, kind, prefixes in _MARKS:
        if any(key.startswith(prefixes) for key in keys):
            return family, kind
    return None


# ---------------------------------------------------------------------------------------------------------------------
# Layers: ours -> theirs, for n blocks

_CHAINER = {name: name for name in ("b1", "b2", "c1", "c2", "c_sc")}
_MMGEN = {"b1": "norm_1", "b2": "norm_2", "c1": "conv_1.conv", "c2": "conv_2.conv", "c_sc": "shortcut.conv"}
_STUDIO = {"b1": "bn1", "b2": "bn2", "c1": "conv2d1", "c2": "conv2d2", "c_sc": "conv2d0"}


def generator_layers(family: str, n: int) -> dict[str, str]:
    """Our layer -> its prefix in the file, separator included, for a generator of ``n`` blocks."""
    last = n + 2
    block, names, ends = {
        "chainer": ("block{k}/", _CHAINER, ("l1/", f"b{last}/", "c5/" if n == 3 else f"l{last}/")),
        "mmgen": ("conv_blocks.{i}.", _MMGEN, ("noise2feat.", "to_rgb.bn.", "to_rgb.conv.")),
        "studio": ("blocks.{i}.0.", _STUDIO, ("linear0.", "bn4.", "conv2d5.")),
        "mimicry": ("block{k}.", _CHAINER, ("l1.", f"b{last}.", f"c{last}.")),
    }[family]
    separator = "/" if family == "chainer" else "."
    layers = {
        f"blocks.{i}.{ours}": block.format(i=i, k=i + 2) + theirs + separator
        for i in range(n)
        for ours, theirs in names.items()
    }
    return {**layers, **dict(zip(("l1", "bn", "conv"), ends, strict=True))}


def discriminator_layers(family: str, n: int, keys: Collection[str]) -> dict[str, str]:
    """As ``generator_layers``. ``keys``: mimicry's 48-px head is l5 like its 32-px one's."""
    head = n + 1
    if family == "mimicry" and n == 5 and any(key.startswith("l5.") for key in keys):
        head = 5
    block, names, ends = {
        "chainer": ("block{k}/", _CHAINER, (f"l{head}/", "l_y/")),
        "mmgen": ("conv_blocks.{j}.", _MMGEN, ("decision.", "proj_y.")),
        "studio": ("blocks.{i}.0.", _STUDIO, ("linear1.", "embedding.")),
        "mimicry": ("block{k}.", _CHAINER, (f"l{head}.", "l_y.")),
    }[family]
    separator = "/" if family == "chainer" else "."
    layers = {}
    for i in range(n):
        prefix = "from_rgb." if family == "mmgen" and i == 0 else block.format(i=i, j=i - 1, k=i + 1)
        layers |= {f"blocks.{i}.{ours}": prefix + names[ours] + separator for ours in ("c1", "c2", "c_sc")}
    return {**layers, **dict(zip(("linear", "embed"), ends, strict=True))}


# ---------------------------------------------------------------------------------------------------------------------
# Leaves: what a layer's tensors are called

PLAIN = {
    "chainer": {"weight": "W", "bias": "b"},
    "torch": {"weight": "weight", "bias": "bias"},
}
SPECTRAL = {
    "chainer": {"weight": "W", "bias": "b", "u": "u"},
    "torch": {"weight": "weight_orig", "bias": "bias", "u": "weight_u", "v": "weight_v"},
    # mimicry's own classes, in the head of its 32-px cGAN: sigma by iteration in both modes, sn_sigma is never read
    "mimicry_head": {"weight": "weight", "bias": "bias", "u": "sn_u"},
}
NEVER_READ = "sn_sigma"
STATISTICS = {
    "chainer": {"running_mean": "avg_mean", "running_var": "avg_var", "num_batches_tracked": "N"},
    "torch": {name: name for name in ("running_mean", "running_var", "num_batches_tracked")},
}


class Affine(NamedTuple):
    """How a batch norm keeps its gain and bias. ``gain`` and ``bias`` are leaves behind the layer's prefix."""

    gain: str
    bias: str
    statistics: str  # what stands between the layer's prefix and its statistics
    n_classes: Callable[[tuple[int, ...]], int]  # of the gain's shape
    read_gain: Callable[..., Tensor]  # stored gain (and StudioGAN's shared table) -> (n_classes, C) or (C,)
    read_bias: Callable[..., Tensor]


def _same(x: Tensor, shared: Tensor | None = None) -> Tensor:
    return x


def _columns(x: Tensor, shared: Tensor | None = None) -> Tensor:
    """A Linear without bias on one-hot labels, or on the rows of a shared embedding."""
    return x.t().contiguous() if shared is None else shared @ x.t()


def _half(x: Tensor, which: int) -> Tensor:
    width = x.shape[1] // 2
    return x[:, which * width : (which + 1) * width].contiguous()


def _none(shape: tuple[int, ...]) -> int:
    return 0


def _rows(shape: tuple[int, ...]) -> int:
    return shape[0]


# fmt: off
UNCONDITIONAL: dict[str, Affine] = {
    "chainer": Affine("gamma", "beta", "", _none, _same, _same),
    "torch":   Affine("weight", "bias", "", _none, _same, _same),
    "mmgen":   Affine("norm.weight", "norm.bias", "norm.", _none, _same, _same),  # inside blocks only
}
CONDITIONAL: dict[str, list[Affine]] = {
    "chainer": [Affine("gammas/W", "betas/W", "", _rows, _same, _same)],
    "mmgen":   [Affine("weight_embedding.weight", "bias_embedding.weight", "norm.", _rows, _same, _same)],
    "studio":  [Affine("gain.weight", "bias.weight", "bn.", lambda shape: shape[1], _columns, _columns),  # 2022
                Affine("embed0.weight", "embed1.weight", "bn.", _rows, _same, _same)],                    # 2020
    "mimicry": [Affine("embed.weight", "embed.weight", "bn.", _rows,
                       lambda x, shared=None: _half(x, 0), lambda x, shared=None: _half(x, 1))],
}
# fmt: on
SHARED_TABLE = "shared.weight"  # StudioGAN, a few weeks of 2022: gains are linear in a shared embedding of the class


def affine(family: str, prefix: str, keys: Collection[str]) -> Affine:
    """The form of the batch norm whose keys begin with ``prefix``, by the keys that are there."""
    for form in CONDITIONAL[family]:
        if prefix + form.gain in keys or prefix + form.bias in keys:
            return form
    return UNCONDITIONAL["mmgen"] if family == "mmgen" else last_affine(family)


def last_affine(family: str) -> Affine:
    """The form of the last batch norm: never conditional, and not nested as mmgeneration's others are."""
    return UNCONDITIONAL["chainer" if family == "chainer" else "torch"]
