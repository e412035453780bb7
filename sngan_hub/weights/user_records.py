"""The user's own records: a JSON file, named by ``SNGAN_HUB_RECORDS``, that adds to the built-in ones."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

from ..files import user_path
from .record import Record, Score, hash_in, key_of, scores_of

RECORDS_VARIABLE = "SNGAN_HUB_RECORDS"

#: What an entry of SNGAN_HUB_RECORDS may hold besides the fields of Record.
_SPELLINGS = {"license": "licence", "filename": "file", "url": "urls", "data_license": "data_licence"}
#: Field of an entry -> its types in JSON, and their names
_ENTRY_FIELDS: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(("licence", "data", "data_licence", "about", "limits", "publisher", "file", "repo", "path",
                     "revision", "page", "folder", "config_sha256", "calibration_sha256", "code_base"),
                    ((str,), "a string")),
    **dict.fromkeys(("urls", "mirrors", "classes"), ((str, list), "a string or a list of strings")),
    **dict.fromkeys(("recipe", "scores"), ((dict,), "an object")),
    "sha256": ((str, type(None)), "a string, or null where it is unknown"),
    "parameters": ((int,), "an integer"),
}  # fmt: skip
#: Fields that state where one file is, and what it contains
_OF_ONE_FILE = {"urls", "mirrors", "sha256", "file", "path", "folder", "config_sha256", "calibration_sha256",
                "code_base", "parameters"}  # fmt: skip


def with_user_records(records: Mapping[str, Record], path: Path) -> dict[str, Record]:
    """``records`` with those of a JSON file added or replaced, field by field.

    The file is an object {"architecture.tag": {"url": ..., "mirrors": [...], "sha256": ..., "licence": ...}, ...}, or a
    list of such entries with their "name". An entry for a generator's name counts for its discriminator too, unless
    that has an entry of its own: one file often holds both. Where the two are known to be in different files, only
    what does not state a file counts for both. ``"sha256": null`` stands for a file of unknown hash.
    ``folder`` is a network's folder in this project's format, as `sngan mirror` writes it; a relative path starts from
    the folder of the file.
    Raises ``ValueError`` that names the entry and the field.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{RECORDS_VARIABLE}: {path} is not a readable JSON file ({error})") from error
    if _is_list(content):
        content = _by_name(content, path)
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
        kind = "discriminator" if architecture.endswith("_discriminator") else "generator"
        if entry.get("kind", kind) != kind:
            raise ValueError(f"{where}: kind must be {kind}, as the name says (got {entry['kind']!r}); the name of a "
                             f"discriminator is ARCHITECTURE_discriminator.TAG")  # fmt: skip
        old = records.get(key_of(base, kind))
        record = result[name] = _user_record(old or Record(base, kind), entry, where, path.parent)
        partner = key_of(base, "discriminator")
        if kind == "generator" and partner not in content:
            shared = _of_both(record, old, records.get(partner), entry)
            if shared:
                record = records.get(partner) or Record(base, "discriminator")
                result[partner] = _user_record(record, shared, where, path.parent)
    for name, entry in content.items():
        record = result[name]
        generator = result.get(record.name)
        named = name in records or not {"file", "filename"}.isdisjoint(entry)
        if record.kind == "discriminator" and generator and not named and _share_a_place(record, generator):
            result[name] = replace(record, file=f"discriminator/{record.file}")
    return result


def _by_name(entries: list[Any], path: Path) -> dict[str, Any]:
    """The list form of a records file as an object."""
    content: dict[str, Any] = {}
    for entry in entries:
        name = entry.get("name") if _is_object(entry) else None
        if not isinstance(name, str):
            raise ValueError(f'{RECORDS_VARIABLE}: {path}: each entry of a list must be an object with a "name" '
                             f"architecture.tag (got {str(entry)[:60]})")  # fmt: skip
        if name in content:
            raise ValueError(f"{RECORDS_VARIABLE}: {path}: there are two entries named {name}; a discriminator's is "
                             f"named ARCHITECTURE_discriminator.TAG")  # fmt: skip
        content[name] = entry
    return content


def _of_both(
    record: Record, published: Record | None, partner: Record | None, entry: Mapping[str, Any]
) -> Mapping[str, Any]:
    """What an entry of a generator states about its discriminator; empty if there is no discriminator.

    Args:
        record: The generator's record, with the entry.
        published: The generator's built-in record.
        partner: The built-in record of the discriminator.
    """
    if partner is None and published is not None:
        return {}  # of this pair only the generator was published
    alone = record.folder is not None or record.file.endswith("model.safetensors")  # this format: one network a file
    if partner is None or published is None:
        return {} if alone else entry
    if not alone and published.file == partner.file:
        return entry
    shared = {key: value for key, value in entry.items() if _SPELLINGS.get(key, key) not in _OF_ONE_FILE}
    if "path" in entry:
        shared.pop("repo", None)
        shared.pop("revision", None)
    drive = [url for url in record.urls if "/folders/" in url]  # folders of Google Drive, where names count
    if drive and len(drive) == len(record.urls):
        shared |= {key: entry[key] for key in ("url", "urls", "mirrors") if key in entry}
    return shared


def _share_a_place(one: Record, other: Record) -> bool:
    """Whether two different files would have one place in the cache."""
    sources = [(record.urls, record.repo, record.path, record.revision) for record in (one, other)]
    known = len(one.sha256) == len(other.sha256) == 64  # then each is recognised wherever it lies
    return one.folder is None and one.file == other.file and sources[0] != sources[1] and not known


def _user_record(record: Record, entry: Mapping[str, Any], where: str, home: Path) -> Record:
    """``record`` with the fields of an entry. ``where``: the entry, for messages. ``home``: the folder of its file."""
    fields = _checked_entry(entry, where)
    urls = _addresses(record, fields, where)
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
        checked = scores_of(scores)
        for name, score in checked.items():
            if type(score.value) not in (int, float) or type(score.n) not in (int, type(None)):
                raise TypeError(f"{name}: value must be a number, and n an integer or null (got {score.value!r} "
                                f"and {score.n!r})")  # fmt: skip
    except TypeError as error:
        raise ValueError(f"{where}: scores: {error}") from error
    return checked


def _addresses(record: Record, fields: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """The addresses of an entry, or else those of ``record``, then the entry's mirrors."""
    published = () if fields.get("repo") else record.urls  # an entry's repository replaces addresses
    elsewhere = fields.get("folder") or fields.get("repo") or record.repo or record.folder
    if fields.get("mirrors") and not (fields.get("urls") or published) and elsewhere:
        raise ValueError(f"{where}: mirrors are further addresses of a url, but this file is in {elsewhere}; to "
                         f"download it from addresses alone, write url")  # fmt: skip
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
        sha256 = fields.get("sha256", (hash_in(given[0]) if given else "") or record.sha256)
        return {"urls": urls, "folder": None, "repo": "", "file": file, "sha256": sha256}
    if fields.get("repo"):
        path = fields.get("path") or record.path or fields.get("file") or record.file
        if not path:
            raise ValueError(f"{where}: a repo needs the path of the file in it, such as generator/model.safetensors")
        file = fields.get("file", path.split("/")[-1])
        revision = fields.get("revision", record.revision or "main")
        return {"urls": (), "folder": None, "file": file, "path": path, "revision": revision}
    return {"urls": ()}


def _check_file_name(file: str, where: str) -> None:
    if {"", ".", ".."} & set(file.split("/")) or re.match(r"[A-Za-z]:|.*[\\\0]", file):
        raise ValueError(f"{where}: file must be a file name or a path below the cache folder, such as "
                         f"generator/model.safetensors, without .., drive or backslash (got {file!r})")  # fmt: skip


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
