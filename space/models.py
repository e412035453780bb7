"""The models of the page: names, titles, classes, scores, and the networks themselves, loaded once for all visitors."""

from __future__ import annotations

import itertools
import re
import threading
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

import torch

from sngan_hub import WEIGHTS, AnyDiscriminator, AnyGenerator, Record, load_discriminator, load_generator
from sngan_hub.class_names import label_names
from sngan_hub.hub.calibrations import load_calibration
from sngan_hub.hub.cards import repositories
from sngan_hub.hub.local import cached_folder, is_cached
from sngan_hub.hub.resolve import resolve
from sngan_hub.networks.mixin import read_config
from sngan_hub.networks.registry import MODELS
from sngan_hub.sampling.refine import CALIBRATION, read_calibration
from sngan_hub.text import nearest
from sngan_hub.weights.record import Score
from sngan_hub.weights.records import default_tag, find_record, reference_scores

OPENS_WITH = "sngan_cifar10_small"  # FIDs of different data do not compare
#: Models of the command line: the name shown on the page -> folder or repository. The page shows no server paths.
OWN: dict[str, str] = {}
#: Published models of the command line. With ``OWN``, they come first.
NAMED: list[str] = []
MOST_THUMBNAILS = 24  # classes


def add_own(model: str) -> None:
    """Offers a model first. Raises ``ValueError`` or ``OSError`` if it does not load."""
    load_generator(model)
    if resolve(model).kind == "name":
        name = listed_name(find_record(model, "generator"))
        NAMED.extend([name] * (name not in NAMED))
        return
    if model in OWN.values():
        return
    name = Path(model).resolve().name if Path(model).exists() else model
    taken = {*OWN, *WEIGHTS, *(short_name(record) for record in WEIGHTS.values())}
    if name in taken:
        name = next(other for i in itertools.count(2) if (other := f"{name} ({i})") not in taken)
    OWN[name] = model


def shipped() -> list[Record]:
    """The generators in the package: the photographs, then the lowest FID first."""
    found = [record for record in WEIGHTS.values() if record.where == "shipped" and record.kind == "generator"]
    fid = {record.name: (main_score(record)[1] or Score(1e9, None, "")).value for record in found}
    return sorted(found, key=lambda record: (not record.name.startswith(f"{OPENS_WITH}."), fid[record.name]))


def others() -> list[Record]:
    """Other generators with a direct source, by size of the images, then of the file."""
    found = [r for r in WEIGHTS.values() if r.kind == "generator" and r.where in ("download", "hub", "folder")]
    return sorted(found, key=lambda record: (size_of(record), record.file_bytes))


def model_choices() -> list[tuple[str, str]]:
    """(title, name) of the command line's models, the included models and the others, by size."""
    own = [(f"{name} · your model", name) for name in OWN]
    named = [(title(find_record(name, "generator")), name) for name in NAMED]
    listed = [(title(record), listed_name(record)) for record in (*shipped(), *others())]
    return own + named + [choice for choice in listed if choice[1] not in NAMED]


def default_model() -> str:
    return next(iter([*OWN, *NAMED]), None) or short_name(shipped()[0])


def second_model() -> str:
    """The model that the Compare tab shows beside the default one."""
    names = [*OWN, *NAMED, *(short_name(record) for record in shipped())]
    return next((name for name in names if name != default_model()), names[0])


def check_model(name: str) -> None:
    names = [value for _, value in model_choices()]
    if name not in names and name not in OWN.values() and not is_default_tag(name):
        raise ValueError(f"there is no model {str(name)[:80]!r}{nearest(str(name), names)}")


def is_default_tag(name: str) -> bool:
    record = record_of(name)
    return record is not None and record.where != "by hand"


def as_listed(name: str) -> tuple[str, str]:
    """(title, name) under which ``model_choices`` has a model, or would have it: a link may use another name of it."""
    record = record_of(name)
    return (title(record), listed_name(record)) if record else (name, name)


def source(name: str) -> str:
    """A name of the page -> what ``load_generator`` takes."""
    return OWN.get(name, name)


# ---------------------------------------------------------------------------------------------------------------------
# Networks

_loading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # model -> lock


@lru_cache(maxsize=4)
def _generator(name: str) -> AnyGenerator:
    return load_generator(name, device="cuda" if torch.cuda.is_available() else "cpu").for_sampling()


@lru_cache(maxsize=4)
def _discriminator(name: str) -> AnyDiscriminator:
    return load_discriminator(name, device="cuda" if torch.cuda.is_available() else "cpu")


#: Held while images are drawn, which takes all cores. Networks are loaded before, so that a download holds up nobody.
TURN = threading.BoundedSemaphore(2)


def generator(name: str) -> AnyGenerator:
    check_model(name)
    with _loading[source(name)]:  # other users of this model wait for a download instead of starting another
        return _generator(source(name))


def discriminator(name: str) -> AnyDiscriminator:
    check_model(name)
    with _loading[source(name)]:
        return _discriminator(source(name))


# ---------------------------------------------------------------------------------------------------------------------
# What is known of a model before it is loaded


def record_of(name: str) -> Record | None:
    """The generator's record; None for a user's model."""
    if name in OWN or name in OWN.values():
        return None
    return WEIGHTS.get(name) or WEIGHTS.get(f"{name}.{default_tag(name)}")


def short_name(record: Record) -> str:
    return record.architecture if default_tag(record.architecture) == record.tag else record.name


def listed_name(record: Record) -> str:
    return short_name(record) if record.where == "shipped" else record.name


def needs_download(name: str, kind: str = "generator") -> Record | None:
    """The record of a network that has not been downloaded yet."""
    record = record_of(name)
    if record is not None and kind == "discriminator":
        try:
            record = find_record(record.name, kind)
        except ValueError:  # there is none
            return None
    return record if record is not None and not is_cached(record) else None


def size_of(record: Record) -> int:
    """In pixels; 0 if neither the name nor the folder of a user's record says it."""
    if record.architecture in MODELS:
        return MODELS[record.architecture].size
    try:
        return int(read_config(record.folder / "config.json")["size"]) if record.folder else 0
    except (OSError, ValueError, KeyError, TypeError):  # loading it will say what is wrong
        return 0


def subject_of(record: Record) -> str:
    """What the model draws, in the record's own words."""
    found = re.search(r"\bfor (?:small )?(.+?) by (?:class|style)\b", record.about)
    text = found[1] if found else re.split(r" \(|[:,;]", record.data)[0]
    return text[:1].upper() + text[1:] if text else record.architecture


def main_score(record: Record) -> tuple[str, Score | None]:
    """(label, score): FID on all test images if it was measured, else on 5,000, else another FID, else an IS."""
    for part, label in (("fid_paper", "FID"), ("fid5k_test", "FID"), ("fid", "FID"), ("_is", "IS")):
        for protocol, score in record.scores.items():
            if part in protocol:
                return label, score
    return "", None


def title(record: Record) -> str:
    """What the model draws, image size, score; for downloads, the tag and the megabytes."""
    label, score = main_score(record)
    parts = [subject_of(record), f"{size_of(record)} px", f"{label} {score.value:.1f}" if score else "no score"]
    if record.folder is None:
        parts.append(f"{record.tag}, {record.file_bytes / 1e6:.0f} MB" if record.file_bytes else record.tag)
    elif short_name(record) == record.name:
        parts.append(record.tag)
    return " · ".join(parts)


def card_address(record: Record) -> str:
    """The page of the publisher, or of our model card."""
    if record.publisher:
        return f"https://huggingface.co/{record.repo}" if record.repo else ""
    return f"https://huggingface.co/{repositories(record)['generator']}"


def classes_of(name: str) -> list[str]:
    """The class names to choose from. They come from the record if there is one, so that nothing is downloaded."""
    check_model(name)
    record = record_of(name)
    if record is not None and record.classes:
        return list(record.classes)
    if record is not None and not record.folder and record.architecture in MODELS:
        return [str(index) for index in range(MODELS[record.architecture].n_classes)]
    return label_names(generator(name))


def class_or_first(name: str, chosen: str | None) -> str | None:
    """``chosen``, or the first class where it is left empty: sampling without one would draw classes at random."""
    names = classes_of(name)
    return chosen if chosen or chosen in names else next(iter(names), None)


def ranges_of(name: str) -> dict[str, dict[str, list[float]]]:
    """{class: {real, generated: 10th, 50th and 90th percentile of the scores}}; empty if they were not measured."""
    known = reference_scores(source(name))
    if known:
        return known
    try:
        record = record_of(name)
        if record is not None and record.folder is None:  # what is in the cache: this starts no download
            return read_calibration(cached_folder(find_record(name, "discriminator")) / CALIBRATION).ranges
        return load_calibration(source(name)).ranges
    except (OSError, ValueError):
        return {}


def is_on_hub(name: str) -> bool:
    """Whether it is a user's model in a Hub repository, whose ranges only its publisher can add."""
    return resolve(source(name)).kind == "repository"
