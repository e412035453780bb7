"""What the protocols of one evaluation share: the samples, the real images, and each set of features computed once.

Sample i is image i of the seed with class i mod K, so every protocol scores a prefix of one sequence. Features of real
images are cached by the images' content, and features of 10,000 samples or more by the generator's weights and the
settings, so that a long evaluation resumes.
"""

# torch.from_numpy has no types:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from ..data import Images, cache_folder
from ..networks.inference import FastGenerator
from ..sampling import generate as sampling
from .extraction import Task, Worker, extract, load_stored
from .inception import EVALUATOR, SHA1, load_inception
from .pictures import Pictures
from .published_inception import PUBLISHED
from .real_images import RealImages
from .references import interleaved, of_classes
from .standing import BATCH as STANDING_BATCH
from .standing import BATCHES as STANDING_BATCHES
from .standing import standing_statistics

BATCH = 50
RESUMED = 10_000  # samples whose features are kept on disk
RECIPE = "1"  # part of the cached features' names: change it whenever samples of the same settings change


class Evaluation:
    """One generator, or a folder of pictures, and the real images that it is compared with.

    Args:
        generator: a generator in any mode, or ``Pictures``.
        source: real images, as ``load_images`` reads them.
        seed: of the samples.
        held_out: a folder of test images apart from ``source``.
        precision: of Inception, see ``features_of``.
        truncation: of the latents; None, as all protocols have it, or |z| below this.
        standing: use standing statistics in place of the stored ones.
        devices: where features are computed; the generator's device if empty.
        workers: per device.
        batch_size: images of a batch.

    Raises:
        ValueError: if the classes of the data are not those of the generator.
        FileNotFoundError: if the data are missing.
    """

    def __init__(
        self,
        generator: Any,
        source: str,
        seed: int = 0,
        held_out: str = "",
        precision: str = "fp32",
        *,
        truncation: float | None = None,
        standing: bool = False,
        devices: Sequence[torch.device] = (),
        workers: int = 1,
        batch_size: int = BATCH,
        keep_samples: bool = True,
        stretch: bool = False,
    ):
        self.generator, self.seed = generator, seed
        self.precision, self.truncation, self.standing = precision, truncation, standing
        self.devices, self.workers, self.batch_size = list(devices), workers, batch_size
        self.keep_samples = keep_samples
        self.logits = False  # whether a protocol needs the last layer of Inception
        self.pictures = generator if isinstance(generator, Pictures) else None
        if self.pictures and (truncation is not None or standing):
            raise ValueError("truncation and standing statistics need a generator; a folder of pictures has neither")
        self.real = RealImages(source, held_out, generator.size, stretch)
        if self.pictures:
            self.pictures.match(self.real.classes)
        self.real.match(generator.n_classes, generator.classes)
        self.n_classes = generator.n_classes or 1
        self._features: dict[tuple[int, str], Tensor] = {}

    @property
    def classes(self) -> list[str]:
        """The names of the samples' classes; of an unconditional generator, those of the data."""
        return self.real.classes

    def need_classes(self, protocol: str, each: int) -> None:
        """Raises ``ValueError`` if the samples have no classes, or a folder fewer than ``each`` pictures of one."""
        if not self.generator.n_classes:
            what = "a folder with one folder per class, named as the data's" if self.pictures else (
                "a conditional generator; this one is unconditional")  # fmt: skip
            raise ValueError(f"{protocol} needs {what}")
        if self.pictures:
            counts = np.bincount(self.pictures.data.labels, minlength=self.n_classes)
            if counts.min() < each:
                raise ValueError(
                    f"{self.pictures.folder}: {protocol} needs at least {each:,} pictures of every class (got "
                    f"{counts.min():,} of class {self.classes[int(counts.argmin())]})"
                )

    def use_seed(self, seed: int, forget: bool = False) -> None:
        """Samples are those of ``seed`` from now on. ``forget``: features of those before are not needed again."""
        if forget and seed != self.seed:
            self._features.clear()
        if self.standing and seed != self.seed:  # which are estimated from its latents
            for name in ("sampler", "workers_of_devices", "_generator"):
                self.__dict__.pop(name, None)
        self.seed = seed

    # -----------------------------------------------------------------------------------------------------------------
    # Networks

    @property
    def evaluator(self) -> str:
        stretched = "; real images of folders with stretched contrast" if self.real.stretch else ""
        resized = f"; pictures resized to {self.pictures.size} px" if self.pictures and self.pictures.resized else ""
        return EVALUATOR + (", in bfloat16" if self.precision == "bf16" else "") + stretched + resized

    @cached_property
    def inception(self) -> Any:
        return load_inception(logits=self.logits).to(self.device)

    @property
    def evaluator_sha256(self) -> str:
        return getattr(self.inception, "sha256", "")

    @property
    def device(self) -> torch.device:
        """The first device: by default, where the generator lies."""
        if self.devices or self.pictures:
            return self.devices[0] if self.devices else torch.device("cpu")
        return next(self.generator.parameters()).device

    @cached_property
    def sampler(self) -> Any:
        """The generator that makes the samples, before its conversion for sampling."""
        network = self.generator
        if self.standing:
            network = standing_statistics(network, self.truncation, seed=self.seed)
        return network

    @property
    def batch_norm(self) -> str:
        """Which batch-norm statistics the samples use."""
        if self.pictures:
            return ""
        return f"standing, {STANDING_BATCHES} batches of {STANDING_BATCH}" if self.standing else "stored"

    @cached_property
    def workers_of_devices(self) -> list[Worker]:
        """``workers`` workers for each device (default 1). Those of one device share its networks."""
        workers: list[Worker] = []
        for i, device in enumerate(self.devices or [self.device]):
            network = self.inception if i == 0 else copy.deepcopy(self.inception).to(device)
            workers += [Worker(self._on(device), network)] * self.workers
        return workers

    def _on(self, device: torch.device) -> Any:
        if self.pictures:
            return self.pictures
        own = next(self.sampler.parameters()).device
        there = (own.type, own.index or 0) == (device.type, device.index or 0)  # cuda is cuda:0
        network = self.sampler if there else copy.deepcopy(self.sampler).to(device)
        return network.for_sampling()

    @cached_property
    def weights_sha256(self) -> str:
        """That of the generator's model.safetensors, computed from its tensors; empty for a converted one."""
        if self.pictures:
            return self.pictures.digest
        network = getattr(self.generator, "_orig_mod", self.generator)
        if isinstance(network, FastGenerator):
            return ""
        state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
        return hashlib.sha256(safetensors.torch.save(state, metadata={"format": "pt"})).hexdigest()

    @cached_property
    def _form(self) -> str:
        """The generator's configuration but for names: settings such as ``upsample`` are in no tensor."""
        if self.pictures:
            return ""
        config = getattr(getattr(self.generator, "_orig_mod", self.generator), "config", {})
        return json.dumps({key: value for key, value in config.items() if key != "classes"}, sort_keys=True)

    # -----------------------------------------------------------------------------------------------------------------
    # Samples

    def samples(
        self, start: int, stop: int, labels: np.ndarray | str | None = None, generator: Any = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Samples ``start`` to ``stop`` in batches: uint8 images and the classes asked for (0 where unconditional).

        ``labels``: these in turn, over and over, in place of all classes in turn; or ``random``: uniform, as the seed
        draws them. ``generator``: the network to use, by default that of the first worker.
        """
        for first in range(start, stop, self.batch_size):
            yield self.draw(np.arange(first, min(first + self.batch_size, stop)), labels, generator)

    def draw(
        self, which: np.ndarray, labels: np.ndarray | str | None = None, generator: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Samples number ``which``, in one batch; see ``samples``."""
        cycle = labels if isinstance(labels, np.ndarray) else None
        if self.pictures:
            return self.pictures.draw(self.seed, which, cycle)
        generator = generator or self._generator
        k = self.n_classes
        consecutive = int(which[-1] - which[0]) + 1 == len(which)
        runs = [(int(which[0]), len(which))] if consecutive else [(int(i), 1) for i in which]
        drawn = [sampling.latents(self.seed, *run, generator.z_dim, k, self.truncation) for run in runs]
        y = torch.cat([own for _, own in drawn if own is not None])
        if labels is None:
            y = torch.from_numpy(which % k)
        elif cycle is not None:
            y = torch.from_numpy(cycle[which % len(cycle)])
        return next(sampling.generate(generator, [(torch.cat([z for z, _ in drawn]), y)]))

    @cached_property
    def _generator(self) -> Any:
        return self._on(next(self.sampler.parameters()).device)

    def check_samples(self, n: int, cycle: np.ndarray | None = None) -> None:
        """Raises ``ValueError`` if there are fewer than ``n`` samples: in a folder of pictures.

        ``cycle``: the classes of the samples in turn, see ``Pictures.draw``.
        """
        if self.pictures and cycle is not None and self.pictures.n_classes:
            self.pictures.check_cycle(n, cycle)
        elif self.pictures and n > len(self.pictures):
            raise ValueError(
                f"{self.pictures.folder}: {n:,} pictures are needed (got {len(self.pictures):,}); add pictures, or use "
                f"a protocol that needs fewer"
            )

    def sample_features(self, n: int, labels: np.ndarray | str | None = None) -> Tensor:
        """Features of the first ``n`` samples: a prefix of one sequence for each kind of ``labels``."""
        rule = labels if isinstance(labels, str) else "turn" if labels is None else f"cycle {labels.tolist()}"
        if rule == "random" and (self.pictures or not self.generator.n_classes):
            rule, labels = "turn", None
        self.check_samples(n, labels if isinstance(labels, np.ndarray) else None)
        known = self._features.get((self.seed, rule))
        store = self.sample_store(rule) if n >= RESUMED else None
        if (known is None or len(known) < n) and (kept := load_stored(store)) is not None:
            known = kept if known is None or len(kept) > len(known) else known
        done = 0 if known is None else len(known)
        if done < n:
            tasks = [self._task(np.arange(i, min(i + self.batch_size, n)), labels)
                     for i in range(done, n, self.batch_size)]  # fmt: skip
            known = extract(self.workers_of_devices, tasks, n - done, "samples", self.precision, store, known)
        assert known is not None
        self._features[self.seed, rule] = known
        return known[:n]

    def class_features(self, label: int, n: int) -> Tensor:
        """Features of the first ``n`` samples of a class: samples ``label``, ``label`` + K, ``label`` + 2K ..."""
        which = np.arange(n) * self.n_classes + label
        tasks = [self._task(which[i : i + self.batch_size], None) for i in range(0, n, self.batch_size)]
        return extract(self.workers_of_devices, tasks, n, f"class {label}", self.precision)

    def _task(self, which: np.ndarray, labels: np.ndarray | str | None) -> Task:
        return lambda worker: self.draw(which, labels, worker.generator)[0]

    def sample_store(self, rule: str) -> Path | None:
        """Where features of 10,000 samples or more are kept; None where the weights have no hash, or none are kept."""
        key = self.settings_key(rule) if self.keep_samples else ""
        return cache_folder() / f"samples-{key}.npy" if key else None

    def finished_classes(self) -> dict[str, float]:
        """The values of ``intra_fid`` that an earlier call has left."""
        store = self.class_store()
        return json.loads(store.read_text(encoding="utf-8")) if store and store.is_file() else {}

    def class_store(self) -> Path | None:
        """Where ``intra_fid`` keeps its finished classes; None where the weights have no hash."""
        key = self.settings_key("intra_fid", self.real.sha256("squashed"))
        return cache_folder() / f"intra-fid-{key}.json" if key else None

    def settings_key(self, *of: str) -> str:
        """A hash of all that samples and their features depend on; empty where the weights have no hash."""
        if not self.weights_sha256:
            return ""
        parts = [
            self.weights_sha256,
            self._form,
            self.seed,
            self.truncation,
            self.batch_norm,
            self.precision,
            self._network,
            RECIPE,
        ]
        return hashlib.sha256(repr([*parts, *of]).encode()).hexdigest()[:16]

    # -----------------------------------------------------------------------------------------------------------------
    # Real images

    @property
    def _network(self) -> str:
        """The start of the hash of Inception's weights, for the names of cached features."""
        return PUBLISHED.sha256[:8] if self.evaluator_sha256 == PUBLISHED.sha256 else SHA1[:8]

    def real_store(self, data: Images) -> Path:
        bf16 = "-bf16" if self.precision == "bf16" else ""
        return cache_folder() / f"features-{self._network}-{data.sha256()[:16]}{bf16}.npy"

    def real_features(self, split: str, n: int | None, balanced: bool = True, of: np.ndarray | None = None) -> Tensor:
        """Features of the first n / K images of each class, interleaved by class as the samples are; ``of``: of these
        classes alone.

        Kept on disk as the longest prefix computed so far.
        """
        data = self.real.split(split)
        if of is not None:
            data = of_classes(data, of, -(-(n or 0) // len(of)))
        index = interleaved(data, n, balanced)
        store = self.real_store(data)
        known = load_stored(store)
        missing = index[0 if known is None else len(known) :]
        if len(missing) or known is None:
            tasks = [_rows(data, missing[i : i + BATCH]) for i in range(0, len(missing), BATCH)]
            known = extract(self.workers_of_devices, tasks, len(missing), f"real {split}", self.precision, store, known)
        return known[: len(index)]


def _rows(data: Images, index: np.ndarray) -> Callable[[Worker], np.ndarray]:
    return lambda worker: np.asarray(data.images[index])
