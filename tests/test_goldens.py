"""Every ResNet golden of the authors' Chainer code: outputs, statistics, sigma and u, losses, gradients, morphing.

Tolerances are those that the goldens' makers suggest from an independent re-implementation: G in test mode 3e-5, in
train mode 3e-4, D 1e-5 relative + 3e-4, gradients 1e-4 of the largest, u and sigma 2e-6.
"""

from functools import cache

import numpy as np
import pytest
import torch

from sngan_hub.convert import chainer_keys, load_chainer
from training.engine.losses import LOSSES

from .conftest import GOLDEN

GENERATORS = sorted(path.name[:-12] for path in GOLDEN.glob("sngan_G*.weights.npz"))
DISCRIMINATORS = sorted(path.name[:-12] for path in GOLDEN.glob("sngan_D*.weights.npz"))
FORMS = ["plain", "fused"]


@cache
def golden(name):
    with np.load(GOLDEN / f"{name}.io.npz", allow_pickle=False) as archive:
        return {
            key: torch.from_numpy(np.array(archive[key])) for key in archive.files if archive[key].dtype.kind != "U"
        }


def load(name, form):
    network = load_chainer(GOLDEN / f"{name}.weights.npz")
    network.set_resampling(form)
    return network


def ours_by_theirs(network):
    """The authors' key -> our state-dict key."""
    return {theirs: ours for ours, theirs in chainer_keys(network).items()}


def label(io, key):
    return io[key].long() if key in io else None


def difference(a, b):
    return (a - b).abs().max().item()


def test_none_is_missing():
    assert len(GENERATORS) == 5 and len(DISCRIMINATORS) == 4


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", GENERATORS)
def test_generator(name, form):
    io, g = golden(name), load(name, form)
    with torch.no_grad():
        assert difference(g(io["z"], label(io, "y")), io["out_test"]) < 3e-5
        assert difference(g.train()(io["z"], label(io, "y")), io["out_train"]) < 3e-4
    state, ours_of = g.state_dict(), ours_by_theirs(g)
    posts = [key for key in io if key.startswith("train_post/")]
    assert posts
    for key in posts:
        ours = state[ours_of[key.removeprefix("train_post/")]]
        assert difference(ours, io[key]) <= 2e-5 * io[key].abs().max().item(), key


@pytest.mark.parametrize("name", GENERATORS)
def test_generator_for_sampling(name):
    io, g = golden(name), load(name, "auto").for_sampling()
    with torch.no_grad():
        assert difference(g(io["z"], label(io, "y")), io["out_test"]) < 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_class_interpolation(form):
    io, g = golden("sngan_G128_cond_ch8_n10"), load("sngan_G128_cond_ch8_n10", form)
    with torch.no_grad():
        images = g(io["interp_z"], io["interp_y"].long(), io["interp_w"])
    assert difference(images, io["interp_out_test"]) < 3e-5


def layers(network):
    return {name: module for name, module in network.named_modules() if getattr(module, "normalize", None) is not None}


def sigma_of(layer):
    """What the layer divides by in the next forward, without moving u."""
    training = layer.training
    layer.eval()
    effective = layer.effective_weight().detach()
    layer.train(training)
    i = layer.weight.detach().abs().argmax()
    return (layer.weight.detach().flatten()[i] / effective.flatten()[i]).item()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminator(name, form):
    io, d = golden(name), load(name, form)
    y_real, y_fake = label(io, "y_real"), label(io, "y_fake")
    keys = {key.removeprefix("test_sigma/"): key for key in io if key.startswith("test_sigma/")}
    ours_of = ours_by_theirs(d)
    ours = {ours_of[f"{layer}/W"].removesuffix(".weight"): layer for layer in keys}
    assert ours.keys() == layers(d).keys()

    def close(a, b):
        assert torch.allclose(a, b, rtol=1e-5, atol=3e-4), difference(a, b)

    def check_sigma(stage):
        for module, layer in ours.items():
            expected = io[f"{stage}_sigma/{layer}"].item()
            assert sigma_of(layers(d)[module]) == pytest.approx(expected, rel=2e-6), layer

    def check_u(stage):
        for module, layer in ours.items():
            assert difference(layers(d)[module].u, io[f"{stage}_post_u/{layer}"].flatten()) < 2e-6, layer

    before = {key: value.clone() for key, value in d.state_dict().items()}
    with torch.no_grad():
        close(d(io["x_real"], y_real), io["out_test_real"])
    check_sigma("test")
    assert all(torch.equal(value, before[key]) for key, value in d.state_dict().items())  # evaluating stores nothing

    d.train()
    check_sigma("train1")
    x_fake = io["x_fake"].clone().requires_grad_()
    real = d(io["x_real"], y_real)
    check_u("train1")
    check_sigma("train2")
    fake = d(x_fake, y_fake)
    check_u("train2")
    close(real, io["out_train_real"])
    close(fake, io["out_train_fake"])

    for ours_name, theirs in (("hinge", "hinge"), ("non_saturating", "dcgan")):
        loss = LOSSES[ours_name]
        dis, gen = loss.discriminator(real, fake), loss.generator(fake)
        assert dis.item() == pytest.approx(io[f"loss_{theirs}_dis"].item(), rel=1e-5, abs=3e-4)
        assert gen.item() == pytest.approx(io[f"loss_{theirs}_gen"].item(), rel=1e-5, abs=3e-4)

    LOSSES["hinge"].discriminator(real, fake).backward()
    parameters = dict(d.named_parameters())
    grads = [key for key in io if key.startswith("grad/")]
    assert grads
    for key in grads:
        expected = io[key]
        got = parameters[ours_of[key.removeprefix("grad/")]].grad.view_as(expected)
        assert difference(got, expected) <= 1e-4 * expected.abs().max().item() + 1e-12, key
    if "grad_loss_dis_wrt_x_fake" in io:
        expected = io["grad_loss_dis_wrt_x_fake"]
        assert difference(x_fake.grad, expected) <= 1e-4 * expected.abs().max().item()


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_gradient_norms_of_every_parameter(name):
    io, d = golden(name), load(name, "auto").train()
    real, fake = d(io["x_real"], label(io, "y_real")), d(io["x_fake"], label(io, "y_fake"))
    LOSSES["hinge"].discriminator(real, fake).backward()
    parameters = dict(d.named_parameters())
    with np.load(GOLDEN / f"{name}.io.npz", allow_pickle=False) as archive:
        keys, values = archive["gradnorm_keys"], archive["gradnorm_vals"]
    assert len(keys) == len(parameters)
    ours_of = ours_by_theirs(d)
    for key, value in zip(keys, values, strict=True):
        norm = parameters[ours_of[str(key).lstrip("/")]].grad.norm().item()
        assert norm == pytest.approx(float(value), rel=1e-4, abs=1e-5 * float(values.max())), key
