"""A protocol's score of a snapshot at intervals; the best snapshot is the one that RUN/generator leads to."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .config import Config
from .log import read_lines
from .state import State, link_snapshot

SCORES = "scores.jsonl"
LOWER_IS_BETTER = ("fid", "kid")


def score_snapshot(state: State, config: Config, out: Path) -> float:
    """Adds a line to ``out/scores.jsonl`` and links the best snapshot so far; the seconds that it took."""
    start = time.perf_counter()
    try:
        from sngan_hub.metrics.protocols import evaluate
    except ImportError as error:
        raise ValueError(f"score_every: {error}; scores need the extra: pip install 'sngan-hub[metrics]'") from error

    for name, score in evaluate(state.average.for_sampling(), config.data, [config.score], config.seed):
        line = {"step": state.step, "protocol": name, **asdict(score)}
        with open(out / SCORES, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    best = best_score(out, config.score)
    if best:
        link_snapshot(out, best["step"])
    return time.perf_counter() - start


def best_score(out: Path, protocol: str) -> dict[str, Any] | None:
    rows = [row for row in read_lines(out / SCORES) if row["protocol"] == protocol]
    if not rows:
        return None
    pick = min if protocol.startswith(LOWER_IS_BETTER) else max
    return pick(rows, key=lambda row: row["value"])
