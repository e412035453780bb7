"""Features of a discriminator, and the linear classifier on them against its own optimality conditions."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from sngan_hub.networks.registry import create_discriminator
from sngan_hub.weights.record import PRETRAINED
from training.__main__ import main
from training.config.schema import make_config, save_config
from training.feed.checks import check_held_out
from training.feed.images import stored_images
from training.finetune.probe import check_unseen, fit, logistic, some_of

TINY = {"widths": [4, 6, 8, 10], "down": "1100", "head_bias": True}


def test_the_heads_score_is_linear_in_the_last_features():
    d = create_discriminator("sngan_cifar10", **TINY).eval()
    x, y = torch.randn(3, 3, 32, 32), torch.tensor([0, 4, 9])
    with torch.no_grad():
        phi = d.features(x)
        expected = d.linear(phi) + (d.embed.effective_weight()[y] * phi).sum(1, keepdim=True)
        assert phi.shape == (3, 10) and torch.allclose(d(x, y), expected, rtol=1e-5)
        assert [d.features(x, k).shape[1] for k in (1, 2, 3, 4)] == [4, 6, 8, 10]
        assert torch.equal(d.features(x, 4), phi) and (phi >= 0).all()
        h = torch.relu(d.blocks[1](d.blocks[0](x))).sum((2, 3))
        assert torch.allclose(d.features(x, 2), h, rtol=1e-5)


def test_layers_that_there_are_not():
    d = create_discriminator("sngan_cifar10", **TINY)
    x = torch.zeros(1, 3, 32, 32)
    for layer in (0, 5, -1):
        with pytest.raises(ValueError, match=rf"layer must be between 1 and 4, .*got {layer}"):
            d.features(x, layer)
    concat = create_discriminator("sngan_cifar10", **TINY, conditioning="concat", concat_after=2)
    assert concat.features(x, 2).shape == (1, 6)
    with pytest.raises(ValueError, match="the class is concatenated after block"):
        concat.features(x)


def test_the_classifier_is_at_its_minimum():
    """The gradient of the penalised likelihood vanishes, by its formula."""
    rng = torch.Generator().manual_seed(0)
    x, y = torch.randn(200, 5, generator=rng), torch.randint(0, 3, (200,), generator=rng)
    found = logistic(x, y, 3, 0.1)
    p = torch.softmax(found(x), 1) - torch.nn.functional.one_hot(y, 3)
    assert (p.t() @ x / 200 + 0.1 * found.weight).abs().max() < 1e-4 and p.mean(0).abs().max() < 1e-4


def test_what_is_separable_is_separated_and_noise_is_not():
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(300) % 3
    x = torch.randn(300, 8, generator=rng)
    noise = fit(x[:200], y[:200], 0)(x[200:]).argmax(1)
    assert (noise == y[200:]).float().mean() < 0.55
    x[:, 0] += 5 * y
    assert (fit(x[:200], y[:200], 0)(x[200:]).argmax(1) == y[200:]).float().mean() > 0.95


def test_the_command(image_folder, capsys):
    assert main(["probe", "--from", "sngan_avatars32", "--data", str(image_folder), "--n", "40"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["train"] == 36 and found["test"] == 4 and found["layer"] == 4 and found["chance"] == 0.5
    assert found["trained"] >= 0.75  # bright left, dark right
    with pytest.raises(SystemExit):
        main(["probe", "--from", "sngan_avatars32", "--data", str(image_folder), "--layer", "9"])
    assert "or None for the last (got 9)" in capsys.readouterr().err


@pytest.mark.parametrize("fields", [{}, {"stored_size": 64}, {"contrast_stretch": True},
                                    {"contrast_stretch": True, "crop": 0.9}], ids=str)  # fmt: skip
def test_training_images_are_known_however_the_run_reads_them(fields, image_folder, tmp_path):
    """Larger than the networks', and stretched when loaded or in each batch."""
    run, copy = tmp_path / "run", tmp_path / "copy"
    for kind in ("generator", "discriminator"):
        shutil.copytree(PRETRAINED / "sngan_avatars32.v1" / kind, run / kind)
    save_config(make_config("fashion32", data=str(image_folder), held_out="none", **fields), run / "config.json")
    shutil.copytree(image_folder, copy)
    with pytest.raises(ValueError, match="4 of 4 images are also training images.*not used for training$"):
        check_unseen(str(run), str(copy), "test", 32)


@pytest.mark.parametrize("recipe", [["--size=48"], ["--size=32", "--short-side=40", "--contrast-stretch=true"]])
def test_training_images_are_known_however_they_were_prepared(recipe, tmp_path, capsys):
    """In the folder that was prepared, and in the same prepared set; in another set, it is said that they are not."""
    folder, rng = tmp_path / "in" / "c", np.random.default_rng(0)
    folder.mkdir(parents=True)
    for i in range(12):
        Image.fromarray(rng.integers(90, 160, (60, 70, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    for out, flags in (("set", recipe), ("other", ["--size=32"])):
        assert main(["prepare", str(folder.parent), str(tmp_path / out), "--test-every=0", *flags]) == 0
    config = make_config("fashion32", data=str(tmp_path / "set"), held_out=str(folder.parent))
    data = stored_images(config, 32)
    for held_out in (folder.parent, tmp_path / "set"):
        with pytest.raises(ValueError, match="12 of 12 images are also training images"):
            check_held_out(data, dataclasses.replace(config, held_out=str(held_out)))
    capsys.readouterr()
    check_held_out(data, dataclasses.replace(config, held_out=str(tmp_path / "other")))
    assert "than the training images, so equal images are not recognised" in capsys.readouterr().err


def test_damaged_images_are_left_out_as_in_training(image_folder, capsys):
    (image_folder / "left" / "999.png").write_bytes(b"no image")
    assert main(["probe", "--from", "sngan_avatars32", "--data", str(image_folder), "--n", "40"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["train"] == 36 and "1 damaged image of" in said.err and "999.png" in said.err


def test_the_accuracy_of_an_untrained_discriminator_is_stated_beside_it(image_folder, monkeypatch):
    from sngan_hub import load_discriminator
    from training.finetune import probe as probing

    trained = load_discriminator("sngan_avatars32").linear.weight
    telling = lambda network: torch.equal(network.linear.weight, trained)  # noqa: E731
    monkeypatch.setattr(probing, "features", lambda network, data, layer: torch.nn.functional.one_hot(
        torch.from_numpy(data.labels), 2).float() * telling(network))  # fmt: skip
    found = probing.probe("sngan_avatars32", str(image_folder), 40)
    assert (found["trained"], found["untrained"]) == (1.0, 0.5)


def test_a_choice_of_images_is_a_function_of_the_seed(image_folder):
    from sngan_hub.data import load_images

    data = load_images(str(image_folder))
    a, b = some_of(data, 10, 1), some_of(data, 10, 1)
    assert np.array_equal(a.images, b.images) and len(a.images) == 10 and a.fingerprint() != data.fingerprint()
