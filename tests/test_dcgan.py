"""chainer-gan-lib's goldens, parameter counts, and the SN paper's comparators against their definitions."""

import numpy as np
import pytest
import torch

from sngan_hub.convert.archive import read_npz
from sngan_hub.layers.normalizers import Conv2d, LayerNorm, Linear, spectral_norm_with_gain, weight_norm
from sngan_hub.networks.cnn import CNNDiscriminator, CNNGenerator, GanLibResNetDiscriminator, GanLibResNetGenerator
from training.engine.losses import LOSSES

from .conftest import GOLDEN


def tensors(name):
    return {
        k: torch.from_numpy(np.array(v))
        for k, v in read_npz(GOLDEN / f"ganlib_{name}.npz").items()
        if v.dtype.kind != "U"
    }


def count(network):
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("network, parameters", [
    (CNNGenerator(), 3_828_739),
    (CNNDiscriminator(widths=[64, 128, 128, 256, 256, 512, 512], slope=0.2), 5_860_865),
    (CNNDiscriminator(widths=[64, 128, 128, 256, 256, 512, 512], slope=0.2, normalizer="none"), 5_860_865),
    (GanLibResNetGenerator(), 1_597_699),
    (GanLibResNetDiscriminator(), 1_542_785),
])  # fmt: skip
def test_parameter_counts(network, parameters):
    assert count(network) == parameters
    z_or_x = torch.randn(2, network.z_dim) if hasattr(network, "z_dim") else torch.randn(2, 3, 32, 32)
    assert network(z_or_x).shape == ((2, 3, 32, 32) if hasattr(network, "z_dim") else (2, 1))


def bn_keys(theirs, ours):
    pairs = {
        "gamma": "weight",
        "beta": "bias",
        "avg_mean": "running_mean",
        "avg_var": "running_var",
        "N": "num_batches_tracked",
    }
    return {f"{theirs}/{a}": f"{ours}.{b}" for a, b in pairs.items()}


def test_gan_libs_generator_golden():
    g = CNNGenerator(width=64)
    keys = {"l0/W": "l0.weight", "l0/b": "l0.bias", **bn_keys("bn0", "bn0")}
    for i in range(3):
        keys |= {f"dc{i + 1}/W": f"up.{i}.weight", f"dc{i + 1}/b": f"up.{i}.bias", **bn_keys(f"bn{i + 1}", f"bn.{i}")}
    keys |= {"dc4/W": "conv.weight", "dc4/b": "conv.bias"}
    arrays, io = tensors("DCGANGenerator_ch64.weights"), tensors("DCGANGenerator_ch64.io")
    g.load_state_dict({keys[k]: v for k, v in arrays.items()}, strict=True)
    z = io["z"].flatten(1)
    with torch.no_grad():
        assert (g.eval()(z) - io["out_test"]).abs().max() < 3e-5
        assert (g.train()(z) - io["out_train"]).abs().max() < 3e-4
    state = g.state_dict()
    for key, value in io.items():
        if key.startswith("train_post/"):
            assert (state[keys[key.removeprefix("train_post/")]] - value).abs().max() <= 2e-5 * value.abs().max()


def test_gan_libs_sn_discriminator_golden():
    """Its u is not in the weights file but in the io file, and moves in test mode too: so the third stage restarts."""
    d = CNNDiscriminator(widths=[8, 16, 16, 32, 32, 64, 64], slope=0.2)
    names = ["c0_0", "c0_1", "c1_0", "c1_1", "c2_0", "c2_1", "c3_0"]
    layers = {**{name: d.convs[i] for i, name in enumerate(names)}, "l4": d.linear}
    arrays, io = tensors("SNDCGANDiscriminator_ch64.weights"), tensors("SNDCGANDiscriminator_ch64.io")

    def restart():
        for name, layer in layers.items():
            layer.weight.data.copy_(arrays[f"{name}/W"])
            layer.bias.data.copy_(arrays[f"{name}/b"])
            layer.u.copy_(io[f"u0/{name}"].flatten())

    restart()
    close = dict(rtol=1e-5, atol=3e-4)
    with torch.no_grad():
        assert torch.allclose(d.eval()(io["x_real"]), io["out_test_real"], **close)
    d.train()
    real = d(io["x_real"])
    for name, layer in layers.items():
        assert (layer.u - io[f"train1_post_u/{name}"].flatten()).abs().max() < 2e-6
    fake = d(io["x_fake"])
    for name, layer in layers.items():
        assert (layer.u - io[f"train2_post_u/{name}"].flatten()).abs().max() < 2e-6
    assert torch.allclose(real, io["out_train_real"], **close) and torch.allclose(fake, io["out_train_fake"], **close)
    for loss, theirs in (("hinge", "hinge"), ("non_saturating", "dcgan")):
        d.zero_grad()
        value = LOSSES[loss].discriminator(real, fake)
        assert value.item() == pytest.approx(io[f"loss_{theirs}_dis"].item(), rel=1e-5, abs=3e-4)
        value.backward(retain_graph=True)
        for key in (k for k in io if k.startswith(f"grad_{theirs}/")):
            name, leaf = key.split("/")[1:]
            got = layers[name].weight.grad if leaf == "W" else layers[name].bias.grad
            assert (got - io[key]).abs().max() <= 1e-4 * io[key].abs().max() + 1e-12, key


# Comparators ---------------------------------------------------------------------------------------------------------


def test_weight_norm_by_its_formula():
    for gain in (False, True):
        layer = Conv2d(3, 5, 3).double()
        v = layer.weight.detach().clone()
        weight_norm(layer, gain)
        norms = v.flatten(1).norm(dim=1)
        expected = v if gain else v / norms[:, None, None, None]
        assert torch.allclose(layer.effective_weight(), expected, atol=1e-12)
        if gain:
            layer.gain.data.mul_(3)
            assert torch.allclose(layer.effective_weight(), 3 * v)
        assert torch.autograd.gradcheck(lambda w, layer=layer: _with(layer, w), layer.weight, atol=1e-6)


def _with(layer, weight):
    return torch.func.functional_call(_Effective(layer), {"layer.weight": weight}, ())


class _Effective(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self):
        return self.layer.effective_weight()


def test_spectral_norm_with_gain_starts_as_the_layer_was_and_learns_its_scale():
    layer = Linear(6, 4)
    before = layer.weight.detach().clone()
    spectral_norm_with_gain(layer).train()
    for _ in range(200):
        used = layer.effective_weight()
    assert torch.allclose(used, before, atol=1e-4)
    used.sum().backward()
    assert layer.gamma.grad is not None and layer.gamma.grad.abs() > 0
    assert set(layer.state_dict()) == {"weight", "bias", "u", "gamma"}


def test_layer_norm_by_its_formula():
    norm, x = LayerNorm(3), torch.randn(4, 3, 5, 5) * 3 + 2
    norm.weight.data.copy_(torch.tensor([1.0, 2.0, 3.0]))
    mean = x.mean((1, 2, 3), keepdim=True)
    var = ((x - mean) ** 2).mean((1, 2, 3), keepdim=True)
    expected = (x - mean) / (var + 1e-5).sqrt() * norm.weight[:, None, None]
    assert torch.allclose(norm(x), expected, atol=1e-5)


def test_batch_norm_in_a_discriminator_shares_no_statistics_between_real_and_fake():
    d = CNNDiscriminator(normalizer="batch", widths=[4] * 7).train()
    real, fake = torch.randn(4, 3, 32, 32), torch.randn(4, 3, 32, 32) * 5
    apart = d(real)
    assert torch.equal(apart, d(real)) and not torch.allclose(d(torch.cat([real, fake]))[:4], apart)
    assert all(hasattr(norm, "running_mean") for norm in list(d.norms)[1:]) and not hasattr(d.norms[0], "running_mean")


def test_initialisation_is_that_of_the_paper():
    """Normal, standard deviation 0.02, biases 0 (gan_lib's default for the CNN)."""
    torch.manual_seed(0)
    d = CNNDiscriminator(normalizer="none")
    weights = [p for name, p in d.named_parameters() if name.endswith("weight") and p.numel() > 5000]
    assert len(weights) >= 5 and all(float(w.detach().std()) == pytest.approx(0.02, rel=0.05) for w in weights)
    assert all(not p.any() for name, p in d.named_parameters() if name.endswith("bias"))
    g = CNNGenerator()
    assert float(g.l0.weight.detach().std()) == pytest.approx(0.02, rel=0.05)


def test_saved_and_loaded(tmp_path):
    for network in (
        CNNGenerator(width=16),
        CNNDiscriminator(widths=[4] * 7, normalizer="weight"),
        GanLibResNetGenerator(width=8),
    ):
        network.save_pretrained(tmp_path / type(network).__name__)
        again = type(network).from_pretrained(tmp_path / type(network).__name__)
        assert all(torch.equal(again.state_dict()[k], v) for k, v in network.state_dict().items())
    with pytest.raises(ValueError, match="normalizer must be one of none, spectral.*got 'group'"):
        CNNDiscriminator(normalizer="group")
