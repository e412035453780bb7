"""Checks of the data before the first step: sizes, counts, labels and pixel values; and a contact sheet of images."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image

from sngan_hub.data import SOURCES, Images
from sngan_hub.data.images import evenly
from sngan_hub.data.prepared import is_prepared
from sngan_hub.sampling.pictures import labelled_grid, save_png
from sngan_hub.text import plural

from ..config.schema import Config
from .draws import crop_offsets, random_crops
from .images import like_training, stored_images
from .near_copies import check_no_training_images, near_copies, say_shared
from .streams import Stream, draws

LOOKED_AT = 2000  # number of images whose pixels are checked
NEAR_COPIES = 1000  # number of images that are compared with each other
FEW = 50  # images per class
SHEET = 10  # number of classes, and of images per class, on the contact sheet


def check_apart(out: str | Path, **sources: str) -> None:
    """Raises ``ValueError`` if ``out`` is inside a source or contains it: a run would train on its own images.

    ``sources``: argument name -> source; sources that are empty or not a path are ignored.
    """
    for name, source in sources.items():
        path = Path(source.removeprefix("hf:"))
        if not (out and source) or source in SOURCES or not path.exists():
            continue
        ours, theirs = Path(out).resolve(), path.resolve()
        if ours == theirs or theirs in ours.parents or ours in theirs.parents:
            where = "is" if ours == theirs else "is inside" if theirs in ours.parents else "contains"
            raise ValueError(f"out and {name} must be separate folders (got out {out}, which {where} {source}); "
                             f"choose another out")  # fmt: skip


def check_held_out(data: Images, config: Config) -> None:
    """Raises ``ValueError`` if images of ``config.held_out`` are also training images."""
    held = like_training(config.test_folder, "all", data, config)
    unscored = ", or set --held-out none" + " and --score-every 0" * bool(config.score_every)
    check_no_training_images(held, data, f"held_out: {config.test_folder}", unscored)


def check_tenth(data: Images, config: Config) -> None:
    """Prints how many images of the held-out tenth are also training images: a folder may hold copies of its images.

    Named data sets have test splits of their own, which are not compared. Prepared sets may be too large.
    """
    plain = config.data not in SOURCES and Path(config.data or "-").is_dir() and not is_prepared(config.data)
    if config.held_out != "tenth" or not plain:
        return
    try:
        held = stored_images(config, config.size, [], "test")
    except ValueError:  # none are held out, because every class is small
        return
    if held.images.shape[1:] == data.images.shape[1:]:
        say_shared(held, data, config.data)


def check_data(data: Images, config: Config, out: Path, resumed: bool) -> None:
    """Prints the findings and writes ``out/data.png``. Raises ``ValueError`` if the data are unusable.

    ``resumed``: the picture is of the same data, and is kept.
    """
    out.mkdir(parents=True, exist_ok=True)
    for line in findings(data, config):
        print(f"data: {line}", file=sys.stderr)
    if not (resumed and (out / "data.png").exists()):
        save_png(contact_sheet(data, config), out / "data.png", {"data": config.data})


def findings(data: Images, config: Config) -> list[str]:
    """One line per finding."""
    n, names = len(data.images), data.classes
    stored, size = data.images.shape[-1], config.size
    if data.images.shape[1:] != (3, stored, stored) or data.images.dtype != np.uint8 or not n:
        raise ValueError(f"data must be uint8 images (N, 3, S, S) (got {data.images.dtype} {data.images.shape})")
    if len(data.labels) != n or data.labels.min() < 0 or data.labels.max() >= len(names):
        raise ValueError(
            f"data must have one label from 0 to {len(names) - 1} for each of {n:,} images (got {len(data.labels):,} "
            f"labels from {data.labels.min()} to {data.labels.max()})"
        )
    if stored < size:  # a crop may be smaller: the authors enlarge crops of 230 px to 256 for dogcat256
        raise ValueError(f"stored_size must be at least the network's {size} px (got {stored})")
    if int(stored * config.crop) < 1:
        raise ValueError(f"crop must leave at least one pixel of {stored} (got {config.crop}); set a higher --crop")
    counts = np.bincount(data.labels, minlength=len(names))
    if not counts.all():
        empty = [names[i] for i in np.flatnonzero(counts == 0)[:5]]
        raise ValueError(f"data must have images of every class (got none of {', '.join(empty)}); add images, or "
                         f"remove the class folder")  # fmt: skip
    few, many = int(counts.argmin()), int(counts.argmax())
    each = f"from {counts[few]:,} ({names[few]}) to {counts[many]:,} ({names[many]})"
    if counts[few] == counts[many]:
        each = f"{counts[few]:,}"
    what = f"{plural(n, 'image')} of {stored} px in {plural(len(names), 'class', 'classes')}"
    lines = [f"{what}, {each} per class"]
    if data.made.get("size", stored) > stored:
        lines.append(f"prepared at {data.made['size']} px and resized whenever an image is read; sngan prepare with "
                     f"--size {stored} is faster")  # fmt: skip
    if config.conditioning != "none" and len(names) == 1:
        lines.append("only one class; to train on several, name a folder that contains one folder per class")
    if config.n_classes and config.conditioning != "none" and len(names) != config.n_classes:
        lines.append(f"the preset is meant for {config.n_classes:,} classes (got {len(names):,})")
    if counts[many] > 10 * counts[few]:
        lines.append(
            "the largest class has over 10 times as many images as the smallest; fakes use all classes equally often"
        )
    if config.donor and counts[few] < FEW:
        lines.append(f"class {names[few]} has {counts[few]} image{'s' * bool(counts[few] != 1)}; with fewer than "
                     f"{FEW}, G may memorise them: RUN/report.html shows the nearest training images")  # fmt: skip
    if n < 2 * config.batch_size:
        lines.append(f"there are fewer images than in two batches of {config.batch_size}, so batches repeat images; "
                     f"consider a lower --batch-size")  # fmt: skip
    return lines + _of_pixels(data, config)


def _of_pixels(data: Images, config: Config) -> list[str]:
    lines, rows = [], evenly(len(data.images), LOOKED_AT)
    seen = data.images[rows]
    low, high = int(seen.min()), int(seen.max())
    if high <= 1:
        raise ValueError(f"data must have pixel values from 0 to 255 (got {low} to {high}); save the images unscaled")
    if high < 128 or low > 127:
        lines.append(f"the pixel values range from {low} to {high} only, of 0 to 255")
    flat = seen.reshape(len(seen), -1)
    plain = int((flat.min(1) == flat.max(1)).sum())
    if plain:
        lines.append(f"{plain:,} of {len(seen):,} sampled images have a single colour")
    if (seen[:, 0] == seen[:, 1]).all() and (seen[:, 0] == seen[:, 2]).all():
        lines.append("the images are grey: their three channels are equal")
    twice = len(seen) - len({image.tobytes() for image in seen})
    if twice:
        lines.append(f"{twice:,} of {len(seen):,} sampled images duplicate another")
    compared = evenly(len(seen), NEAR_COPIES)  # of all classes, which follow each other
    if pairs := near_copies(seen[compared]):
        first = " and ".join(_which(int(rows[compared[i]]), data) for i in pairs[0])
        lines.append(f"{len({j for _, j in pairs}):,} of {len(compared):,} sampled images are near copies of another "
                     f"(for example, {first})")  # fmt: skip
    stretched = data.made.get("contrast_stretch", True)
    if config.contrast_stretch and data.images.shape[-1] == config.size and not stretched:
        lines.append("prepared without this preset's contrast stretch; prepare the data with --contrast-stretch")
    if config.data in SOURCES and not data.made:  # a named set, which cannot be prepared
        if config.stretches_at_load(config.size):
            lines.append(f"the images of {config.data} are used as they are: contrast_stretch has no effect on them")
    elif config.contrast_stretch and not data.made and not config.donor:
        lines.append(f"the images are not prepared; sngan prepare {config.data or 'FOLDER'} OUT --preset "
                     f"{config.preset} leaves out small images too, and scales the others as the authors do"
                     )  # fmt: skip
    return lines


def _which(row: int, data: Images) -> str:
    """An image by its class and its number there: files that are held out or damaged do not count."""
    label = data.labels[row]
    of_class = f" of class {data.classes[label]}" if data.classes[label] else ""
    return f"training image {int((data.labels[:row] == label).sum()) + 1:,}{of_class}"


def contact_sheet(data: Images, config: Config) -> Image:
    """A grid of up to ten classes, evenly spaced over all classes, one row per class.

    Images are cropped, stretched and resized as in a batch (``real_pixels``), and not flipped.
    """
    chosen = evenly(len(data.classes), SHEET)
    of = [np.flatnonzero(data.labels == label) for label in chosen]
    columns = min(SHEET, min(map(len, of)))
    index = np.concatenate([rows[np.linspace(0, len(rows) - 1, columns).astype(int)] for rows in of])
    images, n = np.array(data.images[index]), len(index)
    if config.crop < 1 or images.shape[-1] != config.size:
        offsets = crop_offsets(draws(config.seed, Stream.CROP, 0), n, images.shape[-1], config.crop)
        images = random_crops(images, offsets, np.zeros(n, bool), config.crop, config.size, config.contrast_stretch)
    return labelled_grid(torch.from_numpy(images), columns, [data.classes[label][:24] for label in chosen])
