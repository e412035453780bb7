"""Interpolates between classes and latents: category morphing, blends, and closed walks, as images or videos.

Works with any generator and imports none. Row i of a morph uses the latent of image i of the seed, so its images of
single classes are the same as those of ``sample``.
"""

# torch.linalg, Tensor.unflatten and imageio_ffmpeg have no types:
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

from __future__ import annotations

import math
import secrets
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..class_names import as_list, resolve_classes
from ..files import write_atomically
from .generate import MAX_SEED, check_request, generate, latents, no_bare_integer, random_seed, whole_number
from .pictures import to_pil

MOST_CLASSES = 4
MAX_FRAMES = 2000
FRAMES_PER_SECOND = 24
FILMS = (".gif", ".mp4")
CIRCLES = 3  # of a walk: more circles make it more varied and faster


def _images(generator: Any, z: Tensor, y: Tensor | None, weights: Tensor | None, batch_size: int) -> Iterator[Tensor]:
    """uint8 batches on the CPU; ``y`` and ``weights`` (N, K), or None without classes."""
    if y is None or weights is None:
        batches: Iterable[tuple[Any, ...]] = ((part, None) for part in torch.split(z, batch_size))
    else:
        batches = zip(*(torch.split(whole, batch_size) for whole in (z, y, weights)), strict=True)
    return (images for images, _ in generate(generator, batches))


def _chosen(generator: Any, classes: Sequence[str | int], least: int) -> list[int]:
    if not generator.n_classes:
        raise ValueError("this generator is unconditional and has no classes to mix; use walk instead")
    given = as_list(classes)
    if isinstance(classes, str) or not least <= len(given) <= MOST_CLASSES:
        shown = repr(classes) if isinstance(classes, str) else len(given)
        raise ValueError(f"classes must be a list of {least} to {MOST_CLASSES} classes (got {shown})")
    return resolve_classes(given, generator.classes, generator.n_classes)


def morph(
    generator: Any,
    classes: Sequence[str | int],
    steps: int = 8,
    n: int = 1,
    seed: int | None = None,
    truncation: float | None = None,
    batch_size: int = 50,
) -> Tensor:
    """Images that change from class to class, at the same latents.

    The gains and biases of the conditional batch norms are mixed linearly (Miyato & Koyama 2018, Sect. 5.1.2; authors'
    gen_interpolated_images.py).

    Args:
        generator: a conditional generator in any mode, which is not changed.
        classes: two to four names or indices.
        steps: images from one class to the next, both included.
        n: number of rows, each with another latent.
        seed: 0 to 2^63 - 1. None: taken from torch's global generator.
        truncation: restricts latents to |z| < ``truncation``. None: no restriction.
        batch_size: images computed at once.

    Returns:
        uint8 (n, frames, 3, S, S) on the CPU, 0 to 255; frames = (len(classes) - 1) (steps - 1) + 1.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> images = morph(load_generator("sngan_fashion32"), ["Sneaker", "Bag"], steps=8, seed=0)
    """
    steps = whole_number("steps", steps, 2, MAX_SEED, "at least 2")
    batch_size = whole_number("batch_size", batch_size, 1, MAX_SEED, "at least 1")
    n, seed = check_request(n, seed, truncation)
    y = _chosen(generator, classes, 2)
    frames = (len(y) - 1) * (steps - 1) + 1
    if n * frames > MAX_FRAMES:
        raise ValueError(
            f"steps and n must give at most {MAX_FRAMES:,} images (got {n} rows of {frames} = {n * frames:,})"
        )
    weights = class_weights_at(len(y), torch.linspace(0, len(y) - 1, frames, dtype=torch.float64))
    z, _ = latents(random_seed() if seed is None else seed, 0, n, generator.z_dim, 0, truncation)
    images = _images(
        generator, z.repeat_interleave(frames, 0), torch.tensor(y).expand(n * frames, -1), weights.repeat(n, 1),
        batch_size,
    )  # fmt: skip
    return cast("Tensor", torch.cat(list(images)).unflatten(0, (n, frames)))


def class_weights_at(k: int, place: Tensor) -> Tensor:
    """Places 0 .. k - 1 on the way past k classes -> their weights (N, k), each row two neighbours' summing to 1."""
    return (1 - (place[:, None] - torch.arange(k, dtype=place.dtype)).abs()).clamp(min=0).float()


def blend(
    generator: Any,
    classes: Sequence[str | int],
    weights: Sequence[float],
    n: int = 1,
    seed: int | None = None,
    truncation: float | None = None,
    batch_size: int = 50,
) -> Tensor:
    """Images of a weighted mixture of classes.

    Args:
        generator: a conditional generator in any mode, which is not changed.
        classes: up to four names or indices.
        weights: one number of 0 or more for each class; they are scaled to sum to 1.
        n: number of images.
        seed: 0 to 2^63 - 1. None: taken from torch's global generator.
        truncation: restricts latents to |z| < ``truncation``. None: no restriction.
        batch_size: images computed at once.

    Returns:
        uint8 (n, 3, S, S) on the CPU, 0 to 255.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> images = blend(load_generator("sngan_fashion32"), ["Sneaker", "Bag"], [2, 1], n=4, seed=0)
    """
    n, seed = check_request(n, seed, truncation)
    batch_size = whole_number("batch_size", batch_size, 1, MAX_SEED, "at least 1")
    y = _chosen(generator, classes, 1)
    try:
        values = torch.tensor([] if isinstance(weights, str) else [float(w) for w in weights], dtype=torch.float64)
    except (TypeError, ValueError):
        values = torch.tensor([])
    if len(values) != len(y) or not torch.isfinite(values).all() or (values < 0).any() or values.sum() <= 0:
        raise ValueError(
            f"weights must have one number for each of the {len(y)} classes, 0 or more and not all 0 (got {weights!r})"
        )
    values = values / values.max()  # the sum of large ones would be infinite
    mix = (values / values.sum()).float().expand(n, -1)
    z, _ = latents(random_seed() if seed is None else seed, 0, n, generator.z_dim, 0, truncation)
    return torch.cat(list(_images(generator, z, torch.tensor(y).expand(n, -1), mix, batch_size)))


# ---------------------------------------------------------------------------------------------------------------------
# Walks


def walk_latents(seed: int, frames: int, z_dim: int, truncation: float | None = None) -> Tensor:
    """A closed curve on the sphere near which normal latents lie: (frames, z_dim) float32, with steps of equal length.

    z(t) = r sum_k (a_k cos 2 pi k t + b_k sin 2 pi k t) / sqrt K, with orthonormal a_k, b_k given by ``seed``.
    ``truncation`` t multiplies r by the standard deviation of the normal restricted to |z| < t, so that r is the radius
    of truncated latents; single values of z may exceed t.
    """
    k = min(CIRCLES, z_dim // 2)
    axes, _ = latents(seed, 0, 2 * k, z_dim)
    axes = cast("Tensor", torch.linalg.qr(axes.double().t()).Q.t())  # (2k, z_dim), orthonormal
    t = torch.arange(frames, dtype=torch.float64)[:, None] / frames
    angle = 2 * math.pi * t * torch.arange(1, k + 1, dtype=torch.float64)
    radius = math.sqrt(z_dim) * (1.0 if truncation is None else truncated_deviation(truncation))
    return (radius / math.sqrt(k) * torch.cat([angle.cos(), angle.sin()], 1) @ axes).float()


def truncated_deviation(t: float) -> float:
    """Standard deviation of the standard normal restricted to |z| < t."""
    if math.isinf(t):
        return 1.0
    density = math.exp(-t * t / 2) / math.sqrt(2 * math.pi)
    inside = math.erf(t / math.sqrt(2))
    return math.sqrt(max(0.0, 1 - 2 * t * density / inside))


@no_bare_integer("frames")
def walk(
    generator: Any,
    classes: Sequence[str | int] | str | int | None = None,
    frames: int = 8 * FRAMES_PER_SECOND,
    seed: int | None = None,
    truncation: float | None = None,
    batch_size: int = 50,
) -> Iterator[Tensor]:
    """The frames of a video along a closed path through the latent space.

    Args:
        generator: a generator in any mode, which is not changed.
        classes: one class for all frames, or up to four in turn. None: the first class, or none if unconditional.
        frames: number of frames.
        seed: 0 to 2^63 - 1. None: taken from torch's global generator.
        truncation: reduces the radius of the path to that of latents with |z| < ``truncation``; single values of z
            may exceed it. None: the radius of all latents.
        batch_size: images computed at once.

    Returns:
        An iterator over uint8 batches (b, 3, S, S) on the CPU, 0 to 255. Arguments are checked before the first batch.

    Raises:
        ValueError: if an argument is invalid.

    Example:
        >>> save_film(walk(load_generator("sngan_fashion32"), "Sneaker", frames=48, seed=0), "walk.gif")
    """
    _, seed = check_request(1, seed, truncation)
    frames = whole_number("frames", frames, 2, MAX_FRAMES)
    batch_size = whole_number("batch_size", batch_size, 1, MAX_SEED, "at least 1")
    if generator.z_dim < 2:
        raise ValueError(f"a walk needs a generator with z_dim 2 or more (got {generator.z_dim})")
    y = weights = None
    if generator.n_classes:
        chosen = _chosen(generator, [0] if classes is None else as_list(classes), 1)
        round_trip = chosen + chosen[:1] if len(chosen) > 1 else chosen
        place = torch.arange(frames, dtype=torch.float64) / frames * (len(round_trip) - 1)
        weights = class_weights_at(len(round_trip), place)
        y = torch.tensor(round_trip).expand(frames, -1)
    elif classes is not None:
        raise ValueError("classes must be None: this generator is unconditional")
    z = walk_latents(random_seed() if seed is None else seed, frames, generator.z_dim, truncation)
    return _images(generator, z, y, weights, batch_size)


# ---------------------------------------------------------------------------------------------------------------------
# Videos


def save_film(frames: Iterator[Tensor], path: str | Path, fps: float = FRAMES_PER_SECOND, side: int = 256) -> int:
    """Writes frames to a .gif or .mp4 file that repeats. The file is written whole or not at all.

    Args:
        frames: uint8 batches (b, 3, S, S), 0 to 255, such as those of ``walk``.
        path: a file name that ends in .gif or .mp4 (which needs the extra ``video``).
        fps: frames per second.
        side: small images are enlarged to about this side in pixels, by repeating pixels.

    Returns:
        The number of frames.

    Raises:
        ValueError: for another file name, no frames, or an ``fps`` that is not above 0 and up to 1,000.
        OSError: if the video could not be written whole, as on a full disk. A file that was there before stays.

    Example:
        >>> save_film(walk(load_generator("sngan_fashion32"), frames=48, seed=0), "walk.gif")
    """
    path = Path(path)
    if path.suffix.lower() not in FILMS:
        raise ValueError(f"out must be one of {', '.join('FILE' + suffix for suffix in FILMS)} (got {path})")
    if not 0 < fps <= 1000:
        raise ValueError(f"fps must be a number above 0 and up to 1,000 (got {fps!r})")
    write = _write_gif if path.suffix.lower() == ".gif" else _write_mp4
    # The suffix tells the encoder the format. Two calls that write the same file use different temporary names.
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{path.suffix}")
    return write_atomically(path, lambda place: write(_enlarged(frames, side), place, fps), temporary)


def _enlarged(frames: Iterator[Tensor], side: int) -> Iterator[Tensor]:
    count = 0
    for batch in frames:
        scale = max(1, side // batch.shape[-1])
        for image in batch:
            yield image.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        count += len(batch)
    if not count:
        raise ValueError("frames must hold at least one image (got none)")


def _write_gif(frames: Iterator[Tensor], path: Path, fps: float) -> int:
    images = [to_pil(frame).quantize(128, Image.Quantize.MEDIANCUT) for frame in frames]
    # GIF stores durations in hundredths of a second: 4 or 5 at 24 frames per second. Browsers play those below 2 slowly
    ends = [round(100 * i / min(fps, 50)) for i in range(len(images) + 1)]
    durations = [10 * (end - start) for start, end in pairwise(ends)]
    images[0].save(path, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    return len(images)


def _write_mp4(frames: Iterator[Tensor], path: Path, fps: float) -> int:
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:  # a package without the program, as on some systems
        raise ValueError("there is no ffmpeg program for .mp4 files; install ffmpeg, or name a .gif file") from error
    except ImportError as error:
        raise ValueError(f"{error}; .mp4 files need pip install 'sngan-hub[video]', .gif files do not") from error
    place = str(path.absolute())  # ffmpeg reads a name with a colon as a protocol
    first = next(frames)
    height, width = first.shape[1:]
    writer = cast("Generator[None, bytes | None, None]", imageio_ffmpeg.write_frames(
        place, (width, height), fps=cast("int", fps), codec="libx264", pix_fmt_out="yuv420p", macro_block_size=2,
        quality=8, output_params=["-movflags", "+faststart"], ffmpeg_log_level="error",
    ))  # fmt: skip
    writer.send(None)
    count = 0
    try:
        for frame in (first, *frames):
            data = np.ascontiguousarray(frame.permute(1, 2, 0).numpy()).tobytes()
            try:
                writer.send(data)
            except OSError as error:  # whose text is the whole command
                raise OSError(
                    f"ffmpeg ended before it had all frames of a video in {path.parent}; free disk space and try "
                    "again, or name a .gif file"
                ) from error
            count += 1
    finally:
        writer.close()
    try:  # imageio_ffmpeg does not check the exit status of ffmpeg
        written, _ = imageio_ffmpeg.count_frames_and_secs(place)
    except RuntimeError:
        written = None
    if written != count:
        raise OSError(
            f"ffmpeg did not write all {count} frames of a video in {path.parent}; free disk space and try again"
        )
    return count
