"""Computes features of many batches on one or several devices, in order, and keeps long computations on disk.

A batch is a task: a function that a worker calls with its own copies of the networks. Batches depend on their image
numbers alone, so the result is the same for any number of workers. Workers are threads: PyTorch computes without the
interpreter's lock, on GPUs and on the CPU, where each worker gets its share of the threads.
"""

# torch.from_numpy has no types:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..files import write_array
from ..progress import Progress
from .inception import features_of

SAVE_EVERY = 60  # seconds, or RARELY times the last save's duration: a million features are 8 GB
RARELY = 20


class Worker(NamedTuple):
    """What one worker computes with; workers of the same device share it."""

    generator: Any
    network: Any  # Inception


Task = Callable[[Worker], "np.ndarray | Tensor"]  # -> a batch of uint8 images


@contextmanager
def without_tf32() -> Generator[None, None, None]:
    """GPUs compute convolutions and products (the resize) in float32, not in TF32: features then agree with a CPU's."""
    places: Any = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = False
    try:
        yield
    finally:
        for place, allowed in zip(places, before, strict=True):
            place.allow_tf32 = allowed


def extract(
    workers: Sequence[Worker],
    tasks: Sequence[Task],
    total: int,
    name: str = "features",
    precision: str = "fp32",
    store: Path | None = None,
    known: Tensor | None = None,
) -> Tensor:
    """The features of all tasks' images, in the order of the tasks.

    Args:
        workers: each computes one batch at a time.
        tasks: make the batches.
        total: images of all tasks, for the progress.
        name: of the work, for the progress.
        precision: see ``features_of``.
        store: a .npy file that is written every minute (a large one less often) and at the end, so that an interrupted
            computation resumes.
        known: features that stand before those of the tasks.

    Returns:
        float32 (N, F) on the CPU: ``known``, then the new ones.
    """
    kept = 0 if known is None else len(known)
    table: Tensor | None = None  # for all rows: batches kept apart would scatter over the memory that the network uses
    done, due = kept, time.monotonic() + SAVE_EVERY

    def save() -> float:
        """Returns the time at which the next save is due."""
        assert store is not None and table is not None
        start = time.monotonic()
        store.parent.mkdir(parents=True, exist_ok=True)
        stored = load_stored(store)  # of the same sequence, perhaps by another process that started after this one
        if stored is None or len(stored) < done:
            write_array(store, table[:done].numpy())
        end = time.monotonic()
        return end + max(SAVE_EVERY, RARELY * (end - start))

    with without_tf32(), Progress(total, name) as progress:
        try:
            for part in _in_order(workers, tasks, precision):
                if table is None:
                    table = torch.empty(kept + total, part.shape[1])
                    if known is not None:
                        table[:kept] = known
                table[done : done + len(part)] = part
                done += len(part)
                progress.update(len(part))
                if store and time.monotonic() > due:
                    due = save()
        except KeyboardInterrupt:
            if store and done > kept:
                save()
            raise
    assert table is not None and done == len(table), "the tasks make as many images as total says"
    if store:
        save()
    return table


def load_stored(store: Path | None) -> Tensor | None:
    """What ``extract`` kept in a file: (N, F), read when it is used; None if there is none."""
    if store is None or not store.is_file():
        return None
    return torch.from_numpy(np.load(store, mmap_mode="c", allow_pickle=False))


def _in_order(workers: Sequence[Worker], tasks: Sequence[Task], precision: str) -> Iterator[Tensor]:
    if len(workers) == 1:
        for task in tasks:
            yield features_of(workers[0].network, task(workers[0]), precision)
        return
    free: SimpleQueue[Worker] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def compute(task: Task) -> Tensor:
        worker = free.get()
        try:
            return features_of(worker.network, task(worker), precision)
        finally:
            free.put(worker)

    with _shared_threads(len(workers)), ThreadPoolExecutor(len(workers)) as pool:
        waiting: deque[Future[Tensor]] = deque()
        try:
            for task in tasks:
                waiting.append(pool.submit(compute, task))
                if len(waiting) >= 2 * len(workers):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _shared_threads(workers: int) -> Generator[None, None, None]:
    """Each worker uses its share of PyTorch's threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // workers))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
