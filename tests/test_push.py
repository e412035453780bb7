"""Networks to the Hub and back, over a loopback Hub: pushes, loads, tokens, tags, and what is refused."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi, constants
from PIL import Image

import sngan_hub
from sngan_hub import load_discriminator, load_generator
from sngan_hub.cli.main import main as sngan
from sngan_hub.hub.mirror import mirror_to_hub
from sngan_hub.hub.push import networks_in
from training.__main__ import main as training
from training.finetune.load import load_donor

from . import minihub
from .hub_of_push import PAIR, hub, weight_of

hub = hub


def test_a_pair_goes_up_and_comes_back(hub):
    said = hub.call(sngan, "push", PAIR, "alice/mine", "--tag", "v1")
    assert (
        said.returncode == 0 and said.stdout.count("\n") == 2 and f"{hub.url}/alice/mine-discriminator" in said.stdout
    )
    for repo, more in (("alice/mine", set()), ("alice/mine-discriminator", {"calibration.json"})):
        assert hub.files(repo) - {".gitattributes"} == {"config.json", "model.safetensors", "README.md"} | more
    g, d = load_generator(PAIR), load_discriminator(PAIR)
    assert hub.load("load_generator('alice/mine')") == f"Generator {g.classes} {weight_of(g)}"
    assert hub.load("load_discriminator('alice/mine')") == f"Discriminator {d.classes} {weight_of(d)}"
    assert hub.load("load_discriminator('alice/mine-discriminator')").startswith("Discriminator")
    assert hub.load("Generator.from_pretrained('alice/mine', revision='v1')").startswith("Generator")
    requests = len(hub.hub.requests)
    assert hub.load("load_generator('alice/mine')", offline=True).startswith("Generator")  # once loaded, always there
    assert len(hub.hub.requests) == requests
    assert "there is no such revision" in hub.load("load_generator('alice/mine', revision='v9')")
    assert "not in the cache, and the Hub cannot be reached" in hub.load("load_generator('alice/else')", offline=True)
    sampled = hub.call(sngan, "sample", "alice/mine", "--n", "2", "--seed", "1", "--out", hub.tmp_path / "a.png")
    assert sampled.returncode == 0 and Image.open(hub.tmp_path / "a.png").text["model"] == "alice/mine"


def test_a_repository_without_a_discriminator_is_a_donor(hub):
    assert hub.call(sngan, "push", PAIR / "generator", "alice/alone").returncode == 0
    g, d = load_donor("alice/alone")
    assert g.classes == load_generator(PAIR).classes and d is None
    hub.call(sngan, "push", PAIR, "alice/pair")
    assert load_donor("alice/pair")[1] is not None
    for absent in ("alice/none", "alice/alone-discriminator"):
        with pytest.raises(FileNotFoundError, match=f"{absent}: there is no such repository"):
            load_donor(absent)


def test_a_description_on_the_hub_stays_where_the_folder_has_none(hub, tmp_path):
    """A folder of a snapshot has no card, and the one that is generated for it says nothing of data and licence."""
    shutil.copytree(PAIR / "generator", tmp_path / "plain", ignore=shutil.ignore_patterns("README.md"))
    hub.call(sngan, "push", PAIR / "generator", "alice/described", "--tag", "v1")
    before = hub.card("alice/described")
    assert "Fashion-MNIST" in before
    for more in ([], ["--revision", "next"], ["--tag", "v2"], ["--tag", "v2"]):
        assert hub.call(sngan, "push", tmp_path / "plain", "alice/described", *more).returncode == 0
        assert hub.card("alice/described", "next" if "next" in more else "main") == before
    assert hub.call(sngan, "push", tmp_path / "plain", "alice/plain").returncode == 0
    first = hub.card("alice/plain")
    assert "Not stated by the publisher" in first
    hub.call(sngan, "push", PAIR / "generator", "alice/plain")
    assert hub.card("alice/plain") != first, "a card of the folder is pushed"


def test_a_card_that_a_save_generated_is_no_description(hub, tmp_path):
    """It names no repository, and the classes of the day it was saved."""
    network = sngan_hub.Generator(32, 3, widths=[4] * 4)
    network.save_pretrained(tmp_path / "saved")
    stale = (tmp_path / "saved" / "README.md").read_text()
    network.name_classes(["ant", "bee", "cat"])
    network.save_pretrained(tmp_path / "saved")
    assert hub.call(sngan, "push", tmp_path / "saved", "alice/a").returncode == 0
    assert 'load_generator("alice/a")' in hub.card("alice/a") and "Its 3 classes: ant, bee, cat" in hub.card("alice/a")
    assert hub.call(sngan, "push", PAIR / "generator", "alice/a").returncode == 0
    described = hub.card("alice/a")
    assert hub.call(sngan, "push", tmp_path / "saved", "alice/a").returncode == 0
    assert hub.card("alice/a") == described
    (tmp_path / "saved" / "README.md").write_text(stale.replace("Code:", "It draws my animals.\n\nCode:"))
    assert hub.call(sngan, "push", tmp_path / "saved", "alice/a").returncode == 0
    assert "It draws my animals." in hub.card("alice/a"), "a card that a person has edited is pushed"


def test_pushes_from_python_leave_a_persons_card(hub, tmp_path):
    network = sngan_hub.Generator(32, 2, widths=[4] * 4)
    assert hub.call(sngan, "push", PAIR / "generator", "alice/mine").returncode == 0
    described = hub.card("alice/mine")
    hub.user("hf_alice", False)
    for more in ({}, {"ignore_patterns": "*.txt"}):
        network.push_to_hub("alice/mine", **more)
        assert hub.card("alice/mine") == described and hub.load("load_generator('alice/mine')").startswith(
            "Generator None"
        )
    network.save_pretrained(tmp_path / "mine", push_to_hub=True, repo_id="alice/mine")  # of a generated card
    assert hub.card("alice/mine") == described
    (tmp_path / "mine" / "README.md").write_text("# Cats\n\nDrawn by hand.\n")
    network.save_pretrained(tmp_path / "mine", push_to_hub=True, repo_id="alice/mine")
    assert hub.card("alice/mine") == "# Cats\n\nDrawn by hand.\n" == (tmp_path / "mine" / "README.md").read_text()
    assert hub.files("alice/mine") >= {"config.json", "model.safetensors"}
    network.push_to_hub("alice/new")
    network.name_classes(["cat", "dog"])
    network.push_to_hub("alice/new")
    assert 'load_generator("alice/new")' in hub.card("alice/new") and "cat, dog" in hub.card("alice/new")


def test_without_private_the_accounts_settings_decide(hub, monkeypatch):
    asked = []
    inner = HfApi.create_repo

    def create_repo(self, *arguments, **named):
        asked.append(named["private"])
        return inner(self, *arguments, **named)

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    hub.call(sngan, "push", PAIR / "generator", "alice/a")
    hub.call(sngan, "push", PAIR / "generator", "alice/b", "--private")
    assert asked == [None, True]


def test_private_repositories_tokens_branches_and_pull_requests(hub):
    assert hub.call(sngan, "push", PAIR / "generator", "alice/secret", "--private").returncode == 0
    assert hub.hub.repos["model", "alice/secret"].private
    assert hub.load("load_generator('alice/secret')").startswith("Generator")
    for token in (None, "hf_bob", "hf_wrong"):
        said = hub.load("load_generator('alice/secret', token=False)" if token is None else "load_generator('alice/secret')",
                        token=token)  # fmt: skip
        assert said.startswith("ERROR alice/secret: ") and "\n" not in said and "hf auth login" in said, said
    wrong = hub.call(sngan, "push", PAIR / "generator", "alice/mine", token="hf_wrong")
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1 and "hf auth login" in wrong.stderr, wrong.stderr
    assert hub.call(sngan, "push", PAIR / "generator", "alice/mine", "--revision", "try").returncode == 0
    assert "model.safetensors" in hub.files("alice/mine", "try") and "model.safetensors" not in hub.files("alice/mine")
    said = hub.call(sngan, "push", PAIR / "generator", "alice/mine", "--create-pr")
    assert said.returncode == 0 and "discussions/1" in said.stdout
    assert "model.safetensors" not in hub.files("alice/mine") and "model.safetensors" in hub.files(
        "alice/mine", "refs/pr/1"
    )
    assert "there is no config.json" in hub.load("load_generator('alice/mine')")  # nothing on main yet
    assert hub.load("load_generator('alice/mine', revision='try')").startswith("Generator")


def test_what_must_be_private_does_not_go_to_a_public_repository(hub):
    assert hub.call(sngan, "push", PAIR / "discriminator", "alice/open").returncode == 0
    files = hub.files("alice/open")
    card = hub.card("alice/open")
    for command in (["push", PAIR / "generator", "alice/open"], ["mirror", "sngan_fashion32", "alice/open"]):
        refused = hub.call(sngan, *command, "--private")
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1, refused.stderr
        assert (
            "private: alice/open exists and is public, so nothing was uploaded to it; make it private" in refused.stderr
        )
        assert hub.files("alice/open") == files and hub.card("alice/open") == card
    for _ in range(2):
        assert hub.call(sngan, "push", PAIR / "generator", "alice/own", "--private").returncode == 0


def test_an_interrupted_upload_is_repeated(hub):
    inner, failed = minihub.Handler.commit, []

    def broken(self, repo, ref):
        if not failed:
            failed.append(1)
            raise minihub.Err(500, None, "out of order")
        return inner(self, repo, ref)

    minihub.Handler.commit = broken
    try:
        first = hub.call(sngan, "push", PAIR / "generator", "alice/mine")
        assert first.returncode == 2 and "alice/mine: the Hub answered 500" in first.stderr, first.stderr
        assert "model.safetensors" not in hub.files("alice/mine")
        assert hub.call(sngan, "push", PAIR / "generator", "alice/mine").returncode == 0
    finally:
        minihub.Handler.commit = inner
    assert hub.load("load_generator('alice/mine')").startswith("Generator")


def test_a_tag_stays_where_it_is(hub, tmp_path):
    """It is refused before the upload, unless the push changes nothing: then it was interrupted, and is repeated."""
    sngan_hub.Generator(32, widths=[4] * 4).save_pretrained(tmp_path / "g")
    card = (tmp_path / "g" / "README.md").read_text()

    def push(*flags):
        return hub.call(sngan, "push", tmp_path / "g", "alice/mine", *flags)

    assert push("--tag", "v1").returncode == push("--tag", "v1").returncode == 0
    repo = hub.hub.repos["model", "alice/mine"]
    first = repo.branches["main"]
    (tmp_path / "g" / "README.md").write_text("# Another\n")
    refused = push("--tag", "v1")
    assert refused.returncode == 2 and "tag: alice/mine has the tag v1 already" in refused.stderr, refused.stderr
    assert repo.branches == {"main": first} and repo.tags == {"v1": first}
    assert push().returncode == 0
    (tmp_path / "g" / "README.md").write_text(card)
    assert push("--tag", "v1").returncode == 2  # the files of v1, but in a new commit
    assert push("--tag", "v2").returncode == 0 and repo.tags == {"v1": first, "v2": repo.branches["main"]}
    refused = push("--tag", "v3", "--create-pr")
    assert refused.returncode == 2 and "a pull request gets no tag" in refused.stderr and not repo.prs


def test_a_pair_is_refused_whole(hub, tmp_path):
    """Where the discriminator's repository refuses, the generator is not uploaded either."""
    sngan_hub.Discriminator(32, widths=[4] * 4).save_pretrained(tmp_path / "d")
    assert hub.call(sngan, "push", tmp_path / "d", "alice/mine-discriminator", "--tag", "v1").returncode == 0
    for flags, text in ((["--tag", "v1"], "has the tag v1 already"), (["--private"], "exists and is public")):
        refused = hub.call(sngan, "push", PAIR, "alice/mine", *flags)
        assert refused.returncode == 2 and f"alice/mine-discriminator {text}" in refused.stderr, refused.stderr
        assert ("model", "alice/mine") not in hub.hub.repos
    assert hub.call(sngan, "push", PAIR, "alice/mine", "--tag", "v2").returncode == 0


def test_a_discriminator_of_its_own_loads_as_its_card_says(hub):
    from sngan_hub.hub.calibrations import load_calibration
    from sngan_hub.networks.card import network_card

    for kind, repo in (("generator", "alice/pets"), ("discriminator", "alice/judge")):
        assert hub.call(sngan, "push", PAIR / kind, repo).returncode == 0
    assert 'load_discriminator("alice/judge")' in network_card(load_discriminator(PAIR), "alice/judge")
    for offline in (False, True):
        assert hub.load("load_discriminator('alice/judge')", offline=offline).startswith("Discriminator")
    assert "discriminator 640,289" in hub.call(sngan, "info", "alice/judge").stdout
    hub.hub.requests.clear()
    for repo in ("alice/pets", "alice/none"):  # a generator alone, and nothing
        said = hub.load(f"load_discriminator({repo!r})")
        assert said.startswith(f"ERROR {repo}-discriminator: there is no such repository"), said
    assert not any("_lfs" in request["path"] for request in hub.hub.requests)  # no weights were fetched to find out
    assert "there is no such revision" in hub.load("load_discriminator('alice/judge', revision='v9')")
    assert load_calibration("alice/judge") == load_calibration("sngan_fashion32")
    for repo in ("alice/pets", "alice/none"):
        with pytest.raises(FileNotFoundError, match="alice/.*: there is no "):
            load_calibration(repo)


def test_a_push_between_two_downloads_does_not_mix_two_networks(hub, monkeypatch):
    from sngan_hub.networks import repository

    first, second = (sngan_hub.Generator(32, 2, widths=[4] * 4, classes=names) for names in (["a", "b"], ["c", "d"]))
    hub.user("hf_alice", False)
    first.push_to_hub("alice/mine")
    inner = repository.hf_hub_download

    def then_pushed(repo, name, **how):
        path = inner(repo, name, **how)
        if name == "config.json":
            monkeypatch.setattr(repository, "hf_hub_download", inner)
            second.push_to_hub("alice/mine")
        return path

    monkeypatch.setattr(repository, "hf_hub_download", then_pushed)
    for offline in (False, True):
        loaded = hub.load("load_generator('alice/mine')", offline=offline)
        assert loaded == f"Generator ['a', 'b'] {weight_of(first)}"
        if not offline:
            assert (
                hub.load("load_generator('alice/mine')", token="hf_bob") == f"Generator ['c', 'd'] {weight_of(second)}"
            )


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_damaged_file_in_the_hubs_cache_is_fetched_again(file, hub):
    assert hub.call(sngan, "push", PAIR, "alice/mine").returncode == 0
    assert hub.call(sngan, "push", PAIR / "discriminator", "alice/judge").returncode == 0
    for what in ("load_generator('alice/mine')", "load_discriminator('alice/judge')"):
        whole = hub.load(what)
        assert whole.split()[0] in ("Generator", "Discriminator")
        for path in (hub.tmp_path / "cache of hf_alice").rglob(file):
            path.resolve().write_bytes(path.read_bytes()[:-9])
        assert f"{file} in the cache of the Hub was damaged, and is deleted now: load the network again" in hub.load(
            what
        )
        assert hub.load(what) == whole


def test_a_whole_file_in_the_store_of_all_repositories_is_not_damaged(tmp_path):
    """The Hub's client links blobs/SHA256 to a store of files that have other names, also of 64 digits."""
    from sngan_hub.networks.repository import OtherKind, damaged_files_deleted

    content = b'{"class": "Discriminator"}'
    shared, blob, path = (tmp_path / name for name in ("e" * 64, hashlib.sha256(content).hexdigest(), "config.json"))
    shared.write_bytes(content)
    blob.symlink_to(shared)
    path.symlink_to(blob)
    with pytest.raises(ValueError, match="^no$"), damaged_files_deleted([str(path)]):
        raise ValueError("no")
    assert path.read_bytes() == content
    shared.write_bytes(content[:-1])
    with pytest.raises(OtherKind), damaged_files_deleted([str(path)]):
        raise OtherKind("the other kind")
    assert path.exists()
    with pytest.raises(ValueError, match="^no; config.json in the cache"), damaged_files_deleted([str(path)]):
        raise ValueError("no")
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_that_cannot_be_deleted_is_named(tmp_path, monkeypatch):
    from sngan_hub.networks import repository

    (tmp_path / ("a" * 64)).write_bytes(b"damaged")
    (tmp_path / "config.json").symlink_to(tmp_path / ("a" * 64))

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(repository, "_delete", refuse)
    with pytest.raises(
        ValueError, match="^no; config.json in the cache of the Hub is damaged and could not be deleted"
    ):
        with repository.damaged_files_deleted([str(tmp_path / "config.json")]):
            raise ValueError("no")


def test_all_that_a_person_can_add_to_a_generated_card_makes_it_theirs():
    from sngan_hub.networks.card import is_generated, network_card

    for names in (["a", "b"], None):
        for network in (sngan_hub.Generator(32, 2 * bool(names), widths=[4] * 4, classes=names),
                        sngan_hub.Discriminator(32, 2 * bool(names), widths=[4] * 4, down="1100", classes=names)):  # fmt: skip
            for repo in ("", "mine", "alice/mine"):
                card = network_card(network, repo)
                assert is_generated(card)
                places = ["# ", " px, of", ".\nCode", "\n\n```python", "\n```", "\n## Data", "publisher.", "- pytorch"]
                for place in places:
                    for added in (place + " Maria", "Maria " + place):
                        assert place in card and not is_generated(card.replace(place, added, 1)), (place, added)
    card = network_card(sngan_hub.Generator(32, 2, widths=[4] * 4, classes=["a", "b"]))
    assert not is_generated(card.replace("classes: a, b.", "classes: a, b. They live in Lisbon."))


def test_a_card_of_a_persons_stays_when_all_else_is_deleted(hub):
    from huggingface_hub import HfApi, hf_hub_download

    hub.user("hf_alice", False)
    network = sngan_hub.Generator(32, 2, widths=[4] * 4, classes=["a", "b"])
    network.push_to_hub("alice/mine")
    HfApi().upload_file(path_or_fileobj=b"# Cats of Lisbon", path_in_repo="README.md", repo_id="alice/mine")
    network.push_to_hub("alice/mine", delete_patterns="*")
    assert Path(hf_hub_download("alice/mine", "README.md")).read_text().strip() == "# Cats of Lisbon"


def test_private_is_refused_for_a_public_repository_from_python_too(hub, tmp_path, monkeypatch):
    hub.user("hf_alice", False)
    network = sngan_hub.Generator(32, 0, widths=[4] * 4)
    network.push_to_hub("alice/open")
    with pytest.raises(ValueError, match="alice/open exists and is public, so nothing was uploaded"):
        network.push_to_hub("alice/open", private=True)
    network.push_to_hub("alice/closed", private=True)
    monkeypatch.setattr("sngan_hub.hub.mirror._mirrored", lambda *_: pytest.fail("it downloaded"))
    with pytest.raises(ValueError, match="private: alice/open exists and is public"):
        next(mirror_to_hub(["sngan_fashion32"], "alice/open", True, tmp_path / "records.json"))


def test_a_mirror_on_a_hub_says_what_it_has_copied_before_it_goes_on(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / "cache"))
    hub.user("hf_alice", False)
    lines = mirror_to_hub(["sngan_fashion32", "sngan_avatars32"], "alice/weights", False, tmp_path / "records.json")
    said = [next(lines) for _ in range(4)]  # of the repository, of both networks, and of the licence
    assert said[3].startswith("sngan_fashion32.v1: licence")
    folder = tmp_path / "cache" / "mirrors" / "alice--weights"
    assert (folder / "sngan_fashion32.v1").is_dir() and not (folder / "sngan_avatars32.v1").exists()
    said += lines
    assert [line.count("SNGAN_HUB_RECORDS") for line in said] == [0] * (len(said) - 1) + [1]
    assert "sngan_fashion32.v1/discriminator/calibration.json" in hub.files("alice/weights")


def test_a_subclass_updates_its_own_card(hub):
    from huggingface_hub import ModelCard, hf_hub_download

    hub.user("hf_alice", False)

    class Mine(sngan_hub.Generator):
        said = "first"

        def generate_model_card(self, **_):
            return ModelCard(f"# Mine\n\n{self.said}")

    network = Mine(32, 0, widths=[4] * 4)
    for network.said in ("first", "second"):
        network.push_to_hub("alice/mine")
        assert network.said in Path(hf_hub_download("alice/mine", "README.md")).read_text()


def test_a_calibration_out_of_reach_is_not_a_missing_one(hub):
    from sngan_hub.hub.calibrations import load_calibration

    assert hub.call(sngan, "push", PAIR, "alice/mine").returncode == 0
    hub.user("hf_alice", True)
    with pytest.raises(FileNotFoundError, match="alice/mine-discriminator: .* the Hub cannot be reached"):
        load_calibration("alice/mine")
    hub.user("hf_alice", False)
    with pytest.raises(FileNotFoundError, match="alice/none-discriminator: there is no such repository"):
        load_calibration("alice/none")
    assert load_calibration("alice/mine").slope
    repo = hub.hub.repos["model", "alice/mine-discriminator"]
    files = {name: e for name, e in repo.commits[repo.branches["main"]]["files"].items() if name != "calibration.json"}
    repo.commit("main", files, "not calibrated")
    with pytest.raises(FileNotFoundError, match="there is no calibration.json; the publisher must fit it"):
        load_calibration("alice/mine")


def test_what_is_not_our_network_is_refused_by_name(hub, tmp_path):
    from safetensors.torch import load_file, save_file

    def changed(what):
        folder = tmp_path / "changed"
        folder.mkdir(exist_ok=True)
        tensors = load_file(PAIR / "generator" / "model.safetensors")
        config = json.loads((PAIR / "generator" / "config.json").read_text())
        if what == "missing":
            tensors.pop("conv.bias")
        elif what == "surplus":
            tensors["more"] = torch.zeros(1)
        elif what == "shape":
            tensors["conv.bias"] = torch.zeros(4)
        elif what == "class":
            config["class"] = "Discriminator"
        save_file(tensors, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(config))
        if what == "pickle":
            torch.save(tensors, folder / "pytorch_model.bin")
            (folder / "model.safetensors").unlink()
        return folder

    from huggingface_hub import HfApi

    for what, text in {"missing": "conv.bias is missing", "surplus": "more is not a tensor", "shape": "conv.bias has shape",
                       "class": "describes a Discriminator, not a generator",
                       "pickle": "there is no config.json or no model.safetensors"}.items():  # fmt: skip
        folder = changed(what)
        repo = f"alice/{what}"
        hub.user("hf_alice", False)
        api = HfApi()  # the client itself takes all of them
        api.create_repo(repo)
        api.upload_folder(repo_id=repo, folder_path=folder)
        said = hub.load(f"load_generator({repo!r})")
        assert said.startswith("ERROR") and text in said and "\n" not in said, said
        refused = hub.call(sngan, "push", folder, "alice/refused")
        assert refused.returncode == 2 and ("alice/refused", "model") not in hub.hub.repos
        for path in folder.iterdir():
            path.unlink()


# Without a server


def test_a_dry_run_sends_nothing_and_shows_all(capsys):
    assert sngan(["push", str(PAIR), "someone/clothes", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert (
        "someone/clothes: config.json (" in said and "someone/clothes-discriminator: " in said and "## Limits" in said
    )


@pytest.mark.parametrize("arguments, text", [
    (["nowhere", "a/b"], "does not contain a network"),
    ([str(PAIR), "nonamespace"], "repo must be NAMESPACE/NAME of letters, digits, -, _ and . (got 'nonamespace')"),
    ([str(PAIR), "a/b/c"], "repo must be NAMESPACE/NAME"),
    ([str(PAIR), "a/b c"], "repo must be NAMESPACE/NAME"),
    ([str(PAIR), "a/--b"], "repo must be NAMESPACE/NAME"),
    ([str(PAIR), "a/" + "b" * 90], "-discriminator must have at most 96 characters after the / (got 104); choose"),
    ([str(PAIR), "a/b-discriminator"], "repo: a generator's name must not end in -discriminator (got 'a/b-discrim"),
    ([str(PAIR / "generator"), "a/b-discriminator"], "load_generator would look for it in a/b; choose another name"),
])  # fmt: skip
def test_bad_pushes(arguments, text, capsys):
    with pytest.raises(SystemExit) as stop:
        sngan(["push", *arguments, "--dry-run"])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and text in said and "Traceback" not in said


def test_a_card_that_is_not_utf8_is_named_before_anything_is_uploaded(tmp_path):
    shutil.copytree(PAIR, tmp_path / "pair")
    card = tmp_path / "pair" / "discriminator" / "README.md"
    card.write_bytes("# Möwen".encode("latin-1"))
    with pytest.raises(ValueError, match=re.escape(f"{card}: the card must be text in UTF-8")):
        list(networks_in(tmp_path / "pair", "a/b"))


def test_a_configuration_of_another_type_is_one_line(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"class": 5}')
    shutil.copy(PAIR / "generator" / "model.safetensors", tmp_path)
    with pytest.raises(SystemExit) as stop:
        sngan(["push", str(tmp_path), "a/b", "--dry-run"])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "class must be the name of a network's class (got 5)" in said


def test_without_a_connection_a_push_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    with pytest.raises(SystemExit) as stop:
        sngan(["push", str(PAIR), "alice/mine"])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "alice/mine: the Hub cannot be reached (" in said and said.count("\n") == 1


def test_publishing_what_is_no_run(tmp_path, capsys):
    with pytest.raises(SystemExit):
        training(["publish", str(tmp_path), "a/b", "--dry-run"])
    assert "run must be a run's folder with a snapshot (got " in capsys.readouterr().err


def test_a_pair_is_two_repositories_and_a_network_is_one():
    assert [repo for _, repo in networks_in(PAIR, "a/b")] == ["a/b", "a/b-discriminator"]
    assert [repo for _, repo in networks_in(PAIR / "discriminator", "a/judge")] == ["a/judge"]
