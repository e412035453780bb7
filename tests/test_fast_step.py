"""The fast forms of a step are the plain one: values, gradients, u, whole trajectories; and nothing breaks the graph."""

import copy

import pytest
import torch
import torch.nn.functional as F

from sngan_hub.layers.logical_forward import iterate, logical_forwards, normalized_layers
from sngan_hub.layers.normalizers import BatchNorm2d, Conv2d, Embedding, Linear, spectral_norm, spectral_norm_with_gain
from sngan_hub.layers.resample import conv_down
from sngan_hub.networks.registry import create_discriminator
from sngan_hub.networks.resnet import Discriminator
from training.config.schema import make_config
from training.engine import step as game
from training.engine.cuda_graph import RecordedUpdates
from training.engine.state import ChainerAdam

from . import test_processes as processes
from .test_trajectory import NAME, SETTINGS, make_state, theirs, within  # noqa: F401


def d_of(**fields):
    torch.manual_seed(0)
    return Discriminator(32, 3, widths=[4, 6, 8, 8], down="1110", head_bias=True, **fields).double().train()


def losses_and_gradients(d, x, y, split):
    """The hinge loss of a batch whose first half is real -> loss, u of each layer, gradients; by the form ``split``."""
    half = len(x) // 2
    if split == "plain":  # each layer by itself, autograd through W / sigma
        real, fake = d(x[:half], y[:half]), d(x[half:], y[half:])
    else:
        with logical_forwards(d, count=2) as forwards:
            if split == "two passes":
                real = d(x[:half], y[:half])
                forwards.begin(1)
                fake = d(x[half:], y[half:])
            else:
                forwards.all_in_one()
                real, fake = d(x, y).chunk(2)
    loss = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    gradients = torch.autograd.grad(loss, list(d.parameters()))
    return loss, {k: v.clone() for k, v in d.state_dict().items() if k.endswith((".u", ".v"))}, gradients


@pytest.mark.parametrize("fields", [
    {}, {"sn_eval": "stored"}, {"normalizer": "spectral_gain"}, {"embed_scale": 1.7, "head_scale": 0.6},
    {"conditioning": "concat", "embedding_dim": 5}, {"hidden": "out", "shortcut_relu": True},
])  # fmt: skip
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("form", ["plain", "fused"])
def test_one_pass_and_two_are_the_plain_form(fields, channels_last, form):
    plain = d_of(**fields)
    plain.set_resampling(form)
    plain.class_strength = torch.tensor(0.7)
    with torch.no_grad():
        for bias in (p for name, p in plain.named_parameters() if name.endswith("bias")):
            bias.normal_()
    x, y = torch.randn(6, 3, 32, 32, dtype=torch.float64), torch.tensor([0, 1, 2, 2, 0, 1])
    expected = losses_and_gradients(copy.deepcopy(plain), x, y, "plain")
    for split in ("two passes", "one pass"):
        d = copy.deepcopy(plain)
        if channels_last:
            d.to(memory_format=torch.channels_last)
        loss, us, gradients = losses_and_gradients(d, x, y, split)
        assert abs(loss - expected[0]) < 1e-12, split
        for key, value in expected[1].items():
            assert torch.allclose(us[key], value, atol=1e-12), (split, key)
        for (name, p), ours, theirs_ in zip(d.named_parameters(), gradients, expected[2], strict=True):
            assert torch.allclose(ours, theirs_, atol=1e-12, rtol=1e-9), (split, name)
            assert ours.shape == p.shape


def test_scaling_the_output_is_dividing_the_weight():
    """The form for weights larger than their maps, by itself: one part, two parts, frozen weights, fused kernels."""
    conv = spectral_norm(Conv2d(6, 8, 3, padding=1)).double().train()
    x = torch.randn(2, 6, 2, 2, dtype=torch.float64, requires_grad=True)
    assert conv.weight.numel() > x.numel()
    for act in (conv, lambda x: conv_down(x, conv, "fused")):
        found = []
        for fast in (False, True):
            own = copy.deepcopy(conv.state_dict())
            with logical_forwards(conv) if fast else torch.enable_grad():
                value = act(x)
                found.append((value, *torch.autograd.grad(value.pow(3).sum(), (x, conv.weight, conv.bias))))
            conv.load_state_dict(own)
        for plain, fast in zip(*found, strict=True):
            assert torch.allclose(plain, fast, atol=1e-12)
    conv.requires_grad_(False)
    with logical_forwards(conv):
        first = conv(x)
    assert torch.allclose(first, found[0][0] if act is conv else first)
    assert first.requires_grad  # of x, which is what a G step needs


@pytest.mark.parametrize("layer", [
    lambda: Conv2d(5, 7, 3), lambda: Linear(9, 4), lambda: Embedding(6, 11),
    lambda: Conv2d(5, 7, 3).to(memory_format=torch.channels_last),
])  # fmt: skip
@pytest.mark.parametrize("sn_eval", ["iterate", "stored"])
def test_iterations_of_all_layers_at_once_are_those_of_each(layer, sn_eval):
    layers = [spectral_norm(layer(), sn_eval).double() for _ in range(3)]
    reference = copy.deepcopy(layers)
    found = iterate(layers, 3)
    for k in range(3):
        for estimate, own in zip(found[k], reference, strict=True):
            u = own.u.clone()
            own.effective_weight()
            assert torch.allclose(estimate.u, own.u, atol=1e-12) and not torch.allclose(u, own.u, atol=1e-6)
            largest = torch.dot(
                own.u,
                own.weight.flatten(1) @ (own.weight.flatten(1).t() @ u).div_((own.weight.flatten(1).t() @ u).norm()),
            )
            assert torch.allclose(estimate.sigma, largest.detach(), atol=1e-10)
    for ours, own in zip(layers, reference, strict=True):
        for key, value in own.state_dict().items():
            assert torch.allclose(ours.state_dict()[key], value, atol=1e-12), key


def test_evaluation_and_frozen_layers_take_no_part():
    d = d_of()
    d.blocks[0].eval()
    frozen = {id(m) for m in d.blocks[0].modules()}
    assert normalized_layers(d) and not frozen & {id(m) for m in normalized_layers(d)}
    before = {k: v.clone() for k, v in d.state_dict().items()}
    with logical_forwards(d.eval()):
        d(torch.randn(2, 3, 32, 32, dtype=torch.float64), torch.tensor([0, 1]))
    assert all(torch.equal(v, before[k]) for k, v in d.state_dict().items())


def settings(network):
    norms = [(m.group, m.held) for m in network.modules() if isinstance(m, BatchNorm2d)]
    return norms, [(own.normalize.estimates, own.normalize.divides_weight) for own in normalized_layers(network)]


def test_a_logical_forward_leaves_no_settings_behind_even_after_an_error():
    network = torch.nn.ModuleList([d_of(), BatchNorm2d(3, 5)])
    before = settings(network)
    with pytest.raises(ZeroDivisionError), logical_forwards(network, count=2, batch_norm_group=4, twice=True) as both:
        both.next_micro_batch()
        assert settings(network)[0] == [(4, True)]
        assert all(estimates and divides for estimates, divides in settings(network)[1])
        both.begin(1)
        assert settings(network)[0] == [(4, False)]
        raise ZeroDivisionError
    assert settings(network) == before == ([(0, False)], [((), False)] * len(before[1]))


def test_a_penalty_is_differentiated_twice():
    """Through sigma too: with u and v held, the second derivatives are those of the plain form."""
    found = []
    for fast in (False, True):
        d = d_of()
        x = torch.randn(
            2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True
        )
        with logical_forwards(d, twice=True) if fast else torch.enable_grad():
            (slope,) = torch.autograd.grad(d(x, torch.tensor([0, 1])).sum(), x, create_graph=True)
            found.append(torch.autograd.grad(slope.pow(2).sum(), [d.blocks[1].c1.weight, d.embed.weight]))
    for plain, fast in zip(*found, strict=True):
        assert torch.allclose(plain, fast, atol=1e-12)
    d, x = d_of(), torch.randn(2, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    with logical_forwards(d), pytest.raises(RuntimeError, match="once_differentiable"):
        (slope,) = torch.autograd.grad(d(x, torch.tensor([0, 1])).sum(), x, create_graph=True)
        slope.pow(2).sum().backward()


def test_sigma_stays_float32_in_one_pass_under_bfloat16():
    d = create_discriminator("sngan_fashion32").train()
    x, y = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3])
    with logical_forwards(d, count=2) as forwards:
        forwards.all_in_one()
        exact = d(x, y)
        with torch.autocast("cpu", torch.bfloat16):
            assert (d(x, y) - exact).abs().max() < 0.05 * exact.abs().max()
        sigmas = [part.sigma for layer in normalized_layers(d) for part in layer.normalize.estimates]
        assert all(sigma.dtype == torch.float32 for sigma in sigmas)


def test_normalizers_are_printed_and_pickled():
    import pickle

    layer = spectral_norm(Conv2d(3, 4, 3), "stored", 2.0)
    assert "SpectralNorm(sn_eval='stored', scale=2.0, gain=False)" in repr(layer)
    gain = spectral_norm_with_gain(Linear(3, 4))
    assert "gain=True" in repr(gain)
    with logical_forwards(gain):
        copies = pickle.loads(pickle.dumps(gain)), copy.deepcopy(gain)
    x = torch.randn(2, 3)
    for again in copies:
        assert repr(again) == repr(gain) and not again.normalize.estimates  # those are of the step, not of the layer
        assert torch.equal(again.eval()(x), gain.eval()(x))


# Batch norm in one pass, as a compiler sees it


@pytest.mark.parametrize("n_classes", [0, 5])
@pytest.mark.parametrize("group", [0, 4])
def test_batch_norm_in_one_pass_is_by_groups(n_classes, group, monkeypatch):
    torch.manual_seed(0)
    plain = BatchNorm2d(3, n_classes).double()
    torch.nn.init.normal_(plain.weight)
    torch.nn.init.normal_(plain.bias)
    plain.group = group
    fused = copy.deepcopy(plain)
    y = torch.arange(12) % 5 if n_classes else None
    found = []
    for bn, compiling in ((plain, False), (fused, True)):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda compiling=compiling: compiling)
        x = torch.randn(
            12, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True
        )
        value = bn(x * 2 + 1, y)
        found.append((value, *torch.autograd.grad(value.pow(3).sum(), [x, bn.weight, bn.bias]), *bn.buffers()))
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, atol=1e-10), (a - b).abs().max()


# The whole step


@pytest.mark.parametrize("form", ["plain", "fused"])
def test_the_authors_trajectory_in_one_pass(theirs, form):  # noqa: F811
    io, feed = theirs
    config, state = make_config("fashion32", **SETTINGS, one_pass=True), make_state(form)
    for step in (1, 2):
        losses = game.train_step(state, config, feed, processes.Accelerator(cpu=True))
        assert losses["loss_d"].item() == pytest.approx(io["loss_dis"][2 * step - 1].item(), abs=1e-4)
        within(state.generator, step, "G")
        within(state.discriminator, step, "D")


def test_one_pass_with_and_without_micro_batches_is_two_passes():
    expected = processes.tensors(processes.run_once(20, torch.float64)[0])
    for fields in ({"one_pass": True}, {"one_pass": True, "micro_batch": 4}):
        state, _, _ = processes.run(20, torch.float64, **fields)
        processes.assert_close(processes.tensors(state), expected, 1e-9)


@pytest.mark.parametrize("model, fields, dtype, atol", [
    pytest.param(processes.SHALLOW, {"one_pass": True}, torch.float64, 1e-9, marks=pytest.mark.slow),
    (processes.SHALLOW, {"precision": "bf16"}, torch.float32, 1e-3),  # autocast is on where the steps are traced
    pytest.param(processes.TINY, {}, torch.float64, 1e-9, marks=pytest.mark.slow),
], ids=["one pass", "bfloat16", "two passes"])  # fmt: skip
def test_the_steps_have_no_graph_break_and_compile_once(model, fields, dtype, atol, monkeypatch):
    """Traced whole (fullgraph), by the tracer alone: what it would hand to a compiler is run as it is."""
    compile_ = torch.compile
    compiled = []

    def traced(function, **options):
        assert options["fullgraph"]
        compiled.append(compile_(function, backend="aot_eager", fullgraph=True, dynamic=False))
        return compiled[-1]

    from torch._dynamo.utils import counters

    torch.compiler.reset()
    counters.clear()
    monkeypatch.setattr(torch, "compile", traced)
    game.step_functions.cache_clear()
    try:
        with torch._dynamo.config.patch(error_on_recompile=True):
            fields = {**fields, "model": model, "transition_to": 2}  # the class strength moves, and comes to rest
            expected = processes.tensors(processes.run(3, dtype, **fields)[0])
            state, _, _ = processes.run(3, dtype, compile="on", **fields)
            skipped = {} if dtype is torch.float64 else {"skip": processes.moved_by_rounding}
            processes.assert_close(processes.tensors(state), expected, atol, **skipped)
        assert not counters["graph_break"]
        assert len(compiled) == 5
    finally:
        game.step_functions.cache_clear()
        torch.compiler.reset()


@pytest.mark.parametrize("fields", [
    dict(n_dis=2), dict(one_pass=True, augment="translation", noise=0.1, noise_to=6), dict(transition_from=1, transition_to=5),
    dict(d_warm_up=5, decay_from=2, decay_to=9), dict(conditioning="none", micro_batch=4),
], ids=str)  # fmt: skip
def test_a_recorded_iteration_reads_all_that_differs_between_iterations(fields, monkeypatch):
    """A graph runs the same kernels on the same tensors again; here the recorded Python does, over the inputs' tensors.

    Nine iterations: three direct ones, then replays, whose draws, learning rates and strengths must be their own.
    """
    recorded = []

    def record(self, body):
        recorded.append(self)
        return body

    fields = {"decay_from": 0, "decay_to": 9, **fields}
    expected = processes.tensors(processes.run(9, torch.float64, **fields)[0])
    monkeypatch.setattr(RecordedUpdates, "record", record)
    monkeypatch.setattr(torch, "compile", lambda form, **options: form)
    game.step_functions.cache_clear()
    try:
        state = processes.run(9, torch.float64, compile="graphs", **fields)[0]
    finally:
        game.step_functions.cache_clear()
    assert len(recorded) == 1 + ("d_warm_up" in fields)
    processes.assert_close(processes.tensors(state), expected, 1e-8)  # a graph's learning rates are float32


def test_what_a_recorded_iteration_was_given_may_be_overwritten():
    """The feed's buffers are used again: the graph reads copies."""
    p = torch.nn.Parameter(torch.zeros(3))
    optimizer = ChainerAdam([p], 0.1, (0.0, 0.9))
    seen = []

    def update(drawn):
        p.grad = drawn[0].clone()
        seen.append(drawn[0].clone())
        optimizer.step()
        return {"first": drawn[0][0]}

    recorded = RecordedUpdates(update, [optimizer], torch.device("cpu"))
    recorded.record = lambda body: body
    for i in range(6):
        drawn = (torch.full((3,), float(i)),)
        values = recorded(drawn)
        drawn[0].zero_()
        assert values["first"] == (0 if i < 3 else i)
    assert [int(own[0]) for own in seen] == [0, 1, 2, 3, 4, 5] and optimizer.t == 6


def test_adam_counts_its_steps_through_a_checkpoint():
    """t is read from the state once; a wrong t would show in epsilon, and so in the third update."""
    torch.manual_seed(0)
    start, gradients = torch.randn(40) * 1e-4, [torch.randn(40) * 1e-9 for _ in range(3)]

    def updates(reload):
        p = torch.nn.Parameter(start.clone())
        optimizer = ChainerAdam([p], 1e-3, (0.0, 0.9))
        for i, gradient in enumerate(gradients):
            if reload and i == 2:
                saved = optimizer.state_dict()
                optimizer = ChainerAdam([p], 1e-3, (0.0, 0.9))
                optimizer.load_state_dict(saved)
            p.grad = gradient
            optimizer.step()
        return p.detach(), optimizer.t

    assert updates(False)[1] == updates(True)[1] == 3
    assert torch.equal(updates(False)[0], updates(True)[0])


def test_moments_take_the_layout_of_the_parameter():
    """The fused kernel reads raw memory in order, so moments of another layout would belong to other weights."""
    torch.manual_seed(0)
    start, gradient = torch.randn(4, 3, 3, 3), torch.randn(4, 3, 3, 3)
    moments = {"step": torch.tensor(5.0), "exp_avg": torch.randn(4, 3, 3, 3), "exp_avg_sq": torch.rand(4, 3, 3, 3)}
    after = []
    for own in (torch.contiguous_format, torch.channels_last):
        for saved in (torch.contiguous_format, torch.channels_last):
            p = torch.nn.Parameter(start.clone(memory_format=own))
            optimizer = ChainerAdam([p], 1e-3, (0.5, 0.9))
            row = {k: v.clone(memory_format=saved) if v.ndim else v for k, v in moments.items()}
            optimizer.load_state_dict({**optimizer.state_dict(), "state": {0: row}})
            for name in ("exp_avg", "exp_avg_sq"):
                assert optimizer.state[p][name].stride() == p.stride()
                assert torch.equal(optimizer.state[p][name], moments[name])
            p.grad = gradient.clone(memory_format=own)
            optimizer.step()
            assert optimizer.t == 6
            after.append(p.detach())
    assert all(torch.allclose(other, after[0], atol=1e-7) for other in after)
