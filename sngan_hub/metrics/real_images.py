"""The real images that samples are compared with: test and training images, their classes in the generator's order."""

from __future__ import annotations

import sys
from functools import cached_property

import numpy as np

from ..class_names import without_synsets
from ..data import Images, NoTestSplit, load_images, source_classes
from .references import by_name, check_classes, in_order_of, in_shares, interleaved, like, mixed

HELD_OUT = 1000  # samples of kid1k_held_out


class RealImages:
    """Each set is read when it is first asked for; the test images at once, as they give the classes.

    Args:
        source: as ``load_images`` reads it.
        held_out: a folder of test images apart from ``source``, of which all images are training images then.
        size: side of the images in pixels.
        stretch: whether images of folders get stretched contrast, as the generator's training images did.

    Raises:
        FileNotFoundError: if the data are missing.
    """

    def __init__(self, source: str, held_out: str, size: int, stretch: bool):
        self.source, self.held_out, self.size, self.stretch = source, held_out, size, stretch
        self.n_classes = 0
        self._left_out: set[str] = set()
        self._digests: dict[str, str] = {}
        try:
            self._test = by_name(self._load(held_out, "all") if held_out else self._load(source, "test"))
            self.classes = self._test.classes
        except NoTestSplit as error:  # some protocols need none
            self._test, self.classes = error, without_synsets(source_classes(source))

    def match(self, n_classes: int, names: list[str] | None) -> None:
        """Orders the classes as the generator's. ``names``: of its classes; None if it has none.

        Raises ``ValueError`` if the classes of the data are not those of the generator.
        """
        source = self.held_out or self.source
        self.n_classes = n_classes
        if n_classes and len(self.classes) != n_classes:
            raise ValueError(f"data: {source} must have {n_classes} classes, as the model (got {len(self.classes)})")
        if n_classes == 1:  # of any name: a folder of images alone is a class of the folder's name
            self.classes = without_synsets(names or self.classes)
        elif n_classes and names:
            own = without_synsets(names)
            check_classes(self.classes, own, source)
            self.classes = own
        elif n_classes > 1:
            print(f"the model has no class names; its class i is compared with class i of {source} "
                  f"(from {self.classes[0]} to {self.classes[-1]})", file=sys.stderr)  # fmt: skip
        if not isinstance(self._test, NoTestSplit):
            self._test = self._matched(self._test, source)

    @property
    def n_test(self) -> int:
        """How many test images there are; 0 if the data have no test split."""
        return 0 if isinstance(self._test, NoTestSplit) else len(self._test.images)

    @property
    def test(self) -> Images:
        """Raises ``NoTestSplit`` if the data have none."""
        if isinstance(self._test, NoTestSplit):
            raise self._test
        return self._test

    @cached_property
    def train(self) -> Images:
        return self._training_images(squash=False)

    @cached_property
    def squashed(self) -> Images:
        """The training images resized whole to the square, as the authors' reference of intra-FID."""
        return self._training_images(squash=True)

    @cached_property
    def train_like_test(self) -> Images:
        """Training images whose first 1,000 in turn have the classes of samples with ``own_labels``."""
        return like(self.train, np.resize(self.own_labels, HELD_OUT))

    @cached_property
    def own_labels(self) -> np.ndarray:
        """The classes of the test images, in turn; of more images than samples, the first have the classes' shares."""
        few = len(self.test.labels) <= HELD_OUT
        return self.test.labels[interleaved(self.test, None, balanced=False) if few else in_shares(self.test)]

    def split(self, name: str) -> Images:
        """``name``: test, train, train_like_test or squashed."""
        return getattr(self, name)

    def sha256(self, name: str) -> str:
        """The hash of a split's pixels and labels; for a prepared data set, the digits that its file states."""
        if name not in self._digests:
            self._digests[name] = self.split(name).sha256()
        return self._digests[name]

    def _training_images(self, squash: bool) -> Images:
        split = "all" if self.held_out else "train"
        return self._matched(by_name(self._load(self.source, split, squash)), self.source)

    def _matched(self, data: Images, source: str) -> Images:
        """``data`` with the classes of the samples; as one class if the samples have none, or one of another name."""
        if self.n_classes < 2 and sorted(data.classes) != sorted(self.classes):
            whole = mixed(data)
            return whole._replace(classes=self.classes) if len(self.classes) == 1 else whole
        return in_order_of(data, self.classes, source)

    def _load(self, source: str, split: str, squash: bool = False) -> Images:
        """The images that can be read; prints how many others are left out, once for each of them."""
        damaged: list[str] = []
        data = load_images(source, split, self.size, self.stretch, damaged, squash)
        if new := [line for line in damaged if line not in self._left_out]:
            self._left_out |= {*new}
            more = f"; and {len(new) - 3:,} more" if len(new) > 3 else ""
            print(f"data: {len(new):,} damaged image(s) of {source} are left out: {'; '.join(new[:3])}{more}",
                  file=sys.stderr)  # fmt: skip
        return data
