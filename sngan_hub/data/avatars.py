"""Avatars: DiceBear avatars in ten CC0 styles, generated locally from a seed. Procedural drawings, not photographs."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from ..files import write_array
from ..hub.cache import cache_folder, one_process_at_a_time
from ..progress import Progress
from .images import Images

AVATAR_STYLES = [
    "pixel-art", "critters", "sprouts", "planets", "landscape", "thumbs", "marbles", "moods", "cutouts", "voxel-art",
]  # fmt: skip
AVATARS_PER_CLASS = {"train": 4000, "test": 500}
_PER_SECOND = 27  # images that one core of a 2020s server generates
_RECIPE = "1"  # part of the cache's file name: change it whenever the images change


def load_avatars(split: str, size: int) -> Images:
    path = cache_folder() / f"avatars-{split}-{size}-r{_RECIPE}.npy"
    count = AVATARS_PER_CLASS[split]
    if not path.is_file():
        with one_process_at_a_time(path.with_suffix(".lock"), "generating"):
            if not path.is_file():  # another process may have generated them meanwhile
                _draw_to(path, count, split, size)
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    return Images(images, np.arange(len(AVATAR_STYLES)).repeat(count), list(AVATAR_STYLES))


def _draw_to(path: Path, count: int, split: str, size: int) -> None:
    pictures = count * len(AVATAR_STYLES)
    minutes = pictures / _PER_SECOND / (os.cpu_count() or 1) / 60
    print(f"avatars: generating {pictures:,} images, about {max(minutes, 1):.0f} min; they are cached in {path}",
          file=sys.stderr, flush=True)  # fmt: skip
    write_array(path, draw_avatars(AVATAR_STYLES, range(count), split, size))


def draw_avatars(styles: list[str], numbers: range, split: str, size: int) -> np.ndarray:
    """Draws avatars. The DiceBear seed is "split/number", so splits never share one.

    Args:
        styles: names in ``AVATAR_STYLES``.
        numbers: which avatars of each style.
        split: ``train`` or ``test``.
        size: side of the images in pixels.

    Returns:
        (styles x numbers, 3, size, size) uint8, all of the first style first.
    """
    tasks = [(style, numbers[i : i + 100], split, size) for style in styles for i in range(0, len(numbers), 100)]
    with ProcessPoolExecutor() as pool, Progress(len(styles) * len(numbers), "avatars") as progress:
        parts: list[np.ndarray] = []
        for part in pool.map(_draw_batch, tasks):
            parts.append(part)
            progress.update(len(part))
    return np.concatenate(parts)


def _draw_batch(task: tuple[str, range, str, int]) -> np.ndarray:
    try:
        import dicebear
        import resvg_py
    except ImportError as error:
        raise FileNotFoundError(f"avatars: {error}; run pip install 'sngan-hub[avatars]'") from error
    name, numbers, split, size = task
    style = dicebear.Style(_avatar_style(name))
    images = []
    for number in numbers:
        svg = dicebear.Avatar(style, {"seed": f"{split}/{number}", "size": 4 * size}).to_string()
        png = resvg_py.svg_to_bytes(svg_string=svg, background="#ffffff", skip_system_fonts=True)
        # Rendered at four times the size and averaged: antialiased, and equal on every platform.
        drawing = Image.open(io.BytesIO(png)).convert("RGB").resize((size, size), Image.Resampling.BOX)
        images.append(np.asarray(drawing).transpose(2, 0, 1))
    return np.stack(images)


def _avatar_style(name: str) -> dict:
    spec = importlib.util.find_spec("dicebear_styles")
    roots = list(spec.submodule_search_locations or []) if spec else []
    for root in roots:
        for path in Path(root).rglob(f"{name}.json"):
            return json.loads(path.read_text(encoding="utf-8"))
    raise FileNotFoundError(f"avatars: there is no style {name!r}; run pip install 'sngan-hub[avatars]'")
