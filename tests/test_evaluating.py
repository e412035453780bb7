"""Looking at a network in eval mode changes nothing in it: no mode, no statistic, in no thread."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from sngan_hub import Discriminator, Generator
from sngan_hub.evaluating import evaluating
from sngan_hub.metrics.discriminator_scores import scores_of
from sngan_hub.metrics.spectrum import spectra
from sngan_hub.sampling.generate import sample
from sngan_hub.sampling.morph import blend, morph, walk
from sngan_hub.sampling.refine import Calibration, maker
from training.monitor.log import fixed_samples

CALIBRATION = Calibration(1.0, 0.0, [2.0, 2.0], [0.0, 0.0], 0.25, 1, 1, 0)


def pair():
    torch.manual_seed(2)
    return Generator(32, 2, widths=[16, 8, 8, 8]), Discriminator(32, 2, widths=[8] * 4, down="1100", sn_eval="stored")


def refined(g, d, method):
    return sample(g, [0, 1], 2, 3, make=maker(method, g, d, CALIBRATION))


LOOKS = {
    "sample": lambda g, d: g.sample(classes=[0, 1], n=3, seed=5),
    "scores_of": lambda g, d: scores_of(d, np.full((3, 3, 32, 32), 90, np.uint8)),
    "spectra": lambda g, d: torch.cat([row.values for network in (g, d) for row in spectra(network)]),
    "morph": lambda g, d: morph(g, [0, 1], steps=3, seed=1),
    "blend": lambda g, d: blend(g, [0, 1], [1, 2], seed=1),
    "walk": lambda g, d: torch.cat(list(walk(g, [0, 1], frames=3, seed=1))),
    "fixed_samples": lambda g, d: fixed_samples(g, 0, 2),
    "rejection": lambda g, d: refined(g, d, "rejection"),
    "ddls": lambda g, d: refined(g, d, "ddls"),
    "for_sampling": lambda g, d: g.for_sampling().sample(classes=[0, 1], n=3, seed=5),
}


@pytest.mark.parametrize("name", LOOKS)
def test_every_module_keeps_its_own_mode_and_every_tensor_its_value(name):
    g, d = pair()
    expected = LOOKS[name](g.eval(), d.eval())
    g.train(), d.train()
    frozen = [g.blocks[0].b1, g.blocks[1], d.blocks[2]]  # by the user, while the rest is trained
    for module in frozen:
        module.eval()
    modes = [[module.training for module in network.modules()] for network in (g, d)]
    before = [{k: v.clone() for k, v in network.state_dict().items()} for network in (g, d)]
    assert torch.equal(LOOKS[name](g, d), expected)
    assert [[module.training for module in network.modules()] for network in (g, d)] == modes
    for network, kept in zip((g, d), before, strict=True):
        assert all(torch.equal(tensor, kept[key]) for key, tensor in network.state_dict().items())


def test_threads_that_sample_from_a_generator_in_training():
    g, _ = pair()
    expected = [g.eval().sample(n=4, seed=seed) for seed in range(24)]
    g.train()
    before = {k: v.clone() for k, v in g.state_dict().items()}
    with ThreadPoolExecutor(8) as threads:
        drawn = list(threads.map(lambda seed: g.sample(n=4, seed=seed), range(24)))
    assert all(torch.equal(one, other) for one, other in zip(drawn, expected, strict=True))
    assert all(torch.equal(tensor, before[key]) for key, tensor in g.state_dict().items())
    assert all(module.training for module in g.modules())


def test_a_network_in_eval_mode_is_itself_and_a_copy_shares_every_tensor():
    g, d = pair()
    assert evaluating(g.eval()) is g
    copy = evaluating(d.train())
    assert copy is not d and not any(module.training for module in copy.modules()) and type(copy) is Discriminator
    own = dict(d.named_parameters()) | dict(d.named_buffers())
    theirs = dict(copy.named_parameters()) | dict(copy.named_buffers())
    assert own.keys() == theirs.keys() and all(theirs[name] is tensor for name, tensor in own.items())
    one = nn.Linear(2, 2)
    shared = evaluating(nn.Sequential(one, one))
    assert shared[0] is shared[1] and shared[0] is not one


def test_what_was_bound_to_the_network_is_bound_to_the_copy():
    """Accelerate wraps ``forward`` on the instance, and torch.compile wraps the whole."""
    g, _ = pair()
    expected = g.eval().sample(n=2, seed=1)
    g.train()
    g.forward = type(g).forward.__get__(g)
    assert torch.equal(sample(g, n=2, seed=1), expected)
    assert torch.equal(sample(torch.compile(g, backend="eager"), n=2, seed=1), expected)
    assert g.blocks[0].b1.num_batches_tracked == 0
