"""Which device computes (``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps`` -> one that is there), in what layout."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

LEGAL = "auto, cpu, cuda, cuda:N, mps"


def resolve_device(asked: str | torch.device = "auto") -> torch.device:
    """The device that ``asked`` names. ``auto``: an NVIDIA GPU where torch sees one, else the CPU.

    Raises ``ValueError`` for one that is unknown or not there.
    """
    text = str(asked)
    if text == "auto":
        text = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(text)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps") or (device.type != "cuda" and device.index):
        raise ValueError(f"device: got {text!r}, legal are {LEGAL}")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            why = "this torch was built without CUDA" if torch.version.cuda is None else "torch sees no NVIDIA GPU"
            raise ValueError(f"device: got {text!r}, but {why}; legal here: auto, cpu")
        if (device.index or 0) >= count:
            raise ValueError(f"device: got {text!r}, but there are {count} GPUs; legal are cuda:0 to cuda:{count - 1}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device: got {text!r}, but this machine has none; legal here: auto, cpu")
    return device if device.type == "cuda" else torch.device(device.type)


def to_channels_last(network: nn.Module) -> None:
    """Lays out every four-dimensional parameter and buffer of ``network`` as (N, H, W, C) in memory, in place."""
    layout: dict[str, Any] = {"memory_format": torch.channels_last}  # torch's type stubs leave this call out
    network.to(**layout)
