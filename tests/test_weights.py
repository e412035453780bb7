"""The whole WEIGHTS table: hashes, sizes, records, cards, and that every name samples what it promises."""

import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from sngan_hub import (  # fmt: skip
    MODELS,
    WEIGHTS,
    create_discriminator,
    create_generator,
    load_discriminator,
    load_generator,
)
from sngan_hub.cli.main import main as sngan
from sngan_hub.data import FASHION_DEBIAN, draw_avatars, load_images
from sngan_hub.hub.cards import model_card, score_table
from sngan_hub.hub.local import verify
from sngan_hub.metrics.protocols import PROTOCOLS
from sngan_hub.weights.record import PRETRAINED, Score
from sngan_hub.weights.records import DEFAULT_TAGS, find_record, read_records

from .conftest import ROOT

SHIPPED = ["sngan_cifar10_small", "sngan_fashion32", "sngan_avatars32"]
OURS = {name: record for name, record in WEIGHTS.items() if record.where == "shipped"}
OTHERS = {name: record for name, record in WEIGHTS.items() if record.where != "shipped"}


def test_what_is_shipped():
    assert set(OURS) == {f"{name}{suffix}.v1" for name in SHIPPED for suffix in ("", "_discriminator")}
    assert sum(path.stat().st_size for path in PRETRAINED.rglob("*")) <= 24e6


@pytest.mark.parametrize("name", OURS)
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
    assert set(record.scores) >= {"fid5k_test", "kid1k_test", "agreement2k", "diversity"}
    assert set(record.scores) <= set(PROTOCOLS)
    for protocol, score in record.scores.items():
        assert math.isfinite(score.value) and score.n >= 1000 and score.evaluator and score.machine and score.versions
        assert score.floor is not None or protocol in ("intra_fid", "is_paper")
        if protocol == "fid5k_test":
            assert score.value > score.floor
        if protocol == "diversity":
            assert score.per_class is not None and set(score.per_class) == set(record.classes)


@pytest.mark.parametrize("name", OURS)
def test_cards_are_printed_from_the_record(name):
    record = WEIGHTS[name]
    text = (record.folder / "README.md").read_text(encoding="utf-8")
    assert text == model_card(record)
    card = ModelCard(text)
    assert card.data.license == "mit" and card.data.library_name == "sngan-hub"
    for score in record.scores.values():
        assert f"{score.value:.4g}" in text


def test_a_card_of_a_score_without_a_count():
    """As records of a user's own may have it."""
    record = replace(WEIGHTS[next(iter(OURS))], scores={"fid": Score(9.0, None, "their own")})
    assert "| `fid` | 9 | - | - | not stated | their own |" in score_table(record)


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
    if name == "sngan_cifar10_small":
        pytest.skip("its photographs are in no package")
    if name == "sngan_fashion32":
        if not FASHION_DEBIAN.is_dir():
            pytest.skip("Debian's dataset-fashion-mnist is not installed")
        test = load_images("fashion", "test")
        first = np.concatenate([np.flatnonzero(test.labels == k)[:30] for k in range(10)])
        real, n = torch.from_numpy(test.images[first]), 30
    else:
        pytest.importorskip("dicebear")
        real, n = torch.from_numpy(draw_avatars(g.classes, range(10), "test", 32)), 10  # drawing takes the time
    y = torch.arange(10).repeat_interleave(n)
    fake = g.for_sampling().sample(g.classes, n, seed=0)
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
    with pytest.raises(ValueError, match="sha256 must be .*got"):
        verify(record)
    with pytest.raises(FileNotFoundError, match="missing"):
        verify(replace(record, folder=tmp_path))


@pytest.mark.parametrize("call, text", [
    (lambda: load_generator("sngan_fashion"), "there is no model, folder or file 'sngan_fashion'; the nearest are sngan_fashion32"),
    (lambda: load_generator("sngan_fashion32.v9"), "no weights 'v9' of sngan_fashion32; choose one of v1"),
    (lambda: load_generator("sngan_fashion32", weights="v9"), "no weights 'v9' of sngan_fashion32; choose one of v1"),
    (lambda: load_generator("sngan_imagenet64"), "there are no published weights for sngan_imagenet64; create_generator"),
    (lambda: load_discriminator("sngan_cifar10.mimicry"), "no published discriminator for sngan_cifar10.mimicry; tags with a discriminator: mmgen_fid"),
    (lambda: load_discriminator("sngan_stl10"), "no published discriminator for sngan_stl10.mimicry; create_d"),
    (lambda: load_generator("sngan_imagenet128.mmgen"), "no weights 'mmgen' of sngan_imagenet128; choose one of authors_450k, authors_850k"),
    (lambda: load_generator("sngan_fashion.v1.x"), "no model, folder or file 'sngan_fashion.v1.x'; the nearest are sngan_fashion32"),
    (lambda: load_generator("sngan_fashion32.v1.x"), "no weights 'v1.x' of sngan_fashion32; choose one of v1"),
    (lambda: find_record("x", "generator"), "there is no model, folder or file 'x'; choose one of sngan_imagenet128"),
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
    with pytest.raises(ValueError, match="describes a Generator, not a discriminator"):
        load_discriminator(folder)
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        load_generator(tmp_path / "none" / "here")
    other = tmp_path / "x.pth"
    other.write_bytes(b"")
    with pytest.raises(ValueError, match="not an .npz file or a PyTorch file .the file is empty."):
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
    assert json.loads(listed.replace("'", '"')) == sorted(f"{n}{s}" for n in MODELS for s in ("", "_discriminator"))
    import hubconf

    for name in MODELS:
        assert "px" in getattr(hubconf, name).__doc__ and "weights" in getattr(hubconf, f"{name}_discriminator").__doc__


def test_torch_hub_has_the_architectures_of_a_users_records(tmp_path):
    record = WEIGHTS["sngan_fashion32.v1"]
    entry = {"folder": str(record.folder), "sha256": record.sha256}
    (tmp_path / "records.json").write_text(json.dumps({"my_clothes.v1": entry}))
    code = "import hubconf; print(hubconf.my_clothes().n_classes, hubconf.my_clothes.__doc__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "SNGAN_HUB_RECORDS": str(tmp_path / "records.json")})  # fmt: skip
    assert done.returncode == 0 and done.stdout.startswith("10 ") and "SNGAN_HUB_RECORDS" in done.stdout, done.stderr


def test_hashes_are_of_the_files():
    for record in OURS.values():
        assert hashlib.sha256((record.folder / "model.safetensors").read_bytes()).hexdigest() == record.sha256


# Others' weights -----------------------------------------------------------------------------------------------------


def test_every_published_file_has_a_record():
    files = {record.file for record in OTHERS.values() if record.publisher == "mmgeneration"}
    assert len(files) == 10 and all(re.search(r"-[0-9a-f]{8}[.]pth$", file) for file in files)
    count = {
        p: sum(r.publisher == p for r in OTHERS.values())
        for p in ("mmgeneration", "StudioGAN", "mimicry", "the authors")
    }
    assert count == {"mmgeneration": 20, "StudioGAN": 48, "mimicry": 32, "the authors": 12}
    assert WEIGHTS["sngan_imagenet128.mmgen_fid"].sha256 == "061bf803"
    assert WEIGHTS["sngan_imagenet128_discriminator.mmgen_fid"].file == WEIGHTS["sngan_imagenet128.mmgen_fid"].file
    assert WEIGHTS["sngan_cifar10.mmgen_fid"].sha256 == "ba0862a0"
    assert DEFAULT_TAGS["sngan_imagenet128"] == DEFAULT_TAGS["sngan_cifar10"] == "mmgen_fid"
    assert all(find_record(architecture, "generator") for architecture in {r.architecture for r in WEIGHTS.values()})


@pytest.mark.parametrize("name", OTHERS)
def test_others_record(name):
    record = OTHERS[name]
    assert record.licence and record.publisher and record.data and record.about and record.recipe and record.file
    assert record.folder is None and record.where in ("download", "drive", "hub", "by hand")
    assert "https://" in record.read and re.fullmatch(r"2026-1\d-\d\d", record.read_on)  # where and when it was read
    assert all(score.stated_by and score.evaluator for score in record.scores.values())
    assert not any(name in PROTOCOLS for name in record.scores)  # never under a protocol of ours
    model = MODELS[record.architecture]
    assert len(record.classes) == model.n_classes or ("imagenet64" in name and "by index, 0 to 99" in record.about)
    if record.kind == "generator":  # D's fields differ between code bases
        with torch.device("meta"):
            fields = {"first_norm": "channel"} if record.publisher == "torch-fidelity" else {}
            network = create_generator(record.architecture, **fields)
        assert sum(p.numel() for p in network.parameters()) == record.parameters
    assert all(url.startswith("https://") for url in record.urls)
    if record.publisher == "mmgeneration":
        assert len(record.urls) == 2 and record.sha256 == record.file[-12:-4]
    if record.where == "download":
        assert all(url.endswith(record.file) for url in record.urls)
    if record.where == "drive":
        assert record.page.startswith("https://drive.google.com/") and not record.sha256
    if record.where == "hub":
        assert record.licence == "MIT" and not record.scores and record.path.endswith(record.file)
        assert re.fullmatch(r"[0-9a-f]{40}", record.revision) and re.fullmatch(r"([0-9a-f]{64})?", record.sha256)
        assert record.file_bytes >= 12 * record.parameters * 0.99  # Adam's state too
        run = record.path.split("/")[-2]
        other = WEIGHTS[record.name if record.kind == "discriminator" else record.key.replace(".", "_discriminator.")]
        assert other.path == record.path.replace("/model=G-", "/model=?-").replace("/model=D-", "/model=G-").replace(
            "/model=?-", "/model=D-"
        ), run


def test_the_table_of_the_guide_has_every_published_file_with_its_source():
    """Printed by ``python -m training tables``; test_structure.py checks that it is up to date."""
    text = (ROOT / "docs/published-weights.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| sngan_")
    ]
    sources = dict(re.findall(r"^(\d+)[.] (.*)[.]$", text, re.M))
    found = set()
    for name, networks, address, size, digest, licence, source in rows:
        for letter in networks.split(", "):
            kind = {"G": "generator", "D": "discriminator"}[letter]
            (record,) = (r for r in OTHERS.values() if (r.name, r.kind) == (name, kind))
            found.add(record.key)
            assert "https://" in address and int(size) == round(record.file_bytes / 1e6) and licence == record.licence
            assert digest.strip("`.") == (record.sha256 or ("stated by the Hub" if record.repo else "not published"))
            assert sources[source] == f"{record.read}; read on {record.read_on}"
            assert not record.path or address.endswith(record.path.replace("%", "%25").replace("=", "%3D"))
    assert found == set(OTHERS) and len(rows) == len({(r.name, r.file) for r in OTHERS.values()})


def test_parameter_counts_of_others_discriminators():
    """mmgeneration's and StudioGAN's are wider between a block's convolutions."""
    for architecture, fields in (
        ("sngan_cifar10", {"head_bias": True, "hidden": "out"}),
        ("sngan_imagenet128", {"hidden": "out"}),
    ):
        with torch.device("meta"):
            d = create_discriminator(architecture, **fields)
        for tag in ("mmgen_fid", "studio", "studio_2020"):
            assert sum(p.numel() for p in d.parameters()) == WEIGHTS[f"{architecture}_discriminator.{tag}"].parameters
    for tag, fields in (("authors_850k", {}), ("authors_concat_450k", {"conditioning": "concat"})):
        with torch.device("meta"):
            d = create_discriminator("sngan_imagenet128", **fields)
        assert sum(p.numel() for p in d.parameters()) == WEIGHTS[f"sngan_imagenet128_discriminator.{tag}"].parameters
    for name in ("sngan_dogcat64", "sngan_dogcat128", "sngan_dogcat256"):
        with torch.device("meta"):
            d = create_discriminator(name)
        assert sum(p.numel() for p in d.parameters()) == find_record(name, "discriminator").parameters


def records_file(tmp_path, monkeypatch, content):
    path = tmp_path / "records.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    monkeypatch.setenv("SNGAN_HUB_RECORDS", str(path))


def test_the_users_records_add_and_replace_field_by_field(tmp_path, monkeypatch):
    before = WEIGHTS["sngan_imagenet128.mmgen_fid"]
    records_file(tmp_path, monkeypatch, {
        "sngan_imagenet128.mmgen_fid": {"url": "http://mirror/a.pth", "mirrors": ["http://other/a.pth"], "sha256": "AB" * 32},
        "sngan_cifar10.mmgen_fid": {"mirrors": ["http://near/c.pth"]},
        "my_model.v2": {"url": "http://mirror/mine-0123abcd.pth?x=1", "license": "CC0-1.0"},
        "sngan_stl10.mimicry": {"url": "http://mirror/netG.pth"},
    })  # fmt: skip
    record = WEIGHTS["sngan_imagenet128.mmgen_fid"]
    assert record.urls == ("http://mirror/a.pth", "http://other/a.pth") and record.sha256 == "ab" * 32
    assert record.licence == before.licence and record.file == before.file and record.scores == before.scores
    assert WEIGHTS["sngan_imagenet128_discriminator.mmgen_fid"].urls == record.urls  # the file holds both
    cifar = WEIGHTS["sngan_cifar10.mmgen_fid"]
    assert cifar.urls[0].startswith("https://download.openmmlab.com/") and cifar.urls[1] == "http://near/c.pth"
    assert cifar.sha256 == "ba0862a0"
    mine = find_record("my_model", "discriminator")
    assert mine.file == "mine-0123abcd.pth" and mine.licence == "CC0-1.0" and mine.where == "download"
    assert WEIGHTS["sngan_stl10.mimicry"].where == "download"
    with pytest.raises(ValueError, match="there is no published discriminator"):
        find_record("sngan_stl10", "discriminator")
    monkeypatch.delenv("SNGAN_HUB_RECORDS")
    assert WEIGHTS["sngan_imagenet128.mmgen_fid"] == before and "my_model.v2" not in WEIGHTS


def test_an_entry_without_addresses_keeps_the_published_ones(tmp_path, monkeypatch):
    before = {name: WEIGHTS[name] for name in ("sngan_imagenet128.mmgen_fid", "sngan_imagenet128.authors_850k")}
    assert all(len(record.urls) > 1 for record in before.values())
    records_file(tmp_path, monkeypatch, {"sngan_imagenet128.mmgen_fid": {"licence": "MIT"},
                                         "sngan_imagenet128.authors_850k": {"sha256": "cd" * 32}})  # fmt: skip
    for name, record in before.items():
        assert WEIGHTS[name].urls == record.urls
    assert WEIGHTS["sngan_imagenet128.mmgen_fid"].sha256 == before["sngan_imagenet128.mmgen_fid"].sha256
    assert WEIGHTS["sngan_imagenet128.authors_850k"].sha256 == "cd" * 32


def test_an_entry_for_a_generator_of_a_file_of_its_own_leaves_its_discriminators_file(tmp_path, monkeypatch):
    names = [f"sngan_imagenet128.{tag}" for tag in ("authors_850k", "authors_450k", "studio")]
    discriminators = [name.replace(".", "_discriminator.") for name in names]
    before = [WEIGHTS[name] for name in discriminators]
    mine = {"own_flowers32.v1": {"url": "https://near/g/model.safetensors"},
            "own_flowers32.v2": {"folder": "g", "sha256": "ab" * 32}, "own_flowers32.v3": {"url": "https://near/a.pth"},
            "sngan_fashion32.v1": {"folder": "g", "sha256": "ab" * 32}}  # fmt: skip
    records_file(tmp_path, monkeypatch, {
        names[0]: {"sha256": "cd" * 32, "licence": "MIT"}, names[1]: {"url": "https://near/ResNetGenerator_450000.npz"},
        names[2]: {"url": "https://near/G.pth"}, **mine,
    })  # fmt: skip
    assert [WEIGHTS[name] for name in discriminators] == [replace(before[0], licence="MIT"), *before[1:]]
    assert WEIGHTS[names[2]].urls == ("https://near/G.pth",) and not WEIGHTS[names[2]].repo
    assert WEIGHTS["sngan_fashion32_discriminator.v1"].where == "shipped"
    assert [f"own_flowers32_discriminator.v{i}" in WEIGHTS for i in (1, 2, 3)] == [False, False, True]
    records_file(tmp_path, monkeypatch, {
        names[1]: {"url": "https://drive.google.com/drive/folders/x"}, names[2]: {"repo": "me/copy"}})  # fmt: skip
    assert WEIGHTS[discriminators[1]].urls == ("https://drive.google.com/drive/folders/x",)
    assert (WEIGHTS[discriminators[2]].repo, WEIGHTS[discriminators[2]].path) == ("me/copy", before[2].path)


def test_a_pair_of_two_files_of_one_name_has_two_places(tmp_path, monkeypatch):
    url = "https://near/{}/model.safetensors".format
    d = "own_flowers32_discriminator"
    records_file(tmp_path, monkeypatch, {
        "own_flowers32.v1": {"url": url("g")}, f"{d}.v1": {"url": url("d")},
        "own_flowers32.v2": {"url": "https://near/both.pth"}, f"{d}.v2": {"url": "https://near/both.pth", "licence": "MIT"},
        "own_flowers32.v3": {"repo": "me/x", "path": "g/a.pth"}, f"{d}.v3": {"repo": "me/x", "path": "d/a.pth"},
        "own_flowers32.v4": {"url": url("g"), "sha256": "a" * 64, "kind": "generator", "mirrors": []},
        f"{d}.v4": {"url": url("d"), "sha256": "b" * 64, "kind": "discriminator"},  # recognised by its hash
    })  # fmt: skip
    expected = ["model.safetensors", "both.pth", "a.pth", "model.safetensors"]
    assert [WEIGHTS[f"own_flowers32.v{i}"].file for i in (1, 2, 3, 4)] == expected
    expected = ["discriminator/model.safetensors", "both.pth", "discriminator/a.pth", "model.safetensors"]
    assert [WEIGHTS[f"{d}.v{i}"].file for i in (1, 2, 3, 4)] == expected


def test_the_file_of_a_repository_is_its_path(tmp_path, monkeypatch):
    records_file(tmp_path, monkeypatch, {"own_flowers32.v1": {"repo": "me/pets", "file": "G.pth"}})
    assert WEIGHTS["own_flowers32.v1"].path == WEIGHTS["own_flowers32.v1"].file == "G.pth"


def test_a_date_in_the_name_of_a_file_is_no_hash(tmp_path, monkeypatch):
    records_file(tmp_path, monkeypatch, {"our_flowers64.v1": {"url": "https://example.org/flowers-20240131.pth"},
                                         "our_flowers64.v2": {"url": "https://example.org/flowers-2024013a.pth"}})  # fmt: skip
    assert [WEIGHTS[f"our_flowers64.v{i}"].sha256 for i in (1, 2)] == ["", "2024013a"]


@pytest.mark.parametrize("content, text", [
    ("{", "not a readable JSON file"),
    ("3", "must contain an object"),
    ({"sngan_cifar10": {"url": "http://x/y"}}, 'each entry must have the form "architecture.tag": {...} (got \'sngan_cifar10\')'),
    ({"a.b": {"url": "http://x/y", "colour": 1}}, "a.b: unknown field colour; the allowed fields are name, url"),
    ({"a.b": {"url": "http://x/y", "sha256": "xyz"}}, "sha256 must be hexadecimal digits (got 'xyz')"),
    ({"a.b": {"url": 3}}, "url must be a string or a list of strings (got 3)"),
    ({"a.b": {"licence": "MIT"}}, "one of url, repo or folder is required"),
    ({"a.b": {"url": "http://x/y", "file": 5}}, "records.json: a.b: file must be a string (got 5)"),
    ({"a.b": {"url": "http://x/y", "license": None}}, "a.b: license must be a string (got None)"),
    ({"a.b": {"url": "http://x/y", "recipe": [1]}}, "a.b: recipe must be an object (got [1])"),
    ({"a.b": {"url": "http://x/y", "parameters": "many"}}, "a.b: parameters must be an integer (got 'many')"),
    ({"a.b": {"url": "http://x/y", "parameters": True}}, "a.b: parameters must be an integer (got True)"),
    ({"a.b": {"repo": 7}}, "a.b: repo must be a string (got 7)"),
    ({"a.b": {"url": "http://x/y", "scores": {"fid": 5}}}, "a.b: scores: "),
    ({"a.b": {"url": "http://x/y", "scores": {"fid": {"value": "low", "n": 5, "evaluator": "x"}}}},
     "a.b: scores: fid: value must be a number, and n an integer or null (got 'low' and 5)"),
    ({"a.b": {"url": "http://x/y", "file": "../../../victim.npz"}}, "a.b: file must be a file name or a path below the cache"),
    ({"a.b": {"url": "http://x/y", "file": "/victim.npz"}}, "without .., drive or backslash"),
    ({"a.b": {"url": "http://x/y", "file": "a\\victim.npz"}}, "without .., drive or backslash"),
    ({"a.b": {"url": "http://x/y", "file": "C:victim.npz"}}, "without .., drive or backslash"),
    ({"a.b": {"repo": "me/pets"}}, "a.b: a repo needs the path of the file in it, such as generator/model.safetensors"),
    ({"a.b": {"repo": "me/pets", "path": "G.pth", "mirrors": "http://x/y"}}, "but this file is in me/pets; to download it"),
    ({"sngan_cifar10.studio": {"mirrors": "http://x/y"}}, "sngan_cifar10.studio: mirrors are further addresses of a url"),
    ({"sngan_fashion32.v1": {"mirrors": "http://x/y"}}, "sngan_fashion32.v1: mirrors are further addresses of a url"),
    ({"a.b": {"url": "http://x/y", "kind": "discriminator"}}, "a.b: kind must be generator, as the name says (got 'disc"),
    ([{"name": "a.b", "url": "http://x/y"}] * 2, "there are two entries named a.b; a discriminator's is named"),
    (["a.b"], 'each entry of a list must be an object with a "name" architecture.tag (got a.b)'),
    ([{"name": ["a"], "url": "http://x/y"}], 'must be an object with a "name"'),
    ({"a.b": {"url": "http://x/.."}}, "without .., drive or backslash"),
])  # fmt: skip
def test_bad_records_are_one_line(content, text, tmp_path, monkeypatch, capsys):
    records_file(tmp_path, monkeypatch, content)
    with pytest.raises(SystemExit) as stop:
        sngan(["list"])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and text in said and "SNGAN_HUB_RECORDS" in said and said.count("\n") == 1, said
