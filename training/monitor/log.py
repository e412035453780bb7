"""Logs a run: JSON lines, TensorBoard curves, grids of samples, and the spread of the samples within a class."""

from __future__ import annotations

import statistics
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sngan_hub.data import Images
from sngan_hub.data.images import evenly
from sngan_hub.files import append_json, read_json_lines, write_atomically, write_json_lines
from sngan_hub.metrics.spectrum import spectra
from sngan_hub.networks.base import AnyDiscriminator, AnyGenerator
from sngan_hub.sampling.generate import outputs

from ..engine.run_folder import LINES
from ..feed.draws import latents

PER_CLASS = 20
SHOWN = 10  # number of classes in sample grids and the spread, evenly spaced over all classes


class Log:
    """Writes ``out/log.jsonl``, ``out/spectrum.jsonl`` and ``out/tensorboard``.

    When a run resumes, lines after ``step`` are removed from the files that the run has written.
    """

    def __init__(self, out: Path, step: int, spread: Tensor):
        from torch.utils.tensorboard import SummaryWriter

        self.path = out / "log.jsonl"
        for path in (out / name for name in LINES if (out / name).is_file()):
            write_json_lines(path, [row for row in read_lines(path) if row["step"] <= step])
        self.writer = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)
        self.spread, self.seen, self.clock, self.waited = spread, step, time.perf_counter(), 0.0

    def write(self, step: int, values: dict[str, Any], samples: Tensor, waited: float = 0.0) -> float:
        """Writes a line with the spread of ``fixed_samples``, the seconds per step since the last line, and the part of
        them spent waiting for data. Returns the mean spread. ``waited``: total waiting time of this process.
        """
        ratio = pixel_spread(samples, PER_CLASS) / self.spread
        now = time.perf_counter()
        values = {**values, "spread": float(ratio.mean()), "spread_worst": float(ratio.min()),
                  "seconds_per_step": (now - self.clock) / (step - self.seen),
                  "data_wait_per_step": (waited - self.waited) / (step - self.seen)}  # fmt: skip
        self.seen, self.clock, self.waited = step, now, waited
        append_json(self.path, {"step": step, **values})
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        return values["spread"]

    def write_spectrum(self, step: int, discriminator: AnyDiscriminator) -> None:
        """Per layer: the largest and smallest singular values of the effective weight, sigma, and the stable rank."""
        layers = {
            row.layer: {"largest": float(row.values[0]), "smallest": float(row.values[-1]), "sigma": row.sigma,
                        "stable_rank": row.stable_rank}
            for row in spectra(discriminator)
        }  # fmt: skip
        append_json(self.path.with_name("spectrum.jsonl"), {"step": step, "layers": layers})
        for name, values in layers.items():
            self.writer.add_scalar(f"largest_singular_value/{name}", values["largest"], step)

    def close(self) -> None:
        self.writer.close()


def read_log(out: Path) -> list[dict[str, Any]]:
    return read_lines(out / "log.jsonl")


def hours_of(log: list[dict[str, Any]], until: int | None = None) -> float:
    """Hours of training that the lines of a log tell of, up to step ``until`` (None: all).

    Time in which the run was suspended does not count: a line counts at most three times the median seconds per step of
    five neighbouring lines. These follow a run that has moved to another machine. The first line counts at most the
    steps of the longest other line, because an imported run starts at a high step.
    """
    seconds, ends = [row["seconds_per_step"] for row in log], [row["step"] for row in log]
    longest = max((end - before for before, end in pairwise(ends)), default=None)
    total, start = 0.0, max(0, ends[0] - longest) if longest else 0
    for i, end in enumerate(ends):
        steps = (end if until is None else min(end, until)) - start
        total += max(0, steps) * min(seconds[i], 3 * statistics.median(seconds[max(0, i - 2) : i + 3]))
        start = end
    return round(total / 3600, 2)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a run's log. A partly written line is ignored."""
    return [row for row in read_json_lines(path) if isinstance(row, dict) and "step" in row]


def shown_classes(n_classes: int) -> list[int]:
    n = min(n_classes, SHOWN)
    return [round(i * (n_classes - 1) / max(n - 1, 1)) for i in range(n)]


def fixed_samples(generator: AnyGenerator, seed: int, per_class: int = PER_CLASS) -> Tensor:
    """Samples with fixed latents -> (shown classes * per_class, 3, S, S) in [-1, 1], class-major, on the CPU."""
    shown = shown_classes(max(generator.n_classes, 1))
    z, _ = latents(seed, 2**40, 0, len(shown) * per_class, generator.z_dim, 0)
    y = torch.tensor(shown).repeat_interleave(per_class)
    batches = zip(z.split(50), y.split(50), strict=True)
    return torch.cat([images.float().cpu() for images, _ in outputs(generator, batches)])


def save_grid(images: Tensor, path: Path, per_class: int = PER_CLASS) -> None:
    from torchvision.utils import save_image  # takes seconds, because it imports all of torchvision's networks

    path.parent.mkdir(parents=True, exist_ok=True)
    look: dict[str, Any] = dict(nrow=per_class, padding=1, normalize=True, value_range=(-1, 1), format="png")
    write_atomically(path, lambda temporary: save_image(images, temporary, **look))


def pixel_spread(images: Tensor, per_class: int) -> Tensor:
    """Mean pairwise distance within a class, on 8x8 means of the pixels: (classes * per_class, ...) -> (classes,)."""
    small = F.adaptive_avg_pool2d(images, 8).reshape(-1, per_class, 3 * 64)
    return torch.cdist(small, small).sum((1, 2)) / max(per_class * (per_class - 1), 1)


def real_spread(data: Images, n_classes: int) -> Tensor:
    """``pixel_spread`` of real images, by which the logged spread is divided.

    ``n_classes`` 0: all images are one class.
    """
    labels = data.labels if n_classes else np.zeros_like(data.labels)
    of = [np.flatnonzero(labels == label) for label in shown_classes(max(n_classes, 1))]
    chosen = [index[evenly(len(index), 100)] for index in of]  # not the first: without classes, those are of one folder
    pixels = [torch.from_numpy(np.array(data.images[index])).float() / 127.5 - 1 for index in chosen]
    spread = torch.cat([pixel_spread(images, len(images)) for images in pixels])
    single = torch.tensor([len(index) == 1 for index in chosen])
    if single.any() and not single.all():  # one image has no spread: that of a class of the same data comes nearest
        spread[single] = spread[~single].mean()
    return spread.clamp(min=1e-3)  # the spread of copies is 0
