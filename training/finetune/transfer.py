"""Transfers the donor's weights and Adam's moments to a run on other classes.

Class tables get one row per class of the data. Classes that the donor has keep their rows; new classes start from a
combination of the donor's rows, or from random values. D's class table is normalised as one matrix. Therefore the new
table stores the normalised rows, u is recomputed to convergence, and the spectral norm of the new table is stored as
the network's ``embed_scale``, or as its gain if it has one, so that the scores of kept classes do not change.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sngan_hub.data import Images
from sngan_hub.layers.normalizers import BatchNorm2d
from sngan_hub.layers.spectral_norm import converged_estimate
from sngan_hub.metrics.discriminator_scores import as_input
from sngan_hub.networks.base import AnyDiscriminator, AnyGenerator
from sngan_hub.networks.resnet import Discriminator, Generator

from ..config.schema import Config, config_from
from ..engine.checkpoints import checkpoints, newest_readable
from ..engine.state import State, is_trained
from ..feed.images import at_size
from .plan import NEAREST, ClassStart

LOOKED_AT = 50  # number of images of a new class that are compared with the donor's classes


@dataclass
class Start:
    """What a run starts from: the donor's pair, and each class's row as a combination of the donor's rows."""

    generator: Generator
    discriminator: Discriminator | None  # None: the donor has none, and the run starts with an untrained one
    mixture: Tensor  # (classes, donor's classes); a row of zeros: random start
    notes: list[str]
    left_out: list[str]  # damaged files


def mixtures(
    starts: Sequence[ClassStart], known: Sequence[str], d: Discriminator | None, data: Images
) -> tuple[Tensor, dict[str, str]]:
    """The weights of each class over the donor's rows, and one line per class whose weights depend on its images."""
    mixture, found = torch.zeros(len(data.classes), len(known), dtype=torch.float64), {}
    for label, (how, row) in enumerate(starts):
        if how == "row":
            mixture[label, row] = 1
        elif how == "mean":
            mixture[label] = 1 / len(known)
        elif how == "nearest":
            rows = np.flatnonzero(data.labels == label)[:LOOKED_AT]
            images = at_size(data, d.size).images[rows] if d is not None and len(rows) else data.images[rows]
            mixture[label] = nearest_classes(d, images)
            if len(images):  # a dry run opens no images
                weights = sorted(((float(w), known[i]) for i, w in enumerate(mixture[label]) if w > 0), reverse=True)
                named = ", ".join(f"{old} ({weight:.0%})" for weight, old in weights)
                found[data.classes[label]] = f"{data.classes[label]}: starts from a combination of {named}"
    return mixture, found


@torch.no_grad()
def nearest_classes(d: Discriminator | None, images: np.ndarray) -> Tensor:
    """Weights over the donor's classes: of the three with the highest mean <e_y, phi(x)>, with e_y of unit length.

    Without images, all weights are equal. Raises ``ValueError`` if D has no projection.
    """
    if d is None or d.embed is None or d.concat_after is not None:
        raise ValueError("new_classes nearest needs a donor with a projection discriminator; use --new-classes mean")
    if not len(images):
        return torch.full((d.n_classes,), 1 / d.n_classes, dtype=torch.float64)
    d.eval()
    e = d.embed.effective_weight()
    features = d.features(as_input(images))
    likeness = (features @ (e / e.norm(dim=1, keepdim=True)).t()).mean(0).double()
    top = likeness.topk(min(NEAREST, len(likeness)))
    weights = torch.zeros_like(likeness)
    spread = likeness.std() if len(likeness) > 1 else torch.ones((), dtype=torch.float64)  # one value has none: nan
    weights[top.indices] = torch.softmax(top.values / spread.clamp(min=1e-9), 0)
    return weights


def is_whole(mixture: Tensor) -> bool:
    """Whether every class keeps its row and its index."""
    return mixture.shape[0] == mixture.shape[1] and torch.equal(mixture, torch.eye(len(mixture), dtype=mixture.dtype))


@torch.no_grad()
def table_rows(d: Discriminator | None, mixture: Tensor, seed: int) -> Tensor | None:
    """The new effective class table of D in float64; None if the donor has none."""
    if d is None or d.embed is None:
        return None
    d.eval()
    old = d.embed.effective_weight().double()
    rows = mixture @ old
    fresh = (mixture == 0).all(1)
    if fresh.any():  # random directions, with the mean length of the donor's rows
        drawn = torch.randn(int(fresh.sum()), old.shape[1], generator=torch.Generator().manual_seed(seed)).double()
        rows[fresh] = drawn / drawn.norm(dim=1, keepdim=True) * old.norm(dim=1).mean()
    return rows


def with_scales(config: Config, d: Discriminator | None, mixture: Tensor) -> Config:
    """``config`` with the spectral norms of the changed tables of the donor's D, if its normaliser uses them."""
    if d is None or d.config["normalizer"] != "spectral":
        return config
    fields_d = json.loads(config.discriminator_fields)
    rows = None if config.conditioning == "none" else table_rows(d, mixture, config.seed)
    if rows is None:
        fields_d.pop("embed_scale", None)  # of an earlier donor's table, which is not this run's
    elif not is_whole(mixture):
        fields_d["embed_scale"] = float(torch.linalg.matrix_norm(rows, 2))
    if config.conditioning == "none" and d.n_classes:
        fields_d["head_scale"] = float(folded_head(d).norm())
    return dataclasses.replace(config, discriminator_fields=json.dumps(fields_d))


def folded_head(d: Discriminator) -> Tensor:
    """The weight of the last layer plus the mean class embedding, for an unconditional D."""
    with torch.no_grad():
        head = d.eval().linear.effective_weight().double()[0]
        if d.embed is not None and d.concat_after is None:
            head = head + d.embed.effective_weight().double().mean(0)
    return head


@torch.no_grad()
def copy_donor(state: State, start: Start, config: Config) -> list[str]:
    """Copies the donor's weights into a new state, with new class tables, and Adam's moments if the donor is a run.

    Returns one line about the moments.
    """
    n, theirs = state.generator.n_classes, start.generator.n_classes
    whole = n == theirs == 0 or (n == theirs and is_whole(start.mixture))
    for target in {id(n): n for n in (state.generator, state.ema)}.values():
        _copy_generator(target, start.generator, start.mixture, whole)
    _copy_discriminator(state.discriminator, start, config, whole)
    for network in (state.generator, state.discriminator):
        network.train()
    return keep_moments(state, start, Path(config.donor))


def keep_moments(state: State, start: Start, donor: Path) -> list[str]:
    """Copies Adam's moments from the newest readable checkpoint of a donor run, for tensors that equal the donor's."""
    if not checkpoints(donor):
        return ["Adam's moments start at 0, because the donor is not a run with checkpoints"]
    parts, _ = newest_readable(donor, ("config", "step", "opt_g", "opt_d"))
    if parts is None:
        return [f"Adam's moments start at 0, because no checkpoint of {donor} is readable"]
    old = config_from(parts["config"], donor)
    kept, fresh = 0, []
    pairs = ((state.generator, start.generator, state.opt_g, "opt_g"),
             (state.discriminator, start.discriminator, state.opt_d, "opt_d"))  # fmt: skip
    for network, theirs, optimizer, key in pairs:
        if theirs is None:
            continue
        names = [name for name, _ in theirs.named_parameters() if is_trained(theirs, name, old)]
        moments = dict(zip(names, (parts[key]["state"].get(i) for i in range(len(names))), strict=True))
        weights = theirs.state_dict()
        for name, parameter in network.named_parameters():
            if not parameter.requires_grad:
                continue
            if moments.get(name) and torch.equal(parameter.detach().cpu(), weights[name]):
                optimizer.set_moments(parameter, moments[name])
                kept += 1
            else:
                fresh.append(f"{network.kind} {name}")
    start_afresh = f"; reset for {', '.join(fresh[:4])}{', ...' * (len(fresh) > 4)}" if fresh else ""
    return [f"Adam's moments: kept from step {parts['step']:,} of {donor} for {kept:,} tensors{start_afresh}"]


def _copy_generator(g: AnyGenerator, donor: Generator, mixture: Tensor, whole: bool) -> None:
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
                rows[(mixture == 0).all(1)] = rest  # random, as in an untrained network
            elif own[key].ndim == 2:
                rows = table.expand_as(own[key])  # every class starts as the donor's only class
            else:
                rows = table.mean(0) if table.ndim == 2 else table
            theirs[key] = rows.to(own[key].dtype)
    g.load_state_dict(theirs)


def _copy_discriminator(d: AnyDiscriminator, start: Start, config: Config, whole: bool) -> None:
    donor = start.discriminator
    if donor is None:
        return
    theirs = donor.state_dict()
    own = d.state_dict()
    if not whole or d.n_classes != donor.n_classes:  # a donor's networks may differ in their classes
        rows = table_rows(donor, start.mixture, config.seed) if d.n_classes else None
        if "embed.weight" in own:
            # The donor is unconditional: the new table keeps its random initialisation.
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
    """u (and v) of the largest singular value, and the value itself as gain, of those that ``layer`` has."""
    sigma, u, v = converged_estimate(matrix)
    tensors = {f"{layer}.u": u, f"{layer}.v": v, f"{layer}.gamma": sigma}
    return {key: value.to(own[key].dtype) for key, value in tensors.items() if key in own}
