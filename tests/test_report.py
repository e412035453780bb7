"""RUN/report.html, what it says of copies, and what fine-tuning makes of folders as people have them."""

import base64
import io
import json
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sngan_hub import load_discriminator, load_generator
from sngan_hub.cli.main import main as sngan
from sngan_hub.data import Images, load_images
from training.__main__ import main
from training.config.schema import make_config, save_config
from training.engine.run_folder import link_snapshot
from training.engine.snapshots import save_snapshot
from training.engine.state import new_state
from training.feed.checks import findings
from training.feed.near_copies import copying, near_copies, nearest
from training.monitor.log import save_grid
from training.monitor.report import as_shown, copying_within, over_time, some_of, write_report

from . import tuning
from .tuning import DONOR, finetune

folders = tuning.folders


def picture(seed, side=32):
    """Smooth patches of colour, as unlike each other as photographs are."""
    patches = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(patches).resize((side, side), Image.Resampling.BICUBIC))


# Copies


def test_copies_survive_saving_and_scaling_and_other_images_are_none():
    originals = [picture(seed) for seed in range(6)]
    file = io.BytesIO()
    Image.fromarray(originals[1]).save(file, "JPEG", quality=85, subsampling=0)
    again = np.asarray(Image.open(file))
    scaled = np.asarray(Image.fromarray(picture(2, 64)).resize((32, 32), Image.Resampling.BILINEAR))
    assert not np.array_equal(again, originals[1])
    images = np.stack([*originals, again, scaled]).transpose(0, 3, 1, 2)
    assert near_copies(images) == [(1, 6), (2, 7)]
    assert near_copies(images[:6]) == []


def test_nearest_neighbours_against_every_pair():
    x, y = torch.randn(7, 5), torch.randn(9, 5)
    found = nearest(x, y)
    for i in range(7):
        apart = [float((x[i] - row).norm()) for row in y]
        assert int(found.row[i]) == int(np.argmin(apart)) and float(found.distance[i]) == pytest.approx(
            min(apart), 1e-4
        )
    itself = nearest(y, y, itself=True)
    assert (itself.row != torch.arange(9)).all() and (itself.distance > 0).all()


def test_the_copying_statistic_is_a_half_for_equal_laws_and_one_for_copies():
    real = torch.rand(3000, generator=torch.Generator().manual_seed(1))
    assert copying(torch.rand(3000, generator=torch.Generator().manual_seed(2)), real) == pytest.approx(0.5, abs=0.02)
    assert copying(torch.zeros(5), real) == 1.0 and copying(torch.full((5,), 2.0), real) == 0.0
    assert copying(torch.tensor([1.0]), torch.tensor([1.0])) == 0.5


def test_classes_are_compared_one_by_one():
    """Images of a plain class are nearer to each other than those of a varied class. That does not make them copies."""
    draws = torch.Generator().manual_seed(3)
    plain, varied = (lambda n: torch.rand(n, generator=draws)), (lambda n: 100 + torch.rand(n, generator=draws))
    made = torch.cat([plain(2000), varied(2000)]), ["plain"] * 2000 + ["varied"] * 2000
    assert copying_within(*made, torch.cat([varied(500), plain(20)]), ["varied"] * 500 + ["plain"] * 20) == (
        pytest.approx(0.5, abs=0.15)
    )
    assert copying_within(*made, varied(500), ["varied"] * 500) == pytest.approx(0.5, abs=0.05)
    assert copying_within(*made, varied(500), [""] * 500) == pytest.approx(0.75, abs=0.05)  # without classes: all
    assert copying_within(*made, varied(500), ["other"] * 500) is None
    assert copying_within(*made, torch.tensor([float("inf")]), ["plain"]) is None  # one image has no neighbour


def test_images_to_compare_with_come_from_all_parts_of_the_shown_classes():
    images = np.broadcast_to(np.arange(90, dtype=np.uint8)[:, None, None, None], (90, 3, 4, 4))
    data = Images(images, np.arange(90) // 30, ["a", "b", "c"])
    found, names = some_of(data, ["c", "a"], 6)
    assert found[:, 0, 0, 0].tolist() == [0, 11, 23, 65, 77, 89] and names == ["a"] * 3 + ["c"] * 3
    found, names = some_of(data, [""], 4)
    assert found[:, 0, 0, 0].tolist() == [0, 29, 59, 89] and names == [""] * 4
    assert len(some_of(data, ["b", "elsewhere"], 500)[0]) == 30


def test_the_check_names_near_copies_and_few_images():
    images = np.stack([picture(seed) for seed in range(30)]).transpose(0, 3, 1, 2)
    labels = np.arange(30) % 2
    data = Images(images, labels, ["left", "right"])
    again = np.clip(images[:3].astype(int) + 2, 0, 255).astype(np.uint8)
    twice = Images(np.concatenate([images, again]), np.concatenate([labels, labels[:3]]), data.classes)
    said = " ".join(findings(twice, make_config("finetune", donor=DONOR)))
    assert (
        "3 of 33 sampled images are near copies of another (for example, training image 1 of class left and training "
        "image 16 of class left)" in said
    )
    assert "class right has 16 images; with fewer than 50, G may memorise them" in said
    plain = " ".join(findings(data, make_config("fashion32")))
    assert "copies" not in plain and "memorise" not in plain


def test_near_copies_are_looked_for_in_every_class():
    images = np.random.default_rng(0).integers(0, 256, (3000, 3, 32, 32), dtype=np.uint8)
    images[2400:] = images[2400]
    data = Images(images, np.arange(3000) // 600, list("abcde"))
    said = " ".join(findings(data, make_config("fashion32")))
    found = re.search(r"(\d+) of 1,000 .*training image (\d+) of class e and training image (\d+) of class e", said)
    assert found and int(found[1]) == 199 and 1 <= int(found[2]) < int(found[3]) <= 600
    alone = " ".join(findings(data.as_one_class(), make_config("fashion32")))
    assert re.search(r"for example, training image 2,40\d and training image 2,40\d\)", alone)


# The report


def test_a_report_is_one_file_that_says_how_to_use_the_result(folders, tmp_path, capsys):
    out = tmp_path / "my pets"
    finetune(folders("planets", "moods", "zebra"), out, "--steps=4", "--sample_every=2", "--log_every=1")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert (
        not re.findall(r'(?:src|href)="(?!data:)', page)
        and "<script" not in page
        and "http" not in page.split("<h2>Settings")[0]
    )
    for text in ("started from sngan_avatars32", "zebra: starts from the mean of the donor&#39;s 10 classes",
                 "No scores: 18 images are too few",
                 "Adam&#39;s moments start at 0", f"sngan sample {out}", "--classes &#34;planets&#34;", "Losses", "of generated images are nearer to a training image", "trained"):  # fmt: skip
        assert text in page, text
    pictures = re.findall(r"data:image/png;base64,([\w+/=]+)", page)
    assert len(pictures) == 3 * (1 + 1 + 3 + 1)  # of each class: the data, the result, three steps, the pairs
    assert re.findall(r'alt="([^"]+at step [^"]+)"', page)[:4] == [
        "planets at step 0", "planets at step 2", "planets at step 4", "moods at step 0"]  # fmt: skip
    headings = re.findall(r"<h2>([^<]+)", page)
    assert headings == ["Training data", "Generated images", "Samples during training", "Nearest training images",
                        "Training curves", "Settings", "Usage"]  # fmt: skip
    assert 'scope="row">log every</th><td>1</td>' in page  # beside its default
    assert main(["report", str(out)]) == 0
    assert "of generated images are nearer" in capsys.readouterr().out
    assert (out / "report.html").read_text(encoding="utf-8").count("<img") == page.count("<img")
    shutil.rmtree(out / "samples")  # as of an imported run
    assert main(["report", str(out)]) == 0
    assert "Samples during training" not in (out / "report.html").read_text(encoding="utf-8")


def test_only_the_snapshot_of_the_best_score_is_called_the_best(tmp_path):
    """A run that was resumed without scores offers its latest snapshot."""
    fields = {"generator_fields": '{"widths": [8, 8], "bottom_width": 16}', "data": "gone", "out": str(tmp_path),
              "discriminator_fields": '{"widths": [4, 8], "down": "10"}', "score": "kid1k_test"}  # fmt: skip
    config = make_config("fashion32", **fields)
    save_config(config, tmp_path / "config.json")
    state = new_state(config, ["a", "b"])
    for state.step in (1, 2):
        save_snapshot(state, tmp_path)
    score = {"step": 1, "protocol": "kid1k_test", "value": 0.1, "n": 1000, "evaluator": "none", "floor": 0.01}
    (tmp_path / "scores.jsonl").write_text(json.dumps(score) + "\n")
    for step, said in ((2, "the snapshot of step 2."), (1, "the snapshot of step 1, the best by kid1k_test.")):
        link_snapshot(tmp_path, step)
        page, _ = write_report(tmp_path)
        assert said in page.read_text(encoding="utf-8")


def test_settings_are_rounded_for_a_reader():
    shown = [as_shown(value) for value in (0.00020000001, 1234567, True, False, "", None, "projection", 1e-8, 0.5)]
    assert shown == ["0.0002", "1,234,567", "yes", "no", "-", "-", "projection", "1e-08", "0.5"]


def test_learned_by_heart_is_said(tmp_path, capsys):
    """Data that are the very pictures which the result draws."""
    g = load_generator(DONOR)
    for k, image in enumerate(g.for_sampling().sample(["planets", "moods"], 8, seed=0)):
        path = tmp_path / "data" / ["planets", "moods"][k // 8] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    finetune(tmp_path / "data", tmp_path / "run", "--steps=0")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert 'class="warning">100% of generated images' in page
    assert "the generator has memorised training images" in capsys.readouterr().err


def test_held_out_copies_of_training_images_are_left_out(tmp_path, capsys):
    """At distance 0, they would make every generated image unlike the training images."""
    folder = tmp_path / "data" / "planets"
    folder.mkdir(parents=True)
    for i in range(30):
        Image.fromarray(picture(i - (i in (9, 19)))).save(folder / f"{i:02d}.png")  # of the three held out
    finetune(tmp_path / "data", tmp_path / "run", "--steps=0", "--held_out=tenth")
    said = capsys.readouterr().err
    assert "data: 2 of 3 held-out images are also training images, so scores are too good; remove the" in said
    assert "than held-out images are (50% is" in said
    assert "; 2 of 3 held-out images are also training images and were left out" in said


def test_only_held_out_copies(tmp_path, capsys):
    folder = tmp_path / "data" / "planets"
    folder.mkdir(parents=True)
    for i in range(20):
        Image.fromarray(picture(i - (i in (9, 19)))).save(folder / f"{i:02d}.png")
    finetune(tmp_path / "data", tmp_path / "run", "--steps=0", "--held_out=tenth")
    said = capsys.readouterr().err
    assert "than training images are to each other" in said and "; 2 of 2 held-out images are" in said


def test_images_that_came_later_are_said(tmp_path, capsys):
    """They change which images are every tenth, so that training images would count as held out."""
    folder, run = tmp_path / "data" / "planets", tmp_path / "run"
    folder.mkdir(parents=True)
    for i in range(210):
        Image.fromarray(picture(i)).save(folder / f"{i:03d}.png")
    finetune(tmp_path / "data", run, "--steps=1", "--held_out=tenth", "--score_every=0")
    assert main(["report", str(run)]) == 0
    said = capsys.readouterr().out
    assert "than held-out images are" in said and "have changed" not in said
    Image.fromarray(picture(210)).save(folder / "000a.png")
    assert main(["report", str(run)]) == 0
    said = capsys.readouterr().out
    assert f"; the images of {tmp_path / 'data'} have changed since the run was trained on them" in said
    assert "than training images are to each other" in said
    for flags in ([], ["--calibrate"]):
        with pytest.raises(SystemExit):
            main(["probe", "--from", str(run), "--data", str(tmp_path / "data"), *flags])
        said = capsys.readouterr().err.splitlines()[-1]
        assert f"data: the images of {tmp_path / 'data'} have changed since {run} was trained, so it is not" in said


def test_names_are_text_and_missing_data_are_said(tmp_path):
    folder = tmp_path / "data" / "<b>&cat</b>".replace("/", "\u2215")
    folder.mkdir(parents=True)
    for i in range(4):
        Image.fromarray(picture(i)).save(folder / f"{i}.png")
    out = tmp_path / "run"
    finetune(tmp_path / "data", out, "--steps=1")
    assert "<b>" not in (out / "report.html").read_text(encoding="utf-8")
    (tmp_path / "data").rename(tmp_path / "gone")
    assert main(["report", str(out)]) == 0
    with pytest.raises(SystemExit):
        main(["report", str(tmp_path)])


# Folders as people have them


@pytest.fixture
def messy(tmp_path):
    """Every mode, shape and accident in three classes."""
    root = tmp_path / "My pictures 📷"
    cats, dogs, third = root / "ネコ 🐱", root / "perro ñandú", root / "Ω"
    for folder in (cats, dogs, third, root / "empty", root / "only notes", root / ".hidden"):
        folder.mkdir(parents=True)
    big = picture(0, 64)
    Image.fromarray(big[..., 0]).save(cats / "grey.png")
    Image.fromarray(big).convert("P").save(cats / "palette.gif")
    Image.fromarray(big[..., 0].astype(np.uint16) * 257).save(cats / "sixteen bits.png")
    Image.fromarray(big).convert("CMYK").save(cats / "cmyk.jpg")
    Image.fromarray(np.dstack([big, big[..., :1]])).save(cats / "alpha.webp")
    turned = Image.fromarray(picture(1, 64))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(dogs / "turned.jpg", exif=exif, quality=95)
    Image.new("RGB", (1, 1), "red").save(dogs / "tiny.png")
    Image.new("RGB", (5000, 40), "blue").save(dogs / "huge.bmp")
    Image.fromarray(big).save(dogs / "UPPER.JPEG")
    (dogs / "damaged.png").write_bytes((cats / "grey.png").read_bytes()[:60])
    (dogs / "text.jpg").write_text("not a picture")
    (dogs / "zero.webp").touch()
    (root / "only notes" / "readme.txt").write_text("hello")
    (root / "stray.png").write_bytes((cats / "grey.png").read_bytes())
    for i in range(3):
        Image.fromarray(picture(9 + i)).save(third / f"{i}.tiff")
    (root / "loop").symlink_to(root, target_is_directory=True)
    (third / "inner loop").symlink_to(third, target_is_directory=True)
    (third / "broken.png").symlink_to(root / "nowhere.png")
    return root


def test_a_folder_as_people_have_them(messy, tmp_path, capsys):
    def stamp():
        return {p: (p.lstat().st_mtime_ns, p.lstat().st_size) for p in messy.iterdir()}

    before, out = stamp(), tmp_path / "run"
    g, d = finetune(messy, out, "--steps=1", "--batch_size=4")
    said = capsys.readouterr().err
    assert stamp() == before
    assert sorted(g.classes) == sorted(d.classes) == sorted(["ネコ 🐱", "perro ñandú", "Ω"])
    for name in ("damaged.png", "text.jpg", "zero.webp", "broken.png"):
        assert said.count(f"{name}: ") == 1, name
    assert said.count("Skipped damaged image: ") == 4
    for name in ("empty", "only notes"):
        assert f"not used as a class, because it contains no image: {name}" in said
    assert "ignored 1 image(s) beside the class folders (stray.png ...)" in said
    assert "12 images of 32 px in 3 classes" in said
    left_out = json.loads((out / "start.json").read_text(encoding="utf-8"))["left_out"]
    assert len(left_out) == 4 and "Skipped damaged image" in (out / "report.html").read_text(encoding="utf-8")
    assert sngan(["sample", str(out), "--classes", "ネコ 🐱", "--n", "2", "--out", str(tmp_path / "cat.png")]) == 0


def test_a_turned_photograph_stands_upright(tmp_path):
    half = np.zeros((64, 64, 3), np.uint8)
    half[:32] = 255
    for folder, orientation in (("turned", 6), ("upright", 1)):
        (tmp_path / folder / "a").mkdir(parents=True)
        image = Image.fromarray(half)
        exif = image.getexif()
        exif[0x0112] = orientation
        image.save(tmp_path / folder / "a" / "0.jpg", exif=exif, quality=95)
    turned, upright = (load_images(str(tmp_path / name)).images[0].astype(int) for name in ("turned", "upright"))
    assert upright[:, 4].min() > 240 and upright[:, -4].max() < 15
    assert turned[:, :, -4].min() > 240 and turned[:, :, 4].max() < 15  # 6: the top is at the right


def test_a_folder_of_pictures_alone_is_one_class(tmp_path, capsys):
    (tmp_path / "my cat" / "later").mkdir(parents=True)
    for i in range(4):
        Image.fromarray(picture(i)).save(tmp_path / "my cat" / f"{i}.png")
    g, d = finetune(tmp_path / "my cat", tmp_path / "run", "--steps=1")
    said = capsys.readouterr().err
    assert g.classes == d.classes == ["my cat"] and "only one class; to train on several, name a folder" in said
    assert "left out" not in said and "Ignored" not in said and "Skipped" not in said
    assert len(load_images(str(tmp_path / "my cat"), "all").images) == 4


def test_three_hundred_classes(tmp_path):
    for k in range(300):
        folder = tmp_path / "data" / f"class {k:03d}"
        folder.mkdir(parents=True)
        Image.fromarray(picture(k)).save(folder / "0.png")
    g, d = finetune(tmp_path / "data", tmp_path / "run", "--steps=1")
    assert g.n_classes == d.n_classes == 300 and d.embed.weight.shape[0] == 300
    assert g.sample(["class 299"], 1, 0).shape == (1, 3, 32, 32)


def test_what_cannot_be_trained_on_is_said_in_a_line(tmp_path, capsys):
    def refused(folder):
        with pytest.raises(SystemExit) as code:
            main(["finetune", "--from", DONOR, "--data", str(folder), "--out", str(tmp_path / "run"), "--steps", "1"])
        assert code.value.code == 2
        return capsys.readouterr().err.splitlines()[-1]

    (tmp_path / "nothing").mkdir()
    assert "contains no folder with images; expected" in refused(tmp_path / "nothing")
    bad = tmp_path / "bad" / "a"
    bad.mkdir(parents=True)
    (bad / "0.png").write_text("none")
    assert "none of the 1 image(s)" in refused(tmp_path / "bad")
    good = tmp_path / "bad" / "b"
    good.mkdir()
    Image.fromarray(picture(0)).save(good / "0.png")
    assert "data must have images of every class (got none of a); add images, or remove" in refused(tmp_path / "bad")
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "again").symlink_to(tmp_path / "loop", target_is_directory=True)
    assert "contains no folder with images" in refused(tmp_path / "loop")


# Adam


def test_a_runs_moments_go_on_for_the_tensors_that_stay(folders, tmp_path, capsys, monkeypatch):
    from training.engine.checkpoints import checkpoints
    from training.engine.state import new_state
    from training.finetune.load import begin, prepare_run

    first = folders("planets", "moods")
    finetune(first, tmp_path / "donor", "--steps=3", "--freeze_d=0", "--ema_decay=0", "--channels_last=false")
    parts = torch.load(checkpoints(tmp_path / "donor")[-1], weights_only=True)
    g, d = load_generator(tmp_path / "donor"), load_discriminator(tmp_path / "donor")
    monkeypatch.setenv("HOME", str(tmp_path))  # a shell leaves the ~ of --from=~/donor
    for names in (("planets", "moods"), ("planets", "moods", "zebra")):
        out = tmp_path / "-".join(names)
        out.mkdir()
        config = make_config("finetune", donor="~/donor", data=str(folders(*names)), out=str(out), trained="all")
        config, data, start = prepare_run(config, {"freeze_d"})
        assert config.warm_up == 0
        state = new_state(config, data.classes)
        begin(state, start, config)
        for network, donor, optimizer, key in (
            (state.generator, g, state.opt_g, "opt_g"),
            (state.discriminator, d, state.opt_d, "opt_d"),
        ):
            for i, (name, parameter) in enumerate(network.named_parameters()):
                same = parameter.shape == dict(donor.named_parameters())[name].shape
                found = optimizer.state.get(parameter)
                assert bool(found) == same, name
                if same:
                    assert found["exp_avg"].stride() == found["exp_avg_sq"].stride() == parameter.stride()
                    assert all(torch.equal(found[k], v) for k, v in parts[key]["state"][i].items()), name
    said = capsys.readouterr().err
    assert "Adam's moments: kept from step 3 of" in said and "reset for generator blocks.0.b1.weight" in said
    finetune(folders("planets", "moods", "zebra"), tmp_path / "more", "--steps=2", donor=tmp_path / "donor")
    more = torch.load(checkpoints(tmp_path / "more")[-1], weights_only=True)
    assert {int(s["step"]) for s in more["opt_d"]["state"].values()} == {2, 5}  # the table's, and the others'


def test_a_damaged_checkpoint_of_the_donor_is_passed_over(folders, tmp_path, capsys):
    from training.engine.checkpoints import checkpoints

    data, donor = folders("planets", "moods"), tmp_path / "donor"
    finetune(data, donor, "--steps=2", "--checkpoint_every=1")
    assert len(checkpoints(donor)) == 2
    for name, expected in (("newest", "kept from step 1 of"), ("both", "start at 0, because no checkpoint of")):
        damaged = checkpoints(donor)[-1 if name == "newest" else 0]
        damaged.write_bytes(b"damaged")
        finetune(data, tmp_path / name, "--steps=0", donor=donor)
        said = capsys.readouterr().err
        assert f"Adam's moments{':' * (name == 'newest')} {expected}" in said
        assert f"{damaged}: not a readable checkpoint" in said
    assert len(checkpoints(donor)) == 2  # the donor's folder is only read


# With the real Inception


@pytest.mark.soak
@pytest.mark.slow
def test_the_default_walk_with_scores(tmp_path, capsys, monkeypatch):
    """From 200 images on: held-out images are scored against, the best snapshot is linked, the report compares features.

    The score takes 100 samples here, because Inception is slow without a GPU.
    """
    from sngan_hub.data import draw_avatars
    from sngan_hub.metrics.inception import find_weights
    from sngan_hub.metrics.measures import kid1k_held_out
    from sngan_hub.metrics.protocols import PROTOCOLS
    from sngan_hub.networks.inference import fast_bfloat16
    from training.monitor.score import scores_of_run

    try:
        find_weights()
    except FileNotFoundError:
        pytest.skip("no Inception weights: make metrics")
    row = PROTOCOLS["kid1k_held_out"]._replace(samples=100, measure=partial(kid1k_held_out, n=100))
    monkeypatch.setitem(PROTOCOLS, "kid1k_held_out", row)
    for k, image in enumerate(draw_avatars(["clay", "gaze"], range(110), "walk", 48)):
        path = tmp_path / "data" / ["clay", "gaze"][k // 110] / f"{k % 110:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(path)
    out = tmp_path / "run"
    precision = "bf16" if fast_bfloat16("cpu") else "fp32"  # emulated, two thousand images take over an hour
    finetune(tmp_path / "data", out, "--steps=2", f"--precision={precision}", "--threads=2")
    assert "Computes kid1k_held_out every 500 steps" in capsys.readouterr().err
    (score,) = scores_of_run(out, "kid1k_held_out")
    in_precision = "in bfloat16; " if precision == "bf16" else ""
    assert f"{in_precision}22 held-out images" in score["evaluator"] and score["n"] == 100
    assert score["value"] > 0.05 > abs(score["floor"])  # two steps are too few, and the training images are near
    config = json.loads((out / "config.json").read_text())
    assert (
        config["freeze_d"] == 2
        and config["held_out"] == "tenth"
        and (out / "generator").resolve().parent.name == "0000002"
    )
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Inception features" in page and "the best by kid1k_held_out" in page and "198 images" in page


def test_a_grid_that_cannot_be_written_leaves_the_earlier_one(tmp_path, monkeypatch):
    from torchvision import utils

    def full(images, path, **look):
        Path(path).write_bytes(b"part of it")
        raise OSError("no space left")

    path = tmp_path / "0000004.png"
    save_grid(torch.ones(20, 3, 8, 8), path)
    monkeypatch.setattr(utils, "save_image", full)
    with pytest.raises(OSError, match="no space left"):
        save_grid(torch.ones(20, 3, 8, 8), path)
    assert Image.open(path).convert("RGB") and [p.name for p in tmp_path.iterdir()] == ["0000004.png"]


def test_samples_during_training_are_cut_out_of_the_grid_by_class(tmp_path):
    save_grid(
        torch.cat([torch.full((20, 3, 8, 8), -1.0), torch.ones(20, 3, 8, 8)]), tmp_path / "samples" / "0000004.png"
    )
    (a, first), (b, second) = over_time(tmp_path, ["a", "b"], 8)
    assert (a, b) == ("a", "b") and first[0][0] == second[0][0] == "4"
    for strips, level in ((first, 0), (second, 255)):
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(strips[0][1].partition(",")[2]))))
        assert (image[1:9, 1:9] == level).all()
