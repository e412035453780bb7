"""A run's progress on stderr: a bar on a terminal, else lines, with the newest losses."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

from sngan_hub.progress import EVERY, FIRST, time_left


class RunProgress:
    """``shown`` is False on all processes but the first."""

    def __init__(self, total: int, step: int, shown: bool):
        self.bar = tqdm(total=total, initial=step, unit="step", disable=None if shown else True)
        self.as_lines = shown and self.bar.disable
        self.total, self.start = total, time.monotonic()
        self.last, self.values, self.every = self.start, "", FIRST
        #: (step, time) after the first iteration, which may compile and would distort the time left
        self.counted_from: tuple[int, float] | None = None

    def update(self, step: int) -> None:
        """``step``: how many steps are done."""
        self.bar.update()
        now = time.monotonic()
        if self.as_lines and now - self.last >= self.every:
            self.last, self.every = now, EVERY
            print(f"step {step:,} of {self.total:,}, {self._rate(step, now)}{self.values}", file=sys.stderr)
        if self.counted_from is None:
            self.counted_from = step, now

    def _rate(self, step: int, now: float) -> str:
        if self.counted_from is None:
            return f"{now - self.start:.3g} s for the first step"
        first, start = self.counted_from
        each = (now - start) / (step - first)
        return f"{each:.3g} s per step, {time_left(each * (self.total - step))}"

    def say(self, **values: float) -> None:
        """The newest values, beside the bar or in the next line."""
        self.bar.set_postfix({key: f"{value:.2f}" for key, value in values.items()})
        self.values = "".join(f", {key} {value:.2f}" for key, value in values.items())

    def close(self) -> None:
        self.bar.close()
