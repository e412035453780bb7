"""The convert command: scores of the code bases' own networks, fields set wrong, there and back, names and refusals."""

# Tolerances are the goldens' makers': G 3e-5; D 1e-5 of the largest score + 1e-5; statistics 1e-5 relative; u, v 2e-6.

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sngan_hub import Discriminator, Generator, create_generator, load_discriminator, load_generator, to_chainer
from sngan_hub.class_names import class_list
from sngan_hub.cli.main import main as sngan
from sngan_hub.convert import Options, convert_file, convert_path, from_chainer, load_chainer
from sngan_hub.convert.archive import read_npz, read_torch
from sngan_hub.convert.folders import save_networks

from . import foreign
from .conftest import GOLDEN
from .converting import AUTHORS, CASES, FLAGS, case_path, convert, difference, files_equal, golden, pair


def in_older_format(path, folder):
    """The same checkpoints re-saved as torch wrote them before 1.6."""
    target = folder / f"older_{path.name}"
    pairs = [(path, target)] if path.is_file() else [(f, target / f.relative_to(path)) for f in path.rglob("*.pth")]
    for source, out in pairs:
        out.parent.mkdir(parents=True, exist_ok=True)
        torch.save(read_torch(source), out, _use_new_zipfile_serialization=False)
        assert out.read_bytes()[:2] != b"PK"
    return target


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


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_every_precision_is_written_as_float32(dtype):
    for network in (Generator(32, 3, widths=[4] * 4), Discriminator(32, 3, widths=[4] * 4)):
        arrays = to_chainer(network.eval().to(dtype))
        back = from_chainer(arrays).state_dict()
        for key, value in network.state_dict().items():
            assert torch.equal(back[key], value.float() if value.is_floating_point() else value), key


def test_a_whole_trainer_snapshot_gives_both_networks(tmp_path):
    g, d = convert(GOLDEN / "trainer_snapshot_tiny.npz", tmp_path / "out")
    arrays = read_npz(GOLDEN / "trainer_snapshot_tiny.npz")
    assert g.z_dim == 4
    assert np.array_equal(g.l1.weight.detach(), arrays["updater/model:opt_gen/l1/W"])
    assert np.array_equal(d.linear.u, arrays["updater/model:opt_dis/l5/u"].flatten())


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


@pytest.mark.parametrize("folder, flags, text", [
    ("resnet", ["--gain-offset", "1", "--channel-order", "bgr"], "gain_offset, channel_order: only for files of other code"),
    ("resnet", ["--classes", "imagenet"], "classes: only for files of other code bases, but"),
    ("cnn/generator", [], "only ResNets can be written in the format of sngan_projection (got a CNNGenerator)"),
    ("cnn", [], "use OUT/cnn/generator\n"),
])  # fmt: skip
def test_what_a_snapshot_cannot_be_made_of(folder, flags, text, tmp_path, capsys):
    Generator(32, 2, widths=[4] * 4).save_pretrained(tmp_path / "resnet")
    create_generator("sngan_cnn_cifar10", width=8).save_pretrained(tmp_path / "cnn" / "generator")
    with pytest.raises(SystemExit):
        sngan(["convert", str(tmp_path / folder), str(tmp_path / "x.npz"), *flags])
    said = capsys.readouterr().err
    assert text.replace("OUT", str(tmp_path)) in said and said.count("\n") == 1 and not (tmp_path / "x.npz").exists()


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


def test_two_numbered_runs_are_no_pair(tmp_path, capsys):
    for run, names in (("run1", {"ResNetGenerator_500": "_G", "SNResNetProjectionDiscriminator_200": "_D"}),
                       ("run2", {"ResNetGenerator_400": "_G", "SNResNetProjectionDiscriminator_300": "_D"})):  # fmt: skip
        (tmp_path / run).mkdir()
        for name, kind in names.items():
            path = next(path for path in AUTHORS if kind in path.name)
            shutil.copy(path, tmp_path / run / f"{name}.npz")
    with pytest.raises(SystemExit):
        sngan(["convert", str(tmp_path), str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert "several files contain a generator: run1/ResNetGenerator_500.npz, run2/ResNetGenerator_400.npz" in said


def test_an_empty_folder_is_filled(tmp_path, monkeypatch):
    """It may be the current folder, a mount point or a link, none of which can be replaced."""
    networks = convert_file(GOLDEN / "sngan_D128_concat_ch8_n10_emb16.weights.npz")
    here, target = tmp_path / "here", tmp_path / "target"
    here.mkdir()
    target.mkdir()
    (target / ".DS_Store").touch()
    (tmp_path / "link").symlink_to(target, target_is_directory=True)
    monkeypatch.chdir(here)
    inode = here.stat().st_ino
    for out in (Path("."), tmp_path / "link"):
        (written,) = save_networks(networks[:1], out)
        assert type(networks[0].network).from_pretrained(written).config == networks[0].network.config
        with pytest.raises(FileExistsError, match="is not an empty folder"):
            save_networks(networks[:1], out)
    assert here.stat().st_ino == inode and (tmp_path / "link").is_symlink()


def test_class_names_of_a_file_with_a_byte_order_mark(tmp_path):
    """As PowerShell and Notepad write it."""
    from sngan_hub.cli.library import _class_names

    (tmp_path / "names.txt").write_text("left\nright\n", encoding="utf-8-sig")
    assert _class_names(str(tmp_path / "names.txt")) == ("left", "right")


def test_what_a_user_allows_torch_to_load_stays_allowed(tmp_path):
    from sngan_hub.convert.archive import read_torch

    torch.save({"weight": torch.zeros(2), "score": np.float64(3)}, tmp_path / "a.pth")
    before = torch.serialization.get_safe_globals()
    try:
        torch.serialization.add_safe_globals([np.dtype])
        assert read_torch(tmp_path / "a.pth")["score"] == 3
        assert np.dtype in torch.serialization.get_safe_globals()
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)
