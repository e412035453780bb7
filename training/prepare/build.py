"""``sngan prepare SOURCE OUT``: images from any source -> a prepared data set (sngan_hub/data/prepared.py).

One process per core decodes blocks of rows. Each block is written to its place in images.npy and recorded in
progress.jsonl, so that the same command resumes after an interruption. dataset.json is written last: a folder that has
it is complete.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sngan_hub.data.images import DAMAGED, is_of_the_image, read_picture
from sngan_hub.data.prepared import (  # fmt: skip
    ABOUT,
    AGAIN,
    HEADER,
    IMAGES,
    LABELS,
    REFUSED,
    block_digest,
    block_rows,
    changed_blocks,
    damaged_blocks,
    read_about,
)
from sngan_hub.files import read_json_lines, write_json, write_json_lines
from sngan_hub.hub.cache import sha256_of
from sngan_hub.progress import Progress

from .sources import Listing

PLAN, PROGRESS = "plan.json", "progress.jsonl"


@dataclass(frozen=True)
class Recipe:
    """The preprocessing of images. ``short_side``: scale the short side to this first, as in preprocess.sh (0: off)."""

    size: int = 128
    short_side: int = 0
    min_side: int = 0  # smaller images are skipped
    contrast_stretch: bool = False
    test_every: int = 10  # every n-th image of a class is held out for scores (0: none)

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 1024:
            raise ValueError(f"size must be between 8 and 1,024 (got {self.size})")
        for name in ("short_side", "min_side", "test_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more (got {getattr(self, name)})")
        if self.test_every == 1:
            raise ValueError(
                "test_every must be 0 (no test images) or 2 or more (got 1, which leaves no training images)"
            )


def prepare(listing: Listing, out: Path, recipe: Recipe, source: str = "", workers: int = 0) -> dict[str, Any]:
    """Writes or completes ``out``. Returns the content of dataset.json. Raises ``ValueError`` or ``OSError``."""
    if workers < 0:
        raise ValueError(f"workers must be 0 (one per core) or more (got {workers})")
    n, rows = len(listing.names), block_rows(recipe.size)
    blocks = -(-n // rows)
    plan = {**asdict(recipe), "rows": n, "classes": listing.classes, "listing": _digest(listing)}
    done = _begin(out, plan, HEADER + n * 3 * recipe.size**2)
    if done is None:
        return json.loads((out / ABOUT).read_text(encoding="utf-8"))
    todo = [b for b in range(blocks) if b not in done]
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    start = (listing, recipe, str(out / IMAGES), rows)
    refused = sum(len(part["refused"]) for part in done.values())
    workers = workers or os.cpu_count() or 1
    with (
        ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=start) as pool,
        open(out / PROGRESS, "a", encoding="utf-8") as progress,
        Progress(n, "prepare", done=sum(min(rows, n - b * rows) for b in done)) as shown,
    ):
        try:
            for future in as_completed([pool.submit(_block, b) for b in todo]):
                part = future.result()
                done[part["block"]] = part
                progress.write(json.dumps(part) + "\n")
                progress.flush()
                os.fsync(progress.fileno())
                refused += len(part["refused"])
                shown.update(min(rows, n - part["block"] * rows), refused=refused)
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, OSError | BrokenProcessPool):
                lost = isinstance(error, BrokenProcessPool)
                why = "a worker process was killed" if lost else f"could not read or write ({error})"
                raise OSError(f"{out}: {why}; finished parts are kept, and the same command resumes") from error
            raise
    return _finish(listing, out, recipe, source, [done[b] for b in range(blocks)])


def _begin(out: Path, plan: dict[str, Any], size: int) -> dict[int, dict] | None:
    """The finished blocks; None if all are. Raises an error if ``out`` contains anything else."""
    out.mkdir(parents=True, exist_ok=True)
    known = _read_json(out / PLAN)
    if known is None and any(path for path in out.iterdir() if not path.name.startswith(f".{PLAN}")):
        raise FileExistsError(f"out must be a new or empty folder, or a prepared data set (got {out})")
    if known is not None and known != plan:
        changed = [key for key in plan if known.get(key) != plan[key]]
        differing = ", ".join(f"{key} was {_short(known.get(key))}, now {_short(plan[key])}" for key in changed)
        raise ValueError(f"out: {out} contains another data set or other settings ({differing}); choose another folder")
    images = out / IMAGES
    if known is not None and (out / ABOUT).is_file():
        if images.is_file() and images.stat().st_size == size and (out / LABELS).is_file():
            return None
        (out / ABOUT).unlink()  # a file has been deleted or cut: decode all images again
    if known is None or not images.is_file() or images.stat().st_size != size:
        free = shutil.disk_usage(out).free
        if size > free:
            raise OSError(f"out needs {size / 1e9:.1f} GB for {IMAGES}; {out} has {free / 1e9:.1f} GB free")
        (out / PROGRESS).unlink(missing_ok=True)
        write_json(out / PLAN, plan)  # first: it marks the folder as a data set in preparation
        shape = (plan["rows"], 3, plan["size"], plan["size"])
        store = np.lib.format.open_memmap(images, "w+", np.uint8, shape)
        if store.offset != HEADER:
            raise OSError(f"{images}: NumPy wrote a header of {store.offset} bytes (expected {HEADER})")
    done = {part["block"]: part for part in read_json_lines(out / PROGRESS)}
    write_json_lines(out / PROGRESS, done.values())  # without an incomplete last line: the next one is appended
    return done


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _short(value: Any) -> str:
    return f"{len(value)} names" if isinstance(value, list) else str(value)[:16]


def _digest(listing: Listing) -> str:
    digest = hashlib.sha256("\n".join(listing.names).encode(errors="surrogateescape"))
    digest.update(np.ascontiguousarray(listing.labels).data)
    return digest.hexdigest()[:16]


# ---------------------------------------------------------------------------------------------------------------------
# In the workers

_work: tuple[Listing, Recipe, str, int]


def _start(listing: Listing, recipe: Recipe, path: str, rows: int) -> None:
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process handles Ctrl-C
    _work = listing, recipe, path, rows
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """Ends this worker when the main process has died: SIGTERM to that process alone would leave it waiting."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _block(block: int) -> dict[str, Any]:
    """Decodes and writes one block -> its number, checksum, and the skipped images with reasons."""
    listing, recipe, path, rows = _work
    first = block * rows
    count = min(rows, len(listing.names) - first)
    images = np.zeros((count, 3, recipe.size, recipe.size), np.uint8)
    refused = []
    for i in range(count):
        try:
            images[i] = read_picture(
                listing.read(first + i), recipe.size, recipe.short_side, recipe.contrast_stretch, recipe.min_side
            )
        except DAMAGED as error:
            if not is_of_the_image(error):
                raise
            refused.append([first + i, " ".join((str(error) or repr(error)).split())[:200]])
    with open(path, "r+b") as file:
        file.seek(HEADER + first * images[0].nbytes)
        file.write(images.data)
        file.flush()
        os.fsync(file.fileno())
    return {"block": block, "digest": block_digest(images.tobytes()), "refused": refused}


# ---------------------------------------------------------------------------------------------------------------------


def _finish(listing: Listing, out: Path, recipe: Recipe, source: str, parts: list[dict]) -> dict[str, Any]:
    labels = listing.labels.astype(np.int32)
    unnamed = {int(row): "the row has no label" for row in np.flatnonzero(labels < 0)}
    refused = sorted((unnamed | {row: why for part in parts for row, why in part["refused"]}).items())
    for row, _ in refused:
        labels[row] = -1
    (out / REFUSED).write_text("".join(f"{listing.names[row]}\t{why}\n" for row, why in refused), encoding="utf-8",
                               errors="backslashreplace")  # fmt: skip
    if not (labels >= 0).any():
        (out / PROGRESS).unlink(missing_ok=True)  # so that the same command reads repaired files
        raise ValueError(f"source has no usable images (got {len(labels):,}); {out / REFUSED} lists the reasons; "
                         f"the same command reads images that have been repaired")  # fmt: skip
    counts = np.bincount(labels[labels >= 0], minlength=len(listing.classes))
    if not counts.all():
        empty = listing.classes[int(counts.argmin())]
        raise ValueError(f"source must have a usable image of every class (got none of {empty}; see "
                         f"{out / REFUSED}); repair or remove the class, and prepare it in another folder")  # fmt: skip
    np.save(out / LABELS, labels)
    about = {
        "source": source, **asdict(recipe), "rows": len(labels), "images": int((labels >= 0).sum()),
        "refused": len(refused), "classes": listing.classes,
        "counts": counts.tolist(),
        "labels_sha256": sha256_of(out / LABELS),
        "blocks": [part["digest"] for part in parts],
    }  # fmt: skip
    write_json(out / ABOUT, about)
    (out / PROGRESS).unlink(missing_ok=True)
    return about


def verify(out: Path) -> str:
    """Raises ``ValueError`` if labels.npy or the checksum of a block has changed."""
    about, labels = read_about(str(out)), out / LABELS
    if not labels.is_file():
        raise ValueError(f"{labels}: the file is missing; {AGAIN}")
    if sha256_of(labels) != about["labels_sha256"]:
        raise ValueError(f"{labels}: the file has changed since it was written; {AGAIN}")
    if damaged := damaged_blocks(out, about):
        raise ValueError(f"{out / IMAGES}: {changed_blocks(damaged)}; {AGAIN}")
    return f"{out}: all checksums match"
