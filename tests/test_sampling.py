"""z and label of image i depend on (seed, i) alone; pictures agree to one level however they are computed."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from sngan_hub import Generator, labelled_grid, save_png
from sngan_hub.class_names import resolve_classes
from sngan_hub.sampling.generate import MAX_SEED, latents, to_uint8

from . import warm

NAMES = ["cat", "dog", "Ankle boot"]


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(1)
    g = Generator(32, 3, widths=[16, 16, 8, 8], classes=NAMES)
    with torch.no_grad():
        for _ in range(3):
            g(torch.randn(64, 128), torch.randint(3, (64,)))
    for block in g.blocks:
        torch.nn.init.normal_(block.b1.weight, 1, 0.3)
    return g.eval()


def levels(a, b):
    return (a.int() - b.int()).abs().max().item()


def test_latents_are_a_function_of_seed_and_index():
    z, y = latents(9, 0, 40, 128, 10)
    for start, n in ((0, 1), (7, 5), (39, 1)):
        part, labels = latents(9, start, n, 128, 10)
        assert torch.equal(part, z[start : start + n]) and torch.equal(labels, y[start : start + n])
    assert not torch.equal(latents(10, 0, 40, 128)[0], z)
    assert torch.equal(latents(9, 0, 40, 128, 1000)[0], z)  # not of the number of classes


def test_the_greatest_random_number_is_below_1(monkeypatch):
    class Greatest:
        def __init__(self, key):
            pass

        def advance(self, _):
            return self

        def random_raw(self, n):
            return np.full(n, 2**64 - 1, np.uint64)

    monkeypatch.setattr(np.random, "Philox", Greatest)
    z, y = latents(0, 0, 1, 8, 10)
    assert torch.isfinite(z).all() and z.max() > 8 and y.tolist() == [9]


def test_latents_are_standard_normal_and_labels_uniform():
    z, y = latents(0, 0, 20_000, 32, 10)
    values = z.double()
    assert values.mean().item() == pytest.approx(0, abs=5e-3) and values.var().item() == pytest.approx(1, abs=1e-2)
    assert (values**4).mean().item() == pytest.approx(3, abs=0.05)
    assert values[:, :16].flatten().dot(values[:, 16:].flatten()).abs() / values[:, :16].numel() < 5e-3
    assert (y.bincount() - 2000).abs().max() < 200


def test_truncation_restricts_by_inverse_cdf():
    z, _ = latents(0, 0, 5000, 16, truncation=0.7)
    assert z.abs().max() < 0.7
    t = torch.tensor(0.7, dtype=torch.float64)
    mass = 2 * torch.special.ndtr(t) - 1
    density = torch.exp(-(t**2) / 2) / (2 * torch.pi) ** 0.5
    assert z.double().var().item() == pytest.approx((1 - 2 * t * density / mass).item(), rel=0.02)
    plain, _ = latents(0, 0, 5000, 16)
    assert (plain.sign() == z.sign()).all()  # the same draw, moved inwards: not resampled, not scaled
    assert torch.equal(plain.flatten().argsort(), z.flatten().argsort()) or (
        (z.flatten()[plain.flatten().argsort()].diff() >= 0).float().mean() > 0.999
    )
    wide, _ = latents(0, 0, 100, 16, truncation=50)
    assert torch.allclose(wide, plain[:100], atol=1e-5)


def test_extreme_seeds():
    for seed in (0, MAX_SEED):
        assert torch.isfinite(latents(seed, 99_999, 1, 128)[0]).all()


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_pictures_do_not_depend_on_the_batch(generator, batch_size):
    whole = generator.sample(n=10, seed=4)
    assert whole.dtype == torch.uint8 and whole.shape == (10, 3, 32, 32)
    assert levels(whole, generator.sample(n=10, seed=4, batch_size=batch_size)) <= 1
    assert levels(whole[:6], generator.sample(n=6, seed=4)) <= 1
    assert levels(whole, generator.sample(n=10, seed=5)) > 50


def test_pictures_do_not_depend_on_the_form(generator):
    whole = generator.sample(n=10, seed=4)
    for form in ("plain", "fused", "auto"):
        generator.set_resampling(form)
        assert levels(whole, generator.sample(n=10, seed=4)) <= 1
    fast = generator.for_sampling()
    assert levels(whole, fast.sample(n=10, seed=4)) <= 1
    z, y = torch.randn(5, 128), torch.tensor([0, 1, 2, 1, 0])
    assert (generator(z, y) - fast(z, y)).abs().max() < 1e-4
    half = generator.for_sampling(torch.bfloat16).sample(n=10, seed=4)
    assert (whole.int() - half.int()).abs().float().mean() < 2


def test_pictures_do_not_depend_on_threads(generator, tmp_path):
    generator.save_pretrained(tmp_path / "g")
    pictures = []
    for threads in (1, 2):
        code = (
            f"import torch; torch.set_num_threads({threads}); from sngan_hub import load_generator\n"
            f"torch.save(load_generator({str(tmp_path / 'g')!r}).sample(n=9, seed=8), {str(tmp_path / f'{threads}.pt')!r})"
        )
        assert warm.run([sys.executable, "-c", code]).returncode == 0
        pictures.append(torch.load(tmp_path / f"{threads}.pt", weights_only=True))
    assert levels(*pictures) <= 1


def test_classes_are_class_major_and_go_by_name_or_index(generator):
    images = generator.sample(classes=["dog", "Cat", "2"], n=2, seed=1)
    z, _ = latents(1, 0, 6, 128)
    with torch.no_grad():
        expected = to_uint8(generator(z, torch.tensor([1, 1, 0, 0, 2, 2])))
    assert levels(images, expected) <= 1


def test_sampling_leaves_the_mode_and_uses_torchs_generator_without_a_seed(generator):
    generator.train()
    before = {k: v.clone() for k, v in generator.state_dict().items()}
    torch.manual_seed(5)
    a = generator.sample(n=2)
    b = generator.sample(n=2)
    torch.manual_seed(5)
    assert torch.equal(a, generator.sample(n=2)) and not torch.equal(a, b)
    assert generator.training and all(torch.equal(v, before[k]) for k, v in generator.state_dict().items())
    generator.eval()


@pytest.mark.parametrize("kwargs, text", [
    ({"n": 0}, "n must be between 1 and 100,000 .got 0."),
    ({"n": -3}, "n must .*got -3"),
    ({"n": 100_001}, "n must .*got 100001"),
    ({"n": 50_000, "classes": NAMES}, "at most 100,000 in all .got 50000 x 3 = 150,000."),
    ({"seed": 2**63}, r"seed must be between 0 and 2\^63 - 1 \(got 9223372036854775808\)"),
    ({"seed": -1}, "seed must .*got -1"),
    ({"truncation": 0}, "truncation must .*got 0"),
    ({"truncation": float("nan")}, "truncation must .*got nan"),
    ({"classes": ["ankle bot"]}, "no class 'ankle bot'; the nearest is Ankle boot"),
    ({"classes": [3]}, "an index must be between 0 and 2 .got 3."),
    ({"classes": []}, "classes must not be empty"),
    ({"batch_size": 0}, "batch_size must .*got 0"),
])  # fmt: skip
def test_bad_values_are_refused(generator, kwargs, text):
    with pytest.raises(ValueError, match=text):
        generator.sample(**kwargs)


def test_unconditional_takes_no_classes():
    with pytest.raises(ValueError, match="unconditional"):
        resolve_classes(["a"], None, 0)


def test_decoding_is_the_authors():
    x = torch.tensor([-1.2, -1.0, 0.0, 0.999, 1.0])
    assert to_uint8(x).tolist() == [0, 0, 127, 254, 255]


def test_grid_and_png_text(tmp_path):
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    images[1] = 200
    grid = labelled_grid(images, 2, ["a", "a longer label"], scale=2)
    pixels = np.asarray(grid)
    margin = grid.width - 2 * 18 - 2
    assert grid.height == 2 * 18 + 2
    assert (pixels[2:18, margin + 2 : margin + 18] == 0).all() and (
        pixels[2:18, margin + 20 : margin + 36] == 200
    ).all()
    assert (pixels[:, :margin] < 128).any()  # the labels are drawn
    save_png(grid, tmp_path / "x.png", {"model": "m", "seed": 3, "tag": None, "classes": "Ankle boot, ü"})
    with Image.open(tmp_path / "x.png") as image:
        assert image.text == {"model": "m", "seed": "3", "classes": "Ankle boot, ü"}
    with pytest.raises(OSError):
        save_png(grid, tmp_path / "none" / "x.png")


@pytest.mark.parametrize("kwargs, text", [
    ({"seed": 1.0}, "seed must be an integer, between 0 and .*got 1.0"), ({"seed": True}, "seed must .*got True"),
    ({"seed": "7"}, "seed must .*got '7'"), ({"n": 2.5}, "n must be an integer, between 1 and .*got 2.5"), ({"n": "4"}, "n must .*got '4'"),
    ({"n": True}, "n must .*got True"), ({"truncation": "1"}, "truncation must .*got '1'"), ({"batch_size": 1.5}, "batch_size must .*got 1.5"),
    ({"classes": 1.0}, "classes must .*got 1.0"), ({"classes": [0, 1.5]}, r"classes must .*got \[0, 1.5\]"),
    ({"classes": [True]}, r"classes must .*got \[True\]"),
])  # fmt: skip
def test_values_of_other_kinds_are_refused(generator, kwargs, text):
    with pytest.raises(ValueError, match=text):
        generator.sample(**kwargs)


def test_numbers_of_numpy_and_torch_are_numbers(generator):
    import numpy as np

    expected = generator.sample(classes=[1, 0], n=2, seed=5)
    for classes in (np.array([1, 0]), torch.tensor([1, 0]), [np.int32(1), np.uint8(0)], ("1", "0")):
        assert torch.equal(generator.sample(classes=classes, n=np.int64(2), seed=np.uint32(5)), expected)
    assert torch.equal(generator.sample(classes=np.int64(1), n=2, seed=5), expected[:2])
