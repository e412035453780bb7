"""Runs calls of a function in several processes, which end when their parent ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..engine.signals import stop_requests

PATIENCE = 60.0  # seconds that a call has to save its state when its parent has ended
EVERY = 0.3  # seconds between two checks of whether the calls must end

# In a worker
_parent = 0  # the process that started it
_stop_requested: Any = None  # its value is not 0 when the calls must end
_may_save = False  # whether there is a call, which may have a state to save


def run_in_processes(
    act: Callable[..., Any], calls: Sequence[tuple[Any, ...]], processes: int, logs: Sequence[Path]
) -> Iterator[Any]:
    """Results in the order in which the calls end.

    When calls are stopped, each gets one SIGTERM, in a block of ``stop_requests``, and may take the time to save its
    state. A call that is in a block of ``nothing_to_save`` ends at once.

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
    stop_requested = context.RawValue("b", 0)  # without a lock, which a killed worker could hold
    pool = ProcessPoolExecutor(processes, context, initializer=_follow, initargs=(os.getpid(), stop_requested))
    try:
        with stop_requests() as stop:
            waiting = {pool.submit(_call, act, call, log) for call, log in zip(calls, logs, strict=True)}
            while waiting:
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
                if stop:
                    raise InterruptedError("stopped; the same command resumes")
    except BaseException:
        stop_requested.value = 1
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def nothing_to_save() -> Iterator[None]:
    """A part of a call that may be killed when the calls are stopped. Without effect outside of a worker."""
    global _may_save
    before, _may_save = _may_save, False
    try:
        yield
    finally:
        _may_save = before


def _call(act: Callable[..., Any], call: tuple[Any, ...], log: Path) -> Any:
    """``act`` in a worker, with what it prints in ``log``."""
    global _may_save
    if _must_end():  # the pool hands out calls that it had queued before
        raise InterruptedError("stopped before it began")
    log.parent.mkdir(parents=True, exist_ok=True)
    before = sys.stdout, sys.stderr
    with open(log, "a", encoding="utf-8", buffering=1) as file:
        sys.stdout = sys.stderr = file
        _may_save = True
        try:
            return act(*call)
        finally:
            _may_save = False
            sys.stdout, sys.stderr = before


def _follow(parent: int, stop_requested: Any) -> None:
    """Runs in each new worker, which ends when its parent has ended.

    Ctrl-C reaches the parent alone, which then sets ``stop_requested``.
    Outside of ``stop_requests``, SIGTERM does nothing, also after the first one there, while a state is saved: when one
    worker has ended, the pool sends it to all others.
    """
    global _parent, _stop_requested
    os.setsid()
    _parent, _stop_requested = parent, stop_requested
    signal.signal(signal.SIGTERM, _do_nothing)  # processes that a call starts would inherit SIG_IGN
    threading.Thread(target=_watch, daemon=True).start()


def _do_nothing(number: int, frame: object) -> None:
    pass


def _must_end() -> bool:
    return bool(_stop_requested.value) or os.getppid() != _parent


def _watch() -> None:
    """Ends the worker when it must end and has nothing to save; before, asks its call to save."""
    while not _must_end():
        time.sleep(EVERY)
    left = PATIENCE
    while _may_save and left > 0:
        if signal.getsignal(signal.SIGTERM) is not _do_nothing:  # else not yet, or no more, in stop_requests
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(EVERY)
        left -= EVERY if os.getppid() != _parent else 0
    os._exit(1)
