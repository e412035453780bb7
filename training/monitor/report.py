"""Writes ``RUN/report.html``: training data, samples, training curves, nearest training images, settings, usage."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sngan_hub.class_names import label_names
from sngan_hub.data import Images
from sngan_hub.data.images import evenly
from sngan_hub.files import write_text
from sngan_hub.hub.load import load_generator
from sngan_hub.networks.base import AnyGenerator
from sngan_hub.sampling.pictures import labelled_grid

from ..config.schema import Config, load_config, make_config
from ..engine.checkpoints import stored_fingerprint
from ..engine.run_folder import check_has_snapshot, linked_step, read_start
from ..feed.images import as_generated, held_out_images, images_now
from ..feed.near_copies import ALARM, copying, equal_rows, nearest, small
from .log import PER_CLASS, read_log, shown_classes
from .score import best_score, scores_of_run

COLUMNS = 8  # images of a strip: one class, at one step
WIDEST = 960  # maximum width of an image in the report, in pixels
STEPS = 6  # number of steps whose samples are shown, including the first and the last
FAR = 0.1  # share of near images below which generated images are far from all training images
SEARCHED, REAL = 2000, 500  # maximum numbers of training images and of held-out images to compare with

Strips = list[tuple[str, str]]  # label, and the images beside it as a data URL


def write_report(out: Path, data: Images | None = None) -> tuple[Path, str]:
    """Writes the report. Returns its path, and the result of the search for copies. ``data``: if already loaded.

    Raises ``FileNotFoundError`` if ``out`` is not a run with a snapshot.
    """
    try:
        import matplotlib  # noqa: F401
        from jinja2 import Environment
    except ImportError as error:
        raise ValueError(f"the report needs more packages ({error}): pip install 'sngan-hub[train]'") from error
    check_has_snapshot(out)
    config, generator = load_config(out), load_generator(out)
    about = read_start(out)
    step, best = linked_step(out), best_score(out, config.score)
    chosen = shown_classes(generator.n_classes) if generator.n_classes else None
    images = generator.for_sampling().sample(chosen, COLUMNS if chosen else COLUMNS**2, seed=config.seed)
    names = [label_names(generator)[label] for label in chosen] if chosen else [""]
    per_class = len(images) // len(names)
    found: dict[str, Any] = compare(out, config, generator, images, names, data)
    count = f"{found['images']:,} images" if "images" in found else "images"
    donor = f", started from {config.donor}," if config.donor else ""
    left_out = [f"Skipped damaged image: {line}" for line in about.get("left_out", [])]
    page = Environment(autoescape=True).from_string(Path(__file__).with_suffix(".html").read_text(encoding="utf-8"))
    text = page.render(
        name=out.resolve().name,
        summary=f"{generator.size} px, {generator.n_classes or 'no'} classes{donor} trained on {count} "
        f"({Path(config.data).name}). The result is the snapshot of step {step:,}"
        + (f", the best by {config.score}." if best and best["step"] == step else "."),
        result=strips(images.split(per_class), names), result_caption=f"Step {step:,}, seed {config.seed}.",
        use=usage(out, generator), curves=curves(out, config), over_time=over_time(out, names, generator.size),
        sheet=as_url(Image.open(out / "data.png")) if (out / "data.png").is_file() else "", settings=settings(config),
        preset=config.preset, notes=[*about.get("notes", []), *left_out],
        warnings=[found["said"]] if found["alarm"] else [], **found,
    )  # fmt: skip
    path = out / "report.html"
    write_text(path, text)
    return path, found["said"]


def compare(
    out: Path, config: Config, generator: AnyGenerator, images: Tensor, names: list[str], data: Images | None
) -> dict[str, Any]:
    """Compares generated images with the nearest training images. ``alarm``: they are nearer than real images."""
    try:
        size, changed = generator.size, False
        if not data:
            data, changed = images_now(stored_fingerprint(out), config, size)
        data = as_generated(data, config, size)
        known = bool(config.test_folder) or not changed  # other images than then are every tenth
        held = held_out(config, size) if known else None
    except (ValueError, OSError) as error:
        return {"said": f"could not compare with the training images: {error}", "alarm": False}
    made = [name for name in names for _ in range(len(images) // len(names))]
    shown, shown_names = some_of(data, names, SEARCHED)
    real, real_names = some_of(held, names, REAL) if held else (shown, shown_names)
    compared = len(real)
    if held is not None:
        real, real_names = unseen(real, real_names, shown)
    shared = compared - len(real)
    if not real_names:
        held, real, real_names = None, shown, shown_names
    features_of, space = comparison_space(config)
    generated, training = features_of(images), features_of(shown)
    reference = training if held is None else features_of(real)
    found = nearest(generated, training)
    expected = nearest(reference, training, itself=held is None)
    share = copying_within(found.distance, made, expected.distance, real_names)
    said, alarm = verdict(share, "training images are to each other" if held is None else "held-out images are")
    if shared:
        said += f"; {shared:,} of {compared:,} held-out images are also training images and were left out"
    if changed:
        said += f"; the images of {config.data} have changed since the run was trained on them, and the present ones " \
                f"were compared"  # fmt: skip
    if len(shown) < len(data.images):
        space += f", and {len(shown):,} of {len(data.images):,} training images were searched"
    beside = torch.stack([images, shown[found.row]], 1).unflatten(0, (len(names), -1))[:, : COLUMNS // 2].flatten(1, 2)
    named = {*names} <= {"", *data.classes}
    return {"said": said, "alarm": alarm, "space": space, "images": len(data.images), "pairs": strips(beside, names),
            "data": strips(training_images(data, names), names) if named else []}  # fmt: skip


def comparison_space(config: Config) -> tuple[Callable[[Tensor], Tensor], str]:
    """A function from uint8 images (N, 3, S, S) to the features that are compared, and the name of their space."""
    if not config.score_every:
        return small, "images reduced to 16x16 pixels"
    from sngan_hub.metrics.inception import features, load_inception

    network = load_inception()
    return lambda x: features(network, x.split(50), len(x), "comparing", config.precision), "Inception features"


def verdict(share: float | None, what: str) -> tuple[str, bool]:
    """The result of ``copying_within`` as a sentence, and whether to warn. ``what``: the text after "than"."""
    if share is None:  # one training image, or held-out images of other classes
        return "copies cannot be told from new images, because there are too few real images of the same classes", False
    meaning = ""
    if share > ALARM:
        meaning = ("; the generator has memorised training images: stop earlier, train fewer weights (--trained "
                   "gains), or add images")  # fmt: skip
    elif share < FAR:
        meaning = "; the generated images are unlike the training images"
    said = (f"{share:.0%} of generated images are nearer to a training image than {what} (50% is expected of new "
            f"images, 100% of copies){meaning}")  # fmt: skip
    return said, share > ALARM


def training_images(data: Images, names: list[str]) -> list[Tensor]:
    """Some images of each of these classes; of all classes for a model without classes (``names`` are [""])."""
    whole = [np.arange(len(data.images))]
    of = whole if names == [""] else [np.flatnonzero(data.labels == data.classes.index(name)) for name in names]
    chosen = [index[evenly(len(index), COLUMNS)] for index in of]
    return [torch.from_numpy(np.array(data.images[index])) for index in chosen]


def strips(images: Iterable[Tensor], names: list[str]) -> Strips:
    """The images of each class as rows of ``COLUMNS``, with the name of the class."""
    return [(name, as_url(labelled_grid(own, COLUMNS))) for name, own in zip(names, images, strict=True)]


def held_out(config: Config, size: int) -> Images | None:
    """The real images that were not used for training; None if there are none."""
    try:
        found = held_out_images(config, size)
    except ValueError:  # none are held out, or a split is empty
        return None
    return found if len(found.images) else None


def some_of(data: Images, names: list[str], most: int) -> tuple[Tensor, list[str]]:
    """Up to ``most`` images of the classes ``names``, evenly spaced, and the class of each.

    If the data have none of these classes (``names`` may be [""]): of all images, as if ``data`` was one class.
    """
    rows, own = np.arange(len(data.images)), [""] * len(data.images)
    if chosen := [data.classes.index(name) for name in names if name in data.classes]:
        rows = np.flatnonzero(np.isin(data.labels, chosen))
        own = [data.classes[label] for label in data.labels]
    rows = rows[evenly(len(rows), most)]
    return torch.from_numpy(np.array(data.images[rows])), [own[row] for row in rows]


def unseen(real: Tensor, names: list[str], training: Tensor) -> tuple[Tensor, list[str]]:
    """Those of ``real`` that equal no training image: at distance 0, copies would make all generated images far."""
    kept = sorted({*range(len(real))} - {*equal_rows(real.numpy(), training.numpy())})
    return real[kept], [names[i] for i in kept]


def copying_within(made: Tensor, made_names: list[str], real: Tensor, real_names: list[str]) -> float | None:
    """The mean of ``copying`` over classes: images of some classes are nearer to each other than those of others.

    If the real images have no classes, all images are compared. None: no class has both kinds of images.
    """
    if {*real_names} == {""}:
        made_names = [""] * len(made)
    real_by, made_by = np.array(real_names), np.array(made_names)
    known = torch.from_numpy(np.isfinite(real.numpy()))
    shares = [copying(made[torch.from_numpy(made_by == name)], chosen) for name in dict.fromkeys(made_names)
              if len(chosen := real[known & torch.from_numpy(real_by == name)])]  # fmt: skip
    return float(np.mean(shares)) if shares else None


def curves(out: Path, config: Config) -> list[tuple[str, str]]:
    """The logged values as figures."""
    log, scores = read_log(out), scores_of_run(out, config.score)
    figures = []
    if scores:
        floor = scores[-1]["floor"]
        rows = [("generated", [row["step"] for row in scores], [row["value"] for row in scores])]
        if floor is not None:
            rows.append(("training images", [scores[0]["step"], scores[-1]["step"]], [floor, floor]))
        figures.append((f"{config.score}, {scores[-1]['evaluator']}", plot(rows)))
    for title, keys in (
        ("Losses", ("loss_d", "loss_g")),
        ("Mean scores of the discriminator: real and generated images", ("score_real", "score_fake")),
        ("Diversity within a class, in pixels, relative to the training images", ("spread", "spread_worst")),
    ):
        rows = [(key, [row["step"] for row in log if key in row], [row[key] for row in log if key in row])
                for key in keys]  # fmt: skip
        if len(log) > 1:
            figures.append((title, plot(rows)))
    return figures


def plot(rows: list[tuple[str, list[int], list[float]]]) -> str:
    """Lines (name, steps, values) -> an SVG, as a data URL."""
    from matplotlib.figure import Figure

    figure = Figure((5, 2.8), layout="constrained")  # at the width of a phone, its text has its own size
    axes = figure.subplots()
    for name, steps, values in rows:
        axes.plot(steps, values, label=name, marker="." if len(steps) < 20 else None)
    axes.set_xlabel("step")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="svg")
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()


def over_time(out: Path, names: list[str], size: int) -> list[tuple[str, Strips]]:
    """For each class, the first samples of the saved grids: a strip per step, with the same latents."""
    paths = sorted((out / "samples").glob("[0-9]*.png"))
    if not paths:  # an imported run, or one before its first grid
        return []
    which = evenly(len(paths), STEPS)
    grids = [(f"{int(paths[i].stem):,}", Image.open(paths[i])) for i in which]
    side, columns = size + 1, min(COLUMNS, PER_CLASS)  # save_grid leaves a pixel between images
    cut = [(0, row * side, columns * side + 1, (row + 1) * side + 1) for row in range(len(names))]
    return [(name, [(step, as_url(grid.crop(box))) for step, grid in grids])
            for name, box in zip(names, cut, strict=True)]  # fmt: skip


def as_url(picture: Image.Image) -> str:
    picture = picture.convert("RGB")
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), Image.Resampling.BOX)
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def usage(out: Path, generator: AnyGenerator) -> str:
    chosen = f' --classes "{generator.classes[0]}"' if generator.classes else ""
    in_python = f'classes=["{generator.classes[0]}"], ' if generator.classes else ""
    return f"""sngan sample {out}{chosen} --n 8 --out samples.png
sngan score {out} FOLDER
sngan app --model {out}
sngan publish {out} NAMESPACE/NAME --dry-run

from sngan_hub import load_generator
load_generator("{out}").sample({in_python}n=8, seed=0)"""


def settings(config: Config) -> list[tuple[str, str, str]]:
    """The settings that differ from the run's preset: (name, value, value of the preset)."""
    plain = make_config(config.preset)
    return [
        (key.replace("_", " "), as_shown(value), as_shown(getattr(plain, key)))
        for key, value in vars(config).items()
        if value != getattr(plain, key)
    ]


def as_shown(value: Any) -> str:
    """A value of a setting for a reader: numbers rounded to four digits, large ones with commas."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value) if value not in ("", None) else "-"
