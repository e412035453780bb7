"""Copies a run's networks into the package, with a record of hashes and recipe, and with model cards."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sngan_hub.data import SOURCES, load_images
from sngan_hub.files import write_json
from sngan_hub.hub.cards import write_cards
from sngan_hub.hub.load import load_discriminator, load_generator
from sngan_hub.hub.push import load_any
from sngan_hub.metrics.discriminator_scores import scores_of
from sngan_hub.networks.mixin import read_config
from sngan_hub.weights.record import KINDS, PRETRAINED
from sngan_hub.weights.records import WEIGHTS, find_record

from ..config.schema import Config
from ..engine.run_folder import is_run
from ..finetune.calibrate import percentiles
from ..monitor.status import has_ended
from .record import CARD_TEXTS, STAGES, network_facts, recipe_of, stages_of


def ship(
    run: Path, name: str, pretrained: Path = PRETRAINED, source: str = "", before: Sequence[str] = (), note: str = ""
) -> str:
    """Copies the networks of a run to ``pretrained/NAME``. ``sngan evaluate NAME --record`` adds scores.

    They are those of the snapshot that ``RUN/generator`` links to. Prints a line if the run has not ended.

    ``source``: the card's texts, a row of ``CARD_TEXTS``, where they are not those of the run's data. ``before``: the
    runs or names of included weights that this run continued, the earliest first; ``note``: what its settings do not
    say.
    """
    if not is_run(run):
        raise FileNotFoundError(f"run must be the folder of a finished run (got {run}, without its config.json)")
    config = read_config(run / "config.json")
    if name.count(".") != 1 or name.split(".")[0] != config["architecture"]:
        raise ValueError(f"name must be {config['architecture']}.TAG for this run (got {name!r})")
    source = source or config["data"]
    if source not in CARD_TEXTS:
        raise ValueError(f"source must be one of {', '.join(CARD_TEXTS)} (got {source!r}); other data need a card text "
                         f"in training/publish/record.py")  # fmt: skip
    recipe = {**recipe_of(run), "data": source, **earlier_stages(run, before, note)}
    trained = {kind: load_any(run / kind) for kind in KINDS}  # before any file is replaced
    networks, folder, classes = {}, pretrained / name, None
    for kind, network in trained.items():
        shutil.rmtree(folder / kind, ignore_errors=True)
        (folder / kind).mkdir(parents=True)
        network._save_pretrained(folder / kind)
        networks[kind], classes = network_facts(folder / kind), network.classes
    record = {
        "name": name,
        **CARD_TEXTS[source],
        "licence": "MIT",
        "classes": classes,
        "networks": networks,
        "recipe": recipe,
        "scores": {},
    }
    write_json(folder / "record.json", record)
    (folder / "reference.json").unlink(missing_ok=True)  # of the earlier discriminator
    write_cards(folder)
    if not has_ended(run):
        print(f"{run}: the run has not ended, and its networks are those of step {recipe['steps']:,} of "
              f"{config['steps']:,}", file=sys.stderr)  # fmt: skip
    return (
        f"{folder}: copied the weights of step {recipe['steps']:,}. Next: "
        f"sngan evaluate {name} --data {config['data']} --protocol ... --record; python -m training reference {name}"
    )


def earlier_stages(run: Path, before: Sequence[str], note: str) -> dict[str, Any]:
    """Rows of a recipe: the settings of the stages in ``before`` that differ from the run's, and the note."""
    rows: dict[str, Any] = {"note": note} if note else {}
    now, stages = recipe_of(run), list[dict[str, Any]]()
    for place in before:
        stages += stages_of(WEIGHTS[place].recipe) if place in WEIGHTS else [recipe_of(Path(place))]
    if len(stages) > len(STAGES):
        raise ValueError(f"before must name at most {len(STAGES)} stages in all (got {len(stages)})")
    defaults = {field.name: field.default for field in dataclasses.fields(Config)}
    for stage, own in zip(STAGES, stages, strict=False):
        then = {name: own.get(name, defaults.get(name)) for name in {**own, **now} if name in own or name in defaults}
        differing = {k: v for k, v in then.items() if now.get(k) != v and k not in ("donor", "class_order", "like")}
        rows |= {f"{stage} stage: {key}": value for key, value in differing.items()}
    return {**rows, "donor": ""} if before else rows


def reference(name: str, n: int = 200, seed: int = 0, held_out: str = "") -> str:
    """Writes reference.json: D's scores of ``n`` real test images and ``n`` generated images of each class.

    ``held_out``: a folder of test images, for a model that was trained on a folder.
    """
    record = find_record(name, "generator")
    if record.where != "shipped" or record.folder is None:
        raise ValueError(f"name must be weights in the package (got {name})")
    source = str(record.recipe["data"])
    if not held_out and source not in SOURCES:
        raise ValueError(f"held_out must name a folder of test images for {name}, which was trained on a folder")
    pair = record.folder.parent  # not a local folder of this name
    g, d = load_generator(pair), load_discriminator(pair)
    test = load_images(held_out, "all", g.size) if held_out else load_images(source, "test", g.size)
    test = test.in_order(list(g.classes or test.classes))
    spans = {}
    for label, title in enumerate(test.classes):
        real = test.images[np.flatnonzero(test.labels == label)[:n]]
        of = {
            "real": scores_of(d, real)[:, label],
            "generated": scores_of(d, g.sample(classes=label, n=n, seed=seed))[:, label],
        }
        spans[title] = {kind: percentiles(scores) for kind, scores in of.items()}
    path = pair / "reference.json"
    about = {"n": n, "seed": seed, "percentiles": [10, 50, 90], "torch": str(torch.__version__), "classes": spans}
    write_json(path, about)
    return f"{path}: {n} real and {n} generated images of each of {len(spans)} classes"
