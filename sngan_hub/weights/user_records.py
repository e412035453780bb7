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
        if kinds == ["generator"] and key_of(base, "discriminator") not in content:
            kinds.append("discriminator")
        for kind in kinds:
            old = records.get(key_of(base, kind))
            if old is None and kind != kinds[0] and records.get(key_of(base, "generator")) is not None:
                continue  # of this pair only the generator was published
            result[key_of(base, kind)] = _user_record(old or Record(base, kind), entry, where, path.parent)
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
        checked = scores_of(scores)
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
        sha256 = fields.get("sha256", (hash_in(given[0]) if given else "") or record.sha256)
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
