"""Calls a function many times, several at a time, in processes of their own that do not outlive their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

from ..engine.signals import stop_requests

PATIENCE = 60.0  # seconds that a call has to save its state when its parent has ended
_parent = 0  # in a worker: the process that started it


def made_beside(
    act: Callable[..., Any], calls: Sequence[tuple[Any, ...]], processes: int, logs: Sequence[Path]
) -> Iterator[Any]:
    """Results in the order in which the calls end.

    Args:
        act: a function of a module, so that a new process can import it.
        calls: its arguments, of each call.
        processes: how many calls run at a time.
        logs: for each call, the file to which its output is added.

    Raises:
        InterruptedError: after SIGTERM or Ctrl-C, when all running calls have ended.
        Exception: of the first call that fails; the running ones are stopped.
    """
    context = multiprocessing.get_context("spawn")  # a process with CUDA cannot be forked
    pool = ProcessPoolExecutor(processes, context, initializer=_follow, initargs=(os.getpid(),))
    waiting: set[Future[Any]] = set()
    ended = False
    try:
        with stop_requests() as stop:
            waiting = {pool.submit(_call, act, call, log) for call, log in zip(calls, logs, strict=True)}
            while waiting:
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                if stop:
                    raise InterruptedError("stopped; the same command resumes")
        ended = True
    finally:
        if not ended:
            _stop(pool, waiting)  # once: a second signal would end a call before it has saved its state
        pool.shutdown(cancel_futures=True)


def _call(act: Callable[..., Any], call: tuple[Any, ...], log: Path) -> Any:
    """``act`` in a worker, with what it prints in ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    before = sys.stdout, sys.stderr
    with open(log, "a", encoding="utf-8", buffering=1) as file:
        sys.stdout = sys.stderr = file
        try:
            return act(*call)
        finally:
            sys.stdout, sys.stderr = before
            if _parent and os.getppid() != _parent:
                os._exit(1)  # nobody waits for the result


def _follow(parent: int) -> None:
    """Runs in each new worker. Ctrl-C reaches the parent alone, which passes it on. A worker ends after its parent."""
    global _parent
    os.setsid()
    _parent = parent

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _stop(pool: ProcessPoolExecutor, waiting: set[Future[Any]]) -> None:
    """Cancels the calls that have not begun, and tells the others to save their state and end."""
    for future in waiting:
        future.cancel()
    for process in list((pool._processes or {}).values()):  # the executor offers no way to signal its processes
        if process.pid and process.is_alive():
            os.kill(process.pid, signal.SIGTERM)
