"""A weights name, folder, file or Hub repository id -> a verified network in eval mode; and the model card."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from .convert import load_chainer
from .mixin import CONFIG_NAME, SAFETENSORS_SINGLE_FILE
from .names import NAMESPACE, REPOSITORY
from .resnet import Discriminator, Generator
from .weights import Record, find_record


def load_generator(
    name: str | Path,
    weights: str | Path | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> Generator:
    """The trained generator of ``name``, in eval mode.

    ``name``: ``architecture[.tag]`` (sngan_fashion32), a network's folder, a folder with generator/ and
    discriminator/ (a run), the authors' .npz, or a Hub repository id. ``weights``: a tag, or any of these in place of
    the name's own. ``revision`` and ``token`` are for the Hub. Raises ``ValueError`` or ``FileNotFoundError``.
    """
    network = _load(name, weights, "generator", revision, token)
    if not isinstance(network, Generator):
        raise ValueError(f"{weights or name}: is a {type(network).__name__}; use load_discriminator")
    return network.to(device=device, dtype=dtype)


def load_discriminator(
    name: str | Path,
    weights: str | Path | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> Discriminator:
    """As ``load_generator``, for the discriminator; both ``NAME`` and ``NAME_discriminator`` name it."""
    network = _load(name, weights, "discriminator", revision, token)
    if not isinstance(network, Discriminator):
        raise ValueError(f"{weights or name}: is a {type(network).__name__}; use load_generator")
    return network.to(device=device, dtype=dtype)


def _load(
    name: str | Path, weights: str | Path | None, kind: str, revision: str | None, token: str | bool | None
) -> Generator | Discriminator:
    cls = Generator if kind == "generator" else Discriminator
    source = str(name if weights is None else weights)
    path = Path(source)
    if path.is_dir():
        return cls.from_pretrained(path / kind if (path / kind).is_dir() else path)
    if path.is_file():
        if path.suffix != ".npz":
            raise ValueError(f"{path}: files other than the authors' .npz are not read in this version; "
                             f"name the folder that holds {CONFIG_NAME} and {SAFETENSORS_SINGLE_FILE}")  # fmt: skip
        return load_chainer(path)
    if source.count("/") == 1 and not source.startswith((".", "/", "~")):
        return cls.from_pretrained(source, revision=revision, token=token)
    if "/" in source:
        raise FileNotFoundError(f"{source}: no such file or folder")
    record = find_record(str(name), kind, None if weights is None else str(weights))
    verify(record)
    return cls.from_pretrained(record.folder)


def verify(record: Record) -> None:
    """Raises ``ValueError`` when the file is not the one that the record's hash describes; nothing is read from it."""
    path = record.folder / SAFETENSORS_SINGLE_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; install sngan-hub again")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != record.sha256:
        raise ValueError(f"{path}: sha256 {found[:16]}... is not the record's {record.sha256[:16]}...; the file is "
                         f"damaged or was changed: install sngan-hub again")  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# The model card, printed from the record


def model_card(record: Record) -> str:
    """The README.md of one network's folder: Hub metadata, use, recipe, scores, limits."""
    other = "discriminator" if record.kind == "generator" else "generator"
    repo = record.architecture.replace("_", "-")
    repos = {"generator": f"{NAMESPACE}/{repo}", "discriminator": f"{NAMESPACE}/{repo}-discriminator"}
    title = f"{record.architecture}, {record.kind}, tag {record.tag}"
    metadata = {
        "license": record.licence.lower(),
        "library_name": "sngan-hub",
        "pipeline_tag": "unconditional-image-generation" if record.kind == "generator" else "image-classification",
        "tags": ["gan", "sngan", "spectral-normalization", "projection-discriminator", record.kind, "pytorch"],
    }
    front = "\n".join(
        f"{key}: {value}" if isinstance(value, str) else f"{key}:\n" + "\n".join(f"  - {item}" for item in value)
        for key, value in metadata.items()
    )
    use = (
        f'from sngan_hub import load_generator\n\ngenerator = load_generator("{record.architecture}")\n'
        f'images = generator.sample(classes=["{record.classes[0]}"], n=8, seed=0)  # uint8 (8, 3, 32, 32)'
        if record.kind == "generator"
        else "from sngan_hub import load_discriminator\n\n"
        f'discriminator = load_discriminator("{record.architecture}")\n'
        "scores = discriminator(images, labels)  # images (N, 3, 32, 32) in [-1, 1] -> (N, 1), no sigmoid"
    )
    recipe = "\n".join(f"| {key} | {value} |" for key, value in record.recipe.items())
    return f"""---
{front}
---

# {title}

{record.about}

Its {other} is `{repos[other]}`. Code: https://github.com/{REPOSITORY}

```python
{use}
```

## Scores

{score_table(record)}

## Data and licence

{record.data} Data licence: {record.data_licence}. Weights: {record.licence}.

Classes: {", ".join(record.classes)}.

## Limits

{record.limits}

## Recipe

{record.parameters:,} parameters, sha256 `{record.sha256}`.

| setting | value |
|---|---|
{recipe}
"""


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
            key = min(score.per_class, key=lambda k: score.per_class[k])  # type: ignore[index]
            worst = f"{score.per_class[key]:.3g} ({key})"
        spread = "" if score.spread is None else f" ± {score.spread:.2g}"
        floor = "-" if score.floor is None else f"{score.floor:.3g}"
        lines.append(f"| `{name}` | {score.value:.4g}{spread} | {floor} | {worst} | {score.n:,} | {score.evaluator} |")
    machine = next(iter(record.scores.values()))
    versions = ", ".join(f"{k} {v}" for k, v in (machine.versions or {}).items())
    return "\n".join(lines) + f"\n\nSeed {machine.seed}; {machine.machine}; {versions}."


def write_cards(folder: Path) -> None:
    """Prints both cards of a shipped pair anew from its record.json."""
    from .weights import read_records

    for record in read_records(folder.parent).values():
        if record.folder.parent == folder:
            (record.folder / "README.md").write_text(model_card(record), encoding="utf-8")


def update_record(folder: Path, scores: dict[str, dict]) -> None:
    """Adds scores to a shipped pair's record.json and prints its cards anew."""
    path = folder / "record.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields["scores"].update(scores)
    path.write_text(json.dumps(fields, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_cards(folder)
