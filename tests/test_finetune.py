"""A donor on other classes: what is kept acts as before, what is frozen stays, and the run resumes exactly."""

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

from sngan_hub import create_generator, load_discriminator, load_generator
from sngan_hub.convert import convert_file
from sngan_hub.data import source_classes
from sngan_hub.metrics.discriminator_scores import scores_of
from sngan_hub.networks.card import as_text
from training.__main__ import main
from training.config.dry_run import rates_of
from training.config.schema import make_config
from training.engine.checkpoints import checkpoints
from training.engine.loop import train
from training.engine.state import new_state
from training.feed.checks import check_apart
from training.finetune.load import count_images, has_discriminator, prepare_run
from training.finetune.plan import DataFacts, sensible
from training.finetune.transfer import nearest_classes

from . import warm
from .conftest import GOLDEN, ROOT
from .test_resume import equal

DONOR = "sngan_avatars32"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """``make(names)`` -> a folder of class folders with six pictures each, drawn by the donor where it knows the class."""
    home = tmp_path_factory.mktemp("data")
    g = load_generator(DONOR)
    rng = np.random.default_rng(0)

    def make(*names):
        root = home / "-".join(names)[:80]
        for k, name in enumerate(names):
            (root / name).mkdir(parents=True, exist_ok=True)
            images = (
                g.sample([name], 6, k)
                if name in g.classes
                else torch.from_numpy(rng.integers(0, 256, (6, 3, 32, 32), dtype=np.uint8))
            )
            for i, image in enumerate(images):
                Image.fromarray(image.permute(1, 2, 0).numpy()).save(root / name / f"{i}.png")
        return root

    return make


def finetune(folder, out, *flags, donor=DONOR):
    options = {"steps": 2, "batch_size": 4, "g_batch_size": 4, "threads": 1, "log_every": 1, "spectrum_every": 0}
    given = [f"--{key}={value}" for key, value in options.items() if not any(f.startswith(f"--{key}") for f in flags)]
    assert main(["finetune", "--from", str(donor), "--data", str(folder), "--out", str(out), *given, *flags]) == 0
    return load_generator(out), load_discriminator(out)


def same(a, b):
    return equal(dict(a.state_dict()), dict(b.state_dict()))


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["finetune", *map(str, arguments)])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "Traceback" not in said
    return said.splitlines()[-1]


# What is kept


def test_no_steps_on_the_donors_own_classes_is_the_donor_bit_for_bit(folders, tmp_path):
    donor_g, donor_d = load_generator(DONOR), load_discriminator(DONOR)
    g, d = finetune(folders(*sorted(donor_g.classes)), tmp_path, "--steps=0", "--trained=all")
    assert g.classes == donor_g.classes == d.classes  # the donor's order, not the folders'
    assert same(g, donor_g) and same(d, donor_d)
    assert g.config == donor_g.config and d.config == donor_d.config


@pytest.mark.parametrize("new_classes", ["mean", "nearest", "fresh"])
def test_what_was_kept_acts_as_before_beside_a_new_class(new_classes, folders, tmp_path, capsys):
    donor_g, donor_d = load_generator(DONOR), load_discriminator(DONOR)
    names = [*donor_g.classes, "zebra"]
    g, d = finetune(folders(*names), tmp_path, "--steps=0", f"--new_classes={new_classes}")
    assert g.classes == names
    kept = donor_g.sample(donor_g.classes, 2, 5)
    assert torch.equal(g.sample(donor_g.classes, 2, 5), kept)
    ours, theirs = scores_of(d, kept), scores_of(donor_d, kept)
    assert (ours[:, :10] - theirs).abs().max() < 1e-5 * max(1.0, theirs.abs().max().item())
    table = d.embed.effective_weight()
    assert table[10].norm() > 0.01 and d.config["embed_scale"] >= 1
    said = capsys.readouterr().err
    if new_classes == "mean":
        assert "zebra: starts from the mean of the donor's 10 classes" in said
        assert torch.allclose(table[10], donor_d.embed.effective_weight().mean(0), atol=1e-5)
        assert torch.allclose(g.blocks[0].b1.weight[10], donor_g.blocks[0].b1.weight.mean(0), atol=1e-6)
    elif new_classes == "nearest":
        assert "zebra: starts from a combination of" in said
    else:
        assert "zebra: starts untrained" in said and torch.equal(
            g.blocks[0].b1.weight[10], torch.ones_like(g.blocks[0].b1.weight[10])
        )
    with torch.no_grad():  # u has converged: another look changes nothing
        before = d.train()(torch.zeros(2, 3, 32, 32), torch.tensor([0, 10]))
        after = d.eval()(torch.zeros(2, 3, 32, 32), torch.tensor([0, 10]))
    assert (before - after).abs().max() < 1e-4


def test_fewer_classes_and_chosen_ones(folders, tmp_path, capsys):
    donor_g, donor_d = load_generator(DONOR), load_discriminator(DONOR)
    g, d = finetune(folders("my planet", "moods"), tmp_path, "--steps=0", "--like=my planet=planets")
    assert (
        g.classes == ["moods", "my planet"]
        and "my planet: starts from the donor's class planets" in capsys.readouterr().err
    )
    assert torch.equal(g.sample(["my planet"], 2, 3), donor_g.sample(["planets"], 2, 3))
    images = donor_g.sample(["moods"], 3, 1)
    columns = [donor_g.classes.index("moods"), donor_g.classes.index("planets")]
    assert (scores_of(d, images) - scores_of(donor_d, images)[:, columns]).abs().max() < 1e-4


def test_a_class_is_nearest_to_itself():
    g, d = load_generator(DONOR), load_discriminator(DONOR)
    weights = nearest_classes(d, g.sample(["planets"], 20, 0).numpy())
    assert weights.sum() == pytest.approx(1) and (weights > 0).sum() == 3


def test_conditional_and_unconditional_donors(folders, tmp_path):
    donor_g, donor_d = load_generator(DONOR), load_discriminator(DONOR)
    g, d = finetune(folders("planets", "moods"), tmp_path / "plain", "--steps=0", "--conditioning=none")
    assert g.n_classes == d.n_classes == 0 and d.embed is None
    x = donor_g.sample(["planets"], 4, 0)
    with torch.no_grad():  # D says what it says of the mean class
        features = donor_d._pooled(x.float() / 127.5 - 1, None)
        expected = donor_d.linear(features) + features @ donor_d.embed.effective_weight().mean(0)[:, None]
    assert (scores_of(d, x) - expected).abs().max() < 1e-4 * expected.abs().max()
    assert torch.allclose(g.blocks[1].b2.bias, donor_g.blocks[1].b2.bias.mean(0), atol=1e-6)
    again_g, again_d = finetune(folders("planets", "moods"), tmp_path / "again", "--steps=0", donor=tmp_path / "plain")
    assert again_g.classes == ["moods", "planets"] and again_d.embed.effective_weight().norm() > 0.1
    assert torch.equal(again_g.sample(["moods"], 2, 1), g.sample(n=2, seed=1))  # every class as the donor drew all


# What is trained


@pytest.mark.parametrize("flags, moving", [
    (["--trained=tables"], ("b1.", "b2.", "embed.", "linear.")),
    (["--trained=gains"], ("b1.", "b2.", "bn.", "embed.", "linear.", ".bias")),
    (["--trained=all", "--freeze_d=2"], None),
])  # fmt: skip
def test_frozen_parts_stay_bit_equal(flags, moving, folders, tmp_path):
    start = tmp_path / "snapshots" / "0000000"
    g, d = finetune(folders("planets", "moods"), tmp_path, "--steps=3", "--lr_g=0.01", "--lr_d=0.01", "--ema_decay=0",
                    "--sample_every=1", "--spectrum_every=1", "--augment=", *flags)  # fmt: skip
    for now, before in ((g, load_generator(start)), (d, load_discriminator(start))):
        old = before.state_dict()
        changed = {k for k, v in now.state_dict().items() if not torch.equal(v, old[k])}
        assert changed
        if moving is None:
            frozen = {k for k in old if now is d and k.startswith(("blocks.0.", "blocks.1."))}
            assert not changed & frozen and any(k.startswith("blocks.2.c1") for k in changed if now is d or True)
        else:
            assert all(any(word in k for word in moving) for k in changed), changed
            assert not [k for k in changed if k.startswith("blocks") and k.endswith((".u", "c1.weight", "c2.weight"))]
    if "--trained=tables" in flags:  # not even the statistics of the last batch norm, whose gain is not a class's
        assert torch.equal(g.bn.running_mean, load_generator(start).bn.running_mean)


def test_l2_sp_pulls_every_trained_weight_back_by_its_formula(folders, tmp_path):
    """A step with the pull is the step without it, moved towards the start by lr times the strength."""
    folder, options = (
        folders("planets", "moods"),
        ["--steps=1", "--n_dis=1", "--warm_up=0", "--ema_decay=0", "--augment=", "--trained=all"],
    )
    free = finetune(folder, tmp_path / "free", "--lr_g=0.001", "--lr_d=0.002", *options)
    held = finetune(folder, tmp_path / "held", "--lr_g=0.001", "--lr_d=0.002", "--l2_sp=50", *options)
    start = tmp_path / "free" / "snapshots" / "0000000"
    before = dict(load_generator(start).named_parameters())
    for name, ours in held[0].named_parameters():
        w = dict(free[0].named_parameters())[name]
        assert torch.allclose(ours, w - 0.001 * 50 * (w - before[name]), atol=1e-7), name
    assert not same(free[1], held[1])
    with pytest.raises(ValueError, match="l2_sp needs a donor, which this run does not have"):
        make_config("fashion32", l2_sp=1.0)


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
        chosen, said = sensible(make_config("finetune", data=str(root)), facts)
        assert expected.items() <= chosen.items() and said
        assert ("score_every" in chosen) == (each > 3 and "KID" in said)
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


def test_more_steps_than_a_schedule_has_are_said():
    """Rates that fall are 0 behind ``decay_to``; those of a preset without a fall stay, however many steps it runs."""
    for preset in ("finetune", "stl10"):
        config = make_config(preset, steps=300_000)
        assert config.lr_scale(250_000) == 1 and rates_of(config) == "constant"
    falling = make_config("finetune", steps=30, decay_from=10, decay_to=20, warm_up=0)
    assert falling.lr_scale(25) == 0 and "the last 10 steps have no effect: raise --decay-to" in rates_of(falling)
    assert rates_of(make_config("fashion32")) == "fall linearly from step 7,000 to 0 at step 13,000"


# Donors, data and resuming


def test_a_converted_foreign_pair_is_a_donor(folders, tmp_path):
    file = GOLDEN / "foreign" / "mmgen32_cond10_wo.pth"
    g, d = finetune(folders("frog", "planets"), tmp_path / "run", "--steps=1", "--trained=all", donor=file)
    assert g.classes == ["frog", "planets"] or sorted(g.classes) == ["frog", "planets"]
    assert g.config["bn_eps"] == load_generator(file).config["bn_eps"] and d.config["sn_eval"] == "stored"


def test_a_donor_that_concatenates_the_class(folders, tmp_path, capsys):
    file = GOLDEN / "sngan_D128_concat_ch8_n10_emb16.weights.npz"
    donor, names = tmp_path / "donor", [str(i) for i in range(10)]
    (network,) = convert_file(file)
    network.network.save_pretrained(donor / "discriminator")
    create_generator("sngan_imagenet128", n_classes=10, widths=[8, 8, 8, 4, 4, 4]).save_pretrained(donor / "generator")
    folder = folders(*names, "zebra")
    g, d = finetune(folder, tmp_path / "run", "--steps=0", donor=donor)
    assert g.classes == [*names, "zebra"] and d.config["conditioning"] == "concat"
    x = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (4, 3, 128, 128), dtype=np.uint8))
    ours, theirs = scores_of(d, x)[:, :10], scores_of(load_discriminator(donor), x)
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max() and theirs.std() > 0
    base = ["--from", donor, "--data", folder, "--out", tmp_path / "no", "--steps", 1]
    assert "conditioning must be concat, as in" in refusal(capsys, *base, "--conditioning", "none")
    said = refusal(capsys, *base, "--conditioning", "projection")
    assert f"conditioning must be concat, as in {donor} (got projection)" in said
    for dry in ([], ["--dry-run"]):
        said = refusal(capsys, *base, "--new_classes", "nearest", *dry)
        assert "new_classes nearest needs a donor with a projection discriminator; use --new-classes mean" in said


def test_a_donor_without_a_discriminator_gets_one_that_is_trained_first(folders, tmp_path, capsys):
    donor_g = load_generator(DONOR)
    donor_g.save_pretrained(tmp_path / "donor" / "generator")
    assert not has_discriminator(str(tmp_path / "donor")) and not has_discriminator(
        str(tmp_path / "donor" / "generator")
    )
    assert has_discriminator(DONOR) and not has_discriminator("sngan_cifar10.mimicry")
    folder = folders("planets", "moods")
    flags = ["--steps=3", "--d_warm_up=2", "--trained=all", "--snapshot_every=1", "--ema_decay=0"]
    g, d = finetune(folder, tmp_path / "run", *flags, donor=tmp_path / "donor")
    assert "has no discriminator: a new one is trained alone for the first 2 steps" in capsys.readouterr().err
    at = lambda step, load: load(tmp_path / "run" / "snapshots" / f"{step:07d}")  # noqa: E731
    weights = [at(step, load_generator).conv.weight for step in range(4)]
    assert torch.equal(weights[0], weights[2]) and not torch.equal(weights[2], weights[3])
    assert not torch.equal(at(0, load_discriminator).linear.weight, at(1, load_discriminator).linear.weight)
    assert torch.equal(at(0, load_generator).sample(["moods"], 2, 0), donor_g.sample(["moods"], 2, 0))


@pytest.mark.slow
def test_killed_and_resumed_it_ends_byte_equal_without_the_donor(folders, tmp_path):
    folder, donor = folders("planets", "moods", "zebra"), tmp_path / "donor"
    first_g, first_d = load_generator(DONOR), load_discriminator(DONOR)
    first_g.save_pretrained(donor / "generator")
    first_d.save_pretrained(donor / "discriminator")
    flags = ["--steps=30", "--batch_size=4", "--g_batch_size=4", "--threads=1", "--log_every=1", "--checkpoint_every=5"]

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


def test_the_users_folder_is_never_written_to(folders, tmp_path):
    folder = folders("planets", "moods")
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    finetune(folder, tmp_path, "--steps=1")
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before


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


def test_data_in_another_order_is_the_same_data(folders):
    from sngan_hub.data import load_images

    data = load_images(str(folders("planets", "moods", "zebra")))
    turned = data.in_order(["zebra", "moods", "planets"])
    assert [turned.classes[label] for label in turned.labels] == [data.classes[label] for label in data.labels]
    with pytest.raises(ValueError, match="the classes must be a, b .got moods, planets, zebra."):
        data.in_order(["a", "b"])


def test_frozen_layers_stay_frozen_when_others_toggle_modes(folders, tmp_path):
    config = make_config(
        "finetune", donor=DONOR, data=str(folders("planets", "moods")), out=str(tmp_path), trained="tables"
    )
    config, data, start = prepare_run(config, {"trained"})
    state = new_state(config, data.classes)
    assert start is not None and not state.generator.bn.training and state.generator.blocks[0].b1.training
    state.generator.eval()
    state.generator.train()
    assert not state.generator.bn.training and not state.average.bn.training
    assert not state.discriminator.blocks[0].c1.training and state.discriminator.linear.training
