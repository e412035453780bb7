"""A weight file of any family -> our networks, numerically identical.

file -> parts (one network's tensors each) -> family and network, from the keys -> configuration, from the shapes ->
every tensor of ours read from theirs. What tensors cannot tell is assumed; each assumption is noted with its reason.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..classes import CLASS_LISTS, class_list
from ..mixin import load_tensors
from ..resnet import Discriminator, Generator
from .archive import file_kind, read_npz, read_torch, shown
from .families import (
    CODE,
    DOWN,
    DOWN_MIMICRY_48,
    DOWN_STUDIO_64,
    FAMILIES,
    FIELDS,
    GAIN_OFFSETS,
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
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What a user may say about a file; None leaves it to the file."""

    gain_offset: int | None = None  # 0 or 1: added to the stored gains of the classes
    shortcut_relu: bool | None = None  # discriminators: whether shortcuts read relu(x)
    channel_order: str | None = None  # of the images that the networks were trained on: rgb or bgr
    classes: tuple[str, ...] | None = None  # names, in label order

    def __post_init__(self) -> None:
        for name, legal in (("gain_offset", (None, 0, 1)), ("channel_order", (None, "rgb", "bgr"))):
            if getattr(self, name) not in legal:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, legal are {legal[1]} and {legal[2]}")


@dataclass(frozen=True)
class Converted:
    network: Generator | Discriminator
    family: str
    notes: tuple[str, ...]  # what was recognised, and what was assumed and why

    @property
    def kind(self) -> str:
        return type(self.network).__name__.lower()


@dataclass
class _Part:
    """One network's tensors in a file, under the file's own keys."""

    source: str
    tensors: dict[str, Tensor]
    prefix: str = ""  # what the file puts before each of these keys
    file_name: str = ""  # as published: it tells what tensors cannot
    settings: Mapping[str, Any] = field(default_factory=dict)  # of this network, from the run's stored configuration
    run_name: str = ""


# ---------------------------------------------------------------------------------------------------------------------
# File -> networks


def convert_file(path: str | Path, options: Options | None = None, file_name: str | None = None) -> list[Converted]:
    """Every network in a file, in eval mode: generator first. ``file_name``: the published name of a renamed file.

    Raises ``FileNotFoundError``, and ``ValueError`` naming the tensor for whatever is not exactly such a network.
    """
    path = Path(path)
    parts = _parts(path, file_name or path.name)
    return [_convert(part, options or Options()) for part in parts]


def load_chainer(path: str | Path) -> Generator | Discriminator:
    """The authors' ``ResNetGenerator_<it>.npz`` or ``SNResNet*Discriminator_<it>.npz`` -> the network, in eval mode."""
    return _convert(_chainer_part(read_npz(path), str(path), Path(path).name), Options()).network


def from_chainer(arrays: Mapping[str, np.ndarray], source: str = "snapshot") -> Generator | Discriminator:
    """Arrays by Chainer key -> the network, in eval mode."""
    return _convert(_chainer_part(arrays, source), Options()).network


_TRAINER_PREFIXES = ("updater/model:opt_gen/", "updater/model:opt_dis/")
_MMGEN_PREFIXES = ("generator.", "discriminator.")


def _parts(path: Path, file_name: str) -> list[_Part]:
    source = str(path)
    if file_kind(path) == "npz":
        arrays = read_npz(path)
        if any(key.startswith(_TRAINER_PREFIXES) for key in arrays):  # the authors' whole-trainer snapshot
            return [
                _chainer_part({k: v for k, v in arrays.items() if k.startswith(prefix)}, source, file_name, prefix)
                for prefix in _TRAINER_PREFIXES
            ]
        return [_chainer_part(arrays, source, file_name)]
    content = read_torch(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a {type(content).__name__}, expected a dictionary of tensors")
    tensors = next((content[key] for key in ("state_dict", "model_state_dict") if key in content), content)
    if not isinstance(tensors, dict) or not tensors:
        raise ValueError(f"{path}: its state_dict is no dictionary of tensors")
    for key, tensor in tensors.items():
        _check_tensor(source, key, tensor)
    settings = _mmgen_settings(content.get("meta"))
    run_name = content.get("run_name")
    run_name = run_name if isinstance(run_name, str) else ""
    parts = []
    for prefix in _MMGEN_PREFIXES:
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        if own:
            kind = prefix.removesuffix(".")
            parts.append(_Part(source, own, prefix, file_name, settings.get(kind, {}), run_name))
    if not parts:
        return [_Part(source, dict(tensors), "", file_name, {}, run_name)]
    surplus = [key for key in tensors if not key.startswith(_MMGEN_PREFIXES)]
    if surplus:
        raise ValueError(f"{path}: {_some(surplus)}: neither of a generator nor of a discriminator")
    return parts


def _check_tensor(source: str, key: Any, tensor: Any) -> None:
    if not isinstance(key, str) or not isinstance(tensor, Tensor):
        raise ValueError(f"{source}: {key!r} is a {type(tensor).__name__}, expected a tensor")
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise ValueError(f"{source}: {key} is no plain tensor in memory")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"{source}: {key} claims {tensor.numel():,} values, more than the file holds for it")


def _chainer_part(arrays: Mapping[str, np.ndarray], source: str, file_name: str = "", prefix: str = "") -> _Part:
    tensors = {}
    for key, array in arrays.items():
        if array.dtype.kind not in "fiub" or array.dtype.byteorder == ">":
            raise ValueError(f"{source}: {key} is {array.dtype}, expected float32")
        tensors[key.removeprefix(prefix)] = torch.from_numpy(np.array(array))
    return _Part(source, tensors, prefix, file_name)


# ---------------------------------------------------------------------------------------------------------------------
# One network


def _convert(part: _Part, options: Options) -> Converted:
    recognised = recognise(part.tensors)
    if recognised is None:
        raise ValueError(
            f"{part.source}: its keys ({_some(list(part.tensors))}) are of no network of "
            f"{', '.join(FAMILIES.values())}; only their SNGAN and projection ResNets are read"
        )
    family, kind = recognised
    notes = [f"{kind} of {FAMILIES[family]}, by its keys ({_some(list(part.tensors), 2)}); widths, size and classes by "
             f"its shapes"]  # fmt: skip
    if kind == "generator":
        config, sources = _generator(part, family, options, notes)
    else:
        config, sources = _discriminator(part, family, options, notes)
    config["classes"] = _class_names(part, config["n_classes"], family, options, notes)
    cls = Generator if kind == "generator" else Discriminator
    with torch.device("meta"):  # shapes alone: nothing is allocated for what a damaged file claims
        network = cls.from_config(config, part.source)
    tensors = _read(part, sources, network)
    load_tensors(network, tensors, part.source, assign=True)
    return Converted(network.eval(), family, tuple(notes))


Source = tuple[str, Callable[[Tensor], Tensor]]  # the key in the file, and how its value becomes ours


def _generator(
    part: _Part, family: str, options: Options, notes: list[str]
) -> tuple[dict[str, Any], dict[str, Source]]:
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
    shared = part.tensors.get(SHARED_TABLE) if family == "studio" else None
    n_classes = form.n_classes(_shape(part, layers["blocks.0.b1"] + form.gain, None))
    if shared is not None:
        n_classes = len(shared)
    config = {"class": "Generator", "size": bottom * 2**n, "n_classes": n_classes, "z_dim": z_dim, "widths": widths,
              "bottom_width": bottom, **FIELDS[family]["generator"]}  # fmt: skip
    _note_fields(family, "generator", notes)
    offset = _gain_offset(part, family, options, notes) if n_classes else 0
    bgr = _is_bgr(part, family, options, notes)

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
    sources[f"{ours}.weight"] = (theirs + form.gain, lambda x: form.read_gain(x, shared) + offset)
    sources[f"{ours}.bias"] = (theirs + form.bias, lambda x: form.read_bias(x, shared))
    return sources


def _discriminator(
    part: _Part, family: str, options: Options, notes: list[str]
) -> tuple[dict[str, Any], dict[str, Source]]:
    n = _count_blocks(part, lambda n: discriminator_layers(family, n, part.tensors)[f"blocks.{n - 1}.c1"])
    if n not in DOWN:
        raise ValueError(f"{part.source}: {n} discriminator blocks; known are {', '.join(map(str, DOWN))}")
    layers = discriminator_layers(family, n, part.tensors)
    leaves = SPECTRAL["chainer" if family == "chainer" else "torch"]
    down, size = DOWN[n]
    if family == "mimicry" and layers["linear"] == "l5.":
        down, size = DOWN_MIMICRY_48 if n == 5 else DOWN[n]
    elif n == 5 and (family == "studio" or _is_studio_file(part)):
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
    _note_fields(family, "discriminator", notes)
    notes.append(f"down {down} for {size} px: {CODE[family]}")
    config["shortcut_relu"] = _shortcut_relu(part, family, options, notes)
    bgr = _is_bgr(part, family, options, notes)

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


def _count_blocks(part: _Part, prefix: Callable[[int], str]) -> int:
    n = 0
    while any(key.startswith(prefix(n + 1)) for key in part.tensors):
        n += 1
    if not n:
        raise ValueError(f"{part.source}: {part.prefix}{prefix(1)}* is missing")
    return n


def _shape(part: _Part, key: str, dims: int | None) -> tuple[int, ...]:
    tensor = part.tensors.get(key)
    if tensor is None:
        raise ValueError(f"{part.source}: {part.prefix}{key} is missing")
    if (dims is not None and tensor.ndim != dims) or 0 in tensor.shape or (dims is None and tensor.ndim not in (1, 2)):
        raise ValueError(f"{part.source}: {part.prefix}{key} has shape {tuple(tensor.shape)}, which is no such layer's")
    return tuple(tensor.shape)


def _read(part: _Part, sources: dict[str, Source], network: Generator | Discriminator) -> dict[str, Tensor]:
    """Every tensor of ours from theirs; refuses missing, surplus, misshaped and wrongly typed ones by name."""
    expected = network.state_dict()
    used = {key for key, _ in sources.values()} | {SHARED_TABLE}
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
        raise ValueError(f"{part.source}: {_some(problems, 5, '; ')}")
    return tensors


def _expected(read: Callable, theirs: Tensor, value: Tensor, ours: Tensor) -> tuple[int, ...]:
    """The shape to ask for, as files have it: transposed where reading transposes, with Chainer's leading 1 of u."""
    if read is _only_row:
        return (1, *ours.shape)
    return tuple(reversed(ours.shape)) if tuple(value.shape) == tuple(reversed(theirs.shape)) else tuple(ours.shape)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _some(names: list[str], n: int = 3, separator: str = ", ") -> str:
    return separator.join(map(shown, names[:n])) + (f"{separator}and {len(names) - n} more" if len(names) > n else "")


# How a stored value becomes ours


def _as_it_is(x: Tensor) -> Tensor:
    return x


def _only_row(x: Tensor) -> Tensor:  # Chainer's and mimicry's own u are (1, rows); others keep a wrong shape
    return x[0] if x.ndim == 2 and len(x) == 1 else x[None]


def _reversed_rows(x: Tensor) -> Tensor:  # BGR out -> RGB out
    return x.flip(0)


def _reversed_inputs(x: Tensor) -> Tensor:  # BGR in -> RGB in
    return x.flip(1)


def _reversed_patches(v: Tensor) -> Tensor:  # v runs over (channel, row, column) of a kernel
    return v.view(3, -1).flip(0).flatten()


# ---------------------------------------------------------------------------------------------------------------------
# What tensors cannot tell


def _mmgen_settings(meta: Any) -> dict[str, dict[str, Any]]:
    """generator's and discriminator's settings in mmgeneration's stored configuration, a Python text that is parsed and
    never run: {"generator": {"init_cfg": {"type": ...}, ...}, ...}, empty where it says nothing.
    """
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
                return {k: v for k, v in model.items() if k in ("generator", "discriminator") and isinstance(v, dict)}
    return {}


def _literal(node: ast.AST) -> Any:
    """``dict(a=1, b=dict(...))`` and literals -> values; None for anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return {keyword.arg: _literal(keyword.value) for keyword in node.keywords if keyword.arg}
    if isinstance(node, ast.Dict):
        return {_literal(k): _literal(v) for k, v in zip(node.keys, node.values, strict=True) if k is not None}
    return node.value if isinstance(node, ast.Constant) else None


def _is_studio_file(part: _Part) -> bool:
    return "convert-studio" in part.file_name


def _note_fields(family: str, kind: str, notes: list[str]) -> None:
    fields = {k: v for k, v in FIELDS[family][kind].items() if k not in ("hidden", "shortcut_relu")}
    if fields:
        said = ", ".join(f"{name} {value}" for name, value in fields.items())
        notes.append(f"{said}: {CODE[family]}")


def _gain_offset(part: _Part, family: str, options: Options, notes: list[str]) -> int:
    if options.gain_offset is not None:
        notes.append(f"gain_offset {options.gain_offset}: as asked")
        return options.gain_offset
    offset, why = GAIN_OFFSETS[family], f"{CODE[family]}"
    if family == "mmgen":
        init = part.settings.get("init_cfg")
        kind = str(init.get("type", "")).lower() if isinstance(init, dict) else ""
        if kind:
            offset = int(kind in ("biggan", "studio"))
            why = f"the file's configuration has init {kind!r}"
        else:
            why = "mmgeneration's default, and the file's configuration names no init"
        why += "; --gain-offset overrides"
    notes.append(f"gain_offset {offset}: {why}")
    return offset


def _shortcut_relu(part: _Part, family: str, options: Options, notes: list[str]) -> bool:
    if options.shortcut_relu is not None:
        notes.append(f"shortcut_relu {options.shortcut_relu}: as asked")
        return options.shortcut_relu
    value, why = FIELDS[family]["discriminator"].get("shortcut_relu", False), f"{CODE[family]}"
    if family == "mmgen":
        act = part.settings.get("act_cfg")
        if isinstance(act, dict) and "inplace" in act and not _is_studio_file(part):
            value, why = bool(act["inplace"]), "the file's configuration"
        elif _is_studio_file(part):
            value, why = True, "trained by StudioGAN, whose relu is in place (file name)"
        elif named := re.search(r"_(wo|w)ReLUinplace", part.file_name):
            value, why = named[1] == "w", f"file name ({named[0][1:]})"
        else:
            why = "mmgeneration's default, and neither configuration nor file name says more"
        why += "; --shortcut-relu overrides"
    notes.append(f"shortcut_relu {value}: {why}")
    return value


def _is_bgr(part: _Part, family: str, options: Options, notes: list[str]) -> bool:
    if options.channel_order is not None:
        notes.append(f"channel order {options.channel_order}: as asked")
        return options.channel_order == "bgr"
    if family != "mmgen":
        return False
    bgr = not _is_studio_file(part)
    why = "mmgeneration trains on BGR; folded into the weights" if bgr else "trained by StudioGAN (file name)"
    notes.append(f"channel order {'bgr' if bgr else 'rgb'}: {why}; --channel-order overrides")
    return bgr


def _class_names(part: _Part, n: int, family: str, options: Options, notes: list[str]) -> list[str] | None:
    """The names of a published data set, where its name or its count gives it away."""
    if not n:
        return None
    if options.classes is not None:
        if len(options.classes) != n:
            raise ValueError(f"classes: got {len(options.classes)} names, {part.source} has {n} classes")
        return list(options.classes)
    said = f"{part.file_name} {part.run_name} {Path(part.source).parent.name}".lower()
    named = [name for name in CLASS_LISTS if name in said and len(class_list(name)) == n]
    if n == 1000:
        named, why = ["imagenet"], "1,000 classes, taken to be ImageNet's in the order of their synsets"
    elif family == "chainer" and n == 143:
        named, why = ["dogs_and_cats"], "143 classes, as in the authors' dog-and-cat sets"
    else:
        why = "by the file's or run's name"
    if not named:
        notes.append("class names: none known; --classes names them")
        return None
    notes.append(f"class names {named[0]}: {why}; --classes overrides")
    return list(class_list(named[0]))
