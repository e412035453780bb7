"""The loop's own steps against the whole algorithm written out from the formulas, in float64: the three losses, with
classes and without. Nothing here uses a layer, a normaliser, a loss or an optimiser of the package.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator

from sngan_hub.data import Images
from sngan_hub.networks.registry import MODELS, Model
from training.config.schema import make_config
from training.engine import step as game
from training.engine.state import new_state
from training.feed.draws import latents, penalty_points
from training.feed.feed import new_feed

from .conftest import real_batch
from .test_processes import InDtype

G_WIDTHS, D_WIDTHS, DOWN = [6, 5, 4, 4], [4, 4, 5, 6], "1100"


def normalised(p, name, us):
    """W / sigma by one power iteration from the stored u (SN paper, algorithm 1), which is replaced."""
    w = p[f"{name}.weight"]
    m = w.flatten(1)
    with torch.no_grad():
        v = m.t() @ us[name]
        v = v / (v.norm() + 1e-12)
        u = m @ v
        u = u / (u.norm() + 1e-12)
    us[name] = u
    return w / (u @ m @ v)


def batch_norm(x, gain, bias, stats, name):
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    n = x.numel() / x.shape[1]
    with torch.no_grad():  # the running variance is the unbiased one
        stats[f"{name}.running_mean"] = 0.9 * stats[f"{name}.running_mean"] + 0.1 * mean
        stats[f"{name}.running_var"] = 0.9 * stats[f"{name}.running_var"] + 0.1 * var * n / (n - 1)
    x = (x - mean[:, None, None]) / (var[:, None, None] + 2e-5).sqrt()
    return gain[..., None, None] * x + bias[..., None, None]


def generator(p, stats, z, y):
    def bn(x, name, conditional=True):
        gain, bias = p[f"{name}.weight"], p[f"{name}.bias"]
        return batch_norm(x, gain[y] if conditional and y is not None else gain, bias[y] if conditional and y is not None else bias,
                          stats, name)  # fmt: skip

    def up(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    h = (z @ p["l1.weight"].t() + p["l1.bias"]).view(len(z), -1, 4, 4)
    for i in range(3):
        b = f"blocks.{i}"
        r = F.conv2d(up(F.relu(bn(h, f"{b}.b1"))), p[f"{b}.c1.weight"], p[f"{b}.c1.bias"], padding=1)
        r = F.conv2d(F.relu(bn(r, f"{b}.b2")), p[f"{b}.c2.weight"], p[f"{b}.c2.bias"], padding=1)
        h = r + F.conv2d(up(h), p[f"{b}.c_sc.weight"], p[f"{b}.c_sc.bias"])
    return torch.tanh(F.conv2d(F.relu(bn(h, "bn", False)), p["conv.weight"], p["conv.bias"], padding=1))


def discriminator(p, us, x, y):
    def pool(x):
        return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4

    for i, down in enumerate(DOWN):
        b = f"blocks.{i}"
        r = x if i == 0 else F.relu(x)
        r = F.relu(F.conv2d(r, normalised(p, f"{b}.c1", us), p[f"{b}.c1.bias"], padding=1))
        r = F.conv2d(r, normalised(p, f"{b}.c2", us), p[f"{b}.c2.bias"], padding=1)
        if f"{b}.c_sc.weight" in p:
            x = F.conv2d(x, normalised(p, f"{b}.c_sc", us), p[f"{b}.c_sc.bias"])
        x = pool(r) + pool(x) if down == "1" else r + x
    h = F.relu(x).sum((2, 3))
    score = h @ normalised(p, "linear", us).t()
    if y is not None:
        score = score + (normalised(p, "embed", us)[y] * h).sum(1, keepdim=True)
    return score


LOSS = {
    "hinge": (lambda r: (1 - r).clamp(min=0).mean(), lambda f: (1 + f).clamp(min=0).mean(), lambda f: -f.mean()),
    "non_saturating": (lambda r: torch.log1p(torch.exp(-r)).mean(), lambda f: torch.log1p(torch.exp(f)).mean(),
                       lambda f: torch.log1p(torch.exp(-f)).mean()),
    "wasserstein": (lambda r: -r.mean(), lambda f: f.mean(), lambda f: -f.mean()),
}  # fmt: skip


class Adam:
    """Chainer's: alpha sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + 1e-8), b1 = 0."""

    def __init__(self, p):
        self.p, self.v, self.t = p, {k: torch.zeros_like(w) for k, w in p.items()}, 0

    def step(self, loss, alpha, beta2):
        grads = torch.autograd.grad(loss, list(self.p.values()))
        self.t += 1
        with torch.no_grad():
            for (k, w), g in zip(self.p.items(), grads, strict=True):
                self.v[k] = beta2 * self.v[k] + (1 - beta2) * g**2
                w -= alpha * (1 - beta2**self.t) ** 0.5 * g / (self.v[k].sqrt() + 1e-8)


def penalty_by_formula(kind, d, us, real, fake, points, labels):
    """10 E (|grad D| - 1)^2 between real and fake, with D's weights normalised once more; 10 E |grad D|^2 / 2 at real
    images; or 10 sum |gram - I|^2.
    """
    if kind == "orthonormal":
        total = 0.0
        for name, w in d.items():
            if name.endswith("weight"):
                m = w.flatten(1)
                m = m if m.shape[0] <= m.shape[1] else m.t()
                total = total + ((m @ m.t() - torch.eye(len(m), dtype=m.dtype)) ** 2).sum()
        return 10 * total
    x = real.clone() if kind == "r1" else points * real + (1 - points) * fake
    (slope,) = torch.autograd.grad(discriminator(d, us, x.requires_grad_(), labels).sum(), x, create_graph=True)
    if kind == "r1":
        return 5 * (slope**2).sum((1, 2, 3)).mean()
    return 10 * (((slope**2).sum((1, 2, 3)).sqrt() - 1) ** 2).mean()


def similarity_by_formula(images, labels, distance):
    """Sum over pairs of a class of max(0, 1 - d / distance)^2 / N, d over the means of 2x2 pixels."""
    total, n = 0.0, len(images)
    squares = images.unflatten(3, (16, 2)).unflatten(2, (16, 2)).mean((3, 5))
    for i in range(n):
        for j in range(i):
            if labels is None or labels[i] == labels[j]:
                d = (squares[i] - squares[j]).square().mean().sqrt()
                total = total + (1 - d / distance).clamp(min=0) ** 2 / n
    return total


@pytest.mark.parametrize("loss, conditioning, penalty, clip", [
    ("hinge", "projection", "", 0), ("hinge", "none", "", 0), ("non_saturating", "projection", "", 0),
    ("non_saturating", "none", "", 0), ("wasserstein", "projection", "gradient", 0), ("wasserstein", "none", "", 0.05),
    ("non_saturating", "none", "gradient", 0), ("hinge", "none", "orthonormal", 0),
    ("hinge", "projection", "r1", 0), ("non_saturating", "none", "r1", 0),
    ("hinge", "projection", "diversity", 0), ("hinge", "none", "diversity", 0),
])  # fmt: skip
def test_three_iterations(loss, conditioning, penalty, clip, monkeypatch):
    every = 2 if penalty == "r1" else 1
    diversity, penalty = (3.0, "") if penalty == "diversity" else (0.0, penalty)
    monkeypatch.setitem(MODELS, "sngan_tiny", Model(32, 3, {"widths": G_WIDTHS}, {"widths": D_WIDTHS, "down": DOWN}))
    config = make_config(
        "cifar10", architecture="sngan_tiny", loss=loss, conditioning=conditioning, n_dis=2, batch_size=4, g_batch_size=6,
        steps=3, decay_from=0, decay_to=6, penalty=penalty, clip=clip,
        penalty_every=every, diversity_weight=diversity, diversity_distance=0.5,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    data = Images(rng.integers(0, 256, (30, 3, 32, 32), dtype=np.uint8), np.arange(30) % 3, ["a", "b", "c"])
    state = new_state(config, data.classes)
    for network in (state.generator, state.discriminator):
        network.double()
        with torch.no_grad():
            for p in network.parameters():  # away from zeros and ones
                p.add_(torch.randn_like(p) * 0.05)
    accelerator = Accelerator(cpu=True)
    feed = InDtype(new_feed(data, config, state, accelerator), torch.float64)

    def latents_of(step, part, n):
        z, y = latents(0, step, part, n, 128, n_classes)
        return z.double(), y

    g = {k: p.detach().clone().requires_grad_() for k, p in state.generator.named_parameters()}
    d = {k: p.detach().clone().requires_grad_() for k, p in state.discriminator.named_parameters()}
    stats = {k: b.clone() for k, b in state.generator.named_buffers()}
    us = {k.removesuffix(".u"): b.clone() for k, b in state.discriminator.named_buffers()}
    adam_g, adam_d = Adam(g), Adam(d)
    on_real, on_fake, on_generated = LOSS[loss]
    n_classes = 0 if conditioning == "none" else 3
    for step in range(3):
        alpha = 2e-4 * (1 if step == 0 else 1 - step / 6)
        z, y = latents_of(step, 0, 6)
        images = generator(g, stats, z, y)
        of_g = on_generated(discriminator(d, us, images, y))
        if diversity:
            alike = similarity_by_formula(images, y if n_classes else None, 0.5)
            assert alike > 0.01  # some pairs count
            of_g = of_g + diversity * alike
        adam_g.step(of_g, alpha, 0.9)
        for i in range(2):
            x, labels = real_batch(data, 0, 2 * step + i, 4)
            x = x.double()
            z, y = latents_of(step, 1 + i, 4)
            real = discriminator(d, us, x, labels if n_classes else None)
            drawn = generator(g, stats, z, y).detach()
            total = on_real(real) + on_fake(discriminator(d, us, drawn, y))
            if penalty and (step + 1) % every == 0:
                points = penalty_points(0, step, i, 4)[:, None, None, None].double()
                total = total + every * penalty_by_formula(
                    penalty, d, us, x, drawn, points, labels if n_classes else None
                )
            adam_d.step(total, alpha, 0.9)
            if clip:
                for p in d.values():
                    p.data.clamp_(-clip, clip)
        values = game.train_step(state, config, feed, accelerator)
        assert values["loss_g"].item() == pytest.approx(of_g.item(), abs=1e-6)  # in float32
        assert not diversity or values["similarity"].item() == pytest.approx(alike.item(), abs=1e-6)
    feed.feed.close()

    # Biases before a batch norm have zero gradient; with beta1 = 0 Adam makes steps of the rounding noise, which moves
    # the running means with them and nothing else.
    noise = ("c1.bias", "c2.bias", "c_sc.bias", "running_mean")
    for key, value in state.generator.state_dict().items():
        if not key.endswith((*noise, "num_batches_tracked")):
            assert (value - g.get(key, stats.get(key))).abs().max() < 1e-9, key
    for key, value in state.discriminator.state_dict().items():
        expected = us[key.removesuffix(".u")] if key.endswith(".u") else d[key]
        assert (value - expected).abs().max() < 1e-9, key
