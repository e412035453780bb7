"""POSTECH-CVLab/PyTorch-StudioGAN, models/resnet.py, since 2020.

A folder contains a ``best`` and a ``current`` file for each network. The discriminator's file contains the name of the
run, which begins with the name of the data set. ReLU is in place, so shortcuts read relu(x). Class gains are stored
minus 1.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from torch import Tensor

from ..assumptions import always
from ..code_base import CodeBase, Marks
from ..parts import Part
from ..resnets import (
    DOWN,
    TORCH_NORM,
    DiscriminatorLayout,
    GeneratorLayout,
    Norm,
    layer_keys,
    map_discriminator,
    map_generator,
    n_rows,
)

_CODE = "StudioGAN's code"
_BLOCK = {"b1": "bn1.", "b2": "bn2.", "c1": "conv2d1.", "c2": "conv2d2.", "c_sc": "conv2d0."}


def _transposed(x: Tensor) -> Tensor:
    """Converts a Linear without bias on one-hot labels."""
    return x.t().contiguous()


def _of_shared(x: Tensor, shared: Tensor) -> Tensor:
    """Converts a Linear without bias on the class embedding."""
    return shared @ x.t()


_NORMS = (
    # January to March 2022: linear in a class embedding that all norms share
    Norm("gain.weight", "bias.weight", "bn.", lambda _, shared: shared[0], _of_shared, _of_shared, "shared.weight"),
    Norm("gain.weight", "bias.weight", "bn.", lambda shape: shape[1], _transposed, _transposed),  # since March 2022
    Norm("embed0.weight", "embed1.weight", "bn.", n_rows),  # 2020 and 2021
    TORCH_NORM,  # unconditional
)


def _generator_layers(n: int) -> dict[str, str]:
    return layer_keys([f"blocks.{i}.0." for i in range(n)], _BLOCK, l1="linear0.", bn="bn4.", conv="conv2d5.")


def _discriminator_layers(n: int, keys: Collection[str]) -> dict[str, str]:
    names = {ours: _BLOCK[ours] for ours in ("c1", "c2", "c_sc")}
    return layer_keys([f"blocks.{i}.0." for i in range(n)], names, linear="linear1.", embed="embedding.")


def _run_name(part: Part) -> str:
    name = part.metadata.get("run_name")
    return name if isinstance(name, str) else ""


_GENERATOR = GeneratorLayout(
    code=_CODE,
    layers=_generator_layers,
    norms=_NORMS,
    fields={"bn_eps": 1e-4},
    gain_offset=always(1, _CODE),
)
_DISCRIMINATOR = DiscriminatorLayout(
    code=_CODE,
    layers=_discriminator_layers,
    hidden="out",
    fields={"sn_eval": "stored"},
    down=lambda part: {**DOWN, 5: ("11110", 64)},  # at 64 px, the last block does not downsample
    shortcut_relu=always(True, _CODE),
)
STUDIOGAN = CodeBase(
    id="studio",
    name="StudioGAN",
    marks=(
        Marks("generator", ("linear0.", "conv2d5.", "bn4.")),
        Marks("discriminator", ("linear1.", "blocks.0.0.conv2d0.", "embedding.")),
    ),
    mappers={
        "generator": partial(map_generator, _GENERATOR),
        "discriminator": partial(map_discriminator, _DISCRIMINATOR),
    },
    tensor_entry="state_dict",
    metadata_entries=("run_name",),
    preferred=("-best-", "-current-"),
    data_name=_run_name,
)
