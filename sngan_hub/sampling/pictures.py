"""Converts uint8 tensors to Pillow images, labelled grids and PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from torch import Tensor

from ..files import write_atomically


def to_pil(image: Tensor) -> Image.Image:  # (3, H, W) uint8
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def labelled_grid(
    images: Tensor, columns: int, row_labels: Sequence[str] | None = None, scale: int | None = None
) -> Image.Image:
    """Arranges images in a grid, row by row, with labels on the left.

    Args:
        images: uint8 (N, 3, S, S), 0 to 255.
        columns: images per row.
        row_labels: one label per row.
        scale: integer factor by which images are enlarged. None: small images are enlarged to about 64 px.

    Returns:
        A Pillow image.

    Example:
        >>> images = load_generator("sngan_fashion32").sample(["Sneaker", "Bag"], n=8, seed=0)
        >>> grid = labelled_grid(images, columns=8, row_labels=["Sneaker", "Bag"])
    """
    size = images.shape[-1]
    scale = scale or max(1, 64 // size)
    cell, gap, rows = size * scale, 2, -(-len(images) // columns)
    font = ImageFont.load_default(14)
    margin = 0
    if row_labels:
        margin = 16 + int(max(font.getlength(label) for label in row_labels))
    canvas = Image.new("RGB", (margin + columns * (cell + gap) + gap, rows * (cell + gap) + gap), "white")
    draw = ImageDraw.Draw(canvas)
    for i, image in enumerate(images):
        picture = to_pil(image).resize((cell, cell), Image.Resampling.NEAREST)
        canvas.paste(picture, (margin + gap + i % columns * (cell + gap), gap + i // columns * (cell + gap)))
    for row, label in enumerate(row_labels or []):
        draw.text((margin - 8, gap + row * (cell + gap) + cell // 2), label, "#222222", font, anchor="rm")
    return canvas


def save_png(picture: Image.Image, path: str | Path, about: dict[str, Any] | None = None) -> None:
    """Writes a PNG file atomically.

    Args:
        picture: a Pillow image.
        path: path of the file.
        about: entries for the PNG's text chunks, such as model, tag, classes, seed; None values are omitted.

    Returns:
        Nothing.

    Example:
        >>> save_png(labelled_grid(images, columns=8), "samples.png", {"model": "sngan_fashion32", "seed": 0})
    """
    path = Path(path)
    info = PngImagePlugin.PngInfo()
    for key, value in (about or {}).items():
        if value is not None:
            info.add_itxt(key, str(value))
    write_atomically(path, lambda temporary: picture.save(temporary, "PNG", pnginfo=info))
