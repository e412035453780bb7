"""The authors' Chainer code: pfnet-research/sngan_projection, gen_models/ and dis_models/.

The defaults of our networks' fields are theirs. A file is an npz of ``chainer.serializers.save_npz``: one network
(ResNetGenerator_850000.npz), or a whole trainer (snapshot_iter_850000) with both networks, optimizers and extensions.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from ..assumptions import always
from ..code_base import CodeBase, Marks
from ..parts import Container, Part
from ..resnets import (
    DiscriminatorLayout,
    GeneratorLayout,
    Leaf,
    Norm,
    layer_keys,
    map_discriminator,
    map_generator,
    n_rows,
    only_row,
)

CODE = "the authors' code"
STATISTICS = {"running_mean": "avg_mean", "running_var": "avg_var", "num_batches_tracked": "N"}
UNCONDITIONAL = Norm("gamma", "beta")
CONDITIONAL = Norm("gammas/W", "betas/W", n_classes=n_rows)
_BLOCK = {name: f"{name}/" for name in ("b1", "b2", "c1", "c2", "c_sc")}
_TRAINER_PREFIXES = ("updater/model:opt_gen/", "updater/model:opt_dis/")


def _generator_layers(n: int) -> dict[str, str]:
    last = n + 2
    conv = "c5/" if n == 3 else f"l{last}/"  # named c5 at 32 px, and l6, l7, l8 at other sizes
    return layer_keys([f"block{i + 2}/" for i in range(n)], _BLOCK, l1="l1/", bn=f"b{last}/", conv=conv)


def _discriminator_layers(n: int, keys: Collection[str] = ()) -> dict[str, str]:
    names = {ours: _BLOCK[ours] for ours in ("c1", "c2", "c_sc")}
    return layer_keys([f"block{i + 1}/" for i in range(n)], names, linear=f"l{n + 1}/", embed="l_y/")


def has_head_bias(n: int) -> bool:
    """The 32-px discriminator, of four blocks, has no bias in its head (dis_models/snresnet_32.py)."""
    return n != 4


GENERATOR = GeneratorLayout(
    code=CODE,
    layers=_generator_layers,
    norms=(CONDITIONAL, UNCONDITIONAL),
    last_norm=UNCONDITIONAL,
    leaves={"weight": Leaf("W"), "bias": Leaf("b")},
    statistics=STATISTICS,
    gain_offset=always(0, CODE),
)
DISCRIMINATOR = DiscriminatorLayout(
    code=CODE,
    layers=_discriminator_layers,
    hidden="in",
    leaves={"weight": Leaf("W"), "bias": Leaf("b"), "u": Leaf("u", only_row)},
    head_bias=has_head_bias,
    head_bias_varies=lambda n: not has_head_bias(n),
    concat=True,  # SNResNetConcatDiscriminator
    shortcut_relu=always(False, CODE),
)


def _split(container: Container) -> list[Part]:
    """Splits a whole-trainer snapshot into generator and discriminator; ignores optimizers and extensions."""
    if not any(key.startswith(_TRAINER_PREFIXES) for key in container.entries):
        return []
    return [container.part(prefix) for prefix in _TRAINER_PREFIXES]


CHAINER = CodeBase(
    id="chainer",
    name="the authors' Chainer code",
    marks=(Marks("discriminator", ("block1/", "l_y/")), Marks("generator", ("l1/", "block2/"))),
    mappers={
        "generator": partial(map_generator, GENERATOR),
        "discriminator": partial(map_discriminator, DISCRIMINATOR),
    },
    split=_split,
    is_copy=lambda file_name: file_name.startswith("snapshot_iter_") and "." not in file_name,
    class_lists={143: ("dogs_and_cats", "143 classes, as in the authors' dog-and-cat sets")},
)
