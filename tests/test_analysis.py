"""Singular values against definitions: known matrices, the SVD of NumPy, and what normalisation promises."""

import json

import numpy as np
import pytest
import torch

from sngan_hub import Discriminator, Generator
from sngan_hub.cli.main import main as sngan
from sngan_hub.metrics.spectrum import spectra


def test_values_are_those_of_the_used_weight():
    d = Discriminator(32, 10, widths=[4, 8, 8, 8], sn_eval="stored", head_bias=True).train()
    for _ in range(200):  # u converges
        d(torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))
    before = {key: value.clone() for key, value in d.state_dict().items()}
    rows = spectra(d)
    assert {row.layer for row in rows} == {n for n, m in d.named_modules() if getattr(m, "normalize", None)}
    for row in rows:
        weight = d.get_submodule(row.layer).weight.detach().double().flatten(1).numpy()
        exact = np.linalg.svd(weight, compute_uv=False)
        assert row.values[0] == pytest.approx(1, abs=1e-3) and row.sigma == pytest.approx(exact[0], rel=1e-3)
        assert np.allclose(row.values * row.sigma, exact, rtol=1e-5) and row.shape == weight.shape
        assert row.stable_rank == pytest.approx((exact**2).sum() / exact[0] ** 2, rel=1e-5)
    assert d.training and all(torch.equal(value, before[key]) for key, value in d.state_dict().items())


def test_known_matrices():
    g = Generator(32, 0, widths=[4] * 4)
    with torch.no_grad():
        g.conv.weight.zero_()
        g.conv.weight[0, 0, 0, 0], g.conv.weight[1, 1, 0, 0] = 3.0, 2.0
    row = spectra(g)[-1]
    assert row.layer == "conv" and row.values.tolist() == [3, 2, 0] and row.sigma is None
    assert row.stable_rank == pytest.approx(13 / 9)


@torch.no_grad()
def test_sigma_is_of_the_raw_weight_also_with_a_gain_and_none_without_spectral_norm():
    d = Discriminator(32, widths=[4, 8, 8, 8], normalizer="spectral_gain")
    layers = [module for module in d.modules() if getattr(module, "normalize", None)]
    for layer in layers:
        layer.gamma.mul_(3)
        layer.u.copy_(torch.linalg.svd(layer.weight.flatten(1))[0][:, 0])
    for row, layer in zip(spectra(d), layers, strict=True):
        assert row.sigma == pytest.approx(float(torch.linalg.matrix_norm(layer.weight.flatten(1), 2)), rel=1e-4)
        assert row.values[0] == pytest.approx(float(layer.gamma), rel=1e-4)
    assert {row.sigma for row in spectra(Discriminator(32, widths=[4, 8, 8, 8], normalizer="weight"))} == {None}


def test_values_are_computed_where_float64_exists(without_float64):
    with without_float64:
        with torch.device("cuda"):
            g = Generator(32, 3, widths=[4] * 4).eval()
        rows = spectra(g)
    assert {(row.values.device.type, row.values.dtype) for row in rows} == {("cpu", torch.float64)}


def test_the_command(tmp_path, capsys):
    out = tmp_path / "spectrum.png"
    pytest.importorskip("matplotlib")
    assert sngan(["spectrum", "sngan_fashion32", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "stable rank" in said and "blocks.0.c1" in said and out.read_bytes()[:4] == b"\x89PNG"
    assert sngan(["spectrum", "sngan_fashion32", "--network", "generator", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["l1"]["values"] == sorted(values["l1"]["values"], reverse=True) and values["l1"]["sigma"] is None
    with pytest.raises(SystemExit):
        sngan(["spectrum", "sngan_fashion32", "--out", str(tmp_path / "x.svg")])
    assert "out must be FILE.png (got " in capsys.readouterr().err
