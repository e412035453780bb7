"""Seconds of a D step and a G step at 128 px, and of a whole iteration at 32 px, by form. Sampling: speed.py.

    python benchmarks/steps.py [--part d g iteration] [--threads 2] [--mimicry CLONE] [--before CHECKOUT] [--record]

``plain`` is a straightforward implementation: contiguous float32, interpolate then convolve, convolve then pool,
torch's own spectral norm, two calls of D, torch's Adam. The forms alternate in one process; after two warm-ups,
medians of ``--repeats``. Weights change during the measurement. One JSON line for each part; ``--record`` adds
them to benchmarks/records/steps.jsonl, from which ``python -m training tables`` prints the README's table.
``--mimicry``: a clone of kwotsin/mimicry, whose networks at the paper's width then run beside ours. ``--before``:
another checkout of this repository, whose iterations alternate with ours, each in a process of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from accelerate import Accelerator  # noqa: E402

from sngan_hub import create_discriminator, create_generator  # noqa: E402
from sngan_hub.files import append_json  # noqa: E402
from sngan_hub.layers.normalizers import Conv2d, Embedding, Linear  # noqa: E402
from sngan_hub.metrics.protocols import machine, versions  # noqa: E402
from sngan_hub.networks.registry import find_model  # noqa: E402
from training.config.schema import Config, make_config  # noqa: E402
from training.engine.losses import LOSSES  # noqa: E402
from training.engine.state import State, new_state  # noqa: E402
from training.engine.step import discriminator_step, generator_step, images_for_d  # noqa: E402
from training.feed.feed import Fake, Iteration, Real  # noqa: E402

RECORD = ROOT / "benchmarks" / "records" / "steps.jsonl"
HINGE = LOSSES["hinge"]


class Plain:
    """An implementation without the optimisations of this package."""

    def __init__(self, architecture: str, n_classes: int):
        self.g = create_generator(architecture, n_classes=n_classes)
        self.d = create_discriminator(architecture, n_classes=n_classes, normalizer="none")
        for network in (self.g, self.d):
            network.train().set_resampling("plain")
        for layer in self.d.modules():
            if isinstance(layer, Conv2d | Linear | Embedding):
                nn.utils.spectral_norm(layer)  # type: ignore[arg-type]
        if self.d.embed is not None:  # the hook runs where the layer is called
            table = nn.utils.spectral_norm(nn.Embedding(n_classes, self.d.embed.embedding_dim))
            object.__setattr__(table, "lookup", lambda y, strength: table(y))
            self.d.embed = table
        self.opt_g, self.opt_d = (torch.optim.Adam(n.parameters(), 2e-4, (0.0, 0.9)) for n in (self.g, self.d))

    def sample(self, batch: int) -> None:
        with torch.no_grad():
            self.g.eval()(*self.latents(batch))
        self.g.train()

    def latents(self, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(batch, self.g.z_dim), torch.randint(self.g.n_classes, (batch,))

    def d_step(self, batch: int, real: torch.Tensor, labels: torch.Tensor) -> None:
        z, y = self.latents(batch)
        with torch.no_grad():
            fake = self.g(z, y)
        self.opt_d.zero_grad()
        (HINGE.real(self.d(real, labels)) + HINGE.fake(self.d(fake, y))).backward()
        self.opt_d.step()

    def g_step(self, batch: int) -> None:
        z, y = self.latents(batch)
        for p in self.d.parameters():
            p.requires_grad_(False)
        self.opt_g.zero_grad()
        HINGE.generator(self.d(self.g(z, y), y)).backward()
        self.opt_g.step()
        for p in self.d.parameters():
            p.requires_grad_(True)


class Mimicry(Plain):
    """The same steps of mimicry's own networks, from a clone, its D widened to the paper's 1,024 channels."""

    def __init__(self, clone: str, n_classes: int):
        sys.path.insert(0, clone)
        from torch_mimicry.nets.cgan_pd import (  # type: ignore[import-not-found]
            cgan_pd_128,
        )

        self.g = cgan_pd_128.CGANPDGenerator128(num_classes=n_classes)
        self.g.z_dim, self.g.n_classes = self.g.nz, n_classes
        self.d = cgan_pd_128.CGANPDDiscriminator128(num_classes=n_classes, ndf=1024)
        self.opt_g, self.opt_d = (torch.optim.Adam(n.parameters(), 2e-4, (0.0, 0.9)) for n in (self.g, self.d))


class Ours:
    def __init__(self, config: Config, n_classes: int):
        self.config = config
        self.accelerator = Accelerator(cpu=True)
        self.state: State = new_state(config, [str(i) for i in range(n_classes)])

    def d_step(self, batch: int, real: torch.Tensor, labels: torch.Tensor) -> None:
        drawn = self.iteration(batch, [Real(real, None, labels)])
        fakes = images_for_d(self.state, self.config, drawn.fake_d[0], self.accelerator)
        discriminator_step(self.state, self.config, drawn, 0, fakes, self.accelerator)

    def g_step(self, batch: int) -> None:
        generator_step(self.state, self.config, self.iteration(batch, []), self.accelerator)

    def iteration(self, batch: int, real: list[Real]) -> Iteration:
        """The inputs of a step of G or of a step of D, without augmentation."""
        g = self.state.generator
        fake = Fake(torch.randn(batch, g.z_dim), torch.randint(g.n_classes, (batch,)))
        return Iteration(real, fake, [fake], [], [[]], [[]], [])


def alternate(
    contestants: dict[str, Callable[[], Any]], repeats: int, warm_ups: int = 2
) -> dict[str, dict[str, float]]:
    """Median and range of each form in seconds, measured in turns."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for repeat in range(warm_ups + repeats):
        for name, act in contestants.items():
            start = time.perf_counter()
            act()
            if repeat >= warm_ups:
                times[name].append(time.perf_counter() - start)
    return {name: {"median_s": round(statistics.median(taken), 4), "range_s": round(max(taken) - min(taken), 4)}
            for name, taken in times.items()}  # fmt: skip


def forms(precisions: list[str], compiled: bool) -> dict[str, dict[str, Any]]:
    """Forms of this package: name -> fields of the config."""
    found = {}
    for precision in precisions:
        for one_pass in (False, True):
            for compile in ("off", "on") if compiled else ("off",):
                name = f"ours {precision}{', one pass' if one_pass else ''}{', compiled' if compile == 'on' else ''}"
                found[name] = {"precision": precision, "one_pass": one_pass, "compile": compile}
    return found


def steps_at_128(part: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Batch 8 of 1,000 classes at the paper's width; D steps with 8 real and 8 generated images."""
    preset, batch = ("fashion32", 8) if options.smoke else ("imagenet128_projection", 8)
    base = make_config(preset, batch_size=batch, g_batch_size=batch, bn_group_d=0, bn_group_g=0, channels_last=True,
                       augment="", transition_from=0, transition_to=0, ema_decay=0.0, lr_g=2e-4, lr_d=2e-4)  # fmt: skip
    model = find_model(base.architecture)
    n = model.n_classes
    torch.manual_seed(0)
    real, labels = torch.randn(batch, 3, model.size, model.size).clamp(-1, 1), torch.randint(n, (batch,))
    rivals: dict[str, Any] = {"plain": Plain(base.architecture, n)}
    if options.mimicry and not options.smoke:
        rivals["mimicry"] = Mimicry(options.mimicry, n)
    for name, fields in forms(options.precision, options.compile).items():
        if part == "d" or not fields["one_pass"]:
            rivals[name] = Ours(dataclasses.replace(base, **fields), n)
    acts = {
        name: (lambda own=own: own.d_step(batch, real, labels)) if part == "d" else (lambda own=own: own.g_step(batch))
        for name, own in rivals.items()
    }
    return alternate(acts, options.repeats)


#: A process that makes iterations on demand, in any checkout: "go" on its input, seconds on its output.
WORKER = """
import sys, time, json
import numpy as np, torch
from accelerate import Accelerator
from sngan_hub.data import Images
from training.config.schema import make_config
from training.engine.state import new_state
from training.engine.step import train_step
fields = json.loads(sys.argv[1])
torch.set_num_threads(fields["threads"])
config = make_config(fields.pop("preset"), **fields)
rng = np.random.default_rng(0)
data = Images(rng.integers(0, 256, (640, 3, 32, 32), dtype=np.uint8), np.arange(640) % 10, [str(i) for i in range(10)])
accelerator = Accelerator(cpu=True, mixed_precision="no")
state = new_state(config, data.classes, accelerator.device)
try:
    from training.feed.feed import new_feed
    feed = new_feed(data, config, state, accelerator)
except ImportError:  # a checkout from before it
    from training.feed.draws import Feed
    feed = Feed(data, config, 32)
for line in sys.stdin:
    start = time.perf_counter()
    train_step(state, config, feed, accelerator)
    print(time.perf_counter() - start, flush=True)
"""


def iterations_at_32(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """The preset of the included models after its class transition, batch 64, n_dis 1 and 2."""
    workers: dict[str, subprocess.Popen] = {}
    for n_dis in (1,) if options.smoke else (1, 2):
        for precision in options.precision:
            shared = {"preset": "fashion32", "n_dis": n_dis, "precision": precision, "threads": options.threads,
                      "transition_from": 0, "transition_to": 0}  # fmt: skip
            if options.smoke:
                shared |= {"batch_size": 4, "g_batch_size": 4}
            rivals = {"ours": (ROOT, {})}
            if options.compile:
                rivals["ours, compiled"] = (ROOT, {"compile": "on"})
            if options.before:
                rivals["before"] = (Path(options.before), {})
            for name, (checkout, fields) in rivals.items():
                workers[f"{name} {precision}, n_dis {n_dis}"] = subprocess.Popen(
                    [sys.executable, "-c", WORKER, json.dumps({**shared, **fields})], stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE, text=True, cwd=checkout,
                    env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(options.threads)},
                )  # fmt: skip

    def one(worker: subprocess.Popen) -> float:
        assert worker.stdin and worker.stdout
        worker.stdin.write("go\n")
        worker.stdin.flush()
        line = worker.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker process ended with exit code {worker.wait()}")
        return float(line)

    times: dict[str, list[float]] = {name: [] for name in workers}
    first = {name: one(worker) for name, worker in workers.items()}  # with the time to compile
    for repeat in range(options.repeats + 1):
        for name, worker in workers.items():
            seconds = one(worker)
            times[name] += [seconds] if repeat else []
    for worker in workers.values():
        worker.communicate()
    return {name: {"median_s": round(statistics.median(taken), 4), "range_s": round(max(taken) - min(taken), 4),
                   "first_s": round(first[name], 1)} for name, taken in times.items()}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=("d", "g", "iteration"), default=["d", "g", "iteration"])
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="also measure compiled forms")
    parser.add_argument("--mimicry", metavar="CLONE")
    parser.add_argument("--before", metavar="CHECKOUT")
    parser.add_argument("--smoke", action="store_true", help="small, once, as a test of the script")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    if options.smoke:
        options.repeats, options.precision, options.threads = 1, ["fp32"], 1
    torch.set_num_threads(options.threads)
    for part in options.part:
        found = iterations_at_32(options) if part == "iteration" else steps_at_128(part, options)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        about = {"benchmark": "steps", "part": part, "batch": 64 if part == "iteration" else 8, "n": options.repeats}
        row = {**about, "machine": machine(), **versions(), "forms": found, "peak_rss_gb": round(peak / 1e6, 2)}
        print(json.dumps(row), flush=True)
        if options.record and not options.smoke:
            append_json(RECORD, row)


if __name__ == "__main__":
    main()
