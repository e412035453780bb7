"""Published weights by name over loopback: fetched, checked, converted and cached, whatever the line does."""

import hashlib
import json
import random
import re
import shutil
import signal
import sys
import time

import pytest
import torch

from sngan_hub import WEIGHTS, load_discriminator, load_generator
from sngan_hub.class_names import class_list
from sngan_hub.cli.main import main as sngan
from sngan_hub.hub import cache, transfer
from sngan_hub.hub.local import commit_of_partner, is_cached
from sngan_hub.weights.record import Record

from . import warm
from .conftest import GOLDEN
from .loopback import Server, first, refuse, send, whole

DATA = (GOLDEN / "foreign" / "mmgen32_cond10_wo.pth").read_bytes()
SHA = hashlib.sha256(DATA).hexdigest()
NAME = "sngan_cifar10.mmgen_fid"


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture
def setup(tmp_path, monkeypatch, server):
    """``setup(url=..., ...)`` points the record at the server and gives the cache folder."""
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(transfer, "PAUSE", 0.01)
    monkeypatch.setattr(transfer, "TIMEOUT", 2)

    def point(name=NAME, **fields):
        entry = {"url": f"{server.url}/file.pth", "sha256": SHA[:8], **fields}
        (tmp_path / "records.json").write_text(json.dumps({name: entry}))
        monkeypatch.setenv("SNGAN_HUB_RECORDS", str(tmp_path / "records.json"))
        return tmp_path / "cache"

    return point


def left(cache):
    """Files in the cache, but for locks."""
    return sorted(str(p.relative_to(cache)) for p in cache.rglob("*") if p.is_file() and p.suffix != ".lock")


WHOLE = [f"weights/{NAME}/{kind}/{file}" for kind in ("discriminator", "generator")
         for file in ("config.json", "model.safetensors", "source.json")]  # fmt: skip


def works():
    g = load_generator("sngan_cifar10")
    d = load_discriminator("sngan_cifar10_discriminator")
    assert g.classes == d.classes == list(class_list("cifar10"))
    assert g.sample(classes="frog", n=2, seed=0).shape == (2, 3, 32, 32) and d.config["sn_eval"] == "stored"


def fails(text):
    with pytest.raises((ValueError, FileNotFoundError), match=text) as error:
        load_generator("sngan_cifar10")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_fetched_once_checked_converted_cached_and_then_offline(setup, server, capsys):
    cache = setup()
    server.answer["/file.pth"] = whole(DATA)
    assert not is_cached(WEIGHTS[NAME])
    works()
    assert server.log == [("/file.pth", 0)]  # both networks from one download
    assert left(cache) == WHOLE and is_cached(WEIGHTS[NAME])
    source = json.loads((cache / WHOLE[2]).read_text())
    assert source["sha256"] == SHA and source["from"].endswith("/file.pth")
    server.close()
    works()
    assert sngan(["list"]) == 0
    assert re.search(rf"{re.escape(NAME)}[*] .* cached ", capsys.readouterr().out)


def test_the_converted_network_is_the_files(setup, server, tmp_path):
    setup()
    server.answer["/file.pth"] = whole(DATA)
    assert sngan(["convert", str(GOLDEN / "foreign" / "mmgen32_cond10_wo.pth"), str(tmp_path / "own")]) == 0
    for load in (load_generator, load_discriminator):
        ours, theirs = load("sngan_cifar10").state_dict(), load(tmp_path / "own").state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_line_cut_at_ten_random_places(setup, server):
    cache = setup()
    rng = random.Random(1)
    cuts = [rng.randrange(1, len(DATA) // 12) for _ in range(10)]
    server.answer["/file.pth"] = whole(DATA, stop=lambda: cuts.pop() if cuts else None)
    works()
    starts = [start for _, start in server.log]
    assert len(starts) == 11 and starts == sorted(set(starts)) and starts[0] == 0  # always on from where it stopped
    assert left(cache) == WHOLE


def test_a_line_cut_by_a_server_that_cannot_resume(setup, server):
    setup()
    cuts = [1000, 50_000]
    server.answer["/file.pth"] = whole(DATA, ranges=False, stop=lambda: cuts.pop() if cuts else None)
    works()


def test_a_cut_download_goes_on_in_the_next_call(setup, server):
    cache = setup()
    server.answer["/file.pth"] = first(whole(DATA, stop=lambda: 70_000), refuse(503))
    said = fails("HTTP 503.*70,000 bytes are kept; run the command again to resume")
    assert (
        "save it as" in said
        and WEIGHTS[NAME].file in said
        and left(cache) == [f"downloads/{NAME}/{WEIGHTS[NAME].file}.part"]
    )
    server.answer["/file.pth"] = whole(DATA)
    works()
    assert ("/file.pth", 70_000) in server.log and left(cache) == WHOLE


def test_without_a_known_hash_a_part_of_an_earlier_call_or_another_address_is_not_resumed(setup, server):
    """It may be of another version: half of each would load."""
    cache = setup(sha256=None, file="file.pth", mirrors=[f"{server.url}/mirror.pth"])
    part = cache / "downloads" / NAME / "file.pth.part"
    for size in (70_000, len(DATA), len(DATA) + 5000):
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes((DATA + bytes(5000))[:size])
        server.answer["/file.pth"] = whole(DATA)
        server.log.clear()
        works()
        assert server.log == [("/file.pth", 0)]
        shutil.rmtree(cache)
        cache.with_name("cache_first_downloads.json").unlink()
    server.answer["/file.pth"] = first(whole(DATA, stop=lambda: 70_000), refuse(503))
    server.answer["/mirror.pth"] = refuse(503)
    assert "are kept" not in fails("HTTP 503") and left(cache) == []
    server.log.clear()
    server.answer["/file.pth"] = first(whole(DATA, stop=lambda: 70_000), refuse(503))
    server.answer["/mirror.pth"] = whole(DATA)
    works()
    assert ("/file.pth", 70_000) in server.log and [start for path, start in server.log if "mirror" in path] == [0]


def test_a_file_that_changes_between_two_tries_is_fetched_whole(setup, server):
    setup(sha256=None)
    asked = []

    def versions(handler, start):
        asked.append(handler.headers.get("If-Range"))
        new = {"ETag": '"b"', "Content-Length": len(DATA), "Content-Type": "application/octet-stream"}
        if not start:
            return send(handler, 200, {**new, "ETag": '"a"'}, bytes(70_000))
        if asked[-1] == '"b"':
            return whole(DATA)(handler, start)
        send(handler, 200, new, DATA[:80_000])

    server.answer["/file.pth"] = versions
    works()
    assert asked == [None, '"a"', '"b"']


@pytest.mark.parametrize("status, tries", [(404, 1), (403, 1), (410, 1), (503, 4), (500, 4), (429, 4)])
def test_a_refusal_is_said_and_a_mirror_stands_in(status, tries, setup, server):
    setup()
    server.answer["/file.pth"] = refuse(status)
    said = fails(f"HTTP {status}")
    assert server.url in said and len(server.log) == tries
    setup(mirrors=[f"{server.url}/mirror.pth"])
    server.answer["/mirror.pth"] = whole(DATA)
    works()


def test_a_server_that_is_busy_at_first(setup, server):
    setup()
    server.answer["/file.pth"] = first(refuse(503), refuse(503), whole(DATA))
    works()


def test_redirects(setup, server):
    setup()
    server.answer["/file.pth"] = refuse(302, {"Location": f"{server.url}/moved"})
    cuts = [1000]
    server.answer["/moved"] = whole(DATA, stop=lambda: cuts.pop() if cuts else None)
    works()
    assert ("/moved", 1000) in server.log


def test_endless_redirects(setup, server):
    setup()
    server.answer["/file.pth"] = refuse(302, {"Location": f"{server.url}/file.pth"})
    fails("the download failed")


def test_announced_longer_than_it_is_but_whole(setup, server):
    setup()
    server.answer["/file.pth"] = lambda h, start: (
        send(h, 206 if start else 200,
             {"Content-Length": len(DATA) - start + 1000,
              **({"Content-Range": f"bytes {start}-{len(DATA) + 999}/{len(DATA) + 1000}"} if start else {})},
             DATA[start:])
    )  # fmt: skip
    works()  # the hash decides


def test_announced_and_sent_shorter_than_it_is(setup, server):
    cache = setup()
    server.answer["/file.pth"] = whole(DATA[:-500])
    fails(f"received {len(DATA) - 500:,} bytes with sha256")
    assert left(cache) == []


@pytest.mark.parametrize(
    "kind, text", [("text/html; charset=utf-8", "a web page"), ("application/octet-stream", "sha256")]
)
def test_a_page_of_html(kind, text, setup, server):
    cache = setup()
    server.answer["/file.pth"] = whole(b"<html>sign in</html>", kind=kind)
    fails(text)
    assert left(cache) == []


def test_a_wrong_hash_keeps_nothing_and_a_mirror_stands_in(setup, server):
    cache = setup(sha256="0" * 64)
    server.answer["/file.pth"] = whole(DATA)
    fails("expected 00000000")
    assert left(cache) == []
    cache = setup(mirrors=[f"{server.url}/mirror.pth"])
    server.answer["/file.pth"] = whole(DATA[::-1])
    server.answer["/mirror.pth"] = whole(DATA)
    works()


def test_a_part_of_something_else_is_not_taken_for_a_beginning(setup, server):
    cache = setup()
    part = cache / "downloads" / NAME / f"{WEIGHTS[NAME].file}.part"
    part.parent.mkdir(parents=True)
    for rubbish in (b"x" * 1000, b"x" * len(DATA), b"x" * (len(DATA) + 5)):
        part.write_bytes(rubbish)
        server.answer["/file.pth"] = whole(DATA)
        works()
        assert left(cache) == WHOLE
        (cache / WHOLE[5]).unlink(), (cache / WHOLE[2]).unlink()


def test_offline_says_which_file_to_put_where(setup, server, capsys, tmp_path):
    cache = setup()
    server.close()
    said = fails("Connection refused")
    place = cache / "downloads" / NAME / WEIGHTS[NAME].file
    assert f"download {server.url}/file.pth yourself and save it as {place}" in said
    with pytest.raises(SystemExit) as stop:
        sngan(["sample", "sngan_cifar10", "--out", str(tmp_path / "x.png")])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1 and str(place) in said
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(DATA[:-1])
    fails("must begin with .*got")
    assert place.exists()  # the user's own file is never removed
    place.write_bytes(DATA)
    works()
    assert place.exists()


def test_what_has_no_address_says_at_once_what_to_do(setup):
    with pytest.raises(FileNotFoundError) as error:
        load_generator("sngan_dogcat256")
    said, file = str(error.value), "ResNetGenerator_450000.npz"
    assert f"download {file} from https://" in said and f"sngan convert {file} OUT" in said and "\n" not in said


def test_a_file_from_a_drive_put_in_its_place_loads_by_name(setup, tmp_path, monkeypatch):
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / "cache"))
    record = WEIGHTS["sngan_cifar10_unconditional.mimicry"]
    place = cache.place(record)
    place.parent.mkdir(parents=True)
    place.write_bytes((GOLDEN / "foreign" / "mimicry_sngan32" / "netG" / "netG_100000_steps.pth").read_bytes())
    g = load_generator("sngan_cifar10_unconditional")
    assert g.config["upsample"] == "bilinear" and place.exists() and g.sample(n=1, seed=0).shape == (1, 3, 32, 32)


def test_a_damaged_cache_is_made_anew(setup, server):
    cache = setup()
    server.answer["/file.pth"] = whole(DATA)
    works()
    weights = cache / WHOLE[4]
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    works()
    assert len(server.log) == 2


def test_a_network_made_again_keeps_its_calibration_and_leaves_its_partner(setup, server, capsys):
    cache = setup()
    server.answer["/file.pth"] = whole(DATA)
    works()
    weights, made = cache / WHOLE[1], cache / WHOLE[2]
    calibration = weights.with_name("calibration.json")
    calibration.write_text("{}")
    before = made.stat().st_ino
    (cache / WHOLE[4]).write_bytes(b"")  # of the generator
    works()
    assert calibration.read_text() == "{}" and made.stat().st_ino == before
    weights.write_bytes(b"")
    works()
    assert calibration.read_text() == "{}" and capsys.readouterr().err == ""
    made.write_text(re.sub('"converted_sha256": "[^"]*"', '"converted_sha256": "0"', made.read_text()))  # other weights
    works()
    assert not calibration.exists()
    said = capsys.readouterr().err
    assert "the weights of the discriminator have changed" in said and "sngan probe --calibrate" in said


def test_a_changed_configuration_in_the_cache_is_made_anew(setup, server, capsys):
    cache = setup()
    server.answer["/file.pth"] = whole(DATA)
    works()
    config = cache / f"weights/{NAME}/generator/config.json"
    right = config.read_bytes()
    for wrong in (b"", right.replace(b'"bn_eps": ', b'"bn_eps": 1')):
        config.write_bytes(wrong)
        with pytest.raises(SystemExit):
            sngan(["list", "--verify"])
        assert "config.json is damaged or changed; it is made again at the next use" in capsys.readouterr().err
        works()
        assert config.read_bytes() == right


def test_names_that_a_record_gets_later_name_what_is_in_the_cache(setup, server):
    cache = setup("our_flowers32.v1")
    server.answer["/file.pth"] = whole(DATA)
    assert load_generator("our_flowers32").classes is None
    names = [f"flower {i}" for i in range(10)]
    setup("our_flowers32.v1", classes=names)
    assert load_generator("our_flowers32").classes == load_discriminator("our_flowers32").classes == names
    assert len(server.log) == 1, "the file is not fetched again"
    setup("our_flowers32.v1", classes=names[:9])
    with pytest.raises(ValueError, match="our_flowers32.v1: classes must have 10 names, .*got 9"):
        load_generator("our_flowers32")
    assert cache.is_dir()


def test_what_else_decides_about_a_conversion_is_compared_too(setup, server):
    """The code base; and where no hash is known, the address."""
    setup("our_flowers32.v1")
    for path in ("/file.pth", "/other/file.pth"):
        server.answer[path] = whole(DATA)
    load_generator("our_flowers32")
    setup("our_flowers32.v1", code_base="mmgen")
    load_generator("our_flowers32")
    setup("our_flowers32.v1", code_base="mmgen", sha256=None)
    load_generator("our_flowers32")
    setup("our_flowers32.v1", code_base="mmgen", sha256=None, url=f"{server.url}/other/file.pth")
    load_generator("our_flowers32")
    load_generator("our_flowers32")
    assert [path for path, _ in server.log] == ["/file.pth"] * 3 + ["/other/file.pth"]


def test_a_download_that_holds_no_such_network_is_not_kept_as_the_users_file(setup, server):
    cache = setup("our_flowers32.v1", url=f"{server.url}/netG.npz", sha256=None)
    generator = (GOLDEN / "sngan_G32_cond_ch16_n10.weights.npz").read_bytes()
    server.answer["/netG.npz"] = whole(generator)
    for times in (1, 2):
        with pytest.raises(ValueError, match="does not contain a discriminator"):
            load_discriminator("our_flowers32")
        assert len(server.log) == times and not list(cache.rglob("*.npz"))


def test_the_commit_of_the_partner_is_that_of_the_same_repository(setup, tmp_path):
    """Otherwise the record's own revision counts, and a commit that the record names."""
    cache = setup()
    folder = cache / f"weights/{NAME}/generator"
    folder.mkdir(parents=True)
    made = {"file": "a.pth", "sha256": SHA, "converted_sha256": SHA, "revision": "c" * 40}
    for source, revision, expected in (
        ("https://hub/lab/weights/resolve/main/a.pth", "main", "c" * 40),
        ("https://hub/other/weights/resolve/main/a.pth", "main", ""),
        ("https://hub/lab/weights/resolve/main/a.pth", "d" * 40, ""),
    ):
        (folder / "source.json").write_text(json.dumps({**made, "from": source}))
        record = Record(NAME, "discriminator", repo="lab/weights", path="a.pth", file="a.pth", revision=revision)
        assert commit_of_partner(record) == expected


def test_another_record_of_the_name_is_fetched_anew(setup, server):
    setup()
    server.answer["/file.pth"] = whole(DATA)
    works()
    other = (GOLDEN / "foreign" / "mmgen32_cond10_w.pth").read_bytes()
    server.answer["/other.pth"] = whole(other)
    setup(url=f"{server.url}/other.pth", sha256=hashlib.sha256(other).hexdigest())
    works()
    assert [path for path, _ in server.log] == ["/file.pth", "/other.pth"]


def test_a_pair_from_two_files_that_hold_both_is_fetched_once(setup, server, tmp_path):
    cache = setup()
    entries = {}
    for kind, key in (("wo", "own_mix32.v1"), ("w", "own_mix32_discriminator.v1")):
        server.answer[f"/{kind}.pth"] = whole((GOLDEN / "foreign" / f"mmgen32_cond10_{kind}.pth").read_bytes())
        entries[key] = {"url": f"{server.url}/{kind}.pth"}
    (tmp_path / "records.json").write_text(json.dumps(entries))
    calibration = cache / "weights/own_mix32.v1/discriminator/calibration.json"
    for _ in range(2):
        load_generator("own_mix32")
        load_discriminator("own_mix32")
        calibration.write_text("{}")
    load_generator("own_mix32")
    assert [path for path, _ in server.log] == ["/wo.pth", "/w.pth"] and calibration.is_file()


def test_a_file_without_the_wanted_network_or_any(setup, server):
    setup(sha256=None)
    generator = (GOLDEN / "foreign" / "mimicry_sngan32" / "netG" / "netG_100000_steps.pth").read_bytes()
    server.answer["/file.pth"] = whole(generator)
    with pytest.raises(ValueError, match="does not contain a discriminator"):
        load_discriminator("sngan_cifar10")
    server.answer["/file.pth"] = whole(b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00trueq\x00\x85R.")
    setup("new_model.v1", sha256=None)
    with pytest.raises(ValueError, match="not written by torch.save"):
        load_generator("new_model")


# Real processes ------------------------------------------------------------------------------------------------------

CHILD = "from sngan_hub import load_generator; print(load_generator('sngan_cifar10').sample(n=1, seed=0).sum().item())"


def child():
    return warm.start([sys.executable, "-c", CHILD])


@pytest.mark.slow
def test_four_processes_at_once(setup, server):
    cache = setup()
    slowly = whole(DATA)

    def answer(handler, start):
        time.sleep(3)  # all four ask before the first has it
        slowly(handler, start)

    server.answer["/file.pth"] = answer
    children = [child() for _ in range(4)]
    said = [c.communicate(timeout=120) for c in children]
    assert [c.returncode for c in children] == [0] * 4, said
    assert len({out for out, _ in said}) == 1 and left(cache) == WHOLE
    assert sum("another process is fetching it; waiting" in err for _, err in said) >= 1 and len(server.log) == 1


@pytest.mark.slow
def test_killed_while_fetching(setup, server):
    cache = setup()

    def crawl(handler, start):
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(DATA) - start))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
        handler.end_headers()
        for i in range(start, len(DATA), 30_000):
            handler.wfile.write(DATA[i : i + 30_000])
            time.sleep(0.2)

    server.answer["/file.pth"] = crawl
    for _ in range(2):
        before = len(server.log)
        process = child()
        while len(server.log) == before:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert all(name.endswith(".part") for name in left(cache))
    server.answer["/file.pth"] = whole(DATA)
    process = child()
    assert process.communicate(timeout=120)[0] and process.returncode == 0
    assert left(cache) == WHOLE


@pytest.mark.slow
def test_a_full_disk_keeps_what_came_and_says_so(setup, server):
    """A limit on the file size stands in for the disk."""
    cache = setup()
    server.answer["/file.pth"] = whole(DATA)
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from sngan_hub.cli.main import main; sys.exit(main(['sample', 'sngan_cifar10', '--out', sys.argv[1]]))"
    )
    done = warm.run([sys.executable, "-c", code, str(cache.parent / "x.png")])
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "the partial download is kept" in done.stderr, (
        done.stderr
    )
    assert [name for name in left(cache) if not name.endswith(".part")] == []
    works()
