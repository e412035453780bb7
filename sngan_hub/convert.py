"""The authors' Chainer snapshots -> our networks: the key map, and the fields that keys and shapes tell.

Chainer's ``save_npz`` joins link paths by "/" (block2/c1/W). Layouts agree with torch (OIHW, (out, in)), so every value
is copied as it is; only names change, and ``u`` loses its leading 1.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .mixin import load_tensors
from .resnet import ROWS, Discriminator, Generator

_LEAVES = {
    "W": "weight", "b": "bias", "u": "u", "gammas/W": "weight", "betas/W": "bias", "gamma": "weight", "beta": "bias",
    "avg_mean": "running_mean", "avg_var": "running_var", "N": "num_batches_tracked",
}  # fmt: skip


def load_chainer(path: str | Path) -> Generator | Discriminator:
    """The authors' ``ResNetGenerator_<it>.npz`` or ``SNResNet*Discriminator_<it>.npz`` -> the network, in eval mode."""
    return from_chainer(read_npz(path), str(path))


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file. Raises ``ValueError`` for what is no such file or holds pickled objects."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise ValueError(f"{path}: not a readable npz file of plain arrays ({error})") from error


def from_chainer(arrays: dict[str, np.ndarray], source: str = "snapshot") -> Generator | Discriminator:
    """Arrays by Chainer key -> the network, in eval mode."""
    config = chainer_config(arrays, source)
    network = (Generator if config["class"] == "Generator" else Discriminator).from_config(config, source)
    tensors = {}
    for key, array in arrays.items():
        tensor = torch.from_numpy(np.array(array))
        tensors[chainer_key(key, config["class"])] = tensor.squeeze(0) if key.endswith("/u") else tensor
    load_tensors(network, tensors, source)
    return network.eval()


def chainer_key(key: str, kind: str) -> str:
    """``block2/b1/gammas/W`` of a ``Generator`` -> ``blocks.0.b1.weight``. Generators' blocks count from 2."""
    block = re.fullmatch(r"block(\d+)/(c1|c2|c_sc|b1|b2)/(.+)", key)
    if block and block[3] in _LEAVES:
        return f"blocks.{int(block[1]) - (2 if kind == 'Generator' else 1)}.{block[2]}.{_LEAVES[block[3]]}"
    head = re.fullmatch(r"(l_y|[lbc]\d+)/(.+)", key)
    if head and head[2] in _LEAVES:
        if kind == "Generator":
            name = "l1" if head[1] == "l1" else "bn" if head[1][0] == "b" else "conv"
        else:
            name = "embed" if head[1] == "l_y" else "linear"
        return f"{name}.{_LEAVES[head[2]]}"
    raise ValueError(f"{key}: not a key of the authors' {kind} snapshots")


def chainer_config(arrays: dict[str, np.ndarray], source: str = "snapshot") -> dict[str, Any]:
    """The constructor call that keys and shapes imply, with ``"class"``."""
    shapes = {key: array.shape for key, array in arrays.items()}
    blocks = sorted({int(m[1]) for key in shapes if (m := re.match(r"block(\d+)/c1/W$", key))})
    if "l1/W" in shapes and blocks and blocks[0] == 2:
        widths = [shapes["block2/c1/W"][1]] + [shapes[f"block{k}/c1/W"][0] for k in blocks]
        bottom = round((shapes["l1/W"][0] / widths[0]) ** 0.5)
        gammas = shapes.get("block2/b1/gammas/W")
        return {
            "class": "Generator", "size": bottom * 2 ** len(blocks), "n_classes": gammas[0] if gammas else 0,
            "z_dim": shapes["l1/W"][1], "widths": widths, "bottom_width": bottom,
        }  # fmt: skip
    if "block1/c_sc/W" not in shapes:
        raise ValueError(f"{source}: keys are not those of the authors' ResNet generator or discriminator")
    widths = [shapes[f"block{k}/c2/W"][0] for k in blocks]
    # Only blocks that change the width or the size have a learned shortcut; where the width changes and the size does
    # not (none of the authors'), tensors could not tell, so `down` is exact for their files.
    down = "".join("1" if f"block{k}/c_sc/W" in shapes else "0" for k in blocks)
    config: dict[str, Any] = {
        "class": "Discriminator", "size": _discriminator_size(down), "widths": widths, "down": down,
        "head_bias": any(re.fullmatch(r"l\d/b", key) for key in shapes),
    }  # fmt: skip
    if "l_y/W" in shapes:
        config["n_classes"], dim = shapes["l_y/W"]
        c_in = {k: shapes[f"block{k}/c1/W"][1] for k in blocks}
        wider = [k - 1 for k, width in zip(blocks[1:], widths, strict=False) if c_in[k] == width + dim]
        if wider:
            config |= {"conditioning": "concat", "embedding_dim": dim, "concat_after": wider[0]}
    return config


def _discriminator_size(down: str) -> int:
    return next(int(name) for name, row in ROWS.items() if name.isdigit() and row.d_down == down)
