"""Transfers one file from an address over HTTP: resumes, retries, and recognises a web page instead of the file."""

from __future__ import annotations

import errno
import http.client
import re
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from ..weights.record import Record
from .cache import first_hash, sha256_of

TIMEOUT = 30  # seconds without data
TRIES = 4  # consecutive attempts without data
PAUSE = 0.5  # seconds before the second attempt; doubled each time
_LOCAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}


class NotServed(Exception):
    """This address does not serve the file. The next one is tried."""


def can_resume(record: Record) -> bool:
    """Whether a partial file of an earlier call or another address may be continued.

    Without a hash, nothing would tell a file of two versions from a whole one.
    """
    return bool(record.sha256 or first_hash(record))


def check_local(error: OSError, part: Path, record: Record) -> None:
    """Raises ``OSError`` for an error of this machine's disk; the message says whether the partial file is kept."""
    if error.errno in _LOCAL:
        kept = "; the partial download is kept" if can_resume(record) else ""
        raise OSError(error.errno, f"{record.key}: {part}: {error.strerror}{kept}") from error


def transfer(url: str, part: Path, record: Record) -> None:
    """Downloads ``url`` to ``part``, or resumes. Raises ``NotServed``; other kinds of ``OSError`` are local."""
    failures, said = 0, ""
    resumable = can_resume(record)
    version: dict[str, str] | None = None if resumable else {}  # without a hash: what the server calls this version
    if not resumable:
        part.unlink(missing_ok=True)
    while failures < TRIES:
        if failures:
            time.sleep(PAUSE * 2 ** (failures - 1))
        before = part.stat().st_size if part.exists() else 0
        try:
            _receive(url, part, before, record.key, version)
            return
        except urllib.error.HTTPError as error:
            said = f"HTTP {error.code} {str(error.reason).splitlines()[0] if error.reason else ''}".rstrip()
            if error.code == 416 and before:  # the partial file is already complete, or of another file
                length = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
                whole = length is not None and int(length[1]) == before
                if sha256_of(part).startswith(record.sha256) if record.sha256 else whole:
                    return
                part.unlink()
            elif error.code < 500 and error.code not in (408, 425, 429):
                raise NotServed(said) from error
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            if isinstance(error, OSError):
                check_local(error, part, record)
            said = str(getattr(error, "reason", error)) or type(error).__name__
        except ValueError as error:  # not an address
            raise NotServed(str(error)) from error
        after = part.stat().st_size if part.exists() else 0
        failures = 0 if after > before else failures + 1
    if record.sha256 and part.exists() and sha256_of(part).startswith(record.sha256):
        return  # complete, whatever length the server announced
    raise NotServed(said)


def _receive(url: str, part: Path, start: int, name: str, version: dict[str, str] | None) -> None:
    """``version``: the header If-Range for the next call, which is kept here; None: not wanted."""
    headers = {"User-Agent": "sngan-hub", **({"Range": f"bytes={start}-", **(version or {})} if start else {})}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.headers.get_content_type() == "text/html":
            raise NotServed("the server sent a web page instead of the file")
        resumed = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if start and not (response.status == 206 and resumed and int(resumed[1]) == start):
            start = 0  # the server sends the whole file again
        if version is not None and not start:
            version.clear()
            if (etag := response.headers.get("ETag", "")).startswith('"'):  # a weak one, W/"...", is not for ranges
                version["If-Range"] = etag
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
