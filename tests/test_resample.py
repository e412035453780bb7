"""The fused forms are the plain ones, exactly: values and gradients in float64."""

import pytest
import torch
import torch.nn.functional as F

from sngan_hub.layers import resample
from sngan_hub.layers.normalizers import Conv2d, spectral_norm
from sngan_hub.layers.resample import conv_down, downsample2x, up_conv, up_kernel, upsample2x
from sngan_hub.networks.inference import FrozenConv

SHAPES = [(2, 3, 5, 4, 4), (1, 1, 2, 1, 1), (3, 4, 4, 6, 8)]  # N, in, out, H, W


@pytest.mark.parametrize("n, c_in, c_out, h, w", SHAPES)
@pytest.mark.parametrize("kind", ["up", "down"])
def test_fused_equals_plain_in_value_and_gradient(n, c_in, c_out, h, w, kind):
    conv = spectral_norm(Conv2d(c_in, c_out, 3, padding=1)).double().eval()
    x = torch.randn(n, c_in, *((h, w) if kind == "up" else (2 * h, 2 * w)), dtype=torch.float64, requires_grad=True)
    results = []
    for form in ("plain", "fused"):
        y = up_conv(x, conv, form=form) if kind == "up" else conv_down(x, conv, form=form)
        grads = torch.autograd.grad((y * torch.arange(y.numel()).view_as(y)).sum(), (x, conv.weight, conv.bias))
        results.append((y, *grads))
    for plain, fused in zip(*results, strict=True):
        assert torch.allclose(plain, fused, atol=1e-9, rtol=1e-10)


def test_plain_up_is_repeated_pixels_then_conv():
    conv = Conv2d(2, 3, 3, padding=1)
    x = torch.randn(1, 2, 3, 3)
    repeated = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(upsample2x(x), repeated)
    assert torch.allclose(up_conv(x, conv, form="plain"), F.conv2d(repeated, conv.weight, conv.bias, padding=1))
    frozen = FrozenConv(conv.effective_weight().detach(), conv.bias.detach(), torch.float32, x.shape[-1], up=True)
    assert torch.allclose(frozen(x), up_conv(x, conv, form="plain"), atol=1e-5)


def test_bilinear_is_another_function_and_never_fused():
    conv = Conv2d(2, 3, 3, padding=1)
    x = torch.randn(1, 2, 4, 4)
    assert torch.equal(up_conv(x, conv, "bilinear", "fused"), up_conv(x, conv, "bilinear", "plain"))
    assert (up_conv(x, conv, "bilinear") - up_conv(x, conv)).abs().max() > 0.05


def test_conv1x1_commutes_with_both():
    conv = Conv2d(3, 5, 1).double()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    for mode in ("nearest", "bilinear"):
        assert torch.allclose(upsample2x(conv(x), mode), conv(upsample2x(x, mode)), atol=1e-12)
    assert torch.allclose(downsample2x(conv(x)), conv(downsample2x(x)), atol=1e-12)


def test_a_layer_takes_the_row_of_its_unit_and_of_the_nearest_batch(monkeypatch):
    """Matrix units change the balance in bfloat16 alone; a kernel is made once for the batch, so a larger one repays it."""
    rows = {"cpu/bfloat16/up/8-4@4x8": True, "cpu-amx/bfloat16/up/8-4@4x8": False, "cpu-amx/bfloat16/up/8-4@4x64": True,
            "cpu/float32/up/8-4@4x64": True, "cuda/bfloat16/up/8-4@4x8": True}  # fmt: skip
    monkeypatch.setattr(resample, "TABLE_ROWS", {key: {"fused": fused} for key, fused in rows.items()})

    def fused(dtype, device, **batch):
        return resample.prefers_fused("up", 8, 4, 4, dtype, device, **batch)

    for amx, expected in ((False, [True] * 4), (True, [False, False, True, True])):
        monkeypatch.setattr(resample, "AMX", amx)
        assert [fused(torch.bfloat16, "cpu", batch=n) for n in (1, 31, 32, 500)] == expected
        assert fused(torch.float32, "cpu") and fused(torch.bfloat16, "cuda", batch=64)  # the row there is
        assert not fused(torch.float32, "cuda")  # none: a small map is not


def test_a_batch_decides_what_a_layer_computes(monkeypatch):
    conv = Conv2d(8, 4, 3, padding=1)
    rows = {"cpu/float32/up/8-4@4x8": {"fused": False}, "cpu/float32/up/8-4@4x64": {"fused": True}}
    monkeypatch.setattr(resample, "TABLE_ROWS", rows)
    made = []
    monkeypatch.setattr(resample, "up_kernel", lambda weight: made.append(1) or up_kernel(weight))
    for n in (8, 64):
        up_conv(torch.randn(n, 8, 4, 4), conv)
        assert len(made) == (n == 64)
