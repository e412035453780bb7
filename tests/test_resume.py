"""A run is a function of its settings: killed anywhere and resumed by the same command, it ends byte for byte equal.

Through real processes and SIGKILL. The run that nothing interrupts, and the last part of a killed one, are started as a
user starts them; the others are forked, so that the seed of Python's hashes is another one too. ``SOAK=1`` (make soak) kills twenty times instead of twice.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from . import warm
from .conftest import ROOT, draw_images, once

TINY = """
import sys
from sngan_hub.networks.registry import MODELS, Model
MODELS["sngan_tiny"] = Model(32, 2, {"widths": [16, 16, 8, 8]}, {"widths": [8, 8, 16, 16]})
from training.__main__ import main
raise SystemExit(main(sys.argv[1:]))
"""


def command(folder, out, processes=1, **overrides):
    settings = {
        "preset": "fashion32", "architecture": "sngan_tiny", "data": folder, "out": out, "steps": 60, "batch_size": 8,
        "g_batch_size": 8, "n_dis": 2, "decay_from": 10, "decay_to": 60, "transition_from": 5, "transition_to": 30,
        "augment": "color,translation,cutout", "flip": "true", "ema_decay": 0.9, "threads": 1, "log_every": 5,
        "checkpoint_every": 7, "snapshot_every": 20, "sample_every": 20, "bn_group_d": 2, "bn_group_g": 4, **overrides,
    }  # fmt: skip
    flags = [f"--{key}={value}" for key, value in settings.items()]
    if processes == 1:
        return [sys.executable, "-c", TINY, "train", *flags]
    script = Path(out).parent / "tiny.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{TINY}")
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [sys.executable, *launcher, str(script), "train", *flags]


def run(*args, **kwargs):
    return subprocess.run(command(*args, **kwargs), cwd=ROOT, capture_output=True, text=True)


def forked(folder, out, processes=1, **overrides):
    """The started processes of a run, without torchrun where it has several."""
    words = command(folder, out, **overrides)
    return [warm.start(words)] if processes == 1 else warm.start_together(words, processes)


def run_forked(*args, **kwargs):
    """-> what the first process says"""
    first, *others = forked(*args, **kwargs)
    said = first.communicate(300)
    for other in others:
        other.communicate(300)
        assert other.returncode == first.returncode
    return subprocess.CompletedProcess(first.args, first.returncode, *said)


def unbroken(tmp_path_factory, processes=1, **settings):
    """The folder of the run that nothing interrupts, one for all tests: a run depends on no path, and not on how often
    it writes its log or its checkpoints.
    """

    def make(folder):
        done = run(draw_images(folder), folder / "run", processes, log_every=1, **settings)
        assert done.returncode == 0, done.stderr

    name = "-".join(["unbroken", str(processes), *(f"{key}={value}" for key, value in settings.items())])
    return once(tmp_path_factory, name, make) / "run"


def newest(out):
    return sorted((out / "checkpoints").glob("*.pt"))[-1]


def ending(out):
    checkpoint = torch.load(newest(out), weights_only=True)
    checkpoint.pop("config")
    files = {
        p: (out / p / "model.safetensors").read_bytes()
        for p in ("generator", "discriminator", "snapshots/0000060/generator")
    }
    log = [
        {k: v for k, v in json.loads(line).items() if k not in ("seconds_per_step", "data_wait_per_step")}
        for line in (out / "log.jsonl").open()
    ]
    return checkpoint, files, log


def alive(out):
    """Kills workers of a run that outlived their launcher; whether there were any."""
    found = False
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            mine = f"--out={out}" in (folder / "cmdline").read_text().split("\0")
            if mine and (folder / "stat").read_text().split()[2] != "Z":
                os.kill(int(folder.name), signal.SIGKILL)
                found = True
        except (OSError, IndexError):
            pass
    return found


def last_step(out):
    try:
        return json.loads((out / "log.jsonl").read_text().splitlines()[-1])["step"]
    except (OSError, IndexError, ValueError):
        return 0


def equal(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_at_random_moments_ends_byte_equal(processes, image_folder, tmp_path, tmp_path_factory):
    out = tmp_path / "broken"
    rng = random.Random(0)
    for i, target in enumerate(sorted(rng.sample(range(1, 59), 20 if os.environ.get("SOAK") else 2))):
        if i == 0 and processes > 1:  # torchrun's workers outlive it
            parts = [subprocess.Popen(
                command(image_folder, out, processes, log_every=1), cwd=ROOT, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, start_new_session=True,
            )]  # fmt: skip
        else:
            parts = forked(image_folder, out, processes, log_every=1)
        while parts[0].poll() is None and last_step(out) < target:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.15))  # anywhere in a step, a log line, a snapshot or a checkpoint
        assert parts[0].poll() is None, "finished before it could be killed"
        for process in parts:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        while alive(out):  # torchrun starts its workers in sessions of their own
            time.sleep(0.02)
    last = run(image_folder, out, processes, log_every=1)
    assert last.returncode == 0, last.stderr
    for a, b in zip(ending(unbroken(tmp_path_factory, processes)), ending(out), strict=True):
        assert equal(a, b)


@pytest.mark.slow
def test_resume_refuses_changed_settings_and_data_and_damaged_checkpoints(image_folder, tmp_path):
    out = tmp_path / "run"
    assert run_forked(image_folder, out, steps=14).returncode == 0
    kept = newest(out).read_bytes()

    def refused(*words, folder=image_folder, **overrides):
        result = run_forked(folder, out, **{"steps": 14, **overrides})
        assert result.returncode == 2
        line = result.stderr
        assert all(word in line for word in words), line
        assert "Traceback" not in result.stderr

    refused("lr_g: was 0.0004, now 0.1", "n_dis: was 2, now 1", lr_g=0.1, n_dis=1)
    refused("decay_from: was 10, now 12", decay_from=12)  # the rate of finished steps would change
    first = next(image_folder.rglob("*.png"))
    pixels = first.read_bytes()
    first.write_bytes(next(p for p in image_folder.rglob("*.png") if p != first).read_bytes())
    refused("differ in content")
    first.write_bytes(pixels[:100])
    refused("1 damaged image", str(first))
    first.write_bytes(pixels)
    assert newest(out).read_bytes() == kept
    for path in (out / "checkpoints").glob("*.pt"):
        path.write_bytes(kept[: len(kept) // 2])
    refused("not a readable checkpoint", "restore the folder from a copy")
    newest(out).write_bytes(kept)
    longer = run_forked(image_folder, out, steps=21, log_every=3)  # more steps and other intervals are free
    assert longer.returncode == 0, longer.stderr
    assert torch.load(newest(out), weights_only=True)["step"] == 21


@pytest.mark.slow
def test_a_short_run_learns_its_two_classes(image_folder, tmp_path):
    """The whole path on real input: after 150 steps class 0 is bright, and on its left; class 1 is darker."""
    out = tmp_path / "run"
    result = run_forked(
        image_folder, out, steps=150, decay_from=150, decay_to=150, augment="", n_dis=1, batch_size=16,
        g_batch_size=16, transition_from=0, transition_to=0, flip="false", lr_g=2e-3, lr_d=2e-3, bn_group_d=0,
        bn_group_g=0,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    from sngan_hub import load_discriminator, load_generator

    g, d = load_generator(out), load_discriminator(out)
    assert g.classes == ["left", "right"] and d.classes == g.classes
    images = g.sample(n=20, classes=["left", "right"], seed=0).float()
    brightness = images.mean((1, 2, 3))
    assert brightness[:20].mean() > brightness[20:].mean() + 10
    assert images[:20, :, :, :16].mean() > images[:20, :, :, 16:].mean() + 5
    assert (out / "samples" / "0000150.png").is_file() and list((out / "tensorboard").iterdir())
    assert load_file(out / "generator" / "model.safetensors").keys() == g.state_dict().keys()


@pytest.mark.slow
@pytest.mark.parametrize("number, processes", [(signal.SIGTERM, 1), (signal.SIGINT, 1), (signal.SIGTERM, 2)])
def test_asked_to_stop_it_saves_first(number, processes, image_folder, tmp_path, tmp_path_factory, capsys):
    from training.__main__ import main

    out = tmp_path / "run"
    if processes == 1:
        (process,) = forked(image_folder, out, log_every=1, checkpoint_every=1000)
    else:
        process = subprocess.Popen(
            command(image_folder, out, processes, log_every=1, checkpoint_every=1000), cwd=ROOT,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
    while last_step(out) < 12:
        time.sleep(0.01)
    os.killpg(process.pid, number)
    said = process.communicate(timeout=60)[1]
    while alive(out):
        time.sleep(0.02)
    stopped = torch.load(newest(out), weights_only=True)["step"]
    assert 12 <= stopped < 60
    if processes == 1:
        by = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
        words = f"{out}: stopped by {by} at step {stopped} of 60; the state is saved. The same command resumes it"
        assert process.returncode == 130 and words in said and "error" not in said, said
    assert main(["status", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["steps"] == 60 and abs(found["step"] - stopped) <= 1 and found["hours_left"] >= 0
    assert main(["status", str(out)]) == 0 and "seconds per step" in capsys.readouterr().out
    resumed = run_forked(image_folder, out, processes, log_every=1, checkpoint_every=1000)
    assert resumed.returncode == 0, resumed.stderr
    assert f"resumes at step {stopped} of 60" in resumed.stderr
    for a, b in zip(ending(unbroken(tmp_path_factory, processes)), ending(out), strict=True):
        assert equal(a, b)
