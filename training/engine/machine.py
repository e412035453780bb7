"""Settings of the process and the device: threads, TF32, cuDNN, and compilation of the steps."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path

import torch

from sngan_hub.devices import resolve_device
from sngan_hub.text import first_line

from ..config.schema import Config
from .run_folder import is_first_process

CACHE = "TORCHINDUCTOR_CACHE_DIR"
REPAID_BY = 5_000  # number of iterations that save about the time of the compilation, if it saves any


def set_up(config: Config) -> Config:
    """Applies the settings of the process. Returns the config with ``device`` resolved."""
    if config.threads:
        torch.set_num_threads(config.threads)
    device = resolve_device(config.device)
    if device.type == "mps":
        raise ValueError("device must be auto, cpu, cuda or cuda:N for training (got 'mps'); mps is for sampling and "
                         "scores")  # fmt: skip
    config = dataclasses.replace(config, device=str(device))
    if device.type == "cuda":
        if device.index is not None:
            if int(os.environ.get("WORLD_SIZE", "1")) > 1:
                raise ValueError(f"device must be cuda for several processes, so that each uses its own GPU (got "
                                 f"{config.device!r})")  # fmt: skip
            torch.cuda.set_device(device)  # accelerate uses the current device
        torch.backends.cudnn.benchmark = True  # shapes never change within a run
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = config.tf32
    return config


def decide_compile(config: Config) -> Config:
    """Returns the config with ``compile`` resolved. May write to ``config.out``, so check first that this is allowed.

    ``auto``: a resumed run keeps its setting. A new run is compiled from 5,000 iterations on, if that is faster, and
    uses CUDA graphs in a single process on a GPU. If compilation is not possible, prints a line and does not compile.
    """
    form, no_graphs = possible_compile(config)
    config = dataclasses.replace(config, compile=form)
    if no_graphs:
        then = {"on": "compiling the steps without CUDA graphs", "off": "the steps run without CUDA graphs"}[form]
        say(f"compile: {no_graphs}; {then}")
    if config.compiles:
        # In the folder of the run, so that a resumed run finds it; not changed if the user has set it.
        if not set_by_user(os.environ.get(CACHE, "")):
            os.environ[CACHE] = str(Path(config.out, "compiled").absolute())
        reason = why_not_compiled(config.device)
        if reason:
            say(f"compile: torch.compile does not work here ({reason}); the steps run uncompiled")
            config = dataclasses.replace(config, compile="graphs_only" if config.uses_graphs else "off")
        else:
            print("compile: the first iteration compiles the steps and takes one to several minutes", file=sys.stderr)
    return config


def set_by_user(folder: str) -> bool:
    """Whether the user has set the cache folder. Torch sets it to TMP/torchinductor_USER on first use."""
    own = Path(tempfile.gettempdir())
    return bool(folder) and not (Path(folder).parent == own and Path(folder).name.startswith("torchinductor_"))


def say(line: str) -> None:
    if is_first_process():
        print(line, file=sys.stderr)


def wanted_compile(config: Config) -> str:
    """What ``auto`` means for this run; otherwise the setting."""
    if config.compile != "auto":
        return config.compile
    path = Path(config.out, "config.json")
    if config.out and path.is_file():
        try:
            known = json.loads(path.read_text(encoding="utf-8")).get("compile", "off")
        except ValueError:
            known = "auto"
        if known != "auto":  # of an imported run, it is not decided yet
            return known
    graphs = kind_of(config.device).startswith("cuda") and can_record(config)
    # Gradient penalties cannot be compiled, so that most of such an iteration would not be
    if (
        config.steps < REPAID_BY
        or not compiling_pays(config.device)
        or (graphs and config.penalty in ("gradient", "r1"))
    ):
        return "graphs_only" if graphs else "off"
    return "graphs" if graphs else "on"


def possible_compile(config: Config) -> tuple[str, str]:
    """``wanted_compile`` without CUDA graphs where these are not possible, and why they are not; otherwise empty."""
    wanted = wanted_compile(config)
    without = {"graphs": "on", "graphs_only": "off"}.get(wanted)
    if without and not kind_of(config.device).startswith("cuda"):
        return without, f"CUDA graphs need a GPU (device is {config.device})"
    if without and not can_record(config):
        return without, "CUDA graphs are for one process and need l2_sp 0 and penalty_every 1"
    return wanted, ""


def can_record(config: Config) -> bool:
    """Whether CUDA graphs are possible: not with several processes, l2_sp, which would become a constant, or a penalty
    in some iterations only.
    """
    lazy = config.penalty and config.penalty_every > 1
    return not config.l2_sp and not lazy and int(os.environ.get("WORLD_SIZE", "1")) == 1


def compiling_pays(device: str) -> bool:
    """Whether compiled steps are faster: on a GPU, and on processors with AVX-512 (benchmarks/records/steps.jsonl).

    On other processors, convolutions take nearly all the time of a step.
    """
    return not kind_of(device).startswith("cpu") or torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def kind_of(device: str) -> str:
    return str(resolve_device(device)) if device == "auto" else device


def why_not_compiled(device: str) -> str:
    """Empty if ``torch.compile`` works on this machine, otherwise the first line of its error."""
    try:
        with torch.no_grad():
            torch.compile(_probe, fullgraph=True)(torch.zeros(64, device=device))
    except Exception as error:  # a missing compiler, Triton or the Python version cause many kinds of errors
        return first_line(error)
    return ""


def _probe(x: torch.Tensor) -> torch.Tensor:
    return (x * 2 + 1).sin()
