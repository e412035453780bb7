"""Mirrors of published weights: fetched, converted, and laid out with cards and a file for SNGAN_HUB_RECORDS.

A mirror contains NAME/generator and NAME/discriminator, each with config.json, model.safetensors and a card, and
calibration.json if the source has one; a README.md with the licences; and records.json, whose entries lead to these
folders, to an address, or to a repository.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import CommitOperationAdd, HfApi, ModelCardData
from huggingface_hub.errors import RemoteEntryNotFoundError

from ..files import as_json, write_folder, write_json, write_text
from ..networks.card import PIPELINES, as_text, listed, use_snippet
from ..networks.mixin import CONFIG_NAME, SAFETENSORS_SINGLE_FILE, OtherKind, read_config
from ..networks.repository import check_private, create_repo
from ..sampling.refine import CALIBRATION
from ..text import first_line
from ..weights.record import Record
from ..weights.records import BUILT_IN, WEIGHTS, find_record
from ..weights.user_records import RECORDS_VARIABLE
from .cache import cache_folder, one_process_at_a_time, sha256_of
from .cards import licence_of, score_table
from .errors import hub_errors
from .local import fetch_calibration, local_folder, provenance, say_calibration_removed, verify
from .resolve import REPOSITORY

RECORDS, CARD, LOCK = "records.json", "README.md", ".records.json.lock"


def is_repository(target: str) -> bool:
    """Whether the target of a mirror is a Hub repository: NAMESPACE/NAME whose first part is no local folder."""
    return bool(REPOSITORY.fullmatch(target)) and not Path(target).exists() and not Path(target).parent.is_dir()


def pairs_of(names: Sequence[str]) -> list[list[Record]]:
    """The records of each name: the generator and, if it is published, the discriminator.

    Raises ``ValueError`` for an unknown name, before anything is downloaded.
    """
    pairs: list[list[Record]] = []
    for name in names:
        first = find_record(name, "generator")
        pairs.append([record for record in WEIGHTS.values() if record.name == first.name])
    return pairs


def mirror_to_folder(names: Sequence[str], folder: Path, url: str = "") -> Iterator[str]:
    """Mirrors models to a folder. Networks that are there already are not copied again.

    Args:
        names: ``architecture`` or ``architecture.tag``.
        folder: Created if needed; it may contain other models of a mirror, which stay in records.json.
        url: Address at which the folder will be served; empty: records.json leads to the folder itself.

    Yields:
        A line for each network and each licence, as it is done.

    Raises:
        ValueError: A name is unknown, ``url`` is not an address, or the folder is not a mirror.
        FileNotFoundError: A file cannot be downloaded; what was mirrored before stays.
    """
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc):
        raise ValueError(f"url must be the http or https address of the served folder (got {url!r})")
    yield from _mirrored(names, folder, url)
    yield f"{folder / RECORDS}: use it with {RECORDS_VARIABLE}={folder / RECORDS}"


def _mirrored(names: Sequence[str], folder: Path, url: str = "") -> Iterator[str]:
    """``mirror_to_folder`` without the line that says how to use the folder."""
    before = _entries(folder)  # before anything is downloaded
    for records in pairs_of(names):
        for record in records:
            place = folder / record.name / record.kind
            written = before.get(record.key, {})
            if record.folder == place.absolute():  # SNGAN_HUB_RECORDS names this mirror
                record = _repairing(record, written)
            try:
                done = _copy(record, place, written.get("sha256"))
            except OtherKind as error:
                if record.kind == "discriminator" and replace(record, kind="generator") in records:
                    yield f"{error}; the generator is mirrored alone"  # a user's entry, which counts for both
                    continue
                raise
            yield done
            entry = _described(record, place)
            file = f"{record.name}/{record.kind}/{SAFETENSORS_SINGLE_FILE}"
            if url:
                entry["url"] = f"{url.rstrip('/')}/{file}"
            else:
                entry["folder"] = f"{record.name}/{record.kind}"
            with one_process_at_a_time(folder / LOCK, "writing"):  # another call may have added models meanwhile
                old = _entries(folder)
                if page := old.get(record.key, {}).get("page"):
                    entry["page"] = page  # of the first source, not of the mirror that the copy came from
                entries = {**old, record.key: entry}
                write_json(folder / RECORDS, entries)
                write_text(folder / CARD, _overview(entries))
        yield f"{records[0].name}: {_licence(records[0])}"


def _repairing(record: Record, entry: Mapping[str, Any]) -> Record:
    """The published record that a damaged copy was made from; the copy's own record where it is whole.

    Raises ``ValueError`` for a damaged copy of anything else: the record leads to nothing but the copy itself.
    """
    published = BUILT_IN.get(record.key)
    try:
        verify(record)
    except (ValueError, OSError) as error:
        if published is not None and entry.get("page") == _origin(published):
            return published
        raise ValueError(f"{record.key}: the copy in {record.folder} is damaged or cannot be read, and "
                         f"{RECORDS_VARIABLE} names no other source; set it to the records that the copy was made "
                         f"from, and run sngan mirror again") from error  # fmt: skip
    return record


def mirror_to_hub(names: Sequence[str], repo: str, private: bool, records: Path) -> Iterator[str]:
    """Mirrors models to one repository of the Hub, and writes its records file to ``records``.

    Args:
        names: ``architecture`` or ``architecture.tag``.
        repo: NAMESPACE/NAME, created if needed; it may contain other models of a mirror, which stay in its records.
        private: Create it as private.
        records: Where to write the records file; other entries of it stay. The repository gets the new ones too.

    Yields:
        A line for each network, licence and upload, as it is done.

    Raises:
        ValueError: A name is unknown, the repository's records.json or ``records`` is another file, or the repository
            must be private and is public.
        PermissionError: The namespace is not the user's; nothing was downloaded.
        OSError: A download or the upload failed; a repeated call uploads what is missing.
    """
    _kept(records)  # before anything is downloaded
    api = HfApi()
    with hub_errors(repo):
        if private and api.repo_exists(repo):
            check_private(api, repo)  # before anything is downloaded
        who = api.whoami()
    owner = repo.partition("/")[0]
    mine = [who["name"], *(organization["name"] for organization in who.get("orgs", []))]
    if owner not in mine:
        raise PermissionError(f"target: {owner} is not a namespace of your Hub account ({', '.join(mine)}); for a "
                              f"folder of this machine, write ./{repo}")  # fmt: skip
    yield f"{repo}: a repository on {api.endpoint}; for a folder of this machine, write ./{repo}"
    folder = cache_folder() / "mirrors" / repo.replace("/", "--")
    yield from _mirrored(names, folder)
    own = _entries(folder)
    mirrored = [record for pair in pairs_of(names) for record in pair if record.key in own]
    each = (CONFIG_NAME, SAFETENSORS_SINGLE_FILE, CARD, CALIBRATION)
    files = [f"{one.name}/{one.kind}/{file}" for one in mirrored for file in each]
    with hub_errors(repo):
        create_repo(api, repo, private)
        commit = api.upload_folder(repo_id=repo, folder_path=folder, allow_patterns=files,
                                   commit_message="Mirror of published weights")  # fmt: skip
        entries = _published(api, repo, commit.oid)  # also those that other machines have uploaded
        for one in mirrored:
            entry = {key: value for key, value in own[one.key].items() if key != "folder"}
            path = f"{one.name}/{one.kind}/{SAFETENSORS_SINGLE_FILE}"
            entries[one.key] = {**entry, "repo": repo, "path": path, "revision": commit.oid}
        write_json(records, {**_kept(records), **entries})
        # With parent_commit, the Hub refuses records that do not contain what another machine has added meanwhile.
        texts = [CommitOperationAdd(RECORDS, as_json(entries).encode()),
                 CommitOperationAdd(CARD, _overview(entries).encode())]  # fmt: skip
        api.create_commit(repo, texts, commit_message="Records of the mirror", parent_commit=commit.oid)
    yield f"{api.endpoint}/{repo}: commit {commit.oid}"
    yield f"{records}: use it with {RECORDS_VARIABLE}={records}"


def _entries(folder: Path) -> dict[str, dict[str, Any]]:
    """The records that a mirror's folder has. Raises ``ValueError`` for a folder with other content."""
    path = folder / RECORDS
    if path.is_file():
        return _read(path, str(path))
    if folder.exists() and (not folder.is_dir() or any(p.name not in (*WEIGHTS, LOCK) for p in folder.iterdir())):
        raise ValueError(f"target: {folder} exists and is not a mirror; choose another folder")
    return {}


def _published(api: HfApi, repo: str, revision: str) -> dict[str, dict[str, Any]]:
    """The records that a mirror's repository has at this commit."""
    try:
        path = api.hf_hub_download(repo, RECORDS, revision=revision)
    except RemoteEntryNotFoundError:
        return {}
    return _read(Path(path), f"{repo}: {RECORDS}")


def _kept(records: Path) -> dict[str, dict[str, Any]]:
    """What a user's records file has already."""
    if not records.exists():
        return {}
    try:
        return _read(records, str(records))
    except (ValueError, OSError) as error:
        raise ValueError(f"records: {error}, so nothing can be added to it; choose another file") from error


def _read(path: Path, source: str) -> dict[str, dict[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{source}: this is not the records file of a mirror ({error})") from error
    if isinstance(entries, dict) and all(isinstance(entry, dict) for entry in entries.values()):
        return entries
    raise ValueError(f"{source}: this is not the records file of a mirror")


def _copy(record: Record, place: Path, recorded: str | None) -> str:
    """Copies the network of a record to ``place``, with a card -> a line that says so.

    ``recorded``: the sha256 of the weights that an earlier call has written there, which may be damaged now.
    """
    source = local_folder(record)
    try:
        fetch_calibration(record)
    except (OSError, ValueError) as error:  # the networks are of use without it
        print(f"{record.key}: copied without its calibration, which could not be fetched ({first_line(error)})",
              file=sys.stderr)  # fmt: skip
    files = (CONFIG_NAME, SAFETENSORS_SINGLE_FILE)
    calibrated = (place / CALIBRATION).is_file()
    if all((place / file).is_file() and sha256_of(place / file) == sha256_of(source / file) for file in files):
        if calibrated or not (source / CALIBRATION).is_file():
            return f"{record.key}: is in {place}"

    def fill(folder: Path) -> None:
        for file in files:
            shutil.copyfile(source / file, folder / file)
        if calibrated and recorded == sha256_of(folder / SAFETENSORS_SINGLE_FILE):  # a user may have fitted it
            shutil.copyfile(place / CALIBRATION, folder / CALIBRATION)
        elif (source / CALIBRATION).is_file():
            shutil.copyfile(source / CALIBRATION, folder / CALIBRATION)
        elif calibrated:
            say_calibration_removed(record.name, record.kind)
        (folder / CARD).write_text(_card(record, source), encoding="utf-8")

    write_folder(place, fill)
    return f"{record.key}: {place}, {(place / SAFETENSORS_SINGLE_FILE).stat().st_size / 1e6:.1f} MB"


def _described(record: Record, place: Path) -> dict[str, Any]:
    """The entry of a records file, without the address."""
    calibration = place / CALIBRATION
    return {
        "file": f"{record.kind}/{SAFETENSORS_SINGLE_FILE}",
        "sha256": sha256_of(place / SAFETENSORS_SINGLE_FILE),
        "config_sha256": sha256_of(place / CONFIG_NAME),
        **({"calibration_sha256": sha256_of(calibration)} if calibration.is_file() else {}),
        "licence": record.licence, "publisher": record.publisher, "data": record.data,
        "data_licence": record.data_licence, "about": record.about, "limits": record.limits,
        "classes": list(record.classes), "parameters": record.parameters, "page": _origin(record),
    }  # fmt: skip


def _origin(record: Record) -> str:
    """Where the published file is. The record of a mirror states it; its address is that of a copy."""
    if record.page and record.file.endswith(SAFETENSORS_SINGLE_FILE):
        return record.page
    hub = f"https://huggingface.co/{record.repo}/blob/{record.revision}/{record.path}" if record.repo else ""
    return (record.urls[0] if record.urls else "") or hub or record.page


def _licence(record: Record) -> str:
    who = record.publisher or "this project"
    if "not stated" in record.licence:
        return f"licence: {record.licence} by {who}; ask {who} before you publish copies"
    return f"licence: {record.licence}, stated by {who}"


def _card(record: Record, source: Path) -> str:
    """The card of a mirrored network: where it is from, what its licence is, and how to use it."""
    licence, licence_name = licence_of(record.licence)
    data = ModelCardData(
        license=licence, license_name=licence_name, library_name="sngan-hub", pipeline_tag=PIPELINES[record.kind],
        tags=["gan", "sngan", "spectral-normalization", record.kind, "pytorch"],
    )  # fmt: skip
    made: Mapping[str, Any] = provenance(source) or {}
    notes = "\n".join(f"* {as_text(note)}" for note in made.get("notes", ()))
    size = read_config(source / CONFIG_NAME).get("size", 0)
    file = f" File: {record.file}, sha256 `{made['sha256']}`." if made else ""
    classes = f"Classes: {listed(record.classes)}.\n\n" if record.classes else ""
    scores = f"## Scores\n\nAs stated by {record.publisher}.\n\n{_scores(record)}\n" if record.scores else ""
    return f"""---
{data.to_yaml().strip()}
---

# {record.name}, {record.kind}

A copy of weights published by {record.publisher or "sngan-hub"}, in the format of sngan-hub. {record.about}.
{record.parameters:,} parameters. Source: {_origin(record) or "included in sngan-hub"}.{file}

{_licence(record)[0].upper()}{_licence(record)[1:]}. Data: {record.data}; data licence: {record.data_licence}.

```python
{use_snippet(record.kind, record.classes, record.name, int(size or 0))}
```

{classes}{f"Conversion:{chr(10)}{chr(10)}{notes}{chr(10)}" if notes else ""}
{scores}"""


def _scores(record: Record) -> str:
    if not record.publisher:
        return score_table(record)
    lines = ["| protocol | value | images | evaluator |", "|---|---|---|---|"]
    for name, score in record.scores.items():
        n = "not stated" if score.n is None else f"{score.n:,}"
        lines.append(f"| `{name}` | {score.value:.4g} | {n} | {score.evaluator} |")
    return "\n".join(lines)


def _overview(entries: Mapping[str, Mapping[str, Any]]) -> str:
    rows = "\n".join(
        f"| {key} | {entry.get('licence', 'not stated')} | {entry.get('publisher') or 'sngan-hub'} | "
        f"{entry.get('page') or '-'} |"
        for key, entry in entries.items()
    )
    return f"""# Mirror of published weights

Copies in the format of sngan-hub. To load them by name, set {RECORDS_VARIABLE} to records.json.
A licence that is not stated gives no permission: ask the publisher before you publish copies.

| weights | licence | publisher | source |
|---|---|---|---|
{rows}
"""
