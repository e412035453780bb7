"""A network in eval mode for whoever only looks at it, while the network itself stays as it is."""

from __future__ import annotations

from types import MethodType
from typing import Any

from torch import nn


def evaluating(network: Any) -> Any:
    """The network itself where all of it is in eval mode; else a copy in eval mode that shares its tensors.

    Of the copy only the modules are new, so it costs no memory to speak of, and what is written into parameters and
    buffers is seen by both. No module of ``network`` is switched: a layer that was frozen by ``eval()`` stays frozen,
    and threads that train, sample and judge with one network do not see each other's modes.
    """
    network = getattr(network, "_orig_mod", network)  # torch.compile's wrapper calls the network that it was made of
    if not any(module.training for module in network.modules()):
        return network
    copies = {module: module.__class__.__new__(module.__class__) for module in network.modules()}
    for module, copy in copies.items():
        own = {name: _of_copy(value, module, copy) for name, value in dict(vars(module)).items()}
        own |= {"training": False, "_parameters": dict(module._parameters), "_buffers": dict(module._buffers)}
        own["_modules"] = {name: child and copies[child] for name, child in module._modules.items()}
        own.pop("_compiled_call_impl", None)  # module.compile(): bound to the module
        vars(copy).update(own)
    return copies[network]


def _of_copy(value: Any, module: nn.Module, copy: nn.Module) -> Any:
    """An attribute for the copy: a method that was bound to the module (a wrapped ``forward``) is bound to the copy."""
    return MethodType(value.__func__, copy) if isinstance(value, MethodType) and value.__self__ is module else value
