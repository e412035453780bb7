"""The fast form is the same function: batch norm folded, tables mixed, kernels kept; and who takes which precision."""

import ast
import json
import subprocess
import sys

import pytest
import torch
from PIL import Image

import sngan_hub
from sngan_hub import Generator, create_generator
from sngan_hub.cli.main import main as sngan
from sngan_hub.layers.normalizers import BatchNorm2d, lookup_class
from sngan_hub.layers.resample import prefers_fused
from sngan_hub.networks import inference
from sngan_hub.networks.inference import FastGenerator, FrozenConv, fold, sampling_dtype

from .conftest import ROOT


def trained_like(**arguments):
    """A generator whose statistics and tables are far from their start."""
    torch.manual_seed(3)
    g = Generator(32, widths=[24, 24, 16, 8], **arguments)
    for module in g.modules():
        if isinstance(module, BatchNorm2d):
            torch.nn.init.normal_(module.weight, 1, 0.3)
            torch.nn.init.normal_(module.bias, 0, 0.3)
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.2, 3)
    return g.eval()


KINDS = [{"n_classes": 5}, {}, {"n_classes": 5, "upsample": "bilinear"}, {"upsample": "bilinear"}]


@pytest.fixture(params=[True, False], ids=["packed", "not packed"])
def layouts(request, monkeypatch):
    if not request.param:
        monkeypatch.setattr(inference, "packs", lambda device, dtype: False)
    elif not inference.packs(torch.device("cpu"), torch.float32):
        pytest.skip("this processor lays nothing out in advance")


@pytest.mark.parametrize("kind", KINDS, ids=str)
@torch.no_grad()
def test_same_images_for_one_class_and_many(kind, layouts):
    g = trained_like(**kind)
    before = {name: tensor.clone() for name, tensor in g.state_dict().items()}
    fast = g.for_sampling()
    z, y = torch.randn(7, 128), torch.tensor([4, 0, 1, 1, 3, 2, 0]) if g.n_classes else None
    kept, expected = z.clone(), g(z, y)
    for _ in range(2):  # maps are overwritten: a second call must find nothing changed
        assert (fast(z, y) - expected).abs().max() < 1e-4
    assert torch.equal(z, kept) and expected.std() > 0.1
    for i in range(7):
        assert (fast(z[i : i + 1], None if y is None else y[i : i + 1]) - expected[i]).abs().max() < 1e-4
    half = g.for_sampling(torch.bfloat16)(z, y)
    assert half.dtype == torch.float32 and 0 < (half - expected).abs().mean() * 127.5 < 2
    assert all(torch.equal(tensor, before[name]) for name, tensor in g.state_dict().items())


@torch.no_grad()
def test_a_fold_is_the_layer_also_where_eps_matters():
    norm = BatchNorm2d(6, 4, eps=1e-3).eval()
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        torch.nn.init.normal_(tensor)
    norm.running_var.copy_(torch.tensor([0, 1e-4, 1e-3, 1e-2, 1, 9]))
    x, y = torch.randn(5, 6, 3, 3), torch.tensor([3, 1, 0, 2, 1])
    gain, bias = (table.float()[y][:, :, None, None] for table in fold(norm))
    assert torch.allclose(x * gain + bias, norm(x, y), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_mixed_classes_are_exact_whatever_their_weights_sum_to():
    g = trained_like(n_classes=5)
    fast, z = g.for_sampling(), torch.randn(3, 128)
    y = torch.tensor([[0, 3], [1, 2], [4, 4]])
    for weights in ([[0.3, 0.7], [1.0, 0.0], [0.5, 0.5]], [[0.4, 0.1], [2.0, -1.0], [0.0, 0.6]]):
        weights = torch.tensor(weights)
        expected = g(z, y, weights)
        assert (fast(z, y, weights) - expected).abs().max() < 1e-4
        assert (fast(z, y[:, 0])[0] - expected[0]).abs().max() > 0.01
    assert (fast(z, y, weights.flip(1)) - expected).abs().max() > 0.01


def test_a_generator_without_blocks_has_a_row_for_every_class():
    g = Generator(4, 3, widths=[8], bottom_width=4).eval()
    assert torch.equal(g.for_sampling().sample(n=2, seed=0), g.sample(n=2, seed=0))


@torch.no_grad()
def test_one_look_up_for_all_layers_and_classes(monkeypatch):
    fast, calls = trained_like(n_classes=5).for_sampling(), []
    monkeypatch.setattr(inference, "lookup_class", lambda *a: calls.append(1) or lookup_class(*a))
    fast(torch.randn(5, 128), torch.arange(5))
    assert len(calls) == 1


@torch.no_grad()
@pytest.mark.parametrize("strength", [0.0, 0.4, torch.tensor(0.4)])
def test_a_runs_class_strength_is_in_the_tables(strength):
    g = trained_like(n_classes=5)
    g.class_strength = strength
    z, y = torch.randn(4, 128), torch.arange(4)
    assert (g.for_sampling()(z, y) - g(z, y)).abs().max() < 1e-4
    plain = trained_like(n_classes=5)
    assert (plain(z, y) - g(z, y)).abs().max() > 0.01


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_gradients_reach_z(kind, layouts):
    g, grads = trained_like(**kind), []
    z, y = torch.randn(4, 128), torch.tensor([1, 2, 0, 4]) if g.n_classes else None
    for network in (g, g.for_sampling()):
        start = z.clone().requires_grad_()
        grads += torch.autograd.grad(network(start, y).square().sum(), start)
    assert torch.allclose(*grads, rtol=1e-3, atol=1e-4 * grads[0].abs().max().item())


def test_forms_follow_the_table_where_nothing_is_laid_out(monkeypatch):
    monkeypatch.setattr(inference, "packs", lambda device, dtype: False)
    g = Generator(64, widths=[512, 512, 256, 128, 64])
    for dtype in (torch.float32, torch.bfloat16):
        taken = [block.c1.up for block in g.for_sampling(dtype).blocks]
        sides = zip((4, 8, 16, 32), g.widths, g.widths[1:], strict=False)
        assert taken == [prefers_fused("up", i, o, side, dtype, "cpu") for side, i, o in sides]
        assert False in taken and True in taken
    assert all(
        conv._dense.is_contiguous(memory_format=torch.channels_last)
        for conv in g.for_sampling().modules()
        if isinstance(conv, FrozenConv)
    )


def test_flops_are_those_of_the_form():
    weight, bias = torch.randn(8, 6, 3, 3), torch.zeros(8)
    fused = FrozenConv(weight, bias, torch.float32, 4, up=True)
    plain = FrozenConv(weight, bias, torch.float32, 8)
    assert fused.flops(2, 4) == 2 * 2 * 16 * 16 * 48 and plain.flops(2, 8) == 2 * 2 * 64 * 9 * 48


def test_it_is_for_one_device_and_dtype_and_says_so():
    g = trained_like()
    fast = g.for_sampling()
    assert isinstance(fast, FastGenerator) and fast.for_sampling() is fast and fast.to("cpu") is fast
    for move in (lambda: fast.to("meta"), fast.half, lambda: fast.for_sampling(torch.bfloat16)):
        with pytest.raises(ValueError, match="converted by for_sampling"):
            move()
    assert (fast.size, fast.n_classes, fast.z_dim) == (32, 0, 128)
    assert not fast.training and not any(p.requires_grad for p in fast.parameters())


@torch.no_grad()
def test_the_128_px_network_too():
    g = create_generator("sngan_imagenet128", widths=[32, 32, 16, 16, 8, 8]).eval()
    z, y = torch.randn(2, 128), torch.tensor([999, 3])
    assert (g.for_sampling()(z, y) - g(z, y)).abs().max() < 1e-4


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_device_without_float64_only_gets_the_result(kind, without_float64):
    with without_float64:
        with torch.device("cuda"):
            g = Generator(32, widths=[24, 24, 16, 8], **kind).eval()
        fast = g.for_sampling(torch.bfloat16)
    for tensor in (fast.l1.weight, fast.l1.bias, fast.table, fast.conv.bias, *(b.c1.kernel() for b in fast.blocks)):
        assert tensor.device.type == "cuda"
        assert tensor.dtype == (torch.float32 if tensor is fast.table else torch.bfloat16)


# Precision


@pytest.mark.parametrize("can, expected", [
    ({"avx2": True}, torch.float32),
    ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, torch.float32),
    ({"avx512_bf16": True}, torch.bfloat16),
    ({"amx_bf16": True}, torch.bfloat16),
])  # fmt: skip
def test_auto_takes_bfloat16_only_where_the_processor_computes_in_it(monkeypatch, can, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: can, raising=False)
    assert sampling_dtype("auto") == expected
    assert (sampling_dtype("fp32"), sampling_dtype("bf16")) == (torch.float32, torch.bfloat16)
    with pytest.raises(ValueError, match="precision must be one of fp32, bf16, auto .got 'int8'."):
        sampling_dtype("int8")


def test_commands_take_a_precision(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    texts = {}
    for precision in ("fp32", "auto", "bf16"):
        out = tmp_path / f"{precision}.png"
        common = ["--precision", precision, "--seed", "1", "--out", str(out)]
        assert sngan(["sample", "sngan_fashion32", "--classes", "Bag", "--n", "2", *common]) == 0
        said = capsys.readouterr()
        assert ("slower than fp32" in said.err) == (precision == "bf16")
        with Image.open(out) as image:
            texts[precision] = image.text.get("precision")  # type: ignore[attr-defined]
            assert image.size[0] > 64
    assert texts == {"fp32": None, "auto": None, "bf16": "bf16"}
    morph = ["morph", "sngan_fashion32", "--classes", "Bag", "Shirt", "--steps", "3", "--n", "1", "--precision", "bf16"]
    assert sngan([*morph, "--out", str(tmp_path / "m.png")]) == 0
    walk = ["walk", "sngan_fashion32", "--seconds", "0.2", "--precision", "bf16", "--out", str(tmp_path / "w.gif")]
    assert sngan(walk) == 0
    assert capsys.readouterr().err.count("slower than fp32") == 2


# Start-up


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_help_does_not_wait_for_torch():
    code = (
        "import sys\nfrom sngan_hub.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'numpy', 'PIL', 'huggingface_hub') if m in sys.modules])"
    )
    assert run_python(code).splitlines()[-1] == "[]"


def test_sampling_does_not_load_the_compiler_or_torchvision():
    code = (
        "import sys\nfrom sngan_hub import load_generator\n"
        "load_generator('sngan_fashion32').for_sampling().sample(n=1, seed=0)\n"
        "print([m for m in ('torchvision', 'torch._dynamo', 'torch._inductor', 'accelerate') if m in sys.modules])"
    )
    assert run_python(code).strip() == "[]"


def test_every_public_name_is_there_before_and_after_it_is_used():
    code = (
        "import json, sngan_hub\nlisted = set(sngan_hub.__all__) <= set(dir(sngan_hub))\n"
        "from sngan_hub import *\n"
        "here = all(name in globals() for name in sngan_hub.__all__)\n"
        "modules = sngan_hub.sampling.morph.__name__, sngan_hub.metrics.__name__\n"
        "print(json.dumps([listed, here, modules, hasattr(sngan_hub, 'nothing')]))"
    )
    assert json.loads(run_python(code)) == [True, True, ["sngan_hub.sampling.morph", "sngan_hub.metrics"], False]


def test_what_type_checkers_see_is_what_runs():
    tree = ast.parse((ROOT / "sngan_hub/__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {node.module: tuple(sorted(a.name for a in node.names)) for node in block.body}  # type: ignore[attr-defined]
    assert seen == {module: tuple(sorted(names)) for module, names in sngan_hub._MODULES.items()}
    assert sorted(sngan_hub._MODULE_OF) == sorted(sngan_hub.__all__)
