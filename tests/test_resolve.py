"""What MODEL means: a folder, a file, a Hub repository or a name; and that nothing else touches the network."""

import json
import shutil

import pytest

from sngan_hub import WEIGHTS, Generator, load_discriminator, load_generator
from sngan_hub.cli.main import main as sngan
from sngan_hub.hub.resolve import resolve


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("sngan_hub.networks.repository.hf_hub_download", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)


@pytest.mark.parametrize("text, kind", [
    ("sngan_fashion32", "name"), ("sngan_fashion32.v1", "name"), ("nobody", "name"), ("alice/pets", "repository"),
    ("alice/pets-discriminator", "repository"), ("a.b/c_d", "repository"), ("here", "folder"), ("here/file", "file"),
])  # fmt: skip
def test_what_a_model_is(text, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file").touch()
    assert resolve(text).kind == kind


@pytest.mark.parametrize("text, said", [
    ("runs/typo", "no file or folder runs/typo (runs is a local folder, so this is not read as a Hub repository id); the nearest is type"),
    ("runs/a/b", "there is no file or folder"), ("./typo", "there is no file or folder"), ("/none/at/all", "there is no file"),
    ("~/none", "there is no file or folder"), ("~nobody.here", "there is no file or folder ~nobody.here"), ("alice/weights.npz", "there is no file or folder"),
    ("weights.pth", "there is no file or folder"), ("runs\\typo", "there is no file or folder"), ("runs/", "the folder of a network contains"),
    ("alice/two words", "or a Hub repository id NAMESPACE/NAME"), ("alice/", "there is no file or folder"),
    ("", "model must be a name, a folder, a file or a Hub repository id (got '')"), ("sngan_fashion", "nearest are sngan_fashion32"),
])  # fmt: skip
def test_a_typing_error_is_answered_at_once_by_every_command(text, said, tmp_path, monkeypatch, no_network, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "type").mkdir(parents=True)
    for load in (load_generator, load_discriminator):
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            load(text)
        assert said in str(error.value)
    with pytest.raises(SystemExit):
        sngan(["sample", text, "--out", "x.png"])
    assert said in capsys.readouterr().err
    with pytest.raises(SystemExit):
        sngan(["info", text])
    assert said in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize("command", [
    ["sample", "sngan_fashion32", "--out", "x.png"], ["walk", "sngan_fashion32", "--out", "x.gif"],
    ["morph", "sngan_fashion32", "--classes", "0", "1", "--out", "x.png"], ["spectrum", "sngan_fashion32"],
    ["score", "sngan_fashion32", "."], ["evaluate", "sngan_fashion32", "--data", "fashion", "--protocol", "diversity"],
])  # fmt: skip
def test_every_command_that_computes_takes_a_device(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (tmp_path / "a.png").touch()
    for device, said in (("cuda", "device 'cuda' is not available"), ("tpu", "device must be one of auto, cpu, cuda")):
        with pytest.raises(SystemExit):
            sngan([*command, "--device", device])
        assert said in capsys.readouterr().err


def test_without_a_network_a_repository_is_answered_at_once(tmp_path, monkeypatch):
    """The client alone tries for half a minute. With a proxy, which looks names up itself, it is left to try."""
    import socket
    import time

    from huggingface_hub import constants

    from sngan_hub.hub import load as hub

    def unknown(*_, **__):
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr("socket.getaddrinfo", unknown)
    start = time.perf_counter()
    with pytest.raises(
        FileNotFoundError, match="alice/pets: there is no such folder, it is not in the cache, and the Hub"
    ):
        load_generator("alice/pets")
    assert time.perf_counter() - start < 3
    monkeypatch.setattr(hub, "getproxies", lambda: {"no": "localhost"})
    assert hub.offline()
    monkeypatch.setattr(hub, "getproxies", lambda: {"no": "localhost", "https": "http://proxy:3128"})
    assert not hub.offline()


@pytest.mark.parametrize("name, command", [
    ("SNGAN_HUB_CACHE", ["sample", "sngan_cifar10", "--out", "x.png"]), ("XDG_CACHE_HOME", ["list"]),
    ("SNGAN_HUB_RECORDS", ["list"]),
])  # fmt: skip
def test_a_variable_with_a_home_that_is_not_there_is_one_line(name, command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SNGAN_HUB_CACHE", raising=False)
    monkeypatch.setenv(name, "~nobody.here/x")
    if name == "SNGAN_HUB_RECORDS":
        entry = {"folder": "~nobody.here/x", "sha256": "0" * 64}
        (tmp_path / "records.json").write_text(json.dumps({"a.b": entry}))
        monkeypatch.setenv(name, "records.json")
    with pytest.raises(SystemExit) as stop:
        sngan(command)
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1 and name in said
    assert (
        "the home folder of ~nobody.here is unknown on this machine (got ~nobody.here/x); write the whole path" in said
    )


# Folders, and names with weights of their own -------------------------------------------------------------------------


def test_a_folder_that_lacks_a_network_is_told_from_one_that_needs_conversion(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Generator(32, 2, widths=[4] * 4).save_pretrained("half/generator")
    with pytest.raises(FileNotFoundError, match="^half: contains a generator but no discriminator$"):
        load_discriminator("half")
    (tmp_path / "sngan_fashion32").mkdir()
    with pytest.raises(
        FileNotFoundError, match="no config.json; .* folder sngan_fashion32 hides the model of that name"
    ):
        load_generator("sngan_fashion32")
    (tmp_path / "other").mkdir()
    with pytest.raises(FileNotFoundError, match="sngan convert other OUT$"):
        load_generator("other")


def test_a_damaged_network_of_a_pair_is_an_error_of_info_and_a_missing_one_is_not(tmp_path, capsys):
    pair = tmp_path / "pair"
    shutil.copytree(WEIGHTS["sngan_fashion32.v1"].folder.parent, pair)

    def parameters():
        assert sngan(["info", str(pair), "--json"]) == 0
        return set(json.loads(capsys.readouterr().out)["parameters"])

    def damaged(text):
        with pytest.raises(SystemExit) as stop:
            sngan(["info", str(pair)])
        said = capsys.readouterr()
        assert stop.value.code == 2 and text in said.err and not said.out

    weights = pair / "generator" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:1000])
    damaged("not a valid safetensors file")
    weights.unlink()
    damaged("there is no model.safetensors")
    shutil.rmtree(pair / "generator")
    assert parameters() == {"discriminator"}
    pair = pair / "discriminator"
    assert parameters() == {"discriminator"}


@pytest.mark.parametrize("name, text", [
    ("sngan_nothing", "there is no model 'sngan_nothing'; .*without a name, load_generator.weights. loads any network"),
    ("sngan_imagenet64", "is a network of 32 px and 10 classes, but sngan_imagenet64 has 64 px and 1000 classes; use a name"),
    ("sngan_cifar10_unconditional", "32 px and 10 classes, but sngan_cifar10_unconditional has 32 px and no classes"),
])  # fmt: skip
def test_weights_must_fit_the_name_that_they_are_given_for(name, text):
    with pytest.raises(ValueError, match=text):
        load_generator(name, weights=WEIGHTS["sngan_fashion32.v1"].folder)


def test_the_cache_can_be_in_the_home_folder(tmp_path, monkeypatch):
    from sngan_hub.hub.cache import cache_folder

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SNGAN_HUB_CACHE", "~/weights")
    assert cache_folder() == tmp_path / "weights"
    monkeypatch.setenv("SNGAN_HUB_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "")  # empty is as if unset
    assert cache_folder() == tmp_path / ".cache" / "sngan_hub"


def test_weights_with_other_classes_fit_a_name_and_its_tag(tmp_path):
    """Fine-tuning changes the number of classes."""
    Generator(32, 3, widths=[4] * 4).save_pretrained(tmp_path / "pets")
    for name in ("sngan_cifar10", "sngan_cifar10.mmgen_fid", "sngan_fashion32"):
        assert load_generator(name, weights=tmp_path / "pets").n_classes == 3


def test_a_tag_comes_before_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Generator(32, 10, widths=[4] * 4).save_pretrained("v1")
    assert load_generator("sngan_fashion32", weights="v1").config["widths"] != [4] * 4
    assert load_generator("sngan_fashion32", weights="./v1").config["widths"] == [4] * 4


def test_what_has_no_effect_is_refused(tmp_path):
    import hubconf

    folder = WEIGHTS["sngan_fashion32.v1"].folder
    for model, kind in (("sngan_fashion32", "name"), (folder, "folder")):
        with pytest.raises(ValueError, match=f"revision applies to a Hub repository .got revision 'v1' for the {kind}"):
            load_generator(model, revision="v1")
        assert load_generator(model, token=False).n_classes == 10  # code for any source passes a token
    with pytest.raises(ValueError, match="weights must be None with pretrained=False"):
        hubconf.sngan_fashion32(weights="v1", pretrained=False)
