"""Scores against closed forms, the protocols' shared sequence, and the real Inception against known features."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sngan_hub.data import Images, load_images
from sngan_hub.data.images import Rows
from sngan_hub.metrics import extraction, measures, protocols, real_images
from sngan_hub.metrics.classifier import build
from sngan_hub.metrics.protocols import Evaluation, evaluate
from sngan_hub.metrics.references import in_shares, interleaved
from sngan_hub.metrics.scores import fid, kid, mean_pairwise_distance
from sngan_hub.networks.resnet import Generator
from sngan_hub.sampling.generate import as_tensor
from training.config.schema import make_config
from training.monitor.score import check_data_for_scores, check_scoring

pytest.importorskip("torch_fidelity")


def gaussian(mean, covariance, n=4000):
    """n points whose sample mean and covariance are exactly these."""
    x = np.random.default_rng(0).standard_normal((n, len(mean)))
    x = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return torch.from_numpy(x @ np.linalg.cholesky(covariance).T + mean)


def test_fid_is_the_closed_form_for_gaussians():
    a, b = np.diag([1.0, 4.0, 0.25]), np.diag([9.0, 1.0, 0.25])
    mean = np.array([1.0, 0, 2])
    expected = 5 + sum((np.sqrt(p) - np.sqrt(q)) ** 2 for p, q in zip(np.diag(a), np.diag(b), strict=True))
    assert fid(gaussian(np.zeros(3), a), gaussian(mean, b)) == pytest.approx(expected, rel=1e-6)
    assert fid(gaussian(mean, a), gaussian(mean, a)) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="fid needs at least 2 images .*got 1 and 5"):
        fid(torch.zeros(1, 3), torch.zeros(5, 3))


def test_kid_is_unbiased_and_agrees_with_torch_fidelity():
    from torch_fidelity.metric_kid import kid_features_to_metric

    rng = torch.Generator().manual_seed(0)
    a, b = torch.randn(200, 8, generator=rng), torch.randn(200, 8, generator=rng) + 0.5
    theirs = kid_features_to_metric(a, b, kid_subsets=1, kid_subset_size=200, kid_kernel="poly", kid_kernel_poly_degree=3,
                                    kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1, rng_seed=0, verbose=False)  # fmt: skip
    assert kid(a, b) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-5)
    same = [kid(*torch.randn(2, 50, 8, generator=rng)) for _ in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / 200**0.5 and min(same) < 0  # a biased one is never negative


@pytest.mark.parametrize("side", [32, 48, 128, 299, 400])
def test_resize_is_tensorflow_1s(side):
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    from sngan_hub.metrics.inception import resize_like_tensorflow1

    x = torch.randint(0, 256, (2, 3, side, side + 8)).float()
    expected = interpolate_bilinear_2d_like_tensorflow1x(x, size=(299, 299), align_corners=False)
    assert (resize_like_tensorflow1(x) - expected).abs().max() < 2e-3  # of 255
    modern = torch.nn.functional.interpolate(x, (299, 299), mode="bilinear")
    assert side == 299 or (modern - expected).abs().max() > 1


def test_pairwise_distance():
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    assert mean_pairwise_distance(x) == pytest.approx(10 / 3)


def test_real_images_are_interleaved_by_class():
    labels = np.array([1, 0, 0, 1, 1, 0])
    data = Images(np.zeros((6, 3, 2, 2), np.uint8), labels, ["a", "b"])
    assert interleaved(data, 4).tolist() == [1, 0, 2, 3] and len(interleaved(data, None)) == 6
    with pytest.raises(ValueError, match="at least 4 real images .got 3 "):
        interleaved(data, 8)
    uneven = data._replace(labels=np.array([1, 1, 1, 0, 1, 0]))
    assert interleaved(uneven, None, balanced=False).tolist() == [3, 0, 5, 1, 2, 4]
    assert interleaved(uneven, 3, balanced=False).tolist() == [3, 0, 5]
    assert in_shares(data).tolist() == interleaved(data, None).tolist(), "as the shipped records were measured"
    assert sorted(in_shares(uneven)) == list(range(6)) and uneven.labels[in_shares(uneven)[:3]].sum() == 2


def few(folder):
    """A folder of two images, one of each class."""
    for name in ("left", "right"):
        (folder.parent / "few" / name).mkdir(parents=True)
        (folder / name / "00.png").rename(folder.parent / "few" / name / "00.png")
    return folder.parent / "few"


def test_kid_against_whatever_was_held_out(tmp_path, image_folder, monkeypatch):
    """The samples have the held-out images' classes in their shares; with a folder of them, all of the data train."""
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / "cache"))
    for i in range(1, 20):
        (image_folder / "right" / f"{i:02d}.png").unlink()
    g = Generator(32, 2, widths=[8, 8, 4, 4], classes=["right", "left"]).eval()
    e = Evaluation(g, str(image_folder), held_out=str(image_folder))
    e.__dict__["inception"] = None
    assert e.real.test.classes == ["right", "left"] and len(e.real.train.images) == len(e.real.test.images) == 21
    monkeypatch.setattr(extraction, "features_of", lambda net, x, precision: of_pixels(net, x, precision) / 255)
    asked, draw = [], Evaluation.draw
    monkeypatch.setattr(Evaluation, "draw", lambda self, *a: (b := draw(self, *a), asked.append(b[1]))[0])
    score = measures.kid1k_held_out(e)
    assert torch.cat(asked).bincount().tolist() == [48, 952] and score.n == 1000
    assert "21 held-out images" in score.evaluator and score.value > abs(score.floor)
    with pytest.raises(ValueError, match="kid1k_held_out needs at least 20 held-out images .got 2."):
        protocols.check(Evaluation(g, str(image_folder), held_out=str(few(image_folder))), "kid1k_held_out")


def test_fid_paper_is_against_all_test_images():
    """5,000 samples against every test image, the reference in no way balanced; the floor by as many training images."""
    rng = np.random.default_rng(0)
    rows = {name: torch.from_numpy(rng.normal(i, 1, (n, 4))) for i, (name, n) in enumerate(
        {"test": 5_700, "train": 9_000, "samples": 9_000}.items())}  # fmt: skip

    class Stub:
        evaluator = "stub"
        test = Images(np.zeros((5_700, 3, 1, 1), np.uint8), np.zeros(5_700, int), ["a"])
        real = SimpleNamespace(held_out="", test=test, split=lambda name: Stub.real.test)

        def real_features(self, split, n, balanced=True):
            assert balanced == (split == "train")
            return rows[split][:n]

        def sample_features(self, n):
            return rows["samples"][:n]

    score = measures.fid_paper(Stub())
    assert score.value == fid(rows["samples"][:5000], rows["test"]) and score.evaluator == "stub; 5,700 test images"
    assert score.floor == fid(rows["train"][:5000], rows["test"]) and score.n == 5000 and score.value > score.floor > 1
    Stub.real.test = Stub.test._replace(images=Stub.test.images[:4_999])
    with pytest.raises(ValueError, match="fid_paper needs at least 5,000 test images .got 4,999."):
        protocols.check(Stub(), "fid_paper")


@pytest.fixture
def shared(image_folder):
    g = Generator(32, 2, widths=[8, 8, 4, 4]).eval()
    return Evaluation(g, str(image_folder), seed=3)


def test_samples_are_a_prefix_of_one_sequence(shared, monkeypatch):
    whole = torch.cat([x for x, _ in shared.samples(0, 120)])
    labels = torch.cat([y for _, y in shared.samples(0, 120)])
    assert torch.equal(labels, torch.arange(120) % 2)
    for start, stop in ((0, 30), (30, 120)):
        assert (torch.cat([x for x, _ in shared.samples(start, stop)]).int() - whole[start:stop].int()).abs().max() <= 1
    asked = []
    monkeypatch.setattr(extraction, "features_of", lambda *a: asked.append(len(a[1])) or of_pixels(*a))
    shared.__dict__["inception"] = None
    small, large = shared.sample_features(40), shared.sample_features(100)
    assert asked == [40, 50, 10] and torch.equal(small, large[:40])


def test_real_features_are_kept_as_the_longest_prefix(shared, monkeypatch, tmp_path):
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / "cache"))
    asked = []
    monkeypatch.setattr(extraction, "features_of", lambda *a: asked.append(len(a[1])) or of_pixels(*a))
    shared.__dict__["inception"] = None
    small, large, again = (shared.real_features("train", n) for n in (6, 20, 10))
    assert asked == [6, 14] and torch.equal(small, large[:6]) and torch.equal(again, large[:10])
    expected = shared.real.train.images[interleaved(shared.real.train, 20)].reshape(20, -1)[:, :2048]
    assert np.array_equal(large.numpy(), expected)


def test_agreement_counts_the_class_that_was_asked_for(shared, monkeypatch):
    class Judge:
        accuracy, name = 0.97, "judge"

        def predict(self, images):
            return torch.where(torch.arange(len(images)) < 500, torch.arange(len(images)) % 2, 0)

    monkeypatch.setattr(measures, "classifier", lambda train, test, device: Judge())
    score = measures.agreement2k(shared)
    assert score.value == pytest.approx((500 + 750) / 2000) and score.floor == 0.97 and score.n == 2000
    assert score.per_class["left"] == 1.0 and score.per_class["right"] == pytest.approx(0.25)


def test_diversity_is_a_ratio_within_classes(shared, monkeypatch):
    rng = torch.Generator().manual_seed(0)
    real, fake = torch.randn(1000, 2048, generator=rng), torch.randn(200, 2048, generator=rng)
    fake[1::2] *= 0.5
    monkeypatch.setattr(shared, "real_features", lambda split, n: real)
    monkeypatch.setattr(shared, "sample_features", lambda n: fake[:n])
    score = measures.diversity(shared)
    assert score.per_class["left"] == pytest.approx(1, abs=0.02) and score.per_class["right"] == pytest.approx(
        0.5, abs=0.02
    )
    assert score.floor == pytest.approx(1)


def of_pixels(net, images, precision="fp32"):
    """In Inception's place: the first 2,048 pixels."""
    return as_tensor(images).flatten(1)[:, :2048].float()


def many(monkeypatch, tmp_path, n_classes, per_class, training=0, own=True):
    """An evaluation of noise against random images, with pixels in place of Inception's features."""

    def noise(self, which, labels=None, generator=None):
        cycle = torch.arange(self.n_classes) if labels is None else torch.from_numpy(labels)
        x = np.random.default_rng(which[0]).integers(0, 256, (len(which), 3, 32, 32), dtype=np.uint8)
        return torch.from_numpy(x), cycle[which % len(cycle)]

    monkeypatch.setattr(Evaluation, "draw", noise)
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(extraction, "features_of", of_pixels)
    rng, names = np.random.default_rng(0), [f"c{i:03d}" for i in range(n_classes)]
    images = {
        split: Images(rng.integers(0, 256, (n_classes * n, 3, 32, 32), dtype=np.uint8), np.arange(n_classes).repeat(n), names)
        for split, n in (("test", per_class), ("train", training or per_class + 1))
    }  # fmt: skip
    monkeypatch.setattr(real_images, "load_images", lambda source, split, *_, **__: images[split])
    e = Evaluation(
        Generator(32, n_classes if own else 0, widths=[4] * 4, classes=names if own else None).eval(), "random"
    )
    e.__dict__["inception"] = None
    return e


def test_ten_classes_are_measured_as_ever(monkeypatch, tmp_path):
    """Bit for bit as the shipped records were: a hundred test images, samples and training images of each class."""
    e = many(monkeypatch, tmp_path, 10, 100, 500)
    real, again, fake = e.real_features("test", 1000), e.real_features("train", 1000), e.sample_features(1000)
    base = [mean_pairwise_distance(real[c::10]) for c in range(10)]
    score = measures.diversity(e)
    assert list(score.per_class.values()) == [mean_pairwise_distance(fake[c::10]) / base[c] for c in range(10)]
    assert score.value == float(np.mean(list(score.per_class.values()))) and score.n == 1000
    assert score.floor == float(np.mean([mean_pairwise_distance(again[c::10]) / base[c] for c in range(10)]))
    assert score.evaluator == e.evaluator


def test_many_classes_are_measured_on_fifty_of_them(monkeypatch, tmp_path):
    """Each with as many images as the others; the score names what was measured, and is a number."""
    e = many(monkeypatch, tmp_path, 600, 3)
    asked, draw = [], Evaluation.draw
    monkeypatch.setattr(Evaluation, "draw", lambda self, *a: (b := draw(self, *a), asked.append(b[1]))[0])
    score = measures.diversity(e)
    assert np.isfinite(score.value) and np.isfinite(score.floor) and score.n == 5000 and len(score.per_class) == 50
    chosen = torch.cat(asked).bincount(minlength=600)
    assert set(chosen.tolist()) == {0, 100} and chosen[[0, 599]].tolist() == [100, 100]
    assert "; 3 test and 4 training images of each class; 50 of 600 classes" in score.evaluator
    real = e.real.test.images[e.real.test.labels == 599].reshape(3, -1)[:, :2048].astype(np.float32)
    fake = torch.cat([of_pixels(None, x[y == 599]) for x, y in e.samples(0, 5000, np.flatnonzero(chosen))])
    expected = mean_pairwise_distance(fake) / mean_pairwise_distance(torch.from_numpy(real))
    assert score.per_class["c599"] == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="diversity needs at least 2 test images of every class .got 1 of class c000."):
        measures.diversity(many(monkeypatch, tmp_path, 3, 1))


def test_diversity_of_a_generator_without_classes(monkeypatch, tmp_path):
    score = measures.diversity(many(monkeypatch, tmp_path, 3, 5, own=False))
    assert np.isfinite(score.value) and score.per_class is None and "15 real images of each split" in score.evaluator


def test_classes_are_matched_by_name(image_folder, monkeypatch, capsys):
    """Never by position where both have names: another set of classes would give every class another's images."""

    def measured(classes):
        return Evaluation(Generator(32, 2, widths=[4] * 4, classes=classes), str(image_folder)).real.test

    assert measured(["right", "left"]).classes == ["right", "left"] and not capsys.readouterr().err
    with pytest.raises(ValueError, match="differ from those of the model: 1 not in the model .left., 1 only in "
                                         "the model .centre."):  # fmt: skip
        measured(["centre", "right"])
    assert measured(None).classes == ["left", "right"]
    said = capsys.readouterr().err
    assert "has no class names" in said and "(from left to right)" in said and said.count("\n") == 1
    for name, synset in (("left", "n02123045"), ("right", "n01440764")):  # tabby and tench, as ImageNet's folders
        (image_folder / name).rename(image_folder / synset)
    turned = measured(["tabby", "tench"])
    assert turned.classes == ["tabby", "tench"] and turned.images[turned.labels == 0].mean() > turned.images.mean()
    own = measured(["n02123045", "n01440764"])  # of a model that was trained on these folders
    assert own.classes == turned.classes and own.sha256() == turned.sha256()


def test_a_classifier_without_a_step_judges_nothing(image_folder, tmp_path, monkeypatch):
    from sngan_hub.metrics.classifier import BATCH, classifier

    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / "cache"))
    data = load_images(str(image_folder), "train")
    with pytest.raises(ValueError, match=f"agreement2k needs {BATCH} or more training images .got 36."):
        classifier(data, data)
    assert not (tmp_path / "cache").exists()


def test_names_are_checked_before_anything_is_measured(image_folder):
    with pytest.raises(ValueError, match="there is no protocol 'fid50'; the nearest are"):
        evaluate(Generator(32, 2, widths=[4] * 4), str(image_folder), ["kid1k_test", "fid50"])
    with pytest.raises(ValueError, match="must have 3 classes, as the model .got 2."):
        evaluate(Generator(32, 3, widths=[4] * 4), str(image_folder), ["kid1k_test"])


def test_the_classifier_is_small():
    assert sum(p.numel() for p in build(10).parameters()) == 288_746


@pytest.mark.slow
def test_inception_gives_the_known_features():
    """Golden: the graph's features of two fixed pictures, by an independent implementation of the same file."""
    from sngan_hub.metrics.inception import features, find_weights, load_inception

    try:
        find_weights()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    with np.load("tests/golden/inception.npz", allow_pickle=False) as golden:
        found = features(load_inception(), [golden["images"]], 2)
        assert np.abs(found.numpy() - golden["features"]).max() < 1e-3
    assert found.shape == (2, 2048)


@pytest.mark.slow
def test_another_inception_file_is_refused(tmp_path):
    from sngan_hub.metrics.inception import load_inception

    (tmp_path / "x.pt").write_bytes(b"x")
    with pytest.raises(ValueError, match="sha1 must be .*; use the 2015 Inception"):
        load_inception(tmp_path / "x.pt")


def test_held_out_images_may_have_synsets_where_the_training_images_have_names(image_folder, tmp_path, monkeypatch):
    """Prepared ImageNet has the classes' names, its folder of validation images the synsets."""
    from sngan_hub.metrics import inception

    monkeypatch.setattr(inception, "find_weights", lambda: None)
    named, synsets = tmp_path / "named", tmp_path / "synsets"
    for name, synset, source in (("tabby", "n02123045", "left"), ("tench", "n01440764", "right")):
        shutil.copytree(image_folder / source, named / name)
        shutil.copytree(image_folder / source, synsets / synset)
    for training, held_out in ((named, synsets), (synsets, named)):
        check_scoring(make_config("fashion32", data=str(training), held_out=str(held_out), score_every=1))
    (synsets / "n02123045").rename(synsets / "n02123159")  # tiger cat
    with pytest.raises(ValueError, match="held_out must have the classes of .*with other classes"):
        check_scoring(make_config("fashion32", data=str(named), held_out=str(synsets), score_every=1))


def test_held_out_images_without_class_folders_serve_one_class_or_none(image_folder, tmp_path, monkeypatch):
    """The class of such a folder has the folder's name."""
    from sngan_hub.metrics import inception

    monkeypatch.setattr(inception, "find_weights", lambda: None)
    flat, one = shutil.copytree(image_folder / "left", tmp_path / "others"), tmp_path / "one"
    shutil.copytree(image_folder / "left", one / "cat")
    for data, conditioning in ((image_folder, "none"), (one, "none"), (one, "projection")):
        fields = {"score_every": 1, "conditioning": conditioning, "score": "kid1k_held_out"}
        config = make_config("fashion32", data=str(data), held_out=str(flat), **fields)
        check_scoring(config)
        classes = ["cat"] if conditioning == "projection" else None
        g = Generator(32, len(classes or []), widths=[4] * 4, classes=classes)
        check_data_for_scores(g, config)
        e = Evaluation(g, str(data), held_out=str(flat))
        assert len(e.real.test.images) == 20 and len(e.real.train.images) == len(load_images(str(data), "all").images)
        assert e.real.test.labels.max() == e.real.train.labels.max() == 0 and e.classes == (classes or ["others"])
    with pytest.raises(ValueError, match="held_out must have the classes of .*with other classes"):
        check_scoring(make_config("fashion32", data=str(image_folder), held_out=str(flat), score_every=1))


def test_training_images_are_mixed_where_they_lose_their_classes(image_folder, tmp_path):
    """The first n of them are the reference or the floor of many protocols: they must be of all folders."""
    flat = shutil.copytree(image_folder / "left", tmp_path / "others")
    for i in range(10):
        (image_folder / "right" / f"{i:02d}.png").unlink()
    e = Evaluation(Generator(32, 0, widths=[4] * 4), str(image_folder), held_out=str(flat))
    left = e.real.train.images[:12].reshape(12, -1).max(1) == 255
    assert left.sum() == 8 and len(e.real.train.images) == 30, "two thirds, as of all"
    prepared = load_images(str(image_folder), "all")._replace(digest="abc")
    prepared = prepared._replace(images=Rows(prepared.images, np.arange(30)))
    assert np.array_equal(e.real._matched(prepared, "source").images[:], e.real.train.images)
    assert e.real._matched(prepared, "source").digest != prepared.as_one_class().digest, "features in another order"
    alone = prepared._replace(labels=prepared.labels * 0, classes=["one"])
    assert e.real._matched(alone, "source").digest == alone.as_one_class().digest


def test_real_images_of_a_folder_are_stretched_where_the_generators_were(image_folder):
    g = Generator(32, 2, widths=[4] * 4, classes=["left", "right"])
    plain, stretched = (Evaluation(g, str(image_folder), stretch=stretch) for stretch in (False, True))
    for split in ("test", "train"):
        expected = load_images(str(image_folder), split, 32, True).images
        assert np.array_equal(np.sort(stretched.real.split(split).images, 0), np.sort(expected, 0))
        assert not np.array_equal(plain.real.split(split).images, stretched.real.split(split).images)


def test_a_set_without_test_images_serves_protocols_that_need_none(image_folder, tmp_path):
    """As ImageNet prepared by the paper's preset: all of its images are training images."""
    from training.__main__ import main

    assert main(["prepare", str(image_folder), str(tmp_path / "out"), "--size", "32", "--test-every", "0"]) == 0
    e = Evaluation(Generator(32, 2, widths=[4] * 4, classes=["right", "left"]), str(tmp_path / "out"))
    assert e.classes == e.real.train.classes == ["right", "left"] and len(e.real.train.images) == 40
    protocols.check(e, "is_paper")
    protocols.check(e, "fid50k_train")
    for name in ("kid1k_held_out", "agreement2k"):
        with pytest.raises(ValueError, match="prepared without a test split"):
            protocols.check(e, name)
