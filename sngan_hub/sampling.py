"""Seed and classes -> latents and labels -> uint8 images, grids and PNG files. Takes any generator, imports none.

The latent and the label of image i depend on (seed, i) alone: not on the device, the batch size or how many images are
asked for. Random bits come from Philox (NumPy promises its stream for ever), normal numbers from them by inverse CDF.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from torch import Tensor

from .classes import is_whole, resolve_classes
from .evaluating import evaluating

MAX_SEED = 2**63 - 1
MAX_IMAGES = 100_000


def check_request(n: int, seed: int | None, truncation: float | None) -> None:
    """Raises ``ValueError`` naming the argument, what came and what is legal."""
    if not is_whole(n) or not 1 <= n <= MAX_IMAGES:
        raise ValueError(f"n: got {n!r}, legal is 1 to {MAX_IMAGES:,}, a whole number")
    if seed is not None and (not is_whole(seed) or not 0 <= seed <= MAX_SEED):
        raise ValueError(f"seed: got {seed!r}, legal is 0 to 2^63 - 1, a whole number")
    if truncation is not None and not (isinstance(truncation, int | float | np.number) and truncation > 0):
        raise ValueError(f"truncation: got {truncation}, legal is a number above 0 (1 keeps |z| < 1), or none")


def random_seed() -> int:
    """A seed from torch's global generator, small enough to read aloud."""
    return int(torch.randint(0, 2**31, ()))


def random_seed_from_system() -> int:
    """A fresh seed in every process, for commands and pages that show it."""
    return secrets.randbelow(2**31)


def latents(
    seed: int, start: int, n: int, z_dim: int, n_classes: int = 0, truncation: float | None = None, stream: int = 0
) -> tuple[Tensor, Tensor | None]:
    """Images ``start`` to ``start + n`` of ``seed`` -> z (n, z_dim) float32, and labels (n,) uniform over the classes.

    ``truncation`` t: z is drawn from the standard normal restricted to |z| < t, by inverse CDF; the same seed then
    gives a similar picture at every t. ``stream``: another sequence of the same seed.
    """
    u = uniforms(seed, start, n, z_dim + 1, stream)  # per image: one for the label, the rest for z
    z = u[:, 1 : z_dim + 1]
    if truncation is not None:
        low = torch.special.ndtr(torch.tensor(-float(truncation), dtype=torch.float64))
        z = low + z * (1 - 2 * low)
    z = torch.special.ndtri(z).float()
    return z, (u[:, 0] * n_classes).long() if n_classes else None


def uniforms(seed: int, start: int, n: int, each: int, stream: int = 0) -> Tensor:
    """Images ``start`` to ``start + n`` of ``seed`` -> ``each`` numbers in (0, 1) or a few more for each, float64."""
    words = each + -each % 4  # whole Philox blocks
    bits = np.random.Philox(key=[seed, stream]).advance(start * words // 4).random_raw(n * words).reshape(n, words)
    return torch.from_numpy(((bits >> np.uint64(11)) + 0.5) * 2.0**-53)


def as_tensor(images: np.ndarray | Tensor) -> Tensor:
    """Images of either kind -> a tensor; of an array, a copy: those on disk are mapped read-only."""
    return images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))


def to_uint8(images: Tensor) -> Tensor:
    """[-1, 1] -> 0..255: clip(127.5 x + 127.5), truncated as the authors do (evaluation.py)."""
    return (images.float() * 127.5 + 127.5).clamp_(0, 255).to(torch.uint8)


def sample_batches(
    generator: Any,
    classes: Sequence[str | int] | str | int | None = None,
    n: int = 1,
    seed: int | None = None,
    truncation: float | None = None,
    batch_size: int = 50,
    make: Callable[[Tensor, Tensor | None, int, int], Tensor] | None = None,
) -> Iterator[tuple[Tensor, list[int] | None]]:
    """Batches of uint8 images (b, 3, S, S) on the CPU with their labels; all arguments are checked before the first.

    ``make``: draws pictures from (z, y, seed, number of the first image) in the generator's place; see refining.py.
    The generator is in any mode and stays so: pictures are those of eval mode.
    """
    check_request(n, seed, truncation)
    if not is_whole(batch_size) or batch_size < 1:
        raise ValueError(f"batch_size: got {batch_size!r}, legal is a whole number from 1 on")
    wanted = None if classes is None else resolve_classes(classes, generator.classes, generator.n_classes)
    total = n if wanted is None else n * len(wanted)
    if total > MAX_IMAGES:
        raise ValueError(f"n: {n} for each of {total // n} classes is {total:,} images, legal is up to {MAX_IMAGES:,}")
    seed, n = random_seed() if seed is None else int(seed), int(n)
    make = make or (lambda z, y, seed, start: evaluating(generator)(z, y))
    return _batches(generator, make, wanted, n, total, seed, truncation, batch_size)


@torch.no_grad()
def _batches(
    generator: Any,
    make: Callable,
    wanted: list[int] | None,
    n: int,
    total: int,
    seed: int,
    truncation: float | None,
    batch_size: int,
) -> Iterator[tuple[Tensor, list[int] | None]]:
    device = next(generator.parameters()).device
    for start in range(0, total, batch_size):
        count = min(batch_size, total - start)
        z, y = latents(seed, start, count, generator.z_dim, generator.n_classes, truncation)
        if wanted is not None:
            y = torch.tensor([wanted[i // n] for i in range(start, start + count)])
        images = make(z.to(device), None if y is None else y.to(device), seed, start)
        yield to_uint8(images).cpu(), None if y is None else y.tolist()


def sample(generator: Any, *args: Any, **kwargs: Any) -> Tensor:
    """As ``sample_batches``, in one tensor: (N, 3, S, S) uint8."""
    return torch.cat([images for images, _ in sample_batches(generator, *args, **kwargs)])


# ---------------------------------------------------------------------------------------------------------------------
# Pictures


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
    temporary = path.with_name(f".{path.name}.part")
    try:
        picture.save(temporary, "PNG", pnginfo=info)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def class_names(generator: Any) -> list[str]:
    return generator.classes or [str(i) for i in range(generator.n_classes)]
