"""Downloads the file of a record of published weights to the cache and verifies it before it is opened.

An interrupted download resumes, addresses are tried in turn, and a file with the wrong hash is deleted. A file whose
publisher states no hash must be the one of the first download.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from ..text import first_line
from ..weights.record import Record, is_drive
from .cache import cache_folder, check_first, forget, place, sha256_of
from .drive import transfer_from_drive
from .errors import http_errors
from .transfer import NotServed, can_resume, transfer


class Fetched(NamedTuple):
    path: Path
    source: str  # the address, or "file" if the user put it there
    sha256: str  # all digits, as computed
    revision: str = ""  # the Hub commit


def fetch(record: Record, revision: str = "") -> Fetched:
    """Downloads and verifies the record's file. ``revision``: the Hub commit of the pair's other network, tried first.

    Raises ``ValueError`` if the hash is wrong, and ``FileNotFoundError`` if the file cannot be downloaded; the message
    states how to get it by hand.
    """
    path = place(record)
    if path.is_file():
        return Fetched(path, "file", _checked(path, record))
    if record.urls:
        return _from_addresses(record, path)
    if record.repo:
        return _from_hub(record, revision or record.revision)
    raise FileNotFoundError(
        f"{record.key}: the publisher gives no direct download address; download {record.file} from {record.page} "
        f"and save it as {path}, or convert it with sngan convert {record.file} OUT"
    )


def _checked(path: Path, record: Record) -> str:
    found = sha256_of(path)
    if not found.startswith(record.sha256):
        raise ValueError(f"{path}: the sha256 of {record.key} must begin with {record.sha256[:16]} (got "
                         f"{found[:16]}...); the file is damaged or a different one; delete or replace it")  # fmt: skip
    if changed := check_first(record, found):
        raise ValueError(f"{path}: {changed}; or delete or replace the file")
    return found


# ---------------------------------------------------------------------------------------------------------------------
# From an address


def _from_addresses(record: Record, path: Path) -> Fetched:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    failures = []
    for url in record.urls:
        resumed = part.exists()
        for fresh in (False, True):
            if fresh:
                if not resumed:
                    break  # this address served the whole file, and it was wrong
                part.unlink(missing_ok=True)
            try:
                (transfer_from_drive if is_drive(url) else transfer)(url, part, record)
            except NotServed as error:
                failures.append(f"{_host(url)}: {error}")
                break
            found = sha256_of(part)
            refused = check_first(record, found)
            if not found.startswith(record.sha256):
                refused = (f"received {part.stat().st_size:,} bytes with sha256 {found[:8]}..., "
                           f"expected {record.sha256[:8]}...")  # fmt: skip
            if not refused:
                os.replace(part, path)
                return Fetched(path, url, found)
            failures.append(f"{_host(url)}: {refused}")
            part.unlink()
    said = "; ".join(failures)
    kept = ""
    if part.exists() and can_resume(record):
        kept = f" ({part.stat().st_size:,} bytes are kept; run the command again to resume)"
    else:
        part.unlink(missing_ok=True)
    raise FileNotFoundError(
        f"{record.key}: the download failed: {said}{kept}; "
        f"or download {_by_hand(record)} yourself and save it as {path}"
    )


def _by_hand(record: Record) -> str:
    return f"{record.file} from {record.page}" if record.page and is_drive(record.urls[0]) else record.urls[0]


def _host(url: str) -> str:
    return "/".join(url.split("/")[:3])


# ---------------------------------------------------------------------------------------------------------------------
# From a Hub repository


def _from_hub(record: Record, revision: str) -> Fetched:
    """Downloads the file at one commit and verifies it against the sha256 that the Hub states."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import (
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RemoteEntryNotFoundError,
        RevisionNotFoundError,
    )

    address = hf_hub_url(record.repo, record.path, revision=revision)
    by_hand = f"or download {address} yourself and save it as {place(record)}"
    try:
        stated = get_hf_file_metadata(address)
        if stated.commit_hash is None or stated.etag is None:
            raise FileNotFoundError(f"{record.key}: {address} is not a file on the Hugging Face Hub; {by_hand}")
        if _is_sha256(stated.etag) and not stated.etag.startswith(record.sha256):
            raise ValueError(
                f"{record.key}: the Hub states sha256 {stated.etag[:16]}... for {record.file} at {stated.commit_hash}, "
                f"but the record has {record.sha256[:16]}...; nothing was downloaded"
            )
        # One cache per name, as the locks are: models of one repository may have equal files, of which it stores one.
        local = Path(hf_hub_download(record.repo, record.path, revision=stated.commit_hash,
                                     cache_dir=cache_folder() / "hub" / record.name))  # fmt: skip
    except (RemoteEntryNotFoundError, RevisionNotFoundError) as error:  # not LocalEntryNotFoundError: no connection
        if revision != record.revision:  # not in the commit of the other network; a later commit may have it
            return _from_hub(record, record.revision)
        raise FileNotFoundError(
            f"{record.key}: {record.repo} does not contain {record.file} at revision {revision}; the publisher may not "
            f"have uploaded this {record.kind}; {by_hand}"
        ) from error
    except HfHubHTTPError as error:
        raise FileNotFoundError(f"{record.key}: {record.repo}: {first_line(error)}; {by_hand}") from error
    except (OSError, OfflineModeIsEnabled, *http_errors()) as error:
        if isinstance(error, FileNotFoundError) and str(error).startswith(record.key):
            raise
        raise FileNotFoundError(f"{record.key}: the download failed: {first_line(error)}; {by_hand}") from error
    found = sha256_of(local)
    if found != stated.etag if _is_sha256(stated.etag) else not found.startswith(record.sha256):
        forget(local)
        expected = stated.etag if _is_sha256(stated.etag) else record.sha256
        raise ValueError(f"{record.key}: {record.file} has sha256 {found[:16]}..., but the Hub states "
                         f"{expected[:16]}...; the file was deleted; try again")  # fmt: skip
    return Fetched(local, address, found, stated.commit_hash)


def _is_sha256(etag: str) -> bool:
    """Whether the Hub's tag is a sha256: it is for large files."""
    return bool(re.fullmatch(r"[0-9a-f]{64}", etag))
