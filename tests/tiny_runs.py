"""Runs of a tiny network on invented images."""

import numpy as np
import pytest

from sngan_hub.data import Images
from sngan_hub.networks.registry import MODELS, Model
from training.config.schema import make_config

SMALL = dict(
    n_dis=1, batch_size=4, g_batch_size=4, ema_decay=0.0, augment="", precision="fp32", channels_last=False,
    transition_from=0, transition_to=0, decay_from=50, decay_to=50, log_every=1, checkpoint_every=2, snapshot_every=4,
    sample_every=100, spectrum_every=0, threads=1, steps=6,
)  # fmt: skip


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(MODELS, "sngan_tiny", Model(32, 2, {"widths": [8, 8, 4, 4]}, {"widths": [4, 4, 8, 8]}))


def some_data(n=40, size=32, classes=2):
    images = np.random.default_rng(0).integers(0, 256, (n, 3, size, size), dtype=np.uint8)
    return Images(images, np.arange(n) % classes, [f"c{i}" for i in range(classes)])


def settings(out, **overrides):
    return make_config("fashion32", **{**SMALL, "architecture": "sngan_tiny", "out": str(out), **overrides})
