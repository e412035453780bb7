"""The sources of ``prepare``: lists the names and labels of the images, with a function that reads one of them.

A source is a folder of class folders, or of one .tar per class (like ImageNet); a .tar of either kind; ``celeba`` and
``lsun`` in torchvision's folders; ``hf:NAME[:SPLIT]`` of the ``datasets`` library, or a folder written by its
``save_to_disk``. ``arrange`` of sngan_hub/data/folders.py finds the classes of folders and archives.
"""

from __future__ import annotations

import os
import posixpath
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL.Image import Image

from sngan_hub.class_names import DOGS_AND_CATS, without_synsets
from sngan_hub.data.folders import (
    Parts,
    arrange,
    check_names,
    find_images,
    folder_classes,
    is_image,
    of_no_class,
    product,
)
from sngan_hub.hub.cache import cache_folder
from sngan_hub.text import first_line

CELEBA = 202_599  # images


class Listing(NamedTuple):
    names: list[str]  # for the report
    labels: np.ndarray  # (N,) int64
    classes: list[str]
    read: Callable[[int], bytes]  # reads image i; pickled for other processes
    notes: tuple[str, ...] = ()  # what is ignored, one line each


def list_source(source: str) -> Listing:
    """Raises ``FileNotFoundError`` or ``ValueError`` if the source cannot be read."""
    if source.startswith("hf:"):
        return _datasets(source.removeprefix("hf:"))
    if source == "celeba":
        return _celeba()
    if source == "lsun":
        return _lsun()
    path = Path(source)
    if path.is_dir() and any((path / name).is_file() for name in ("dataset_info.json", "dataset_dict.json")):
        return _datasets(source)
    tars = sorted(p for p in path.glob("*.tar") if p.is_file() and is_shown(p.name)) if path.is_dir() else []
    if tars:
        found = find_images(source).images
        notes = _beside_tars(source, [tar.name for tar in tars], [parts for parts, _ in found])
        check_names((tar.stem for tar in tars), source)
        archives = [(tar.stem, read_archive(tar)) for tar in tars]
        notes += [line for _, archive in archives for line in archive.notes]
        return _named([(name, archive.in_order()) for name, archive in archives], notes)
    if path.is_dir():
        classes = folder_classes(source)
        return _named([(name, [_whole(p) for p in own]) for name, own in classes.items()], of_no_class(source))
    if path.is_file():
        return _of_archive(path)
    raise FileNotFoundError(f"source must be a folder of class folders or of .tar files, a .tar file, celeba, lsun or "
                            f"hf:NAME[:SPLIT] (got {source!r}, which does not exist); cifar10, cifar100 and stl10 need "
                            f"no preparation: --data cifar10")  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Files, and files inside archives, as (path, offset, length), so that any process can read them


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


def is_shown(name: str) -> bool:
    return not name.startswith(".")


class UpTo:
    """A file that ends at ``stop``, so that an archive inside another is not read past its end."""

    def __init__(self, file: BinaryIO, stop: int):
        self.file, self.stop = file, stop
        self.seek, self.tell = file.seek, file.tell

    def read(self, n: int) -> bytes:
        return self.file.read(max(0, min(n, self.stop - self.file.tell())))


class Archive(NamedTuple):
    """The files of a .tar. Names are relative; of several files with one name, the last one is used."""

    pieces: dict[Parts, Piece]
    notes: list[str]

    def in_order(self) -> list[Piece]:
        return [self.pieces[parts] for parts in sorted(self.pieces) if is_image(Path(parts[-1]))]


def read_archive(path: Path, inner: Piece | None = None) -> Archive:
    """Lists the tar ``path``, or the tar ``inner`` inside it. Reads only headers; offsets are those in the file.

    Hard and symbolic links are resolved.

    Raises ``ValueError`` for a file that is not an uncompressed tar, or is incomplete.
    """
    whole = path.stat().st_size
    offset, stop, name = (inner.offset, inner.offset + inner.length, inner.name) if inner else (0, whole, str(path))
    again = "download it again, or unpack the files that are there and name the folder"
    if stop > whole:
        raise ValueError(f"source: {name} is incomplete; {again}")
    if stop == offset:
        raise ValueError(f"source: {name} is empty (0 bytes); download it again")
    files: dict[Parts, Piece] = {}
    links: dict[Parts, Parts] = {}
    with open(path, "rb") as file:
        file.seek(offset)
        if file.read(512)[257:262] not in (b"ustar", b"\0\0\0\0\0"):  # members of a compressed tar are not seekable
            raise ValueError(f"source: {name} is not an uncompressed .tar file; unpack it and name the folder")
        file.seek(offset)
        try:
            with tarfile.open(fileobj=UpTo(file, stop), mode="r:") as tar:  # type: ignore[arg-type]
                for m in tar:
                    parts = _parts(m.name)
                    if not parts:
                        continue
                    links.pop(parts, None)
                    if m.isfile():
                        files[parts] = Piece(str(path), f"{path}/{m.name}", m.offset_data, m.size)
                    elif m.islnk() or m.issym():
                        target = m.linkname if m.islnk() else posixpath.join(posixpath.dirname(m.name), m.linkname)
                        links[parts] = _parts(target)
                end = tar.offset
        except tarfile.TarError as error:
            raise ValueError(f"source: {name} is incomplete or damaged ({error}); {again}") from error
        file.seek(end)
        if any(UpTo(file, stop).read(512)):  # tarfile has stopped at invalid data that is not the end of a tar
            raise ValueError(f"source: {name} is incomplete or damaged at byte {end:,}; {again}")
    lost = []
    for parts in links:
        target = parts
        for _ in range(40):  # the limit of Linux
            target = links.get(target, target)
        if target in files:
            files[parts] = files[target]._replace(name=f"{path}/{'/'.join(parts)}")
        elif all(map(is_shown, parts)) and is_image(Path(parts[-1])):
            lost.append("/".join(parts))
    if end > stop or any(piece.offset + piece.length > stop for piece in files.values()):
        raise ValueError(f"source: {name} is incomplete; {again}")
    notes = [f"Ignored {_images(len(lost), 'link')} in {name} to missing files ({_some(lost)})"] if lost else []
    if stop - end < 512:  # two blocks of zeros end a tar
        notes.append(f"{name} has no end-of-archive marker and may be incomplete")
    return Archive({parts: piece for parts, piece in files.items() if all(map(is_shown, parts))}, notes)


def _images(n: int, what: str = "image") -> str:
    return f"{n:,} {what}{'s' * (n != 1)}"


def _some(names: list[str]) -> str:
    """The first of the names, for a message."""
    return names[0] + ", ..." * (len(names) > 1)


def _parts(name: str) -> Parts:
    """A member's name as the tar tools unpack it: relative, without ``.`` and ``..``."""
    return tuple(part for part in posixpath.normpath(name).split("/") if part not in ("", ".", ".."))


def _of_archive(path: Path) -> Listing:
    """A tar that contains one tar per class, or class folders."""
    files, notes = read_archive(path)
    files, outputs = _without_outputs(files)
    notes += outputs
    images = [parts for parts in files if is_image(Path(parts[-1]))]
    tars = sorted(parts for parts in files if parts[-1].endswith(".tar"))
    if tars:
        notes += _beside_tars(str(path), [tar[-1] for tar in tars], images)
        check_names((PurePosixPath(tar[-1]).stem for tar in tars), str(path))
        classes = []
        for tar in tars:
            archive = read_archive(path, files[tar])
            notes += archive.notes
            classes.append((PurePosixPath(tar[-1]).stem, archive.in_order()))
        return _named(classes, notes)
    arranged = arrange(images, path.stem, str(path))
    classes = [(name, [files[images[i]] for i in own]) for name, own in arranged.classes.items()]
    return _named(classes, notes + arranged.notes)


def _without_outputs(files: dict[Parts, Piece]) -> tuple[dict[Parts, Piece], list[str]]:
    """The files outside of runs, networks and prepared data sets, and one line for each of these."""
    inside: dict[Parts, set[str]] = {
        parts[:-1]: set() for parts in files if parts[-1] in ("config.json", "dataset.json") and len(parts) > 1
    }
    for parts in files if inside else ():
        for depth in range(len(parts)):
            if parts[:depth] in inside:
                inside[parts[:depth]].add(parts[depth])
    kinds = {}
    for folder, names in inside.items():
        config = files.get((*folder, "config.json"))
        if kind := product(names, lambda config=config: Pieces([config])(0) if config else b""):
            kinds[folder] = kind
    kept = {parts: piece for parts, piece in files.items() if not any(parts[:k] in kinds for k in range(1, len(parts)))}
    return (kept if kinds else files), [
        f"Ignored {'/'.join(folder)}: it is {kind}, not a class" for folder, kind in kinds.items()
    ]


def _beside_tars(source: str, tars: list[str], images: Iterable[Parts]) -> list[str]:
    """One line about images beside .tar files. Raises ``ValueError`` if they are in folders: classes are ambiguous."""
    images = list(images)
    folders = sorted({parts[0] for parts in images if len(parts) > 1})
    if folders:
        raise ValueError(f"source must contain .tar files or folders of images, not both (got {source} with "
                         f"{_some(tars)} and {_some(folders)}); move one kind to another folder")  # fmt: skip
    if not images:
        return []
    return [f"Ignored {_images(len(images))} beside the .tar files ({_some([parts[-1] for parts in images])})"]


def _named(classes: list[tuple[str, list[Piece]]], notes: Iterable[str] = ()) -> Listing:
    """Replaces ImageNet's synsets by class names. The labels are in the order of the synsets, as in the authors' code.

    Raises ``ValueError`` if two classes have the same name, and ``FileNotFoundError`` if there is no image.
    """
    notes = [*notes, *(f"Ignored class {name}: it contains no images" for name, own in classes if not own)]
    classes = sorted((row for row in classes if row[1]), key=lambda row: row[0])
    names = [name for name, _ in classes]
    if twice := [a for a, b in zip(names, names[1:], strict=False) if a == b]:
        raise ValueError(f"source has two classes named {twice[0]!r}; rename one of them")
    if not classes:
        raise FileNotFoundError("source contains no images")
    pieces = [piece for _, own in classes for piece in own]
    labels = np.repeat(np.arange(len(classes)), [len(own) for _, own in classes])
    return Listing([piece.name for piece in pieces], labels, without_synsets(names), Pieces(pieces), tuple(notes))


def dogs_and_cats(listing: Listing) -> Listing:
    """The authors' 143 classes of the 1,000: labels 151 to 293."""
    if len(listing.classes) == 143:
        return listing
    if len(listing.classes) != 1000:
        raise ValueError(f"source must have ImageNet's 1,000 classes, or its 143 classes of dogs and cats, for this "
                         f"preset (got {len(listing.classes)})")  # fmt: skip
    numbered = all(name.isdecimal() and int(name) == label for label, name in enumerate(listing.classes))
    if listing.classes == sorted(listing.classes) and not numbered:
        raise ValueError("source must have folders named by ImageNet's synsets (n01440764 ...) for this preset, which "
                         "takes labels 151 to 293 in their order")  # fmt: skip
    first, stop = DOGS_AND_CATS.start, DOGS_AND_CATS.stop
    kept = np.flatnonzero((listing.labels >= first) & (listing.labels < stop))
    return Listing([listing.names[i] for i in kept], listing.labels[kept] - first, listing.classes[first:stop],
                   Chosen(listing.read, kept))  # fmt: skip


class Chosen:
    """Reads image ``index[i]``."""

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
        except Exception as error:  # sockets, servers and archives raise many kinds of errors
            why = first_line(error)
            raise FileNotFoundError(f"source: could not download celeba ({why}); unpack img_align_celeba.zip by hand, "
                                    f"so that its {CELEBA:,} images are in {folder}") from error  # fmt: skip
    paths = sorted(folder.glob("*.jpg"))
    if len(paths) != CELEBA:
        raise FileNotFoundError(f"source: celeba must have {CELEBA:,} images (got {len(paths):,} in {folder}); unpack "
                                f"img_align_celeba.zip in {folder.parent} again, over these files, or move this folder "
                                f"away and run the command again, which downloads them")  # fmt: skip
    return _named([("face", [_whole(path) for path in paths])])


def _lsun() -> Listing:
    path = cache_folder() / "torchvision" / "lsun" / "bedroom_train_lmdb"
    if not path.is_dir():
        raise FileNotFoundError(f"source: no lsun in {path}; download bedroom_train_lmdb from lsun.cs.princeton.edu "
                                f"and unpack it there")  # fmt: skip
    try:
        import lmdb  # type: ignore[import-not-found]
    except ImportError as error:
        raise ValueError(f"source lsun needs lmdb ({error}): pip install lmdb") from error
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

        if self.store is None or self.owner != os.getpid():  # an LMDB environment must not be used after a fork
            self.store, self.owner = lmdb.open(self.path, readonly=True, lock=False, readahead=False), os.getpid()
        with self.store.begin() as entries:  # type: ignore[attr-defined]
            data = entries.get(self.keys[i])
        if data is None:
            raise ValueError("the database has no such entry")
        return bytes(data)


def _datasets(name: str) -> Listing:
    try:
        import datasets  # type: ignore[import-not-found]
    except ImportError as error:
        raise ValueError(f"source hf: needs datasets ({error}): pip install datasets") from error
    split = ""
    if ":" in name and not Path(name).is_dir():
        name, _, split = name.rpartition(":")
    try:
        found = datasets.load_from_disk(name) if Path(name).is_dir() else datasets.load_dataset(name)
        table = found if isinstance(found, datasets.Dataset) else found[split or "train"]
    except Exception as error:  # errors of datasets, pyarrow and the Hub client
        why = first_line(error)
        raise FileNotFoundError(f"source: could not load {name}, split {split or 'train'} ({why})") from error
    pictures = [key for key, kind in table.features.items() if isinstance(kind, datasets.Image)]
    labels = [key for key, kind in table.features.items() if isinstance(kind, datasets.ClassLabel)]
    if not pictures:
        raise ValueError(f"source: {name} must have a column of images (got {', '.join(table.features)})")
    table = table.cast_column(pictures[0], datasets.Image(decode=False))
    classes = table.features[labels[0]].names if labels else ["image"]
    y = np.zeros(len(table), np.int64)
    if labels:
        y[:] = [-1 if label is None else label for label in table[labels[0]][:]]
    return Listing([f"{name}/{i}" for i in range(len(table))], y, list(classes), Table(table, pictures[0]))


class Table:
    def __init__(self, table: Any, column: str):
        self.table, self.column = table, column

    def __call__(self, i: int) -> bytes:
        picture = self.table[i][self.column]
        if isinstance(picture, Image):
            raise ValueError("got a decoded image instead of the bytes of its file")
        if picture is None or (picture["bytes"] is None and picture["path"] is None):
            raise ValueError("the row has no image")
        return picture["bytes"] if picture["bytes"] is not None else Path(picture["path"]).read_bytes()
