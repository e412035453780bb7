"""What is saved is what is loaded, or an error names the difference."""

import json
import sys

import pytest
import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from sngan_hub import Discriminator, Generator
from sngan_hub.networks import mixin

from . import warm


@pytest.fixture
def folder(tmp_path):
    Generator(32, 3, widths=[8, 4, 4, 4], classes=["a", "b", "ç"]).save_pretrained(tmp_path / "g")
    return tmp_path / "g"


def rewrite(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})


def test_round_trip_is_equal_and_in_eval_mode(folder, tmp_path):
    g = Generator.from_pretrained(folder)
    assert isinstance(g, PyTorchModelHubMixin) and not g.training and g.classes == ["a", "b", "ç"]
    g.save_pretrained(tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    config = json.loads((folder / "config.json").read_text())
    assert config["class"] == "Generator" and config["bottom_width"] == 4 and config["bn_eps"] == 2e-5


def test_weights_saved_in_one_process_give_equal_samples_in_another(folder, tmp_path):
    code = (
        "import sys, torch; from sngan_hub import Generator\n"
        f"g = Generator.from_pretrained({str(folder)!r})\n"
        f"torch.save(g.sample(n=5, seed=3), {str(tmp_path / 'x.pt')!r})"
    )
    assert warm.run([sys.executable, "-c", code]).returncode == 0
    assert torch.equal(
        torch.load(tmp_path / "x.pt", weights_only=True), Generator.from_pretrained(folder).sample(n=5, seed=3)
    )


@pytest.mark.parametrize("change, text", [
    (lambda t: t.pop("l1.weight"), "l1.weight is missing"),
    (lambda t: t.update(extra=torch.zeros(1)), "extra is not a tensor of this network"),
    (lambda t: t.update({"l1.bias": torch.zeros(3)}), r"l1.bias has shape \(3,\), expected \(128,\)"),
    (lambda t: t["conv.bias"].fill_(float("nan")), "conv.bias contains values that are not finite"),
    (lambda t: t.update({"conv.bias": torch.zeros(3, dtype=torch.int32)}), "conv.bias is torch.int32"),
])  # fmt: skip
def test_tensors_that_do_not_fit_are_named(folder, change, text):
    rewrite(folder, change)
    with pytest.raises(ValueError, match=text):
        Generator.from_pretrained(folder)


@pytest.mark.parametrize("change, text", [
    (lambda c: c.update(colour=1), "unknown key colour; the allowed keys are"),
    (lambda c: c.pop("size"), "the key size is missing"),
    (lambda c: c.update({"class": "Discriminator"}), "describes a Discriminator, not a generator"),
    (lambda c: c.update(size="big"), "size"),
    (lambda c: c.update({"class": 5}), "class must be the name of a network's class .got 5."),
])  # fmt: skip
def test_a_wrong_configuration_is_refused(folder, change, text):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=text):
        Generator.from_pretrained(folder)


def test_damaged_and_missing_files(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a valid safetensors file"):
        Generator.from_pretrained(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no model\.safetensors"):
        Generator.from_pretrained(folder)
    (folder / "config.json").write_text("{")
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="not valid JSON"):
        Generator.from_pretrained(folder)


def test_a_missing_file_of_weights_is_not_called_damaged(folder, tmp_path):
    from sngan_hub.convert import load_chainer
    from sngan_hub.convert.archive import read_torch
    from sngan_hub.networks.mixin import load_weights

    for name, read in (("x.safetensors", lambda path: load_weights(Generator.from_pretrained(folder), path)),
                       ("x.npz", load_chainer), ("x.pth", read_torch)):  # fmt: skip
        with pytest.raises(FileNotFoundError, match=f"[Nn]o such file.*{name}"):
            read(tmp_path / name)


def test_no_pickle_is_ever_read(folder):
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError):
        Generator.from_pretrained(folder)


def test_another_class_is_refused(folder):
    with pytest.raises(ValueError, match="describes a Generator, not a discriminator"):
        Discriminator.from_pretrained(folder)


def test_the_form_for_sampling_cannot_be_saved(folder, tmp_path):
    with pytest.raises(ValueError, match="cannot be saved"):
        Generator.from_pretrained(folder).for_sampling().save_pretrained(tmp_path / "fast")


def test_a_refused_save_leaves_the_folder_and_the_hub_as_they_are(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    fast = Generator.from_pretrained(folder).for_sampling()
    with pytest.raises(ValueError, match="cannot be saved"):
        fast.save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", lambda *_, **__: pytest.fail("it made a repository"))
    with pytest.raises(ValueError, match="cannot be saved"):
        fast.push_to_hub("someone/fast")
    with pytest.raises(ValueError, match="a generator's name must not end in -discriminator"):
        Generator.from_pretrained(folder).push_to_hub("someone/pets-discriminator")


@pytest.mark.parametrize("wrong, dtype", [(float("nan"), torch.float32), (1e300, torch.float64)])
def test_weights_that_could_not_be_loaded_are_not_saved(wrong, dtype, folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    g = Generator.from_pretrained(folder).to(dtype)
    with torch.no_grad():
        g.conv.bias[0] = wrong
    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", lambda *_, **__: pytest.fail("it made a repository"))
    for save in (lambda: g.save_pretrained(folder), lambda: g.push_to_hub("someone/diverged")):
        with pytest.raises(
            ValueError, match="cannot be saved, .*conv.bias contains values that are not finite in float32"
        ):
            save()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_save_that_fails_leaves_the_network_that_was_there(folder, monkeypatch):
    """The original method removes config.json before it writes."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_, **__):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(mixin, "save_file", full)
    other = Generator(32, 2, widths=[8, 4, 4, 4])
    with pytest.raises(OSError, match="model.safetensors: the weights could not be written .*No space left"):
        other.save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert Generator.from_pretrained(folder).n_classes == 3


def test_a_users_own_class_takes_the_files_of_its_base(folder, tmp_path):
    class Mine(Generator):
        """A generator with more methods."""

    mine = Mine.from_pretrained(folder)
    assert type(mine) is Mine and mine.classes == ["a", "b", "ç"]
    mine.save_pretrained(tmp_path / "mine")
    assert type(Generator.from_pretrained(tmp_path / "mine")) is Mine
    with pytest.raises(ValueError, match="describes a Generator, not a discriminator; load it as a Generator"):
        Discriminator.from_pretrained(folder)
