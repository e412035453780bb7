"""Stops a run on SIGTERM or Ctrl-C: the state is saved after the current step. A second Ctrl-C stops at once.

A second SIGTERM does not: torchrun passes on the one that a scheduler sends to all processes of a job, so that they
come twice. SIGKILL remains.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_requests() -> Iterator[list[str]]:
    """A list to which the name of a received signal is added. Always empty outside of the main thread."""
    came: list[str] = []
    before = {}

    def handle(number: int, frame: object) -> None:
        came.append(signal.Signals(number).name)
        if number == signal.SIGINT:
            signal.signal(number, before[number])

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, handle)
    try:
        yield came
    finally:
        for number, old in before.items():
            signal.signal(number, old)
