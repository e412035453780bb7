"""The README.md of a network's repository, printed from its record: Hub metadata, use, recipe, scores, limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from ..files import write_json
from ..networks.card import PIPELINES, as_text, first_class, listed, use_snippet
from ..text import NAMESPACE, REPOSITORY
from ..weights.records import WEIGHTS, Record

PICTURE = "samples.png"  # beside the card, where there is one
METRICS = {"fid": "Frechet Inception Distance", "kid": "Kernel Inception Distance"}

GIVEN = ("data", "donor", "like", "class_order")  # rows of a recipe that hold what a user named


def repositories(record: Record) -> dict[str, str]:
    """Where the project's own pair of this architecture lies on the Hub."""
    name = record.architecture.replace("_", "-")
    return {"generator": f"{NAMESPACE}/{name}", "discriminator": f"{NAMESPACE}/{name}-discriminator"}


def model_card(record: Record, repos: Mapping[str, str] | None = None, size: int = 32, picture: bool = False) -> str:
    """``repos``: the pair's ids, where they are not the project's. ``picture``: whether one lies beside the card."""
    other = "discriminator" if record.kind == "generator" else "generator"
    named = repos is None  # ours: the name of an architecture leads to it
    repos = repos or repositories(record)
    handle = record.architecture if named else repos["generator"]
    title = f"{record.architecture}, {record.kind}, tag {record.tag}"
    title = title if named else f"{repos[record.kind]}: {record.kind}"
    shown = f"![Generated pictures, a class a row]({PICTURE})\n\n" if picture else ""
    recipe = "\n".join(
        f"| {key} | {as_text(str(value)) if key in GIVEN else value} |" for key, value in record.recipe.items()
    )
    classes = f"Classes: {listed(record.classes)}.\n\n" if record.classes else ""
    donor = record.recipe.get("donor")
    origin = f"Fine-tuned from {as_text(str(donor))}, generator and discriminator.\n\n" if donor else ""
    # Of ours alone: torch.hub's entries are the names of architectures.
    hub = f'With torch.hub: `torch.hub.load("{REPOSITORY}", "{_entry(record)}")`.\n' if named else ""
    page = "python space/app.py" if named else f"python space/app.py --model {handle}"
    return f"""---
{_metadata(record, repos)}
---

# {title}

{shown}{record.about}

{origin}Its {other} is `{repos[other]}`. Code: https://github.com/{REPOSITORY}

```python
{use_snippet(record.kind, record.classes, handle, size)}
```

{hub}On the command line: `{_command(record, handle)}`. In a page: `{page}` from the checkout.

## Scores

{score_table(record)}

## Data and licence

{record.data} Data licence: {record.data_licence}. Weights: {record.licence}.

{classes}## Limits

{record.limits}

## Recipe

{record.parameters:,} parameters, sha256 `{record.sha256}`.

| setting | value |
|---|---|
{recipe}
"""


def _metadata(record: Record, repos: Mapping[str, str]) -> str:
    licence = record.licence.lower()
    known = licence in ("mit", "apache-2.0", "cc0-1.0", "cc-by-4.0", "bsd-3-clause")
    results = [
        EvalResult(
            task_type=PIPELINES["generator"], dataset_type=record.architecture.removeprefix("sngan_"),
            dataset_name=str(record.recipe.get("data") or record.recipe.get("preset", record.architecture)),
            metric_type=name,
            metric_name=f"{METRICS.get(name[:3], name)}, {score.n:,} images" if score.n else name,
            metric_value=float(f"{score.value:.5g}"),
        )
        for name, score in record.scores.items()
    ]  # fmt: skip
    data = ModelCardData(
        license=licence if known else "other",
        license_name=None if known else "not-stated",
        library_name="sngan-hub",
        pipeline_tag=PIPELINES[record.kind],
        tags=["gan", "sngan", "spectral-normalization", "projection-discriminator", record.kind, "pytorch"],
        model_name=repos[record.kind].split("/")[-1] if results else None,
        eval_results=results or None,
        base_model=_base_model(record),
    )
    return data.to_yaml().strip()


def _base_model(record: Record) -> str | None:
    """The donor's repository: its own id, or where the project's pair of that name lies."""
    donor = str(record.recipe.get("donor") or "")
    if donor.count("/") == 1:
        return donor if record.kind == "generator" else f"{donor.removesuffix('-discriminator')}-discriminator"
    shipped = donor in {name for r in WEIGHTS.values() if r.where == "shipped" for name in (r.name, r.architecture)}
    return repositories(replace(record, name=f"{donor.split('.')[0]}.v1"))[record.kind] if shipped else None


def _entry(record: Record) -> str:
    return record.architecture if record.kind == "generator" else f"{record.architecture}_discriminator"


def _command(record: Record, handle: str) -> str:
    if record.kind == "discriminator":
        return f"sngan score {handle} FOLDER"
    chosen = f"--classes {first_class(record.classes)} " if record.classes else ""
    return f"sngan sample {handle} {chosen}--out samples.png"


def score_table(record: Record) -> str:
    """The record's scores as a Markdown table; what each protocol is stands in sngan_hub/metrics/protocols.py."""
    if not record.scores:
        return "Not measured."
    lines = [
        "| protocol | value | floor (real images) | worst class | images | evaluator |",
        "|---|---|---|---|---|---|",
    ]
    for name, score in record.scores.items():
        worst = "-"
        if score.per_class:
            key, least = min(score.per_class.items(), key=lambda item: item[1])
            worst = f"{least:.3g} ({as_text(key)})"
        spread = "" if score.spread is None else f" ± {score.spread:.2g}"
        floor = "-" if score.floor is None else f"{score.floor:.3g}"
        lines.append(f"| `{name}` | {score.value:.4g}{spread} | {floor} | {worst} | {score.n:,} | {score.evaluator} |")
    machine = next(iter(record.scores.values()))
    versions = ", ".join(f"{k} {v}" for k, v in (machine.versions or {}).items())
    return "\n".join(lines) + f"\n\nSeed {machine.seed}; {machine.machine}; {versions}."


def write_cards(folder: Path) -> None:
    """Prints both cards of a shipped pair anew from its record.json."""
    from ..weights.records import read_records

    for record in read_records(folder.parent).values():
        if record.folder is not None and record.folder.parent == folder:
            (record.folder / "README.md").write_text(model_card(record), encoding="utf-8")


def update_record(folder: Path, scores: dict[str, dict]) -> None:
    """Adds scores to a shipped pair's record.json and prints its cards anew."""
    path = folder / "record.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields["scores"].update(scores)
    write_json(path, fields)
    write_cards(folder)
