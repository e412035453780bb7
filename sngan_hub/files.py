"""Functions that write files and folders atomically, and two that look at paths.

The content is written to a hidden file in the same folder, which is renamed when it is complete. A reader therefore
finds the old file or the new one, also if the process is killed. After an error the hidden file is deleted.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

if TYPE_CHECKING:
    import numpy as np

Result = TypeVar("Result")


def write_atomically(
    path: Path, write: Callable[[Path], Result], temporary: Path | None = None, sync: bool = False
) -> Result:
    """Calls ``write`` with a temporary path, renames that to ``path``, and returns the result of ``write``.

    ``temporary``: path in the folder of ``path``; by default a name that is unique to this process and thread. Use a
    fixed name for a large file with a single writer, so that the remains of a killed process are overwritten.
    ``sync``: flush the content to disk before the rename.
    """
    temporary = temporary or _hidden(path)
    try:
        result = write(temporary)
        if sync:
            with open(temporary, "r+b") as file:  # Windows flushes only what is open for writing
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return result


def write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def as_json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    write_text(path, as_json(value))


def append_json(path: Path, row: Any) -> None:
    """Adds a line to a file of JSON lines. An incomplete last line, of a process that was killed, is removed first."""
    with open(path, "ab+") as file:  # writes at the end, wherever it has read
        if file.tell() and not _ends_with_newline(file):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(row).encode() + b"\n")


def _ends_with_newline(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def read_json_lines(path: Path) -> list[Any]:
    """The complete lines of a file of JSON lines; none if there is no file."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    rows: list[Any] = []
    for line in text.splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:  # a process was killed while it wrote this line
            continue
    return rows


def write_json_lines(path: Path, rows: Iterable[Any]) -> None:
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def write_array(path: Path, array: np.ndarray) -> None:
    """``path`` is a .npy file."""
    import numpy as np  # imported here, so that the help of the commands stays fast

    def save(temporary: Path) -> None:
        with open(temporary, "wb") as file:  # given a name, NumPy would add .npy to it
            np.save(file, array)

    write_atomically(path, save)


def write_folder(path: Path, fill: Callable[[Path], Any], temporary: Path | None = None) -> None:
    """Calls ``fill`` with an empty folder, then renames it to ``path``.

    An existing folder is removed before the rename, so for a moment ``path`` does not exist.
    ``temporary``: see ``write_atomically``; it must be on the file system of ``path``.
    """
    temporary = temporary or _hidden(path)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        fill(temporary)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def nearest_existing(path: Path) -> Path:
    """The absolute ``path``, or the nearest folder above it that exists. A missing root is returned as it is."""
    path = path.absolute()
    while not path.exists() and path != path.parent:  # a drive of Windows may be missing
        path = path.parent
    return path


def _hidden(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def user_path(text: str, said: str) -> Path:
    """A path that may begin with ~ or ~NAME. ``said``: where it was given, for the message.

    Raises ``ValueError`` if the home folder is unknown.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # no user NAME, or no HOME
        raise ValueError(f"{said}: the home folder of {Path(text).parts[0]} is unknown on this machine (got {text}); "
                         f"write the whole path of the folder") from error  # fmt: skip
