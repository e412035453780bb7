"""The folder of a run: checks that a folder can be used, locks it, and links RUN/generator to a snapshot."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sngan_hub.hub.resolve import resolve
from sngan_hub.networks.mixin import CONFIG_NAME, SAFETENSORS_SINGLE_FILE, read_config
from sngan_hub.weights.record import KINDS

COMPILED = "compiled"  # torch's cache, which may exist before config.json
LOCK = ".lock"
SNAPSHOTS = "snapshots"
START = "start.json"  # what a fine-tuning run started from, for its report and its cards
LINES = ("log.jsonl", "spectrum.jsonl", "scores.jsonl")  # files that a run appends to; other files are not changed


def is_run(folder: Path) -> bool:
    """Whether ``folder`` contains the config.json of a run. Raises ``ValueError`` if it is not a JSON object."""
    path = folder / CONFIG_NAME
    return path.is_file() and "preset" in read_config(path)


def run_of(model: str | Path) -> Path | None:
    """The run that ``model`` is, or whose snapshot or network it is; None for other models."""
    found = resolve(model)
    if found.kind != "folder":
        return None
    path = found.path.resolve()  # RUN/generator is a link to the network of a snapshot
    if path.name in KINDS:
        path = path.parent
    if path.parent.name == SNAPSHOTS:
        path = path.parent.parent
    return path if is_run(path) else None


def read_start(out: Path) -> dict[str, Any]:
    """The content of ``START``; empty for a run that was not fine-tuned, or of an early version."""
    path = out / START
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def is_first_process() -> bool:
    """Whether this is the first of the processes that torchrun started. Works without an Accelerator."""
    return os.environ.get("RANK", "0") == "0"


def check_out(out: Path) -> None:
    """Raises ``FileExistsError`` unless ``out`` is missing, empty or a run, so that no other files are overwritten.

    Hidden files are ignored. Only the first of several processes checks, because only it writes.
    """
    if not is_first_process() or not out.is_dir() or is_run(out):
        return
    other_files = sorted(p.name for p in out.iterdir() if not p.name.startswith(".") and p.name != COMPILED)
    if other_files:
        network = (out / CONFIG_NAME).is_file() and (out / SAFETENSORS_SINGLE_FILE).is_file()
        what = "a network" if network else f"other files, such as {other_files[0]}"
        raise FileExistsError(f"out must be a new or empty folder, or a run to resume (got {out}, with {what})")


def check_has_snapshot(run: Path) -> None:
    """Raises ``FileNotFoundError`` unless ``run`` is a run with a snapshot."""
    if not (run / "generator").exists() or not (run / CONFIG_NAME).is_file():
        there = "" if run.exists() else ", which does not exist"
        raise FileNotFoundError(f"run must be a run's folder with a snapshot (got {run}{there})")


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Locks ``out`` for this process. The operating system releases the lock when the process ends.

    If the folder is created here and stays empty, it is removed again. Raises ``FileExistsError`` if another process
    holds the lock. File systems without locks are used without a lock.
    """
    new = not out.exists()
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise FileExistsError(f"out: another process is training in {out}; wait for it, stop it, or name another "
                              f"folder") from error  # fmt: skip
    except (NotImplementedError, OSError) as error:
        print(f"{out}: could not lock the folder ({error}); do not start a second run in it", file=sys.stderr)
    try:
        yield
    finally:
        if new and {path.name for path in out.iterdir()} <= {LOCK, COMPILED}:
            shutil.rmtree(out)
        lock.release()


def snapshot_folder(out: Path, step: int) -> Path:
    return out / SNAPSHOTS / f"{step:07d}"


def link_snapshot(out: Path, step: int) -> None:
    """Links ``out/generator`` and ``out/discriminator`` to the snapshot of ``step`` (the latest or the best one).

    If the system has no symbolic links, they are copies. A folder in their place, as in a run that was copied without
    links, is a copy of a snapshot and is replaced.
    """
    for kind in KINDS:
        target, place, new = snapshot_folder(out, step) / kind, out / kind, out / f".{kind}"
        _remove(new)
        try:
            new.symlink_to(Path(SNAPSHOTS) / target.parent.name / kind)
        except (OSError, NotImplementedError):
            shutil.copytree(target, new)
        if new.is_symlink() and (place.is_symlink() or not place.exists()):
            os.replace(new, place)  # at once
            continue
        old = out / f".old-{kind}"  # a folder cannot be replaced in one step
        _remove(old)
        if place.exists() or place.is_symlink():
            os.replace(place, old)
        os.replace(new, place)
        _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def linked_step(out: Path) -> int:
    """The step of the snapshot that ``out/generator`` links to or is a copy of.

    Raises ``ValueError`` if it is neither.
    """
    place = out / "generator"
    if place.is_symlink():
        return int(place.resolve().parent.name)
    weights = (place / SAFETENSORS_SINGLE_FILE).read_bytes()
    for path in sorted((out / SNAPSHOTS).glob(f"[0-9]*/generator/{SAFETENSORS_SINGLE_FILE}"), reverse=True):
        if path.stat().st_size == len(weights) and path.read_bytes() == weights:
            return int(path.parent.parent.name)
    raise ValueError(f"{place} is not a copy of a snapshot in {out / SNAPSHOTS}; copy the whole run folder again")
