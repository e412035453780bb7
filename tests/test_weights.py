"""The whole WEIGHTS table: hashes, sizes, records, cards, and that every name samples what it promises."""

import hashlib
import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from huggingface_hub import ModelCard

from sngan_hub import MODELS, WEIGHTS, load_discriminator, load_generator
from sngan_hub.hub import model_card, verify
from sngan_hub.metrics.protocols import PROTOCOLS
from sngan_hub.sources import FASHION_DEBIAN, draw_avatars, load_images
from sngan_hub.weights import DEFAULT_TAGS, PRETRAINED, find_record, read_records

from .conftest import ROOT

SHIPPED = ["sngan_fashion32", "sngan_avatars32"]


def test_what_is_shipped():
    assert set(WEIGHTS) == {f"{name}{suffix}.v1" for name in SHIPPED for suffix in ("", "_discriminator")}
    assert set(DEFAULT_TAGS) == set(SHIPPED)
    assert sum(path.stat().st_size for path in PRETRAINED.rglob("*")) <= 12e6


@pytest.mark.parametrize("name", WEIGHTS)
def test_record(name):
    record = WEIGHTS[name]
    verify(record)
    load = load_generator if record.kind == "generator" else load_discriminator
    network = load(name)
    assert sum(p.numel() for p in network.parameters()) == record.parameters
    assert tuple(network.classes) == record.classes and network.n_classes == len(record.classes)
    assert network.size == MODELS[record.architecture].size and not network.training
    assert record.licence == "MIT" and record.data_licence and record.limits and record.about
    assert record.recipe["hours"] > 0.3 and record.recipe["steps"] >= 1000
    with pytest.raises(AttributeError):
        record.sha256 = ""  # frozen


@pytest.mark.parametrize("name", SHIPPED)
def test_scores_are_measured_with_all_that_is_needed_to_compare(name):
    record = WEIGHTS[f"{name}.v1"]
    assert set(record.scores) == set(PROTOCOLS)
    for protocol, score in record.scores.items():
        assert math.isfinite(score.value) and score.n >= 1000 and score.evaluator and score.machine and score.versions
        assert score.floor is not None
        if protocol == "fid5k_test":
            assert score.value > score.floor
        if protocol == "diversity":
            assert score.per_class is not None and set(score.per_class) == set(record.classes)


@pytest.mark.parametrize("name", WEIGHTS)
def test_cards_are_printed_from_the_record(name):
    record = WEIGHTS[name]
    text = (record.folder / "README.md").read_text(encoding="utf-8")
    assert text == model_card(record)
    card = ModelCard(text)
    assert card.data.license == "mit" and card.data.library_name == "sngan-hub"
    for score in record.scores.values():
        assert f"{score.value:.4g}" in text


@pytest.mark.parametrize("name", SHIPPED)
def test_samples_of_each_class_differ_and_no_class_is_one_picture(name):
    g = load_generator(name)
    x = g.sample(classes=g.classes, n=10, seed=0).float() / 127.5 - 1
    means = x.view(10, 10, -1).mean(1)
    assert torch.pdist(means).min() > 1
    within = torch.stack([torch.pdist(group.flatten(1)).mean() for group in x.view(10, 10, -1)])
    assert within.min() > 3


@pytest.mark.parametrize("name", SHIPPED)
def test_the_discriminator_ranks_real_pictures_above_its_generators(name):
    g, d = load_generator(name), load_discriminator(name)
    if name == "sngan_fashion32":
        if not FASHION_DEBIAN.is_dir():
            pytest.skip("Debian's dataset-fashion-mnist is not installed")
        test = load_images("fashion", "test")
        real, y = torch.from_numpy(test.images[:300]), torch.from_numpy(test.labels[:300])
    else:
        pytest.importorskip("dicebear")
        real, y = (
            torch.from_numpy(draw_avatars(g.classes, range(30), "test", 32)),
            torch.arange(10).repeat_interleave(30),
        )
    fake = torch.cat([g.sample(classes=int(label), n=1, seed=i) for i, label in enumerate(y)])
    with torch.no_grad():
        scores = [d(x.float() / 127.5 - 1, y).mean().item() for x in (real, fake)]
    assert scores[0] > scores[1]


def test_a_tampered_file_is_refused_before_it_is_read(tmp_path):
    shutil.copytree(PRETRAINED, tmp_path / "p")
    record = read_records(tmp_path / "p")["sngan_fashion32.v1"]
    verify(record)
    path = record.folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="sha256 .* is not the record's"):
        verify(record)
    with pytest.raises(FileNotFoundError, match="missing"):
        verify(replace(record, folder=tmp_path))


@pytest.mark.parametrize("call, text", [
    (lambda: load_generator("sngan_fashion"), "no name, folder or file 'sngan_fashion'; nearest are sngan_fashion32"),
    (lambda: load_generator("sngan_fashion32.v9"), "has no tag 'v9'; legal are v1"),
    (lambda: load_generator("sngan_fashion32", weights="v9"), "has no tag 'v9'; legal are v1"),
    (lambda: load_generator("sngan_imagenet128"), "none are published for sngan_imagenet128 in this version"),
    (lambda: find_record("x", "generator"), "no name, folder or file 'x'; legal are sngan_imagenet128"),
])  # fmt: skip
def test_names_that_nobody_has(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_folders_and_other_places(tmp_path):
    folder = WEIGHTS["sngan_fashion32.v1"].folder
    a, b = load_generator(folder), load_generator(folder.parent)
    assert torch.equal(a.conv.weight, b.conv.weight)
    assert load_generator("sngan_fashion32", weights=folder).n_classes == 10
    assert load_discriminator("sngan_fashion32_discriminator").n_classes == 10
    assert load_generator("sngan_fashion32", dtype=torch.float64).conv.weight.dtype == torch.float64
    with pytest.raises(ValueError, match="describes a Generator, not a Discriminator"):
        load_discriminator(folder)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        load_generator(tmp_path / "none" / "here")
    other = tmp_path / "x.pth"
    other.write_bytes(b"")
    with pytest.raises(ValueError, match="are not read in this version"):
        load_generator(other)


@pytest.mark.parametrize("name", [f"{name}{suffix}" for name in SHIPPED for suffix in ("", "_discriminator")])
def test_torch_hub(name):
    network = torch.hub.load(str(ROOT), name, source="local")
    assert not network.training and network.n_classes == 10
    untrained = torch.hub.load(str(ROOT), name, source="local", pretrained=False)
    key = "l1.weight" if "discriminator" not in name else "linear.weight"
    assert not torch.equal(untrained.state_dict()[key], network.state_dict()[key])


def test_torch_hub_lists_entry_points_only(tmp_path):
    code = "import torch, hubconf, types; print([n for n in dir(hubconf) if callable(getattr(hubconf, n)) and n[0] != '_'])"
    listed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert json.loads(listed.replace("'", '"')) == sorted(f"{n}{s}" for n in SHIPPED for s in ("", "_discriminator"))


def test_hashes_are_of_the_files():
    for record in WEIGHTS.values():
        assert hashlib.sha256((record.folder / "model.safetensors").read_bytes()).hexdigest() == record.sha256
