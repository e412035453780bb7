"""Compares predicted with measured times: two presets, one process and two, one thread each.

Writes benchmarks/records/cost.jsonl. Needs the device's row in devices.json: ``OMP_NUM_THREADS=1 python
benchmarks/device_rates.py --record``. Two processes use torchrun and gloo. CPU seconds are recorded as well: other work
on the machine affects them less than wall-clock time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from accelerate import Accelerator  # noqa: E402

from sngan_hub.data import Images  # noqa: E402
from sngan_hub.files import read_json_lines, write_json_lines  # noqa: E402
from training.config.cost import count_iteration, find_device, predict, read_devices  # noqa: E402
from training.config.dry_run import device_kind  # noqa: E402
from training.config.schema import Config, make_config  # noqa: E402
from training.engine.state import new_state  # noqa: E402
from training.engine.step import train_step  # noqa: E402
from training.feed.feed import new_feed  # noqa: E402

RECORD = ROOT / "benchmarks" / "records" / "cost.jsonl"
CLASSES = 10

#: preset -> changed settings, so that two processes can share a batch and an iteration takes seconds
RUNS: dict[str, dict[str, Any]] = {
    "fashion32": dict(precision="fp32", bn_group_d=32, bn_group_g=32),
    "dogcat64": dict(batch_size=16, g_batch_size=16, bn_group_d=8, bn_group_g=8, n_dis=2, channels_last=True),
}


def config_of(preset: str) -> Config:
    return make_config(preset, **{**RUNS[preset], "n_classes": CLASSES})


def child(preset: str, iterations: int) -> None:
    """One of the processes: prints wall and CPU seconds of each iteration after the first."""
    config = config_of(preset)
    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    classes = [str(i) for i in range(CLASSES)]
    state = new_state(config, classes)
    size, rng = state.generator.size, np.random.default_rng(0)
    images = rng.integers(0, 256, (2 * config.batch_size, 3, size, size), dtype=np.uint8)
    feed = new_feed(Images(images, np.arange(len(images)) % CLASSES, classes), config, state, accelerator)
    wall, cpu = [], []
    for _ in range(iterations + 1):
        accelerator.wait_for_everyone()
        start = time.perf_counter(), time.process_time()
        train_step(state, config, feed, accelerator)
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    feed.close()
    if accelerator.is_main_process:
        print(json.dumps({"seconds": wall[1:], "cpu_seconds": cpu[1:]}), flush=True)
    accelerator.end_training()


def measure(preset: str, processes: int, iterations: int, smoke: bool) -> dict[str, list[float]]:
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    command = [sys.executable, *launch, __file__, "--child", preset, "--iterations", str(iterations)]
    command += ["--smoke"] if smoke else []
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True,
                          check=True)  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument(
        "--smoke", action="store_true", help="one small preset, with the rates of any CPU; nothing is recorded"
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.iterations, arguments.no_record = 1, True
        RUNS.pop("dogcat64")
        RUNS["fashion32"] |= dict(batch_size=4, g_batch_size=4, bn_group_d=2, bn_group_g=2)
    if arguments.child:
        child(arguments.child, arguments.iterations)
        return
    torch.set_num_threads(1)
    device = find_device(device_kind("cpu"))
    if arguments.smoke:
        device = device or next(row for row in read_devices().values() if row.kind == "cpu")
    if device is None:
        parser.error(f"devices.json has no rates for {device_kind('cpu')}; run OMP_NUM_THREADS=1 python "
                     f"benchmarks/device_rates.py --record")  # fmt: skip
    rows = []
    for preset in RUNS:
        for processes in (1, 2):
            predicted = predict(count_iteration(config_of(preset), CLASSES, processes), device)
            found = measure(preset, processes, arguments.iterations, arguments.smoke)
            seconds, cpu = (statistics.median(found[key]) for key in ("seconds", "cpu_seconds"))
            rows.append({
                "device": device.name, "preset": preset, "fields": RUNS[preset], "processes": processes,
                "n": arguments.iterations, "predicted": round(predicted.total, 4), "seconds": round(seconds, 4),
                "range": [round(min(found["seconds"]), 4), round(max(found["seconds"]), 4)],
                "cpu_seconds": round(cpu, 4), "predicted_over_measured": round(predicted.total / seconds, 3),
                "predicted_over_cpu": round(predicted.total / cpu, 3),
                "parts": {key: round(value, 4) for key, value in predicted._asdict().items()},
                "torch": str(torch.__version__),
            })  # fmt: skip
            print(f"{preset:12}processes {processes}: predicted {predicted.total:.3g} s, measured {seconds:.3g} s "
                  f"({cpu:.3g} CPU s): {predicted.total / seconds:.2f}", flush=True)  # fmt: skip
    if not arguments.no_record:
        others = [row for row in read_json_lines(RECORD) if row["device"] != device.name]
        write_json_lines(RECORD, others + rows)


if __name__ == "__main__":
    main()
