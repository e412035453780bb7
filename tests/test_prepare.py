"""Pictures of every kind -> a prepared data set: nothing lost, everything refused named, and read back as written."""

import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sngan_hub.data import load_images, prepared, source_classes
from sngan_hub.data.images import cropped, read_picture, square
from sngan_hub.networks.registry import MODELS, Model
from training.__main__ import main
from training.finetune.load import count_images
from training.prepare import build as preparing
from training.prepare.sources import dogs_and_cats, list_source

from . import warm
from .conftest import GOLDEN, ROOT


def prepare(*arguments):
    return main(["prepare", *map(str, arguments)])


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        prepare(*arguments)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def picture(seed, size=(40, 30), mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(seed, kind="PNG", **options):
    buffer = io.BytesIO()
    picture(seed).save(buffer, kind, **options)
    return buffer.getvalue()


# The authors' pipeline


@pytest.mark.parametrize("case", ["full", "lowcontrast", "wide", "tall"])
def test_the_authors_crop_stretch_and_resize(case):
    golden = np.load(GOLDEN / "preprocess_imagenet.io.npz", allow_pickle=False)
    ours = square(Image.fromarray(golden[f"{case}/in_uint8_hwc"]), 64, stretch=True)
    assert np.array_equal(ours / 128 - 1, golden[f"{case}/out64_nonoise"])
    if case == "lowcontrast":
        plain = square(Image.fromarray(golden[f"{case}/in_uint8_hwc"]), 64)
        assert int(plain.max()) - int(plain.min()) < 128 < int(ours.max()) - int(ours.min())


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


# Sources


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
    assert prepare(image_folder, out, "--size", 32) == 0  # once more: done already


def test_archives_of_every_kind_hold_the_same_pictures(tmp_path):
    folder, tars = tmp_path / "folder", tmp_path / "tars"
    tars.mkdir()
    for c, synset in enumerate(("n01440764", "n02123045")):
        (folder / synset).mkdir(parents=True)
        for i in range(5):
            (folder / synset / f"{synset}_{i}.JPEG").write_bytes(encoded(10 * c + i, "JPEG"))
        with tarfile.open(tars / f"{synset}.tar", "w") as tar:
            for path in sorted((folder / synset).iterdir()):
                tar.add(path, path.name)
    for name, content in (("of_tars", tars), ("of_folders", folder)):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
            for path in sorted(content.rglob("*")):
                tar.add(path, path.relative_to(content), recursive=False)
    expected = list_source(str(folder))
    assert expected.classes == ["tench", "tabby"] and expected.labels.tolist() == [0] * 5 + [1] * 5
    for source in (tars, tmp_path / "of_tars.tar", tmp_path / "of_folders.tar"):
        found = list_source(str(source))
        assert found.classes == expected.classes and np.array_equal(found.labels, expected.labels)
        assert [found.read(i) for i in range(10)] == [expected.read(i) for i in range(10)]


def archived(folder, path):
    with tarfile.open(path, "w") as tar:
        tar.add(folder, ".")
    return path


@pytest.mark.parametrize("layout, classes, said", [
    (["cat/a.png", "ship/sub/b.png", "ship/sub/deep/c.png"], {"cat": "a", "ship": "bc"}, "class ship: all its images"),
    (["cat/a.png", "cat/.hid/b.png", ".git/c.png", "cat/._d.png"], {"cat": "a"}, ""),
    (["set/cat/a.png", "set/dog/b.png", "set/dog/old/c.png"], {"cat": "a", "dog": "bc"}, "folders are those of set"),
    (["a.png", "b.png", "notes/readme.txt"], {"source": "ab"}, ""),
    (["cat/a.png", "b.png"], {"cat": "a"}, "ignored 1 image(s) beside the class folders (b.png ...)"),
    (["cat/a-/b.png", "cat/a/c.png", "cat/a.png"], {"cat": "cba"}, ""),
    (["train/cat/a.png", "val/cat/b.png"], "one folder deeper.*[ /]train", ""),
    (["a.png", "set/cat/b.png"], "one folder deeper.*[ /]set", ""),
    (["cat/readme.txt"], "contains no folder with images", ""),
    (["cat/a.png", "run/config.json", "run/log.jsonl", "run/samples/b.png"], {"cat": "a"}, "it is a run"),
    (["cat/a.png", "cat/net/config.json", "cat/net/model.safetensors", "cat/net/b.png"], {"cat": "a"}, "a network"),
    (["cat/a.png", "made/dataset.json", "made/images.npy", "made/b.png"], {"cat": "a"}, "a prepared data set"),
    (["cat/a.png", "other/config.json", "other/log.jsonl", "other/b.png"], {"cat": "a", "other": "b"}, ""),
])  # fmt: skip
def test_a_folder_and_its_tar_have_the_same_classes(layout, classes, said, tmp_path):
    """One rule: the top-level folders are the classes, what lies below one at any depth is its own."""
    folder = tmp_path / "source"
    for name in layout:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        config = '{"preset": "fashion32"}' if name.startswith("run") else "{}"
        (folder / name).write_text(config if name.endswith("json") else Path(name).name[0])
    for source in (folder, archived(folder, tmp_path / "source.tar")):
        if isinstance(classes, str):
            with pytest.raises(FileNotFoundError, match=classes):
                list_source(str(source))
            continue
        found = list_source(str(source))
        read = {name: "" for name in found.classes}
        for i, label in enumerate(found.labels):
            read[found.classes[label]] += found.read(i).decode()
        assert read == classes and list(read) == sorted(classes)
        assert said in "; ".join(found.notes) and bool(said) == bool(
            [x for x in found.notes if "contains no image" not in x]
        )
    if isinstance(classes, dict):
        assert count_images(str(folder)) == (len("".join(classes.values())), 0)


def test_every_tenth_of_a_deep_class_in_name_order(tmp_path):
    """The order of prepare and of a folder read whole is one, and so are their splits."""
    for i in range(40):
        path = tmp_path / "source" / "c" / ["", "a", "a-b", "z/y"][i % 4] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(i))
    (tmp_path / "source" / "c" / "z" / "back").symlink_to(tmp_path / "source")  # in a circle
    (tmp_path / "source" / "c" / "z" / "self").symlink_to("self")
    assert prepare(tmp_path / "source", tmp_path / "of_folder", "--size", 32) == 0
    assert prepare(archived(tmp_path / "source", tmp_path / "c.tar"), tmp_path / "of_tar", "--size", 32) == 0
    for split, n in (("train", 36), ("test", 4)):
        whole = load_images(str(tmp_path / "source"), split, 32)
        assert len(whole.images) == n and count_images(str(tmp_path / "source")) == (40, 4)
        for name in ("of_folder", "of_tar"):
            assert np.array_equal(np.asarray(load_images(str(tmp_path / name), split, 32).images), whole.images)


def test_links_of_a_tar_are_pictures_too(tmp_path):
    """A .tar holds a file with two names once; GNU tar writes the second as a hard link."""
    folder = tmp_path / "source"
    (folder / "cat").mkdir(parents=True)
    (folder / "cat" / "a.png").write_text("a")
    os.link(folder / "cat" / "a.png", folder / "cat" / "b.png")
    (folder / "cat" / "c.png").symlink_to("b.png")
    (folder / "cat" / "d.png").symlink_to("nowhere.png")
    found = list_source(str(archived(folder, tmp_path / "links.tar")))
    assert [found.read(i) for i in range(len(found.names))] == [b"a"] * 3
    assert [Path(name).name for name in found.names] == ["a.png", "b.png", "c.png"]
    assert "Ignored 1 link in" in found.notes[0] and "(cat/d.png)" in found.notes[0]


def test_archives_that_are_not_whole_or_not_plain_are_refused_in_a_line(tmp_path, capsys):
    folder, out = tmp_path / "source" / "cat", tmp_path / "out"
    folder.mkdir(parents=True)
    for i in range(3):
        (folder / f"{i}.png").write_bytes(encoded(i))
    whole = archived(folder.parent, tmp_path / "whole.tar").read_bytes()
    members = tarfile.open(tmp_path / "whole.tar").getmembers()
    cut = tmp_path / "cut.tar"
    last = members[-1]
    damaged = bytearray(whole)
    damaged[last.offset : last.offset + 50] = b"x" * 50
    for content, text in (
        (b"", "is empty (0 bytes)"),
        (whole[:100], "is not an uncompressed .tar"),
        (whole[: last.offset_data + 10], "is incomplete"),
        (whole[: last.offset + 100], "is incomplete"),
        (bytes(damaged), "is incomplete or damaged"),
    ):
        cut.write_bytes(content)
        said = refusal(capsys, cut, out)
        assert text in said and said.count("\n") == 1, (text, said)
        with tarfile.open(tmp_path / "outer.tar", "w") as tar:  # and so inside another, and beside others in a folder
            tar.add(cut, "n1.tar")
            tar.add(tmp_path / "whole.tar", "n2.tar")
        said = refusal(capsys, tmp_path / "outer.tar", out)
        assert said.count("\n") == 1 and f"{tmp_path / 'outer.tar'}/n1.tar is" in said, said
    cut.write_bytes(whole[: last.offset])  # between two members: what is there can be read, and it is said
    assert prepare(cut, out, "--size", 16) == 0
    assert "cut.tar has no end-of-archive marker and may be incomplete" in capsys.readouterr().err
    assert "is incomplete" not in whole.decode("latin-1") and prepare(cut, out, "--size", 16) == 0


def test_two_kinds_or_two_classes_of_one_name_are_refused(tmp_path, capsys):
    folder = tmp_path / "source"
    for name in ("a/cat", "b/cat"):
        (folder / name).mkdir(parents=True)
        (folder / name / "0.png").write_bytes(encoded(0))
        archived(folder / name, folder / f"{name}.tar")
    with tarfile.open(tmp_path / "twice.tar", "w") as tar:
        for name in ("a/cat.tar", "b/cat.tar"):
            tar.add(folder / name, name)
    assert "source has two classes named 'cat'" in refusal(capsys, tmp_path / "twice.tar", tmp_path / "out")
    for source in (folder / "a", archived(folder / "a", tmp_path / "both.tar")):
        said = refusal(capsys, source, tmp_path / "out")
        assert "must contain .tar files or folders of images, not both" in said and "with cat.tar and cat)" in said
    shutil.rmtree(folder / "a" / "cat")
    (folder / "a" / "stray.png").write_bytes(encoded(1))
    assert prepare(folder / "a", tmp_path / "out", "--size", 16) == 0
    assert "Ignored 1 image beside the .tar files (stray.png)" in capsys.readouterr().err


def test_a_table_of_the_datasets_library(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"picture": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = {"picture": [{"bytes": encoded(i), "path": None} for i in range(6)], "label": [0, 1, 0, 1, 1, 1]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "table"))
    assert prepare(f"hf:{tmp_path / 'table'}", tmp_path / "out", "--size", 16, "--test-every", 0) == 0
    data = load_images(str(tmp_path / "out"), "train", 16)
    assert data.classes == ["cat", "dog"] and data.labels.tolist() == [0, 1, 0, 1, 1, 1]
    assert np.array_equal(data.images[3], read_picture(encoded(3), 16))


def test_the_dogs_and_cats_are_143_of_imagenets_classes(tmp_path):
    from sngan_hub.class_names import class_list

    listing = preparing.Listing(
        [str(i) for i in range(2000)], np.arange(1000).repeat(2), list(class_list("imagenet")), str
    )
    chosen = dogs_and_cats(listing)
    assert chosen.classes == list(class_list("dogs_and_cats")) and chosen.classes[0] == "Chihuahua"
    assert chosen.labels.tolist() == np.arange(143).repeat(2).tolist()
    assert chosen.names[0] == "302" and chosen.read(0) == "302"
    with pytest.raises(ValueError, match=r"143 classes of dogs and cats, for this preset \(got 10\)"):
        dogs_and_cats(listing._replace(classes=list("abcdefghij")))


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
    about = json.loads((out / "dataset.json").read_text())
    import hashlib

    about["labels_sha256"] = hashlib.sha256(labels.read_bytes()).hexdigest()
    (out / "dataset.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match=r"labels.npy: labels must be between 0 and 1 .got 9."):
        load_images(str(out), "train", 16)
    labels.write_bytes(whole)
    with pytest.raises(ValueError, match="size must be 16, .*got 32"):
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
    for how, text in (("kill", "a worker process was killed"), ("full", "could not write the data set")):
        command = [sys.executable, "-c", script, "prepare", str(image_folder), str(tmp_path / how), "--size", "32"]
        done = warm.run(command, {"HOW": how})
        assert done.returncode == 2 and text in done.stderr and "the same command resumes" in done.stderr, done.stderr
        assert "Traceback" not in done.stderr.split("error:")[1]
        assert prepare(image_folder, tmp_path / how, "--size", 32) == 0  # and so it does
        assert len(load_images(str(tmp_path / how)).images) == 36
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


# torchvision's sets


@pytest.mark.parametrize("name, cls, classes", [("cifar10", "CIFAR10", 10), ("cifar100", "CIFAR100", 100)])
def test_cifar_in_the_layout_that_torchvision_keeps(name, cls, classes, tmp_path, monkeypatch):
    """Its own reader, on small files of its layout; the checksums are the real sets', so they are set aside."""
    import pickle

    import torchvision.datasets

    kind = getattr(torchvision.datasets, cls)
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path))
    base = tmp_path / "torchvision" / kind.base_folder
    base.mkdir(parents=True)
    key = "labels" if cls == "CIFAR10" else "fine_labels"
    rng = np.random.default_rng(0)
    for file, _ in [*kind.train_list, *kind.test_list]:
        part = {"data": rng.integers(0, 256, (classes, 3072), dtype=np.uint8), key: list(range(classes))}
        (base / file).write_bytes(pickle.dumps(part))
    with open(base / kind.meta["filename"], "wb") as file:
        pickle.dump({kind.meta["key"]: source_classes(name)}, file)
    monkeypatch.setattr(kind, "_check_integrity", lambda self: True)
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    train, test = load_images(name), load_images(name, "test")
    assert train.images.shape == (classes * len(kind.train_list), 3, 32, 32) and len(test.images) == classes
    assert train.classes == source_classes(name) and len(train.classes) == classes
    assert train.labels[:classes].tolist() == list(range(classes))
    first = pickle.loads((base / kind.train_list[0][0]).read_bytes())["data"][0]
    assert np.array_equal(train.images[0].ravel(), first)  # planes of red, green, blue, row by row
    with pytest.raises(ValueError, match="size must be 32 .*got"):
        load_images(name, size=64)


def test_stl10_at_48_px(tmp_path, monkeypatch):
    import torchvision.datasets

    kind = torchvision.datasets.STL10
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path))
    base = tmp_path / "torchvision" / kind.base_folder
    base.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (7, 3, 96, 96), dtype=np.uint8)
    pixels.transpose(0, 1, 3, 2).tofile(base / "unlabeled_X.bin")  # columns first, as Stanford's files are
    (base / "class_names.txt").write_text("\n".join(map(str, range(10))))
    monkeypatch.setattr(kind, "_check_integrity", lambda self: True)
    data = load_images("stl10", size=48)
    assert data.images.shape == (7, 3, 48, 48) and data.classes == ["image"]
    assert np.array_equal(data.images[2], square(Image.fromarray(pixels[2].transpose(1, 2, 0)), 48))
    again = load_images("stl10", size=48)  # from the array kept in the cache
    assert again.fingerprint() == data.fingerprint()


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "stl10"])
def test_what_cannot_be_downloaded_is_said_in_a_line(name, tmp_path, monkeypatch):
    import urllib.request

    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path))

    def unreachable(*_, **__):
        raise OSError("unreachable")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.raises(
        FileNotFoundError, match=rf"{name}: the data set is not in .* the download failed \(unreachable\)"
    ):
        load_images(name, size=48 if name == "stl10" else 32)


def test_celeba_and_lsun_are_prepared_first(tmp_path, monkeypatch):
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path))
    for name in ("celeba", "lsun"):
        with pytest.raises(FileNotFoundError, match=f"{name} must be prepared first: run sngan prepare {name} OUT"):
            load_images(name, size=64)
    with pytest.raises(FileNotFoundError, match="bedroom_train_lmdb"):
        list_source("lsun")
    folder = tmp_path / "torchvision" / "celeba" / "img_align_celeba"
    folder.mkdir(parents=True)
    picture(0, (178, 218)).save(folder / "000001.jpg")
    listing = list_source("celeba")
    assert listing.classes == ["face"] and Path(listing.names[0]).name == "000001.jpg"


def test_lsuns_store_is_read(tmp_path, monkeypatch):
    lmdb = pytest.importorskip("lmdb")
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path))
    path = tmp_path / "torchvision" / "lsun" / "bedroom_train_lmdb"
    path.mkdir(parents=True)
    with lmdb.open(str(path)) as store, store.begin(write=True) as entries:
        for i in range(4):
            entries.put(f"key{i}".encode(), encoded(i))
    assert prepare("lsun", tmp_path / "out", "--size", 16, "--test-every", 0) == 0
    data = load_images(str(tmp_path / "out"), "train", 16)
    assert data.classes == ["bedroom"] and np.array_equal(data.images[2], read_picture(encoded(2), 16))
