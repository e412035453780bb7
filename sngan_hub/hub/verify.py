"""Computes the hashes of cached and included files again: ``sngan list --verify``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..networks.mixin import SAFETENSORS_SINGLE_FILE
from ..weights.record import Record
from .cache import check_first, first_hash, place, sha256_of
from .local import cached_folder, damage, is_made_of, provenance, verify


class Checked(NamedTuple):
    """One file on this machine."""

    name: str  # of the record
    path: Path
    problem: str  # what is wrong and what to do; empty if the hash is right, or unknown
    known: bool = True  # whether there is a hash to compare with


def check_files(records: Iterable[Record]) -> Iterator[Checked]:
    """Computes the hash of every local file of these records.

    Args:
        records: Records of ``WEIGHTS``; those without a local file are passed over.

    Yields:
        One result for each file: included weights, converted networks, and downloads that were put there by hand.
    """
    seen: set[Path] = set()
    for record in records:
        if record.folder is not None:
            path = record.folder / SAFETENSORS_SINGLE_FILE
            try:
                verify(record)
            except (ValueError, OSError) as error:
                yield Checked(record.key, path, str(error))
            else:
                yield Checked(record.key, path, "")
            continue
        downloaded = place(record)
        if downloaded.is_file() and downloaded not in seen:
            seen.add(downloaded)
            found = sha256_of(downloaded)
            right = found.startswith(record.sha256)
            problem = check_first(record, found) if right else "not the published file; delete or replace it"
            yield Checked(record.key, downloaded, problem, bool(record.sha256 or first_hash(record)))
        folder = cached_folder(record)
        made, path = provenance(folder), folder / SAFETENSORS_SINGLE_FILE
        if made is None:
            continue
        problem = damage(folder)
        if not problem and not is_made_of(folder, record):
            problem = f"made from another file than {record.file}, or in another way"
        yield Checked(record.key, path, problem and f"{problem}; it is made again at the next use")
