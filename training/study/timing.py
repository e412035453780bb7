"""Seconds per iteration of several configurations, which take turns, so that a busy machine slows all of them."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Mapping
from typing import NamedTuple

import torch

from sngan_hub.data import Images

from ..config.schema import Config
from ..engine.cuda_graph import WARM_UP
from ..engine.distributed import new_accelerator
from ..engine.machine import set_up
from ..engine.state import new_state
from ..engine.step import train_step
from ..feed.feed import new_feed


class Seconds(NamedTuple):
    median: float
    least: float
    most: float


def seconds_per_iteration(configs: Mapping[str, Config], data: Images, rounds: int = 5) -> dict[str, Seconds]:
    """Trains one iteration of each in turn, ``rounds`` times. Uncompiled, with CUDA graphs on a GPU if these are set.

    The settings of the process, such as threads, are those of the last one, and stay.
    The first iteration does not count; nor do those before the replays of CUDA graphs.
    """
    configs = {name: set_up(config) for name, config in configs.items()}
    accelerator = new_accelerator(torch.device(next(iter(configs.values())).device).type)
    runs, untimed = {}, 1
    for name, config in configs.items():
        graphs = config.uses_graphs and accelerator.device.type == "cuda"
        config = dataclasses.replace(config, compile="graphs_only" if graphs else "off")
        untimed = max(untimed, WARM_UP + 2 if graphs else 1)
        state = new_state(config, data.classes, accelerator.device)
        runs[name] = (state, config, new_feed(data, config, state, accelerator))
    taken: dict[str, list[float]] = {name: [] for name in runs}
    try:
        for turn in range(rounds + untimed):
            for name, (state, config, feed) in runs.items():
                start = time.perf_counter()
                losses = train_step(state, config, feed, accelerator)
                float(losses["loss_d"])  # waits for the device
                if turn >= untimed:
                    taken[name].append(time.perf_counter() - start)
    finally:
        for _, _, feed in runs.values():
            feed.close()
    return {name: Seconds(statistics.median(s), min(s), max(s)) for name, s in taken.items()}
