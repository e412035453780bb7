"""The tables of README.md and docs/, printed from the records: ``python -m training tables``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sngan_hub.files import read_json_lines
from sngan_hub.hub.listing import list_cells, listing
from sngan_hub.hub.sources import source_lines
from sngan_hub.metrics.protocols import PROTOCOLS
from sngan_hub.weights.records import WEIGHTS

from ..config.dry_run import read_throughput
from ..config.presets import PRESETS
from ..config.settings import settings_tables
from .record import stages_of

ROOT = Path(__file__).parent.parent.parent
RECORDS = ROOT / "benchmarks" / "records"  # the results of the benchmarks


#: Scores in the table of the included models, and their format
COLUMNS = {"fid5k_test": ".1f", "fid_paper": ".1f", "kid1k_test": ".4f", "agreement2k": ".1%", "cas": ".1%",
           "prdc10k": ".2f"}  # fmt: skip


def trained_by(recipe: Mapping[str, Any]) -> str:
    """The preset and the hours of each stage."""
    return ", then ".join(f"{stage['preset']}, {stage['hours']:.1f} h" for stage in stages_of(recipe))


def score_rows() -> list[str]:
    """The scores of the included models."""
    rows = ["| weights | trained by | G, D parameters | FID5k (floor) | FID, all test images (floor) | KID1k (floor) | "
            "agreement (real) | CAS (real) | coverage (real) | precision / recall | diversity, mean / worst class |",
            "|---" * 11 + "|"]  # fmt: skip
    for name, record in WEIGHTS.items():
        if record.kind != "generator" or record.where != "shipped":
            continue
        partner = WEIGHTS[name.replace(".", "_discriminator.")]
        cells = [f"`{name}`", trained_by(record.recipe)]
        cells.append(f"{record.parameters:,}, {partner.parameters:,}")
        for protocol, form in COLUMNS.items():
            score = record.scores.get(protocol)
            cells.append("not measured" if score is None else f"{score.value:{form}} ({score.floor:{form}})")
        parts = getattr(record.scores.get("prdc10k"), "parts", None)
        cells.append(f"{parts['precision']:.2f} / {parts['recall']:.2f}" if parts else "not measured")
        spread = record.scores.get("diversity")
        if spread is None or spread.per_class is None:
            cells.append("not measured")
        else:
            cells.append(f"{spread.value:.2f} / {min(spread.per_class.values()):.2f}")
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def other_rows() -> list[str]:
    """The default weights of each architecture, and all of the paper's; docs/published-weights.md has the others."""
    others = [row for row in listing() if row["where"] not in ("shipped", "untrained")
              and (row["default"] or row["name"].startswith("sngan_imagenet128."))]  # fmt: skip
    header, *cells = list_cells([{**row, "cached": False} for row in others])
    return ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *cells)]


#: What each part of benchmarks/steps.py times, and the form that the others are compared with
PARTS = {
    "d": ("D step, 128 px, batch 8", "plain"),
    "g": ("G step, 128 px, batch 8", "plain"),
    "iteration": ("iteration, 32 px, batch 64", "before"),
}


def step_rows(path: Path) -> list[str]:
    """The newest record of each part and machine, one row per form."""
    if not path.is_file():
        return []
    records = read_json_lines(path)
    newest = {(record["part"], record["machine"]): record for record in records}
    rows = ["| what | form | seconds (range) | times as fast | machine |", "|---|---|---|---|---|"]
    for (part, machine), record in newest.items():
        what, base = PARTS[part]
        for form, taken in record["forms"].items():
            setting = form.removeprefix("ours, compiled ").removeprefix("ours ")  # fp32, n_dis 1
            against = record["forms"].get(f"{base} {setting}" if part == "iteration" else base)
            ratio = "" if against is None or against is taken else f"{against['median_s'] / taken['median_s']:.2f}"
            rows.append(f"| {what} | {form} | {taken['median_s']:.3g} ({taken['range_s']:.2g}) | {ratio} | {machine}, "
                        f"torch {record['torch']} |")  # fmt: skip
    return rows


def gpu_rows(path: Path) -> list[str]:
    """Results of ``make gpu``: uncompiled iterations, and images per second of sampling."""
    records = read_json_lines(path)
    rows = ["| what | measured | predicted | GPU memory | machine |", "|---|---|---|---|---|"]
    for record in records:
        found, machine = record["found"], f"{record['device']}, torch {record['torch']}"
        if record["piece"].startswith("train:"):
            predicted = f"{found['predicted_s']:.3g} s" if found["predicted_s"] else "-"
            rows.append(f"| `{found['preset']}`, {found['precision']}, uncompiled | {found['iteration_s']:.3g} s per "
                        f"iteration, {found['hours']:.3g} h in total | {predicted} | "
                        f"{found['peak_memory_gb']:.2g} GB | {machine} |")  # fmt: skip
        elif record["piece"] == "sample":
            rows += [f"| sampling, {what} | {per_second:,.0f} images per second | - | - | {machine} |"
                     for what, per_second in found["images_per_s"].items() if what.endswith("batch 64")]  # fmt: skip
    return rows if records else []


def throughput_rows() -> list[str]:
    """One row per preset and device of training/config/throughput.json."""
    rows = [
        "| preset | precision | seconds per iteration | TFLOP per iteration | peak memory (RAM) | micro-batch | "
        "machine |",
        "|---|---|---|---|---|---|---|",
    ]
    order = {preset: i for i, preset in enumerate(PRESETS)}
    for row in sorted(read_throughput(), key=lambda row: (row["device"], order[row["preset"]])):
        rows.append(
            f"| `{row['preset']}` | {row['precision']} | {min(row['seconds']):.3g} | {row['tflop']:.3g} | "
            f"{row['peak_memory_gb']:.1f} GB | {row['micro_batch'] or '-'} | {row['device']}, torch {row['torch']} |"
        )
    return rows


def protocol_rows() -> list[str]:
    """One row per evaluation protocol."""
    rows = ["| protocol | what is measured | better | needs |", "|---|---|---|---|"]
    for name, row in PROTOCOLS.items():
        needs = {"Inception": "features", "logits": "logits", "classifier": "no Inception"}[row.network]
        classes = ", classes" if row.classes else ""
        rows.append(f"| `{name}` | {row.about} | {'lower' if row.lower_is_better else 'higher'} | {needs}{classes} |")
    return rows


def benchmark_lines(name: str) -> list[str]:
    """What a benchmark printed."""
    path = RECORDS / f"{name}.md"
    return path.read_text(encoding="utf-8").strip().splitlines() if path.exists() else []


def seconds_lines() -> list[str]:
    """For the README: seconds that images of the page and of the static page take."""

    def median(record: str, start: str) -> tuple[str, str]:
        """A row's median, and the number of threads of the machine, which the last line names."""
        lines = (RECORDS / record).read_text(encoding="utf-8").strip().splitlines()
        threads = lines[-1].partition(" threads")[0].split()[-1]
        return next(line for line in lines if line.startswith(f"| {start}")).split("|")[2].split()[0], threads

    page, threads = median("space.md", "from a click on Sample")
    static, threads_of_static = median("static.md", "`sngan_cifar10_small`")
    on = "" if threads_of_static == threads else f" on a CPU with {threads_of_static} threads"
    return [
        f"On a CPU with {threads} threads, the [web page](docs/web-page.md) shows new images {page} s after a click.",
        f"The [static page](docs/static-page.md), which computes in the browser, needs {static} s for 32 images{on}.",
    ]


BENCHMARKS = (
    "prepare", "normalizers", "probe", "space", "static", "walk", "finetune", "refining", "copies", "recipes",
    "changed", "curve",
)  # fmt: skip
#: Marker in README.md and docs/ -> its lines
TABLES: dict[str, Callable[[], list[str]]] = {
    "scores": score_rows,
    "others": other_rows,
    "published": source_lines,
    "protocols": protocol_rows,
    "settings": settings_tables,
    "throughput": throughput_rows,
    "seconds": seconds_lines,
    "steps": lambda: step_rows(RECORDS / "steps.jsonl"),
    "gpu": lambda: gpu_rows(RECORDS / "gpu.jsonl"),
    **{name: partial(benchmark_lines, name) for name in BENCHMARKS},
}


def with_tables(text: str) -> str:
    """A page with the lines between its markers printed anew."""
    for name, lines in TABLES.items():
        if f"<!-- {name} -->" in text:
            table = "\n".join([f"<!-- {name} -->", *lines(), f"<!-- /{name} -->"])
            text = re.sub(rf"<!-- {name} -->.*<!-- /{name} -->", lambda _, table=table: table, text, flags=re.S)
    return text
