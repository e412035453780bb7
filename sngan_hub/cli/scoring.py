"""``sngan score``, ``evaluate`` and ``spectrum``: scores of images and generators, and singular values."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from .parser import MODEL, add_device, check_file, home_path, new_command

if TYPE_CHECKING:
    from ..weights.record import Record

RANGES = 3  # classes whose usual scores are printed


def add_commands(subparsers: Any) -> None:
    command = new_command(
        subparsers, "score", score, "print the discriminator's score of images, highest first",
        "A score measures how real an image looks as an image of a class: of --class, or of the class that its folder "
        "is named after, or of the class with the highest score. Scores do not classify images, because the "
        "discriminator was trained with correct labels only.", "sngan score sngan_fashion32 images --class Sneaker",
    )  # fmt: skip
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument("folder", metavar="FOLDER", type=Path, help="a folder of images, or one image")
    command.add_argument("--class", dest="class_name", metavar="NAME", help="score every image as this class")
    command.add_argument("--at-least", type=float, metavar="SCORE", help="print only images with this score or more")
    command.add_argument(
        "--json", action="store_true", help="print one JSON line per image, with the score of every class"
    )
    add_device(command)

    command = new_command(
        subparsers, "evaluate", evaluate,
        "measure a generator, or a folder of pictures, against real images, one JSON line per protocol",
        "The pictures of a folder can be from any program, in one folder per class or all in one folder. A protocol's "
        "name fixes how it is measured; docs/evaluation.md describes each.",
        example="sngan evaluate sngan_fashion32 --data fashion --protocol fid5k_test,diversity\n"
        "sngan evaluate PICTURES --data DATA/train --held-out DATA/test --protocol fid_paper,prdc10k",
    )  # fmt: skip
    command.add_argument("model", metavar="MODEL|PICTURES", help=f"{MODEL}; or a folder of pictures")
    command.add_argument("--data", required=True, metavar="SOURCE", help="real images, as `sngan train` reads them")
    command.add_argument("--protocol", required=True, metavar="P,P", help="of fid5k_test, fid_paper, fid50k_train, "
                         "kid1k_test, kid1k_held_out, kid50k, is50k, is_paper, prdc10k, intra_fid, cas, agreement2k, "
                         "diversity, separated by commas")  # fmt: skip
    command.add_argument("--held-out", default="", metavar="FOLDER",
                         help="real test images, where all of SOURCE are training images")  # fmt: skip
    command.add_argument("--seed", type=int, default=0, help="seed of the samples (default: 0)")
    command.add_argument("--seeds", type=int, default=1, metavar="N",
                         help="measure N seeds, from --seed on: the mean and its spread (default: 1)")  # fmt: skip
    command.add_argument("--truncation", type=float, metavar="T",
                         help="restrict the latents to |z| < T; the name in the result then ends in "
                         "+truncationT")  # fmt: skip
    command.add_argument("--standing", action="store_true", help="estimate the batch-norm statistics again, from 200 "
                         "batches at this truncation; the name in the result then ends in +standing")  # fmt: skip
    command.add_argument("--size", type=int, metavar="S", help="for pictures: crop and resize them to S px (default: "
                         "their own size, which must be one)")  # fmt: skip
    command.add_argument("--batch-size", type=int, metavar="N", default=50, help="images per batch (default: 50)")
    command.add_argument("--workers", type=int, metavar="N", default=1,
                         help="batches computed at the same time on each device (default: 1)")  # fmt: skip
    command.add_argument("--dry-run", action="store_true", help="print what is to be computed and how long it takes")
    command.add_argument("--json", action="store_true", help="print only the JSON lines")
    command.add_argument(
        "--record", action="store_true", help="write the scores to the record and cards of an included model"
    )
    command.add_argument("--device", default="auto", help="auto (an NVIDIA GPU if there is one, otherwise the CPU), "
                         "cpu, cuda, cuda:N, mps; or several, separated by commas: cuda:0,cuda:1")  # fmt: skip

    command = new_command(
        subparsers, "spectrum", spectrum, "print and plot the singular values of each layer",
        example="sngan spectrum sngan_fashion32 --out spectrum.png",
    )  # fmt: skip
    command.add_argument("model", metavar="MODEL", help=MODEL)
    command.add_argument(
        "--network",
        choices=("discriminator", "generator"),
        default="discriminator",
        help="which network of the pair (default: discriminator)",
    )
    command.add_argument("--out", type=home_path, metavar="FILE.png", help="write the figure to this file")
    command.add_argument("--json", action="store_true", help="print every singular value as JSON")
    add_device(command)


def score(arguments: argparse.Namespace) -> None:
    from ..class_names import label_names, resolve_classes, synset_names
    from ..hub.listing import aligned
    from ..hub.load import load_discriminator
    from ..hub.resolve import resolve
    from ..metrics.discriminator_scores import pictures_in, score_files
    from ..weights.records import reference_scores

    paths = pictures_in(arguments.folder)
    discriminator = load_discriminator(arguments.model, device=arguments.device)
    names = label_names(discriminator) or ["score"]
    wanted = None
    if arguments.class_name is not None:
        if not discriminator.n_classes:
            raise ValueError(f"class: {arguments.model} has no classes (got {arguments.class_name!r}); omit --class")
        (wanted,) = resolve_classes([arguments.class_name], discriminator.classes, discriminator.n_classes)
    least = -math.inf if arguments.at_least is None else arguments.at_least
    rows, unread = [], []
    for found in score_files(discriminator, paths):
        if found.scores is None:
            unread.append(f"{found.path}: {found.error}")
            if arguments.json:
                print(json.dumps({"file": str(found.path), "error": found.error}, ensure_ascii=False))
            continue
        folder = os.path.basename(os.path.abspath(found.path.parent))  # also of . and ..
        known = [name for name in (folder, *(synset_names([folder]) or ())) if name in names]
        named = names.index(known[0]) if known else int(found.scores.argmax())
        best = named if wanted is None else wanted
        rows.append((float(found.scores[best]), names[best], str(found.path)))
        if arguments.json and rows[-1][0] >= least:
            scores = dict(zip(names, found.scores.tolist(), strict=True))
            print(json.dumps({"file": str(found.path), "class": names[best], "score": rows[-1][0], "scores": scores},
                             ensure_ascii=False))  # fmt: skip
    if not rows:
        raise ValueError(f"folder: none of the {len(paths)} images can be read; the first error: {unread[0]}")
    if not arguments.json:
        heading = ["score", "as class", "file"]
        kept = [row for row in sorted(rows, reverse=True) if row[0] >= least]
        print("\n".join(aligned([heading, *([f"{s:.3f}", c, f] for s, c, f in kept)])))
        print("Scores compare images of one class; they do not classify.", file=sys.stderr)
        ranges = reference_scores(arguments.model) if resolve(arguments.model).kind == "name" else {}
        for name in [c for c in dict.fromkeys(c for _, c, _ in kept) if c in ranges][:RANGES]:
            (a, _, b), (c, _, d) = ranges[name]["real"], ranges[name]["generated"]
            print(f"Most real images of class {name} have scores from {a:.1f} to {b:.1f}, most generated ones from "
                  f"{c:.1f} to {d:.1f}.", file=sys.stderr)  # fmt: skip
        if arguments.at_least is not None:
            print(f"{len(kept)} of {len(rows)} images have a score of {least:g} or more", file=sys.stderr)
    for line in unread:
        print(f"not read: {line}", file=sys.stderr)


def evaluate(arguments: argparse.Namespace) -> None:
    from ..data import say_left_out
    from ..devices import resolve_device
    from ..hub.cards import update_record
    from ..hub.load import load_generator
    from ..weights.records import has_record

    try:
        from ..metrics import protocols
        from ..metrics.pictures import Pictures, is_pictures
    except ImportError as error:
        raise ValueError(f"{error}; the scores need pip install 'sngan-hub[metrics]'") from error
    arguments.data, arguments.held_out = map(os.path.expanduser, (arguments.data, arguments.held_out))
    devices = list(dict.fromkeys(resolve_device(name.strip()) for name in arguments.device.split(",")))
    pictures = is_pictures(arguments.model)
    if arguments.size is not None and (not pictures or arguments.size < 1):
        raise ValueError(f"size must be at least 1, and is for a folder of pictures (got {arguments.size})")
    record = _record_to_update(arguments, pictures)
    if pictures and has_record(arguments.model, "generator"):
        print(f"{arguments.model}: the pictures in the local folder of this name are scored, and not the model of that "
              f"name; to score the model, rename the folder, or work in another one", file=sys.stderr)  # fmt: skip
    folder = record.folder.parent if record and record.folder else None
    generator: Any = (
        Pictures(os.path.expanduser(arguments.model), arguments.size)
        if pictures
        else load_generator(arguments.model, device=devices[0])
    )
    for source in (arguments.data, arguments.held_out, os.path.expanduser(arguments.model) if pictures else ""):
        say_left_out(source)
    model = record.name if record else arguments.model
    asked = [name.strip() for name in arguments.protocol.split(",")]

    def say(line: str) -> None:
        if not arguments.json:
            print(line, file=sys.stderr, flush=True)
        elif arguments.dry_run:
            print(json.dumps({"plan": line}, ensure_ascii=False), flush=True)

    run_settings = {} if pictures else _settings_of_run(arguments.model)
    _warn_of_training_images(arguments, run_settings)
    stretch = run_settings.get("contrast_stretch") is True
    if stretch:
        print(f"real images of folders are stretched in contrast, as those that {arguments.model} was trained on",
              file=sys.stderr)  # fmt: skip
    scores = protocols.evaluate(
        generator, arguments.data, asked, arguments.seed, arguments.held_out, seeds=arguments.seeds,
        truncation=arguments.truncation, standing=arguments.standing, devices=devices, workers=arguments.workers,
        batch_size=arguments.batch_size, stretch=stretch, plan_only=arguments.dry_run,
        say=say if arguments.dry_run or not arguments.json else None,
    )  # fmt: skip
    for name, score in scores:
        line = protocols.json_line(model, arguments.data, name, score)
        print(line, flush=True)
        if folder:
            fields = json.loads(line)
            update_record(folder, {name: {k: fields[k] for k in fields if k not in ("model", "data", "protocol")}})
        if not arguments.json:
            lower_is_better = protocols.PROTOCOLS[name.split("+")[0]].lower_is_better
            print(f"  {_in_words(name, score, lower_is_better)}", file=sys.stderr)


def _record_to_update(arguments: argparse.Namespace, pictures: bool) -> Record | None:
    """The record to which ``--record`` adds the scores; None without that flag."""
    from ..hub.resolve import resolve
    from ..weights.records import find_record

    if not arguments.record:
        return None
    if pictures:
        raise ValueError(f"record: a record holds scores of an included model, and {arguments.model} is a folder of "
                         f"pictures; leave --record out")  # fmt: skip
    if arguments.standing or arguments.truncation is not None:
        raise ValueError("record: a record holds scores of an included model as protocols fix them, without "
                         "--truncation or --standing")  # fmt: skip
    if resolve(arguments.model).kind != "name":
        raise ValueError(f"record: a record holds scores of an included model, and {arguments.model} is a folder, a "
                         f"file or a Hub repository; if a folder hides the model of that name, rename it, or work in "
                         f"another one")  # fmt: skip
    record = find_record(arguments.model, "generator")
    if record.where != "shipped":
        raise ValueError(
            f"record: scores can be saved only for models included in the package; {record.name} is not one of them"
        )
    return record


def _warn_of_training_images(arguments: argparse.Namespace, run_settings: dict[str, Any]) -> None:
    """Prints a line if the run was trained on the images that are taken as test images."""
    held_out = run_settings.get("held_out", "tenth")
    if not arguments.held_out and held_out != "tenth" and _same(run_settings.get("data"), arguments.data):
        other = "DIR" if held_out == "none" else held_out
        print(f"{arguments.model} was trained on all images of {arguments.data}, also on those that are taken as test "
              f"images here; name other images with --held-out {other}", file=sys.stderr)  # fmt: skip


def _settings_of_run(model: str) -> dict[str, Any]:
    """The settings of the run that ``model`` is, or whose snapshot or network it is; empty for other models."""
    path = Path(os.path.expanduser(model))
    if not path.exists():  # a name or a Hub repository
        return {}
    path = path.resolve()  # RUN/generator is a link to the network of a snapshot
    for folder in (path, *path.parents[:3]):
        try:
            settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(settings, dict) and "preset" in settings:  # a network's config.json has none
            return cast(dict[str, Any], settings)
    return {}


def _same(one: Any, other: str) -> bool:
    return isinstance(one, str) and (one == other or os.path.realpath(one) == os.path.realpath(other))


def _in_words(name: str, score: Any, lower_is_better: bool) -> str:
    """The value, its spread, that of real images, the parts, and the worst class."""
    spread = "" if score.spread is None else f" ± {score.spread:.2g} ({score.spread_over})"
    said = [f"{name}: {score.value:.4g}{spread}"]
    if score.floor is not None:
        said.append(f"real images {score.floor:.4g}")
    said += [f"{part} {value:.4g}" for part, value in (score.parts or {}).items()]
    if score.per_class:
        pick = max if lower_is_better else min
        worst = pick(score.per_class.items(), key=lambda item: item[1])
        said.append(f"worst class {worst[0]} {worst[1]:.3g}")
    return ", ".join(said)


def spectrum(arguments: argparse.Namespace) -> None:
    from ..hub.listing import aligned
    from ..hub.load import load_discriminator, load_generator
    from ..metrics.spectrum import save_figure, spectra, table

    if arguments.out:
        if arguments.out.suffix.lower() != ".png":
            raise ValueError(f"out must be FILE.png (got {arguments.out})")
        check_file(arguments.out)
    load = load_generator if arguments.network == "generator" else load_discriminator
    rows = spectra(load(arguments.model, device=arguments.device))
    if arguments.json:
        print(json.dumps({row.layer: {"values": row.values.tolist(), "sigma": row.sigma} for row in rows}))
    else:
        print("\n".join(aligned(table(rows))))
    if arguments.out:
        save_figure(rows, arguments.out, f"{arguments.model}, {arguments.network}")
