"""toshas/torch-fidelity, examples/sngan_cifar10.py: the generator alone, a plain CNN, as a TorchScript archive.

Read at commits 00050a8 and b07420f. The first layer is a transposed convolution of a 1x1 map, which is a dense layer
whose bias is the same in all positions. In evaluation mode the traced network gives uint8 images, rounded down; ours
gives images in [-1, 1]. The discriminator is not saved.
"""

from __future__ import annotations

from torch import Tensor

from ...networks.cnn import CNNGenerator
from ..assumptions import Options
from ..code_base import CodeBase, Mapped, Marks, Source
from ..parts import Part
from ..resnets import as_it_is

_LAYERS = {"up.0": "model.3.", "up.1": "model.6.", "up.2": "model.9.", "conv": "model.12."}
_NORMS = {"bn0": "model.1.", "bn.0": "model.4.", "bn.1": "model.7.", "bn.2": "model.10."}
_STATISTICS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def _dense(weight: Tensor) -> Tensor:
    """(z, channels, 4, 4) -> (features, z)."""
    return weight.flatten(1).t().contiguous()


def _in_all_positions(bias: Tensor) -> Tensor:
    return bias.repeat_interleave(16)


def _map_generator(part: Part, options: Options, notes: list[str]) -> Mapped:
    first = part.tensors.get("model.0.weight")
    if first is None or first.ndim != 4 or first.shape[2:] != (4, 4) or 0 in first.shape:
        found = "missing" if first is None else f"of shape {tuple(first.shape)}, expected (z_dim, width, 4, 4)"
        raise ValueError(f"{part.source}: model.0.weight is {found}")
    z_dim, width = tuple(first.shape[:2])
    notes.append("bn_eps 1e-05, batch norm per channel after the first layer: torch-fidelity's example")
    config = {"size": 32, "n_classes": 0, "z_dim": z_dim, "width": width, "bn_eps": 1e-5, "first_norm": "channel"}
    sources = {"l0.weight": Source("model.0.weight", _dense), "l0.bias": Source("model.0.bias", _in_all_positions)}
    for ours, theirs in _LAYERS.items():
        sources |= {f"{ours}.{leaf}": Source(theirs + leaf, as_it_is) for leaf in ("weight", "bias")}
    for ours, theirs in _NORMS.items():
        sources |= {f"{ours}.{leaf}": Source(theirs + leaf, as_it_is) for leaf in _STATISTICS}
    return Mapped(CNNGenerator, config, sources)


TORCH_FIDELITY = CodeBase(
    id="torch_fidelity",
    name="torch-fidelity",
    marks=(Marks("generator", ("model.0.", "model.12.")),),
    mappers={"generator": _map_generator},
)
