"""Pictures of every kind -> a prepared data set: nothing lost, everything refused named, and read back as written."""

import io
import json
import os
import resource
import signal
import subprocess
import sys
import tarfile
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from sngan_hub.data import count_images, load_images, prepared, source_classes
from sngan_hub.data.images import cropped, read_picture, square
from sngan_hub.networks.registry import MODELS, Model
from sngan_hub.progress import Progress
from training.__main__ import main
from training.prepare import build as preparing
from training.prepare.sources import list_source

from . import warm
from .conftest import GOLDEN, ROOT
from .pictures import encoded, picture, prepare, refusal

# The authors' pipeline


@pytest.mark.parametrize("case", ["full", "lowcontrast", "wide", "tall"])
def test_the_authors_crop_stretch_and_resize(case):
    golden = np.load(GOLDEN / "preprocess_imagenet.io.npz", allow_pickle=False)
    ours = square(Image.fromarray(golden[f"{case}/in_uint8_hwc"]), 64, stretch=True)
    assert np.array_equal(ours / 128 - 1, golden[f"{case}/out64_nonoise"])
    if case == "lowcontrast":
        plain = square(Image.fromarray(golden[f"{case}/in_uint8_hwc"]), 64)
        assert int(plain.max()) - int(plain.min()) < 128 < int(ours.max()) - int(ours.min())


def test_a_short_side_is_resized_first():
    """As the authors' preprocess.sh does, before the centre is cut out and resized."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (640, 512, 3), dtype=np.uint8))
    file = io.BytesIO()
    image.save(file, "PNG")
    found = read_picture(file.getvalue(), 128, 256)
    assert np.array_equal(found, square(image.resize((256, 320), Image.Resampling.LANCZOS), 128))
    assert not np.array_equal(found, read_picture(file.getvalue(), 128))


@pytest.mark.parametrize("case", ["aug0", "aug1", "aug2"])
def test_the_authors_random_crop_and_flip(case):
    golden = np.load(GOLDEN / "preprocess_imagenet.io.npz", allow_pickle=False)
    (top, left, flip) = golden[f"{case}/draws_lo_hi_value(top,left,flip)"][:, 2]
    ours = cropped(golden["full/in_uint8_hwc"], top, left, int(256 * 0.9), 64, bool(flip), stretch=True)
    assert np.array_equal(ours / 128 - 1, golden[f"{case}/out64_nonoise"])


def test_modes_rotation_and_sixteen_bits(tmp_path):
    sixteen = np.zeros((20, 20), np.uint16)
    sixteen[:] = np.linspace(0, 65535, 20).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(sixteen).save(buffer, "PNG")
    grey = read_picture(buffer.getvalue(), 20)
    assert grey.max() == 255 and grey.min() == 0 and abs(int(grey[0, 0, 10]) - 134) <= 1
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    buffer = io.BytesIO()
    clear.save(buffer, "PNG")
    assert read_picture(buffer.getvalue(), 8).min() == 255  # on white
    upright = Image.new("RGB", (20, 10), "black")
    upright.paste("white", (10, 0, 20, 10))
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise: the white half comes to lie below
    upright.save(buffer, "PNG", exif=exif)
    turned = read_picture(buffer.getvalue(), 10)
    assert turned[:, :4].max() == 0 and turned[:, 6:].min() == 255


# A data set


def test_a_tree_of_class_folders(tmp_path, image_folder, capsys):
    (image_folder / "left" / "deep").mkdir()
    (image_folder / "left" / "deep" / "a.png").write_bytes(encoded(1))
    bad = [image_folder / "left" / "00.png", image_folder / "right" / "07.png"]
    bad[0].write_bytes(bad[0].read_bytes()[:100])
    bad[1].write_bytes(b"<html>")
    out = tmp_path / "out"
    assert prepare(image_folder, out, "--size", 32) == 0
    said = capsys.readouterr()
    assert "39 images of 32 px in 2 classes" in said.out and "Skipped 2 images; " in said.out
    refused = dict(line.split("\t") for line in (out / "refused.tsv").read_text().splitlines())
    assert refused.keys() == {str(path) for path in bad} and all(refused.values())
    train, test = (load_images(str(out), split) for split in ("train", "test"))
    assert train.classes == ["left", "right"] == source_classes(str(out))
    assert (len(train.images), len(test.images)) == (36, 3) and train.made["refused"] == 2
    of = {read_picture(p.read_bytes(), 32).tobytes(): p.parts[len(image_folder.parts)] for p in image_folder.rglob("*.png")
          if p not in bad}  # fmt: skip
    rows = [(data.images[i], data.classes[data.labels[i]]) for data in (train, test) for i in range(len(data.images))]
    assert [of[image.tobytes()] for image, _ in rows] == [name for _, name in rows]
    assert len({image.tobytes() for image, _ in rows}) == 39  # no picture twice, none lost
    assert prepare(out) == 0 and "all checksums match" in capsys.readouterr().out
    written = (out / "images.npy").read_bytes()
    assert prepare(image_folder, out, "--size", 32) == 0  # once more: done already
    for name in ("images.npy", "labels.npy"):
        (out / name).unlink()
        assert prepare(image_folder, out, "--size", 32) == 0  # what is missing is written again
        assert (out / "images.npy").read_bytes() == written and prepare(out) == 0
    half = load_images(str(out), "train", 16)
    assert half.images.shape == (36, 3, 16, 16) and half.fingerprint() != train.fingerprint()
    assert np.array_equal(half.images[3], cropped(train.images[3].transpose(1, 2, 0), 0, 0, 32, 16))
    assert np.array_equal(np.asarray(half.images)[[5, 3]], half.images[np.array([5, 3])])
    assert count_images(str(out)) == (39, 3)


def test_a_class_without_a_usable_image_and_a_negative_number_of_workers(tmp_path, image_folder, capsys):
    assert "workers must be 0 (one per core) or more (got -3)" in refusal(
        capsys, image_folder, tmp_path / "out", "--workers", -3
    )
    for path in (image_folder / "left").iterdir():
        path.write_bytes(b"<html>")
    said = refusal(capsys, image_folder, tmp_path / "out", "--size", 32)
    assert "a usable image of every class (got none of left; see " in said


def test_a_preset_brings_its_recipe(tmp_path):
    folder = tmp_path / "source" / "n01440764"
    folder.mkdir(parents=True)
    picture(0, (300, 280)).save(folder / "large.png")
    picture(1, (255, 600)).save(folder / "narrow.png")
    out = tmp_path / "out"
    assert prepare(folder.parent, out, "--preset", "imagenet128_projection") == 0
    about = json.loads((out / "dataset.json").read_text())
    assert (about["size"], about["short_side"], about["contrast_stretch"], about["test_every"]) == (128, 256, True, 0)
    assert "255x600 px: each side must be at least 256 px" in (out / "refused.tsv").read_text() and about["images"] == 1
    with pytest.raises(ValueError, match="prepared without a test split"):
        load_images(str(out), "test", 128)
    picture(2, (300, 280)).save(folder / "second.png")
    assert prepare(folder.parent, tmp_path / "two", "--size", 16) == 0
    with pytest.raises(ValueError, match="has no class of 10 images, .*; run sngan prepare with --test-every 3"):
        load_images(str(tmp_path / "two"), "test", 16)
    from training.commands import recipe_of

    assert recipe_of("dogcat64") == {"size": 256, "short_side": 256, "min_side": 256, "contrast_stretch": False,
                                     "test_every": 0}  # fmt: skip
    assert recipe_of("celeba64") == {"size": 64}


# What goes wrong


def test_killed_at_any_moment_it_goes_on(tmp_path, image_folder, monkeypatch):
    many = tmp_path / "many"
    for c in range(3):
        (many / f"c{c}").mkdir(parents=True)
        for i in range(60):
            (many / f"c{c}" / f"{i:03d}.png").write_bytes(encoded(100 * c + i))
    (many / "c1" / "030.png").write_bytes(b"nothing")
    script = (
        "import sngan_hub.data.prepared as p; p.BLOCK_BYTES = 6 * 3 * 24**2\n"
        "import sys\nimport time\nimport training.prepare.build as t; inner = t._block\n"
        "def slow(b): time.sleep(0.1); return inner(b)\n"
        "t._block = slow\n"
        "from training.__main__ import main; raise SystemExit(main(sys.argv[1:]))"
    )
    out = tmp_path / "out"
    command = [sys.executable, "-c", script, "prepare", str(many), str(out), "--size", "24", "--workers", "2"]

    def lines():
        path = out / "progress.jsonl"
        return len(path.read_text().splitlines()) if path.exists() else 0

    for target in (3, 14):
        process = warm.start(command)
        while lines() < target and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert target <= lines() < 30 and not (out / "dataset.json").exists()
    with pytest.raises(FileNotFoundError):  # half a data set is none
        load_images(str(out), "train", 24)
    with open(out / "progress.jsonl", "a") as file:
        file.write('{"block": 2')  # cut off while it was written
    assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 0
    assert warm.run([*command[:5], str(tmp_path / "whole"), *command[6:]]).returncode == 0
    for name in ("images.npy", "labels.npy", "refused.tsv"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len((out / "refused.tsv").read_text().splitlines()) == 1


def test_stopped_before_its_first_block_it_resumes(tmp_path, image_folder, monkeypatch):
    make = np.lib.format.open_memmap

    def stopped(*args, **kwargs):
        make(*args, **kwargs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(np.lib.format, "open_memmap", stopped)
        assert main(["prepare", str(image_folder), str(tmp_path / "out"), "--size", "24"]) == 130
    (tmp_path / "out" / ".plan.json.0.part").write_text("{")  # of a start that was killed earlier still
    assert main(["prepare", str(image_folder), str(tmp_path / "out"), "--size", "24"]) == 0


def test_a_resumed_preparation_counts_a_short_last_block_as_it_is(tmp_path, image_folder, monkeypatch):
    shown, out = [], tmp_path / "out"
    monkeypatch.setattr(preparing, "block_rows", lambda size: 15)
    monkeypatch.setattr(preparing, "Progress", lambda *args, **of: shown.append(of) or Progress(*args, **of))
    for done in ([], [2], [0, 2]):  # of 40 images, in blocks of 15, 15 and 10
        if done:
            digests = json.loads((out / "dataset.json").read_text())["blocks"]
            lines = [json.dumps({"block": b, "digest": digests[b], "refused": []}) + "\n" for b in done]
            (out / "progress.jsonl").write_text("".join(lines))
            (out / "dataset.json").unlink()
        assert prepare(image_folder, out, "--size", 8) == 0
    assert [of["done"] for of in shown] == [0, 10, 25]


def test_what_is_refused(tmp_path, image_folder, capsys):
    out = tmp_path / "out"
    assert "(got 'nowhere', which does not exist)" in refusal(capsys, "nowhere", out)
    assert "out is missing" in refusal(capsys, image_folder)
    assert "size must be between 8 and 1,024 (got 4)" in refusal(capsys, image_folder, out, "--size", 4)
    assert "test_every must be 0 (no test images) or 2 or more (got 1" in refusal(
        capsys, image_folder, out, "--test_every", 1
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("all of it")
    assert "out must be a new or empty folder" in refusal(capsys, image_folder, tmp_path / "other")
    assert (tmp_path / "other" / "thesis.tex").read_text() == "all of it"
    assert prepare(image_folder, out, "--size", 16) == 0
    assert "size was 16, now 32" in refusal(capsys, image_folder, out, "--size", 32)
    empty = tmp_path / "empty" / "c"
    empty.mkdir(parents=True)
    (empty / "a.png").write_bytes(b"")
    assert "source has no usable images (got 1)" in refusal(capsys, empty.parent, tmp_path / "none")
    Image.new("RGB", (16, 16)).save(empty / "a.png")  # repaired: the same command reads it again
    assert prepare(empty.parent, tmp_path / "none") == 0
    (empty / "a.png").write_bytes(b"")
    gz = tmp_path / "a.tar.gz"
    with tarfile.open(gz, "w:gz") as tar:
        tar.add(empty, "c")
    assert "is not an uncompressed .tar" in refusal(capsys, gz, tmp_path / "none2")
    (tmp_path / "cut.tar").mkdir()
    with pytest.raises(FileNotFoundError, match=r"one folder deeper: name .*images instead"):
        load_images(str(image_folder.parent))
    with pytest.raises(FileNotFoundError, match="one folder deeper"):
        list_source(str(image_folder.parent))


def test_data_that_changed_since_is_told_in_a_line(tmp_path, image_folder, capsys):
    out = tmp_path / "out"
    assert prepare(image_folder, out, "--size", 16) == 0
    images, labels = out / "images.npy", out / "labels.npy"
    pixels, whole = images.read_bytes(), labels.read_bytes()
    images.write_bytes(pixels[:-100])
    with pytest.raises(ValueError, match=r"images.npy: the file must have 30,848 bytes .got 30,748."):
        load_images(str(out), "train", 16)
    images.write_bytes(pixels[:5000] + bytes([pixels[5000] ^ 1]) + pixels[5001:])
    assert "1 block(s) have changed" in refusal(capsys, out)
    images.write_bytes(pixels)
    labels.write_bytes(whole[:-4] + b"\x09\0\0\0")
    with pytest.raises(ValueError, match=r"labels.npy: the file does not match dataset.json"):
        load_images(str(out), "train", 16)
    assert "labels.npy: the file has changed since it was written" in refusal(capsys, out)
    labels.unlink()
    assert "labels.npy: the file is missing" in refusal(capsys, out)
    labels.write_bytes(whole[:-4] + b"\x09\0\0\0")
    about = json.loads((out / "dataset.json").read_text())
    import hashlib

    about["labels_sha256"] = hashlib.sha256(labels.read_bytes()).hexdigest()
    (out / "dataset.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"labels.npy: labels must be between 0 and 1 .got 9."):
        load_images(str(out), "train", 16)
    labels.write_bytes(whole)
    with pytest.raises(ValueError, match="size must be at most 16, .*got 32"):
        load_images(str(out), "train", 32)
    (out / "dataset.json").write_text("{}")
    with pytest.raises(ValueError, match=r"dataset.json: this is not the description"):
        load_images(str(out), "train", 16)


def test_a_run_starts_and_resumes_only_on_what_was_prepared(tmp_path, image_folder, capsys, monkeypatch):
    """Every block is compared, not dataset.json alone; what changed in place is named, with the way on."""
    monkeypatch.setattr(prepared, "BLOCK_BYTES", 10 * 3 * 32**2)  # four blocks
    monkeypatch.setitem(MODELS, "sngan_tiny", Model(32, 2, {"widths": [4] * 4}, {"widths": [4] * 4}))
    assert prepare(image_folder, tmp_path / "out", "--size", 32) == 0
    flags = {"preset": "fashion32", "architecture": "sngan_tiny", "data": tmp_path / "out", "out": tmp_path / "run",
             "batch_size": 2, "g_batch_size": 2, "steps": 1, "threads": 1, "spectrum_every": 0}  # fmt: skip
    command = ["train", *(f"--{key}={value}" for key, value in flags.items())]
    assert main(command) == 0
    images = tmp_path / "out" / "images.npy"
    pixels = bytearray(images.read_bytes())
    pixels[128 + 25 * 3 * 32**2] ^= 1  # in block 2
    images.write_bytes(pixels)
    capsys.readouterr()
    for again in (command, [*command, "--steps=2"], [*command, f"--out={tmp_path / 'new'}"]):
        with pytest.raises(SystemExit):
            main(again)
        said = capsys.readouterr().err.splitlines()[-1]
        assert (
            f"{images}: 1 block(s) have changed since they were written; the first is block 2; restore the file" in said
        )
    pixels[128 + 25 * 3 * 32**2] ^= 1
    images.write_bytes(pixels)
    assert main([*command, "--steps=2"]) == 0


def test_a_full_disk_and_a_killed_worker(tmp_path, image_folder, capsys, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(preparing.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    assert "out needs 0.0 GB for images.npy; " in refusal(capsys, image_folder, out, "--size", 32)
    monkeypatch.undo()
    script = (
        "import sys\nimport os\nimport resource\nimport training.prepare.build as t; inner = t._block\n"
        "def broken(b):\n"
        "    if os.environ['HOW'] == 'kill': os.kill(os.getpid(), 9)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); return inner(b)\n"
        "t._block = broken\n"
        "from training.__main__ import main; raise SystemExit(main(sys.argv[1:]))"
    )
    for how, text in (("kill", "a worker process was killed"), ("full", "could not read or write")):
        command = [sys.executable, "-c", script, "prepare", str(image_folder), str(tmp_path / how), "--size", "32"]
        done = warm.run(command, {"HOW": how})
        assert done.returncode == 2 and text in done.stderr and "the same command resumes" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr.split("error:")[1]
        assert prepare(image_folder, tmp_path / how, "--size", 32) == 0  # and so it does
        assert len(load_images(str(tmp_path / how)).images) == 36
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_workers_end_with_the_main_process(tmp_path):
    """SIGTERM to that process alone: they would wait for it for ever, and might write beside a repeated command."""
    code = ("import multiprocessing, os, signal, time\nfrom training.prepare.build import _start\n"
            "def work(): _start(None, None, '', 1); time.sleep(60)\n"
            "worker = multiprocessing.get_context('fork').Process(target=work); worker.start(); time.sleep(0.5)\n"
            f"open({str(tmp_path / 'pid')!r}, 'w').write(str(worker.pid)); os.kill(os.getpid(), signal.SIGTERM)"
            )  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL
    )  # a pipe would wait for the worker
    worker, deadline = int((tmp_path / "pid").read_text()), time.monotonic() + 20
    while psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_error_of_the_file_system_is_no_damaged_image(tmp_path, image_folder):
    """The preparation stops, and the same command goes on when the file system is there again."""
    listing, recipe, out = list_source(str(image_folder)), preparing.Recipe(32), tmp_path / "out"
    gone = tmp_path / "unmounted" / "left" / "5.png"
    for error in (
        OSError(5, "Input/output error", "5.png"),
        FileNotFoundError(2, "No such file", str(gone)),
        MemoryError(),
    ):

        def read(i, error=error):
            if i == 5:
                raise error
            return listing.read(i)

        with pytest.raises((OSError, MemoryError)) as stopped:
            preparing.prepare(listing._replace(read=read), out, recipe, workers=1)
        assert isinstance(error, MemoryError) or "the same command resumes" in str(stopped.value)
    assert preparing.prepare(listing, out, recipe, workers=1)["images"] == 40
    assert not (out / "refused.tsv").read_text()
