"""Writes snapshots: a run's generator and discriminator, as ``from_pretrained`` loads them, without the optimisers."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError

from sngan_hub.files import write_folder
from sngan_hub.text import first_line

from .checkpoints import kept
from .run_folder import link_snapshot, snapshot_folder
from .state import State
from .transition import with_strength_applied


def save_snapshot(state: State, out: Path, link: bool = True) -> Path:
    """Writes ``out/snapshots/STEP/{generator,discriminator}``; ``link``: see ``link_snapshot``."""
    folder = snapshot_folder(out, state.step)
    try:
        for kind, network in (("generator", state.ema), ("discriminator", state.discriminator)):
            temporary = folder.with_name(f".{folder.name}-{kind}")  # STEP exists only with a complete network
            write_folder(folder / kind, with_strength_applied(network)._save_pretrained, temporary)
    except (OSError, SafetensorError) as error:
        raise OSError(f"could not write {folder} ({first_line(error)}); {kept(out)}") from error
    if link or not (out / "generator").exists():
        link_snapshot(out, state.step)
    return folder


def load_l2_sp_target(state: State, out: Path) -> None:
    """Reads the weights of the first snapshot of the run, to which ``l2_sp`` pulls the trained ones."""
    folder = snapshot_folder(out, 0)
    if not (folder / "generator").is_dir():
        raise FileNotFoundError(f"l2_sp needs the snapshot of step 0, and {folder} is missing; restore it, or set "
                                f"--l2-sp 0 in another --out")  # fmt: skip
    state.l2_sp_target = {}
    for kind, network in (("generator", state.generator), ("discriminator", state.discriminator)):
        start = type(network).from_pretrained(folder / kind).state_dict()
        own = network.named_parameters()
        state.l2_sp_target[kind] = {name: start[name].to(p) for name, p in own if p.requires_grad}
