"""What is recorded of trained weights: location, sha256, licence, recipe, classes, scores. Does not import torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

PRETRAINED = Path(__file__).parent.parent / "pretrained"
KINDS = ("generator", "discriminator")


@dataclass(frozen=True)
class Score:
    """A measured value, and what is needed to compare it with other values."""

    value: float
    n: int | None  # number of generated images; None if it is not stated
    evaluator: str
    spread: float | None = None  # standard deviation, where the protocol repeats
    floor: float | None = None  # the same measure on real images, with the same counts
    per_class: Mapping[str, float] | None = None
    seed: int = 0
    machine: str = ""
    versions: Mapping[str, str] | None = None
    stated_by: str = ""  # the publisher who states the value; empty: ours, measured by `sngan evaluate`
    spread_over: str = ""  # what was repeated: 3 seeds, 10 splits, 100 subsets
    values: tuple[float, ...] = ()  # of each seed, where there are several
    parts: Mapping[str, float] | None = None  # further values of the same measurement: precision, recall ...
    seconds: float | None = None
    device: str = ""
    batch_norm: str = ""  # the statistics that the generator used: stored, or standing
    truncation: float | None = None  # |z| below this; None: not truncated
    weights_sha256: str = ""  # of the generator's model.safetensors, or of the pixels of a folder of pictures
    evaluator_sha256: str = ""  # of the evaluator's weights, or what they were trained on
    reference_sha256: str = ""  # of the real images' pixels and labels; for a prepared data set, its first digits


@dataclass(frozen=True)
class Record:
    """One trained network: in ``folder`` (shipped), behind ``urls`` or in ``repo`` (fetched), or on ``page``."""

    name: str  # architecture.tag, the generator's even for a discriminator
    kind: str  # generator or discriminator
    licence: str = "not stated"
    data: str = ""
    data_licence: str = ""
    about: str = ""
    limits: str = ""
    classes: tuple[str, ...] = ()
    parameters: int = 0
    recipe: Mapping[str, Any] = field(default_factory=dict[str, Any])  # the run's configuration, as far as it is known
    scores: Mapping[str, Score] = field(default_factory=dict[str, Score])
    sha256: str = ""  # of the file: complete for ours; for others as much as is published: all, the start, or nothing
    folder: Path | None = None  # holds config.json and model.safetensors
    publisher: str = ""  # whose code trained it; empty: ours
    file: str = ""  # as published
    urls: tuple[str, ...] = ()  # the file itself: address and mirrors, in the order they are tried
    repo: str = ""  # a Hub repository; the next two: the file's path in it, and a branch, tag or commit
    path: str = ""
    revision: str = ""
    page: str = ""  # web page where a person downloads the file, if no direct address is published
    file_bytes: int = 0  # of the published file: as its publisher shows it, or as computed from its tensors
    code_base: str = ""  # id of the converter's record, where the keys of the file fit several
    config_sha256: str = ""  # of config.json beside a file in this project's own format
    calibration_sha256: str = ""  # of calibration.json beside it; empty: there is none
    read: str = ""  # where these facts were read
    read_on: str = ""  # date

    @property
    def architecture(self) -> str:
        return self.name.split(".")[0]

    @property
    def tag(self) -> str:
        return self.name.partition(".")[2]

    @property
    def key(self) -> str:
        """Its key in ``WEIGHTS``."""
        return key_of(self.name, self.kind)

    @property
    def where(self) -> str:
        """Where the weights come from: ``shipped``, ``folder``, ``drive``, ``download``, ``hub``, or ``by hand``."""
        if self.folder:
            return "shipped" if self.folder.is_relative_to(PRETRAINED) else "folder"
        if self.urls:
            return "drive" if is_drive(self.urls[0]) else "download"
        return "hub" if self.repo else "by hand"


def is_drive(url: str) -> bool:
    """Whether the address is a file or a folder of Google Drive, which needs a downloader of its own."""
    return urlsplit(url).hostname in ("drive.google.com", "docs.google.com")


def key_of(name: str, kind: str) -> str:
    """The key of a network in ``WEIGHTS``. ``name``: architecture.tag."""
    architecture, _, tag = name.partition(".")
    return name if kind == "generator" else f"{architecture}_discriminator.{tag}"


def scores_of(scores: Mapping[str, Any]) -> Mapping[str, Score]:
    return MappingProxyType({name: Score(**score) for name, score in scores.items()})


def hash_in(file: str) -> str:
    """The first eight hex digits of a sha256 that a file name ends in, as PyTorch's do; empty if there are none."""
    match = re.search(r"-(?=\d*[a-f])([0-9a-f]{8})\.\w+$", file)  # eight decimal digits are a date
    return match[1] if match else ""
