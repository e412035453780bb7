"""The output of a dry run: settings, networks, images and operations per iteration, and hours."""

from __future__ import annotations

import dataclasses
import json
import math
import platform
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from sngan_hub.data import source_classes
from sngan_hub.devices import resolve_device
from sngan_hub.networks.base import AnyDiscriminator, AnyGenerator
from sngan_hub.networks.inference import bfloat16_unit, fast_bfloat16
from sngan_hub.text import plural, printed

from ..engine.machine import REPAID_BY, possible_compile
from ..engine.state import new_networks
from .cost import find_device, legal_device, prediction
from .schema import Config, make_config

THROUGHPUT = Path(__file__).with_name("throughput.json")  # written by benchmarks/presets.py


class Facts(NamedTuple):
    """What is known of a run before it starts. Of pairs, the first is of the generator."""

    config: Config  # with the device that it will use
    n_classes: int  # of the data; networks without classes ignore them
    g: AnyGenerator  # without values
    d: AnyDiscriminator
    parameters: list[int]
    flops: list[int]  # of a forward for one image
    total: int  # FLOPs of an iteration


def facts_of(config: Config) -> Facts:
    """Opens no image: class counts come from the preset or from the names of folders."""
    config = dataclasses.replace(config, device=str(resolve_device(config.device)))
    n = len(source_classes(config.data)) if config.data else config.n_classes
    with torch.device("meta"):
        g, d = new_networks(config, n)
    parameters = [sum(p.numel() for p in network.parameters()) for network in (g, d)]
    flops = [forward_flops(network) for network in (g, d)]
    return Facts(config, n, g, d, parameters, flops, iteration_flops(config, *flops))


def describe(config: Config, predict: bool = False, device: str = "") -> str:
    """The lines of a dry run. Opens no image.

    ``predict``: also predict the times of an iteration. ``device``: use the hours of this device of devices.json
    (default: this machine).
    """
    config, n, g, d, parameters, flops, total = facts_of(config)
    device = legal_device(device).name if device else device_kind(config.device, config.threads)
    lines = [f"{key:22}{value}" for key, value in dataclasses.asdict(config).items()]
    lines += [
        f"{'classes':22}{g.n_classes or 'none'}",
        f"{'parameters':22}generator {parameters[0]:,}, discriminator {parameters[1]:,}",
        f"{'forward':22}generator {flops[0] / 2e9:.3g} GMAC per image, discriminator {flops[1] / 2e9:.3g}",
        f"{'per iteration':22}{config.n_dis * config.batch_size} real and "
        f"{config.n_dis * config.batch_size + config.g_batch_size} generated images, about {total / 1e12:.3g} TFLOP"
        f"{' without the penalty' * bool(config.penalty)}",
        f"{'learning rates':22}{rates_of(config)}",
        f"{'total':22}about {total * config.steps / 1e18:.3g} EFLOP in {config.steps:,} iterations",
        f"{'snapshots':22}{snapshots_of(config, [g, d])}",
        f"{'hours':22}{hours_text(config, total, device)}",
        f"{'compiled':22}{compile_of(config)}",
    ]
    if predict:
        lines += predicted_lines(config, n, device)
    return "\n".join([*lines, *warnings(config, device)])


def snapshots_of(config: Config, networks: list[AnyGenerator | AnyDiscriminator]) -> str:
    """The number of snapshots that a run keeps, and their size on disk."""
    each = sum(4 * tensor.numel() for network in networks for tensor in network.state_dict().values()) / 1e6
    intervals = [every for every in (config.snapshot_every, config.score_every) if every]
    count = sum(config.steps // every for every in intervals)
    if len(intervals) > 1:
        count -= config.steps // math.lcm(*intervals)
    count += all(config.steps % every for every in intervals)  # the last step
    count += bool(config.donor)  # the start
    which = " or --score-every" if config.score_every else ""
    return (f"{count:,}, {each:,.0f} MB each, {each * count / 1e3:,.1f} GB in all; fewer with a higher "
            f"--snapshot-every{which}")  # fmt: skip


def warnings(config: Config, device: str) -> list[str]:
    """Warnings to print before the run starts. ``device``: the kind of device that it runs on."""
    lines = []
    strength = config.class_strength(max(config.steps - 1, 0))
    if strength < 1:
        lines.append(f"{'warning':22}the run ends during the class transition, at {strength:.0%} of the class "
                     f"embeddings; to complete it, raise --steps above {config.transition_to:,}")  # fmt: skip
    x86 = platform.machine().lower() in ("x86_64", "amd64")  # for others, torch does not report bfloat16
    if config.precision == "bf16" and device == device_kind("cpu", config.threads) and x86 and not fast_bfloat16("cpu"):
        lines.append(f"{'warning':22}bf16 is several times slower than fp32 on this processor, which has neither "
                     f"AVX512_BF16 nor AMX; use --precision fp32")  # fmt: skip
    if config.d_warm_up and config.d_warm_up >= config.steps:
        lines.append(f"{'warning':22}the discriminator alone is trained in the first {config.d_warm_up:,} iterations, "
                     f"and the run has {config.steps:,}, so the generator is not trained; set --d-warm-up lower or "
                     f"--steps higher")  # fmt: skip
    if config.decay_from < config.decay_to < config.steps:
        last = plural(config.steps - config.decay_to, "step has", "steps have")
        lines.append(f"{'warning':22}the learning rates reach 0 at step {config.decay_to:,}, so the last {last} no "
                     f"effect; raise --decay-to (and --decay-from) together with --steps")  # fmt: skip
    if config.warm_up and config.warm_up >= config.steps:
        lines.append(f"{'warning':22}the learning rates rise over {config.warm_up:,} iterations, and the run has "
                     f"{config.steps:,}; set --warm-up lower")  # fmt: skip
    return lines


def summary(config: Config) -> str:
    """Six lines that describe a run before it starts. Opens no image."""
    config, n, g, _, parameters, _, total = facts_of(config)
    each = plural(config.n_dis, "discriminator step")
    millions = [f"{count / 1e6:.3g} M" for count in parameters]
    kind = device_kind(config.device, config.threads)
    compiled = {"off": "not compiled", "graphs_only": "CUDA graphs"}.get(possible_compile(config)[0], "compiled")
    lines = [
        f"{'run':10}{config.preset}: {plural(config.steps, 'iteration')} of 1 generator and {each}, {config.loss} loss",
        f"{'data':10}{config.data}, {plural(n, 'class', 'classes') if g.n_classes else 'without classes'}, "
        f"batches of {config.batch_size}",
        f"{'networks':10}{g.size} px, generator {millions[0]} parameters, discriminator {millions[1]}",
        f"{'device':10}{printed(kind)}, {config.precision}, {compiled}",
        f"{'hours':10}{hours_text(config, total, kind)}",
        f"{'output':10}{config.out} (all settings: config.json in this folder, or --verbose)",
    ]
    return "\n".join([*lines, *warnings(config, kind)])


def compile_of(config: Config) -> str:
    form, no_graphs = possible_compile(config)
    if form == "graphs_only":
        return "no; iterations are replayed as CUDA graphs"
    if form == "off":
        if no_graphs:
            return f"no: {no_graphs}"
        if config.compile == "off":
            return "no"
        few = config.steps < REPAID_BY
        return f"no: {f'under {REPAID_BY:,} iterations' if few else f'it is not faster on this {config.device}'}"
    said = "yes, in the first iteration, which takes one to several minutes; the hours are for uncompiled steps"
    return f"{said}; {no_graphs}" if no_graphs else said


def predicted_lines(config: Config, n_classes: int, device: str) -> list[str]:
    row = find_device(device)
    if row is None:
        return [f"{'predicted':22}unknown: devices.json has no rates for {printed(device)}; run "
                f"benchmarks/device_rates.py --record, or name another device: --for H100"]  # fmt: skip
    return prediction(config, n_classes, row)


def forward_flops(network: AnyGenerator | AnyDiscriminator) -> int:
    """Floating-point operations of a forward for one image; a multiply-add counts as two."""
    y = torch.zeros(1, dtype=torch.int64, device="meta") if network.n_classes else None
    shape = (1, network.z_dim) if isinstance(network, AnyGenerator) else (1, 3, network.size, network.size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(shape, device="meta"), y)
    return counter.get_total_flops()


def iteration_flops(config: Config, of_generator: int, of_discriminator: int) -> int:
    """FLOPs of an iteration. Backward costs twice the forward, except for G in a D step and D's weights in a G step.

    A penalty on D is not counted.
    """
    judged = 2 * config.n_dis * config.batch_size
    return (
        config.g_batch_size * (3 * of_generator + 2 * of_discriminator)
        + config.n_dis * config.batch_size * of_generator
        + 3 * judged * of_discriminator
    )


def rates_of(config: Config) -> str:
    later = f" (generator: from step {config.d_warm_up:,} to {config.d_warm_up + config.warm_up:,})"
    rise = f"rise linearly to step {config.warm_up:,}{later * (config.d_warm_up > 0)}, then " if config.warm_up else ""
    if config.steps <= config.decay_from or config.decay_from == config.decay_to:
        return f"{rise}constant"
    return f"{rise}fall linearly from step {config.decay_from:,} to 0 at step {config.decay_to:,}"


def hours_text(config: Config, flops: int, device: str = "") -> str:
    """Hours according to the recorded throughput on this kind of device, of this preset if it was measured there.

    ``device``: the name of another device in devices.json.
    """
    device = device or device_kind(config.device, config.threads)

    def usable(row: dict[str, Any]) -> bool:
        known = find_device(row["device"]) if row["device"] != device else None
        same = row["device"] == device or (known is not None and known.name == device)
        return same and (row["precision"], row["architecture"]) == (config.precision, config.architecture)

    def same_penalty(row: dict[str, Any]) -> bool:
        preset = make_config(row.get("preset", config.preset))
        found, own = ((c.penalty, c.penalty_every * bool(c.penalty)) for c in (preset, config))
        return found == own

    def exact(row: dict[str, Any]) -> bool:  # of the same iteration
        return abs(row.get("tflop", flops / 1e12) * 1e12 / flops - 1) < 0.01 and same_penalty(row)

    rows = [row for row in read_throughput() if usable(row)]
    if not rows:
        return "shown after the first steps (not measured on this machine)"
    row = max(rows, key=lambda row: (exact(row), row.get("preset") == config.preset))
    seconds = flops / (row["tflops"] * 1e12)
    how = "measured" if exact(row) else "estimated from a measurement of another network, batch size or penalty"
    without = ", without the penalty" * (bool(config.penalty) and not same_penalty(row))
    each = f"{seconds:.3g} s per iteration on {printed(device)}{without}"
    return f"about {seconds * config.steps / 3600:,.1f}, {how} ({each})"


def read_throughput() -> list[dict[str, Any]]:
    return json.loads(THROUGHPUT.read_text(encoding="utf-8")) if THROUGHPUT.is_file() else []


def device_kind(device: str, threads: int = 0) -> str:
    """``NVIDIA H200``, or the processor's name, its bfloat16 unit and torch's number of threads. ``device`` may be
    ``auto``. Virtual machines name very different processors alike: hence the unit. ``threads``: of a run; 0: torch's.
    """
    if device == "auto":
        device = str(resolve_device(device))
    if device.startswith("cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    if unit := bfloat16_unit():
        name = f"{name} with {unit}"
    return f"{name}, {threads or torch.get_num_threads()} threads" if not device.startswith("cuda") else device
