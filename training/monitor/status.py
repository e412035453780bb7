"""``sngan status``: a run's progress, speed, remaining time and last losses, read from the files in its folder."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

from sngan_hub.networks.mixin import read_config

from ..engine.checkpoints import checkpoints
from ..engine.run_folder import SNAPSHOTS, is_run
from .log import read_log
from .score import best_score, scores_since_best


def status(out: Path) -> dict[str, object]:
    """Raises ``FileNotFoundError`` if ``out`` is not a run."""
    if not is_run(out):
        raise FileNotFoundError(f"{out} is not a run: it has no config.json of a run")
    config, rows = read_config(out / "config.json"), read_log(out)
    saved, steps = checkpoints(out), config["steps"]
    step = max([0, *(row["step"] for row in rows[-1:]), *(int(path.stem) for path in saved[-1:])])  # imported: no lines
    seconds = statistics.median(row["seconds_per_step"] for row in rows[-20:]) if rows else None
    best = best_score(out, config.get("score", ""))
    return {
        "preset": config["preset"],
        "step": step,
        "steps": steps,
        "done": f"{step / steps if steps else 1:.1%}",
        "seconds_per_step": seconds,
        "hours_left": None if seconds is None else round(max(0, steps - step) * seconds / 3600, 2),
        "last_line_minutes_ago": round((time.time() - (out / "log.jsonl").stat().st_mtime) / 60, 1) if rows else None,
        "last": {k: v for k, v in rows[-1].items() if k not in ("step", "seconds_per_step")} if rows else {},
        "checkpoint": f"step {int(saved[-1].stem)}, {(time.time() - saved[-1].stat().st_mtime) / 60:.1f} minutes old"
        if saved
        else None,
        "best": f"{best['protocol']} {best['value']:.4g} at step {best['step']}" if best else None,
        "snapshots": sorted(int(p.name) for p in (out / SNAPSHOTS).glob("[0-9]*")),
    }


def has_ended(out: Path) -> bool:
    """Whether the run has done all its steps, or its scores have not improved for ``patience`` scores."""
    found, config = status(out), read_config(out / "config.json")
    patience = config.get("patience", 0)
    return found["step"] >= found["steps"] or 0 < patience <= scores_since_best(out, config["score"])  # type: ignore[operator]


def lines(found: dict[str, object]) -> str:
    shown = dict(found)
    last = shown.pop("last")
    assert isinstance(last, dict)
    shown |= {f"last {name}": value for name, value in last.items()}
    shown = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in shown.items()}
    return "\n".join(f"{name.replace('_', ' '):24}{value}" for name, value in shown.items() if value not in (None, []))


def as_json(found: dict[str, object]) -> str:
    return json.dumps(found)
