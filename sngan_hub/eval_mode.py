"""Computing in evaluation mode with a network that somebody else may be training, or using in another thread."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn


def in_eval_mode(network: Any) -> Any:
    """``network`` itself where all of it is in evaluation mode, else a copy that is, with the same tensors.

    Nothing is switched in ``network``: each of its layers keeps its own mode, and other threads may use it meanwhile.
    The copy costs no memory for weights. Forwards of it change neither running statistics nor power iterations.
    """
    if not isinstance(network, nn.Module) or not any(module.training for module in network.modules()):
        return network
    return _shallow(network, {})


def _shallow(module: nn.Module, made: dict[int, nn.Module]) -> nn.Module:
    if id(module) not in made:
        new = made[id(module)] = copy.copy(module)
        new.__dict__["training"] = False
        new.__dict__["_modules"] = {
            name: None if child is None else _shallow(child, made) for name, child in module._modules.items()
        }
    return made[id(module)]
