"""Reads and writes the authors' .npz snapshots, with the keys, dtypes and shapes of Chainer's ``save_npz``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_atomically
from ..networks.base import Network
from ..networks.resnet import Discriminator, Generator
from .archive import read_npz
from .assumptions import Options
from .code_bases import chainer
from .networks import convert_part
from .parts import Container


def load_chainer(path: str | Path) -> Generator | Discriminator:
    """Loads an .npz snapshot of the authors' code.

    Args:
        path: ``ResNetGenerator_<it>.npz`` or ``SNResNet*Discriminator_<it>.npz``.

    Returns:
        The network, in eval mode.

    Raises:
        ValueError: if the file does not match such a network exactly. The message names the key.

    Example:
        >>> generator = load_chainer("ResNetGenerator_850000.npz")
    """
    return _convert(Container(str(path), read_npz(path), Path(path).name))


def from_chainer(arrays: Mapping[str, np.ndarray]) -> Generator | Discriminator:
    """Converts arrays with Chainer's keys to a network in eval mode."""
    return _convert(Container("snapshot", arrays))


def _convert(container: Container) -> Generator | Discriminator:
    network = convert_part(container.part(), Options()).network
    if not isinstance(network, Generator | Discriminator):
        raise ValueError(
            f"{container.source}: contains a {type(network).__name__}, which is not a network of sngan_projection"
        )
    return network


def chainer_keys(network: Generator | Discriminator) -> dict[str, str]:
    """Our state-dict key -> the authors' key in ``save_npz``."""
    n = len(network.blocks)
    is_generator = isinstance(network, Generator)
    layers = chainer.GENERATOR.layers(n) if is_generator else chainer.DISCRIMINATOR.layers(n, ())
    leaves = chainer.DISCRIMINATOR.leaves
    keys: dict[str, str] = {}
    for ours in network.state_dict():
        layer, leaf = ours.rsplit(".", 1)
        if leaf in chainer.STATISTICS:
            name = chainer.STATISTICS[leaf]
        elif layer.split(".")[-1] in ("b1", "b2", "bn"):
            norm = chainer.CONDITIONAL if network.n_classes and layer != "bn" else chainer.UNCONDITIONAL
            name = {"weight": norm.gain, "bias": norm.bias}[leaf]
        else:
            name = leaves[leaf].name if leaf in leaves else leaf
        keys[ours] = layers[layer] + name
    return keys


def to_chainer(network: Network) -> dict[str, np.ndarray]:
    """The arrays that Chainer's ``save_npz`` would write for the authors' class.

    Args:
        network: a ResNet generator or discriminator.

    Returns:
        A dict of arrays, with the same keys, dtypes and shapes as Chainer's: bfloat16 and float16 become float32.

    Raises:
        ValueError: if the authors' format cannot store the settings of the network.

    Example:
        >>> numpy.savez("ResNetGenerator_0.npz", **to_chainer(create_generator("sngan_cifar10")))
    """
    if not isinstance(network, Generator | Discriminator):
        raise ValueError(
            f"only ResNets can be written in the format of sngan_projection (got a {type(network).__name__})"
        )
    keys = chainer_keys(network)
    state = network.state_dict()
    arrays: dict[str, np.ndarray] = {}
    for ours, theirs in keys.items():
        value = state[ours].detach().cpu()
        array = (value.float() if value.is_floating_point() else value).numpy()
        arrays[theirs] = array[None] if theirs.endswith("/u") else array
    try:
        read_back = from_chainer(arrays).config
    except ValueError as error:
        raise ValueError(f"the authors' code cannot build this {type(network).__name__.lower()}: {error}") from error
    own = network.config
    idle = {"classes", "hidden"}  # fields that do not apply to this network
    if not network.n_classes:
        idle |= {"conditioning"}
    if own.get("conditioning") == "projection" or not network.n_classes:
        idle |= {"embedding_dim", "concat_after"}
    differing = [f"{name} {own[name]!r} (theirs: {read_back[name]!r})"
                 for name in own if name not in idle and own[name] != read_back[name]]  # fmt: skip
    blocks = len(network.blocks)
    if own.get("hidden", "in") != "in" and len(set(own["widths"])) > 1:
        differing.append(f"hidden {own['hidden']!r} (theirs: 'in')")
    if isinstance(network, Generator) and own["bottom_width"] != 4:
        differing.append(f"bottom_width {own['bottom_width']} (theirs: 4)")
    if isinstance(network, Discriminator) and own["head_bias"] != (theirs := chainer.has_head_bias(blocks)):
        differing.append(f"head_bias {own['head_bias']} (theirs at {own['size']} px: {theirs})")
    if differing:
        raise ValueError(
            f"the authors' format cannot store these settings of the {type(network).__name__.lower()}: "
            + ", ".join(differing)
        )
    return arrays


def save_snapshot(network: Network, path: Path) -> None:
    """Writes the authors' .npz atomically."""
    arrays: dict[str, Any] = to_chainer(network)

    def save(temporary: Path) -> None:
        with open(temporary, "wb") as file:  # NumPy appends .npz to a file name, but not to an open file
            np.savez_compressed(file, **arrays)

    write_atomically(path, save)
