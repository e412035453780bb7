"""Names: where the project lives, and what to answer to one that nobody has."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

OWNER = "sngan-hub"  # on GitHub
REPOSITORY = f"{OWNER}/sngan-hub"
NAMESPACE = "sngan-hub"  # on the Hugging Face Hub


def nearest(name: str, names: Iterable[str]) -> str:
    """``; nearest are ...`` for an error about an unknown name, or the legal names where none is near."""
    names = list(names)
    close = difflib.get_close_matches(name, names, 3, 0.5)
    if close:
        return f"; nearest are {', '.join(close)}"
    return f"; legal are {', '.join(names[:30])}" + (f" and {len(names) - 30} more" if len(names) > 30 else "")


def resolve_classes(classes: Sequence[str | int] | str | int, names: list[str] | None, n_classes: int) -> list[int]:
    """Names (in any case) or indices -> indices. Raises ``ValueError`` with the nearest names."""
    if not n_classes:
        raise ValueError("classes: this generator is unconditional and takes none")
    if isinstance(classes, str | int):
        classes = [classes]
    if not len(classes):
        raise ValueError("classes: got none; leave them out for all classes, or name at least one")
    by_name = {name.lower(): i for i, name in enumerate(names or [])}
    indices = []
    for given in classes:
        index = by_name.get(str(given).lower())
        if index is None:
            try:
                index = int(given)
            except ValueError:
                lowered = str(given).lower()
                close = nearest(lowered, by_name) if names else ""
                raise ValueError(f"classes: no class {given!r}{close}; or an index, 0 to {n_classes - 1}") from None
            if not 0 <= index < n_classes:
                raise ValueError(f"classes: got index {index}, legal is 0 to {n_classes - 1}")
        indices.append(index)
    return indices
