"""Sampling, scoring and looking at a network that is being trained: nothing in it is switched, moved or shared out."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sngan_hub.analysis import spectra
from sngan_hub.eval_mode import in_eval_mode
from sngan_hub.judging import scores_of
from sngan_hub.models import MODELS, create_discriminator, create_generator
from sngan_hub.morphing import blend, morph, walk
from sngan_hub.refining import Calibration, maker
from sngan_hub.resnet import Discriminator, Generator
from sngan_hub.sampling import sample_batches
from training.log import fixed_samples


def small():
    g = Generator(32, 3, widths=[16, 8], bottom_width=16)
    d = Discriminator(32, 3, widths=[8, 8], down="10")
    with torch.no_grad():  # statistics that one forward in training mode would move far
        for network in (g, d):
            for module in network.modules():
                for name in ("running_mean", "running_var"):
                    if hasattr(module, name):
                        getattr(module, name).fill_(2.0)
    return g, d


def state_of(network):
    return {key: value.clone() for key, value in network.state_dict().items()}, [m.training for m in network.modules()]


def unchanged(network, before):
    tensors, modes = before
    assert [m.training for m in network.modules()] == modes
    assert all(torch.equal(value, tensors[key]) for key, value in network.state_dict().items())


def calibration():
    return Calibration(1.0, 0.0, [1.0] * 3, [0.0] * 3, 0.5, 20, 20, 0)


USES = {
    "sample": lambda g, d: g.sample(n=3, seed=0),
    "morph": lambda g, d: morph(g, [0, 1], 2, seed=0),
    "blend": lambda g, d: blend(g, [0, 1], [1, 1], seed=0),
    "walk": lambda g, d: torch.cat(list(walk(g, [0], 3, seed=0))),
    "fixed samples": lambda g, d: fixed_samples(g, 0, 2),
    "scores": lambda g, d: scores_of(d, torch.zeros(2, 3, 32, 32, dtype=torch.uint8)),
    "spectra": lambda g, d: torch.cat([row.values for row in spectra(d)]),
    "rejection": lambda g, d: torch.cat(
        [images for images, _ in sample_batches(g, n=2, seed=0, make=maker("rejection", g, d, calibration()))]
    ),
}


@pytest.mark.parametrize("use", USES)
def test_every_layer_keeps_its_own_mode_and_nothing_moves(use):
    g, d = small()
    expected = USES[use](g.eval(), d.eval())
    for network in (g, d):
        network.train()
        network.blocks[0].eval()  # a user's frozen layers
    before = state_of(g), state_of(d)
    found = USES[use](g, d)
    unchanged(g, before[0])
    unchanged(d, before[1])
    assert torch.equal(found, expected)


def test_eight_threads_on_one_generator_in_training_mode_draw_what_one_does():
    g, _ = small()
    expected = [g.eval().sample(n=4, seed=seed) for seed in range(8)]
    g.train()
    before = state_of(g)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            found = list(pool.map(lambda seed: g.sample(n=4, seed=seed), range(8)))
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    unchanged(g, before)


@pytest.mark.parametrize("name", ["sngan_cnn_cifar10", "ganlib_resnet_cifar10", "ganlib_dcgan_cifar10"])
def test_networks_of_every_family_have_such_a_form(name):
    assert name in MODELS
    for network in (create_generator(name), create_discriminator(name)):
        form = in_eval_mode(network.train())
        assert form is not network and not any(m.training for m in form.modules())
        assert {id(p) for p in form.parameters()} == {id(p) for p in network.parameters()}
        assert in_eval_mode(form) is form and network.training
