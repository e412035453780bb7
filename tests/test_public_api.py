"""What `import sngan_hub` offers: found by typing, explained, and its examples run."""

import inspect
import re
from pathlib import Path

import pytest

import sngan_hub
import sngan_hub.data
from sngan_hub import WEIGHTS, list_models, list_weights, load_discriminator, load_generator, scores_of

FUNCTIONS = [name for name in sngan_hub.__all__ if inspect.isfunction(getattr(sngan_hub, name))]
DATA_FUNCTIONS = [name for name in sngan_hub.data.__all__ if inspect.isfunction(getattr(sngan_hub.data, name))]


def test_names_are_found_by_typing():
    assert set(sngan_hub.__all__) <= set(dir(sngan_hub))
    assert {"morph", "blend", "walk", "scores_of", "save_film", "evaluate", "list_models", "list_weights"} <= set(
        FUNCTIONS
    )
    assert Path(sngan_hub.__file__).with_name("py.typed").is_file()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_is_explained(name):
    check_explained(getattr(sngan_hub, name))
    assert re.search(r"Example:\n +>>> ", inspect.getdoc(getattr(sngan_hub, name)))


@pytest.mark.parametrize("name", DATA_FUNCTIONS)
def test_every_function_for_data_is_explained(name):
    check_explained(getattr(sngan_hub.data, name))


def check_explained(function):
    text = inspect.getdoc(function)
    assert "Returns:" in text
    arguments = [p for p in inspect.signature(function).parameters if p not in ("args", "kwargs")]
    assert not arguments or "Args:" in text
    for argument in arguments:
        assert re.search(rf"^ +\*{{0,2}}{argument}(, \w+)*: ", text, re.M), argument


def test_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {name: getattr(sngan_hub, name) for name in sngan_hub.__all__}
    for name in ("list_models", "list_weights", "load_generator", "scores_of", "morph", "blend", "labelled_grid", "save_png",
                 "create_generator"):  # fmt: skip
        example = inspect.getdoc(names[name]).split("Example:")[1]
        for line in re.findall(r">>> (.*)", example):
            exec(line.replace("sngan_imagenet128", "sngan_fashion32"), names)
    assert names["images"].dtype.is_floating_point is False and (tmp_path / "samples.png").is_file()


def test_lists_name_what_can_be_loaded():
    assert list_models() == sorted(sngan_hub.MODELS)
    assert {"sngan_fashion32", "sngan_imagenet128"} <= set(list_models(pretrained=True)) < set(list_models())
    assert "sngan_fashion32_discriminator" in list_models(pretrained=True, kind="discriminator")
    assert set(list_weights()) | set(list_weights(kind="discriminator")) == set(WEIGHTS)
    assert "sngan_imagenet128.mmgen_fid" in list_weights("sngan_imagenet128")
    for refused, text in ((lambda: list_models(kind="both"), "kind must be one of"),
                          (lambda: list_weights("sngan_fashion"), "nearest are sngan_fashion32")):  # fmt: skip
        with pytest.raises(ValueError, match=text):
            refused()
    g, d = (load(name) for load, name in ((load_generator, list_weights("sngan_fashion32")[0]),
                                          (load_discriminator, list_weights("sngan_fashion32", "discriminator")[0])))  # fmt: skip
    assert scores_of(d, g.sample(n=2, seed=0)).shape == (2, 10)
