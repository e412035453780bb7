"""Several processes and micro-batches compute the same algorithm as one process at once: weights, u and statistics."""

import functools
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from sngan_hub.data import Images
from sngan_hub.layers.logical_forward import logical_forwards
from sngan_hub.layers.normalizers import BatchNorm2d, Conv2d, spectral_norm
from sngan_hub.networks.registry import MODELS, Model
from training.config.schema import make_config
from training.engine import step as game
from training.engine.distributed import check_split, micro_batches
from training.engine.state import new_state
from training.feed.feed import Fake, Real, new_feed

from . import warm
from .conftest import ROOT

SETTINGS = dict(
    n_dis=2, batch_size=8, g_batch_size=16, bn_group_d=2, bn_group_g=4, lr_g=2e-4, lr_d=2e-4, beta2=0.9, ema_decay=0.9,
    augment="color,translation,cutout", flip=True, precision="fp32", channels_last=False, transition_from=0, transition_to=4,
    steps=20, decay_from=5, decay_to=20, architecture="sngan_tiny",
)  # fmt: skip


def some_data():
    rng = np.random.default_rng(0)
    return Images(rng.integers(0, 256, (40, 3, 32, 32), dtype=np.uint8), np.arange(40) % 2, ["a", "b"])


class InDtype:
    """A run's own draws, with images and latents in ``dtype``."""

    def __init__(self, feed, dtype):
        self.feed, self.dtype = feed, dtype

    def iteration(self, step):
        drawn = self.feed.iteration(step)
        real = [Real(own.images().to(self.dtype), None, own.labels) for own in drawn.real]
        fake_g, *fake_d = [Fake(own.z.to(self.dtype), own.labels) for own in (drawn.fake_g, *drawn.fake_d)]
        return drawn._replace(real=real, fake_g=fake_g, fake_d=fake_d)


def train_step(state, config, feed, accelerator):
    """A step, and what no comparison of two steps can tell: the networks' class strength, and the average of G."""
    step, before = state.step, {key: value.clone() for key, value in state.ema.state_dict().items()}
    losses = game.train_step(state, config, feed, accelerator)
    if config.transition_to:
        for network in (state.generator, state.discriminator, state.ema):
            assert float(network.class_strength) == pytest.approx(config.class_strength(step), abs=1e-6)
    if state.ema is not state.generator:
        new, kept = state.generator.state_dict(), min(config.ema_decay, (1 + step) / (10 + step))
        for key, value in state.ema.state_dict().items():
            if value.is_floating_point() and not key.endswith("class_strength"):
                assert torch.allclose(value, torch.lerp(before[key], new[key], 1 - kept), atol=1e-6), key
    return losses


NEAR_ZERO = {"head_scale": 0.02, "embed_scale": 0.02}  # scores within the hinge, so that every image has a gradient
TINY = Model(32, 2, {"widths": [8, 8, 4, 4]}, {"widths": [4, 4, 8, 8], **NEAR_ZERO})
SHALLOW = Model(32, 2, {"widths": [8, 4], "bottom_width": 16}, {"widths": [4, 8], "down": "10", **NEAR_ZERO})


def run(steps, dtype, model=TINY, **overrides):
    """``steps`` iterations from the same start -> the state. Weights away from their symmetric start: biases too."""
    MODELS["sngan_tiny"] = model
    config = make_config("fashion32", **{**SETTINGS, **overrides})
    state = new_state(config, ["a", "b"])
    accelerator = Accelerator(cpu=True)
    check_split(config, accelerator.num_processes)
    for network in (state.generator, state.discriminator, state.ema):
        network.to(dtype)
    feed = InDtype(new_feed(some_data(), config, state, accelerator), dtype)
    try:
        for _ in range(steps):
            losses = train_step(state, config, feed, accelerator)
        mean = accelerator.reduce(torch.stack(list(losses.values())), "mean")
    finally:
        feed.feed.close()
        del MODELS["sngan_tiny"]
    return state, mean, accelerator


def tensors(state):
    return {
        f"{name}.{key}": value.clone()
        for name in ("generator", "discriminator", "ema")
        for key, value in getattr(state, name).state_dict().items()
    }


def moved_by_rounding(key):
    """Biases before a batch norm have zero gradient; Adam with beta1 = 0 makes full steps of their rounding noise."""
    in_block = ".blocks." in key and not key.startswith("discriminator")
    return (in_block and key.endswith(("c1.bias", "c2.bias", "c_sc.bias"))) or key.endswith("running_mean")


def assert_close(ours, theirs, atol, skip=lambda key: False):
    for key, value in theirs.items():
        if not skip(key):
            assert (ours[key] - value).abs().max() <= atol, (key, (ours[key] - value).abs().max())


@functools.cache
def run_once(steps, dtype):
    """``run``, for those that only compare with its result."""
    return run(steps, dtype, seed=seed_of(dtype))


def seed_of(dtype):
    """Of seeds 0 to 5, float32 differs by 4e-7 at most, but for 0: there an activation lies within rounding of a kink."""
    return int(dtype == torch.float32)


@pytest.mark.parametrize("micro_batch", [4, 8])
def test_micro_batches_are_exact(micro_batch):
    whole, losses, _ = run_once(20, torch.float64)
    parts, losses_too, _ = run(20, torch.float64, micro_batch=micro_batch)
    assert_close(tensors(parts), tensors(whole), 1e-9)
    assert torch.allclose(losses, losses_too, atol=1e-9)
    whole, parts = run_once(2, torch.float32)[0], run(2, torch.float32, micro_batch=micro_batch, seed=1)[0]
    assert_close(tensors(parts), tensors(whole), 1e-5, moved_by_rounding)


CHILD = """
import sys, torch
from tests.test_processes import run, seed_of, tensors
steps, dtype, out, micro = int(sys.argv[1]), getattr(torch, sys.argv[2]), sys.argv[3], int(sys.argv[4])
torch.set_num_threads(1)
state, losses, accelerator = run(steps, dtype, micro_batch=micro, seed=seed_of(dtype))
torch.save({**tensors(state), "losses": losses}, f"{out}.{accelerator.process_index}")
accelerator.wait_for_everyone()
accelerator.end_training()
"""


def torchrun(tmp_path, *arguments, launch=("--standalone", "--nproc_per_node=2")):
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    return subprocess.Popen([sys.executable, "-m", "torch.distributed.run", *launch, str(script), *map(str, arguments)],
                            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("steps, dtype, micro, atol", [
    (20, "float64", 0, 1e-9), (20, "float64", 4, 1e-9), (2, "float32", 0, 1e-5),
])  # fmt: skip
def test_two_processes_are_one(steps, dtype, micro, atol, tmp_path):
    if micro or dtype == "float32":  # torchrun once is enough
        command = [sys.executable, "-c", CHILD, str(steps), dtype, str(tmp_path / "state"), str(micro)]
        processes = warm.start_together(command, 2)
    else:
        processes = [torchrun(tmp_path, steps, dtype, tmp_path / "state", micro)]
    for process in processes:
        said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    first, second = (torch.load(tmp_path / f"state.{rank}", weights_only=True) for rank in (0, 1))
    one, losses, _ = run_once(steps, getattr(torch, dtype))
    skip = moved_by_rounding if dtype == "float32" else lambda key: False
    expected = tensors(one)
    assert_close(first, expected, atol, skip)
    assert (first["losses"] - losses).abs().max() < 1e-4
    for key, value in second.items():
        if key.endswith((".u", ".weight", ".bias")):
            assert torch.equal(value, first[key]), key  # weights and u: bit-equal on both ranks
    # the second process's own groups give other statistics: they are never used, never saved
    assert any(not torch.equal(second[key], first[key]) for key in second if key.endswith("running_mean"))


@pytest.mark.slow
def test_two_nodes_by_torchruns_own_rendezvous(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with_port = (
        "--nnodes=2",
        "--nproc_per_node=1",
        "--rdzv_backend=c10d",
        f"--rdzv_endpoint=127.0.0.1:{port}",
        "--rdzv_id=1",
    )
    nodes = [torchrun(tmp_path, 2, "float64", tmp_path / "state", 0, launch=with_port) for _ in range(2)]
    said = [node.communicate(timeout=300)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert_close(torch.load(tmp_path / "state.0", weights_only=True), tensors(run_once(2, torch.float64)[0]), 1e-9)


# The parts -----------------------------------------------------------------------------------------------------------


class Processes:
    def __init__(self, count, index):
        self.num_processes, self.process_index = count, index


def test_micro_batches_are_consecutive_and_cover_the_batch():
    for processes in (1, 2, 4):
        for micro in (0, 4, 8):
            found = [list(micro_batches(32, micro, Processes(processes, rank))) for rank in range(processes)]
            covered = [[i for part in own for i in range(part.start, part.stop)] for own in found]
            assert covered == [list(range(32 // processes))] * processes
            assert all(sum(part.weight for part in own) == pytest.approx(1) for own in found)


@pytest.mark.parametrize("fields, processes, text", [
    (dict(bn_group_d=0), 2, r"bn_group_d must be above 0 to split a batch \(got 0, with micro_batch 0 and 2 processes\)"),
    (dict(micro_batch=3), 1, r"micro_batch must be a multiple of bn_group_d, 2 \(got 3\)"),
    (dict(micro_batch=2), 1, r"micro_batch must be a multiple of bn_group_g, 4 \(got 2\)"),
    (dict(batch_size=12, bn_group_d=4), 2, r"batch_size per process must be a multiple of bn_group_d, 4 \(got 6\)"),
    (dict(), 3, r"batch_size must be a multiple of the number of processes, 3 \(got 8\)"),
    (dict(bn_group_d=0, bn_group_g=0, micro_batch=4), 1, "with micro_batch 4 and 1 process"),
    (dict(diversity_weight=1.0), 2, r"diversity_weight .* needs one process \(got 2\)"),
])  # fmt: skip
def test_what_would_cut_a_group_is_refused(fields, processes, text):
    with pytest.raises(ValueError, match=text):
        check_split(make_config("fashion32", **{**SETTINGS, "architecture": "sngan_fashion32", **fields}), processes)


def test_batch_norm_groups_are_batches_of_their_own():
    x, y = torch.randn(12, 3, 4, 4) * 2 + 1, torch.arange(12) % 5
    for n_classes in (0, 5):
        whole, own = BatchNorm2d(3, n_classes), BatchNorm2d(3, n_classes)
        labels = y if n_classes else None
        expected = [
            own(part, None if labels is None else labels[i * 4 : i * 4 + 4]) for i, part in enumerate(x.split(4)[:1])
        ]
        running = own.running_var.clone(), own.running_mean.clone()
        expected += [
            own(part, None if labels is None else labels[i * 4 + 4 : i * 4 + 8])
            for i, part in enumerate(x.split(4)[1:])
        ]
        with logical_forwards(whole, batch_norm_group=4):
            assert torch.allclose(whole(x, labels), torch.cat(expected), atol=1e-6)
        assert torch.equal(whole.running_var, running[0]) and torch.equal(whole.running_mean, running[1])
        assert whole.num_batches_tracked == 1
        refused = pytest.raises(ValueError, match="multiple of the batch-norm group size 4 .got 10.")
        with logical_forwards(whole, batch_norm_group=4), refused:
            whole(x[:10], None if labels is None else labels[:10])


def test_one_logical_forward_iterates_once():
    layer = spectral_norm(Conv2d(3, 8, 3)).train()
    reference = spectral_norm(Conv2d(3, 8, 3)).train()
    reference.load_state_dict(layer.state_dict())
    x = torch.randn(6, 3, 8, 8)
    expected = reference(x)
    with logical_forwards(layer):
        parts = [layer(part) for part in x.split(2)]
    assert torch.allclose(torch.cat(parts), expected, atol=1e-6) and torch.allclose(layer.u, reference.u, atol=1e-6)
    layer(x), reference(x)
    assert torch.allclose(layer.u, reference.u, atol=1e-6)  # and moves again in the next


def test_the_generators_images_are_augmented_too():
    """G is trained on what D sees."""
    seen = []

    def d(x, y):
        seen.append(x)
        return x.mean((1, 2, 3))[:, None]

    functions = game.step_functions(make_config("fashion32", augment="color"))
    draws = torch.full((3, 4, 1, 1, 1), 0.9)  # brightness +0.4
    functions.generator_loss(lambda z, y: torch.zeros(4, 3, 8, 8), d, None, None, [draws])
    assert torch.allclose(seen[0], torch.full((4, 3, 8, 8), 0.4))
