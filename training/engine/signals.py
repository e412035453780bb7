"""Stops a run on SIGTERM or Ctrl-C: the first saves the state after the current step, a second one stops at once."""

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
        signal.signal(number, before[number])

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, handle)
    try:
        yield came
    finally:
        for number, old in before.items():
            signal.signal(number, old)
