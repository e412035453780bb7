"""The record that describes a code base to the converter. Each record is in a file of ``code_bases/``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from ..networks.base import AnyDiscriminator, AnyGenerator
from .assumptions import Options
from .parts import Container, Part


class Source(NamedTuple):
    """The source of one tensor of our network."""

    key: str  # in the file
    read: Callable[..., Tensor]  # converts the stored value (and the values of ``also``) to ours
    also: tuple[str, ...] = ()  # other keys that the value depends on


class Mapped(NamedTuple):
    """The result of mapping the keys and shapes of one network."""

    network: type[AnyGenerator] | type[AnyDiscriminator]
    config: dict[str, Any]  # constructor arguments, without class names
    sources: dict[str, Source]  # our tensor -> its source
    left_out: tuple[str, ...] = ()  # prefixes of keys of further heads, which our network does not have


class Marks(NamedTuple):
    """Key prefixes that occur only in this kind of network of this code base."""

    kind: str  # generator or discriminator
    prefixes: tuple[str, ...]


@dataclass(frozen=True)
class CodeBase:
    """One code base. To add one, write a file with such a record and add it to ``code_bases/__init__.py``."""

    id: str  # ``Converted.family``
    name: str  # in messages
    marks: tuple[Marks, ...]  # tried in this order
    #: kind -> its mapper: (part, options, list of notes) -> mapping
    mappers: Mapping[str, Callable[[Part, Options, list[str]], Mapped]]
    never_read: tuple[str, ...] = ()  # last parts of keys that are ignored
    by_keys: bool = True  # False: its keys fit another code base too, and it is used only where it is named

    # Its files
    tensor_entry: str = ""  # entry of a torch file that contains the tensors
    #: entries of a torch file that contain one network each; ``split`` finds them as prefixes ENTRY/
    network_entries: tuple[str, ...] = ()
    metadata_entries: tuple[str, ...] = ()  # entries of a torch file that the functions below or the mappers read
    #: splits a file with several networks; an empty list for a single network or another code base
    split: Callable[[Container], list[Part]] = lambda container: []

    # Its checkpoint folders
    folder_depth: int = 1  # depth of checkpoints: FOLDER/FILE is 1
    preferred: tuple[str, str] | None = None  # parts of file names: of the preferred file, and of the other
    #: whether a file of this name contains networks that other files of the folder also contain
    is_copy: Callable[[str], bool] = lambda file_name: False

    # Class names
    data_name: Callable[[Part], str] = lambda part: ""  # text that may contain the name of the data set
    #: number of classes -> (a published list of class names, reason for the assumption)
    class_lists: Mapping[int, tuple[str, str]] = field(default_factory=dict)
