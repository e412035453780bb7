"""A finished run -> weights inside the package: both networks, their record with hashes and recipe, their cards."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

from sngan_hub.catalogue import list_cells, listing
from sngan_hub.hub import write_cards
from sngan_hub.mixin import SAFETENSORS_SINGLE_FILE, read_config
from sngan_hub.resnet import Discriminator, Generator
from sngan_hub.weights import KINDS, PRETRAINED, WEIGHTS

from .config import FREE, PRESETS
from .describe import read_throughput

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "benchmarks" / "records"  # what the benchmarks printed

#: What a card must say about each source that we train shipped models on.
SOURCES = {
    "fashion": {
        "data": "Fashion-MNIST (Xiao et al. 2017): 60,000 grey product photographs of 28x28 px in ten classes, padded "
        "to 32 px and repeated over three channels. https://github.com/zalandoresearch/fashion-mnist",
        "data_licence": "MIT",
        "about": "A conditional SNGAN with projection discriminator for clothing by class, 32x32 px, small enough to "
        "ship inside the package and to sample on any CPU.",
        "limits": "32 px, grey. Shirt, coat, pullover and T-shirt resemble each other in the data and so in the "
        "samples. Logos and prints are rarely legible. The data are one shop's catalogue of its time: do not read a "
        "general picture of clothing, or of anyone wearing it, from it.",
    },
    "avatars": {
        "data": "Procedural drawings, not photographs: 4,000 avatars in each of ten DiceBear styles, drawn by seed "
        "from the artists' parts with dicebear-core 10.7.0, dicebear-styles 10.6.0 and resvg-py 0.5.0 (see "
        "sngan_hub/sources/avatars.py).",
        "data_licence": "CC0-1.0 (styles), MIT (code)",
        "about": "A conditional SNGAN with projection discriminator for small drawn avatars by style, 32x32 px, in "
        "colour, small enough to ship inside the package and to sample on any CPU.",
        "limits": "32 px. The styles' parts and palettes are all it knows; small parts (eyes, mouths, accessories) can "
        "blend. Styles with people show the skin, hair and clothing that their artists chose, in the shares that the "
        "drawing library gives them.",
    },
}  # fmt: skip


def ship(run: Path, name: str, pretrained: Path = PRETRAINED) -> str:
    """Copies the run's pair to ``pretrained/NAME``; scores are added by ``sngan evaluate NAME --record``."""
    config = read_config(run / "config.json")
    if name.count(".") != 1 or name.split(".")[0] != config["architecture"]:
        raise ValueError(f"name: got {name!r}, legal for this run is {config['architecture']}.TAG")
    if config["data"] not in SOURCES:
        raise ValueError(f"data: no card text for {config['data']!r}; add it to training/ship.py")
    networks = {}
    folder = pretrained / name
    for kind, cls in zip(KINDS, (Generator, Discriminator), strict=True):
        network = cls.from_pretrained(run / kind)
        shutil.rmtree(folder / kind, ignore_errors=True)
        (folder / kind).mkdir(parents=True)
        network._save_pretrained(folder / kind)
        digest = hashlib.sha256((folder / kind / SAFETENSORS_SINGLE_FILE).read_bytes()).hexdigest()
        networks[kind] = {"sha256": digest, "parameters": sum(p.numel() for p in network.parameters())}
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    steps = [0] + [row["step"] for row in log]
    hours = (
        sum(row["seconds_per_step"] * (row["step"] - before) for row, before in zip(log, steps, strict=False)) / 3600
    )
    recipe = {key: value for key, value in config.items() if key not in FREE - {"steps"} | {"architecture"}}
    record = {
        "name": name,
        **SOURCES[config["data"]],
        "licence": "MIT",
        "classes": Generator.from_pretrained(folder / "generator").classes,
        "networks": networks,
        "recipe": {**recipe, "hours": round(hours, 2)},
        "scores": {},
    }
    (folder / "record.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_cards(folder)
    return f"{folder}: shipped; now: sngan evaluate {name} --data {config['data']} --protocol ... --record"


def readme_tables(text: str) -> str:
    """The README with the tables between its markers printed anew from the records."""
    rows = ["| weights | trained on | G, D parameters | FID5k (floor) | KID1k (floor) | agreement (real) | "
            "diversity, mean / worst class |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, record in WEIGHTS.items():
        if record.kind != "generator" or record.where != "shipped":
            continue
        partner = WEIGHTS[name.replace(".", "_discriminator.")]
        cells = [f"`{name}`", f"{record.recipe['preset']}, {record.recipe['hours']:.1f} h"]
        cells.append(f"{record.parameters:,}, {partner.parameters:,}")
        for protocol, form in (("fid5k_test", ".1f"), ("kid1k_test", ".4f"), ("agreement2k", ".1%")):
            score = record.scores.get(protocol)
            cells.append("not measured" if score is None else f"{score.value:{form}} ({score.floor:{form}})")
        spread = record.scores.get("diversity")
        if spread is None or spread.per_class is None:
            cells.append("not measured")
        else:
            cells.append(f"{spread.value:.2f} / {min(spread.per_class.values()):.2f}")
        rows.append("| " + " | ".join(cells) + " |")
    text = _between("scores", rows, text)
    others = [row for row in listing() if row["where"] not in ("shipped", "untrained")]
    header, *cells = list_cells([{**row, "cached": False} for row in others])
    return _between("others", ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *cells)], text)


def training_tables(text: str) -> str:
    """docs/training.md with its tables printed anew from training/throughput.json and benchmarks/records."""
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
    for name in ("prepare", "normalizers"):
        path = RECORDS / f"{name}.md"
        text = _between(name, path.read_text(encoding="utf-8").strip().splitlines() if path.exists() else [], text)
    return text


def _between(name: str, lines: list[str], text: str) -> str:
    table = f"<!-- {name} -->\n" + "\n".join(lines) + f"\n<!-- /{name} -->"
    return re.sub(rf"<!-- {name} -->.*<!-- /{name} -->", lambda _: table, text, flags=re.S)
