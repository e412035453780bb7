"""A run's state: what a checkpoint holds, and how it reaches the disk whole or not at all."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sngan_hub.models import create_discriminator, create_generator
from sngan_hub.resample import table_digest
from sngan_hub.resnet import Discriminator, Generator

from .config import Config, differences

CHECKPOINT = "checkpoint.pt"


class ChainerAdam(torch.optim.Adam):
    """Adam as in Chainer: epsilon 1e-8 is added to sqrt(v) before the bias correction, not after it.

    alpha sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + eps) is torch's step with eps / sqrt(1 - beta2^t).
    """

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            t = 1 + max((int(self.state[p]["step"]) for p in group["params"] if p in self.state), default=0)
            group["eps"] = 1e-8 / math.sqrt(1 - group["betas"][1] ** t)
        return super().step(closure)


@dataclass
class State:
    generator: Generator
    discriminator: Discriminator
    average: Generator  # the generator itself where the run keeps no average
    opt_g: ChainerAdam
    opt_d: ChainerAdam
    step: int = 0  # iterations done

    def state_dict(self) -> dict[str, Any]:
        parts = {name: getattr(self, name).state_dict() for name in ("generator", "discriminator", "opt_g", "opt_d")}
        if self.average is not self.generator:
            parts["average"] = self.average.state_dict()
        return {**parts, "step": self.step}

    def load_state_dict(self, parts: dict[str, Any]) -> None:
        for name, value in parts.items():
            if name == "step":
                self.step = value
            else:
                getattr(self, name).load_state_dict(value)


def new_networks(config: Config, n_classes: int, classes: list[str] | None = None) -> tuple[Generator, Discriminator]:
    """The untrained pair of ``config`` for data of ``n_classes``."""
    overrides: dict[str, Any] = {"n_classes": 0} if config.conditioning == "none" else {
        "n_classes": n_classes, "classes": classes}  # fmt: skip
    judge = {"conditioning": config.conditioning} if config.conditioning != "none" else {}
    g_fields, d_fields = json.loads(config.generator_fields), json.loads(config.discriminator_fields)
    return (create_generator(config.architecture, **{**overrides, **g_fields}),
            create_discriminator(config.architecture, **{**overrides, **judge, **d_fields}))  # fmt: skip


def new_state(config: Config, classes: list[str], device: torch.device | None = None) -> State:
    """Networks and optimisers before the first step, a function of the seed."""
    torch.manual_seed(config.seed)
    generator, discriminator = new_networks(config, len(classes), classes)
    for network in (generator, discriminator):
        network.train().to(device or config.device)
        if config.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    betas = (config.beta1, config.beta2)
    return State(
        generator,
        discriminator,
        copy.deepcopy(generator).eval() if config.ema_decay else generator,
        ChainerAdam(generator.parameters(), config.lr_g, betas),
        ChainerAdam(discriminator.parameters(), config.lr_d, betas),
    )


def save_checkpoint(state: State, config: Config, fingerprint: str, out: Path) -> None:
    temporary = out / f".{CHECKPOINT}"
    parts = {"config": asdict(config), "data": fingerprint, "resampling": table_digest(), **state.state_dict()}
    torch.save(parts, temporary)
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, out / CHECKPOINT)


def load_checkpoint(state: State, config: Config, fingerprint: str, out: Path) -> bool:
    """Puts ``out``'s checkpoint into ``state``; False where there is none.

    Raises ``ValueError`` for one that is damaged, or made under settings or data that would change what was done.
    """
    path = out / CHECKPOINT
    if not path.is_file():
        return False
    try:
        parts = torch.load(path, map_location=config.device, weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: not a readable checkpoint ({str(error).splitlines()[0]}); remove it to start again, "
                         f"or choose another --out") from error  # fmt: skip
    old = parts.pop("config")
    changed = differences(old, config, parts["step"])
    if parts.pop("data") != fingerprint:
        changed.append(f"data: {old['data']!r} and {config.data!r} differ in content")
    if parts.pop("resampling") != table_digest():
        changed.append("resample_table.json: another table of plain and fused layers, so other roundings")
    if changed:
        raise ValueError(f"{out}: holds a run with other settings; choose another --out, or undo\n  "
                         + "\n  ".join(changed))  # fmt: skip
    state.load_state_dict(parts)
    return True


def save_snapshot(state: State, out: Path) -> Path:
    """The pair for people: ``out/snapshots/STEP/{generator,discriminator}``, and ``out/generator`` and its partner."""
    folder = out / "snapshots" / f"{state.step:07d}"
    for kind, network in (("generator", state.average), ("discriminator", state.discriminator)):
        temporary = folder.with_name(f".{folder.name}-{kind}")
        shutil.rmtree(temporary, ignore_errors=True)
        network.save_pretrained(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / kind, ignore_errors=True)
        os.replace(temporary, folder / kind)
        link = out / f".{kind}"
        link.unlink(missing_ok=True)
        link.symlink_to(Path("snapshots") / folder.name / kind)
        os.replace(link, out / kind)
    return folder
