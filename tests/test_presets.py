"""Presets at work: the authors' crops, batches computed ahead, all of them at full width, and the SN paper's table."""

import json
import math
import sys

import numpy as np
import pytest
import torch

from sngan_hub import load_discriminator, load_generator
from sngan_hub.networks.registry import MODELS
from training.config.schema import METHODS, PRESETS, SETTINGS, make_config
from training.engine import step as game
from training.engine.loop import train
from training.engine.state import new_state
from training.feed.draws import crop_offsets, random_crops
from training.feed.feed import Feed, new_feed
from training.monitor.log import read_lines

from . import tiny_runs
from .conftest import real_batch
from .test_resume import equal
from .tiny_runs import settings, some_data

tiny = tiny_runs.tiny


# The authors' crops, and batches computed ahead


def test_random_crops_are_where_the_authors_put_them():
    pixels = np.zeros((4000, 3, 20, 20), np.uint8)
    pixels[:, 0] = np.arange(20)[:, None] * 10
    pixels[:, 1] = np.arange(20)[None] * 10
    rng = np.random.default_rng(0)
    crops = random_crops(pixels, crop_offsets(rng, 4000, 20, 0.9), np.zeros(4000, bool), 0.9, 18, False)
    assert crops.shape == (4000, 3, 18, 18)
    tops, lefts = crops[:, 0, 0, 0] // 10, crops[:, 1, 0, 0] // 10
    assert set(tops.tolist()) == set(lefts.tolist()) == {0, 1}  # 0 .. 20 - 18 - 1: never the last offset
    assert abs(np.corrcoef(tops, lefts)[0, 1]) < 0.1
    offsets = crop_offsets(rng, 2, 20, 1.0)
    whole = random_crops(pixels[:2], offsets, np.array([False, True]), 1.0, 20, False)
    assert np.array_equal(whole[0], pixels[0]) and np.array_equal(whole[1], pixels[1][..., ::-1])


def test_stored_images_are_cropped_to_the_networks_size(tmp_path):
    data = some_data(size=48)
    config = settings(tmp_path, stored_size=48, crop=0.9, flip=True, contrast_stretch=True)
    feed = Feed(data, config, 32)
    x = feed.iteration(3).real[0].images()
    assert x.shape == (4, 3, 32, 32) and -1 <= x.min() and x.max() < 1
    assert torch.equal(x, real_batch(data, 0, 3, 4, True, 0.9, 32, True)[0])
    feed.close()
    assert train(config, data).step == 6


def test_batches_computed_ahead_are_the_batches():
    data = some_data()
    feed = Feed(data, settings(""), 32, ahead=3)
    for position in (0, 1, 2, 7, 8, 3):  # in order, after a leap, and back
        real = feed.iteration(position).real[0]
        x, y = real.images(), real.labels
        expected = real_batch(data, 0, position, 4)
        assert torch.equal(x, expected[0]) and torch.equal(y, expected[1])
        assert len(feed.coming) <= 8
    feed.close()


#: Of presets that differ in their schedules alone, one
DISTINCT = {(p["architecture"], p.get("conditioning"), p.get("crop")): name for name, p in PRESETS.items()
            if name not in ("celeba128", "lsun128")}  # fmt: skip


def by_size(preset):
    """Full width from 64 px on is for make test-slow."""
    large = MODELS[PRESETS[preset]["architecture"]].size >= 64
    return pytest.param(preset, marks=pytest.mark.slow if large else ())


@pytest.mark.parametrize("preset", list(map(by_size, DISTINCT.values())))
def test_two_iterations_of_every_preset_at_full_width(preset, tmp_path):
    """A few images at a time; the whole batches are benchmarks/presets.py's."""
    from accelerate import Accelerator

    config = make_config(preset, batch_size=2, g_batch_size=2, bn_group_d=0, bn_group_g=0, n_dis=1, channels_last=True)
    model = MODELS[config.architecture]
    classes = config.n_classes or 10
    data = some_data(2 * classes, config.stored_size or model.size, classes)
    state = new_state(config, data.classes)
    before = {k: v.clone() for n in (state.generator, state.discriminator) for k, v in n.named_parameters()}
    feed = new_feed(data, config, state, Accelerator(cpu=True))
    for _ in range(2):
        losses = game.train_step(state, config, feed, Accelerator(cpu=True))
    feed.close()
    assert all(math.isfinite(float(value)) for value in losses.values()) and state.step == 2
    after = {k: v for n in (state.generator, state.discriminator) for k, v in n.named_parameters()}
    moved = [k for k in before if not torch.equal(before[k], after[k])]
    assert len(moved) >= len(before) - 1  # all but the class tables' unused rows, which share a tensor with used ones
    assert all(torch.isfinite(p).all() for p in after.values())


# The SN paper's table


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_the_paper_trains_and_its_networks_are_loaded_by_everyone(method, tmp_path):
    config = make_config(
        "cnn_cifar10", setting="A", method=method, steps=2, batch_size=4, g_batch_size=4, threads=1, out=str(tmp_path),
        generator_fields='{"width": 16}', spectrum_every=2,
    )  # fmt: skip
    fields = {**json.loads(config.discriminator_fields), "widths": [4, 4, 8, 8, 8, 8, 8]}
    config = make_config(
        "cnn_cifar10", setting="A", method=method, steps=2, batch_size=4, g_batch_size=4, threads=1, out=str(tmp_path),
        generator_fields='{"width": 16}', discriminator_fields=json.dumps(fields), spectrum_every=2,
    )  # fmt: skip
    state = train(config, some_data())
    assert state.step == 2 and state.opt_d.state[next(state.discriminator.parameters())]["step"] == 10
    g, d = load_generator(tmp_path), load_discriminator(tmp_path)
    assert equal(dict(g.state_dict()), dict(state.generator.state_dict()))
    assert d.config["normalizer"] == fields["normalizer"]
    assert g.sample(n=3, seed=1).shape == (3, 3, 32, 32)
    fast = g.for_sampling().sample(n=3, seed=1)
    assert (fast.int() - g.sample(n=3, seed=1).int()).abs().max() <= 1
    if method == "weight_clipping":
        assert max(p.abs().max() for p in state.discriminator.parameters()) <= 0.01
    if method == "orthonormal":
        start = new_state(config, ["c0", "c1"]).discriminator
        w = start.convs[3].weight.detach().flatten(1)
        assert torch.allclose(w @ w.t(), torch.eye(len(w)), atol=1e-5)
    assert read_lines(tmp_path / "spectrum.jsonl")[-1]["step"] == 2


def test_the_papers_settings():
    table = {"A": (1e-4, 0.5, 0.9, 5), "B": (1e-4, 0.5, 0.999, 1), "C": (2e-4, 0.5, 0.999, 1),
             "D": (1e-3, 0.5, 0.9, 5), "E": (1e-3, 0.5, 0.999, 5), "F": (1e-3, 0.9, 0.999, 5)}  # fmt: skip
    assert table.keys() == SETTINGS.keys()
    for name, expected in table.items():
        for preset in ("cnn_cifar10", "cnn_stl10"):
            c = make_config(preset, setting=name)
            assert (c.lr_g, c.beta1, c.beta2, c.n_dis) == expected and c.lr_d == c.lr_g
            assert (c.steps, c.batch_size, c.g_batch_size, c.loss) == (100_000, 64, 64, "non_saturating")
    assert make_config("cnn_cifar10", setting="F", lr_g=5e-5).lr_g == 5e-5  # what is said outright comes last
    c = make_config("cnn_cifar10", method="wgan_gp")
    assert (c.loss, c.penalty, c.penalty_weight) == ("wasserstein", "gradient", 10.0)
    assert json.loads(make_config("cnn_cifar10", method="layer_norm").discriminator_fields) == {"normalizer": "layer"}


def test_batch_norm_in_the_discriminator_sees_real_and_fake_apart():
    """Running statistics would move once for a mixed batch; and a shift of the fakes must not touch the real score."""
    config = make_config("cnn_cifar10", method="batch_norm", batch_size=4, g_batch_size=4)
    state = new_state(config, ["a"])
    seen = []
    state.discriminator.norms[1].register_forward_hook(lambda m, x, y: seen.append(len(x[0])))
    from accelerate import Accelerator

    feed = new_feed(some_data(), config, state, Accelerator(cpu=True))
    game.train_step(state, config, feed, Accelerator(cpu=True))
    assert seen == [4, 4, 4]  # G's fakes, then real, then fake
    assert int(state.discriminator.norms[1].num_batches_tracked) == 3


def test_a_command_trains_a_cnn_and_says_what_it_trains(tmp_path, image_folder, capsys):
    from training.__main__ import main

    flags = {"preset": "cnn_cifar10", "setting": "B", "method": "weight_norm", "data": image_folder, "out": tmp_path / "run",
             "steps": 1, "batch_size": 2, "g_batch_size": 2}  # fmt: skip
    assert main(["train", "--verbose", *(f"--{k}={v}" for k, v in flags.items())]) == 0
    said = capsys.readouterr().err
    assert "data: 36 images of 32 px in 2 classes" in said and '{"normalizer": "weight"}' in said
    assert sys.version_info and load_generator(tmp_path / "run").size == 32
