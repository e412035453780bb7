"""What a run prints: six lines before it starts, all settings where asked for, and its progress without a terminal."""

import re

import pytest

from sngan_hub.cli.main import main as sngan
from sngan_hub.progress import Progress
from training.monitor import progress
from training.monitor.progress import RunProgress

FLAGS = ["--steps", "1", "--batch-size", "4", "--g-batch-size", "4", "--threads", "1", "--precision", "fp32",
         "--spectrum-every", "0", "--device", "cpu", "--generator-fields", '{"widths": [8, 8, 4, 4]}',
         "--discriminator-fields", '{"widths": [4, 4, 8, 8]}', "--transition-from", "0", "--transition-to", "0"]  # fmt: skip


@pytest.mark.parametrize("verbose", [False, True])
def test_a_run_starts_with_six_lines_or_every_setting(verbose, image_folder, tmp_path, capsys):
    command = ["train", "--preset", "fashion32", "--data", str(image_folder), "--out", str(tmp_path / "run"), *FLAGS]
    assert sngan([*command, *(["--verbose"] if verbose else [])]) == 0
    said = capsys.readouterr()
    lines = said.err.splitlines()
    words = [line.split()[0] for line in lines[:6]]
    assert (words == ["run", "data", "networks", "device", "hours", "output"]) != verbose
    assert ("bn_group_d" in said.err) == verbose
    if not verbose:
        assert "1 iteration of 1 generator and 2 discriminator steps" in lines[0] and "2 classes" in lines[1]
    assert said.out.count("\n") == 1 and "sngan sample" in said.out


def test_a_dry_run_prints_to_stdout(capsys):
    assert sngan(["train", "--preset", "fashion32", "--dry-run"]) == 0
    said = capsys.readouterr()
    assert "bn_group_d" in said.out and "GMAC" in said.out and not said.err


def test_without_a_terminal_a_line_comes_after_ten_seconds_and_then_every_minute(capsys, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown, quiet = RunProgress(1000, 100, True), RunProgress(1000, 100, False)
    for step in range(101, 221):  # 120 steps of a second
        now[0] += 1
        for one in (shown, quiet):
            one.update(step)
        shown.say(loss_d=1.2345)
    shown.close()
    quiet.close()
    lines = capsys.readouterr().err.splitlines()
    assert [re.sub(r"\s+", " ", line) for line in lines] == [
        "step 110 of 1,000, 1 s per step, 15 min left, loss_d 1.23", "step 170 of 1,000, 1 s per step, 14 min left, loss_d 1.23",
    ]  # fmt: skip


def test_work_without_a_terminal_is_reported_by_lines_too(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress(10_000, "prepare", done=2_000) as shown:
        for _ in range(160):  # 50 images a second
            now[0] += 1
            shown.update(50, refused=1)
    assert capsys.readouterr().err.splitlines() == [
        "prepare: 2,500 of 10,000 images, 1 refused, 2 min left", "prepare: 5,500 of 10,000 images, 1 refused, 2 min left",
        "prepare: 8,500 of 10,000 images, 1 refused, 1 min left",
    ]  # fmt: skip


def test_the_time_left_does_not_count_the_first_step_which_may_compile(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = RunProgress(1000, 0, True)
    for step in range(1, 63):  # 150 seconds, then a second each
        now[0] += 150 if step == 1 else 1
        shown.update(step)
    shown.close()
    assert capsys.readouterr().err.splitlines() == [
        "step 1 of 1,000, 150 s for the first step", "step 61 of 1,000, 1 s per step, 16 min left",
    ]  # fmt: skip
