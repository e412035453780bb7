"""One iteration of the game."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sngan_hub.network import Network
from sngan_hub.normalizers import as_one_forward, set_batch_norm_group

from .augment import Place, augment
from .config import Config
from .data import latents, penalty_points
from .ema import update_ema
from .losses import LOSSES
from .penalties import clip_weights_, gradient_penalty, orthonormal_penalty
from .shares import Share, average_gradients, shares
from .state import State

if TYPE_CHECKING:  # the loop alone imports it
    from accelerate import Accelerator

Feed = Callable[[int], tuple[Tensor, Tensor]]  # number of a batch of the run -> real images, labels


def train_step(state: State, config: Config, feed: Feed, accelerator: Accelerator) -> dict[str, Tensor]:
    """One iteration of the authors' updater.py: a G step, then ``n_dis`` D steps. Advances ``state.step``.

    Every process computes its consecutive share of each batch, in micro-batches whose gradients add up. Returns the
    means of the losses and scores over this process's share; the losses of D are of the last of its steps.
    """
    g, d, loss = state.generator, state.discriminator, LOSSES[config.loss]
    seed, step, names = config.seed, state.step, config.augmentations()
    device = accelerator.device
    for network in (g, d, state.average):
        network.class_strength = config.class_strength(step)
    for optimizer, lr in ((state.opt_g, config.lr_g), (state.opt_d, config.lr_d)):
        optimizer.param_groups[0]["lr"] = lr * config.lr_scale(step)

    def judge(x: Tensor, y: Tensor | None, part: int, share: Share) -> Tensor:
        return d(augment(x, names, seed, step, part, Place(share.start, share.total)), y)

    def fakes(part: int, share: Share) -> tuple[Tensor, Tensor | None]:
        z, y = latents(seed, step, part, share.total, g.z_dim, g.n_classes)
        y = None if y is None else y[share.slice].to(device)
        return g(z[share.slice].to(device), y), y

    def add_gradient(value: Tensor, share: Share) -> Tensor:
        value = value * share.weight
        accelerator.backward(value)
        return value.detach()

    def zeros(*keys: str) -> dict[str, Tensor]:
        return {key: torch.zeros((), device=device) for key in keys}

    of_d = state.opt_d.param_groups[0]["params"]
    for p in of_d:
        p.requires_grad_(False)
    for network in (g, d):
        set_batch_norm_group(network, config.bn_group_g)
    state.opt_g.zero_grad(set_to_none=True)
    values = zeros("loss_g")
    if step >= config.d_warm_up:
        with as_one_forward(g, d):
            for share in shares(config.g_batch_size, config.micro_batch, accelerator):
                with config.autocast(device):
                    score = judge(*fakes(0, share), 0, share)
                values["loss_g"] += add_gradient(loss.generator(score), share)
        average_gradients(g, accelerator)
        state.opt_g.step()
        pull_to_start(state, g, config.l2_sp, state.opt_g)
    for p in of_d:
        p.requires_grad_(True)

    for network in (g, d):
        set_batch_norm_group(network, config.bn_group_d)
    for i in range(config.n_dis):
        state.opt_d.zero_grad(set_to_none=True)
        values |= zeros("loss_d", "score_real", "score_fake", *(["penalty"] if config.penalty else []))
        real, y_real = feed(step * config.n_dis + i)
        own = list(shares(config.batch_size, config.micro_batch, accelerator))
        with as_one_forward(d):
            for share in own:
                x, y = real[share.slice].to(device), y_real[share.slice].to(device)
                with config.autocast(device):
                    score = judge(x, y if d.n_classes else None, 2 * i + 1, share)
                values["loss_d"] += add_gradient(loss.real(score), share)
                values["score_real"] += score.detach().mean() * share.weight
        kept = []
        with as_one_forward(g, d):
            for share in own:
                with config.autocast(device):
                    with torch.no_grad():
                        fake, y_fake = fakes(1 + i, share)
                    score = judge(fake, y_fake, 2 * i + 2, share)
                values["loss_d"] += add_gradient(loss.fake(score), share)
                values["score_fake"] += score.detach().mean() * share.weight
                kept += [fake] if config.penalty == "gradient" else []
        if config.penalty == "gradient":
            points = penalty_points(seed, step, i, config.batch_size)
            with as_one_forward(d):
                for share, fake in zip(own, kept, strict=True):
                    x, y = real[share.slice].to(device), y_real[share.slice].to(device)
                    label = y if d.n_classes else None
                    term = gradient_penalty(d, x, fake, points[share.slice].to(device), label)
                    values["penalty"] += add_gradient(config.penalty_weight * term, share)
        elif config.penalty == "orthonormal":
            term = config.penalty_weight * orthonormal_penalty(d)
            accelerator.backward(term)
            values["penalty"] = term.detach()
        average_gradients(d, accelerator)
        state.opt_d.step()
        pull_to_start(state, d, config.l2_sp, state.opt_d)
        if config.clip:
            clip_weights_(d, config.clip)

    state.step += 1
    if state.average is not g:
        update_ema(state.average, g, config.ema_decay, step)
    return values


@torch.no_grad()
def pull_to_start(state: State, network: Network, strength: float, optimizer: torch.optim.Optimizer) -> None:
    """L2-SP (Li et al. 2018), apart from Adam as decoupled weight decay is: w -= lr strength (w - w_start)."""
    if strength and state.anchor is not None:
        own = state.anchor[network.kind]
        share = optimizer.param_groups[0]["lr"] * strength
        for name, parameter in network.named_parameters():
            if name in own:
                parameter.lerp_(own[name], min(share, 1.0))
