"""The authors' whole-trainer snapshot as a run: every number carried over, and the next update by Chainer's formula."""

import json

import numpy as np
import pytest
import torch

from sngan_hub.convert import chainer_keys
from sngan_hub.convert.archive import read_npz
from training.__main__ import main as training
from training.config.schema import make_config
from training.engine import checkpoints
from training.engine.import_chainer import import_snapshot
from training.engine.loop import train
from training.engine.state import new_state

from .conftest import GOLDEN

SNAPSHOT = GOLDEN / "trainer_snapshot_tiny.npz"
CLASSES = [f"class {i}" for i in range(10)]
RECIPE = dict(
    generator_fields=json.dumps({"widths": [2, 2, 2, 2], "z_dim": 4}), discriminator_fields=json.dumps({"widths": [2, 2, 2, 2]}),
    n_dis=2, steps=6, decay_from=2, decay_to=6,
)  # fmt: skip


def config(**overrides):
    return make_config("cifar10", **{**RECIPE, **overrides})


def test_everything_is_carried_over():
    arrays = read_npz(SNAPSHOT)
    state = import_snapshot(SNAPSHOT, config(), CLASSES)
    assert state.step == 6 and state.generator.classes == CLASSES and state.generator.training
    for network, optimizer, which in (
        (state.generator, state.opt_g, "opt_gen"),
        (state.discriminator, state.opt_d, "opt_dis"),
    ):
        keys = chainer_keys(network)
        tensors = network.state_dict()
        for ours, theirs in keys.items():
            assert np.array_equal(
                tensors[ours].numpy(), arrays[f"updater/model:{which}/{theirs}"].reshape(tensors[ours].shape)
            )
        for name, parameter in network.named_parameters():
            adam, key = optimizer.state[parameter], f"updater/optimizer:{which}/{keys[name]}"
            assert np.array_equal(adam["exp_avg"], arrays[f"{key}/m"]) and np.array_equal(
                adam["exp_avg_sq"], arrays[f"{key}/v"]
            )
            assert adam["step"].item() == arrays[f"{key}/t"] == {"opt_gen": 6, "opt_dis": 12}[which]


def test_the_next_update_is_chainers():
    arrays, state = read_npz(SNAPSHOT), import_snapshot(SNAPSHOT, config(), CLASSES)
    for network, optimizer, which in (
        (state.generator, state.opt_g, "opt_gen"),
        (state.discriminator, state.opt_d, "opt_dis"),
    ):
        keys, before = chainer_keys(network), {n: p.detach().double().numpy() for n, p in network.named_parameters()}
        torch.manual_seed(1)
        for parameter in network.parameters():
            parameter.grad = torch.randn_like(parameter) * 1e-3
        alpha, beta2 = optimizer.param_groups[0]["lr"], 0.9
        optimizer.step()
        for name, parameter in network.named_parameters():
            grad = parameter.grad.double().numpy()
            key = f"updater/optimizer:{which}/{keys[name]}"
            t = int(arrays[f"{key}/t"]) + 1
            v = beta2 * arrays[f"{key}/v"].astype("f8") + (1 - beta2) * grad**2
            expected = before[name] - alpha * np.sqrt(1 - beta2**t) * grad / (np.sqrt(v) + 1e-8)  # beta1 = 0: m = grad
            assert np.abs(parameter.detach().numpy() - expected).max() < 1e-6, name


def test_an_average_starts_as_the_imported_generator():
    own = config(ema_decay=0.9)
    state = import_snapshot(SNAPSHOT, own, CLASSES)
    saved, resumed = state.state_dict(), new_state(own, CLASSES)
    resumed.load_state_dict(saved)
    assert resumed.ema is not resumed.generator and not resumed.ema.training
    for name, value in resumed.ema.state_dict().items():
        assert torch.equal(value, state.generator.state_dict()[name]), name
    without = {name: value for name, value in saved.items() if name != "average"}
    for ema_decay, parts, text in (
        (0.9, without, "with .*, average, step"),
        (0.0, saved, r"with .*\(got .*, average, step"),
    ):
        with pytest.raises(ValueError, match=f"out must have a checkpoint {text}"):
            new_state(config(ema_decay=ema_decay), CLASSES).load_state_dict(parts)


@pytest.mark.parametrize("overrides, text", [
    (dict(n_dis=5), r"n_dis must match the snapshot \(got 5\): .* has 6 updates of G and 12 of D in 6 iterations"),
    (dict(decay_to=8), r"the snapshot's learning rate after iteration 6, 0 \(got 6.66667e-05\)"),
    (dict(generator_fields="{}"), "the generator differs from this preset's.*--generator_fields '{\"z_dim\": 4, \"widths\": .2, 2, 2, 2.}'"),
    (dict(discriminator_fields="{}"), "the discriminator differs from this preset's.*--discriminator_fields"),
])  # fmt: skip
def test_another_recipe_is_refused(overrides, text):
    with pytest.raises(ValueError, match=text):
        import_snapshot(SNAPSHOT, config(**overrides), CLASSES)


def test_other_files_and_other_data_are_refused():
    with pytest.raises(ValueError, match=r"snapshot_iter_<it> \(got .*, without updater/iteration\)"):
        import_snapshot(GOLDEN / "sngan_G32_cond_ch16_n10.weights.npz", config(), CLASSES)
    with pytest.raises(ValueError, match=r"data must have n_classes 10, .* \(got 2\)"):
        import_snapshot(SNAPSHOT, config(), ["a", "b"])


def test_the_command_makes_a_run_that_trains_on(tmp_path, capsys, monkeypatch):
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(12):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(
                tmp_path / "data" / name / f"{i}.png"
            )
    flags = {**RECIPE, "data": tmp_path / "data", "out": tmp_path / "run", "batch_size": 8, "g_batch_size": 8}
    arguments = ["--preset", "cifar10", *[f"--{key}={value}" for key, value in flags.items()]]
    with monkeypatch.context() as patch:  # killed before its end
        patch.setattr(checkpoints, "save_checkpoint", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert training(["import", str(SNAPSHOT), *arguments, "--held-out=none"]) == 130
    with pytest.raises(SystemExit):
        training(["train", *arguments, "--held-out=none"])
    assert "no checkpoint to resume from; if sngan import was cut off, repeat it" in capsys.readouterr().err
    for held_out in ("none", "tenth"):
        assert training(["import", str(SNAPSHOT), *arguments, f"--held-out={held_out}"]) == 0
        assert "iteration 6" in capsys.readouterr().out
        given = {k: str(v) if k in ("data", "out") else v for k, v in flags.items()}
        state = train(make_config("cifar10", **{**given, "steps": 8, "held_out": held_out}))
        assert state.step == 8
        assert "was saved on" not in capsys.readouterr().err  # the snapshot does not say
        arguments[-3] = f"--out={tmp_path / 'second'}"
        flags["out"] = tmp_path / "second"
    with pytest.raises(SystemExit):
        training(["import", str(SNAPSHOT), *arguments])
    assert "out must not contain a run (got " in capsys.readouterr().err
