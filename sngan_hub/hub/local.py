"""A record -> the verified folder of its network on this machine."""

# _save_pretrained, the Hub mixin's hook, writes a network's two files; save_pretrained a card as well:
# pyright: reportPrivateUsage=false

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..convert import Converted, Options, convert_file
from ..files import write_atomically, write_folder, write_json
from ..networks.base import AnyDiscriminator, AnyGenerator
from ..networks.mixin import CONFIG_NAME, SAFETENSORS_SINGLE_FILE, OtherKind
from ..sampling.refine import CALIBRATION
from ..weights.record import KINDS, Record, key_of
from ..weights.records import WEIGHTS
from .cache import cache_folder, forget, keep_first, one_process_at_a_time, place, sha256_of
from .download import Fetched, fetch

PROVENANCE = "source.json"  # beside a converted network: its source file, and the hash of the converted file


def local_folder(record: Record) -> Path:
    """The local folder of the record's network. Published weights are downloaded, verified and converted on first use.

    Raises ``FileNotFoundError`` or ``ValueError``; the message states what to do.
    """
    if record.folder is not None:
        verify(record)
        return record.folder
    folder = cached_folder(record)
    if not _is_ready(folder, record):
        with one_process_at_a_time(cache_folder() / "weights" / f"{record.name}.lock"):
            if not _is_ready(folder, record):  # another process may have been faster
                _fetch_and_convert(record)
    return folder


def cached_folder(record: Record) -> Path:
    """The folder of a published network in the cache, after conversion."""
    return cache_folder() / "weights" / record.name / record.kind


def is_cached(record: Record) -> bool:
    """Whether the name loads without a network connection."""
    return record.folder is not None or is_made_of(cached_folder(record), record) or place(record).is_file()


def is_made_of(folder: Path, record: Record) -> bool:
    """Whether ``folder`` was converted from the record's file, as the record says."""
    made = provenance(folder)
    return made is not None and _is_of(record, made["file"], made["sha256"], made.get("asked", _asked(record)))


def _is_of(record: Record, file: str, sha256: str, asked: str) -> bool:
    """Whether a network that was converted from ``file`` is the record's."""
    return file == record.file and sha256.startswith(record.sha256) and asked == _asked(record)


def _asked(record: Record) -> str:
    """What decides about a conversion besides the file: the code base and, without a hash, the addresses."""
    source = [] if record.sha256 else [record.urls, record.repo, record.path, record.revision]
    return hashlib.sha256(json.dumps([record.code_base, source]).encode()).hexdigest()[:16]


def damage(folder: Path) -> str:
    """What is wrong with a converted network in the cache; empty if it is as it was written."""
    made = provenance(folder) or {}
    for name, key in ((SAFETENSORS_SINGLE_FILE, "converted_sha256"), (CONFIG_NAME, "converted_config_sha256")):
        if not (folder / name).is_file():
            return f"{name} is missing"
        if key in made and sha256_of(folder / name) != made[key]:
            return f"{name} is damaged or changed"
    return ""


def _is_ready(folder: Path, record: Record) -> bool:
    return is_made_of(folder, record) and not damage(folder)


def provenance(folder: Path) -> dict[str, str] | None:
    """The content of source.json beside a converted network; None if there is none."""
    try:
        made = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
        return made if {"file", "sha256", "converted_sha256", "revision"} <= made.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _fetch_and_convert(record: Record) -> None:
    home = cached_folder(record).parent
    fetched = fetch(record, commit_of_partner(record))
    try:
        for one in _converted(record, fetched):
            other = WEIGHTS.get(key_of(record.name, one.kind)) if one.kind != record.kind else None
            if other and not _is_of(other, record.file, fetched.sha256, _asked(record)):
                continue  # the pair's other network is from another file
            if record.classes and len(record.classes) == one.network.n_classes:
                one.network.name_classes(record.classes)
            folder = home / one.kind
            if not (_is_ready(folder, record) and (provenance(folder) or {})["sha256"] == fetched.sha256):
                write_folder(folder, partial(_save_converted, one, record, fetched, folder))
    except ValueError:
        if fetched.source != "file":  # left there, it would be taken for the user's own file
            forget(fetched.path)
        raise
    except BaseException:  # such as a config.json that does not come, or a full disk; the file itself may be right
        if fetched.path == place(record) and fetched.source != "file":
            os.replace(fetched.path, fetched.path.with_name(f"{fetched.path.name}.part"))  # the next call goes on there
        raise
    if fetched.source != "file":
        if not fetched.revision:
            keep_first(record, fetched.sha256, fetched.source)
        forget(fetched.path)  # no longer needed: the converted folders contain everything


def commit_of_partner(record: Record) -> str:
    """The commit of the pair's other network, if it is of the same repository and the record names no commit."""
    partner = provenance(cached_folder(record).parent / KINDS[record.kind == "generator"]) or {}
    same = bool(record.repo) and f"/{record.repo}/" in partner.get("from", "")
    return partner["revision"] if same and not re.fullmatch("[0-9a-f]{40}", record.revision) else ""


def _converted(record: Record, fetched: Fetched) -> list[Converted]:
    if record.file.endswith(SAFETENSORS_SINGLE_FILE):
        converted = [_in_own_format(record, fetched)]
    else:
        converted = convert_file(fetched.path, Options(code_base=record.code_base or None), record.file)
    if record.kind not in [one.kind for one in converted]:
        raise OtherKind(f"{record.key}: {record.file} does not contain a {record.kind}")
    return converted


def _in_own_format(record: Record, fetched: Fetched) -> Converted:
    """The network of a mirror, whose file lies beside its config.json, at the same address but for the name."""
    config = fetch(beside(record, CONFIG_NAME, record.config_sha256), fetched.revision)
    try:
        with tempfile.TemporaryDirectory() as name:
            for path, file in ((config.path, CONFIG_NAME), (fetched.path, SAFETENSORS_SINGLE_FILE)):
                shutil.copyfile(path, Path(name) / file)
            cls = AnyGenerator if record.kind == "generator" else AnyDiscriminator
            network = cls.from_pretrained(name)
    finally:
        if config.source != "file":
            forget(config.path)
    return Converted(network, "sngan-hub", ("in this project's format",))


def beside(record: Record, name: str, sha256: str) -> Record:
    """The record of another file beside a file in this project's own format."""

    def renamed(address: str) -> str:  # a query may follow the file's name, or contain it
        return re.sub(rf"{re.escape(SAFETENSORS_SINGLE_FILE)}(?=$|[?&#])", name, address)

    return replace(record, file=renamed(record.file), urls=tuple(map(renamed, record.urls)),
                   path=record.path and renamed(record.path), sha256=sha256, parameters=0)  # fmt: skip


def fetch_calibration(record: Record) -> None:
    """Fetches the calibration of a cached discriminator from where its weights are, if its record has one.

    A calibration that is there already is left: a user may have fitted it.
    """
    path = cached_folder(record) / CALIBRATION
    own_format = record.file.endswith(SAFETENSORS_SINGLE_FILE)
    if record.folder or path.is_file() or not (own_format and record.calibration_sha256):
        return
    with one_process_at_a_time(cache_folder() / "weights" / f"{record.name}.lock"):
        revision = (provenance(path.parent) or {}).get("revision", "")
        fetched = fetch(beside(record, CALIBRATION, record.calibration_sha256), revision)
        write_atomically(path, partial(shutil.copyfile, fetched.path))
        if fetched.source != "file":
            forget(fetched.path)


def _save_converted(one: Converted, record: Record, fetched: Fetched, old: Path, folder: Path) -> None:
    """Fills ``folder``, which replaces ``old``."""
    one.network._save_pretrained(folder)
    made = {"file": record.file, "from": fetched.source, "sha256": fetched.sha256, "revision": fetched.revision,
            "asked": _asked(record), "converted_sha256": sha256_of(folder / SAFETENSORS_SINGLE_FILE),
            "converted_config_sha256": sha256_of(folder / CONFIG_NAME), "notes": one.notes}  # fmt: skip
    write_json(folder / PROVENANCE, made)
    if (old / CALIBRATION).is_file():  # a user fitted it, which takes minutes
        if (provenance(old) or {}).get("converted_sha256") == made["converted_sha256"]:
            shutil.copy(old / CALIBRATION, folder)
        else:
            say_calibration_removed(record.name, one.kind)


def say_calibration_removed(name: str, kind: str) -> None:
    print(f"{name}: the weights of the {kind} have changed, so their {CALIBRATION} was removed; fit it again with "
          f"sngan probe --calibrate", file=sys.stderr)  # fmt: skip


def verify(record: Record) -> None:
    """Raises ``ValueError`` if a file that is included, or in a mirror's folder, does not have its record's hash."""
    assert record.folder is not None
    hashes = {SAFETENSORS_SINGLE_FILE: record.sha256, CONFIG_NAME: record.config_sha256}
    for name, expected in hashes.items():
        path = record.folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path}: the file is missing; {_remedy(record)}")
        if not expected and name == CONFIG_NAME:  # the records of included models have no hash for it
            continue
        found = sha256_of(path)
        if found != expected:
            raise ValueError(f"{path}: sha256 must be {expected[:16]}... (got {found[:16]}...); the file is damaged "
                             f"or was changed; {_remedy(record)}")  # fmt: skip


def _remedy(record: Record) -> str:
    return "reinstall sngan-hub" if record.where == "shipped" else "mirror it again with sngan mirror"
