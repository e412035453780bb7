"""Predicts the cost of an iteration: FLOPs, bytes, kernel launches, all-reduce volume -> seconds on a device.

One real iteration (forward, backward, optimisers, average) runs on fake tensors, which have shapes and no values, and
every operation that reaches the backend is counted. A device is a row of devices.json: measured here, or from its
vendor's data sheet. The steps are counted uncompiled: torch.compile makes them faster than predicted. Data loading
(which runs in other threads), logs and snapshots are not included.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from sngan_hub.layers.resample import Resampling, prefers_fused
from sngan_hub.text import printed

from ..engine.distributed import check_split
from ..engine.state import State, new_state
from ..engine.step import discriminator_step, images_for_d, train_step
from ..feed.feed import Iteration, empty_iteration
from .schema import Config

DEVICES = Path(__file__).with_name("devices.json")  # CPU rows are written by benchmarks/device_rates.py
aten = torch.ops.aten


# Counting ------------------------------------------------------------------------------------------------------------


class Op(NamedTuple):
    """One kernel launch."""

    kind: str  # conv, matmul or other: which rate it has
    precision: str  # fp32, or bf16
    flops: int  # of convolutions and matrix products, two for each multiplication with its addition
    bytes: int  # that it reads and writes


@dataclass(frozen=True)
class Cost:
    """The cost of one iteration on one of ``processes`` devices."""

    ops: Mapping[Op, float]  # how often; a fraction if not in every iteration
    processes: int
    reduced_bytes: int  # gradients, averaged over all processes: G's once, D's n_dis times
    tf32: bool = True  # on a GPU: what is float32 is multiplied in TF32

    @property
    def flops(self) -> int:
        return round(sum(op.flops * n for op, n in self.ops.items()))

    @property
    def bytes(self) -> int:
        return round(sum(op.bytes * n for op, n in self.ops.items()))

    @property
    def launches(self) -> int:
        return round(sum(self.ops.values()))


# These operations move no data; views are recognised by their schema.
NO_KERNEL = {
    aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty, aten.new_empty_strided, aten.lift_fresh,
    aten._unsafe_view,
}  # fmt: skip

CONVOLUTIONS = {aten.convolution, aten.convolution_backward}
OF_ROWS = {aten.embedding, aten.index, aten.index_select}  # read only the selected rows, not their whole table


class CountOps(TorchDispatchMode):
    """Counts each operation on tensors inside; ``ops`` is the result."""

    def __init__(self) -> None:
        super().__init__()
        self.ops: Counter[Op] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is aten._local_scalar_dense.default:  # fake tensors have no values, but Adam reads its step counter
            return 1.0
        if func.overloadpacket in UNSHAPED:
            out = None
        else:
            out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if func.namespace == "aten" and not func.is_view and packet not in NO_KERNEL:
            self.ops[op_of(packet, args, kwargs or {}, out)] += 1
        return out


#: In-place operations over lists without a fake form in every torch release: counted, and not run
UNSHAPED = {aten._fused_adam_}


def op_of(packet: Any, args: tuple, kwargs: dict, out: Any) -> Op:
    given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    made = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
    if packet in OF_ROWS:
        moved = 2 * sum(map(extent, made))
    elif packet in UNSHAPED:
        moved = 2 * sum(map(extent, given)) - sum(map(extent, args[1]))  # gradients are only read
    else:
        moved = sum(map(extent, given)) + sum(map(extent, made))
    flops = 0
    if packet in flop_registry:
        flops = flop_registry[packet](*args, **kwargs, out_val=out)
    elif packet in (aten.mv, aten.dot):
        flops = 2 * args[0].numel()
    kind = "conv" if packet in CONVOLUTIONS else "matmul" if flops else "other"
    half = any(t.dtype == torch.bfloat16 for t in given[:1] + made[:1])
    return Op(kind, "bf16" if half else "fp32", int(flops), moved)


def extent(tensor: Tensor) -> int:
    """Bytes of the values that a tensor has; an expanded dimension repeats them."""
    values = math.prod(n for n, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride)
    return values * tensor.element_size() if tensor.numel() else 0


class Processes:
    """Replaces accelerate's Accelerator: the first of several processes, without any communication."""

    def __init__(self, count: int = 1, device: str = "cpu"):
        self.num_processes, self.process_index, self.is_main_process = count, 0, True
        self.device = torch.device(device)

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def reduce(self, tensor: Tensor, how: str) -> Tensor:
        return tensor


def count_iteration(config: Config, n_classes: int, processes: int = 1, kind: str = "cpu") -> Cost:
    """The cost of one iteration on each of ``processes`` devices of ``kind``, cpu or cuda.

    Every D step is like the others, so one of them is counted. Raises ``ValueError`` where the processes would cut a
    batch-norm group.
    """
    check_split(config, processes)
    if config.penalty and config.penalty_every > 1:  # averaged over the iterations with and without the penalty
        every = replace(config, penalty_every=1)
        costs = [count_iteration(c, n_classes, processes, kind) for c in (replace(config, penalty=""), every)]
        without, own = (cost.ops for cost in costs)
        average = {
            op: without.get(op, 0) + (own.get(op, 0) - without.get(op, 0)) / config.penalty_every
            for op in {**own, **without}
        }
        return replace(costs[0], ops=average)
    state, ops, of_d = run_on_fakes(replace(config, n_dis=1), n_classes, processes, kind)
    for op, n in of_d.items():
        ops[op] += n * (config.n_dis - 1)
    return Cost(ops, processes, reduced_bytes(state, config), config.tf32)


def run_on_fakes(config: Config, n_classes: int, processes: int, kind: str) -> tuple[State, Counter[Op], Counter[Op]]:
    """Runs one iteration, and one D step more -> the state, and the operations of each. Nothing is compiled."""
    config = replace(config, compile="off")
    accelerator: Any = Processes(processes)
    rng = torch.get_rng_state()  # creating the networks seeds the generator; the caller's state must not change
    with torch.device("meta"):
        state = new_state(config, [str(i) for i in range(n_classes)], torch.device("meta"))
    torch.set_rng_state(rng)
    choose_forms(state, config, kind, processes)
    with FakeTensorMode(allow_non_fake_inputs=True):
        make_fake(state)
        state.step = max(config.transition_to, config.d_warm_up, config.warm_up)  # after warm-up and class transition
        for optimizer in (state.opt_g, state.opt_d):  # Adam makes its averages in its first step
            for p in optimizer.param_groups[0]["params"]:
                p.grad = torch.empty_like(p)
            with CountOps():
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        g = state.generator
        drawn = empty_iteration(config, g.size, g.z_dim, g.n_classes, processes)
        with CountOps() as whole:
            train_step(state, config, Drawn(drawn), accelerator)
        with CountOps() as of_d:
            fakes = images_for_d(state, config, drawn.fake_d[0], accelerator)
            discriminator_step(state, config, drawn, 0, fakes, accelerator)
    return state, whole.ops, of_d.ops


class Drawn:
    """A feed that returns the same data in every step."""

    def __init__(self, drawn: Iteration):
        self.drawn = drawn

    def iteration(self, step: int) -> Iteration:
        return self.drawn


def reduced_bytes(state: State, config: Config) -> int:
    """Bytes of the gradients that are averaged over processes in an iteration."""
    of_g, of_d = (
        sum(p.numel() * p.element_size() for p in optimizer.param_groups[0]["params"])
        for optimizer in (state.opt_g, state.opt_d)
    )
    return of_g + config.n_dis * of_d


def choose_forms(state: State, config: Config, kind: str, processes: int) -> None:
    """Resolves each resampling layer's form for a device of ``kind``: the fake tensors are always on a CPU.

    Those of a CPU are left to the layers, which know the batch of each call.
    """
    if kind == "cpu":
        return
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32

    own = config.batch_size // processes
    batch = min(config.micro_batch or own, own)

    def form(which: str, conv: nn.Conv2d, side: int) -> str:
        layer = which, conv.in_channels, conv.out_channels, side
        return "fused" if prefers_fused(*layer, dtype, kind, batch) else "plain"

    for g in {state.generator, state.ema}:
        for i, block in enumerate(getattr(g, "blocks", [])):
            if isinstance(block, Resampling):
                block.form = form("up", block.c1, g.bottom_width * 2**i)  # type: ignore[operator]
    side = state.discriminator.size
    for block in getattr(state.discriminator, "blocks", []):
        if isinstance(block, Resampling) and block.down:
            block.form = form("down", block.c2, side)
            side //= 2


def make_fake(state: State) -> None:
    """Replaces the meta tensors of the state by fake CPU tensors, because autocast does not support meta tensors."""
    made: dict[int, tuple[Tensor, Tensor]] = {}  # keeps the tensors too: ids of deleted tensors are reused

    def fake(old: Tensor) -> Tensor:
        if id(old) not in made:
            new = torch.empty_strided(old.shape, old.stride(), dtype=old.dtype, device="cpu")
            made[id(old)] = old, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
        return made[id(old)][1]

    for network in {state.generator, state.discriminator, state.ema}:
        for module in network.modules():
            for own in (module._parameters, module._buffers):
                own.update({name: None if old is None else fake(old) for name, old in own.items()})  # type: ignore
    for optimizer in (state.opt_g, state.opt_d):
        for group in optimizer.param_groups:
            group["params"] = [fake(p) for p in group["params"]]


# Devices -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Device:
    """A row of devices.json. All rates are what is reached; ``peak`` is the data sheet's, for utilisation."""

    name: str
    kind: str  # cpu or cuda
    flops: dict[str, float]  # a second, of convolutions: fp32, tf32, bf16
    bytes: float  # a second, read and written
    launch: float  # seconds of the host for one operation
    inside: float  # bytes a second of a ring all-reduce inside a node ...
    between: float  # ... and between nodes
    per_node: int
    source: str  # measured, or from what
    peak: dict[str, float] | None = None
    together: dict[str, float] | None = None  # CPU: shares of flops and bytes that each of two processes keeps

    def rate(self, op: Op, tf32: bool) -> float:
        """FLOP a second of an operation that multiplies."""
        return self.flops["tf32" if self.kind == "cuda" and tf32 and op.precision == "fp32" else op.precision]


def read_devices() -> dict[str, Device]:
    return {row["name"]: Device(**row) for row in json.loads(DEVICES.read_text(encoding="utf-8"))}


def find_device(name: str) -> Device | None:
    """The row whose name is ``name``, or a word of it: torch calls an H100 ``NVIDIA H100 80GB HBM3``."""
    devices = read_devices()
    for row in devices.values():
        same = printed(row.name).lower() == printed(name).lower()
        if same or (row.kind == "cuda" and re.search(rf"\b{row.name}\b", name, re.I)):
            return row
    return None


def legal_device(name: str) -> Device:
    """Raises ``ValueError`` with the legal names."""
    device = find_device(name)
    if device is None:
        raise ValueError(f"--for must be one of {'; '.join(map(printed, read_devices()))} (got {name!r})")
    return device


# Prediction ----------------------------------------------------------------------------------------------------------


class Seconds(NamedTuple):
    """The predicted seconds of one iteration and their parts."""

    compute: float  # all operations, each the longer of its arithmetic and its memory traffic
    host: float  # launching them
    reduce: float  # averaging gradients
    total: float


def predict(cost: Cost, device: Device) -> Seconds:
    """A CPU launches and computes in turn; a GPU computes while its host launches, so the longer of the two counts."""
    shared = device.together if device.together and 1 < cost.processes else {}
    flops, moved = shared.get("flops", 1.0), shared.get("bytes", 1.0)
    compute = sum(
        n * max(op.flops / (device.rate(op, cost.tf32) * flops), op.bytes / (device.bytes * moved))
        for op, n in cost.ops.items()
    )
    host = cost.launches * device.launch
    p = cost.processes
    link = device.inside if p <= device.per_node else device.between
    reduce = 2 * (p - 1) / p * cost.reduced_bytes / link if p > 1 else 0.0
    busy = max(compute, host) if device.kind == "cuda" else compute + host
    return Seconds(compute, host, reduce, busy + reduce)


def why_not(config: Config, processes: int) -> str:
    """Why so many processes cannot share the preset's batches; empty where they can."""
    try:
        check_split(config, processes)
    except ValueError as error:
        if config.diversity_weight:  # whatever the groups are
            return f"not possible: {error}"
        for phase, total, group in (("batch_size", config.batch_size, config.bn_group_d),
                                    ("g_batch_size", config.g_batch_size, config.bn_group_g)):  # fmt: skip
            if not group:
                return f"not possible: {phase} {total} is a single batch-norm group; set --bn-group-d and --bn-group-g"
            if total % processes or total // processes % group:
                return f"not possible: {phase} {total} does not divide into batch-norm groups of {group} on each"
        return f"not possible: {error}"
    return ""


def counts_of_devices(config: Config) -> Iterator[int]:
    """1, 8 and 64, and the most under 8 where 8 cannot be."""
    yield 1
    if why_not(config, 8):
        most = max((p for p in range(1, 8) if not why_not(config, p)), default=1)
        if most > 1:
            yield most
    yield from (8, 64)


def prediction(config: Config, n_classes: int, device: Device) -> list[str]:
    """Lines for a dry run: what is predicted, and from what."""
    lines = [f"{'predicted for':18}{printed(device.name)}, {device.source}"]
    for p in counts_of_devices(config):
        label = f"{p} device{'s' if p > 1 else ''}"
        if reason := why_not(config, p):
            lines.append(f"{label:18}{reason}")
            continue
        cost = count_iteration(config, n_classes, p, device.kind)
        seconds = predict(cost, device)
        if p == 1:
            lines.append(
                f"{'cost':18}{cost.flops / 1e12:.3g} TFLOP, {cost.bytes / 1e9:.3g} GB moved, {cost.launches:,} "
                f"kernel launches; {cost.reduced_bytes / 1e6:,.0f} MB of gradients to average between devices"
            )
        parts = f"compute {seconds.compute:.3g}, host {seconds.host:.3g}"
        parts += f", all-reduce {seconds.reduce:.3g}" if p > 1 else ""
        lines.append(
            f"{label:18}{seconds.total * config.steps / 3600:,.1f} hours, {seconds.total:.3g} s per iteration ({parts})"
            f"; each has {config.batch_size // p} real images per D step, {config.g_batch_size // p} fakes per G step"
        )
    return lines
