"""The project's names on GitHub and the Hugging Face Hub, and parts of messages: similar names, plurals, errors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

OWNER = "sngan-hub"  # on GitHub
REPOSITORY = f"{OWNER}/sngan-hub"
NAMESPACE = "sngan-hub"  # on the Hugging Face Hub


def nearest(name: str, names: Iterable[str], spelling: Mapping[str, str] | None = None) -> str:
    """The end of an error message about an unknown name: the similar names, or all names if none is similar.

    ``spelling``: the form to print of each of ``names``, if it differs from the form to compare.
    """
    spelling = spelling or {}
    names = list(dict.fromkeys(names))
    close = [spelling.get(other, other) for other in difflib.get_close_matches(name, names, 3, 0.5)]
    if close:
        return f"; the nearest {'is' if len(close) == 1 else 'are'} {', '.join(close)}"
    names = [spelling.get(other, other) for other in names]
    return f"; choose one of {', '.join(names[:30])}" + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def plural(n: int, one: str, many: str = "") -> str:
    """``1 image``, ``2,000 images``. ``many``: by default ``one`` with an s."""
    return f"{n:,} {one if n == 1 else many or f'{one}s'}"


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or the error's type if it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def printed(machine: str) -> str:
    """The name of a machine as pages and commands print it. Records store ``1 threads``, and compare these names."""
    return re.sub(r"\b1 threads\b", "1 thread", machine)
