"""Named protocols: the name says what was measured, the result is one JSON line with all that is needed to compare.

A name fixes the evaluator, the resize, the counts and the labels; samples use the stored batch-norm statistics and are
not truncated. Sample i of a protocol is image i of the seed with class i mod K, so every protocol scores a prefix of
one sequence, whichever others are asked for beside it. Real test images are taken class by class in the source's order.

Each row of ``PROTOCOLS`` says what its value is; *floor* is the same measure on real images.

A folder of pictures stands in for a generator. FID depends on the number of images: compare values of one protocol.
"""

# torch.from_numpy and torch_fidelity have no types:
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from ..sampling import generate as sampling
from ..text import nearest
from ..weights.record import Score
from . import classifier, measures
from .evaluation import BATCH, Evaluation
from .measures import DIVERSE_CLASSES, FEWEST, INTRA, PER_CLASS, SUBSET
from .plan import estimate
from .provenance import json_line, machine, made_on, versions
from .real_images import HELD_OUT

__all__ = ["PROTOCOLS", "Evaluation", "Protocol", "evaluate", "json_line", "machine", "made_on", "versions"]


class Protocol(NamedTuple):
    """A row of the table: how it is measured, and what the measurement needs."""

    about: str
    measure: Callable[[Evaluation], Score]
    samples: int  # of each class where ``per_class``
    real: tuple[tuple[str, int], ...] = ()  # split and number of images (0: all) whose features are needed
    reference: str = "test"  # the split whose hash the result names; where it is another, test images only give a floor
    floor_from: int = 1  # fewest test images that give a floor, where ``reference`` is another split
    least: tuple[str, int] = ("test", 0)  # split, and the fewest images that it must have
    per_class: bool = False
    most_classes: int = 0  # that are measured, spread evenly over all (0: all), where ``per_class``
    classes: bool = False  # whether the samples must have classes
    labels: str = "turn"  # of the samples: all classes in turn, at random, or its own
    network: str = "Inception"  # Inception, logits (of Inception), or classifier
    lower_is_better: bool = True
    evenly: tuple[str, ...] = ()  # splits of ``real`` of which every class must give the same number
    check: Callable[[Evaluation], object] | None = None  # raises ``ValueError`` for other needs that are not met


#: Name -> protocol, in the order of the help
PROTOCOLS: dict[str, Protocol] = {
    "fid5k_test": Protocol(
        "FID of 5,000 samples against 5,000 test images; floor: 5,000 training images instead of the samples",
        measures.fid5k_test, 5000, (("test", 5000), ("train", 5000)), evenly=("test", "train"),
    ),
    "fid_paper": Protocol(
        "FID of 5,000 samples against all test images, 5,000 or more (the papers' CIFAR-10 figures: against "
        "10,000); floor: 5,000 training images instead of the samples",
        measures.fid_paper, 5000, (("test", 0), ("train", 5000)), least=("test", 5000), evenly=("train",),
    ),
    "fid50k_train": Protocol(
        "FID of 50,000 samples against all training images; floor, where the data have test images: these instead of "
        "the samples",
        measures.fid50k_train, 50_000, (("train", 0), ("test", 0)), "train", 2,
    ),
    "kid1k_test": Protocol(
        "KID of 1,000 samples against 1,000 test images; takes little time; floor: 1,000 training images instead of "
        "the samples",
        measures.kid1k_test, 1000, (("test", 1000), ("train", 1000)), evenly=("test", "train"),
    ),
    "kid1k_held_out": Protocol(
        "KID of 1,000 samples against all test images that there are, 20 or more; the samples take their classes "
        "in turn, or in the proportions of the test images if there are more than 1,000; floor: up to 1,000 training "
        "images of the same classes instead of the samples",
        measures.kid1k_held_out, HELD_OUT, (("test", 0), ("train_like_test", HELD_OUT)), least=("test", FEWEST),
        labels="own",
    ),
    "kid50k": Protocol(
        "KID of 50,000 samples against all training images: the mean of 100 random subsets of 1,000 of each; "
        "spread: over the subsets; floor, from 1,000 test images on: these instead of the samples",
        measures.kid50k, 50_000, (("train", 0), ("test", 0)), "train", SUBSET, ("train", SUBSET),
    ),
    "is50k": Protocol(
        "Inception Score of 50,000 samples, shuffled, in 10 splits: OpenAI's formula, logits without bias; "
        "spread: over the splits; floor, from 50,000 training images on (higher than the value): these instead of the "
        "samples",
        measures.is50k, 50_000, (("train", 50_000),), "train", network="logits", lower_is_better=False,
    ),
    "is_paper": Protocol(
        "Inception Score as the authors evaluate it with `--tf`: 10 sets of 5,000 samples with uniformly random "
        "classes, in order, the same formula; part `chainer_formula`: the formula of their Chainer version "
        "(with the bias, columns 1 to 1,000 of the softmax) on the same samples",
        measures.is_paper, 50_000, reference="", labels="random", network="logits", lower_is_better=False,
    ),
    "prdc10k": Protocol(
        "precision, recall, density and coverage of 10,000 samples and 10,000 training images, 5 neighbours; the "
        "value is the coverage; floor, from 20,000 training images on: 10,000 others instead of the samples",
        measures.prdc10k, 10_000, (("train", 20_000),), "train", least=("train", 10_000), lower_is_better=False,
    ),
    "intra_fid": Protocol(
        "FID of 5,000 samples of a class against all training images of the class, which are resized whole to the "
        "square; the value is the mean over the classes, as the authors report it",
        measures.intra_fid, INTRA, (("squashed", 0),), "squashed", per_class=True, classes=True,
        check=measures.check_classes_of_intra_fid,
    ),
    "cas": Protocol(
        "accuracy on the real test images of a classifier that is trained on 50,000 samples; floor (higher than "
        "the value): of the same classifier trained on the training images",
        measures.cas, 50_000, least=("train", classifier.BATCH), classes=True, network="classifier",
        lower_is_better=False, check=measures.check_tested_classes,
    ),
    "agreement2k": Protocol(
        "share of 2,000 samples that a classifier trained on real images gives the class that was asked for; "
        "floor: its accuracy on the real test images",
        measures.agreement2k, 2000, least=("train", classifier.BATCH), classes=True, network="classifier",
        lower_is_better=False,
    ),
    "diversity": Protocol(
        "per class, mean pairwise distance of 100 samples in Inception features over that of 100 test images; the "
        "value is the mean over classes; floor: 100 training images instead of the samples. If a class has "
        "fewer real images, that number is taken from every class. With more than 50 classes, 50 evenly spaced ones "
        "are measured, with the same number of samples of each",
        measures.diversity, PER_CLASS, (("test", PER_CLASS), ("train", PER_CLASS)), per_class=True,
        most_classes=DIVERSE_CLASSES, lower_is_better=False, check=measures.diverse_classes,
    ),
}  # fmt: skip


def check(e: Evaluation, name: str) -> None:
    """Raises ``ValueError`` if the samples or the data do not have what a protocol needs. Measures nothing."""
    row = PROTOCOLS[name]
    kinds = {"test": "held-out" if e.real.held_out else "test", "train": "training"}
    if row.reference == "test":
        _ = e.real.test  # raises ``NoTestSplit``
    split, least = row.least
    if least and len(e.real.split(split).images) < least:
        raise ValueError(
            f"data: {name} needs at least {least:,} {kinds[split]} images (got {len(e.real.split(split).images):,})"
        )
    for split, n in row.real:
        if split in row.evenly:
            data = e.real.split(split)
            counts, each = np.bincount(data.labels, minlength=len(data.classes)), -(-n // len(data.classes))
            if counts.min() < each:
                raise ValueError(f"data: {name} needs at least {each:,} {kinds[split]} images of every class (got "
                                 f"{counts.min():,} of class {data.classes[int(counts.argmin())]}); kid1k_held_out "
                                 f"takes {FEWEST} or more in all")  # fmt: skip
    if row.classes:
        e.need_classes(name, row.samples if row.per_class else 1)
    if not (row.per_class and e.generator.n_classes):
        e.check_samples(row.samples, e.real.own_labels if row.labels == "own" else None)
    if row.check:
        row.check(e)


def evaluate(
    generator: Any,
    source: str,
    protocols: list[str],
    seed: int = 0,
    held_out: str = "",
    precision: str = "fp32",
    *,
    seeds: int = 1,
    truncation: float | None = None,
    standing: bool = False,
    devices: Sequence[torch.device] = (),
    workers: int = 1,
    batch_size: int = BATCH,
    keep_samples: bool = True,
    stretch: bool = False,
    say: Callable[[str], None] | None = None,
    plan_only: bool = False,
) -> Iterator[tuple[str, Score]]:
    """Measures a generator against real images by named protocols.

    Args:
        generator: as loaded, in any mode; it stays so. Or ``Pictures``: a folder of images from any program.
        source: real images: fashion, avatars, cifar10, a prepared folder, or a folder of class folders.
        protocols: names, see ``PROTOCOLS``.
        seed: of the samples; of a folder, which pictures are taken, and in which order.
        held_out: a folder of real images for scores, where ``source`` keeps none.
        precision: of Inception, fp32 or bf16.
        seeds: how many seeds are measured, from ``seed`` on; the value is their mean, ``spread`` their standard
            deviation.
        truncation: |z| below this, where protocols have none; the result's name and record say so.
        standing: standing batch-norm statistics, see ``standing_statistics``; the result's name and record say so.
        devices: where features are computed, in parallel; the generator's device if empty.
        workers: per device.
        batch_size: images of a batch; no score depends on it beyond rounding.
        keep_samples: keep features of 10,000 samples or more in the cache folder, so that an interrupted evaluation
            resumes.
        stretch: stretch the contrast of real images of plain folders, as the run did that trained the generator.
        say: called with a line of text: how much is to be computed, and how long it takes.
        plan_only: end after that line.

    Returns:
        An iterator over (name, Score), one after the other. Names are checked before the first is measured. The name
        ends in +standing or +truncation0.5 where the samples are not those of the protocol.

    Raises:
        ValueError: for an unknown protocol, with the nearest one, or where the data do not have what it needs.
        FileNotFoundError: if the data or the weights of Inception are missing.

    Example:
        >>> for name, score in evaluate(load_generator("sngan_fashion32"), "fashion", ["diversity"]):
        ...     print(name, score.value)
    """
    for name in protocols:
        if name not in PROTOCOLS:
            raise ValueError(f"there is no protocol {name!r}{nearest(name, PROTOCOLS)}")
    versions()  # a missing package is an error before anything is measured
    sampling.check_request(1, seed, truncation)
    seeds = sampling.whole_number("seeds", seeds, 1, 1000)
    workers = sampling.whole_number("workers", workers, 1, 256)
    batch_size = sampling.whole_number("batch_size", batch_size, 1, 10_000)
    sampling.check_request(1, seed + seeds - 1, truncation)
    shared = Evaluation(
        generator, source, seed, held_out, precision, truncation=truncation, standing=standing, devices=devices,
        workers=workers, batch_size=batch_size, keep_samples=keep_samples, stretch=stretch,
    )  # fmt: skip
    if shared.pictures and seeds > 1:
        raise ValueError(f"seeds must be 1 for a folder of pictures, because the sets of several seeds have pictures "
                         f"in common (got {seeds})")  # fmt: skip
    rows = {name: PROTOCOLS[name] for name in protocols}
    for name in rows:
        check(shared, name)
    shared.logits = any(row.network == "logits" for row in rows.values())
    if shared.logits:
        try:
            _ = shared.inception
        except FileNotFoundError as error:
            needing = " and ".join(name for name, row in rows.items() if row.network == "logits")
            raise FileNotFoundError(f"{needing}: {error}; the other protocols do not need this file") from error
    if say:
        say(estimate(shared, rows, seeds))
    return iter(()) if plan_only else _measured(shared, rows, range(seed, seed + seeds))


def _measured(e: Evaluation, rows: dict[str, Protocol], seeds: range) -> Iterator[tuple[str, Score]]:
    suffix = ("+standing" if e.standing else "") + ("" if e.truncation is None else f"+truncation{e.truncation:g}")
    for name, row in rows.items():
        start, scores = time.perf_counter(), list[Score]()
        for seed in seeds:
            e.use_seed(seed, forget=len(rows) == 1)
            scores.append(row.measure(e))
        e.use_seed(seeds[0])
        yield name + suffix, replace(
            over_seeds(scores), seed=seeds[0], machine=machine(), versions=versions(),
            seconds=round(time.perf_counter() - start, 1),
            device=", ".join(str(device) for device in e.devices or [e.device]), batch_norm=e.batch_norm,
            truncation=e.truncation, weights_sha256=e.weights_sha256,
            evaluator_sha256="" if row.network == "classifier" else e.evaluator_sha256,
            reference_sha256=e.real.sha256(row.reference) if row.reference else "",
        )  # fmt: skip


def over_seeds(scores: list[Score]) -> Score:
    """The mean of the scores of several seeds, with their standard deviation (of one seed: as it is)."""
    if len(scores) == 1:
        return scores[0]
    values = tuple(score.value for score in scores)

    def mean_of(rows: list[Any]) -> dict[str, float] | None:
        return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]} if rows[0] else None

    return replace(
        scores[0], value=float(np.mean(values)), spread=float(np.std(values, ddof=1)),
        spread_over=f"{len(values)} seeds", values=values, per_class=mean_of([score.per_class for score in scores]),
        parts=mean_of([score.parts for score in scores]),
    )  # fmt: skip
