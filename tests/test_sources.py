"""Real images: what is read, what is refused, and that the splits are disjoint."""

import errno
import gzip
import io
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from sngan_hub.data import (
    FASHION_DEBIAN,
    avatars,
    draw_avatars,
    images,
    load_images,
    say_left_out,
    source_classes,
    torchvision_sets,
)
from sngan_hub.data.images import read_picture
from training.__main__ import main

from . import warm
from .conftest import ROOT


def test_a_folder_of_class_folders(image_folder):
    train, test = load_images(str(image_folder), "train"), load_images(str(image_folder), "test")
    assert train.classes == ["left", "right"] == source_classes(str(image_folder))
    assert train.images.shape == (36, 3, 32, 32) and test.images.shape == (4, 3, 32, 32)
    assert train.labels.tolist() == [0] * 18 + [1] * 18
    assert not {x.tobytes() for x in train.images} & {x.tobytes() for x in test.images}
    again = load_images(str(image_folder), "train")
    assert again.fingerprint() == train.fingerprint() != test.fingerprint()


def test_any_size_and_mode_is_cropped_to_its_centre(tmp_path):
    folder = tmp_path / "d" / "c"
    folder.mkdir(parents=True)
    wide = np.zeros((20, 60), np.uint8)
    wide[:, 20:40] = 255  # the centre square
    Image.fromarray(wide).save(folder / "grey.png")
    Image.fromarray(wide).convert("P").save(folder / "palette.gif")
    Image.fromarray(wide.T).convert("CMYK").save(folder / "tall.jpg")
    images = load_images(str(tmp_path / "d"), size=16).images
    assert images.shape == (3, 3, 16, 16) and images.min() > 240


def test_what_is_refused(tmp_path, image_folder):
    with pytest.raises(FileNotFoundError, match="there is no folder or data set 'none'"):
        load_images("none")
    with pytest.raises(ValueError, match="split must be one of train, test, all .got 'validation'."):
        load_images("fashion", "validation")
    with pytest.raises(ValueError, match="data: fashion has its own test split"):
        load_images("fashion", "all")
    (tmp_path / "nested" / "images" / "inner").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="contains no folder with images"):
        load_images(str(tmp_path / "nested"))
    for i in (3, 5):
        (image_folder / "left" / f"{i:02d}.png").write_bytes(b"\x89PNG not really")
    with pytest.raises(ValueError, match="2 damaged image") as error:
        load_images(str(image_folder))
    assert "03.png" in str(error.value) and "05.png" in str(error.value)


def test_a_class_whose_name_is_no_text_is_refused_at_the_start(tmp_path, image_folder, capsys):
    """No network, log or card could store the name."""
    name = os.fsdecode(b"caf\xe9")
    try:
        shutil.move(image_folder / "left", image_folder / name)
    except OSError:
        pytest.skip("this file system accepts UTF-8 alone")
    with tarfile.open(tmp_path / "classes.tar", "w") as tar:
        tar.add(image_folder, "")
    (tmp_path / "tars").mkdir()
    with tarfile.open(tmp_path / "tars" / f"{name}.tar", "w") as tar:
        tar.add(image_folder / name, "")
    out, data = str(tmp_path / "out"), ["--data", str(image_folder)]
    for command in (
        ["train", "--preset", "fashion32", "--out", out, *data],
        ["finetune", "--from", "sngan_avatars32", "--out", out, *data],
        *(["prepare", str(source), out] for source in (image_folder, tmp_path / "classes.tar", tmp_path / "tars")),
    ):
        with pytest.raises(SystemExit):
            main(command)
        said = capsys.readouterr().err.splitlines()[-1]
        assert "data: the class folder caf\\xe9 of " in said and "is not valid UTF-8; rename it" in said
        assert not Path(out).exists()


@pytest.mark.skipif(not FASHION_DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_fashion_is_padded_and_balanced():
    test = load_images("fashion", "test")
    assert test.images.shape == (10_000, 3, 32, 32) and np.bincount(test.labels).tolist() == [1000] * 10
    assert not test.images[:, :, :2].any() and not test.images[:, :, :, -2:].any()
    assert (test.images[:, 0] == test.images[:, 2]).all() and test.images.max() == 255
    assert test.classes[test.labels[0]] == "Ankle boot"  # the first test image, as the authors of the data print it


def test_avatars_depend_on_style_split_and_number_alone(monkeypatch):
    pytest.importorskip("dicebear")
    a = draw_avatars(["planets", "moods"], range(3), "train", 32)
    assert a.shape == (6, 3, 32, 32) and a.std() > 20
    monkeypatch.setattr(avatars, "ProcessPoolExecutor", ThreadPoolExecutor)  # the others without starting processes
    assert np.array_equal(draw_avatars(["moods"], range(1, 3), "train", 32), a[4:])
    assert not np.array_equal(draw_avatars(["moods"], range(1, 3), "test", 32), a[4:])


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("mode, stretch", [("I;16", False), ("RGBA", False), ("RGB", False), ("RGB", True)])
def test_a_large_picture_takes_no_multiple_of_its_memory(mode, stretch, tmp_path):
    """Under four times the decoded picture, itself included; a judge's 40 megapixels in float64 took fourteen times."""
    side = 3000
    if mode == "I;16":
        picture = Image.fromarray((np.arange(side * side) % 65536).astype(np.uint16).reshape(side, side))
    else:
        picture = Image.linear_gradient("L").resize((side, side)).convert(mode)
    picture.save(tmp_path / "large.png", compress_level=1)
    code = (
        "import re, sys; from sngan_hub.data.images import read_picture; data = open(sys.argv[1], 'rb').read()\n"
        "most = lambda: 1024 * int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "before = most(); read_picture(data, 32, stretch=sys.argv[2] == 'True'); print(most() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "large.png"), str(stretch)], cwd=ROOT,
                          capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    decoded = side * side * (2 if mode == "I;16" else 4)
    assert int(done.stdout) < 4 * decoded, int(done.stdout) / decoded


def test_the_range_of_grey_images(tmp_path):
    """16 bits are 16 bits, however dark; single-precision values that are not finite are damage, not black."""

    def read(values, suffix):
        Image.fromarray(values).save(tmp_path / f"grey.{suffix}")
        return read_picture((tmp_path / f"grey.{suffix}").read_bytes(), 8)

    dark = np.full((8, 8), 255, np.uint16)
    assert read(dark, "png").max() == 1 and read(dark * 257, "png").min() == 255
    assert (
        read(np.full((8, 8), 0.5, np.float32), "tiff").max()
        == 128
        == read(np.full((8, 8), 128, np.int32), "tiff").min()
    )
    for wrong in (np.nan, np.inf, -np.inf):
        values = np.full((8, 8), 0.5, np.float32)
        values[3, 4] = wrong
        with pytest.raises(ValueError, match=r"pixel values that are not finite \(NaN or infinity\)"):
            read(values, "tiff")


def test_images_of_formats_that_are_not_read_are_counted(image_folder, capsys):
    for name in ("a.heic", "b.HEIC", "c.jfif", "notes.txt", ".hidden.avif"):
        (image_folder / "left" / name).touch()
    say_left_out(str(image_folder))
    said = capsys.readouterr().err
    assert f"{image_folder}: 3 image(s) of formats that are not read (2 .heic, 1 .jfif; a.heic ...)" in said
    for path in image_folder.rglob("*.png"):
        path.unlink()
    with pytest.raises(
        FileNotFoundError, match="contains only 3 image.s. of formats that are not read .2 .heic, 1 .jfif"
    ):
        load_images(str(image_folder))


def test_a_disk_that_is_away_damages_no_image(image_folder, monkeypatch):
    """Neither in a run nor in prepare: the run would go on without the images."""
    whole = Path.read_bytes

    def failing(path):
        if path.name == "03.png":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(
        OSError, match=r"data: could not read .*03.png \(.*Input/output error.*\); the file may be whole"
    ):
        load_images(str(image_folder), left_out=[])


def test_strips_do_not_show(monkeypatch):
    """Every mode by strips of a few rows is that of one strip."""
    pixels = np.random.default_rng(0).integers(0, 65536, (90, 70, 4)).astype(np.uint16)
    coloured = Image.fromarray((pixels >> 8).astype(np.uint8))
    pictures = [Image.fromarray(pixels[..., 0]), Image.fromarray(pixels[..., 0].astype(np.float32)), coloured,
                coloured.convert("LA"), coloured.convert("RGB")]  # fmt: skip
    files = []
    for picture in pictures:
        buffer = io.BytesIO()
        picture.save(buffer, "TIFF" if picture.mode == "F" else "PNG")
        files.append(buffer.getvalue())
    whole = [images.read_picture(data, 32, stretch=stretch) for data in files for stretch in (False, True)]
    monkeypatch.setattr(images, "_STRIP", 300)
    for a, b in zip(whole, [images.read_picture(d, 32, stretch=s) for d in files for s in (False, True)], strict=True):
        assert np.array_equal(a, b) and a.std() > 2


FIRST_USE = """
import time
import numpy as np
from sngan_hub.data import avatars, load_images
avatars.AVATARS_PER_CLASS["test"] = 2
def draw(styles, numbers, split, size):
    print("drew")
    time.sleep(1)
    return np.zeros((20, 3, size, size), np.uint8)
avatars.draw_avatars = draw
data = load_images("avatars", "test")
print(data.images.shape, data.fingerprint())
"""


def test_avatars_are_drawn_once_for_all_processes_and_it_is_said_first(tmp_path):
    command = [sys.executable, "-c", FIRST_USE]
    first, second = (warm.start(command, {"SNGAN_HUB_CACHE": str(tmp_path)}) for _ in range(2))
    one, two = first.communicate(timeout=100), second.communicate(timeout=100)
    assert first.returncode == second.returncode == 0, one[1] + two[1]
    assert sorted([one[0].count("drew"), two[0].count("drew")]) == [0, 1]
    assert one[0].splitlines()[-1] == two[0].splitlines()[-1] and "(20, 3, 32, 32)" in one[0]
    (path,) = tmp_path.glob("avatars-test-32-*.npy")
    said = one[1] if "drew" in one[0] else two[1]
    assert said.startswith("avatars: generating 20 images, about 1 min; they are cached in") and str(path) in said
    assert not [p for p in tmp_path.iterdir() if p.suffix not in (".npy", ".lock")]


def test_a_picture_of_another_format_reaches_no_decoder(tmp_path, monkeypatch):
    """Pillow decodes PostScript with Ghostscript, which runs programs, whatever the suffix of the file."""
    from sngan_hub.metrics.pictures import Pictures
    from space.files import read_upload

    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n%%EOF\n")
    EpsImagePlugin = pytest.importorskip("PIL.EpsImagePlugin")
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("it ran Ghostscript"))
    for read in (lambda: images.read_picture(path.read_bytes(), 8), lambda: load_images(str(tmp_path), "all", 8),
                 lambda: read_upload(path, 8), lambda: Pictures(str(tmp_path)), lambda: Pictures(str(tmp_path), 8)):  # fmt: skip
        with pytest.raises(ValueError, match="PNG|cannot identify"):
            read()
    for suffix in images.SUFFIXES:  # every legal one is decoded
        Image.new("RGB", (8, 8), "white").save(tmp_path / f"b{suffix}")
        assert images.read_picture((tmp_path / f"b{suffix}").read_bytes(), 8).min() > 250


def with_exif(image, *entries, kind="JPEG"):
    """``image`` as a file with an EXIF block of ``entries``: tag, type, count and the value's four bytes."""
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHI4s", *entry) for entry in entries) + bytes(4)  # fmt: skip
    buffer = io.BytesIO()
    image.save(buffer, kind, exif=block, **({"quality": 100} if kind == "JPEG" else {}))
    return buffer.getvalue()


TURNED = (0x0112, 3, 1, b"\6\0\0\0")


@pytest.mark.parametrize("other", [
    (0x011A, 2, 4, b"72\0\0"),  # XResolution as ASCII
    (0x0128, 11, 1, struct.pack("<f", 2)),  # ResolutionUnit as FLOAT
])  # fmt: skip
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_odd_types_in_an_exif_block_turn_the_picture_all_the_same(other, kind):
    wide = Image.new("RGB", (20, 10), "black")
    wide.paste("white", (10, 0, 20, 10))
    turned = images.read_picture(with_exif(wide, TURNED, other, kind=kind), 10)  # the white half comes to lie below
    assert turned[:, :4].max() < 20 and turned[:, 6:].min() > 235


@pytest.mark.parametrize("block", [b"Exif\0\0II*", b"Exif\0\0nonsense"])
def test_a_damaged_exif_block_is_no_reason_to_refuse_a_picture(block):
    buffer = io.BytesIO()
    Image.new("RGB", (10, 10), "white").save(buffer, "PNG", exif=block)
    assert images.read_picture(buffer.getvalue(), 10).min() == 255


@pytest.mark.parametrize("kind", [2, 5, 7, 12])
def test_a_tiff_file_that_states_its_place_in_another_type_is_damaged(kind, tmp_path):
    """Pillow raises TypeError for StripOffsets that is no integer."""
    from sngan_hub.metrics.pictures import Pictures

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "white").save(buffer, "TIFF")
    tag = struct.pack("<HHI", 273, 4, 1)
    assert buffer.getvalue().count(tag) == 1
    (tmp_path / "a.tif").write_bytes(buffer.getvalue().replace(tag, struct.pack("<HHI", 273, kind, 1)))
    for read in (lambda: load_images(str(tmp_path), "all", 8), lambda: Pictures(str(tmp_path))):
        with pytest.raises(ValueError, match="a.tif: the file is damaged"):
            read()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_pillows(orientation):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3)).astype(np.uint8))
    data = with_exif(picture, (0x0112, 3, 1, bytes([orientation, 0, 0, 0])), kind="PNG")
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))).transpose(2, 0, 1)
    assert np.array_equal(images.read_picture(data, 9), expected)


def idx(array):
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())


@pytest.fixture
def fashion(tmp_path, monkeypatch):
    """The folder of Fashion-MNIST's files, and the downloads of torchvision, which write them one by one."""
    torchvision = pytest.importorskip("torchvision")
    calls = []

    def download(root, download):
        calls.append(root)
        folder = Path(root) / "FashionMNIST" / "raw"
        folder.mkdir(parents=True)
        for name in torchvision_sets.FASHION_FILES:
            time.sleep(0.02)
            (folder / name).write_bytes(idx(np.ones((3, 28, 28) if "images" in name else 3, np.uint8)))
            if len(calls) == 1:
                (folder / name).write_bytes(b"\x1f\x8b cut")
                raise KeyboardInterrupt

    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(torchvision_sets, "FASHION_DEBIAN", tmp_path / "none")
    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", download)
    return tmp_path / "FashionMNIST" / "raw", calls


def test_an_interrupted_download_of_fashion_is_begun_again(fashion):
    folder, calls = fashion
    with pytest.raises(KeyboardInterrupt):
        load_images("fashion", "train")
    for _ in range(2):
        assert load_images("fashion", "train").images.shape == (3, 3, 32, 32) and len(calls) == 2
    assert sorted(path.name for path in folder.iterdir()) == sorted(torchvision_sets.FASHION_FILES)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()  # as an interruption of earlier versions left it
    assert len(load_images("fashion", "train").images) == 3 and len(calls) == 3


@pytest.mark.parametrize(
    "change", [lambda d: d[:-10], lambda d: b"", lambda d: d[:30] + b"\0\1" + d[32:], lambda d: b"<html>"]
)
def test_a_damaged_file_of_fashion_is_named(fashion, change):
    folder, calls = fashion
    calls.append("")  # not the one that is interrupted
    load_images("fashion", "train")
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=f"{path}.*damaged.*delete"):
        load_images("fashion", "train")
    assert load_images("fashion", "test").images.shape == (3, 3, 32, 32)


def test_processes_that_need_fashion_download_it_once(fashion):
    calls = fashion[1]
    calls.append("")
    with ThreadPoolExecutor(4) as pool:
        assert {len(data.images) for data in pool.map(load_images, ["fashion"] * 4)} == {3} and len(calls) == 2
