"""Decides what MODEL refers to: a folder, a file, a Hub repository or a name. Does not access the internet."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from ..text import nearest

#: Suffixes of weight files; a name with such a suffix is a path, not a repository
SUFFIXES = (".npz", ".pth", ".pt", ".tar", ".safetensors", ".bin", ".ckpt", ".json")
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class Resolved(NamedTuple):
    kind: str  # folder, file, repository or name
    text: str  # a repository id, a name, or a path as given
    path: Path = Path()  # of a folder or a file


def resolve(model: str | Path) -> Resolved:
    """An existing file or folder is a path. Text that looks like a path, or whose parent folder exists, is also a path
    and must exist. Otherwise, ``namespace/name`` is a Hub repository, and text without a slash is a name.

    Raises ``FileNotFoundError`` for a missing path, with similar names in its folder, and ``ValueError`` for other
    text.
    """
    text = str(model)
    path = Path(os.path.expanduser(text))  # unlike Path.expanduser, it keeps ~NAME of an unknown user
    if not text or "\0" in text:
        raise ValueError(f"model must be a name, a folder, a file or a Hub repository id (got {text!r})")
    if path.is_dir():
        return Resolved("folder", text, path)
    if path.is_file():
        return Resolved("file", text, path)
    is_path = isinstance(model, Path) or text.startswith((".", "/", "~")) or "\\" in text or text.endswith(SUFFIXES)
    if is_path or text.count("/") > 1 or ("/" in text and path.parent.is_dir()):
        beside = {p.name: p for p in path.parent.iterdir()} if path.parent.is_dir() else {}
        near = nearest(path.name, beside)
        hub = ""
        if not is_path and text.count("/") == 1:
            hub = f" ({path.parent} is a local folder, so this is not read as a Hub repository id)"
        raise FileNotFoundError(f"there is no file or folder {text}{hub}{near if 'nearest' in near else ''}")
    if "/" in text:
        if not REPOSITORY.fullmatch(text) or ".." in text or "--" in text:
            raise ValueError(f"model must be a name, a file, a folder, or a Hub repository id NAMESPACE/NAME of "
                             f"letters, digits, -, _ and . (got {text!r})")  # fmt: skip
        return Resolved("repository", text)
    return Resolved("name", text)
