"""Images as uint8 arrays, in memory or on disk; decodes an image file and resizes it to a square."""

from __future__ import annotations

import errno
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

SPLITS = ("train", "test", "all")
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"}
#: Of the content, whatever the suffix. Pillow opens others too, such as PostScript, which is a program.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
DAMAGED = (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError)

#: Errors of a machine or of a file system on a network, which may be gone at the next attempt
PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EMFILE,
           errno.ENFILE, errno.ENOMEM, errno.ENODEV}  # fmt: skip

TEST_EVERY = 10  # every tenth image of a class, in name order, is held out for scores


def is_of_the_image(error: BaseException) -> bool:
    """False for errors of the machine, the network or a file system that is away for a while."""
    if isinstance(error, FileNotFoundError) and error.filename:
        return Path(error.filename).parent.is_dir()  # a broken link, not a disk that was unmounted
    return not isinstance(error, MemoryError) and getattr(error, "errno", None) not in PASSING


def held_back(i: int, every: int) -> bool:
    """Whether image ``i`` of a class belongs to the test split. ``every`` 0: none does."""
    return every > 0 and i % every == every - 1


def in_split(i: int, every: int, split: str) -> bool:
    """Whether image ``i`` of a class belongs to ``split``, one of ``SPLITS``."""
    return split == "all" or held_back(i, every) == (split == "test")


class NoTestSplit(ValueError):
    """Data that have training images alone."""


class Rows:
    """A selection of rows of an array on disk, (rows, 3, S, S) uint8. Rows are read when they are indexed.

    ``size``: resize them to this when they are read (0: as they are stored).
    """

    def __init__(self, store: np.ndarray, index: np.ndarray, size: int = 0):
        self.store, self.index, self.size = store, index, size or store.shape[-1]
        self.shape, self.dtype = (len(index), 3, self.size, self.size), store.dtype

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, which: Any) -> np.ndarray:
        stored = self.store[self.index[which]]
        side = stored.shape[-1]
        if side == self.size:
            return stored
        each = stored.reshape(-1, 3, side, side).transpose(0, 2, 3, 1)
        resized = [cropped(pixels, 0, 0, side, self.size) for pixels in each]
        return np.array(resized, np.uint8).reshape(*stored.shape[:-2], self.size, self.size)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


class Images(NamedTuple):
    images: np.ndarray | Rows  # (N, 3, S, S) uint8
    labels: np.ndarray  # (N,) int64
    classes: list[str]
    digest: str = ""  # of the whole content, if known without reading it
    made: dict[str, Any] = {}  # the content of dataset.json, if prepared

    def as_one_class(self) -> Images:
        digest = self.digest and f"{self.digest}-one"
        return self._replace(labels=np.zeros_like(self.labels), classes=[""], digest=digest)

    def in_order(self, order: list[str]) -> Images:
        """The same images with the classes in ``order``. Raises ``ValueError`` if the classes differ."""
        if order == self.classes:
            return self
        if sorted(order) != sorted(self.classes):
            raise ValueError(f"data: the classes must be {', '.join(order[:8])} (got {', '.join(self.classes[:8])})")
        place = np.array([order.index(name) for name in self.classes])
        digest = f"{self.digest}-{'|'.join(order)}" if self.digest else ""
        return self._replace(labels=place[self.labels], classes=order, digest=digest)

    def fingerprint(self) -> str:
        """A hash of all pixels and labels. It must not change between a run and its resumption."""
        return self.sha256()[:16] if not self.digest else self.digest

    def sha256(self) -> str:
        """The whole sha256 of all pixels, labels and class names; of a prepared data set, its first digits (where its
        classes are in another order, the sha256 of these and the order).
        """
        if self.digest:
            return self.digest if self.digest.isalnum() else hashlib.sha256(self.digest.encode()).hexdigest()
        digest = hashlib.sha256()
        for part in (self.images, self.labels):
            digest.update(np.ascontiguousarray(part).data)
        digest.update(json.dumps(self.classes).encode())
        return digest.hexdigest()


def evenly(n: int, most: int) -> np.ndarray:
    """At most ``most`` of the indices 0 to n - 1, evenly spaced, with the first and the last."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))


# ---------------------------------------------------------------------------------------------------------------------
# One image


def read_picture(
    data: bytes, size: int, short_side: int = 0, stretch: bool = False, min_side: int = 0, squash: bool = False
) -> np.ndarray:
    """Decodes the bytes of an image file -> (3, size, size) uint8. Raises one of ``DAMAGED``.

    ``short_side``: scale the short side to this first, like the authors' preprocess.sh (256); then see ``square``.
    ``min_side``: images with a shorter side are an error; the authors skip those under 256 px. ``squash``: resize the
    whole image to the square, without a crop, as the authors' calc_ref_stats.py does.
    """
    try:
        opened = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ValueError(f"not a supported image format ({', '.join(FORMATS)})") from error
    with opened as image:
        if min(image.size) < min_side:
            raise ValueError(f"{image.width}x{image.height} px: each side must be at least {min_side} px")
        if image.format == "JPEG" and not stretch:
            least = 2 * (short_side or size)  # the JPEG decoder reduces large images at no cost
            image.draft(image.mode, (least, least))
        try:
            image.load()  # a PNG file may have its EXIF block behind the pixels
        except TypeError as error:  # Pillow, for a number of a TIFF file that has another type
            raise ValueError(f"the file is damaged ({error})") from error
        turn = _turn(image)
        image = to_eight_bits(image)
    if turn is not None:
        image = image.transpose(turn)
    if short_side and min(image.size) != short_side:
        scale = short_side / min(image.size)
        shape = (max(short_side, round(image.width * scale)), max(short_side, round(image.height * scale)))
        image = image.resize(shape, Image.Resampling.LANCZOS)
    if squash and image.width != image.height:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return square(image, size, stretch)


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What the EXIF block says. ``ImageOps.exif_transpose`` also writes the block again, which odd values prevent."""
    try:
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow raises many kinds of errors for a damaged block
        return None


def to_eight_bits(image: Image.Image) -> Image.Image:
    """Any mode -> RGB, or L for greyscale. 16-bit greyscale is scaled, transparency is blended with white.

    The modes I and F do not state their range, so the largest value decides. Raises ``ValueError`` for values of F
    that are not finite.

    The image is converted in strips: a large image in wider numbers would take a gigabyte.
    """
    if image.mode.startswith("I") or image.mode == "F":
        top = 65535.0
        if image.mode in ("I", "F"):
            most = float(np.max([np.asarray(part).max() for _, part in _strips(image)]))
            if not all(np.isfinite(np.asarray(part)).all() for _, part in _strips(image)):
                raise ValueError("pixel values that are not finite (NaN or infinity)")
            top = 65535.0 if image.mode == "I" and most > 255 else (1.0 if most <= 1 else 255.0)
        grey = Image.new("L", image.size)
        for corner, part in _strips(image):
            values = np.asarray(part, np.float64)
            grey.paste(Image.fromarray((values.clip(0, top) * (255 / top)).round().astype(np.uint8)), corner)
        return grey
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        flat = Image.new("RGB", image.size)
        for corner, part in _strips(image):
            white = Image.new("RGBA", part.size, "white")
            flat.paste(Image.alpha_composite(white, part.convert("RGBA")).convert("RGB"), corner)
        return flat
    image.load()
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


_STRIP = 2**18  # pixels


def _strips(image: Image.Image) -> Iterator[tuple[tuple[int, int], Image.Image]]:
    """(corner, strip) of each strip, from top to bottom."""
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        yield (0, top), image.crop((0, top, image.width, min(top + rows, image.height)))


def square(image: Image.Image, size: int, stretch: bool = False) -> np.ndarray:
    """Crops the centre square and resizes it to ``size`` px -> (3, size, size) uint8."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if image.size != (side, side):
        image = image.crop((left, top, left + side, top + side))
    if not stretch and side != size:  # before the conversion to an array, which is then smaller
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return cropped(pixels, 0, 0, len(pixels), size, stretch=stretch)


def cropped(
    pixels: np.ndarray, top: int, left: int, side: int, size: int, flip: bool = False, stretch: bool = False
) -> np.ndarray:
    """Crops a square of ``pixels`` (H, W, 3) uint8 and resizes it (bilinear, antialiased) -> (3, size, size) uint8.

    ``flip``: flip the image before the crop. ``stretch``: first stretch the values of the crop to 0..255, over all
    channels jointly, and round, as scipy.misc.imresize does with the authors' float arrays (datasets/imagenet.py).
    """
    if flip:
        pixels = pixels[:, ::-1]
    crop = pixels[top : top + side, left : left + side]
    if stretch:
        low, high = float(crop.min()), float(crop.max())
        scale = np.float32(255.0 / (high - low or 1.0))  # as in SciPy: single precision, rounded by adding 0.5
        whole, crop = crop, np.empty(crop.shape, np.uint8)
        rows = max(1, _STRIP // side)
        for first in range(0, side, rows):
            part = (whole[first : first + rows] - np.float32(low)) * scale
            crop[first : first + rows] = part.clip(0, 255) + np.float32(0.5)
    image = Image.fromarray(np.ascontiguousarray(crop, np.uint8))
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))
