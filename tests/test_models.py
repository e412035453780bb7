"""The whole MODELS table, the authors' parameter counts and key lists, and the ports' silent errors."""

import json

import pytest
import torch
import torch.nn.functional as F

from sngan_hub import MODELS, create_discriminator, create_generator, list_models
from sngan_hub.convert import chainer_keys
from sngan_hub.networks.resnet import Discriminator, Generator

from .conftest import GOLDEN


def count(network):
    return sum(p.numel() for p in network.parameters())


def on_meta(build, *args, **kwargs):
    with torch.device("meta"):
        return build(*args, **kwargs)


COUNTS = {  # parameters only, counted on the authors' networks
    "sngan_imagenet128": (41_996_931, 30_041_857),
    "sngan_imagenet128_unconditional": (32_150_787, 29_017_857),
    "sngan_imagenet64": (17_974_915, 11_165_441),
    "sngan_dogcat64": (13_038_595, 10_287_873),
    "sngan_dogcat128": (10_606_339, 8_574_977),
    "sngan_dogcat256": (10_662_659, 8_576_129),
    "sngan_cifar10": (4_304_387, 1_055_104),
    "sngan_cifar10_unconditional": (4_276_739, 1_053_824),
    "sngan_cifar100": (4_580_867, 1_066_624),
    "sngan_imagenet32": (7_345_667, 1_181_824),
    "sngan_stl10": (4_878_083, 10_141_441),
    "sngan_celeba64": (12_220_675, 10_141_441),
    "sngan_celeba128": (32_150_787, 29_017_857),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts(name):
    built = on_meta(create_generator, name), on_meta(create_discriminator, name)
    assert tuple(map(count, built)) == COUNTS[name]


def test_concat_and_foreign_variants_have_their_counts():
    assert count(on_meta(create_discriminator, "sngan_imagenet128", conditioning="concat")) == 30_538_625
    assert count(on_meta(create_discriminator, "sngan_imagenet128", hidden="out")) == 39_443_137  # mmgeneration
    assert count(on_meta(create_discriminator, "sngan_cifar10", head_bias=True)) == 1_055_105


@pytest.mark.parametrize("name", list_models())
def test_every_architecture_builds_runs_and_describes_itself(name):
    model = MODELS[name]
    g, d = on_meta(create_generator, name), on_meta(create_discriminator, name)
    z = torch.empty(2, g.z_dim, device="meta")
    y = torch.zeros(2, dtype=torch.int64, device="meta") if model.n_classes else None
    images = g(z, y)
    assert images.shape == (2, 3, model.size, model.size)
    assert d(images, y).shape == (2, 1)
    for network in (g, d):
        assert (network.size, network.n_classes) == (model.size, model.n_classes)
        again = on_meta(type(network).from_config, json.loads(json.dumps(network.config)))
        assert {k: v.shape for k, v in again.state_dict().items()} == {
            k: v.shape for k, v in network.state_dict().items()
        }


@pytest.mark.parametrize("file, name, overrides", [
    ("keys_G128_cond_1000", "sngan_imagenet128", {}),
    ("keys_G128_uncond", "sngan_imagenet128_unconditional", {}),
    ("keys_G32_ch256_cond10", "sngan_cifar10", {}),
    ("keys_D128_proj_1000", "sngan_imagenet128", {}),
    ("keys_D128_concat_1000", "sngan_imagenet128", {"conditioning": "concat"}),
    ("keys_D128_uncond", "sngan_imagenet128_unconditional", {}),
    ("keys_D32_ch128_cond10", "sngan_cifar10", {}),
])  # fmt: skip
def test_full_size_key_lists_map_one_to_one(file, name, overrides):
    kind = "Generator" if "_G" in file else "Discriminator"
    network = on_meta(create_generator if kind == "Generator" else create_discriminator, name, **overrides)
    state = network.state_dict()
    ours = {theirs: tuple(state[key].shape) for key, theirs in chainer_keys(network).items()}
    theirs = {}
    for line in (GOLDEN / f"{file}.txt").read_text().splitlines():
        key, rest = line.split(" ", 1)
        shape = tuple(int(n) for n in rest[: rest.rindex(")")].strip("(").split(",") if n.strip())
        theirs[key] = shape[1:] if key.endswith("/u") else shape
    assert ours == theirs


def test_initialisation_is_the_authors():
    g, d = Generator(32, 10), Discriminator(32, 10)
    for conv, gain in ((g.blocks[0].c1, 2**0.5), (g.blocks[0].c_sc, 1), (d.blocks[1].c2, 2**0.5), (g.conv, 1)):
        fan = (conv.weight.shape[0] + conv.weight.shape[1]) * conv.weight[0, 0].numel()
        bound = gain * (6 / fan) ** 0.5
        assert conv.weight.abs().max() <= bound and conv.weight.abs().max() > 0.99 * bound
        assert not conv.bias.any()
    assert torch.equal(g.blocks[0].b1.weight, torch.ones(10, 256)) and not g.blocks[0].b1.bias.any()
    assert d.blocks[0].c1.u.norm() > 5  # a normal vector, not normalised


# The silent errors of other ports (each was seen in one): a network with the error differs from ours.


@torch.no_grad()
def test_upsampling_is_nearest():
    g = Generator(32, widths=[8, 8, 8, 8]).eval()
    wrong = Generator(32, widths=[8, 8, 8, 8], upsample="bilinear").eval()
    wrong.load_state_dict(g.state_dict())
    z = torch.randn(2, 128)
    assert (g(z) - wrong(z)).abs().max() > 0.05
    # One constant pixel block per low-resolution pixel reaches the first block's shortcut.
    h = torch.randn(1, 8, 4, 4)
    shortcut = g.blocks[0].c_sc(h).repeat_interleave(2, 2).repeat_interleave(2, 3)
    block = g.blocks[0]
    main = block.c2(F.relu(block.b2(F.conv2d(F.relu(block.b1(h)).repeat_interleave(2, 2).repeat_interleave(2, 3),
                                              block.c1.weight, block.c1.bias, padding=1))))  # fmt: skip
    assert torch.allclose(block(h, None, None, 1.0), main + shortcut, atol=1e-5)


@torch.no_grad()
def test_shortcut_reads_the_input_before_relu_and_nothing_is_overwritten():
    d = Discriminator(32, widths=[4, 4, 4, 4]).eval()
    identity = d.blocks[3]
    assert identity.c_sc is None
    x = torch.randn(2, 4, 8, 8)
    kept = x.clone()
    out = identity(x)
    assert torch.equal(x, kept)
    main = identity.c2(F.relu(identity.c1(F.relu(x))))
    assert torch.allclose(out, main + x, atol=1e-6)
    images = torch.randn(2, 3, 32, 32)
    kept = images.clone()
    d(images)
    assert torch.equal(images, kept)


@torch.no_grad()
def test_pooling_is_a_sum_and_the_first_block_pools_before_its_shortcut():
    d = Discriminator(32, widths=[4, 4, 4, 4], head_bias=True).eval()
    x = torch.randn(2, 3, 32, 32)
    h = d.blocks[0](x)
    first = d.blocks[0]
    main = F.avg_pool2d(first.c2(F.relu(first.c1(x))), 2)
    assert torch.allclose(h, main + first.c_sc(F.avg_pool2d(x, 2)), atol=1e-5)
    for block in list(d.blocks)[1:]:
        h = block(h)
    assert torch.allclose(d(x), d.linear(F.relu(h).sum((2, 3))), atol=1e-4)


def test_wide_discriminator_no_extra_downsampling_and_block_maps():
    d = on_meta(create_discriminator, "sngan_imagenet128")
    assert d.widths == [64, 128, 256, 512, 1024, 1024]  # mimicry's default is sixteen times thinner
    assert [block.down for block in d.blocks] == [True] * 5 + [False]
    assert [block.down for block in on_meta(create_discriminator, "sngan_cifar10").blocks] == [True, True, False, False]
    assert d.blocks[1].c1.weight.shape[:2] == (64, 64)  # hidden width is the input's
    g = on_meta(create_generator, "sngan_imagenet128")
    assert g.blocks[1].c1.weight.shape[:2] == (512, 1024)  # in G it changes in c1


def test_batch_norm_epsilon_and_conditional_gain_start():
    g = Generator(32, 10)
    norms = [m for m in g.modules() if hasattr(m, "running_var")]
    assert {n.eps for n in norms} == {2e-5} and {n.momentum for n in norms} == {0.1}
    assert g.bn.weight.shape == (256,)  # the last one is plain
    assert all((n.weight == 1).all() for n in norms)  # gains are centred at 1


@torch.no_grad()
def test_projection_is_the_inner_product_with_the_normalised_embedding():
    d = Discriminator(32, 5, widths=[4, 4, 4, 4]).eval()
    x, y = torch.randn(3, 3, 32, 32), torch.tensor([0, 3, 4])
    h = x
    for block in d.blocks:
        h = block(h)
    features = F.relu(h).sum((2, 3))
    expected = d.linear(features) + (d.embed.effective_weight()[y] * features).sum(1, keepdim=True)
    assert torch.allclose(d(x, y), expected, atol=1e-4)


# Errors


@pytest.mark.parametrize("call, text", [
    (lambda: create_generator("sngan_imagenet12"), "no model 'sngan_imagenet12'; the nearest are sngan_imagenet128"),
    (lambda: Generator(33), "size must be one of 32, 48, 64, 128, 256 unless widths are given .got 33."),
    (lambda: Generator(32, widths=[8, 8]), "size must be .* 2 widths .got"),
    (lambda: Generator(32, 2, classes=["a"]), "classes must have 2 names.*got 1"),
    (lambda: Generator(32, -1), "n_classes must .*got -1"),
    (lambda: Generator(32, upsample="cubic"), "upsample must be one of nearest, bilinear .got 'cubic'."),
    (lambda: Discriminator(32, down="111"), "down must .*got '111'"),
    (lambda: Discriminator(32, 2, conditioning="ac"), "conditioning must .*got 'ac'"),
    (lambda: Generator(32, 3, widths=[4] * 4)(torch.zeros(1, 128)), "y must be .*this Generator is conditional"),
    (lambda: Generator(32, widths=[4] * 4)(torch.zeros(1, 128), torch.zeros(1).long()), "y must be None: this Generator is uncond"),
    (lambda: Generator(32, widths=[4] * 4)(torch.zeros(1, 12)), r"z must have shape \(N, 128\) \(got \(1, 12\)\)"),
    (lambda: Discriminator(32, 3, widths=[4] * 4)(torch.zeros(1, 3, 32, 32)), "y must be .*this Discriminator is conditional"),
    (lambda: Discriminator(32, widths=[4] * 4)(torch.zeros(1, 3, 16, 16)), r"x must have shape .*got \(1, 3, 16, 16\)"),
    (lambda: Generator(32, 3, widths=[4] * 4)(torch.zeros(1, 128), torch.zeros(1)), "y must be a torch.int64 tensor.*got torch.float32"),
    (lambda: Generator(32, 3, widths=[4] * 4)(torch.zeros(1, 128), torch.zeros(1, 2).long()), "y must have .*class_weights"),
    (lambda: Generator(32).set_resampling("fast"), "form must be one of auto, plain, fused .got 'fast'."),
])  # fmt: skip
def test_errors_name_the_argument_and_what_is_legal(call, text):
    with pytest.raises(ValueError, match=text):
        call()
