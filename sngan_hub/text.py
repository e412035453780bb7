"""The project's names on GitHub and the Hugging Face Hub, and suggestions for an unknown name in an error message."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

OWNER = "sngan-hub"  # on GitHub
REPOSITORY = f"{OWNER}/sngan-hub"
NAMESPACE = "sngan-hub"  # on the Hugging Face Hub


def nearest(name: str, names: Iterable[str]) -> str:
    """``; the nearest are ...``, which ends an error message about an unknown name; all names if none is similar."""
    names = list(dict.fromkeys(names))
    close = difflib.get_close_matches(name, names, 3, 0.5)
    if close:
        return f"; the nearest are {', '.join(close)}"
    return f"; choose one of {', '.join(names[:30])}" + (f" and {len(names) - 30} more" if len(names) > 30 else "")
