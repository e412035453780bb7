"""A network's folder that nobody vouches for: refused in one line, before memory is taken for what it claims."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from sngan_hub import Generator, load_generator
from sngan_hub.cli.main import main as sngan
from sngan_hub.networks.base import AnyGenerator
from sngan_hub.networks.cnn import CNNGenerator

from .conftest import ROOT

TINY = dict(widths=[4] * 4)


@pytest.fixture
def folder(tmp_path):
    Generator(32, 3, **TINY, classes=["a", "b", "c"]).save_pretrained(tmp_path / "g")
    return tmp_path / "g"


def rewrite(folder, config=None, tensors=None):
    path = folder / "config.json"
    if config:
        content = json.loads(path.read_text())
        config(content)
        path.write_text(json.dumps(content))
    if tensors:
        content = load_file(folder / "model.safetensors")
        tensors(content)
        save_file(content, folder / "model.safetensors", {"format": "pt"})


def refused(folder, text, capsys):
    """By every door, in one line."""
    for door in (Generator.from_pretrained, AnyGenerator.from_pretrained, load_generator):
        with pytest.raises(ValueError, match=text) as error:
            door(folder)
        assert "\n" not in str(error.value) and len(str(error.value)) < 1500
    with pytest.raises(SystemExit) as stop:
        sngan(["sample", str(folder), "--out", str(folder / "x.png")])
    assert stop.value.code == 2 and capsys.readouterr().err.count("\n") == 1


CONFIGS = {
    "360 GB": (
        lambda c: c.update(widths=[65_536] * 4),
        r"blocks.0.b1.bias has shape \(3, 4\), expected \(3, 65536\); .* and 44 more",
    ),
    "a width out of all measure": (
        lambda c: c.update(widths=[10**12, 4, 4, 4]),
        "widths must be .*between 1 and 65,536 .got",
    ),
    "a width of 0": (lambda c: c.update(widths=[4, 0, 4, 4]), "widths must be .*between 1 and 65,536 .got"),
    "a broken width": (lambda c: c.update(widths=[4, 64.5, 4, 4]), "widths must be .*got"),
    "no widths": (lambda c: c.update(widths=[]), "widths must be .*got"),
    "a text of widths": (lambda c: c.update(widths="4444"), "widths must .*got '4444'"),
    "widths without end": (lambda c: c.update(widths=[1] * 10**5), "widths must be a list of 1 to 64 .*got"),
    "z_dim 0": (lambda c: c.update(z_dim=0), "z_dim must be an integer between 1 and 65,536 .got 0."),
    "z_dim below 0": (lambda c: c.update(z_dim=-128), "z_dim must .*got -128"),
    "a large z_dim": (lambda c: c.update(z_dim=65_536), r"l1.weight has shape \(64, 128\), expected \(64, 65536\)"),
    "a huge size": (lambda c: c.update(size=2**40, bottom_width=2**37), "size must be .* 4,096 .got 1099511627776."),
    "a text for a size": (lambda c: c.update(size="32"), "size must .*got '32'"),
    "many classes": (lambda c: c.update(n_classes=10**6, classes=None), "blocks.0.b1.bias has shape"),
    "a text for a number": (lambda c: c.update(n_classes="3"), "n_classes must be an integer .*got '3'"),
    "true for a number": (lambda c: c.update(n_classes=True), "n_classes must .*got True"),
    "null for a number": (lambda c: c.update(z_dim=None), "z_dim must .*got None"),
    "NaN": (lambda c: c.update(bn_eps=float("nan")), "bn_eps must be a number between .*got nan"),
    "infinity": (lambda c: c.update(bn_momentum=float("inf")), "bn_momentum must .*got inf"),
    "an epsilon of 0": (lambda c: c.update(bn_eps=0), "bn_eps must .*got 0"),
    "a list for a text": (lambda c: c.update(upsample=["nearest"]), "upsample must be a string .got"),
    "numbers for names": (
        lambda c: c.update(classes=[1, 2, 3]),
        r"classes must be a list of names \(got \[1, 2, 3\]\)",
    ),
    "a text for names": (lambda c: c.update(classes="abc"), "classes must be a list of names .got 'abc'."),
    "no network": (lambda c: c.update({"class": "AnyGenerator"}), "describes a AnyGenerator"),
    "the form for sampling": (
        lambda c: c.update({"class": "FastGenerator"}),
        "FastGenerator|converted by for_sampling",
    ),
    "a list for a class": (lambda c: c.update({"class": ["Generator"]}), "class must be the name of a network's class"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_that_claims_what_is_not_there(name, folder, capsys):
    change, text = CONFIGS[name]
    rewrite(folder, config=change)
    refused(folder, text, capsys)


def variance(value, dtype=torch.float32):
    return lambda t: t.update({"bn.running_var": torch.full((4,), value, dtype=dtype)})


TENSORS = {
    "float8": (lambda t: t.update({"conv.bias": t["conv.bias"].to(torch.float8_e4m3fn)}), "conv.bias is F8_E4M3, exp"),
    "complex": (lambda t: t.update({"conv.bias": t["conv.bias"].to(torch.complex64)}), "conv.bias is C64, expected"),
    "integers": (lambda t: t.update({"conv.bias": t["conv.bias"].int()}), "conv.bias is torch.int32, expected"),
    "truth values": (
        lambda t: t.update({"bn.num_batches_tracked": torch.tensor(True)}),
        "num_batches_tracked is BOOL, expected torch.int64",
    ),
    "a negative variance": (variance(-1.0), "bn.running_var contains a negative variance"),
    "a variance that overflows": (variance(1e300, torch.float64), "bn.running_var contains values that are not finite"),
    "a weight that overflows": (
        lambda t: t.update({"conv.bias": torch.full((3,), 1e300, dtype=torch.float64)}),
        "conv.bias contains values that are not finite in float32",
    ),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_of_no_use(name, folder, capsys):
    change, text = TENSORS[name]
    rewrite(folder, tensors=change)
    refused(folder, text, capsys)


def test_float64_and_half_tensors_are_cast(folder):
    expected = Generator.from_pretrained(folder).state_dict()
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        rewrite(folder, tensors=lambda t, d=dtype: t.update({"conv.weight": expected["conv.weight"].to(d)}))
        found = Generator.from_pretrained(folder).state_dict()
        assert all(t.dtype == expected[name].dtype for name, t in found.items())
        assert torch.equal(found["conv.weight"], expected["conv.weight"].to(dtype).float())


def test_what_overflows_in_the_dtype_that_is_asked_for(folder):
    rewrite(folder, tensors=variance(1e5))
    assert load_generator(folder, dtype=torch.bfloat16).sample(n=1, classes=["a"], seed=0).shape == (1, 3, 32, 32)
    with pytest.raises(ValueError, match="bn.running_var contains values that are not finite in float16"):
        load_generator(folder, dtype=torch.float16)
    with pytest.raises(ValueError, match="dtype must be one of torch.float32.*got torch.int32"):
        load_generator(folder, dtype=torch.int32)


def test_what_is_loaded_does_not_hang_on_the_file(folder):
    g = load_generator(folder)
    before = g.sample(n=1, classes=["a"], seed=0)
    path = folder / "model.safetensors"
    with open(path, "r+b") as file:  # in place, as another program may
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(path.stat().st_size // 4))
    assert torch.equal(g.sample(n=1, classes=["a"], seed=0), before)


def test_configurations_that_are_no_json_object(folder, capsys):
    for text in ("[" * 10**5, '{"size": 1' + "0" * 5000 + "}", "[]", "{}", '{"class": "Generator"}'):
        (folder / "config.json").write_text(text)
        refused(folder, "not valid JSON|must be a JSON object|key .* is missing|describes a", capsys)


@pytest.mark.parametrize("build, text", [
    (lambda: CNNGenerator(width=0), "width must .*got 0"),
    (lambda: CNNGenerator(width=7), "width must be at least 8 .got 7."),
    (lambda: CNNGenerator(batch_norm="yes"), "batch_norm must be true or false .got 'yes'."),
    (lambda: CNNGenerator(size=32.0), "size must .*got 32.0"),
    (lambda: Generator(32, 3, **TINY).name_classes("abc"), "classes must .*got 'abc'"),
])  # fmt: skip
def test_constructors_and_methods_likewise(build, text):
    with pytest.raises(ValueError, match=text):
        build()


def test_nothing_is_taken_before_it_is_refused_also_without_assertions(folder):
    """Of 360 GB that config.json claims; in a process of its own under ``python -O``."""
    rewrite(folder, config=lambda c: c.update(widths=[65_536] * 4))
    code = (
        "import resource, sys\nfrom sngan_hub.cli.main import main\n"
        "import torch\nimport sngan_hub.hub.load\nbefore = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"try: main(['sample', {str(folder)!r}, '--out', {str(folder / 'x.png')!r}])\n"
        "except SystemExit as stop: code = stop.code\n"
        "print(code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000)"
    )
    run = subprocess.run([sys.executable, "-O", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.split() == ["2", "True"] and run.stderr.count("\n") == 1 and "expected (3, 65536)" in run.stderr
