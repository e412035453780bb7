"""The plan of a fine-tuning run, from plain values: no network, no image and no folder."""

import json

import pytest

from training.config.schema import make_config
from training.finetune.plan import ClassStart, DataFacts, Donor, class_starts, make_plan, parse_like, resumed_config

G = {"class": "Generator", "size": 32, "n_classes": 3, "classes": ["cat", "dog", "owl"], "widths": [8]}
D = {"class": "Discriminator", "size": 32, "n_classes": 3, "classes": ["cat", "dog", "owl"], "widths": [8],
     "conditioning": "projection"}  # fmt: skip
PAIR = Donor(G, D)


def plan(classes=("owl", "zebra"), images=5000, held=500, donor=PAIR, given=(), why="", **settings):
    config = make_config("finetune", donor="sngan_fashion32.v1", **settings)
    return make_plan(config, given, donor, DataFacts(list(classes), images, held), lambda config: why)


def test_settings_follow_the_number_of_images():
    few, some, many = (plan(images=n, held=n // 10).config for n in (100, 1000, 5000))
    assert (few.freeze_d, few.batch_size, few.held_out, few.score_every) == (2, 16, "none", 0)
    assert (some.freeze_d, some.batch_size, some.score_every) == (2, 32, 500)
    assert (many.augment, many.score) == ("translation", "kid1k_held_out")
    given = plan(images=100, held=10, given={"batch_size", "freeze_d"}, batch_size=8, freeze_d=0).config
    assert (given.batch_size, given.freeze_d, given.g_batch_size) == (8, 0, 16)
    assert plan(donor=Donor(G, D, is_run=True)).config.warm_up == 0 < many.warm_up


def test_a_run_without_scores_says_why():
    assert (
        "scores need 20 held-out images, and every tenth image of each class gives 19"
        in plan(images=300, held=19).notes[0]
    )
    without = plan(why="no Inception weights")
    assert without.notes[0] == "No scores: no Inception weights" and without.config.score_every == 0
    assert "every image is used for training" in plan(held_out="none").notes[0]
    assert plan(given={"score_every"}, score_every=0).notes[0] == "No scores: score_every is 0"
    said = "No scores: scores need 20 held-out images, and every tenth image of each class gives 4"
    few = plan(images=40, held=4, given={"held_out"}, held_out="tenth")
    assert few.notes[0] == said and few.config.held_out == "tenth", "these 4 are held out all the same"
    for given in ({}, {"held_out": "tenth"}):
        with pytest.raises(ValueError, match=r"gives 4 \(got score_every 500\); set --held-out to a folder of "):
            plan(images=40, held=4, given={"score_every", *given}, score_every=500, **given)
    own = plan(images=40, held=4, given={"score_every", "score"}, score_every=500, score="is_paper")
    assert own.notes[0].startswith("Computes is_paper every 500 steps") and own.config.held_out == "tenth"
    asked = plan(given={"score_every"}, score_every=500, why="no Inception weights")
    assert asked.config.score_every == 500  # and the run ends with the reason
    assert "every 250 steps" in plan(given={"score_every"}, score_every=250).notes[0]


def test_a_patience_needs_scores_that_the_run_may_choose_itself():
    assert plan(patience=3).config.score_every == 500
    with pytest.raises(ValueError, match=r"patience needs scores \(got 3\). No scores: no Inception weights"):
        plan(patience=3, why="no Inception weights")
    with pytest.raises(ValueError, match=r"got 3\). No scores: score_every is 0"):
        plan(given={"score_every"}, score_every=0, patience=3)
    old = vars(plan(images=100, held=10).config)
    with pytest.raises(ValueError, match="patience needs scores"):
        resumed_config(make_config("finetune", donor="sngan_fashion32.v1", patience=3), dict(old), {"patience"})


def test_augmentation_that_starts_late_is_one_that_the_run_may_choose_itself():
    assert plan(augment_from=500, given={"augment_from"}).config.augment == "translation"
    with pytest.raises(ValueError, match=r"augment_from needs an augmentation .got 500."):
        plan(augment="", augment_from=500, given={"augment", "augment_from"})


def test_the_donors_classes_come_first_in_its_order():
    found = plan(["ape", "owl", "zebra", "cat"], new_classes="nearest", like="ape=dog")
    assert found.classes == ("cat", "owl", "ape", "zebra")
    assert json.loads(found.config.class_order) == ["cat", "owl", "ape", "zebra"]
    assert found.starts == (ClassStart("row", 0), ClassStart("row", 2), ClassStart("row", 1), ClassStart("nearest"))
    assert list(found.class_notes.values()) == [
        "ape: starts from the donor's class dog",
        "zebra: starts from a combination of the donor's classes that are nearest to its images",
    ]


@pytest.mark.parametrize("new_classes, how", [("mean", "mean"), ("nearest", "nearest"), ("fresh", "fresh")])
def test_what_a_new_class_starts_from(new_classes, how):
    (start,), notes = class_starts(["zebra"], ["cat"], {}, new_classes)
    assert start.how == how and notes["zebra"].startswith("zebra: starts ")
    (start,), notes = class_starts(["zebra"], [], {}, new_classes)  # a donor without classes has no rows to lend
    assert start.how == "fresh"


def test_networks_are_the_donors_but_for_their_classes():
    config = plan().config
    assert config.architecture == "sngan_fashion32" and config.conditioning == "projection"
    assert plan(donor=PAIR.__class__(G, D, True, "sngan_cifar10")).config.architecture == "sngan_cifar10"
    with pytest.raises(ValueError, match="--from must be a model of 32, 48, 64, 128, 256 px .got .*, of 16 px"):
        plan(donor=Donor({**G, "size": 16}, {**D, "size": 16}))
    assert json.loads(config.generator_fields) == {"size": 32, "widths": [8]}
    assert json.loads(config.discriminator_fields) == {"size": 32, "widths": [8], "conditioning": "projection"}
    without = plan(conditioning="none")
    assert without.config.conditioning == "none" and not without.starts and not without.class_notes
    assert "No classes: starts from the mean of the donor's 3 classes" in without.notes


def test_a_donor_without_a_discriminator():
    found = plan(donor=Donor(G, None), images=100, held=10)
    assert found.config.freeze_d == 0 and found.config.d_warm_up == 200
    assert plan(donor=Donor(G, None), given={"d_warm_up"}, d_warm_up=0).config.d_warm_up == 0
    assert "trained alone for the first 200 steps" in found.notes[-1]


def test_what_is_refused():
    concat = Donor(G, {**D, "conditioning": "concat"})
    with pytest.raises(ValueError, match=r"conditioning must be concat, as in .* \(got none\)"):
        plan(donor=concat, conditioning="none")
    with pytest.raises(ValueError, match=r"conditioning must be concat, as in .* \(got projection\)"):
        plan(donor=concat, given={"conditioning"}, conditioning="projection")
    weight = Donor(G, {**D, "normalizer": "weight"})
    with pytest.raises(ValueError, match=r"conditioning must be projection, as in .* \(got none\): .*length 1"):
        plan(donor=weight, conditioning="none")
    assert plan(donor=weight).config.conditioning == "projection"
    with pytest.raises(ValueError, match="the donor has no class 'owls'; the nearest is owl"):
        plan(like="zebra=owls")
    with pytest.raises(ValueError, match=r"like must be CLASS=DONOR'S CLASS, .* \(got 'cat=owl'\)"):
        plan(like="cat=owl")  # the data have no such class
    for name, value in (("like", "zebra=owl"), ("new_classes", "mean")):
        with pytest.raises(ValueError, match=rf"{name} must be omitted with conditioning none, .* \(got '{value}'\)"):
            plan(conditioning="none", given={"conditioning", name}, **{name: value})
    with pytest.raises(ValueError, match="architecture is the donor's in a fine-tuning run and cannot be set"):
        plan(given={"architecture"}, architecture="sngan_cifar10")
    with pytest.raises(ValueError, match="freeze_d must be 0, because .* has no discriminator .*got 1"):
        plan(donor=Donor(G, None), given={"freeze_d"}, freeze_d=1)
    assert parse_like("", ["a"], ["b"]) == {} and parse_like(" a = b ; ", ["a"], ["b"]) == {"a": "b"}


def test_a_run_that_goes_on_keeps_what_was_chosen():
    began = vars(plan(images=100, held=10).config)
    asked = make_config("finetune", donor="sngan_fashion32.v1", batch_size=64, steps=9000)
    config = resumed_config(asked, began, {"batch_size"})
    assert (config.batch_size, config.steps, config.freeze_d, config.held_out) == (64, 9000, 2, "none")
    assert json.loads(config.class_order) == ["owl", "zebra"]
    assert resumed_config(make_config("finetune", conditioning="projection"), began, {"conditioning"})
    with pytest.raises(ValueError, match="conditioning: was 'projection', now 'none'"):
        resumed_config(make_config("finetune", conditioning="none"), began, {"conditioning"})


def test_synsets_are_the_donors_classes():
    """ImageNet's folders have the synsets as names, a published model the class names."""
    starts, notes = class_starts(["n01440764", "n02123045"], ["tabby", "cat", "tench"], {}, "mean")
    assert starts == [ClassStart("row", 2), ClassStart("row", 0)] and not notes
    starts, _ = class_starts(["tench", "tabby"], ["n02123045", "n01440764"], {}, "mean")
    assert starts == [ClassStart("row", 1), ClassStart("row", 0)]
    starts, _ = class_starts(["n01440764"], ["tabby", "tench"], {"n01440764": "tabby"}, "mean")
    assert starts == [ClassStart("row", 0)], "--like decides"
    names = ["tabby", "owl", "tench"]
    donor = Donor({**G, "classes": names}, {**D, "classes": names})
    assert plan(["n01440764", "n02123045"], donor=donor).classes == ("n02123045", "n01440764"), "in the donor's order"
    for known in (["tench"], ["n01440764", "theirs"]):  # beside a class of one's own, and of the donor's own
        starts, _ = class_starts(["n01440764", "mine", "tench"], known, {}, "mean")
        assert starts == [ClassStart("row", 0), ClassStart("mean"), ClassStart("row", 0)]
