"""One training iteration: a generator step, then the discriminator steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from sngan_hub.layers.logical_forward import logical_forwards
from sngan_hub.networks.base import AnyDiscriminator, AnyGenerator, Network

from ..config.schema import Config
from ..feed.augment import augment
from ..feed.feed import Draws, Fake, Iteration
from .cuda_graph import RecordedUpdates
from .distributed import MicroBatch, average_gradients, micro_batches
from .ema import update_ema
from .losses import LOSSES, similarity
from .penalties import clip_weights_, gradient_penalty, orthonormal_penalty, r1_penalty
from .state import State
from .transition import set_class_strength

if TYPE_CHECKING:  # imported at run time only by the loop
    from accelerate import Accelerator

Labels = Tensor | None
Batches = list[tuple[Tensor, Labels]]  # images and labels of each micro-batch


class Feeds(Protocol):
    def iteration(self, step: int) -> Iteration: ...


def train_step(state: State, config: Config, feed: Feeds, accelerator: Accelerator) -> dict[str, Tensor]:
    """One iteration of the authors' updater.py: a G step, then ``n_dis`` D steps. Advances ``state.step``.

    Every process computes its consecutive share of each batch, in micro-batches whose gradients add up. Returns the
    means of the losses and scores over this process's share; the losses of D are of the last of its steps.
    """
    step, device = state.step, accelerator.device
    if config.transition_to:
        networks = (state.generator, state.discriminator, state.ema)
        set_class_strength(networks, config.class_strength(step), device)
    state.opt_g.param_groups[0]["lr"] = config.lr_g * config.lr_scale_g(step)
    state.opt_d.param_groups[0]["lr"] = config.lr_d * config.lr_scale(step)

    drawn = feed.iteration(step)
    if config.uses_graphs:
        warming_up = step < config.d_warm_up
        if state.recorded is None:
            order = [state.opt_g] * (not warming_up) + [state.opt_d] * config.n_dis
            state.recorded = RecordedUpdates(partial(update, state, config, accelerator), order, device)
        values = state.recorded(drawn)
        if warming_up and step + 1 == config.d_warm_up:
            state.recorded = None  # from here on, G is trained too
    else:
        values = update(state, config, accelerator, drawn)
    state.step += 1
    if state.ema is not state.generator:
        update_ema(state.ema, state.generator, config.ema_decay, step)
    return values


def update(state: State, config: Config, accelerator: Accelerator, drawn: Iteration) -> dict[str, Tensor]:
    """All updates of one iteration, with the optimisers' learning rates -> losses and scores."""
    values = generator_step(state, config, drawn, accelerator)
    # G does not change any more in this iteration, so all its images for D are generated first.
    fakes = [images_for_d(state, config, fake, accelerator) for fake in drawn.fake_d]
    for i, fake in enumerate(fakes):
        values |= discriminator_step(state, config, drawn, i, fake, accelerator)
    return values


def generator_step(state: State, config: Config, drawn: Iteration, accelerator: Accelerator) -> dict[str, Tensor]:
    """One update of G by D's scores of ``g_batch_size`` fakes -> ``loss_g``. Changes D's u, but not its weights.

    With ``diversity_weight``, the ``similarity`` of the fakes is part of the loss and returned too.
    """
    g, d, device = state.generator, state.discriminator, accelerator.device
    names = ("loss_g", "similarity") if config.diversity_weight else ("loss_g",)
    values = {name: torch.zeros((), device=device) for name in names}
    if state.step < config.d_warm_up:
        return values
    functions = step_functions(config)
    of_d = state.opt_d.param_groups[0]["params"]
    for p in of_d:
        p.requires_grad_(False)
    state.opt_g.zero_grad(set_to_none=True)
    with logical_forwards(g, d, batch_norm_group=config.bn_group_g) as forward:
        for micro_batch in micro_batches(config.g_batch_size, config.micro_batch, accelerator):
            z, y = latents_of(drawn.fake_g, micro_batch)
            with config.autocast(device):
                loss, terms = functions.generator_loss(g, d, z, y, part_of(drawn.augment_g, micro_batch))
            values["loss_g"] += add_gradient(loss, micro_batch, accelerator)
            for name, term in terms.items():
                values[name] += term.detach() * micro_batch.weight
            forward.next_micro_batch()
    average_gradients(g, accelerator)
    state.opt_g.step()
    apply_l2_sp(state, g, config.l2_sp, state.opt_g)
    for p in of_d:
        p.requires_grad_(True)
    return values


@torch.no_grad()
def images_for_d(state: State, config: Config, fake: Fake, accelerator: Accelerator) -> Batches:
    """G's images of one D step, from ``fake``, in this process's micro-batches."""
    g, functions, made = state.generator, step_functions(config), []
    with logical_forwards(g, batch_norm_group=config.bn_group_d) as forward, config.autocast(accelerator.device):
        for micro_batch in micro_batches(config.batch_size, config.micro_batch, accelerator):
            z, y = latents_of(fake, micro_batch)
            made.append((functions.generate(g, z, y), y))
            forward.next_micro_batch()
    return made


def discriminator_step(
    state: State, config: Config, drawn: Iteration, i: int, fakes: Batches, accelerator: Accelerator
) -> dict[str, Tensor]:
    """Update ``i`` of D in this iteration, by ``batch_size`` real images and as many fakes -> its losses and scores."""
    d, device, functions, real = state.discriminator, accelerator.device, step_functions(config), drawn.real[i]
    parts = list(micro_batches(config.batch_size, config.micro_batch, accelerator))
    reals: Batches = [(real.images(part.slice), real.labels[part.slice] if d.n_classes else None) for part in parts]
    augment_real = [part_of(drawn.augment_real[i], part) for part in parts]
    augment_fake = [part_of(drawn.augment_fake[i], part) for part in parts]
    values = {key: torch.zeros((), device=device) for key in ("loss_d", "score_real", "score_fake")}

    def add(loss: Tensor, scores: dict[str, Tensor], micro_batch: MicroBatch) -> None:
        values["loss_d"] += add_gradient(loss, micro_batch, accelerator)
        for key, score in scores.items():
            values[key] += score.detach() * micro_batch.weight

    state.opt_d.zero_grad(set_to_none=True)
    with logical_forwards(d, count=2, batch_norm_group=config.bn_group_d) as forwards:  # of real images, of fakes
        if config.one_pass:
            forwards.all_in_one()
            for part, *both in zip(parts, reals, fakes, augment_real, augment_fake, strict=True):
                with config.autocast(device):
                    loss, scores = functions.both_losses(d, *both)
                add(loss, scores, part)
        else:
            passes = (functions.real_loss, reals, augment_real), (functions.fake_loss, fakes, augment_fake)
            for k, (loss_of, batches, all_draws) in enumerate(passes):
                forwards.begin(k)
                for part, (x, y), draws in zip(parts, batches, all_draws, strict=True):
                    with config.autocast(device):
                        loss, scores = loss_of(d, x, y, draws)
                    add(loss, scores, part)
                    forwards.next_micro_batch()
    if config.penalty and (state.step + 1) % config.penalty_every == 0:
        points = drawn.points[i] if config.penalty == "gradient" else None
        values["penalty"] = add_penalty(state, config, reals, fakes, points, accelerator)
    average_gradients(d, accelerator)
    state.opt_d.step()
    apply_l2_sp(state, d, config.l2_sp, state.opt_d)
    if config.clip:
        clip_weights_(d, config.clip)
    return values


def add_penalty(
    state: State, config: Config, reals: Batches, fakes: Batches, points: Tensor | None, accelerator: Accelerator
) -> Tensor:
    """Adds the gradient of the penalty on D, at images without augmentation. Returns the value of the penalty.

    ``points``: ``penalty_points`` of the penalty ``gradient``; None for the others.
    """
    d, device, weight = state.discriminator, accelerator.device, config.penalty_weight * config.penalty_every
    if config.penalty == "orthonormal":
        term = weight * orthonormal_penalty(d)
        accelerator.backward(term)
        return term.detach()
    total = torch.zeros((), device=device)
    parts = micro_batches(config.batch_size, config.micro_batch, accelerator)
    with logical_forwards(d, batch_norm_group=config.bn_group_d, twice=True) as forward:
        for part, (x, y), (fake, _) in zip(parts, reals, fakes, strict=True):
            if points is None:  # r1
                term = r1_penalty(d, x, y)
            else:
                term = gradient_penalty(d, x, fake, points[part.slice], y)
            total += add_gradient(weight * term, part, accelerator)
            forward.next_micro_batch()
    return total


# ---------------------------------------------------------------------------------------------------------------------
# The differentiated functions, compiled or not


class StepFunctions(NamedTuple):
    """Functions of networks and tensors alone. G's loss comes with its terms, D's losses with its mean scores."""

    generate: Callable[..., Tensor]
    generator_loss: Callable[..., tuple[Tensor, dict[str, Tensor]]]
    real_loss: Callable[..., tuple[Tensor, dict[str, Tensor]]]
    fake_loss: Callable[..., tuple[Tensor, dict[str, Tensor]]]
    both_losses: Callable[..., tuple[Tensor, dict[str, Tensor]]]


@lru_cache(maxsize=4)
def step_functions(config: Config) -> StepFunctions:
    """The functions for ``config``. They are kept, so that each is compiled once."""
    loss, names = LOSSES[config.loss], config.augmentations()

    def generate(g: AnyGenerator, z: Tensor, y: Labels) -> Tensor:
        return g(z, y)

    def generator_loss(g: AnyGenerator, d: AnyDiscriminator, z: Tensor, y: Labels, draws: Draws) -> Any:
        x = g(z, y)
        value = loss.generator(d(augment(x, names, draws), y))
        if not config.diversity_weight:
            return value, {}
        alike = similarity(x, y, config.diversity_distance)
        return value + config.diversity_weight * alike, {"similarity": alike}

    def real_loss(d: AnyDiscriminator, x: Tensor, y: Labels, draws: Draws) -> Any:
        score = d(augment(x, names, draws), y)
        return loss.real(score), {"score_real": score.mean()}

    def fake_loss(d: AnyDiscriminator, x: Tensor, y: Labels, draws: Draws) -> Any:
        score = d(augment(x, names, draws), y)
        return loss.fake(score), {"score_fake": score.mean()}

    def both_losses(d: AnyDiscriminator, real: Any, fake: Any, of_real: Draws, of_fake: Draws) -> Any:
        x = torch.cat([augment(real[0], names, of_real), augment(fake[0], names, of_fake)])
        y = None if real[1] is None else torch.cat([real[1], fake[1]])
        score_real, score_fake = d(x, y).chunk(2)
        means = {"score_real": score_real.mean(), "score_fake": score_fake.mean()}
        return loss.discriminator(score_real, score_fake), means

    functions: Any = [generate, generator_loss, real_loss, fake_loss, both_losses]
    if config.compiles:
        functions = [torch.compile(function, fullgraph=True, dynamic=False) for function in functions]
    return StepFunctions(*functions)


def latents_of(fake: Fake, micro_batch: MicroBatch) -> tuple[Tensor, Labels]:
    return fake.z[micro_batch.slice], None if fake.labels is None else fake.labels[micro_batch.slice]


def part_of(draws: Draws, micro_batch: MicroBatch) -> Draws:
    """The random numbers of the augmentation of a micro-batch, from those of the whole share."""
    return [values[:, micro_batch.slice] for values in draws]


def add_gradient(value: Tensor, micro_batch: MicroBatch, accelerator: Accelerator) -> Tensor:
    value = value * micro_batch.weight
    accelerator.backward(value)
    return value.detach()


@torch.no_grad()
def apply_l2_sp(state: State, network: Network, strength: float, optimizer: torch.optim.Optimizer) -> None:
    """L2-SP (Li et al. 2018), after Adam's update, like decoupled weight decay: w -= lr strength (w - w_start)."""
    if strength and state.l2_sp_target is not None:
        target = state.l2_sp_target[network.kind]
        step_size = optimizer.param_groups[0]["lr"] * strength
        for name, parameter in network.named_parameters():
            if name in target:
                parameter.lerp_(target[name], min(step_size, 1.0))
