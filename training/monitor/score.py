"""Scores snapshots at intervals during a run, and links RUN/generator to the best one."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from sngan_hub.class_names import without_synsets
from sngan_hub.data import source_classes
from sngan_hub.files import append_json
from sngan_hub.networks.base import AnyGenerator
from sngan_hub.text import nearest

from ..config.schema import Config
from ..engine.run_folder import link_snapshot
from ..engine.state import State
from ..engine.transition import with_strength_applied
from .log import read_lines

if TYPE_CHECKING:  # imported at run time only by the loop
    from accelerate import Accelerator

SCORES = "scores.jsonl"


def check_scoring(config: Config) -> None:
    """Raises ``ValueError`` or ``FileNotFoundError`` if scores cannot be computed, before the run starts."""
    try:
        from sngan_hub.metrics.inception import find_weights
        from sngan_hub.metrics.protocols import PROTOCOLS
    except ImportError as error:
        raise ValueError(f"score_every needs more packages ({error}): pip install 'sngan-hub[metrics]'") from error
    if config.score not in PROTOCOLS:
        raise ValueError(f"unknown score {config.score!r}{nearest(config.score, PROTOCOLS)}")
    find_weights()
    classes = classes_of(config.data) if config.test_folder else []
    several = len(classes) > 1 and config.conditioning != "none"  # one class may have any name, as that of its folder
    if several and classes_of(config.test_folder) != classes:
        raise ValueError(f"held_out must have the classes of {config.data} (got {config.held_out}, with other classes)")


def classes_of(source: str) -> list[str]:
    """Sorted; ImageNet's synsets count as the classes' names."""
    return sorted(without_synsets(source_classes(source)))


class Planned(NamedTuple):
    """What ``check_data_for_scores`` reads of a generator, for a run that has none yet."""

    size: int
    n_classes: int
    classes: list[str] | None


def check_data_for_scores(generator: AnyGenerator | Planned, config: Config) -> None:
    """Raises ``ValueError`` if the data do not have what the protocol needs. Computes no features."""
    from sngan_hub.metrics.protocols import evaluate

    devices = [torch.device("cpu")] if isinstance(generator, Planned) else []
    evaluate(generator, *_of_score(config), stretch=config.contrast_stretch, devices=devices, plan_only=True)


def _of_score(config: Config) -> tuple[str, list[str], int, str, str]:
    return config.data, [config.score], config.seed, config.test_folder, config.precision


def score_snapshot(state: State, config: Config, out: Path) -> float:
    """Adds a line to ``out/scores.jsonl`` and links the best snapshot. Returns the seconds that it took."""
    from sngan_hub.metrics.protocols import evaluate

    start = time.perf_counter()
    network, stretch = with_strength_applied(state.ema), config.contrast_stretch
    for name, score in evaluate(network, *_of_score(config), keep_samples=False, stretch=stretch):
        line = {"step": state.step, "protocol": name, **asdict(score)}
        append_json(out / SCORES, line)
    best = best_score(out, config.score)
    if best:
        link_snapshot(out, best["step"])
    return time.perf_counter() - start


def scores_of_run(out: Path, protocol: str) -> list[dict[str, Any]]:
    """Those against the same real images as the last one: only these compare."""
    rows = [row for row in read_lines(out / SCORES) if row["protocol"] == protocol]
    return [row for row in rows if row.get("reference_sha256") == rows[-1].get("reference_sha256")]


def best_score(out: Path, protocol: str) -> dict[str, Any] | None:
    from sngan_hub.metrics.protocols import PROTOCOLS  # here, as everything of scores: not all runs have any

    rows = [row for row in scores_of_run(out, protocol) if math.isfinite(row["value"])]
    if not rows:
        return None
    pick = min if PROTOCOLS[protocol].lower_is_better else max
    return pick(rows, key=lambda row: row["value"])


def scores_since_best(out: Path, protocol: str) -> int:
    best = best_score(out, protocol)
    return sum(row["step"] > best["step"] for row in scores_of_run(out, protocol)) if best else 0


def out_of_patience(out: Path, config: Config, accelerator: Accelerator) -> bool:
    """Whether the last ``patience`` scores did not improve on an earlier one. The same in all processes."""
    if not config.patience:
        return False
    later = scores_since_best(out, config.score) if accelerator.is_main_process else 0
    return bool(accelerator.reduce(torch.tensor(float(later), device=accelerator.device), "sum") >= config.patience)  # type: ignore
