"""Progress of long work on stderr: a bar on a terminal, else a line after ten seconds and then every minute."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

FIRST, EVERY = 10.0, 60.0  # seconds until the first line, and between lines


class Progress:
    """A context manager.

    Args:
        total: how many items there are.
        name: of the work.
        items: what is counted, in the plural.
        done: items that an earlier call finished.
    """

    def __init__(self, total: int, name: str, items: str = "images", done: int = 0):
        self.bar = tqdm(total=total, initial=done, desc=name, unit=f" {items}", leave=False, disable=None)
        self.total, self.name, self.items = total, name, items
        self.done, self.first, self.start = done, done, time.monotonic()
        self.due = self.start + FIRST

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.bar.close()

    def update(self, n: int, **values: int) -> None:
        """``n``: how many more items are done. ``values``: are shown too."""
        self.bar.update(n)
        self.bar.set_postfix(values)  # pyright: ignore[reportUnknownMemberType]
        self.done += n
        now = time.monotonic()
        if self.bar.disable and now >= self.due and self.done < self.total:
            self.due = now + EVERY
            left = (now - self.start) / (self.done - self.first) * (self.total - self.done)
            more = "".join(f", {value:,} {key}" for key, value in values.items())
            print(
                f"{self.name}: {self.done:,} of {self.total:,} {self.items}{more}, {time_left(left)}", file=sys.stderr
            )


def time_left(seconds: float) -> str:
    hours, minutes = seconds / 3600, max(round(seconds / 60), 1)
    return f"{hours:.1f} hours left" if hours >= 1 else f"{minutes} min left"
