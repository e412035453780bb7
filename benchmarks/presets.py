"""Measures two iterations of every preset at full width: seconds, memory. ``python benchmarks/presets.py [PRESET ...]``

Uses synthetic images of the preset's size, and micro-batches if the batch-norm groups allow them. Each preset runs in a
separate process, so that peak memory is measured separately. ``--record`` writes the rows to
training/config/throughput.json, from which a dry run computes hours on the same kind of device.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from accelerate import Accelerator  # noqa: E402

from sngan_hub.data import Images  # noqa: E402
from sngan_hub.networks.registry import find_model  # noqa: E402
from training.config.dry_run import THROUGHPUT, device_kind, forward_flops, iteration_flops, read_throughput  # noqa: E402
from training.config.schema import PRESETS, Config, make_config  # noqa: E402
from training.engine.state import new_networks, new_state  # noqa: E402
from training.engine.step import train_step  # noqa: E402
from training.feed.feed import new_feed  # noqa: E402

ITERATIONS = 2
CLASSES_OF_OURS = 10


def run(config: Config) -> dict:
    size = find_model(config.architecture).size
    n_classes = config.n_classes or CLASSES_OF_OURS
    stored = config.stored_size or size
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2 * config.batch_size, 3, stored, stored), dtype=np.uint8)
    data = Images(images, np.arange(len(images)) % n_classes, [str(i) for i in range(n_classes)])
    accelerator = Accelerator(cpu=config.device == "cpu", mixed_precision="no")
    state = new_state(config, data.classes, accelerator.device)
    with torch.device("meta"):
        flops = [forward_flops(network) for network in new_networks(config, n_classes)]
    feed, seconds = new_feed(data, config, state, accelerator), []
    for _ in range(ITERATIONS + (1 if config.device != "cpu" else 0)):  # on a GPU, the first iteration is a warm-up
        start = time.perf_counter()
        losses = {key: float(value) for key, value in train_step(state, config, feed, accelerator).items()}
        seconds.append(time.perf_counter() - start)
    feed.close()
    assert all(np.isfinite(list(losses.values()))), losses
    best = min(seconds)
    tflop = iteration_flops(config, *flops) / 1e12
    cuda = config.device.startswith("cuda")
    peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "device": device_kind(config.device), "preset": config.preset, "architecture": config.architecture,
        "precision": config.precision, "micro_batch": config.micro_batch, "channels_last": config.channels_last,
        "seconds": [round(s, 3) for s in seconds], "tflop": round(tflop, 4), "tflops": round(tflop / best, 4),
        "peak_memory_gb": round(peak / 1e9, 2), "torch": str(torch.__version__),
    }  # fmt: skip


def micro_batch(preset: str) -> int:
    """A size of whole batch-norm groups of both phases, if there are groups."""
    config = make_config(preset)
    return max(config.bn_group_d, config.bn_group_g)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("presets", nargs="*", metavar="PRESET", default=[])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="")
    parser.add_argument("--whole", action="store_true", help="no micro-batches")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="one preset with few images, as a test of the script")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    overrides: dict = {"device": arguments.device, "channels_last": True}
    if arguments.smoke:
        overrides |= {"batch_size": 4, "g_batch_size": 4}
    if arguments.precision:
        overrides["precision"] = arguments.precision
    if arguments.one:
        (preset,) = arguments.presets
        size = 0 if arguments.whole else micro_batch(preset)
        print(json.dumps(run(make_config(preset, micro_batch=size, **overrides))))
        return 0
    failed = 0
    for preset in arguments.presets or (["fashion32"] if arguments.smoke else PRESETS):
        command = [sys.executable, __file__, preset, "--one", "--device", arguments.device]
        command += ["--precision", arguments.precision] if arguments.precision else []
        command += ["--whole"] if arguments.whole else []
        command += ["--smoke"] if arguments.smoke else []
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            print(f"{preset}: failed with exit code {done.returncode}", flush=True)
            failed = 1
            continue
        row = json.loads(done.stdout.splitlines()[-1])
        seconds = ", ".join(f"{s:.2f}" for s in row["seconds"])
        speed = f"{row['tflops']:.3f} TFLOP/s, peak {row['peak_memory_gb']:.1f} GB"
        how = f"micro-batch {row['micro_batch'] or 'none'}"
        print(f"{preset:28}{row['precision']:5} {seconds} s, {speed}, {how}", flush=True)
        if arguments.record:
            key = ("device", "preset", "precision", "micro_batch")
            rows = [old for old in read_throughput() if any(old[k] != row[k] for k in key)]
            text = ",\n".join(json.dumps(r) for r in [*rows, row])
            THROUGHPUT.write_text(f"[\n{text}\n]\n", encoding="utf-8")
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
