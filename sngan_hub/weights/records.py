"""Records of trained weights: location, sha256, licence, recipe, classes, scores. Does not import torch.

``WEIGHTS`` maps ``architecture.tag`` to a record, one per network: ``sngan_fashion32.v1`` is the generator,
``sngan_fashion32_discriminator.v1`` its discriminator. Records of shipped weights are stored with them, in
``pretrained/ARCHITECTURE.TAG/record.json``, written by ``python -m training ship`` and ``sngan evaluate --record``;
those of others' weights are the rows of published.py. ``SNGAN_HUB_RECORDS`` names a JSON file that adds to them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from ..text import nearest
from .published import published
from .published_model import PublishedModel

PRETRAINED = Path(__file__).parent.parent / "pretrained"
KINDS = ("generator", "discriminator")
DEFAULT_TAGS = {  # where an architecture has several
    "sngan_imagenet128": "mmgen_fid",
    "sngan_cifar10": "mmgen_fid",
    "sngan_cifar10_unconditional": "mimicry",
    "sngan_papaimagenet64": "studio_0308_0319",
    "sngan_grandpaimagenet64": "studio_0306_1019",
}
RECORDS_VARIABLE = "SNGAN_HUB_RECORDS"


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
        return _key(self.name, self.kind)

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


def _key(name: str, kind: str) -> str:
    architecture, _, tag = name.partition(".")
    return name if kind == "generator" else f"{architecture}_discriminator.{tag}"


def reference_scores(name: str) -> dict[str, dict[str, list[float]]]:
    """Scores of a shipped discriminator for images of each class: {class: {real, generated: [10th, 50th, 90th
    percentile]}}; empty for other discriminators. Written by ``python -m training reference``.
    """
    tagged = name if "." in name else f"{name}.{DEFAULT_TAGS.get(name, 'v1')}"
    path = PRETRAINED / tagged / "reference.json"
    if not path.is_file():
        return {}
    return json.loads(path.read_text(encoding="utf-8"))["classes"]


# ---------------------------------------------------------------------------------------------------------------------
# The table: shipped, published, and the user's own


def read_records(pretrained: Path = PRETRAINED) -> dict[str, Record]:
    """The shipped weights' records."""
    records: dict[str, Record] = {}
    for path in sorted(pretrained.glob("*/record.json")):
        fields = json.loads(path.read_text(encoding="utf-8"))
        networks = fields.pop("networks")
        fields["scores"] = _scores(fields["scores"])
        fields["classes"] = tuple(fields["classes"])
        for kind in KINDS:
            record = Record(**fields, **networks[kind], kind=kind, folder=path.parent / kind)
            records[record.key] = record
    return records


def _scores(scores: Mapping[str, Any]) -> Mapping[str, Score]:
    return MappingProxyType({name: Score(**score) for name, score in scores.items()})


def _published_records(model: PublishedModel) -> Iterator[Record]:
    """One record per network that was published. A file name that ends in eight hex digits starts with its sha256's."""
    for kind, file in model.files.items():
        both = len(model.files) == 2 and len(set(model.files.values())) == 1
        tensors = 4 * (sum(model.parameters.values()) if both else model.parameters[kind])
        yield Record(
            model.name, kind, model.licence, model.data, "see the data set's own terms", model.about,
            "Published as it is by others; not measured here.", model.classes, model.parameters[kind],
            MappingProxyType(model.recipe), _scores(model.scores), model.sha256.get(kind) or _hash_in(file),
            publisher=model.publisher, file=file, urls=model.addresses.get(kind, ()), repo=model.repo,
            path=f"{model.repo_folder}/{file}" if model.repo else "", revision=model.revision,
            page=model.pages.get(kind, ""), file_bytes=model.sizes.get(kind, tensors),
            code_base=model.code_base, read=model.read, read_on=model.read_on,
        )  # fmt: skip


def _hash_in(file: str) -> str:
    match = re.search(r"-(?=\d*[a-f])([0-9a-f]{8})\.\w+$", file)  # eight decimal digits are a date
    return match[1] if match else ""


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


#: What an entry of SNGAN_HUB_RECORDS may hold besides the fields of Record.
_SPELLINGS = {"license": "licence", "filename": "file", "url": "urls", "data_license": "data_licence"}
#: Field of an entry -> its types in JSON, and their names
_ENTRY_FIELDS: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(("licence", "data", "data_licence", "about", "limits", "publisher", "file", "repo", "path",
                     "revision", "page", "folder", "config_sha256", "code_base"), ((str,), "a string")),
    **dict.fromkeys(("urls", "mirrors", "classes"), ((str, list), "a string or a list of strings")),
    **dict.fromkeys(("recipe", "scores"), ((dict,), "an object")),
    "sha256": ((str, type(None)), "a string, or null where it is unknown"),
    "parameters": ((int,), "an integer"),
}  # fmt: skip


def with_user_records(records: Mapping[str, Record], path: Path) -> dict[str, Record]:
    """``records`` with those of a JSON file added or replaced, field by field.

    The file is an object {"architecture.tag": {"url": ..., "mirrors": [...], "sha256": ..., "licence": ...}, ...}, or a
    list of such entries with their "name". An entry for a generator's name counts for its discriminator too, unless
    that has an entry of its own: one file often holds both. ``"sha256": null`` stands for a file of unknown hash.
    ``folder`` is a network's folder in this project's format, as `sngan mirror` writes it; a relative path starts from
    the folder of the file.
    Raises ``ValueError`` that names the entry and the field.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{RECORDS_VARIABLE}: {path} is not a readable JSON file ({error})") from error
    if _is_list(content):
        content = {entry.get("name"): entry for entry in content if _is_object(entry)}
    if not _is_object(content):
        raise ValueError(f"{RECORDS_VARIABLE}: {path} must contain an object with the keys architecture.tag")
    result = dict(records)
    for name, entry in content.items():
        if not isinstance(name, str) or not re.fullmatch(r"\w+\.\w+", name) or not _is_object(entry):
            raise ValueError(
                f'{RECORDS_VARIABLE}: {path}: each entry must have the form "architecture.tag": {{...}} (got {name!r})'
            )
        where = f"{RECORDS_VARIABLE}: {path}: {name}"
        architecture, tag = name.split(".")
        base = f"{architecture.removesuffix('_discriminator')}.{tag}"
        kinds = ["discriminator"] if architecture.endswith("_discriminator") else ["generator"]
        if kinds == ["generator"] and _key(base, "discriminator") not in content:
            kinds.append("discriminator")
        for kind in kinds:
            old = records.get(_key(base, kind))
            if old is None and kind != kinds[0] and records.get(_key(base, "generator")) is not None:
                continue  # of this pair only the generator was published
            result[_key(base, kind)] = _user_record(old or Record(base, kind), entry, where, path.parent)
    return result


def _user_record(record: Record, entry: Mapping[str, Any], where: str, home: Path) -> Record:
    """``record`` with the fields of an entry. ``where``: the entry, for messages. ``home``: the folder of its file."""
    fields = _checked_entry(entry, where)
    urls = _addresses(record, fields)
    fields |= _location(record, fields, urls, where, home)
    fields.pop("mirrors", None)  # they are in urls now
    fields["sha256"] = str(fields.get("sha256", record.sha256) or "").lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{0,64}", fields["sha256"]):
        raise ValueError(f"{where}: sha256 must be hexadecimal digits (got {fields['sha256']!r})")
    own = (urls, fields.get("folder"), fields.get("repo"), fields.get("page"))
    if not any((*own, record.folder, record.repo, record.page)):
        raise ValueError(f"{where}: one of url, repo or folder is required")
    file = fields.get("file", record.file)
    if file or urls or fields.get("repo"):
        _check_file_name(file, where)
    return replace(record, **fields)


def _checked_entry(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of an entry by their names in ``Record``, and ``mirrors``; all have the right types."""
    fields = {_SPELLINGS.get(key, key): value for key, value in entry.items() if key not in ("name", "kind")}
    unknown = sorted(set(fields) - set(_ENTRY_FIELDS))
    if unknown:
        raise ValueError(f"{where}: unknown field {', '.join(unknown)}; the allowed fields are name, url, "
                         f"{', '.join(sorted(_ENTRY_FIELDS))}")  # fmt: skip
    for key, value in entry.items():
        types, legal = _ENTRY_FIELDS.get(_SPELLINGS.get(key, key), ((), ""))
        if types and not any(type(value) is one for one in types):
            raise ValueError(f"{where}: {key} must be {legal} (got {value!r})")
    for key, shown in (("urls", "url"), ("mirrors", "mirrors")):
        if key in fields:
            fields[key] = _texts(fields[key], where, shown)
    if "scores" in fields:
        fields["scores"] = _checked_scores(fields["scores"], where)
    if "classes" in fields:
        fields["classes"] = _texts(fields["classes"], where, "classes")
    return fields


def _checked_scores(scores: Mapping[str, Any], where: str) -> Mapping[str, Score]:
    try:
        checked = _scores(scores)
        for name, score in checked.items():
            if type(score.value) not in (int, float) or type(score.n) not in (int, type(None)):
                raise TypeError(f"{name}: value must be a number, and n an integer or null (got {score.value!r} "
                                f"and {score.n!r})")  # fmt: skip
    except TypeError as error:
        raise ValueError(f"{where}: scores: {error}") from error
    return checked


def _addresses(record: Record, fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The addresses of an entry, or else those of ``record``, then the entry's mirrors."""
    published = () if fields.get("repo") else record.urls  # an entry's repository replaces addresses
    if "mirrors" in fields:
        published = published[:1]
    return (*(fields.get("urls") or published), *fields.get("mirrors", ()))


def _location(
    record: Record, fields: Mapping[str, Any], urls: tuple[str, ...], where: str, home: Path
) -> dict[str, Any]:
    """The fields that say where the network is: in a folder, else behind ``urls``, else in a repository."""
    if "folder" in fields:
        if not fields["folder"]:
            raise ValueError(f"{where}: folder must be a path (got {fields['folder']!r})")
        folder = user_path(fields["folder"], f"{where}: folder")
        if not re.fullmatch(r"[0-9a-f]{64}", str(fields.get("sha256"))):
            raise ValueError(f"{where}: a folder needs the sha256 of its model.safetensors")
        return {"folder": (home / folder).absolute(), "urls": (), "repo": ""}
    if urls:
        given = fields.get("urls")
        file = fields.get("file", record.file or urls[0].split("?")[0].rstrip("/").split("/")[-1])
        sha256 = fields.get("sha256", (_hash_in(given[0]) if given else "") or record.sha256)
        return {"urls": urls, "folder": None, "repo": "", "file": file, "sha256": sha256}
    if fields.get("repo"):
        file = fields.get("file", str(fields.get("path", record.path)).split("/")[-1])
        revision = fields.get("revision", record.revision or "main")
        return {"urls": (), "folder": None, "file": file, "revision": revision}
    return {"urls": ()}


def _check_file_name(file: str, where: str) -> None:
    if {"", ".", ".."} & set(file.split("/")) or re.match(r"[A-Za-z]:|.*[\\\0]", file):
        raise ValueError(f"{where}: file must be a file name or a path below the cache folder, such as "
                         f"generator/model.safetensors, without .., drive or backslash (got {file!r})")  # fmt: skip


def user_path(text: str, said: str) -> Path:
    """A path that may begin with ~ or ~NAME. ``said``: where it was given, for the message.

    Raises ``ValueError`` if the home folder is unknown.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # no user NAME, or no HOME
        raise ValueError(f"{said}: the home folder of {Path(text).parts[0]} is unknown on this machine (got {text}); "
                         f"write the whole path of the folder") from error  # fmt: skip


def _texts(value: Any, where: str, field: str) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not _is_list(values) or not all(isinstance(v, str) and v for v in values):
        raise ValueError(f"{where}: {field} must be a string or a list of strings (got {value!r})")
    return tuple(values)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_object(value: object) -> TypeGuard[dict[Any, Any]]:
    """Whether a value that JSON gave is an object."""
    return isinstance(value, dict)


_WEIGHTS = _Weights()
WEIGHTS: Mapping[str, Record] = _WEIGHTS
#: The same without the user's own records
BUILT_IN: Mapping[str, Record] = MappingProxyType(_WEIGHTS.built_in)


# ---------------------------------------------------------------------------------------------------------------------
# Finding one


def default_tag(architecture: str) -> str | None:
    tags = [r.tag for r in WEIGHTS.values() if r.architecture == architecture and r.kind == "generator"]
    return DEFAULT_TAGS.get(architecture) or (tags[0] if tags else None)


def is_tag(architecture: str, tag: str, kind: str) -> bool:
    """Whether there are weights ``tag`` of an architecture."""
    return _key(f"{architecture}.{tag}", kind) in WEIGHTS


def find_record(name: str, kind: str, tag: str | None = None) -> Record:
    """``architecture``, ``architecture.tag`` or the same with ``_discriminator`` -> the record of its ``kind``.

    Raises ``ValueError`` with the nearest names, or with what to do where an architecture has no weights here.
    """
    from ..networks.registry import MODELS

    architecture, _, given = name.partition(".")
    architecture = architecture.removesuffix("_discriminator")
    tag = tag or given or default_tag(architecture)
    record = WEIGHTS.get(_key(f"{architecture}.{tag}", kind))
    if record is not None:
        return record
    own = [r for r in WEIGHTS.values() if r.architecture == architecture]
    tags = ", ".join(sorted(r.tag for r in own if r.kind == kind))
    other = WEIGHTS.get(_key(f"{architecture}.{tag}", KINDS[kind == "generator"]))
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
