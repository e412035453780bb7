"""Every layout of the four code bases, from files written here: sizes, widths, class counts and forms of each."""

import numpy as np
import pytest
import torch

from sngan_hub import Discriminator, load_generator, to_chainer
from sngan_hub.class_names import class_list
from sngan_hub.cli.main import main as sngan
from sngan_hub.convert import Options, convert_file, load_chainer, save_snapshot
from sngan_hub.convert.archive import read_npz

from . import foreign
from .converting import ROWS, assert_equal, difference, files_equal, pair

COUNTS = [0, 1, 7, 10, 100, 1000]


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("row", [32, 64, 128, 256, "small"])
def test_the_authors_layout(row, n, tmp_path):
    g, d = pair(row, n, {}, {"head_bias": row != 32})
    for network, name in ((g, "ResNetGenerator_1.npz"), (d, "SNResNetProjectionDiscriminator_1.npz")):
        path = foreign.chainer_file(tmp_path / name, network)
        assert_equal(convert_file(path)[0].network, network)
        save_snapshot(network, tmp_path / "back.npz")
        back, there = read_npz(tmp_path / "back.npz"), read_npz(path)
        assert back.keys() == there.keys() and all(np.array_equal(back[key], there[key]) for key in there)
        (tmp_path / "back.npz").unlink()


@pytest.mark.parametrize("n, dim", [(1, 3), (10, 16), (143, 5), (1000, 128)])
def test_the_authors_concat_layout(n, dim, tmp_path):
    d = Discriminator(128, n, widths=ROWS[128][1], conditioning="concat", embedding_dim=dim)
    path = foreign.chainer_file(tmp_path / "SNResNetConcatDiscriminator_1.npz", foreign.randomise(d))
    assert_equal(load_chainer(path), d)
    assert to_chainer(d).keys() == read_npz(path).keys()


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("row", [32, 64, 128])
def test_mmgenerations_layout(row, n, in_place, tmp_path):
    d_fields = {"hidden": "out", "sn_eval": "stored", "head_bias": True, "shortcut_relu": in_place}
    g, d = pair(row, n, {"bn_eps": 1e-4}, d_fields)
    path = tmp_path / f"sngan_proj_x_{'w' if in_place else 'wo'}ReLUinplace_fid-iter1-00000000.pth"
    files_equal(foreign.mmgen_file(path, g, d), g, d, exact=False)
    files_equal(foreign.mmgen_file(path, g, d, zip_format=False), g, d, exact=False)


@pytest.mark.parametrize("init, offset", [("studio", 1), ("BigGAN", 1), ("sngan", 0), ("sagan", 0), (None, 1)])
def test_mmgenerations_gains_follow_the_stored_init(init, offset, tmp_path, capsys):
    g, d = pair(32, 3, {"bn_eps": 1e-4}, {"hidden": "out", "sn_eval": "stored", "head_bias": True})
    init_cfg = "" if init is None else f", init_cfg=dict(type='{init}')"
    config = (
        f"model = dict(\n    type='BasiccGAN',\n    generator=dict(type='SNGANGenerator', num_classes=3{init_cfg}))\n"
    )
    path = foreign.mmgen_file(tmp_path / "x.pth", g, d, {"config": config}, offset)
    files_equal(path, g, d, exact=False)
    assert sngan(["convert", str(path), str(tmp_path / "out"), "--gain-offset", str(1 - offset)]) == 0
    assert "set explicitly" in capsys.readouterr().out
    assert difference(load_generator(tmp_path / "out").blocks[0].b1.weight, g.blocks[0].b1.weight) == pytest.approx(1)


def test_mmgenerations_relu_follows_the_stored_configuration_then_the_file_name(tmp_path):
    g, d = pair(32, 3, {"bn_eps": 1e-4}, {"hidden": "out", "sn_eval": "stored", "head_bias": True})
    in_place = "model = dict(discriminator=dict(type='X', act_cfg=dict(type='ReLU', inplace=True)))\n"
    for name, meta, expected in (
        ("x.pth", {"config": in_place}, True),
        ("x_woReLUinplace_y.pth", {"config": in_place}, True),
        ("x_wReLUinplace_y.pth", {"config": "model = dict(discriminator=dict(type='X'))"}, True),
        ("x_woReLUinplace_y.pth", {}, False),
        ("sngan_cifar10_convert-studio-rgb_1-00000000.pth", {}, True),
        ("x.pth", {"config": "model = dict(oops"}, False),
    ):
        found = convert_file(foreign.mmgen_file(tmp_path / name, g, d, meta))
        assert found[1].network.config["shortcut_relu"] is expected, name
    assert convert_file(tmp_path / "x.pth", Options(shortcut_relu=True))[1].network.config["shortcut_relu"] is True


def test_the_files_that_mmgeneration_took_from_studiogan_are_rgb(tmp_path):
    d_fields = {"hidden": "out", "sn_eval": "stored", "head_bias": True, "shortcut_relu": True, "down": "11110"}
    g, d = pair(64, 10, {"bn_eps": 1e-4}, d_fields)
    path = foreign.mmgen_file(tmp_path / "sngan_cifar10_convert-studio-rgb_2021-2979202d.pth", g, d, bgr=False)
    files_equal(path, g, d, exact=False)
    assert convert_file(path)[0].network.classes == list(class_list("cifar10"))
    (path.with_name("renamed.pth")).write_bytes(path.read_bytes())
    order = Options(channel_order="rgb", shortcut_relu=True)
    assert difference(convert_file(path.with_name("renamed.pth"), order)[0].network.conv.weight, g.conv.weight) == 0
    assert difference(convert_file(path.with_name("renamed.pth"))[0].network.conv.weight, g.conv.weight) > 0.01


@pytest.mark.parametrize("norm", ["2022", "2020"])
@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("row", [32, 64, 128])
def test_studiogans_layout(row, n, norm, tmp_path):
    d_fields = {"hidden": "out", "sn_eval": "stored", "head_bias": True, "shortcut_relu": True}
    g, d = pair(row, n, {"bn_eps": 1e-4}, {**d_fields, **({"down": "11110"} if row == 64 else {})})
    form = foreign.studio_2022_norm if norm == "2022" else foreign.studio_2020_norm
    torch.save({"state_dict": foreign.studio_generator(g, form), "optimizer": {}},
               tmp_path / "model=G-best-weights-step=88000.pth")  # fmt: skip
    best_fid = np.float64(8.7)
    torch.save({"state_dict": foreign.studio_discriminator(d), "run_name": "run", "best_fid": best_fid},
               tmp_path / "model=D-best-weights-step=88000.pth")  # fmt: skip
    files_equal(tmp_path, g, d, exact=False)


def test_studiogans_shared_embedding_of_early_2022(tmp_path):
    g, _ = pair(32, 5, {"bn_eps": 1e-4}, {})
    keys = foreign.studio_generator(g)
    shared = torch.randn(5, 128)
    for block in range(3):
        for bn in ("bn1", "bn2"):
            for leaf, offset in (("gain", 1), ("bias", 0)):
                key = f"blocks.{block}.0.{bn}.{leaf}.weight"
                keys[key] = torch.randn(6, 128) * 0.05
                own = g.blocks[block].b1 if bn == "bn1" else g.blocks[block].b2
                (own.weight if leaf == "gain" else own.bias).data = offset + shared @ keys[key].t()
    torch.save({"state_dict": {**keys, "shared.weight": shared}}, tmp_path / "model=G-best-weights-step=1.pth")
    assert_equal(convert_file(tmp_path / "model=G-best-weights-step=1.pth")[0].network, g, exact=False)


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("row", [32, 48, 64, 128])
def test_mimicrys_layout(row, n, tmp_path):
    d_fields = {"hidden": "in", "sn_eval": "stored", "head_bias": True, "shortcut_relu": True}
    g, d = pair(row, n, {"bn_eps": 1e-5, "upsample": "bilinear"},
                {**d_fields, **({"head_sn_eval": "iterate"} if row == 32 and n else {})})  # fmt: skip
    for kind, keys in (("netG", foreign.mimicry_generator(g)), ("netD", foreign.mimicry_discriminator(d))):
        (tmp_path / kind).mkdir()
        for step in (9_000, 100_000):  # the newest counts, not the last in the alphabet
            values = keys if step == 100_000 else {k: v * 0 for k, v in keys.items()}
            torch.save({"model_state_dict": values, "optimizer_state_dict": None, "global_step": step},
                       tmp_path / kind / f"{kind}_{step}_steps.pth")  # fmt: skip
    files_equal(tmp_path, g, d)
    bare = tmp_path / "netG.pth"
    torch.save(foreign.mimicry_generator(g), bare)
    assert_equal(convert_file(bare)[0].network, g)


def test_mimicrys_thin_discriminator_is_recognised_by_its_shapes(tmp_path):
    d = Discriminator(128, 1000, widths=[8, 16, 32, 64, 128, 128], sn_eval="stored", shortcut_relu=True)
    assert sum(p.numel() for p in d.parameters()) == 582_497
    torch.save({"model_state_dict": foreign.mimicry_discriminator(foreign.randomise(d))}, tmp_path / "netD.pth")
    assert_equal(convert_file(tmp_path / "netD.pth")[0].network, d)
