"""What ``prepare`` reads: a source -> the names and labels of its pictures, and how to get the bytes of each.

A folder of class folders (any depth below them), or of one .tar a class (ImageNet as it is published); a .tar of either
kind; ``celeba`` and ``lsun`` as torchvision keeps them; ``hf:NAME[:SPLIT]`` of the ``datasets`` library, or a folder
that its ``save_to_disk`` wrote.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from PIL.Image import Image

from sngan_hub.classes import DOGS_AND_CATS, synset_names
from sngan_hub.fetch import cache_folder
from sngan_hub.sources.folders import class_folders, is_image


class Listing(NamedTuple):
    names: list[str]  # for the report
    labels: np.ndarray  # (N,) int64
    classes: list[str]
    read: Callable[[int], bytes]  # of picture i; travels to other processes


def list_source(source: str) -> Listing:
    """Raises ``FileNotFoundError`` or ``ValueError`` with the way out."""
    if source.startswith("hf:"):
        return _datasets(source.removeprefix("hf:"))
    if source == "celeba":
        return _celeba()
    if source == "lsun":
        return _lsun()
    path = Path(source)
    if path.is_dir() and (path / "dataset_info.json").is_file():
        return _datasets(source)
    tars = sorted(p for p in path.glob("*.tar") if p.is_file()) if path.is_dir() else []
    if tars:
        return _named([(tar.stem, _members(tar)) for tar in tars])
    if path.is_dir():
        return _named([(folder.name, [_whole(p) for p in sorted(folder.rglob("*")) if is_image(p) and p.is_file()])
                       for folder in class_folders(source)])  # fmt: skip
    if path.is_file():
        if not tarfile.is_tarfile(path) or not _is_plain(path):
            raise ValueError(f"source: {source} is not a plain .tar; unpack it first")
        return _named(_of_archive(path))
    raise FileNotFoundError(f"source: no {source!r}; legal are a folder of class folders or of .tar files, a .tar, "
                            f"celeba, lsun, hf:NAME[:SPLIT]; cifar10, cifar100 and stl10 are read by name")  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Files, and files inside archives: each is (path, offset, length), so that any process reads any of them


class Piece(NamedTuple):
    path: str
    name: str
    offset: int = 0
    length: int = -1


class Pieces:
    """Reads piece i."""

    def __init__(self, pieces: list[Piece]):
        self.pieces = pieces

    def __call__(self, i: int) -> bytes:
        piece = self.pieces[i]
        with open(piece.path, "rb") as file:
            file.seek(piece.offset)
            return file.read(piece.length)


def _whole(path: Path) -> Piece:
    return Piece(str(path), str(path))


def _is_plain(path: Path) -> bool:
    with open(path, "rb") as file:  # a compressed archive has no seekable members
        return file.read(512)[257:262] in (b"ustar", b"\0\0\0\0\0")


def _members(path: Path, offset: int = 0) -> list[Piece]:
    """The images of a tar that starts at ``offset`` of ``path``, in name order. Reads headers alone."""
    with open(path, "rb") as file:
        file.seek(offset)
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:  # its offsets count from the file's start
                pieces = [Piece(str(path), f"{path}/{m.name}", m.offset_data, m.size)
                          for m in tar if m.isfile() and is_image(Path(m.name))]  # fmt: skip
        except tarfile.TarError as error:
            raise ValueError(f"source: {path}: no readable tar at byte {offset} ({error})") from error
    return sorted(pieces, key=lambda piece: piece.name)


def _of_archive(path: Path) -> list[tuple[str, list[Piece]]]:
    """A tar of tars, one a class; or of class folders."""
    with tarfile.open(path, "r:") as tar:
        members = [m for m in tar if m.isfile()]
    inner = [m for m in members if m.name.endswith(".tar")]
    if inner:
        return [(PurePosixPath(m.name).stem, _members(path, m.offset_data))
                for m in sorted(inner, key=lambda m: m.name)]  # fmt: skip
    classes: dict[str, list[Piece]] = {}
    for m in members:
        if is_image(Path(m.name)):
            folder = PurePosixPath(m.name).parent.name
            classes.setdefault(folder, []).append(Piece(str(path), f"{path}/{m.name}", m.offset_data, m.size))
    return [(name, sorted(classes[name], key=lambda piece: piece.name)) for name in sorted(classes)]


def _named(classes: list[tuple[str, list[Piece]]]) -> Listing:
    """ImageNet's synsets get their names, in the authors' label order, which is that of the synsets."""
    if not any(pieces for _, pieces in classes):
        raise FileNotFoundError("source: holds no image")
    pieces = [piece for _, own in classes for piece in own]
    labels = np.repeat(np.arange(len(classes)), [len(own) for _, own in classes])
    names = [name for name, _ in classes]
    return Listing([piece.name for piece in pieces], labels, synset_names(names) or names, Pieces(pieces))


def dogs_and_cats(listing: Listing) -> Listing:
    """The authors' 143 classes of the 1,000: labels 151 to 293."""
    if len(listing.classes) == 143:
        return listing
    if len(listing.classes) != 1000:
        raise ValueError(f"source: {len(listing.classes)} classes; the dogs and cats are taken from ImageNet's 1,000")
    first, stop = DOGS_AND_CATS.start, DOGS_AND_CATS.stop
    kept = np.flatnonzero((listing.labels >= first) & (listing.labels < stop))
    return Listing([listing.names[i] for i in kept], listing.labels[kept] - first, listing.classes[first:stop],
                   Chosen(listing.read, kept))  # fmt: skip


class Chosen:
    """Reads picture ``index[i]``."""

    def __init__(self, read: Callable[[int], bytes], index: np.ndarray):
        self.read, self.index = read, index

    def __call__(self, i: int) -> bytes:
        return self.read(int(self.index[i]))


# ---------------------------------------------------------------------------------------------------------------------
# Data sets of other libraries


def _celeba() -> Listing:
    folder = cache_folder() / "torchvision" / "celeba" / "img_align_celeba"
    if not folder.is_dir():
        from torchvision.datasets import CelebA

        try:
            CelebA(str(cache_folder() / "torchvision"), split="all", download=True)
        except Exception as error:  # whatever a socket, a server or an archive can raise
            why = (str(error) or repr(error)).splitlines()[0]
            raise FileNotFoundError(f"celeba: could not be downloaded ({why}); unpack img_align_celeba.zip so that its "
                                    f"202,599 pictures lie in {folder}") from error  # fmt: skip
    return _named([("face", [_whole(path) for path in sorted(folder.glob("*.jpg"))])])


def _lsun() -> Listing:
    path = cache_folder() / "torchvision" / "lsun" / "bedroom_train_lmdb"
    if not path.is_dir():
        raise FileNotFoundError(f"lsun: put the unpacked bedroom_train_lmdb of lsun.cs.princeton.edu to {path}")
    try:
        import lmdb  # type: ignore[import-not-found]
    except ImportError as error:
        raise ValueError(f"lsun: {error}; pip install lmdb") from error
    with lmdb.open(str(path), readonly=True, lock=False, subdir=True) as store, store.begin() as entries:
        keys = [bytes(key) for key in entries.cursor().iternext(keys=True, values=False)]
    names = [f"{path}/{key.decode(errors='replace')}" for key in keys]
    return Listing(names, np.zeros(len(keys), np.int64), ["bedroom"], Lmdb(str(path), keys))


class Lmdb:
    def __init__(self, path: str, keys: list[bytes]):
        self.path, self.keys, self.store, self.owner = path, keys, None, 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "store": None}

    def __call__(self, i: int) -> bytes:
        import lmdb  # type: ignore[import-not-found]

        if self.store is None or self.owner != os.getpid():  # a store must not cross a fork
            self.store, self.owner = lmdb.open(self.path, readonly=True, lock=False, readahead=False), os.getpid()
        with self.store.begin() as entries:  # type: ignore[attr-defined]
            data = entries.get(self.keys[i])
        if data is None:
            raise ValueError("no such entry")
        return bytes(data)


def _datasets(name: str) -> Listing:
    try:
        import datasets  # type: ignore[import-not-found]
    except ImportError as error:
        raise ValueError(f"hf: {error}; pip install datasets") from error
    name, _, split = name.partition(":")
    try:
        found = datasets.load_from_disk(name) if Path(name).is_dir() else datasets.load_dataset(name)
        table = found if isinstance(found, datasets.Dataset) else found[split or "train"]
    except Exception as error:  # its own, pyarrow's and the Hub client's
        why = (str(error) or repr(error)).splitlines()[0]
        raise FileNotFoundError(f"hf: {name}, split {split or 'train'}: could not be loaded ({why})") from error
    pictures = [key for key, kind in table.features.items() if isinstance(kind, datasets.Image)]
    labels = [key for key, kind in table.features.items() if isinstance(kind, datasets.ClassLabel)]
    if not pictures:
        raise ValueError(f"hf: {name} has no column of images; its columns are {', '.join(table.features)}")
    table = table.cast_column(pictures[0], datasets.Image(decode=False))
    classes = table.features[labels[0]].names if labels else ["image"]
    y = np.array(table[labels[0]], np.int64) if labels else np.zeros(len(table), np.int64)
    return Listing([f"{name}/{i}" for i in range(len(table))], y, list(classes), Table(table, pictures[0]))


class Table:
    def __init__(self, table: Any, column: str):
        self.table, self.column = table, column

    def __call__(self, i: int) -> bytes:
        picture = self.table[i][self.column]
        if isinstance(picture, Image):
            raise ValueError("a decoded picture where bytes were asked for")
        return picture["bytes"] if picture["bytes"] is not None else Path(picture["path"]).read_bytes()
