"""The authors' Updater, two iterations, by the shipped loop's own step: only the draws are replaced by theirs."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from sngan_hub.convert import chainer_keys, load_chainer
from sngan_hub.convert.archive import read_npz
from training import loop
from training.config import make_config
from training.state import ChainerAdam, State

from .conftest import GOLDEN

NAME = "train_hinge_cond_ch8"


@pytest.fixture
def their_draws(monkeypatch):
    io = read_npz(GOLDEN / f"{NAME}.io.npz")
    z = iter([(io[f"z_{i:02d}"], io[f"y_fake_{i:02d}"]) for i in range(6)])
    served = []

    def latents(seed, step, part, n, z_dim, n_classes):
        values, labels = next(z)
        assert values.shape == (n, z_dim)
        return torch.from_numpy(values), torch.from_numpy(labels).long()

    def real_batch(data, seed, position, batch_size, flip):
        part = slice(position * batch_size, (position + 1) * batch_size)
        served.append(position)
        return torch.from_numpy(io["x_real"][part]), torch.from_numpy(io["y_real"][part]).long()

    monkeypatch.setattr(loop, "latents", latents)
    monkeypatch.setattr(loop, "real_batch", real_batch)
    return io, served


def make_state(form):
    g, d = load_chainer(GOLDEN / f"{NAME}.G0.npz"), load_chainer(GOLDEN / f"{NAME}.D0.npz")
    for network in (g, d):
        network.train().set_resampling(form)
    betas = (0.0, 0.9)
    return State(g, d, g, ChainerAdam(g.parameters(), 2e-4, betas), ChainerAdam(d.parameters(), 2e-4, betas))


def compare(network, file, kind):
    worst = {}
    ours_of = {theirs: ours for ours, theirs in chainer_keys(network).items()}
    for key, expected in read_npz(GOLDEN / file).items():
        # Biases before a batch norm have zero gradient; Adam with beta1 = 0 turns their rounding noise into full steps.
        if kind == "Generator" and (key.endswith("avg_mean") or (key.startswith("block") and key.endswith("/b"))):
            continue
        if key.endswith("/N"):  # Chainer counts batches only while fine-tuning statistics
            continue
        ours = network.state_dict()[ours_of[key]]
        worst[key] = np.abs(ours.numpy() - expected.reshape(ours.shape)).max()
    return worst


@pytest.mark.parametrize("form", ["plain", "fused"])
def test_hinge_trajectory(their_draws, form):
    io, served = their_draws
    config = make_config(
        "fashion32", n_dis=2, batch_size=4, g_batch_size=6, lr_g=2e-4, lr_d=2e-4, beta2=0.9, ema_decay=0.0, augment="",
        precision="fp32", channels_last=False, transition_from=0, transition_to=0, steps=2, decay_from=2, decay_to=2,
    )  # fmt: skip
    state = make_state(form)
    accelerator = Accelerator(cpu=True)
    for step in (1, 2):
        losses = loop.train_step(state, config, None, accelerator)
        assert losses["loss_g"].item() == pytest.approx(io["loss_gen"][step - 1].item(), abs=1e-4)
        assert losses["loss_d"].item() == pytest.approx(io["loss_dis"][2 * step - 1].item(), abs=1e-4)
        for kind, letter, network in (("Generator", "G", state.generator), ("Discriminator", "D", state.discriminator)):
            for key, worst in compare(network, f"{NAME}.{letter}{step}.npz", kind).items():
                assert worst <= 1e-5, f"step {step}, {letter} {key}: {worst}"
    assert served == [0, 1, 2, 3] and state.step == 2


def test_plain_torch_adam_would_not_pass(their_draws):
    """Chainer's epsilon is what keeps l1 within 1e-5: with torch's own the difference shows."""
    config = make_config(
        "fashion32", n_dis=2, batch_size=4, g_batch_size=6, lr_g=2e-4, lr_d=2e-4, beta2=0.9, ema_decay=0.0, augment="",
        precision="fp32", channels_last=False, transition_from=0, transition_to=0, steps=2, decay_from=2, decay_to=2,
    )  # fmt: skip
    state = make_state("plain")
    state.opt_g = torch.optim.Adam(state.generator.parameters(), 2e-4, (0.0, 0.9), 1e-8)
    for _ in range(2):
        loop.train_step(state, config, None, Accelerator(cpu=True))
    assert compare(state.generator, f"{NAME}.G2.npz", "Generator")["l1/W"] > 1e-5


def test_adam_is_chainers_formula():
    p = torch.nn.Parameter(torch.randn(50, dtype=torch.float64) * 1e-6)
    optimizer = ChainerAdam([p], 1e-3, (0.5, 0.9))
    x, m, v = p.detach().clone(), 0.0, 0.0
    for t in range(1, 6):
        grad = torch.randn(50, dtype=torch.float64) * 1e-8  # where epsilon matters
        p.grad = grad
        optimizer.step()
        m, v = 0.5 * m + 0.5 * grad, 0.9 * v + 0.1 * grad**2
        x = x - 1e-3 * (1 - 0.9**t) ** 0.5 / (1 - 0.5**t) * m / (v.sqrt() + 1e-8)
        assert torch.allclose(p, x, rtol=1e-12, atol=1e-15)
