"""A weights name, folder, file or Hub repository id -> a verified network in eval mode; and the model card."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import torch

from .convert import convert_file
from .fetch import cache_folder, fetch, forget, one_process_at_a_time, place, sha256_of
from .mixin import CONFIG_NAME, SAFETENSORS_SINGLE_FILE
from .names import NAMESPACE, REPOSITORY
from .network import AnyDiscriminator, AnyGenerator
from .weights import KINDS, WEIGHTS, Record, find_record


def load_generator(
    name: str | Path,
    weights: str | Path | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> AnyGenerator:
    """The trained generator of ``name``, in eval mode.

    ``name``: ``architecture[.tag]`` (sngan_fashion32), a network's folder, a folder with generator/ and
    discriminator/ (a run), the authors' .npz, a .pth of mmgeneration, StudioGAN or mimicry, or a Hub repository id.
    ``weights``: a tag, or any of these in place of the name's own. ``revision`` and ``token`` are for the Hub. Weights
    that others published are fetched, checked and converted once. Raises ``ValueError`` or ``FileNotFoundError``.
    """
    network = _load(name, weights, "generator", revision, token)
    if not isinstance(network, AnyGenerator):
        raise ValueError(f"{weights or name}: is a {type(network).__name__}; use load_discriminator")
    return network.to(device=device, dtype=dtype)


def load_discriminator(
    name: str | Path,
    weights: str | Path | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> AnyDiscriminator:
    """As ``load_generator``, for the discriminator; both ``NAME`` and ``NAME_discriminator`` name it."""
    network = _load(name, weights, "discriminator", revision, token)
    if not isinstance(network, AnyDiscriminator):
        raise ValueError(f"{weights or name}: is a {type(network).__name__}; use load_generator")
    return network.to(device=device, dtype=dtype)


def _load(
    name: str | Path, weights: str | Path | None, kind: str, revision: str | None, token: str | bool | None
) -> AnyGenerator | AnyDiscriminator:
    cls = AnyGenerator if kind == "generator" else AnyDiscriminator
    source = str(name if weights is None else weights)
    path = Path(source)
    if path.is_dir():
        return cls.from_pretrained(path / kind if (path / kind).is_dir() else path)
    if path.is_file():
        return _from_file(path, kind, None if weights is None else str(name))
    if source.count("/") == 1 and not source.startswith((".", "/", "~")):
        return cls.from_pretrained(source, revision=revision, token=token)
    if "/" in source:
        raise FileNotFoundError(f"{source}: no such file or folder")
    record = find_record(str(name), kind, None if weights is None else str(weights))
    return cls.from_pretrained(local_folder(record))


def _from_file(path: Path, kind: str, name: str | None) -> AnyGenerator | AnyDiscriminator:
    """A foreign code base's file. ``name``: the architecture it is loaded as, whose class names it takes."""
    converted = convert_file(path)
    networks = [one.network for one in converted if one.kind == kind]
    if not networks:
        raise ValueError(f"{path}: holds a {converted[0].kind}, no {kind}; use load_{converted[0].kind}")
    (network,) = networks
    classes = next((r.classes for r in WEIGHTS.values() if r.architecture == str(name).split(".")[0]), ())
    if not network.classes and len(classes) == network.n_classes > 0:
        network.name_classes(classes)
    return network


# ---------------------------------------------------------------------------------------------------------------------
# A record -> the folder of its network on this machine

PROVENANCE = "source.json"  # beside a converted network: which file it came from, and the hash of what was made of it


def local_folder(record: Record) -> Path:
    """The folder with the record's network: shipped, or fetched, checked and converted once and cached as safetensors.

    Raises ``FileNotFoundError`` or ``ValueError`` with the way out.
    """
    if record.folder is not None:
        verify(record)
        return record.folder
    folder = _cached(record)
    if not _is_ready(folder, record):
        with one_process_at_a_time(cache_folder() / "weights" / f"{record.name}.lock"):
            if not _is_ready(folder, record):  # another process may have been faster
                _fetch_and_convert(record)
    return folder


def _cached(record: Record) -> Path:
    return cache_folder() / "weights" / record.name / record.kind


def is_cached(record: Record) -> bool:
    """Whether the name loads without a network connection."""
    return record.folder is not None or (_cached(record) / PROVENANCE).is_file() or place(record).is_file()


def _is_ready(folder: Path, record: Record) -> bool:
    made = _provenance(folder)
    path = folder / SAFETENSORS_SINGLE_FILE
    if made is None or made["file"] != record.file or not made["sha256"].startswith(record.sha256):
        return False
    return path.is_file() and (folder / CONFIG_NAME).is_file() and sha256_of(path) == made["converted_sha256"]


def _provenance(folder: Path) -> dict[str, str] | None:
    try:
        made = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
        return made if {"file", "sha256", "converted_sha256", "revision"} <= made.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _fetch_and_convert(record: Record) -> None:
    home = _cached(record).parent
    partner = _provenance(home / KINDS[record.kind == "generator"]) or {}
    fetched = fetch(record, partner.get("revision", ""))
    converted = convert_file(fetched.path, None, record.file)
    if record.kind not in [one.kind for one in converted]:
        raise ValueError(f"{record.key}: {fetched.path} holds no {record.kind}")
    for one in converted:
        if record.classes and len(record.classes) == one.network.n_classes:
            one.network.name_classes(record.classes)
        temporary = Path(tempfile.mkdtemp(dir=home.parent, prefix=f".{record.name}."))
        try:
            one.network._save_pretrained(temporary)
            made = {"file": record.file, "from": fetched.source, "sha256": fetched.sha256, "revision": fetched.revision,
                    "converted_sha256": sha256_of(temporary / SAFETENSORS_SINGLE_FILE), "notes": one.notes}  # fmt: skip
            (temporary / PROVENANCE).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
            home.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(home / one.kind, ignore_errors=True)
            os.replace(temporary, home / one.kind)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    if fetched.source != "file":
        forget(fetched.path)  # all of it is in the converted folders now


def verify(record: Record) -> None:
    """Raises ``ValueError`` when a shipped file is not the one that the record's hash describes."""
    assert record.folder is not None
    path = record.folder / SAFETENSORS_SINGLE_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; install sngan-hub again")
    found = sha256_of(path)
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
        if record.folder is not None and record.folder.parent == folder:
            (record.folder / "README.md").write_text(model_card(record), encoding="utf-8")


def update_record(folder: Path, scores: dict[str, dict]) -> None:
    """Adds scores to a shipped pair's record.json and prints its cards anew."""
    path = folder / "record.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    fields["scores"].update(scores)
    path.write_text(json.dumps(fields, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_cards(folder)
