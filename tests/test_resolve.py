"""What MODEL means: a folder, a file, a Hub repository or a name; and that nothing else touches the network."""

import pytest

from sngan_hub import load_discriminator, load_generator
from sngan_hub.cli.main import main as sngan
from sngan_hub.hub.resolve import resolve


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    for name in ("sngan_hub.hub.load.hf_hub_download", "sngan_hub.networks.mixin.hf_hub_download"):
        monkeypatch.setattr(name, refuse)
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
    ("~/none", "there is no file or folder"), ("alice/weights.npz", "there is no file or folder"),
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
    monkeypatch.setattr(hub, "getproxies", lambda: {"https": "http://proxy:3128"})
    assert not hub.offline()
