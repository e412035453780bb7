"""The functions of the tabs: from a user's inputs to the outputs shown. They keep no state between requests.

Errors are ``ValueError``, ``FileNotFoundError`` or ``OSError`` with a one-sentence message, which app.py displays.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlencode

import torch
from PIL import Image as Pillow
from PIL.Image import Image

from sngan_hub import (
    WEIGHTS,
    AnyDiscriminator,
    AnyGenerator,
    blend,
    labelled_grid,
    load_discriminator,
    load_generator,
    morph,
    save_film,
    save_png,
    scores_of,
    walk,
)
from sngan_hub.class_names import resolve_classes
from sngan_hub.data.images import DAMAGED, read_picture
from sngan_hub.sampling.generate import check_request, random_seed_from_system
from sngan_hub.sampling.morph import FRAMES_PER_SECOND
from sngan_hub.sampling.pictures import class_names, to_pil
from sngan_hub.text import nearest
from sngan_hub.weights.records import reference_scores

try:
    import spaces  # type: ignore[import-not-found]  # ZeroGPU lends a GPU for one call; elsewhere nothing changes

    on_gpu = spaces.GPU
except ImportError:
    spaces = None

    def on_gpu(function):  # type: ignore[misc]
        return function


MAX_PICTURES = 64  # per class
MOST = 256  # per request
MAX_SECONDS = 12
ROWS_OF_A_MORPH = 4
MAX_UPLOAD = 10 * 2**20  # bytes
MAX_PIXELS = 40_000_000
PHOTOGRAPHS, AVATARS, CLOTHES = "sngan_cifar10_small", "sngan_avatars32", "sngan_fashion32"  # the included models
OWN: list[str] = []  # models named on the command line


def shipped() -> list[str]:
    """The included models, photographs first."""
    names = {record.architecture for record in WEIGHTS.values() if record.folder}
    return sorted(names, key=lambda name: (name != PHOTOGRAPHS, name))


def model_choices() -> list[tuple[str, str]]:
    """(label, name) of the user's models, the included models, and the models that are downloaded on first use."""
    choices = [(f"{Path(name).name} (your model)", name) for name in OWN]
    choices += [(name, name) for name in shipped()]
    for key, record in WEIGHTS.items():
        if record.kind == "generator" and record.where in ("download", "hub"):
            size = f", {record.file_bytes / 1e6:.0f} MB" if record.file_bytes else ""
            choices.append((f"{key} (downloaded on first use{size})", key))
    return choices


def default_model() -> str:
    return OWN[0] if OWN else shipped()[0]


_loading = threading.Lock()


@lru_cache(maxsize=4)
def _generator(name: str) -> AnyGenerator:
    return load_generator(name, device="cuda" if torch.cuda.is_available() else "cpu").for_sampling()


@lru_cache(maxsize=4)
def _discriminator(name: str) -> AnyDiscriminator:
    return load_discriminator(name, device="cuda" if torch.cuda.is_available() else "cpu")


def generator(name: str) -> AnyGenerator:
    _check_model(name)
    with _loading:  # other users wait for a running download instead of starting another
        return _generator(name)


def discriminator(name: str) -> AnyDiscriminator:
    _check_model(name)
    with _loading:
        return _discriminator(name)


def _check_model(name: str) -> None:
    names = [value for _, value in model_choices()]
    if name not in names:
        raise ValueError(f"there is no model {name!r}{nearest(str(name), names)}")


def classes_of(name: str) -> list[str]:
    """The class names to choose from. They come from the record if there is one, so that nothing is downloaded."""
    record = WEIGHTS.get(name) or WEIGHTS.get(next((k for k in WEIGHTS if k.startswith(f"{name}.")), ""))
    if record is not None and record.classes:
        return list(record.classes)
    if record is not None and not record.folder:
        return []
    return class_names(generator(name))


# ---------------------------------------------------------------------------------------------------------------------
# Validation of inputs


def whole(name: str, value: object, least: int, most: int) -> int:
    try:
        number = int(float(value))  # type: ignore[arg-type]
        legal = float(value) == number and least <= number <= most  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number, legal = 0, False
    if not legal:
        raise ValueError(f"{name} must be a whole number between {least} and {most} (got {str(value)[:40]})")
    return number


def parse_seed(seed: object) -> int:
    """The text of the seed field -> a seed; empty: a random one."""
    if seed is None or str(seed).strip() == "":
        return random_seed_from_system()
    try:
        number = int(str(seed).strip())
    except ValueError:
        raise ValueError(
            f"seed must be a whole number between 0 and 2^63 - 1, or empty for a random one (got {str(seed)[:40]!r})"
        ) from None
    check_request(1, number, None)
    return number


def parse_truncation(value: object) -> float | None:
    if value in (None, "", 0):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number <= 100:
        raise ValueError(f"truncation must be 0 (off), or a number above 0 and at most 100 (got {str(value)[:40]})")
    return number


def parse_way(text: object, n: int) -> tuple[int, list[float] | None]:
    """``"8"`` -> 8 steps; ``"2, 1"`` or a list -> weights, one for each of ``n`` classes."""
    parts = text if isinstance(text, list) else str("" if text is None else text).replace(";", ",").split(",")
    if len(parts) == 1:
        return whole("steps", parts[0] if str(parts[0]).strip() else 8, 2, 16), None
    try:
        weights = [float(part) for part in parts]
    except (TypeError, ValueError):
        raise ValueError(f"weights must be one number per class, such as 2, 1 (got {str(text)[:40]!r})") from None
    if len(weights) != n:
        raise ValueError(
            f"weights must be one number for each of the {n} classes (got {len(weights)}); or enter a number of steps"
        )
    return 0, weights


def link(tab: str, **fields: object) -> str:
    """The query string of an address that opens the page with these inputs."""
    kept = {key: value for key, value in fields.items() if value not in (None, "", [])}
    for key, value in kept.items():
        if isinstance(value, list):
            kept[key] = "|".join(map(str, value))
    return "?" + urlencode({"tab": tab, **kept})


def downloads() -> Path:
    folder = Path(os.environ.get("GRADIO_TEMP_DIR", Path(tempfile.gettempdir()) / "gradio")) / "sngan_hub"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _new_file(name: str) -> Path:
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


def _enlarged(images: torch.Tensor, side: int = 128) -> torch.Tensor:
    scale = max(1, side // images.shape[-1])
    return images.repeat_interleave(scale, 2).repeat_interleave(scale, 3)


def where() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "the CPU"


# ---------------------------------------------------------------------------------------------------------------------
# The four tabs


@on_gpu
def sample(
    model: str, classes: list[str] | None, n: object, seed: object, truncation: object, single: bool = False
) -> tuple[list[tuple[Image, str]], str, str, str, str]:
    """Samples images -> gallery of (image, caption), the seed, a line about the result, the link, the PNG file."""
    number, count, t = parse_seed(seed), 1 if single else whole("n", n, 1, MAX_PICTURES), parse_truncation(truncation)
    network = generator(model)
    names = class_names(network)
    given = list(classes or [])[: 1 if single else None]
    chosen = (
        [names[i] for i in resolve_classes(given, network.classes, network.n_classes)]
        if given
        else names[: MOST // count]
    )
    chosen = chosen[:1] if single else chosen
    total = count * max(len(chosen), 1)
    if total > MOST:
        raise ValueError(f"images per class x classes must be at most {MOST} (got {count} x {len(chosen)} = {total})")
    start = time.perf_counter()
    images = network.sample(chosen or None, count, number, t)
    seconds = time.perf_counter() - start
    side = 512 if single else 128
    captions = [name for name in chosen for _ in range(count)] or [""] * count
    gallery = [(to_pil(image), caption) for image, caption in zip(_enlarged(images, side), captions, strict=True)]
    path = _new_file(f"{Path(model).name}-{number}.png")
    about = {"model": model, "seed": number, "truncation": t, "classes": ", ".join(chosen)}
    save_png(labelled_grid(images, count if chosen else 8, chosen or None), path, about)
    left = f" (only the first {len(chosen)} of {len(names)} classes)" if not given and len(chosen) < len(names) else ""
    pixels = f"{images.shape[-1]} x {images.shape[-1]} px"
    said = f"{len(images)} images of {pixels}{left} in {seconds:.2f} s on {where()}; seed {number}"
    again = link("sample", model=model, classes=given, n=count, seed=number, truncation=t, single=1 if single else None)
    return gallery, str(number), said, again, str(path)


@on_gpu
def morph_strip(
    model: str, classes: list[str] | None, weights_or_steps: object, seed: object, truncation: object
) -> tuple[str, str, str, str]:
    """A number of steps interpolates between classes, weights blend them -> PNG file, seed, result line, link."""
    number, t = parse_seed(seed), parse_truncation(truncation)
    given = list(classes or [])
    count, mixed = parse_way(weights_or_steps, len(given))
    network = generator(model)
    start = time.perf_counter()
    if mixed is None:
        images = morph(network, given, count, ROWS_OF_A_MORPH, number, t)
        columns, flat, what = images.shape[1], images.flatten(0, 1), f"{' to '.join(given)}, {ROWS_OF_A_MORPH} latents"
    else:
        flat = blend(network, given, mixed, 16, number, t)
        share = [w / sum(mixed) for w in mixed]
        columns, what = 8, "a blend of " + ", ".join(f"{s:.0%} {name}" for s, name in zip(share, given, strict=True))
    seconds = time.perf_counter() - start
    path = _new_file(f"{Path(model).name}-morph-{number}.png")
    about = {"model": model, "seed": number, "truncation": t, "classes": ", ".join(given), "weights": mixed}
    save_png(labelled_grid(flat, columns, scale=max(1, 96 // flat.shape[-1])), path, about)
    again = link("morph", model=model, classes=given, way=weights_or_steps, seed=number, truncation=t)
    return str(path), str(number), f"{what}: {len(flat)} images in {seconds:.2f} s on {where()}; seed {number}", again


@on_gpu
def walk_film(
    model: str, classes: list[str] | None, seconds: object, seed: object, truncation: object, as_gif: bool = False
) -> tuple[str, str, str, str, str]:
    """A video along a closed path in latent space -> MP4 file, seed, result line, link, file to download."""
    number, t = parse_seed(seed), parse_truncation(truncation)
    length = whole("seconds", seconds, 1, MAX_SECONDS)
    network = generator(model)
    given = list(classes or [])
    start = time.perf_counter()
    frames = [torch.cat(list(walk(network, given or None, length * FRAMES_PER_SECOND, number, t)))]
    film = _new_file(f"{Path(model).name}-walk-{number}.mp4")
    save_film(iter(frames), film)
    kept = film
    if as_gif:
        kept = film.with_suffix(".gif")
        save_film(iter(frames), kept)
    took = time.perf_counter() - start
    about = f"A closed path of {len(frames[0])} frames in {took:.2f} s on {where()}; seed {number}"
    again = link("walk", model=model, classes=given, seconds=length, seed=number, truncation=t)
    return str(film), str(number), about, again, str(kept)


@on_gpu
def judge(model: str, picture: str | None) -> dict[str, float]:
    """An image file -> the discriminator's score of it as an image of each class."""
    remove_emptied()
    if not picture:
        raise ValueError("image: choose a file, or click 'Generate and score'")
    network = discriminator(model)
    image = read_upload(Path(picture), network.size)
    names = network.classes or [str(i) for i in range(network.n_classes)] or ["score"]
    (scores,) = scores_of(network, image[None])
    return {name: round(float(value), 4) for name, value in zip(names, scores, strict=True)}


def read_upload(path: Path, size: int):
    """An image file -> (3, size, size) uint8: the first frame, rotated by EXIF, centre crop. One-line errors."""
    if path.stat().st_size > MAX_UPLOAD:
        raise ValueError(
            f"image: the file must be at most {MAX_UPLOAD // 2**20} MB (got {path.stat().st_size / 2**20:.0f} MB)"
        )
    try:
        with Pillow.open(path) as image:
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


def seen(model: str, picture: str | None) -> Image | None:
    """The image that the discriminator receives, enlarged."""
    if not picture:
        return None
    image = read_upload(Path(picture), discriminator(model).size)
    return to_pil(_enlarged(torch.from_numpy(image)[None], 256)[0])


def drawn(model: str, class_name: str | None, seed: object) -> tuple[str, str]:
    """Generates one image -> its file and its seed."""
    number = parse_seed(seed)
    network = generator(model)
    given = [class_name] if class_name else None
    (image,) = network.sample(given, 1, number)
    path = _new_file(f"{Path(model).name}-{number}.png")
    save_png(to_pil(image), path, {"model": model, "seed": number, "classes": class_name})
    return str(path), str(number)


def verdict(model: str, scores: dict[str, float]) -> list[list[object]]:
    """Rows of the table: class, score, and the middle 80 % of the scores of real and generated images of that class."""
    known = reference_scores(model)
    rows: list[list[object]] = []
    for name, value in sorted(scores.items(), key=lambda item: -item[1]):
        lies = known.get(name, {})
        rows.append([name, round(value, 2), *(_span(lies.get(kind)) for kind in ("real", "generated"))])
    return rows


def _span(quantiles: list[float] | None) -> str:
    return "-" if quantiles is None else f"{quantiles[0]:.1f} … {quantiles[2]:.1f}"
