"""``sngan study``: the paper's grid of runs, killed and resumed in between, and the page made from its results."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import psutil
import pytest
import torch
from PIL import Image

from sngan_hub.metrics.scores import fid, kid
from training.config.presets import METHODS, SETTINGS
from training.config.schema import make_config
from training.study import run
from training.study.page import command_of, strips, write_page
from training.study.plan import Cell, cells, check_fields, config_of
from training.study.run import Study, begin, cell_of, read_results, run_study

from . import warm
from .conftest import ROOT

NARROW = {"generator_fields": '{"width": 16}', "discriminator_fields": '{"widths": [4, 4, 4, 4, 4, 4, 4]}'}
SMALL = {**NARROW, "batch_size": 4, "g_batch_size": 4, "steps": 2, "log_every": 1, "sample_every": 2, "snapshot_every": 2,
         "checkpoint_every": 1, "threads": 1, "device": "cpu", "n_dis": 1}  # fmt: skip


@pytest.fixture
def folder_of_images(tmp_path):
    import numpy as np

    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for i in range(8):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
                tmp_path / "images" / name / f"{i}.png"
            )
    return tmp_path / "images"


def wait_until(true):
    until = time.time() + 90
    while not true():
        assert time.time() < until
        time.sleep(0.05)


def invented(run, study, config):
    """Scores that depend on the run, without Inception."""
    return {"fid": 100.0 + config.seed + 10 * config.lr_g * 1e4, "kid": 0.1, "fid_floor": 5.0, "evaluator": "none"}


def test_the_grid_is_every_method_in_every_setting_for_every_seed_and_the_widths_of_figure_4():
    found = cells(METHODS, SETTINGS, [0, 1], [0.5, 1, 2])
    plain = [cell for cell in found if cell.width == 1]
    assert len(plain) == len(set(plain)) == len(METHODS) * len(SETTINGS) * 2
    others = {cell for cell in found if cell.width != 1}
    assert others == {Cell(m, "C", s, w) for m in ("spectral_norm", "orthonormal") for s in (0, 1) for w in (0.5, 2.0)}
    assert len({cell.name for cell in found}) == len(found)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_cell_has_the_numbers_of_its_method_and_setting_whatever_is_given(method, setting):
    config = config_of(Cell(method, setting, 3), "cnn_cifar10", {**NARROW, "lr_g": 0.5, "steps": 7})
    assert {name: getattr(config, name) for name in SETTINGS[setting]} == SETTINGS[setting]
    fields = json.loads(config.discriminator_fields)
    assert fields == {"widths": [4] * 7, **METHODS[method].get("discriminator_fields", {})}
    for name in ("penalty", "clip", "loss", "penalty_weight"):
        if name in METHODS[method]:
            assert getattr(config, name) == METHODS[method][name]
    assert (config.seed, config.steps, config.conditioning) == (3, 7, "none")


@pytest.mark.parametrize("methods, flag, value, text", [
    ("none,wgan_gp", "--n-dis", "3", "n_dis must not be given, because --settings sets it for every run .got 3."),
    ("wgan_gp,gan_gp", "--penalty-weight", "1", "penalty_weight must not be given, because it is part of wgan_gp, gan_gp"),
])  # fmt: skip
def test_a_flag_that_has_no_effect_is_refused(methods, flag, value, text, folder_of_images, tmp_path, capsys):
    from sngan_hub.cli.main import main

    out = tmp_path / "study"
    words = ["study", "--preset", "cnn_cifar10", "--data", str(folder_of_images), "--out", str(out), "--dry-run"]
    with pytest.raises(SystemExit):
        main([*words, "--methods", methods, flag, value])
    assert re.search(text, capsys.readouterr().err)
    assert check_fields({"penalty_weight": 1.0, "steps": 3}, ["none"]) == []
    (said,) = check_fields({"loss": "hinge"}, ["none", "wgan_gp"])
    assert said == "loss hinge: not for wgan_gp, which set it themselves"


def test_a_study_that_was_begun_with_such_a_flag_goes_on(folder_of_images, tmp_path):
    from sngan_hub.cli.main import main

    out = tmp_path / "study"
    out.mkdir()
    given = {"data": str(folder_of_images), "n_dis": 3}
    (out / "study.json").write_text(json.dumps({"preset": "cnn_cifar10", "fields": given, "samples": 2000}))
    words = ["study", "--preset", "cnn_cifar10", "--data", str(folder_of_images), "--out", str(out), "--dry-run"]
    assert main([*words, "--methods", "none", "--n-dis", "3"]) == 0


def test_a_study_without_runs_or_with_damaged_settings_is_one_line(folder_of_images, tmp_path, capsys):
    from sngan_hub.cli.main import main

    words = ["study", "--preset", "cnn_cifar10", "--data", str(folder_of_images), "--out", str(tmp_path), "--dry-run"]
    with pytest.raises(SystemExit):
        main([*words, "--seeds", ",", "--steps", "3"])
    assert "the study has no runs: name at least one method" in capsys.readouterr().err
    for damaged in ("{", "[]", "{}"):
        (tmp_path / "study.json").write_text(damaged)
        with pytest.raises(SystemExit):
            main(words)
        assert f"{tmp_path / 'study.json'}: not the settings of a study" in capsys.readouterr().err


def test_a_width_changes_the_last_feature_map_alone():
    config = config_of(Cell("orthonormal", "C", 0, 4.0), "cnn_cifar10", {})
    assert json.loads(config.discriminator_fields)["widths"] == [64, 64, 128, 128, 256, 256, 2048]
    assert json.loads(config.discriminator_fields)["normalizer"] == "none"


@pytest.mark.parametrize("arguments, said", [
    ((["spectral"], ["A"], [0], []), "methods: unknown 'spectral'"),
    ((["none"], ["G"], [0], []), "settings: unknown 'G'"),
    ((["none"], ["A"], [0], [0.0]), "widths must be above 0"),
])  # fmt: skip
def test_unknown_names_are_named(arguments, said):
    with pytest.raises(ValueError, match=said):
        cells(*arguments)


def test_runs_are_made_once_and_more_can_be_added(folder_of_images, tmp_path, capsys):
    study = Study("cnn_cifar10", {**SMALL, "data": str(folder_of_images)})
    out = tmp_path / "study"
    run_study(out, study, cells(["none"], ["B"], [0], []), rounds=1, score=invented)
    first = read_results(out)
    assert [(row["method"], row["fid"]) for row in first] == [("none", 110.0)]  # setting B has lr_g 1e-4
    assert len(first[0]["spectrum"]) == 7 and all(values[0] == 1 for values in first[0]["spectrum"].values())
    assert Image.open(out / "samples" / "none-B-0.png").size == (8 * 33 + 1, 34)
    logs = {path: path.read_bytes() for path in (out / "runs").rglob("log.jsonl")}
    run_study(out, study, cells(["none", "spectral_norm"], ["B"], [0], []), rounds=1, score=invented)
    rows = read_results(out)
    assert rows[0] == first[0] and [row["method"] for row in rows] == ["none", "spectral_norm"]
    assert all(path.read_bytes() == text for path, text in logs.items()), "a finished run is not made again"
    assert "1 run to make, 1 done" in capsys.readouterr().err
    assert set(json.loads((out / "times.json").read_text())["seconds"]) == {"none", "spectral_norm"}


def test_times_of_further_methods_are_measured_with_those_that_are_known(folder_of_images, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(run, "seconds_per_iteration", lambda configs, *_: (
        asked.append(list(configs)), {name: run.Seconds(1, 1, 1) for name in configs})[1])  # fmt: skip
    study, out = Study("cnn_cifar10", {**SMALL, "data": str(folder_of_images)}), tmp_path / "study"
    for method in ("none", "weight_norm", "none"):
        made = (result for result in [{"method": method, "setting": "B", "seed": 0, "width": 1.0, "fid": 1.0}])
        monkeypatch.setattr(run, "results", lambda *_, made=made: made)
        run_study(out, study, cells([method], ["B"], [0], []), rounds=1, score=invented)
    assert asked == [["none"], ["none", "weight_norm"]]
    assert set(run.read_times(out)) == {"none", "weight_norm"}
    (out / "results.jsonl").write_text((out / "results.jsonl").read_text()[:-9])  # a kill in mid-line
    run_study(out, study, cells(["none"], ["B"], [0], []), rounds=0, score=invented)
    monkeypatch.setattr(run, "results", lambda *_: iter([{"method": "none", "setting": "B", "seed": 1, "width": 1.0,
                                                          "fid": 2.0}]))  # fmt: skip
    run_study(out, study, cells(["none"], ["B"], [1], []), rounds=0, score=invented)
    assert read_results(out)[-1]["fid"] == 2.0, "the line after the one that was cut off is whole"


@pytest.mark.parametrize("other", [{"machine": "m68k, 1 threads"}, {"device": "cuda"}])
def test_times_of_another_machine_are_measured_again(other, folder_of_images, tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(run, "seconds_per_iteration", lambda configs, *_: (
        asked.append(list(configs)), {name: run.Seconds(1, 1, 1) for name in configs})[1])  # fmt: skip
    monkeypatch.setattr(run, "results", lambda *_: iter([]))
    study, out = Study("cnn_cifar10", {**SMALL, "data": str(folder_of_images)}), tmp_path / "study"
    run_study(out, study, cells(["none", "weight_norm"], ["B"], [0], []), rounds=1, score=invented)
    (out / "times.json").write_text(json.dumps(json.loads((out / "times.json").read_text()) | other))
    wanted = cells(["none"], ["B"], [0], [])
    capsys.readouterr()
    run_study(out, study, wanted, dry_run=True)
    assert "an unknown time of training on this machine" in capsys.readouterr().err
    run_study(out, study, wanted, rounds=1, score=invented)
    run_study(out, study, wanted, rounds=1, score=invented)
    assert asked == [["none", "weight_norm"]] * 2
    (out / "results.jsonl").write_text(json.dumps({**wanted[0]._asdict(), "fid": 1.0}) + "\n")
    (out / "times.json").write_text(json.dumps(json.loads((out / "times.json").read_text()) | other))
    run_study(out, study, wanted, rounds=1, score=invented)
    assert len(asked) == 2, "nothing is left to make, so the times of the page stay"
    run_study(out, dataclasses.replace(study, fields={**study.fields, "device": "cuda:99"}), wanted, dry_run=True)


def test_another_study_in_the_same_folder_is_refused(tmp_path):
    begin(tmp_path, Study("cnn_cifar10", {"steps": 3, "data": "mistyped"}))
    (tmp_path / "times.json").write_text("{}")
    begin(tmp_path, Study("cnn_cifar10", {"steps": 2, "device": "cuda"}))  # no run has begun
    assert not (tmp_path / "times.json").exists(), "the times are of other settings"
    (tmp_path / "runs" / "none-A-0").mkdir(parents=True)
    (tmp_path / "runs" / "none-A-0" / "config.json").write_text("{}")
    begin(tmp_path, Study("cnn_cifar10", {"steps": 2, "device": "cpu", "threads": 2, "log_every": 7}))
    with pytest.raises(ValueError, match="steps: was 2, now 3"):
        begin(tmp_path, Study("cnn_cifar10", {"steps": 3}))


def test_images_that_have_changed_since_the_first_runs_are_refused(tmp_path, monkeypatch):
    def draw(name, grey):
        (tmp_path / name / "a").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (grey, 0, 0)).save(tmp_path / name / "a" / "0.png")

    def call(setting):
        monkeypatch.setattr(run, "_data", {})  # as in a new process
        run_study(out, study, cells(["none"], [setting], [0], []), rounds=0, score=invented)

    monkeypatch.setattr(run, "results", lambda *_: iter([]))
    out = tmp_path / "study"
    study = Study("cnn_cifar10", {**SMALL, "data": str(tmp_path / "data"), "held_out": str(tmp_path / "held")})
    draw("data", 1)
    draw("held", 2)
    call("B")
    draw("data", 3)
    call("B")  # no run has begun
    run.append_json(out / "results.jsonl", {**Cell("none", "B", 0)._asdict(), "fid": 1.0})
    call("C")
    draw("held", 4)
    with pytest.raises(ValueError, match="images have changed since the runs in .* were made .held_out .*restore"):
        call("C")
    call("B")  # nothing is left to make
    early = {name: value for name, value in run.read_study(out).items() if name != "images"}
    (out / "study.json").write_text(json.dumps(early))
    call("C")
    draw("data", 1)
    with pytest.raises(ValueError, match="[(]data "):
        call("C")


def test_without_held_out_images_a_study_is_refused_before_it_writes(tmp_path):
    study = Study("cnn_cifar10", {**SMALL, "data": "nowhere", "held_out": "none"})
    with pytest.raises(ValueError, match="needs held-out images .got held_out none.; set --held-out"):
        run_study(tmp_path / "study", study, cells(["none"], ["B"], [0], []))
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("conditioning", ["none", "projection"])
def test_real_features_that_a_study_computes_first_are_in_the_runs_order(tmp_path, monkeypatch, conditioning):
    """Also where the data have another number of classes than the architecture."""
    from sngan_hub.hub.load import load_generator
    from sngan_hub.metrics import evaluation
    from training.engine.state import new_networks

    for name, n in (("a", 12), ("b", 21), ("c", 30)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(n):
            Image.new("RGB", (32, 32), (i, n, 0)).save(tmp_path / "data" / name / f"{i:02}.png")
    asked = []
    monkeypatch.setattr(evaluation, "load_inception", lambda logits: torch.nn.Identity())
    monkeypatch.setattr(evaluation.Evaluation, "real_features", lambda e, split, *_, **__: asked.append(
        (e.real_store(e.real.split(split)), e.real.split(split).classes)))  # fmt: skip
    config = make_config("fashion32", data=str(tmp_path / "data"), device="cpu", conditioning=conditioning,
                         generator_fields='{"widths": [4, 4, 4, 4]}')  # fmt: skip
    run.features_of_real_images(Study("fashion32", {}, 3), config, 2)
    new_networks(config, 3, ["a", "b", "c"])[0].save_pretrained(tmp_path / "generator")
    e = run.evaluation_of(load_generator(str(tmp_path / "generator")), config)
    for split in ("test", "train"):
        e.real_features(split, 3)
    assert asked[:2] == asked[2:] and len(asked) == 4


def test_a_run_and_the_times_have_the_threads_of_the_settings(folder_of_images, tmp_path, monkeypatch):
    from training.study import run, timing

    used = []
    monkeypatch.setattr(run, "train", lambda *_: (_ for _ in ()).throw(FloatingPointError("step 1: not finite")))
    monkeypatch.setattr(timing, "train_step", lambda *_: used.append(torch.get_num_threads()) or {"loss_d": 0.0})
    study = Study("cnn_cifar10", {**SMALL, "threads": 2, "data": str(folder_of_images)})
    cell = Cell("none", "B", 0)
    try:
        row = run.result_of(cell, study, tmp_path, invented)
        torch.set_num_threads(1)
        config = study.config(cell, tmp_path)
        timing.seconds_per_iteration({"none": config}, run.data_of(config), rounds=1)
    finally:
        torch.set_num_threads(1)
    assert "2 threads" in row["machine"] and set(used) == {2}


def test_hours_are_those_of_the_timed_methods():
    from training.study.run import Seconds, cost_lines

    todo = cells(["none", "weight_norm"], ["A"], [0, 1], [])
    study = Study("cnn_cifar10", {**SMALL, "steps": 3600})

    def said(seconds):
        return cost_lines(todo, study, Path("nowhere"), seconds)[1]

    timed = {method: Seconds(1, 1, 1) for method in ("none", "weight_norm")}
    assert said(timed).startswith("about 4.0 hours of training")
    assert said({"none": timed["none"]}).startswith("about 2.0 hours for 2 runs and an unknown time for 2 runs (not "
                                                    "timed: weight_norm) of training on this machine")  # fmt: skip
    assert said({}).startswith("an unknown time of training")


def test_a_run_that_diverges_is_a_result(folder_of_images, tmp_path, monkeypatch):
    def diverge(config, data):
        raise FloatingPointError("step 1,234: losses (loss_d nan) are not finite; start a run with a lower lr_g")

    monkeypatch.setattr(run, "train", diverge)
    out = tmp_path / "study"
    study = Study("cnn_cifar10", {**SMALL, "data": str(folder_of_images)})
    run_study(out, study, cells(["none"], ["B"], [0], []), rounds=0, score=invented)
    (row,) = read_results(out)
    assert row["diverged"] == "step 1,234" and row["fid"] is None
    assert "| `none` | 1 diverged | diverged | not reported |" in write_page(out).read_text()


def test_a_run_that_another_process_has_made_has_one_result(folder_of_images, tmp_path, monkeypatch):
    trained, wanted, out = [], cells(["none"], ["B", "C"], [0], []), tmp_path / "study"

    def train(config, data):
        trained.append(config.setting)
        for cell in wanted:  # the other process makes both
            run.append_json(out / "results.jsonl", {**cell._asdict(), "fid": 1.0})
        raise FloatingPointError("step 1: not finite")

    monkeypatch.setattr(run, "train", train)
    run_study(out, Study("cnn_cifar10", {**SMALL, "data": str(folder_of_images)}), wanted, rounds=0, score=invented)
    assert trained == ["B"] and [(cell_of(row), row["fid"]) for row in read_results(out)] == [(c, 1.0) for c in wanted]


def test_samples_side_by_side_are_of_one_seed(tmp_path):
    (tmp_path / "samples").mkdir()
    for name in ("none-A-1", "none-A-2", "none-B-2"):
        (tmp_path / "samples" / f"{name}.png").touch()
    rows = [{**Cell("none", setting, seed)._asdict()} for setting in "AB" for seed in (2, 1, 0)]
    assert strips(rows, tmp_path) == {("none", "A"): tmp_path / "samples" / "none-A-1.png"}


def test_the_page_shows_means_over_seeds_beside_the_paper_s(tmp_path):
    begin(tmp_path, Study("cnn_cifar10", {"steps": 2}))
    common = {"steps": 2, "width": 1.0, "kid": 0.1, "evaluator": "none", "fid_floor": 5.0, "machine": "m",
              "versions": {"torch": "2"}, "spectrum": {"convs.0": [1.0, 0.5], "linear": [1.0, 0.1]}}  # fmt: skip
    rows = [{"method": method, "setting": setting, "seed": seed, "fid": fid, **common}
            for method, setting, seed, fid in (("spectral_norm", "A", 0, 40.0), ("spectral_norm", "A", 1, 44.0),
                                               ("spectral_norm", "D", 0, 50.0), ("weight_norm", "A", 0, 60.0))]  # fmt: skip
    rows += [{"method": m, "setting": "C", "seed": 0, "fid": 70.0, **common, "width": w}
             for m in ("spectral_norm", "orthonormal") for w in (0.5, 2.0)]  # fmt: skip
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"method": "cut o')
    times = {
        "seconds": {"spectral_norm": [1.1, 1.0, 1.2], "weight_norm": [1.0, 1, 1]},
        "rounds": 7,
        "machine": "a 1990",
    }
    (tmp_path / "times.json").write_text(json.dumps({**times, "versions": {"torch": "9"}}))
    text = write_page(tmp_path, tmp_path / "docs").read_text()
    assert "| `spectral_norm` | 42.0 (40.0 to 44.0, 2 seeds) | 50.0 | 42.0 | 29.3 |" in text
    assert "| `weight_norm` | 60.0 | not run | 60.0 | 34.7 |" in text
    assert "| `orthonormal` | 70.0 | 70.0 |" in text and "| `spectral_norm` | 1.100 (1.000 to 1.200) | 1.10 |" in text
    assert "7 iterations of each method, in turns. a 1990, torch 9." in text
    assert "study-samples" not in text and "Here:" not in text
    (tmp_path / "samples").mkdir()
    for setting, colour in (("A", "red"), ("D", "blue")):
        Image.new("RGB", (265, 34), colour).save(tmp_path / "samples" / f"spectral_norm-{setting}-0.png")
    (tmp_path / "notes.json").write_text('{"runs": "Of 32 px.", "settings": "Seen at this size."}')
    text = write_page(tmp_path, tmp_path / "docs").read_text()
    sheet = Image.open(tmp_path / "docs" / "study-samples.png").convert("RGB").getcolors(10**6)
    assert {(255, 0, 0), (0, 0, 255)} <= {colour for _, colour in sheet}
    assert "Of 32 px." in text.split("## ")[0] and "This study: Seen at this size." in text.split("## ")[1]
    (tmp_path / "notes.json").write_text('{"setting": ""}')
    with pytest.raises(ValueError, match="unknown setting; known are runs, settings"):
        write_page(tmp_path)
    for name in ("settings", "spectrum", "width", "time", "samples"):
        assert (tmp_path / "docs" / f"study-{name}.png").stat().st_size > 5000 and f"study-{name}.png" in text


ACTS = """
import time
from pathlib import Path
from training.engine.signals import stop_requests
from training.study import worker_processes

def act(kind, folder):
    Path(folder, kind).touch()
    if kind == "scores":
        with worker_processes.nothing_to_save():
            time.sleep(60)
    if kind == "trains":
        with stop_requests() as stop:
            while not stop:
                time.sleep(0.01)
            time.sleep(0.5)  # while the others end
        Path(folder, "saved").touch()
"""


@pytest.mark.parametrize("kinds", [["trains", "waits"], ["trains", "waits", "scores", "never", "never"]])
def test_a_stopped_study_lets_a_training_save_and_ends_the_other_workers(tmp_path, monkeypatch, kinds):
    from training.study.worker_processes import run_in_processes

    (tmp_path / "acts_of_a_study.py").write_text(ACTS)  # quickly imported by a new process, without torch
    monkeypatch.syspath_prepend(tmp_path)
    from acts_of_a_study import act  # pyright: ignore[reportMissingImports]

    made = run_in_processes(act, [(kind, str(tmp_path)) for kind in kinds], 2, [tmp_path / "log"] * len(kinds))
    next(made)
    wait_until(lambda: all((tmp_path / kind).exists() for kind in kinds if kind != "never"))
    began = time.time()
    made.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert (tmp_path / "saved").exists() and not (tmp_path / "never").exists() and time.time() - began < 30


def test_the_page_in_docs_is_printed_from_its_records(tmp_path):
    """`sngan study --preset cnn_cifar10 --out benchmarks/records/study --page docs` prints it again."""
    printed = write_page(ROOT / "benchmarks" / "records" / "study", tmp_path)
    assert (ROOT / "docs" / "study.md").read_text(encoding="utf-8") == printed.read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in (ROOT / "docs").glob("study*")}


def test_the_page_states_the_command():
    study = {"preset": "p", "fields": {"data": "my data", "channels_last": True}, "samples": 5}
    assert command_of(study) == "sngan study --preset p --data 'my data' --channels-last true --samples 5 --out STUDY"
    lines = command_of({"preset": "p", "fields": {f"field_{i}": "x" * 40 for i in range(4)}, "samples": 5}).split("\n")
    assert len(lines) == 3 and all(len(line) < 120 for line in lines) and [line[-1] for line in lines[:2]] == ["\\"] * 2


@pytest.mark.slow
def test_runs_beside_each_other_are_those_made_one_after_the_other(folder_of_images, tmp_path, capsys):
    fields = {**SMALL, "data": str(folder_of_images)}
    wanted = cells(["none", "spectral_norm", "weight_clipping"], ["B"], [0, 1], [])
    for name, parallel in (("one", 1), ("three", 3)):
        run_study(tmp_path / name, Study("cnn_cifar10", fields), wanted, rounds=0, parallel=parallel, score=invented)
    one, three = ({cell_of(row): row["spectrum"] for row in read_results(tmp_path / n)} for n in ("one", "three"))
    assert one == three and len(one) == 6
    assert "16 images" in (tmp_path / "three" / "runs" / "none-B-0.log").read_text()
    said = capsys.readouterr().err
    assert "6 of 6 runs done" in said and "shared by 3 processes" in said and "shared by 1" not in said


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_study_takes_its_processes_with_it_and_goes_on(folder_of_images, tmp_path, number):
    """Whatever stops the parent, the workers save their runs and end; the same command makes the rest."""
    words = ["study", "--preset", "cnn_cifar10", "--data", str(folder_of_images), "--methods", "none,spectral_norm",
             "--settings", "B", "--rounds", "0", "--samples", "4", "--parallel", "2", "--out", str(tmp_path / "study")]  # fmt: skip
    for name, value in {
        **SMALL,
        "steps": 40_000,
        "log_every": 20,
        "checkpoint_every": 40_000,
        "compile": "off",
    }.items():
        if name != "n_dis":
            words += [f"--{name}", str(value)]
    script = tmp_path / "study.py"
    script.write_text("import sys\nfrom training.study import run\nfrom training.__main__ import main\n"
                      "run.features_of_real_images = lambda *_: None\n"
                      "if __name__ == '__main__':\n    sys.exit(main(sys.argv[1:]))\n")  # fmt: skip
    study = subprocess.Popen(
        [sys.executable, str(script), *words], cwd=ROOT, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    log = tmp_path / "study" / "runs" / "none-B-0" / "log.jsonl"
    wait_until(lambda: log.is_file() and log.stat().st_size > 0)
    workers = [child.pid for child in psutil.Process(study.pid).children(recursive=True)]
    study.send_signal(number)
    _, said = study.communicate(timeout=60)
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in workers))
    if number != signal.SIGKILL:
        assert study.returncode == 130 and "stopped; the same command resumes\n" in said, said
    assert list((log.parent / "checkpoints").iterdir()), "the worker saved its state"


@pytest.mark.slow
def test_a_killed_study_goes_on_with_the_run_that_it_was_in(folder_of_images, tmp_path):
    """kill -9 in the middle; the finished runs stay, and the others are those of a study that nobody killed."""
    words = ["study", "--preset", "cnn_cifar10", "--data", str(folder_of_images), "--methods", "none,spectral_norm",
             "--settings", "B", "--rounds", "0", "--samples", "4"]  # fmt: skip
    for name, value in {**SMALL, "steps": 40}.items():
        if name != "n_dis":
            words += [f"--{name}", str(value)]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    script = tmp_path / "study.py"
    script.write_text("import sys\nfrom training.study import run\nfrom training.__main__ import main\n"
                      "run.fid_and_kid = lambda *_: dict(fid=1.0, kid=0.1, evaluator='none')\n"
                      "run.features_of_real_images = lambda *_: None\n"
                      "sys.exit(main(sys.argv[1:]))\n")  # fmt: skip

    def one(out):
        return warm.start([sys.executable, str(script), *words, "--out", str(out)], environment, tmp_path)

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = one(killed)
    until = time.time() + 120
    second = killed / "runs" / "spectral_norm-B-0" / "log.jsonl"
    while not (second.is_file() and second.read_text().count("\n") > 3):
        assert time.time() < until and process.poll() is None, "the second run did not start"
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert [row["method"] for row in read_results(killed)] == ["none"]
    for out in (killed, whole):
        process = one(out)
        assert process.wait() == 0
    for cell in ("none-B-0", "spectral_norm-B-0"):
        weights = [(out / "runs" / cell / "generator" / "model.safetensors").read_bytes() for out in (killed, whole)]
        assert weights[0] == weights[1]
    assert (killed / "study.md").read_text() and len(read_results(killed)) == 2


def test_the_scores_of_a_run_compare_its_samples_with_the_test_images(monkeypatch):
    rng = torch.Generator().manual_seed(0)
    real = {"test": torch.randn(300, 4, generator=rng), "train": torch.randn(300, 4, generator=rng) + 0.5}
    samples = torch.randn(200, 4, generator=rng) * 2

    class Stub:
        precision, evaluator = "fp32", "stub"

        def real_features(self, split, n, balanced=True):
            return real[split][:n]

        def sample_features(self, n):
            return samples[:n]

    class Network:
        def for_sampling(self):
            return self

    monkeypatch.setattr(run, "load_generator", lambda *_, **__: Network())
    monkeypatch.setattr(run, "evaluation_of", lambda *_: Stub())
    monkeypatch.setattr(run, "_floors", {})
    found = run.fid_and_kid(Path("run"), Study("cnn_cifar10", {}, 200), make_config("cnn_cifar10", data="x"))
    assert found["fid"] == pytest.approx(fid(samples, real["test"]))
    assert found["kid"] == pytest.approx(kid(samples, real["test"][:200]))
    assert found["fid_floor"] == pytest.approx(fid(real["train"][:200], real["test"]))


def test_singular_values_are_squared_and_relative_to_the_largest(monkeypatch):
    row = namedtuple("row", "layer, values")("l", torch.tensor([4.0, 2.0, 1.0]))
    monkeypatch.setattr(run, "load_discriminator", lambda path: None)
    monkeypatch.setattr(run, "spectra", lambda d: [row])
    assert run.singular_values(Path("run")) == {"l": [1, 0.25, 0.0625]}


def test_the_stated_cost_counts_the_steps_of_d(tmp_path):
    study, seconds = Study("cnn_cifar10", {"steps": 3600}), {"none": run.Seconds(1.0, 1.0, 1.0)}
    for setting, cost in (("A", "about 1.0 hours"), ("B", "about 20 minutes")):  # five D steps, and one
        assert run.cost_lines(cells(["none"], [setting], [0], []), study, tmp_path, seconds)[1].startswith(cost)


def test_unusable_data_are_an_error_before_the_first_run(folder_of_images, tmp_path, monkeypatch):
    class Early(Exception):
        pass

    def features(*_):
        raise Early

    monkeypatch.setattr(run, "features_of_real_images", features)
    with pytest.raises(Early):
        run_study(tmp_path / "study", Study("cnn_cifar10", {**SMALL, "data": str(folder_of_images)}),
             cells(["none"], ["B"], [0], []), rounds=0)  # fmt: skip
    assert not (tmp_path / "study" / "runs").exists()


def test_a_page_of_runs_that_diverged_and_of_times_without_weight_norm(tmp_path):
    out = tmp_path / "study"
    begin(out, Study("cnn_cifar10", {}))
    plain = {"seed": 0, "steps": 2, "machine": "m", "versions": {}}
    rows = [{"method": method, "setting": "C", "width": width, "fid": None, "kid": None, "diverged": "step 3", **plain}
            for method in ("orthonormal", "spectral_norm") for width in (1.0, 4.0)]  # fmt: skip
    (out / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (out / "times.json").write_text(json.dumps({"seconds": {"none": [1.0, 1.0, 1.0]}}))
    page = write_page(out).read_text(encoding="utf-8")
    assert "FID, width x 4" in page and page.count("| 1 diverged | 1 diverged |") == 2
    assert "study-spectrum.png" not in page and "study-time.png" not in page
    assert not (out / "study-time.png").exists() and not (out / "study-spectrum.png").exists()
