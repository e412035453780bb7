"""Selects the device (``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``) and sets the memory layout of networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

LEGAL = "auto, cpu, cuda, cuda:N, mps"
#: Kinds of device that have autocast. Evaluated at import: torch.compile of torch 2.11 cannot trace the query.
AUTOCAST = [kind for kind in ("cpu", "cuda", "mps", "xpu") if torch.amp.is_autocast_available(kind)]


def autocast_on(device: str) -> bool:
    """Whether autocast is enabled for this kind of device; False for kinds without autocast, such as meta."""
    return device in AUTOCAST and torch.is_autocast_enabled(device)


def resolve_device(asked: str | torch.device = "auto") -> torch.device:
    """The device that ``asked`` names. ``auto``: an NVIDIA GPU if torch finds one, otherwise the CPU.

    Raises ``ValueError`` if the device is unknown or not available.
    """
    text = str(asked)
    if text == "auto":
        text = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(text)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps") or (device.type != "cuda" and device.index):
        raise ValueError(f"device must be one of {LEGAL} (got {text!r})")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            why = "PyTorch finds no NVIDIA GPU"
            if torch.version.cuda is None:
                why = "this build of PyTorch has no CUDA support"
            raise ValueError(f"device {text!r} is not available: {why}; use auto or cpu")
        if (device.index or 0) >= count:
            raise ValueError(f"device must be between cuda:0 and cuda:{count - 1} on this machine (got {text!r})")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device {text!r} is not available on this machine; use auto or cpu")
    return device if device.type == "cuda" else torch.device(device.type)


def to_channels_last(network: nn.Module) -> None:
    """Converts every four-dimensional parameter and buffer of ``network`` to channels-last memory format, in place."""
    layout: dict[str, Any] = {"memory_format": torch.channels_last}  # missing in torch's type stubs
    network.to(**layout)
