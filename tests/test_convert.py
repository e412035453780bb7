"""Files of the four code bases through the command itself: goldens of their own networks, every size, width and class
count of each layout, fields set wrong on purpose, and there and back.

Tolerances are the goldens' makers': G 3e-5; D 1e-5 of the largest score + 1e-5; statistics 1e-5 relative; u, v 2e-6.
"""

import shutil

import numpy as np
import pytest
import torch

from sngan_hub import Discriminator, Generator, load_discriminator, load_generator, to_chainer
from sngan_hub.class_names import class_list
from sngan_hub.cli.main import main as sngan
from sngan_hub.convert import Options, convert_file, convert_path, from_chainer, load_chainer, save_snapshot
from sngan_hub.convert.archive import read_npz, read_torch

from . import foreign
from .conftest import GOLDEN

FOREIGN = GOLDEN / "foreign"
CASES = sorted(path.name.removesuffix(".io.npz") for path in FOREIGN.glob("*.io.npz"))
AUTHORS = sorted(GOLDEN.glob("sngan_*.weights.npz"))
FLAGS = {"mmgen32_cond10_w": ["--shortcut-relu", "1"]}  # its stored configuration lacks what a real file's says


def case_path(name):
    file = FOREIGN / f"{name}.pth"
    return file if file.exists() else FOREIGN / name


def in_older_format(path, folder):
    """The same checkpoints re-saved as torch wrote them before 1.6."""
    target = folder / f"older_{path.name}"
    pairs = [(path, target)] if path.is_file() else [(f, target / f.relative_to(path)) for f in path.rglob("*.pth")]
    for source, out in pairs:
        out.parent.mkdir(parents=True, exist_ok=True)
        torch.save(read_torch(source), out, _use_new_zipfile_serialization=False)
        assert out.read_bytes()[:2] != b"PK"
    return target


def convert(path, out, *flags):
    assert sngan(["convert", str(path), str(out), *flags]) == 0
    return load_generator(out), load_discriminator(out)


def golden(name):
    with np.load(FOREIGN / f"{name}.io.npz", allow_pickle=False) as archive:
        return {key: torch.from_numpy(np.array(archive[key])) for key in archive.files}


def difference(a, b):
    return (a - b).abs().max().item()


def assert_scores(ours, theirs):
    assert difference(ours, theirs) <= 1e-5 * theirs.abs().max().item() + 1e-5


# The goldens of the other code bases' own networks ------------------------------------------------------------------


def test_none_is_missing():
    assert len(CASES) == 9 and len(AUTHORS) == 9


@pytest.mark.parametrize("older", [False, True], ids=["zip", "older"])
@pytest.mark.parametrize("name", [*CASES, "mmgen32_cond10_wo_raw"])
def test_golden_case_through_the_command(name, older, tmp_path, capsys):
    path = case_path(name)
    path = in_older_format(path, tmp_path) if older else path
    g, d = convert(path, tmp_path / "out", *FLAGS.get(name, []))
    said = capsys.readouterr().out
    family = {"mm": "mmgeneration", "st": "StudioGAN", "mi": "mimicry"}[name[:2]]
    assert (
        said.count(f"of {family}, recognised by its keys") == 2 and f"{g.size} px" in said and "shortcut_relu" in said
    )
    io = golden(name.removesuffix("_raw"))
    y, y_x = (io["y"] if g.n_classes else None), (io["y_x"] if d.n_classes else None)
    flip = (lambda x: x.flip(1)) if name.startswith("mmgen") else (lambda x: x)  # goldens keep their channel order
    x = flip(io["x"])
    with torch.no_grad():
        assert difference(flip(g(io["z"], y)), io["G_out_eval"]) < 3e-5
        assert difference(flip(g.for_sampling()(io["z"], y)), io["G_out_eval"]) < 1e-4
        before = {key: value.clone() for key, value in d.state_dict().items()}
        assert_scores(d(x, y_x), io["D_out_eval"])
        assert all(torch.equal(value, before[key]) for key, value in d.state_dict().items())
        assert_scores(d.train()(x, y_x), io["D_out_train"])
        if "G_out_train" in io:
            assert difference(flip(g.train()(io["z"], y)), io["G_out_train"]) < 3e-5
    check_posts(g, {k.removeprefix("G_train_post/"): v for k, v in io.items() if k.startswith("G_train_post/")})
    check_posts(d, {k.removeprefix("D_train_post/"): v for k, v in io.items() if k.startswith("D_train_post/")})


def check_posts(network, posts):
    """Statistics, u and v after one train-mode forward: every layer has its own size, so values find their partner."""
    state = network.state_dict()
    leaves = {
        "running_mean": "running_mean",
        "running_var": "running_var",
        "weight_u": "u",
        "weight_v": "v",
        "sn_u": "u",
    }
    for key, value in posts.items():
        if key.endswith("sn_sigma") or (key.endswith("weight_v") and ("from_rgb" in key)):
            continue  # never read; folded (its weight's test is the train-mode score)
        candidates = [
            t for k, t in state.items() if k.endswith("." + leaves[key.split(".")[-1]]) and t.numel() == value.numel()
        ]
        tolerance = 2e-6 if leaves[key.split(".")[-1]] in "uv" else 1e-5 * value.abs().max().item() + 1e-7
        assert min(difference(t, value.flatten()) for t in candidates) <= tolerance, key


@pytest.mark.parametrize("path", AUTHORS, ids=lambda path: path.name[6:-12])
def test_the_authors_snapshots_there_and_back_are_bit_equal(path, tmp_path, capsys):
    assert sngan(["convert", str(path), str(tmp_path / "out")]) == 0
    assert sngan(["convert", str(tmp_path / "out"), str(tmp_path / "back.npz")]) == 0
    theirs, back = read_npz(path), read_npz(tmp_path / "back.npz")
    assert theirs.keys() == back.keys()
    for key, array in theirs.items():
        assert array.dtype == back[key].dtype and array.shape == back[key].shape, key
        assert array.tobytes() == back[key].tobytes(), key  # bit for bit, -0.0 too
    kind = Generator if "_G" in path.name else Discriminator
    ours = kind.from_pretrained(tmp_path / "out").state_dict()
    assert all(torch.equal(ours[key], value) for key, value in load_chainer(path).state_dict().items())


def test_negative_zeros_survive(tmp_path):
    arrays = read_npz(AUTHORS[-1])
    arrays = {key: array * np.float32(-0.0) if array.dtype == np.float32 else array for key, array in arrays.items()}
    back = to_chainer(from_chainer(arrays))
    assert all(back[key].tobytes() == array.tobytes() for key, array in arrays.items())


def test_a_whole_trainer_snapshot_gives_both_networks(tmp_path):
    g, d = convert(GOLDEN / "trainer_snapshot_tiny.npz", tmp_path / "out")
    arrays = read_npz(GOLDEN / "trainer_snapshot_tiny.npz")
    assert g.z_dim == 4
    assert np.array_equal(g.l1.weight.detach(), arrays["updater/model:opt_gen/l1/W"])
    assert np.array_equal(d.linear.u, arrays["updater/model:opt_dis/l5/u"].flatten())


# Every layout, from files written here -----------------------------------------------------------------

ROWS = {  # size: G widths (of the first map, then each block's output), D widths, at tiny base widths
    32: ([6, 6, 6, 6], [6, 6, 6, 6]),
    48: ([16, 8, 4, 2], [2, 4, 8, 16, 32]),
    64: ([32, 16, 8, 4, 2], [2, 4, 8, 16, 32]),
    128: ([32, 32, 16, 8, 4, 2], [2, 4, 8, 16, 32, 32]),
    256: ([32, 32, 16, 16, 8, 4, 2], [2, 4, 8, 16, 16, 32, 32]),
    "small": ([16, 16, 8, 8, 4, 2], [2, 4, 8, 8, 16, 16]),
}
DOWN = {32: "1100", 48: "11110", 64: "11111", 128: "111110", 256: "1111110", "small": "111110"}


def pair(row, n_classes, g_fields, d_fields, seed=1):
    g_widths, d_widths = ROWS[row]
    size = 128 if row == "small" else row
    g = Generator(size, n_classes, widths=g_widths, bottom_width=6 if row == 48 else 4, **g_fields)
    d = Discriminator(size, n_classes, **{"widths": d_widths, "down": DOWN[row], **d_fields})
    return foreign.randomise(g, seed), foreign.randomise(d, seed + 1)


def assert_equal(converted, expected, exact=True):
    assert {**converted.config, "classes": None} == {**expected.config, "classes": None}
    ours, theirs = converted.state_dict(), expected.state_dict()
    for key, value in theirs.items():
        close = torch.equal(ours[key], value) if exact else torch.allclose(ours[key], value, rtol=0, atol=1e-6)
        assert close, key


def files_equal(path, g, d, exact=True):
    for one in convert_path(path, Options()):
        assert_equal(one.network, g if one.kind == "generator" else d, exact)


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


# A field set wrong shows ---------------------------------------------------------------------------------------------


def rebuilt(network, **fields):
    """The same weights in a network that differs in ``fields``."""
    other = type(network).from_config({**network.config, **fields})
    state = network.state_dict()
    other.load_state_dict({key: state.get(key, value) for key, value in other.state_dict().items()})
    return other.eval()


@pytest.mark.parametrize("name, fields, least", [
    ("mimicry_sngan32", {"upsample": "nearest"}, 0.1),
    ("mmgen32_cond10_wo", {"bn_eps": 2e-5}, 1e-2),
    ("mmgen32_cond10_wo", {"bn_eps": 1e-5}, 1e-2),
    ("studio32_cond10", {"bn_eps": 1e-5}, 1e-2),
    ("mimicry_sngan32", {"bn_eps": 1e-4}, 1e-2),
    ("mimicry_sngan32", {"bn_eps": 2e-5}, 5e-3),
])  # fmt: skip
def test_a_wrong_field_of_the_generator_shows(name, fields, least, tmp_path):
    g, _ = convert(case_path(name), tmp_path / "out", *FLAGS.get(name, []))
    io = golden(name)
    with torch.no_grad():
        wrong = rebuilt(g, **fields)(io["z"], io["y"] if g.n_classes else None)
    flip = wrong.flip(1) if name.startswith("mmgen") else wrong
    assert difference(flip, io["G_out_eval"]) > least


@pytest.mark.parametrize("name, fields", [
    ("mmgen32_cond10_wo", {"shortcut_relu": True}),
    ("studio32_cond10", {"shortcut_relu": False}),
    ("mimicry_sngan48", {"shortcut_relu": False}),
    ("studio64_cond10", {"down": "11111"}),
    ("mmgen128_cond10_wo", {"sn_eval": "iterate"}),
    ("studio32_cond10", {"sn_eval": "iterate"}),
    ("mimicry_cganpd32_n10", {"sn_eval": "iterate"}),
    ("mimicry_cganpd32_n10", {"head_bias": False}),
    ("mmgen32_cond10_wo", {"head_bias": False}),
])  # fmt: skip
def test_a_wrong_field_of_the_discriminator_shows(name, fields, tmp_path):
    _, d = convert(case_path(name), tmp_path / "out", *FLAGS.get(name, []))
    io = golden(name)
    x = io["x"].flip(1) if name.startswith("mmgen") else io["x"]
    with torch.no_grad():
        wrong = rebuilt(d, **fields)(x, io["y_x"] if d.n_classes else None)
    assert difference(wrong, io["D_out_eval"]) > 20 * (1e-5 * io["D_out_eval"].abs().max().item() + 1e-5)


def test_a_head_that_used_stored_vectors_would_score_wrongly(tmp_path):
    """mimicry's 32-px cGAN keeps no v for its head; any stored v gives another sigma than its iteration."""
    _, d = convert(case_path("mimicry_cganpd32_n10"), tmp_path / "out")
    io = golden("mimicry_cganpd32_n10")
    with torch.no_grad():
        wrong = rebuilt(d, head_sn_eval="stored")(io["x"], io["y_x"])
    assert difference(wrong, io["D_out_eval"]) > 1e-2


@pytest.mark.parametrize("row, right, wrong", [(64, "out", "in"), (128, "out", "in")])
def test_a_wrong_hidden_width_does_not_load(row, right, wrong, tmp_path):
    _, d = pair(row, 10, {}, {"hidden": right, "sn_eval": "stored", "head_bias": True})
    other = Discriminator.from_config({**d.config, "hidden": wrong})
    with pytest.raises(RuntimeError, match="size mismatch"):
        other.load_state_dict(d.state_dict())


def test_hidden_is_read_from_the_shapes_whatever_the_code_base(tmp_path):
    for hidden in ("in", "out"):
        _, d = pair(64, 10, {}, {"hidden": hidden, "sn_eval": "stored", "head_bias": True})
        path = foreign.mmgen_file(tmp_path / f"{hidden}.pth", d=d)
        assert convert_file(path)[0].network.config["hidden"] == hidden


@pytest.mark.parametrize("flags", [["--channel-order", "rgb"], ["--gain-offset", "0"]])
def test_a_wrong_channel_order_or_gain_shows(flags, tmp_path):
    g, d = convert(case_path("mmgen32_cond10_wo"), tmp_path / "out", *flags)
    io = golden("mmgen32_cond10_wo")
    with torch.no_grad():
        assert difference(g(io["z"], io["y"]).flip(1), io["G_out_eval"]) > 0.1
        if "rgb" in flags:
            wrong = d(io["x"].flip(1), io["y_x"])
            assert difference(wrong, io["D_out_eval"]) > 1e-2 * io["D_out_eval"].abs().max().item()


# Class names, folders, and what is refused ---------------------------------------------------------------------------


def test_class_names_come_from_count_name_or_flag(tmp_path, capsys):
    g, _ = pair(32, 1000, {}, {})
    path = foreign.chainer_file(tmp_path / "ResNetGenerator_1.npz", g)
    assert convert_file(path)[0].network.classes == list(class_list("imagenet"))
    g, _ = pair(32, 143, {}, {})
    assert convert_file(foreign.chainer_file(path, g))[0].network.classes[0] == "Chihuahua"
    g, _ = pair(32, 2, {}, {})
    foreign.chainer_file(path, g)
    assert convert_file(path)[0].network.classes is None
    (tmp_path / "names.txt").write_text("left\nright\n")
    assert sngan(["convert", str(path), str(tmp_path / "out"), "--classes", str(tmp_path / "names.txt")]) == 0
    assert load_generator(tmp_path / "out").classes == ["left", "right"]
    g, d = convert(case_path("studio32_cond10"), tmp_path / "studio")
    assert g.classes == d.classes == list(class_list("cifar10"))  # the run's name stands in the discriminator's file
    assert "taken from its discriminator" in capsys.readouterr().out


def test_one_network_makes_the_folder_itself(tmp_path):
    assert sngan(["convert", str(AUTHORS[0]), str(tmp_path / "deep" / "out")]) == 0
    assert sorted(p.name for p in (tmp_path / "deep" / "out").iterdir()) == ["config.json", "model.safetensors"]


def test_best_comes_before_current_and_ambiguity_is_refused(tmp_path):
    g, d = pair(
        32, 2, {"bn_eps": 1e-4}, {"hidden": "out", "sn_eval": "stored", "head_bias": True, "shortcut_relu": True}
    )
    torch.save({"state_dict": foreign.studio_generator(g)}, tmp_path / "model=G-best-weights-step=100.pth")
    zeros = {k: v * 0 for k, v in foreign.studio_generator(g).items()}
    torch.save({"state_dict": zeros}, tmp_path / "model=G-current-weights-step=900.pth")
    files_equal(tmp_path, g, d, exact=False)
    shutil.copy(tmp_path / "model=G-best-weights-step=100.pth", tmp_path / "another.pth")
    with pytest.raises(ValueError, match="several files contain a generator: another.pth, model=G-best"):
        convert_path(tmp_path, Options())


def test_loaded_as_a_name_with_a_file_it_takes_the_names_classes():
    path = GOLDEN / "sngan_G32_cond_ch16_n10.weights.npz"
    assert load_generator("sngan_cifar10", weights=path).classes == list(class_list("cifar10"))
    assert load_generator(path).classes is None
    with pytest.raises(ValueError, match="contains a generator, not a discriminator; use load_generator"):
        load_discriminator(path)
    network = torch.hub.load(".", "sngan_cifar10", source="local", weights=str(path))
    assert network.classes[0] == "airplane"


def test_converted_networks_train_and_save_like_our_own(tmp_path):
    g, d = convert(case_path("studio32_cond10"), tmp_path / "out")
    g.train(), d.train()
    optimizers = [torch.optim.Adam(n.parameters(), 1e-3, (0.0, 0.9)) for n in (g, d)]
    y = torch.arange(4) % 10
    before = {key: value.clone() for key, value in d.state_dict().items()}
    for _ in range(2):
        loss = (1 - d(torch.rand(4, 3, 32, 32) * 2 - 1, y)).relu().mean() + (
            1 + d(g(torch.randn(4, 128), y), y)
        ).relu().mean()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    moved = [k for k, v in d.state_dict().items() if k.endswith((".u", ".v")) and not torch.equal(v, before[k])]
    assert len(moved) == sum(k.endswith((".u", ".v")) for k in before) - 1  # of one row, u is 1 for ever
    d.eval().save_pretrained(tmp_path / "saved")
    again, x = Discriminator.from_pretrained(tmp_path / "saved"), torch.rand(4, 3, 32, 32)
    assert torch.equal(again(x, y), d(x, y))


REFUSED_BACK = [
    (Generator(32, 0, widths=[4] * 4, upsample="bilinear"), "upsample 'bilinear' (theirs: 'nearest')"),
    (Generator(32, 0, widths=[4] * 4, bn_eps=1e-4), "bn_eps 0.0001"),
    (Generator(48, 0, widths=[4] * 4), "bottom_width 6"),
    (Discriminator(32, 0, widths=[4] * 4, head_bias=True), "head_bias True (theirs at 32 px: False)"),
    (Discriminator(64, 0, widths=[4, 8, 8, 8, 8], hidden="out"), "hidden 'out'"),
    (
        Discriminator(32, 0, widths=[4, 8, 8, 16], down="1110", head_bias=False),
        "the authors' code cannot build this discriminator",
    ),
    (Discriminator(128, 0, widths=[4] * 6, shortcut_relu=True), "shortcut_relu True"),
    (Discriminator(128, 0, widths=[4] * 6, sn_eval="stored"), "the authors' code cannot build this discriminator"),
]


@pytest.mark.parametrize("network, text", REFUSED_BACK, ids=[text for _, text in REFUSED_BACK])
def test_what_the_authors_code_could_not_compute_is_not_written_in_its_form(network, text, tmp_path, capsys):
    network.save_pretrained(tmp_path / "n")
    with pytest.raises(SystemExit):
        sngan(["convert", str(tmp_path / "n"), str(tmp_path / "back.npz")])
    said = capsys.readouterr().err
    assert text in said and said.count("\n") == 1 and not (tmp_path / "back.npz").exists()


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    (tmp_path / "back.npz").write_text("x")
    for arguments in (["convert", str(AUTHORS[0]), str(tmp_path / "out")],
                      ["convert", str(AUTHORS[0]), str(tmp_path / "back.npz")]):  # fmt: skip
        with pytest.raises(SystemExit):
            sngan(arguments)
        assert "exists" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["back.npz", "mine.txt", "out"]


def test_from_chainer_takes_arrays():
    arrays = read_npz(AUTHORS[0])
    assert from_chainer(arrays).n_classes == 10
