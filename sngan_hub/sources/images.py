"""Images in memory or on disk as uint8, and how one picture becomes a square of a given size."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SPLITS = ("train", "test", "all")
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"}
DAMAGED = (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError)

TEST_EVERY = 10  # every tenth image of a class, in name order, is kept for scores


def held_back(i: int, every: int) -> bool:
    """Whether image ``i`` of a class belongs to the test split. ``every`` 0: none does."""
    return every > 0 and i % every == every - 1


def in_split(i: int, every: int, split: str) -> bool:
    """Whether image ``i`` of a class belongs to ``split``, one of ``SPLITS``."""
    return split == "all" or held_back(i, every) == (split == "test")


class Rows:
    """Some rows of an array on disk, read only when they are asked for."""

    def __init__(self, store: np.ndarray, index: np.ndarray):
        self.store, self.index = store, index
        self.shape, self.dtype = (len(index), *store.shape[1:]), store.dtype

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, which: Any) -> np.ndarray:
        return self.store[self.index[which]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.store[self.index], dtype)


class Images(NamedTuple):
    images: np.ndarray | Rows  # (N, 3, S, S) uint8
    labels: np.ndarray  # (N,) int64
    classes: list[str]
    digest: str = ""  # of all content, where it is known without reading it
    made: dict[str, Any] = {}  # how it was prepared: dataset.json

    def as_one_class(self) -> Images:
        return self._replace(labels=np.zeros_like(self.labels), classes=[""], digest="")

    def in_order(self, order: list[str]) -> Images:
        """The same images with the classes in ``order``. Raises ``ValueError`` where these are others."""
        if order == self.classes:
            return self
        if sorted(order) != sorted(self.classes):
            raise ValueError(f"data: its classes are {', '.join(self.classes[:8])}; needed are {', '.join(order[:8])}")
        place = np.array([order.index(name) for name in self.classes])
        digest = f"{self.digest}-{'|'.join(order)}" if self.digest else ""
        return self._replace(labels=place[self.labels], classes=order, digest=digest)

    def fingerprint(self) -> str:
        """A hash of every pixel and label: what a resumed run must find again."""
        if self.digest:
            return self.digest
        digest = hashlib.sha256()
        for part in (self.images, self.labels):
            digest.update(np.ascontiguousarray(part).data)
        digest.update(json.dumps(self.classes).encode())
        return digest.hexdigest()[:16]


# ---------------------------------------------------------------------------------------------------------------------
# One picture


def read_picture(data: bytes, size: int, short_side: int = 0, stretch: bool = False, min_side: int = 0) -> np.ndarray:
    """A file's bytes -> (3, size, size) uint8; raises one of ``DAMAGED``.

    ``short_side`` first scales the picture so, as the authors' preprocess.sh does with 256; then see ``square``. A side
    under ``min_side`` is refused, as theirs under 256.
    """
    try:
        opened = Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        raise ValueError("holds no picture of a known kind") from error
    with opened as image:
        if min(image.size) < min_side:
            raise ValueError(f"{image.width}x{image.height}: under {min_side} px")
        if image.format == "JPEG" and not stretch:
            least = 2 * (short_side or size)  # the decoder halves large pictures for nothing
            image.draft(image.mode, (least, least))
        image = to_rgb(ImageOps.exif_transpose(image))
    if short_side and min(image.size) != short_side:
        scale = short_side / min(image.size)
        shape = (max(short_side, round(image.width * scale)), max(short_side, round(image.height * scale)))
        image = image.resize(shape, Image.Resampling.LANCZOS)
    return square(image, size, stretch)


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode -> RGB: 16-bit grey is scaled, transparency lies on white."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64)
        top = 65535 if image.mode != "F" and values.max() > 255 else (1.0 if values.max() <= 1 else 255)
        image = Image.fromarray((values.clip(0, top) * (255 / top)).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def square(image: Image.Image, size: int, stretch: bool = False) -> np.ndarray:
    """The centre, cropped to the short side, at ``size`` px -> (3, size, size) uint8."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return cropped(np.asarray(image), top, left, side, size, stretch=stretch)


def cropped(
    pixels: np.ndarray, top: int, left: int, side: int, size: int, flip: bool = False, stretch: bool = False
) -> np.ndarray:
    """A square of ``pixels`` (H, W, 3) uint8, which are flipped before -> (3, size, size) uint8, bilinear, antialiased.

    ``stretch``: first its values are stretched to 0..255, over all channels jointly, and rounded. That is what
    scipy.misc.imresize did to the authors' float arrays (datasets/imagenet.py).
    """
    if flip:
        pixels = pixels[:, ::-1]
    crop = pixels[top : top + side, left : left + side]
    if stretch:
        low, high = float(crop.min()), float(crop.max())
        scale = np.float32(255.0 / (high - low or 1.0))  # their arithmetic: single precision, rounded by adding a half
        crop = ((crop - np.float32(low)) * scale).clip(0, 255) + np.float32(0.5)
    image = Image.fromarray(np.ascontiguousarray(crop, np.uint8))
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
