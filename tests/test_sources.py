"""Real images: what is read, what is refused, and that the splits are disjoint."""

import numpy as np
import pytest
from PIL import Image

from sngan_hub.sources import FASHION_DEBIAN, draw_avatars, load_images, source_classes


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
    with pytest.raises(FileNotFoundError, match="'none' is neither a folder nor a source"):
        load_images("none")
    with pytest.raises(ValueError, match="split: got 'validation', legal are train, test, all"):
        load_images("fashion", "validation")
    with pytest.raises(ValueError, match="data: fashion has a test split of its own"):
        load_images("fashion", "all")
    (tmp_path / "nested" / "images" / "inner").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="holds no folder with images"):
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


def test_avatars_depend_on_style_split_and_number_alone():
    pytest.importorskip("dicebear")
    a = draw_avatars(["planets", "moods"], range(3), "train", 32)
    assert a.shape == (6, 3, 32, 32) and a.std() > 20
    assert np.array_equal(draw_avatars(["moods"], range(1, 3), "train", 32), a[4:])
    assert not np.array_equal(draw_avatars(["moods"], range(1, 3), "test", 32), a[4:])
