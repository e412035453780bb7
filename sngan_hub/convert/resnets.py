"""Maps the SNGAN and projection ResNets of any code base: infers their fields from shapes, and finds the source of
each tensor. The ``GeneratorLayout`` and ``DiscriminatorLayout`` of a code base describe what is specific to it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from ..networks.resnet import Discriminator, Generator
from .assumptions import Assumed, Options, always, choose
from .code_base import Mapped, Source
from .parts import Part

# ---------------------------------------------------------------------------------------------------------------------
# Conversions of stored values


def as_it_is(x: Tensor) -> Tensor:
    return x


def only_row(x: Tensor) -> Tensor:  # u of Chainer and of mimicry is (1, rows); other shapes are reported later
    return x[0] if x.ndim == 2 and len(x) == 1 else x[None]


def _reversed_rows(x: Tensor) -> Tensor:  # BGR output -> RGB output
    return x.flip(0)


def _reversed_inputs(x: Tensor) -> Tensor:  # BGR input -> RGB input
    return x.flip(1)


def _reversed_patches(v: Tensor) -> Tensor:  # v runs over (channel, row, column) of a kernel
    return v.reshape(3, -1).flip(0).flatten()


# ---------------------------------------------------------------------------------------------------------------------
# Layouts


class Leaf(NamedTuple):
    """How a file stores one tensor of a layer."""

    name: str  # suffix of the layer's key
    read: Callable[[Tensor], Tensor] = as_it_is


class Norm(NamedTuple):
    """A way to store a batch norm. ``gain`` and ``bias`` are suffixes of the layer's key."""

    gain: str
    bias: str
    statistics: str = ""  # between the layer's key and the names of its statistics
    n_classes: Callable[..., int] = lambda shape, shared=(): 0  # from the shapes of gain and shared table
    read_gain: Callable[..., Tensor] = as_it_is  # stored gain, and the shared table -> (n_classes, C) or (C,)
    read_bias: Callable[..., Tensor] = as_it_is
    shared: str = ""  # key of an embedding that all gains and biases are linear in


def n_rows(shape: tuple[int, ...]) -> int:
    return shape[0]


#: Tensors of torch's layers and of its spectral_norm, as in its ``state_dict``
TORCH = {"weight": Leaf("weight"), "bias": Leaf("bias")}
TORCH_SPECTRAL = {"weight": Leaf("weight_orig"), "bias": Leaf("bias"), "u": Leaf("weight_u"), "v": Leaf("weight_v")}
TORCH_STATISTICS = {name: name for name in ("running_mean", "running_var", "num_batches_tracked")}
TORCH_NORM = Norm("weight", "bias")

#: Number of discriminator blocks -> which of them downsample, and the image size, in most code bases
DOWN = {4: ("1100", 32), 5: ("11111", 64), 6: ("111110", 128), 7: ("1111110", 256)}


def layer_keys(blocks: list[str], names: Mapping[str, str], **ends: str) -> dict[str, str]:
    """Our layer -> prefix of its keys in the file, with separator.

    Args:
        blocks: Prefix of each block.
        names: Our layer in a block -> their layer.
        ends: The layers outside of blocks.
    """
    inside = {f"blocks.{i}.{ours}": block + theirs for i, block in enumerate(blocks) for ours, theirs in names.items()}
    return {**inside, **ends}


@dataclass(frozen=True)
class GeneratorLayout:
    """Describes the generators of a code base."""

    code: str  # name of the code, for notes
    layers: Callable[[int], dict[str, str]]  # number of blocks -> result of ``layer_keys``
    norms: tuple[Norm, ...]  # of blocks: the first one whose keys exist is used; the last one is unconditional
    last_norm: Norm = TORCH_NORM  # never conditional
    leaves: Mapping[str, Leaf] = field(default_factory=lambda: TORCH)
    statistics: Mapping[str, str] = field(default_factory=lambda: TORCH_STATISTICS)
    fields: Mapping[str, Any] = field(default_factory=dict)  # arguments of our Generator that differ from the authors'
    gain_offset: Callable[[Part], Assumed] = always(0)  # added to the stored class gains
    channel_order: Callable[[Part], Assumed] = always("rgb")  # of the images; folded into the weights


class Head(NamedTuple):
    """Another way to store the head and the embedding of a discriminator."""

    leaves: Mapping[str, Leaf]
    fields: Mapping[str, Any]  # of our Discriminator
    note: str


@dataclass(frozen=True)
class DiscriminatorLayout:
    """Describes the discriminators of a code base."""

    code: str
    layers: Callable[[int, Collection[str]], dict[str, str]]  # number of blocks, all keys -> keys of layers
    hidden: str  # in or out: the width between a block's convolutions, if shapes do not determine it
    leaves: Mapping[str, Leaf] = field(default_factory=lambda: TORCH_SPECTRAL)
    other_head: Head | None = None  # used if its u exists
    fields: Mapping[str, Any] = field(default_factory=dict)  # arguments of Discriminator that differ from the authors'
    down: Callable[[Part], Mapping[int, tuple[str, int]]] = lambda part: DOWN
    head_bias: Callable[[int], bool] = lambda n: True  # number of blocks -> whether the head has a bias in the code
    head_bias_varies: Callable[[int], bool] = lambda n: False  # whether files may differ; then the keys decide
    concat: bool = False  # whether a wider input after a block means that the class is concatenated there
    shortcut_relu: Callable[[Part], Assumed] = always(False)
    channel_order: Callable[[Part], Assumed] = always("rgb")


# ---------------------------------------------------------------------------------------------------------------------
# Generators


def map_generator(layout: GeneratorLayout, part: Part, options: Options, notes: list[str]) -> Mapped:
    """Raises ``ValueError`` that names the tensor which does not fit."""
    n = _count_blocks(part, lambda n: layout.layers(n)[f"blocks.{n - 1}.c1"])
    layers = layout.layers(n)
    weight = layout.leaves["weight"].name
    widths = [_shape(part, layers["blocks.0.c1"] + weight, 4)[1]]
    widths += [_shape(part, layers[f"blocks.{i}.c1"] + weight, 4)[0] for i in range(n)]
    key = layers["l1"] + weight
    rows, z_dim = _shape(part, key, 2)
    bottom = round((rows / widths[0]) ** 0.5)
    if bottom < 1 or bottom**2 * widths[0] != rows:
        raise ValueError(f"{part.source}: {part.prefix}{key} has {rows} rows, which do not form a square map of "
                         f"{widths[0]} channels")  # fmt: skip
    first_norm = layers["blocks.0.b1"]
    *conditional, unconditional = layout.norms
    norm = next((form for form in conditional if _is_stored_as(form, first_norm, part.tensors)), unconditional)
    gain = _shape(part, first_norm + norm.gain, None if norm is unconditional else 2)
    n_classes = norm.n_classes(gain, *([_shape(part, norm.shared, 2)] if norm.shared else []))
    config = {"size": bottom * 2**n, "n_classes": n_classes, "z_dim": z_dim, "widths": widths, "bottom_width": bottom,
              **layout.fields}  # fmt: skip
    _note_fields(layout.fields, layout.code, notes)
    offset = choose("gain_offset", options.gain_offset, layout.gain_offset(part), notes) if n_classes else 0
    order = choose("channel order", options.channel_order, layout.channel_order(part), notes)

    sources: dict[str, Source] = {}
    for ours, theirs in layers.items():
        if ours == "bn":
            sources |= _norm_sources(ours, theirs, layout.last_norm, layout.statistics, 0)
        elif ours.endswith((".b1", ".b2")):
            sources |= _norm_sources(ours, theirs, norm, layout.statistics, offset)
        else:
            for leaf, (name, read) in layout.leaves.items():
                reverse = order == "bgr" and ours == "conv"
                sources[f"{ours}.{leaf}"] = Source(theirs + name, _reversed_rows if reverse else read)
    return Mapped(Generator, config, sources)


def _is_stored_as(norm: Norm, layer: str, keys: Collection[str]) -> bool:
    return (layer + norm.gain in keys or layer + norm.bias in keys) and (not norm.shared or norm.shared in keys)


def _norm_sources(ours: str, theirs: str, norm: Norm, statistics: Mapping[str, str], offset: int) -> dict[str, Source]:
    also = (norm.shared,) if norm.shared else ()
    sources = {f"{ours}.{leaf}": Source(theirs + norm.statistics + name, as_it_is) for leaf, name in statistics.items()}
    sources[f"{ours}.weight"] = Source(theirs + norm.gain, lambda *x: _raised(norm.read_gain(*x), offset), also)
    sources[f"{ours}.bias"] = Source(theirs + norm.bias, norm.read_bias, also)
    return sources


def _raised(gain: Tensor, offset: int) -> Tensor:
    return gain + offset if offset else gain  # + 0 would turn -0.0 into 0.0


# ---------------------------------------------------------------------------------------------------------------------
# Discriminators


def map_discriminator(layout: DiscriminatorLayout, part: Part, options: Options, notes: list[str]) -> Mapped:
    """Raises ``ValueError`` that names the tensor which does not fit."""
    n = _count_blocks(part, lambda n: layout.layers(n, part.tensors)[f"blocks.{n - 1}.c1"])
    known = layout.down(part)
    if n not in known:
        raise ValueError(
            f"{part.source}: a discriminator with {n} blocks is not supported, only with {', '.join(map(str, known))}"
        )
    down, size = known[n]
    layers = layout.layers(n, part.tensors)
    weight = layout.leaves["weight"].name
    c_in, widths, hidden = [], [], layout.hidden
    for i in range(n):
        c_in.append(_shape(part, layers[f"blocks.{i}.c1"] + weight, 4)[1])
        widths.append(_shape(part, layers[f"blocks.{i}.c2"] + weight, 4)[0])
    for i in range(1, n):  # shapes have priority over ``hidden``
        width = _shape(part, layers[f"blocks.{i}.c1"] + weight, 4)[0]
        if c_in[i] != widths[i] and width in (c_in[i], widths[i]):
            hidden = "in" if width == c_in[i] else "out"
    bias_is_there = layers["linear"] + layout.leaves["bias"].name in part.tensors
    head_bias = bias_is_there if layout.head_bias_varies(n) else layout.head_bias(n)
    config: dict[str, Any] = {"size": size, "n_classes": 0, "widths": widths, "down": down, "head_bias": head_bias,
                              "hidden": hidden, **layout.fields}  # fmt: skip
    head, other = layout.leaves, layout.other_head
    if other is not None and layers["linear"] + other.leaves["u"].name in part.tensors:
        head = other.leaves
        config |= other.fields
        notes.append(f"its head ({layers['linear']}*, {layers['embed']}*) {other.note}")
    conditional = any(key.startswith(layers["embed"]) for key in part.tensors)
    if conditional:
        config["n_classes"], dim = _shape(part, layers["embed"] + head["weight"].name, 2)
        after = [i for i in range(1, n) if c_in[i] == widths[i - 1] + dim and c_in[i] != widths[i - 1]]
        if layout.concat and after:
            config |= {"conditioning": "concat", "embedding_dim": dim, "concat_after": after[0]}
    if head_bias != layout.head_bias(n):
        notes.append(f"head bias {'present' if head_bias else 'absent'}, according to the keys")
    _note_fields(layout.fields, layout.code, notes)
    notes.append(f"down {down} for {size} px: {layout.code}")
    config["shortcut_relu"] = choose("shortcut_relu", options.shortcut_relu, layout.shortcut_relu(part), notes)
    order = choose("channel order", options.channel_order, layout.channel_order(part), notes)

    sources: dict[str, Source] = {}
    for ours, theirs in layers.items():
        if ours.endswith(".c_sc"):
            i = int(ours.split(".")[1])
            if down[i] == "0" and c_in[i] == widths[i]:
                continue
        if ours == "embed" and not conditional:
            continue
        for leaf, (name, read) in (head if ours in ("linear", "embed") else layout.leaves).items():
            if leaf == "bias" and (ours == "embed" or (ours == "linear" and not head_bias)):
                continue
            if order == "bgr" and ours in ("blocks.0.c1", "blocks.0.c_sc"):
                read = {"weight": _reversed_inputs, "v": _reversed_patches}.get(leaf, read)
            sources[f"{ours}.{leaf}"] = Source(theirs + name, read)
    return Mapped(Discriminator, config, sources)


# ---------------------------------------------------------------------------------------------------------------------
# Both


def _note_fields(fields: Mapping[str, Any], code: str, notes: list[str]) -> None:
    if fields:
        notes.append(", ".join(f"{name} {value}" for name, value in fields.items()) + f": {code}")


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
        raise ValueError(
            f"{part.source}: {part.prefix}{key} has shape {tuple(tensor.shape)}, which does not fit this layer"
        )
    return tuple(tensor.shape)
