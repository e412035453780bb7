"""Penalties and clipping against their definitions, gradients by finite differences in float64."""

import copy

import pytest
import torch

from sngan_hub.layers.normalizers import Conv2d, Linear
from sngan_hub.networks.cnn import CNNDiscriminator
from training.engine.losses import similarity
from training.engine.penalties import clip_weights_, gradient_penalty, orthonormal_penalty, r1_penalty


def smooth_discriminator():
    """Small, and smooth, so that finite differences of its gradient mean something."""
    net = torch.nn.Sequential(Conv2d(3, 4, 3), torch.nn.Softplus(), torch.nn.Flatten(), Linear(4 * 36, 1)).double()
    return net


def test_the_gradient_penalty_is_zero_for_a_unit_gradient_and_known_for_a_linear_map():
    class Map(torch.nn.Module):
        def __init__(self, scale):
            super().__init__()
            self.direction = torch.randn(192, dtype=torch.float64)
            self.direction *= scale / self.direction.norm()

        def forward(self, x):
            return x.flatten(1) @ self.direction[:, None]

    x, y, e = torch.randn(5, 3, 8, 8).double(), torch.randn(5, 3, 8, 8).double(), torch.rand(5).double()
    assert gradient_penalty(Map(1.0), x, y, e).item() == pytest.approx(0, abs=1e-12)
    assert gradient_penalty(Map(3.0), x, y, e).item() == pytest.approx(4)
    assert r1_penalty(Map(3.0), x).item() == pytest.approx(4.5)


def test_it_is_taken_between_real_and_fake():
    seen = []

    def d(x):
        seen.append(x.detach())
        return (x**2).flatten(1).sum(1, keepdim=True)

    real, fake = torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    gradient_penalty(d, real, fake, torch.tensor([0.25, 1.0]))
    assert torch.equal(seen[0][0], torch.full((3, 4, 4), 0.25)) and torch.equal(seen[0][1], real[1])


@pytest.mark.parametrize("penalty", ["gradient", "r1", "orthonormal"])
def test_gradients_by_finite_differences(penalty):
    d = smooth_discriminator()
    real, fake, e = torch.randn(3, 3, 8, 8).double(), torch.randn(3, 3, 8, 8).double(), torch.rand(3).double()

    def value(net):
        if penalty == "r1":
            return r1_penalty(net, real)
        return gradient_penalty(net, real, fake, e) if penalty == "gradient" else orthonormal_penalty(net)

    value(d).backward()
    for name, parameter in d.named_parameters():
        if parameter.grad is None:
            assert name.endswith("bias")  # a constant of the score, or no part of the term
            continue
        for place in torch.randperm(parameter.numel())[:8].tolist():
            steps = []
            for sign in (1, -1):
                moved = copy.deepcopy(d)
                dict(moved.named_parameters())[name].data.view(-1)[place] += sign * 1e-6
                steps.append(value(moved).item())
            difference = (steps[0] - steps[1]) / 2e-6
            assert parameter.grad.view(-1)[place].item() == pytest.approx(difference, rel=1e-4, abs=1e-6), name


def test_the_orthonormal_term():
    wide, tall = Linear(6, 4), Linear(4, 6)
    for layer in (wide, tall):
        torch.nn.init.orthogonal_(layer.weight)
        assert orthonormal_penalty(layer).item() == pytest.approx(0, abs=1e-10)
        with torch.no_grad():
            layer.weight.mul_(2)
        assert orthonormal_penalty(layer).item() == pytest.approx(4 * 9, rel=1e-5)  # |4 I - I|_F^2 over four directions


def test_clipping_reaches_every_parameter_and_nothing_else():
    d = CNNDiscriminator(widths=[8] * 7, normalizer="none")
    with torch.no_grad():
        d.convs[0].bias.fill_(1)
    before = copy.deepcopy(d.state_dict())
    clip_weights_(d, 0.01)
    for key, value in d.state_dict().items():
        assert value.abs().max() <= 0.01 and torch.equal(value, before[key].clamp(-0.01, 0.01))
    assert (before["convs.3.weight"].abs() > 0.01).any()


def test_the_similarity_counts_near_pairs_of_a_class():
    grey, dark, other = (torch.full((1, 3, 32, 32), value, dtype=torch.float64) for value in (0.0, 0.1, 0.5))
    images = torch.cat([grey, grey, dark, other])
    of = [similarity(images, y, 0.2).item() for y in (None, torch.tensor([0, 0, 0, 0]), torch.tensor([0, 1, 0, 1]))]
    assert of == pytest.approx([(1 + 2 * 0.25) / 4, (1 + 2 * 0.25) / 4, 0.25 / 4])
    board = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 2.0 - 1  # differs from grey in single pixels alone
    assert similarity(torch.cat([grey, board.double().expand(1, 3, 32, 32)]), None, 0.2).item() == pytest.approx(1 / 2)
    assert similarity(images.bfloat16(), None, 0.2).dtype == torch.float32


@pytest.mark.parametrize("size", [32, 48, 128])
def test_the_similarity_pushes_images_apart_by_finite_differences(size):
    images = torch.randn(4, 3, size, size, dtype=torch.float64) * 0.1
    y = torch.tensor([0, 0, 1, 0])
    x = images.clone().requires_grad_()
    similarity(x, y, 0.5).backward()
    assert x.grad[2].abs().max() == 0 and all(x.grad[i].abs().max() > 0 for i in (0, 1, 3))
    direction = torch.randn_like(images)
    steps = [similarity(images + sign * 1e-6 * direction, y, 0.5).item() for sign in (1, -1)]
    assert (x.grad * direction).sum().item() == pytest.approx((steps[0] - steps[1]) / 2e-6, rel=1e-4)
    moved = images - 1e-3 * x.grad / x.grad.norm()
    assert similarity(moved, y, 0.5) < similarity(images, y, 0.5)


def test_two_equal_images_have_finite_gradients():
    x = torch.zeros(2, 3, 32, 32, requires_grad=True)
    similarity(x, None, 0.2).backward()
    assert torch.isfinite(x.grad).all()
