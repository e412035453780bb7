"""What a fine-tuning run starts from: its whole settings, its data in the donor's order of classes, and the donor."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sngan_hub.convert import convert_file
from sngan_hub.data import Images, load_images, source_classes
from sngan_hub.data.folders import folder_classes
from sngan_hub.data.images import TEST_EVERY
from sngan_hub.data.prepared import is_prepared, read_about
from sngan_hub.files import write_json
from sngan_hub.hub.load import load_discriminator, load_generator
from sngan_hub.hub.resolve import resolve
from sngan_hub.networks.base import AnyDiscriminator, AnyGenerator
from sngan_hub.networks.mixin import read_config
from sngan_hub.networks.registry import MODELS
from sngan_hub.networks.resnet import Discriminator, Generator
from sngan_hub.text import nearest
from sngan_hub.weights.records import find_record

from ..config.schema import Config
from ..engine.checkpoints import checkpoints
from ..engine.state import State
from ..feed.checks import say_left_out
from ..monitor.score import check_scoring
from .transfer import NEAREST, Start, adopt, folded_head, is_whole, nearest_classes, table_rows

D_WARM_UP = 200  # steps of D alone, where the donor has none
FEW, MANY = 200, 2000  # images: under the first none are held out; from the second on, all of D is trained
HELD_OUT = 20  # images that a score needs
LOOKED_AT = 50  # images of a new class that are compared with the donor's
SENSIBLE = ("freeze_d", "augment", "batch_size", "g_batch_size", "warm_up", "held_out", "score",
            "score_every")  # fmt: skip
START = "start.json"  # what a run started from, for its report and its cards


def prepare_run(
    config: Config, given: Collection[str] = (), open_images: bool = True
) -> tuple[Config, Images, Start | None]:
    """The run's whole settings and data in its class order; its start, or None where the run goes on. Settings that
    are not ``given`` follow the number of images. ``open_images`` False: for a dry run, the data's classes alone.

    Raises ``ValueError`` or ``FileNotFoundError`` with the way out.
    """
    out = Path(config.out)
    if config.out and checkpoints(out):
        old = read_config(out / "config.json")
        kept = {name: old[name] for name in ("architecture", "generator_fields", "discriminator_fields", "class_order",
                                             "conditioning", "d_warm_up")}  # fmt: skip
        kept |= {name: old[name] for name in SENSIBLE if name not in given}
        config = dataclasses.replace(config, **kept)
        data = read_data(config, _size(config), []) if open_images else no_images(config)
        return config, data.in_order(json.loads(config.class_order)), None
    chosen_for, notes = sensible(config)
    config = dataclasses.replace(config, **{key: value for key, value in chosen_for.items() if key not in given})
    d = load_discriminator(config.donor) if has_discriminator(config.donor) else None
    g = load_generator(config.donor)
    if not isinstance(g, Generator) or not isinstance(d, Discriminator | None):
        raise ValueError(f"from: {config.donor} is a {type(g).__name__}; fine-tuning takes the ResNets")
    damaged: list[str] = []
    data = read_data(config, g.size, damaged) if open_images else no_images(config)
    known = list(g.classes or [str(i) for i in range(g.n_classes)])
    order = [name for name in known if name in data.classes] + [name for name in data.classes if name not in known]
    data = data.in_order(order)
    chosen = parse_like(config.like, order, known)
    unconditional = config.conditioning == "none"
    mixture, rows_of = mixtures(config, data, d, known, chosen)
    notes += rows_of
    fields_g, fields_d = _fields(g), _fields(d) if d is not None else {}
    check_conditioning(config, given, d)
    if unconditional:
        fields_d |= {"conditioning": "projection"}
    rows = None if unconditional else table_rows(d, mixture, config.seed)
    if rows is not None and not is_whole(mixture):
        fields_d["embed_scale"] = float(torch.linalg.matrix_norm(rows.double(), 2))
    if d is None:
        warm = config.d_warm_up or D_WARM_UP
        config = dataclasses.replace(config, d_warm_up=warm, freeze_d=0)
        notes.append(f"{config.donor} has no discriminator: an untrained one is trained alone for {warm} steps first")
    elif unconditional and d.n_classes:
        fields_d["head_scale"] = float(folded_head(d).norm())
    fits = [name for name, model in MODELS.items() if model.size == g.size and model.family == "resnet"]
    architecture = next((name for name in fits if name == config.donor.split(".")[0]), fits[0])
    config = dataclasses.replace(
        config, architecture=architecture, class_order=json.dumps(order, ensure_ascii=False),
        conditioning="none" if unconditional else str(fields_d.get("conditioning", config.conditioning)),
        generator_fields=json.dumps(fields_g), discriminator_fields=json.dumps(fields_d),
    )  # fmt: skip
    return config, data, Start(g, d, mixture, notes, damaged)


def begin(state: State, start: Start, config: Config) -> None:
    """Fills a new run's state, prints what it starts from, and writes it to ``START``."""
    notes = start.notes + adopt(state, start, config)
    print("\n".join(notes), file=sys.stderr)
    about = {"donor": config.donor, "notes": notes, "left_out": start.left_out}
    write_json(Path(config.out) / START, about)


def check_conditioning(config: Config, given: Collection[str], d: Discriminator | None) -> None:
    """Raises ``ValueError`` for a way of knowing the class that the donor's D cannot be turned into."""
    own = "projection" if d is None or d.concat_after is None else "concat"
    if own == "concat" and config.conditioning == "none":
        raise ValueError(f"conditioning: got none, but {config.donor} mixes the class into its maps (concat), where it "
                         f"cannot be folded into the head; leave --conditioning out")  # fmt: skip
    if "conditioning" in given and config.conditioning not in ("none", own) and d is not None:
        raise ValueError(f"conditioning: got {config.conditioning}, legal are {own}, which {config.donor} has, and "
                         f"none")  # fmt: skip


def has_discriminator(donor: str) -> bool:
    """Whether the donor brings one; what cannot be had for another reason still fails at loading."""
    found = resolve(donor)
    if found.kind == "folder":
        return (found.path / "discriminator").exists()
    if found.kind == "file":
        return any(one.kind == "discriminator" for one in convert_file(found.path))
    if found.kind == "repository":
        return True
    find_record(donor, "generator")
    try:
        return bool(find_record(donor, "discriminator"))
    except ValueError:
        return False


def _fields(network: AnyGenerator | AnyDiscriminator) -> dict[str, Any]:
    return {key: value for key, value in network.config.items() if key not in ("class", "classes", "n_classes")}


def read_data(config: Config, size: int, damaged: list[str]) -> Images:
    """What is trained on; damaged files are named, left out and added to ``damaged``."""
    say_left_out(config.data)
    data = load_images(config.data, config.split, size, left_out=damaged)
    for line in damaged:
        print(f"damaged, left out: {line}", file=sys.stderr)
    return data


def no_images(config: Config) -> Images:
    return Images(np.empty((0, 3, 1, 1), np.uint8), np.empty(0, np.int64), source_classes(config.data))


def _size(config: Config) -> int:
    return int(json.loads(config.generator_fields)["size"])


def parse_like(text: str, classes: list[str], known: list[str]) -> dict[str, str]:
    """``"my dog=golden retriever;my cat=tabby"`` -> {new class: donor's class}."""
    chosen = {}
    for part in filter(None, (p.strip() for p in text.split(";"))):
        new, equals, old = (p.strip() for p in part.partition("="))
        if not equals or new not in classes:
            raise ValueError(f"like: got {part!r}, legal is CLASS=DONOR'S CLASS{nearest(new, classes)}")
        if old not in known:
            raise ValueError(f"like: the donor has no class {old!r}{nearest(old, known)}")
        chosen[new] = old
    return chosen


def mixtures(
    config: Config, data: Images, d: Discriminator | None, known: list[str], chosen: dict[str, str]
) -> tuple[Tensor, list[str]]:
    """Each class's row as weights over the donor's rows, and a line for each class that is new."""
    mixture = torch.zeros(len(data.classes), len(known), dtype=torch.float64)
    if config.conditioning == "none":
        return mixture, [f"no classes: the mean of {len(known)} classes"] if known else []
    notes = []
    for label, name in enumerate(data.classes):
        if name in chosen or name in known:
            mixture[label, known.index(chosen.get(name, name))] = 1
            if name in chosen:
                notes.append(f"{name}: starts as {chosen[name]}")
        elif config.new_classes == "mean" and known:
            mixture[label] = 1 / len(known)
            notes.append(f"{name}: starts as the mean of {len(known)} classes")
        elif config.new_classes == "nearest" and known:
            images = data.images[np.flatnonzero(data.labels == label)[:LOOKED_AT]]
            mixture[label] = nearest_classes(d, images)
            found = sorted(((float(w), known[i]) for i, w in enumerate(mixture[label]) if w > 0), reverse=True)
            named = ", ".join(f"{old} {weight:.2f}" for weight, old in found)
            unknown = f"the {NEAREST} nearest of {len(known)} classes"  # a dry run opens no image
            notes.append(f"{name}: starts between {named if len(images) else unknown}")
        else:
            notes.append(f"{name}: starts afresh")
    return mixture, notes


def count_images(source: str) -> tuple[int, int]:
    """All images, and those among them that are kept for scores; a folder's files are listed, not opened."""
    if Path(source).is_dir() and not is_prepared(source):
        counts = list(map(len, folder_classes(source).values()))
        return sum(counts), sum(n // TEST_EVERY for n in counts)
    size = read_about(source)["size"] if is_prepared(source) else 32
    return tuple(len(load_images(source, split, size).images) for split in ("train", "test"))  # type: ignore[return-value]


def sensible(config: Config) -> tuple[dict[str, Any], list[str]]:
    """Settings by the number of images, for whatever is not said outright; and a line on how it will be scored."""
    images, held = count_images(config.data)
    chosen: dict[str, Any] = {"augment": "translation"}
    if images < FEW:
        chosen = {"freeze_d": 2, "augment": "color,translation,cutout", "batch_size": 16, "g_batch_size": 16}
    elif images < MANY:
        chosen = {"freeze_d": 2, "augment": "color,translation,cutout", "batch_size": 32, "g_batch_size": 32}
    if checkpoints(Path(config.donor)):
        chosen["warm_up"] = 0  # Adam goes on with the donor's moments
    if config.held_out == "none":
        return chosen, ["no scores: every image is trained on (held_out none)"]
    if images < FEW and not config.test_folder:
        return {**chosen, "held_out": "none"}, [f"no scores: {images} images are too few to keep any from training; "
                                                f"--held_out FOLDER names others"]  # fmt: skip
    scored = {"score": "kid1k_held_out", "score_every": 500}
    try:
        if held < HELD_OUT and not config.test_folder:
            raise ValueError(f"every tenth image of a class is {held} images in all, {HELD_OUT} are needed")
        check_scoring(dataclasses.replace(config, **scored))
    except (ValueError, OSError) as error:
        return chosen, [f"no scores: {error}"]
    return {**chosen, **scored}, ["KID against held-out images every 500 steps; the best snapshot becomes the result"]
