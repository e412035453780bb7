"""A run of fine-tuning: its settings and schedule, killed and resumed, its data, its result, and what is refused."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from sngan_hub import load_discriminator, load_generator
from sngan_hub.data import count_images, source_classes
from sngan_hub.networks.card import as_text
from training.__main__ import main
from training.config.dry_run import rates_of, warnings
from training.config.schema import make_config
from training.engine.checkpoints import checkpoints
from training.engine.loop import train
from training.feed.checks import check_apart
from training.finetune.plan import DataFacts, automatic_settings

from . import tuning, warm
from .conftest import GOLDEN, ROOT
from .test_resume import equal
from .tuning import DONOR, finetune, refusal

folders = tuning.folders


# Settings and schedule


def test_sensible_settings_by_the_number_of_images(folders, tmp_path):
    for each, expected in (
        (3, {"freeze_d": 2, "batch_size": 16, "held_out": "none"}),
        (30, {"freeze_d": 2, "batch_size": 32}),
        (300, {"augment": "translation"}),
    ):
        root = tmp_path / str(each)
        for k in range(10):
            (root / str(k)).mkdir(parents=True)
            for i in range(each):
                (root / str(k) / f"{i}.png").touch()  # listed, not opened
        facts = DataFacts([], *count_images(str(root)))
        chosen, said = automatic_settings(make_config("finetune", data=str(root)), facts)
        assert expected.items() <= chosen.items()
        assert ("score_every" in chosen) == (each > 3) == (said == "")
    finetune(folders("planets", "moods"), tmp_path / "run", "--steps=0")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["freeze_d"] == 2 and config["augment"] == "color,translation,cutout" and config["batch_size"] == 4


def test_a_dry_run_prints_the_run_and_touches_nothing(folders, tmp_path, capsys):
    folder = folders("planets", "moods", "zebra")
    (folder / "zebra" / "damaged.png").write_text("no picture, and no matter: it is not opened")
    base = ["finetune", "--from", DONOR, "--data", str(folder), "--dry-run"]
    for flags in ([], ["--out", str(tmp_path / "run")], ["--new_classes=nearest"], ["--conditioning=none"]):
        assert main([*base, *flags]) == 0
        said = capsys.readouterr().out
        row = {line.split()[0]: line.split()[1] for line in said.splitlines() if len(line.split()) == 2}
        assert row["freeze_d"] == "2" and row["steps"] == "2000" and "No scores: " in said
        assert row["architecture"] == DONOR
        assert row["classes"] == ("none" if "--conditioning=none" in flags else "3")
        expected = {
            "nearest": "a combination of the donor's classes that are nearest",
            "none": "No classes: starts from the mean of the donor's 10",
        }
        word = flags[0].partition("=")[2] if flags else ""
        assert expected.get(word, "zebra: starts from the mean of the donor's 10 classes") in said
    (folder / "zebra" / "damaged.png").unlink()
    assert list(tmp_path.iterdir()) == []


def test_rates_rise_where_adam_starts_afresh():
    config = make_config("finetune", warm_up=4, decay_from=10, decay_to=20)
    assert [config.lr_scale(s) for s in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1] and config.lr_scale(15) == 0.5


def test_the_generators_rate_rises_from_its_first_update_on():
    late = make_config("finetune", warm_up=4, d_warm_up=3, decay_from=10, decay_to=20)
    assert [late.lr_scale(s) for s in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    assert [late.lr_scale_g(s) for s in range(9)] == [0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1] and late.lr_scale_g(15) == 0.5
    assert "rise linearly to step 4 (generator: from step 3 to 7), then fall" in rates_of(late)
    for fields in ({"d_warm_up": 0}, {"warm_up": 0}):
        config = make_config("finetune", **{"warm_up": 4, "d_warm_up": 3, "decay_from": 10, "decay_to": 20, **fields})
        assert [config.lr_scale_g(s) for s in range(25)] == [config.lr_scale(s) for s in range(25)]


def test_more_steps_than_a_schedule_has_are_said():
    """Rates that fall are 0 behind ``decay_to``; those of a preset without a fall stay, however many steps it runs."""
    for preset in ("finetune", "stl10"):
        config = make_config(preset, steps=300_000)
        assert config.lr_scale(250_000) == 1 and rates_of(config).endswith("constant")
    falling = make_config("finetune", steps=30, decay_from=10, decay_to=20, warm_up=0)
    said = " ".join(warnings(falling, ""))
    assert falling.lr_scale(25) == 0 and "the last 10 steps have no effect; raise --decay-to" in said
    assert rates_of(make_config("fashion32")) == "fall linearly from step 5,600 to 0 at step 9,600"


# Resuming, the data and the result


@pytest.mark.slow
def test_killed_and_resumed_it_ends_byte_equal_without_the_donor(folders, tmp_path):
    folder, donor = folders("planets", "moods", "zebra"), tmp_path / "donor"
    first_g, first_d = load_generator(DONOR), load_discriminator(DONOR)
    first_g.save_pretrained(donor / "generator")
    first_d.save_pretrained(donor / "discriminator")
    flags = ["--steps=16", "--batch_size=4", "--g_batch_size=4", "--threads=1", "--log_every=1", "--checkpoint_every=3"]

    def command(out):
        return [
            sys.executable,
            "-m",
            "training",
            "finetune",
            "--from",
            str(donor),
            "--data",
            str(folder),
            "--out",
            str(out),
            *flags,
        ]

    assert warm.run(command(tmp_path / "whole")).returncode == 0
    out = tmp_path / "broken"
    process = warm.start(command(out))
    while len(checkpoints(out)) < 2:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for path in sorted(donor.rglob("*"), reverse=True):  # the donor may be gone by then
        path.unlink() if path.is_file() else path.rmdir()
    done = subprocess.run(command(out), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ours, theirs = (torch.load(checkpoints(p)[-1], weights_only=True) for p in (out, tmp_path / "whole"))
    assert all(equal(ours[k], theirs[k]) for k in ("generator", "discriminator", "average", "opt_g", "opt_d"))


def test_the_result_goes_through_every_door(folders, tmp_path):
    """Its card names the donor and nothing of this machine, its calibration travels, the page lists its classes."""
    from huggingface_hub import ModelCard

    from training.publish.publish import stage

    donor = tmp_path / "secret place" / "first"
    finetune(folders("planets", "moods"), donor, "--steps=1")
    for model, named, base in ((DONOR, DONOR, "sngan-hub/sngan-avatars32"), (donor, "first", None)):
        run, staged = tmp_path / f"run of {named}", tmp_path / f"staged {named}"
        finetune(folders("planets", "zebra"), run, "--steps=1", donor=model)
        (run / "discriminator" / "calibration.json").write_text("{}")
        stage(run, "alice/zebras", staged, about="Mine.")
        for kind in ("generator", "discriminator"):
            card = ModelCard((staged / kind / "README.md").read_text(encoding="utf-8"))
            origin = f"Fine-tuned from {as_text(named)}, generator and discriminator."
            assert origin in card.text and "Mine." in card.text
            expected = base if kind == "generator" or base is None else f"{base}-discriminator"
            assert card.data.base_model == expected
            assert "secret place" not in card.content and str(tmp_path) not in card.content
        assert (staged / "discriminator" / "calibration.json").is_file()
        assert load_generator(staged).classes == ["planets", "zebra"]


def test_a_card_names_what_the_donor_was_when_the_run_started(folders, tmp_path, monkeypatch):
    """Not a repository runs/first, and no discriminator where there was none."""
    from huggingface_hub import ModelCard

    from training.publish.publish import stage

    load_generator(DONOR).save_pretrained(tmp_path / "runs" / "first" / "generator")
    data = folders("planets", "zebra").resolve()
    monkeypatch.chdir(tmp_path)
    finetune(data, tmp_path / "run", "--steps=0", donor="runs/first")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    stage(tmp_path / "run", "alice/zebras", tmp_path / "staged")
    for kind in ("generator", "discriminator"):
        card = ModelCard((tmp_path / "staged" / kind / "README.md").read_text(encoding="utf-8"))
        assert card.data.base_model is None and "runs/first" not in card.content
        assert "Fine-tuned from first; its discriminator started untrained." in card.text
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    start = json.loads((tmp_path / "run" / "start.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps({**config, "donor": "bob/first"}))
    (tmp_path / "run" / "start.json").write_text(json.dumps({**start, "donor_kind": "repository"}))
    stage(tmp_path / "run", "alice/zebras", tmp_path / "again")
    of = {kind: ModelCard((tmp_path / "again" / kind / "README.md").read_text(encoding="utf-8"))
          for kind in ("generator", "discriminator")}  # fmt: skip
    assert of["generator"].data.base_model == "bob/first" and of["discriminator"].data.base_model is None


def test_the_users_folder_is_never_written_to(folders, tmp_path):
    folder = folders("planets", "moods")
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    finetune(folder, tmp_path, "--steps=1")
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


def test_scores_that_the_run_chose_are_left_out_where_held_out_images_are_too_few(tmp_path, monkeypatch, capsys):
    """Of a folder, by its files; and of the tenth, if damaged ones leave too few."""
    from sngan_hub.metrics import inception

    monkeypatch.setattr(inception, "find_weights", lambda: None)
    for name, n in (("data", 205), ("other", 19)):
        (tmp_path / name / "cat").mkdir(parents=True)
        for i in range(n):
            Image.new("RGB", (32, 32), (i, n, 9)).save(tmp_path / name / "cat" / f"{i:03d}.png")
    base = ["--from", DONOR, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--steps=0"]
    other = [*base, "--held_out", str(tmp_path / "other")]
    few = f"No scores: scores need 20 held-out images, and {tmp_path / 'other'} has 19"
    assert main(["finetune", *other, "--dry-run"]) == 0 and few in capsys.readouterr().out
    assert main(["finetune", *other]) == 0 and few in capsys.readouterr().err
    (tmp_path / "data" / "cat" / "009.png").write_bytes(b"damaged")
    assert main(["finetune", *base[:-2], str(tmp_path / "tenth"), "--steps=0"]) == 0
    said = capsys.readouterr().err
    assert "No scores: data: kid1k_held_out needs at least 20 test images (got 19)" in said
    said = refusal(capsys, *base[:-2], tmp_path / "asked", "--score_every=2", "--score=kid1k_held_out")
    assert "kid1k_held_out needs at least 20 test images (got 19)" in said


def test_what_is_refused(folders, tmp_path, capsys):
    folder = folders("planets", "moods")
    base = ["--data", folder, "--out", tmp_path / "run", "--steps", 1]
    assert "there is no model, folder or file 'nobody'" in refusal(capsys, "--from", "nobody", *base)
    assert "like must be CLASS=DONOR'S CLASS, with a class of the data (got 'moon=planets')" in refusal(
        capsys, "--from", DONOR, *base, "--like", "moon=planets"
    )
    assert "the donor has no class 'planet'; the nearest are planets" in refusal(
        capsys, "--from", DONOR, *base, "--like", "moods=planet"
    )
    assert "freeze_d must be between 0 and 4 (got 9)" in refusal(capsys, "--from", DONOR, *base, "--freeze_d", 9)
    said = refusal(capsys, "--from", DONOR, *base, "--conditioning", "concat")
    assert f"conditioning must be projection, as in {DONOR}, or none (got concat)" in said
    assert "sngan convert" in refusal(capsys, "--from", GOLDEN / "foreign" / "mimicry_sngan32", *base)
    assert "new_classes must be one of mean, nearest, fresh (got 'best')" in refusal(
        capsys, "--from", DONOR, *base, "--new_classes", "best"
    )
    assert "download netG.pth" in refusal(capsys, "--from", "sngan_cifar10.mimicry", *base)
    assert "there is no folder or data set 'none'" in refusal(
        capsys, "--from", DONOR, "--data", "none", "--out", tmp_path / "run"
    )
    assert "unrecognized arguments: --method" in refusal(capsys, "--from", DONOR, *base, "--method", "weight_norm")
    said = refusal(capsys, "--from", DONOR, *base, "--patience", 3)
    assert "patience needs scores (got 3). No scores: 12 images are too few to hold any out" in said
    trained = tmp_path / "trained"
    (trained / "checkpoints").mkdir(parents=True)
    (trained / "checkpoints" / "1.pt").touch()
    (trained / "config.json").write_text(json.dumps({"preset": "fashion32", "donor": "", "generator_fields": "{}"}))
    said = refusal(capsys, "--from", DONOR, "--data", folder, "--out", trained)
    assert f"out: {trained} contains a run of sngan train; choose another folder for fine-tuning" in said
    with pytest.raises(SystemExit):
        main(["train", "--preset", "fashion32", "--donor", DONOR, "--dry-run"])
    assert "sngan finetune --from" in capsys.readouterr().err


@pytest.mark.parametrize(
    "out, data", [("pets/run", "pets"), ("pets", "pets"), ("home", "home/pets"), ("link/run", "pets")]
)
def test_a_run_and_its_data_lie_apart(out, data, tmp_path, capsys, monkeypatch):
    """In its own data the run's pictures would be a class at the next start."""
    root = tmp_path / data
    for path in (root / "cat" / "0.png", root / "dog" / "0.png", tmp_path / "others" / "cat" / "0.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), "red").save(path)
    (tmp_path / "link").symlink_to(root)
    out, data = tmp_path / out, tmp_path / data
    before = sorted(tmp_path.rglob("*"))
    for name, of in (("data", ["--data", data]), ("held_out", ["--data", tmp_path / "others", "--held_out", data])):
        for command in (["finetune", "--from", DONOR, "--dry-run"], ["train", "--preset", "fashion32", "--dry-run"],
                        ["import", tmp_path / "snapshot", "--preset", "fashion32"]):  # fmt: skip
            with pytest.raises(SystemExit):
                main([*map(str, [*command, *of, "--out", out])])
            said = capsys.readouterr().err
            assert f"out and {name} must be separate folders (got out {out}, which " in said
            assert f" {data}); choose another out" in said and said.count("\n") == 1
    with pytest.raises(SystemExit):
        main(["prepare", str(data), str(out)])
    assert f"out and source must be separate folders (got out {out}, " in capsys.readouterr().err
    with pytest.raises(ValueError, match="out and data must be separate"):
        train(make_config("fashion32", data=str(data), out=str(out)))
    assert sorted(tmp_path.rglob("*")) == before
    monkeypatch.chdir(tmp_path)  # a name is no folder
    check_apart("fashion/run", data="fashion", held_out="")


def test_a_run_of_an_earlier_version_in_its_data_is_no_class(folders, tmp_path):
    root = shutil.copytree(folders("planets", "moods"), tmp_path / "pets")
    g, _ = finetune(root, tmp_path / "run", "--steps=1")
    shutil.copytree(tmp_path / "run", root / "run")
    assert (root / "run" / "data.png").is_file() and source_classes(str(root)) == ["moods", "planets"] == sorted(
        g.classes
    )
    with pytest.raises(ValueError, match="is a run; choose a folder of images"):
        source_classes(str(root / "run"))


def test_three_images_of_one_class(tmp_path):
    """The least there can be: it trains, and every line of its log is a number."""
    folder = tmp_path / "data" / "猫 🐱"
    folder.mkdir(parents=True)
    for i in range(3):
        Image.new("RGB", (300, 20 + i), (40 * i, 90, 200)).save(folder / f"{i}.png")
    g, _ = finetune(tmp_path / "data", tmp_path / "run")
    assert g.classes == ["猫 🐱"] and g.sample(["猫 🐱"], 2, 0).shape == (2, 3, 32, 32)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all(np.isfinite(value) for row in rows for value in row.values())


def test_a_score_of_logits_is_checked_without_a_generator(monkeypatch, image_folder):
    from sngan_hub.metrics import evaluation
    from training.monitor.score import Planned, check_data_for_scores

    monkeypatch.setattr(evaluation, "load_inception", lambda logits: torch.nn.Identity())
    config = make_config("fashion32", data=str(image_folder), score="is50k")
    check_data_for_scores(Planned(32, 2, ["left", "right"]), config)
    with pytest.raises(ValueError, match="at least 20 test images"):
        check_data_for_scores(Planned(32, 2, ["left", "right"]), dataclasses.replace(config, score="kid1k_held_out"))
