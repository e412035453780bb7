"""A donor on other classes: what is kept acts as before, what is frozen stays, and what can be a donor."""

import json

import numpy as np
import pytest
import torch

from sngan_hub import create_generator, load_discriminator, load_generator
from sngan_hub.convert import convert_file
from sngan_hub.data import Images
from sngan_hub.metrics.discriminator_scores import scores_of
from sngan_hub.networks.resnet import Discriminator, Generator
from training.config.schema import make_config
from training.engine.state import new_state
from training.feed.images import at_size
from training.finetune.load import has_discriminator, prepare_run
from training.finetune.plan import ClassStart
from training.finetune.transfer import Start, copy_donor, mixtures, nearest_classes, table_rows, with_scales

from . import tuning
from .conftest import GOLDEN
from .test_resume import equal
from .tuning import DONOR, finetune, refusal

folders = tuning.folders


def same(a, b):
    return equal(dict(a.state_dict()), dict(b.state_dict()))


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


def small_donor(normalizer, n_classes=3):
    torch.manual_seed(0)
    g = Generator(32, n_classes, widths=[4, 4, 4, 4], classes=["a", "b", "c"][:n_classes] or None)
    d = Discriminator(32, n_classes, widths=[4, 6, 8, 8], normalizer=normalizer, classes=g.classes)
    if normalizer == "spectral_gain":
        for layer in (d.embed, d.linear):
            if layer is not None:
                layer.gamma.data.fill_(1.7)
    return g, d.eval()


def new_discriminator(g, d, mixture, classes, conditioning="projection"):
    fields = [{k: v for k, v in n.config.items() if k not in ("class", "classes", "n_classes")} for n in (g, d)]
    config = make_config("finetune", donor="donor", conditioning=conditioning, generator_fields=json.dumps(fields[0]),
                         discriminator_fields=json.dumps(fields[1]))  # fmt: skip
    config = with_scales(config, d, mixture)
    state = new_state(config, classes)
    copy_donor(state, Start(g, d, mixture, [], []), config)
    return state.discriminator.eval()


@pytest.mark.parametrize("normalizer", ["spectral", "spectral_gain", "weight", "none"])
def test_kept_classes_keep_their_scores_whatever_the_normalizer(normalizer):
    g, donor = small_donor(normalizer)
    mixture = torch.eye(3, dtype=torch.float64)[[2, 0, 0]]
    mixture[2] = 1 / 3
    d = new_discriminator(g, donor, mixture, ["c", "a", "new"])
    x = torch.rand(4, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        ours, theirs = d.class_scores(x), donor.class_scores(x)
        assert torch.allclose(ours[:, :2], theirs[:, [2, 0]], atol=1e-4)
        table = d.embed.effective_weight()
        assert torch.allclose(d.embed.train().effective_weight(), table, atol=1e-5)  # u has converged
        if normalizer != "weight":
            one = new_discriminator(g, donor, mixture[:1], ["all"], "none")
            assert torch.allclose(one(x), theirs.mean(1, keepdim=True), atol=1e-4)


def test_an_unconditional_donor_with_a_gain_gets_a_class_table():
    g, donor = small_donor("spectral_gain", 0)
    d = new_discriminator(g, donor, torch.zeros(2, 0, dtype=torch.float64), ["a", "b"])
    assert torch.equal(d.linear.gamma, donor.linear.gamma)
    assert torch.allclose(d.embed.effective_weight(), d.embed.weight, atol=1e-5)  # random, as in an untrained network


def test_the_scale_of_an_earlier_table_does_not_stay():
    """Through a run without classes, or one whose D has none, to a new class table."""
    g, donor = small_donor("spectral")
    donor.config["embed_scale"] = 1.7
    one = new_discriminator(g, donor, torch.ones(1, 3, dtype=torch.float64) / 3, ["all"], "none")
    assert one.config["embed_scale"] == 1
    plain = small_donor("spectral", 0)[1]
    plain.config["embed_scale"] = 1.7
    for mixture, classes in ((torch.zeros(2, 3), ["a", "b"]), (torch.eye(3), ["a", "b", "c"])):  # also with G's classes
        d = new_discriminator(g, plain, mixture.double(), classes)
        assert torch.linalg.matrix_norm(d.embed.effective_weight().detach(), 2) == pytest.approx(1, abs=1e-3)


def test_a_class_is_nearest_to_itself():
    g, d = load_generator(DONOR), load_discriminator(DONOR)
    weights = nearest_classes(d, g.sample(["planets"], 20, 0).numpy())
    assert weights.sum() == pytest.approx(1) and (weights > 0).sum() == 3


def test_the_nearest_classes_have_the_largest_products_with_embeddings_of_unit_length(monkeypatch):
    d = Discriminator(32, 5, widths=[4, 4, 4, 6], normalizer="none")
    d.embed.weight.data = torch.eye(6)[:5] * torch.tensor([9.0, 1, 1, 1, 1])[:, None]
    likeness = torch.tensor([0.5, 0.1, 2.0, 0.4, 0.3])
    monkeypatch.setattr(d, "features", lambda x: torch.cat([likeness, torch.zeros(1)]).expand(len(x), 6))
    weights = nearest_classes(d, np.zeros((3, 3, 32, 32), np.uint8))
    top = torch.softmax(likeness[[2, 0, 3]].double() / likeness.double().std(), 0)
    assert torch.allclose(weights, torch.zeros(5).double().index_put((torch.tensor([2, 0, 3]),), top), atol=1e-6)


def test_the_nearest_of_one_class_is_this_class():
    d = Discriminator(32, 1, widths=[4, 4, 4, 6], normalizer="none")
    assert nearest_classes(d, np.zeros((3, 3, 32, 32), np.uint8)).tolist() == [1]


def test_new_random_rows_have_the_mean_length_of_the_donors():
    d = load_discriminator(DONOR)
    rows = table_rows(d, torch.zeros(3, d.n_classes, dtype=torch.float64), 0)
    length = d.embed.effective_weight().double().norm(dim=1).mean()
    assert torch.allclose(rows.norm(dim=1), length.expand(3)) and not torch.allclose(rows[0], rows[1])


def test_nearest_classes_of_images_that_are_stored_larger():
    """D compares them in its own size, as it sees them in training."""
    g, d = load_generator(DONOR), load_discriminator(DONOR)
    large = g.sample(["planets"], 20, 0).numpy().repeat(2, 2).repeat(2, 3)
    data = Images(large, np.zeros(20, np.int64), ["new"])
    (ours,), _ = mixtures([ClassStart("nearest")], g.classes, d, data)
    assert torch.equal(ours, nearest_classes(d, np.asarray(at_size(data, 32).images[np.arange(20)])))


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


def test_data_in_another_order_is_the_same_data(folders):
    from sngan_hub.data import load_images

    data = load_images(str(folders("planets", "moods", "zebra")))
    turned = data.in_order(["zebra", "moods", "planets"])
    assert [turned.classes[label] for label in turned.labels] == [data.classes[label] for label in data.labels]
    with pytest.raises(ValueError, match="the classes must be a, b .got moods, planets, zebra."):
        data.in_order(["a", "b"])


# What is trained


def test_a_prepared_set_as_one_class_keeps_a_hash():
    """Without it, all of its images would be read to hash them."""
    data = Images(np.zeros((4, 3, 8, 8), np.uint8), np.arange(4) % 2, ["a", "b"], digest="d")
    assert data.as_one_class().digest == "d-one" and data._replace(digest="").as_one_class().digest == ""


def test_a_prepared_set_in_another_order_has_a_short_hash_of_its_own():
    """It names files: of features, and of the classifier."""
    names = [f"class {i} / with a name" for i in range(100)]
    data = Images(np.zeros((100, 3, 4, 4), np.uint8), np.arange(100), names, "0123456789abcdef")
    turned = data.in_order(names[::-1])
    assert data.sha256() == data.digest and len(turned.sha256()) == 64 and turned.sha256().isalnum()
    assert turned.sha256() != data.in_order([*names[1:], names[0]]).sha256()


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


def test_frozen_layers_stay_frozen_when_others_toggle_modes(folders, tmp_path):
    config = make_config(
        "finetune", donor=DONOR, data=str(folders("planets", "moods")), out=str(tmp_path), trained="tables"
    )
    config, data, start = prepare_run(config, {"trained"})
    state = new_state(config, data.classes)
    assert start is not None and not state.generator.bn.training and state.generator.blocks[0].b1.training
    state.generator.eval()
    state.generator.train()
    assert not state.generator.bn.training and not state.ema.bn.training
    assert not state.discriminator.blocks[0].c1.training and state.discriminator.linear.training


# Donors


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
