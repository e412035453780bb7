"""Copies a finished run's networks into the package, with a record of hashes and recipe, and with model cards."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sngan_hub.data import load_images
from sngan_hub.files import write_json
from sngan_hub.hub.cards import write_cards
from sngan_hub.hub.listing import list_cells, listing
from sngan_hub.hub.load import load_discriminator, load_generator
from sngan_hub.hub.push import load_any
from sngan_hub.hub.sources import source_lines
from sngan_hub.metrics.discriminator_scores import scores_of
from sngan_hub.metrics.protocols import PROTOCOLS
from sngan_hub.networks.mixin import read_config
from sngan_hub.weights.records import KINDS, PRETRAINED, WEIGHTS, find_record

from ..config.dry_run import read_throughput
from ..config.presets import PRESETS
from ..config.settings import settings_tables
from .record import SOURCES, network_facts, recipe_of

ROOT = Path(__file__).parent.parent.parent
RECORDS = ROOT / "benchmarks" / "records"  # the results of the benchmarks


def ship(
    run: Path, name: str, pretrained: Path = PRETRAINED, source: str = "", before: Path | None = None, note: str = ""
) -> str:
    """Copies the networks of a run to ``pretrained/NAME``. ``sngan evaluate NAME --record`` adds scores.

    ``source``: the card's texts, a row of ``SOURCES``, where they are not those of the run's data. ``before``: the run
    that this one went on from with other settings; ``note``: what its settings do not say.
    """
    config = read_config(run / "config.json")
    if name.count(".") != 1 or name.split(".")[0] != config["architecture"]:
        raise ValueError(f"name must be {config['architecture']}.TAG for this run (got {name!r})")
    source = source or config["data"]
    if source not in SOURCES:
        raise ValueError(f"source must be one of {', '.join(SOURCES)} (got {source!r}); other data need a card text in "
                         f"training/publish/record.py")  # fmt: skip
    networks, folder, classes = {}, pretrained / name, None
    for kind in KINDS:
        network = load_any(run / kind)
        shutil.rmtree(folder / kind, ignore_errors=True)
        (folder / kind).mkdir(parents=True)
        network._save_pretrained(folder / kind)
        networks[kind], classes = network_facts(folder / kind), network.classes
    record = {
        "name": name,
        **SOURCES[source],
        "licence": "MIT",
        "classes": classes,
        "networks": networks,
        "recipe": {**recipe_of(run), "data": source, **first_stage(run, before, note)},
        "scores": {},
    }
    write_json(folder / "record.json", record)
    write_cards(folder)
    return f"{folder}: copied the weights. Next: sngan evaluate {name} --data {config['data']} --protocol ... --record"


def first_stage(run: Path, before: Path | None, note: str) -> dict[str, Any]:
    """Rows of a recipe: the settings of ``before`` that differ from the run's, and the note."""
    rows: dict[str, Any] = {"note": note} if note else {}
    if before is None:
        return rows
    now, then = recipe_of(run), recipe_of(before)
    differing = {k: v for k, v in then.items() if now.get(k) != v and k not in ("donor", "class_order", "like")}
    return {**rows, "donor": "", **{f"first stage: {key}": value for key, value in differing.items()}}


def reference(name: str, n: int = 200, seed: int = 0, held_out: str = "") -> str:
    """Writes reference.json: D's scores of ``n`` real test images and ``n`` generated images of each class.

    ``held_out``: a folder of test images, for a model that was trained on a folder.
    """
    record = find_record(name, "generator")
    if record.folder is None:
        raise ValueError(f"name must be weights in the package (got {name})")
    source = {"fashion32": "fashion", "avatars32": "avatars"}.get(str(record.recipe["preset"]), "")
    if not (held_out or source):
        raise ValueError(f"held_out must name a folder of test images for {name}, which was trained on a folder")
    g, d = load_generator(name), load_discriminator(name)
    test = load_images(held_out, "all", g.size) if held_out else load_images(source, "test", g.size)
    test = test.in_order(list(g.classes or test.classes))
    spans = {}
    for label, title in enumerate(test.classes):
        real = test.images[np.flatnonzero(test.labels == label)[:n]]
        of = {
            "real": scores_of(d, real)[:, label],
            "generated": scores_of(d, g.sample(classes=label, n=n, seed=seed))[:, label],
        }
        percentiles = torch.tensor([0.1, 0.5, 0.9])
        spans[title] = {kind: [round(v, 4) for v in s.quantile(percentiles).tolist()] for kind, s in of.items()}
    path = record.folder.parent / "reference.json"
    about = {"n": n, "seed": seed, "percentiles": [10, 50, 90], "torch": str(torch.__version__), "classes": spans}
    write_json(path, about)
    return f"{path}: {n} real and {n} generated images of each of {len(spans)} classes"


#: Scores in the README's table, and their format
COLUMNS = {"fid5k_test": ".1f", "fid_paper": ".1f", "kid1k_test": ".4f", "agreement2k": ".1%"}


def trained_by(recipe: Mapping[str, Any]) -> str:
    """The preset and the hours of each stage."""
    stages = [recipe]
    if "first stage: preset" in recipe:
        stages.insert(0, {key: recipe[f"first stage: {key}"] for key in ("preset", "hours")})
    return ", then ".join(f"{stage['preset']}, {stage['hours']:.1f} h" for stage in stages)


def readme_tables(text: str) -> str:
    """The README with the tables between its markers regenerated from the records."""
    rows = ["| weights | trained by | G, D parameters | FID5k (floor) | FID, all test images (floor) | KID1k (floor) | "
            "agreement (real) | diversity, mean / worst class |", "|---" * 8 + "|"]  # fmt: skip
    for name, record in WEIGHTS.items():
        if record.kind != "generator" or record.where != "shipped":
            continue
        partner = WEIGHTS[name.replace(".", "_discriminator.")]
        cells = [f"`{name}`", trained_by(record.recipe)]
        cells.append(f"{record.parameters:,}, {partner.parameters:,}")
        for protocol, form in COLUMNS.items():
            score = record.scores.get(protocol)
            cells.append("not measured" if score is None else f"{score.value:{form}} ({score.floor:{form}})")
        spread = record.scores.get("diversity")
        if spread is None or spread.per_class is None:
            cells.append("not measured")
        else:
            cells.append(f"{spread.value:.2f} / {min(spread.per_class.values()):.2f}")
        rows.append("| " + " | ".join(cells) + " |")
    text = _between("scores", rows, text)
    for name in ("space", "static", "walk"):
        text = _from_benchmark(name, text)
    # The default weights of each architecture, and all of the paper's; docs/published-weights.md has the others.
    others = [row for row in listing() if row["where"] not in ("shipped", "untrained")
              and (row["default"] or row["name"].startswith("sngan_imagenet128."))]  # fmt: skip
    header, *cells = list_cells([{**row, "cached": False} for row in others])
    return _between("others", ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *cells)], text)


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
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
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
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    rows = ["| what | measured | predicted | machine |", "|---|---|---|---|"]
    for record in records:
        found, machine = record["found"], f"{record['device']}, torch {record['torch']}"
        if record["piece"].startswith("train:"):
            predicted = f"{found['predicted_s']:.3g} s" if found["predicted_s"] else "-"
            rows.append(f"| `{found['preset']}`, {found['precision']}, uncompiled | {found['iteration_s']:.3g} s per "
                        f"iteration, {found['hours']:.3g} h in total | {predicted} | {machine} |")  # fmt: skip
        elif record["piece"] == "sample":
            rows += [f"| sampling, {what} | {per_second:,.0f} images per second | - | {machine} |"
                     for what, per_second in found["images_per_s"].items() if what.endswith("batch 64")]  # fmt: skip
    return rows if records else []


def guide_tables(text: str) -> str:
    """A guide with its tables regenerated from training/config/throughput.json and benchmarks/records."""
    rows = [
        "| preset | precision | seconds per iteration | TFLOP per iteration | peak memory | micro-batch | machine |",
        "|---|---|---|---|---|---|---|",
    ]
    order = {preset: i for i, preset in enumerate(PRESETS)}
    for row in sorted(read_throughput(), key=lambda row: (row["device"], order[row["preset"]])):
        rows.append(
            f"| `{row['preset']}` | {row['precision']} | {min(row['seconds']):.3g} | {row['tflop']:.3g} | "
            f"{row['peak_memory_gb']:.1f} GB | {row['micro_batch'] or '-'} | {row['device']}, torch {row['torch']} |"
        )
    text = _between("throughput", rows, text)
    text = _between("steps", step_rows(RECORDS / "steps.jsonl"), text)
    text = _between("gpu", gpu_rows(RECORDS / "gpu.jsonl"), text)
    text = _between("settings", settings_tables(), text)
    text = _between("protocols", protocol_rows(), text)
    text = _between("published", source_lines(), text)
    for name in (
        "prepare", "normalizers", "probe", "walk", "finetune", "refining", "copies", "recipes", "static"
    ):  # fmt: skip
        text = _from_benchmark(name, text)
    return text


def protocol_rows() -> list[str]:
    """One row per evaluation protocol."""
    rows = ["| protocol | what is measured | better | needs |", "|---|---|---|---|"]
    for name, row in PROTOCOLS.items():
        needs = {"Inception": "features", "logits": "logits", "classifier": "-"}[row.network]
        classes = ", classes" if row.classes else ""
        rows.append(f"| `{name}` | {row.about} | {'lower' if row.lower_is_better else 'higher'} | {needs}{classes} |")
    return rows


def _from_benchmark(name: str, text: str) -> str:
    path = RECORDS / f"{name}.md"
    return _between(name, path.read_text(encoding="utf-8").strip().splitlines() if path.exists() else [], text)


def _between(name: str, lines: list[str], text: str) -> str:
    table = f"<!-- {name} -->\n" + "\n".join(lines) + f"\n<!-- /{name} -->"
    return re.sub(rf"<!-- {name} -->.*<!-- /{name} -->", lambda _: table, text, flags=re.S)
