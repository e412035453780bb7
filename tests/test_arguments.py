"""What a user may pass by mistake: each error names the argument, what came and what is legal."""

import numpy as np
import pytest
import torch

from sngan_hub import Discriminator, Generator, create_generator
from sngan_hub.metrics.discriminator_scores import scores_of
from sngan_hub.sampling.generate import check_request, sample, sample_batches
from sngan_hub.sampling.morph import blend, morph, walk

NAMES = ["cat", "dog", "boot"]
TINY = {"widths": [4] * 4}


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    return Generator(32, 3, **TINY, classes=NAMES).eval(), Discriminator(32, 3, **TINY, down="1100").eval()


Z, X, Y = torch.zeros(2, 128), torch.zeros(2, 3, 32, 32), torch.tensor([0, 1])
CASES = [
    (lambda g, d: g(Z, torch.tensor([0, 3])), "y: got label 3, legal is 0 to 2"),
    (lambda g, d: g(Z, torch.tensor([-1, 2])), "y: got label -1, legal is 0 to 2"),
    (lambda g, d: g.for_sampling()(Z, torch.tensor([0, 7])), "y: got label 7, legal is 0 to 2"),
    (lambda g, d: g(Z, torch.tensor([[0, 9], [1, 2]]), torch.ones(2, 2)), "y: got label 9"),
    (lambda g, d: d(X, torch.tensor([0, 3])), "y: got label 3"),
    (lambda g, d: g(Z, 3), "y: got int 3, legal is a tensor of labels"),
    (lambda g, d: g(Z, [0, 1]), r"y: got list \[0, 1\], legal is a tensor of labels"),
    (lambda g, d: g(Z, np.array([0, 1])), "y: got ndarray"),
    (lambda g, d: g(Z, torch.tensor(1)), r"y: got labels of shape \(\) for a batch of 2, legal is \(2,\)"),
    (lambda g, d: g(Z, Y, [1, 1]), r"class_weights: got list \[1, 1\]"),
    (lambda g, d: g(np.zeros((2, 128)), Y), "z: got ndarray .*legal is a floating-point tensor"),
    (lambda g, d: g(Z.long(), Y), r"z: got torch.int64, legal is a floating-point tensor \(N, 128\)"),
    (lambda g, d: d(X.to(torch.uint8), Y), r"x: got torch.uint8, legal is .* of uint8 images, images / 127.5 - 1"),
    (lambda g, d: d(X.numpy(), Y), "x: got ndarray"),
    (lambda g, d: d(X.double(), Y), "x: got torch.float64, legal is torch.float32"),
    (lambda g, d: d(g(Z.double(), Y), Y), "x: got torch.float64, legal is torch.float32"),
    (lambda g, d: d.class_scores(X.to(torch.uint8)), "x: got torch.uint8"),
    (lambda g, d: g.sample(8), r"sample\(8\): write classes=8 or n=8"),
    (lambda g, d: g.for_sampling().sample(np.int64(8)), r"sample\(8\): write classes=8 or n=8"),
    (lambda g, d: sample(g, 1), r"sample\(1\): write classes=1 or n=1"),
    (lambda g, d: sample_batches(g, 1), r"sample_batches\(1\): write classes=1 or n=1"),
    (lambda g, d: walk(g, 1), r"walk\(1\): write classes=1 or frames=1"),
    (lambda g, d: g.sample(n=1, seed=1.5), r"seed: got 1.5, legal is 0 to 2\^63 - 1, a whole number"),
    (lambda g, d: g.sample(n=1, seed=True), "seed: got True, legal is .*, a whole number"),
    (lambda g, d: g.sample(n=1, seed="7"), "seed: got '7'"),
    (lambda g, d: g.sample(n=np.float64(2), seed=1), "n: got .*2.0.*, legal is 1 to 100,000, a whole number"),
    (lambda g, d: g.sample(n=True), "n: got True"),
    (lambda g, d: g.sample(n=2, batch_size=1.0), "batch_size: got 1.0, legal is 1 or more, a whole number"),
    (lambda g, d: g.sample(n=1, truncation="1"), "truncation: got '1', legal is a number above 0"),
    (lambda g, d: g.sample(n=1, truncation=True), "truncation: got True"),
    (lambda g, d: g.sample(classes=1.0), "classes: got 1.0, legal are names and whole numbers, 0 to 2"),
    (lambda g, d: g.sample(classes=[1.7]), r"classes: got \[1.7\], legal are names and whole numbers"),
    (lambda g, d: g.sample(classes=[True]), r"classes: got \[True\]"),
    (lambda g, d: g.sample(classes=[None]), r"classes: got \[None\]"),
    (lambda g, d: g.sample(classes=b"cat"), "classes: got b'cat'"),
    (lambda g, d: morph(g, "cat"), "classes: got 'cat', legal are 2 to 4, in a list"),
    (lambda g, d: morph(g, 1), "classes: got 1, legal are 2 to 4"),
    (lambda g, d: morph(g, [0, 1], steps=2.5), "steps: got 2.5"),
    (lambda g, d: morph(g, [0, 1], batch_size=0), "batch_size: got 0"),
    (lambda g, d: blend(g, [0, 1], "12"), "weights: got '12' for 2 classes"),
    (lambda g, d: blend(g, [0, 1], ["a", 1]), r"weights: got \['a', 1\]"),
    (lambda g, d: blend(g, [0, 1], 3), "weights: got 3"),
    (lambda g, d: walk(g, frames=10.0), "frames: got 10.0"),
    (lambda g, d: walk(create_generator("sngan_cifar10", **TINY, z_dim=1)), "has z_dim 1, a walk needs 2 or more"),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_each_mistake_is_named(case, pair):
    call, text = CASES[case]
    with pytest.raises(ValueError, match=text):
        call(*pair)


def test_what_stays_legal(pair):
    g, d = pair
    one = g.sample(classes=2, n=2, seed=5)
    for classes in (np.int64(2), [np.uint8(2)], np.array([2]), torch.tensor([2]), ("boot",), "boot", "2"):
        assert torch.equal(g.sample(classes=classes, n=np.int32(2), seed=np.uint64(5)), one)
    assert torch.equal(g.sample(["boot"], 2, 5), one) and torch.equal(sample(g, [2], 2, 5), one)
    assert check_request(np.int16(3), np.int64(2**63 - 1), np.float32(0.5)) == (3, 2**63 - 1)
    assert g.sample(classes=[0, 1, 2], n=np.uint8(100), seed=0, batch_size=300).shape[0] == 300  # 300 is no uint8
    assert torch.cat(list(walk(g, classes=np.int64(1), frames=2, seed=0))).shape[0] == 2
    with torch.no_grad():
        wide = g(Z.double(), Y)
        assert wide.dtype == torch.float64 and torch.equal(wide.float(), g(Z, Y))
        with torch.autocast("cpu", torch.bfloat16):
            assert d(X.bfloat16(), Y).shape == d(X, Y).shape == (2, 1)
    half = Discriminator(32, 3, **TINY, down="1100").eval().to(torch.bfloat16)
    assert scores_of(half, np.zeros((2, 3, 32, 32), np.uint8)).dtype == torch.float32


@pytest.mark.filterwarnings("ignore")  # torch.jit warns of every shape that is compared
def test_labels_are_looked_at_where_it_is_free_alone(pair):
    """Not on the meta device, and not while a graph is made, where a number that is read breaks it."""
    g, _ = pair
    with torch.device("meta"):
        there = Generator(32, 3, **TINY).eval()
    assert there(Z.to("meta"), torch.tensor([0, 9]).to("meta")).shape == (2, 3, 32, 32)
    torch.compiler.reset()
    with torch.no_grad():
        assert torch.equal(torch.compile(g, backend="eager", fullgraph=True)(Z, Y), g(Z, Y))
        assert torch.allclose(torch.jit.trace(g, (Z, Y))(Z, Y), g(Z, Y), atol=1e-6)
