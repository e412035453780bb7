"""How each protocol measures its value: functions from what an evaluation shares to a score. See protocols.py."""

# torch.from_numpy has no types:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import Images
from ..data.images import evenly
from ..files import write_json
from ..weights.record import Score
from .classifier import classifier
from .evaluation import Evaluation
from .plan import PREFIX
from .real_images import HELD_OUT
from .references import interleaved
from .scores import (
    fid,
    inception_score,
    inception_score_chainer,
    kid,
    kid_of_subsets,
    mean_kernel,
    mean_pairwise_distance,
    prdc,
)

PER_CLASS = 100  # samples and real images that a diversity is measured on
DIVERSE_CLASSES = 50  # of which it is measured at most
SUBSET = 1000  # images of a subset of kid50k
SPLITS = ("test", "train")
FEWEST = 20  # test images that a KID is measured against
INTRA = 5000  # samples of each class


def fid5k_test(e: Evaluation) -> Score:
    reference = e.real_features("test", 5000)
    floor = fid(e.real_features("train", 5000), reference)
    return Score(fid(e.sample_features(5000), reference), 5000, f"{e.evaluator}; 5,000 test images", floor=floor)


def fid_paper(e: Evaluation) -> Score:
    reference = e.real_features("test", None, balanced=False)
    floor = fid(e.real_features("train", 5000), reference)
    evaluator = f"{e.evaluator}; {len(reference):,} test images"
    return Score(fid(e.sample_features(5000), reference), 5000, evaluator, floor=floor)


def fid50k_train(e: Evaluation) -> Score:
    reference = e.real_features("train", None, balanced=False)
    floor, evaluator = None, f"{e.evaluator}; {len(reference):,} training images"
    if e.real.n_test > 1:
        floor = fid(e.real_features("test", None, balanced=False), reference)
        evaluator += f"; floor: {len(e.real.test.images):,} test images"
    return Score(fid(e.sample_features(50_000), reference), 50_000, evaluator, floor=floor)


def kid1k_test(e: Evaluation) -> Score:
    reference = e.real_features("test", 1000)
    floor = kid(e.real_features("train", 1000), reference)
    return Score(kid(e.sample_features(1000), reference), 1000, f"{e.evaluator}; 1,000 test images", floor=floor)


def kid1k_held_out(e: Evaluation) -> Score:
    reference = e.real_features("test", None, balanced=False)
    own = mean_kernel(reference)
    floor = kid(e.real_features("train_like_test", HELD_OUT, balanced=False), reference, own)
    value = kid(e.sample_features(HELD_OUT, e.real.own_labels), reference, own)
    return Score(value, HELD_OUT, f"{e.evaluator}; {len(reference):,} held-out images", floor=floor)


def kid50k(e: Evaluation) -> Score:
    reference = e.real_features("train", None, balanced=False)
    value, deviation = kid_of_subsets(e.sample_features(50_000), reference)
    floor = None
    if e.real.n_test >= SUBSET:
        floor = kid_of_subsets(e.real_features("test", None, balanced=False), reference).mean
    evaluator = f"{e.evaluator}; {len(reference):,} training images, 100 subsets of 1,000"
    return Score(value, 50_000, evaluator, deviation, floor, spread_over="100 subsets")


def _logits(e: Evaluation, features: Tensor, bias: bool) -> Tensor:
    head = e.inception.head
    logits = features @ head.weight.t().to(features)
    return logits + head.bias.to(features) if bias else logits


def is50k(e: Evaluation) -> Score:
    value, deviation = inception_score(_logits(e, e.sample_features(50_000), bias=False))
    floor = None
    if len(e.real.train.images) >= 50_000:
        floor = inception_score(_logits(e, e.real_features("train", 50_000, balanced=False), bias=False)).mean
    return Score(value, 50_000, f"{e.evaluator}; logits without bias", deviation, floor, spread_over="10 splits")


def is_paper(e: Evaluation) -> Score:
    features = e.sample_features(50_000, "random")
    value, deviation = inception_score(_logits(e, features, bias=False), shuffle=False)
    parts = {"chainer_formula": inception_score_chainer(_logits(e, features, bias=True)).mean}
    evaluator = f"{e.evaluator}; logits without bias; 10 x 5,000 samples"
    return Score(value, 50_000, evaluator, deviation, parts=parts, spread_over="10 sets of 5,000")


def prdc10k(e: Evaluation) -> Score:
    total, n = len(e.real.train.images), 10_000
    real = e.real_features("train", min(total, 2 * n), balanced=False)
    if total >= 2 * n:
        real = real[torch.from_numpy(_in_halves(e.real.train, n))]
    parts = prdc(e.sample_features(n), real[:n])
    floor = prdc(real[n:], real[:n])["coverage"] if total >= 2 * n else None
    evaluator = f"{e.evaluator}; 10,000 training images, 5 neighbours; the value is the coverage"
    return Score(parts["coverage"], n, evaluator, floor=floor, parts=parts)


def _in_halves(data: Images, n: int) -> np.ndarray:
    """The first 2n images in turn as two sets of n with the same classes: places among these images.

    As they are, unless a class has too few: the second set would have none of it.
    """
    labels, k = data.labels[interleaved(data, 2 * n, balanced=False)], len(data.classes)
    if np.bincount(labels, minlength=k).min() >= 2 * n // k:
        return np.arange(2 * n)
    by_class = np.argsort(labels, kind="stable")
    return np.concatenate([by_class[::2], by_class[1::2]])


def check_classes_of_intra_fid(e: Evaluation) -> None:
    """Raises ``ValueError`` if a class has fewer than 2 training images: it would have no covariance."""
    counts = np.bincount(e.real.squashed.labels, minlength=len(e.real.squashed.classes))
    if counts.min() < 2:
        raise ValueError(f"data: intra_fid needs at least 2 training images of every class (got {counts.min()} of "
                         f"class {e.real.squashed.classes[int(counts.argmin())]})")  # fmt: skip


def intra_fid(e: Evaluation) -> Score:
    """Each finished class is kept in the cache folder, so that an interrupted measurement resumes."""
    data, k = e.real.squashed, e.n_classes
    real = e.real_features("squashed", None, balanced=False)
    labels = data.labels[interleaved(data, None, balanced=False)]
    store, done = e.class_store(), e.finished_classes()
    for label, name in enumerate(data.classes):
        if name in done:
            continue
        fake = e.sample_features(INTRA * k)[label::k] if INTRA * k <= PREFIX else e.class_features(label, INTRA)
        own: Any = torch.from_numpy(labels == label)
        done[name] = fid(fake, real[own])
        if store:
            store.parent.mkdir(parents=True, exist_ok=True)
            write_json(store, done)
    per_class = {name: done[name] for name in data.classes}
    squashed = "cropped when prepared" if data.made else "resized whole"
    if data.made.get("contrast_stretch"):
        squashed += ", with stretched contrast (the authors' reference is not stretched)"
    evaluator = f"{e.evaluator}; {len(real):,} training images of {k:,} classes, {squashed}"
    return Score(float(np.mean(list(per_class.values()))), INTRA * k, evaluator, per_class=per_class)


def check_tested_classes(e: Evaluation) -> None:
    """Raises ``ValueError`` if a class has no test image: it would have no accuracy."""
    counts = np.bincount(e.real.test.labels, minlength=len(e.classes))
    if not counts.min():
        raise ValueError(f"data: cas needs test images of every class (got 0 of class "
                         f"{e.classes[int(counts.argmin())]})")  # fmt: skip


def cas(e: Evaluation) -> Score:
    n = 50_000
    batches = list(e.samples(0, n))
    images, labels = (np.concatenate([part.numpy() for part in parts]) for parts in zip(*batches, strict=True))
    found = classifier(Images(images, labels, list(e.classes)), e.real.test, e.device, "cas")
    floor = classifier(e.real.train, e.real.test, e.device, "cas").accuracy
    evaluator = (f"{found.name}, trained on {n:,} samples, tested on {len(e.real.test.images):,} test images; floor: "
                 f"trained on {len(e.real.train.images):,} training images")  # fmt: skip
    per_class = dict(zip(e.classes, found.recall, strict=True))
    return Score(found.accuracy, n, evaluator, floor=floor, per_class=per_class)


def agreement2k(e: Evaluation) -> Score:
    judge = classifier(e.real.train, e.real.test, e.device)
    batches = list(e.samples(0, 2000))
    asked = torch.cat([y for _, y in batches])
    right = (judge.predict(torch.cat([images for images, _ in batches])) == asked).float()
    per_class = {name: float(right[asked == label].mean()) for label, name in enumerate(e.classes)}
    return Score(float(right.mean()), 2000, judge.name, floor=judge.accuracy, per_class=per_class)


def diverse_classes(e: Evaluation) -> tuple[np.ndarray, list[int]]:
    """The classes that a diversity is measured on, and the numbers of test and training images of each.

    Raises ``ValueError`` if there are fewer than 2.
    """
    chosen = evenly(e.n_classes, DIVERSE_CLASSES)
    fewest: list[int] = []
    for what, data in (("test", e.real.test), ("training", e.real.train)):
        counts = np.bincount(data.labels, minlength=e.n_classes)[chosen]
        if e.generator.n_classes and counts.min() < 2:
            raise ValueError(f"data: diversity needs at least 2 {what} images of every class (got {counts.min()} of "
                             f"class {e.classes[chosen[counts.argmin()]]})")  # fmt: skip
        fewest.append(min(PER_CLASS, int(counts.min())))
    if e.generator.n_classes and len(chosen) == e.n_classes:
        e.need_classes("diversity", PER_CLASS)
    elif e.generator.n_classes:
        e.check_samples(PER_CLASS * len(chosen), chosen)
    return chosen, fewest


def diversity(e: Evaluation) -> Score:
    if not e.generator.n_classes:
        return _diversity_of_all(e)
    chosen, fewest = diverse_classes(e)
    k = len(chosen)
    names: list[str] = [e.classes[label] for label in chosen]
    said = [f"{fewest[0]} test and {fewest[1]} training images of each class"] if min(fewest) < PER_CLASS else []
    if k < e.n_classes:
        said.append(f"{k} of {e.n_classes:,} classes, spread evenly: {', '.join(names[:2])} ... {names[-1]}")
        real, again = (e.real_features(split, k * n, of=chosen) for split, n in zip(SPLITS, fewest, strict=True))
        fake = e.sample_features(k * PER_CLASS, chosen)
    else:
        real, again = (e.real_features(split, k * n) for split, n in zip(SPLITS, fewest, strict=True))
        fake = e.sample_features(k * PER_CLASS)
    base = [mean_pairwise_distance(real[c::k]) for c in range(k)]
    if min(base) == 0:
        raise ValueError(f"data: diversity needs different test images of every class (all of {names[base.index(0)]} "
                         f"are equal)")  # fmt: skip
    per_class = {name: mean_pairwise_distance(fake[c::k]) / base[c] for c, name in enumerate(names)}
    floor = float(np.mean([mean_pairwise_distance(again[c::k]) / base[c] for c in range(k)]))
    evaluator = "; ".join([e.evaluator, *said])
    return Score(float(np.mean(list(per_class.values()))), k * PER_CLASS, evaluator, floor=floor, per_class=per_class)


def _diversity_of_all(e: Evaluation) -> Score:
    """The diversity of an unconditional generator: of its samples relative to real images, whatever their classes."""
    n = min(PER_CLASS, len(e.real.test.images), len(e.real.train.images))
    if n < 2:
        raise ValueError(f"data: diversity needs at least 2 images in each split of {e.real.source} (got {n} in one)")
    real, again = (e.real_features(split, n, balanced=False) for split in SPLITS)
    base = mean_pairwise_distance(real)
    if base == 0:
        raise ValueError(f"data: diversity needs different test images (all of {e.real.source} are equal)")
    value, floor = (mean_pairwise_distance(x) / base for x in (e.sample_features(PER_CLASS), again))
    evaluator = e.evaluator + (f"; {n} real images of each split" if n < PER_CLASS else "")
    return Score(value, PER_CLASS, evaluator, floor=floor)
