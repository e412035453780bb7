"""What there is: the rows of ``sngan list`` and of the README, and what is known of a name, a file or a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..networks.base import Network
from ..networks.mixin import OtherKind
from ..networks.registry import MODELS, create_discriminator, create_generator
from ..text import nearest
from ..weights.record import KINDS, Record
from ..weights.records import WEIGHTS, default_tag, find_record, has_record
from ..weights.user_records import RECORDS_VARIABLE
from .cache import place
from .load import load_discriminator, load_generator
from .local import is_cached
from .resolve import resolve

LEGEND = """
*: default tag of an architecture. D +: NAME_discriminator can be loaded too. MB: all files.
how: shipped: in the package; folder: in a mirror; cached: already downloaded; download, hub,
  drive: fetched on first use (drive needs pip install 'sngan-hub[drive]'); by hand: loading the
  name prints which file to fetch; untrained: no weights are published.
licence: of the weights.
FID: shipped models: measured here against all test images; others: as the publisher states it.
  FIDs of different publishers or data sets cannot be compared.
`sngan info NAME` prints the licence, all scores and the source.
"""
#: Terminal columns of ``sngan list``
WIDTH = 100


def list_models(pretrained: bool = False, kind: str = "generator") -> list[str]:
    """The names of all architectures, in alphabetical order.

    Args:
        pretrained: only those with trained weights.
        kind: generator or discriminator; the names of discriminators end in _discriminator.

    Returns:
        Names that ``create_generator`` and ``load_generator`` take, or their twins for discriminators.

    Raises:
        ValueError: for another kind.

    Example:
        >>> list_models(pretrained=True)
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)} (got {kind!r})")
    trained = {record.architecture for record in WEIGHTS.values() if record.kind == kind}
    names = sorted(name for name in MODELS if not pretrained or name in trained)
    return names if kind == "generator" else [f"{name}_discriminator" for name in names]


def list_weights(architecture: str = "", kind: str = "generator") -> list[str]:
    """The names of all trained weights, in alphabetical order.

    Args:
        architecture: only its weights.
        kind: generator or discriminator.

    Returns:
        Names ``architecture.tag`` that ``load_generator`` or ``load_discriminator`` takes.

    Raises:
        ValueError: for an unknown architecture, with the nearest one, or another kind.

    Example:
        >>> list_weights("sngan_imagenet128")
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)} (got {kind!r})")
    wanted = architecture.removesuffix("_discriminator")
    if wanted and wanted not in MODELS:
        raise ValueError(f"there is no model {architecture!r}{nearest(architecture, MODELS)}")
    return sorted(
        name for name, record in WEIGHTS.items() if record.kind == kind and wanted in ("", record.architecture)
    )


def listing(size: int | None = None, classes: int | None = None, cached: bool = False) -> list[dict[str, Any]]:
    """The rows of ``sngan list``: included models first, then by architecture.

    Args:
        size: only models for images of this side.
        classes: only models with so many classes; 0: unconditional ones.
        cached: only models that load without a network connection.

    Returns:
        A row for every trained generator, and for every architecture that nobody has published one of.
    """
    rows: list[dict[str, Any]] = []
    generators = [record for record in WEIGHTS.values() if record.kind == "generator"]
    for architecture in [*MODELS, *dict.fromkeys(r.architecture for r in generators if r.architecture not in MODELS)]:
        own = [record for record in generators if record.architecture == architecture]
        model = MODELS.get(architecture)
        for record in own or [None]:
            partner = record and WEIGHTS.get(f"{architecture}_discriminator.{record.tag}")
            # Names of classes may be unknown; a model that is no architecture of ours is known by them alone.
            n_classes = (len(record.classes) if record else 0) or (model.n_classes if model else 0)
            rows.append({
                "name": record.name if record else architecture,
                "default": bool(record and record.tag == default_tag(architecture)),
                "size": model and model.size,
                "classes": n_classes,
                "discriminator": partner is not None,
                "licence": record.licence if record else None,
                "where": record.where if record else "untrained",
                "cached": bool(record and is_cached(record)),
                "bytes": _bytes(record, partner) if record else 0,
                "publisher": record.publisher if record else "",
                "scores": {name: score.value for name, score in record.scores.items()} if record else {},
            })  # fmt: skip
    chosen = [
        row
        for row in rows
        if size in (None, row["size"]) and classes in (None, row["classes"]) and (row["cached"] or not cached)
    ]
    return sorted(chosen, key=lambda row: row["where"] != "shipped")


def _bytes(record: Record, partner: Record | None) -> int:
    """Bytes of the files of a pair; one file may hold both networks."""
    both = partner is None or (record.file, record.urls) == (partner.file, partner.urls)
    return record.file_bytes + (0 if both or partner is None else partner.file_bytes)


def list_lines(rows: list[dict[str, Any]]) -> list[str]:
    """The table that ``sngan list`` prints, header first, within ``WIDTH`` columns."""
    cells = [["name", "px", "classes", "D", "how", "MB", "licence", "FID"]]
    for row in rows:
        cached = row["cached"] and row["where"] not in ("shipped", "folder")
        fids = [value for name, value in row["scores"].items() if "fid" in name and "intra" not in name]
        licence = row["licence"] or "-"
        cells.append([
            row["name"] + ("*" if row["default"] else ""), str(row["size"] or "-"), str(row["classes"] or "-"),
            "+" if row["discriminator"] else "-", "cached" if cached else row["where"],
            f"{row['bytes'] / 1e6:.0f}" if row["bytes"] else "-",
            "unstated" if "not stated" in licence else licence, f"{fids[0]:.4g}" if fids else "-",
        ])  # fmt: skip
    return [line if len(line) <= WIDTH else line[: WIDTH - 3] + "..." for line in aligned(cells)]


def list_cells(rows: list[dict[str, Any]]) -> list[list[str]]:
    """The table that the README prints, header first."""
    cells = [["name", "px", "classes", "D", "how", "licence", "scores"]]
    for row in rows:
        size = f", {row['bytes'] / 1e6:.0f} MB" if row["bytes"] else ""
        cached = " (cached)" if row["cached"] and row["where"] != "shipped" else ""
        scores = ", ".join(f"{name} {value:.4g}" for name, value in row["scores"].items())
        cells.append([
            row["name"] + ("*" if row["default"] else ""), str(row["size"] or "-"), str(row["classes"] or "-"),
            "yes" if row["discriminator"] else "-", row["where"] + size + cached, row["licence"] or "-", scores or "-",
        ])  # fmt: skip
    return cells


def aligned(cells: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def about_architecture(architecture: str, kind: str) -> str:
    """A few lines for ``torch.hub.help``."""
    model = MODELS.get(architecture)
    if model is None:
        return f"{kind.capitalize()} of the records in {RECORDS_VARIABLE}."
    what = f"{'Generator' if kind == 'generator' else 'Discriminator'}, {model.size} px, " + (
        f"{model.n_classes} classes" if model.n_classes else "unconditional"
    )
    shape = f"(N, 3, {model.size}, {model.size})"
    if kind == "generator":
        use = f"``.sample({'classes=[...], ' if model.n_classes else ''}n=8, seed=0)`` -> uint8 {shape}"
    else:
        use = f"``d(x{', y' if model.n_classes else ''})``: images {shape} in [-1, 1] -> scores (N, 1)"
    own = [r for r in WEIGHTS.values() if r.architecture == architecture and r.kind == kind]
    lines = [f"  {r.tag} ({r.where}): {r.about} Licence: {r.licence}".replace(". Licence", "; licence") for r in own]
    if not own:
        lines = ["  none published; pretrained=False builds it, weights= takes a file, a folder or a Hub repository id"]
    return "\n".join(
        [f"{what}. {use}", f"weights (default {default_tag(architecture)}):" if own else "weights:", *lines]
    )


def about(model: str) -> dict[str, Any]:
    """What ``sngan info`` prints. A name is looked up and not fetched; a file, a folder or a repository is loaded."""
    return _about_name(model) if resolve(model).kind == "name" else _about_place(model)


def _about_name(name: str) -> dict[str, Any]:
    architecture = name.split(".")[0].removesuffix("_discriminator")
    if architecture in MODELS and not any(record.architecture == architecture for record in WEIGHTS.values()):
        networks = (create_generator(architecture), create_discriminator(architecture))
        return {"model": name, "weights": "nobody has published any", "size": networks[0].size,
                "n_classes": networks[0].n_classes, "parameters": count_parameters(networks), "scores": {}}  # fmt: skip
    record = find_record(name, "generator")
    records = [find_record(name, kind) for kind in KINDS if has_record(name, kind)]
    how = {"shipped": "shipped", "folder": f"in {record.folder}", "download": f"download from {', '.join(record.urls)}",
           "drive": f"download from {', '.join(record.urls)} with gdown (pip install 'sngan-hub[drive]'), or by hand: "
                    f"{record.file} from {record.page}, to {place(record)}",
           "hub": f"download from {record.repo} on the Hub, {record.path}",
           "by hand": f"by hand: {record.file} from {record.page}, to {place(record)}"}[record.where]  # fmt: skip
    return {
        "model": record.name,
        "weights": record.tag,
        "about": record.about,
        "size": MODELS[architecture].size if architecture in MODELS else None,
        "n_classes": len(record.classes) or (MODELS[architecture].n_classes if architecture in MODELS else 0),
        "parameters": {r.kind: r.parameters for r in records},
        "classes": list(record.classes) or None,
        "licence": record.licence,
        "data": record.data,
        "source": record.publisher or None,
        "how": how + (" (cached)" if is_cached(record) and not record.folder else ""),
        "sha256": record.sha256 or None,
        "revision": record.revision or None,
        "read": f"{record.read}, {record.read_on}" if record.read else None,
        "recipe": dict(record.recipe),
        "scores": {k: {"value": s.value, "floor": s.floor, "n": s.n, "evaluator": s.evaluator, "stated_by": s.stated_by}
                   for k, s in record.scores.items()},
    }  # fmt: skip


def _about_place(model: str) -> dict[str, Any]:
    networks: list[Network] = []
    found = resolve(model)
    for kind, load in zip(KINDS, (load_generator, load_discriminator), strict=True):
        try:
            networks.append(load(model))
        except (OtherKind, FileNotFoundError) as error:
            damaged = isinstance(error, FileNotFoundError) and (found.path / kind).exists()
            if (found.kind == "folder" and damaged) or (load is load_discriminator and not networks):
                raise
    return {"model": model, "size": networks[0].size, "n_classes": networks[0].n_classes,
            "parameters": count_parameters(networks), "classes": networks[0].classes, "scores": {}}  # fmt: skip


def count_parameters(networks: Sequence[Network]) -> dict[str, int]:
    return {net.kind: sum(p.numel() for p in net.parameters()) for net in networks}
