"""Runs every test and benchmark that needs a GPU, in pieces of under ten minutes: ``make gpu``.

Each piece runs in a separate process and adds one JSON line to benchmarks/records/gpu.jsonl, keyed by the device and
the name of the piece; the same command runs the missing pieces. ``tests`` runs the tests that need CUDA, ``resample``
writes this device's rows of sngan_hub/layers/resample_table.json, ``sample`` generates images,
``train:PRESET:PRECISION`` times the D step, the G step and the whole iteration of a preset, and ``compile:PRESET``
times the iteration uncompiled, compiled and as CUDA graphs. Without a GPU, ``--small`` runs the script on the CPU with
narrow networks; these timings are not meaningful and are written to the file after ``--record``.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from accelerate import Accelerator  # noqa: E402

from benchmarks import resample  # noqa: E402
from sngan_hub import create_generator  # noqa: E402
from sngan_hub.files import read_json_lines, write_json_lines  # noqa: E402
from training.config.cost import CountOps, Drawn, count_iteration, find_device, predict  # noqa: E402
from training.config.dry_run import device_kind  # noqa: E402
from training.config.schema import Config, make_config  # noqa: E402
from training.engine.machine import decide_compile, set_up  # noqa: E402
from training.engine.state import new_state  # noqa: E402
from training.engine.step import discriminator_step, generator_step, images_for_d, train_step  # noqa: E402
from training.feed.augment import augment_draws  # noqa: E402
from training.feed.feed import Draws, Fake, Iteration, Real  # noqa: E402

RECORD = ROOT / "benchmarks" / "records" / "gpu.jsonl"
MINUTES = 10  # no piece may take longer
PRESETS = ("imagenet128_projection", "imagenet64", "fashion32")
PRECISIONS = ("fp32", "bf16")
SAMPLED = ("sngan_imagenet128", "sngan_imagenet64", "sngan_fashion32")
CLASSES = 10  # if the data determine the number of classes


@dataclasses.dataclass(frozen=True)
class Run:
    device: str  # cuda or cpu
    small: bool
    table: Path

    @property
    def repeats(self) -> int:
        return 1 if self.small else 5

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def median_seconds(self, act: Callable[[], object]) -> float:
        """Seconds of ``repeats`` calls, after two warm-ups: cuDNN selects algorithms in the first call."""
        taken = []
        for repeat in range(self.repeats + 2):
            self.wait()
            start = time.perf_counter()
            act()
            self.wait()
            taken += [time.perf_counter() - start] if repeat >= 2 else []
        return statistics.median(taken)

    def peak_memory(self) -> int:
        if self.device == "cuda":
            return torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# Pieces --------------------------------------------------------------------------------------------------------------


def run_tests(run: Run) -> dict[str, Any]:
    """The tests that need CUDA. Without CUDA, all are skipped."""
    command = [sys.executable, "-m", "pytest", "-m", "cuda", "tests/test_cuda.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    sys.stderr.write(done.stdout + done.stderr)
    last = (done.stdout.splitlines() or [""])[-1]
    found = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    if done.returncode not in (0, 1) or not found:
        raise RuntimeError(f"pytest ended with exit code {done.returncode} and {last!r}")
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return {"passed": found.get("passed", 0), "skipped": found.get("skipped", 0), "failed": failed}


def measure_resampling(run: Run) -> dict[str, Any]:
    layers = sorted(resample.shapes(), key=lambda layer: (layer[3], *layer))[: 2 if run.small else None]
    dtypes = torch.float32, torch.bfloat16
    rows = dict(resample.measure_layer(layer, dtype, run.device) for layer in layers for dtype in dtypes)
    resample.write_table(rows, run.table)
    return {"layers": len(rows), "fused": sum(row["fused"] for row in rows.values()), "rows": rows}


@torch.no_grad()
def measure_sampling(run: Run) -> dict[str, Any]:
    """Images per second of the fast copy for sampling, by network, precision and batch."""
    found = {}
    for name in SAMPLED[-1:] if run.small else SAMPLED:
        generator = create_generator(name).eval().to(run.device)
        for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            fast = generator.for_sampling(dtype)
            for batch in (1, 2) if run.small else (1, 8, 64, 256):
                z = torch.randn(batch, generator.z_dim, device=run.device)
                y = torch.zeros(batch, dtype=torch.int64, device=run.device) if generator.n_classes else None
                seconds = run.median_seconds(lambda fast=fast, z=z, y=y: fast(z, y))
                found[f"{name}, {precision}, batch {batch}"] = round(batch / seconds, 2)
    return {"images_per_s": found, "peak_memory_gb": round(run.peak_memory() / 1e9, 3)}


def config_of(preset: str, precision: str, run: Run) -> Config:
    """The preset with the recommended settings for a GPU, but uncompiled, like the predictions."""
    fields: dict[str, Any] = {"speed": "gpu" if precision == "bf16" else "", "precision": precision, "compile": "off",
                              "channels_last": True, "device": run.device}  # fmt: skip
    config = make_config(preset, **fields)
    if not run.small:
        return config
    blocks = {"imagenet128_projection": 6, "imagenet64": 5, "fashion32": 4}[preset]
    narrow = json.dumps({"widths": [4] * blocks})
    return dataclasses.replace(config, generator_fields=narrow, discriminator_fields=narrow, n_dis=1, batch_size=4,
                               g_batch_size=4, bn_group_d=0, bn_group_g=0)  # fmt: skip


def drawn_once(config: Config, z_dim: int, size: int, n_classes: int, device: torch.device) -> Iteration:
    """The data of an iteration on the device. The feed has a separate benchmark, feed.py."""

    def labels(n: int) -> torch.Tensor:
        return torch.randint(max(n_classes, 1), (n,), device=device)

    def fake(n: int) -> Fake:
        return Fake(torch.randn(n, z_dim, device=device), labels(n) if n_classes else None)

    def augmentation(n: int, part: int) -> Draws:
        drawn = augment_draws(config.augmentations(), 0, 0, part, n, size)
        return [torch.from_numpy(values).to(device) for values in drawn]

    n, shape, steps = config.batch_size, (config.batch_size, 3, size, size), range(config.n_dis)
    return Iteration(
        real=[Real(torch.randint(256, shape, dtype=torch.uint8, device=device), torch.rand(shape, device=device),
                   labels(n)) for _ in steps],
        fake_g=fake(config.g_batch_size),
        fake_d=[fake(n) for _ in steps],
        augment_g=augmentation(config.g_batch_size, 0),
        augment_real=[augmentation(n, 2 * i + 1) for i in steps],
        augment_fake=[augmentation(n, 2 * i + 2) for i in steps],
        points=[torch.rand(n, device=device) for _ in steps] if config.penalty else [],
    )  # fmt: skip


def measure_training(preset: str, precision: str, run: Run) -> dict[str, Any]:
    config = decide_compile(set_up(config_of(preset, precision, run)))
    n_classes = config.n_classes or CLASSES
    accelerator = Accelerator(cpu=run.device == "cpu", mixed_precision="no")
    state = new_state(config, [str(i) for i in range(n_classes)], accelerator.device)
    state.step = config.transition_to  # after the class transition
    g = state.generator
    drawn = drawn_once(config, g.z_dim, g.size, g.n_classes, accelerator.device)

    def d_step() -> None:
        fakes = images_for_d(state, config, drawn.fake_d[0], accelerator)
        discriminator_step(state, config, drawn, 0, fakes, accelerator)

    def iteration() -> None:
        train_step(state, config, Drawn(drawn), accelerator)

    if run.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    of_d = run.median_seconds(d_step)
    of_g = run.median_seconds(lambda: generator_step(state, config, drawn, accelerator))
    whole = run.median_seconds(iteration)
    peak = run.peak_memory()
    cost = count_iteration(config, n_classes, 1, run.device)
    row = find_device(device_kind(run.device))
    multiplied_in = "bf16" if precision == "bf16" else "tf32" if config.tf32 else "fp32"
    best = row.peak[multiplied_in] if row and row.peak else None
    images = config.n_dis * config.batch_size
    return {
        "preset": preset, "precision": precision, "one_pass": config.one_pass, "tf32": config.tf32,
        "d_step_s": round(of_d, 5), "g_step_s": round(of_g, 5), "iteration_s": round(whole, 5),
        "real_images_per_s": round(images / whole, 2), "tflop": round(cost.flops / 1e12, 5),
        "mfu": round(cost.flops / whole / best, 4) if best else None, "peak_memory_gb": round(peak / 1e9, 3),
        "launches": count_launches(iteration, run), "counted_launches": cost.launches,
        "predicted_s": round(predict(cost, row).total, 5) if row else None,
        "hours": round(whole * config.steps / 3600, 2), "steps": config.steps,
    }  # fmt: skip


def measure_compiling(preset: str, run: Run) -> dict[str, Any]:
    """Seconds of an iteration in bfloat16, and of the first iteration of each form, which compiles it."""
    seconds, first = {}, {}
    for form in ("off", "on", "graphs", "graphs_only")[: 2 if run.device == "cpu" else None]:
        config = set_up(dataclasses.replace(config_of(preset, "bf16", run), compile=form))
        accelerator = Accelerator(cpu=run.device == "cpu", mixed_precision="no")
        state = new_state(config, [str(i) for i in range(config.n_classes or CLASSES)], accelerator.device)
        state.step = config.transition_to  # after the class transition
        g = state.generator
        feed = Drawn(drawn_once(config, g.z_dim, g.size, g.n_classes, accelerator.device))
        start = time.perf_counter()
        train_step(state, config, feed, accelerator)
        run.wait()
        first[form] = round(time.perf_counter() - start, 1)
        seconds[form] = round(run.median_seconds(partial(train_step, state, config, feed, accelerator)), 5)
    return {"preset": preset, "precision": "bf16", "iteration_s": seconds, "first_s": first}


def count_launches(act: Callable[[], None], run: Run) -> int:
    """Number of kernel launches: from the profiler on a GPU, from the operations on a CPU."""
    if run.device != "cuda":
        with CountOps() as counter:
            act()
        return counter.ops.total()
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        act()
        run.wait()
    return sum(e.count for e in profiler.key_averages() if re.match(r"cu(da)?LaunchKernel", e.key))


PIECES: dict[str, Callable[[Run], dict[str, Any]]] = {
    "tests": run_tests,
    "resample": measure_resampling,  # first, because the steps use the forms that it selects
    "sample": measure_sampling,
    **{f"train:{preset}:{precision}": lambda run, preset=preset, precision=precision: measure_training(
        preset, precision, run) for preset in PRESETS for precision in PRECISIONS},
    **{f"compile:{preset}": partial(measure_compiling, preset) for preset in PRESETS},
}  # fmt: skip


# Records -------------------------------------------------------------------------------------------------------------


def missing(names: list[str], device: str, path: Path) -> Iterator[str]:
    done = {(row["device"], row["piece"]) for row in read_json_lines(path) if not row.get("found", {}).get("failed")}
    yield from (name for name in names if (device, name) not in done)


def run_piece(name: str, run: Run) -> dict[str, Any]:
    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):  # stdout contains only the record
        found = PIECES[name](run)
    return {"device": device_kind(run.device), "piece": name, "small": run.small, "torch": str(torch.__version__),
            "cuda": torch.version.cuda if run.device == "cuda" else None,
            "seconds": round(time.perf_counter() - start, 1), "found": found}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pieces", default="", help=f"of {', '.join(PIECES)}; comma-separated, in this order")
    parser.add_argument(
        "--seconds",
        type=float,
        default=float("inf"),
        help="stop after these; the same command runs the remaining pieces",
    )
    parser.add_argument("--again", action="store_true", help="run recorded pieces again, and replace their records")
    parser.add_argument("--small", action="store_true", help="narrow networks, once, on any device")
    parser.add_argument("--record", type=Path, default=RECORD)
    parser.add_argument("--table", type=Path, default=resample.TABLE, help="file for the rows of resampling")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    run = Run(device, arguments.small, arguments.table)
    if arguments.one:
        print(json.dumps(run_piece(arguments.one, run)))
        return 0
    if device == "cpu" and not arguments.small:
        parser.error("PyTorch found no GPU; use --small to try the script on the CPU")
    if arguments.small and (arguments.record == RECORD or arguments.table == resample.TABLE):
        parser.error("--small must write to other files, because its timings are not valid: --record FILE --table FILE")
    names = [name for name in arguments.pieces.split(",") if name] or list(PIECES)
    for name in names:
        if name not in PIECES:
            parser.error(f"--pieces must be of {', '.join(PIECES)} (got {name!r})")
    end, failed = time.monotonic() + arguments.seconds, 0
    kind = device_kind(device)
    for name in names if arguments.again else missing(names, kind, arguments.record):
        left = min(end - time.monotonic(), MINUTES * 60)
        if left <= 0:
            print("out of time; the same command runs the remaining pieces", file=sys.stderr)
            break
        print(f"{name} ...", file=sys.stderr, flush=True)
        command = [sys.executable, __file__, "--one", name, "--table", str(arguments.table)]
        command += ["--small"] if arguments.small else []
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=left,
                                  env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
        except subprocess.TimeoutExpired:
            print(f"{name}: not finished after {left:.0f} s; nothing was recorded", file=sys.stderr)
            failed += 1
            continue
        if done.returncode:
            print(f"{name}: failed with exit code {done.returncode}; nothing was recorded", file=sys.stderr)
            failed += 1
            continue
        line = done.stdout.splitlines()[-1]
        rows = [row for row in read_json_lines(arguments.record) if (row["device"], row["piece"]) != (kind, name)]
        write_json_lines(arguments.record, [*rows, json.loads(line)])
        print(line, flush=True)
        failed += bool(json.loads(line)["found"].get("failed"))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
