"""A run's progress on stderr: a bar on a terminal, else a line after ten seconds and then every minute."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

FIRST, EVERY = 10.0, 60.0  # seconds until the first line, and between lines


class Progress:
    """``shown`` is False on all processes but the first."""

    def __init__(self, total: int, step: int, shown: bool):
        self.bar = tqdm(total=total, initial=step, unit="step", disable=None if shown else True)
        self.as_lines = shown and self.bar.disable
        self.total, self.first, self.start, self.last = total, step, time.monotonic(), time.monotonic()
        self.values, self.every = "", FIRST

    def update(self, step: int) -> None:
        """``step``: how many steps are done."""
        self.bar.update()
        now = time.monotonic()
        if self.as_lines and now - self.last >= self.every:
            self.last, self.every = now, EVERY
            each = (now - self.start) / (step - self.first)
            left = each * (self.total - step)
            shown = f"{left / 3600:.1f} hours" if left >= 3600 else f"{max(round(left / 60), 1)} min"
            print(f"step {step:,} of {self.total:,}, {each:.3g} s per step, {shown} left{self.values}", file=sys.stderr)

    def say(self, **values: float) -> None:
        """The newest values, beside the bar or in the next line."""
        self.bar.set_postfix({key: f"{value:.2f}" for key, value in values.items()})
        self.values = "".join(f", {key} {value:.2f}" for key, value in values.items())

    def close(self) -> None:
        self.bar.close()
