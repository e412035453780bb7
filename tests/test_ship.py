"""Shipping: a run's pair becomes a folder of the package, with a record and cards; also a run that continued another."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from sngan_hub.data import Images
from sngan_hub.weights.records import WEIGHTS, read_records
from training.__main__ import main
from training.config.schema import load_config, make_config
from training.engine.loop import train
from training.engine.snapshots import save_snapshot
from training.engine.state import new_state
from training.publish import ship as shipping
from training.publish.record import CARD_TEXTS, stages_of
from training.publish.ship import ship
from training.publish.tables import trained_by

SMALL = {"architecture": "sngan_fashion32", "generator_fields": '{"widths": [8, 8], "bottom_width": 16}',
         "discriminator_fields": '{"widths": [4, 8], "down": "10"}', "n_dis": 1, "batch_size": 4, "g_batch_size": 4,
         "precision": "fp32", "threads": 1, "held_out": "none", "log_every": 1, "spectrum_every": 0}  # fmt: skip


@pytest.fixture
def runs(tmp_path, image_folder):
    for name, fields in (("first", {"augment": "", "lr_g": 1e-4}), ("second", {"augment": "cutout"})):
        train(make_config("fashion32", **{**SMALL, "data": str(image_folder), "out": str(tmp_path / name), "steps": 2,
                                          **fields}))  # fmt: skip
    return tmp_path / "first", tmp_path / "second"


def test_a_run_on_a_folder_is_shipped_with_the_texts_of_a_source(runs, tmp_path):
    first, second = runs
    with pytest.raises(ValueError, match="source must be one of fashion, cifar10_jpeg, avatars .got .*other data need"):
        ship(second, "sngan_fashion32.v2", tmp_path / "package")
    with pytest.raises(FileNotFoundError):
        ship(second, "sngan_fashion32.v2", tmp_path / "package", "cifar10_jpeg", [str(tmp_path / "typo")])
    with pytest.raises(FileNotFoundError, match="run must be the folder of a finished run"):
        ship(second / "generator", "sngan_fashion32.v2", tmp_path / "package", "cifar10_jpeg")
    assert not (tmp_path / "package").exists()  # nothing is written before all is read
    earlier = tmp_path / "package/sngan_fashion32.v2/reference.json"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("{}")  # of another discriminator
    ship(second, "sngan_fashion32.v2", tmp_path / "package", "cifar10_jpeg", [str(first)], "Two stages.")
    assert not earlier.exists()
    record = read_records(tmp_path / "package")["sngan_fashion32.v2"]
    assert record.data == CARD_TEXTS["cifar10_jpeg"]["data"] and record.classes == ("left", "right")
    recipe = record.recipe
    assert recipe["augment"] == "cutout" and recipe["first stage: augment"] == "" and recipe["lr_g"] == 4e-4
    assert recipe["first stage: lr_g"] == 1e-4 and "first stage: n_dis" not in recipe
    assert recipe["steps"] == 2 and "threads" in recipe and "device" not in recipe
    assert recipe["note"] == "Two stages." and recipe["data"] == "cifar10_jpeg"
    assert not any(str(tmp_path) in str(value) for value in recipe.values())
    card = ModelCard(
        (tmp_path / "package" / "sngan_fashion32.v2" / "generator" / "README.md").read_text(encoding="utf-8")
    )
    assert "| first stage: lr_g | 0.0001 |" in card.text and "JPEG of quality 75" in card.text
    assert card.data.license == "mit"


def test_a_run_after_several_stages_states_each(runs, tmp_path):
    """Included weights that were continued twice: their own stages come first."""
    first, second = runs
    small = WEIGHTS["sngan_cifar10_small.v1"]
    ship(second, "sngan_fashion32.v2", tmp_path / "package", "cifar10_jpeg", [small.name, str(first)])
    recipe = read_records(tmp_path / "package")["sngan_fashion32.v2"].recipe
    with pytest.raises(ValueError, match="before must name at most 4 stages in all .got 5."):  # none is left out
        ship(second, "sngan_fashion32.v2", tmp_path / "package", "cifar10_jpeg", [str(first)] * 5)
    assert [recipe[f"{stage} stage: steps"] for stage in ("first", "second")] == [27_316, small.recipe["steps"]]
    stages = stages_of(recipe)
    assert [stage["steps"] for stage in stages] == [27_316, small.recipe["steps"], 2, 2]
    assert [stage["lr_g"] for stage in stages] == [4e-4, small.recipe["lr_g"], 1e-4, 4e-4]
    assert trained_by(recipe).startswith("cifar10_small, 0.1 h, then finetune, 0.8 h, then fashion32, 0.0 h, then ")


def test_a_setting_that_is_newer_than_a_stage_has_its_default_there(monkeypatch):
    recipes = {"now": {"diversity_weight": 10.0, "lr_g": 1e-4}, "old": {"lr_g": 1e-4}}
    monkeypatch.setattr(shipping, "recipe_of", lambda run: recipes[run.name])
    rows = shipping.earlier_stages(Path("now"), ["old"], "")
    assert rows == {"first stage: diversity_weight": 0.0, "donor": ""}


def test_the_scores_of_a_model_that_was_fine_tuned_on_named_data_are_measured(monkeypatch, tmp_path):
    """Its preset is the one of fine-tuning."""

    class Read(Exception):
        pass

    def load(source, split, size):
        raise Read(source, split, size)

    record = WEIGHTS["sngan_avatars32.v1"]
    record = replace(record, recipe={**record.recipe, "preset": "finetune"})
    monkeypatch.setattr(shipping, "find_record", lambda name, kind: record)
    monkeypatch.setattr(shipping, "load_images", load)
    with pytest.raises(Read, match="avatars.*test"):
        shipping.reference("sngan_avatars32")


def test_the_reference_scores_are_those_of_each_class(monkeypatch, tmp_path):
    class Network:
        size, classes, n_classes = 4, ["a", "b"], 2

        def sample(self, classes, n, seed):
            return torch.full((n, 3, 4, 4), 100 + classes + seed, dtype=torch.uint8)

    def scores(d, images):
        brightness = torch.as_tensor(images).float().mean((1, 2, 3))
        return torch.stack([brightness, 1000 + brightness], 1)

    folder = tmp_path / "sngan_avatars32.v1"
    folder.mkdir()
    record = SimpleNamespace(where="shipped", folder=folder / "generator", recipe={"data": "avatars"})
    images = np.arange(6, dtype=np.uint8)[:, None, None, None].repeat(3, 1).repeat(4, 2).repeat(4, 3)
    test = Images(images, np.array([1, 0, 1, 0, 1, 0]), ["a", "b"])
    loaded = []  # by folder: a local folder may have the model's name
    for name, made in (("find_record", lambda *_: record), ("load_generator", lambda of: loaded.append(of) or Network()),
                       ("load_discriminator", loaded.append), ("load_images", lambda *_: test), ("scores_of", scores)):  # fmt: skip
        monkeypatch.setattr(shipping, name, made)
    shipping.reference("sngan_avatars32", n=2, seed=5)
    assert loaded == [folder, folder]
    found = json.loads((folder / "reference.json").read_text())["classes"]
    assert found == {"a": {"real": [1.2, 2, 2.8], "generated": [105] * 3},
                     "b": {"real": [1000.2, 1001, 1001.8], "generated": [1106] * 3}}  # fmt: skip


def test_the_card_of_an_earlier_snapshot_states_its_step_and_hours(runs, tmp_path, capsys):
    run, lines = runs[0], [{"step": step, "seconds_per_step": 360.0} for step in (1, 2)]
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    state = new_state(load_config(run), ["left", "right"])
    state.step = 1
    save_snapshot(state, run)  # linked, as the best one would be
    config = json.loads((run / "config.json").read_text())
    capsys.readouterr()
    for steps, said in ((2, ""), (9, f"{run}: the run has not ended, and its networks are those of step 1 of 9\n")):
        (run / "config.json").write_text(json.dumps({**config, "steps": steps}))
        assert "copied the weights of step 1. " in ship(run, "sngan_fashion32.v2", tmp_path / "package", "fashion")
        recipe = read_records(tmp_path / "package")["sngan_fashion32.v2"].recipe
        assert recipe["steps"] == 1 and recipe["hours"] == 0.1
        assert capsys.readouterr().err == said


def test_a_name_of_another_architecture_is_refused(runs, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["ship", str(runs[0]), "sngan_avatars32.v1", "--source", "fashion"])
    assert "name must be sngan_fashion32.TAG for this run" in capsys.readouterr().err
    assert json.loads((runs[0] / "config.json").read_text())["architecture"] == "sngan_fashion32"
