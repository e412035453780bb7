"""A network's repository on the Hub: files of one commit, damaged ones in the cache, its description, its creation."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import RemoteEntryNotFoundError, RevisionNotFoundError

from .card import CARD, is_generated


class OtherKind(ValueError):
    """The place contains a network, but not of the kind that was asked for."""


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
    except OtherKind:  # the file was read, and is of the other kind
        raise
    except ValueError as error:
        damaged = [path for path in map(Path, paths) if path.is_file() and _is_damaged(path)]
        if not damaged:
            raise
        names = " and ".join(path.name for path in damaged)
        try:
            for path in damaged:
                _delete(path)
        except OSError as refused:  # of a cache that several users share
            raise ValueError(f"{error}; {names} in the cache of the Hub is damaged and could not be deleted "
                             f"({refused}); delete it, or load with another cache_dir") from error  # fmt: skip
        raise ValueError(f"{error}; {names} in the cache of the Hub was damaged, and is deleted now: load the network "
                         f"again") from error  # fmt: skip


def _is_damaged(path: Path) -> bool:
    """Whether a file of the Hub's cache differs from the hash that it is named by. False where it has no such name.

    The name is that of the first link's target. That may be a link too, to a store of all repositories, where the
    content has another name.
    """
    if not path.is_symlink():
        return False
    name = Path(os.readlink(path)).name
    if len(name) == 64:
        digest = hashlib.sha256()
    elif len(name) == 40:  # Git's, of small files
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
    else:
        return False
    with open(path, "rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest() != name


def _delete(path: Path) -> None:
    """Deletes a file and the links that lead to it."""
    while path.is_symlink():
        target = path.parent / os.readlink(path)
        path.unlink()
        path = target
    path.unlink(missing_ok=True)


def description(api: HfApi, repo: str, revision: str | None) -> str | None:
    """The card of a repository, if it says more than one that is generated from a network alone."""
    for ref in (revision, None) if revision else (None,):
        try:
            card = Path(api.hf_hub_download(repo, CARD, revision=ref)).read_text(encoding="utf-8", errors="replace")
        except (RevisionNotFoundError, RemoteEntryNotFoundError):
            continue  # a branch that does not exist yet begins as main
        return None if is_generated(card) else card
    return None


def create_repo(api: HfApi, repo: str, private: bool | None) -> str:
    """Creates a repository if there is none, and returns its full name.

    Raises ``ValueError`` if it must be private and there is a public one.
    """
    name = api.create_repo(repo, private=private or None, exist_ok=True).repo_id  # None: as the account's settings say
    if private:
        check_private(api, name)
    return name


def check_name_of_kind(repo: str, kind: str) -> None:
    """Raises ``ValueError`` for a generator's repository whose name stands for a discriminator."""
    if kind == "generator" and repo.endswith("-discriminator"):
        raise ValueError(f"repo: a generator's name must not end in -discriminator (got {repo!r}), because "
                         f"load_generator would look for it in {repo.removesuffix('-discriminator')}; choose "
                         f"another name")  # fmt: skip


def check_private(api: HfApi, repo: str) -> None:
    """Raises ``ValueError`` if a repository is public."""
    if not api.repo_info(repo).private:
        raise ValueError(f"private: {repo} exists and is public, so nothing was uploaded to it; make it private in its "
                         f"settings on the Hub, choose another name, or omit private")  # fmt: skip
