"""No setting is undone silently: settings of a method, of a donor and of a resumed run, and limits of numbers."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from sngan_hub.data import Images
from training.__main__ import main
from training.config.dry_run import rates_of, warnings
from training.config.presets import METHODS, PRESETS
from training.config.schema import config_from, load_config, make_config
from training.engine.state import new_networks
from training.feed.checks import findings
from training.finetune.load import read_data

from .pictures import prepare

ASDICT = vars(make_config("fashion32"))


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"finetune"}))
def test_every_preset_accepts_images_of_the_size_that_it_stores(preset):
    """A crop may be smaller than the network's images: the authors enlarge 230 px to 256."""
    config = make_config(preset)
    with torch.device("meta"):
        size = new_networks(config, 2)[0].size
    stored = config.stored_size or size
    data = Images(np.zeros((4, 3, stored, stored), np.uint8), np.array([0, 0, 1, 1]), ["a", "b"])
    data.images[::2] = 255
    assert findings(data, config)[0].startswith(f"4 images of {stored} px")
    with pytest.raises(ValueError, match=f"stored_size must be at least the network's {size} px .got {size // 2}"):
        findings(data._replace(images=data.images[:, :, : size // 2, : size // 2]), config)


@pytest.mark.parametrize("method", METHODS)
def test_the_fields_of_a_method_and_of_the_user_are_combined(method):
    own = METHODS[method]["discriminator_fields"]
    config = make_config("cnn_cifar10", method=method, discriminator_fields='{"widths": [8]}')
    assert json.loads(config.discriminator_fields) == {"widths": [8], **own}
    with pytest.raises(ValueError, match=f"discriminator_fields must not set normalizer, which --method {method} sets"):
        make_config("cnn_cifar10", method=method, discriminator_fields='{"normalizer": "another"}')


@pytest.mark.parametrize("fields", [{"n_classes": 1}, {"classes": ["a"]}])
def test_classes_are_those_of_the_data(fields):
    with pytest.raises(ValueError, match="generator_fields must not set .*: the classes are those of the data"):
        make_config("fashion32", generator_fields=json.dumps(fields))


def test_a_run_of_a_newer_version_is_refused_in_a_line(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**ASDICT, "shiny": 1}))
    with pytest.raises(ValueError, match="unknown setting 'shiny'; a newer version of sngan-hub wrote this run"):
        load_config(tmp_path)
    assert config_from(dict(ASDICT), tmp_path) == make_config("fashion32")
    assert config_from({**ASDICT, "held_out": ""}, tmp_path).held_out == "none"  # was legal, and held out nothing


@pytest.mark.parametrize("fields, said", [
    ({"seed": 2**63}, "seed must be at least 0 and below 9,223,372,036,854,775,808"),
    ({"threads": 100_000}, "threads must be at least 0 and below 1,025 .got 100000"),
    ({"lr_g": float("inf")}, "lr_g must be a finite number .got inf"),
    ({"n_classes": -1}, "n_classes must be 0 or more"),
])  # fmt: skip
def test_numbers_beyond_their_limits(fields, said):
    with pytest.raises(ValueError, match=said):
        make_config("fashion32", **fields)


def test_a_run_that_trains_nothing_at_its_end_or_no_generator_is_told_before():
    def said(**fields):
        return " ".join(warnings(make_config("fashion32", decay_from=0, decay_to=0, **fields), "cpu"))

    assert said(steps=10) == ""
    assert "so the generator is not trained" in said(steps=10, d_warm_up=10)
    late = make_config("fashion32", steps=30, decay_from=10, decay_to=20)
    assert "reach 0 at step 20, so the last 10 steps have no effect" in " ".join(warnings(late, "cpu"))
    assert rates_of(make_config("fashion32", steps=9, warm_up=3)).startswith("rise linearly to step 3, then constant")


def test_images_stored_larger_are_trained_on_reported_and_probed(tmp_path, image_folder, capsys):
    """As the presets of dogs and cats store them: 1.25 times as large, with random crops."""
    stored, out = tmp_path / "stored", tmp_path / "run"
    assert prepare(image_folder, stored, "--size", 40) == 0
    small = ["--generator-fields", '{"widths": [8, 8], "bottom_width": 16}', "--batch-size=4", "--g-batch-size=4",
             "--discriminator-fields", '{"widths": [4, 8], "down": "10"}', "--precision=fp32", "--threads=1"]  # fmt: skip
    given = ["--preset=fashion32", f"--data={stored}", f"--out={out}", "--steps=2", "--stored-size=40", "--crop=0.9"]
    assert main(["train", *given, *small, "--n-dis=1", "--spectrum-every=0"]) == 0
    assert main(["report", str(out)]) == 0
    assert "could not compare" not in capsys.readouterr().out
    assert "36 images" in (out / "report.html").read_text(encoding="utf-8")
    assert main(["probe", "--from", str(out), "--data", str(stored), "--n=20"]) == 0
    assert json.loads(capsys.readouterr().out)["test"] == 4
    tuned = ["--from", str(out), f"--data={stored}", f"--out={tmp_path / 'tuned'}", "--steps=1", "--batch-size=4"]
    assert main(["finetune", *tuned, "--stored-size=40", "--crop=0.9", "--g-batch-size=4", "--threads=1"]) == 0
    assert "Skipped" not in capsys.readouterr().err


def test_the_stretch_of_a_fine_tuning_run_is_that_of_a_run(image_folder):
    for path in image_folder.rglob("*.png"):  # of low contrast
        Image.fromarray((np.asarray(Image.open(path)) // 8 + 100).astype(np.uint8)).save(path)
    config = make_config("finetune", donor="sngan_fashion32", data=str(image_folder), contrast_stretch=True)
    assert (
        read_data(config, 32, []).images.max()
        == 255
        > read_data(make_config("finetune", donor="sngan_fashion32", data=str(image_folder)), 32, []).images.max()
    )
