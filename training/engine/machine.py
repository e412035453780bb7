"""How a run uses its machine: threads, TF32, cuDNN, and whether its steps are compiled."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path

import torch

from sngan_hub.devices import resolve_device

from ..config.schema import Config
from .distributed import is_first_process

CACHE = "TORCHINDUCTOR_CACHE_DIR"
REPAID_BY = 5_000  # iterations whose saved time is about that of compiling, where compiling saves any


def set_up(config: Config) -> Config:
    """Applies the settings of the process -> the config with ``device`` decided."""
    if config.threads:
        torch.set_num_threads(config.threads)
    device = resolve_device(config.device)
    config = dataclasses.replace(config, device=str(device))
    if device.type == "cuda":
        if device.index is not None:
            if int(os.environ.get("WORLD_SIZE", "1")) > 1:
                raise ValueError(f"device must be cuda for several processes, so that each uses its own GPU (got "
                                 f"{config.device!r})")  # fmt: skip
            torch.cuda.set_device(device)  # accelerate takes the current one
        torch.backends.cudnn.benchmark = True  # shapes never change within a run
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = config.tf32
    return config


def decide_compile(config: Config) -> Config:
    """-> the config with ``compile`` decided. Writes to ``config.out``, so whatever can refuse a run comes before it.

    ``auto`` takes what the run in ``config.out`` was started with. A new run compiles from 5,000 iterations on, where
    that is faster, and one process on a GPU then replays CUDA graphs. Where nothing can be compiled a line says so, and
    the run is not compiled.
    """
    config = dataclasses.replace(config, compile=wanted_compile(config))
    if config.compile == "graphs" and not config.device.startswith("cuda"):
        say(f"compile: CUDA graphs need a GPU (device is {config.device}); compiling the steps without CUDA graphs")
        config = dataclasses.replace(config, compile="on")
    if config.compile == "graphs" and not can_record(config):
        say("compile: CUDA graphs are for one process and need l2_sp 0; compiling the steps without CUDA graphs")
        config = dataclasses.replace(config, compile="on")
    if config.compile != "off":
        # Beside the run, so that a resumed one finds it; set by the user, it is left as it is.
        if not set_by_user(os.environ.get(CACHE, "")):
            os.environ[CACHE] = str(Path(config.out, "compiled").absolute())
        reason = why_not_compiled(config.device)
        if reason:
            say(f"compile: torch.compile does not work here ({reason}); the steps run uncompiled")
            config = dataclasses.replace(config, compile="off")
        else:
            print("compile: the first iteration compiles the steps and takes one to several minutes", file=sys.stderr)
    return config


def set_by_user(folder: str) -> bool:
    """Torch itself puts its default, TMP/torchinductor_USER, into the variable when it first looks."""
    own = Path(tempfile.gettempdir())
    return bool(folder) and not (Path(folder).parent == own and Path(folder).name.startswith("torchinductor_"))


def say(line: str) -> None:
    if is_first_process():
        print(line, file=sys.stderr)


def wanted_compile(config: Config) -> str:
    """``on``, ``off`` or ``graphs``: what ``auto`` means for this run."""
    if config.compile != "auto":
        return config.compile
    path = Path(config.out, "config.json")
    if config.out and path.is_file():
        try:
            return json.loads(path.read_text(encoding="utf-8")).get("compile", "off")
        except ValueError:
            pass
    if config.steps < REPAID_BY or not compiling_pays(config.device):
        return "off"
    on_gpu = kind_of(config.device).startswith("cuda")
    return "graphs" if on_gpu and can_record(config) and config.penalty != "gradient" else "on"


def can_record(config: Config) -> bool:
    """Whether a CUDA graph can hold an iteration: not beside other processes, nor with l2_sp, which it would fix."""
    return not config.l2_sp and int(os.environ.get("WORLD_SIZE", "1")) == 1


def compiling_pays(device: str) -> bool:
    """On a GPU and on processors with AVX-512; on others convolutions are nearly all of a step, and it gains nothing
    (benchmarks/records/steps.jsonl).
    """
    return not kind_of(device).startswith("cpu") or torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def kind_of(device: str) -> str:
    return str(resolve_device(device)) if device == "auto" else device


def why_not_compiled(device: str) -> str:
    """Empty where ``torch.compile`` works here, else the first line of what it says."""
    try:
        with torch.no_grad():
            torch.compile(_probe, fullgraph=True)(torch.zeros(64, device=device))
    except Exception as error:  # of a missing compiler, of Triton, of Python's version: of any kind
        return (str(error).strip() or repr(error)).splitlines()[0]
    return ""


def _probe(x: torch.Tensor) -> torch.Tensor:
    return (x * 2 + 1).sin()
