"""Real images in the order of the samples: classes matched by name, and taken in turn."""

# torch.from_numpy and ndarray methods have no types, or not for all that they take:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import numpy as np

from ..class_names import without_synsets
from ..data import Images


def by_name(data: Images) -> Images:
    """Folders that are named as ImageNet's synsets get the classes' names, as ``prepare`` gives them."""
    return data._replace(classes=without_synsets(data.classes))


def in_order_of(data: Images, names: list[str], source: str) -> Images:
    """``data`` with its classes in the order of ``names``. Raises ``ValueError`` where it has other classes."""
    check_classes(data.classes, names, source)
    return data.in_order(names)


def check_classes(classes: list[str], names: list[str], source: str) -> None:
    """Raises ``ValueError`` unless data and model have the same classes, in any order."""
    ours, theirs = sorted(set(names) - set(classes)), sorted(set(classes) - set(names))
    if ours or theirs:
        raise ValueError(f"data: the classes of {source} differ from those of the model: {len(theirs)} not in the "
                         f"model ({', '.join(theirs[:3])}), {len(ours)} only in the model ({', '.join(ours[:3])}); "
                         f"rename the class folders to the class names of the model")  # fmt: skip


def of_classes(data: Images, classes: np.ndarray, n: int) -> Images:
    """The first ``n`` images of each of these classes, which become 0, 1, 2 ..., in memory."""
    rows = np.concatenate([np.flatnonzero(data.labels == label)[:n] for label in classes])
    labels = np.searchsorted(classes, data.labels[rows])
    return Images(np.asarray(data.images[rows]), labels, [data.classes[label] for label in classes])


def interleaved(data: Images, n: int | None, balanced: bool = True) -> np.ndarray:
    """Indices c0 c1 ... c0 c1 ...: the k-th image of every class before the (k+1)-th, up to n in all (None: whole).

    Unless ``balanced``, a class that has no more is passed over.
    """
    counts = np.bincount(data.labels, minlength=len(data.classes))
    per_class = -(-(n or 0) // len(counts))
    if balanced and counts.min() < per_class:
        raise ValueError(
            f"data: every class must have at least {per_class} real images (got {counts.min()} in the smallest class)"
        )
    by_class = np.argsort(data.labels, kind="stable")
    rank = np.concatenate([np.arange(int(count)) for count in counts])
    return by_class[np.lexsort([data.labels[by_class], rank])][:n]
