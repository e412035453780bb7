"""A folder of pictures in a generator's place: the same set gives the same score, however it is arranged and drawn."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sngan_hub.class_names import class_list
from sngan_hub.cli.main import main as sngan
from sngan_hub.data import Images
from sngan_hub.metrics import evaluation, extraction, plan, real_images
from sngan_hub.metrics.inception import find_weights
from sngan_hub.metrics.pictures import Pictures, is_pictures
from sngan_hub.metrics.protocols import Evaluation, evaluate
from sngan_hub.networks.resnet import Generator
from sngan_hub.sampling.generate import as_tensor

from . import warm
from .conftest import ROOT

pytest.importorskip("torch_fidelity")


def block_means(network, images, precision="fp32"):
    """In Inception's place: the means of 4 x 4 blocks."""
    return torch.nn.functional.avg_pool2d(as_tensor(images).float(), 8).flatten(1) / 64


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / "cache"))
    for module in (extraction, plan):
        monkeypatch.setattr(module, "features_of", block_means)
    network = torch.nn.Identity()
    network.sha256 = "e" * 64
    monkeypatch.setattr(evaluation, "load_inception", lambda logits: network)


def fixed_reals(monkeypatch, n=1200):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
    real = Images(images, np.arange(n) % 2, ["left", "right"])
    monkeypatch.setattr(real_images, "load_images", lambda source, split, *_, **__: real)
    return real


def save(images, labels, folder, names):
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / names[int(label)] / f"{i:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(image.numpy().transpose(1, 2, 0))).save(path)


def test_pictures_of_a_generators_samples_score_as_the_generator(tiny, monkeypatch, tmp_path):
    """From class folders, from one folder, and with folders that are no classes: the set is the same."""
    fixed_reals(monkeypatch)
    torch.manual_seed(3)
    g = Generator(32, 2, widths=[8, 8, 4, 4], classes=["left", "right"]).eval()
    (expected,) = (score.value for _, score in evaluate(g, "source", ["kid1k_test"], 5))
    batches = list(Evaluation(g, "source", 5).samples(0, 1000))
    images, labels = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    for name, names in (("classes", ["left", "right"]), ("flat", [".", "."]), ("parts", ["part1", "part2"])):
        save(images, labels, tmp_path / name, names)
        pictures = Pictures(str(tmp_path / name))
        (score,) = (score for _, score in evaluate(pictures, "source", ["kid1k_test"]))
        assert score.value == pytest.approx(expected, rel=1e-5) and score.batch_norm == ""
        assert score.weights_sha256 == pictures.digest and pictures.n_classes == (2 if name == "classes" else 0)


def test_class_folders_are_taken_in_turn_and_by_name(tiny, monkeypatch, tmp_path):
    """Whatever the order of the names; each picture at most once; the seed changes which, not how many of a class."""
    fixed_reals(monkeypatch)
    images = torch.arange(240)[:, None, None, None].expand(-1, 3, 8, 8).to(torch.uint8)
    labels = (torch.arange(240) >= 100).long()  # 100 of right, 140 of left
    save(images, labels, tmp_path / "set", ["right", "left"])
    pictures = Pictures(str(tmp_path / "set"))
    e = Evaluation(pictures, "source", 1)
    x, y = e.draw(np.arange(200))
    assert y.tolist() == [0, 1] * 100 and e.real.test.classes == ["left", "right"]
    value = x[:, 0, 0, 0].int()
    assert len(set(value.tolist())) == 200 and ((value < 100) == (y == 1)).all()
    assert set(x[:40, 0, 0, 0].tolist()) != set(
        Evaluation(pictures, "source", 2).draw(np.arange(40))[0][:, 0, 0, 0].tolist()
    )
    again = torch.cat([part for part, _ in Evaluation(pictures, "source", 1, batch_size=7).samples(0, 200)])
    assert torch.equal(x, again)
    cycle = np.array([0, 0, 1, 0])
    _, chosen = pictures.draw(1, np.arange(80), cycle)
    assert chosen.tolist() == cycle.tolist() * 20
    drawn, _ = pictures.draw(1, np.arange(80), cycle)
    assert len(set(drawn[:, 0, 0, 0].tolist())) == 80
    with pytest.raises(ValueError, match="at least 141 pictures of class left are needed .got 140."):
        pictures.draw(1, np.arange(187, 188), cycle)


def test_features_of_pictures_are_cached_by_the_order_of_their_classes(tiny, monkeypatch, tmp_path):
    """The order decides which picture is sample i."""
    images = torch.arange(40)[:, None, None, None].expand(-1, 3, 8, 8).to(torch.uint8)
    save(images, torch.arange(40) % 2, tmp_path / "set", ["left", "right"])
    real, stores = fixed_reals(monkeypatch, 40), []
    for classes in (["left", "right"], ["right", "left"], ["up", "down"], ["left", "right"]):
        own = real._replace(classes=classes)
        monkeypatch.setattr(real_images, "load_images", lambda *_, own=own, **__: own)
        e = Evaluation(Pictures(str(tmp_path / "set")), "source")
        again = Evaluation(e.pictures, "source")
        assert e.pictures.digest == e.weights_sha256 == again.weights_sha256
        stores.append(e.sample_store("turn"))
    assert len(set(stores)) == 3 and stores[0] == stores[3]


def test_damaged_real_images_are_counted_and_named(tiny, image_folder, capsys):
    for i in range(9, 14):
        (image_folder / "left" / f"{i:02d}.png").write_bytes(b"no picture")
    e = Evaluation(Generator(32, 2, widths=[4] * 4, classes=["left", "right"]), str(image_folder))
    said = capsys.readouterr().err
    assert said.startswith(f"data: 1 damaged image(s) of {image_folder} are left out: {image_folder}/left/09.png: ")
    assert len(e.real.test.images) == 3 and len(e.real.train.images) == len(e.real.squashed.images) == 32
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "4 damaged image(s)" in said and "left/12.png" in said and "; and 1 more" in said


def test_images_of_no_class_are_named_before_a_folder_is_scored(tiny, image_folder, tmp_path, capsys, monkeypatch):
    """Of the pictures, and of the real images. A home folder may be written as ~."""
    monkeypatch.setenv("HOME", str(tmp_path))
    made = tmp_path / "made"
    shutil.copytree(image_folder, made)
    shutil.copy(image_folder / "left" / "00.png", made / "beside.png")
    shutil.copy(image_folder / "left" / "00.png", image_folder / "stray.png")
    command = ["evaluate", "~/made", "--data", str(image_folder), "--protocol", "kid1k_held_out", "--device", "cpu"]
    with pytest.raises(SystemExit):
        sngan(command)
    said = capsys.readouterr().err
    assert f"{made}: ignored 1 image(s) beside the class folders (beside.png ...)" in said
    assert f"{image_folder}: ignored 1 image(s) beside the class folders (stray.png ...)" in said
    assert said.splitlines()[-1].endswith("kid1k_held_out needs at least 20 test images (got 4)")


def test_a_folder_that_sample_wrote_is_evaluated(tiny, tmp_path, capsys):
    """`sngan sample --by-class`, then `sngan evaluate FOLDER`: the commands, with a folder as the data too."""
    for name, seed, n in (("fake", "1", "101"), ("real", "2", "120")):
        sngan(
            [
                "sample",
                "sngan_fashion32",
                "--by-class",
                "--n",
                n,
                "--seed",
                seed,
                "--out",
                str(tmp_path / name),
                "--device",
                "cpu",
            ]
        )
    folders = sorted(path.name for path in (tmp_path / "fake").iterdir())
    assert (
        len(folders) == 10
        and "T-shirt" in folders
        and all(len(list((tmp_path / "fake" / f).iterdir())) == 101 for f in folders)
    )
    with Image.open(next((tmp_path / "fake" / "T-shirt").iterdir())) as picture:
        assert picture.info["classes"] == "T-shirt" and picture.info["seed"] == "1"
    capsys.readouterr()
    command = ["evaluate", str(tmp_path / "fake"), "--data", str(tmp_path / "real"), "--protocol", "kid1k_held_out,diversity",
               "--device", "cpu", "--workers", "2"]  # fmt: skip
    assert sngan(command) == 0
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [line["protocol"] for line in lines] == ["kid1k_held_out", "diversity"]
    assert all(line["model"] == str(tmp_path / "fake") and np.isfinite(line["value"]) for line in lines)
    assert len(lines[1]["per_class"]) == 10 and lines[1]["value"] == pytest.approx(1, abs=0.2)
    assert said.err.startswith("kid1k_held_out, diversity: 2,000 samples and 1,120 real images to score: about ")
    assert sngan([*command, "--dry-run"]) == 0
    said = capsys.readouterr()
    assert not said.out and "cached" in said.err
    command[command.index("--protocol") + 1] = "kid1k_held_out, diversity"
    assert sngan([*command, "--dry-run", "--json"]) == 0
    said = capsys.readouterr()
    assert not said.err and "cached" in json.loads(said.out)["plan"]
    with pytest.raises(SystemExit):
        sngan(["sample", "sngan_fashion32", "--by-class", "--n", "1", "--out", str(tmp_path / "fake")])
    assert "exists; images of another call would be counted too" in capsys.readouterr().err
    for label in ("0", "1"):  # a second call adds folders
        sngan(
            ["sample", "sngan_fashion32", "--by-class", "--n", "1", "--classes", label, "--out", str(tmp_path / "two")]
        )
    assert len(list((tmp_path / "two").iterdir())) == 2


def test_the_reference_of_intra_fid_is_resized_whole(tmp_path):
    """As the authors' calc_ref_stats.py; the other references are cropped to the centre square."""
    for name in ("a", "b"):
        wide = Image.new("RGB", (128, 64), "black")
        wide.paste("white", (0, 0, 32, 64))
        (tmp_path / name).mkdir()
        for i in range(10):
            wide.save(tmp_path / name / f"{i}.png")
    e = Evaluation(Generator(32, 2, widths=[4] * 4, classes=["a", "b"]), str(tmp_path))
    assert e.real.train.images.max() == 0 and len(e.real.squashed.images) == 18
    expected = np.asarray(wide.resize((32, 32), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(e.real.squashed.images[0], expected) and expected[:, :, :7].min() == 255


def test_folders_that_no_class_can_be_written_to(tmp_path):
    from sngan_hub.cli.drawing import _folders_of

    assert _folders_of(["a", "b c"], [1, 0], tmp_path) == {1: tmp_path / "b c", 0: tmp_path / "a"}
    for names, chosen in ((["a", "../b"], [1]), ([".."], [0]), (["x/y"], [0]), ([".hidden"], [0])):
        with pytest.raises(ValueError, match="cannot be the name of a folder"):
            _folders_of(names, chosen, tmp_path)
    with pytest.raises(ValueError, match="by_class needs a conditional generator"):
        _folders_of([], [], tmp_path)
    with pytest.raises(ValueError, match="no folder for the class 'a{300}' of its own can be made in"):
        _folders_of(["a" * 300], [0], tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_that_differ_only_in_case_have_folders_of_their_own(tmp_path, monkeypatch):
    from sngan_hub.cli.drawing import _folders_of
    from sngan_hub.metrics.references import by_name

    names = list(class_list("imagenet"))
    folders = _folders_of(names, [474, 0, 264, 474], tmp_path / "out")
    assert [path.name for path in folders.values()] == ["n02963159", "n01440764", "n02113186"]
    data = Images(np.empty(0), np.empty(0), sorted(path.name for path in folders.values()))
    assert set(by_name(data).classes) == {"Cardigan", "cardigan", names[0]}
    assert _folders_of(names, [264], tmp_path) == {264: tmp_path / "Cardigan"}
    assert [path.name for path in _folders_of(["cat", "Cat"], [0, 1], tmp_path).values()] == ["cat", "Cat"]
    (tmp_path / "n02963159").mkdir()
    with pytest.raises(FileExistsError, match="n02963159 exists; images of another call"):
        _folders_of(names, [264, 474], tmp_path)
    with pytest.raises(FileExistsError, match="n02963159 exists, of a call whose folders have synsets"):
        _folders_of(names, [0], tmp_path)
    (tmp_path / "n02963159").rmdir()
    (tmp_path / names[0]).mkdir()
    assert _folders_of(names, [1], tmp_path) == {1: tmp_path / names[1]}
    with pytest.raises(FileExistsError, match=f"{names[0]} exists, of a call whose folders have names"):
        _folders_of(names, [264, 474], tmp_path)

    def windows(path, *_, **__):
        name = path.name.rstrip(". ")
        if name.casefold() in {beside.name.casefold() for beside in path.parent.iterdir()}:
            raise FileExistsError(path)
        os.mkdir(path.parent / name)

    monkeypatch.setattr(Path, "mkdir", windows)
    for chosen, refused in (([0, 1], "'Cat'"), ([2], "'dog.'")):
        with pytest.raises(ValueError, match=f"no folder for the class {refused} of its own can be made .*--classes"):
            _folders_of(["cat", "Cat", "dog."], chosen, tmp_path)
    assert _folders_of(["cat", "Cat", "dog."], [1], tmp_path) == {1: tmp_path / "Cat"}


def test_what_is_a_folder_of_pictures(tmp_path, image_folder):
    assert is_pictures(image_folder) and is_pictures(str(image_folder / "left"))
    assert not any(map(is_pictures, ["sngan_fashion32", tmp_path / "none", "~nobody.here"]))
    (tmp_path / "empty").mkdir()
    assert not is_pictures(tmp_path / "empty")
    shutil.copytree(image_folder, tmp_path / "theirs")
    (tmp_path / "theirs/model=G-best.pth").touch()  # a checkpoint of another code base, with its pictures
    assert not is_pictures(tmp_path / "theirs")
    Generator(32, 2, widths=[4] * 4).save_pretrained(image_folder / "generator")
    assert not is_pictures(image_folder) and not is_pictures(image_folder / "generator")


def test_pictures_of_other_sizes_are_refused_or_resized(tiny, monkeypatch, tmp_path, image_folder):
    fixed_reals(monkeypatch)
    Image.new("RGB", (40, 30), "red").save(image_folder / "left/wide.png")
    said = "size must be given, because .*40 pictures have 32x32 px, wide.png 40x30.; --size 32 crops and resizes"
    with pytest.raises(ValueError, match=said):
        Pictures(str(image_folder))
    resized = Pictures(str(image_folder), 16)
    assert resized.data.images.shape == (41, 3, 16, 16)
    assert evaluation.Evaluation(resized, "source").evaluator.endswith("; pictures resized to 16 px")
    (image_folder / "left/wide.png").rename(image_folder / "wide.png")  # beside the class folders: it is ignored
    assert Pictures(str(image_folder)).size == 32
    assert "resized" not in evaluation.Evaluation(Pictures(str(image_folder)), "source").evaluator
    (image_folder / "left/cut.png").write_bytes((image_folder / "wide.png").read_bytes()[:-30])
    for size, text in ((None, "cut.png"), (32, "1 picture cannot be read; repair or remove these:\n  .*cut.png")):
        with pytest.raises(ValueError, match=text):
            Pictures(str(image_folder), size)
    (image_folder / "left/cut.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="cut.png: the image cannot be read"):
        Pictures(str(image_folder))


def test_pictures_of_one_size_that_is_not_square(tmp_path):
    for i in range(3):
        Image.new("RGB", (40, 30)).save(tmp_path / f"{i}.png")
    with pytest.raises(ValueError, match="squares of one size .3 pictures have 40x30 px.; --size 30 crops"):
        Pictures(str(tmp_path))


def test_a_folder_with_the_name_of_a_model_is_announced(tiny, monkeypatch, image_folder, tmp_path, capsys):
    fixed_reals(monkeypatch)
    monkeypatch.chdir(tmp_path)
    image_folder.rename(tmp_path / "sngan_fashion32")
    for flags in ([], ["--record"]):
        with pytest.raises(SystemExit):
            sngan(["evaluate", "sngan_fashion32", "--data", "fashion", "--protocol", "kid1k_test", *flags])
    said = capsys.readouterr().err
    assert "the pictures in the local folder of this name are scored, and not the model of that name" in said
    assert "sngan_fashion32 is a folder of pictures; leave --record out" in said


def test_a_network_in_a_folder_of_a_models_name_gives_that_model_no_scores(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    Generator(32, 10, widths=[4] * 4).save_pretrained(tmp_path / "sngan_fashion32")
    with pytest.raises(SystemExit):
        sngan(["evaluate", "sngan_fashion32", "--data", "fashion", "--protocol", "diversity", "--record"])
    said = capsys.readouterr().err
    assert "a record holds scores of an included model, and sngan_fashion32 is a folder, a file or" in said, said


def test_a_folder_with_the_name_of_a_source_is_a_folder(monkeypatch, tmp_path, image_folder):
    monkeypatch.chdir(tmp_path)
    for name in ("cifar10", "celeba"):
        shutil.copytree(image_folder, tmp_path / name)
        pictures = Pictures(name)
        assert len(pictures) == 40 and pictures.classes == ["left", "right"]


def test_every_class_must_have_the_pictures_that_its_turns_take(tiny, monkeypatch, tmp_path):
    """Before anything is computed: the test images are 30 of left and 10 of right, so are the samples."""
    real = fixed_reals(monkeypatch)
    monkeypatch.setattr(real_images, "load_images", lambda *_, **__: real._replace(
        images=real.images[:40], labels=(np.arange(40) >= 30).astype(np.int64)))  # fmt: skip
    images = torch.zeros(1000, 3, 8, 8, dtype=torch.uint8)
    save(images, torch.arange(1000) % 2, tmp_path, ["left", "right"])
    with pytest.raises(ValueError, match="at least 750 pictures of class left are needed .got 500."):
        evaluate(Pictures(str(tmp_path)), "source", ["kid1k_held_out"])
    e = Evaluation(Pictures(str(tmp_path)), "source")
    e.check_samples(600, np.array([0, 0, 1, 1, 0]))
    with pytest.raises(ValueError, match="at least 501 pictures of class right are needed .got 500."):
        e.check_samples(501, np.array([1]))


def test_the_settings_of_a_run_are_those_of_its_snapshots_too(tmp_path, monkeypatch):
    from sngan_hub.cli.scoring import _settings_of_run

    run = tmp_path / "run"
    for folder in (run / "snapshots/0000005/generator", tmp_path / "other"):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"widths": [4]}')
    (run / "config.json").write_text('{"preset": "dogcat128", "contrast_stretch": true}')
    (run / "generator").symlink_to(run / "snapshots/0000005/generator")
    for model in (run, run / "generator", run / "snapshots/0000005", run / "snapshots/0000005/generator"):
        assert _settings_of_run(str(model)).get("contrast_stretch") is True
    assert _settings_of_run(str(tmp_path / "other")) == _settings_of_run("sngan_fashion32") == {}
    monkeypatch.chdir(run)
    assert _settings_of_run("sngan_fashion32") == _settings_of_run("alice/model") == {}
    assert _settings_of_run("generator").get("contrast_stretch") is True


def test_too_few_pictures_and_flags_of_generators(tiny, monkeypatch, image_folder, capsys):
    fixed_reals(monkeypatch)
    with pytest.raises(
        ValueError, match="1,000 pictures are needed .got 40.; add pictures, or use a protocol that needs fewer"
    ):
        evaluate(Pictures(str(image_folder)), "source", ["kid1k_test"])
    with pytest.raises(
        ValueError, match="intra_fid needs at least 5,000 pictures of every class .got 20 of class left."
    ):
        evaluate(Pictures(str(image_folder)), "source", ["intra_fid"])
    (image_folder / "left").rename(image_folder / "up")
    with pytest.raises(ValueError, match="cas needs a folder with one folder per class, named as the data's"):
        evaluate(Pictures(str(image_folder)), "source", ["cas"])
    assert "its folders are not the classes of the data ('up' is only in one of them)" in capsys.readouterr().err
    (image_folder / "up").rename(image_folder / "left")
    shutil.copytree(image_folder / "left", image_folder / "third")  # all classes of the data, and another
    with pytest.raises(ValueError, match="cas needs a folder with one folder per class, named as the data's"):
        evaluate(Pictures(str(image_folder)), "source", ["cas"])
    assert "('third' is only in one of them)" in capsys.readouterr().err
    with pytest.raises(ValueError, match="seeds must be 1 for a folder of pictures"):
        evaluate(Pictures(str(image_folder)), "source", ["kid1k_test"], seeds=2)
    with pytest.raises(ValueError, match="100 pictures are needed .got 60."):  # it has no classes here
        evaluate(Pictures(str(image_folder)), "source", ["diversity"])
    with pytest.raises(ValueError, match="truncation and standing statistics need a generator"):
        evaluate(Pictures(str(image_folder)), "source", ["kid1k_test"], standing=True)
    for flags, text in (
        (["--record"], "a record holds scores of an included model"),
        (["--size", "0"], "size must be at least 1"),
    ):
        with pytest.raises(SystemExit):
            sngan(["evaluate", str(image_folder), "--data", "fashion", "--protocol", "kid1k_test", *flags])
        assert text in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_scores_a_folder_with_the_real_inception(image_folder, tmp_path):
    """A hundred pictures without classes: the estimate first, then one JSON line, complete; the second call is cached."""
    try:
        find_weights()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    flat = tmp_path / "flat"
    flat.mkdir()
    for i in range(100):
        shutil.copy(sorted(image_folder.rglob("*.png"))[i % 40], flat / f"{i:03d}.png")
    command = [sys.executable, "-m", "sngan_hub.cli", "evaluate", str(flat), "--data", str(image_folder), "--protocol",
               "diversity", "--device", "cpu", "--workers", "2"]  # fmt: skip
    environment = {**os.environ, "SNGAN_HUB_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    line = json.loads(done.stdout)
    assert done.stderr.startswith("diversity: 100 samples and 40 real images to score: about ")
    assert 0.5 < line["value"] < 2 and len(line["evaluator_sha256"]) == 64 and len(line["reference_sha256"]) == 64
    assert line["seconds"] > 0 and line["device"] == "cpu" and "4 real images of each split" in line["evaluator"]
    again = warm.run([*command, "--dry-run"], environment)
    assert again.stdout == "" and "100 samples and 32 real images to score, 8 more are cached" in again.stderr


def test_a_run_that_held_nothing_out_is_told_so(tiny, monkeypatch, image_folder, tmp_path, capsys):
    fixed_reals(monkeypatch)
    run = tmp_path / "run"
    Generator(32, 2, widths=[4] * 4, classes=["left", "right"]).save_pretrained(run / "generator")
    (run / "config.json").write_text(json.dumps({"preset": "finetune", "held_out": "none", "data": str(image_folder)}))
    command = ["evaluate", str(run), "--data", f"{image_folder}/.", "--protocol", "kid1k_held_out", "--dry-run"]
    told = f"was trained on all images of {image_folder}"
    assert sngan(command) == 0 and told in capsys.readouterr().err
    settings = json.loads((run / "config.json").read_text())
    for held_out, said in (("their/test", True), ("tenth", False)):
        (run / "config.json").write_text(json.dumps({**settings, "held_out": held_out}))
        assert sngan(command) == 0
        err = capsys.readouterr().err
        assert (told in err) == ("--held-out their/test" in err) == said, err
    (run / "config.json").write_text(json.dumps(settings))
    assert sngan([*command, "--held-out", str(image_folder)]) == 0 and told not in capsys.readouterr().err


def test_a_folder_with_few_images_of_a_class_has_training_images_alone(tiny, tmp_path):
    for i in range(18):
        path = tmp_path / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), (i, 0, 0)).save(path)
    e = Evaluation(Generator(32, 2, widths=[4] * 4, classes=["a", "b"]), str(tmp_path))
    assert len(e.real.train.images) == 18 and e.real.n_test == 0 and e.classes == ["a", "b"]
    with pytest.raises(ValueError, match="every tenth image of a class is in the test split"):
        _ = e.real.test
