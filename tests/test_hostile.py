"""Files that nobody vouches for: each is converted or refused in one line; nothing runs, hangs, swells or half-writes."""

import io
import json
import os
import pickle
import random
import re
import resource
import sys
import traceback
import zipfile

import numpy as np
import pytest
import torch

from sngan_hub import Generator, load_generator
from sngan_hub.cli.main import main as sngan
from sngan_hub.convert import convert_file, networks
from sngan_hub.convert.archive import MAX_INFLATED, read_npz, read_torch
from sngan_hub.networks.mixin import load_weights  # noqa: F401  (imported before the fork)

from . import foreign, hostile
from .conftest import GOLDEN

FOREIGN = GOLDEN / "foreign"
FILES = {
    "authors": GOLDEN / "sngan_G32_cond_ch16_n10.weights.npz",
    "authors_d": GOLDEN / "sngan_D32_proj_ch16_n10.weights.npz",
    "mmgen": FOREIGN / "mmgen32_cond10_w.pth",
    "studio": FOREIGN / "studio32_cond10" / "model=G-best-weights-step=88000.pth",
    "studio_d": FOREIGN / "studio32_cond10" / "model=D-best-weights-step=88000.pth",
    "mimicry": FOREIGN / "mimicry_cganpd32_n10" / "netG" / "netG_100000_steps.pth",
    "mimicry_d": FOREIGN / "mimicry_cganpd32_n10" / "netD" / "netD_100000_steps.pth",
}


def refusal(path, tmp_path, capsys, *flags):
    """The one line that `sngan convert` says; nothing may be written."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit) as stop:
        sngan(["convert", str(path), str(tmp_path / "out"), *flags])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.count("\n") == 1 and said.startswith("sngan convert: error: "), said
    assert sorted(tmp_path.iterdir()) == before
    return said


def resaved(path, tmp_path, change, older=False):
    content = read_torch(path)
    change(content)
    out = tmp_path / path.name
    torch.save(content, out, _use_new_zipfile_serialization=not older)
    return out


KEY = "generator.conv_blocks.1.conv_1.conv.weight"
CHANGES = {
    "missing": (lambda sd: sd.pop(KEY), f"{KEY} is missing"),
    "missing statistic": (
        lambda sd: sd.pop("generator.to_rgb.bn.running_var"),
        "generator.to_rgb.bn.running_var is missing",
    ),
    "surplus": (
        lambda sd: sd.update({"generator.attention.weight": torch.zeros(3)}),
        "generator.attention.weight is not a tensor of this network",
    ),
    "surplus elsewhere": (
        lambda sd: sd.update({"loss.weight": torch.zeros(3)}),
        "loss.weight belong to neither generator nor discriminator",
    ),
    "renamed": (lambda sd: sd.update({KEY + "s": sd.pop(KEY)}), f"{KEY} is missing"),
    "nan": (lambda sd: sd[KEY].view(-1)[5].fill_(float("nan")), f"{KEY} contains values that are not finite"),
    "variance": (
        lambda sd: sd["generator.to_rgb.bn.running_var"].neg_(),
        "generator.to_rgb.bn.running_var contains a negative variance",
    ),
    "double": (lambda sd: sd.update({KEY: sd[KEY].double()}), f"{KEY} is float64, expected float32"),
    "half": (lambda sd: sd.update({KEY: sd[KEY].half()}), f"{KEY} is float16, expected float32"),
    "integers": (
        lambda sd: sd.update({"generator.to_rgb.bn.num_batches_tracked": torch.tensor(1.0)}),
        "num_batches_tracked is float32, expected int64",
    ),
    "shape": (
        lambda sd: sd.update({KEY: sd[KEY][:, :, :2]}),
        f"{KEY} has shape (16, 16, 2, 3), expected (16, 16, 3, 3)",
    ),
    "u": (
        lambda sd: sd.update({"discriminator.decision.weight_v": torch.ones(3)}),
        "discriminator.decision.weight_v has shape (3,), expected (8,)",
    ),
    "text": (lambda sd: sd.update({KEY: "no tensor"}), f"'{KEY}' is a str, expected a tensor"),
    "sparse": (lambda sd: sd.update({KEY: torch.eye(3).to_sparse()}), f"{KEY} is not a dense CPU tensor"),
    "view": (
        lambda sd: sd.update({KEY: torch.zeros(1).expand(10**5, 10**6)}),
        f"{KEY} declares 100,000,000,000 values, more than the file contains for it",
    ),
    "others": (lambda sd: [sd.clear(), sd.update({"conv1.weight": torch.zeros(3)})], "do not match a known network"),
    "nothing": (lambda sd: sd.clear(), "the state_dict is not a dictionary of tensors"),
}


@pytest.mark.parametrize("older", [False, True], ids=["zip", "older"])
@pytest.mark.parametrize("name", CHANGES)
def test_what_is_not_exactly_such_a_network_is_refused_by_the_tensors_name(name, older, tmp_path, capsys):
    change, text = CHANGES[name]
    path = resaved(FILES["mmgen"], tmp_path, lambda content: change(content["state_dict"]), older)
    assert text in refusal(path, tmp_path, capsys)


@pytest.mark.parametrize("change, text", [
    (lambda a: a.pop("block3/c2/b"), "block3/c2/b is missing"),
    (lambda a: a.update({"block9/x": a["l1/b"]}), "block9/x is not a tensor of this network"),
    (lambda a: a.update({"l1/b": a["l1/b"].astype("f8")}), "l1/b is float64, expected float32"),
    (lambda a: a.update({"l1/b": a["l1/b"].astype(">f4")}), "l1/b is >f4, expected float32"),
    (lambda a: a.update({"l1/b": a["l1/b"].astype(np.longdouble)}), f"l1/b is {np.dtype(np.longdouble)}, expected float32"),
    (lambda a: a.update({"b5/N": np.float32(1)}), "b5/N is float32, expected int64"),
    (lambda a: a.update({"l1/W": a["l1/W"][:-1]}), "l1/W has 255 rows, which do not form a square map"),
    (lambda a: a.update({"block2/b1/gammas/W": a["block2/b1/gammas/W"][:-1]}), "block2/b1/betas/W has shape (10, 16)"),
    (lambda a: a.update({"l1/b": np.full_like(a["l1/b"], np.inf)}), "l1/b contains values that are not finite"),
    (lambda a: a.update({"l1/b": np.array([{}], object)}), "l1/b.npy is not a plain array (it contains pickled objects"),
])  # fmt: skip
def test_snapshots_likewise(change, text, tmp_path, capsys):
    arrays = read_npz(FILES["authors"])
    change(arrays)
    np.savez(tmp_path / "x.npz", **arrays)
    assert text in refusal(tmp_path / "x.npz", tmp_path, capsys)


def test_a_class_gain_without_classes_is_refused_by_its_name(tmp_path, capsys):
    key = "blocks.0.0.bn1.gain.weight"
    path = resaved(FILES["studio"], tmp_path, lambda c: c["state_dict"].update({key: c["state_dict"][key][:, 0]}))
    assert f"{key} has shape (16,), which does not fit this layer" in refusal(path, tmp_path, capsys)


@pytest.mark.parametrize("older", [False, True], ids=["zip", "older"])
@pytest.mark.parametrize("function", [os.system, eval, print, open, pickle.loads])
def test_a_pickle_that_calls_a_function_is_refused_and_calls_nothing(function, older, tmp_path, capsys):
    canary = tmp_path / "canary"
    argument = f"touch {canary}" if function is os.system else f"open({str(canary)!r}, 'w')"
    evil = hostile.Call(function, argument)
    path = resaved(FILES["studio"], tmp_path, lambda content: content.update(extra=evil), older)
    said = refusal(path, tmp_path, capsys)
    assert "not loaded, because its pickle refers to" in said and function.__name__ in said and not canary.exists()


def test_numpy_scalars_of_both_numpys_are_read(tmp_path):
    for older in (False, True):
        for value in (np.float64(8.7), np.float32(9.5), np.int64(3)):
            path = resaved(FILES["studio_d"], tmp_path, lambda c, v=value: c.update(best_fid=v), older)
            assert read_torch(path)["best_fid"] == value
            renamed = path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            if older:  # the zip format's CRC would tell
                path.write_bytes(renamed)
                assert read_torch(path)["best_fid"] == value


def test_sizes_that_lie_are_refused_before_memory_is_taken(tmp_path, capsys):
    big = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rng = random.Random(0)
    for name, path in FILES.items():
        for older in (False, True) if path.suffix == ".pth" else (False,):
            source = resaved(path, tmp_path, lambda content: None, True) if older else path
            for _ in range(6):
                target = tmp_path / f"lie{path.suffix}"
                target.write_bytes(hostile.claim(source, rng))
                said = refusal(target, tmp_path, capsys)
                assert "declares" in said, (name, said)
                target.unlink()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - big < 300_000  # kB


def test_a_product_of_two_small_tensors_is_refused_before_memory_is_taken(tmp_path, capsys, monkeypatch):
    tensors = foreign.studio_shared_generator(Generator(32, 5, widths=[8, 4, 4, 4]))
    path = tmp_path / "model=G-best-weights-step=1.pth"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wide = {key: torch.ones(16_384, 1) for key in tensors if key.endswith(("gain.weight", "bias.weight"))}
    torch.save({"state_dict": {**tensors, **wide, "shared.weight": torch.ones(30_000, 1)}}, path)
    assert path.stat().st_size < 2e6
    said = refusal(path, tmp_path, capsys)  # one such product takes 2 GB
    assert "has shape (16384, 1), expected" in said and "bn1" in said
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB
    monkeypatch.setattr(networks, "_COMPUTED", 100)
    torch.save({"state_dict": {**tensors, "shared.weight": torch.ones(20_000, 128)}}, path)
    assert convert_file(path)[0].network.n_classes == 20_000  # not out of proportion to the file
    monkeypatch.setattr(networks, "_COMPUTED_PER_VALUE", 0)
    assert re.search(
        "shared.weight gives [0-9,]+ values of class gains, but the whole file has", refusal(path, tmp_path, capsys)
    )


def test_an_archive_that_swells_is_refused(tmp_path, capsys):
    path = tmp_path / "bomb.npz"
    zeros = io.BytesIO()
    np.save(zeros, np.zeros(1 << 24, np.float32))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(MAX_INFLATED // (1 << 26) + 1):
            archive.writestr(f"l{i}/W.npy", zeros.getvalue())
    assert path.stat().st_size < 3e6
    assert "the unpacked size exceeds the limit" in refusal(path, tmp_path, capsys)


def test_a_flipped_bit_of_a_weight_is_found_by_the_archives_crc(tmp_path, capsys):
    for path in (FILES["authors"], FILES["mmgen"]):
        with zipfile.ZipFile(path) as archive:
            entry = max(archive.infolist(), key=lambda e: e.compress_size)
        data = bytearray(path.read_bytes())
        data[entry.header_offset + 200 + entry.compress_size // 2] ^= 4
        target = tmp_path / path.name
        target.write_bytes(data)
        assert "is damaged" in refusal(target, tmp_path, capsys)
        target.unlink()


@pytest.mark.parametrize("content, text", [
    (b"", "not an .npz file or a PyTorch file (the file is empty)"),
    (b"<html>sign in</html>", "it is a web page); download it again"),
    (b"hello", "not an .npz file or a PyTorch file (unknown format)"),
    (b"\x80\x04K\x01.", "this pickle was not written by torch.save"),
    (b"PK\x03\x04" + bytes(100), "damaged or incomplete"),
])  # fmt: skip
def test_other_files_are_named_for_what_they_are(content, text, tmp_path, capsys):
    path = tmp_path / "netG.pth"
    path.write_bytes(content)
    assert text in refusal(path, tmp_path, capsys)
    with pytest.raises(ValueError, match="netG.pth"):
        load_generator(path)


def test_missing_and_empty_places(tmp_path, capsys):
    assert "no file or folder" in refusal(tmp_path / "none.pth", tmp_path, capsys)
    (tmp_path / "empty").mkdir()
    assert "contains no checkpoint" in refusal(tmp_path / "empty", tmp_path, capsys)
    from sngan_hub import WEIGHTS

    assert "already has the format of sngan-hub" in refusal(WEIGHTS["sngan_fashion32.v1"].folder, tmp_path, capsys)


# Many of them --------------------------------------------------------------------------------------------------------


def convert_in_child(path, out, report):
    """Forks, converts, and leaves what happened in ``report``: a crash is the child's alone."""
    pid = os.fork()
    if pid:
        _, status, used = os.wait4(pid, 0)
        return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime  # other work may share the machine
    code = 3
    try:
        with open(report, "w") as stream:
            sys.stderr = stream
            sys.stdout = open(os.devnull, "w")
            try:
                code = sngan(["convert", str(path), str(out)])
            except SystemExit as stop:
                code = int(stop.code or 0)
            except BaseException:
                traceback.print_exc(file=stream)
            stream.write(f"\n{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}")
    finally:
        os._exit(code)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["authors", "mmgen", "studio", "mimicry"])
def test_mutated_files(family, tmp_path, monkeypatch):
    torch.set_num_threads(1)  # the child of a fork must not wait for threads that it has not
    monkeypatch.setenv("CANARY", str(tmp_path / "canary"))
    count = 200 if os.environ.get("SOAK") else 20
    rng = random.Random(f"{family}{os.environ.get('SOAK', '')}")
    shown = []
    worst = {"seconds": 0.0, "MB": 0, "converted": 0, "refused": 0}
    for i in range(count):
        source = FILES[family if i % 2 else {"mmgen": "mmgen"}.get(family, f"{family}_d")]
        if source.suffix == ".pth" and i % 4 > 1:
            source = resaved(source, tmp_path, lambda content: None, older=True)
        maker = hostile.MAKERS[i % len(hostile.MAKERS)]
        work = tmp_path / "work"
        work.mkdir()
        path, out = work / f"file{source.suffix}", work / "out"
        path.write_bytes(maker(source, rng))
        code, seconds = convert_in_child(path, out, tmp_path / "report")
        *said, rss = (tmp_path / "report").read_text().split("\n")
        said = [line for line in said if line]
        where = f"{family} {i} {maker.__name__}: {said}"
        assert code in (0, 2), where
        assert not (tmp_path / "canary").exists(), where
        assert seconds < 5 and int(rss) < 2e6, where
        if code == 2:
            shown.append(said[0].replace(str(work), "")[22:130])
            assert len(said) == 1 and said[0].startswith("sngan convert: error: ") and len(said[0]) < 1000, where
            assert sorted(work.iterdir()) == [path], where
        else:
            assert said == [] and maker in (hostile.flip, hostile.flip_structure), where
            for file in out.rglob("config.json"):
                config = json.loads(file.read_text())
                from sngan_hub import Discriminator, Generator

                network = {"Generator": Generator, "Discriminator": Discriminator}[config["class"]].from_pretrained(
                    file.parent
                )
                assert all(torch.isfinite(t).all() for t in network.state_dict().values()), where
        worst["seconds"], worst["MB"] = max(worst["seconds"], seconds), max(worst["MB"], int(rss) // 1000)
        worst["converted" if code == 0 else "refused"] += 1
        import shutil

        shutil.rmtree(work)
    print(f"{family}: {count} mutated files, {worst}", *shown, sep="\n")
