"""The Inception weights that torch-fidelity and pytorch-fid publish: the FID network with its logits.

One file of 96 MB, which both projects serve under two names: the TensorFlow graph of 2015-12-05, converted to PyTorch
by pytorch-fid. It is not redistributed here. It is needed for Inception Scores; FID and KID can use it too.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..hub.cache import place, sha256_of
from ..hub.download import fetch
from ..weights.record import Record

PUBLISHED = Record(
    name="inception.2015",
    kind="generator",
    file="weights-inception-2015-12-05-6726825d.pth",
    urls=(
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    ),
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
NAMES = (PUBLISHED.file, "pt_inception-2015-12-05-6726825d.pth")
BYTES = 95_628_359

_STEM = {"Conv2d_1a_3x3": "conv", "Conv2d_2a_3x3": "conv_1", "Conv2d_2b_3x3": "conv_2", "Conv2d_3b_1x1": "conv_3",
         "Conv2d_4a_3x3": "conv_4"}  # fmt: skip
_BLOCKS = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")  # mixed, mixed_1 ... mixed_10
#: Branch in the file -> tower in the graph, where the n-th convolution of the branch is conv_(n-1)
_TOWERS = {
    "branch5x5": "tower", "branch7x7": "tower", "branch3x3dbl": "tower_1", "branch7x7dbl": "tower_1",
    "branch7x7x3": "tower_1",
}  # fmt: skip
_WIDE = {  # of mixed_9 and mixed_10, whose towers end in two convolutions side by side
    "branch3x3_1": "tower_conv", "branch3x3_2a": "tower_mixed_conv", "branch3x3_2b": "tower_mixed_conv_1",
    "branch3x3dbl_1": "tower_1_conv", "branch3x3dbl_2": "tower_1_conv_1",
    "branch3x3dbl_3a": "tower_1_mixed_conv", "branch3x3dbl_3b": "tower_1_mixed_conv_1", "branch_pool": "tower_2_conv",
}  # fmt: skip


class Head(NamedTuple):
    """The last layer: logits = features @ weight.T (+ bias)."""

    weight: Tensor  # (1008, 2048)
    bias: Tensor  # (1008,)


def graph_name(module: str) -> str:
    """``Mixed_6b.branch7x7_2`` -> ``mixed_4/tower/conv_1``: a convolution's name in the file, and in the graph."""
    if module in _STEM:
        return _STEM[module]
    block, branch = module.split(".")
    number = _BLOCKS.index(block.removeprefix("Mixed_"))
    prefix = f"mixed_{number}" if number else "mixed"
    if number in (3, 8) and branch.startswith("branch3x3"):  # the blocks that halve the map
        if number == 3:
            return f"{prefix}/conv" if branch == "branch3x3" else _tower(prefix, "tower", branch)
        return _tower(prefix, "tower", branch)
    if number in (9, 10) and branch in _WIDE:
        return f"{prefix}/{_WIDE[branch]}"
    if branch == "branch1x1":
        return f"{prefix}/conv"
    if branch == "branch_pool":
        return f"{prefix}/tower_2/conv"
    return _tower(prefix, _TOWERS[branch.rpartition("_")[0]], branch)


def _tower(prefix: str, tower: str, branch: str) -> str:
    n = int(branch.rpartition("_")[2]) - 1
    return f"{prefix}/{tower}/conv" + (f"_{n}" if n else "")


def find_published(download: bool = True) -> Path | None:
    """The published file: ``$SNGAN_HUB_INCEPTION``, the cache, torch.hub's folder, or downloaded to the cache.

    Args:
        download: whether to download a missing file (96 MB) from its two addresses. False: None is returned instead.

    Returns:
        A path. Its hash is verified when it is loaded.

    Raises:
        FileNotFoundError: if the file cannot be downloaded; one line says where to put it.
    """
    named = os.environ.get("SNGAN_HUB_INCEPTION")
    folders = [place(PUBLISHED).parent, Path(torch.hub.get_dir()) / "checkpoints"]
    for path in [*([Path(named)] if named else []), *(folder / name for folder in folders for name in NAMES)]:
        if path.is_file() and path.stat().st_size == BYTES:
            return path
    if not download:
        return None
    try:
        return fetch(PUBLISHED).path
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"Inception Scores need the Inception weights with logits (96 MB). Offline: put {PUBLISHED.file} at "
            f"{place(PUBLISHED)}, or set SNGAN_HUB_INCEPTION to its path ({error})"
        ) from error


def read_published(path: Path) -> tuple[dict[str, Tensor], Head]:
    """The convolutions by their names in the graph, and the last layer. The file is read with ``weights_only=True``.

    Raises ``ValueError`` if the sha256 is wrong, before the file is loaded.
    """
    found = sha256_of(path)
    if found != PUBLISHED.sha256:
        raise ValueError(f"{path}: sha256 must be {PUBLISHED.sha256} (got {found}); use {PUBLISHED.urls[0]}")
    return as_graph(torch.load(path, map_location="cpu", weights_only=True))


def as_graph(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], Head]:
    """The file's tensors -> those of ``Inception``, and the last layer."""
    tensors: dict[str, Tensor] = {}
    leaves = {"conv.weight": "weight", "bn.bias": "beta", "bn.running_mean": "mean", "bn.running_var": "var"}
    for key, tensor in state.items():
        module, layer, leaf = key.rpartition(".")[0].rpartition(".")[0], *key.split(".")[-2:]
        if f"{layer}.{leaf}" in leaves:
            tensors[f"{graph_name(module)}.{leaves[f'{layer}.{leaf}']}"] = tensor
    return tensors, Head(state["fc.weight"], state["fc.bias"])
