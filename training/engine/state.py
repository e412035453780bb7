"""A run's state: what a checkpoint holds, and how it reaches the disk whole or not at all."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import shutil
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from sngan_hub.devices import resolve_device, to_channels_last
from sngan_hub.layers.normalizers import BatchNorm2d
from sngan_hub.layers.resample import table_digest
from sngan_hub.networks.base import AnyDiscriminator, AnyGenerator
from sngan_hub.networks.registry import create_discriminator, create_generator

from ..config.schema import Config, differences
from .penalties import orthonormal_
from .run_folder import link_snapshot, snapshot_folder
from .transition import check_transition, settled

CHECKPOINTS = "checkpoints"


class ChainerAdam(torch.optim.Adam):
    """Adam as in Chainer: epsilon 1e-8 is added to sqrt(v) before the bias correction, not after it.

    alpha sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + eps) is torch's step with eps / sqrt(1 - beta2^t). One
    fused kernel for all parameters; t is counted here, for reading it from a tensor would wait for the device.
    """

    def __init__(self, params: Any, lr: float, betas: tuple[float, float]):
        super().__init__(params, lr, betas, fused=True)
        self.t: int | None = None  # updates done; None: as the loaded state says

    def load_state_dict(self, state_dict: Any) -> None:
        super().load_state_dict(state_dict)
        for group in self.param_groups:  # a state of another form, from before, is computed like ours
            group["fused"], group["foreach"] = True, None
        self.t = None

    def step(self, closure: Any = None) -> Any:
        if self.t is None:
            self.t = max((int(own["step"]) for own in self.state.values() if "step" in own), default=0)
        self.t += 1
        for group in self.param_groups:
            group["eps"] = 1e-8 / math.sqrt(1 - group["betas"][1] ** self.t)
        return super().step(closure)


@dataclass
class State:
    generator: AnyGenerator
    discriminator: AnyDiscriminator
    average: AnyGenerator  # the generator itself where the run keeps no average
    opt_g: ChainerAdam
    opt_d: ChainerAdam
    step: int = 0  # iterations done
    anchor: dict[str, dict[str, torch.Tensor]] | None = None  # of each network: where l2_sp pulls it; not saved

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


def new_networks(
    config: Config, n_classes: int, classes: list[str] | None = None
) -> tuple[AnyGenerator, AnyDiscriminator]:
    """The untrained pair of ``config`` for data of ``n_classes``."""
    overrides: dict[str, Any] = {"n_classes": 0} if config.conditioning == "none" else {
        "n_classes": n_classes, "classes": classes}  # fmt: skip
    judge = {"conditioning": config.conditioning} if config.conditioning != "none" else {}
    networks = []
    for name, create, own in (("generator_fields", create_generator, overrides),
                              ("discriminator_fields", create_discriminator, {**overrides, **judge})):  # fmt: skip
        fields = json.loads(getattr(config, name))
        try:
            networks.append(create(config.architecture, **{**own, **fields}))
        except (TypeError, ValueError, AttributeError) as error:
            if not fields:
                raise
            raise ValueError(f"{name}: got {getattr(config, name)}: {error}") from error
    return networks[0], networks[1]


def new_state(config: Config, classes: list[str], device: torch.device | None = None) -> State:
    """Networks and optimisers before the first step, a function of the seed."""
    torch.manual_seed(config.seed)
    generator, discriminator = new_networks(config, len(classes), classes)
    if config.one_pass and any(isinstance(module, BatchNorm2d) for module in discriminator.modules()):
        raise ValueError(
            "one_pass: this discriminator has batch norm, whose statistics are of real or fake images alone"
        )
    if config.transition_to:
        check_transition(generator, discriminator)
    if config.penalty == "orthonormal":
        orthonormal_(discriminator)
    for network in (generator, discriminator):
        network.train().to(device or resolve_device(config.device))
        if config.channels_last:
            to_channels_last(network)
    betas = (config.beta1, config.beta2)
    freeze(generator, discriminator, config)
    return State(
        generator,
        discriminator,
        copy.deepcopy(generator).eval() if config.ema_decay else generator,
        ChainerAdam(trained_parameters(generator), config.lr_g, betas),
        ChainerAdam(trained_parameters(discriminator), config.lr_d, betas),
    )


def freeze(generator: AnyGenerator, discriminator: AnyDiscriminator, config: Config) -> None:
    """Takes from the optimisers what ``trained`` and ``freeze_d`` say. A layer whose weight is not trained keeps its u
    and its running statistics too: it stays in evaluation mode, in which neither moves.
    """
    if config.freeze_d > len(getattr(discriminator, "blocks", [])):
        raise ValueError(f"freeze_d: got {config.freeze_d}, legal is up to {len(getattr(discriminator, 'blocks', []))}")
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(is_trained(network, name, config))
        if not trained_parameters(network):
            raise ValueError(f"trained: {config.trained!r} leaves nothing to train in this {network.kind}")
        network.frozen = [
            module for module in network.modules()
            if isinstance(weight := getattr(module, "weight", None), nn.Parameter) and not weight.requires_grad
        ]  # fmt: skip
        network.train()


def is_trained(network: AnyGenerator | AnyDiscriminator, name: str, config: Config) -> bool:
    """Whether the parameter ``name`` is one that the run changes."""
    layer, _, leaf = name.rpartition(".")
    module = network.get_submodule(layer)
    if layer.startswith("blocks.") and network.kind == "discriminator" and int(layer.split(".")[1]) < config.freeze_d:
        return False
    head = layer in ("linear", "embed")
    if config.trained == "tables":
        return head or (isinstance(module, BatchNorm2d) and module.n_classes > 0)
    if config.trained == "gains":
        return head or isinstance(module, BatchNorm2d) or (network.kind == "discriminator" and leaf == "bias")
    return True


def hold_to_start(state: State, out: Path) -> None:
    """Reads the run's first snapshot, towards which ``l2_sp`` pulls."""
    folder = snapshot_folder(out, 0)
    state.anchor = {}
    for kind, network in (("generator", state.generator), ("discriminator", state.discriminator)):
        start = type(network).from_pretrained(folder / kind).state_dict()
        own = network.named_parameters()
        state.anchor[kind] = {name: start[name].to(p) for name, p in own if p.requires_grad}


def trained_parameters(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def checkpoints(out: Path) -> list[Path]:
    """The run's checkpoints, the newest last."""
    return sorted((out / CHECKPOINTS).glob("[0-9]*.pt"))


class CheckpointWriter:
    """Writes ``out/checkpoints/STEP.pt`` whole or not at all, then removes all but the last ``keep_checkpoints``.

    ``behind``: for a state on a GPU, which is copied to the host at once and written by a thread while the run goes on;
    what fails there is raised by the next call. Otherwise it is written before ``save`` returns.
    """

    def __init__(self, config: Config, fingerprint: str, out: Path, behind: bool = False):
        self.config, self.fingerprint, self.out = config, fingerprint, out
        self.pool = ThreadPoolExecutor(1) if behind else None
        self.pending: Future | None = None

    def save(self, state: State) -> None:
        """Raises ``OSError`` where it cannot be written, ``FloatingPointError`` where the weights are no longer
        finite; the checkpoints before it stay.
        """
        self.wait()
        parameters = [p for network in (state.generator, state.discriminator) for p in network.parameters()]
        if not torch.stack([torch.isfinite(p).all() for p in parameters]).all():
            raise not_finite("weights", state.step, self.out)
        parts = {"config": asdict(self.config), "data": self.fingerprint, "resampling": table_digest()}
        if self.pool is None:
            write_checkpoint({**parts, **state.state_dict()}, self.config, self.out)
        else:
            parts |= to_host(state.state_dict())
            self.pending = self.pool.submit(write_checkpoint, parts, self.config, self.out)

    def wait(self) -> None:
        pending, self.pending = self.pending, None
        if pending:
            pending.result()

    def close(self) -> None:
        try:
            self.wait()
        finally:
            if self.pool:
                self.pool.shutdown()


def save_checkpoint(state: State, config: Config, fingerprint: str, out: Path) -> None:
    """One checkpoint, written when it returns; see ``CheckpointWriter.save``."""
    with closing(CheckpointWriter(config, fingerprint, out)) as writer:
        writer.save(state)


def to_host(parts: Any) -> Any:
    """Copies of all tensors in dicts and lists, on the CPU."""
    if isinstance(parts, torch.Tensor):
        return parts.detach().to("cpu", copy=True)
    if isinstance(parts, dict):
        return {key: to_host(value) for key, value in parts.items()}
    return [to_host(value) for value in parts] if isinstance(parts, list) else parts


def write_checkpoint(parts: dict[str, Any], config: Config, out: Path) -> Path:
    folder = out / CHECKPOINTS
    path, temporary = folder / f"{parts['step']:07d}.pt", folder / ".writing.pt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(parts, temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        temporary.unlink(missing_ok=True)
        raise OSError(f"{path}: could not be written ({str(error).splitlines()[0]}); {kept(out)}") from error
    for old in checkpoints(out)[: -config.keep_checkpoints]:
        old.unlink()
    return path


def not_finite(what: str, step: int, out: Path) -> FloatingPointError:
    return FloatingPointError(f"step {step}: {what} not finite; try a lower lr_g or lr_d in another --out. In {out} "
                              f"{kept(out)}")  # fmt: skip


def kept(out: Path) -> str:
    """What is safe after a failure, and the way on."""
    steps = [int(path.stem) for path in checkpoints(out)]
    return (f"the checkpoint of step {steps[-1]} is whole, and the same command goes on from it" if steps
            else "there is no checkpoint yet, so the same command starts again")  # fmt: skip


def load_checkpoint(state: State, config: Config, fingerprint: str, out: Path) -> bool:
    """Puts ``out``'s newest readable checkpoint into ``state``; False where there is none at all.

    Raises ``ValueError`` where none is readable, or where it was made under settings or data that would change what
    was done. An unreadable one is passed over, with a line, for the one before: the run computes the same again.
    """
    paths, damaged = checkpoints(out), []
    for path in reversed(paths):
        try:
            parts = torch.load(path, map_location="cpu", weights_only=True)
            old, digest, resampling = (parts.pop(key) for key in ("config", "data", "resampling"))
        except (RuntimeError, OSError, EOFError, KeyError, AttributeError, pickle.UnpicklingError) as error:
            why = (str(error) or repr(error)).splitlines()[0]
            print(f"{path}: not a readable checkpoint ({why}); trying the one before", file=sys.stderr)
            damaged.append(path)
            continue
        changed = differences(old, config, parts["step"])
        if digest != fingerprint:
            changed.append(f"data: {old['data']!r} and {config.data!r} differ in content")
        if resampling != table_digest():
            changed.append("resample_table.json: another table of plain and fused layers, so other roundings")
        if changed:
            raise ValueError(f"{out}: holds a run with other settings; choose another --out, or undo\n  "
                             + "\n  ".join(changed))  # fmt: skip
        state.load_state_dict(parts)
        if old.get("device", config.device) != config.device:
            print(f"{path}: was made on {old['device']}, and the run goes on on {config.device}: the last bits of what "
                  f"follows may differ", file=sys.stderr)  # fmt: skip
        for other in damaged:  # kept for whoever wants to look, no longer counted among the last
            other.rename(other.with_suffix(".damaged"))
        return True
    if paths:
        raise ValueError(f"{out / CHECKPOINTS}: none of {len(paths)} checkpoint(s) can be read; restore the folder "
                         f"from a copy, or name another --out to start anew")  # fmt: skip
    return False


def save_snapshot(state: State, out: Path, link: bool = True) -> Path:
    """The pair for people: ``out/snapshots/STEP/{generator,discriminator}``; ``link``: see ``link_snapshot``."""
    folder = snapshot_folder(out, state.step)
    try:
        for kind, network in (("generator", state.average), ("discriminator", state.discriminator)):
            temporary = folder.with_name(f".{folder.name}-{kind}")
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            settled(network)._save_pretrained(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(folder / kind, ignore_errors=True)
            os.replace(temporary, folder / kind)
    except (OSError, SafetensorError) as error:
        raise OSError(f"{folder}: could not be written ({str(error).splitlines()[0]}); {kept(out)}") from error
    if link or not (out / "generator").exists():
        link_snapshot(out, state.step)
    return folder
