"""What an evaluation will compute, and how long that takes: counted from the protocols, timed on a few images."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .evaluation import RESUMED, Evaluation
from .extraction import load_stored
from .inception import features_of

if TYPE_CHECKING:
    from .protocols import Protocol

TIMED = 8  # images
FRECHET = 15  # seconds of one Frechet distance of 2,048 features, on one core of a 2020s server
PREFIX = 50_000  # samples that intra_fid takes from the common sequence; for more classes, class by class


class Work(NamedTuple):
    """Counts of images. Protocols share samples, and what the cache folder holds is not computed again."""

    samples: int  # to generate and to pass through Inception
    pictures: int  # to generate for a classifier
    real: int  # to pass through Inception
    cached: int  # real images and samples whose features are in the cache
    distances: int  # Frechet distances


def work_of(e: Evaluation, protocols: Mapping[str, Protocol], seeds: int = 1) -> Work:
    """Counts what ``protocols`` need of ``e``, for ``seeds`` seeds."""
    parts, first = [_of_real_images(e, protocols)], e.seed
    for seed in range(first, first + seeds):
        e.use_seed(seed)
        parts.append(_of_samples(e, protocols))
    e.use_seed(first)
    return Work(*(sum(counts) for counts in zip(*parts, strict=True)))


def _classes(e: Evaluation, row: Protocol) -> int:
    return min(e.n_classes, row.most_classes or e.n_classes) if row.per_class else 1


def _of_samples(e: Evaluation, protocols: Mapping[str, Protocol]) -> Work:
    wanted: dict[str, int] = {}
    apart = pictures = distances = cached = samples = 0
    for name, row in protocols.items():
        k = _classes(e, row)
        n = row.samples * k
        left = k  # classes
        if "fid" in name:
            left -= len(e.finished_classes()) if row.per_class else 0
            distances += left if row.per_class else 2  # the value and the floor
        if row.network == "classifier":
            pictures += n
        elif row.per_class and (n > PREFIX or k < e.n_classes):
            apart += row.samples * left
        elif left:
            rule = name if row.labels == "own" else row.labels
            wanted[rule] = max(wanted.get(rule, 0), n)
    if (e.pictures or not e.generator.n_classes) and "random" in wanted:  # the same samples
        wanted["turn"] = max(wanted.get("turn", 0), wanted.pop("random"))
    for rule, n in wanted.items():
        known = _stored(e.sample_store(rule), n) if n >= RESUMED else 0
        cached += known
        samples += n - known
    return Work(samples + apart, pictures, 0, cached, distances)


def _of_real_images(e: Evaluation, protocols: Mapping[str, Protocol]) -> Work:
    missing = cached = 0
    real: dict[Path, int] = {}  # features' file -> images needed
    for row in protocols.values():
        k = _classes(e, row)
        for split, count in row.real:
            if split == "test" and row.reference != "test" and e.real.n_test < row.floor_from:  # no floor
                continue
            data = e.real.split(split)
            there = len(data.images)
            count = min(there, (count or there) * (k if count else 1))
            if row.per_class and k < e.n_classes:  # of some classes: in a file of its own
                missing += count
                continue
            path = e.real_store(data)
            real[path] = max(count, real.get(path, 0))
    for path, count in real.items():
        known = _stored(path, count)
        cached += known
        missing += count - known
    return Work(0, 0, missing, cached, 0)


def _stored(path: Path | None, most: int) -> int:
    kept = load_stored(path)
    return min(most, 0 if kept is None else len(kept))


def rates(e: Evaluation, scored: bool) -> tuple[float, float]:
    """Seconds to generate one image and to compute its features, on all devices. ``scored``: whether features are
    needed at all; without them, Inception's weights are not.
    """
    worker, taken = e.workers_of_devices[0] if scored else None, [0.0, 0.0]
    n = min(TIMED, len(e.pictures)) if e.pictures else TIMED
    for _ in range(2):  # the first round warms up
        start = time.perf_counter()
        images, _ = e.draw(np.arange(n), None, worker.generator if worker else None)
        drawn = time.perf_counter()
        if worker:
            features_of(worker.network, images, e.precision)
        taken = [drawn - start, time.perf_counter() - drawn if worker else 0.0]
    devices = len({str(device) for device in e.devices}) or 1
    return taken[0] / n / devices, taken[1] / n / devices


def estimate(e: Evaluation, protocols: Mapping[str, Protocol], seeds: int = 1) -> str:
    """One line: the images, the cached ones, and the time. Takes a few seconds."""
    work = work_of(e, protocols, seeds)
    parts = [f"{work.samples:,} samples and {work.real:,} real images to score"] if work.samples + work.real else []
    if work.cached:
        parts.append(f"{work.cached:,} more are cached")
    if work.pictures:
        parts.append(f"{work.pictures:,} samples for a classifier")
    if not work.samples + work.real + work.pictures:
        return f"{', '.join(protocols)}: all features are cached"
    sample, feature = rates(e, bool(work.samples + work.real))
    seconds = (work.samples + work.pictures) * sample + (work.samples + work.real) * feature
    seconds += work.distances * FRECHET
    training = ", and the training of the classifier" if work.pictures else ""
    where = ", ".join(dict.fromkeys(str(device) for device in e.devices or [e.device]))
    scoring = f" and {feature:.2g} s to score" if feature else ""
    return (f"{', '.join(protocols)}: {', '.join(parts)}: about {in_words(seconds)}{training}, on {where} "
            f"({sample:.2g} s to sample{scoring} an image)")  # fmt: skip


def in_words(seconds: float) -> str:
    """``40 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
