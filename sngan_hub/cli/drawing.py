"""``sngan sample``, ``morph`` and ``walk``: generate images, interpolations and videos."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import nearest_existing
from .parser import MODEL, add_device, check_file, check_writable, home_path, new_command

if TYPE_CHECKING:  # torch is imported in the functions, so that errors in arguments are reported at once
    from torch import Tensor

    from ..networks.base import AnyGenerator

    Batch = tuple[Tensor, list[int] | None]  # images, and their classes


#: Suffixes of a file in another format; a folder may have any other, such as sngan_avatars32.v1
OTHER_FILES = (".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".mp4", ".npz", ".npy", ".zip", ".tar")


def add_commands(subparsers: Any) -> None:
    command = new_command(
        subparsers, "sample", sample, "generate images by class: a labelled grid, or one file per image",
        example="sngan sample sngan_fashion32 --classes Sneaker Bag --n 8 --seed 0 --out samples.png",
    )  # fmt: skip
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("--classes", nargs="+", metavar="NAME", help="class names or indices; --n images of each")
    command.add_argument(
        "--n", type=int, default=16, help="images per class, or in total without classes (default: 16)"
    )
    add_latent_flags(command)
    refine = command.add_mutually_exclusive_group()
    refine.add_argument("--rejection", action="store_true",
                        help="rejection sampling with the calibrated discriminator")  # fmt: skip
    refine.add_argument("--ddls", action="store_true",
                        help="refine the latents by 50 Langevin steps with the calibrated discriminator")  # fmt: skip
    command.add_argument("--batch-size", type=int, metavar="N", default=50, help="images per batch (default: 50)")
    add_precision(command)
    command.add_argument("--out", type=home_path, required=True, metavar="FILE.png|DIR",
                         help="a PNG file for the grid, or a folder for one file per image")  # fmt: skip
    command.add_argument("--by-class", action="store_true", help="write one folder per class into DIR, as `sngan "
                         "evaluate` reads them; without --classes, --n images of every class")  # fmt: skip
    add_device(command)

    command = new_command(
        subparsers, "morph", morph, "interpolate between classes at fixed latents: an image grid, or a video",
        example="sngan morph sngan_fashion32 --classes Sneaker Bag --seed 0 --out morph.png",
    )  # fmt: skip
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument(
        "--classes", nargs="+", required=True, metavar="NAME", help="two to four class names or indices"
    )
    command.add_argument("--steps", type=int, help="images from one class to the next (default: 8; 48 for a video)")
    command.add_argument("--n", type=int, help="number of rows, one latent each (default: 4; 1 for a video)")
    add_latent_flags(command)
    add_precision(command)
    command.add_argument(
        "--out",
        type=home_path,
        required=True,
        metavar="FILE.png|.gif|.mp4",
        help="a PNG file for an image grid, or a video file",
    )
    add_device(command)

    command = new_command(
        subparsers, "walk", walk, "generate a video along a closed path in latent space",
        example="sngan walk sngan_fashion32 --classes Sneaker --seconds 4 --out walk.gif",
    )  # fmt: skip
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument(
        "--classes", nargs="+", metavar="NAME", help="one class for all frames, or up to four in sequence"
    )
    command.add_argument("--seconds", type=float, default=8.0, help="length of the video (default: 8)")
    add_latent_flags(
        command, "reduce the radius of the path to that of latents with |z| < T; single values may exceed T"
    )
    add_precision(command)
    command.add_argument("--out", type=home_path, required=True, metavar="FILE.gif|.mp4", help="the video file")
    add_device(command)


def add_latent_flags(
    command: argparse.ArgumentParser, truncation: str = "restrict the latents to |z| < T"
) -> None:  # fmt: skip
    command.add_argument("--seed", type=int, metavar="N", help="0 to 2^63 - 1 (default: random; it is printed)")
    command.add_argument("--truncation", type=float, metavar="T", help=truncation)


def add_precision(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--precision", choices=("fp32", "bf16", "auto"), default="fp32",
        help="precision of the network (default: fp32); auto: bf16 if the processor supports it natively. bf16 changes "
        "pixel values by about half a level of 255",
    )  # fmt: skip


def sample(arguments: argparse.Namespace) -> None:
    from ..class_names import label_names, resolve_classes
    from ..hub.calibrations import load_calibration
    from ..hub.load import load_discriminator, load_generator
    from ..progress import Progress
    from ..sampling import generate as sampling
    from ..sampling.refine import maker

    sampling.check_request(arguments.n, arguments.seed, arguments.truncation)
    out: Path = arguments.out
    as_file = _is_grid(out, arguments.by_class)
    method = "rejection" if arguments.rejection else "ddls" if arguments.ddls else None
    if method == "ddls" and arguments.precision == "bf16":
        raise ValueError("precision cannot be bf16 with --ddls, which computes in float64; omit --precision")
    calibration = load_calibration(arguments.model) if method else None
    generator = load_generator(arguments.model, device=arguments.device)
    chosen = arguments.classes
    if chosen is not None:  # checked before anything is computed
        chosen = resolve_classes(chosen, generator.classes, generator.n_classes)
    names = label_names(generator)
    folders: dict[int, Path] = {}
    if arguments.by_class:
        chosen = list(range(generator.n_classes)) if chosen is None else chosen
        folders = _folders_of(names, chosen, out)
    seed = _seed(arguments)
    (fast, precision), make = _fast(generator, arguments), None
    if method and calibration:
        d = load_discriminator(arguments.model, device=arguments.device)
        drawn_by = generator if method == "ddls" else fast  # Langevin steps run in float64
        precision = None if method == "ddls" else precision
        make = maker(method, drawn_by, d, calibration, arguments.truncation)
    request = (arguments.n, seed, arguments.truncation, arguments.batch_size)
    batches = sampling.sample_batches(fast, chosen, *request, make)
    total = arguments.n * (1 if chosen is None else len(chosen))
    about = {"model": arguments.model, "tag": _tag(arguments.model), "seed": seed, "truncation": arguments.truncation,
             "method": method, "precision": precision}  # fmt: skip
    with Progress(total, "samples") as progress:

        def counted() -> Iterator[Batch]:
            for images, labels in batches:
                yield images, labels
                progress.update(len(images))

        if as_file:
            rows = None if chosen is None else [names[label] for label in chosen]
            _save_grid(counted(), out, names, rows, arguments.n, about)
        else:
            _save_each(counted(), out, names, folders, about)
    print(f"{out}: {total} images of {arguments.model}, seed {seed}")


def _seed(arguments: argparse.Namespace) -> int:
    from ..sampling.generate import random_seed_from_system

    return random_seed_from_system() if arguments.seed is None else arguments.seed


def _is_grid(out: Path, by_class: bool) -> bool:
    """Whether ``out`` is one PNG file and not a folder. Raises ``ValueError`` or ``OSError`` if it is neither."""
    from ..data.folders import is_image

    as_file = out.suffix.lower() == ".png"
    if out.suffix.lower() in OTHER_FILES and not out.is_dir():
        raise ValueError(f"out must be FILE.png or a folder (got {out})")
    if by_class and as_file:
        raise ValueError(f"out must be a folder with --by-class (got {out})")
    if as_file:
        check_file(out)
        return True
    check_writable(out, create=True)
    if not by_class and (taken := next(filter(is_image, out.iterdir()) if out.is_dir() else iter(()), None)):
        raise FileExistsError(f"out: {taken} exists; images of two calls would be mixed; choose a new folder")
    return False


def _save_each(
    batches: Iterator[Batch], out: Path, names: list[str], folders: dict[int, Path], about: dict[str, Any]
) -> None:
    """A PNG file for each image, in ``out`` or in the folder of its class."""
    from ..sampling.pictures import save_png, to_pil

    for folder in (out, *folders.values()):
        folder.mkdir(parents=True, exist_ok=True)
    number = count()
    for images, labels in batches:
        for image, label in zip(images, labels or [None] * len(images), strict=True):
            index = next(number)
            place = out if label is None else folders.get(label, out)
            name = None if label is None else names[label]
            save_png(to_pil(image), place / f"{index:06d}.png", {**about, "classes": name, "index": index})


def _save_grid(
    batches: Iterator[Batch], out: Path, names: list[str], rows: list[str] | None, n: int, about: dict[str, Any]
) -> None:
    """One PNG file: rows of ``n`` images for each class of ``rows``, or nearly a square without chosen classes."""
    import torch

    from ..sampling.pictures import labelled_grid, save_png

    drawn = list(batches)
    pictures = torch.cat([images for images, _ in drawn])
    labels = [label for _, own in drawn for label in own or []]
    titles = None
    columns = min(len(pictures), max(1, round(len(pictures) ** 0.5)))
    if rows is not None:
        columns, lines = _wrapped(n)
        titles = [name if k == 0 else "" for name in rows for k in range(lines)]
        if blank := columns * lines - n:  # the last row of each class is filled with white
            parts = pictures.unflatten(0, (len(rows), n))
            white = pictures.new_full((len(rows), blank, *pictures.shape[1:]), 255)
            pictures = torch.cat([parts, white], 1).flatten(0, 1)
    shown = ", ".join(names[label] for label in dict.fromkeys(labels))
    save_png(labelled_grid(pictures, columns, titles), out, {**about, "classes": shown})


def _wrapped(n: int) -> tuple[int, int]:
    """Columns and rows of ``n`` images of a class: at most 16 columns, if possible 8 or more in full rows."""
    columns = next((c for c in range(min(n, 16), 7, -1) if n % c == 0), 0)
    if not columns:
        columns = -(-n // -(-n // 16))
    return columns, -(-n // columns)


def _folders_of(names: list[str], chosen: list[int], out: Path) -> dict[int, Path]:
    """The folder of each chosen class in ``out``. ``sngan evaluate`` matches the folders with the data by name.

    A folder has the name of its class. If chosen names differ only in case, as ImageNet's Cardigan and cardigan, they
    would be one folder on macOS and Windows. The folders then have the synsets as names, on every system, because
    ``sngan evaluate`` reads synsets as class names. Other names than ImageNet's cannot be replaced. Whether this file
    system can store them is tried with empty folders: Windows refuses characters such as ? and reserved names, and
    removes a dot at the end. Raises ``ValueError`` if it cannot, and ``FileExistsError`` if ``out`` has a folder of a
    chosen class, or folders with the other kind of name.
    """
    from ..class_names import synsets_of

    if not chosen:
        raise ValueError("by_class needs a conditional generator; this one has no classes")
    labels = list(dict.fromkeys(chosen))
    for name in (names[label] for label in labels):
        if name in (".", "..") or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
            raise ValueError(f"by_class: the class {name!r} cannot be the name of a folder; sample without --by-class")
    alike = len({names[label].casefold() for label in labels}) < len(labels)
    synsets = synsets_of(names)
    own, other = (synsets, names) if alike and synsets else (names, synsets or [])
    folders = {label: own[label] for label in labels}
    _check_folders(list(folders.values()), out)
    if taken := next((path for path in map(out.__truediv__, folders.values()) if path.exists()), None):
        raise FileExistsError(f"out: {taken} exists; images of another call would be counted too; choose a new folder")
    if mixed := next((out / name for name in other if name not in own and (out / name).exists()), None):
        raise FileExistsError(f"out: {mixed} exists, of a call whose folders have {'names' if alike else 'synsets'}; "
                              f"folders of both kinds are not one set; choose a new folder")  # fmt: skip
    return {label: out / name for label, name in folders.items()}


def _check_folders(names: list[str], out: Path) -> None:
    """Raises ``ValueError`` if the file system of ``out`` cannot store a folder of exactly each name."""
    existing = nearest_existing(out)
    with tempfile.TemporaryDirectory(prefix=".sngan", dir=existing) as trial:
        for name in names:
            with suppress(OSError):
                Path(trial, name).mkdir()
        made = set(os.listdir(trial))
    if refused := next((name for name in names if name not in made), None):
        raise ValueError(f"by_class: no folder for the class {refused!r} of its own can be made in {existing}, because "
                         f"the file system does not allow the name or does not distinguish it from another class; "
                         f"leave the class out with --classes, or sample without --by-class")  # fmt: skip


def morph(arguments: argparse.Namespace) -> None:
    from ..hub.load import load_generator
    from ..sampling import morph as morphing
    from ..sampling.morph import FILMS, FRAMES_PER_SECOND, save_film
    from ..sampling.pictures import labelled_grid, save_png

    out: Path = arguments.out
    suffix = out.suffix.lower()
    if suffix not in (".png", *FILMS):
        raise ValueError(f"out must be one of FILE.png, {', '.join('FILE' + film for film in FILMS)} (got {out})")
    if suffix != ".png" and arguments.n not in (None, 1):
        raise ValueError(f"n must be 1 for a video (got {arguments.n}); omit --n, or choose FILE.png")
    check_file(out)
    generator = load_generator(arguments.model, device=arguments.device)
    seed = _seed(arguments)
    rows, steps = (4, 8) if suffix == ".png" else (1, 2 * FRAMES_PER_SECOND)
    rows = rows if arguments.n is None else arguments.n
    steps = steps if arguments.steps is None else arguments.steps
    fast, precision = _fast(generator, arguments)
    images = morphing.morph(fast, arguments.classes, steps, rows, seed, arguments.truncation)  # (rows, frames, 3, S, S)
    if suffix == ".png":
        about = {"model": arguments.model, "tag": _tag(arguments.model), "seed": seed,
                 "truncation": arguments.truncation, "classes": " to ".join(arguments.classes), "steps": steps,
                 "precision": precision}  # fmt: skip
        save_png(labelled_grid(images.flatten(0, 1), images.shape[1]), out, about)
    else:
        there_and_back = [images[0], images[0, 1:-1].flip(0)] if images.shape[1] > 2 else [images[0]]
        save_film(iter(there_and_back), out)
    print(f"{out}: {' to '.join(arguments.classes)} in {images.shape[1]} images, seed {seed}")


def walk(arguments: argparse.Namespace) -> None:
    from ..hub.load import load_generator
    from ..progress import Progress
    from ..sampling import morph as morphing
    from ..sampling.morph import FILMS, FRAMES_PER_SECOND, save_film

    out: Path = arguments.out
    if out.suffix.lower() not in FILMS:
        raise ValueError(f"out must be one of {', '.join('FILE' + film for film in FILMS)} (got {out})")
    if not 0 < arguments.seconds <= 60:
        raise ValueError(f"seconds must be above 0 and at most 60 (got {arguments.seconds})")
    check_file(out)
    generator = load_generator(arguments.model, device=arguments.device)
    seed = _seed(arguments)
    frames = max(2, round(arguments.seconds * FRAMES_PER_SECOND))
    fast, _ = _fast(generator, arguments)
    batches = morphing.walk(fast, arguments.classes, frames, seed, arguments.truncation)
    with Progress(frames, "film", "frames") as progress:

        def counted():
            for batch in batches:
                yield batch
                progress.update(len(batch))

        save_film(counted(), out)
    print(f"{out}: {frames} frames, {frames / FRAMES_PER_SECOND:.1f} s, seed {seed}")


def _fast(generator: AnyGenerator, arguments: argparse.Namespace) -> tuple[AnyGenerator, str | None]:
    """The generator converted for ``--precision``, and the precision to store in images: None for float32."""
    import torch

    from ..networks.inference import fast_bfloat16, sampling_dtype

    device = next(generator.parameters()).device
    dtype = sampling_dtype(arguments.precision, device)
    if dtype == torch.bfloat16 and not fast_bfloat16(device):
        print("precision: this processor has no bfloat16 support, so bf16 is slower than fp32", file=sys.stderr)
    return generator.for_sampling(dtype), None if dtype == torch.float32 else "bf16"


def _tag(model: str) -> str | None:
    from ..hub.resolve import resolve
    from ..weights.records import find_record

    if resolve(model).kind != "name":  # a folder may have the name of a model
        return None
    try:
        return find_record(model, "generator").tag
    except ValueError:
        return None
