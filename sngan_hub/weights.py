"""Trained weights as records: where, sha256, licence, recipe, classes, measured scores. No torch.

``WEIGHTS`` maps ``architecture.tag`` to a record, one per network: ``sngan_fashion32.v1`` is the generator,
``sngan_fashion32_discriminator.v1`` its discriminator. Records of shipped weights lie beside them, in
``pretrained/ARCHITECTURE.TAG/record.json``, written by ``python -m training ship`` and ``sngan evaluate --record``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .names import nearest

PRETRAINED = Path(__file__).with_name("pretrained")
KINDS = ("generator", "discriminator")
DEFAULT_TAGS = {"sngan_fashion32": "v1", "sngan_avatars32": "v1"}


@dataclass(frozen=True)
class Score:
    """A measured value, and what one must know to compare it."""

    value: float
    n: int  # generated images
    evaluator: str
    spread: float | None = None  # standard deviation, where the protocol repeats
    floor: float | None = None  # the same measure on real images, same counts
    per_class: Mapping[str, float] | None = None
    seed: int = 0
    machine: str = ""
    versions: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Record:
    name: str  # architecture.tag, the generator's even for a discriminator
    kind: str  # generator or discriminator
    sha256: str
    folder: Path  # holds config.json and model.safetensors
    licence: str
    data: str
    data_licence: str
    about: str
    limits: str
    classes: tuple[str, ...]
    parameters: int
    recipe: Mapping[str, Any]  # the run's whole configuration, and how long it took where
    scores: Mapping[str, Score]

    @property
    def architecture(self) -> str:
        return self.name.split(".")[0]

    @property
    def tag(self) -> str:
        return self.name.split(".")[1]


def read_records(pretrained: Path = PRETRAINED) -> dict[str, Record]:
    records = {}
    for path in sorted(pretrained.glob("*/record.json")):
        fields = json.loads(path.read_text(encoding="utf-8"))
        networks = fields.pop("networks")
        fields["scores"] = MappingProxyType({name: Score(**score) for name, score in fields["scores"].items()})
        fields["classes"] = tuple(fields["classes"])
        architecture, tag = fields["name"].split(".")
        for kind in KINDS:
            key = f"{architecture}.{tag}" if kind == "generator" else f"{architecture}_discriminator.{tag}"
            records[key] = Record(**fields, **networks[kind], kind=kind, folder=path.parent / kind)
    return records


WEIGHTS: Mapping[str, Record] = MappingProxyType(read_records())


def find_record(name: str, kind: str, tag: str | None = None) -> Record:
    """``architecture``, ``architecture.tag`` or the same with ``_discriminator`` -> the record of its ``kind``.

    Raises ``ValueError`` with the nearest names, or with what to do where an architecture has no weights here.
    """
    from .models import MODELS

    architecture, _, given = name.partition(".")
    architecture = architecture.removesuffix("_discriminator")
    tag = tag or given or DEFAULT_TAGS.get(architecture)
    suffix = "" if kind == "generator" else "_discriminator"
    record = WEIGHTS.get(f"{architecture}{suffix}.{tag}")
    if record is not None:
        return record
    tags = sorted(r.tag for r in WEIGHTS.values() if r.architecture == architecture and r.kind == kind)
    if tags:
        raise ValueError(f"weights: {architecture} has no tag {tag!r}; legal are {', '.join(tags)}")
    if architecture in MODELS:
        raise ValueError(
            f"weights: none are published for {architecture} in this version; with trained weights ship "
            f"{', '.join(DEFAULT_TAGS)}; create_{kind}({architecture!r}) builds it untrained"
        )
    raise ValueError(f"model: no name, folder or file {name!r}{nearest(architecture, MODELS)}")
