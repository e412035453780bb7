"""kwotsin/mimicry, torch_mimicry/nets.

Keys are those of the authors' code, with dots. Upsampling is bilinear. A folder contains netG/netG_100000_steps.pth,
and a file in netD/ for the discriminator. ReLU is in place, so shortcuts read relu(x).

SSGAN's and InfoMax-GAN's generators have the layers of SNGAN's (nets/ssgan, nets/infomax_gan, read at commit 3f60827).
SSGAN's discriminator has a second head l_y, with a bias, for four rotations; InfoMax-GAN's has its blocks in
local_feat_blocks and global_feat_blocks, its head in linear, and projections of features. These heads are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial

from torch import Tensor

from ..assumptions import Options, always
from ..code_base import CodeBase, Mapped, Marks
from ..parts import Part
from ..resnets import (
    DOWN,
    TORCH_NORM,
    DiscriminatorLayout,
    GeneratorLayout,
    Head,
    Leaf,
    Norm,
    layer_keys,
    map_discriminator,
    map_generator,
    n_rows,
    only_row,
)

_CODE = "mimicry's code"
_BLOCK = {name: f"{name}." for name in ("b1", "b2", "c1", "c2", "c_sc")}


def _left_half(x: Tensor) -> Tensor:
    return x[:, : x.shape[1] // 2].contiguous()


def _right_half(x: Tensor) -> Tensor:
    return x[:, x.shape[1] // 2 : x.shape[1] // 2 * 2].contiguous()


_NORMS = (
    Norm("embed.weight", "embed.weight", "bn.", n_rows, _left_half, _right_half),  # a row is (gains, biases)
    TORCH_NORM,  # unconditional
)


def _generator_layers(n: int) -> dict[str, str]:
    last = n + 2
    return layer_keys([f"block{i + 2}." for i in range(n)], _BLOCK, l1="l1.", bn=f"b{last}.", conv=f"c{last}.")


def _is_48px(n: int, keys: Collection[str]) -> bool:
    """The 48-px discriminator has five blocks, but its head is named l5, as at 32 px."""
    return n == 5 and any(key.startswith("l5.") for key in keys)


def _discriminator_layers(n: int, keys: Collection[str]) -> dict[str, str]:
    names = {ours: _BLOCK[ours] for ours in ("c1", "c2", "c_sc")}
    head = 5 if _is_48px(n, keys) else n + 1
    return layer_keys([f"block{i + 1}." for i in range(n)], names, linear=f"l{head}.", embed="l_y.")


def _down(part: Part) -> Mapping[int, tuple[str, int]]:
    return {**DOWN, 5: ("11110", 48)} if _is_48px(5, part.tensors) else DOWN


#: Head and embedding of CGANPDDiscriminator32 use mimicry's own spectral normalisation classes
_OWN_SPECTRAL_NORM = Head(
    leaves={"weight": Leaf("weight"), "bias": Leaf("bias"), "u": Leaf("sn_u", only_row)},
    fields={"head_sn_eval": "iterate"},
    note="uses sn_u: in eval mode, sigma is computed with one more iteration",
)
_GENERATOR = GeneratorLayout(
    code=_CODE,
    layers=_generator_layers,
    norms=_NORMS,
    fields={"bn_eps": 1e-5, "upsample": "bilinear"},
    gain_offset=always(0, _CODE),
)
_DISCRIMINATOR = DiscriminatorLayout(
    code=_CODE,
    layers=_discriminator_layers,
    hidden="in",
    other_head=_OWN_SPECTRAL_NORM,
    fields={"sn_eval": "stored"},
    down=_down,
    shortcut_relu=always(True, _CODE),
)


def _n_local(keys: Collection[str]) -> int:
    """The number of blocks of an InfoMax-GAN discriminator before the global ones."""
    return len({key.split(".")[1] for key in keys if key.startswith("local_feat_blocks.")})


def _infomax_layers(n: int, keys: Collection[str]) -> dict[str, str]:
    local = _n_local(keys)
    blocks = [f"local_feat_blocks.{i}." if i < local else f"global_feat_blocks.{i - local}." for i in range(n)]
    return layer_keys(blocks, {ours: _BLOCK[ours] for ours in ("c1", "c2", "c_sc")}, linear="linear.", embed="l_y.")


#: Further heads: prefixes of their keys, and what they are
_SSGAN_HEAD = (("l_y.",), "SSGAN's head for rotations (l_y.*)")
_INFOMAX_HEADS = (
    ("local_nrkhs_", "global_nrkhs_"),
    "InfoMax-GAN's projections of features (local_nrkhs_*, global_nrkhs_*)",
)
_INFOMAX = replace(_DISCRIMINATOR, layers=_infomax_layers, other_head=None, down=lambda part: DOWN)


def _map_discriminator(part: Part, options: Options, notes: list[str]) -> Mapped:
    layout, left_out = _DISCRIMINATOR, None
    if _n_local(part.tensors):
        layout, left_out = _INFOMAX, _INFOMAX_HEADS
        if _n_local(part.tensors) == 4:
            notes.append("taken for the 64-px network: InfoMax-GAN's 48-px discriminator has the same keys and shapes")
    elif "l_y.bias" in part.tensors:  # an embedding has none
        left_out = _SSGAN_HEAD
    if left_out is None:
        return map_discriminator(layout, part, options, notes)
    prefixes, what = left_out
    notes.append(f"left out: {what}")
    tensors = {key: tensor for key, tensor in part.tensors.items() if not key.startswith(prefixes)}
    return map_discriminator(layout, replace(part, tensors=tensors), options, notes)._replace(left_out=prefixes)


MIMICRY = CodeBase(
    id="mimicry",
    name="mimicry",
    marks=(Marks("discriminator", ("block1.", "l_y.", "local_feat_blocks.")), Marks("generator", ("l1.", "block2."))),
    mappers={
        "generator": partial(map_generator, _GENERATOR),
        "discriminator": _map_discriminator,
    },
    never_read=("sn_sigma",),  # a buffer of mimicry's own spectral normalisation
    tensor_entry="model_state_dict",
    folder_depth=2,
)
