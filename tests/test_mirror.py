"""``sngan mirror``: copies with licences and a records file, used from their folder, from a web server and from a Hub;
and ``sngan list --verify``.
"""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import zip_longest
from threading import Thread

import pytest
import torch
from huggingface_hub import ModelCard

from sngan_hub import WEIGHTS, load_discriminator, load_generator
from sngan_hub.cli.main import main as sngan
from sngan_hub.hub import mirror as mirroring
from sngan_hub.hub import transfer
from sngan_hub.hub.cache import keep_first, place, sha256_of
from sngan_hub.hub.calibrations import load_calibration
from sngan_hub.hub.local import beside
from sngan_hub.hub.mirror import is_repository, mirror_to_folder
from sngan_hub.weights.record import Record

from . import minihub
from .conftest import GOLDEN, ROOT
from .loopback import Server, refuse, whole

FILES = {"sngan_cifar10.mmgen_fid": GOLDEN / "foreign" / "mmgen32_cond10_wo.pth",
         "sngan_cifar10_unconditional.mimicry": GOLDEN / "foreign" / "mimicry_sngan32" / "netG" / "netG_100000_steps.pth"}  # fmt: skip


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Two models at addresses on loopback: a pair in one file, and a generator alone."""
    server, records = Server(), {}
    for name, path in FILES.items():
        server.answer[f"/{path.name}"] = whole(path.read_bytes())
        records[name] = {"url": f"{server.url}/{path.name}", "sha256": sha256_of(path)}
    (tmp_path / "published.json").write_text(json.dumps(records))
    monkeypatch.setenv("SNGAN_HUB_RECORDS", str(tmp_path / "published.json"))
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.close()


def mirror(*arguments):
    assert sngan(["mirror", *FILES, *map(str, arguments)]) == 0


def networks():
    return [
        load_generator("sngan_cifar10"),
        load_discriminator("sngan_cifar10"),
        load_generator("sngan_cifar10_unconditional"),
    ]


def same(ours, theirs):
    assert [n.config for n in ours] == [n.config for n in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert all(torch.equal(value, b.state_dict()[key]) for key, value in a.state_dict().items())


def fresh(tmp_path, monkeypatch, records):
    """Another machine: an empty cache, and the mirror's records."""
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / "other"))
    monkeypatch.setenv("SNGAN_HUB_RECORDS", str(records))


def test_a_folder_with_cards_and_licences_that_loads_by_name(published, tmp_path, monkeypatch, capsys):
    expected = networks()
    mirror(tmp_path / "m")
    said = capsys.readouterr().out
    assert (
        "sngan_cifar10.mmgen_fid: licence: code Apache-2.0, weights not stated by mmgeneration; ask mmgeneration before"
        in said
    )
    assert f"use it with SNGAN_HUB_RECORDS={tmp_path / 'm' / 'records.json'}" in said
    files = {str(p.relative_to(tmp_path / "m")) for p in (tmp_path / "m").rglob("*") if p.is_file()}
    kinds = [(name, kind) for name in FILES for kind in ("generator", "discriminator")][:3]
    assert files == {"records.json", "README.md", ".records.json.lock"} | {
        f"{name}/{kind}/{file}" for name, kind in kinds for file in ("config.json", "model.safetensors", "README.md")
    }
    card = ModelCard((tmp_path / "m/sngan_cifar10.mmgen_fid/generator/README.md").read_text())
    sha = sha256_of(FILES["sngan_cifar10.mmgen_fid"])
    assert card.data.license == "other" and card.data.license_name == "not-stated" and sha in card.text
    assert "weights not stated by mmgeneration" in card.text and published.url in card.text and "8.116" in card.text
    overview = (tmp_path / "m/README.md").read_text()
    assert "code MIT, weights not stated" in overview and "gives no permission" in overview
    records = json.loads((tmp_path / "m/records.json").read_text())
    assert {key: entry["licence"] for key, entry in records.items()} == {
        "sngan_cifar10.mmgen_fid": "code Apache-2.0, weights not stated",
        "sngan_cifar10_discriminator.mmgen_fid": "code Apache-2.0, weights not stated",
        "sngan_cifar10_unconditional.mimicry": "code MIT, weights not stated",
    }
    fresh(tmp_path, monkeypatch, tmp_path / "m/records.json")
    published.close()
    same(networks(), expected)
    assert not (tmp_path / "other").exists()  # nothing is copied once more
    assert WEIGHTS["sngan_cifar10.mmgen_fid"].where == "folder" and sngan(["list", "--cached"]) == 0
    said = capsys.readouterr().out
    assert " folder " in said and said.splitlines()[1].startswith("sngan_cifar10_small")
    weights = tmp_path / "m/sngan_cifar10.mmgen_fid/generator/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(ValueError, match="is damaged or was changed; mirror it again with sngan mirror"):
        load_generator("sngan_cifar10")


def test_a_repeated_call_adds_models_and_copies_what_is_missing(published, tmp_path, capsys):
    m = tmp_path / "m"
    assert sngan(["mirror", "sngan_cifar10", str(m)]) == 0
    before = {p: p.stat().st_mtime_ns for p in m.rglob("*.safetensors")}
    (m / "sngan_cifar10.mmgen_fid/discriminator/config.json").unlink()
    mirror(m)
    said = capsys.readouterr().out
    assert "sngan_cifar10.mmgen_fid: is in" in said and len(json.loads((m / "records.json").read_text())) == 3
    kept = m / "sngan_cifar10.mmgen_fid/generator/model.safetensors"
    assert kept.stat().st_mtime_ns == before[kept]
    assert (m / "sngan_cifar10.mmgen_fid/discriminator/config.json").is_file()


def test_a_mirror_that_the_records_name_is_repaired_and_keeps_its_sources(published, tmp_path, monkeypatch):
    """``SNGAN_HUB_RECORDS`` names the mirror's own records by then, as the guide says."""
    m = tmp_path / "m"
    mirror(m)
    before = json.loads((m / "records.json").read_text())
    built_in = {key: replace(WEIGHTS[key], urls=WEIGHTS[key].urls) for key in before}
    fresh(tmp_path, monkeypatch, m / "records.json")
    monkeypatch.setattr(mirroring, "BUILT_IN", built_in)
    weights = m / "sngan_cifar10.mmgen_fid/generator/model.safetensors"
    right = weights.read_bytes()
    weights.write_bytes(right[:-1] + b"\1")
    (m / "sngan_cifar10.mmgen_fid/discriminator/model.safetensors").unlink()
    mirror(m)
    assert weights.read_bytes() == right and json.loads((m / "records.json").read_text()) == before
    assert all(entry["page"].startswith(published.url) for entry in before.values())


def test_a_whole_mirror_that_the_records_name_is_left_as_it_is(published, tmp_path, monkeypatch, capsys):
    """Also without a connection, and whatever was published under the names."""
    m = tmp_path / "m"
    mirror(m)
    before = {path: path.read_bytes() for path in m.rglob("*") if path.is_file()}
    fresh(tmp_path, monkeypatch, m / "records.json")
    published.close()
    capsys.readouterr()
    mirror(m)
    assert capsys.readouterr().out.count(": is in ") == 3
    assert {path: path.read_bytes() for path in m.rglob("*") if path.is_file()} == before


GENERATOR, JUDGE = "sngan_fashion32.v1/generator", "sngan_fashion32.v1/discriminator"


def test_a_mirror_has_the_calibration_and_keeps_one_that_a_user_fitted(tmp_path, monkeypatch):
    m = tmp_path / "m"
    for _ in range(2):
        list(mirror_to_folder(["sngan_fashion32"], m))
        text = (m / JUDGE / "calibration.json").read_text()
        (m / JUDGE / "calibration.json").unlink()  # as in a mirror of earlier versions, which gets it now
    (m / JUDGE / "calibration.json").write_text(text + "\n")
    fresh(tmp_path, monkeypatch, m / "records.json")
    assert load_calibration("sngan_fashion32").slope
    (m / JUDGE / "model.safetensors").write_bytes(b"damaged")
    list(mirror_to_folder(["sngan_fashion32"], m))
    assert (m / JUDGE / "calibration.json").read_text() == text + "\n"


def test_a_calibration_that_a_mirror_loses_is_named(tmp_path, monkeypatch, capsys):
    list(mirror_to_folder(["sngan_fashion32"], tmp_path / "source"))
    (tmp_path / "source" / JUDGE / "calibration.json").unlink()
    fresh(tmp_path, monkeypatch, tmp_path / "source/records.json")
    m, sha256 = tmp_path / "m", WEIGHTS["sngan_fashion32_discriminator.v1"].sha256
    list(mirror_to_folder(["sngan_fashion32"], m))
    (m / JUDGE / "calibration.json").write_text("{}")
    for written, kept in ((sha256, True), ("0" * 64, False)):
        (m / "records.json").write_text((m / "records.json").read_text().replace(sha256, written))
        (m / JUDGE / "model.safetensors").write_bytes(b"damaged, or of another version")
        list(mirror_to_folder(["sngan_fashion32"], m))
        said = "the weights of the discriminator have changed, so their calibration.json was removed; fit it again"
        assert (m / JUDGE / "calibration.json").is_file() is kept and (said in capsys.readouterr().err) is not kept


def test_a_calibration_behind_a_web_server_is_found_and_copied(published, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(transfer, "PAUSE", 0.01)
    expected, m = load_calibration("sngan_fashion32"), tmp_path / "m"
    list(mirror_to_folder(["sngan_fashion32"], m, published.url))
    for path in (m / JUDGE).iterdir():
        published.answer[f"/{JUDGE}/{path.name}"] = whole(path.read_bytes())
    published.answer[f"/{JUDGE}/calibration.json"] = refuse(503)
    fresh(tmp_path, monkeypatch, m / "records.json")
    load_discriminator("sngan_fashion32")  # does not need it
    with pytest.raises(FileNotFoundError, match="the download failed: .* HTTP 503"):
        load_calibration("sngan_fashion32")
    published.answer[f"/{JUDGE}/calibration.json"] = whole((m / JUDGE / "calibration.json").read_bytes())
    assert load_calibration("sngan_fashion32") == expected
    (tmp_path / "other/weights" / JUDGE / "calibration.json").unlink()
    for path in (m / GENERATOR).iterdir():
        published.answer[f"/{GENERATOR}/{path.name}"] = whole(path.read_bytes())
    list(mirror_to_folder(["sngan_fashion32"], tmp_path / "second"))
    assert (tmp_path / "second" / JUDGE / "calibration.json").is_file()
    (tmp_path / "other/weights" / JUDGE / "calibration.json").rename(tmp_path / "kept.json")
    published.answer[f"/{JUDGE}/calibration.json"] = whole(b"fitted again")
    list(mirror_to_folder(["sngan_fashion32"], tmp_path / "third"))
    assert "copied without its calibration, which could not be fetched" in capsys.readouterr().err
    assert (tmp_path / "third" / JUDGE / "model.safetensors").is_file()
    (tmp_path / "kept.json").rename(tmp_path / "other/weights" / JUDGE / "calibration.json")
    published.close()
    assert load_calibration("sngan_fashion32") == expected


def test_a_users_generator_alone_is_mirrored_alone(published, tmp_path, capsys):
    path = FILES["sngan_cifar10_unconditional.mimicry"]
    pair = FILES["sngan_cifar10.mmgen_fid"]
    entries = {
        "own_a32.v1": {"url": f"{published.url}/{path.name}"},
        "own_b32.v1": {"url": f"{published.url}/{pair.name}"},
    }
    (tmp_path / "published.json").write_text(json.dumps(entries))
    assert sngan(["mirror", "own_a32", "own_b32", str(tmp_path / "m")]) == 0
    assert sorted(json.loads((tmp_path / "m/records.json").read_text())) == [
        "own_a32.v1", "own_b32.v1", "own_b32_discriminator.v1"]  # fmt: skip
    assert f"{path.name} does not contain a discriminator; the generator is mirrored alone" in capsys.readouterr().out


def test_a_damaged_copy_of_a_users_own_model_names_the_records_to_use(published, tmp_path, monkeypatch):
    path = FILES["sngan_cifar10_unconditional.mimicry"]
    own, m = tmp_path / "published.json", tmp_path / "m"
    own.write_text(json.dumps({"own_a32.v1": {"url": f"{published.url}/{path.name}"}}))
    list(mirror_to_folder(["own_a32"], m))
    weights = m / "own_a32.v1/generator/model.safetensors"
    right = weights.read_bytes()
    weights.write_bytes(b"damaged")
    fresh(tmp_path, monkeypatch, m / "records.json")
    with pytest.raises(
        ValueError, match="SNGAN_HUB_RECORDS names no other source; set it to the records that the copy"
    ):
        list(mirror_to_folder(["own_a32"], m))
    fresh(tmp_path, monkeypatch, own)
    list(mirror_to_folder(["own_a32"], m))
    assert weights.read_bytes() == right


def test_a_mirror_of_a_mirror_names_the_first_source():
    record = Record("a.v1", "generator", file="generator/model.safetensors", urls=("https://lab/a/model.safetensors",),
                    page="https://publisher/a.pth")  # fmt: skip
    assert mirroring._origin(record) == "https://publisher/a.pth"


def test_two_calls_at_once_keep_each_others_models(published, tmp_path):
    calls = [mirror_to_folder([name], tmp_path / "m") for name in FILES]
    for _ in zip_longest(*calls):
        pass
    records = json.loads((tmp_path / "m/records.json").read_text())
    assert len(records) == 3 and all(key in (tmp_path / "m/README.md").read_text() for key in records)


@pytest.mark.parametrize("address, expected", [
    ("https://x.y/g/model.safetensors", "https://x.y/g/config.json"),
    ("https://x.y/g/model.safetensors?download=true", "https://x.y/g/config.json?download=true"),
    ("https://x.y/get?file=g/model.safetensors&v=2", "https://x.y/get?file=g/config.json&v=2"),
])  # fmt: skip
def test_the_configuration_lies_beside_an_address_with_a_query(address, expected):
    record = beside(Record("a.v1", "generator", file="generator/model.safetensors", urls=(address,)), "config.json", "")
    assert record.urls == (expected,) and record.file == "generator/config.json"


def test_a_mirror_behind_a_web_server(published, tmp_path, monkeypatch):
    expected = networks()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "m")))
    Thread(target=web.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{web.server_port}"
    mirror(tmp_path / "m", "--url", f"{url}/")
    fresh(tmp_path, monkeypatch, tmp_path / "m/records.json")
    same(networks(), expected)
    config = tmp_path / "m/sngan_cifar10.mmgen_fid/generator/config.json"
    source = tmp_path / "other/weights/sngan_cifar10.mmgen_fid/generator/source.json"
    assert json.loads(source.read_text())["from"] == f"{url}/sngan_cifar10.mmgen_fid/generator/model.safetensors"
    source.unlink()
    config.write_text(config.read_text().replace("0.0001", "0.0002"))
    with pytest.raises(FileNotFoundError, match="received .* bytes with sha256"):
        load_generator("sngan_cifar10")  # a changed config.json is refused as well
    web.shutdown()
    web.server_close()
    same([load_generator("sngan_cifar10_unconditional")], expected[2:])  # cached


def test_a_config_that_does_not_come_leaves_no_file_of_the_users(published, tmp_path, monkeypatch):
    """The weights stay as a partial download: as a whole file they would count as put there by hand."""
    monkeypatch.setattr(transfer, "PAUSE", 0.01)
    mirror(tmp_path / "m", "--url", published.url)
    fresh(tmp_path, monkeypatch, tmp_path / "m/records.json")
    folder = "sngan_cifar10.mmgen_fid/generator"
    published.answer[f"/{folder}/model.safetensors"] = whole(
        (tmp_path / "m" / folder / "model.safetensors").read_bytes()
    )
    published.answer[f"/{folder}/config.json"] = refuse(503)
    with pytest.raises(FileNotFoundError, match="HTTP 503"):
        load_generator("sngan_cifar10")
    names = [path.name for path in (tmp_path / "other/downloads").rglob("*") if path.is_file()]
    assert names == ["model.safetensors.part"]
    published.log.clear()
    published.answer[f"/{folder}/config.json"] = whole((tmp_path / "m" / folder / "config.json").read_bytes())
    load_generator("sngan_cifar10")
    assert (f"/{folder}/model.safetensors", 0) not in published.log, "the weights are not sent again"
    made = json.loads((tmp_path / f"other/weights/{folder}/source.json").read_text())
    assert made["from"].startswith(published.url) and not list((tmp_path / "other/downloads").rglob("*.*ors"))


@pytest.mark.slow
def test_a_mirror_on_a_hub(published, tmp_path, monkeypatch):
    expected = networks()
    server, hub, url = minihub.start(tokens={"hf_me": "me"})
    environment = {**os.environ, "HF_ENDPOINT": url, "HF_TOKEN": "hf_me", "HF_HUB_DISABLE_XET": "1",
                   "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}  # fmt: skip

    def run(*command, **more):
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=300,
                              env={**environment, "PYTHONPATH": str(ROOT), **more})  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = run("-m", "sngan_hub.cli", "mirror", *FILES, "me/weights", "--private")
    assert "me/weights: commit" in said and "weights not stated by mimicry" in said
    repo = hub.repos["model", "me/weights"]
    assert repo.private
    records = json.loads((tmp_path / "weights.records.json").read_text())
    assert {entry["repo"] for entry in records.values()} == {"me/weights"}
    code = ("import sys, torch; from sngan_hub import load_generator, load_discriminator\n"
            "torch.save([n.state_dict() for n in (load_generator('sngan_cifar10'), load_discriminator('sngan_cifar10'),"
            " load_generator('sngan_cifar10_unconditional'))], sys.argv[1])")  # fmt: skip
    run("-c", code, str(tmp_path / "x.pt"), SNGAN_HUB_CACHE=str(tmp_path / "other"),
        SNGAN_HUB_RECORDS=str(tmp_path / "weights.records.json"))  # fmt: skip
    for theirs, ours in zip(torch.load(tmp_path / "x.pt", weights_only=True), expected, strict=True):
        assert all(torch.equal(value, theirs[key]) for key, value in ours.state_dict().items())
    server.shutdown()


def test_another_machine_adds_to_a_mirror_on_a_hub(published, tmp_path, monkeypatch):
    from huggingface_hub import constants, file_download

    server, hub, url = minihub.start(tokens={"hf_me": "me"})
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in {"ENDPOINT": url, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True,
                        "HUGGINGFACE_CO_URL_TEMPLATE": template, "HF_HUB_CACHE": str(tmp_path / "hf")}.items():  # fmt: skip
        monkeypatch.setattr(constants, name, value)
    if hasattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE"):
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("HF_TOKEN", "hf_me")
    first, second = FILES
    for machine, name in (("a", first), ("b", second)):
        (tmp_path / machine).mkdir()
        monkeypatch.chdir(tmp_path / machine)
        monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / machine / "cache"))
        (tmp_path / machine / "weights.records.json").write_text(json.dumps({"own_flowers64.v1": {"licence": machine}}))
        assert sngan(["mirror", name, "me/weights"]) == 0
        repo = hub.repos["model", "me/weights"]
        files = repo.commits[repo.branches["main"]]["files"]
        records = json.loads(files["records.json"]["data"])
        local = json.loads((tmp_path / machine / "weights.records.json").read_text())
        assert local == {"own_flowers64.v1": {"licence": machine}, **records}  # what the user had stays, and stays here
        assert len(records) == {"a": 2, "b": 3}[machine]
        overview = files["README.md"]["data"].decode()
        assert all(f"| {key} |" in overview and entry["path"] in files for key, entry in records.items())
        assert all(entry["path"] in repo.commits[entry["revision"]]["files"] for entry in records.values())
    server.shutdown()


@pytest.mark.parametrize("arguments, said", [
    (["sngan_cifar11", "m"], "there is no model"),
    (["sngan_cifar10", "m", "--url", "lab.example"], "url must be the http or https address"),
    (["sngan_cifar10", "m", "--private"], "private and records are for a Hub repository"),
    (["sngan_cifar10", "me/m", "--url", "https://x.example"], "url is for a folder that you serve"),
    (["sngan_cifar10", "me/m", "--records", "list.json"], "list.json: this is not the records file of a mirror, so nothing"),
    (["sngan_cifar10", "full"], "full exists and is not a mirror"),
    (["sngan_cifar10", "~nobody.here/m"], "target: there is no user nobody.here on this machine (got "),
])  # fmt: skip
def test_what_is_refused_in_a_line(arguments, said, published, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(SystemExit) as stop:
        sngan(["mirror", *arguments])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and said in error and error.count("\n") == 1 and not (tmp_path / "m").exists()
    assert (tmp_path / "full" / "thesis.tex").read_text() == "x"


def test_a_new_folder_of_two_names_is_not_uploaded(published, tmp_path, monkeypatch, capsys):
    from huggingface_hub import constants

    server, hub, url = minihub.start(tokens={"hf_me": "me"})
    for name, value in {"ENDPOINT": url, "HF_HUB_OFFLINE": False}.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("HF_TOKEN", "hf_me")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        sngan(["mirror", "sngan_cifar10", "newdir/weights"])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and not hub.repos and not (tmp_path / "cache").exists()
    assert (
        "newdir is not a namespace of your Hub account (me); for a folder of this machine, write ./newdir/weights"
        in said
    )
    server.shutdown()


def test_a_target_is_a_folder_where_its_first_part_is_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    assert is_repository("me/weights") and not is_repository("here/weights")
    assert not any(map(is_repository, ("weights", "./weights", "/srv/weights", "a/b/c")))


# sngan list --verify -------------------------------------------------------------------------------------------------


def test_verify_computes_the_hashes_of_all_local_files_again(published, tmp_path, capsys):
    networks()
    by_hand = place(WEIGHTS["sngan_celeba64.mimicry"])
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(b"x")
    assert sngan(["list", "--verify"]) == 0
    said = capsys.readouterr().out
    assert said.count("ok ") == 9 and "no hash known sngan_celeba64.mimicry" in said  # 6 included, 3 converted
    assert "9 files verified, 1 not: no hash is known" in said
    assert sngan(["list", "--verify", "--json", "--size", "64"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "name": "sngan_celeba64.mimicry", "path": str(by_hand), "ok": None, "problem": "no hash known"
    }  # fmt: skip
    damaged = tmp_path / "cache/weights/sngan_cifar10.mmgen_fid/generator/model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\1")
    (tmp_path / "cache/weights/sngan_cifar10.mmgen_fid/discriminator/model.safetensors").unlink()
    wrong = place(WEIGHTS["sngan_cifar10.mmgen_is"])
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(b"y")
    with pytest.raises(SystemExit) as stop:
        sngan(["list", "--verify"])
    out, error = capsys.readouterr()
    assert stop.value.code == 2 and out.count("wrong ") == 3 and error.count("\n") == 1
    assert (
        "3 of 11 files wrong: " in error
        and f"{damaged}: model.safetensors is damaged or changed; it is made again at the next use" in error
    )
    assert f"{wrong}: not the published file; delete or replace it" in error and "missing" in error
    assert hashlib.sha256(b"y").hexdigest() == sha256_of(wrong)  # nothing is deleted
    with pytest.raises(SystemExit):
        sngan(["list", "--verify", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sum(line["ok"] is True for line in lines) == 7
    keep_first(WEIGHTS["sngan_celeba64.mimicry"], hashlib.sha256(b"first").hexdigest(), "https://x")
    with pytest.raises(SystemExit):
        sngan(["list", "--verify", "--size", "64"])
    assert f"1 of 1 files wrong: {by_hand}: " in (said := capsys.readouterr().err) and "has changed" in said
    by_hand.write_bytes(b"first")
    assert sngan(["list", "--verify", "--size", "64"]) == 0 and "1 file verified\n" in capsys.readouterr().out
