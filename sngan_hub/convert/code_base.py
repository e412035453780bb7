"""The record of a code base: all that the converter knows of it. Each record stands in a file of ``code_bases/``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from ..networks.base import AnyDiscriminator, AnyGenerator
from .assumptions import Options
from .parts import Container, Part


class Source(NamedTuple):
    """Where a tensor of ours comes from."""

    key: str  # in the file
    read: Callable[..., Tensor]  # the stored value, and those of ``also`` -> ours
    also: tuple[str, ...] = ()  # further keys that the value depends on


class Mapped(NamedTuple):
    """What a record makes of one network's keys and shapes."""

    network: type[AnyGenerator] | type[AnyDiscriminator]
    config: dict[str, Any]  # its constructor's arguments, without the names of its classes
    sources: dict[str, Source]  # our tensor -> where it comes from


class Marks(NamedTuple):
    """Prefixes of keys that only this network of this code base has, in any file, however damaged."""

    kind: str  # generator or discriminator
    prefixes: tuple[str, ...]


@dataclass(frozen=True)
class CodeBase:
    """One code base. A new one is a file with such a record, and a row in ``code_bases/__init__.py``."""

    id: str  # ``Converted.family``
    name: str  # in messages
    marks: tuple[Marks, ...]  # tried in this order
    #: kind -> its mapper: (part, what the user says, notes to append to) -> what they make
    mappers: Mapping[str, Callable[[Part, Options, list[str]], Mapped]]
    never_read: tuple[str, ...] = ()  # leaves of keys that files may hold and networks do not use

    # Its files
    tensor_entry: str = ""  # of a torch file, where its tensors are
    metadata_entries: tuple[str, ...] = ()  # of a torch file, which the functions below or the mappers read
    #: a file with several networks -> its parts; an empty list for a file of one network, or of another code base
    split: Callable[[Container], list[Part]] = lambda container: []

    # Its checkpoint folders
    folder_depth: int = 1  # how many levels down checkpoints lie: FOLDER/FILE is 1
    preferred: tuple[str, str] | None = None  # in the names of two files of one network: the better, the other
    #: whether a file of this name holds networks that files of their own hold too
    is_copy: Callable[[str], bool] = lambda file_name: False

    # Class names
    data_name: Callable[[Part], str] = lambda part: ""  # text in which the data set's name may stand
    #: number of classes -> (a published list of class names, why it is taken to be that)
    class_lists: Mapping[int, tuple[str, str]] = field(default_factory=dict)
