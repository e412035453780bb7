"""Files of the page: those it gives out, those it is given, and the removal of emptied folders."""

from __future__ import annotations

import os
import re
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from sngan_hub.data.images import DAMAGED, FORMATS, read_picture

MAX_UPLOAD = 10 * 2**20  # bytes
MAX_PIXELS = 40_000_000


def downloads() -> Path:
    folder = Path(os.environ.get("GRADIO_TEMP_DIR", Path(tempfile.gettempdir()) / "gradio")) / "sngan_hub"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def new_file(name: str) -> Path:
    remove_emptied()
    safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
    return Path(tempfile.mkdtemp(dir=downloads())) / safe


def remove_emptied(seconds: float = 60) -> None:
    """Removes folders of earlier requests that have been empty for this long.

    Gradio deletes files after an hour (``delete_cache``), but not their folders. Every upload, image and download has
    its own folder.
    """
    of_gradio = (f for f in downloads().parent.iterdir() if len(f.name) == 64 and not f.name.strip("0123456789abcdef"))
    for folder in (*downloads().iterdir(), *of_gradio):
        try:
            if folder.stat().st_mtime < time.time() - seconds:
                folder.rmdir()
        except OSError:  # not empty, or already removed by another request
            pass


def read_upload(path: Path, size: int) -> np.ndarray:
    """An image file -> (3, size, size) uint8: the first frame, rotated by EXIF, centre crop. One-line errors."""
    if path.stat().st_size > MAX_UPLOAD:
        raise ValueError(
            f"image: the file must be at most {MAX_UPLOAD // 2**20} MB (got {path.stat().st_size / 2**20:.0f} MB)"
        )
    try:
        with Pillow.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(
                    f"image: the image must have at most {MAX_PIXELS // 10**6} megapixels (got {image.width} x "
                    f"{image.height} px)"
                )
        return read_picture(path.read_bytes(), size)
    except Pillow.UnidentifiedImageError:
        raise ValueError("image: the file must be a PNG, JPEG, WebP, GIF, BMP or TIFF image") from None
    except Pillow.DecompressionBombError:
        raise ValueError(f"image: the image must have at most {MAX_PIXELS // 10**6} megapixels") from None
    except DAMAGED as error:
        text = " ".join(str(error).split())[:200]
        raise ValueError(text if text.startswith("image:") else f"image: the file cannot be read ({text})") from None


#: An absolute path, but not the path of a web address
_PATH = re.compile(r"(?<![\w:/.])(?:/[^\s/:;,'\"()]+)+/([^\s/:;,'\"()]*)")


def without_folders(text: str) -> str:
    """Absolute paths in an error message are shortened to the file name: the page shows no paths of the server."""
    return _PATH.sub(r"\1", text)
