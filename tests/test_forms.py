"""Every form of every kind of network goes through what PyTorch does with modules, and comes out as the same function."""

import copy
import io
import pickle

import pytest
import torch

from sngan_hub import create_discriminator, create_generator, load_discriminator, load_generator

G, D = {"widths": [8, 8, 4, 4]}, {"widths": [4] * 4, "down": "1100"}
HALF = torch.bfloat16


def g(name="sngan_cifar10", **arguments):
    return create_generator(name, **arguments).eval()


def d(name="sngan_cifar10", **arguments):
    return create_discriminator(name, **arguments).eval()


FORMS = {
    "resnet": lambda: g(**G),
    "resnet unconditional": lambda: g("sngan_cifar10_unconditional", **G),
    "resnet bf16": lambda: g(**G).to(HALF),
    "resnet fast": lambda: g(**G).for_sampling(),
    "resnet fast bilinear": lambda: g(**G, upsample="bilinear").for_sampling(),
    "resnet fast bf16": lambda: g(**G).for_sampling(HALF),
    "resnet bf16 fast": lambda: g(**G).to(HALF).for_sampling(),
    "cnn": lambda: g("sngan_cnn_cifar10", width=16),
    "cnn fast": lambda: g("sngan_cnn_cifar10", width=16).for_sampling(),
    "cnn fast bf16": lambda: g("sngan_cnn_cifar10", width=16).for_sampling(HALF),
    "ganlib": lambda: g("ganlib_resnet_cifar10", width=8),
    "ganlib fast bf16": lambda: g("ganlib_resnet_cifar10", width=8).for_sampling(HALF),
    "D iterate": lambda: d(**D),
    "D stored": lambda: d(**D, sn_eval="stored"),
    "D both": lambda: d(**D, sn_eval="iterate", head_sn_eval="stored"),
    "D fine-tuned": lambda: d(**D, head_scale=2.0, embed_scale=3.0),
    "D spectral_gain": lambda: d(**D, normalizer="spectral_gain"),
    "D weight": lambda: d(**D, normalizer="weight"),
    "D concat": lambda: d(**D, conditioning="concat"),
    "D cnn": lambda: d("sngan_cnn_cifar10", widths=[4] * 7),
    "D cnn layer": lambda: d("sngan_cnn_cifar10", widths=[4] * 7, normalizer="layer"),
    "D cnn batch": lambda: d("sngan_cnn_cifar10", widths=[4] * 7, normalizer="batch"),
    "D ganlib": lambda: d("ganlib_resnet_cifar10", width=8),
}


def inputs(network, n):
    drawn = torch.Generator().manual_seed(n)
    shape = (n, network.z_dim) if network.kind == "generator" else (n, 3, network.size, network.size)
    dtype = HALF if network.kind == "discriminator" and next(network.parameters()).dtype == HALF else torch.float32
    x = torch.randn(shape, generator=drawn).to(dtype)
    return (x, torch.arange(n) % network.n_classes) if network.n_classes else (x,)


def exported(network):
    given, batch = inputs(network, 2), torch.export.Dim("batch")
    program = torch.export.export(network, given, dynamic_shapes=tuple({0: batch} for _ in given))
    if type(network).__name__ == "FastGenerator":  # whose graph must not hold what only this process can read
        file = io.BytesIO()
        torch.export.save(program, file)
        file.seek(0)
        program = torch.export.load(file)
    return program.module()


def saved(network):
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    return torch.load(file, weights_only=False)  # of this very process


OPERATIONS = {
    "pickle": lambda network: pickle.loads(pickle.dumps(network)),
    "torch.save": saved,
    "deepcopy": copy.deepcopy,
    "compile": lambda network: torch.compile(network, backend="eager", fullgraph=True),
    "export": exported,
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_the_same_function_comes_out(form, operation):
    network = FORMS[form]()
    expected = {n: network(*inputs(network, n)) for n in (1, 3)}
    torch.compiler.reset()
    other = OPERATIONS[operation](network)
    for n in (3, 1):
        found = other(*inputs(network, n))
        assert found.shape == expected[n].shape and (found - expected[n]).abs().max() <= 1e-5 * expected[n].abs().max()
    if operation in ("pickle", "torch.save", "deepcopy"):
        assert repr(other) == repr(network) and other._hub_mixin_config == network._hub_mixin_config
        packed = [[m._packed is not None for m in n.modules() if hasattr(m, "_packed")] for n in (other, network)]
        assert packed[0] == packed[1]  # laid out for this processor again
        assert other.training == network.training and other.state_dict().keys() == network.state_dict().keys()


@pytest.mark.parametrize("form, texts", [
    ("D iterate", ["SpectralNorm(sn_eval='iterate', scale=1.0, gain=False)"]),
    ("D both", ["SpectralNorm(sn_eval='iterate', scale=1.0, gain=False)", "SpectralNorm(sn_eval='stored', scale=1.0, gain=False)"]),
    ("D fine-tuned", ["scale=2.0,", "scale=3.0,"]),
    ("D spectral_gain", ["SpectralNorm(sn_eval='iterate', scale=1.0, gain=True)"]),
    ("D weight", ["normalize=WeightNorm(gain=False)"]),
    ("resnet", ["BatchNorm2d(8, n_classes=10, eps=2e-05, momentum=0.1)", "BatchNorm2d(4, n_classes=0"]),
    ("D cnn layer", ["LayerNorm(4, eps=1e-05)"]),
])  # fmt: skip
def test_a_network_shows_how_it_is_normalised(form, texts):
    assert all(text in repr(FORMS[form]()) for text in texts)


def test_bfloat16_weights_make_the_fast_form():
    whole = load_generator("sngan_fashion32").sample(n=3, seed=1).float()
    half = load_generator("sngan_fashion32", dtype=HALF)
    for network in (half, half.for_sampling(), half.for_sampling(HALF)):
        assert (network.sample(n=3, seed=1) - whole).abs().mean() < 3


def test_torchs_default_dtype_changes_nothing_that_is_loaded():
    def looks():
        g, d = load_generator("sngan_fashion32"), load_discriminator("sngan_fashion32")
        x, y = torch.full((1, 3, 32, 32), 0.5, dtype=torch.float32), torch.tensor([3])
        tensors = [t for network in (g, d) for t in network.state_dict().values()]
        with torch.no_grad():
            looked = [g.sample(n=2, seed=1, truncation=0.7), g.for_sampling().sample(n=2, seed=1), d(x, y)]
        return [*tensors, *looked]

    expected = looks()
    torch.set_default_dtype(torch.float64)
    try:
        found = looks()
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)
