"""A donor's weights -> the start of a run on other classes: then the same loop.

Class tables get a row for each class of the data. A class that the donor knows keeps its own; a new one starts as the
mean of the donor's (or its nearest ones, or chosen ones, or afresh). D's class table is normalised as one matrix, so
the rows are those that D acts with, u is found anew to convergence, and the norm that the new table has beyond 1
becomes the network's ``embed_scale``: what was kept scores as before.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sngan_hub.convert import convert_file
from sngan_hub.hub import load_discriminator, load_generator
from sngan_hub.judging import as_input
from sngan_hub.mixin import read_config
from sngan_hub.models import MODELS
from sngan_hub.names import nearest
from sngan_hub.network import AnyDiscriminator, AnyGenerator
from sngan_hub.normalizers import BatchNorm2d, power_iteration
from sngan_hub.resnet import Discriminator, Generator
from sngan_hub.sources import Images, load_images
from sngan_hub.sources.folders import class_folders, is_image
from sngan_hub.sources.prepared import is_prepared, read_about
from sngan_hub.weights import find_record

from .config import Config
from .state import State, checkpoints

NEAREST = 3  # donor classes that a new one starts between
D_WARM_UP = 200  # steps of D alone, where the donor has none
LOOKED_AT = 50  # images of a new class that are compared with the donor's


@dataclass
class Start:
    """What a run starts from: the donor's pair, and each class's row as a mixture of the donor's rows."""

    generator: Generator
    discriminator: Discriminator | None  # a donor without one: the run's own starts untrained
    mixture: Tensor  # (classes, donor's classes); a row of zeros starts afresh
    notes: list[str]


def prepare_run(config: Config) -> tuple[Config, Images, Start | None]:
    """The run's whole settings and data in its class order; its start, or None where the run goes on.

    Raises ``ValueError`` or ``FileNotFoundError`` with the way out.
    """
    out = Path(config.out)
    if checkpoints(out):
        old = read_config(out / "config.json")
        kept = {name: old[name] for name in ("architecture", "generator_fields", "discriminator_fields", "class_order",
                                             "conditioning")}  # fmt: skip
        config = dataclasses.replace(config, **kept)
        return config, in_order(load_images(config.data, "train", _size(config)), json.loads(config.class_order)), None
    d = load_discriminator(config.donor) if has_discriminator(config.donor) else None
    g = load_generator(config.donor)
    if not isinstance(g, Generator) or not isinstance(d, Discriminator | None):
        raise ValueError(f"from: {config.donor} is a {type(g).__name__}; fine-tuning takes the ResNets")
    data = load_images(config.data, "train", g.size)
    known = list(g.classes or [str(i) for i in range(g.n_classes)])
    order = [name for name in known if name in data.classes] + [name for name in data.classes if name not in known]
    data = in_order(data, order)
    chosen = parse_like(config.like, order, known)
    unconditional = config.conditioning == "none"
    mixture, notes = mixtures(config, data, d, known, chosen)
    fields_g, fields_d = _fields(g), _fields(d) if d is not None else {}
    if unconditional:
        fields_d |= {"conditioning": "projection"}
    rows = None if unconditional else table_rows(d, mixture, config.seed)
    if rows is not None and not _same(mixture):
        fields_d["embed_scale"] = float(torch.linalg.matrix_norm(rows.double(), 2))
    if d is None:
        warm = config.d_warm_up or D_WARM_UP
        config = dataclasses.replace(config, d_warm_up=warm, freeze_d=0)
        notes.append(f"{config.donor} has no discriminator: an untrained one is trained alone for {warm} steps first")
    elif unconditional and d.n_classes:
        fields_d["head_scale"] = float(folded_head(d).norm())
    architecture = next(name for name, model in MODELS.items() if model.size == g.size and model.family == "resnet")
    config = dataclasses.replace(
        config, architecture=architecture, class_order=json.dumps(order, ensure_ascii=False),
        conditioning="none" if unconditional else str(fields_d.get("conditioning", "projection")),
        generator_fields=json.dumps(fields_g), discriminator_fields=json.dumps(fields_d),
    )  # fmt: skip
    return config, data, Start(g, d, mixture, notes)


def has_discriminator(donor: str) -> bool:
    """Whether the donor brings one; what cannot be had for another reason still fails at loading."""
    path = Path(donor)
    if path.is_dir():
        return (path / "discriminator").exists()
    if path.is_file():
        return any(one.kind == "discriminator" for one in convert_file(path))
    if "/" in donor:
        return True
    find_record(donor, "generator")
    try:
        return bool(find_record(donor, "discriminator"))
    except ValueError:
        return False


def _fields(network: AnyGenerator | AnyDiscriminator) -> dict[str, Any]:
    return {key: value for key, value in network.config.items() if key not in ("class", "classes", "n_classes")}


def _size(config: Config) -> int:
    return int(json.loads(config.generator_fields)["size"])


def in_order(data: Images, order: list[str]) -> Images:
    """The same images with the classes in ``order``."""
    if order == data.classes:
        return data
    if sorted(order) != sorted(data.classes):
        raise ValueError(
            f"data: its classes are {', '.join(data.classes[:8])}; the run was started with {', '.join(order[:8])}"
        )
    place = np.array([order.index(name) for name in data.classes])
    digest = f"{data.digest}-{'|'.join(order)}" if data.digest else ""
    return data._replace(labels=place[data.labels], classes=order, digest=digest)


def parse_like(text: str, classes: list[str], known: list[str]) -> dict[str, str]:
    """``"my dog=golden retriever;my cat=tabby"`` -> {new class: donor's class}."""
    chosen = {}
    for part in filter(None, (p.strip() for p in text.split(";"))):
        new, equals, old = (p.strip() for p in part.partition("="))
        if not equals or new not in classes:
            raise ValueError(f"like: got {part!r}, legal is CLASS=DONOR'S CLASS{nearest(new, classes)}")
        if old not in known:
            raise ValueError(f"like: the donor has no class {old!r}{nearest(old, known)}")
        chosen[new] = old
    return chosen


def mixtures(
    config: Config, data: Images, d: Discriminator | None, known: list[str], chosen: dict[str, str]
) -> tuple[Tensor, list[str]]:
    """Each class's row as weights over the donor's rows, and a line for each class that is new."""
    mixture = torch.zeros(len(data.classes), len(known), dtype=torch.float64)
    notes = []
    for label, name in enumerate(data.classes):
        if name in chosen or name in known:
            mixture[label, known.index(chosen.get(name, name))] = 1
            if name in chosen:
                notes.append(f"{name}: starts as {chosen[name]}")
        elif config.new_classes == "mean" and known:
            mixture[label] = 1 / len(known)
            notes.append(f"{name}: starts as the mean of {len(known)} classes")
        elif config.new_classes == "nearest" and known:
            images = data.images[np.flatnonzero(data.labels == label)[:LOOKED_AT]]
            mixture[label] = nearest_classes(d, images)
            found = sorted(((float(w), known[i]) for i, w in enumerate(mixture[label]) if w > 0), reverse=True)
            notes.append(f"{name}: starts between " + ", ".join(f"{old} {weight:.2f}" for weight, old in found))
        else:
            notes.append(f"{name}: starts afresh")
    return mixture, notes


@torch.no_grad()
def nearest_classes(d: Discriminator | None, images: np.ndarray) -> Tensor:
    """Weights over the donor's classes: the three with the highest mean <e_y, phi(x)>, e_y of unit length."""
    if d is None or d.embed is None or d.concat_after is not None:
        raise ValueError("new_classes: nearest needs a donor with a projection discriminator; mean does not")
    d.eval()
    e = d.embed.effective_weight()
    features = d._pooled(as_input(images), None)
    likeness = (features @ (e / e.norm(dim=1, keepdim=True)).t()).mean(0).double()
    top = likeness.topk(min(NEAREST, len(likeness)))
    weights = torch.zeros_like(likeness)
    weights[top.indices] = torch.softmax(top.values / likeness.std().clamp(min=1e-9), 0)
    return weights


def _same(mixture: Tensor) -> bool:
    """Whether every class keeps its row and its place."""
    return mixture.shape[0] == mixture.shape[1] and torch.equal(mixture, torch.eye(len(mixture), dtype=mixture.dtype))


@torch.no_grad()
def table_rows(d: Discriminator | None, mixture: Tensor, seed: int) -> Tensor | None:
    """The new class table as D shall act with it, in float64; None of a donor without one."""
    if d is None or d.embed is None:
        return None
    d.eval()
    old = d.embed.effective_weight().double()
    rows = mixture @ old
    fresh = (mixture == 0).all(1)
    if fresh.any():  # never zero: as long as the donor's, in directions of their own
        drawn = torch.randn(int(fresh.sum()), old.shape[1], generator=torch.Generator().manual_seed(seed)).double()
        rows[fresh] = drawn / drawn.norm(dim=1, keepdim=True) * old.norm(dim=1).mean()
    return rows


def folded_head(d: Discriminator) -> Tensor:
    """The linear layer's weight with the mean class embedding in it: what D says without knowing the class."""
    with torch.no_grad():
        head = d.eval().linear.effective_weight().double()[0]
        if d.embed is not None and d.concat_after is None:
            head = head + d.embed.effective_weight().double().mean(0)
    return head


@torch.no_grad()
def adopt(state: State, start: Start, config: Config) -> None:
    """The donor's weights into a new state, with the class tables rebuilt."""
    n, theirs = state.generator.n_classes, start.generator.n_classes
    whole = n == theirs == 0 or (n == theirs and _same(start.mixture))
    for target in {id(n): n for n in (state.generator, state.average)}.values():
        _adopt_generator(target, start.generator, start.mixture, whole)
    _adopt_discriminator(state.discriminator, start, config, whole)
    for network in (state.generator, state.discriminator):
        network.train()


def _adopt_generator(g: AnyGenerator, donor: Generator, mixture: Tensor, whole: bool) -> None:
    theirs = donor.state_dict()
    if whole:
        g.load_state_dict(theirs)
        return
    own = g.state_dict()
    for name, module in g.named_modules():
        if not isinstance(module, BatchNorm2d):
            continue
        for leaf, rest in (("weight", 1.0), ("bias", 0.0)):
            key = f"{name}.{leaf}"
            table = theirs[key].double()
            if own[key].ndim == 2 and table.ndim == 2:
                rows = mixture @ table
                rows[(mixture == 0).all(1)] = rest  # afresh, as an untrained network
            elif own[key].ndim == 2:
                rows = table.expand_as(own[key])  # every class as the donor drew all
            else:
                rows = table.mean(0) if table.ndim == 2 else table
            theirs[key] = rows.to(own[key].dtype)
    g.load_state_dict(theirs)


def _adopt_discriminator(d: AnyDiscriminator, start: Start, config: Config, whole: bool) -> None:
    donor = start.discriminator
    if donor is None:
        return
    theirs = donor.state_dict()
    own = d.state_dict()
    if not whole:
        rows = table_rows(donor, start.mixture, config.seed) if d.n_classes else None
        if "embed.weight" in own:
            # A donor without classes lends none: the new table keeps its own random start.
            table = own["embed.weight"].double() if rows is None else rows
            theirs["embed.weight"] = table.to(own["embed.weight"].dtype)
            theirs |= _converged("embed", table, own)
        elif donor.n_classes:
            head = folded_head(donor)[None]
            theirs = {key: value for key, value in theirs.items() if not key.startswith("embed.")}
            theirs["linear.weight"] = head.to(own["linear.weight"].dtype)
            theirs |= _converged("linear", head, own)
    d.load_state_dict({key: theirs[key] for key in own})


def _converged(layer: str, matrix: Tensor, own: dict[str, Tensor]) -> dict[str, Tensor]:
    """u (and v) of the largest singular value, for the buffers of ``layer``."""
    u = torch.linalg.svd(matrix, full_matrices=False).U[:, 0]
    _, u, v = power_iteration(matrix, u)
    buffers = {f"{layer}.u": u, f"{layer}.v": v}
    return {key: value.to(own[key].dtype) for key, value in buffers.items() if key in own}


def count_images(source: str) -> int:
    """Of the training split; files are listed, not opened."""
    if Path(source).is_dir() and not is_prepared(source):
        return sum(sum(map(is_image, folder.iterdir())) for folder in class_folders(source))
    return len(load_images(source, "train", read_about(source)["size"] if is_prepared(source) else 32).images)


def sensible(images: int) -> dict[str, Any]:
    """Settings by the number of images; whatever is said outright comes last."""
    if images < 200:
        return {"trained": "gains", "augment": "color,translation,cutout", "batch_size": 16, "g_batch_size": 16}
    if images < 2000:
        return {"freeze_d": 1, "augment": "color,translation,cutout", "batch_size": 32, "g_batch_size": 32}
    return {"augment": "translation"}
