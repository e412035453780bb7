"""A weight file of any family -> our networks, numerically identical.

parts -> family and network, from the keys -> configuration, from the shapes -> every tensor of ours read from theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..networks.mixin import load_tensors
from ..networks.resnet import Discriminator, Generator
from .archive import read_npz, some
from .assumptions import (
    Options,
    choose_class_names,
    choose_gain_offset,
    choose_shortcut_relu,
    is_bgr,
    is_studio_file,
    note_fields,
)
from .families import (
    CODE,
    DOWN,
    DOWN_MIMICRY_48,
    DOWN_STUDIO_64,
    FAMILIES,
    FIELDS,
    NEVER_READ,
    PLAIN,
    SHARED_TABLE,
    SPECTRAL,
    STATISTICS,
    Affine,
    affine,
    discriminator_layers,
    generator_layers,
    last_affine,
    recognise,
)
from .parts import Part, chainer_part, read_parts


@dataclass(frozen=True)
class Converted:
    network: Generator | Discriminator
    family: str
    notes: tuple[str, ...]  # what was recognised, and what was assumed and why

    @property
    def kind(self) -> str:
        return type(self.network).__name__.lower()


def convert_file(path: str | Path, options: Options | None = None, file_name: str | None = None) -> list[Converted]:
    """Every network in a file, in eval mode: generator first. ``file_name``: the published name of a renamed file.

    Raises ``FileNotFoundError``, and ``ValueError`` naming the tensor for whatever is not exactly such a network.
    """
    path = Path(path)
    parts = read_parts(path, file_name or path.name)
    return [_convert(part, options or Options()) for part in parts]


def load_chainer(path: str | Path) -> Generator | Discriminator:
    """The authors' ``ResNetGenerator_<it>.npz`` or ``SNResNet*Discriminator_<it>.npz`` -> the network, in eval mode."""
    return _convert(chainer_part(read_npz(path), str(path), Path(path).name), Options()).network


def from_chainer(arrays: Mapping[str, np.ndarray], source: str = "snapshot") -> Generator | Discriminator:
    """Arrays by Chainer key -> the network, in eval mode."""
    return _convert(chainer_part(arrays, source), Options()).network


# ---------------------------------------------------------------------------------------------------------------------
# One network


def _convert(part: Part, options: Options) -> Converted:
    recognised = recognise(part.tensors)
    if recognised is None:
        raise ValueError(
            f"{part.source}: its keys ({some(list(part.tensors))}) are of no network of "
            f"{', '.join(FAMILIES.values())}; only their SNGAN and projection ResNets are read"
        )
    family, kind = recognised
    notes = [f"{kind} of {FAMILIES[family]}, by its keys ({some(list(part.tensors), 2)}); widths, size and classes by "
             f"its shapes"]  # fmt: skip
    if kind == "generator":
        config, sources = _generator(part, family, options, notes)
    else:
        config, sources = _discriminator(part, family, options, notes)
    config["classes"] = choose_class_names(part, config["n_classes"], family, options, notes)
    cls = Generator if kind == "generator" else Discriminator
    with torch.device("meta"):  # shapes alone: nothing is allocated for what a damaged file claims
        network = cls.from_config(config, part.source)
    tensors = _read(part, sources, network)
    load_tensors(network, tensors, part.source, assign=True)
    return Converted(network.eval(), family, tuple(notes))


Source = tuple[str, Callable[[Tensor], Tensor]]  # the key in the file, and how its value becomes ours


def _generator(part: Part, family: str, options: Options, notes: list[str]) -> tuple[dict[str, Any], dict[str, Source]]:
    n = _count_blocks(part, lambda n: generator_layers(family, n)[f"blocks.{n - 1}.c1"])
    layers = generator_layers(family, n)
    leaves = PLAIN["chainer" if family == "chainer" else "torch"]
    widths = [_shape(part, layers["blocks.0.c1"] + leaves["weight"], 4)[1]]
    widths += [_shape(part, layers[f"blocks.{i}.c1"] + leaves["weight"], 4)[0] for i in range(n)]
    key = layers["l1"] + leaves["weight"]
    rows, z_dim = _shape(part, key, 2)
    bottom = round((rows / widths[0]) ** 0.5)
    if bottom < 1 or bottom**2 * widths[0] != rows:
        raise ValueError(f"{part.source}: {part.prefix}{key} has {rows} rows, which is no square map of {widths[0]} "
                         f"channels")  # fmt: skip
    form = affine(family, layers["blocks.0.b1"], part.tensors)
    n_classes = form.n_classes(_shape(part, layers["blocks.0.b1"] + form.gain, None))
    shared = None
    if family == "studio" and SHARED_TABLE in part.tensors:
        n_classes, _ = _shape(part, SHARED_TABLE, 2)
        shared = part.tensors.pop(SHARED_TABLE)
    config = {"class": "Generator", "size": bottom * 2**n, "n_classes": n_classes, "z_dim": z_dim, "widths": widths,
              "bottom_width": bottom, **FIELDS[family]["generator"]}  # fmt: skip
    note_fields(family, "generator", notes)
    offset = choose_gain_offset(part, family, options, notes) if n_classes else 0
    bgr = is_bgr(part, family, options, notes)

    sources: dict[str, Source] = {}
    for ours, theirs in layers.items():
        if ours.split(".")[-1] in ("b1", "b2", "bn"):
            last = ours == "bn"  # plain in conditional networks too
            sources |= _batch_norm(family, ours, theirs, last_affine(family) if last else form, 0 if last else offset,
                                   shared)  # fmt: skip
        else:
            fold = _reversed_rows if bgr and ours == "conv" else _as_it_is
            sources |= {f"{ours}.{leaf}": (theirs + name, fold) for leaf, name in leaves.items()}
    return config, sources


def _batch_norm(
    family: str, ours: str, theirs: str, form: Affine, offset: int, shared: Tensor | None
) -> dict[str, Source]:
    names = STATISTICS["chainer" if family == "chainer" else "torch"]
    sources: dict[str, Source] = {
        f"{ours}.{leaf}": (theirs + form.statistics + name, _as_it_is) for leaf, name in names.items()
    }
    sources[f"{ours}.weight"] = (theirs + form.gain, lambda x: _raised(form.read_gain(x, shared), offset))
    sources[f"{ours}.bias"] = (theirs + form.bias, lambda x: form.read_bias(x, shared))
    return sources


def _discriminator(
    part: Part, family: str, options: Options, notes: list[str]
) -> tuple[dict[str, Any], dict[str, Source]]:
    n = _count_blocks(part, lambda n: discriminator_layers(family, n, part.tensors)[f"blocks.{n - 1}.c1"])
    if n not in DOWN:
        raise ValueError(f"{part.source}: {n} discriminator blocks; known are {', '.join(map(str, DOWN))}")
    layers = discriminator_layers(family, n, part.tensors)
    leaves = SPECTRAL["chainer" if family == "chainer" else "torch"]
    down, size = DOWN[n]
    if family == "mimicry" and n == 5 and layers["linear"] == "l5.":
        down, size = DOWN_MIMICRY_48
    elif n == 5 and (family == "studio" or is_studio_file(part)):
        down, size = DOWN_STUDIO_64
    c_in, widths = [], []
    for i in range(n):
        c_in.append(_shape(part, layers[f"blocks.{i}.c1"] + leaves["weight"], 4)[1])
        widths.append(_shape(part, layers[f"blocks.{i}.c2"] + leaves["weight"], 4)[0])
    fields = dict(FIELDS[family]["discriminator"])
    for i in range(1, n):  # shapes win where they tell
        hidden = _shape(part, layers[f"blocks.{i}.c1"] + leaves["weight"], 4)[0]
        if c_in[i] != widths[i] and hidden in (c_in[i], widths[i]):
            fields["hidden"] = "in" if hidden == c_in[i] else "out"
    # The authors' 32-px head has no bias; nor had mmgeneration's, once, unless a run asked for it.
    may_lack_bias = family == "mmgen" or (family == "chainer" and n == 4)
    head_bias = not may_lack_bias or layers["linear"] + leaves["bias"] in part.tensors
    config: dict[str, Any] = {"class": "Discriminator", "size": size, "n_classes": 0, "widths": widths, "down": down,
                              "head_bias": head_bias, **fields}  # fmt: skip
    head = leaves
    if family == "mimicry" and layers["linear"] + SPECTRAL["mimicry_head"]["u"] in part.tensors:
        head = SPECTRAL["mimicry_head"]
        config["head_sn_eval"] = "iterate"
        notes.append(f"its head ({layers['linear']}*, {layers['embed']}*) iterates for sigma in eval mode too: sn_u")
    conditional = any(key.startswith(layers["embed"]) for key in part.tensors)
    if conditional:
        config["n_classes"], dim = _shape(part, layers["embed"] + head["weight"], 2)
        after = [i for i in range(1, n) if c_in[i] == widths[i - 1] + dim and c_in[i] != widths[i - 1]]
        if family == "chainer" and after:
            config |= {"conditioning": "concat", "embedding_dim": dim, "concat_after": after[0]}
    if config["head_bias"] != (family != "chainer" or n != 4):
        notes.append(f"head bias {'present' if config['head_bias'] else 'absent'}, by its keys")
    note_fields(family, "discriminator", notes)
    notes.append(f"down {down} for {size} px: {CODE[family]}")
    config["shortcut_relu"] = choose_shortcut_relu(part, family, options, notes)
    bgr = is_bgr(part, family, options, notes)

    sources: dict[str, Source] = {}
    for ours, theirs in layers.items():
        if ours.endswith(".c_sc"):
            i = int(ours.split(".")[1])
            if down[i] == "0" and c_in[i] == widths[i]:
                continue
        if ours == "embed" and not conditional:
            continue
        names = head if ours in ("linear", "embed") else leaves
        for leaf, name in names.items():
            if leaf == "bias" and (ours == "embed" or (ours == "linear" and not config["head_bias"])):
                continue
            read = _only_row if leaf == "u" and name != "weight_u" else _as_it_is
            if bgr and ours in ("blocks.0.c1", "blocks.0.c_sc"):
                read = {"weight": _reversed_inputs, "v": _reversed_patches}.get(leaf, read)
            sources[f"{ours}.{leaf}"] = (theirs + name, read)
    return config, sources


def _count_blocks(part: Part, prefix: Callable[[int], str]) -> int:
    n = 0
    while any(key.startswith(prefix(n + 1)) for key in part.tensors):
        n += 1
    if not n:
        raise ValueError(f"{part.source}: {part.prefix}{prefix(1)}* is missing")
    return n


def _shape(part: Part, key: str, dims: int | None) -> tuple[int, ...]:
    tensor = part.tensors.get(key)
    if tensor is None:
        raise ValueError(f"{part.source}: {part.prefix}{key} is missing")
    if (dims is not None and tensor.ndim != dims) or 0 in tensor.shape or (dims is None and tensor.ndim not in (1, 2)):
        raise ValueError(f"{part.source}: {part.prefix}{key} has shape {tuple(tensor.shape)}, which is no such layer's")
    return tuple(tensor.shape)


def _read(part: Part, sources: dict[str, Source], network: Generator | Discriminator) -> dict[str, Tensor]:
    """Every tensor of ours from theirs; refuses missing, surplus, misshaped and wrongly typed ones by name."""
    expected = network.state_dict()
    used = {key for key, _ in sources.values()}
    problems = [f"{key} is missing" for key, _ in sources.values() if key not in part.tensors]
    for key in part.tensors:
        if key not in used and not key.endswith(f".{NEVER_READ}"):
            problems.append(f"{key} is not a tensor of this network")
    tensors = {}
    for ours, (key, read) in sources.items():
        theirs = part.tensors.get(key)
        if theirs is None or ours not in expected:
            continue
        if theirs.dtype != expected[ours].dtype:
            problems.append(f"{key} is {_dtype(theirs)}, expected {_dtype(expected[ours])}")
            continue
        if theirs.is_floating_point() and not torch.isfinite(theirs).all():
            problems.append(f"{key} holds values that are not finite")
            continue
        try:
            value = read(theirs)
        except (RuntimeError, IndexError) as error:
            problems.append(f"{key} has shape {tuple(theirs.shape)}, which does not fit ({str(error).splitlines()[0]})")
            continue
        if value.shape != expected[ours].shape:
            problems.append(
                f"{key} has shape {tuple(theirs.shape)}, expected {_expected(read, theirs, value, expected[ours])}"
            )
        elif ours.endswith("running_var") and (value < 0).any():
            problems.append(f"{key} holds a negative variance")
        else:
            tensors[ours] = value.clone()  # the file's own memory is let go
    if problems:
        problems = [part.prefix + problem for problem in dict.fromkeys(problems)]
        raise ValueError(f"{part.source}: {some(problems, 5, '; ')}")
    return tensors


def _expected(read: Callable, theirs: Tensor, value: Tensor, ours: Tensor) -> tuple[int, ...]:
    """The shape to ask for, as files have it: transposed where reading transposes, with Chainer's leading 1 of u."""
    if read is _only_row:
        return (1, *ours.shape)
    return tuple(reversed(ours.shape)) if tuple(value.shape) == tuple(reversed(theirs.shape)) else tuple(ours.shape)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


# How a stored value becomes ours


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _raised(gain: Tensor, offset: int) -> Tensor:
    return gain + offset if offset else gain  # + 0 would turn -0.0 into 0.0


def _only_row(x: Tensor) -> Tensor:  # Chainer's and mimicry's own u are (1, rows); others keep a wrong shape
    return x[0] if x.ndim == 2 and len(x) == 1 else x[None]


def _reversed_rows(x: Tensor) -> Tensor:  # BGR out -> RGB out
    return x.flip(0)


def _reversed_inputs(x: Tensor) -> Tensor:  # BGR in -> RGB in
    return x.flip(1)


def _reversed_patches(v: Tensor) -> Tensor:  # v runs over (channel, row, column) of a kernel
    return v.view(3, -1).flip(0).flatten()
