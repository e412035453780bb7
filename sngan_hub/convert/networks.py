"""Converts a weight file of any code base to networks that compute the same function.

The keys determine the code base and the kind of network. The record of the code base gives the configuration and the
source of each tensor. Every tensor of our network must be present in the file, and every tensor of the file is used.
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
from ..text import first_line
from .archive import some
from .assumptions import Options
from .code_base import CodeBase, Source
from .code_bases import CODE_BASES
from .parts import Part, read_container
from .resnets import only_row


@dataclass(frozen=True)
class Converted:
    network: AnyGenerator | AnyDiscriminator
    family: str  # ``id`` of the code base's record
    notes: tuple[str, ...]  # what was recognised, and what was assumed for which reason

    @property
    def kind(self) -> str:
        return self.network.kind


def convert_file(path: str | Path, options: Options | None = None, file_name: str | None = None) -> list[Converted]:
    """The networks in a file, in eval mode, generator first. ``file_name``: the published name, if the file is renamed.

    Raises ``FileNotFoundError``, or ``ValueError`` that names the tensor which does not fit.
    """
    path = Path(path)
    parts = read_parts(path, file_name or path.name)
    return [convert_part(part, options or Options()) for part in parts]


def read_parts(path: Path, file_name: str) -> list[Part]:
    """The tensors of each network in a file."""
    tensor_entries = dict.fromkeys(code_base.tensor_entry for code_base in CODE_BASES if code_base.tensor_entry)
    metadata_entries = [entry for code_base in CODE_BASES for entry in code_base.metadata_entries]
    network_entries = [entry for code_base in CODE_BASES for entry in code_base.network_entries]
    container = read_container(path, file_name, list(tensor_entries), metadata_entries, network_entries)
    for code_base in CODE_BASES:
        if parts := code_base.split(container):
            return parts
    return [container.part()]


def recognise(keys: Collection[str], named: str | None = None) -> tuple[CodeBase, str] | None:
    """(code base, kind of network), or None if the keys are of no known code base.

    ``named``: id of the code base that is tried first. Raises ``ValueError`` for an unknown id.
    """
    ids = [code_base.id for code_base in CODE_BASES]
    if named and named not in ids:
        raise ValueError(f"code_base must be one of {', '.join(ids)} (got {named!r})")
    for code_base in sorted(CODE_BASES, key=lambda one: one.id != named):
        if not code_base.by_keys and code_base.id != named:
            continue
        for kind, prefixes in code_base.marks:
            if any(key.startswith(prefixes) for key in keys):
                return code_base, kind
    return None


def convert_part(part: Part, options: Options) -> Converted:
    """One network's tensors -> the network, in eval mode.

    Raises:
        ValueError: The tensors are of no known code base, or do not match the network exactly.
    """
    recognised = recognise(part.tensors, options.code_base or part.code_base)
    if recognised is None:
        raise ValueError(
            f"{part.source}: the keys ({some(list(part.tensors))}) do not match a known network; supported are the "
            f"SNGAN and projection ResNets of {', '.join(code_base.name for code_base in CODE_BASES)}"
        )
    code_base, kind = recognised
    notes = [f"{kind} of {code_base.name}, recognised by its keys ({some(list(part.tensors), 2)}); widths, size and "
             f"classes from its shapes"]  # fmt: skip
    cls, config, sources, left_out = code_base.mappers[kind](part, options, notes)
    if n_classes := config.get("n_classes", 0):
        config["classes"] = _choose_class_names(part, n_classes, code_base, options, notes)
    with torch.device("meta"):  # shapes only: no memory is allocated for sizes that a damaged file declares
        network = cls.from_config(config, part.source)
    tensors = _read(part, sources, network, code_base.never_read, left_out)
    load_tensors(network, tensors, part.source, assign=True)
    return Converted(network.eval(), code_base.id, tuple(notes))


def _choose_class_names(
    part: Part, n: int, code_base: CodeBase, options: Options, notes: list[str]
) -> list[str] | None:
    """The class names of a known data set, recognised by its name or its number of classes."""
    if options.classes is not None:
        if len(options.classes) != n:
            raise ValueError(
                f"classes must have {n} names, as many as {part.source} has classes (got {len(options.classes)})"
            )
        return list(options.classes)
    said = f"{part.file_name} {code_base.data_name(part)} {Path(part.source).parent.name}".lower()
    named = [name for name in CLASS_LISTS if name in said and len(class_list(name)) == n]
    if n == 1000:
        name, why = "imagenet", "1,000 classes, assumed to be ImageNet's in the order of the synsets"
    elif n in code_base.class_lists:
        name, why = code_base.class_lists[n]
    elif named:
        name, why = named[0], "recognised by the name of the file or run"
    else:
        notes.append("class names: unknown; set them with --classes")
        return None
    notes.append(f"class names {name}: {why}; --classes overrides")
    return list(class_list(name))


# ---------------------------------------------------------------------------------------------------------------------
# Reading tensors


#: A value that is computed from two stored tensors may be larger than both: a file gives up to so many
_COMPUTED, _COMPUTED_PER_VALUE = 2**26, 8


def _read(
    part: Part, sources: Mapping[str, Source], network: Network, never_read: Collection[str], left_out: tuple[str, ...]
) -> dict[str, Tensor]:
    """Fills all tensors of the network. Raises ``ValueError`` that names missing, additional or unfitting tensors.

    Nothing is read before everything fits.
    """
    expected = network.state_dict()
    used = {key for source in sources.values() for key in (source.key, *source.also)}
    problems = [f"{source.key} is missing" for source in sources.values() if source.key not in part.tensors]
    for key in part.tensors:
        if key not in used and not (key.endswith(tuple(f".{leaf}" for leaf in never_read)) or key.startswith(left_out)):
            problems.append(f"{key} is not a tensor of this network")
    present = {ours: one for ours, one in sources.items() if one.key in part.tensors and ours in expected}
    for ours, source in present.items():
        problems += _misfits(part, source, expected[ours])
    _refuse(part, problems or _excess(part, present, expected))
    tensors = {}
    for ours, source in present.items():
        tensors[ours] = source.read(*_stored(part, source)).clone()  # releases the memory of the file
    negative = [ours for ours, value in tensors.items() if ours.endswith("running_var") and (value < 0).any()]
    _refuse(part, [f"{present[ours].key} contains a negative variance" for ours in negative])
    return tensors


def _refuse(part: Part, problems: list[str]) -> None:
    if problems:
        named = [part.prefix + problem for problem in dict.fromkeys(problems)]
        raise ValueError(f"{part.source}: {some(named, 5, '; ')}")


def _stored(part: Part, source: Source) -> list[Tensor]:
    return [part.tensors[key] for key in (source.key, *source.also)]


def _misfits(part: Part, source: Source, ours: Tensor) -> list[str]:
    """Why a tensor of the file does not give ours. Shapes are computed without values, so they take no memory."""
    unfit = [problem for key in (source.key, *source.also) if (problem := _unfit(key, part.tensors[key], ours))]
    if unfit:
        return unfit
    theirs = part.tensors[source.key]
    said = f"{source.key} has shape {tuple(theirs.shape)}"
    try:
        value = source.read(*(tensor.to("meta") for tensor in _stored(part, source)))
    except (RuntimeError, IndexError) as error:
        return [f"{said}, which does not fit ({first_line(error)})"]
    return [] if value.shape == ours.shape else [f"{said}, expected {_expected(source.read, theirs, value, ours)}"]


def _excess(part: Part, sources: Mapping[str, Source], expected: Mapping[str, Tensor]) -> list[str]:
    """Refuses a small file whose products of two tensors would fill the memory."""
    computed = sum(expected[ours].numel() for ours, source in sources.items() if source.also)
    stored = sum(tensor.numel() for tensor in part.tensors.values())
    if computed <= max(_COMPUTED, _COMPUTED_PER_VALUE * stored):
        return []
    key = next(source.also[0] for source in sources.values() if source.also)
    return [f"{key} gives {computed:,} values of class gains, but the whole file has {stored:,}; this is no "
            f"network that anyone trained"]  # fmt: skip


def _unfit(key: str, theirs: Tensor, ours: Tensor) -> str | None:
    if theirs.dtype != ours.dtype:
        return f"{key} is {_dtype(theirs)}, expected {_dtype(ours)}"
    if theirs.is_floating_point() and not torch.isfinite(theirs).all():
        return f"{key} contains values that are not finite"
    return None


def _expected(read: Callable, theirs: Tensor, value: Tensor, ours: Tensor) -> tuple[int, ...]:
    """The expected shape as stored in the file: transposed if reading transposes, and with Chainer's leading 1 of u."""
    if read is only_row:
        return (1, *ours.shape)
    return tuple(reversed(ours.shape)) if tuple(value.shape) == tuple(reversed(theirs.shape)) else tuple(ours.shape)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
