"""What keeps a long run safe: checkpoints, a full disk, lost workers, numbers that run away; and what it tells."""

import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sngan_hub.data import Images, load_images
from sngan_hub.networks.registry import MODELS, Model
from sngan_hub.weights.record import Score
from training.engine import checkpoints as checkpointing
from training.engine import loop
from training.engine.checkpoints import checkpoints
from training.engine.loop import train
from training.engine.run_folder import linked_step
from training.engine.snapshots import save_snapshot
from training.engine.state import new_state
from training.feed.checks import check_data, check_held_out, contact_sheet, findings
from training.monitor.log import fixed_samples, hours_of, read_lines, real_spread, shown_classes

from . import tiny_runs, warm
from .conftest import ROOT
from .test_resume import alive, command, ending, equal, last_step, run_forked, unbroken
from .tiny_runs import settings, some_data

tiny = tiny_runs.tiny


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return equal(a, b)


# Checkpoints


def test_the_last_checkpoints_are_kept_and_a_damaged_one_is_passed_over(tmp_path, capsys):
    data, out = some_data(), tmp_path / "run"
    whole = train(settings(tmp_path / "whole"), data)
    train(settings(out, steps=5), data)
    assert [path.stem for path in checkpoints(out)] == ["0000004", "0000005"]
    (out / "checkpoints" / ".writing.pt").write_bytes(b"half of on")  # killed while it was written: never looked at
    newest = checkpoints(out)[-1]
    kept = {path: path.read_bytes() for path in checkpoints(out)}
    torch.save({"other": 1}, tmp_path / "other.pt")  # readable, and none of ours
    for damage in (b"", kept[newest][:5000], b"PK" + bytes(500), (tmp_path / "other.pt").read_bytes()):
        for path in checkpoints(out):
            path.unlink()
        for path, content in kept.items():
            path.write_bytes(damage if path == newest else content)
        again = train(settings(out), data)
        said = capsys.readouterr().err
        assert f"{newest}: not a readable checkpoint" in said and "trying the previous one" in said
        assert same(whole, again)
        assert [path.stem for path in checkpoints(out)] == ["0000004", "0000006"]
        assert newest.with_suffix(".damaged").read_bytes() == damage
    for path in checkpoints(out):
        path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"no readable checkpoint \(of 2\); restore the folder from a copy"):
        train(settings(out), data)
    assert all(path.read_bytes() == b"nothing" for path in checkpoints(out))


def test_wrong_bytes_in_the_pickle_of_a_checkpoint_are_damage(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    first, second = (tmp_path / "checkpoints" / f"{step:07d}.pt" for step in (1, 2))
    torch.save({"step": 1, "data": "abc"}, first)
    for damage in (first.read_bytes().replace(b"step", b"\xb8tep"), b"\x80\x02."):  # no UTF-8; an empty stack
        second.write_bytes(damage)
        parts, damaged = checkpointing.newest_readable(tmp_path, ("step",))
        assert parts["step"] == 1 and damaged == [second]
        assert checkpointing.stored_fingerprint(tmp_path) == "abc"


def test_results_whose_checkpoints_are_gone_are_not_overwritten(tmp_path):
    """The same command would start at step 0 and cut the log, the scores and the snapshots."""
    out = tmp_path / "run"
    train(settings(out), some_data())
    (out / "checkpoints").rename(tmp_path / "elsewhere")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for steps in (6, 8):
        with pytest.raises(ValueError, match="has results of 6 steps, but no checkpoint to resume from; restore"):
            train(settings(out, steps=steps), some_data())
    after = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and "tfevents" not in path.name}
    assert after == {path: content for path, content in before.items() if "tfevents" not in path.name}
    (tmp_path / "elsewhere").rename(out / "checkpoints")
    assert train(settings(out, steps=8), some_data()).step == 8


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(tmp_path):
    train(settings(tmp_path, checkpoint_every=4, steps=4), some_data())
    shutil.rmtree(tmp_path / "checkpoints")
    (tmp_path / ".had_checkpoints").unlink()
    assert train(settings(tmp_path, checkpoint_every=4, steps=4), some_data()).step == 4


def test_a_full_disk_at_the_only_checkpoint_leaves_a_run_that_starts_again(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpointing, "write_atomically", full)
        with pytest.raises(OSError, match="no checkpoint yet, so the same command starts from step 0"):
            train(settings(tmp_path, checkpoint_every=100), some_data())
    assert train(settings(tmp_path, checkpoint_every=100), some_data()).step == 6


def test_scores_against_other_images_do_not_compare(tmp_path):
    from training.monitor.score import best_score, scores_since_best

    rows = [{"step": step, "protocol": "kid1k_test", "value": value, "reference_sha256": digest}
            for step, value, digest in ((1, 0.1, "a"), (2, 0.5, "b"), (3, 0.4, "b"), (4, 0.45, "b"))]  # fmt: skip
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert best_score(tmp_path, "kid1k_test")["step"] == 3 and scores_since_best(tmp_path, "kid1k_test") == 1


def test_more_can_be_kept(tmp_path):
    train(settings(tmp_path, steps=8, keep_checkpoints=3), some_data())
    assert [int(path.stem) for path in checkpoints(tmp_path)] == [4, 6, 8]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["checkpoint", "snapshot"])
def test_a_full_disk_stops_with_the_state_safe(what, image_folder, tmp_path, tmp_path_factory):
    """RLIMIT_FSIZE stands in for the disk: no file may grow past it."""
    out = tmp_path / "run"
    first = run_forked(image_folder, out, steps=7)
    assert first.returncode == 0, first.stderr
    kept = checkpoints(out)[-1].read_bytes()
    small = 100_000 if what == "checkpoint" else 10_000
    intervals = {"snapshot_every": 1000} if what == "checkpoint" else {"snapshot_every": 9, "checkpoint_every": 1000}
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({small}, {small}))\n"
    flags = command(image_folder, out, steps=20, sample_every=1000, **intervals)
    done = warm.run([*flags[:2], limited + flags[2], *flags[3:]])
    assert done.returncode == 2, done.stderr
    line = done.stderr.splitlines()[-1]
    assert "could not write" in line and "the same command resumes from the checkpoint of step 7" in line
    assert checkpoints(out)[-1].read_bytes() == kept and "Traceback" not in done.stderr
    assert run_forked(image_folder, out, steps=20).returncode == 0
    ours, theirs = (
        torch.load(checkpoints(p)[-1], weights_only=True) for p in (out, unbroken(tmp_path_factory, steps=20))
    )
    assert all(equal(ours[key], theirs[key]) for key in ("generator", "discriminator", "opt_g", "opt_d"))


def test_an_error_without_text_is_named_by_its_type(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError

    config = settings(tmp_path)
    state = new_state(config, some_data().classes)
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match=r"could not write .*0000000\.pt \(OSError\); there is no checkpoint yet"):
        checkpointing.write_checkpoint(state.state_dict(), config, tmp_path)
    monkeypatch.setattr(type(state.generator), "_save_pretrained", fail)
    with pytest.raises(OSError, match=r"could not write .*0000000 \(OSError\); there is no checkpoint yet"):
        save_snapshot(state, tmp_path)


def test_a_log_that_cannot_be_written_states_the_last_checkpoint(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    train(settings(tmp_path, steps=4), some_data())
    monkeypatch.setattr(loop.Log, "write", full)
    with pytest.raises(
        OSError, match="No space left on device; the same command resumes from the checkpoint of step 4"
    ):
        train(settings(tmp_path), some_data())


def test_a_snapshot_with_numbers_that_ran_away_is_not_linked(tmp_path, monkeypatch):
    inner = loop.train_step

    def poisoned(state, *rest):
        losses = inner(state, *rest)
        if state.step == 4:
            next(state.discriminator.parameters()).data.fill_(math.nan)
        return losses

    monkeypatch.setattr(loop, "train_step", poisoned)
    config = settings(tmp_path / "a")
    config = dataclasses.replace(config, snapshot_every=2)
    with pytest.raises(FloatingPointError, match="step 4: weights are not finite"):
        train(config, some_data())
    assert (tmp_path / "a" / "discriminator").resolve().parent.name == "0000002"


def test_numbers_that_run_away_stop_the_run_before_anything_is_saved(tmp_path, monkeypatch):
    data = some_data()
    inner = loop.train_step

    def broken(state, *rest):
        losses = inner(state, *rest)
        if state.step == 5:
            losses["loss_d"] = losses["loss_d"] * math.nan
        return losses

    monkeypatch.setattr(loop, "train_step", broken)
    with pytest.raises(FloatingPointError, match=r"step 5: losses .*nan.* lower lr_g or lr_d .*checkpoint of step 4"):
        train(settings(tmp_path / "a"), data)

    def poisoned(state, *rest):
        losses = inner(state, *rest)
        if state.step == 4:
            with torch.no_grad():
                state.discriminator.linear.weight[0, 0] = math.inf
        return losses

    monkeypatch.setattr(loop, "train_step", poisoned)
    with pytest.raises(FloatingPointError, match="step 4: weights are not finite"):
        train(settings(tmp_path / "b", log_every=100), data)
    assert [path.stem for path in checkpoints(tmp_path / "b")] == ["0000002"]


@pytest.mark.slow
def test_a_lost_worker_is_told_in_a_line_and_the_run_goes_on(image_folder, tmp_path, tmp_path_factory):
    out = tmp_path / "run"
    process = subprocess.Popen(
        command(image_folder, out, 2, log_every=1), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    while last_step(out) < 16:
        time.sleep(0.01)
    workers = []
    for folder in Path("/proc").glob("[0-9]*"):
        words = (folder / "cmdline").read_text().split("\0") if (folder / "cmdline").exists() else []
        if f"--out={out}" in words and "torch.distributed.run" not in words:
            workers.append(int(folder.name))
    assert len(workers) == 2
    os.kill(max(workers), signal.SIGKILL)
    said = process.communicate(timeout=120)[1]
    while alive(out):
        time.sleep(0.02)
    assert process.returncode and f"{out}: another process of the run has ended" in said, said[-3000:]
    assert "the same command resumes from the checkpoint of step" in said
    assert run_forked(image_folder, out, 2, log_every=1).returncode == 0
    for a, b in zip(ending(unbroken(tmp_path_factory, 2)), ending(out), strict=True):
        assert equal(a, b)


# What is looked at first


def test_what_the_check_says_of_data():
    config = settings("", n_classes=3, batch_size=30)
    said = " | ".join(findings(some_data(), config))
    assert "40 images of 32 px in 2 classes, 20 per class" in said
    assert "the preset is meant for 3 classes (got 2)" in said and "fewer images than in two batches of 30" in said
    data = some_data(300)
    assert len(findings(data, settings(""))) == 1  # nothing else to say of good data
    uneven = data._replace(labels=(np.arange(300) < 10).astype(np.int64))
    assert "over 10 times as many" in " ".join(findings(uneven, settings("")))
    assert "only one class" in " ".join(findings(data.as_one_class(), settings("")))
    assert "only one class" not in " ".join(findings(data.as_one_class(), settings("", conditioning="none")))
    grey = data._replace(images=data.images[:, :1].repeat(3, 1))
    assert "grey" in " ".join(findings(grey, settings("")))
    flat = data._replace(images=np.where(np.arange(300)[:, None, None, None] < 5, 90, data.images).astype(np.uint8))
    said = " ".join(findings(flat, settings("")))
    assert "5 of 300 sampled images have a single colour" in said
    assert "4 of 300 sampled images duplicate another" in said
    dark = data._replace(images=data.images // 4)
    assert "pixel values range from 0 to 63 only" in " ".join(findings(dark, settings("")))
    unstretched = data._replace(made={"contrast_stretch": False})
    assert "without this preset's contrast stretch" in " ".join(
        findings(unstretched, settings("", contrast_stretch=True))
    )
    stretched = data._replace(made={"contrast_stretch": True})
    assert len(findings(stretched, settings("", contrast_stretch=True))) == 1
    raw = data._replace(made={})
    (line,) = set(findings(raw, settings("", data="mine", contrast_stretch=True))) - set(findings(raw, settings("")))
    assert line.startswith("the images are not prepared; sngan prepare ")
    named = {line for crop in (1.0, 0.9) for line in findings(raw, settings("", data="avatars", contrast_stretch=True,
                                                                           crop=crop))}  # fmt: skip
    assert named - set(findings(raw, settings(""))) == {
        "the images of avatars are used as they are: contrast_stretch has no effect on them"
    }


@pytest.mark.parametrize("change, text", [
    (lambda d: d._replace(labels=d.labels + 1), r"one label from 0 to 1 for each of 40 images \(got 40 labels from 1 to 2\)"),
    (lambda d: d._replace(labels=d.labels - 1), "labels from -1 to 0"),
    (lambda d: d._replace(classes=[*d.classes, "none"]), r"images of every class \(got none of none\)"),
    (lambda d: d._replace(images=d.images // 255), r"pixel values from 0 to 255 \(got 0 to 1\)"),
    (lambda d: d._replace(images=d.images.astype(np.float32)), r"data must be uint8 images \(N, 3, S, S\) \(got float32"),
    (lambda d: d._replace(images=d.images[..., :16, :16]), r"at least the network's 32 px \(got 16\)"),
])  # fmt: skip
def test_what_no_training_could_mend_is_refused_before_the_first_step(change, text, tmp_path):
    with pytest.raises(ValueError, match=text):
        train(settings(tmp_path / "run"), change(some_data()))
    assert not checkpoints(tmp_path / "run")


def test_a_crop_of_less_than_a_pixel_is_refused():
    with pytest.raises(ValueError, match=r"crop must leave at least one pixel of 32 \(got 0.03\)"):
        findings(some_data(), settings("", crop=0.03))
    assert findings(some_data(), settings("", crop=0.04))


def test_the_contact_sheet_shows_a_row_a_class(tmp_path):
    data = some_data(400, classes=25)
    sheet = contact_sheet(data, settings(""))
    assert sheet.height >= 10 * 64 and sheet.height < 11 * 70  # ten of the classes
    train(settings(tmp_path, steps=1), some_data())
    assert Image.open(tmp_path / "data.png").text["data"] == "fashion"


def test_the_contact_sheet_shows_the_crops_of_the_present_data(tmp_path, monkeypatch):
    from training.feed import checks

    shown, draw = [], checks.labelled_grid
    monkeypatch.setattr(checks, "labelled_grid", lambda images, *rest: shown.append(images) or draw(images, *rest))
    ramp = np.broadcast_to(np.arange(0, 256, 4, dtype=np.uint8), (40, 3, 64, 64)).copy()
    data = some_data()._replace(images=ramp)
    for fields, most in ((dict(crop=0.5), 140), (dict(crop=0.5, contrast_stretch=True), 256), ({}, 256)):
        check_data(data, settings(tmp_path, **fields), tmp_path, False)
        assert shown[-1].shape == (20, 3, 32, 32)
        widths = shown[-1].amax((1, 2, 3)).int() - shown[-1].amin((1, 2, 3)).int()
        assert (widths < most).all() and (widths > most - 30).all()
    before = (tmp_path / "data.png").read_bytes()
    check_data(some_data(), settings(tmp_path), tmp_path, True)
    assert (tmp_path / "data.png").read_bytes() == before, "a resumed run keeps it"
    check_data(some_data(), settings(tmp_path), tmp_path, False)
    assert (tmp_path / "data.png").read_bytes() != before, "an earlier start with other images is none of this run"


# What it tells


def test_singular_values_at_intervals_are_exact(tmp_path):
    state = train(settings(tmp_path, spectrum_every=3), some_data())
    rows = read_lines(tmp_path / "spectrum.jsonl")
    assert [row["step"] for row in rows] == [3, 6]
    d = state.discriminator
    for name, found in rows[-1]["layers"].items():
        layer = d.get_submodule(name)
        values = torch.linalg.svdvals(layer.weight.detach().double().flatten(1))
        assert found["largest"] == pytest.approx(float(values[0]) / found["sigma"], rel=1e-5)
        assert found["smallest"] == pytest.approx(float(values[-1]) / found["sigma"], rel=1e-4, abs=1e-7)
    assert {"blocks.0.c1", "linear", "embed"} <= rows[-1]["layers"].keys()
    assert same(state, train(settings(tmp_path / "without"), some_data()))  # looking changes nothing


def test_a_lazy_penalty_stands_in_every_line_of_the_log_after_its_first(tmp_path):
    lazy = dict(penalty="r1", penalty_weight=10.0, penalty_every=2, log_every=1, steps=5, decay_from=5, decay_to=5)
    train(settings(tmp_path, **lazy), some_data())
    values = [row.get("penalty") for row in read_lines(tmp_path / "log.jsonl")]
    assert values[0] is None and values[1] == values[2] and values[3] == values[4] and values[1] != values[3]


def test_hours_leave_out_time_in_which_a_run_was_suspended():
    log = [{"step": step, "seconds_per_step": 0.36} for step in range(100, 10_001, 100)]
    assert hours_of(log) == 1.0 and hours_of([]) == 0.0
    log[50]["seconds_per_step"] = 3600.0  # a hundred hours
    assert hours_of(log) == pytest.approx(1.02)


def test_hours_keep_both_machines_of_a_run_and_leave_out_work_done_elsewhere():
    moved = [{"step": step, "seconds_per_step": 0.36 if step <= 6_000 else 3.6} for step in range(100, 10_001, 100)]
    assert hours_of(moved) == pytest.approx(0.6 + 4.0)
    moved[80]["seconds_per_step"] = 3600.0
    assert hours_of(moved) == pytest.approx(4.8)
    imported = [{"step": 250_000 + step, "seconds_per_step": 0.36} for step in range(100, 10_001, 100)]
    assert hours_of(imported) == pytest.approx(1.0)
    assert hours_of(imported, 250_000) == 0.0 and hours_of(imported, 255_000) == 0.5


def test_the_best_snapshot_is_the_one_that_is_offered(tmp_path, monkeypatch, capsys):
    from sngan_hub.metrics import inception, protocols
    from training.__main__ import main

    values = iter([0.9, 0.2, 0.5, 0.7])
    asked = []

    def evaluate(generator, source, names, *rest, plan_only=False, **_):
        if plan_only:  # before the first step
            return iter(())
        asked.append((source, names))
        assert rest == (0, "", "fp32")
        time.sleep(1.0)
        return [(names[0], Score(next(values), 10, "none", floor=0.1))]

    monkeypatch.setattr(protocols, "evaluate", evaluate)
    monkeypatch.setattr(inception, "find_weights", lambda: None)
    options = dict(score_every=2, snapshot_every=100, data="somewhere", spectrum_every=0)
    state = train(settings(tmp_path, **options), some_data())
    assert asked == [("somewhere", ["kid1k_test"])] * 3
    assert max(row["seconds_per_step"] for row in read_lines(tmp_path / "log.jsonl")) < 1.0  # scoring is no step's time
    assert (tmp_path / "generator").resolve().parent.name == "0000004"
    assert (tmp_path / "discriminator").resolve().parent.name == "0000004"
    assert len(list((tmp_path / "snapshots").iterdir())) == 3
    assert main(["status", str(tmp_path)]) == 0
    assert "kid1k_test 0.2 at step 4" in capsys.readouterr().out
    # cut off behind step 4 and resumed: its score of step 6 is measured again, the others stay
    checkpoints(tmp_path)[-1].unlink()
    train(settings(tmp_path, **options), some_data())
    assert [(row["step"], row["value"]) for row in read_lines(tmp_path / "scores.jsonl")] == [
        (2, 0.9),
        (4, 0.2),
        (6, 0.7),
    ]
    assert same(state, train(settings(tmp_path / "without"), some_data()))
    higher = [{"step": i, "protocol": "agreement2k", "value": v} for i, v in enumerate([0.1, 0.8, 0.3])]
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in higher))
    from training.monitor.score import best_score

    assert best_score(tmp_path, "agreement2k")["step"] == 1


def test_until_a_score_is_a_number_the_latest_snapshot_is_offered(tmp_path, monkeypatch):
    from sngan_hub.metrics import inception, protocols

    values, offered = iter([math.nan, 0.2, 0.5]), []

    def evaluate(generator, source, names, *rest, plan_only=False, **_):
        if not plan_only:
            offered.append(linked_step(tmp_path))
        return iter(()) if plan_only else [(names[0], Score(next(values), 10, "none"))]

    monkeypatch.setattr(protocols, "evaluate", evaluate)
    monkeypatch.setattr(inception, "find_weights", lambda: None)
    train(settings(tmp_path, score_every=3, snapshot_every=1, steps=9, data="somewhere"), some_data())
    assert offered == [3, 6, 6] and linked_step(tmp_path) == 6


def test_a_run_ends_where_scores_no_longer_get_better(tmp_path, monkeypatch, capsys):
    from sngan_hub.metrics import inception, protocols

    values = iter([0.5, 0.3, 0.4, 0.6, 0.1])
    monkeypatch.setattr(
        protocols, "evaluate",
        lambda g, s, names, *_, plan_only=False, **__: () if plan_only else [(names[0], Score(next(values), 10, "none"))],
    )  # fmt: skip
    monkeypatch.setattr(inception, "find_weights", lambda: None)
    options = dict(steps=6, score_every=1, patience=2, snapshot_every=100, checkpoint_every=100, data="somewhere")
    state = train(settings(tmp_path, **options), some_data())
    assert state.step == 4 and (tmp_path / "generator").resolve().parent.name == "0000002"
    assert checkpoints(tmp_path)[-1].stem == "0000004"
    assert "ended at step 4 of 6: no better score in 2 scores; to go on, raise --patience" in capsys.readouterr().err
    assert train(settings(tmp_path, **{**options, "steps": 8}), some_data()).step == 4  # a later command finds it ended
    assert "ended at step 4 of 8: no better score in 2 scores" in capsys.readouterr().err
    assert next(values) == 0.1
    more = train(settings(tmp_path, **{**options, "patience": 0, "score_every": 0}), some_data())
    assert more.step == 6 and "no better score" not in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"patience needs scores \(got 2\); set --score-every too"):
        settings(tmp_path, patience=2)


def test_what_the_first_score_would_fail_for_is_said_at_the_start(tmp_path, monkeypatch, image_folder):
    from sngan_hub.metrics import inception

    def missing():
        raise FileNotFoundError("Inception weights: not found")

    with pytest.raises(ValueError, match="unknown score 'kid1k'; the nearest are"):
        train(settings(tmp_path, score_every=2, score="kid1k"), some_data())
    with pytest.raises(ValueError, match=r"score_every needs held-out images \(got held_out none\)"):
        settings(tmp_path, score_every=2, held_out="none")
    monkeypatch.setattr(inception, "find_weights", missing)
    with pytest.raises(FileNotFoundError, match="Inception weights"):
        train(settings(tmp_path, score_every=2), some_data())
    monkeypatch.setattr(inception, "find_weights", lambda: None)
    (tmp_path / "other" / "left").mkdir(parents=True)
    shutil.copy(image_folder / "left" / "00.png", tmp_path / "other" / "left")
    with pytest.raises(ValueError, match=r"held_out must have the classes of .* \(got .*/other, "):
        train(settings(tmp_path / "run", score_every=2, data=str(image_folder), held_out=str(tmp_path / "other")))


def test_held_out_images_are_not_trained_on(tmp_path, image_folder):
    for held_out, expected in (("tenth", 36), ("none", 40), (str(image_folder), 40)):
        config = settings(tmp_path, held_out=held_out)
        assert len(load_images(str(image_folder), config.split, 32).images) == expected
        assert config.test_folder == ("" if held_out in ("tenth", "none") else held_out)


def test_pictures_that_are_trained_on_are_not_held_out(tmp_path, image_folder, capsys):
    """By their content: a copy or a link of the data is the data. A few among many are said."""
    copy, link, some = tmp_path / "copy", tmp_path / "link", tmp_path / "some"
    shutil.copytree(image_folder, copy)
    (copy / "left").rename(copy / "links")
    link.symlink_to(image_folder)
    for folder in (image_folder, copy, link):
        config = settings(tmp_path / "run", data=str(image_folder), held_out=str(folder))
        with pytest.raises(
            ValueError,
            match=f"held_out: {folder}: 40 of 40 images are also training images.*training, or set --held-out none$",
        ):
            train(config)
    assert not (tmp_path / "run").exists()
    (some / "left").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(100):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(some / "left" / f"new{i}.png")
    data, config = load_images(str(image_folder), "all"), settings(tmp_path / "run", held_out=str(some))
    check_held_out(data, config)
    assert not capsys.readouterr().err
    shutil.copy(image_folder / "left" / "03.png", some / "left")
    check_held_out(data, config)
    assert capsys.readouterr().err == f"held_out: {some}: 1 of 101 images is also a training image\n"
    shutil.copy(image_folder / "right" / "04.png", some / "left")
    with pytest.raises(ValueError, match="2 of 102 images"):
        check_held_out(data, config)


def test_copies_within_a_folder_are_said_once(tmp_path, image_folder, capsys):
    """Every tenth image of a class is held out, and copies of it are not."""
    shutil.copy(image_folder / "left" / "08.png", image_folder / "left" / "09.png")
    said = "data: 1 of 4 held-out images is also a training image, so scores are too good; remove the duplicates from"
    for out, fields, expected in (("a", {}, True), ("a", {"steps": 3}, False), ("b", {"held_out": "none"}, False)):
        train(settings(tmp_path / out, **{"data": str(image_folder), "steps": 2, **fields}))
        assert (said in capsys.readouterr().err) == expected


def test_the_gauge_and_the_grid_show_ten_of_many_classes():
    assert shown_classes(1) == [0] and shown_classes(10) == list(range(10))
    many = shown_classes(1000)
    assert len(many) == 10 and many[0] == 0 and many[-1] == 999 and len(set(many)) == 10
    data = some_data(60, classes=30)
    MODELS["sngan_tiny"] = Model(32, 30, {"widths": [8, 8, 4, 4]}, {"widths": [4, 4, 8, 8]})
    g = new_state(settings(""), data.classes).generator
    assert fixed_samples(g, 0, 2).shape == (20, 3, 32, 32) and real_spread(data, 30).shape == (10,)
    assert real_spread(data, 0).shape == (1,)


def test_the_spread_of_real_images_is_that_of_all_of_them_and_of_each_class_by_its_own_count():
    images = np.zeros((400, 3, 8, 8), np.uint8)
    images[200:] = 255  # the second of two folders
    data = Images(images, np.arange(400) // 200, ["dark", "bright"])
    assert real_spread(data, 0) > 10 and (real_spread(data, 2) == 1e-3).all(), "copies in each class, not in both"
    varied = some_data(31, classes=3)
    few = varied._replace(labels=np.array([0] + [1] * 10 + [2] * 20))  # one image has no spread
    first, second, third = real_spread(few, 3).tolist()
    assert second > 1 < third and first == pytest.approx((second + third) / 2)
    assert real_spread(varied._replace(images=varied.images[:1], labels=varied.labels[:1]), 0) == pytest.approx(1e-3)


def test_a_run_on_stretched_images_is_scored_against_stretched_images(tmp_path, monkeypatch):
    from sngan_hub.metrics import inception, protocols

    asked = []
    monkeypatch.setattr(protocols, "evaluate", lambda *_, stretch=None, **__: asked.append(stretch) or ())
    monkeypatch.setattr(inception, "find_weights", lambda: None)
    for stretch in (True, False):
        config = settings(tmp_path / str(stretch), steps=1, score_every=1, data="somewhere", contrast_stretch=stretch)
        train(config, some_data())
    assert asked == [True, True, False, False]  # the check before the first step, and the score
