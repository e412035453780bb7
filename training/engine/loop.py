"""The training loop: runs or resumes a run, with logs, samples, snapshots, scores and checkpoints."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from sngan_hub.data import Images, say_left_out
from sngan_hub.data.prepared import check_blocks
from sngan_hub.text import first_line

from ..config.schema import Config, save_config
from ..feed.checks import check_apart, check_data, check_held_out, check_tenth
from ..feed.feed import new_feed
from ..feed.images import stored_images
from ..monitor.log import Log, fixed_samples, real_spread, save_grid
from ..monitor.progress import RunProgress
from ..monitor.score import best_score, check_data_for_scores, check_scoring, out_of_patience, score_snapshot
from .checkpoints import (
    CheckpointWriter,
    check_results_have_a_checkpoint,
    check_weights,
    checkpoints,
    kept,
    load_checkpoint,
    not_finite,
)
from .distributed import (
    any_process,
    check_same_data,
    check_split,
    lost_worker,
    new_accelerator,
    share_state,
)
from .machine import decide_compile, set_up
from .run_folder import check_out, is_first_process, locked
from .signals import stop_requests
from .snapshots import load_l2_sp_target, save_snapshot
from .state import State, new_state
from .step import train_step

if TYPE_CHECKING:  # imported at run time only where processes begin
    from accelerate import Accelerator


def train(config: Config, data: Images | None = None, begin: Callable[[State], None] | None = None) -> State:
    """Runs or resumes ``config`` in ``config.out`` and returns the final state.

    ``data``: used in place of ``config.data``. ``begin``: initialises the state of a new run. With ``torchrun`` or
    ``accelerate launch``, every process calls this function; only the first one writes files.
    """
    check_apart(config.out, data=config.data, held_out=config.test_folder)
    if config.score_every:
        check_scoring(config)
    check_out(Path(config.out))
    config = set_up(config)
    with locked(Path(config.out)) if is_first_process() else nullcontext():
        return _train(config, data, begin)


def _train(config: Config, data: Images | None, begin: Callable[[State], None] | None) -> State:
    accelerator = new_accelerator(config.device)
    check_split(config, accelerator.num_processes)
    data = _training_images(config, data, accelerator.is_main_process)
    config, fingerprint = decide_compile(config), data.fingerprint()
    check_same_data(fingerprint, accelerator)
    state = new_state(config, data.classes, accelerator.device)
    if accelerator.is_main_process:
        _resume_or_begin(state, config, data, fingerprint, begin)
    accelerator.wait_for_everyone()
    if config.l2_sp:
        load_l2_sp_target(state, Path(config.out))
    share_state(state, accelerator)
    _iterate(state, config, data, fingerprint, accelerator)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return state


def _training_images(config: Config, data: Images | None, main: bool) -> Images:
    """The training images. The main process checks that they are whole, and compares them with the held-out images."""
    if data is None:
        if main:
            say_left_out(config.data)
        data = stored_images(config, config.size)
    if main:
        check_blocks(data)
        if config.test_folder:
            check_held_out(data, config)
        elif not checkpoints(Path(config.out)):  # a resumed run has been told
            check_tenth(data, config)
    return data


def _resume_or_begin(
    state: State, config: Config, data: Images, fingerprint: str, begin: Callable[[State], None] | None
) -> None:
    """Resumes from the newest checkpoint, or begins a new run, and writes what marks the folder as a run."""
    out = Path(config.out)
    if config.score_every:
        check_data_for_scores(state.ema, config)
    resumed = load_checkpoint(state, config, fingerprint, out)
    if resumed:
        if state.step > config.steps:
            raise ValueError(f"steps must be {state.step:,} or more, because {out} has a checkpoint of that step (got "
                             f"{config.steps:,})")  # fmt: skip
        print(f"resumes at step {state.step:,} of {config.steps:,}", file=sys.stderr)
    else:
        check_results_have_a_checkpoint(out)
    save_config(config, out / "config.json")
    check_data(data, config, out, resumed)
    if begin and not resumed:
        begin(state)
        save_snapshot(state, out)  # the start, for comparison
        _save_samples(state, config)


def _save_samples(state: State, config: Config) -> None:
    save_grid(fixed_samples(state.ema, config.seed), Path(config.out) / "samples" / f"{state.step:07d}.png")


def _means(losses: dict[str, torch.Tensor], step: int, out: Path, accelerator: Accelerator) -> dict[str, float]:
    """The losses as means over all processes. Raises ``FloatingPointError`` if one is not finite."""
    mean: torch.Tensor = accelerator.reduce(torch.stack(list(losses.values())), "mean")  # type: ignore
    values = dict(zip(losses, mean.tolist(), strict=True))
    if not all(map(math.isfinite, values.values())):
        raise not_finite(f"losses ({', '.join(f'{k} {v:.4g}' for k, v in values.items())})", step, out)
    return values


@contextmanager
def _resumable_errors(out: Path, accelerator: Accelerator) -> Generator[None, None, None]:
    """Adds to errors of files and of lost processes what the same command will do."""
    try:
        yield
    except RuntimeError as error:
        raise lost_worker(error, accelerator, out) from error
    except OSError as error:
        if kept(out) in str(error):
            raise
        raise OSError(f"{out}: {first_line(error)}; {kept(out)}") from error


def _stopped(signals: list[str], state: State, config: Config) -> InterruptedError:
    """``signals``: the names of those that this process has received; none if another process was stopped."""
    by = {"SIGINT": "Ctrl-C"}.get(signals[0], signals[0]) if signals else "another process"
    return InterruptedError(
        f"{Path(config.out)}: stopped by {by} at step {state.step:,} of {config.steps:,}; the state is saved. The same "
        f"command resumes it"
    )


def _iterate(state: State, config: Config, data: Images, fingerprint: str, accelerator: Accelerator) -> None:
    """All iterations that are left. The main process writes logs, samples, snapshots, scores and checkpoints."""
    out, main = Path(config.out), accelerator.is_main_process
    log = Log(out, state.step, real_spread(data, state.generator.n_classes)) if main else None
    progress = RunProgress(config.steps, state.step, main)

    def due(every: int) -> bool:
        return every > 0 and (state.step % every == 0 or state.step == config.steps)

    with (
        stop_requests() as stop,
        closing(new_feed(data, config, state, accelerator)) as feed,
        closing(progress),
        closing(CheckpointWriter(config, fingerprint, out, accelerator.device.type != "cpu")) as writer,
        closing(log) if log else nullcontext(),
    ):
        ended = state.step < config.steps and out_of_patience(out, config, accelerator)
        losses: dict[str, torch.Tensor] = {}
        stopping = False
        with _resumable_errors(out, accelerator):
            while state.step < config.steps and not ended and not stopping:
                losses |= train_step(state, config, feed, accelerator)  # a lazy penalty keeps its last value
                progress.update(state.step)
                stopping = any_process(bool(stop), state.step, accelerator)
                saving = due(config.checkpoint_every) or stopping
                if due(config.log_every) or saving:
                    values = _means(losses, state.step, out, accelerator)
                    if log and due(config.log_every):
                        samples = fixed_samples(state.ema, config.seed)
                        values_now = {**values, "lr_scale": config.lr_scale(state.step)}
                        gauge = log.write(state.step, values_now, samples, feed.waited)
                        progress.say(loss_d=values["loss_d"], loss_g=values["loss_g"], spread=gauge)
                if log and due(config.sample_every):
                    _save_samples(state, config)
                if log and due(config.spectrum_every):
                    log.write_spectrum(state.step, state.discriminator)
                if main and (due(config.snapshot_every) or due(config.score_every)):
                    check_weights(state, out)
                    save_snapshot(state, out, link=not config.score_every or best_score(out, config.score) is None)
                if log and due(config.score_every):
                    log.clock += score_snapshot(state, config, out)  # excluded from the time per step
                if due(config.score_every):
                    ended = out_of_patience(out, config, accelerator)
                if main and (saving or ended):
                    writer.save(state)
                if stopping:
                    writer.wait()
                    accelerator.wait_for_everyone()  # torchrun ends all processes as soon as one has ended
        if stopping and state.step < config.steps:  # outside of the block: InterruptedError is an OSError
            raise _stopped(stop, state, config)
        if ended and main and state.step < config.steps:  # also by an earlier command, of which this one has more steps
            print(f"{out}: ended at step {state.step:,} of {config.steps:,}: no better score in {config.patience} "
                  f"scores; to go on, raise --patience or omit it", file=sys.stderr)  # fmt: skip
