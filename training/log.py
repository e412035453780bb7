"""What a run tells while it runs: one JSON line per interval, TensorBoard curves, grids of samples, a cheap gauge."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.utils import save_image

from sngan_hub.resnet import Generator
from sngan_hub.sources import Images

from .data import latents

PER_CLASS = 20


class Log:
    """``out/log.jsonl`` and ``out/tensorboard``. Lines past ``step`` (of a run cut off) are dropped on opening."""

    def __init__(self, out: Path, step: int, spread: Tensor):
        from torch.utils.tensorboard import SummaryWriter

        self.path = out / "log.jsonl"
        if self.path.is_file():
            kept = [line for line in self.path.read_text().splitlines(True) if _step(line) <= step]
            temporary = self.path.with_suffix(".tmp")
            temporary.write_text("".join(kept))
            os.replace(temporary, self.path)
        self.writer = SummaryWriter(str(out / "tensorboard"), purge_step=step)
        self.spread, self.seen, self.clock = spread, step, time.perf_counter()

    def write(self, step: int, values: dict[str, Any], samples: Tensor) -> float:
        """Adds the gauge of ``fixed_samples`` and the seconds per step since the last line; returns its mean."""
        ratio = pixel_spread(samples, PER_CLASS) / self.spread
        now = time.perf_counter()
        values = {**values, "spread": float(ratio.mean()), "spread_worst": float(ratio.min()),
                  "seconds_per_step": (now - self.clock) / (step - self.seen)}  # fmt: skip
        self.seen, self.clock = step, now
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        return values["spread"]

    def close(self) -> None:
        self.writer.close()


def read_log(out: Path) -> list[dict[str, Any]]:
    """The run's lines so far; one that is being written, or was cut off, is left out."""
    path = out / "log.jsonl"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines() if _step(line) < float("inf")]


def _step(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):  # the line that was being written when the run was cut off
        return float("inf")


def fixed_samples(generator: Generator, seed: int, per_class: int = PER_CLASS) -> Tensor:
    """The same latents at every call -> (classes * per_class, 3, S, S) in [-1, 1], class-major, on the CPU."""
    n_classes = max(generator.n_classes, 1)
    device = generator.l1.weight.device
    z, _ = latents(seed, 2**40, 0, n_classes * per_class, generator.z_dim, 0)
    y = torch.arange(n_classes, device=device).repeat_interleave(per_class) if generator.n_classes else None
    training = generator.training
    generator.eval()
    with torch.no_grad():
        images = generator(z.to(device), y).float().cpu()
    generator.train(training)
    return images


def save_grid(images: Tensor, path: Path, per_class: int = PER_CLASS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_image(images, path, nrow=per_class, padding=1, normalize=True, value_range=(-1, 1))


def pixel_spread(images: Tensor, per_class: int) -> Tensor:
    """Mean pairwise distance inside a class, on 8x8 means of the pixels: (classes * per_class, ...) -> (classes,)."""
    small = F.adaptive_avg_pool2d(images, 8).reshape(-1, per_class, 3 * 64)
    return torch.cdist(small, small).sum((1, 2)) / (per_class * (per_class - 1))


def real_spread(data: Images) -> Tensor:
    """``pixel_spread`` of real images, the denominator of the gauge: about 1 is real variety, 0 one picture."""
    per_class = min(100, min((data.labels == label).sum() for label in range(len(data.classes))))
    chosen = [i for label in range(len(data.classes)) for i in (data.labels == label).nonzero()[0][:per_class]]
    return pixel_spread(torch.from_numpy(data.images[chosen]).float() / 127.5 - 1, int(per_class))
