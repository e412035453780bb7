"""Draws the picture that links to the page show elsewhere, from the included models: ``python -m space.social``."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from sngan_hub.sampling.pictures import save_png, to_pil

from . import models

SIZE = (1200, 630)
PICTURE = Path(__file__).resolve().parent / "social.png"
COLUMNS, CELL, GAP = 12, 96, 4
LINES = ("Images by class from small GANs", "Spectral normalisation and projection discriminator in PyTorch")


def draw() -> Image.Image:
    """Rows of included models, each of its first classes, below the title."""
    canvas = Image.new("RGB", SIZE, "white")
    pen = ImageDraw.Draw(canvas)
    pen.text((32, 26), "sngan-hub", "#1d2129", ImageFont.load_default(76))
    pen.text((34, 122), LINES[0], "#1d2129", ImageFont.load_default(36))
    pen.text((34, 170), LINES[1], "#5b6270", ImageFont.load_default(26))
    records = models.shipped()
    order = [records[0], *records][:4]  # the best model has two rows
    for row, record in enumerate(order):
        second = row > 0 and record is order[0]
        names = record.classes
        chosen = [names[(column + (3 if second else 0)) % len(names)] for column in range(COLUMNS)]
        images = models.generator(models.short_name(record)).sample(list(dict.fromkeys(chosen)), 4, seed=7)
        place = {name: i for i, name in enumerate(dict.fromkeys(chosen))}
        top = SIZE[1] - (len(order) - row) * (CELL + GAP)
        for column, name in enumerate(chosen):
            which = 4 * place[name] + (column // len(names) + (2 if second else 0)) % 4
            picture = to_pil(images[which]).resize((CELL, CELL), Image.Resampling.NEAREST)
            canvas.paste(picture, (2 + column * (CELL + GAP), top))
    return canvas


def main() -> None:
    about = {"models": ", ".join(record.name for record in models.shipped()), "seed": 7}
    save_png(draw(), PICTURE, about)
    print(PICTURE)


if __name__ == "__main__":
    main()
