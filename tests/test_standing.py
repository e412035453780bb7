"""Standing statistics against the mean of batch statistics by hand; what they and truncation change is recorded."""

from functools import partial

import numpy as np
import pytest
import torch

from sngan_hub.layers.normalizers import BatchNorm2d
from sngan_hub.metrics import evaluation
from sngan_hub.metrics.protocols import Evaluation
from sngan_hub.metrics.standing import STREAM, standing_statistics
from sngan_hub.networks.resnet import Generator
from sngan_hub.sampling.generate import latents


def generator():
    torch.manual_seed(1)
    g = Generator(32, 2, widths=[8, 8, 4, 4], classes=["left", "right"])
    for _ in range(3):
        g(torch.randn(8, 128), torch.arange(8) % 2)
    return g.eval()


@pytest.mark.parametrize("truncation", [None, 0.5])
def test_they_are_the_means_of_the_statistics_of_batches(truncation):
    """Of the first batch norm, whose input needs no other statistics: the mean over batches, the variance unbiased."""
    g = generator()
    before = {key: value.clone() for key, value in g.state_dict().items()}
    found = standing_statistics(g, truncation, batches=5, batch_size=16)
    means, variances = [], []
    for i in range(5):
        z, _ = latents(0, 16 * i, 16, 128, 2, truncation, STREAM)
        x = g.l1(z).view(16, -1, 4, 4).detach().double().numpy()
        means.append(x.mean((0, 2, 3)))
        variances.append(x.var((0, 2, 3), ddof=1))
    assert np.allclose(found.blocks[0].b1.running_mean, np.mean(means, 0), atol=1e-5)
    assert np.allclose(found.blocks[0].b1.running_var, np.mean(variances, 0), atol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in g.state_dict().items()) and not g.training
    norms = [module for module in found.modules() if isinstance(module, BatchNorm2d)]
    assert all(norm.momentum == 0.1 and not norm.training for norm in norms)
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), g.parameters(), strict=True))


def test_truncated_latents_have_other_statistics():
    g = generator()
    wide, narrow = (standing_statistics(g, t, batches=4).blocks[0].b1.running_var for t in (None, 0.3))
    assert (narrow < wide).all()


def test_a_converted_generator_has_none_to_estimate():
    with pytest.raises(ValueError, match="standing statistics need a generator with batch norm, as loaded"):
        standing_statistics(generator().for_sampling())


def test_samples_use_them_and_the_result_says_so(monkeypatch, image_folder, tmp_path):
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(evaluation, "standing_statistics", partial(standing_statistics, batches=3))
    g = generator()
    stored, estimated, narrow = (
        Evaluation(g, str(image_folder), **settings)
        for settings in ({}, {"standing": True}, {"standing": True, "truncation": 0.5})
    )
    plain = torch.cat([x for x, _ in stored.samples(0, 8)])
    assert not torch.equal(plain, torch.cat([x for x, _ in estimated.samples(0, 8)]))
    direct = standing_statistics(g, 0.5, batches=3).for_sampling()
    z, _ = latents(0, 0, 8, 128, 2, 0.5)
    assert torch.equal(evaluation.sampling.to_uint8(direct(z, torch.arange(8) % 2)),
                       torch.cat([x for x, _ in narrow.samples(0, 8)]))  # fmt: skip
    assert stored.batch_norm == "stored" and estimated.batch_norm == "standing, 200 batches of 64"
    assert estimated.weights_sha256 == stored.weights_sha256
    for e in (stored, estimated, narrow):  # cached features of one are not the others'
        e.__dict__["inception"] = None
    assert len({e.settings_key("turn") for e in (stored, estimated, narrow)}) == 3
