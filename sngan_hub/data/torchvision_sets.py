"""Loads data sets that torchvision downloads and verifies, as arrays, without torchvision's transforms.

Downloads are kept in the cache folder (``SNGAN_HUB_CACHE``).
"""

from __future__ import annotations

import gzip
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..files import write_array, write_folder
from ..hub.cache import cache_folder, one_process_at_a_time
from ..text import first_line
from .images import Images, square

FASHION_CLASSES = [
    "T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]  # fmt: skip
FASHION_DEBIAN = Path("/usr/share/datasets/fashion-mnist")
FASHION_FILES = (
    "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz",
)  # fmt: skip


def load_fashion(split: str, size: int) -> Images:
    if size != 32:
        raise ValueError(f"size must be 32 for fashion (got {size})")
    prefix = {"train": "train", "test": "t10k"}[split]
    folder = _fashion_folder()
    pixels = _read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
    labels = _read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
    images = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))[:, None].repeat(3, 1)
    return Images(images, labels.astype(np.int64), list(FASHION_CLASSES))


def _fashion_folder() -> Path:
    own = cache_folder() / "FashionMNIST" / "raw"
    for folder in (FASHION_DEBIAN, own):
        if _is_complete(folder):
            return folder
    with one_process_at_a_time(cache_folder() / "fashion.lock", "downloading"):
        if not _is_complete(own):  # another process may have downloaded it meanwhile
            write_folder(own, _download_fashion, own.with_name(".raw.part"))
    return own


def _is_complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in FASHION_FILES)


def _download_fashion(folder: Path) -> None:
    """Fills ``folder`` with the four files. torchvision checks each, but writes it in place, under its own name."""
    from torchvision.datasets import FashionMNIST

    try:
        FashionMNIST(str(folder), download=True)
    except Exception as error:
        own = cache_folder() / "FashionMNIST" / "raw"
        raise FileNotFoundError(
            f"fashion: the data set is not in {FASHION_DEBIAN} and the download failed ({error}); on Debian, run "
            f"apt-get install dataset-fashion-mnist; on other systems, save the four .gz files in {own}"
        ) from error
    for name in FASHION_FILES:
        os.replace(folder / "FashionMNIST" / "raw" / name, folder / name)
    shutil.rmtree(folder / "FashionMNIST")  # the same files, decompressed


def _read_idx(path: Path) -> np.ndarray:
    try:
        data = gzip.decompress(path.read_bytes())
        shape = np.frombuffer(data, ">u4", data[3], 4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)
    except (gzip.BadGzipFile, EOFError, zlib.error, ValueError, IndexError) as error:
        way_out = "delete it, so that it is downloaded again"
        if path.parent == FASHION_DEBIAN:
            way_out = "run apt-get install --reinstall dataset-fashion-mnist"
        raise ValueError(f"fashion: {path} is damaged ({error}); {way_out}") from error


# ---------------------------------------------------------------------------------------------------------------------
# CIFAR-10, CIFAR-100, STL-10


def load_cifar(name: str, split: str, size: int) -> Images:
    """``cifar10`` or ``cifar100``: 50,000 training and 10,000 test images of 32 px."""
    if size != 32:
        raise ValueError(f"size must be 32 for {name} (got {size})")
    data = _torchvision(name, {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}[name], train=split == "train")
    images = np.ascontiguousarray(data.data.transpose(0, 3, 1, 2))
    return Images(images, np.array(data.targets, np.int64), list(data.classes))


def load_stl10(split: str, size: int) -> Images:
    """The 100,000 unlabelled images (``train``), or the 8,000 labelled test images (``test``), as one class.

    The images of 96 px are resized to ``size`` (bilinear, antialiased); the SN paper uses 48 px.
    """
    path = cache_folder() / f"stl10-{split}-{size}.npy"
    if not path.is_file():
        data = _torchvision("stl10", "STL10", split="unlabeled" if split == "train" else "test")
        images = np.stack([square(Image.fromarray(x.transpose(1, 2, 0)), size) for x in data.data])
        write_array(path, images)
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    return Images(images, np.zeros(len(images), np.int64), ["image"])


def _torchvision(name: str, cls: str, **arguments: Any) -> Any:
    """torchvision's data set; it is downloaded if necessary."""
    import torchvision.datasets

    root, open_set = cache_folder() / "torchvision", getattr(torchvision.datasets, cls)
    try:
        return open_set(str(root), **arguments)
    except RuntimeError:
        pass  # not there, or not whole
    try:
        with one_process_at_a_time(cache_folder() / f"{name}.lock", "downloading"):
            return open_set(str(root), download=True, **arguments)
    except Exception as error:  # sockets, servers and archives raise many kinds of errors
        why = first_line(error)
        raise FileNotFoundError(
            f"{name}: the data set is not in {root} and the download failed ({why}); save torchvision's files of "
            f"{cls} there"
        ) from error
