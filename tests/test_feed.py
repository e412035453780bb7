"""The feed: the numbers that runs have been made of, whatever share of a batch is drawn and however it is copied."""

import types

import numpy as np
import pytest
import torch
from PIL import Image

from sngan_hub.data import Images, load_images
from sngan_hub.data.images import cropped
from training.config.schema import make_config
from training.feed import feed as fed
from training.feed.augment import augment, augment_draws
from training.feed.draws import latents, penalty_points
from training.feed.feed import Feed
from training.feed.philox import uniform
from training.feed.streams import Stream, draws

from .conftest import real_batch


def some_data(n=24, size=32):
    images = np.random.default_rng(0).integers(0, 256, (n, 3, size, size), dtype=np.uint8)
    return Images(images, np.arange(n) % 3, ["a", "b", "c"])


def reference(data, seed, position, batch_size, flip=False, crop=1.0, size=0, stretch=False):
    """Batches as the first runs drew them, whole and in float32."""
    n, stored = len(data.images), data.images.shape[-1]
    places = np.arange(position * batch_size, (position + 1) * batch_size)
    index = np.array([draws(seed, Stream.ORDER, int(p) // n).permutation(n)[int(p) % n] for p in places])
    pixels = data.images[index]
    flips = draws(seed, Stream.FLIP, position).random(batch_size) < 0.5 if flip else np.zeros(batch_size, bool)
    if crop < 1 or (size or stored) != stored:
        side = int(stored * crop)
        offsets = draws(seed, Stream.CROP, position).integers(0, max(stored - side, 1), (len(pixels), 2))
        pixels = np.stack([
            cropped(image.transpose(1, 2, 0), top, left, side, size or stored, bool(flipped), stretch)
            for image, (top, left), flipped in zip(pixels, offsets, flips, strict=True)
        ])  # fmt: skip
    elif flip:
        pixels = np.where(flips[:, None, None, None], pixels[..., ::-1], pixels)
    x = torch.from_numpy(pixels).float().div_(128).sub_(1)
    noise = draws(seed, Stream.DEQUANTISATION, position).random(x.shape, dtype=np.float32)
    return x.add_(torch.from_numpy(noise), alpha=1 / 128), torch.from_numpy(data.labels[index])


def settings(**overrides):
    fixed = dict(n_dis=2, batch_size=8, g_batch_size=12, steps=100, flip=True, seed=5, bn_group_d=2, bn_group_g=2)
    return make_config("fashion32", **{**fixed, **overrides})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    from training.__main__ import main

    home = tmp_path_factory.mktemp("prepared")
    for label, pictures in enumerate(np.split(some_data(size=40).images, 2)):
        (home / "in" / f"c{label}").mkdir(parents=True)
        for i, image in enumerate(pictures):
            Image.fromarray(image.transpose(1, 2, 0)).save(home / "in" / f"c{label}" / f"{i:02d}.png")
    assert main(["prepare", str(home / "in"), str(home / "out"), "--size", "32"]) == 0
    return home / "out"


CASES = {
    "plain": dict(flip=False), "flipped": {}, "cropped": dict(crop=0.9, stored_size=32),
    "stretched": dict(stored_size=48, contrast_stretch=True, crop=0.8), "an odd batch over epochs": dict(batch_size=22),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("source", ["memory", "prepared"])
def test_every_share_is_that_of_the_batch_as_ever(case, processes, source, request):
    config = settings(**CASES[case])
    data = some_data(size=config.stored_size or 32)
    if source == "prepared":
        if config.stored_size > 32:
            pytest.skip("prepared at 32 px")
        data = load_images(str(request.getfixturevalue("prepared")), "train", 32)
    feeds = [Feed(data, config, 32, process=p, processes=processes) for p in range(processes)]
    for step in (0, 1, 9, 3):
        shares = [feed.iteration(step) for feed in feeds]
        for i in range(config.n_dis):
            position = config.n_dis * step + i
            x, y = reference(
                data, 5, position, config.batch_size, config.flip, config.crop, 32, config.contrast_stretch
            )
            assert torch.equal(torch.cat([share.real[i].images() for share in shares]), x)
            assert torch.equal(torch.cat([share.real[i].labels for share in shares]), y)
            assert torch.equal(shares[0].real[i].images(slice(2, 4)), x[2:4])
            assert all(share.real[i].pixels.dtype == torch.uint8 for share in shares)
            whole = real_batch(
                data, 5, position, config.batch_size, config.flip, config.crop, 32, config.contrast_stretch
            )
            assert torch.equal(whole[0], x) and torch.equal(whole[1], y)
    for feed in feeds:
        feed.close()


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("size", [4, 5])  # 3 * 5 * 5 values of an image: a share begins inside a block of Philox
def test_a_share_may_begin_anywhere_in_the_noise(size, there):
    data, config = some_data(size=size), settings()
    feeds = [Feed(data, config, size, process=p, processes=8, dequantisation_on_device=there) for p in range(8)]
    for step in (0, 3):
        noise = torch.cat([feed.iteration(step).real[1].dequantisation for feed in feeds])
        expected = draws(5, Stream.DEQUANTISATION, 2 * step + 1).random((8, 3, size, size), dtype=np.float32)
        assert np.array_equal(noise.numpy(), expected)
    for feed in feeds:
        feed.close()


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("names", ["", "color,translation,cutout,color"])
@pytest.mark.parametrize("n_classes", [0, 3])
def test_latents_and_augmentations_are_those_of_the_step(processes, names, n_classes):
    config = settings(augment=names, penalty="" if names else "gradient")
    feeds = [Feed(some_data(), config, 32, 16, n_classes, p, processes) for p in range(processes)]
    parts = [feed.iteration(6) for feed in feeds]
    fakes = [[p.fake_g, *p.fake_d] for p in parts]
    assert [len(own) for own in fakes] == [3] * processes
    for part in range(3):
        z, y = latents(5, 6, part, 8 if part else 12, 16, n_classes)
        assert torch.equal(torch.cat([own[part].z for own in fakes]), z)
        ours = [own[part].labels for own in fakes]
        assert torch.equal(torch.cat(ours), y) if n_classes else ours == [None] * processes
    augmentations = [all_augmentations(p) for p in parts]
    assert [len(own) for own in augmentations] == [5] * processes
    for part in range(5):
        x = torch.randn(8 if part else 12, 3, 32, 32)
        drawn = augment_draws(config.augmentations(), 5, 6, part, len(x), 32)
        whole = [torch.from_numpy(values) for values in drawn]
        shares = zip(x.split(len(x) // processes), augmentations, strict=True)
        seen = [augment(images, config.augmentations(), own[part]) for images, own in shares]
        assert torch.equal(torch.cat(seen), augment(x, config.augmentations(), whole))
    for i in range(2):
        if not names:
            assert torch.equal(torch.cat([p.points[i] for p in parts]), penalty_points(5, 6, i, 8))
    assert names == "" or all(p.points == [] for p in parts)
    for feed in feeds:
        feed.close()


def all_augmentations(drawn):
    """In the order of ``part``: of the G step, then of the real images and the fakes of each D step."""
    of_d = zip(drawn.augment_real, drawn.augment_fake, strict=True)
    return [drawn.augment_g, *(own for both in of_d for own in both)]


def test_integers_of_tensors_draw_what_numpys_philox_draws():
    for seed, step, part in ((0, 0, 0), (2**63 - 1, 2**40, 3), (7, 123_456, 0)):
        expected = draws(seed, Stream.CROP, step, part).random(100_003, dtype=np.float32)
        ours = uniform((seed, Stream.CROP), torch.tensor([step, step + 1]), 0, 100_003, part)
        assert np.array_equal(ours[0].numpy(), expected)
        assert np.array_equal(uniform((seed, Stream.CROP), torch.tensor([step]), 99_998, 5, part)[0], expected[-5:])
        assert np.array_equal(ours[1, :9], draws(seed, Stream.CROP, step + 1, part).random(9, dtype=np.float32))


def test_a_device_that_draws_other_noise_is_refused(monkeypatch):
    monkeypatch.setattr(fed, "uniform", lambda *a: uniform(*a) * (1 - 2**-24))
    with pytest.raises(RuntimeError, match="cpu does not generate the same numbers as NumPy"):
        Feed(some_data(), settings(), 32, dequantisation_on_device=True)


def test_augmentation_draws_are_as_ever():
    """Of the first runs: one generator for a forward of D, asked by each augmentation in turn."""
    rng = draws(5, Stream.AUGMENT, 2, 3)
    expected = [
        rng.random((3, 7, 1, 1, 1), dtype=np.float32), rng.integers(-4, 5, (2, 7, 1)), rng.integers(-8, 25, (2, 7, 1)),
    ]  # fmt: skip
    ours = augment_draws(["color", "translation", "cutout"], 5, 2, 3, 7, 32)
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(ours, expected, strict=True))


def test_noise_on_d_s_inputs_falls_to_0_and_changes_no_other_draw():
    config = settings(augment="translation", noise=0.4, noise_to=8)
    assert [config.noise_at(step) for step in (0, 2, 8, 100)] == pytest.approx([0.4, 0.3, 0, 0])
    assert settings(noise=0.4).noise_at(10**6) == 0.4 and settings(augment="", noise=0).augmentations() == []
    feed, plain = (Feed(some_data(), own, 32, 16) for own in (config, settings(augment="translation")))
    for step in (0, 2, 8):
        (shift, noise), (same,) = (own.iteration(step).augment_real[0] for own in (feed, plain))
        assert torch.equal(shift, same)
        assert noise.std().item() == pytest.approx(config.noise_at(step), rel=0.03)
        x = torch.randn(8, 3, 32, 32)
        assert torch.equal(
            augment(x, ["translation", "noise"], [shift, noise]), augment(x, ["translation"], [shift]) + noise[0]
        )
    for own in (feed, plain):
        own.close()


def test_the_feed_augments_from_its_step_on_and_changes_no_noise():
    late, always = (Feed(some_data(), settings(augment="translation", noise=0.4, augment_from=start), 32, 16)
                    for start in (3, 0))  # fmt: skip
    for step in (2, 3):
        for (shift, noise), (same, same_noise) in zip(
            *(all_augmentations(own.iteration(step)) for own in (late, always)), strict=True
        ):
            assert torch.equal(noise, same_noise)
            assert torch.equal(shift, same if step == 3 else torch.zeros_like(same)) and same.any()
    for own in (late, always):
        own.close()


def test_a_failure_of_a_thread_is_one_of_the_step_and_waiting_is_counted():
    class Slow:
        shape, dtype = (24, 3, 32, 32), np.dtype(np.uint8)

        def __len__(self):
            return 24

        def __getitem__(self, which):
            if broken:
                raise OSError("the disk is gone")
            return some_data().images[which]

    broken = []
    feed = Feed(some_data()._replace(images=Slow()), settings(), 32, threads=1)
    feed.iteration(0)
    assert 0 < feed.waited < 60
    broken.append(True)
    with pytest.raises(OSError, match="the disk is gone"):
        for step in range(1, 9):
            feed.iteration(step)
    feed.close()


# The copy, without a GPU ---------------------------------------------------------------------------------------------


class FakeCuda:
    """Streams that keep the order of what they are given; a copy is done when the stream that waits for it asks."""

    def __init__(self):
        self.said, self.now = [], "main"

    def Stream(self, device):
        return types.SimpleNamespace(
            name="side", record_event=lambda: self.said.append(f"event on {self.now}") or "event"
        )

    def stream(self, stream):
        from contextlib import contextmanager

        @contextmanager
        def inside():
            before, self.now = self.now, stream.name
            yield
            self.now = before

        return inside()

    def current_stream(self, device):
        return types.SimpleNamespace(name=self.now, wait_event=lambda e: self.said.append(f"{self.now} waits for {e}"))


def test_a_copy_is_on_the_side_stream_and_the_step_waits_for_it(monkeypatch):
    cuda, pinned = FakeCuda(), []

    class Host:
        def to(self, device, non_blocking=False):
            cuda.said.append(f"copy to {device} on {cuda.now}, {'' if non_blocking else 'not '}ahead")
            return types.SimpleNamespace(record_stream=lambda s: cuda.said.append(f"held for {s.name}"))

    def empty(size, dtype, pin_memory):
        pinned.append((size, pin_memory, cuda.now))
        return Host()

    monkeypatch.setattr(
        fed, "torch", types.SimpleNamespace(cuda=cuda, empty=empty, uint8=torch.uint8, device=torch.device)
    )
    copies = fed.SideStream(torch.device("cuda:1"))
    sent = copies.send(copies.host(100))
    assert pinned == [(100, True, "side")]
    assert cuda.said == ["copy to cuda:1 on side, ahead", "event on side"]
    cuda.said.clear()
    assert copies.receive(sent) is sent[0]
    assert cuda.said == ["main waits for event", "held for main"]


def test_what_is_copied_is_one_buffer_that_holds_everything(monkeypatch):
    """A copy elsewhere, as a GPU's: the iteration is read from the copy alone."""
    sizes = []

    class Elsewhere(fed.InPlace):
        def send(self, host):
            sizes.append(len(host))
            there = host.clone()
            host.fill_(255)
            return there

    config = settings(augment="color,cutout")
    expected, ours = (Feed(some_data(), config, 32, 16, 3) for _ in range(2))
    ours.copies = Elsewhere()
    for step in range(3):
        a, b = expected.iteration(step), ours.iteration(step)
        for x, y in zip(flat(a), flat(b), strict=True):
            assert x.dtype == y.dtype and torch.equal(x, y)
    assert set(sizes) == {ours.bytes} and ours.bytes < 2 * 8 * 3 * 32 * 32 * 5 + 50_000
    expected.close(), ours.close()


def flat(part):
    return [part] if isinstance(part, torch.Tensor) else [tensor for p in part for tensor in flat(p)]
