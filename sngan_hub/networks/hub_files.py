"""The files of a network in a Hub repository: all of one commit, and deleted from the Hub's cache if damaged."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download


def hub_files(repo: str, names: Sequence[str], revision: str | None, **how: Any) -> list[str]:
    """Downloads files to the Hub's cache, or finds them there -> their paths.

    All are of the commit of the first one: a push between two downloads would mix two networks.

    Args:
        repo: the repository.
        names: names of files in it.
        revision: branch, tag or commit.
        how: further arguments of ``hf_hub_download``.
    """
    paths: list[str] = []
    for name in names:
        paths.append(hf_hub_download(repo, name, revision=revision, **how))
        folder = Path(paths[0]).parent
        if folder.parent.name == "snapshots":
            revision = folder.name
    return paths


@contextmanager
def damaged_files_deleted(paths: Sequence[str]) -> Iterator[None]:
    """After a ``ValueError``, deletes those of these files of the Hub's cache that are not what the Hub sent.

    Otherwise the Hub's client would find the damaged file again at every call.
    """
    try:
        yield
    except ValueError as error:
        damaged = [path for path in map(Path, paths) if path.is_file() and _is_damaged(path)]
        if not damaged:
            raise
        for path in damaged:
            path.resolve().unlink()  # a link to the content, which is named by its hash
            path.unlink(missing_ok=True)
        raise ValueError(f"{error}; {' and '.join(path.name for path in damaged)} in the cache of the Hub was damaged, "
                         f"and is deleted now: load the network again") from error  # fmt: skip


def _is_damaged(path: Path) -> bool:
    """Whether a file of the Hub's cache differs from the hash that it is named by. False where it has no such name."""
    content = path.resolve()
    if len(content.name) == 64:
        digest = hashlib.sha256()
    elif len(content.name) == 40:  # Git's, of small files
        digest = hashlib.sha1(b"blob %d\0" % content.stat().st_size)
    else:  # the file itself, where the system has no links
        return False
    with open(content, "rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest() != content.name
