"""Spectral and batch normalisation against linear algebra and autograd in float64."""

import pytest
import torch

from sngan_hub.layers.normalizers import BatchNorm2d, Conv2d, Embedding, Linear, lookup_class, spectral_norm
from sngan_hub.layers.spectral_norm import power_iteration

LAYERS = [lambda: Conv2d(5, 7, 3), lambda: Conv2d(4, 6, 1), lambda: Linear(9, 4), lambda: Embedding(6, 11)]


def matrix(layer):
    return layer.weight.detach().flatten(1)


@pytest.mark.parametrize("make", LAYERS)
def test_iterated_to_convergence_the_largest_singular_value_is_one(make):
    layer = spectral_norm(make()).double()
    for _ in range(2000):
        layer.effective_weight()
    normalised = layer.effective_weight().detach().flatten(1)
    assert torch.linalg.svdvals(normalised)[0] == pytest.approx(1, abs=1e-9)
    # A Frobenius norm would agree on rank one only; these weights have full rank.
    assert torch.linalg.svdvals(normalised).square().sum() > 1.2
    with torch.no_grad():
        layer.weight.mul_(3).add_(torch.randn_like(layer.weight))
    assert torch.linalg.svdvals(layer.eval().effective_weight().detach().flatten(1))[0] > 1.0001


@pytest.mark.parametrize("make", LAYERS)
def test_one_iteration_is_v_then_u_and_sigma_from_the_new_pair(make):
    layer = spectral_norm(make()).double()
    w, u = matrix(layer), layer.u.clone()
    v = w.T @ u / (w.T @ u).norm()
    u = w @ v / (w @ v).norm()
    expected = layer.weight.detach() / (u @ w @ v)
    assert torch.allclose(layer.effective_weight(), expected, atol=1e-10)
    assert torch.allclose(layer.u, u, atol=1e-10)


@pytest.mark.parametrize("make", LAYERS)
def test_gradient_flows_through_sigma_with_u_and_v_constant(make):
    layer = spectral_norm(make()).double()
    probe = torch.randn_like(layer.weight)
    _, u, v = power_iteration(matrix(layer), layer.u)
    (layer.effective_weight() * probe).sum().backward()
    weight = layer.weight.detach().clone().requires_grad_()
    (weight / torch.dot(u, weight.flatten(1) @ v) * probe).sum().backward()
    assert torch.allclose(layer.weight.grad, weight.grad, atol=1e-12)
    detached = probe / torch.dot(u, matrix(layer) @ v)  # what it would be with sigma a constant
    assert not torch.allclose(layer.weight.grad, detached, rtol=1e-3)


def test_gradient_by_finite_differences():
    matrix_ = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    u = torch.randn(4, dtype=torch.float64)
    _, u1, v1 = power_iteration(matrix_.detach(), u)
    assert torch.autograd.gradcheck(lambda m: m / torch.dot(u1, m @ v1), (matrix_,))


def test_two_forwards_then_one_backward():
    """Real, then fake, then backward: u moved in place between must not reach the first forward's graph."""
    layer = spectral_norm(Linear(6, 3)).double()
    w0, u0 = layer.weight.detach().clone(), layer.u.clone()
    a, b = torch.randn(2, 5, 6, dtype=torch.float64)
    (layer(a).sum() + layer(b).sum()).backward()
    weight = w0.requires_grad_()
    total, u = 0, u0
    for x in (a, b):
        _, u, v = power_iteration(weight.detach(), u)
        total = total + (x @ (weight / torch.dot(u, weight @ v)).T + layer.bias.detach()).sum()
    total.backward()
    assert torch.allclose(layer.weight.grad, weight.grad, atol=1e-12)


@pytest.mark.parametrize("make", LAYERS)
def test_evaluating_iterates_but_stores_nothing(make):
    layer = spectral_norm(make())
    trained = spectral_norm(make())
    trained.load_state_dict(layer.state_dict())
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    assert torch.equal(layer.eval().effective_weight(), trained.train().effective_weight())
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
    assert not torch.equal(trained.u, before["u"])


def test_stored_mode_agrees_with_torch_spectral_norm():
    ours = spectral_norm(Linear(6, 4), "stored").double()
    theirs = torch.nn.utils.spectral_norm(torch.nn.Linear(6, 4)).double()
    with torch.no_grad():
        theirs.weight_orig.copy_(ours.weight)
        theirs.bias.copy_(ours.bias)
        theirs.weight_u.copy_(ours.u / ours.u.norm())
        ours.u.copy_(theirs.weight_u)
        theirs.weight_v.copy_(ours.v)
    x = torch.randn(3, 6, dtype=torch.float64)
    for mode in (True, True, False):
        assert torch.allclose(ours.train(mode)(x), theirs.train(mode)(x), atol=1e-10)
    assert torch.allclose(ours.v, theirs.weight_v)


def test_sigma_is_float32_under_bfloat16():
    layer = spectral_norm(Conv2d(8, 8, 3)).eval()
    exact = layer.effective_weight()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer.effective_weight(), exact)


def test_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="sn_eval must be one of iterate.*stored.*got 'no'"):
        spectral_norm(Linear(2, 2), "no")


# Batch normalisation


@pytest.mark.parametrize("training", [True, False])
def test_conditional_batch_norm_is_its_formula(training):
    bn = BatchNorm2d(4, 3).double().train(training)
    for tensor in (bn.weight, bn.bias, bn.running_mean):
        torch.nn.init.normal_(tensor)
    bn.running_var.uniform_(0.5, 2)
    x, y = torch.randn(6, 4, 5, 5, dtype=torch.float64) * 1e-2, torch.tensor([0, 1, 2, 2, 1, 0])
    mean = x.mean((0, 2, 3)) if training else bn.running_mean.clone()
    var = x.var((0, 2, 3), unbiased=False) if training else bn.running_var.clone()
    old_mean, old_var = bn.running_mean.clone(), bn.running_var.clone()
    xhat = (x - mean[None, :, None, None]) / (var[None, :, None, None] + 2e-5).sqrt()
    expected = bn.weight[y][:, :, None, None] * xhat + bn.bias[y][:, :, None, None]
    assert torch.allclose(bn(x, y), expected, atol=1e-10)
    if training:  # momentum 0.1, unbiased variance
        assert torch.allclose(bn.running_mean, 0.9 * old_mean + 0.1 * x.mean((0, 2, 3)))
        assert torch.allclose(bn.running_var, 0.9 * old_var + 0.1 * x.var((0, 2, 3), unbiased=True))


def test_class_weights_mix_rows_and_strength_fades_them():
    table = torch.randn(5, 3)
    y = torch.tensor([[0, 1], [2, 4]])
    w = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    mixed = lookup_class(table, y, w)
    assert torch.allclose(mixed[0], 0.25 * table[0] + 0.75 * table[1])
    assert torch.allclose(mixed[1], table[2])
    single = torch.tensor([3, 1])
    assert torch.allclose(lookup_class(table, single, strength=0.0), table.mean(0).expand(2, 3))
    assert torch.equal(lookup_class(table, single, strength=1.0), table[single])
    half = lookup_class(table, single, strength=0.5)
    assert torch.allclose(half, (table.mean(0) + table[single]) / 2)
