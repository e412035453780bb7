"""Loads the images of a run: as it trains on them, and at its networks' size, to compare with generated images."""

from __future__ import annotations

import json
import sys

import numpy as np

from sngan_hub.data import Images, load_images
from sngan_hub.data.images import Rows
from sngan_hub.data.prepared import is_prepared, read_about

from ..config.schema import Config


def stored_images(config: Config, size: int, left_out: list[str] | None = None, split: str = "") -> Images:
    """The images that a run trains on, as they are stored: larger than the network's if ``stored_size`` says so.

    Args:
        config: of the run.
        size: of the network.
        left_out: damaged images of a folder are skipped and added to this list; None: they are an error.
        split: in place of the run's.
    """
    stretch = config.stretches_at_load(size)
    return load_images(config.data, split or config.split, config.stored_size or size, stretch, left_out)


def whole_images(config: Config, size: int, split: str = "") -> Images:
    """The same images at ``size`` px, without crops. Damaged ones are skipped.

    ``split``: in place of the run's.
    """
    return load_images(config.data, split or config.split, size, config.contrast_stretch, [])


def images_now(fingerprint: str, config: Config, size: int) -> tuple[Images, bool]:
    """The images of ``config.data`` as they are stored, and whether they are not those that a run was trained on.

    If they are not, other images are held out than then.

    Args:
        fingerprint: of those, see ``stored_fingerprint``; empty if it is not known, and the second result is False.
        config: of the run.
        size: of the network.

    Raises:
        ValueError: if they are damaged.
        FileNotFoundError: if they are missing.
    """
    data, order = stored_images(config, size, []), json.loads(config.class_order)
    if fingerprint and order and sorted(order) != sorted(data.classes):
        return data, True
    return data, bool(fingerprint) and (data.in_order(order) if order else data).fingerprint() != fingerprint


def like_training(source: str, split: str, training: Images, config: Config) -> Images:
    """Images of another source, read as ``training`` was, so that equal images are equal. Damaged ones are skipped."""
    size, stretch = training.images.shape[-1], config.stretches_at_load(config.size)
    if is_prepared(source):
        theirs, ours = read_about(source), {"size": size, "contrast_stretch": stretch, **training.made}
        unlike = [key for key in ("size", "short_side", "contrast_stretch") if theirs.get(key, 0) != ours.get(key, 0)]
        if unlike and theirs["size"] == size:  # other sizes are not compared at all, which is said there
            print(f"data: {source} was prepared with another {' and '.join(unlike)} than the training images, so equal "
                  f"images are not recognised", file=sys.stderr)  # fmt: skip
        return load_images(source, split, theirs["size"] if unlike else size)
    return load_images(source, split, size, stretch, left_out=[], recipe=training.made)


def as_generated(data: Images, config: Config, size: int) -> Images:
    """The images of a run at ``size`` px, as it generates them: stretched also where each batch is stretched."""
    if config.contrast_stretch and not config.stretches_at_load(size) and not is_prepared(config.data):
        return whole_images(config, size)
    return at_size(data, size)


def at_size(data: Images, size: int) -> Images:
    """The same images, resized when they are read if they are stored larger."""
    images = data.images
    if images.shape[-1] == size:
        return data
    store, index = (images.store, images.index) if isinstance(images, Rows) else (images, np.arange(len(images)))
    return data._replace(images=Rows(store, index, size), digest="")


def held_out_images(config: Config, size: int) -> Images:
    """The real images that a run was not trained on, at ``size`` px.

    Raises ``ValueError`` or ``FileNotFoundError`` if there are none.
    """
    if config.held_out == "none":
        raise ValueError("the run has no held-out images (held_out is none)")
    if config.test_folder:
        return load_images(config.test_folder, "all", size, config.contrast_stretch, [])
    return whole_images(config, size, "test")
