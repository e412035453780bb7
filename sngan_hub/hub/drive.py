"""Downloads a file of Google Drive with gdown, which passes the confirmation page for files too large to be scanned.

A drive states no hash and cannot say whether a partial file is of the same version. A partial file of an earlier call
is therefore resumed only if the whole sha256 is known; within a call, gdown resumes by itself.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from ..weights.record import Record
from . import transfer
from .cache import first_hash
from .transfer import NotServed, check_local

MISSING = "gdown is not installed; run: pip install 'sngan-hub[drive]'"
_FEWEST_BYTES = 2  # for each parameter: less cannot hold the network, even in half precision


def transfer_from_drive(url: str, part: Path, record: Record) -> None:
    """Downloads ``url`` to ``part``.

    Args:
        url: Address of a file, or of a folder that contains ``record.file``, also in a folder inside.
        part: Path to write to.
        record: What is downloaded.

    Raises:
        NotServed: The drive does not send the file, or gdown is not installed; the message says why in one line.
        OSError: The file cannot be written.
    """
    try:
        import gdown
        import requests
        from gdown.exceptions import DownloadError
    except ImportError as error:
        raise NotServed(MISSING) from error
    resume = len(record.sha256 or first_hash(record)) == 64
    if not resume:
        _discard(part)
    before = _kept(part)
    try:
        if "/folders/" in url:
            url = _in_folder(gdown, url, record.file)
        with tqdm(desc=record.key, unit="B", unit_scale=True, disable=None, leave=False) as bar:

            def progress(received: int, total: int | None) -> None:
                bar.total = total
                bar.update(received - bar.n)

            gdown.download(
                url, str(part), quiet=True, use_cookies=False, resume=resume, progress=progress,
                timeout=transfer.TIMEOUT, retries=transfer.TRIES - 1,
            )  # fmt: skip
    except DownloadError as error:
        if before and _kept(part) == before:  # cannot be resumed
            _discard(part)
        raise NotServed(_reason(error, _kept(part) if resume else 0)) from error
    except requests.exceptions.RequestException as error:
        status = getattr(error.response, "status_code", None)
        raise NotServed(f"HTTP {status}" if status else type(error).__name__) from error
    except (KeyError, AssertionError, ValueError) as error:  # an answer in a form that gdown does not know
        raise NotServed(f"gdown cannot read the answer ({type(error).__name__}); a newer gdown may") from error
    except OSError as error:
        check_local(error, part, record)
        raise
    _check_content(part, record)


def _in_folder(gdown: Any, url: str, name: str) -> str:
    """The address of the file ``name`` in a folder of the drive."""
    listed = gdown.download_folder(url, quiet=True, use_cookies=False, skip_download=True, timeout=transfer.TIMEOUT)
    found = [file for file in listed if PurePosixPath(file.path.replace(os.sep, "/")).name == name]
    if len(found) != 1:
        paths = ", ".join(file.path for file in (found or listed)[:5]) or "nothing"
        raise NotServed(f"the folder contains {'several files' if found else 'no file'} {name} (it contains {paths})")
    return f"https://drive.google.com/uc?id={found[0].id}"


def _reason(error: Exception, kept: int) -> str:
    """gdown's messages are several lines with advice; the sentence of the drive's page is in the error before."""
    first = error.__context__ if type(error.__context__) is type(error) else error
    text = " ".join(str(first).split())
    low = text.lower()
    if "quota" in low or "too many users" in low:
        return f"the drive's quota for this file is used up ({text}); try again in a day"
    if "cannot retrieve the public link" in low or "failed to retrieve" in low:
        return "the drive sent a page instead of the file: it is private, was removed, or is downloaded too often"
    if "max retries exceeded" in low:
        return "no connection to the drive"
    if "incomplete" in low:
        text = text.split(". The received")[0].rstrip(".")
        return f"{text[0].lower()}{text[1:]}" + (
            f" ({kept:,} bytes are kept; run the command again to resume)" if kept else ""
        )
    return text


def _check_content(part: Path, record: Record) -> None:
    """Raises ``NotServed`` for a web page, or for a file that is too small for the network."""
    with open(part, "rb") as file:
        page = file.read(512).lstrip()[:1] == b"<"
    size = part.stat().st_size
    if page or size < _FEWEST_BYTES * record.parameters:
        part.unlink()
        raise NotServed("the drive sent a web page instead of the file" if page else
                        f"received {size:,} bytes, too few for {record.parameters:,} parameters")  # fmt: skip


# gdown's own partial files: the name of the file, eight characters, .part


def _partial(part: Path) -> list[Path]:
    return [path for path in part.parent.glob("*.part") if len(path.name) == len(part.name) + 13
            and path.name.startswith(part.name)]  # fmt: skip


def _kept(part: Path) -> int:
    return sum(path.stat().st_size for path in _partial(part))


def _discard(part: Path) -> None:
    for path in _partial(part):
        path.unlink(missing_ok=True)
