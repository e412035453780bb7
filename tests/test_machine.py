"""How a run uses its machine: what is compiled and when, checkpoints written behind the step, stopping together."""

import copy
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import torch

from training.config.schema import differences, make_config
from training.engine import checkpoints as kept
from training.engine import machine
from training.engine.checkpoints import CheckpointWriter, checkpoints
from training.engine.distributed import any_process, check_same_data, new_accelerator
from training.engine.machine import set_up
from training.engine.state import new_state

from .conftest import ROOT

TINY = {"architecture": "sngan_fashion32", "generator_fields": '{"widths": [8, 8], "bottom_width": 16}',
        "discriminator_fields": '{"widths": [4, 8], "down": "10"}', "n_dis": 1, "batch_size": 4, "g_batch_size": 4}  # fmt: skip


def config_of(out="", **fields):
    return make_config("fashion32", **{**TINY, "out": str(out), "precision": "fp32", **fields})


def test_a_run_that_repays_it_is_compiled_and_a_resumed_one_as_before(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    assert machine.wanted_compile(config_of(steps=5_000)) == "off"
    assert machine.wanted_compile(config_of(steps=5_000, device="cuda")) == "graphs"
    assert machine.wanted_compile(config_of(steps=4_999, device="cuda")) == "graphs_only"
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    assert machine.wanted_compile(config_of(steps=4_999)) == "off"
    assert machine.wanted_compile(config_of(steps=5_000)) == "on"
    assert machine.wanted_compile(config_of(steps=10, compile="on")) == "on"
    for stored, expected in (({"compile": "on"}, "on"), ({"compile": "off"}, "off"), ({}, "off")):
        (tmp_path / "config.json").write_text(json.dumps(stored))
        for steps in (10, 50_000):
            assert machine.wanted_compile(config_of(tmp_path, steps=steps)) == expected


def test_without_a_compiler_a_line_says_so_and_the_run_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(machine, "why_not_compiled", lambda device: "no C++ compiler")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    decided = machine.decide_compile(config_of(tmp_path, compile="on"))
    assert decided.compile == "off"
    assert capsys.readouterr().err == (
        "compile: torch.compile does not work here (no C++ compiler); the steps run uncompiled\n"
    )
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "compiled")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")


def test_cuda_graphs_need_a_gpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(machine, "why_not_compiled", lambda device: "")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    assert machine.decide_compile(config_of(tmp_path, compile="graphs", device="cpu")).compile == "on"
    assert machine.decide_compile(config_of(tmp_path, compile="graphs_only", device="cpu")).compile == "off"
    assert capsys.readouterr().err.count("CUDA graphs need a GPU (device is cpu)") == 2
    for form in ("graphs", "graphs_only"):
        assert machine.decide_compile(config_of(tmp_path, compile=form, device="cuda")).compile == form
    monkeypatch.setattr(machine, "why_not_compiled", lambda device: "no C++ compiler")
    assert machine.decide_compile(config_of(tmp_path, compile="graphs", device="cuda")).compile == "graphs_only"


def test_auto_takes_graphs_for_one_process_on_a_gpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(machine, "why_not_compiled", lambda device: "")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))

    def decided(**fields):
        out = tmp_path / "none"
        return machine.decide_compile(
            config_of(out, **{"device": "cuda", "steps": 9_000, "compile": "auto", **fields})
        ).compile

    assert decided() == "graphs" and decided(steps=400) == "graphs_only"
    assert decided(penalty="gradient", augment="") == decided(penalty="r1") == "graphs_only"
    assert decided(penalty="r1", penalty_every=8) == "on" and decided(penalty_every=8) == "graphs"
    assert decided(donor="x", l2_sp=0.1) == "on" and not capsys.readouterr().err.count("CUDA graphs")
    assert decided(donor="x", l2_sp=0.1, compile="graphs") == "on"
    assert decided(donor="x", l2_sp=0.1, compile="graphs_only") == "off"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert decided() == "on" and decided(compile="graphs") == "on"
    assert capsys.readouterr().err.count("CUDA graphs are for one process") == 3


def test_what_is_compiled_is_kept_beside_the_run_unless_the_user_says_where(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "why_not_compiled", lambda device: "")
    torchs_own = str(Path(tempfile.gettempdir(), "torchinductor_somebody"))  # as torch sets it when it first looks
    for before, expected in (
        ("", tmp_path / "compiled"),
        (torchs_own, tmp_path / "compiled"),
        ("/a/place", "/a/place"),
    ):
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", before)
        machine.decide_compile(config_of(tmp_path, compile="on"))
        assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(expected)


@pytest.mark.slow
def test_a_missing_compiler_is_found_out(tmp_path):
    code = "from training.engine.machine import why_not_compiled as why; print(repr(why('cpu')))"
    env = {
        **os.environ,
        "CXX": str(tmp_path / "none"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True).stdout
    assert len(said) > 5, said


def test_a_resumed_run_keeps_its_form():
    from dataclasses import asdict

    old = config_of(compile="off")
    assert differences(asdict(old), config_of(compile="on", one_pass=True), 0) == ["one_pass: was False, now True"]
    before = {k: v for k, v in asdict(old).items() if k not in ("compile", "one_pass", "tf32", "speed")}
    assert differences(before, old, 0) == []  # a run from before these fields


def test_speed_is_a_row_that_flags_override():
    config = config_of(speed="gpu")
    assert config.channels_last and config.precision == "fp32"
    assert make_config("imagenet64", speed="gpu").precision == "bf16"
    with pytest.raises(ValueError, match="speed must be one of gpu, cpu"):
        config_of(speed="tpu")


def test_real_and_fake_in_one_pass_need_a_discriminator_without_batch_norm():
    config = make_config("cnn_cifar10", method="batch_norm", one_pass=True)
    with pytest.raises(ValueError, match="one_pass must be false for a discriminator with batch norm"):
        new_state(config, ["a"])


# Checkpoints


def test_a_checkpoint_behind_the_step_is_the_state_of_its_step(tmp_path, monkeypatch):
    config = config_of(tmp_path)
    state = new_state(config, [str(i) for i in range(10)])
    go, write = threading.Event(), kept.write_checkpoint

    def slow(*arguments):
        assert go.wait(20)
        return write(*arguments)

    monkeypatch.setattr(kept, "write_checkpoint", slow)
    writer = CheckpointWriter(config, "digest", tmp_path, behind=True)
    before = copy.deepcopy(state.generator.state_dict())
    state.step = 1
    writer.save(state)  # returns at once
    with torch.no_grad():
        for parameter in state.generator.parameters():
            parameter.add_(1)
    assert checkpoints(tmp_path) == []
    go.set()
    writer.close()
    saved = torch.load(checkpoints(tmp_path)[0], weights_only=True)
    assert saved["step"] == 1
    assert all(torch.equal(saved["generator"][key], value) for key, value in before.items())


def test_what_fails_behind_the_step_is_raised_by_the_next(tmp_path, monkeypatch):
    config = config_of(tmp_path)
    state = new_state(config, [str(i) for i in range(10)])

    def full(parts, path):
        raise RuntimeError("no space left")

    monkeypatch.setattr(torch, "save", full)
    writer = CheckpointWriter(config, "digest", tmp_path, behind=True)
    writer.save(state)
    with pytest.raises(OSError, match="could not write"):
        writer.save(state)
    writer.close()
    state.generator.l1.bias.data[0] = float("nan")
    with pytest.raises(FloatingPointError, match="weights are not finite"):
        writer.save(state)


# Stopping


class Two:
    """Two processes of which the other one says ``other``."""

    num_processes = 2

    def __init__(self, other, device="cpu"):
        self.other, self.device, self.asked = other, torch.device(device), 0

    def reduce(self, flag, how):
        self.asked += 1
        return flag.cpu() + self.other


def test_all_processes_stop_at_the_same_step():
    assert any_process(True, 3, Two(0)) and any_process(False, 3, Two(1)) and not any_process(False, 3, Two(0))
    gpu = Two(1, "meta")  # a device that is not the CPU: asked in every tenth step alone
    assert not any_process(True, 11, gpu) and gpu.asked == 0
    assert any_process(True, 1, type("One", (), {"num_processes": 1}))


# The real compiler, in a process of its own

RUN = """
import sys
import numpy as np, torch
from sngan_hub.data import Images
from tests import test_processes as processes
from tests.test_machine import config_of
from training.engine.loop import train
torch.set_num_threads(1)
rng = np.random.default_rng(0)
data = Images(rng.integers(0, 256, (40, 3, 32, 32), dtype=np.uint8), np.arange(40) % 10, [str(i) for i in range(10)])
for out, steps in (("whole", 4), ("parts", 2), ("parts", 4)):
    train(config_of(sys.argv[1] + "/" + out, steps=steps, compile="on", threads=1, decay_from=0, decay_to=8,
                    transition_from=0, transition_to=0, data="x", one_pass=True, augment="",
                    checkpoint_every=2, log_every=2, snapshot_every=4, sample_every=99, spectrum_every=0), data)
# In float64 against the uncompiled step, the class strength moving
fields = dict(n_dis=1, batch_size=4, g_batch_size=8, model=processes.SHALLOW)
expected = processes.tensors(processes.run(20, torch.float64, **fields)[0])
state = processes.run(20, torch.float64, compile="on", one_pass=True, **fields)[0]
processes.assert_close(processes.tensors(state), expected, 1e-9, processes.moved_by_rounding)
"""


@pytest.mark.soak
@pytest.mark.slow
def test_compiled_steps_resume_byte_for_byte_and_are_the_uncompiled_ones(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}  # one for all
    done = subprocess.run([sys.executable, "-c", RUN, str(tmp_path)], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    for kind in ("generator", "discriminator"):
        whole, parts = ((tmp_path / out / kind / "model.safetensors").read_bytes() for out in ("whole", "parts"))
        assert whole == parts
    assert json.loads((tmp_path / "parts" / "config.json").read_text())["compile"] == "on"
    assert (tmp_path / "cache").is_dir()


def test_processes_wait_for_what_the_first_one_does_alone(monkeypatch):
    """It checks the data and computes scores, which takes more than NCCL's 10 minutes for ImageNet."""
    import accelerate

    made = []
    monkeypatch.setattr(accelerate, "Accelerator", lambda **given: made.append(given))
    new_accelerator("cpu")
    (handler,) = made[0]["kwargs_handlers"]
    assert isinstance(handler, accelerate.InitProcessGroupKwargs) and handler.timeout.total_seconds() >= 24 * 3600


def test_training_on_mps_is_refused(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or cuda:N for training .got 'mps'."):
        set_up(make_config("fashion32", device="mps"))


def test_all_machines_must_have_the_same_data(monkeypatch):
    from accelerate import utils

    two = Two(0)
    monkeypatch.setattr(utils, "gather_object", lambda own: [*own, "other"])
    with pytest.raises(ValueError, match="data must be the same images for all processes .got others in process 1."):
        check_same_data("mine", two)
    monkeypatch.setattr(utils, "gather_object", lambda own: own * 2)
    check_same_data("mine", two)
