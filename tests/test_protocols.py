"""Every protocol over a tiny evaluator: its counts, its references, its record; long work resumes; workers agree."""

import json
from dataclasses import asdict
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sngan_hub.data import Images, NoTestSplit
from sngan_hub.metrics import evaluation, extraction, measures, plan, protocols, real_images
from sngan_hub.metrics.protocols import PROTOCOLS, Evaluation, evaluate
from sngan_hub.metrics.published_inception import Head
from sngan_hub.metrics.references import interleaved
from sngan_hub.metrics.scores import inception_score, inception_score_chainer, kid, kid_of_subsets
from sngan_hub.networks.resnet import Generator
from sngan_hub.sampling.generate import as_tensor
from sngan_hub.weights.record import Score

from .test_scores import scipy_fid

pytest.importorskip("torch_fidelity")
pytest.importorskip("scipy")
WIDTH, SIDE = 6, 4
RNG = np.random.default_rng(7)
HEAD = Head(torch.from_numpy(RNG.normal(size=(40, WIDTH))).float(), torch.from_numpy(RNG.normal(size=40)).float())


def tiny_features(network, images, precision="fp32"):
    """In Inception's place: the mean and the spread of each channel."""
    x = as_tensor(images).float().flatten(2) / 50
    return torch.cat([x.mean(2), x.std(2)], 1)


def prdc(fake, real):
    """In its place, as it takes a quarter of a minute: means that tell which images came."""
    assert len(fake) == len(real) == 10_000
    return {"precision": float(fake.mean()), "coverage": float(real.std()), "recall": float((fake * real).mean())}


class Tiny:
    """A generator of noise whose channels tell its class; image i depends on its latent alone."""

    size, n_classes, z_dim, classes = SIDE, 3, 8, ["a", "b", "c"]

    def __init__(self):
        self.weight = torch.nn.Parameter(torch.ones(1))

    def parameters(self):
        yield self.weight

    def modules(self):
        return [self]

    training = False

    def state_dict(self):
        return {"weight": self.weight}

    def for_sampling(self):
        return self

    def __call__(self, z, y):
        shade = torch.nn.functional.one_hot(y, 3).float()[:, :, None, None] * 0.3
        return (z[:, :3, None, None] * 0.2 + shade + z[:, None, 3:7, None] * 0.3 - 0.2).expand(-1, 3, SIDE, SIDE)


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(extraction, "features_of", tiny_features)
    monkeypatch.setattr(plan, "features_of", tiny_features)
    network = torch.nn.Identity()
    network.sha256, network.head = "e" * 64, HEAD
    monkeypatch.setattr(evaluation, "load_inception", lambda logits: network)
    rng = np.random.default_rng(0)
    counts = {"test": 6000, "train": 21_000}
    data = {split: Images(rng.integers(0, 256, (n, 3, SIDE, SIDE), dtype=np.uint8) // (1 + np.arange(n) % 3)[:, None, None, None].astype(np.uint8),
                          np.arange(n) % 3, ["a", "b", "c"]) for split, n in counts.items()}  # fmt: skip
    monkeypatch.setattr(real_images, "load_images", lambda source, split, *_, **__: data[split])
    monkeypatch.setattr(evaluation, "BATCH", 500)
    monkeypatch.setattr(measures, "prdc", prdc)
    monkeypatch.setattr(measures, "kid_of_subsets", lambda a, b: kid_of_subsets(a, b, 3))  # of a hundred
    return data


def measured(*names, **settings):
    return dict(evaluate(Tiny(), "source", list(names), batch_size=1000, **settings))


def features_of_samples(n, labels=None, seed=0):
    e = Evaluation(Tiny(), "source", seed, batch_size=1000)
    return torch.cat([tiny_features(None, x) for x, _ in e.samples(0, n, labels)])


def features_of_real(data, n=None):
    return tiny_features(None, data.images[interleaved(data, n, balanced=False)])


def test_every_protocol_states_what_it_measured(tiny):
    """Value, counts, seconds, device, versions, hashes: for the whole table, each JSON line complete and finite."""
    names = [name for name in PROTOCOLS if name not in ("cas", "agreement2k")]  # their classifier needs 8 px and time
    for name, score in measured(*names).items():
        row = PROTOCOLS[name]
        line = json.loads(protocols.json_line("m", "source", name, score))
        assert np.isfinite(score.value) and line["protocol"] == name and line["evaluator"]
        assert score.n == row.samples * (3 if row.per_class else 1)
        assert score.seconds is not None and score.device == "cpu" and score.versions and score.machine
        assert len(score.weights_sha256) == 64 and score.evaluator_sha256 == "e" * 64
        assert (len(score.reference_sha256) == 64) == (name != "is_paper")
        assert score.batch_norm == "stored" and score.truncation is None and score.seed == 0
        assert Score(**json.loads(json.dumps(asdict(score)))).value == score.value


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_best_snapshot_is_chosen_in_the_direction_of_the_protocol(name, tmp_path):
    from training.monitor.score import best_score

    rows = [{"step": step, "protocol": name, "value": value} for step, value in enumerate((2.0, 1.0, 3.0))]
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    best = 1.0 if name.startswith(("fid", "kid", "intra_fid")) else 3.0
    assert best_score(tmp_path, name)["value"] == best


def test_scores_of_prefixes_and_their_floors_are_those_of_the_test_images(tiny):
    found = measured("kid1k_test", "fid5k_test", "kid1k_held_out")
    test, train = (partial(features_of_real, tiny[split]) for split in ("test", "train"))
    few, fake = found["kid1k_test"], features_of_samples(1000)
    assert (few.value, few.floor) == pytest.approx((kid(fake, test(1000)), kid(train(1000), test(1000))), rel=1e-4)
    five, fake = found["fid5k_test"], features_of_samples(5000)
    assert five.value == pytest.approx(scipy_fid(fake, test(5000)), rel=1e-3)
    assert five.floor == pytest.approx(scipy_fid(train(5000), test(5000)), rel=1e-3)
    labels = tiny["test"].labels[interleaved(tiny["test"], None, balanced=False)]
    held = found["kid1k_held_out"]
    assert held.value == pytest.approx(kid(features_of_samples(1000, labels), test()), rel=1e-4)
    assert held.floor == pytest.approx(kid(train(1000), test()), rel=1e-4)


def test_the_floor_of_the_inception_score_is_that_of_training_images(tiny):
    more = np.random.default_rng(2).integers(0, 256, (50_001, 3, SIDE, SIDE), dtype=np.uint8)
    tiny["train"] = Images(more, np.arange(50_001) % 3, ["a", "b", "c"])
    logits = features_of_real(tiny["train"], 50_000) @ HEAD.weight.t()
    assert measured("is50k")["is50k"].floor == pytest.approx(inception_score(logits).mean, rel=1e-5)


def test_fid50k_train_and_fid_paper_are_scipys(tiny):
    found = measured("fid50k_train", "fid_paper")
    assert found["fid50k_train"].value == pytest.approx(
        scipy_fid(features_of_samples(50_000), features_of_real(tiny["train"])), rel=1e-3
    )
    assert found["fid_paper"].value == pytest.approx(
        scipy_fid(features_of_samples(5000), features_of_real(tiny["test"])), rel=1e-3
    )
    assert found["fid50k_train"].floor == pytest.approx(
        scipy_fid(features_of_real(tiny["test"]), features_of_real(tiny["train"])), rel=1e-3
    )
    assert found["fid50k_train"].value != pytest.approx(found["fid_paper"].value, rel=1e-3)
    assert found["fid50k_train"].reference_sha256 == tiny["train"].sha256()
    assert found["fid_paper"].reference_sha256 == tiny["test"].sha256()


def test_without_test_images_scores_against_the_training_images_have_no_floor(tiny, monkeypatch):
    """ImageNet, as the paper's preset prepares it, keeps none."""
    with_test = measured("fid50k_train", "kid50k")

    def load(source, split, *_, **__):
        if split == "test":
            raise NoTestSplit("data: source was prepared without a test split")
        return tiny[split]

    monkeypatch.setattr(real_images, "load_images", load)
    monkeypatch.setattr(real_images, "source_classes", lambda source: tiny["train"].classes)
    said = list[str]()
    without = measured("fid50k_train", "kid50k", say=said.append)
    for name, score in without.items():
        assert score.floor is None and with_test[name].floor is not None and score.value == with_test[name].value
    assert "0 samples and 0 real images" in said[0] or "all features are cached" in said[0]
    for name, row in PROTOCOLS.items():
        if row.reference == "test":
            with pytest.raises(NoTestSplit):
                measured(name)


def test_one_test_image_gives_no_floor(tiny, monkeypatch):
    one = tiny["test"]._replace(images=tiny["test"].images[:1], labels=tiny["test"].labels[:1])
    monkeypatch.setattr(
        real_images, "load_images", lambda source, split, *_, **__: one if split == "test" else tiny[split]
    )
    assert measured("fid50k_train")["fid50k_train"].floor is None


def test_kid50k_and_prdc10k_take_their_counts(tiny):
    found = measured("kid50k", "prdc10k")
    expected = kid_of_subsets(features_of_samples(50_000), features_of_real(tiny["train"]), 3)
    assert (found["kid50k"].value, found["kid50k"].spread) == pytest.approx(tuple(expected), rel=1e-6)
    floor = kid_of_subsets(features_of_real(tiny["test"]), features_of_real(tiny["train"]), 3).mean
    assert found["kid50k"].floor == pytest.approx(floor, rel=1e-6)
    real = features_of_real(tiny["train"])
    parts = prdc(features_of_samples(10_000), real[:10_000])
    assert found["prdc10k"].parts == pytest.approx(parts) and found["prdc10k"].value == parts["coverage"]
    assert found["prdc10k"].floor == prdc(real[10_000:20_000], real[:10_000])["coverage"]


def uneven(data, *counts):
    """Images of three classes, whose pixels are 0, 50 and 100."""
    labels = np.repeat([0, 1, 2], counts)
    images = np.zeros((len(labels), 3, SIDE, SIDE), np.uint8) + (50 * labels[:, None, None, None]).astype(np.uint8)
    return data._replace(images=images, labels=labels)


@pytest.mark.parametrize("of_test, of_train, drawn, floor", [
    ((3600, 300, 100), (9000, 900, 300), [900, 75, 25], [900, 75, 25]),
    ((270, 15, 15), (2430, 135, 135), [880, 60, 60], [880, 60, 60]),  # three times in turn, then a hundred
    ((3600, 300, 100), (9000, 900, 10), [900, 75, 25], [900, 75, 10]),
    ((90, 5, 5), (810, 45, 45), [900, 50, 50], [810, 45, 45]),
    ((2000, 2000, 2000), (3000, 3000, 2000), [334, 333, 333], [334, 333, 333]),
])  # fmt: skip
def test_kid1k_held_out_has_the_classes_of_the_test_images(tiny, monkeypatch, of_test, of_train, drawn, floor):
    """The samples and the floor: another mix of classes is a distance of its own."""
    tiny["test"], tiny["train"] = uneven(tiny["test"], *of_test), uneven(tiny["train"], *of_train)
    asked, draw = [], Evaluation.draw
    monkeypatch.setattr(Evaluation, "draw", lambda self, *a: (b := draw(self, *a), asked.append(b[1]))[0])
    e = Evaluation(Tiny(), "source", batch_size=1000)
    measures.kid1k_held_out(e)
    real = e.real_features("train_like_test", 1000, balanced=False)[:, 0]  # the floor's
    for labels, expected in ((torch.cat(asked), drawn), (real.round().int(), floor)):
        assert np.abs(labels.bincount().numpy() - expected).max() <= 1
    unchanged = e.real.train_like_test is e.real.train
    assert unchanged == (sum(of_train) < 1000 or len({*of_test}) == 1)


def test_prdc10k_compares_sets_with_the_same_classes(tiny, monkeypatch):
    """Small classes are in the first 10,000 training images alone."""
    sets = []
    monkeypatch.setattr(measures, "prdc", lambda fake, real: sets.append((fake, real)) or {"coverage": 1.0})
    tiny["train"] = uneven(tiny["train"], 15_000, 5000, 1001)
    measured("prdc10k")
    (_, real), (floor, same) = sets
    assert real.data_ptr() == same.data_ptr()
    counts = [x[:, 0].int().bincount().tolist() for x in (real, floor)]
    assert np.abs(np.subtract(*counts)).max() <= 1 and min(counts[1]) >= 500
    assert sum(counts[0]) == sum(counts[1]) == 10_000


def test_both_inception_scores_take_their_labels_and_logits(tiny):
    """is50k: classes in turn, logits without the bias. is_paper: classes at random, sets in order, both formulas."""
    found = measured("is50k", "is_paper")
    turn, drawn = features_of_samples(50_000), features_of_samples(50_000, "random")
    assert found["is50k"].value == pytest.approx(inception_score(turn @ HEAD.weight.t()).mean, rel=1e-6)
    sets = drawn @ HEAD.weight.t()
    assert found["is_paper"].value == pytest.approx(
        np.mean([inception_score(part, 1).mean for part in sets.split(5000)]), rel=1e-6
    )
    chainer = inception_score_chainer(sets + HEAD.bias).mean
    assert found["is_paper"].parts["chainer_formula"] == pytest.approx(chainer, rel=1e-6)
    assert (
        abs(found["is_paper"].value - found["is50k"].value) > 1e-4
        and found["is_paper"].spread_over == "10 sets of 5,000"
    )
    labels = torch.cat([y for _, y in Evaluation(Tiny(), "source").samples(0, 3000, "random")])
    assert labels.bincount().tolist() != [1000] * 3 and labels.bincount().min() > 900


def test_intra_fid_is_the_mean_of_scipys_per_class(tiny, monkeypatch):
    found = measured("intra_fid")["intra_fid"]
    fake, real = features_of_samples(15_000), features_of_real(tiny["train"])
    expected = [scipy_fid(fake[c::3], real[c::3]) for c in range(3)]
    assert list(found.per_class.values()) == pytest.approx(expected, rel=1e-3)
    assert found.value == pytest.approx(np.mean(expected), rel=1e-3) and found.n == 15_000
    monkeypatch.setattr(measures, "PREFIX", 100)  # as for a thousand classes: class by class
    monkeypatch.setattr(Evaluation, "class_store", lambda e: None)
    assert measured("intra_fid")["intra_fid"].value == pytest.approx(found.value, rel=1e-5)


def test_intra_fid_resumes_class_by_class(tiny, monkeypatch):
    calls, fid = [], measures.fid

    def twice(a, b):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return fid(a, b)

    monkeypatch.setattr(measures, "fid", twice)
    with pytest.raises(KeyboardInterrupt):
        measured("intra_fid")
    left = lambda: plan.work_of(Evaluation(Tiny(), "source"), {"intra_fid": PROTOCOLS["intra_fid"]}, seeds=2)  # noqa: E731
    assert left() == (15_000, 0, 0, 15_000 + 21_000, 1 + 3)
    with monkeypatch.context() as many:
        many.setattr(plan, "PREFIX", 100)  # as for a thousand classes: class by class
        assert left() == (5000 + 15_000, 0, 0, 21_000, 1 + 3)
    assert len(measured("intra_fid")["intra_fid"].per_class) == 3 and len(calls) == 4
    assert left() == (15_000, 0, 0, 21_000, 3)


def test_several_seeds_give_the_mean_and_its_spread(tiny):
    one = [measured("fid_paper", seed=seed)["fid_paper"].value for seed in (4, 5, 6)]
    found = measured("fid_paper", seed=4, seeds=3)["fid_paper"]
    assert list(found.values) == pytest.approx(one) and found.value == pytest.approx(np.mean(one))
    assert found.spread == pytest.approx(np.std(one, ddof=1)) and found.spread_over == "3 seeds" and found.seed == 4
    assert len(set(found.values)) == 3


def test_features_of_samples_are_kept_by_the_configuration_too(tiny):
    """A setting such as ``upsample`` is in no tensor."""
    form = dict(size=32, n_classes=3, widths=[4] * 4)
    plain, other, named = (Generator(**form, classes=classes, upsample=upsample) for classes, upsample in (
        (["a", "b", "c"], "nearest"), (["a", "b", "c"], "bilinear"), (None, "nearest")))  # fmt: skip
    for network in (other, named):
        network.load_state_dict(plain.state_dict())
    stores = [Evaluation(network, "source").sample_store("turn") for network in (plain, other, named)]
    assert stores[0] == stores[2] != stores[1]


def test_features_of_samples_are_not_kept_where_nothing_could_use_them(tiny, tmp_path):
    """During training, every snapshot has other weights."""
    kept = measured("fid50k_train")
    files = lambda: sorted((tmp_path / "cache").glob("samples-*"))  # noqa: E731
    assert len(files()) == 1
    files()[0].unlink()
    assert measured("fid50k_train", keep_samples=False)["fid50k_train"].value == kept["fid50k_train"].value
    assert not files()


def test_a_classifiers_protocol_needs_no_inception(tiny, monkeypatch):
    def missing(logits):
        raise FileNotFoundError("Inception weights: not found")

    monkeypatch.setattr(evaluation, "load_inception", missing)
    said = list[str]()
    evaluate(Tiny(), "source", ["agreement2k"], say=said.append, plan_only=True)
    assert said[0].startswith("agreement2k: 2,000 samples for a classifier: about ") and "to score" not in said[0]
    with pytest.raises(FileNotFoundError):
        evaluate(Tiny(), "source", ["fid_paper"], say=said.append, plan_only=True)


def test_the_plan_of_a_diversity_of_many_classes_counts_those_that_are_measured(tiny, monkeypatch):
    class Many(Tiny):
        n_classes, classes = 120, [f"{i:03d}" for i in range(120)]

    for split, n in (("test", 1200), ("train", 24_000)):
        tiny[split] = Images(
            tiny[split].images[np.arange(n) % len(tiny[split].images)], np.arange(n) % 120, Many.classes
        )
    e = Evaluation(Many(), "source")
    work = plan.work_of(e, {"diversity": PROTOCOLS["diversity"]})
    assert (work.samples, work.real) == (5000, 1200 + 5000)  # 50 classes, 100 of each; test images are fewer
    tiny["test"] = tiny["test"]._replace(images=tiny["test"].images[:900], labels=tiny["test"].labels[:900])
    assert plan.work_of(Evaluation(Many(), "source"), {"kid50k": PROTOCOLS["kid50k"]}).real == 24_000  # no floor


def test_needs_of_classes_are_checked_before_anything_is_measured(tiny):
    data = tiny["train"]
    tiny["train"] = data._replace(labels=np.where(np.arange(len(data.labels)) == 0, 2, data.labels % 2))
    with pytest.raises(ValueError, match="intra_fid needs at least 2 training images of every class .got 1 of class c"):
        evaluate(Tiny(), "source", ["kid50k", "intra_fid"])


def test_equal_test_images_have_no_diversity(tiny):
    data = tiny["test"]
    images = np.where((data.labels == 1)[:, None, None, None], data.images[1], data.images)
    tiny["test"] = data._replace(images=images)
    with pytest.raises(ValueError, match="different test images of every class .all of b are equal"):
        measured("diversity")


def test_neither_batches_nor_workers_change_a_score(tiny):
    values = [dict(evaluate(Tiny(), "source", ["fid_paper"], batch_size=size, workers=workers))["fid_paper"].value
              for size, workers in ((1000, 1), (333, 1), (500, 3))]  # fmt: skip
    assert values == pytest.approx([values[0]] * 3, rel=1e-4)


def test_every_device_has_its_own_networks_and_the_same_samples(tiny):
    """Two devices with two workers each: copies of both networks, and the features of one worker."""
    devices = [torch.device("cpu")] * 2
    e = Evaluation(
        Generator(32, 3, widths=[4] * 4, classes=["a", "b", "c"]).eval(), "source", devices=devices, workers=2
    )
    first, again, other, _ = e.workers_of_devices
    assert first is again and first.network is not other.network and first.generator is not None
    one = Evaluation(e.generator, "source")
    assert torch.equal(e.sample_features(230), one.sample_features(230))
    assert torch.backends.cudnn.allow_tf32  # as before


def test_the_plan_counts_what_is_left(tiny):
    e = Evaluation(Tiny(), "source", batch_size=1000)
    rows = {name: PROTOCOLS[name] for name in ("fid_paper", "fid50k_train", "is_paper", "cas", "intra_fid")}
    work = plan.work_of(e, rows, seeds=2)
    assert work == (
        200_000,
        100_000,
        27_000,
        0,
        2 * (2 + 2 + 3),
    )  # two prefixes of 50,000 for each seed; 21,000 + 6,000 real images
    said = []
    assert list(evaluate(Tiny(), "source", ["fid50k_train"], batch_size=1000, say=said.append, plan_only=True)) == []
    assert (
        said[0].startswith("fid50k_train: 50,000 samples and 27,000 real images to score: about ")
        and " on cpu (" in said[0]
    )
    measured("fid50k_train")
    again = plan.work_of(Evaluation(Tiny(), "source"), {"fid50k_train": PROTOCOLS["fid50k_train"]})
    assert again == (0, 0, 0, 77_000, 2)
    measured("prdc10k", seed=1, seeds=2)
    assert plan.work_of(e, {"prdc10k": PROTOCOLS["prdc10k"]}, seeds=4) == (10_000, 0, 0, 3 * 10_000 + 20_000, 0)
    assert e.seed == 0
    assert [plan.in_words(s) for s in (0.1, 89, 90, 5000, 12_600)] == ["1 s", "89 s", "2 min", "83 min", "3.5 h"]


def test_needs_are_checked_before_anything_is_measured(tiny):
    tiny["train"] = tiny["train"]._replace(images=tiny["train"].images[:9000], labels=tiny["train"].labels[:9000])
    with pytest.raises(ValueError, match="prdc10k needs at least 10,000 training images .got 9,000."):
        evaluate(Tiny(), "source", ["fid_paper", "prdc10k"])
    uneven = np.repeat([0, 1, 2], [4300, 1600, 100])
    tiny["test"] = tiny["test"]._replace(labels=uneven)
    for name, text in (("fid5k_test", "1,667 test images of every class .got 100 of class c.; kid1k_held_out takes 20 or"),
                       ("kid1k_test", "334 test images of every class .got 100 of class c.")):  # fmt: skip
        for plan_only in (False, True):
            with pytest.raises(ValueError, match=f"data: {name} needs at least {text}"):
                evaluate(Tiny(), "source", ["kid1k_held_out", name], plan_only=plan_only)
    tiny["test"] = tiny["test"]._replace(labels=np.minimum(uneven, 1))
    with pytest.raises(ValueError, match="data: cas needs test images of every class .got 0 of class c."):
        evaluate(Tiny(), "source", ["cas"])
    with pytest.raises(ValueError, match="diversity needs at least 2 test images of every class .got 0 of class c."):
        evaluate(Tiny(), "source", ["diversity"], plan_only=True)
    data = tiny["train"]
    tiny["train"] = data._replace(images=data.images[:127], labels=data.labels[:127])
    tiny["test"] = tiny["test"]._replace(labels=np.arange(6000) % 3)
    for name in ("cas", "agreement2k"):
        with pytest.raises(ValueError, match=f"data: {name} needs at least 128 training images .got 127."):
            evaluate(Tiny(), "source", [name], plan_only=True)
    tiny["train"] = data._replace(classes=["a", "b", "other"])
    with pytest.raises(ValueError, match="the classes of source differ from those of the model"):
        evaluate(Tiny(), "source", ["cas"], plan_only=True)
    tiny["train"] = data
    plain = Generator(32, 0, widths=[4] * 4)
    for name in ("intra_fid", "cas", "agreement2k"):
        with pytest.raises(ValueError, match=f"{name} needs a conditional generator; this one is unconditional"):
            evaluate(plain, "source", [name])
    with pytest.raises(ValueError, match="seeds must be between 1 and 1,000 .got 0."):
        evaluate(Tiny(), "source", ["fid_paper"], seeds=0)


def test_the_hash_of_a_generator_is_that_of_its_file(tmp_path):
    import hashlib

    g = Generator(32, 2, widths=[4] * 4, classes=["left", "right"]).eval()
    g.save_pretrained(tmp_path / "g")
    e = Evaluation.__new__(Evaluation)
    e.generator, e.pictures = g, None
    assert e.weights_sha256 == hashlib.sha256((tmp_path / "g/model.safetensors").read_bytes()).hexdigest()


def test_cas_trains_on_samples_and_tests_on_real_images(monkeypatch):
    """Samples whose classes are the real ones give a high accuracy, shuffled ones chance; the code is agreement's."""
    asked = []

    def classifier(train, test, device, protocol="agreement2k"):
        asked.append((len(train.images), len(test.images), protocol))
        return SimpleNamespace(accuracy=0.9 - len(asked) / 10, recall=(0.5, 0.6), name="a CNN")

    monkeypatch.setattr(measures, "classifier", classifier)
    real = Images(np.zeros((300, 3, 2, 2), np.uint8), np.arange(300) % 2, ["a", "b"])
    batches = ((torch.zeros(5000, 3, 2, 2, dtype=torch.uint8), torch.arange(5000) % 2) for _ in range(10))
    e = SimpleNamespace(
        samples=lambda start, stop: batches, device="cpu", classes=real.classes,
        real=SimpleNamespace(test=real, train=real._replace(images=real.images[:200])),
    )  # fmt: skip
    score = measures.cas(e)
    assert asked == [(50_000, 300, "cas"), (200, 300, "cas")] and (score.value, score.floor) == (0.8, 0.7)
    assert score.per_class == {"a": 0.5, "b": 0.6} and score.n == 50_000


@pytest.mark.slow
def test_the_classifier_of_samples_is_judged_by_real_images(image_folder, tmp_path, monkeypatch):
    from sngan_hub.data import load_images
    from sngan_hub.metrics.classifier import classifier

    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / "cache"))
    real = load_images(str(image_folder), "all")
    many = Images(np.concatenate([real.images] * 40), np.concatenate([real.labels] * 40), real.classes)
    right = classifier(many, real)
    assert right.accuracy > 0.9 and np.mean(right.recall) == pytest.approx(right.accuracy)
    wrong = classifier(many._replace(labels=1 - many.labels), real)  # generated images of the other class
    assert wrong.accuracy < 0.1
