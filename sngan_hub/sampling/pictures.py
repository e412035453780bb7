"""uint8 images -> pictures: Pillow's images, labelled grids and PNG files."""

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
    """(N, 3, S, S) uint8, row by row -> one picture; labels stand left of their rows.

    ``scale`` repeats pixels; by default small images grow to about 64 px.
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
    """Writes the file whole or not at all, with ``about`` (model, tag, classes, seed ...) as PNG text chunks."""
    path = Path(path)
    info = PngImagePlugin.PngInfo()
    for key, value in (about or {}).items():
        if value is not None:
            info.add_itxt(key, str(value))
    write_atomically(path, lambda temporary: picture.save(temporary, "PNG", pnginfo=info))


def class_names(generator: Any) -> list[str]:
    return generator.classes or [str(i) for i in range(generator.n_classes)]
