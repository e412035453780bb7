"""Loads the images of a run: as it trains on them, and at its networks' size, to compare with generated images."""

from __future__ import annotations

import json

import numpy as np

from sngan_hub.data import Images, load_images
from sngan_hub.data.images import Rows

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
    """The images of ``config.data`` at ``size`` px, and whether they are not those that a run was trained on.

    If they are not, other images are held out than then.

    Args:
        fingerprint: of those, see ``stored_fingerprint``; empty if it is not known, and the second result is False.
        config: of the run.
        size: of the network.

    Raises:
        ValueError: if they are damaged.
        FileNotFoundError: if they are missing.
    """
    if not fingerprint:
        return whole_images(config, size), False
    data, order = stored_images(config, size, []), json.loads(config.class_order)
    if order and sorted(order) != sorted(data.classes):
        return at_size(data, size), True
    changed = (data.in_order(order) if order else data).fingerprint() != fingerprint
    return at_size(data, size), changed


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
