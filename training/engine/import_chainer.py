"""Creates a run from the authors' whole-trainer snapshot (``snapshot_iter_<it>``), which training can resume.

Weights, u, running statistics, both Adam states, the iteration and the position in the learning-rate schedule are kept.
The state of Chainer's random numbers and the position in the epoch cannot be kept; new random numbers are used. If the
run has an average, it starts as the imported generator.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import torch

from sngan_hub.convert import chainer_keys, convert_file
from sngan_hub.convert.archive import read_npz
from sngan_hub.networks.base import Network
from sngan_hub.networks.resnet import Discriminator, Generator

from ..config.schema import Config
from .state import ChainerAdam, State, new_networks

OPTIMIZERS = {"generator": "updater/optimizer:opt_gen", "discriminator": "updater/optimizer:opt_dis"}


def import_snapshot(path: Path, config: Config, classes: list[str]) -> State:
    """Raises ``ValueError`` if the snapshot and ``config`` differ in networks, n_dis or learning rate."""
    arrays = read_npz(path)
    if "updater/iteration" not in arrays:
        raise ValueError(f"snapshot must be a whole-trainer snapshot, snapshot_iter_<it> (got {path}, without "
                         f"updater/iteration); use sngan convert for single networks")  # fmt: skip
    networks = {converted.kind: converted.network for converted in convert_file(path)}
    for network, ours in zip(networks.values(), new_networks(config, len(classes), classes), strict=True):
        _check_network(path, network, ours)
    g, d = networks["generator"].train(), networks["discriminator"].train()
    if not (isinstance(g, Generator) and isinstance(d, Discriminator)):
        raise ValueError(f"snapshot must contain ResNets (got {type(g).__name__} and {type(d).__name__} in {path})")
    for network in (g, d):
        if network.n_classes:
            network.name_classes(classes)
    betas = (config.beta1, config.beta2)
    opt_g, opt_d = ChainerAdam(g.parameters(), config.lr_g, betas), ChainerAdam(d.parameters(), config.lr_d, betas)
    ema = copy.deepcopy(g).eval() if config.ema_decay else g
    state = State(g, d, ema, opt_g, opt_d, int(arrays["updater/iteration"]))
    for network, optimizer, prefix in ((g, opt_g, OPTIMIZERS["generator"]), (d, opt_d, OPTIMIZERS["discriminator"])):
        _fill(path, arrays, network, optimizer, prefix)
    updates = [int(arrays[f"{prefix}/t"]) for prefix in OPTIMIZERS.values()]
    if updates != [state.step, state.step * config.n_dis]:
        raise ValueError(f"n_dis must match the snapshot (got {config.n_dis}): {path} has {updates[0]:,} updates of G "
                         f"and {updates[1]:,} of D in {state.step:,} iterations")  # fmt: skip
    for name, lr in (("LinearShift", config.lr_g), ("LinearShift_1", config.lr_d)):
        last = arrays.get(f"extensions/{name}/_last_value")
        if last is not None and not np.isclose(float(last), lr * config.lr_scale(state.step), rtol=1e-6, atol=1e-12):
            raise ValueError(
                f"decay_from, decay_to, lr_g and lr_d must give the snapshot's learning rate after iteration "
                f"{state.step:,}, {float(last):.6g} (got {lr * config.lr_scale(state.step):.6g})"
            )
    return state


def _check_network(path: Path, theirs: Network, ours: Network) -> None:
    a, b = ({k: v for k, v in n.config.items() if k != "classes"} for n in (theirs, ours))
    kind = theirs.kind
    differing = {name: a[name] for name in a if a[name] != b[name]}
    if "n_classes" in differing:
        raise ValueError(f"data must have n_classes {a['n_classes']}, as the {kind} in {path} (got {b['n_classes']})")
    if differing:
        raise ValueError(f"{path}: the {kind} differs from this preset's; choose another preset, or set "
                         f"--{kind}_fields '{json.dumps(differing)}'")  # fmt: skip


def _fill(path: Path, arrays: dict, network: torch.nn.Module, optimizer: ChainerAdam, prefix: str) -> None:
    keys = chainer_keys(network)  # type: ignore[arg-type]
    for name, parameter in network.named_parameters():
        values = {leaf: arrays.get(f"{prefix}/{keys[name]}/{leaf}") for leaf in ("m", "v", "t")}
        for leaf, value in values.items():
            if value is None or (leaf != "t" and value.shape != tuple(parameter.shape)):
                raise ValueError(f"{path}: {prefix}/{keys[name]}/{leaf} is missing or has another shape")
            if not np.isfinite(value).all():
                raise ValueError(f"{path}: {prefix}/{keys[name]}/{leaf} contains values that are not finite")
        optimizer.state[parameter] = {
            "step": torch.tensor(float(values["t"])),  # type: ignore[arg-type]
            "exp_avg": torch.from_numpy(np.array(values["m"])),
            "exp_avg_sq": torch.from_numpy(np.array(values["v"])),
        }
