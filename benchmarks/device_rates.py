"""Measures this machine for the cost predictions: convolutions, memory, overhead of an operation, all-reduce of two.

Prints a row of training/config/devices.json; ``--record`` writes it there and replaces an older row of the same
processor and number of threads. Values are medians; with one thread, of CPU seconds, which other work on the machine
affects less. Two processes then measure at the same time; the row contains the share that each of them reaches.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sngan_hub.layers.normalizers import Conv2d  # noqa: E402
from sngan_hub.layers.resample import conv_down, up_conv  # noqa: E402
from training.config.cost import DEVICES  # noqa: E402
from training.config.dry_run import device_kind  # noqa: E402

#: Typical layers of the 32-, 64- and 128-px networks: kind, channels, side of the input
LAYERS = [("same", 128, 32), ("same", 256, 16), ("same", 512, 8), ("up", 256, 16), ("down", 256, 16), ("same", 64, 64)]
BATCH, REPEATS = 16, 3


def median_seconds(work: Callable[[], object], repeats: int | None = None, wall: bool = False) -> float:
    """The median after one warm-up. ``wall``: include the time of waiting for another process."""
    clock = time.perf_counter if wall or torch.get_num_threads() > 1 else time.process_time
    taken = []
    for _ in range((repeats or REPEATS) + 1):
        start = clock()
        work()
        taken.append(clock() - start)
    return statistics.median(taken[1:])


def conv_flops(dtype: torch.dtype) -> float:
    """FLOP per second of ``LAYERS``, forward and backward, as the networks call them.

    bfloat16: only of the first layer, with few images, because it is slow on processors without bfloat16 instructions.
    """
    whole = dtype == torch.float32
    batch = BATCH if whole else 4
    flops = seconds = 0.0
    for kind, channels, side in LAYERS if whole else LAYERS[:1]:
        x = torch.randn(batch, channels, side, side).to(memory_format=torch.channels_last).requires_grad_()
        conv = Conv2d(channels, channels, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

        def step(kind: str = kind, x: torch.Tensor = x, conv: Conv2d = conv) -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                y = {"same": lambda: conv(x), "up": lambda: up_conv(x, conv, form="fused"),
                     "down": lambda: conv_down(x, conv, form="fused")}[kind]()  # fmt: skip
            y.float().sum().backward()

        taps = 9 if kind == "same" else 16 if kind == "up" else 4  # for each pixel of the input and pair of channels
        flops += 3 * 2 * taps * channels**2 * side**2 * batch
        seconds += median_seconds(step, REPEATS if whole else 1)
    return flops / seconds


def stream_bytes() -> float:
    """Bytes per second, read and written, of the sum of two tensors that are larger than the caches."""
    a, b, out = (torch.ones(16 * 2**20) for _ in range(3))
    return 3 * out.numel() * 4 / median_seconds(lambda: torch.add(a, b, out=out))


def launch_seconds(n: int = 400) -> float:
    """Seconds of one operation on a few numbers, including autograd."""
    x = torch.ones(8, requires_grad=True)

    def chain() -> None:
        y = x
        for _ in range(n):
            y = y * 1.0
        y.sum().backward()

    return median_seconds(chain) / (2 * n)


def rates() -> dict[str, float]:
    return {"fp32": conv_flops(torch.float32), "bf16": conv_flops(torch.bfloat16), "bytes": stream_bytes(),
            "launch": launch_seconds()}  # fmt: skip


def reduce_bytes(numbers: int = 8 * 2**20) -> float:
    """Ring volume per second of gloo's all-reduce, in one of two processes; it equals the bytes of the gradients."""
    gradients = torch.ones(numbers)
    return numbers * 4 / median_seconds(lambda: dist.all_reduce(gradients), wall=True)


def one_of_two() -> None:
    """A process under torchrun: measures at the same time as the other one, then the all-reduce."""
    dist.init_process_group("gloo")
    dist.barrier()
    found = {"fp32": conv_flops(torch.float32), "bytes": stream_bytes()}
    dist.barrier()
    found["reduce"] = reduce_bytes()
    if dist.get_rank() == 0:
        print(json.dumps(found), flush=True)
    dist.destroy_process_group()


def two_at_once(smoke: bool) -> dict[str, float]:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", __file__, "--child"]
    launch += ["--smoke"] if smoke else []
    threads = str(torch.get_num_threads())
    done = subprocess.run(launch, env={**os.environ, "OMP_NUM_THREADS": threads}, stdout=subprocess.PIPE, text=True,
                          check=True)  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the row to training/config/devices.json")
    parser.add_argument("--smoke", action="store_true", help="one small layer, once; nothing is recorded")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.smoke:
        global LAYERS, BATCH, REPEATS
        LAYERS, BATCH, REPEATS, arguments.record = [("same", 8, 16)], 2, 1, False
    if arguments.child:
        one_of_two()
        return
    alone, both = rates(), two_at_once(arguments.smoke)
    row = {
        "name": device_kind("cpu"), "kind": "cpu",
        "flops": {key: float(f"{alone[key]:.3g}") for key in ("fp32", "bf16")}, "bytes": float(f"{alone['bytes']:.3g}"),
        "launch": float(f"{alone['launch']:.3g}"), "inside": float(f"{both['reduce']:.3g}"),
        "between": float(f"{min(both['reduce'], 1.0e8):.3g}"), "per_node": 2,
        "source": f"measured by benchmarks/device_rates.py, torch {torch.__version__}; between nodes: 1 Gb/s assumed",
        "together": {"flops": round(min(1.0, both["fp32"] / alone["fp32"]), 3),
                     "bytes": round(min(1.0, both["bytes"] / alone["bytes"]), 3)},
    }  # fmt: skip
    print(json.dumps(row))
    if arguments.record:
        rows = json.loads(DEVICES.read_text(encoding="utf-8"))
        text = ",\n".join(json.dumps(r) for r in [*(old for old in rows if old["name"] != row["name"]), row])
        DEVICES.write_text(f"[\n{text}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
