"""The authors' Updater, two iterations, by the shipped loop's own step: only the draws are replaced by theirs.

As a script it is the whole loop with these draws, in --out: ``python -m tests.test_trajectory OUT``; KILL=1 kills it
between the iterations, when the first one's checkpoint is written.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from sngan_hub import load_discriminator, load_generator
from sngan_hub.convert import chainer_keys, load_chainer
from sngan_hub.convert.archive import read_npz
from sngan_hub.data import Images
from training.config.schema import make_config
from training.engine import loop
from training.engine import step as game
from training.engine.state import ChainerAdam, State
from training.feed.feed import Fake, Iteration, Real

from . import warm
from .conftest import GOLDEN, ROOT

NAME = "train_hinge_cond_ch8"


SETTINGS = dict(
    n_dis=2, batch_size=4, g_batch_size=6, lr_g=2e-4, lr_d=2e-4, beta2=0.9, ema_decay=0.0, augment="", precision="fp32",
    channels_last=False, transition_from=0, transition_to=0, steps=2, decay_from=2, decay_to=2,
)  # fmt: skip


class TheirDraws:
    """Their latents and labels by step and part of the step, their real images by the batch's number."""

    def __init__(self, io, kill=None):
        self.io, self.kill, self.served, self.waited = io, kill, [], 0.0

    def iteration(self, step):
        if step == self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        self.served.append(step)
        of = {name: torch.from_numpy(values) for name, values in self.io.items() if name.startswith(("z_", "y_", "x_"))}
        fake_g, *fake_d = [
            Fake(of[f"z_{3 * step + part:02d}"], of[f"y_fake_{3 * step + part:02d}"].long()) for part in range(3)
        ]
        assert [len(own.z) for own in (fake_g, *fake_d)] == [6, 4, 4]
        parts = [slice(position * 4, (position + 1) * 4) for position in (2 * step, 2 * step + 1)]
        real = [Real(of["x_real"][part], None, of["y_real"][part].long()) for part in parts]
        return Iteration(real, fake_g, fake_d, [], [[], []], [[], []], [])

    def close(self):
        pass


@pytest.fixture
def theirs():
    io = read_npz(GOLDEN / f"{NAME}.io.npz")
    return io, TheirDraws(io)


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


def within(network, step, letter):
    kind = {"G": "Generator", "D": "Discriminator"}[letter]
    for key, worst in compare(network, f"{NAME}.{letter}{step}.npz", kind).items():
        assert worst <= 1e-5, f"step {step}, {letter} {key}: {worst}"


@pytest.mark.parametrize("form", ["plain", "fused"])
def test_hinge_trajectory(theirs, form):
    io, feed = theirs
    config, state = make_config("fashion32", **SETTINGS), make_state(form)
    for step in (1, 2):
        losses = game.train_step(state, config, feed, Accelerator(cpu=True))
        assert losses["loss_g"].item() == pytest.approx(io["loss_gen"][step - 1].item(), abs=1e-4)
        assert losses["loss_d"].item() == pytest.approx(io["loss_dis"][2 * step - 1].item(), abs=1e-4)
        within(state.generator, step, "G")
        within(state.discriminator, step, "D")
    assert feed.served == [0, 1] and state.step == 2


def whole_loop(out):
    """``training.engine.loop.train`` from the authors' start, with their draws, in a process that KILL ends by SIGKILL."""
    feed = TheirDraws(read_npz(GOLDEN / f"{NAME}.io.npz"), 1 if os.environ.get("KILL") else None)
    loop.new_feed = lambda *_: feed
    loop.new_state = lambda *_: make_state("plain")
    config = make_config("fashion32", **SETTINGS, out=out, architecture="sngan_cifar10", threads=1, log_every=1,
                         checkpoint_every=1, snapshot_every=2)  # fmt: skip
    rng = np.random.default_rng(0)
    data = Images(
        rng.integers(0, 256, (40, 3, 32, 32), dtype=np.uint8), np.arange(40) % 10, [str(i) for i in range(10)]
    )
    loop.train(config, data)


def test_the_whole_loop_killed_between_the_iterations_and_resumed(tmp_path):
    command = [sys.executable, "-m", "tests.test_trajectory", str(tmp_path / "run")]
    for kill, code in (("1", -signal.SIGKILL), ("", 0)):
        if kill:
            done = warm.run(command, {"KILL": kill})
        else:
            done = subprocess.run(command, cwd=ROOT, env={**os.environ, "KILL": ""}, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        steps = [int(path.stem) for path in (tmp_path / "run" / "checkpoints").glob("*.pt")]
        assert sorted(steps) == ([1] if kill else [1, 2])
    for letter, kind in (("G", "generator"), ("D", "discriminator")):
        network = (load_generator if letter == "G" else load_discriminator)(tmp_path / "run" / kind)
        within(network, 2, letter)


def test_plain_torch_adam_would_not_pass(theirs):
    """Chainer's epsilon is what keeps l1 within 1e-5: with torch's own the difference shows."""
    state = make_state("plain")
    state.opt_g = torch.optim.Adam(state.generator.parameters(), 2e-4, (0.0, 0.9), 1e-8)
    for _ in range(2):
        game.train_step(state, make_config("fashion32", **SETTINGS), theirs[1], Accelerator(cpu=True))
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


if __name__ == "__main__":
    whole_loop(str(Path(sys.argv[1])))
