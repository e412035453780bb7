"""Every record of StudioGAN, mimicry, sngan.pytorch and torch-fidelity at full size, over loopback: files of the exact
layout with random weights and Adam's state are fetched, checked, converted and sampled by class, and compared with the
networks that they were written from.
"""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from sngan_hub import WEIGHTS, load_discriminator, load_generator
from sngan_hub.hub.cache import sha256_of
from sngan_hub.weights.record import is_drive

from . import full_size
from .conftest import ROOT
from .loopback import Server, whole
from .test_drive import pem, server  # noqa: F401
from .test_fetch_hub import hub  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.long]

STUDIO = sorted({r.name for r in WEIGHTS.values() if r.publisher == "StudioGAN"})
DRIVE = sorted({r.name for r in WEIGHTS.values() if r.publisher == "mimicry"})

LOAD = """
import json, sys, numpy as np, torch
from sngan_hub import load_discriminator, load_generator
import sngan_hub.convert, safetensors.torch
from sngan_hub.hub import load, download
import huggingface_hub; huggingface_hub.HfApi, huggingface_hub.hf_hub_download
# Not ru_maxrss, which begins with the memory of the process that started this one
peak_kb = lambda: int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
for name in json.loads(sys.argv[1]):
    before = peak_kb()
    g = load_generator(name)
    peak = (peak_kb() - before) * 1024
    x = g.sample(classes=[5] if g.n_classes else None, n=1, seed=3)
    d = load_discriminator(name)
    with torch.no_grad():
        score = d(x.float() / 127.5 - 1, torch.tensor([5]) if d.n_classes else None).item()
    np.savez(f"{sys.argv[2]}/{name}.npz", x=x.numpy(), score=score, peak=peak, classes=g.classes or [])
"""


def architectures(names, short):
    """Of all records; without SOAK=1 (make soak) those named in ``short``, which are of every kind but not of every size."""
    every = sorted({name.split(".")[0] for name in names})
    return every if os.environ.get("SOAK") else [name for name in every if name in short]


@pytest.mark.parametrize("architecture", architectures(STUDIO, ["sngan_babyimagenet64", "sngan_imagenet128"]))
def test_studiogans_records(architecture, hub, tmp_path):  # noqa: F811
    names = [name for name in STUDIO if name.split(".")[0] == architecture]
    records, results = {}, {}
    for shared in sorted({"Efficient" in WEIGHTS[name].path for name in names}):
        files, g, d = full_size.studio_pair(tmp_path, architecture, 1, "CIFAR10-SNGAN-train-2022", shared)
        x = g.sample(classes=[5], n=1, seed=3)
        with torch.no_grad():
            score = d(x.float() / 127.5 - 1, torch.tensor([5])).item()
        content = {kind: path.read_bytes() for kind, path in files.items()}
        for path in files.values():
            path.unlink()
        for name in names:
            if shared == ("Efficient" in WEIGHTS[name].path):
                results[name] = (x.numpy(), score)
                for record in (r for r in WEIGHTS.values() if r.name == name):
                    assert len(content[record.kind]) == pytest.approx(
                        record.file_bytes, rel=0.005
                    )  # as the Hub shows it
                    commit, digest = hub.put(record.path, content[record.kind])
                    records[record.key] = {"sha256": digest}
    repo = hub.repos["model", WEIGHTS[names[0]].repo]
    repo.tags[WEIGHTS[names[0]].revision] = commit  # the commit of the records
    (tmp_path / "records.json").write_text(json.dumps(records))
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
                   "HF_HOME": str(tmp_path / "hf"), "SNGAN_HUB_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1",
                   "SNGAN_HUB_RECORDS": str(tmp_path / "records.json")}  # fmt: skip
    subprocess.run([sys.executable, "-c", LOAD, json.dumps(names), str(tmp_path)], cwd=ROOT, env=environment,
                   timeout=600, check=True)  # fmt: skip
    for name in names:
        with np.load(tmp_path / f"{name}.npz") as found:
            x, score = results[name]
            assert np.abs(found["x"].astype(int) - x).max() <= 1 and found["score"] == pytest.approx(score, rel=1e-3)
            assert tuple(found["classes"]) == WEIGHTS[name].classes
            if architecture == "sngan_imagenet128":
                print(
                    f"peak {found['peak'] / 1e6:.0f} MB above the baseline for {WEIGHTS[name].file_bytes / 1e6:.0f} MB"
                )
                assert found["peak"] <= 1.5 * WEIGHTS[name].file_bytes
    assert not list((tmp_path / "cache/hub").rglob("*.pth"))  # only the networks' tensors are kept


@pytest.mark.parametrize("architecture", architectures(DRIVE, ["sngan_cifar100", "sngan_stl10"]))
def test_mimicrys_records(architecture, server, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.delenv("SNGAN_HUB_RECORDS")
    pytest.importorskip("gdown")
    path, g = full_size.mimicry_file(tmp_path / "netG.pth", architecture)
    x = g.sample(classes=[5] if g.n_classes else None, n=1, seed=3)
    for name in (name for name in DRIVE if name.split(".")[0] == architecture):
        record = WEIGHTS[name]
        assert is_drive(record.urls[0]) and sum(p.numel() for p in g.parameters()) == record.parameters
        server.files[record.urls[0].split("id=")[1]] = ("netG.pth", path.read_bytes())
        found = load_generator(name)
        images = found.sample(classes=[5] if g.n_classes else None, n=1, seed=3)
        assert (images.int() - x.int()).abs().max() <= 1 and tuple(found.classes or ()) == record.classes


def test_mimicrys_discriminator(server, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.delenv("SNGAN_HUB_RECORDS")
    path, d = full_size.mimicry_file(tmp_path / "netD.pth", "sngan_celeba64", "discriminator")
    record = WEIGHTS["sngan_celeba64_discriminator.mimicry"]
    server.files[record.urls[0].split("id=")[1]] = ("netD.pth", path.read_bytes())
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(load_discriminator("sngan_celeba64")(x), d(x), rtol=1e-4)
    assert sum(p.numel() for p in d.parameters()) == record.parameters


def test_sngan_pytorchs_record(server, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.delenv("SNGAN_HUB_RECORDS")
    record = WEIGHTS["sngan_cifar10_unconditional.sngan_pytorch"]
    for form in (True, False):
        path, g, _ = full_size.sngan_pytorch(tmp_path / record.file, form)
        server.files[record.urls[0].split("id=")[1]] = (record.file, path.read_bytes())
        monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / f"cache-{form}"))
        found = load_generator(record.name)
        assert found.config["upsample"] == "nearest" and sum(p.numel() for p in found.parameters()) == record.parameters
        assert (found.sample(n=2, seed=3).int() - g.sample(n=2, seed=3).int()).abs().max() <= 1


def test_torch_fidelitys_record(tmp_path, monkeypatch):
    record = WEIGHTS["sngan_cnn_cifar10.torch_fidelity"]
    path, module = full_size.torch_fidelity(tmp_path / record.file)
    web = Server()
    web.answer["/g.pth"] = whole(path.read_bytes())
    entry = {record.name: {"url": f"{web.url}/g.pth", "sha256": sha256_of(path)}}
    (tmp_path / "records.json").write_text(json.dumps(entry))
    monkeypatch.setenv("SNGAN_HUB_RECORDS", str(tmp_path / "records.json"))
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / "cache"))
    found = load_generator(record.name)
    web.close()
    z = torch.randn(4, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        theirs, ours = module(z), (255 * (found(z) * 0.5 + 0.5)).to(torch.uint8)
    assert (theirs.int() - ours.int()).abs().max() <= 1 and hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.sample(n=2, seed=1).shape == (2, 3, 32, 32)
    assert sum(p.numel() for p in found.parameters()) == record.parameters
