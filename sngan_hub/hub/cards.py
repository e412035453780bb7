"""Generates model cards (README.md) from records: Hub metadata, use, recipe, scores and limits."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from ..files import write_json
from ..networks.card import PIPELINES, as_text, first_class, listed, use_snippet
from ..text import NAMESPACE, REPOSITORY, printed
from ..weights.record import Record
from ..weights.records import WEIGHTS

PICTURE = "samples.png"  # file name of the sample image beside the card
#: Licences that the Hub knows by these names
LICENCES = {
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc",
    "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc0-1.0", "creativeml-openrail-m", "gpl", "gpl-2.0", "gpl-3.0", "isc", "lgpl", "lgpl-2.1",
    "lgpl-3.0", "mit", "mpl-2.0", "odbl", "openrail", "openrail++", "osl-3.0", "pddl", "unlicense", "wtfpl", "zlib",
}  # fmt: skip
METRICS = {"fid": "Frechet Inception Distance", "kid": "Kernel Inception Distance"}

GIVEN = ("data", "donor", "like", "class_order")  # rows of a recipe with text from the user, which is escaped
EMPTY = ("", "{}", "[]", None)  # settings that were not used have no row in the card
OFF_AT_ZERO = ("clip", "noise", "noise_to", "warm_up", "l2_sp", "freeze_d", "d_warm_up", "stored_size", "bn_group_d",
               "bn_group_g", "transition_from", "transition_to", "diversity_weight", "augment_from")  # fmt: skip

PARTS = {"penalty_weight": "penalty", "diversity_distance": "diversity_weight"}  # in use only with the other setting


def repositories(record: Record) -> dict[str, str]:
    """The Hub repositories of the project's own pair of this architecture."""
    name = record.architecture.replace("_", "-")
    return {"generator": f"{NAMESPACE}/{name}", "discriminator": f"{NAMESPACE}/{name}-discriminator"}


def model_card(record: Record, repos: Mapping[str, str] | None = None, size: int = 32, picture: bool = False) -> str:
    """The text of a model card.

    ``repos``: repository ids of the pair; by default the project's own. ``picture``: whether there is a sample image.
    """
    other = "discriminator" if record.kind == "generator" else "generator"
    named = repos is None  # the project's own: it can be loaded by the name of its architecture
    repos = repos or repositories(record)
    handle = record.architecture if named else repos["generator"]
    title = f"{record.architecture}, {record.kind}, tag {record.tag}"
    title = title if named else f"{repos[record.kind]}: {record.kind}"
    shown = f"![Generated images, one row per class]({PICTURE})\n\n" if picture else ""
    recipe = "\n".join(
        f"| {key} | {as_text(str(value)) if key in GIVEN else value} |"
        for key, value in record.recipe.items()
        if value not in EMPTY and not (key in OFF_AT_ZERO and not value)
        if key not in PARTS or record.recipe.get(PARTS[key])
    )
    classes = f"Classes: {listed(record.classes)}.\n\n" if record.classes else ""
    donor = record.recipe.get("donor")
    pair = ", generator and discriminator" if _has_discriminator(record) else "; its discriminator started untrained"
    origin = f"Fine-tuned from {as_text(str(donor))}{pair}.\n\n" if donor else ""
    # Only for the project's own models: torch.hub loads by the name of an architecture.
    hub = f'With torch.hub: `torch.hub.load("{REPOSITORY}", "{_entry(record)}")`.\n' if named else ""
    page = "sngan app" if named else f"sngan app --model {handle}"
    return f"""---
{_metadata(record, repos)}
---

# {title}

{shown}{record.about}

{origin}Its {other} is `{repos[other]}`. Code: https://github.com/{REPOSITORY}

```python
{use_snippet(record.kind, record.classes, handle, size)}
```

{hub}On the command line: `{_command(record, handle)}`. As a web page: `{page}`.

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


def licence_of(text: str) -> tuple[str, str | None]:
    """The Hub's name of a licence, and our name of it where the Hub has none."""
    if text.lower() in LICENCES:
        return text.lower(), None
    named = re.sub(r"[^a-z0-9.+]+", "-", text.lower()).strip("-")
    return "other", "not-stated" if "not stated" in text or not named else named


def _metadata(record: Record, repos: Mapping[str, str]) -> str:
    licence, licence_name = licence_of(record.licence)
    dataset = str(record.recipe.get("data") or record.recipe.get("preset", record.architecture))
    results = [
        EvalResult(
            task_type=PIPELINES["generator"], dataset_type=dataset.replace("-", "_"), dataset_name=dataset,
            metric_type=name,
            metric_name=f"{METRICS.get(name[:3], name)}, {score.n:,} images" if score.n else name,
            metric_value=float(f"{score.value:.5g}"),
        )
        for name, score in record.scores.items()
    ]  # fmt: skip
    data = ModelCardData(
        license=licence,
        license_name=licence_name,
        library_name="sngan-hub",
        pipeline_tag=PIPELINES[record.kind],
        tags=["gan", "sngan", "spectral-normalization", "projection-discriminator", record.kind, "pytorch"],
        model_name=repos[record.kind].split("/")[-1] if results else None,
        eval_results=results or None,
        base_model=_base_model(record),
    )
    return data.to_yaml().strip()


def _base_model(record: Record) -> str | None:
    """The donor's repository: its own id, or the repository of the project's pair with that name."""
    donor = str(record.recipe.get("donor") or "")
    if record.kind == "discriminator" and not _has_discriminator(record):
        return None
    if donor.count("/") == 1:
        return donor if record.kind == "generator" else f"{donor.removesuffix('-discriminator')}-discriminator"
    shipped = donor in {name for r in WEIGHTS.values() if r.where == "shipped" for name in (r.name, r.architecture)}
    return repositories(replace(record, name=f"{donor.split('.')[0]}.v1"))[record.kind] if shipped else None


def _has_discriminator(record: Record) -> bool:
    """Whether the donor has a discriminator."""
    return record.recipe.get("donor_discriminator") != "none"


def _entry(record: Record) -> str:
    return record.architecture if record.kind == "generator" else f"{record.architecture}_discriminator"


def _command(record: Record, handle: str) -> str:
    if record.kind == "discriminator":
        return f"sngan score {handle} FOLDER"
    chosen = f"--classes {first_class(record.classes)} " if record.classes else ""
    return f"sngan sample {handle} {chosen}--out samples.png"


def score_table(record: Record) -> str:
    """The record's scores as a Markdown table. sngan_hub/metrics/protocols.py describes the protocols."""
    if not record.scores:
        return "Not measured."
    lines = [
        "| protocol | value | floor (real images) | worst class | images | evaluator |",
        "|---|---|---|---|---|---|",
    ]
    for name, score in record.scores.items():
        worst = "-"
        if score.per_class:
            pick = max if name == "intra_fid" else min
            key, least = pick(score.per_class.items(), key=lambda item: item[1])
            worst = f"{least:.3g} ({as_text(key)})"
        spread = "" if score.spread is None else f" ± {score.spread:.2g}"
        floor = "-" if score.floor is None else f"{score.floor:.3g}"
        images = "not stated" if score.n is None else f"{score.n:,}"
        parts = "".join(f"; {part} {value:.3g}" for part, value in (score.parts or {}).items())
        lines.append(
            f"| `{name}` | {score.value:.4g}{spread} | {floor} | {worst} | {images} | {score.evaluator}{parts} |"
        )
    machine = next(iter(record.scores.values()))
    versions = ", ".join(f"{k} {v}" for k, v in (machine.versions or {}).items())
    return "\n".join(lines) + f"\n\nSeed {machine.seed}; {printed(machine.machine)}; {versions}."


def write_cards(folder: Path) -> None:
    """Rewrites both model cards of an included pair from its record.json."""
    from ..weights.records import read_records

    for record in read_records(folder.parent).values():
        if record.folder is not None and record.folder.parent == folder:
            (record.folder / "README.md").write_text(model_card(record), encoding="utf-8")


def update_record(folder: Path, scores: dict[str, dict]) -> None:
    """Adds scores to the record.json of an included pair and rewrites its model cards."""
    path = folder / "record.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields["scores"].update(scores)
    write_json(path, fields)
    write_cards(folder)
