"""A weight file of any code base -> our networks, numerically identical.

file -> parts -> code base and kind, by the keys -> configuration and sources, by the record -> every tensor of ours
read from theirs, and every one of theirs used -> network.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..class_names import CLASS_LISTS, class_list
from ..networks.base import AnyDiscriminator, AnyGenerator, Network
from ..networks.mixin import load_tensors
from .archive import some
from .assumptions import Options
from .code_base import CodeBase, Source
from .code_bases import CODE_BASES
from .parts import Part, read_container
from .resnets import only_row


@dataclass(frozen=True)
class Converted:
    network: AnyGenerator | AnyDiscriminator
    family: str  # the code base, by its record's ``id``
    notes: tuple[str, ...]  # what was recognised, and what was assumed and why

    @property
    def kind(self) -> str:
        return self.network.kind


def convert_file(path: str | Path, options: Options | None = None, file_name: str | None = None) -> list[Converted]:
    """Every network in a file, in eval mode: generator first. ``file_name``: the published name of a renamed file.

    Raises ``FileNotFoundError``, and ``ValueError`` naming the tensor for whatever is not exactly such a network.
    """
    path = Path(path)
    parts = read_parts(path, file_name or path.name)
    return [convert_part(part, options or Options()) for part in parts]


def read_parts(path: Path, file_name: str) -> list[Part]:
    """A file -> the tensors of each network in it."""
    tensor_entries = dict.fromkeys(code_base.tensor_entry for code_base in CODE_BASES if code_base.tensor_entry)
    metadata_entries = [entry for code_base in CODE_BASES for entry in code_base.metadata_entries]
    container = read_container(path, file_name, list(tensor_entries), metadata_entries)
    for code_base in CODE_BASES:
        if parts := code_base.split(container):
            return parts
    return [container.part()]


def recognise(keys: Collection[str]) -> tuple[CodeBase, str] | None:
    """-> (code base, generator or discriminator), or None for keys of no code base."""
    for code_base in CODE_BASES:
        for kind, prefixes in code_base.marks:
            if any(key.startswith(prefixes) for key in keys):
                return code_base, kind
    return None


def convert_part(part: Part, options: Options) -> Converted:
    """One network's tensors -> the network, in eval mode.

    Raises:
        ValueError: The tensors are of no code base, or not exactly those of such a network.
    """
    recognised = recognise(part.tensors)
    if recognised is None:
        raise ValueError(
            f"{part.source}: the keys ({some(list(part.tensors))}) do not match a known network; supported are the "
            f"SNGAN and projection ResNets of {', '.join(code_base.name for code_base in CODE_BASES)}"
        )
    code_base, kind = recognised
    notes = [f"{kind} of {code_base.name}, by its keys ({some(list(part.tensors), 2)}); widths, size and classes by "
             f"its shapes"]  # fmt: skip
    cls, config, sources = code_base.mappers[kind](part, options, notes)
    if n_classes := config.get("n_classes", 0):
        config["classes"] = _choose_class_names(part, n_classes, code_base, options, notes)
    with torch.device("meta"):  # shapes alone: nothing is allocated for what a damaged file claims
        network = cls.from_config(config, part.source)
    tensors = _read(part, sources, network, code_base.never_read)
    load_tensors(network, tensors, part.source, assign=True)
    return Converted(network.eval(), code_base.id, tuple(notes))


def _choose_class_names(
    part: Part, n: int, code_base: CodeBase, options: Options, notes: list[str]
) -> list[str] | None:
    """The names of a published data set, where its name or its count gives it away."""
    if options.classes is not None:
        if len(options.classes) != n:
            raise ValueError(
                f"classes must have {n} names, as many as {part.source} has classes (got {len(options.classes)})"
            )
        return list(options.classes)
    said = f"{part.file_name} {code_base.data_name(part)} {Path(part.source).parent.name}".lower()
    named = [name for name in CLASS_LISTS if name in said and len(class_list(name)) == n]
    if n == 1000:
        name, why = "imagenet", "1,000 classes, taken to be ImageNet's in the order of their synsets"
    elif n in code_base.class_lists:
        name, why = code_base.class_lists[n]
    elif named:
        name, why = named[0], "by the file's or run's name"
    else:
        notes.append("class names: unknown; set them with --classes")
        return None
    notes.append(f"class names {name}: {why}; --classes overrides")
    return list(class_list(name))


# ---------------------------------------------------------------------------------------------------------------------
# The strict reading of tensors


def _read(
    part: Part, sources: Mapping[str, Source], network: Network, never_read: Collection[str]
) -> dict[str, Tensor]:
    """Every tensor of ours from theirs; refuses missing, surplus, misshaped and wrongly typed ones by name."""
    expected = network.state_dict()
    used = {key for source in sources.values() for key in (source.key, *source.also)}
    problems = [f"{source.key} is missing" for source in sources.values() if source.key not in part.tensors]
    for key in part.tensors:
        if key not in used and not key.endswith(tuple(f".{leaf}" for leaf in never_read)):
            problems.append(f"{key} is not a tensor of this network")
    tensors = {}
    for ours, (key, read, also) in sources.items():
        theirs = part.tensors.get(key)
        if theirs is None or ours not in expected:
            continue
        unfit = [problem for key in (key, *also) if (problem := _unfit(key, part.tensors[key], expected[ours]))]
        if unfit:
            problems += unfit
            continue
        try:
            value = read(theirs, *(part.tensors[key] for key in also))
        except (RuntimeError, IndexError) as error:
            problems.append(f"{key} has shape {tuple(theirs.shape)}, which does not fit ({str(error).splitlines()[0]})")
            continue
        if value.shape != expected[ours].shape:
            problems.append(
                f"{key} has shape {tuple(theirs.shape)}, expected {_expected(read, theirs, value, expected[ours])}"
            )
        elif ours.endswith("running_var") and (value < 0).any():
            problems.append(f"{key} contains a negative variance")
        else:
            tensors[ours] = value.clone()  # the file's own memory is let go
    if problems:
        problems = [part.prefix + problem for problem in dict.fromkeys(problems)]
        raise ValueError(f"{part.source}: {some(problems, 5, '; ')}")
    return tensors


def _unfit(key: str, theirs: Tensor, ours: Tensor) -> str | None:
    if theirs.dtype != ours.dtype:
        return f"{key} is {_dtype(theirs)}, expected {_dtype(ours)}"
    if theirs.is_floating_point() and not torch.isfinite(theirs).all():
        return f"{key} contains values that are not finite"
    return None


def _expected(read: Callable, theirs: Tensor, value: Tensor, ours: Tensor) -> tuple[int, ...]:
    """The shape to ask for, as files have it: transposed where reading transposes, with Chainer's leading 1 of u."""
    if read is only_row:
        return (1, *ours.shape)
    return tuple(reversed(ours.shape)) if tuple(value.shape) == tuple(reversed(theirs.shape)) else tuple(ours.shape)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
