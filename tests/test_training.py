"""Draws, augmentation, averaging, schedules, configuration: each against its definition."""

import copy
import dataclasses
import json
import re

import numpy as np
import pytest
import torch

from sngan_hub.data import Images
from sngan_hub.networks.resnet import Generator
from training.config.schema import PRESETS, Config, differences, make_config
from training.engine.ema import update_ema
from training.engine.losses import LOSSES
from training.feed.augment import AUGMENTATIONS, augment, augment_draws, color, cutout, translation
from training.feed.draws import latents
from training.feed.streams import Stream, draws
from training.monitor.log import pixel_spread

from .conftest import real_batch


def some_images(n=20, size=8):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    return Images(rng.integers(0, 256, (n, 3, size, size), dtype=np.uint8), labels.astype(np.int64), ["a", "b"])


# Data


def test_batches_are_functions_of_their_position_and_epochs_are_permutations():
    data = some_images(20)
    batches = [real_batch(data, 3, position, 8) for position in range(5)]  # two epochs of 20
    again = real_batch(data, 3, 2, 8)
    assert torch.equal(again[0], batches[2][0]) and torch.equal(again[1], batches[2][1])
    x = torch.cat([images for images, _ in batches])
    y = torch.cat([labels for _, labels in batches])
    pixels = (x + 1) * 128  # x = p / 128 - 1 + U[0, 1/128)
    distance = (pixels[:, None] - torch.from_numpy(data.images)[None]).abs().amax((2, 3, 4))
    seen = distance.argmin(1)
    assert (distance.amin(1) <= 1.001).all() and torch.equal(y, torch.from_numpy(data.labels)[seen])
    epochs = seen[:20].tolist(), seen[20:].tolist()
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(20)) and epochs[0] != epochs[1]


def test_values_are_dequantised_as_the_authors_do():
    data = some_images(8)
    x, _ = real_batch(data, 0, 0, 8)
    noise = (x + 1) * 128 - torch.floor((x + 1) * 128)
    assert x.min() >= -1 and x.max() < 1.0001 and x.dtype == torch.float32
    assert noise.std().item() == pytest.approx(12**-0.5, rel=0.1)


def test_flips_are_flips():
    data = some_images(8)
    plain, _ = real_batch(data, 0, 0, 8)
    flipped, _ = real_batch(data, 0, 0, 8, True)
    whole = torch.floor((plain + 1) * 128)
    same = [torch.equal(torch.floor((b + 1) * 128), a) for a, b in zip(whole, flipped, strict=True)]
    mirrored = [torch.equal(torch.floor((b + 1) * 128), a.flip(2)) for a, b in zip(whole, flipped, strict=True)]
    assert all(a or b for a, b in zip(same, mirrored, strict=True)) and 0 < sum(mirrored) < 8


def test_streams_are_independent_and_repeatable():
    a = [draws(1, stream, 5).random(4).tolist() for stream in Stream]
    assert len({tuple(x) for x in a}) == len(Stream)
    assert draws(1, Stream.LATENT, 5, 1).random() != draws(1, Stream.LATENT, 5, 2).random()
    z, y = latents(1, 7, 0, 1000, 16, 10)
    assert torch.equal(z, latents(1, 7, 0, 1000, 16, 10)[0]) and z.shape == (1000, 16)
    assert (y.bincount(minlength=10) > 60).all() and latents(1, 7, 0, 4, 16, 0)[1] is None


# Augmentation


def draws_of(name, n, size):
    return torch.from_numpy(AUGMENTATIONS[name].draws(np.random.default_rng(0), n, size))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentation_is_differentiable_and_repeatable(name):
    x = torch.randn(6, 3, 16, 16, dtype=torch.float64, requires_grad=True)

    def seen(x, part=1):
        return augment(x, [name], [torch.from_numpy(own) for own in augment_draws([name], 0, 3, part, 6, 16)])

    y = seen(x)
    assert y.shape == x.shape and torch.equal(y, seen(x))
    assert not torch.equal(y, seen(x, part=2))
    probe = torch.randn_like(x)
    (grad,) = torch.autograd.grad((y * probe).sum(), x)
    step = 1e-6 * torch.randn_like(x)
    change = ((seen(x + step) - y) * probe).sum()
    assert change.item() == pytest.approx((grad * step).sum().item(), rel=1e-3, abs=1e-9)
    assert torch.equal(augment(x, [], []), x)


@pytest.mark.parametrize("name", ["color", "translation", "cutout"])
@pytest.mark.parametrize("size", [16, 512])
def test_augmentation_that_starts_late_leaves_earlier_images_as_they_are(name, size):
    x = torch.rand(4, 3, size, size) * 2 - 1

    def seen(step, start):
        return augment(
            x, [name], [torch.from_numpy(own) for own in augment_draws([name], 0, step, 1, 4, size, 1, start)]
        )

    assert (seen(6, start=7) - x).abs().max() < 1e-6
    assert not torch.equal(seen(7, start=7), x) and torch.equal(seen(7, start=7), seen(7, start=0))


def test_a_run_may_move_the_start_of_augmentation_that_has_not_begun():
    old = dataclasses.asdict(Config(augment="translation", augment_from=100))
    assert differences(old, Config(**{**old, "augment_from": 60}), 60) == []
    for start, done in ((59, 60), (200, 101)):
        changed = differences(old, Config(**{**old, "augment_from": start}), done)
        assert changed == [f"augment_from: was 100, now {start}"]


def test_color_keeps_what_it_should():
    grey = torch.rand(50, 1, 4, 4).expand(-1, 3, -1, -1)
    out = color(grey, draws_of("color", 50, 4))
    assert torch.allclose(out[:, 0], out[:, 1], atol=1e-6)  # no colour from grey
    shift = out.mean((1, 2, 3)) - grey.mean((1, 2, 3))
    assert shift.abs().max() <= 0.5 + 1e-5 and shift.std() > 0.2
    contrast = out.std((1, 2, 3)) / grey.std((1, 2, 3))
    assert 0.5 - 1e-4 <= contrast.min() and contrast.max() <= 1.5 + 1e-4


def test_color_by_its_formula():
    x = torch.rand(2, 3, 4, 4)
    grey, mean = x.mean(1, keepdim=True), x.mean((1, 2, 3), keepdim=True)
    for u, expected in (([0.7, 0.5, 0.5], x + 0.2), ([0.5, 0.9, 0.5], grey + 1.8 * (x - grey)),
                        ([0.5, 0.5, 0.1], mean + 0.6 * (x - mean))):  # fmt: skip
        found = color(x, torch.tensor(u)[:, None, None, None, None].expand(3, 2, 1, 1, 1))
        assert torch.allclose(found, expected, atol=1e-6)


def test_translation_moves_whole_pixels_by_an_eighth():
    x = torch.zeros(200, 3, 16, 16)
    x[:, :, 8, 8] = 1
    moved = translation(x, draws_of("translation", 200, 16))
    places = moved[:, 0].flatten(1).argmax(1)
    rows, columns = places // 16 - 8, places % 16 - 8
    assert set(rows.tolist()) == set(columns.tolist()) == set(range(-2, 3))
    assert torch.equal(moved.sum((1, 2, 3)), torch.full((200,), 3.0))


def test_cutout_removes_at_most_half_the_side():
    gone = (cutout(torch.ones(300, 3, 16, 16), draws_of("cutout", 300, 16)) == 0)[:, 0].float().sum((1, 2))
    assert gone.max() == 64 and gone.min() >= 16 and gone.std() > 5


# Average, schedule, gauge, losses


def test_average_follows_weights_and_statistics():
    g = Generator(32, 2, widths=[4, 4, 4, 4])
    average = copy.deepcopy(g)
    with torch.no_grad():
        for tensor in [*g.parameters(), *(b for b in g.buffers() if b.is_floating_point())]:
            tensor.add_(1)
        g.bn.num_batches_tracked += 7
    before = {k: v.clone() for k, v in average.state_dict().items()}
    update_ema(average, g, 0.9, step=10**6)
    for name, value in average.state_dict().items():
        expected = before[name] + 0.1 if value.is_floating_point() else g.state_dict()[name]
        assert torch.allclose(value, expected, atol=1e-6), name
    update_ema(average, g, 0.9, step=0)  # warm-up: a tenth of the old is kept
    assert torch.allclose(average.conv.weight, g.conv.weight - 0.9 * 0.1, atol=1e-6)


def test_learning_rate_is_linear_shift_with_its_off_by_one():
    config = make_config("fashion32", decay_from=2, decay_to=6, steps=6)
    assert [config.lr_scale(step) for step in range(8)] == [1, 1, 1, 0.75, 0.5, 0.25, 0, 0]
    from_start = make_config("fashion32", decay_from=0, decay_to=4)
    assert [from_start.lr_scale(step) for step in range(5)] == [1, 0.75, 0.5, 0.25, 0]


def test_class_strength_ramps():
    config = make_config("fashion32", transition_from=10, transition_to=20)
    assert [config.class_strength(s) for s in (0, 10, 15, 20, 99)] == [0, 0, 0.5, 1, 1]
    assert make_config("fashion32", transition_from=0, transition_to=0).class_strength(0) == 1
    at_once = make_config("fashion32", transition_from=10, transition_to=10)
    assert [at_once.class_strength(s) for s in (0, 9, 10, 11)] == [0, 0, 1, 1]


def test_spread_is_zero_for_one_picture_and_one_for_the_data():
    one = torch.randn(1, 3, 16, 16).expand(10, -1, -1, -1)
    assert pixel_spread(one, 10).item() == pytest.approx(0, abs=1e-3)
    x = torch.randn(40, 3, 8, 8)
    manual = torch.pdist(x[:20].flatten(1)).mean()
    assert pixel_spread(x, 20)[0].item() == pytest.approx(manual.item(), rel=1e-4)


def test_a_line_of_the_log(monkeypatch, tmp_path):
    """The spread over that of the data, and seconds per step since the last line."""
    from training.monitor import log as logging

    clock = iter([100.0, 130.0, 190.0])
    monkeypatch.setattr(logging, "pixel_spread", lambda samples, per_class: samples)
    monkeypatch.setattr(logging.time, "perf_counter", lambda: next(clock))
    log = logging.Log(tmp_path, 10, torch.tensor([1.0, 2.0]))
    log.write(20, {"loss_d": 0.5}, torch.tensor([3.0, 2.0]), waited=5.0)
    log.write(50, {"loss_d": 0.25}, torch.tensor([1.0, 1.0]), waited=11.0)
    log.close()
    assert logging.read_log(tmp_path) == [
        {"step": 20, "loss_d": 0.5, "spread": 2.0, "spread_worst": 1.0, "seconds_per_step": 3.0, "data_wait_per_step": 0.5},
        {"step": 50, "loss_d": 0.25, "spread": 0.75, "spread_worst": 0.5, "seconds_per_step": 2.0, "data_wait_per_step": 0.2},
    ]  # fmt: skip


def test_the_status_of_a_run_in_hours(tmp_path):
    from training.monitor.status import status

    (tmp_path / "config.json").write_text(json.dumps({"preset": "fashion32", "steps": 1000, "n_dis": 1}))
    rows = [{"step": step, "seconds_per_step": seconds} for step, seconds in ((50, 9.0), (75, 3.6), (100, 3.0))]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = status(tmp_path)
    assert (found["step"], found["done"], found["hours_left"]) == (100, "10.0%", 0.9)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_by_their_formulas(name):
    real, fake = torch.randn(2, 7, 1, dtype=torch.float64)
    loss, r, f = LOSSES[name], real.numpy(), fake.numpy()
    if name == "wasserstein":
        expected, generator = f.mean() - r.mean(), -f.mean()
    elif name == "hinge":
        expected = np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean()
        generator = -f.mean()
    else:
        expected = np.log1p(np.exp(-r)).mean() + np.log1p(np.exp(f)).mean()
        generator = np.log1p(np.exp(-f)).mean()
    assert loss.discriminator(real, fake).item() == pytest.approx(expected.item())
    assert loss.generator(fake).item() == pytest.approx(generator.item())


# Configuration


PUBLISHED = {  # iterations, decay from, n_dis, D batch, G batch, G and D parameters, as their sources state
    "imagenet128_projection": (450_000, 400_000, 5, 64, 128, "41,996,931", "30,041,857"),
    "imagenet128_projection_850k": (850_000, 800_000, 5, 64, 128, "41,996,931", "30,041,857"),
    "imagenet128_concat": (450_000, 400_000, 5, 64, 128, "41,996,931", "30,538,625"),
    "imagenet128_unconditional": (450_000, 450_000, 5, 64, 64, "32,150,787", "29,017,857"),
    "imagenet64": (250_000, 200_000, 5, 64, 64, "17,974,915", "11,165,441"),
    "dogcat64": (250_000, 200_000, 5, 64, 64, "13,038,595", "10,287,873"),
    "dogcat128": (450_000, 400_000, 5, 64, 128, "10,606,339", "8,574,977"),
    "dogcat256": (450_000, 400_000, 5, 8, 16, "10,662,659", "8,576,129"),
    "cifar10": (50_000, 0, 5, 64, 128, "4,304,387", "1,055,104"),
    "cifar10_unconditional": (50_000, 0, 5, 64, 128, "4,276,739", "1,053,824"),
    "cifar100": (50_000, 0, 5, 64, 128, "4,580,867", "1,066,624"),
    "stl10": (100_000, 100_000, 5, 64, 64, "4,878,083", "10,141,441"),
    "celeba64": (100_000, 0, 5, 64, 64, "12,220,675", "10,141,441"),
    "celeba128": (100_000, 100_000, 2, 64, 64, "32,150,787", "29,017,857"),
    "lsun128": (100_000, 0, 2, 64, 64, "32,150,787", "29,017,857"),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_resolves_in_a_dry_run_with_its_sources_numbers(preset, tmp_path, capsys, monkeypatch):
    from training.__main__ import main
    from training.config import dry_run as describe

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(describe, "prediction", lambda *a: [])  # takes seconds, and has tests of its own: test_cost.py
    assert main(["train", "--preset", preset, "--dry-run", "--out", "run"]) == 0
    said = capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [] and "GMAC" in said and make_config(preset).source in said
    config = make_config(preset)
    assert config.preset == preset and config.decay_to <= config.steps
    if preset in PUBLISHED:
        steps, decay_from, n_dis, d, g, *counts = PUBLISHED[preset]
        assert (config.steps, config.decay_from, config.n_dis, config.batch_size, config.g_batch_size) == (
            steps, decay_from, n_dis, d, g,
        )  # fmt: skip
        assert (config.lr_g, config.lr_d, config.beta1, config.beta2, config.loss) == (2e-4, 2e-4, 0.0, 0.9, "hinge")
        assert (config.precision, config.ema_decay, config.augment, config.transition_to) == ("fp32", 0.0, "", 0)
        assert all(count in said for count in counts), said
        of_four = (preset.startswith("imagenet128_") and "uncond" not in preset) or preset == "dogcat128"
        groups = (16, 32) if of_four else (0, 0)
        crop = (0.9, True, 256) if preset.startswith("dogcat") else (1.0, False, 0)
        assert (config.crop, config.flip, config.stored_size) == crop
        assert config.contrast_stretch == (preset.startswith(("dogcat", "imagenet")) and "uncond" not in preset)
        assert (config.bn_group_d, config.bn_group_g) == groups


def test_hours_follow_from_a_committed_throughput_or_are_unknown(monkeypatch, tmp_path):
    from training.config import dry_run as describe

    config = make_config("cifar10", steps=1000)
    row = {"device": describe.device_kind("cpu"), "precision": "fp32", "architecture": "sngan_cifar10", "tflops": 0.5}
    monkeypatch.setattr(describe, "THROUGHPUT", tmp_path / "t.json")
    assert describe.hours_text(config, 10**12).startswith("shown after the first steps")
    (tmp_path / "t.json").write_text(json.dumps([{**row, "device": "other"}, {**row, "precision": "bf16"}]))
    assert describe.hours_text(config, 10**12).startswith("shown after the first steps")
    (tmp_path / "t.json").write_text(json.dumps([row]))
    said = describe.hours_text(config, 9 * 10**12)  # 9 TFLOP at 0.5 TFLOP/s
    assert said.startswith("about 5.0, measured (18 s per iteration")
    (tmp_path / "t.json").write_text(json.dumps([{**row, "tflop": 9.0004}]))
    assert ", measured (" in describe.hours_text(config, 9 * 10**12)
    (tmp_path / "t.json").write_text(json.dumps([{**row, "tflop": 3.0}]))  # of narrower networks
    assert "5.0, estimated from a measurement of another network" in describe.hours_text(config, 9 * 10**12)
    rows = [{**row, "tflop": 3.0, "preset": "cifar100"}, {**row, "tflop": 9.0, "tflops": 0.25, "preset": "cifar10"}]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    assert describe.hours_text(config, 9 * 10**12).startswith("about 10.0, measured (36 s"), "the row of this preset"
    said = describe.hours_text(make_config("cifar10", steps=1000, method="gan_gp"), 9 * 10**12)
    assert "10.0, estimated from a measurement of another network, batch size or penalty (36 s" in said
    assert said.endswith(", without the penalty)")


def test_processors_of_one_name_are_told_apart_by_how_they_compute_bfloat16(monkeypatch):
    """Virtual machines call processors with and without it "AMD EPYC": one's rates predicted 17 times the other's hours."""
    from training.config import dry_run as describe

    kinds = set()
    for unit in ("amx_bf16", "avx512_bf16", "avx2"):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda unit=unit: {unit: True}, raising=False)
        kinds.add(describe.device_kind("cpu"))
    assert len(kinds) == 3


@pytest.mark.parametrize("overrides, text", [
    ({"stepz": 3}, "unknown setting 'stepz'; the nearest are steps"),
    ({"loss": "wgan"}, "loss must be one of hinge, non_saturating, wasserstein (got 'wgan')"),
    ({"setting": "G"}, "setting must be one of A, B, C, D, E, F (got 'G')"),
    ({"method": "wgan"}, "method must be one of spectral_norm"),
    ({"held_out": ""}, "held_out must be tenth, none or a folder (got '')"),
    ({"crop": 0.0}, "crop must be above 0 and at most 1 (got 0.0)"),
    ({"penalty": "gradient"}, "penalty gradient cannot be combined with augment (got "),
    ({"diversity_weight": 1.0, "micro_batch": 16}, "so micro_batch must be 0 (got 16)"),
    ({"diversity_distance": 0.0}, "diversity_distance must be above 0 (got 0)"),
    ({"steps": 0}, "steps must be 1 or more (got 0)"),
    ({"lr_g": -1.0}, "lr_g must be 0 or more (got -1.0)"),
    ({"beta2": 1.0}, "beta2 must be at least 0 and below 1 (got 1.0)"),
    ({"augment": "", "augment_from": 5}, "augment_from needs an augmentation (got 5); set --augment too"),
    ({"augment": "color,blur"}, "augment must be a comma-separated list of color, translation, cutout (got 'blur')"),
    ({"decay_from": 9, "decay_to": 3}, "decay_to must be decay_from, 9, or more (got 3)"),
    ({"architecture": "sngan_fashion3"}, "no model 'sngan_fashion3'; the nearest are sngan_fashion32"),
])  # fmt: skip
def test_bad_settings_are_refused(overrides, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        make_config("fashion32", **overrides)
    with pytest.raises(ValueError, match="unknown preset 'fashion3'; the nearest is fashion32"):
        make_config("fashion3")


def test_images_are_loaded_at_the_size_of_the_networks(image_folder, tmp_path):
    from training.engine import loop

    for fields, size in (("{}", 32), ('{"size": 48, "bottom_width": 6}', 48)):
        config = make_config("fashion32", data=str(image_folder), out=str(tmp_path), generator_fields=fields)
        assert config.size == loop._training_images(config, None, True).images.shape[-1] == size
    assert make_config("dogcat256").size == 256


def test_networks_of_two_sizes_are_refused():
    from training.config.dry_run import describe

    config = make_config("fashion32", n_classes=2, generator_fields='{"size": 48, "bottom_width": 6}')
    with pytest.raises(ValueError, match=r"generator_fields and discriminator_fields .* one size \(got 48 and 32 px\)"):
        describe(config)


def test_what_a_resumed_run_may_change():
    old = dataclasses.asdict(make_config("fashion32", decay_from=100, decay_to=200))
    assert differences(old, Config(**{**old, "steps": 999, "log_every": 7, "out": "x", "threads": 2}), 50) == []
    assert differences(old, Config(**{**old, "decay_to": 300}), 50) == []
    changed = differences(old, Config(**{**old, "decay_to": 300, "lr_g": 1.0}), 150)
    assert changed == ["lr_g: was 0.0004, now 1.0", "decay_to: was 200, now 300"]
