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
    (lambda g, d: g(Z, torch.tensor([0, 3])), "y must contain labels between 0 and 2 .got 3."),
    (lambda g, d: g(Z, torch.tensor([-1, 2])), "y must contain labels between 0 and 2 .got -1."),
    (lambda g, d: g.for_sampling()(Z, torch.tensor([0, 7])), "y must contain labels between 0 and 2 .got 7."),
    (lambda g, d: g(Z, torch.tensor([[0, 9], [1, 2]]), torch.ones(2, 2)), "y must contain labels .*got 9"),
    (lambda g, d: d(X, torch.tensor([0, 3])), "y must contain labels .*got 3"),
    (lambda g, d: g(Z, 3), r"y must be a torch.int64 tensor of shape \(N,\) \(got int 3\)"),
    (lambda g, d: g(Z, [0, 1]), r"y must be a torch.int64 tensor of shape \(N,\) \(got list \[0, 1\]\)"),
    (lambda g, d: g(Z, np.array([0, 1])), "y must be .*got ndarray"),
    (lambda g, d: g(Z, torch.tensor(1)), r"y must have shape \(2,\) for a batch of 2 \(got \(\)\)"),
    (lambda g, d: g(Z, Y, [1, 1]), r"class_weights must be .*got list \[1, 1\]"),
    (lambda g, d: g(np.zeros((2, 128)), Y), "z must be a floating-point tensor .*got ndarray"),
    (lambda g, d: g(Z.long(), Y), r"z must be a floating-point tensor of shape \(N, 128\) \(got torch.int64\)"),
    (
        lambda g, d: d(X.to(torch.uint8), Y),
        "x must be .*got torch.uint8.; convert uint8 images with images / 127.5 - 1",
    ),
    (lambda g, d: d(X.numpy(), Y), "x must be .*got ndarray"),
    (lambda g, d: scores_of(d, X), "images must be uint8 of shape .*got float32.; .* discriminator.class_scores"),
    (lambda g, d: scores_of(d, X.numpy().astype(int)), "images must be uint8 .*got int64"),
    (lambda g, d: d(X.double(), Y), "x must be torch.float32, .*got torch.float64"),
    (lambda g, d: d(g(Z.double(), Y), Y), "x must be torch.float32, .*got torch.float64"),
    (lambda g, d: d.class_scores(X.to(torch.uint8)), "x must be .*got torch.uint8"),
    (
        lambda g, d: d.class_scores(X * 0 + 255),
        r"x must have values in \[-1, 1\] \(got 255 to 255\); scale .* / 127.5 - 1",
    ),
    (
        lambda g, d: Discriminator(32, 3, **TINY, conditioning="concat", concat_after=4),
        "concat_after must be below 4.*got 4",
    ),
    (
        lambda g, d: Discriminator(32, 3, **TINY, conditioning="concat", concat_after=9),
        "concat_after must be below 4.*got 9",
    ),
    (lambda g, d: g.sample(8), r"sample\(8\) is ambiguous; write classes=8 or n=8"),
    (lambda g, d: g.for_sampling().sample(np.int64(8)), r"sample\(8\) is ambiguous; write classes=8 or n=8"),
    (lambda g, d: sample(g, 1), r"sample\(1\) is ambiguous; write classes=1 or n=1"),
    (lambda g, d: sample_batches(g, 1), r"sample_batches\(1\) is ambiguous; write classes=1 or n=1"),
    (lambda g, d: walk(g, 1), r"walk\(1\) is ambiguous; write classes=1 or frames=1"),
    (lambda g, d: g.sample(n=1, seed=1.5), r"seed must be an integer, between 0 and 2\^63 - 1 \(got 1.5\)"),
    (lambda g, d: g.sample(n=1, seed=True), "seed must be an integer, .*got True"),
    (lambda g, d: g.sample(n=1, seed="7"), "seed must .*got '7'"),
    (lambda g, d: g.sample(n=np.float64(2), seed=1), "n must be an integer, between 1 and 100,000 .got .*2.0.*"),
    (lambda g, d: g.sample(n=True), "n must .*got True"),
    (lambda g, d: g.sample(n=2, batch_size=1.0), "batch_size must be an integer, at least 1 .got 1.0."),
    (lambda g, d: g.sample(n=1, truncation="1"), "truncation must be a number above 0 .*got '1'"),
    (lambda g, d: g.sample(n=1, truncation=True), "truncation must .*got True"),
    (lambda g, d: g.sample(classes=1.0), "classes must be names, or integers between 0 and 2 .got 1.0."),
    (lambda g, d: g.sample(classes=[1.7]), r"classes must be names, or integers .*got \[1.7\]"),
    (lambda g, d: g.sample(classes=[True]), r"classes must .*got \[True\]"),
    (lambda g, d: g.sample(classes=[None]), r"classes must .*got \[None\]"),
    (lambda g, d: g.sample(classes=b"cat"), "classes must .*got b'cat'"),
    (lambda g, d: morph(g, "cat"), "classes must be a list of 2 to 4 classes .got 'cat'."),
    (lambda g, d: morph(g, 1), "classes must be a list of 2 to 4 classes .got 1."),
    (lambda g, d: morph(g, [0, 1], steps=2.5), "steps must .*got 2.5"),
    (lambda g, d: morph(g, [0, 1], batch_size=0), "batch_size must .*got 0"),
    (lambda g, d: blend(g, [0, 1], "12"), "weights must have one number for each of the 2 classes.*got '12'"),
    (lambda g, d: blend(g, [0, 1], ["a", 1]), r"weights must .*got \['a', 1\]"),
    (lambda g, d: blend(g, [0, 1], 3), "weights must .*got 3"),
    (lambda g, d: walk(g, frames=10.0), "frames must .*got 10.0"),
    (
        lambda g, d: walk(create_generator("sngan_cifar10", **TINY, z_dim=1)),
        "a walk needs a generator with z_dim 2 or more .got 1.",
    ),
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
