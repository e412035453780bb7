"""Where a score was measured: the machine, versions, and the JSON line of a result."""

# torch_fidelity has no types:
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import torch

from ..text import printed
from ..weights.record import Score


def machine() -> str:
    """The kind of processor, threads, and the accelerator if there is one: ``x86_64 AVX512, 2 threads``."""
    capability = torch.backends.cpu.get_cpu_capability()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{platform.machine()} {capability}, {torch.get_num_threads()} threads{gpu}"


def versions() -> dict[str, str]:
    """Versions of the programs that a score depends on."""
    import torch_fidelity

    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torch-fidelity": torch_fidelity.__version__,
    }


def made_on(rows: Iterable[dict[str, Any]]) -> str:
    """The ``machine`` and ``versions`` of records as pages print them, each combination once."""
    return "; or ".join(dict.fromkeys(
        f"{printed(row['machine'])}, " + ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        for row in rows
    ))  # fmt: skip


def json_line(model: str, source: str, protocol: str, score: Score) -> str:
    """A result as one line of JSON."""
    return json.dumps({"model": model, "data": source, "protocol": protocol, **asdict(score)}, ensure_ascii=False)
