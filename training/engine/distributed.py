"""Splits the images of a step: each process takes a share of the batch, and each micro-batch a part of a share.

The result does not depend on the split: random numbers are those of the whole batch (feed/feed.py), losses are means
over it, batch norm uses whole groups, and gradients are averaged once before each optimiser step.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from sngan_hub.text import first_line, plural

from ..config.schema import Config
from .checkpoints import kept, to_host

if TYPE_CHECKING:
    from accelerate import Accelerator

    from .state import State


#: How long processes wait for one another. The first one alone checks the data and computes scores, which can take
#: hours; torch's default is 10 minutes. If a process ends, torchrun ends the others at once.
PATIENCE = timedelta(days=2)


class MicroBatch(NamedTuple):
    """Consecutive images of a process's share of a batch, which are computed at once."""

    start: int  # in the share
    stop: int
    weight: float  # of its mean in the mean over the share

    @property
    def slice(self) -> slice:
        return slice(self.start, self.stop)


def new_accelerator(device: str) -> Accelerator:
    """``device``: ``cpu``, or another, as accelerate finds it. Its precision is not used: see ``Config.autocast``."""
    from accelerate import Accelerator
    from accelerate.utils import InitProcessGroupKwargs

    patience = InitProcessGroupKwargs(timeout=PATIENCE)
    return Accelerator(cpu=device == "cpu", mixed_precision="no", kwargs_handlers=[patience])


def micro_batches(total: int, size: int, accelerator: Accelerator) -> Iterator[MicroBatch]:
    """Splits this process's share of a batch of ``total`` images into parts of ``size`` (0: a single part)."""
    own = total // accelerator.num_processes
    size = size or own
    for start in range(0, own, size):
        stop = min(start + size, own)
        yield MicroBatch(start, stop, (stop - start) / own)


def check_split(config: Config, processes: int) -> None:
    """Raises ``ValueError`` if processes or micro-batches would split a batch-norm group, or what is compared."""
    if config.diversity_weight and processes > 1:
        raise ValueError(f"diversity_weight compares all images of a generator step and needs one process "
                         f"(got {processes}); start one process, or set --diversity-weight 0")  # fmt: skip
    for phase, total, group in (("batch_size", config.batch_size, config.bn_group_d),
                                ("g_batch_size", config.g_batch_size, config.bn_group_g)):  # fmt: skip
        name = "bn_group_g" if phase == "g_batch_size" else "bn_group_d"
        if total % processes:
            raise ValueError(f"{phase} must be a multiple of the number of processes, {processes} (got {total})")
        own = total // processes
        cut = processes > 1 or 0 < config.micro_batch < own
        if cut and not group:
            raise ValueError(
                f"{name} must be above 0 to split a batch (got 0, with micro_batch {config.micro_batch} and "
                f"{plural(processes, 'process', 'processes')}); set it to the size of a batch-norm group (of a started "
                f"run: in a new --out)"
            )
        for what, size in ((f"{phase} per process", own), ("micro_batch", min(config.micro_batch, own))):
            if group and size % group:
                raise ValueError(f"{what} must be a multiple of {name}, {group} (got {size})")


def check_same_data(fingerprint: str, accelerator: Accelerator) -> None:
    """Raises ``ValueError`` unless all processes, which may be on several machines, read the same images."""
    if accelerator.num_processes == 1:
        return
    from accelerate.utils import gather_object

    found: list[str] = gather_object([fingerprint])
    if different := [str(i) for i, other in enumerate(found) if other != found[0]]:
        raise ValueError(f"data must be the same images for all processes (got others in process "
                         f"{', '.join(different)}); copy the folder of the first machine to the others")  # fmt: skip


def average_gradients(network: nn.Module, accelerator: Accelerator) -> None:
    """The mean over all processes, in one message."""
    if accelerator.num_processes == 1:
        return
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    mean: torch.Tensor = accelerator.reduce(torch.cat([grad.reshape(-1) for grad in grads]), "mean")  # type: ignore
    for grad, part in zip(grads, mean.split([grad.numel() for grad in grads]), strict=True):
        grad.copy_(part.view_as(grad))


def share_state(state: State, accelerator: Accelerator) -> None:
    """Sends the state that the first process has read from disk to all processes."""
    if accelerator.num_processes == 1:
        return
    from accelerate.utils import broadcast_object_list

    # Via the CPU: otherwise every process would unpickle the tensors onto the first process's GPU.
    parts = broadcast_object_list([to_host(state.state_dict()) if accelerator.is_main_process else None])[0]
    if not accelerator.is_main_process:
        assert parts is not None
        state.load_state_dict(parts)


def any_process(said: bool, step: int, accelerator: Accelerator) -> bool:
    """Whether ``said`` is true in any process. The result is the same in all processes, so that they stop in one step.

    The query makes the host wait for the GPU. On a GPU it is therefore made in every tenth step only; otherwise False.
    """
    if accelerator.num_processes == 1:
        return said
    if accelerator.device.type != "cpu" and step % 10:
        return False
    flag = torch.tensor(float(said), device=accelerator.device)
    return bool(accelerator.reduce(flag, "sum") > 0)  # type: ignore[operator]


def lost_worker(error: RuntimeError, accelerator: Accelerator, out: Path) -> Exception:
    """Converts errors of collectives with a lost process to one that states how to resume. Others are unchanged."""
    text = str(error).lower()
    gone = any(word in text for word in ("connection", "peer", "nccl", "timed out"))
    if accelerator.num_processes > 1 and gone:
        return ConnectionError(f"{out}: another process of the run has ended ({first_line(error)}); {kept(out)}")
    return error
