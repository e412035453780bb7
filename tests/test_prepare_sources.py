"""Where prepared pictures come from: folders, archives, links, tables and torchvision's sets, each with its classes."""

import os
import shutil
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sngan_hub.data import count_images, load_images, source_classes
from sngan_hub.data.images import read_picture, square
from training.prepare import build as preparing
from training.prepare.sources import Table, dogs_and_cats, list_source

from .pictures import encoded, picture, prepare, refusal

# Folders, archives and tables


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


def test_a_saved_dictionary_of_splits_and_a_colon_in_a_path(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"picture": datasets.Image(), "label": datasets.ClassLabel(names=["cat"])})
    rows = {"picture": [{"bytes": encoded(i), "path": None} for i in range(3)], "label": [0, 0, 0]}
    table = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict(train=table, test=table.select([0])).save_to_disk(str(tmp_path / "a:test"))
    for source, n in (
        (str(tmp_path / "a:test"), 3),
        (f"hf:{tmp_path / 'a:test'}", 3),
        (f"hf:{tmp_path / 'a:test'}:test", 1),
    ):
        assert len(list_source(source).names) == n


def test_rows_of_a_table_without_an_image_or_a_label_are_skipped(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"picture": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = {"picture": [{"bytes": encoded(i), "path": None} for i in range(6)], "label": [0, 1, None, 0, 1, 1]}
    rows["picture"][1] = None
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "table"))
    assert prepare(tmp_path / "table", tmp_path / "out", "--size", 16, "--test-every", 0) == 0
    data = load_images(str(tmp_path / "out"), "train", 16)
    assert data.labels.tolist() == [0, 0, 1, 1] and np.array_equal(data.images[1], read_picture(encoded(3), 16))
    refused = [line.rsplit("/")[-1] for line in (tmp_path / "out" / "refused.tsv").read_text().splitlines()]
    assert refused == ["1\tthe row has no image", "2\tthe row has no label"]
    with pytest.raises(ValueError, match="the row has no image"):
        Table([{"picture": {"bytes": None, "path": None}}], "picture")(0)


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
    numbered = listing._replace(classes=[f"{i:03d}" for i in range(1000)])
    assert dogs_and_cats(numbered).classes == [f"{i:03d}" for i in range(151, 294)]
    for names in (sorted(class_list("imagenet")), sorted(map(str, range(1000)))):  # not in the order of the labels
        with pytest.raises(ValueError, match="folders named by ImageNet's synsets"):
            dogs_and_cats(listing._replace(classes=names))


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


def test_a_set_is_downloaded_by_one_process_at_a_time(tmp_path, monkeypatch):
    import torchvision.datasets

    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path))
    inside, most, downloads = [], [], []

    class Slow:
        def __init__(self, root, train, download=False):
            if not download and not downloads:
                raise RuntimeError("Dataset not found or corrupted. You can use download=True to download it")
            if download and not downloads:
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.3)
                inside.pop()
            downloads.extend([1] * download)
            self.data, self.targets = np.zeros((2, 32, 32, 3), np.uint8), [0, 1]
            self.classes = ["a", "b"]

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Slow)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: load_images("cifar10"), range(3)))
    assert most == [1] and [len(data.images) for data in found] == [2, 2, 2]
    before = len(downloads)
    load_images("cifar10")
    assert len(downloads) == before, "what is there is only read"


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
    shutil.rmtree(tmp_path / "torchvision")
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
    with pytest.raises(FileNotFoundError, match=f"celeba must have 202,599 images .got 1 in {folder}.; unpack "):
        list_source("celeba")
    monkeypatch.setattr("training.prepare.sources.CELEBA", 1)
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
