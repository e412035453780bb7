"""Real images in the order of the samples: classes matched by name, and taken in turn."""

# torch.from_numpy and ndarray methods have no types, or not for all that they take:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import numpy as np

from ..class_names import without_synsets
from ..data import Images
from ..data.images import Rows

GOLDEN = (5**0.5 - 1) / 2  # multiples of it, without their whole part, are spread evenly over 0 to 1


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


def like(data: Images, labels: np.ndarray) -> Images:
    """The first images of each class, as many as ``labels`` has (or as there are), in memory.

    ``data`` itself where it has no more images than ``labels``, or where its first ones in turn are of these classes.
    """
    n, k = len(labels), len(data.classes)
    wanted = np.bincount(labels, minlength=k)
    in_turn = np.bincount(data.labels[interleaved(data, n, balanced=False)], minlength=k)
    if len(data.labels) <= n or np.array_equal(wanted, in_turn):
        return data
    rows = np.concatenate([np.flatnonzero(data.labels == label)[:count] for label, count in enumerate(wanted)])
    return Images(np.asarray(data.images[rows]), data.labels[rows], data.classes)


def mixed(data: Images) -> Images:
    """The same images in the order of ``in_shares``, as one class."""
    if len(data.classes) == 1:
        return data.as_one_class()
    order, rows = in_shares(data), data.images
    images = Rows(rows.store, rows.index[order], rows.size) if isinstance(rows, Rows) else rows[order]
    return data._replace(images=images, digest=data.digest and f"{data.digest}-mixed").as_one_class()


def in_shares(data: Images) -> np.ndarray:
    """Indices of all images, of which the first n have the classes in their shares of the whole, for any n.

    For classes of one size, this is the order of ``interleaved``.
    """
    counts = np.bincount(data.labels, minlength=len(data.classes))
    if counts.min() == counts.max():
        return interleaved(data, None)
    by_class = np.argsort(data.labels, kind="stable")
    return by_class[np.argsort(np.arange(len(by_class)) * GOLDEN % 1)]


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
