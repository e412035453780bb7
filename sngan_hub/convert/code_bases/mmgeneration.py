"""open-mmlab/mmgeneration 0.7.3, models/architectures/sngan_proj.

A file contains both networks under ``generator.`` and ``discriminator.``, and the configuration of the run as Python
text in ``meta``. The tensors do not show whether ReLU is in place (then shortcuts read relu(x)), whether gains are
stored minus 1, and that images are BGR. Two published files, named convert-studio, contain networks of StudioGAN.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from ..archive import some
from ..assumptions import Assumed
from ..code_base import CodeBase, Marks
from ..parts import Container, Part
from ..resnets import (
    DOWN,
    DiscriminatorLayout,
    GeneratorLayout,
    Norm,
    layer_keys,
    map_discriminator,
    map_generator,
    n_rows,
)

_CODE = "mmgeneration's code"
_BLOCK = {"b1": "norm_1.", "b2": "norm_2.", "c1": "conv_1.conv.", "c2": "conv_2.conv.", "c_sc": "shortcut.conv."}
_PREFIXES = ("generator.", "discriminator.")
_NORMS = (
    Norm("weight_embedding.weight", "bias_embedding.weight", "norm.", n_rows),
    Norm("norm.weight", "norm.bias", "norm."),  # unconditional; the last norm is not nested
)


def _generator_layers(n: int) -> dict[str, str]:
    blocks = [f"conv_blocks.{i}." for i in range(n)]
    return layer_keys(blocks, _BLOCK, l1="noise2feat.", bn="to_rgb.bn.", conv="to_rgb.conv.")


def _discriminator_layers(n: int, keys: Collection[str]) -> dict[str, str]:
    blocks = ["from_rgb.", *(f"conv_blocks.{i}." for i in range(n - 1))]
    names = {ours: _BLOCK[ours] for ours in ("c1", "c2", "c_sc")}
    return layer_keys(blocks, names, linear="decision.", embed="proj_y.")


def _split(container: Container) -> list[Part]:
    surplus = [key for key in container.entries if not key.startswith(_PREFIXES)]
    if len(surplus) == len(container.entries):
        return []
    if surplus:
        raise ValueError(f"{container.source}: {some(surplus)} belong to neither generator nor discriminator")
    present = [prefix for prefix in _PREFIXES if any(key.startswith(prefix) for key in container.entries)]
    return [container.part(prefix) for prefix in present]


# ---------------------------------------------------------------------------------------------------------------------
# Settings that tensors do not contain


def _is_studiogans(part: Part) -> bool:
    return "convert-studio" in part.file_name


def _down(part: Part) -> Mapping[int, tuple[str, int]]:
    return {**DOWN, 5: ("11110", 64)} if _is_studiogans(part) else DOWN


def _gain_offset(part: Part) -> Assumed:
    """The code adds 1 if the init is biggan (the default) or studio."""
    offset, why = 1, "mmgeneration's default; the file's configuration does not state the init"
    init = _settings(part, "generator").get("init_cfg")
    kind = str(init.get("type", "")).lower() if isinstance(init, dict) else ""
    if kind:
        offset, why = int(kind in ("biggan", "studio")), f"the file's configuration has init {kind!r}"
    return Assumed(offset, why + "; --gain-offset overrides")


def _shortcut_relu(part: Part) -> Assumed:
    act = _settings(part, "discriminator").get("act_cfg")
    if isinstance(act, dict) and "inplace" in act and not _is_studiogans(part):
        value, why = bool(act["inplace"]), "the file's configuration"
    elif _is_studiogans(part):
        value, why = True, "trained by StudioGAN, whose relu is in place (file name)"
    elif named := re.search(r"_(wo|w)ReLUinplace", part.file_name):
        value, why = named[1] == "w", f"file name ({named[0][1:]})"
    else:
        value, why = False, "mmgeneration's default; neither the configuration nor the file name states it"
    return Assumed(value, why + "; --shortcut-relu overrides")


def _channel_order(part: Part) -> Assumed:
    order, why = "bgr", "mmgeneration trains on BGR; folded into the weights"
    if _is_studiogans(part):
        order, why = "rgb", "trained by StudioGAN (file name)"
    return Assumed(order, why + "; --channel-order overrides")


def _settings(part: Part, network: str) -> dict[str, Any]:
    """A network's settings from the stored configuration: {"init_cfg": {"type": ...}, ...}, or an empty dict.

    The configuration is Python text. It is parsed and never executed.
    """
    meta = part.metadata.get("meta")
    text = meta.get("config") if isinstance(meta, dict) else None
    if not isinstance(text, str):
        return {}
    try:
        tree = ast.parse(text[:1_000_000])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "model" for t in node.targets):
            model = _literal(node.value)
            if isinstance(model, dict):
                settings = model.get(network)
                return settings if isinstance(settings, dict) else {}
    return {}


def _literal(node: ast.AST) -> Any:
    """``dict(a=1, b=dict(...))`` and literals -> values; None for anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return {keyword.arg: _literal(keyword.value) for keyword in node.keywords if keyword.arg}
    if isinstance(node, ast.Dict):
        return {
            k.value: _literal(v) for k, v in zip(node.keys, node.values, strict=True) if isinstance(k, ast.Constant)
        }
    return node.value if isinstance(node, ast.Constant) else None


# ---------------------------------------------------------------------------------------------------------------------
# The record

_GENERATOR = GeneratorLayout(
    code=_CODE,
    layers=_generator_layers,
    norms=_NORMS,
    fields={"bn_eps": 1e-4},
    gain_offset=_gain_offset,
    channel_order=_channel_order,
)
_DISCRIMINATOR = DiscriminatorLayout(
    code=_CODE,
    layers=_discriminator_layers,
    hidden="out",
    fields={"sn_eval": "stored"},
    down=_down,
    head_bias_varies=lambda n: True,  # until July 2021 the bias was optional
    shortcut_relu=_shortcut_relu,
    channel_order=_channel_order,
)
MMGENERATION = CodeBase(
    id="mmgen",
    name="mmgeneration",
    marks=(
        Marks("generator", ("noise2feat.", "to_rgb.")),
        Marks("discriminator", ("from_rgb.", "decision.", "proj_y.")),
    ),
    mappers={
        "generator": partial(map_generator, _GENERATOR),
        "discriminator": partial(map_discriminator, _DISCRIMINATOR),
    },
    tensor_entry="state_dict",
    metadata_entries=("meta",),
    split=_split,
)
