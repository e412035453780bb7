"""Real images: a source's name or a folder -> uint8 images, labels and class names.

``fashion``  Fashion-MNIST, padded to 32 px, three equal channels (Debian's dataset-fashion-mnist, or torchvision)
``avatars``  DiceBear drawings in ten CC0 styles, drawn here by seed: procedural drawings, not photographs
a folder     of class folders with images

Every source has two splits whose images are disjoint: ``train``, and ``test`` for scores.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from .fetch import cache_folder

SPLITS = ("train", "test")
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"}


class Images(NamedTuple):
    images: np.ndarray  # (N, 3, S, S) uint8
    labels: np.ndarray  # (N,) int64
    classes: list[str]

    def as_one_class(self) -> Images:
        return self._replace(labels=np.zeros_like(self.labels), classes=[""])

    def fingerprint(self) -> str:
        """A hash of every pixel and label: what a resumed run must find again."""
        digest = hashlib.sha256()
        for part in (self.images, self.labels):
            digest.update(np.ascontiguousarray(part).data)
        digest.update(json.dumps(self.classes).encode())
        return digest.hexdigest()[:16]


def source_classes(source: str) -> list[str]:
    """The class names alone, without opening an image."""
    if source in SOURCES:
        return SOURCES[source].classes
    return [folder.name for folder in _class_folders(source)]


def load_images(source: str, split: str = "train", size: int = 32) -> Images:
    """Raises ``FileNotFoundError`` or ``ValueError`` with the way out when the source cannot be had or is damaged."""
    if split not in SPLITS:
        raise ValueError(f"split: got {split!r}, legal are {', '.join(SPLITS)}")
    if source in SOURCES:
        return SOURCES[source].load(split, size)
    return _load_folder(source, split, size)


# ---------------------------------------------------------------------------------------------------------------------
# Fashion-MNIST

FASHION_CLASSES = [
    "T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]  # fmt: skip
FASHION_DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def _load_fashion(split: str, size: int) -> Images:
    if size != 32:
        raise ValueError(f"size: got {size}, fashion is padded to 32 px only")
    prefix = {"train": "train", "test": "t10k"}[split]
    folder = _fashion_folder()
    pixels = _read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
    labels = _read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
    images = np.pad(pixels, ((0, 0), (2, 2), (2, 2)))[:, None].repeat(3, 1)
    return Images(images, labels.astype(np.int64), list(FASHION_CLASSES))


def _fashion_folder() -> Path:
    own = cache_folder() / "FashionMNIST" / "raw"
    for folder in (FASHION_DEBIAN, own):
        if (folder / "train-images-idx3-ubyte.gz").is_file():
            return folder
    from torchvision.datasets import FashionMNIST

    try:
        FashionMNIST(str(cache_folder()), download=True)
    except Exception as error:
        raise FileNotFoundError(
            f"fashion: not in {FASHION_DEBIAN} and could not be downloaded ({error}); on Debian: "
            f"apt-get install dataset-fashion-mnist; else put the four .gz files into {own}"
        ) from error
    return own


def _read_idx(path: Path) -> np.ndarray:
    data = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(data, ">u4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


# ---------------------------------------------------------------------------------------------------------------------
# Avatars

AVATAR_STYLES = [
    "pixel-art", "critters", "sprouts", "planets", "landscape", "thumbs", "marbles", "moods", "cutouts", "voxel-art",
]  # fmt: skip
AVATARS_PER_CLASS = {"train": 4000, "test": 500}
_RECIPE = "1"  # part of the cache's name: changes whenever the drawings do


def _load_avatars(split: str, size: int) -> Images:
    path = cache_folder() / f"avatars-{split}-{size}-r{_RECIPE}.npy"
    count = AVATARS_PER_CLASS[split]
    if not path.is_file():
        images = draw_avatars(AVATAR_STYLES, range(count), split, size)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        with open(temporary, "wb") as file:
            np.save(file, images)
        os.replace(temporary, path)
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    return Images(images, np.arange(len(AVATAR_STYLES)).repeat(count), list(AVATAR_STYLES))


def draw_avatars(styles: list[str], numbers: range, split: str, size: int) -> np.ndarray:
    """Avatar ``number`` of ``split`` in each style -> (styles x numbers, 3, size, size) uint8, style-major.

    The DiceBear seed is "split/number", so splits never share one.
    """
    tasks = [(style, numbers[i : i + 100], split, size) for style in styles for i in range(0, len(numbers), 100)]
    with ProcessPoolExecutor() as pool:
        parts = list(tqdm(pool.map(_draw_batch, tasks), "drawing avatars", len(tasks), unit="00", leave=False))
    return np.concatenate(parts)


def _draw_batch(task: tuple[str, range, str, int]) -> np.ndarray:
    try:
        import dicebear  # type: ignore[import-not-found]
        import resvg_py  # type: ignore[import-not-found]
    except ImportError as error:
        raise FileNotFoundError(f"avatars: {error}; pip install 'sngan-hub[avatars]'") from error
    name, numbers, split, size = task
    style = dicebear.Style(_avatar_style(name))
    images = []
    for number in numbers:
        svg = dicebear.Avatar(style, {"seed": f"{split}/{number}", "size": 4 * size}).to_string()
        png = resvg_py.svg_to_bytes(svg_string=svg, background="#ffffff", skip_system_fonts=True)
        # Drawn at four times the size and averaged: smooth at 32 px, and equal on every platform.
        drawing = Image.open(io.BytesIO(png)).convert("RGB").resize((size, size), Image.Resampling.BOX)
        images.append(np.asarray(drawing).transpose(2, 0, 1))
    return np.stack(images)


def _avatar_style(name: str) -> dict:
    spec = importlib.util.find_spec("dicebear_styles")
    roots = list(spec.submodule_search_locations or []) if spec else []
    for root in roots:
        for path in Path(root).rglob(f"{name}.json"):
            return json.loads(path.read_text(encoding="utf-8"))
    raise FileNotFoundError(f"avatars: no style {name!r}; pip install 'sngan-hub[avatars]'")


# ---------------------------------------------------------------------------------------------------------------------
# A folder of class folders

TEST_SHARE = 10  # every tenth image of a class, in name order, is kept for scores


def _class_folders(source: str) -> list[Path]:
    folder = Path(source)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"data: {source!r} is neither a source ({', '.join(SOURCES)}) nor a folder of class folders"
        )
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    folders = [path for path in folders if any(child.suffix.lower() in SUFFIXES for child in path.iterdir())]
    if not folders:
        raise FileNotFoundError(f"data: {source} holds no folder with images; expected {source}/CLASS/IMAGE.png")
    return folders


def _load_folder(source: str, split: str, size: int) -> Images:
    images, labels, damaged = [], [], []
    folders = _class_folders(source)
    for label, folder in enumerate(folders):
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        for i, path in enumerate(paths):
            held_back = i % TEST_SHARE == TEST_SHARE - 1
            if held_back != (split == "test"):
                continue
            try:
                images.append(_read_image(path, size))
                labels.append(label)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                damaged.append(f"{path}: {error}")
    if damaged:
        raise ValueError(f"data: {len(damaged)} damaged image(s); mend or remove them:\n  " + "\n  ".join(damaged))
    if not images:
        raise ValueError(f"data: {source} has no image in split {split!r} (every tenth of a class is kept for test)")
    return Images(np.stack(images), np.array(labels, np.int64), [folder.name for folder in folders])


def _read_image(path: Path, size: int) -> np.ndarray:
    """Centre crop to the short side, then bilinear with antialiasing -> (3, size, size) uint8."""
    with Image.open(path) as image:
        image = image.convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


class Source(NamedTuple):
    classes: list[str]
    load: Callable[[str, int], Images]


SOURCES = {"fashion": Source(FASHION_CLASSES, _load_fashion), "avatars": Source(AVATAR_STYLES, _load_avatars)}
