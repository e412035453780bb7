"""A loopback Hub for the commands and loaders of this process, and a small run to publish."""

import json

import numpy as np
import pytest
from huggingface_hub import constants

import sngan_hub
from sngan_hub.data import Images
from sngan_hub.networks.registry import MODELS, Model
from sngan_hub.weights.records import WEIGHTS
from training.config.schema import make_config
from training.engine.loop import train

from . import minihub

PAIR = WEIGHTS["sngan_fashion32.v1"].folder.parent


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "mine"
    MODELS["sngan_tiny"] = Model(32, 2, {"widths": [8, 8, 4, 4]}, {"widths": [4, 4, 8, 8]})
    rng = np.random.default_rng(0)
    data = Images(rng.integers(0, 256, (40, 3, 32, 32), dtype=np.uint8), np.arange(40) % 2, ["cat", "dog"])
    config = make_config("fashion32", architecture="sngan_tiny", out=str(out), data="my/pets", steps=2, batch_size=4,
                         g_batch_size=4, threads=1, log_every=1)  # fmt: skip
    train(config, data)
    line = {"step": 2, "protocol": "kid1k_test", "value": 0.25, "floor": 0.01, "n": 1000, "evaluator": "E"}
    (out / "scores.jsonl").write_text(json.dumps(line) + "\n")
    yield out
    del MODELS["sngan_tiny"]


class Done:
    def __init__(self, returncode, out, err):
        self.returncode, self.stdout, self.stderr = returncode, out, err


class Hub:
    """The commands and loaders in this process, with the client's constants pointed at a loopback Hub."""

    def __init__(self, tmp_path, monkeypatch, capsys):
        self.server, self.hub, self.url = minihub.start(tokens={"hf_alice": "alice", "hf_bob": "bob"})
        self.tmp_path, self.monkeypatch, self.capsys = tmp_path, monkeypatch, capsys
        template = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in {"ENDPOINT": self.url, "HF_HUB_DISABLE_XET": True, "HUGGINGFACE_CO_URL_TEMPLATE": template,
                            "HF_TOKEN_PATH": str(tmp_path / "no token")}.items():  # fmt: skip
            monkeypatch.setattr(constants, name, value)
        import huggingface_hub.file_download as download

        if hasattr(download, "HUGGINGFACE_CO_URL_TEMPLATE"):
            monkeypatch.setattr(download, "HUGGINGFACE_CO_URL_TEMPLATE", template)

    def user(self, token, offline):
        self.monkeypatch.setenv("HF_TOKEN", token or "")
        self.monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        self.monkeypatch.setattr(constants, "HF_HUB_CACHE", str(self.tmp_path / f"cache of {token}"))

    def call(self, main, *arguments, token="hf_alice"):
        self.user(token, False)
        self.capsys.readouterr()
        try:
            code = main(list(map(str, arguments)))
        except SystemExit as stop:
            code = stop.code
        said = self.capsys.readouterr()
        return Done(code, said.out, said.err)

    def load(self, what, token="hf_alice", offline=False):
        self.user(token, offline)
        try:
            network = eval(what, {name: getattr(sngan_hub, name) for name in sngan_hub.__all__})
        except (ValueError, OSError) as error:
            return f"ERROR {error}"
        return f"{type(network).__name__} {network.classes} {weight_of(network)}"

    def card(self, repo, ref="main"):
        found = self.hub.repos["model", repo]
        return found.commits[found.resolve(ref)]["files"]["README.md"]["data"].decode()

    def files(self, repo, ref="main"):
        found = self.hub.repos["model", repo]
        return set(found.commits[found.resolve(ref)]["files"])


@pytest.fixture
def hub(tmp_path, monkeypatch, capsys):
    hub = Hub(tmp_path, monkeypatch, capsys)
    yield hub
    hub.server.shutdown()


def weight_of(network):
    return round(float(sum(p.detach().double().abs().sum() for p in network.parameters())), 4)
