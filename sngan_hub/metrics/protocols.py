"""Named protocols: the name says what was measured, the result is one JSON line with all that is needed to compare.

Sample i of a protocol is image i of the seed with class i mod K, so every protocol scores a prefix of one sequence,
whichever others are asked for beside it. Real test images are taken class by class in the source's order.

``fid5k_test``   FID of 5,000 samples against 5,000 test images; floor: 5,000 training images in the samples' place
``fid_paper``    FID of 5,000 samples against all test images, 5,000 or more (the papers' CIFAR-10 figures: against
                 10,000); floor: 5,000 training images in the samples' place
``kid1k_test``   KID of 1,000 samples against 1,000 test images: cheap, for comparing settings; floor likewise
``kid1k_held_out``  KID of 1,000 samples against all test images that there are, 20 or more; the samples take their
                 classes in turn; floor: up to 1,000 training images in the samples' place
``agreement2k``  share of 2,000 samples that a classifier trained on real images gives the class that was asked for;
                 floor: its accuracy on the real test images
``diversity``    per class, mean pairwise distance of 100 samples in Inception features over that of 100 test images;
                 the value is the mean over classes; floor: 100 training images in place of the samples. Where a class
                 has fewer real images, so many of each class are taken. Above 50 classes, 50 that are spread evenly
                 over them are measured, and the samples take these in turn
"""

# torch.from_numpy and torch_fidelity have no types:
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..class_names import synset_names
from ..data import Images, cache_folder, load_images
from ..files import write_array
from ..sampling import generate as sampling
from ..text import nearest
from ..weights.records import Score
from .classifier import classifier
from .inception import EVALUATOR, SHA1, features, load_inception
from .scores import fid, kid, mean_pairwise_distance

BATCH = 50
PER_CLASS = 100  # samples and real images that a diversity is measured on
DIVERSE_CLASSES = 50  # of which it is measured at most
SPLITS = ("test", "train")
FEWEST = 20  # test images that a KID is measured against


class Evaluation:
    """What the protocols share: a generator, a source, and each set of features computed once."""

    def __init__(self, generator: Any, source: str, seed: int = 0, held_out: str = "", precision: str = "fp32"):
        """``held_out``: a folder of test images apart from ``source``. ``precision``: Inception's, see ``features``."""
        self.generator, self.source, self.seed = generator, source, seed
        self.held_out, self.precision = held_out, precision
        self.test = load_images(*((held_out, "all") if held_out else (source, "test")), generator.size, left_out=[])
        self.test = by_name(self.test)
        self.n_classes = generator.n_classes or 1
        if generator.n_classes and len(self.test.classes) != generator.n_classes:
            raise ValueError(
                f"data: {source} must have {generator.n_classes} classes, as the model (got {len(self.test.classes)})"
            )
        if generator.n_classes and generator.classes:
            self.test = in_order_of(self.test, list(generator.classes), held_out or source)
        elif generator.n_classes > 1:
            print(f"the model has no class names; its class i is compared with class i of {held_out or source} "
                  f"(from {self.test.classes[0]} to {self.test.classes[-1]})", file=sys.stderr)  # fmt: skip
        self._features = torch.empty(0, 2048)

    @cached_property
    def train(self) -> Images:
        data = load_images(self.source, "all" if self.held_out else "train", self.generator.size, left_out=[])
        return in_order_of(by_name(data), self.test.classes, self.source)

    @property
    def evaluator(self) -> str:
        return EVALUATOR + (", in bfloat16" if self.precision == "bf16" else "")

    @property
    def device(self) -> torch.device:
        """Where the generator lies: Inception and the classifier compute there too."""
        return next(self.generator.parameters()).device

    @cached_property
    def inception(self) -> Any:
        return load_inception().to(self.device)

    def samples(self, start: int, stop: int, labels: np.ndarray | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Samples start..stop in batches: uint8 images and the classes asked for (0 where unconditional).

        ``labels``: these in turn, over and over, in place of all classes in turn.
        """
        cycle = torch.arange(self.n_classes) if labels is None else torch.from_numpy(labels)

        def batches() -> Iterator[tuple[Tensor, Tensor]]:
            for first in range(start, stop, BATCH):
                count = min(BATCH, stop - first)
                z, _ = sampling.latents(self.seed, first, count, self.generator.z_dim)
                yield z, cycle[torch.arange(first, first + count) % len(cycle)]

        return sampling.generate(self.generator, batches())

    def sample_features(self, n: int) -> Tensor:
        done = len(self._features)
        if done < n:
            batches = (images for images, _ in self.samples(done, n))
            new = features(self.inception, batches, n - done, "samples", self.precision)
            self._features = torch.cat([self._features, new])
        return self._features[:n]

    def real_features(self, split: str, n: int | None, balanced: bool = True, of: np.ndarray | None = None) -> Tensor:
        """Features of the first n / K images of each class, interleaved by class as the samples are; ``of``: of these
        classes alone.

        Kept on disk as the longest prefix computed so far.
        """
        data = self.test if split == "test" else self.train
        if of is not None:
            data = _of_classes(data, of, -(-(n or 0) // len(of)))
        index = _interleaved(data, n, balanced)
        bf16 = "-bf16" if self.precision == "bf16" else ""
        path = cache_folder() / f"features-{SHA1[:8]}-{data.fingerprint()}{bf16}.npy"
        known = torch.from_numpy(np.load(path, allow_pickle=False)) if path.is_file() else torch.empty(0, 2048)
        missing = index[len(known) :]
        if len(missing):
            batches = (data.images[missing[i : i + BATCH]] for i in range(0, len(missing), BATCH))
            known = torch.cat([known, features(self.inception, batches, len(missing), f"real {split}", self.precision)])
            path.parent.mkdir(parents=True, exist_ok=True)
            write_array(path, known.numpy())
        return known[: len(index)]


def _of_classes(data: Images, classes: np.ndarray, n: int) -> Images:
    """The first ``n`` images of each of these classes, which become 0, 1, 2 ..., in memory."""
    rows = np.concatenate([np.flatnonzero(data.labels == label)[:n] for label in classes])
    labels = np.searchsorted(classes, data.labels[rows])
    return Images(np.asarray(data.images[rows]), labels, [data.classes[label] for label in classes])


def by_name(data: Images) -> Images:
    """Folders that are named as ImageNet's synsets get the classes' names, as ``prepare`` gives them."""
    names = synset_names(data.classes)
    return data._replace(classes=names) if names else data


def in_order_of(data: Images, names: list[str], source: str) -> Images:
    """``data`` with its classes in the order of ``names``. Raises ``ValueError`` where it has other classes."""
    ours, theirs = sorted(set(names) - set(data.classes)), sorted(set(data.classes) - set(names))
    if ours or theirs:
        raise ValueError(f"data: the classes of {source} differ from those of the model: {len(theirs)} not in the "
                         f"model ({', '.join(theirs[:3])}), {len(ours)} only in the model ({', '.join(ours[:3])}); "
                         f"rename the class folders to the class names of the model")  # fmt: skip
    return data.in_order(names)


def _interleaved(data: Images, n: int | None, balanced: bool = True) -> np.ndarray:
    """Indices c0 c1 ... c0 c1 ...: the k-th image of every class before the (k+1)-th, up to n in all (None: whole).

    Unless ``balanced``, a class that has no more is passed over.
    """
    counts = np.bincount(data.labels, minlength=len(data.classes))
    per_class = -(-(n or 0) // len(counts))
    if balanced and counts.min() < per_class:
        raise ValueError(
            f"data: every class must have at least {per_class} real images (got {counts.min()} in the smallest class)"
        )
    by_class = np.argsort(data.labels, kind="stable")
    rank = np.concatenate([np.arange(int(count)) for count in counts])
    return by_class[np.lexsort([data.labels[by_class], rank])][:n]


def fid5k_test(e: Evaluation) -> Score:
    reference = e.real_features("test", 5000)
    floor = fid(e.real_features("train", 5000), reference)
    return Score(fid(e.sample_features(5000), reference), 5000, f"{e.evaluator}; 5,000 test images", floor=floor)


def fid_paper(e: Evaluation) -> Score:
    total = len(e.test.images)
    if total < 5000:
        raise ValueError(f"data: fid_paper needs at least 5,000 test images (got {total:,})")
    reference = e.real_features("test", None, balanced=False)
    floor = fid(e.real_features("train", 5000), reference)
    return Score(fid(e.sample_features(5000), reference), 5000, f"{e.evaluator}; {total:,} test images", floor=floor)


def kid1k_test(e: Evaluation) -> Score:
    reference = e.real_features("test", 1000)
    floor = kid(e.real_features("train", 1000), reference)
    return Score(kid(e.sample_features(1000), reference), 1000, f"{e.evaluator}; 1,000 test images", floor=floor)


def kid1k_held_out(e: Evaluation) -> Score:
    if len(e.test.images) < FEWEST:
        raise ValueError(f"data: kid1k_held_out needs at least {FEWEST} held-out images (got {len(e.test.images)})")
    reference = e.real_features("test", None, balanced=False)
    labels = e.test.labels[_interleaved(e.test, None, balanced=False)]
    sampled = features(e.inception, (x for x, _ in e.samples(0, 1000, labels)), 1000, "samples", e.precision)
    floor = kid(e.real_features("train", 1000, balanced=False), reference)
    return Score(kid(sampled, reference), 1000, f"{e.evaluator}; {len(reference):,} held-out images", floor=floor)


def agreement2k(e: Evaluation) -> Score:
    if not e.generator.n_classes:
        raise ValueError("agreement2k needs a conditional generator; this one is unconditional")
    judge = classifier(e.train, e.test, e.device)
    batches = list(e.samples(0, 2000))
    asked = torch.cat([y for _, y in batches])
    right = (judge.predict(torch.cat([images for images, _ in batches])) == asked).float()
    per_class = {name: float(right[asked == label].mean()) for label, name in enumerate(e.test.classes)}
    return Score(float(right.mean()), 2000, judge.name, floor=judge.accuracy, per_class=per_class)


def diversity(e: Evaluation) -> Score:
    if not e.generator.n_classes:
        return _diversity_of_all(e)
    chosen = np.unique(np.linspace(0, e.n_classes - 1, min(e.n_classes, DIVERSE_CLASSES)).astype(int))
    k = len(chosen)
    names: list[str] = [e.test.classes[label] for label in chosen]
    counts = [np.bincount(data.labels, minlength=e.n_classes)[chosen] for data in (e.test, e.train)]
    fewest = [min(PER_CLASS, int(of.min())) for of in counts]
    said = [f"{fewest[0]} test and {fewest[1]} training images of each class"] if min(fewest) < PER_CLASS else []
    for what, of in zip(("test", "training"), counts, strict=True):
        if of.min() < 2:
            raise ValueError(f"data: diversity needs at least 2 {what} images of every class (got {of.min()} of class "
                             f"{names[int(of.argmin())]})")  # fmt: skip
    if k < e.n_classes:
        said.append(f"{k} of {e.n_classes:,} classes, spread evenly: {', '.join(names[:2])} ... {names[-1]}")
        real, again = (e.real_features(split, k * n, of=chosen) for split, n in zip(SPLITS, fewest, strict=True))
        n = k * PER_CLASS
        fake = features(e.inception, (x for x, _ in e.samples(0, n, chosen)), n, "samples", e.precision)
    else:
        real, again = (e.real_features(split, k * n) for split, n in zip(SPLITS, fewest, strict=True))
        fake = e.sample_features(k * PER_CLASS)
    base = [mean_pairwise_distance(real[c::k]) for c in range(k)]
    per_class = {name: mean_pairwise_distance(fake[c::k]) / base[c] for c, name in enumerate(names)}
    floor = float(np.mean([mean_pairwise_distance(again[c::k]) / base[c] for c in range(k)]))
    evaluator = "; ".join([e.evaluator, *said])
    return Score(float(np.mean(list(per_class.values()))), k * PER_CLASS, evaluator, floor=floor, per_class=per_class)


def _diversity_of_all(e: Evaluation) -> Score:
    """Of a generator without classes: of its samples and of real images, whatever their classes."""
    n = min(PER_CLASS, len(e.test.images), len(e.train.images))
    if n < 2:
        raise ValueError(f"data: diversity needs at least 2 images in each split of {e.source} (got {n} in one)")
    real, again = (e.real_features(split, n, balanced=False) for split in SPLITS)
    base = mean_pairwise_distance(real)
    value, floor = (mean_pairwise_distance(x) / base for x in (e.sample_features(PER_CLASS), again))
    evaluator = e.evaluator + (f"; {n} real images of each split" if n < PER_CLASS else "")
    return Score(value, PER_CLASS, evaluator, floor=floor)


PROTOCOLS: dict[str, Callable[[Evaluation], Score]] = {
    "fid5k_test": fid5k_test, "fid_paper": fid_paper, "kid1k_test": kid1k_test, "kid1k_held_out": kid1k_held_out,
    "agreement2k": agreement2k, "diversity": diversity,
}  # fmt: skip


def evaluate(
    generator: Any, source: str, protocols: list[str], seed: int = 0, held_out: str = "", precision: str = "fp32"
) -> Iterator[tuple[str, Score]]:
    """Measures a generator against real images by named protocols.

    Args:
        generator: in any mode; it stays so.
        source: real images: fashion, avatars, cifar10, a prepared folder, or a folder of class folders.
        protocols: names, see ``PROTOCOLS``.
        seed: of the samples.
        held_out: a folder of real images for scores, where ``source`` keeps none.
        precision: of Inception, fp32 or bf16.

    Returns:
        An iterator over (name, Score), one after the other. Names are checked before the first is measured.

    Raises:
        ValueError: for an unknown protocol, with the nearest one.

    Example:
        >>> for name, score in evaluate(load_generator("sngan_fashion32"), "fashion", ["diversity"]):
        ...     print(name, score.value)
    """
    for name in protocols:
        if name not in PROTOCOLS:
            raise ValueError(f"there is no protocol {name!r}{nearest(name, PROTOCOLS)}")
    sampling.check_request(1, seed, None)
    shared = Evaluation(generator, source, seed, held_out, precision)
    return (
        (name, replace(PROTOCOLS[name](shared), seed=seed, machine=machine(), versions=versions()))
        for name in protocols
    )


def machine() -> str:
    """The kind of processor, threads, and the accelerator if there is one: ``x86_64 AVX512, 2 threads``."""
    capability = torch.backends.cpu.get_cpu_capability()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{platform.machine()} {capability}, {torch.get_num_threads()} threads{gpu}"


def versions() -> dict[str, str]:
    import torch_fidelity

    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torch-fidelity": torch_fidelity.__version__,
    }


def made_on(rows: Iterable[dict[str, Any]]) -> str:
    """The ``machine`` and ``versions`` of records, each combination once."""
    return "; or ".join(dict.fromkeys(
        f"{row['machine']}, " + ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        for row in rows
    ))  # fmt: skip


def json_line(model: str, source: str, protocol: str, score: Score) -> str:
    return json.dumps({"model": model, "data": source, "protocol": protocol, **asdict(score)}, ensure_ascii=False)
