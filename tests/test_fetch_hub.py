"""StudioGAN's files on a Hub over loopback: fetched by path, of one commit, checked, converted and cached."""

import hashlib
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from sngan_hub import WEIGHTS
from sngan_hub.hub.cache import forget
from sngan_hub.hub.download import fetch
from sngan_hub.weights.record import Record

from . import minihub
from .conftest import GOLDEN, ROOT

STUDIO = GOLDEN / "foreign" / "studio32_cond10"


@pytest.fixture
def hub():
    server, hub, url = minihub.start(lfs_suffixes=(".pth",))
    record = WEIGHTS["sngan_cifar10.studio"]
    owner, _ = record.repo.split("/")
    repo = minihub.Repo(record.repo, "model", owner, False)
    hub.repos["model", record.repo] = repo
    hub.url = url

    def put(path, data):
        digest = hashlib.sha256(data).hexdigest()
        hub.lfs[digest] = data
        entry = {"oid": minihub.git_oid(data), "size": len(data), "data": None, "lfs": digest}
        files = {**repo.commits[repo.branches["main"]]["files"], path: entry}
        commit = repo.commit("main", files, "upload")
        repo.tags[record.revision] = commit  # a tag stands for the commit of the records
        return commit, digest

    hub.put = put
    yield hub
    server.shutdown()


def from_hub(hub, tmp_path, what="load_generator('sngan_cifar10.studio')", **environment):
    code = f"from sngan_hub import load_generator, load_discriminator\ntry: n = {what}\nexcept (ValueError, OSError) as e: print('ERROR', e)\nelse: print(n.classes[6], n.config['hidden'] if 'hidden' in n.config else n.config['bn_eps'])"
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
                   "HF_HOME": str(tmp_path / "hf"), "SNGAN_HUB_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1", **environment}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_lost_connection_is_not_a_missing_file_and_does_not_give_up_the_partners_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path))
    asked = []

    def metadata(address):
        asked.append(address)
        return SimpleNamespace(commit_hash="c" * 40, etag="0" * 40)

    def lost(*_, **__):
        raise LocalEntryNotFoundError("the connection broke")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", metadata)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lost)
    record = WEIGHTS["sngan_cifar10_discriminator.studio"]
    with pytest.raises(FileNotFoundError, match="the download failed: the connection broke; or download .* yourself"):
        fetch(record, "c" * 40)
    assert len(asked) == 1 and "c" * 40 in asked[0]


def test_models_of_one_repository_share_no_file_that_one_of_them_deletes(tmp_path, monkeypatch):
    """Locks are per model; the Hub's client stores equal files of a repository once."""
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path))
    stated = SimpleNamespace(commit_hash="c" * 40, etag=hashlib.sha256(b"{}").hexdigest())
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda address: stated)

    def once(repo, path, revision, cache_dir):
        blob, link = cache_dir / "blob", cache_dir / path
        link.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(b"{}")
        link.symlink_to(blob)
        return str(link)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", once)
    one, other = (fetch(Record(f"a.{tag}", "generator", repo="me/m", path=f"{tag}/config.json", file="config.json")).path
                  for tag in ("v1", "v2"))  # fmt: skip
    forget(one)
    assert other.read_bytes() == b"{}"


@pytest.mark.slow
def test_studiogans_files_from_a_hub(hub, tmp_path):
    g, d = WEIGHTS["sngan_cifar10.studio"], WEIGHTS["sngan_cifar10_discriminator.studio"]
    commit, digest = hub.put(g.path, (STUDIO / g.file).read_bytes())
    assert from_hub(hub, tmp_path) == "frog 0.0001"
    source = json.loads((tmp_path / "cache/weights/sngan_cifar10.studio/generator/source.json").read_text())
    assert source["sha256"] == digest and source["revision"] == commit  # the branch's commit is kept for its partner
    said = from_hub(hub, tmp_path, "load_discriminator('sngan_cifar10.studio')")
    assert said.startswith(
        "ERROR sngan_cifar10_discriminator.studio: Mingguksky/PyTorch-StudioGAN does not contain model=D-best-weights-step=88000.pth"
    )
    assert "Mingguksky/PyTorch-StudioGAN" in said and "\n" not in said
    hub.put(d.path, (STUDIO / d.file).read_bytes())
    assert from_hub(hub, tmp_path, "load_discriminator('sngan_cifar10.studio')") == "frog out"
    requests = len(hub.requests)
    assert from_hub(hub, tmp_path) == "frog 0.0001" and len(hub.requests) == requests  # cached
    assert not list((tmp_path / "cache/hub").rglob("*.pth"))  # what was converted is not kept twice


@pytest.mark.slow
def test_a_hub_whose_file_is_not_what_it_states(hub, tmp_path):
    record = WEIGHTS["sngan_cifar10.studio"]
    data = (STUDIO / record.file).read_bytes()
    _, digest = hub.put(record.path, data)
    hub.lfs[digest] = bytes(reversed(data))
    said = from_hub(hub, tmp_path)
    assert "the Hub states" in said and "the file was deleted" in said and "\n" not in said
    assert not (tmp_path / "cache/weights/sngan_cifar10.studio/generator").exists()
    hub.lfs[digest] = data
    assert from_hub(hub, tmp_path) == "frog 0.0001"


@pytest.mark.slow
def test_a_hub_whose_file_is_not_the_records_is_refused_before_the_download(hub, tmp_path):
    record = WEIGHTS["sngan_cifar10.studio"]
    _, digest = hub.put(record.path, (STUDIO / record.file).read_bytes())
    (tmp_path / "records.json").write_text(json.dumps({record.name: {"sha256": "ab" * 32}}))
    said = from_hub(hub, tmp_path, SNGAN_HUB_RECORDS=str(tmp_path / "records.json"))
    assert f"the Hub states sha256 {digest[:16]}" in said and "nothing was downloaded" in said and "\n" not in said
    assert not list((tmp_path / "cache").rglob("*.pth"))


@pytest.mark.slow
def test_names_with_a_percent_sign(hub, tmp_path):
    """Its folder is named Efficient-CIFAR10-100%, which an address must encode."""
    record = WEIGHTS["sngan_cifar10.studio_100_ada"]
    _, digest = hub.put(record.path, (STUDIO / WEIGHTS["sngan_cifar10.studio"].file).read_bytes())
    (tmp_path / "records.json").write_text(json.dumps({record.name: {"sha256": digest}}))
    what = "load_generator('sngan_cifar10.studio_100_ada')"
    assert from_hub(hub, tmp_path, what, SNGAN_HUB_RECORDS=str(tmp_path / "records.json")) == "frog 0.0001"
    source = json.loads((tmp_path / "cache/weights/sngan_cifar10.studio_100_ada/generator/source.json").read_text())
    assert "Efficient-CIFAR10-100%25/" in source["from"] and record.revision in source["from"]


@pytest.mark.slow
def test_a_hub_that_is_not_there(hub, tmp_path):
    del hub.repos["model", WEIGHTS["sngan_cifar10.studio"].repo]
    said = from_hub(hub, tmp_path)
    assert (
        said.startswith("ERROR sngan_cifar10.studio: ")
        and "save it as" in said
        and "model=G-best" in said
        and "\n" not in said
    )
    hub.url = "http://127.0.0.1:9"
    said = from_hub(hub, tmp_path)
    assert "the download failed" in said and "save it as" in said and "model=G-best" in said and "\n" not in said, said
