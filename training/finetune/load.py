"""Loads the donor's networks and the data of a fine-tuning run."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Collection
from pathlib import Path

import numpy as np
from huggingface_hub.errors import RepositoryNotFoundError

from sngan_hub.convert import convert_file
from sngan_hub.data import Images, count_images, say_left_out, source_classes
from sngan_hub.files import write_json
from sngan_hub.hub.load import load_discriminator, load_generator
from sngan_hub.hub.resolve import resolve
from sngan_hub.networks.base import AnyDiscriminator
from sngan_hub.networks.mixin import read_config
from sngan_hub.networks.resnet import Discriminator, Generator
from sngan_hub.weights.records import find_record, has_record

from ..config.schema import Config
from ..engine.checkpoints import checkpoints
from ..engine.run_folder import START, run_of
from ..engine.state import State
from ..feed.images import stored_images
from ..monitor.score import Planned, check_data_for_scores, check_scoring
from .plan import HELD_OUT, DataFacts, Donor, make_plan, resumed_config
from .transfer import Start, copy_donor, mixtures, with_scales


def prepare_run(
    config: Config, given: Collection[str] = (), open_images: bool = True
) -> tuple[Config, Images, Start | None]:
    """All settings of the run, its data in class order, and its start (None for a resumed run).

    Settings that are not ``given`` depend on the number of images. ``open_images`` False: for a dry run, read only the
    names of the classes. Raises ``ValueError`` or ``FileNotFoundError`` if donor, data and settings do not fit.
    """
    config = dataclasses.replace(config, donor=os.path.expanduser(config.donor))
    out = Path(config.out)
    if config.out and checkpoints(out):
        old = read_config(out / "config.json")
        if not old.get("donor"):
            raise ValueError(f"out: {out} contains a run of sngan train; choose another folder for fine-tuning")
        config = resumed_config(config, old, given)
        data = read_data(config, config.size, []) if open_images else no_images(config)
        return config, data.in_order(json.loads(config.class_order)), None
    facts = DataFacts(source_classes(config.data), *count_images(config.data))
    g, d = load_donor(config.donor)
    run = run_of(config.donor)
    architecture = read_config(run / "config.json")["architecture"] if run else ""
    donor = Donor(g.config, d.config if d is not None else None, bool(checkpoints(Path(config.donor))), architecture)
    names = [] if config.conditioning == "none" else list(facts.classes)
    result = Planned(g.size, len(names), names or None)
    plan = make_plan(config, given, donor, facts, lambda chosen: why_no_scores(chosen, result, open_images))
    damaged: list[str] = []
    data = read_data(plan.config, g.size, damaged) if open_images else no_images(plan.config)
    data = data.in_order(list(plan.classes))
    mixture, found = mixtures(plan.starts, donor.classes, d, data)
    notes = [*plan.notes, *{**plan.class_notes, **found}.values()]
    return with_scales(plan.config, d, mixture), data, Start(g, d, mixture, notes, damaged)


def begin(state: State, start: Start, config: Config) -> None:
    """Initialises the state of a new run, prints what it starts from, and writes that to ``START``."""
    notes = start.notes + copy_donor(state, start, config)
    print("\n".join(notes), file=sys.stderr)
    about = {
        "donor": config.donor,
        "donor_kind": resolve(config.donor).kind,  # later, or in another folder, a path may look like a repository
        "donor_discriminator": start.discriminator is not None,
        "notes": notes,
        "left_out": start.left_out,
    }
    write_json(Path(config.out) / START, about)


def load_donor(name: str) -> tuple[Generator, Discriminator | None]:
    d = load_discriminator_of(name)
    g = load_generator(name)
    if not isinstance(g, Generator) or not isinstance(d, Discriminator | None):
        other = d if isinstance(g, Generator) else g
        raise ValueError(f"--from must be a ResNet model (got {name}, a {type(other).__name__})")
    return g, d


def load_discriminator_of(donor: str) -> AnyDiscriminator | None:
    """The donor's discriminator; None if it has none."""
    if resolve(donor).kind != "repository":
        return load_discriminator(donor) if has_discriminator(donor) else None
    try:
        return load_discriminator(donor)
    except FileNotFoundError as error:
        if not isinstance(error.__cause__, RepositoryNotFoundError) or donor.endswith("-discriminator"):
            raise
        return None  # a repository that does not exist at all is an error of its generator


def has_discriminator(donor: str) -> bool:
    """Whether a donor that is not on the Hub has a discriminator. Other errors are raised when it is loaded."""
    found = resolve(donor)
    if found.kind == "folder":
        return (found.path / "discriminator").exists()
    if found.kind == "file":
        return any(one.kind == "discriminator" for one in convert_file(found.path))
    find_record(donor, "generator")  # raises ValueError for an unknown name
    return has_record(donor, "discriminator")


def read_data(config: Config, size: int, damaged: list[str]) -> Images:
    """The training data. Damaged files are skipped, printed, and added to ``damaged``."""
    say_left_out(config.data)
    data = stored_images(config, size, damaged)
    for line in damaged:
        print(f"Skipped damaged image: {line}", file=sys.stderr)
    return data


def no_images(config: Config) -> Images:
    return Images(np.empty((0, 3, 1, 1), np.uint8), np.empty(0, np.int64), source_classes(config.data))


def why_no_scores(config: Config, result: Planned, open_images: bool = True) -> str:
    """Why the run ``config`` cannot be scored; empty if it can. ``open_images`` False: only count files."""
    try:
        check_scoring(config)
        if config.test_folder and (n := count_images(config.test_folder)[0]) < HELD_OUT:
            return f"scores need {HELD_OUT} held-out images, and {config.test_folder} has {n}"
        if open_images:  # damaged ones do not count
            check_data_for_scores(result, config)
    except (ValueError, OSError) as error:
        return str(error)
    return ""
