"""GongXinyuu/sngan.pytorch, models/sngan_cifar10.py: unconditional, 32 px.

Read at commits 5f4ecd3 and f56abfa (models), 3d92616 (train.py, README). Keys are mimicry's, but upsampling is nearest,
ReLU is not in place, and the discriminator's head has no bias. A checkpoint contains both networks, and the average of
the generator's weights, which its test.py loads; a file may also be the generator's state_dict alone. As the keys of
such a file fit mimicry too, the code base must be given for it.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from ..assumptions import always
from ..code_base import CodeBase, Marks
from ..parts import Container, Part
from ..resnets import (
    TORCH_NORM,
    DiscriminatorLayout,
    GeneratorLayout,
    layer_keys,
    map_discriminator,
    map_generator,
)

_CODE = "sngan.pytorch's code"
_CONVOLUTIONS = {name: f"{name}." for name in ("c1", "c2", "c_sc")}


def _generator_layers(n: int) -> dict[str, str]:
    names = {"b1": "b1.", "b2": "b2.", **_CONVOLUTIONS}
    return layer_keys([f"block{i + 2}." for i in range(n)], names, l1="l1.", bn=f"b{n + 2}.", conv=f"c{n + 2}.")


def _discriminator_layers(n: int, keys: Collection[str]) -> dict[str, str]:
    return layer_keys([f"block{i + 1}." for i in range(n)], _CONVOLUTIONS, linear=f"l{n + 1}.", embed="l_y.")


#: The average comes first: where there is one, the other generator is left out
_ENTRIES = ("avg_gen_state_dict", "gen_state_dict", "dis_state_dict")


def _split(container: Container) -> list[Part]:
    present = [entry for entry in _ENTRIES if any(key.startswith(f"{entry}/") for key in container.entries)]
    if _ENTRIES[0] in present:
        present = [entry for entry in present if entry != _ENTRIES[1]]
    return [container.part(f"{entry}/", "sngan_pytorch") for entry in present]


_GENERATOR = GeneratorLayout(code=_CODE, layers=_generator_layers, norms=(TORCH_NORM,), fields={"bn_eps": 1e-5})
_DISCRIMINATOR = DiscriminatorLayout(
    code=_CODE,
    layers=_discriminator_layers,
    hidden="in",
    fields={"sn_eval": "stored"},
    head_bias=lambda n: False,
    shortcut_relu=always(False, _CODE),
)
SNGAN_PYTORCH = CodeBase(
    id="sngan_pytorch",
    name="sngan.pytorch",
    marks=(Marks("discriminator", ("block1.",)), Marks("generator", ("l1.", "block2."))),
    mappers={
        "generator": partial(map_generator, _GENERATOR),
        "discriminator": partial(map_discriminator, _DISCRIMINATOR),
    },
    by_keys=False,
    network_entries=_ENTRIES,
    split=_split,
)
