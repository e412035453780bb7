"""Real images: what is read, what is refused, and that the splits are disjoint."""

import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sngan_hub.data import FASHION_DEBIAN, avatars, draw_avatars, images, load_images, source_classes

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
