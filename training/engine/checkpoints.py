"""Writes and reads checkpoints, which hold the whole state of a run."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sngan_hub.files import read_json_lines, write_atomically
from sngan_hub.layers.resample import table_digest
from sngan_hub.text import first_line

from ..config.schema import COMPILES, Config, differences
from .state import State

CHECKPOINTS = "checkpoints"
HAD_CHECKPOINTS = ".had_checkpoints"  # a file that stays when the checkpoints are lost
UNREADABLE = (  # of torch.load
    RuntimeError, OSError, EOFError, KeyError, IndexError, ValueError, AttributeError, pickle.UnpicklingError,
)  # fmt: skip


def checkpoints(out: Path) -> list[Path]:
    """The checkpoints of a run, oldest first. Files with other names than STEP.pt are not checkpoints."""
    found = [path for path in (out / CHECKPOINTS).glob("[0-9]*.pt") if path.stem.isdecimal()]
    return sorted(found, key=lambda path: int(path.stem))


class CheckpointWriter:
    """Writes ``out/checkpoints/STEP.pt`` atomically, then removes all but the last ``keep_checkpoints``.

    ``behind``: write in a background thread, for a state on a GPU: the state is copied to the host, and errors are
    raised by the next call. Otherwise the file is written before ``save`` returns.
    """

    def __init__(self, config: Config, fingerprint: str, out: Path, behind: bool = False):
        self.config, self.fingerprint, self.out = config, fingerprint, out
        self.pool = ThreadPoolExecutor(1) if behind else None
        self.pending: Future | None = None

    def save(self, state: State) -> None:
        """Raises ``OSError`` if the file cannot be written, and ``FloatingPointError`` if weights are not finite.

        Earlier checkpoints are kept.
        """
        self.wait()
        check_weights(state, self.out)
        parts = {"config": asdict(self.config), "data": self.fingerprint, "resampling": table_digest()}
        if self.pool is None:
            write_checkpoint({**parts, **state.state_dict()}, self.config, self.out)
        else:
            parts |= to_host(state.state_dict())
            self.pending = self.pool.submit(write_checkpoint, parts, self.config, self.out)

    def wait(self) -> None:
        pending, self.pending = self.pending, None
        if pending:
            pending.result()

    def close(self) -> None:
        try:
            self.wait()
        finally:
            if self.pool:
                self.pool.shutdown()


def save_checkpoint(state: State, config: Config, fingerprint: str, out: Path) -> None:
    """Writes one checkpoint before it returns; see ``CheckpointWriter.save``."""
    with closing(CheckpointWriter(config, fingerprint, out)) as writer:
        writer.save(state)


def to_host(parts: Any) -> Any:
    """Copies of all tensors in dicts and lists, on the CPU."""
    if isinstance(parts, torch.Tensor):
        return parts.detach().to("cpu", copy=True)
    if isinstance(parts, dict):
        return {key: to_host(value) for key, value in parts.items()}
    return [to_host(value) for value in parts] if isinstance(parts, list) else parts


def write_checkpoint(parts: dict[str, Any], config: Config, out: Path) -> Path:
    folder = out / CHECKPOINTS
    path = folder / f"{parts['step']:07d}.pt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda place: torch.save(parts, place), folder / ".writing.pt", sync=True)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        raise OSError(f"could not write {path} ({first_line(error)}); {kept(out)}") from error
    for old in checkpoints(out)[: -config.keep_checkpoints]:
        old.unlink()
    (out / HAD_CHECKPOINTS).touch()
    return path


def check_weights(state: State, out: Path) -> None:
    """Raises ``FloatingPointError`` if weights are not finite, so that they are not saved."""
    parameters = [p for network in (state.generator, state.discriminator) for p in network.parameters()]
    if not torch.stack([torch.isfinite(p).all() for p in parameters]).all():
        raise not_finite("weights", state.step, out)


def not_finite(what: str, step: int, out: Path) -> FloatingPointError:
    return FloatingPointError(f"step {step:,}: {what} are not finite; start a run with a lower lr_g or lr_d in another "
                              f"--out. In {out}, {kept(out)}")  # fmt: skip


def kept(out: Path) -> str:
    """What the same command will do after a failure; part of a message."""
    steps = [int(path.stem) for path in checkpoints(out)]
    return (f"the same command resumes from the checkpoint of step {steps[-1]:,}" if steps
            else "there is no checkpoint yet, so the same command starts from step 0")  # fmt: skip


def check_results_have_a_checkpoint(out: Path) -> None:
    """Raises ``ValueError`` if ``out`` is of a run whose checkpoints are gone: it would start again over its results.

    A run that never had a checkpoint may start again.
    """
    if (out / HAD_CHECKPOINTS).exists():
        rows = read_json_lines(out / "log.jsonl")
        cut_off = "" if rows else "if sngan import was cut off, repeat it; otherwise "
        raise ValueError(f"{out} has results of {rows[-1]['step'] if rows else 0:,} steps, but no checkpoint to resume "
                         f"from; {cut_off}restore {out / CHECKPOINTS} from a copy, or start a new run in another --out"
                         )  # fmt: skip


class Readable(NamedTuple):
    parts: dict[str, Any] | None  # of the newest readable checkpoint
    damaged: list[Path]  # the newer ones


def newest_readable(out: Path, wanted: Iterable[str]) -> Readable:
    """The newest checkpoint of ``out`` that is readable and has all ``wanted`` parts.

    Prints a line for each one that is not.
    """
    damaged: list[Path] = []
    for path in reversed(checkpoints(out)):
        try:
            parts = torch.load(path, map_location="cpu", weights_only=True)
            _ = [parts[key] for key in wanted]
        except UNREADABLE as error:
            why = first_line(error)
            print(f"{path}: not a readable checkpoint ({why}); trying the previous one", file=sys.stderr)
            damaged.append(path)
            continue
        return Readable(parts, damaged)
    return Readable(None, damaged)


def stored_fingerprint(out: Path) -> str:
    """The fingerprint of the images that the run ``out`` was trained on; empty without a readable checkpoint."""
    for path in reversed(checkpoints(out)):
        try:  # mapped: the weights are not read
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)["data"]
        except UNREADABLE:
            continue
    return ""


def load_checkpoint(state: State, config: Config, fingerprint: str, out: Path) -> bool:
    """Loads the newest readable checkpoint of ``out`` into ``state``. Returns False if there is none.

    Raises ``ValueError`` if none is readable, or if settings or data differ in a way that changes the finished steps.
    If a checkpoint is unreadable, prints a line and uses the previous one; the run then repeats the same steps.
    """
    parts, damaged = newest_readable(out, ("config", "data", "resampling", "step"))
    if parts is None:
        if damaged:
            raise ValueError(f"{out / CHECKPOINTS}: no readable checkpoint (of {len(damaged)}); restore the folder "
                             f"from a copy, or start a new run in another --out")  # fmt: skip
        return False
    old, digest, resampling = (parts.pop(key) for key in ("config", "data", "resampling"))
    changed = differences(old, config, parts["step"])
    if digest != fingerprint:
        was, now = old.get("held_out"), config.held_out
        if (was == "tenth") == (now == "tenth"):
            changed.append(f"data: {old['data']!r} and {config.data!r} differ in content or class names (images "
                           f"without class folders are one class with the name of their folder)")  # fmt: skip
        else:
            changed.append(f"held_out: was {was!r}, now {now!r}, so other images are held out of training")
    if resampling != table_digest():
        changed.append("resample_table.json: has changed, so the results would be rounded differently")
    if changed:
        raise ValueError(f"{out} contains a run with other settings; choose another --out or undo the changes:\n  "
                         + "\n  ".join(changed))  # fmt: skip
    state.load_state_dict(parts)
    if old.get("device", config.device) not in (config.device, "auto"):  # auto: of an imported snapshot
        print(f"{out}: step {state.step:,} was saved on {old['device']} and the run continues on {config.device}; the "
              f"results may differ by rounding errors", file=sys.stderr)  # fmt: skip
    if COMPILES.get(old.get("compile", "off"), config.compiles) != config.compiles:  # auto: of an imported snapshot
        before, now = ("uncompiled", "compiled") if config.compiles else ("compiled", "uncompiled")
        print(f"{out}: the steps before step {state.step:,} were {before} and the run continues {now}; the results may "
              f"differ by rounding errors", file=sys.stderr)  # fmt: skip
    for other in damaged:  # kept for inspection, but no longer a checkpoint of the run
        other.rename(other.with_suffix(".damaged"))
    return True
