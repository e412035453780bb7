"""On a GPU: what a CPU computes, computed there too. Skipped without one; ``make gpu`` runs these."""

import copy
import json
import math

import numpy as np
import pytest
import torch

from sngan_hub.data import Images
from sngan_hub.networks.registry import create_discriminator, create_generator
from training.config.cost import Processes
from training.config.schema import make_config
from training.engine.checkpoints import checkpoints, load_checkpoint, save_checkpoint
from training.engine.state import new_state
from training.engine.step import train_step
from training.feed.feed import new_feed

DEVICE = "cuda"
pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]

SETTINGS = dict(
    generator_fields=json.dumps({"widths": [16, 16, 8, 8]}), discriminator_fields=json.dumps({"widths": [8, 8, 16, 16]}),
    batch_size=8, g_batch_size=8, bn_group_d=4, bn_group_g=4, n_dis=2, precision="fp32", compile="off", tf32=False,
    augment="color,translation,cutout", lr_g=2e-4, lr_d=2e-4, beta1=0.5, beta2=0.9, transition_from=0, transition_to=0,
)  # fmt: skip


@pytest.fixture(autouse=True)
def whole_float32():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def test_features_on_a_gpu_are_those_of_the_cpu():
    """On every GPU there is, two workers each; without TF32."""
    pytest.importorskip("torch_fidelity")
    from sngan_hub.metrics.extraction import Worker, extract
    from sngan_hub.metrics.inception import Inception, find_weights, load_inception

    try:
        find_weights()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    images = [np.random.default_rng(i).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8) for i in range(6)]
    tasks = [lambda worker, x=x: x for x in images]
    network: Inception = load_inception()
    workers = [Worker(None, copy.deepcopy(network).to(f"cuda:{i}")) for i in range(torch.cuda.device_count())] * 2
    found, expected = extract(workers, tasks, 30), extract([Worker(None, network)], tasks, 30)
    assert (found - expected).abs().max() < 1e-3 * expected.abs().max()


def some_data():
    rng = np.random.default_rng(0)
    return Images(rng.integers(0, 256, (32, 3, 32, 32), dtype=np.uint8), np.arange(32) % 2, ["a", "b"])


def config_of(device, **fields):
    return make_config("fashion32", **{**SETTINGS, "device": device, **fields})


def run(steps, device, state=None, **fields):
    """-> the state behind so many iterations, and the last one's values."""
    config, processes, data = config_of(device, **fields), Processes(1, device), some_data()
    state = state or new_state(config, data.classes, processes.device)
    feed = new_feed(data, config, state, processes)
    try:
        for _ in range(steps):
            values = train_step(state, config, feed, processes)
    finally:
        feed.close()
    return state, {key: float(value) for key, value in values.items()}


def tensors(state):
    return {
        f"{kind}.{key}": value.double().cpu()
        for kind in ("generator", "discriminator", "ema")
        for key, value in getattr(state, kind).state_dict().items()
    }


@pytest.mark.parametrize("name", ["sngan_fashion32", "sngan_imagenet64"])
@torch.no_grad()
def test_networks_agree(name):
    g, d = create_generator(name).eval(), create_discriminator(name).eval()
    z, y = torch.randn(4, g.z_dim), torch.arange(4) % max(g.n_classes, 1)
    x = torch.rand(4, 3, g.size, g.size) * 2 - 1
    there = copy.deepcopy(g).to(DEVICE), copy.deepcopy(d).to(DEVICE)
    assert (there[0](z.to(DEVICE), y.to(DEVICE)).cpu() - g(z, y)).abs().max() < 1e-3
    ours, theirs = there[1](x.to(DEVICE), y.to(DEVICE)).cpu(), d(x, y)
    assert (ours - theirs).abs().max() < 1e-3 * max(1.0, theirs.abs().max().item())


def test_three_iterations_agree():
    here, losses = run(3, "cpu")
    there, losses_there = run(3, DEVICE)
    for key, value in losses.items():
        assert losses_there[key] == pytest.approx(value, abs=1e-2), key
    ours = tensors(there)
    for key, value in tensors(here).items():
        if key.endswith(".u"):
            assert (ours[key] - value).abs().max() < 1e-3, key
        # Adam makes full steps of the rounding noise of biases that a batch norm follows: the mean is what counts
        assert (ours[key] - value).abs().mean() < 2e-3 * max(1.0, value.abs().mean().item()), key


@pytest.mark.parametrize("fields", [
    dict(channels_last=True), dict(channels_last=True, one_pass=True), dict(precision="bf16"),
    dict(precision="bf16", channels_last=True, one_pass=True), dict(tf32=True), dict(micro_batch=4),
], ids=str)  # fmt: skip
def test_every_form_runs_and_stays_near(fields):
    _, exact = run(2, DEVICE)
    state, values = run(2, DEVICE, **fields)
    assert all(math.isfinite(value) for value in values.values())
    assert values["loss_d"] == pytest.approx(exact["loss_d"], abs=0.3)
    assert all(p.isfinite().all() for p in state.generator.parameters())


@pytest.mark.slow
def test_compiled_steps_and_cuda_graphs_are_the_uncompiled_ones():
    """Of which a graph computes three directly and replays the rest."""
    exact, losses = run(8, DEVICE)
    for form in ("on", "graphs", "graphs_only"):
        state, values = run(8, DEVICE, compile=form)
        for key, value in losses.items():
            assert values[key] == pytest.approx(value, abs=1e-2), (form, key)
        ours = tensors(state)
        for key, value in tensors(exact).items():
            assert (ours[key] - value).abs().mean() < 2e-3 * max(1.0, value.abs().mean().item()), (form, key)


def test_a_gpus_checkpoint_goes_on_on_a_cpu(tmp_path):
    """By loading it there: a run's folder itself refuses another device, for its numbers would be others."""
    state, _ = run(2, DEVICE)
    config = config_of(DEVICE)
    save_checkpoint(state, config, "data", tmp_path)
    parts = torch.load(checkpoints(tmp_path)[-1], map_location="cpu", weights_only=True)
    own = config_of("cpu")
    here = new_state(own, ["a", "b"], torch.device("cpu"))
    here.load_state_dict({key: value for key, value in parts.items() if key not in ("config", "data", "resampling")})
    assert here.step == 2
    saved = tensors(state)
    assert all(torch.equal(value, saved[key]) for key, value in tensors(here).items())
    moved, values = run(1, "cpu", here)
    assert moved.step == 3 and all(math.isfinite(value) for value in values.values())
    again = new_state(config, ["a", "b"], torch.device(DEVICE))  # and on the GPU, as the command does it
    assert load_checkpoint(again, config, "data", tmp_path) and again.step == 2
    _, there = run(1, DEVICE, again)
    for key, value in values.items():
        assert there[key] == pytest.approx(value, abs=1e-2), key


def test_scores_are_computed_where_the_generator_lies():
    """Inception's features and the classifier's predictions, against the CPU's."""
    from sngan_hub.metrics.classifier import Classifier, build
    from sngan_hub.metrics.inception import resize_like_tensorflow1

    x = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    there = resize_like_tensorflow1(x.cuda().float())
    assert there.is_cuda and torch.allclose(there.cpu(), resize_like_tensorflow1(x.float()), atol=1e-3)
    judge = Classifier(build(3).eval(), 0.0, "")
    here = judge.predict(x)
    assert torch.equal(judge._replace(network=judge.network.cuda()).predict(x), here)
