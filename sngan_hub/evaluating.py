"""A view of a network in eval mode, which leaves the mode of the network itself unchanged."""

from __future__ import annotations

from types import MethodType
from typing import Any

from torch import nn


def evaluating(network: Any) -> Any:
    """The network itself if all its modules are in eval mode; otherwise a copy in eval mode that shares its tensors.

    Only the module objects are copied, so the copy takes little memory, and changes of parameters and buffers are
    visible in both. The mode of ``network`` does not change: layers frozen by ``eval()`` stay frozen, and threads that
    train, sample and score with the same network do not affect each other.
    """
    network = getattr(network, "_orig_mod", network)  # torch.compile's wrapper would call the original network
    if not any(module.training for module in network.modules()):
        return network
    copies = {module: module.__class__.__new__(module.__class__) for module in network.modules()}
    for module, copy in copies.items():
        own = {name: _of_copy(value, module, copy) for name, value in dict(vars(module)).items()}
        own |= {"training": False, "_parameters": dict(module._parameters), "_buffers": dict(module._buffers)}
        own["_modules"] = {name: child and copies[child] for name, child in module._modules.items()}
        own.pop("_compiled_call_impl", None)  # set by module.compile(), and bound to the module
        vars(copy).update(own)
    return copies[network]


def _of_copy(value: Any, module: nn.Module, copy: nn.Module) -> Any:
    """An attribute for the copy. Methods bound to the module (a wrapped ``forward``) are bound to the copy instead."""
    return MethodType(value.__func__, copy) if isinstance(value, MethodType) and value.__self__ is module else value
