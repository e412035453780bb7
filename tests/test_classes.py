"""What a class may be called: name, synset, synonym or index; and the lists themselves."""

import pytest

from sngan_hub import Generator
from sngan_hub.class_names import CLASS_LISTS, class_list, resolve_classes

IMAGENET = class_list("imagenet")


def test_the_lists():
    assert {name: len(class_list(name)) for name in CLASS_LISTS} == {
        "imagenet": 1000, "dogs_and_cats": 143, "cifar10": 10, "cifar100": 100,
    }  # fmt: skip
    assert all(len(set(class_list(name))) == len(class_list(name)) for name in CLASS_LISTS)
    assert class_list("cifar10") == (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
    assert list(class_list("cifar100")) == sorted(class_list("cifar100"))  # CIFAR-100 numbers them by the alphabet
    assert class_list("dogs_and_cats")[0] == "Chihuahua" and class_list("dogs_and_cats")[-1] == "cheetah"
    with pytest.raises(ValueError, match="no class list 'mnist'; choose one of imagenet"):
        class_list("mnist")


def test_imagenets_names_are_those_of_torchvision_in_the_order_of_the_synsets():
    torchvision = pytest.importorskip("torchvision.models")
    assert list(IMAGENET) == torchvision.ResNet50_Weights.DEFAULT.meta["categories"]
    from sngan_hub.class_names import _read

    synsets = [row.synset for row in _read("imagenet")]
    assert synsets == sorted(synsets) and synsets[0] == "n01440764" and synsets[207] == "n02099601"


@pytest.mark.parametrize("given, index", [
    ("golden retriever", 207), ("Golden_Retriever", 207), ("n02099601", 207), ("N02099601", 207), ("207", 207), (207, 207),
    ("Tinca tinca", 0), ("crane", 517), ("crane bird", 134), ("Cardigan", 264), ("cardigan", 474), ("shades", 837),
])  # fmt: skip
def test_a_class_goes_by_name_synset_synonym_or_index(given, index):
    assert resolve_classes(given, IMAGENET, 1000) == [index]
    assert resolve_classes([given, 3], IMAGENET, 1000) == [index, 3]


@pytest.mark.parametrize("given, text", [
    ("CARDIGAN", "'CARDIGAN' is ambiguous; use its index: 264 .Cardigan. or 474 .cardigan."),
    ("panther", "'panther' is ambiguous"),
    ("golden retreiver", "no class 'golden retreiver'; the nearest are golden retriever"),
    (1000, "an index must be between 0 and 999 .got 1000."),
    (-1, "an index must be .*got -1"),
])  # fmt: skip
def test_what_means_nothing_or_two_things(given, text):
    with pytest.raises(ValueError, match=text):
        resolve_classes(given, IMAGENET, 1000)


def test_names_beat_synonyms_and_other_lists_have_none():
    assert resolve_classes("Missile", IMAGENET, 1000) == [657]  # also a synonym of projectile
    assert resolve_classes("n02110958", class_list("dogs_and_cats"), 143) == [103]  # pug
    with pytest.raises(ValueError, match="no class 'n07747607'"):
        resolve_classes("n07747607", class_list("cifar100"), 100)  # orange is one of CIFAR's names, the synset is not
    assert resolve_classes("aquarium fish", class_list("cifar100"), 100) == [1]


def test_an_integer_is_an_index_also_where_a_class_has_it_as_its_name():
    names = ["1", "2", "3"]
    assert resolve_classes([1], names, 3) == [1] and resolve_classes(["1"], names, 3) == [0]
    once = resolve_classes(["2", "3", 0], names, 3)
    assert resolve_classes(once, names, 3) == once == [1, 2, 0]
    with pytest.raises(ValueError, match="an index must be between 0 and 2 .got 3."):
        resolve_classes(3, names, 3)


def test_two_classes_of_one_name_are_refused_and_ambiguous():
    with pytest.raises(ValueError, match="classes must be different names .got 'crane' for the classes 0 and 2."):
        Generator(32, 3, widths=[4] * 4, classes=["crane", "bag", "crane"])
    with pytest.raises(ValueError, match="'crane' is ambiguous; use its index: 0 .crane. or 2 .crane."):
        resolve_classes("crane", ["crane", "bag", "crane"], 3)


def test_names_given_later_travel_in_the_configuration(tmp_path):
    g = Generator(32, 10, widths=[4] * 4)
    g.name_classes(class_list("cifar10"))
    g.save_pretrained(tmp_path)
    assert Generator.from_pretrained(tmp_path).sample(classes="frog", n=2, seed=0).shape == (2, 3, 32, 32)
    with pytest.raises(ValueError, match="classes must have 10 names, .*got 2"):
        g.name_classes(["a", "b"])
