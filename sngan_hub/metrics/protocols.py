"""Named protocols: the name says what was measured, the result is one JSON line with all that is needed to compare.

Sample i of a protocol is image i of the seed with class i mod K, so every protocol scores a prefix of one sequence,
whichever others are asked for beside it. Real test images are taken class by class in the source's order.

``fid5k_test``   FID of 5,000 samples against 5,000 test images; floor: 5,000 training images in the samples' place
``kid1k_test``   KID of 1,000 samples against 1,000 test images: cheap, for comparing settings; floor likewise
``agreement2k``  share of 2,000 samples that a classifier trained on real images gives the class that was asked for;
                 floor: its accuracy on the real test images
``diversity``    per class, mean pairwise distance of 100 samples in Inception features over that of 100 test images;
                 the value is the mean over classes; floor: 100 training images in place of the samples
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import sampling
from ..names import nearest
from ..sources import Images, cache_folder, load_images
from ..weights import Score
from .classifier import classifier
from .inception import EVALUATOR, SHA1, features, load_inception
from .scores import fid, kid, mean_pairwise_distance

BATCH = 50


class Evaluation:
    """What the protocols share: a generator, a source, and each set of features computed once."""

    def __init__(self, generator: Any, source: str, seed: int = 0):
        self.generator, self.source, self.seed = generator, source, seed
        self.test = load_images(source, "test", generator.size)
        self.n_classes = generator.n_classes or 1
        if generator.n_classes and len(self.test.classes) != generator.n_classes:
            raise ValueError(f"data: {source} has {len(self.test.classes)} classes, the model {generator.n_classes}")
        self._features = torch.empty(0, 2048)

    @cached_property
    def train(self) -> Images:
        return load_images(self.source, "train", self.generator.size)

    @cached_property
    def inception(self) -> Any:
        return load_inception()

    @torch.no_grad()
    def samples(self, start: int, stop: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Samples start..stop in batches: uint8 images and the classes asked for (0 where unconditional)."""
        device = next(self.generator.parameters()).device
        for first in range(start, stop, BATCH):
            count = min(BATCH, stop - first)
            z, _ = sampling.latents(self.seed, first, count, self.generator.z_dim)
            y = torch.arange(first, first + count) % self.n_classes
            images = self.generator(z.to(device), y.to(device) if self.generator.n_classes else None)
            yield sampling.to_uint8(images).cpu(), y

    def sample_features(self, n: int) -> Tensor:
        done = len(self._features)
        if done < n:
            batches = (images for images, _ in self.samples(done, n))
            self._features = torch.cat([self._features, features(self.inception, batches, n - done, "samples")])
        return self._features[:n]

    def real_features(self, split: str, n: int | None = None) -> Tensor:
        """Features of the first n / K images of each class, interleaved by class as the samples are.

        Kept on disk as the longest prefix computed so far.
        """
        data = self.test if split == "test" else self.train
        index = _interleaved(data, n)
        path = cache_folder() / f"features-{SHA1[:8]}-{data.fingerprint()}.npy"
        known = torch.from_numpy(np.load(path, allow_pickle=False)) if path.is_file() else torch.empty(0, 2048)
        missing = index[len(known) :]
        if len(missing):
            batches = (data.images[missing[i : i + BATCH]] for i in range(0, len(missing), BATCH))
            known = torch.cat([known, features(self.inception, batches, len(missing), f"real {split}")])
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}")
            with open(temporary, "wb") as file:
                np.save(file, known.numpy())
            os.replace(temporary, path)
        return known[: len(index)]


def _interleaved(data: Images, n: int | None) -> np.ndarray:
    """Indices c0 c1 ... c0 c1 ...: the k-th image of every class before the (k+1)-th, up to n in all (None: whole)."""
    by_class = [np.flatnonzero(data.labels == label) for label in range(len(data.classes))]
    per_class = min(map(len, by_class)) if n is None else -(-n // len(by_class))
    if min(map(len, by_class)) < per_class:
        raise ValueError(
            f"data: needs {per_class} real images of every class, the fewest are {min(map(len, by_class))}"
        )
    return np.stack([index[:per_class] for index in by_class], 1).reshape(-1)[:n]


def fid5k_test(e: Evaluation) -> Score:
    reference = e.real_features("test", 5000)
    floor = fid(e.real_features("train", 5000), reference)
    return Score(fid(e.sample_features(5000), reference), 5000, f"{EVALUATOR}; 5,000 test images", floor=floor)


def kid1k_test(e: Evaluation) -> Score:
    reference = e.real_features("test", 1000)
    floor = kid(e.real_features("train", 1000), reference)
    return Score(kid(e.sample_features(1000), reference), 1000, f"{EVALUATOR}; 1,000 test images", floor=floor)


def agreement2k(e: Evaluation) -> Score:
    if not e.generator.n_classes:
        raise ValueError("agreement2k: this generator is unconditional")
    judge = classifier(e.train, e.test)
    batches = list(e.samples(0, 2000))
    asked = torch.cat([y for _, y in batches])
    right = (judge.predict(torch.cat([images for images, _ in batches])) == asked).float()
    per_class = {name: float(right[asked == label].mean()) for label, name in enumerate(e.test.classes)}
    return Score(float(right.mean()), 2000, judge.name, floor=judge.accuracy, per_class=per_class)


def diversity(e: Evaluation) -> Score:
    n, k = 100 * e.n_classes, e.n_classes
    real, again = e.real_features("test", 1000)[:n], e.real_features("train", 5000)[:n]
    fake = e.sample_features(n)
    base = [mean_pairwise_distance(real[c::k]) for c in range(k)]
    per_class = {name: mean_pairwise_distance(fake[c::k]) / base[c] for c, name in enumerate(e.test.classes)}
    floor = float(np.mean([mean_pairwise_distance(again[c::k]) / base[c] for c in range(k)]))
    return Score(float(np.mean(list(per_class.values()))), n, EVALUATOR, floor=floor, per_class=per_class)


PROTOCOLS: dict[str, Callable[[Evaluation], Score]] = {
    "fid5k_test": fid5k_test, "kid1k_test": kid1k_test, "agreement2k": agreement2k, "diversity": diversity,
}  # fmt: skip


def evaluate(generator: Any, source: str, protocols: list[str], seed: int = 0) -> Iterator[tuple[str, Score]]:
    """Name and score, one after the other. Every protocol's name is checked before the first is measured."""
    for name in protocols:
        if name not in PROTOCOLS:
            raise ValueError(f"protocol: got {name!r}{nearest(name, PROTOCOLS)}")
    sampling.check_request(1, seed, None)
    shared = Evaluation(generator, source, seed)
    return (
        (name, Score(**{**asdict(PROTOCOLS[name](shared)), "seed": seed, "machine": machine(), "versions": versions()}))
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


def json_line(model: str, source: str, protocol: str, score: Score) -> str:
    return json.dumps({"model": model, "data": source, "protocol": protocol, **asdict(score)}, ensure_ascii=False)
