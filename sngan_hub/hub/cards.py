"""The README.md of a network's repository, printed from its record: Hub metadata, use, recipe, scores, limits."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import EvalResult, ModelCardData

from ..text import NAMESPACE, REPOSITORY
from ..weights.records import WEIGHTS, Record

if TYPE_CHECKING:  # cards need no torch
    from ..networks.base import Network

PICTURE = "samples.png"  # beside the card, where there is one
PIPELINES = {"generator": "unconditional-image-generation", "discriminator": "image-classification"}
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
{_use(record, handle, size)}
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


def network_card(network: Network, repo: str = "") -> str:
    """A card for a network of which no record is known: what it is and how to use it, from the network alone.

    ``repo``: where it will lie on the Hub; empty while that is open.
    """
    classes = tuple(network.classes or map(str, range(network.n_classes)))
    record = Record(f"{network.kind}.saved", network.kind, classes=classes)
    side = f"{network.size}x{network.size} px"
    what = f"{'conditional' if classes else 'unconditional'} {network.kind} for images of {side}"
    count = sum(parameter.numel() for parameter in network.parameters())
    data = ModelCardData(
        license="other", license_name="not-stated", library_name="sngan-hub", pipeline_tag=PIPELINES[network.kind],
        tags=["gan", "sngan", "spectral-normalization", network.kind, "pytorch"],
    )  # fmt: skip
    names = f"Its {len(classes):,} classes: {listed(classes)}.\n\n" if network.classes else ""
    return f"""---
{data.to_yaml().strip()}
---

# {repo or network.kind.capitalize()}

A {what}, of the class `{type(network).__name__}` of sngan-hub, with {count:,} parameters.
Code: https://github.com/{REPOSITORY}

```python
{_use(record, repo or "FOLDER", network.size)}
```

{names}## Data, licence and scores

Its publisher has stated none.
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


def _use(record: Record, handle: str, size: int) -> str:
    shape = f"(8, 3, {size}, {size})"
    if record.kind == "generator":
        chosen = f"classes=[{_first(record.classes)}], " if record.classes else ""
        return (f'from sngan_hub import load_generator\n\ngenerator = load_generator("{handle}")\n'
                f"images = generator.sample({chosen}n=8, seed=0)  # uint8 {shape}")  # fmt: skip
    labels = ", labels" if record.classes else ""
    return (f'from sngan_hub import load_discriminator\n\ndiscriminator = load_discriminator("{handle}")\n'
            f"scores = discriminator(images{labels})  # images (N, 3, {size}, {size}) in [-1, 1] -> (N, 1), no sigmoid"
            )  # fmt: skip


def _entry(record: Record) -> str:
    return record.architecture if record.kind == "generator" else f"{record.architecture}_discriminator"


def _command(record: Record, handle: str) -> str:
    if record.kind == "discriminator":
        return f"sngan score {handle} FOLDER"
    chosen = f"--classes {_first(record.classes)} " if record.classes else ""
    return f"sngan sample {handle} {chosen}--out samples.png"


def _first(classes: Sequence[str]) -> str:
    """How a snippet names the first class: in quotes, or by its index where quotes could not hold it as it is."""
    return f'"{classes[0]}"' if re.fullmatch(r"[\w .,'()+-]+", classes[0]) else "0"


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 100:,} more, in config.json" if len(names) > 100 else ""
    return ", ".join(map(as_text, names[:100])) + more


def as_text(name: str) -> str:
    """What somebody named something -> Markdown that shows it and does nothing else."""
    escaped = re.sub(r"([\\`*_\[\]#|!~$])", r"\\\1", html.escape(" ".join(name.split()), quote=False))
    return escaped.replace("://", ":&#47;/")  # no address becomes a link


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
    path.write_text(json.dumps(fields, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_cards(folder)
