"""Files of a drive by name: confirmation, quota, a cut line, a changed file; each is handled, or said in one line."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sngan_hub import WEIGHTS, load_discriminator, load_generator
from sngan_hub.cli.main import main as sngan
from sngan_hub.files import nearest_existing
from sngan_hub.hub import cache, drive, transfer

from .conftest import GOLDEN
from .drive import QUOTA, SIGN_IN, Drive, certificate

gdown = pytest.importorskip("gdown")
FOREIGN = GOLDEN / "foreign"
FILE = FOREIGN / "mimicry_sngan32" / "netG" / "netG_100000_steps.pth"
DATA = FILE.read_bytes()
NAME = "sngan_cifar10_unconditional.mimicry"
CHUNK = 512 * 1024  # what gdown writes at a time
ID = "16TxezS7VBTiuPdQdjDUM0-_rHXqyPrvr"


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    found = certificate(tmp_path_factory.mktemp("tls"))
    return found or pytest.skip("openssl is not installed")


@pytest.fixture
def server(pem, tmp_path, monkeypatch):
    """A drive with one file, behind a proxy; the small file stands for the record's, so its parameters are not counted."""
    server = Drive(pem)
    server.files[ID] = ("netG.pth", DATA)
    authors = [f"sngan_imagenet128{part}.authors_450k" for part in ("", "_discriminator")]
    records = {name: {"parameters": 0} for name in (NAME, *authors)}
    (tmp_path / "records.json").write_text(json.dumps(records))
    for key, value in {"HTTPS_PROXY": server.proxy, "https_proxy": server.proxy, "NO_PROXY": "", "no_proxy": "",
                       "REQUESTS_CA_BUNDLE": str(pem), "SNGAN_HUB_CACHE": str(tmp_path / "cache"),
                       "SNGAN_HUB_RECORDS": str(tmp_path / "records.json")}.items():  # fmt: skip
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(transfer, "TIMEOUT", 5)
    yield server
    server.close()


def left(tmp_path):
    return sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")
                  if p.is_file() and "lock" not in p.name and p.name != "records.json")  # fmt: skip


WHOLE = [f"cache/weights/{NAME}/generator/{file}" for file in ("config.json", "model.safetensors", "source.json")]
FIRST = "cache_first_downloads.json"


def fails(text, name=NAME, load=load_generator, kind=FileNotFoundError):
    with pytest.raises(kind, match=text) as error:
        load(name)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_one_command_past_the_confirmation_page(server, tmp_path, capsys):
    out = tmp_path / "x.png"
    assert sngan(["sample", NAME, "--n", "1", "--seed", "0", "--out", str(out)]) == 0
    assert [path for path, _ in server.log] == ["/uc", "/download"]
    out.unlink()
    assert left(tmp_path) == sorted([*WHOLE, FIRST])
    source = json.loads((tmp_path / WHOLE[2]).read_text())
    sha = hashlib.sha256(DATA).hexdigest()
    assert source["sha256"] == sha and source["from"] == f"https://drive.google.com/uc?id={ID}"
    first = json.loads((tmp_path / FIRST).read_text())
    assert first.keys() == {f"{NAME}/netG.pth"} and first[f"{NAME}/netG.pth"]["sha256"] == sha
    sngan(["convert", str(FILE), str(tmp_path / "own")])
    ours, theirs = load_generator(NAME).state_dict(), load_generator(tmp_path / "own").state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    server.close()
    load_generator(NAME)  # cached


@pytest.mark.parametrize("page, said", [
    (QUOTA, r"the drive's quota for this file is used up \(Too many users .*try again in a day"),
    (SIGN_IN, "the drive sent a page instead of the file: it is private, was removed, or is downloaded too often"),
])  # fmt: skip
def test_pages_explain_themselves(page, said, server, tmp_path, capsys):
    server.page[ID] = page
    message = fails(said)
    assert f"download netG.pth from https://drive.google.com/file/d/{ID} yourself and save it as" in message
    assert str(tmp_path / "cache/downloads" / NAME / "netG.pth") in message and left(tmp_path) == []
    with pytest.raises(SystemExit) as stop:
        sngan(["sample", NAME, "--out", str(tmp_path / "x.png")])
    assert stop.value.code == 2 and capsys.readouterr().err.count("\n") == 1
    del server.page[ID]
    load_generator(NAME)


def test_a_page_sent_as_the_file(server, tmp_path):
    server.files[ID] = ("netG.pth", SIGN_IN.encode())
    fails("the drive sent a web page instead of the file")
    assert left(tmp_path) == []


def test_a_file_that_is_too_small_for_its_network(server, tmp_path, monkeypatch):
    monkeypatch.delenv("SNGAN_HUB_RECORDS")
    fails(f"received {len(DATA):,} bytes, too few for 4,276,739 parameters")
    assert left(tmp_path) == []


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal(status, server):
    server.status[ID] = status
    fails("the drive sent a page instead of the file|HTTP")


def test_no_connection(server, monkeypatch):
    monkeypatch.setattr(transfer, "TRIES", 1)
    server.close()
    said = fails("https://drive.google.com: (no connection to the drive|ProxyError); or download netG.pth from")
    assert len(said) < 400


def test_a_cut_line_goes_on_where_it_stopped(server, tmp_path):
    server.cuts = [600_000, 50_000]
    load_generator(NAME)
    assert [start for path, start in server.log if path == "/download"] == [0, CHUNK, CHUNK]
    assert left(tmp_path) == sorted([*WHOLE, FIRST])


def test_a_line_that_is_cut_every_time(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "TRIES", 2)
    server.cuts = [600_000, 50_000]
    fails(f"download is incomplete: received {CHUNK} bytes but the server announced {len(DATA)} bytes")
    assert len(left(tmp_path)) == 1  # gdown's partial file
    load_generator(NAME)  # of an unknown version: begun again, not resumed
    assert server.log[-1] == ("/download", 0) and left(tmp_path) == sorted([*WHOLE, FIRST])
    for path in WHOLE:
        (tmp_path / path).unlink()
    server.cuts = [600_000, 50_000]
    fails(r"524,288 bytes are kept; run the command again to resume")
    load_generator(NAME)  # the hash of the first download is known, so it is resumed
    assert server.log[-1] == ("/download", CHUNK)


def test_a_drive_that_cannot_resume(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "TRIES", 2)
    load_generator(NAME)
    for path in WHOLE:
        (tmp_path / path).unlink()
    server.cuts, server.ranges = [600_000], False
    fails("byte range")
    fails("byte range")  # the partial file is discarded ...
    load_generator(NAME)  # ... so that this begins anew


def test_a_changed_file_is_refused_with_the_way_out(server, tmp_path, capsys):
    load_generator(NAME)
    for path in WHOLE:
        (tmp_path / path).unlink()
    other = torch.load(FILE, weights_only=True)
    other["global_step"] = 1
    torch.save(other, tmp_path / "netG.pth")
    server.files[ID] = ("netG.pth", (tmp_path / "netG.pth").read_bytes())
    (tmp_path / "netG.pth").unlink()
    said = fails("netG.pth has changed: sha256 .* at the first download .2.* and the publisher states none")
    assert f"remove the entry '{NAME}/netG.pth' from {tmp_path / FIRST}" in said
    assert left(tmp_path) == [FIRST]
    by_hand = cache.place(WEIGHTS[NAME])
    by_hand.write_bytes(server.files[ID][1])  # nor may it be put there by hand
    assert str(by_hand) in fails("netG.pth has changed: .*; or delete or replace the file", kind=ValueError)
    by_hand.unlink()
    first = json.loads((tmp_path / FIRST).read_text())
    (tmp_path / FIRST).write_text("{")
    fails("the hashes of first downloads cannot be read", kind=ValueError)
    del first[f"{NAME}/netG.pth"]
    (tmp_path / FIRST).write_text(json.dumps(first))
    load_generator(NAME)  # the user accepts it


def test_a_file_put_in_its_place_needs_no_drive(server, tmp_path):
    place = cache.place(WEIGHTS[NAME])
    place.parent.mkdir(parents=True)
    place.write_bytes(DATA)
    load_generator(NAME)
    assert server.log == [] and place.exists() and not (tmp_path / FIRST).exists()


def test_files_of_a_folder_are_found_by_their_names(server, tmp_path):
    name, folder = "sngan_imagenet128.authors_450k", "1m04Db3HbN10Tz5XHqiPpIg8kw23fkbSi"
    g, d = GOLDEN / "sngan_G128_cond_ch4.weights.npz", GOLDEN / "sngan_D128_projection_ch4.weights.npz"
    if not (g.exists() and d.exists()):
        g, d = (next(GOLDEN.glob(f"sngan_{kind}128*.weights.npz")) for kind in "GD")
    files = {"A" * 28: ("ResNetGenerator_450000.npz", g), "B" * 28: ("SNResNetProjectionDiscriminator_450000.npz", d),
             "C" * 28: ("ResNetGenerator_850000.npz", g)}  # fmt: skip
    server.folders[folder] = [(i, file) for i, (file, _) in files.items()]
    for i, (file, path) in files.items():
        server.files[i] = (file, path.read_bytes())
    assert load_generator(name).size == load_discriminator(name).size == 128
    assert [path for path, _ in server.log].count("/embeddedfolderview") == 2
    server.folders[folder] = [("A" * 28, "readme.txt")]
    for path in (tmp_path / "cache/weights" / name).rglob("*.json"):
        path.unlink()
    fails(r"the folder contains no file ResNetGenerator_450000.npz \(it contains readme.txt\)", name)
    server.folders[folder] = [("A" * 28, "ResNetGenerator_450000.npz"), ("C" * 28, "ResNetGenerator_450000.npz")]
    fails("the folder contains several files ResNetGenerator_450000.npz", name)


def test_without_gdown_the_extra_is_named_and_the_way_by_hand():
    code = ("import sys; sys.modules['gdown'] = None\nfrom sngan_hub import load_generator\n"
            f"try: load_generator({NAME!r})\nexcept FileNotFoundError as error: print(error)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    said = done.stdout
    assert drive.MISSING in said and "pip install 'sngan-hub[drive]'" in said and said.count("\n") == 1
    assert f"or download netG.pth from https://drive.google.com/file/d/{ID} yourself" in said


def test_a_drive_that_is_missing_is_no_endless_loop(monkeypatch):
    """Of Windows: no folder above the cache exists, nor any above a command's output."""
    from sngan_hub.cli.parser import check_writable

    def exists(path):
        asked.append(path)
        if len(asked) > 99:
            raise TimeoutError
        return False

    for call in (lambda: nearest_existing(Path("/missing/cache")), lambda: check_writable(Path("/missing/out"), True)):
        asked, found = [], None
        with monkeypatch.context() as patched:
            patched.setattr(Path, "exists", exists)
            try:
                found = call()
            except FileNotFoundError as error:
                found = str(error)
        assert str(found) in ("/", "out: there is no /; choose another folder")


def test_the_hashes_lie_in_the_cache_where_the_folder_above_is_read_only(tmp_path, monkeypatch):
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / "cache"))
    assert cache.first_downloads() == tmp_path / FIRST
    monkeypatch.setattr(cache.os, "access", lambda path, mode: path != tmp_path)
    assert cache.first_downloads() == tmp_path / "cache" / "first_downloads.json"
    record = WEIGHTS[NAME]
    (tmp_path / "cache").mkdir()
    cache.keep_first(record, "a" * 64, "https://x")
    assert cache.first_hash(record) == "a" * 64 and cache.check_first(record, "b" * 64)
    assert cache.check_first(record, "a" * 64) == ""


def test_the_cache_may_be_the_current_folder_or_a_drive(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SNGAN_HUB_CACHE", ".")
    assert cache.cache_folder() == tmp_path and cache.first_downloads().parent in (tmp_path, tmp_path.parent)
    monkeypatch.setenv("SNGAN_HUB_CACHE", "/")
    assert cache.first_downloads() == Path("/first_downloads.json")
