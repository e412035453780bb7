"""The cache: where files lie, their hashes, the hashes of first downloads, and locks between processes."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ..files import nearest_existing, user_path, write_json
from ..weights.record import Record


def cache_folder() -> Path:
    """The folder of downloads and generated data. It may not exist yet.

    Returns:
        ``$SNGAN_HUB_CACHE``, by default sngan_hub in the user's cache folder.

    Raises:
        ValueError: if the variable names a home folder that does not exist.
    """
    base = os.environ.get("SNGAN_HUB_CACHE")
    if base:
        return user_path(base, "SNGAN_HUB_CACHE").absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return user_path(base or "~/.cache", "XDG_CACHE_HOME" if base else "SNGAN_HUB_CACHE is not set") / "sngan_hub"


def place(record: Record) -> Path:
    """The path of the record's file in the cache. Users can put the file there by hand."""
    return cache_folder() / "downloads" / record.name / record.file


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def forget(path: Path) -> None:
    """Removes a downloaded file. A file from the Hub is a link: its target is removed too."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


# ---------------------------------------------------------------------------------------------------------------------
# Hashes of first downloads, for files whose publisher states none


def first_downloads() -> Path:
    """The file with the hashes of first downloads: beside the cache folder, so that it outlives an emptied cache, or
    in it if the folder above cannot be written.
    """
    folder = cache_folder()
    if not folder.name:  # the root of a drive
        return folder / "first_downloads.json"
    beside = folder.with_name(f"{folder.name}_first_downloads.json")
    inside = folder / "first_downloads.json"
    if inside.is_file() or not (beside.is_file() or os.access(nearest_existing(beside.parent), os.W_OK)):
        return inside
    return beside


def first_hash(record: Record) -> str:
    """The sha256 of the first download of the record's file; empty if there was none."""
    return _read_first(first_downloads()).get(_entry(record), {}).get("sha256", "")


def check_first(record: Record, sha256: str) -> str:
    """Why a downloaded file is refused: it differs from the first download. Empty if it does not."""
    if len(record.sha256) == 64:
        return ""
    path = first_downloads()
    first = _read_first(path).get(_entry(record))
    if not first or first["sha256"] == sha256:
        return ""
    return (f"{record.file} has changed: sha256 {sha256[:16]}..., but {first['sha256'][:16]}... at the first download "
            f"({first['date']}), and the publisher states none; to accept the new file, remove the entry "
            f"{_entry(record)!r} from {path}")  # fmt: skip


def keep_first(record: Record, sha256: str, source: str) -> None:
    """Stores the sha256 of the first download of a file that has no published one."""
    if len(record.sha256) == 64:
        return
    path = first_downloads()
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        known = _read_first(path)
        if _entry(record) not in known:
            known[_entry(record)] = {"sha256": sha256, "date": time.strftime("%Y-%m-%d"), "from": source}
            write_json(path, known)


def _entry(record: Record) -> str:
    return f"{record.name}/{record.file}"


def _read_first(path: Path) -> dict[str, dict[str, str]]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: the hashes of first downloads cannot be read ({error}); repair or remove the file "
                         f"to go on without them") from error  # fmt: skip
    if not isinstance(known, dict) or not all(
        isinstance(e, dict) and "sha256" in e and "date" in e for e in known.values()
    ):
        raise ValueError(f"{path}: must contain an object of entries with sha256 and date; repair or remove the file")
    return known


# ---------------------------------------------------------------------------------------------------------------------
# Locks


@contextmanager
def one_process_at_a_time(path: Path, doing: str = "fetching") -> Iterator[None]:
    """Holds a lock file; prints a line to stderr if another process holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0.2)
    except Timeout:
        print(f"{path.stem}: another process is {doing} it; waiting", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
