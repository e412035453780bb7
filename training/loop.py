"""The game on one page."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from accelerate import Accelerator
from tqdm import tqdm

from sngan_hub.models import find_model
from sngan_hub.sources import Images, load_images

from .augment import augment
from .config import Config, save_config
from .data import latents, real_batch
from .ema import update_ema
from .log import Log, fixed_samples, pixel_spread, real_spread, save_grid
from .losses import LOSSES
from .state import State, load_checkpoint, new_state, save_checkpoint, save_snapshot


def train(config: Config, data: Images | None = None) -> State:
    """Runs or resumes ``config`` in ``config.out``; the state it ends with. ``data`` stands in for ``config.data``."""
    if config.threads:
        torch.set_num_threads(config.threads)
    accelerator = Accelerator(cpu=config.device == "cpu", mixed_precision="no")
    out = Path(config.out)
    data = data or load_images(config.data, "train", find_model(config.architecture).size)
    fingerprint = data.fingerprint()
    state = new_state(config, data.classes)
    load_checkpoint(state, config, fingerprint, out)
    out.mkdir(parents=True, exist_ok=True)
    save_config(config, out / "config.json")
    log = Log(out, state.step)
    spread = real_spread(data)
    bar = tqdm(total=config.steps, initial=state.step, unit="step", disable=None)
    seen, clock = state.step, time.perf_counter()
    try:
        while state.step < config.steps:
            losses = train_step(state, config, data, accelerator)
            bar.update()
            done = state.step == config.steps
            if state.step % config.log_every == 0 or done:
                values = {name: float(value) for name, value in losses.items()}
                if not all(map(_finite, values.values())):
                    raise FloatingPointError(
                        f"step {state.step}: loss is {values}; the last checkpoint in {out} is from before, run the "
                        f"same command with a lower lr_g or lr_d in another --out"
                    )
                ratio = pixel_spread(fixed_samples(state.average, config.seed), 20) / spread
                seconds = (time.perf_counter() - clock) / (state.step - seen)
                seen, clock = state.step, time.perf_counter()
                log.write(state.step, {**values, "lr_scale": config.lr_scale(state.step), "spread": float(ratio.mean()),
                                       "spread_worst": float(ratio.min()), "seconds_per_step": seconds})  # fmt: skip
                bar.set_postfix({k: f"{values[k]:.2f}" for k in ("loss_d", "loss_g")}, spread=f"{ratio.mean():.2f}")
            if state.step % config.sample_every == 0 or done:
                save_grid(fixed_samples(state.average, config.seed), out / "samples" / f"{state.step:07d}.png")
            if state.step % config.snapshot_every == 0 or done:
                save_snapshot(state, out)
            if state.step % config.checkpoint_every == 0 or done:
                save_checkpoint(state, config, fingerprint, out)
    finally:
        bar.close()
        log.close()
    return state


def train_step(state: State, config: Config, data: Images, accelerator: Accelerator) -> dict[str, torch.Tensor]:
    """One iteration of the authors' updater: a G step, then ``n_dis`` D steps. Advances ``state.step``."""
    g, d, loss = state.generator, state.discriminator, LOSSES[config.loss]
    seed, step, names = config.seed, state.step, config.augmentations()
    for network in (g, d, state.average):
        network.class_strength = config.class_strength(step)
    for optimizer, lr in ((state.opt_g, config.lr_g), (state.opt_d, config.lr_d)):
        optimizer.param_groups[0]["lr"] = lr * config.lr_scale(step)

    def autocast() -> torch.autocast:
        # Not accelerate's: its precision is fixed by the first Accelerator of the process, whatever later ones ask for.
        return torch.autocast(accelerator.device.type, torch.bfloat16, enabled=config.precision == "bf16")

    def fakes(part: int, n: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        z, y = latents(seed, step, part, n, g.z_dim, g.n_classes)
        y = None if y is None else y.to(accelerator.device)
        return g(z.to(accelerator.device), y), y

    d.requires_grad_(False)
    with autocast():
        x, y = fakes(0, config.g_batch_size)
        loss_g = loss.generator(d(augment(x, names, seed, step, 0), y))
    state.opt_g.zero_grad(set_to_none=True)
    accelerator.backward(loss_g)
    state.opt_g.step()
    d.requires_grad_(True)
    values = {"loss_g": loss_g}

    for i in range(config.n_dis):
        real, y_real = real_batch(data, seed, step * config.n_dis + i, config.batch_size, config.flip)
        real, y_real = real.to(accelerator.device), y_real.to(accelerator.device)
        with autocast():
            with torch.no_grad():
                fake, y_fake = fakes(1 + i, config.batch_size)
            score_real = d(augment(real, names, seed, step, 2 * i + 1), y_real if d.n_classes else None)
            score_fake = d(augment(fake, names, seed, step, 2 * i + 2), y_fake)
            loss_d = loss.discriminator(score_real, score_fake)
        state.opt_d.zero_grad(set_to_none=True)
        accelerator.backward(loss_d)
        state.opt_d.step()
        values |= {"loss_d": loss_d, "score_real": score_real.mean(), "score_fake": score_fake.mean()}

    state.step += 1
    if state.average is not g:
        update_ema(state.average, g, config.ema_decay, step)
    return {name: value.detach() for name, value in values.items()}


def _finite(value: float) -> bool:
    return value - value == 0
