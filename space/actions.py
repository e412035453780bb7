"""The functions of the tabs: from a user's inputs to the outputs shown. They keep no state between requests.

Errors are ``ValueError``, ``FileNotFoundError`` or ``OSError`` with a one-sentence message; those of one field are
``FieldError``. page.py displays them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Tensor

from sngan_hub import AnyGenerator, blend, labelled_grid, morph, save_film, save_png, scores_of, walk
from sngan_hub.class_names import as_list, label_names, resolve_classes
from sngan_hub.sampling.morph import FRAMES_PER_SECOND
from sngan_hub.sampling.pictures import to_pil

from .files import new_file, read_upload, remove_emptied
from .inputs import (
    MAX_PICTURES,
    MAX_SECONDS,
    MOST,
    FieldError,
    link,
    of_field,
    parse_seed,
    parse_truncation,
    parse_way,
    whole,
)
from .models import discriminator, generator

try:
    import spaces  # type: ignore[import-not-found]  # ZeroGPU lends a GPU for one call; elsewhere nothing changes

    on_gpu = spaces.GPU
except ImportError:
    spaces = None

    def on_gpu(function):  # type: ignore[misc]
        return function


ROWS_OF_A_MORPH = 4
BLENDED = 16  # images of a blend
MOST_COMPARED = 16


@dataclass(frozen=True)
class Drawn:
    """Images uint8 (N, 3, S, S) in rows of ``columns``; ``labels``: one for each group of equal size, maybe empty."""

    images: Tensor
    labels: list[str]
    columns: int
    seed: int
    said: str
    link: str
    file: Path


def where() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"


def _open(model: str) -> AnyGenerator:
    with of_field("model"):
        return generator(model)


def _chosen(network: AnyGenerator, classes: object, field: str = "classes") -> list[str]:
    """The classes as the model spells them, from what a program or a link names; nothing if none is chosen."""
    given, names = [] if classes in (None, "") else as_list(classes), label_names(network)
    with of_field(field):
        return [names[i] for i in resolve_classes(given, network.classes, network.n_classes)] if given else []


def _pixels(images: Tensor) -> str:
    return f"{images.shape[-1]} x {images.shape[-1]} px"


# ---------------------------------------------------------------------------------------------------------------------
# Sample, morph and walk


@on_gpu
def sampled(
    model: str, classes: list[str] | None, n: object, seed: object, truncation: object, single: bool = False
) -> Drawn:
    """Images of each class, or of all classes if none is chosen. ``single``: one image of the first class."""
    number, t = parse_seed(seed), parse_truncation(truncation)
    count = 1 if single else whole("n", n, 1, MAX_PICTURES)
    network = _open(model)
    names, given = label_names(network), _chosen(network, classes)
    chosen = (given or names[: MOST // count])[: 1 if single else None]
    total = count * max(len(chosen), 1)
    if total > MOST:
        message = f"images per class x classes must be at most {MOST} (got {count} x {len(chosen)} = {total})"
        raise FieldError("n", message)
    start = time.perf_counter()
    images = network.sample(chosen or None, count, number, t)
    seconds = time.perf_counter() - start
    path = new_file(f"{Path(model).name}-{number}.png")
    about = {"model": Path(model).name, "seed": number, "truncation": t, "classes": ", ".join(chosen)}
    save_png(labelled_grid(images, count if chosen else 8, chosen or None), path, about)
    left = f" (of the first of {len(given)} chosen classes)" if single and len(given) > 1 else ""
    left = left or f" (only the first {len(chosen)} of {len(names)} classes)" * (not given and len(chosen) < len(names))
    noun = "image" if len(images) == 1 else "images"
    said = f"{len(images)} {noun} of {_pixels(images)}{left} in {seconds:.2f} s on {where()}; seed {number}"
    again = link("sample", model=model, classes=given, n=n if single else count, seed=number,
                 truncation=t, single=1 if single else None)  # fmt: skip
    return Drawn(images, chosen, count if chosen else 8, number, said, again, path)


def sample(
    model: str, classes: list[str] | None, n: object, seed: object, truncation: object, single: bool = False
) -> tuple[list[tuple[Image, str]], str, str, str, str]:
    """Samples images -> gallery of (image, caption), the seed, a line about the result, the link, the PNG file."""
    found = sampled(model, classes, n, seed, truncation, single)
    captions = [name for name in found.labels for _ in range(found.columns)] or [""] * len(found.images)
    large = enlarged(found.images, 512 if single else 128)
    gallery = [(to_pil(image), caption) for image, caption in zip(large, captions, strict=True)]
    return gallery, str(found.seed), found.said, found.link, str(found.file)


@on_gpu
def morphed(model: str, classes: list[str] | None, weights_or_steps: object, seed: object, truncation: object) -> Drawn:
    """A number of steps interpolates between classes, weights blend them."""
    number, t = parse_seed(seed), parse_truncation(truncation)
    network = _open(model)
    given = _chosen(network, classes)
    count, mixed = parse_way(weights_or_steps, len(given))
    start = time.perf_counter()
    if mixed is None:
        with of_field("classes"):
            images = morph(network, given, count, ROWS_OF_A_MORPH, number, t)
        columns, flat, what = images.shape[1], images.flatten(0, 1), f"{' to '.join(given)}, {ROWS_OF_A_MORPH} latents"
    else:
        with of_field("weights"):
            flat = blend(network, given, mixed, BLENDED, number, t)
        scaled = [w / max(mixed) for w in mixed]  # the sum of large ones would be infinite
        share = [w / sum(scaled) for w in scaled]
        columns, what = 8, "a blend of " + ", ".join(f"{s:.0%} {name}" for s, name in zip(share, given, strict=True))
    seconds = time.perf_counter() - start
    path = new_file(f"{Path(model).name}-morph-{number}.png")
    about = {
        "model": Path(model).name,
        "seed": number,
        "truncation": t,
        "classes": ", ".join(given),
        "weights": mixed,
        "steps": None if mixed else count,
    }
    save_png(labelled_grid(flat, columns, scale=max(1, 96 // flat.shape[-1])), path, about)
    again = link("morph", model=model, classes=given, way=weights_or_steps, seed=number, truncation=t)
    said = f"{what}: {len(flat)} images in {seconds:.2f} s on {where()}; seed {number}"
    return Drawn(flat, given if mixed is None else [], columns, number, said, again, path)


def morph_strip(
    model: str, classes: list[str] | None, weights_or_steps: object, seed: object, truncation: object
) -> tuple[str, str, str, str]:
    """-> PNG file, seed, result line, link."""
    found = morphed(model, classes, weights_or_steps, seed, truncation)
    return str(found.file), str(found.seed), found.said, found.link


@on_gpu
def walk_film(
    model: str, classes: list[str] | None, seconds: object, seed: object, truncation: object, as_gif: bool = False
) -> tuple[str, str, str, str, str]:
    """A video along a closed path in latent space -> MP4 file, seed, result line, link, file to download."""
    number, t = parse_seed(seed), parse_truncation(truncation)
    length = whole("seconds", seconds, 1, MAX_SECONDS)
    network = _open(model)
    given = _chosen(network, classes)
    start = time.perf_counter()
    with of_field("classes"):
        frames = [torch.cat(list(walk(network, given or None, length * FRAMES_PER_SECOND, number, t)))]
    film = new_file(f"{Path(model).name}-walk-{number}.mp4")
    save_film(iter(frames), film)
    kept = film
    if as_gif:
        kept = film.with_suffix(".gif")
        save_film(iter(frames), kept)
    took = time.perf_counter() - start
    about = f"A closed path of {len(frames[0])} frames in {took:.2f} s on {where()}; seed {number}"
    again = link("walk", model=model, classes=given, seconds=length, seed=number, truncation=t)
    return str(film), str(number), about, again, str(kept)


# ---------------------------------------------------------------------------------------------------------------------
# Score and compare


@on_gpu
def judge(model: str, picture: str | None) -> dict[str, float]:
    """An image file -> the discriminator's score of it as an image of each class."""
    remove_emptied()
    if not picture:
        raise FieldError("image", "image: choose a file, or click 'Draw and score'")
    with of_field("model"):
        network = discriminator(model)
    with of_field("image"):
        image = read_upload(Path(picture), network.size)
    names = label_names(network) or ["score"]
    (scores,) = scores_of(network, image[None])
    return {name: round(float(value), 4) for name, value in zip(names, scores, strict=True)}


def seen(model: str, picture: str) -> Tensor:
    """The image that the discriminator receives: uint8 (3, S, S)."""
    return torch.from_numpy(read_upload(Path(picture), discriminator(model).size))


def drawn(model: str, class_name: str | None, seed: object) -> tuple[str, str]:
    """Generates one image -> its file and its seed."""
    number = parse_seed(seed)
    network = _open(model)
    with of_field("class"):
        (image,) = network.sample(None if class_name is None else [class_name], 1, number)
    path = new_file(f"{Path(model).name}-{number}.png")
    save_png(to_pil(image), path, {"model": Path(model).name, "seed": number, "classes": class_name})
    return str(path), str(number)


@dataclass(frozen=True)
class Side:
    """One half of a comparison."""

    model: str
    class_name: str
    images: Tensor


@on_gpu
def compared(
    left: str, left_class: str | None, right: str, right_class: str | None, n: object, seed: object, truncation: object
) -> tuple[list[Side], str, str, str]:
    """The same latents through two models -> both halves, the seed, result line, link."""
    number, t = parse_seed(seed), parse_truncation(truncation)
    count = whole("n", n, 1, MOST_COMPARED)
    start, sides = time.perf_counter(), []
    for side, model, name in (("left", left, left_class), ("right", right, right_class)):
        with of_field(side):
            network = generator(model)
        chosen = _chosen(network, [name], f"{side}_class") if name is not None and network.n_classes else None
        sides.append(Side(model, chosen[0] if chosen else name or "", network.sample(chosen, count, number, t)))
    seconds = time.perf_counter() - start
    said = f"The same {count} latents through both models in {seconds:.2f} s on {where()}; seed {number}"
    again = link("compare", left=left, left_class=sides[0].class_name, right=right, right_class=sides[1].class_name,
                 n=count, seed=number, truncation=t)  # fmt: skip
    return sides, str(number), said, again


def enlarged(images: Tensor, side: int = 128) -> Tensor:
    scale = max(1, side // images.shape[-1])
    return images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
