"""Downloads the file of a record of published weights to the cache and verifies its sha256 before it is opened.

An interrupted download resumes, mirrors are tried in turn, and a file with the wrong hash is deleted.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from tqdm import tqdm

from ..weights.records import Record

TIMEOUT = 30  # seconds without data
TRIES = 4  # consecutive attempts without data
PAUSE = 0.5  # seconds before the second attempt; doubled each time
_LOCAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}


class Fetched(NamedTuple):
    path: Path
    source: str  # the address, or "file" if the user put it there
    sha256: str  # all digits, as computed
    revision: str = ""  # the Hub commit


def cache_folder() -> Path:
    """``$SNGAN_HUB_CACHE``, by default sngan_hub in the user's cache folder."""
    base = os.environ.get("SNGAN_HUB_CACHE")
    return Path(base) if base else Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "sngan_hub"


def place(record: Record) -> Path:
    """The path of the record's file in the cache. Users can put the file there by hand."""
    return cache_folder() / "downloads" / record.name / record.file


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


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def _checked(path: Path, record: Record) -> str:
    found = sha256_of(path)
    if not found.startswith(record.sha256):
        raise ValueError(f"{path}: the sha256 of {record.key} must begin with {record.sha256[:16]} (got "
                         f"{found[:16]}...); the file is damaged or a different one; delete or replace it")  # fmt: skip
    return found


# ---------------------------------------------------------------------------------------------------------------------
# From an address


class _NotServed(Exception):
    """This address does not serve the file. The next mirror is tried."""


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
                _download(url, part, record)
            except _NotServed as error:
                failures.append(f"{_host(url)}: {error}")
                break
            found = sha256_of(part)
            if found.startswith(record.sha256):
                os.replace(part, path)
                return Fetched(path, url, found)
            failures.append(f"{_host(url)}: received {part.stat().st_size:,} bytes with sha256 {found[:8]}..., "
                            f"expected {record.sha256[:8]}...")  # fmt: skip
            part.unlink()
    said = "; ".join(failures)
    kept = f" ({part.stat().st_size:,} bytes are kept; run the command again to resume)" if part.exists() else ""
    raise FileNotFoundError(
        f"{record.key}: the download failed: {said}{kept}; or download {record.urls[0]} yourself and save it as {path}"
    )


def _host(url: str) -> str:
    return "/".join(url.split("/")[:3])


def _download(url: str, part: Path, record: Record) -> None:
    """Downloads ``url`` to ``part``, or resumes. Raises ``_NotServed``; other kinds of ``OSError`` are local."""
    failures, said = 0, ""
    while failures < TRIES:
        if failures:
            time.sleep(PAUSE * 2 ** (failures - 1))
        before = part.stat().st_size if part.exists() else 0
        try:
            _receive(url, part, before, record.key)
            return
        except urllib.error.HTTPError as error:
            said = f"HTTP {error.code} {str(error.reason).splitlines()[0] if error.reason else ''}".rstrip()
            if error.code == 416 and before:  # the partial file is already complete
                if sha256_of(part).startswith(record.sha256):
                    return
                part.unlink()
            elif error.code < 500 and error.code not in (408, 425, 429):
                raise _NotServed(said) from error
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            if isinstance(error, OSError) and error.errno in _LOCAL:
                raise OSError(
                    error.errno, f"{record.key}: {part}: {error.strerror}; the partial download is kept"
                ) from error
            said = str(getattr(error, "reason", error)) or type(error).__name__
        except ValueError as error:  # not an address
            raise _NotServed(str(error)) from error
        after = part.stat().st_size if part.exists() else 0
        failures = 0 if after > before else failures + 1
    if record.sha256 and part.exists() and sha256_of(part).startswith(record.sha256):
        return  # complete, whatever length the server announced
    raise _NotServed(said)


def _receive(url: str, part: Path, start: int, name: str) -> None:
    headers = {"User-Agent": "sngan-hub", **({"Range": f"bytes={start}-"} if start else {})}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.headers.get_content_type() == "text/html":
            raise _NotServed("the server sent a web page instead of the file")
        resumed = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if start and not (response.status == 206 and resumed and int(resumed[1]) == start):
            start = 0  # the server sends the whole file again
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        received = start
        with (
            open(part, "ab" if start else "wb") as file,
            tqdm(total=total, initial=start, desc=name, unit="B", unit_scale=True, disable=None, leave=False) as bar,
        ):
            while block := response.read(2**18):
                file.write(block)
                received += len(block)
                bar.update(len(block))
        if total is not None and received < total:
            raise ConnectionError(f"the connection closed after {received:,} of {total:,} bytes")


# ---------------------------------------------------------------------------------------------------------------------
# From a Hub repository


def _from_hub(record: Record, revision: str) -> Fetched:
    """Downloads the file at one commit and verifies it against the sha256 that the Hub states."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled

    address = hf_hub_url(record.repo, record.path, revision=revision)
    by_hand = f"or download {address} yourself and save it as {place(record)}"
    try:
        stated = get_hf_file_metadata(address)
        if stated.commit_hash is None or stated.etag is None:
            raise FileNotFoundError(f"{record.key}: {address} is not a file on the Hugging Face Hub; {by_hand}")
        local = Path(hf_hub_download(record.repo, record.path, revision=stated.commit_hash,
                                     cache_dir=cache_folder() / "hub"))  # fmt: skip
    except EntryNotFoundError as error:
        if revision != record.revision:  # not in the commit of the other network; a later commit may have it
            return _from_hub(record, record.revision)
        raise FileNotFoundError(
            f"{record.key}: {record.repo} does not contain {record.file} at revision {revision}; the publisher may not "
            f"have uploaded this {record.kind}; {by_hand}"
        ) from error
    except HfHubHTTPError as error:
        raise FileNotFoundError(f"{record.key}: {record.repo}: {_first_line(error)}; {by_hand}") from error
    except (OSError, OfflineModeIsEnabled, *_http_errors()) as error:
        if isinstance(error, FileNotFoundError) and str(error).startswith(record.key):
            raise
        raise FileNotFoundError(f"{record.key}: the download failed: {_first_line(error)}; {by_hand}") from error
    found = _checked(local, record)
    if re.fullmatch(r"[0-9a-f]{64}", stated.etag) and found != stated.etag:
        forget(local)
        raise ValueError(f"{record.key}: {record.file} has sha256 {found[:16]}..., but the Hub states "
                         f"{stated.etag[:16]}...; the file was deleted; try again")  # fmt: skip
    return Fetched(local, address, found, stated.commit_hash)


def forget(path: Path) -> None:
    """Removes a downloaded file. A file from the Hub is a link: its target is removed too."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _http_errors() -> tuple[type[Exception], ...]:
    """The error that the Hub client's HTTP library raises without a connection. The library depends on the version."""
    found = []
    for library in ("httpx", "httpx2", "requests"):
        module = sys.modules.get(library)
        error = getattr(module, "HTTPError", None) or getattr(module, "RequestException", None)
        if error is not None:
            found.append(error)
    return tuple(found)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


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
