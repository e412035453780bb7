"""Exported files: the same function as the network, for any batch and mixture; what they say of themselves."""

import json

import numpy as np
import pytest
import torch

from sngan_hub import create_discriminator, create_generator, exporting, load_generator
from sngan_hub.cli.main import main
from sngan_hub.exporting import (
    METADATA,
    describe,
    difference,
    example,
    to_half,
    with_fixed_weights,
    write_onnx,
    write_program,
)
from sngan_hub.hub.cache import sha256_of

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

G, D = {"widths": [8, 8, 4, 4]}, {"widths": [4] * 4, "down": "1100"}


def strength(network, value):
    network.class_strength = value
    return network


NETWORKS = {
    "resnet": lambda: create_generator("sngan_cifar10", **G),
    "resnet unconditional": lambda: create_generator("sngan_cifar10_unconditional", **G),
    "resnet bilinear": lambda: create_generator("sngan_cifar10", **G, upsample="bilinear"),
    "resnet in a class transition": lambda: strength(create_generator("sngan_cifar10", **G), 0.3),
    "cnn": lambda: create_generator("sngan_cnn_cifar10", width=16),
    "ganlib": lambda: create_generator("ganlib_resnet_cifar10", width=8),
    "D iterate": lambda: create_discriminator("sngan_cifar10", **D),
    "D stored": lambda: create_discriminator("sngan_cifar10", **D, sn_eval="stored"),
    "D fine-tuned": lambda: create_discriminator("sngan_cifar10", **D, head_scale=2.0, embed_scale=3.0),
    "D weight": lambda: create_discriminator("sngan_cifar10", **D, normalizer="weight"),
    "D concat": lambda: create_discriminator("sngan_cifar10", **D, conditioning="concat"),
    "D cnn": lambda: create_discriminator("sngan_cnn_cifar10", widths=[4] * 7),
    "D unconditional": lambda: create_discriminator("sngan_cifar10_unconditional", **D),
}


def randomised(network):
    """Class tables and statistics of other than their first values, in which every class would be the same."""
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point() and name.rsplit(".", 1)[-1] in (
                "weight",
                "bias",
                "running_mean",
                "running_var",
            ):
                tensor.add_(torch.rand_like(tensor) * 0.2)
    return network.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_an_onnx_file_is_the_same_function(name, tmp_path):
    network = randomised(NETWORKS[name]())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    write_onnx(network, tmp_path / "file.onnx", {"model": name})
    assert difference(tmp_path / "file.onnx", network, 4) <= 2e-5 * max(1, float(outputs(network).abs().max()))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())  # it only looked
    operators = {node.op_type for node in onnx.load(tmp_path / "file.onnx").graph.node}
    assert "Split" not in operators  # WebGPU has no room for as many outputs


@torch.no_grad()
def outputs(network):
    first, *more = example(network, 4).values()
    if network.kind == "generator" and network.n_classes:
        return network(first, torch.arange(network.n_classes).expand(4, -1), *more)
    return network(first, *more)


@pytest.mark.parametrize("name", ["resnet", "cnn", "D iterate", "D concat"])
def test_an_archive_is_the_same_function_and_says_what_it_is(name, tmp_path):
    network = randomised(NETWORKS[name]())
    write_program(network, tmp_path / "file.pt2", {"model": name, "kind": network.kind})
    assert difference(tmp_path / "file.pt2", network, 4) <= 2e-5 * max(1, float(outputs(network).abs().max()))
    extra = {METADATA: ""}
    torch.export.load(tmp_path / "file.pt2", extra_files=extra)
    assert json.loads(extra[METADATA]) == {"model": name, "kind": network.kind}


def test_a_suffix_in_capitals_is_verified(tmp_path, capsys):
    create_generator("sngan_cnn_cifar10", width=8).save_pretrained(tmp_path / "net")
    assert main(["export", str(tmp_path / "net"), "--out", str(tmp_path / "X.PT2"), "--verify"]) == 0
    assert "verified: greatest difference" in capsys.readouterr().out


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_not_finite_are_not_verified(value, tmp_path, monkeypatch):
    network = create_generator("sngan_cnn_cifar10", width=8)
    monkeypatch.setattr(exporting, "_runner", lambda path: lambda inputs: torch.full((1, 3, 32, 32), value))
    with pytest.raises(ValueError, match="x.onnx: .*are not finite.*; export another"):
        difference(tmp_path / "x.onnx", network)


def test_fixed_weights_are_those_in_use():
    network = randomised(NETWORKS["D iterate"]())
    fixed = with_fixed_weights(network)
    x, y = example(network, 2).values()
    with torch.no_grad():
        assert torch.allclose(fixed(x, y), network(x, y), rtol=1e-5, atol=1e-6)
    assert all(getattr(module, "normalize", None) is None for module in fixed.modules())


def test_the_shipped_model_in_half_draws_the_same_pictures(tmp_path, capsys):
    out = tmp_path / "fashion.onnx"
    assert main(["export", "sngan_fashion32", "--out", str(out), "--half", "--verify"]) == 0
    said = capsys.readouterr().out
    assert "of 255 levels" in said
    generator = load_generator("sngan_fashion32")
    record = describe("sngan_fashion32", generator)
    assert out.stat().st_size < 2.8 * sum(p.numel() for p in generator.parameters())  # of 4 bytes each
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    assert about == {**record, "weights": "float16"}
    assert json.loads(about["classes"]) == generator.classes and about["z_dim"] == str(generator.z_dim)
    assert about["sha256"] == sha256_of(_weights("sngan_fashion32")) and about["licence"] == "MIT"
    from sngan_hub.sampling.generate import latents, to_uint8

    z, _ = latents(5, 0, 6, generator.z_dim)
    weights = np.eye(generator.n_classes, dtype=np.float32)[[8] * 6]
    (images,) = session.run(None, {"z": z.numpy(), "class_weights": weights})
    expected = generator.sample(classes=[8], n=6, seed=5)
    assert (to_uint8(torch.from_numpy(images)).int() - expected.int()).abs().max() <= 2


@pytest.mark.parametrize("name", ["sngan_cifar10_small", "sngan_fashion32", "sngan_avatars32"])
def test_weights_in_half_change_no_picture_by_more_than_two_levels(name, tmp_path):
    generator = load_generator(name)
    write_onnx(generator, tmp_path / "half.onnx", {}, half=True)
    assert 0 < difference(tmp_path / "half.onnx", generator, n=200) * 127.5 < 1.9


def _weights(name):
    from sngan_hub.weights import find_record

    return find_record(name, "generator").folder / "model.safetensors"


def test_no_path_of_this_machine_is_in_a_file(tmp_path):
    network = NETWORKS["resnet"]().eval()
    write_onnx(network, tmp_path / "file.onnx", {"model": "x"})
    content = (tmp_path / "file.onnx").read_bytes()
    assert b".py" not in content and b"site-packages" not in content


def test_metadata_of_a_folder(tmp_path):
    network = create_generator("sngan_cifar10", **G, classes=[f"class {i}" for i in range(10)])
    network.save_pretrained(tmp_path / "net")
    about = describe(str(tmp_path / "net"), network)
    assert about["sha256"] == sha256_of(tmp_path / "net" / "model.safetensors") and about["licence"] == "not stated"
    assert json.loads(about["classes"])[3] == "class 3"


def test_half_refuses_what_float16_cannot_hold():
    values = np.full(5000, 1e6, np.float32)
    graph = onnx.helper.make_graph([], "g", [], [], [onnx.numpy_helper.from_array(values, "weight")])
    with pytest.raises(ValueError, match="half: weight has values up to 1e\\+06"):
        to_half(onnx.helper.make_model(graph))


@pytest.mark.parametrize("words, message", [
    (["sngan_fashion32", "--out", "x.txt"], "out must be FILE.onnx or FILE.pt2 (got x.txt)"),
    (["sngan_fashion32", "--out", "x.pt2", "--half"], "half applies to FILE.onnx only"),
    (["sngan_fashion32", "--out", "nowhere/x.onnx"], "there is no folder nowhere"),
    (["sngan_fashoin32", "--out", "x.onnx"], "the nearest"),
])  # fmt: skip
def test_faults_are_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["export", *words])
    assert stopped.value.code == 2 and message in capsys.readouterr().err and not list(tmp_path.iterdir())
