"""KID, FID and diversity of a run's snapshots over its computing time.

``python benchmarks/curve.py RUN --data avatars --steps 0,2000,4000 --note TEXT [--fid] [--record]`` scores the
snapshots of a run by the protocols kid1k_test, diversity and, with ``--fid``, fid_paper, and adds the hours from its
log. Core-hours are hours times ``threads``, plus ``--earlier``. Inception computes in bfloat16 where the processor has
it (``--precision``): the values differ from those of float32 in the fourth digit.

The line below the table extrapolates the FID over the core-hours, by a power law through the snapshots whose learning
rates had reached 0.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sngan_hub import load_generator  # noqa: E402
from sngan_hub.files import read_json_lines, write_json_lines, write_text  # noqa: E402
from sngan_hub.metrics.protocols import evaluate, machine, made_on, versions  # noqa: E402
from training.config.schema import load_config, make_config  # noqa: E402
from training.engine.run_folder import snapshot_folder  # noqa: E402
from training.monitor.log import hours_of, read_log  # noqa: E402

RECORD = ROOT / "benchmarks" / "records" / "curve.jsonl"
SHOWN = ("donor", "n_dis", "lr_g", "lr_d", "batch_size", "augment", "noise", "penalty", "penalty_weight",
         "penalty_every", "transition_to", "diversity_weight", "steps", "decay_from")  # fmt: skip
GOALS = (45.0, 25.0)  # FIDs at which the extrapolation states the core-hours


def measure(run: Path, step: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """The scores of one snapshot, and the hours of training until it."""
    generator, config = load_generator(snapshot_folder(run, step) / "generator"), load_config(run)
    protocols = ["kid1k_test", "diversity", *["fid_paper"] * arguments.fid]
    scores = dict(
        evaluate(generator, arguments.data, protocols, precision=arguments.precision, workers=arguments.workers)
    )
    settings = {name: getattr(config, name) for name in SHOWN}
    if Path(config.donor).is_dir():  # its place is of no interest elsewhere
        settings["donor"] = Path(config.donor).name
    hours = hours_of([row for row in read_log(run) if row["step"] <= step])
    diversity = scores["diversity"]
    per_class = diversity.per_class or {}
    worst = min(per_class, key=lambda name: per_class[name])
    return {"run": run.name, "data": arguments.data, "step": step, "hours": hours, "note": arguments.note or run.name,
            "core_hours": round(arguments.earlier + hours * max(config.threads, 1), 2),
            "decayed": config.decay_from < config.decay_to <= step,
            "kid": scores["kid1k_test"].value, "diversity": diversity.value, "worst": [worst, per_class[worst]],
            **({"fid": scores["fid_paper"].value} if arguments.fid else {}),
            "evaluator": scores["kid1k_test"].evaluator, "settings": settings,
            "machine": machine(), "versions": versions()}  # fmt: skip


def lines(rows: list[dict[str, Any]]) -> list[str]:
    table = [
        "| run | iteration | hours | core-hours, earlier stages included | FID | KID1k | diversity | worst class |",
        "|---" * 8 + "|",
    ]
    for row in rows:
        cores = f"{row['core_hours']:.1f}" if "core_hours" in row else "-"
        fid = f"{row['fid']:.1f}" if "fid" in row else "-"
        worst = f"{row['worst'][1]:.2f} ({row['worst'][0]})"
        table.append(f"| {row['note']} | {row['step']:,} | {row['hours']:.1f} | {cores} | {fid} | {row['kid']:.4f} | "
                     f"{row['diversity']:.2f} | {worst} |")  # fmt: skip
    return [*table, "", f"Hours of training, beside other programs; -: not measured. FID: fid_paper. "
            f"{rows[0]['evaluator']} (KID). {made_on(rows)}.", *extrapolation(rows)]  # fmt: skip


def extrapolation(rows: list[dict[str, Any]]) -> list[str]:
    """The core-hours at which a power law through the decayed snapshots with a FID reaches ``GOALS``.

    Snapshots of runs with a diversity term are of another method, and are left out.
    """
    same = [row for row in rows if not row.get("settings", {}).get("diversity_weight")]
    points = [(row["core_hours"], row["fid"]) for row in same if row.get("decayed") and "fid" in row]
    if len(points) < 3:
        return []
    hours, fids = np.log(np.array(points, dtype=float).T)
    slope, offset = np.polyfit(hours, fids, 1)
    if slope >= 0:
        return ["", "The FID does not fall with the core-hours of the snapshots whose learning rates had reached 0."]
    error = float(np.abs(np.exp(offset + slope * hours) - np.exp(fids)).max())
    reached = " and ".join(f"{goal:g} after {float(np.exp((np.log(goal) - offset) / slope)):,.0f}" for goal in GOALS)
    return ["", f"Extrapolation: through the {len(points)} snapshots without the diversity term whose learning rates "
            f"had reached 0, the power law FID = {float(np.exp(offset)):.0f} x core-hours^{slope:.2f} (largest error "
            f"{error:.1f}) reaches a FID of {reached} core-hours."]  # fmt: skip


def smoke(arguments: argparse.Namespace) -> None:
    """A tiny snapshot of a run of one step; the scores are computed from a few images by the real Inception."""
    from training.engine.loop import train

    with tempfile.TemporaryDirectory() as folder:
        fields = {"widths": [8, 8], "bottom_width": 16}
        train(make_config("fashion32", data="fashion", out=folder, steps=1, n_dis=1, batch_size=4, g_batch_size=4,
                          precision="fp32", generator_fields=json.dumps(fields), spectrum_every=0, log_every=1,
                          discriminator_fields='{"widths": [4, 8], "down": "10"}'))  # fmt: skip
        arguments.data, arguments.note, arguments.fid = "fashion", "smoke", False
        print("\n".join(lines([measure(Path(folder), 1, arguments)])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="folder of a run")
    parser.add_argument("--data", default="avatars", help="real images, as `sngan train` reads them")
    parser.add_argument("--steps", default="", metavar="N,M", help="iterations of snapshots")
    parser.add_argument("--note", default="", help="name of the run in the table")
    parser.add_argument("--precision", default="bf16", choices=("bf16", "fp32"), help="of Inception (default: bf16)")
    parser.add_argument("--workers", type=int, default=1, help="that compute features at the same time")
    parser.add_argument("--fid", action="store_true", help="measure fid_paper too, which needs 5,000 samples")
    parser.add_argument("--earlier", type=float, default=0.0, metavar="H", help="core-hours of the earlier runs")
    parser.add_argument("--record", action="store_true", help="add the rows to the records and print the table anew")
    parser.add_argument("--print", action="store_true", help="write the table from the records and stop")
    parser.add_argument("--smoke", action="store_true", help="a run of one step, as a test")
    arguments = parser.parse_args()
    if arguments.smoke:
        smoke(arguments)
        return
    rows = read_json_lines(RECORD)
    if arguments.print:
        write_text(RECORD.with_suffix(".md"), "\n".join(lines(rows)) + "\n")
        return
    if arguments.run is None or not arguments.steps:
        parser.error("RUN or --steps is missing")
    for step in map(int, arguments.steps.split(",")):
        row = measure(arguments.run, step, arguments)
        place = next((i for i, old in enumerate(rows) if (old["run"], old["step"]) == (row["run"], step)), len(rows))
        rows[place : place + 1] = [row]
        print(json.dumps(row), flush=True)
        if arguments.record:
            write_json_lines(RECORD, rows)
            write_text(RECORD.with_suffix(".md"), "\n".join(lines(rows)) + "\n")


if __name__ == "__main__":
    main()
