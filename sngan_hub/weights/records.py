"""The table of trained weights: shipped, published by others, and the user's own. Does not import torch.

``WEIGHTS`` maps ``architecture.tag`` to a record, one per network: ``sngan_fashion32.v1`` is the generator,
``sngan_fashion32_discriminator.v1`` its discriminator. Records of shipped weights are stored with them, in
``pretrained/ARCHITECTURE.TAG/record.json``, written by ``python -m training ship`` and ``sngan evaluate --record``;
those of others' weights are the rows of published.py. ``SNGAN_HUB_RECORDS`` names a JSON file that adds to them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from ..text import nearest
from .published import published
from .published_model import PublishedModel
from .record import KINDS, PRETRAINED, Record, hash_in, key_of, scores_of
from .user_records import RECORDS_VARIABLE, with_user_records

DEFAULT_TAGS = {  # where an architecture has several
    "sngan_imagenet128": "mmgen_fid",
    "sngan_cifar10": "mmgen_fid",
    "sngan_cifar10_unconditional": "mimicry",
    "sngan_papaimagenet64": "studio_0308_0319",
    "sngan_grandpaimagenet64": "studio_0306_1019",
}


def read_records(pretrained: Path = PRETRAINED) -> dict[str, Record]:
    """The shipped weights' records."""
    records: dict[str, Record] = {}
    for path in sorted(pretrained.glob("*/record.json")):
        fields = json.loads(path.read_text(encoding="utf-8"))
        networks = fields.pop("networks")
        fields["scores"] = scores_of(fields["scores"])
        fields["classes"] = tuple(fields["classes"])
        for kind in KINDS:
            record = Record(**fields, **networks[kind], kind=kind, folder=path.parent / kind)
            records[record.key] = record
    return records


def _published_records(model: PublishedModel) -> Iterator[Record]:
    """One record per network that was published. A file name that ends in eight hex digits starts with its sha256's."""
    for kind, file in model.files.items():
        both = len(model.files) == 2 and len(set(model.files.values())) == 1
        tensors = 4 * (sum(model.parameters.values()) if both else model.parameters[kind])
        yield Record(
            model.name, kind, model.licence, model.data, "see the data set's own terms", model.about,
            "Published as it is by others; not measured here.", model.classes, model.parameters[kind],
            MappingProxyType(model.recipe), scores_of(model.scores), model.sha256.get(kind) or hash_in(file),
            publisher=model.publisher, file=file, urls=model.addresses.get(kind, ()), repo=model.repo,
            path=f"{model.repo_folder}/{file}" if model.repo else "", revision=model.revision,
            page=model.pages.get(kind, ""), file_bytes=model.sizes.get(kind, tensors),
            code_base=model.code_base, read=model.read, read_on=model.read_on,
        )  # fmt: skip


class _Weights(Mapping[str, Record]):
    """Read-only. The user's records are read again when their file or the variable changes."""

    def __init__(self) -> None:
        self.built_in = read_records()
        for model in published():
            self.built_in |= {record.key: record for record in _published_records(model)}
        self._seen: tuple[object, ...] = ()
        self._all: dict[str, Record] = self.built_in

    def _records(self) -> dict[str, Record]:
        path = os.environ.get(RECORDS_VARIABLE, "")
        stat = os.stat(path) if path and os.path.exists(path) else None
        seen = (path, stat and (stat.st_mtime_ns, stat.st_size))
        if seen != self._seen:
            self._all = with_user_records(self.built_in, Path(path)) if path else self.built_in
            self._seen = seen
        return self._all

    def __getitem__(self, name: str) -> Record:
        return self._records()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records())

    def __len__(self) -> int:
        return len(self._records())


_WEIGHTS = _Weights()
WEIGHTS: Mapping[str, Record] = _WEIGHTS
#: The same without the user's own records
BUILT_IN: Mapping[str, Record] = MappingProxyType(_WEIGHTS.built_in)


def reference_scores(name: str) -> dict[str, dict[str, list[float]]]:
    """Scores of a shipped discriminator for images of each class: {class: {real, generated: [10th, 50th, 90th
    percentile]}}; empty for other discriminators. Written by ``python -m training reference``.
    """
    tagged = name if "." in name else f"{name}.{DEFAULT_TAGS.get(name, 'v1')}"
    path = PRETRAINED / tagged / "reference.json"
    if not path.is_file():
        return {}
    return json.loads(path.read_text(encoding="utf-8"))["classes"]


def default_tag(architecture: str) -> str | None:
    tags = [r.tag for r in WEIGHTS.values() if r.architecture == architecture and r.kind == "generator"]
    return DEFAULT_TAGS.get(architecture) or (tags[0] if tags else None)


def is_tag(architecture: str, tag: str, kind: str) -> bool:
    """Whether there are weights ``tag`` of an architecture."""
    return key_of(f"{architecture}.{tag}", kind) in WEIGHTS


def find_record(name: str, kind: str, tag: str | None = None) -> Record:
    """``architecture``, ``architecture.tag`` or the same with ``_discriminator`` -> the record of its ``kind``.

    Raises ``ValueError`` with the nearest names, or with what to do where an architecture has no weights here.
    """
    from ..networks.registry import MODELS

    architecture, _, given = name.partition(".")
    architecture = architecture.removesuffix("_discriminator")
    tag = tag or given or default_tag(architecture)
    record = WEIGHTS.get(key_of(f"{architecture}.{tag}", kind))
    if record is not None:
        return record
    own = [r for r in WEIGHTS.values() if r.architecture == architecture]
    tags = ", ".join(sorted(r.tag for r in own if r.kind == kind))
    other = WEIGHTS.get(key_of(f"{architecture}.{tag}", KINDS[kind == "generator"]))
    if other is not None:
        raise ValueError(
            f"there is no published {kind} for {architecture}.{tag}; "
            + (f"tags with a {kind}: {tags}" if tags else f"create_{kind}({architecture!r}) builds an untrained one")
        )
    if own:
        raise ValueError(f"there are no weights {tag!r} of {architecture}; choose one of {tags}")
    if architecture in MODELS:
        raise ValueError(
            f"there are no published weights for {architecture}; create_{kind}({architecture!r}) builds an untrained "
            f"network, and weights= accepts a file, a folder or a Hub repository id"
        )
    raise ValueError(f"there is no model, folder or file {name!r}{nearest(architecture, [*MODELS, *_architectures()])}")


def has_record(name: str, kind: str) -> bool:
    """Whether ``find_record`` finds a record."""
    try:
        find_record(name, kind)
    except ValueError:
        return False
    return True


def _architectures() -> list[str]:
    return sorted({record.architecture for record in WEIGHTS.values()})
