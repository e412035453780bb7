"""The game on one page."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator
from tqdm import tqdm

from sngan_hub.models import find_model
from sngan_hub.normalizers import as_one_forward, set_batch_norm_group
from sngan_hub.sources import Images, load_images

from .augment import Place, augment
from .config import Config, save_config
from .data import latents, real_batch
from .ema import update_ema
from .log import Log, fixed_samples, real_spread, save_grid
from .losses import LOSSES
from .shares import Share, average_gradients, check_shares, share_state, shares
from .state import State, load_checkpoint, new_state, save_checkpoint, save_snapshot
from .stop import stop_requests


def train(config: Config, data: Images | None = None) -> State:
    """Runs or resumes ``config`` in ``config.out``; the state it ends with. ``data`` stands in for ``config.data``.

    Under ``torchrun`` or ``accelerate launch`` every process calls it; the first one alone writes.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    accelerator = Accelerator(cpu=config.device == "cpu", mixed_precision="no")
    check_shares(config, accelerator.num_processes)
    out, main = Path(config.out), accelerator.is_main_process
    data = data or load_images(config.data, "train", find_model(config.architecture).size)
    fingerprint = data.fingerprint()
    state = new_state(config, data.classes, accelerator.device)
    if main:
        load_checkpoint(state, config, fingerprint, out)
    share_state(state, accelerator)
    if main:
        out.mkdir(parents=True, exist_ok=True)
        save_config(config, out / "config.json")
    spread = real_spread(data if state.generator.n_classes else data.as_one_class())
    log = Log(out, state.step, spread) if main else None
    bar = tqdm(total=config.steps, initial=state.step, unit="step", disable=None if main else True)
    with stop_requests() as stop, closing(bar), closing(log) if log else nullcontext():
        while state.step < config.steps:
            losses = train_step(state, config, data, accelerator)
            bar.update()
            done = state.step == config.steps
            if state.step % config.log_every == 0 or done:
                mean: torch.Tensor = accelerator.reduce(torch.stack(list(losses.values())), "mean")  # type: ignore
                values = dict(zip(losses, mean.tolist(), strict=True))
                if not all(map(math.isfinite, values.values())):
                    raise FloatingPointError(
                        f"step {state.step}: loss is {values}; the last checkpoint in {out} is from before, run the "
                        f"same command with a lower lr_g or lr_d in another --out"
                    )
                if log:
                    samples = fixed_samples(state.average, config.seed)
                    gauge = log.write(state.step, {**values, "lr_scale": config.lr_scale(state.step)}, samples)
                    bar.set_postfix({k: f"{values[k]:.2f}" for k in ("loss_d", "loss_g")}, spread=f"{gauge:.2f}")
            if main and (state.step % config.sample_every == 0 or done):
                save_grid(fixed_samples(state.average, config.seed), out / "samples" / f"{state.step:07d}.png")
            if main and (state.step % config.snapshot_every == 0 or done):
                save_snapshot(state, out)
            if main and (state.step % config.checkpoint_every == 0 or done or stop):
                save_checkpoint(state, config, fingerprint, out)
            if stop and not done:
                raise InterruptedError(
                    f"{out}: stopped by {stop[0]} at step {state.step}, which is saved; the same command goes on"
                )
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return state


def train_step(state: State, config: Config, data: Images, accelerator: Accelerator) -> dict[str, torch.Tensor]:
    """One iteration of the authors' updater: a G step, then ``n_dis`` D steps. Advances ``state.step``.

    Every process computes its consecutive share of each batch, in micro-batches whose gradients add up.
    """
    g, d, loss = state.generator, state.discriminator, LOSSES[config.loss]
    seed, step, names = config.seed, state.step, config.augmentations()
    device = accelerator.device
    for network in (g, d, state.average):
        network.class_strength = config.class_strength(step)
    for optimizer, lr in ((state.opt_g, config.lr_g), (state.opt_d, config.lr_d)):
        optimizer.param_groups[0]["lr"] = lr * config.lr_scale(step)

    def judge(x: torch.Tensor, y: torch.Tensor | None, part: int, share: Share) -> torch.Tensor:
        return d(augment(x, names, seed, step, part, Place(share.start, share.total)), y)

    def fakes(part: int, share: Share) -> tuple[torch.Tensor, torch.Tensor | None]:
        z, y = latents(seed, step, part, share.total, g.z_dim, g.n_classes)
        y = None if y is None else y[share.slice].to(device)
        return g(z[share.slice].to(device), y), y

    def add_gradient(term: Callable, score: torch.Tensor, share: Share) -> torch.Tensor:
        value = term(score) * share.weight
        accelerator.backward(value)
        return value.detach()

    d.requires_grad_(False)
    set_batch_norm_group(g, config.bn_group_g)
    state.opt_g.zero_grad(set_to_none=True)
    loss_g = torch.zeros((), device=device)
    with as_one_forward(g, d):
        for share in shares(config.g_batch_size, config.micro_batch, accelerator):
            with config.autocast(device):
                score = judge(*fakes(0, share), 0, share)
            loss_g += add_gradient(loss.generator, score, share)
    average_gradients(g, accelerator)
    state.opt_g.step()
    d.requires_grad_(True)
    values = {"loss_g": loss_g}

    set_batch_norm_group(g, config.bn_group_d)
    for i in range(config.n_dis):
        state.opt_d.zero_grad(set_to_none=True)
        sums = {name: torch.zeros((), device=device) for name in ("loss_d", "score_real", "score_fake")}
        real, y_real = real_batch(data, seed, step * config.n_dis + i, config.batch_size, config.flip)
        with as_one_forward(d):
            for share in shares(config.batch_size, config.micro_batch, accelerator):
                x, y = real[share.slice].to(device), y_real[share.slice].to(device)
                with config.autocast(device):
                    score = judge(x, y if d.n_classes else None, 2 * i + 1, share)
                sums["loss_d"] += add_gradient(loss.real, score, share)
                sums["score_real"] += score.detach().mean() * share.weight
        with as_one_forward(g, d):
            for share in shares(config.batch_size, config.micro_batch, accelerator):
                with config.autocast(device):
                    with torch.no_grad():
                        fake, y_fake = fakes(1 + i, share)
                    score = judge(fake, y_fake, 2 * i + 2, share)
                sums["loss_d"] += add_gradient(loss.fake, score, share)
                sums["score_fake"] += score.detach().mean() * share.weight
        average_gradients(d, accelerator)
        state.opt_d.step()
        values |= sums

    state.step += 1
    if state.average is not g:
        update_ema(state.average, g, config.ema_decay, step)
    return values
