"""Scores of pictures: one product for all classes agrees with one forward a class; files of any kind; the command."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from sngan_hub import load_discriminator, load_generator
from sngan_hub.cli.main import main
from sngan_hub.data import FASHION_DEBIAN, load_images
from sngan_hub.metrics.discriminator_scores import as_input, pictures_in, scores_of
from sngan_hub.networks.registry import create_discriminator
from sngan_hub.sampling.pictures import to_pil
from sngan_hub.weights.records import reference_scores

TINY = {"widths": [4, 4, 8, 8], "down": "1100", "head_bias": True}


@pytest.mark.parametrize("options", [
    {"n_classes": 5}, {"n_classes": 5, "conditioning": "concat"}, {"n_classes": 0}, {"n_classes": 5, "sn_eval": "stored"},
])  # fmt: skip
def test_class_scores_are_a_forward_a_class(options):
    d = create_discriminator("sngan_cifar10", **TINY, **options).eval()
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        scores = d.class_scores(x)
        n = options["n_classes"]
        expected = torch.cat([d(x, torch.full((3,), c)) for c in range(n)], 1) if n else d(x)
    assert scores.shape == (3, max(n, 1)) and (scores - expected).abs().max() <= 2e-6 * expected.abs().max()
    before = {k: v.clone() for k, v in d.state_dict().items()}
    scores_of(d.train(), np.zeros((2, 3, 32, 32), np.uint8))
    assert d.training and all(torch.equal(v, before[k]) for k, v in d.state_dict().items())


@pytest.mark.skipif(not FASHION_DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
@pytest.mark.parametrize("strength", [0.0, 0.3, torch.tensor(0.6)])
def test_class_scores_within_a_class_transition_are_those_of_forward(strength):
    torch.manual_seed(0)
    d = create_discriminator("sngan_cifar10", **TINY, n_classes=3).eval()
    d.class_strength = strength
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        expected = torch.cat([d(x, torch.full((2,), label)) for label in range(3)], 1)
        assert torch.allclose(d.class_scores(x), expected, atol=1e-5)


def test_the_shipped_discriminator_tells_real_from_generated_and_from_noise():
    """As their own class. It is no classifier: pictures under a wrong label were never shown to it as fakes."""
    g, d = load_generator("sngan_fashion32"), load_discriminator("sngan_fashion32")
    data = load_images("fashion", "test")
    chosen = np.concatenate([np.flatnonzero(data.labels == c)[:20] for c in range(10)])
    y = torch.arange(10).repeat_interleave(20)
    noise = torch.randint(0, 256, (200, 3, 32, 32), dtype=torch.uint8)
    real, fake, none = (
        scores_of(d, images)[torch.arange(200), y]
        for images in (data.images[chosen], g.sample(g.classes, 20, 0), noise)
    )
    assert real.mean() > fake.mean() + 0.5 and fake.mean() > none.mean() + 0.5
    assert as_input(noise).min() >= -1 and as_input(noise).max() <= 1


@pytest.fixture
def folder(tmp_path):
    images = load_generator("sngan_avatars32").sample(["planets", "moods"], n=2, seed=3)
    (tmp_path / "planets").mkdir()
    for name, image in zip(("planets/a", "planets/b", "c", "d"), images, strict=True):
        to_pil(image).resize((96, 96), 0).save(tmp_path / f"{name}.png")
    (tmp_path / "deeper").mkdir()
    Image.new("L", (50, 20), 90).save(tmp_path / "deeper" / "grey.jpg")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    (tmp_path / "notes.txt").write_text("none")
    return tmp_path


def test_the_command_ranks_a_folder(folder, capsys):
    assert main(["score", "sngan_avatars32", str(folder)]) == 0
    said = capsys.readouterr()
    rows = [line.split() for line in said.out.splitlines()[1:]]
    assert len(rows) == 5 and [float(r[0]) for r in rows] == sorted((float(r[0]) for r in rows), reverse=True)
    assert {r[2].rsplit("/")[-1]: r[1] for r in rows if r[2][-5] in "ab"} == {"a.png": "planets", "b.png": "planets"}
    assert "Scores compare images of one class; they do not classify." in said.err
    low, _, high = reference_scores("sngan_avatars32")[rows[0][1]]["real"]
    assert f"Most real images of class {rows[0][1]} have scores from {low:.1f} to {high:.1f}," in said.err
    assert "not read:" in said.err and "broken.png: not a supported image format" in said.err
    assert main(["score", "sngan_avatars32", str(folder), "--class", "moods", "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row for row in found if "error" in row][0]["file"].endswith("broken.png")
    good = [row for row in found if "score" in row]
    assert all(
        row["class"] == "moods" and row["score"] == row["scores"]["moods"] and len(row["scores"]) == 10 for row in good
    )
    assert (
        main(["score", "sngan_avatars32", str(folder / "planets" / "a.png")]) == 0
        and "planets" in capsys.readouterr().out
    )


def test_usual_scores_are_not_those_of_a_network_in_a_folder_of_that_name(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    load_discriminator("sngan_avatars32").save_pretrained(tmp_path / "sngan_avatars32")
    assert main(["score", "sngan_avatars32", str(folder / "planets")]) == 0
    assert "Most real images" not in capsys.readouterr().err


def test_a_folder_named_by_a_dot_has_its_class(folder, capsys, monkeypatch):
    for place, given in (("planets", "."), ("planets", "a.png"), ("deeper", "../planets")):
        monkeypatch.chdir(folder / place)
        assert main(["score", "sngan_avatars32", given, "--json"]) == 0
        assert {json.loads(line)["class"] for line in capsys.readouterr().out.splitlines()} == {"planets"}
    (folder / "moods").mkdir()
    (folder / "planets" / "a.png").rename(folder / "moods" / "a.png")
    (folder / "moods" / "inner").mkdir()
    monkeypatch.chdir(folder / "moods" / "inner")
    assert main(["score", "sngan_avatars32", "..", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["class"] == "moods"


def test_the_command_filters_a_folder(folder, capsys):
    call = ["score", "sngan_avatars32", str(folder), "--class", "moods"]
    assert main([*call, "--json"]) == 0
    every = sorted(json.loads(line)["score"] for line in capsys.readouterr().out.splitlines() if '"score"' in line)
    assert main([*call, "--at-least", str(every[3])]) == 0
    said = capsys.readouterr()
    assert [float(line.split()[0]) for line in said.out.splitlines()[1:]] == pytest.approx(every[:2:-1], abs=1e-3)
    assert "2 of 5 images have a score of" in said.err
    assert main([*call, "--at-least", str(every[-1] + 1), "--json"]) == 0
    assert '"score"' not in capsys.readouterr().out


@pytest.mark.parametrize("arguments, text", [
    (["nowhere"], "no file or folder nowhere"),
    ([".", "--class", "planet"], "nearest are planets"),
])  # fmt: skip
def test_what_is_refused(arguments, text, capsys, folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as stop:
        main(["score", "sngan_avatars32", *arguments])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and text in said and "Traceback" not in said


def test_nothing_to_score_is_said(tmp_path):
    for hidden in (".thumbnails/a.png", ".a.png"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).touch()
    with pytest.raises(FileNotFoundError, match="contains no image"):
        pictures_in(tmp_path)
    (tmp_path / "a.png").touch()
    assert pictures_in(tmp_path) == [tmp_path / "a.png"]


# The other two commands that look at a generator


def test_morph_and_walk_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["morph", "sngan_avatars32", "--classes", "planets", "moods", "--steps", "5", "--n", "2", "--seed", "3",
                 "--out", "m.png"]) == 0  # fmt: skip
    assert "m.png: planets to moods in 5 images, seed 3" in capsys.readouterr().out
    with Image.open("m.png") as image:
        assert image.text["seed"] == "3" and image.text["classes"] == "planets to moods"
        assert image.width == 5 * 66 + 2 and image.height == 2 * 66 + 2
    assert main(["morph", "sngan_avatars32", "--classes", "planets", "moods", "--steps", "5", "--out", "m.gif"]) == 0
    assert main(["morph", "sngan_avatars32", "--classes", "planets", "moods", "--out", "long.gif"]) == 0
    with Image.open("long.gif") as film:
        assert film.n_frames == 94  # four seconds
    assert Image.open("m.gif").n_frames == 8  # there and back, no picture twice at the turns
    assert (
        main(["walk", "sngan_avatars32", "--classes", "moods", "--seconds", "0.5", "--seed", "1", "--out", "w.gif"])
        == 0
    )
    assert "12 frames, 0.5 s, seed 1" in capsys.readouterr().out and Image.open("w.gif").n_frames == 12
    first = (tmp_path / "w.gif").read_bytes()
    assert (
        main(["walk", "sngan_avatars32", "--classes", "moods", "--seconds", "0.5", "--seed", "1", "--out", "w.gif"])
        == 0
    )
    assert (tmp_path / "w.gif").read_bytes() == first


@pytest.mark.parametrize("arguments, text", [
    (["morph", "sngan_avatars32", "--classes", "planets", "moods", "--out", "a.jpg"], "out must be one of FILE.png, FILE.gif"),
    (["morph", "sngan_avatars32", "--classes", "planets", "--out", "a.png"], "classes must be a list of 2 to 4 classes (got 1)"),
    (["morph", "sngan_avatars32", "--classes", "planets", "moods", "--out", "no/a.png"], "out: there is no folder no"),
    (["walk", "sngan_avatars32", "--out", "a.png"], "out must be one of FILE.gif, FILE.mp4"),
    (["walk", "sngan_avatars32", "--out", "a.gif", "--seconds", "1e9"], "seconds must be above 0 and at most 60 (got 1000000000.0)"),
    (["walk", "sngan_avatars32", "--out", "a.gif", "--classes", "a", "b", "c", "d", "e"], "classes must be a list of 1 to 4 classes (got 5)"),
])  # fmt: skip
def test_bad_morphs_and_walks(arguments, text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2 and text in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_class_of_a_discriminator_without_classes_is_refused_by_its_own_name(tmp_path, capsys):
    create_discriminator("sngan_cifar10_unconditional", widths=[4, 4, 4, 4]).save_pretrained(tmp_path / "d")
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    with pytest.raises(SystemExit):
        main(["score", str(tmp_path / "d"), str(tmp_path / "a.png"), "--class", "cat"])
    assert f"class: {tmp_path / 'd'} has no classes (got 'cat'); omit --class" in capsys.readouterr().err
