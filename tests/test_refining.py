"""Rejection and Langevin sampling against distributions that are known, and the calibration they rest on."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from sngan_hub import Discriminator, Generator, load_discriminator, load_generator
from sngan_hub.cli.main import main as sngan
from sngan_hub.data import draw_avatars
from sngan_hub.hub.calibrations import load_calibration
from sngan_hub.metrics.discriminator_scores import scores_of
from sngan_hub.sampling.generate import latents, sample
from sngan_hub.sampling.refine import (
    CALIBRATION,
    Calibration,
    gamma_for,
    in_double,
    langevin,
    maker,
    read_calibration,
    save_calibration,
)
from sngan_hub.weights.record import PRETRAINED
from training.__main__ import main as training
from training.config.schema import make_config, save_config
from training.finetune import calibrate as calibrating
from training.finetune.calibrate import calibrate, held_out_split

PLAIN = dict(slope=1.0, offset=0.0, acceptance=0.25, real=1, generated=1, seed=0)


class Coin(nn.Module):
    """Pictures that are all white or all black: P(white) is a half; with classes, 0.5 and 0.9."""

    kind, size, z_dim, classes = "generator", 2, 3, None

    def __init__(self, n_classes=0):
        super().__init__()
        self.n_classes, self.p = n_classes, nn.Parameter(torch.tensor([0.5, 0.9]))

    def forward(self, z, y=None):
        white = torch.special.ndtr(z[:, 0]) < (0.5 if y is None else self.p[y])
        return (white.float() * 2 - 1)[:, None, None, None].expand(-1, 3, 2, 2).contiguous()


class Judge(nn.Module):
    """The exact log ratio of P(white) = 0.8, for each class, to the coin's."""

    kind, size, classes = "discriminator", 2, None

    def __init__(self, n_classes=0):
        super().__init__()
        self.n_classes = n_classes

    def forward(self, x, y=None):
        p = torch.tensor(0.5) if y is None else torch.tensor([0.5, 0.9])[y]
        return torch.where(x[:, 0, 0, 0] > 0, (0.8 / p).log(), (0.2 / (1 - p)).log())[:, None]


def test_with_gamma_zero_acceptance_is_the_ratio_to_the_largest():
    c = Calibration(**{**PLAIN, "slope": 2.0, "offset": 1.0}, max_log_ratio=[3.0, 5.0], gamma=[0.0, 0.0])
    ratio = c.log_ratio(torch.tensor([1.0, 0.5, 4.0]))
    assert torch.equal(ratio, torch.tensor([3.0, 2.0, 9.0]))
    p = c.acceptance_of(ratio, torch.tensor([1, 0, 1]))
    assert torch.allclose(p, torch.tensor([np.exp(-2), np.exp(-1), 1.0]).double(), atol=1e-6)


def test_gamma_sets_the_mean_acceptance():
    ratios = torch.randn(5000, dtype=torch.float64) * 3
    for share in (0.1, 0.25, 0.7):
        gamma = gamma_for(ratios - ratios.max(), share)
        c = Calibration(**PLAIN, max_log_ratio=[float(ratios.max())], gamma=[gamma])
        assert float(c.acceptance_of(ratios, None).mean()) == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize("n_classes", [0, 2])
def test_rejection_draws_from_the_distribution_that_the_judge_knows(n_classes):
    largest = [np.log(1.6), np.log(2.0)][: max(n_classes, 1)]
    c = Calibration(**PLAIN, max_log_ratio=largest, gamma=[0.0] * len(largest))
    g, d = Coin(n_classes), Judge(n_classes)
    make = maker("rejection", g, d, c, None)
    images = sample(g, [0, 1] if n_classes else None, 4000, 5, None, 50, make)
    white = (images[:, 0, 0, 0] > 0).float().view(-1, 4000).mean(1)
    assert torch.allclose(white, torch.full_like(white, 0.8), atol=0.025)
    plain = (sample(g, [0, 1] if n_classes else None, 4000, 5)[:, 0, 0, 0] > 0).float().view(-1, 4000).mean(1)
    assert torch.allclose(plain, torch.tensor([0.5, 0.9])[: len(plain)], atol=0.025)


@pytest.mark.parametrize("method", ["rejection", "ddls"])
def test_an_image_is_a_function_of_seed_and_index(method):
    from sngan_hub import Discriminator, Generator

    torch.manual_seed(0)
    g = Generator(32, 2, widths=[8, 8, 4, 4]).eval()
    d = Discriminator(32, 2, widths=[4, 4, 4, 4], down="1100").eval()
    ratios = scores_of(d, sample(g, [0, 1], 50, 1)).double()
    gamma = gamma_for((ratios - ratios.max()).flatten(), 0.5)
    c = Calibration(**PLAIN, max_log_ratio=[float(ratios.max())] * 2, gamma=[gamma] * 2)
    make = maker(method, g, d, c, None)
    if method == "ddls":
        make = lambda *request: langevin(in_double(g), in_double(d), c, *request, steps=3)  # noqa: E731
    whole = sample(g, None, 40, 7, None, 40, make)
    for batch, n in ((7, 40), (40, 12)):
        assert (sample(g, None, n, 7, None, batch, make).int() - whole[:n].int()).abs().max() <= 1
    plain = sample(g, None, 40, 7)
    kept = (plain == whole).flatten(1).all(1)
    assert not kept.all() and (method == "ddls" or kept.any())  # a first candidate that is accepted is the plain image


def in_batches(make, g, n, pairs):
    """The same ``n`` pictures in batches of several sizes, on several numbers of threads."""
    threads = torch.get_num_threads()
    try:
        for batch, used in pairs:
            torch.set_num_threads(used)
            yield sample(g, None, n, 3, None, batch, make).int()
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("method", ["ddls", "rejection"])
def test_refined_pictures_do_not_depend_on_batch_or_threads(method):
    """The whole chain, steep enough that float32 ends in other pictures in another batch."""
    from sngan_hub import Discriminator, Generator

    torch.manual_seed(0)
    g, d = (
        Generator(16, 2, widths=[16, 8, 8], bottom_width=4).eval(),
        Discriminator(16, 2, widths=[8, 16], down="11").eval(),
    )
    ratios = 3000 * scores_of(d, sample(g, [0, 1], 50, 1)).double()
    gamma = gamma_for((ratios - ratios.max()).flatten(), 0.5)
    c = Calibration(**{**PLAIN, "slope": 3000.0}, max_log_ratio=[float(ratios.max())] * 2, gamma=[gamma] * 2)
    make = maker(method, g, d, c)
    if method == "ddls":  # fewer steps, on what maker makes of the pair
        make = lambda *request: langevin(in_double(g), in_double(d), c, *request, steps=20)  # noqa: E731
    first, *others = in_batches(make, g, 6, ((1, 1), (4, 1), (6, 2)))
    assert all((other - first).abs().max() <= 1 for other in others)


@pytest.mark.soak
@pytest.mark.slow
@pytest.mark.parametrize("method, n", [("ddls", 4), ("rejection", 20)])
def test_a_trained_pairs_refined_pictures_do_not_depend_on_batch_or_threads(method, n):
    g, d = load_generator("sngan_avatars32"), load_discriminator("sngan_avatars32")
    make = maker(method, g, d, load_calibration("sngan_avatars32"))
    first, *others = in_batches(make, g, n, ((1, 1), (n, 2)))
    assert all((other - first).abs().max() <= 1 for other in others)


def test_langevin_steps_reach_the_posterior():
    """p(z) ~ N(0, 1) exp(-k (z - a)^2 / 2): normal, with mean k a / (1 + k) and variance 1 / (1 + k)."""
    k, a = 3.0, 2.0

    class Plane(nn.Module):
        size, n_classes, z_dim = 1, 0, 3

        def forward(self, z, y=None):
            return z[:, :, None, None]

    class Bowl(nn.Module):
        size, n_classes = 1, 0

        def forward(self, x, y=None):
            return -k / 2 * ((x - a) ** 2).sum((1, 2, 3))[:, None]

    c = Calibration(**PLAIN, max_log_ratio=[0.0], gamma=[0.0])
    z, _ = latents(3, 0, 4000, 3)
    end = langevin(Plane(), Bowl(), c, z, None, 3, 0, steps=200, step_size=0.05)[..., 0, 0].float()
    assert torch.allclose(end.mean(0), torch.full((3,), k * a / (1 + k)), atol=0.03)
    assert torch.allclose(end.var(0), torch.full((3,), 1 / (1 + k)), atol=0.03)
    assert torch.allclose(torch.corrcoef(end.T), torch.eye(3), atol=0.06)


@pytest.fixture
def few(monkeypatch):
    """Fifty generated pictures of each class instead of 200, where the fit's arithmetic is what matters."""
    monkeypatch.setattr(calibrating, "PER_CLASS", 50)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """A copy of the avatars' pair without a calibration, and a folder of 200 pictures of two of its classes."""
    home = tmp_path_factory.mktemp("calibrated")
    for kind in ("generator", "discriminator"):
        shutil.copytree(PRETRAINED / "sngan_avatars32.v1" / kind, home / "pair" / kind,
                        ignore=shutil.ignore_patterns(CALIBRATION))  # fmt: skip
    names = ["moods", "planets"]
    for k, image in enumerate(draw_avatars(names, range(100), "calibration", 32)):
        path = home / "data" / names[k // 100] / f"{k % 100:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(path)
    return home / "pair", home / "data"


def test_without_a_calibration_it_says_how_to_get_one(calibrated, capsys):
    pair, _ = calibrated
    for flag in ("--rejection", "--ddls"):
        with pytest.raises(SystemExit):
            sngan(["sample", str(pair), flag, "--out", str(pair.parent / "x.png")])
        said = capsys.readouterr().err
        assert f"sngan probe --from {pair} --data FOLDER --calibrate" in said and said.count("\n") == 1
    with pytest.raises(SystemExit):
        sngan(["sample", str(pair), "--rejection", "--ddls", "--out", "x.png"])
    assert "not allowed with" in capsys.readouterr().err


def test_the_fit_is_the_logistic_regressions_optimum_on_held_out_pictures(calibrated, few):
    from sngan_hub.data import load_images

    pair, folder = calibrated
    c = calibrate(str(pair), str(folder), seed=1)
    g, d = load_generator(pair), load_discriminator(pair)
    assert c.real == 20 and c.generated == 500 and c.slope > 0
    test = load_images(str(folder), "test")
    labels = torch.tensor([g.classes.index(test.classes[label]) for label in test.labels])
    real = scores_of(d, test.images)[torch.arange(20), labels]
    fake = torch.cat([scores_of(d, g.for_sampling().sample([k], 50, 1 + k)[:10])[:, k] for k in labels.unique()])
    s, y = torch.cat([fake, real]).double(), torch.arange(2).repeat_interleave(20).double()
    residual = torch.sigmoid(c.log_ratio(s)) - y
    assert abs(float(residual.mean())) < 1e-4 and abs(float((residual * s).mean())) < 5e-3
    for k in (0, 7):
        ratios = c.log_ratio(scores_of(d, g.for_sampling().sample([k], 50, 1 + k))[:, k].double())
        assert float(ratios.max()) == pytest.approx(c.max_log_ratio[k], abs=1e-3)
        mean = c.acceptance_of(ratios, torch.full((50,), k)).mean()
        assert float(mean) == pytest.approx(0.25, abs=1e-3)


def test_the_ranges_are_the_10th_50th_and_90th_percentiles(calibrated, few):
    from sngan_hub.data import load_images

    pair, folder = calibrated
    g, d, ranges = load_generator(pair), load_discriminator(pair), calibrate(str(pair), str(folder), seed=1).ranges
    test = load_images(str(folder), "test")
    assert list(ranges) == sorted(test.classes, key=g.classes.index)
    for name, found in ranges.items():
        label = g.classes.index(name)
        real = scores_of(d, test.images[test.labels == test.classes.index(name)])[:, label]
        fake = scores_of(d, g.for_sampling().sample([label], 50, 1 + label))[:, label]
        for kind, scores in (("real", real), ("generated", fake)):
            assert found[kind] == pytest.approx(np.percentile(scores.numpy(), [10, 50, 90]).tolist(), abs=2e-4)
    assert calibrating.percentiles(torch.arange(101.0)) == [10, 50, 90]


def test_the_page_shows_the_ranges_of_a_calibrated_model(calibrated, few, tmp_path, monkeypatch):
    """Percentiles of the scores of held-out images of the class; a class with too few images has none."""
    pytest.importorskip("gradio")
    from space import models, views

    pair, folder = calibrated
    monkeypatch.setattr(calibrating, "FEWEST_OF_CLASS", 1)
    c = calibrate(str(pair), str(folder), seed=1)
    assert c.ranges and all(list(of) == ["real", "generated"] for of in c.ranges.values())
    assert all(q == sorted(q) and len(q) == 3 for of in c.ranges.values() for q in of.values())
    name = next(iter(c.ranges))
    k = load_generator(pair).classes.index(name)
    fake = scores_of(load_discriminator(pair), load_generator(pair).for_sampling().sample([k], 50, 1 + k))[:, k]
    assert abs(c.ranges[name]["generated"][1] - float(fake.quantile(0.5))) < 1e-2
    copy = tmp_path / "pair"
    shutil.copytree(pair, copy)
    save_calibration(c, copy / "discriminator")
    monkeypatch.setitem(models.OWN, "pair", str(copy))
    assert models.ranges_of("pair") == c.ranges
    shown = views.score_of("pair", name, {name: 0.0, "other": 1.0}, torch.zeros(3, 32, 32, dtype=torch.uint8))
    assert 'class="bar"' in shown and "--calibrate" not in shown
    without = views.score_of("pair", "other", {name: 0.0, "other": 1.0}, torch.zeros(3, 32, 32, dtype=torch.uint8))
    assert 'class="bar"' not in without and "sngan probe --from MODEL" in without


def test_from_the_command_to_pictures(calibrated, few, tmp_path, capsys):
    pair, folder = calibrated
    copy = tmp_path / "pair"
    shutil.copytree(pair, copy)
    assert training(["probe", "--from", str(copy), "--data", str(folder), "--calibrate"]) == 0
    assert "log ratio = " in capsys.readouterr().out
    pictures = {}
    for flag in ("--rejection", "--ddls", "--n=2"):
        out = tmp_path / f"{flag.strip('-')}.png"
        assert (
            sngan(["sample", str(copy), "--classes", "moods", "--n", "2", "--seed", "3", flag, "--out", str(out)]) == 0
        )
        with Image.open(out) as image:
            pictures[flag] = np.asarray(image)
            assert image.text.get("method") == (flag.strip("-") if "=" not in flag else None)
    assert not np.array_equal(pictures["--ddls"], pictures["--n=2"])
    with pytest.raises(SystemExit):
        sngan(["sample", str(copy), "--ddls", "--truncation", "1", "--out", str(tmp_path / "x.png")])
    assert "truncation cannot be combined with Langevin steps" in capsys.readouterr().err


def test_what_is_refused(calibrated, tmp_path, capsys):
    pair, folder = calibrated
    c = Calibration(**PLAIN, max_log_ratio=[0.0], gamma=[0.0])
    assert read_calibration(save_calibration(c, tmp_path)) == c
    for wrong in (
        "{",
        "[]",
        "{}",
        json.dumps({**vars(c), "slope": float("nan")}),
        json.dumps({**vars(c), "gamma": []}),
    ):
        (tmp_path / CALIBRATION).write_text(wrong)
        with pytest.raises(ValueError, match="not a valid calibration .*fit it again"):
            read_calibration(tmp_path / CALIBRATION)
    with pytest.raises(ValueError, match="calibration must have as many classes as the discriminator, 2 .got 1."):
        maker("rejection", Coin(2), Judge(2), c, None)
    with pytest.raises(ValueError, match="must have the same image size and number of classes"):
        maker("rejection", Coin(2), Judge(0), c, None)
    with pytest.raises(ValueError, match="method must be one of rejection, ddls .got 'best'."):
        maker("best", Coin(), Judge(), c, None)
    few = tmp_path / "few" / "moods"
    few.mkdir(parents=True)
    for i in range(12):
        shutil.copy(folder / "moods" / f"{i:02d}.png", few)
    with pytest.raises(ValueError, match=r"data must have 20 or more held-out images \(got 1 in "):
        calibrate(str(pair), str(few.parent))
    few.rename(few.with_name("mood"))
    with pytest.raises(
        ValueError, match=r"data must have the discriminator's classes only \(got 'mood'\); the nearest is moods"
    ):
        calibrate(str(pair), str(few.parent))


@pytest.mark.parametrize("classes, folders", [(["pets"], ["."]), (["n01440764", "n01443537"], ["goldfish", "tench"])])
def test_held_out_folders_have_the_names_that_training_accepts(classes, folders, few, tmp_path, monkeypatch):
    """One class may have any name, and synsets are names of ImageNet's classes."""
    torch.manual_seed(0)
    Generator(32, len(classes), widths=[4] * 4, classes=classes).save_pretrained(tmp_path / "pair/generator")
    Discriminator(32, len(classes), widths=[4] * 4, classes=classes).save_pretrained(tmp_path / "pair/discriminator")
    for k in range(200):
        path = tmp_path / "data" / folders[k % len(folders)] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (k, 0, 0)).save(path)
    monkeypatch.setattr(calibrating, "FEWEST", 10)
    asked = []
    monkeypatch.setattr(calibrating, "scores_of", lambda d, images: asked.append(len(images)) or torch.full(
        (len(images), len(classes)), 1.0 if len(asked) == 1 else 0.0).normal_(1.0 if len(asked) == 1 else 0.0))  # fmt: skip
    found = calibrate(str(tmp_path / "pair"), str(tmp_path / "data"))
    assert found.real == 20 and found.slope > 0
    if len(classes) == 1:
        shutil.copytree(tmp_path / "data", tmp_path / "several" / "cats")
        shutil.copytree(tmp_path / "data", tmp_path / "several" / "dogs")
        with pytest.raises(ValueError, match="data must have one class, as the discriminator .got 2: cats, dogs"):
            calibrate(str(tmp_path / "pair"), str(tmp_path / "several"))


def test_a_run_is_not_calibrated_on_what_it_was_trained_on(calibrated, few, tmp_path):
    """With ``held_out`` none every tenth image was trained on like the others; of a held-out folder all are fit."""
    pair, folder = calibrated
    run, other = tmp_path / "run", tmp_path / "others"
    shutil.copytree(pair, run)
    shutil.copytree(folder, other)

    def held_out(of, data=folder):
        config = make_config("finetune", data=str(data), held_out=str(of), donor="sngan_avatars32")
        save_config(config, run / "config.json")

    held_out("none")
    with pytest.raises(ValueError, match="data must not be training images"):
        calibrate(str(run), str(folder))
    assert held_out_split(str(run), str(other)) == "test"
    snapshot = run / "snapshots" / "0000002"
    for kind in ("generator", "discriminator"):
        shutil.copytree(run / kind, snapshot / kind)
    for part in (snapshot, snapshot / "discriminator", run / "discriminator"):
        with pytest.raises(ValueError, match="data must not be training images"):
            held_out_split(str(part), str(folder))
    with pytest.raises(ValueError, match="20 of 20 images are also training images"):  # in a copy as well
        calibrate(str(run), str(other))
    for path in other.rglob("*.png"):
        with Image.open(path) as image:
            image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    held_out(other)
    assert held_out_split(str(run), str(other)) == "all" and calibrate(str(run), str(other)).real == 200
    with pytest.raises(ValueError, match="data must not be training images"):
        calibrate(str(run), str(folder))
    held_out("tenth")
    assert held_out_split(str(run), str(folder)) == "test"
    assert held_out_split(str(pair), str(folder)) == held_out_split("sngan_avatars32", "avatars") == "test"


def test_a_device_without_float64_accepts_but_runs_no_langevin_steps(without_float64):
    c, g = Calibration(**PLAIN, max_log_ratio=[0.0], gamma=[0.0]), Coin()
    with without_float64:
        assert c.acceptance_of(torch.zeros(3, device="cuda"), None).device.type == "cpu"
        g.p = nn.Parameter(torch.empty(2, device="mps"))
        with pytest.raises(ValueError, match="device must be cpu or cuda for method ddls.*got mps.*rejection"):
            maker("ddls", g, Judge(), c)
