"""Names: where the project lives, and what to answer to one that nobody has."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

OWNER = "sngan-hub"  # on GitHub
REPOSITORY = f"{OWNER}/sngan-hub"
NAMESPACE = "sngan-hub"  # on the Hugging Face Hub


def nearest(name: str, names: Iterable[str]) -> str:
    """``; nearest are ...`` for an error about an unknown name, or the legal names where none is near."""
    names = list(dict.fromkeys(names))
    close = difflib.get_close_matches(name, names, 3, 0.5)
    if close:
        return f"; nearest are {', '.join(close)}"
    return f"; legal are {', '.join(names[:30])}" + (f" and {len(names) - 30} more" if len(names) > 30 else "")
