"""What a fine-tuning run does, decided from the donor's configuration, the lists of classes and the number of images.

This module opens no file and reads no weights; load.py and transfer.py do.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sngan_hub.class_names import without_synsets
from sngan_hub.networks.registry import MODELS
from sngan_hub.text import nearest, plural

from ..config.schema import Config

D_WARM_UP = 200  # steps in which only D is trained, if the donor has no discriminator
FEW, MANY = 200, 2000  # numbers of images: none are held out below the first; all of D is trained from the second on
HELD_OUT = 20  # minimum number of held-out images for scores
NEAREST = 3  # number of donor classes that a new class is combined from
#: Settings that are chosen automatically, unless the user gives them
AUTOMATIC = ("freeze_d", "augment", "batch_size", "g_batch_size", "warm_up", "held_out", "score", "score_every")
#: Settings that a resumed run cannot change
FIXED_AT_START = (
    "architecture", "generator_fields", "discriminator_fields", "class_order", "conditioning", "d_warm_up",
)  # fmt: skip
NOT_GIVEN = ("method", "architecture", "generator_fields", "discriminator_fields")  # always the donor's


@dataclass(frozen=True)
class Donor:
    """The contents of config.json of the donor's networks; ``discriminator`` is None if it has none."""

    generator: dict[str, Any]
    discriminator: dict[str, Any] | None
    is_run: bool = False  # a run with checkpoints, which contain Adam's moments
    architecture: str = ""  # of a run

    @property
    def classes(self) -> list[str]:
        return list(self.generator["classes"] or [str(i) for i in range(self.generator["n_classes"])])

    @property
    def concat(self) -> bool:
        """Whether D concatenates the class embedding to its feature maps."""
        d = self.discriminator
        return d is not None and d["conditioning"] == "concat" and d["n_classes"] > 0


class DataFacts(NamedTuple):
    classes: Sequence[str]
    images: int
    held: int  # number of these that are held out


class ClassStart(NamedTuple):
    """The initial values of a class's rows in the class tables."""

    how: str  # row: a row of the donor; mean: the mean of its rows; nearest: chosen by images; fresh: random
    row: int = -1


@dataclass(frozen=True)
class Plan:
    config: Config  # all settings of the run, except the scales of D, which depend on weights
    classes: tuple[str, ...]  # the donor's classes first, in its order
    starts: tuple[ClassStart, ...]  # one per class; empty if the run is unconditional
    notes: tuple[str, ...]
    class_notes: dict[str, str]  # one line per new class


def make_plan(
    config: Config,
    given: Collection[str],
    donor: Donor,
    data: DataFacts,
    no_scores: Callable[[Config], str] = lambda config: "",
) -> Plan:
    """The plan of a run. Settings that are not ``given`` depend on the number of images.

    ``no_scores``: returns why a config cannot be scored, or "". Raises ``ValueError`` if settings do not fit the donor.
    """
    if taken := [name for name in NOT_GIVEN if name in given]:
        raise ValueError(f"{taken[0]} is the donor's in a fine-tuning run and cannot be set; omit it, or train a new "
                         f"model with sngan train")  # fmt: skip
    chosen, why = automatic_settings(config, data, donor.is_run, no_scores, given)
    config = dataclasses.replace(config, **{key: value for key, value in chosen.items() if key not in given})
    check_patience(config, why)
    config.check_augment_from()
    if config.score_every:
        why = f"Computes {config.score} every {config.score_every:,} steps; the best snapshot becomes the result"
    notes = [why or "No scores: score_every is 0"]
    known = donor.classes
    rows = dict(zip(data.classes, rows_of(data.classes, known, {}), strict=True))
    order = sorted(data.classes, key=lambda name: len(known) if (row := rows[name]) is None else row)
    like = parse_like(config.like, order, known)
    unconditional = config.conditioning == "none"
    if unconditional and (useless := "like" if like else "new_classes" if "new_classes" in given else ""):
        raise ValueError(f"{useless} must be omitted with conditioning none, which has no classes (got "
                         f"{getattr(config, useless)!r}); omit it, or omit --conditioning")  # fmt: skip
    starts, class_notes = ([], {}) if unconditional else class_starts(order, known, like, config.new_classes)
    if unconditional and known:
        notes.append(f"No classes: starts from the mean of the donor's {_classes(known)}")
    check_conditioning(config, given, donor)
    fields_g, fields_d = _fields(donor.generator), _fields(donor.discriminator or {})
    if unconditional:
        fields_d |= {"conditioning": "projection"}
    if donor.discriminator is None:
        if "freeze_d" in given and config.freeze_d:
            raise ValueError(f"freeze_d must be 0, because {config.donor} has no discriminator whose blocks could be "
                             f"frozen (got {config.freeze_d})")  # fmt: skip
        warm = config.d_warm_up if "d_warm_up" in given else D_WARM_UP
        config = dataclasses.replace(config, d_warm_up=warm, freeze_d=0)
        notes.append(f"{config.donor} has no discriminator: a new one is trained alone for the first {warm:,} steps")
    config = dataclasses.replace(
        config, architecture=donor.architecture or architecture_of(config.donor, int(donor.generator["size"])),
        class_order=json.dumps(order, ensure_ascii=False),
        conditioning="none" if unconditional else str(fields_d.get("conditioning", config.conditioning)),
        generator_fields=json.dumps(fields_g), discriminator_fields=json.dumps(fields_d),
    )  # fmt: skip
    return Plan(config, tuple(order), tuple(starts), tuple(notes), class_notes)


def resumed_config(config: Config, old: dict[str, Any], given: Collection[str]) -> Config:
    """The settings of a resumed run. Values that were chosen automatically are taken from ``old``.

    Raises ``ValueError`` if a given value differs from that of a setting which the start of the run has fixed.
    """
    changed = [f"{name}: was {old[name]!r}, now {getattr(config, name)!r}" for name in FIXED_AT_START
               if name in given and getattr(config, name) != old[name]]  # fmt: skip
    if changed:
        raise ValueError(f"{config.out} contains a run with other settings; choose another --out or undo the changes:"
                         "\n  " + "\n  ".join(changed))  # fmt: skip
    names = [*FIXED_AT_START, *(name for name in AUTOMATIC if name not in given)]
    config = dataclasses.replace(config, **{name: old[name] for name in names})
    check_patience(config)
    config.check_augment_from()
    return config


def check_patience(config: Config, why: str = "") -> None:
    """Raises ``ValueError`` for a patience of a run without scores. ``why`` it has none."""
    if config.patience and not config.score_every:
        raise ValueError(f"patience needs scores (got {config.patience}). {why or 'No scores: score_every is 0'}")


def automatic_settings(
    config: Config,
    data: DataFacts,
    is_run: bool = False,
    no_scores: Callable[[Config], str] = lambda config: "",
    given: Collection[str] = (),
) -> tuple[dict[str, Any], str]:
    """Settings that depend on the number of images, unless the user gave them; and why the run is not scored, or "".

    With ``score_every`` among the ``given`` settings, the run decides, and ends with an error if it cannot be scored.
    Raises ``ValueError`` if that is known from the numbers: the protocol that is used unless another is given needs
    more held-out images.
    """
    chosen: dict[str, Any] = {"augment": "translation"}
    if data.images < FEW:
        chosen = {"freeze_d": 2, "augment": "color,translation,cutout", "batch_size": 16, "g_batch_size": 16}
    elif data.images < MANY:
        chosen = {"freeze_d": 2, "augment": "color,translation,cutout", "batch_size": 32, "g_batch_size": 32}
    if is_run:
        chosen["warm_up"] = 0  # Adam keeps the donor's moments
    if config.held_out == "none":
        return chosen, "No scores: held_out is none, so every image is used for training"
    asked = "score_every" in given and config.score_every > 0
    few = f"{HELD_OUT} held-out images, and every tenth image of each class gives {data.held}"
    too_few = data.held < HELD_OUT and not config.test_folder
    if asked and too_few and "score" not in given:
        raise ValueError(f"score_every needs {few} (got score_every {config.score_every}); set --held-out to a folder "
                         f"of other images, or omit --score-every")  # fmt: skip
    if data.images < FEW and not config.test_folder and not asked and "held_out" not in given:
        return {**chosen, "held_out": "none"}, (f"No scores: {data.images} images are too few to hold any out; "
                                                f"set --held-out to a folder of other images")  # fmt: skip
    scored = {"score": "kid1k_held_out", "score_every": 500}
    if too_few:
        why = f"scores need {few}"
    elif "score_every" in given:
        why = ""
    else:
        why = no_scores(dataclasses.replace(config, **{k: v for k, v in scored.items() if k not in given}))
    if why:
        return chosen, f"No scores: {why}"
    return {**chosen, **scored}, ""


def parse_like(text: str, classes: Sequence[str], known: Sequence[str]) -> dict[str, str]:
    """``"my dog=golden retriever;my cat=tabby"`` -> {new class: donor's class}."""
    chosen = {}
    for part in filter(None, (p.strip() for p in text.split(";"))):
        new, equals, old = (p.strip() for p in part.partition("="))
        if not equals or new not in classes:
            raise ValueError(
                f"like must be CLASS=DONOR'S CLASS, with a class of the data (got {part!r}){nearest(new, classes)}"
            )
        if old not in known:
            raise ValueError(f"like: the donor has no class {old!r}{nearest(old, known)}")
        chosen[new] = old
    return chosen


def rows_of(classes: Sequence[str], known: Sequence[str], like: dict[str, str]) -> list[int | None]:
    """The donor's class that each class is, or is like: by its name, or as ImageNet's class of that synset."""
    # one by one: without_synsets keeps all names where one of them, such as a class of the user's own, is no synset
    rows = {without_synsets([name])[0]: i for i, name in enumerate(known)} | {name: i for i, name in enumerate(known)}
    return [
        rows.get(like[name]) if name in like else rows.get(name, rows.get(without_synsets([name])[0]))
        for name in classes
    ]


def class_starts(
    classes: Sequence[str], known: Sequence[str], like: dict[str, str], new_classes: str
) -> tuple[list[ClassStart], dict[str, str]]:
    """The start of each class, and one line per new class. ``like``: result of ``parse_like``."""
    starts, notes = [], {}
    for name, row in zip(classes, rows_of(classes, known, like), strict=True):
        if row is not None:
            starts.append(ClassStart("row", row))
            if name in like:
                notes[name] = f"{name}: starts from the donor's class {like[name]}"
        elif new_classes == "mean" and known:
            starts.append(ClassStart("mean"))
            notes[name] = f"{name}: starts from the mean of the donor's {_classes(known)}"
        elif new_classes == "nearest" and known:
            starts.append(ClassStart("nearest"))
            notes[name] = f"{name}: starts from a combination of the donor's classes that are nearest to its images"
        else:
            starts.append(ClassStart("fresh"))
            notes[name] = f"{name}: starts untrained"
    return starts, notes


def _classes(names: Sequence[str]) -> str:
    return plural(len(names), "class", "classes")


def check_conditioning(config: Config, given: Collection[str], donor: Donor) -> None:
    """Raises ``ValueError`` if the donor's D cannot be converted to this kind of conditioning."""
    own = "concat" if donor.concat else "projection"
    if own == "concat" and config.conditioning == "none":
        raise ValueError(f"conditioning must be concat, as in {config.donor} (got none); omit --conditioning")
    d = donor.discriminator
    if d and d["n_classes"] and d.get("normalizer") == "weight" and config.conditioning == "none":
        raise ValueError(f"conditioning must be projection, as in {config.donor} (got none): weight normalisation "
                         f"gives D's last layer length 1, so the mean class cannot be added to it; omit "
                         f"--conditioning")  # fmt: skip
    if "conditioning" in given and config.conditioning not in ("none", own) and d is not None:
        legal = f"concat, as in {config.donor}" if own == "concat" else f"projection, as in {config.donor}, or none"
        raise ValueError(f"conditioning must be {legal} (got {config.conditioning}); omit --conditioning")


def architecture_of(donor: str, size: int) -> str:
    """The donor's architecture in the registry; if its name is unknown, the first ResNet of its size.

    Raises ``ValueError`` if there is none.
    """
    fits = [name for name, model in MODELS.items() if model.size == size and model.family == "resnet"]
    if not fits:
        sizes = sorted({model.size for model in MODELS.values() if model.family == "resnet"})
        raise ValueError(f"--from must be a model of {', '.join(map(str, sizes))} px (got {donor}, of {size} px)")
    return next((name for name in fits if name == donor.split(".")[0]), fits[0])


def _fields(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in ("class", "classes", "n_classes")}
