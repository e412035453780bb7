"""The commands as a shell sees them: what they print, what they write, and one clear line with exit code 2."""

import io
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from PIL import Image

from sngan_hub import MODELS, WEIGHTS, Generator, load_generator
from sngan_hub.cli.main import main as sngan
from training.__main__ import main as training

from .conftest import ROOT


def test_list_names_every_architecture_and_its_weights(capsys):
    assert sngan(["list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert {name.split(".")[0] for name in rows} == set(MODELS)
    assert {name for name in rows if "." in name} == {name for name, r in WEIGHTS.items() if r.kind == "generator"}
    assert rows["sngan_fashion32.v1"]["where"] == "shipped" and rows["sngan_imagenet64"]["where"] == "untrained"
    imagenet = rows["sngan_imagenet128.mmgen_fid"]
    assert imagenet["default"] and imagenet["classes"] == 1000 and imagenet["size"] == 128 and imagenet["discriminator"]
    assert sngan(["list"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in rows) and "by hand" in said and max(map(len, said.splitlines())) <= 100
    assert re.search(r"sngan_imagenet128.mmgen_fid[*] +128 +1000 +[+] +download +326 +unstated +32.62", said)
    assert [line.split()[4] for line in said.splitlines()[1:4]] == ["shipped"] * 3  # included models first


def test_list_filters(capsys):
    def names(*flags):
        assert sngan(["list", "--json", *flags]) == 0
        return {row["name"] for row in json.loads(capsys.readouterr().out)}

    every = names()
    assert {name for name in every if MODELS[name.split(".")[0]].size == 64} == names("--size", "64")
    assert names("--size", "64", "--classes", "100") == {
        name
        for name in every
        if name.split("64")[0] in ("sngan_babyimagenet", "sngan_papaimagenet", "sngan_grandpaimagenet")
    }
    assert {MODELS[name.split(".")[0]].n_classes for name in names("--classes", "0")} == {0}
    assert {name for name in names("--cached") if name.endswith(".v1")} == {
        f"{name}.v1" for name in ("sngan_cifar10_small", "sngan_fashion32", "sngan_avatars32")
    }
    assert sngan(["list", "--size", "33"]) == 0
    assert capsys.readouterr().err == "no model fits these filters\n"


def test_info(capsys):
    assert sngan(["info", "sngan_fashion32", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["parameters"].keys() == {"generator", "discriminator"} and about["classes"][0] == "T-shirt"
    assert sngan(["info", "sngan_imagenet128", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["parameters"] == {"generator": 41_996_931, "discriminator": 39_443_137}
    assert (
        about["weights"] == "mmgen_fid"
        and about["classes"][207] == "golden retriever"
        and about["sha256"] == "061bf803"
    )
    assert (
        about["licence"]
        and about["scores"]["mmgen_fid50k"]["stated_by"] == "mmgeneration"
        and "https://" in about["how"]
    )
    assert sngan(["info", "sngan_imagenet64", "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["parameters"] == {"generator": 17_974_915, "discriminator": 11_165_441}
    assert sngan(["info", "sngan_imagenet128.authors_850k"]) == 0
    said = capsys.readouterr().out
    assert (
        "or by hand: ResNetGenerator_850000.npz from https://" in said
        and "sngan-hub[drive]" in said
        and "stated by the authors" in said
    )
    assert sngan(["info", "sngan_fashion32"]) == 0
    said = capsys.readouterr().out
    assert all(protocol in said for protocol in WEIGHTS["sngan_fashion32.v1"].scores) and "786,243" in said


def test_sample_to_a_grid(tmp_path, capsys):
    out = tmp_path / "grid.png"
    assert sngan(["sample", "sngan_fashion32", "--classes", "Sneaker", "ankle boot", "--n", "3", "--seed", "5",
                  "--out", str(out)]) == 0  # fmt: skip
    assert "seed 5" in capsys.readouterr().out
    with Image.open(out) as image:
        assert image.text["model"] == "sngan_fashion32" and image.text["seed"] == "5" and image.text["tag"] == "v1"
        assert image.text["classes"] == "Sneaker, Ankle boot"
    assert list(tmp_path.iterdir()) == [out]


def test_pictures_of_a_folder_that_hides_a_model_do_not_have_its_tag(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Generator(32, 2, widths=[8] * 4, classes=["p", "q"]).save_pretrained("sngan_fashion32/generator")
    for command in (["sample"], ["morph", "--classes", "p", "q"]):
        assert sngan([*command[:1], "sngan_fashion32", *command[1:], "--n", "1", "--seed", "0", "--device", "cpu",
                      "--out", "a.png"]) == 0  # fmt: skip
        with Image.open("a.png") as image:
            assert image.text["model"] == "sngan_fashion32" and "tag" not in image.text


def test_sample_to_a_folder_gives_the_same_pixels(tmp_path):
    assert sngan(["sample", "sngan_fashion32", "--n", "5", "--seed", "7", "--batch-size", "2",
                  "--out", str(tmp_path / "d")]) == 0  # fmt: skip
    expected = load_generator("sngan_fashion32").sample(n=5, seed=7)
    files = sorted((tmp_path / "d").iterdir())
    assert len(files) == 5
    for path, image in zip(files, expected, strict=True):
        with Image.open(path) as written:
            pixels = torch.frombuffer(bytearray(written.tobytes()), dtype=torch.uint8).view(32, 32, 3).permute(2, 0, 1)
            assert (pixels.int() - image.int()).abs().max() <= 1 and "index" in written.text


def test_a_class_whose_name_is_a_number_is_drawn_by_its_name(tmp_path):
    folder = tmp_path / "digits"
    torch.manual_seed(0)
    g = Generator(32, 3, widths=[8] * 4, classes=["1", "2", "3"]).eval()
    for table in (p for p in g.parameters() if p.ndim == 2 and len(p) == 3):  # the classes' gains and biases differ
        torch.nn.init.normal_(table)
    g.save_pretrained(folder)
    assert sngan(["sample", str(folder), "--classes", "2", "--n", "1", "--seed", "0", "--device", "cpu",
                  "--by-class", "--out", str(tmp_path / "out")]) == 0  # fmt: skip
    (path,) = (tmp_path / "out").rglob("*.png")
    with Image.open(path) as image:
        assert path.parent.name == image.text["classes"] == "2"
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(32, 32, 3).permute(2, 0, 1)
    assert (pixels.int() - g.sample(classes=[1], n=1, seed=0)[0].int()).abs().max() <= 1
    assert (pixels.int() - g.sample(classes=[0], n=1, seed=0)[0].int()).abs().max() > 1


def test_without_a_seed_one_is_drawn_and_shown(tmp_path, capsys):
    said = []
    for i in range(2):
        assert sngan(["sample", "sngan_fashion32", "--n", "1", "--out", str(tmp_path / f"{i}.png")]) == 0
        said.append(capsys.readouterr().out.split("seed ")[1])
    assert said[0] != said[1]


def test_a_folder_with_images_is_not_sampled_into(tmp_path, capsys):
    command = ["sample", "sngan_fashion32", "--n", "1", "--seed", "0", "--out", str(tmp_path)]
    (tmp_path / "notes.txt").touch()
    assert sngan(command) == 0
    written = (tmp_path / "000000.png").read_bytes()
    with pytest.raises(SystemExit) as stop:
        sngan([*command[:-3], "1", *command[-2:]])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "000000.png exists; images of two calls would be mixed; choose a new" in said
    assert (tmp_path / "000000.png").read_bytes() == written


@pytest.mark.parametrize("command", [
    ["sample", "M", "--out", "d.png"], ["morph", "M", "--classes", "0", "1", "--out", "d.png"],
    ["walk", "M", "--out", "d.gif"], ["export", "M", "--out", "d.pt2"], ["spectrum", "M", "--out", "d.png"],
])  # fmt: skip
def test_a_folder_with_a_files_name_is_refused_before_anything_is_loaded(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / command[-1]).mkdir()
    with pytest.raises(SystemExit) as stop:
        sngan(command)
    assert stop.value.code == 2 and f"out: {command[-1]} is a folder; choose a file name" in capsys.readouterr().err


@pytest.mark.parametrize("n, width, height", [(17, 9, 4), (16, 16, 2), (20, 10, 4), (34, 12, 6), (3, 3, 2)])
def test_a_grid_has_at_most_16_columns(n, width, height, tmp_path):
    from sngan_hub.cli.drawing import _wrapped

    columns, lines = _wrapped(n)
    assert (columns, 2 * lines) == (width, height)
    if n == 17:
        out = tmp_path / "grid.png"
        assert (
            sngan(["sample", "sngan_fashion32", "--classes", "2", "Bag", "--n", "17", "--seed", "0", "--out", str(out)])
            == 0
        )
        with Image.open(out) as image:
            assert image.height == 4 * 66 + 2 and image.width > 9 * 66
            last = image.crop((image.width - 66, 68, image.width - 2, 132))  # the 18th of the first class
            assert last.getextrema() == ((255, 255),) * 3


def test_insufficient_memory_is_one_line(capsys):
    from sngan_hub.cli.parser import run

    def fill():
        torch.empty(2**60)

    def other():
        raise RuntimeError("another error")

    with pytest.raises(SystemExit) as stop:
        run("sngan sample", fill)
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "memory is not sufficient; lower --batch-size" in said and said.count("\n") == 1
    with pytest.raises(SystemExit):
        run("python -m training train", fill)
    said = capsys.readouterr().err
    assert "another --device; or, in a new --out, lower --batch-size" in said and said.count("\n") == 1
    assert "--micro-batch N (not with --diversity-weight; a preset without batch-norm groups needs --bn-group-d" in said
    with pytest.raises(RuntimeError, match="another error"):
        run("sngan sample", other)


BAD = [
    (
        ["sample", "sngan_fashion", "--out", "OUT/x.png"],
        "there is no model, folder or file 'sngan_fashion'; the nearest are",
    ),
    (
        ["sample", "sngan_fashion32", "--classes", "Sneeker", "--out", "OUT/x.png"],
        "no class 'Sneeker'; the nearest is Sneaker",
    ),
    (["sample", "sngan_fashion32", "--n", "-1", "--out", "OUT/x.png"], "n must be between 1 and 100,000 (got -1)"),
    (["sample", "sngan_fashion32", "--n", "many", "--out", "OUT/x.png"], "argument --n: invalid int value: 'many'"),
    (
        ["sample", "sngan_fashion32", "--seed", str(2**63), "--out", "OUT/x.png"],
        "seed must be between 0 and 2^63 - 1 (got 9223372036854775808)",
    ),
    (["sample", "sngan_fashion32", "--truncation", "-1", "--out", "OUT/x.png"], "or None (got -1.0)"),
    (["sample", "sngan_fashion32", "--out", "OUT/none/x.png"], "no folder"),
    (["sample", "sngan_fashion32", "--out", "OUT/x.jpg"], "out must be FILE.png or a folder (got "),
    (
        ["sample", "sngan_fashion32", "--ddls", "--precision", "bf16", "--out", "OUT/x.png"],
        "precision cannot be bf16 with --ddls",
    ),
    (["sample", "sngan_fashion32"], "the following arguments are required: --out"),
    (["sample", "sngan_fashion32", "--by-class", "--out", "OUT/x.png"], "out must be a folder with --by-class (got "),
    (["sample", "sngan_fashion32", "--sede", "3", "--out", "OUT/x.png"], "unrecognized arguments: --sede 3"),
    (["info", "nothing"], "there is no model, folder or file 'nothing'"),
    (["draw"], "there is no command 'draw'"),
    (["sampel"], "there is no command 'sampel'; the nearest is sample; sngan --help lists them"),
    (
        ["evaluate", "sngan_fashion32", "--data", "nowhere", "--protocol", "kid1k_test"],
        "there is no folder or data set 'nowhere'",
    ),
    (["evaluate", "sngan_fashion32", "--data", "fashion", "--protocol", "fid"], "there is no protocol 'fid'"),
    (["evaluate", "sngan_fashion32", "--data", "fashion", "--protocol", "cas", "--device", "cpu,tpu"], "(got 'tpu')"),
    (
        ["evaluate", "sngan_fashion32", "--data", "fashion", "--protocol", "cas", "--record", "--standing"],
        "as protocols fix them",
    ),
]


@pytest.mark.parametrize("arguments, text", BAD)
def test_bad_calls_are_one_line_and_exit_2(arguments, text, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        sngan([a.replace("OUT", str(tmp_path)) for a in arguments])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert text in said and said.count("\n") == 1, said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage, text", [
    ("truncate", "not a valid safetensors file"),
    ("tamper", "model.safetensors"),
    ("unknown key", "unknown key colour"),
    ("not json", "not valid JSON"),
    ("no weights", "there is no model.safetensors"),
])  # fmt: skip
def test_a_damaged_model_is_one_line_and_exit_2(damage, text, tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(WEIGHTS["sngan_fashion32.v1"].folder, folder)
    weights, config = folder / "model.safetensors", folder / "config.json"
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:1_000_000])
    elif damage == "tamper":
        weights.write_bytes(weights.read_bytes().replace(b"l1.weight", b"l1.weighs", 1))
    elif damage == "unknown key":
        config.write_text(json.dumps({**json.loads(config.read_text()), "colour": 1}))
    elif damage == "not json":
        config.write_text("{")
    else:
        weights.unlink()
    with pytest.raises(SystemExit) as stop:
        sngan(["sample", str(folder), "--out", str(tmp_path / "x.png")])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and text in said and said.count("\n") == 1, said
    assert not (tmp_path / "x.png").exists()


def test_unwritable_output(tmp_path, capsys):
    if os.geteuid() == 0:  # root writes anywhere; a file in the folder's place is refused to everyone
        (tmp_path / "f").write_text("")
        target = tmp_path / "f" / "x.png"
    else:
        tmp_path.chmod(0o500)
        target = tmp_path / "x.png"
    with pytest.raises(SystemExit) as stop:
        sngan(["sample", "sngan_fashion32", "--out", str(target)])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and str(tmp_path) in said and said.count("\n") == 1


@pytest.mark.parametrize("arguments, text", [
    (["train", "--preset", "fashion"], "unknown preset 'fashion'; the nearest is fashion32"),
    (["train", "--preset", "fashion32"], "out is missing"),
    (["train", "--preset", "fashion32", "--data", "nowhere", "--out", "OUT/run"], "there is no folder or data set 'nowhere'"),
    (["train", "--preset", "fashion32", "--data", "OUT", "--out", "OUT/run"], "out and data must be separate folders (got out OUT/run, which is inside OUT)"),
    (["train", "--preset", "fashion32", "--flip", "maybe", "--out", "OUT/run"], "must be true or false (got 'maybe')"),
    (["train", "--preset", "fashion32", "--lr-g", "-1", "--out", "OUT/run"], "lr_g must be 0 or more (got -1.0)"),
    (["train", "--preset", "fashion32", "--colour", "1", "--out", "OUT/run"], "unrecognized arguments: --colour 1"),
    (["train", "--preset", "fashion32", "--dry-run", "--out", "OUT/none/run", "--steps", "0"], "steps must be 1 or more (got 0)"),
])  # fmt: skip
def test_bad_training_calls(arguments, text, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        training([a.replace("OUT", str(tmp_path)) for a in arguments])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and text.replace("OUT", str(tmp_path)) in said and said.count("\n") == 1, said
    assert list(tmp_path.iterdir()) == []


def test_dry_run_prints_the_run_and_creates_nothing(tmp_path, capsys):
    assert (
        training(["train", "--preset=avatars32", "--dry-run", "--out", str(tmp_path / "run"), "--batch-size", "8"]) == 0
    )
    said = capsys.readouterr().out
    assert "1,022,467" in said and re.search(r"batch_size +8\n", said)
    assert list(tmp_path.iterdir()) == []


def test_damaged_images_are_all_named_before_step_1(image_folder, tmp_path, capsys):
    damaged = [image_folder / "left" / "00.png", image_folder / "right" / "01.png"]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(SystemExit) as stop:
        training(["train", "--preset", "fashion32", "--data", str(image_folder), "--out", str(tmp_path / "run")])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and all(str(path) in said for path in damaged) and "2 damaged" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("package, module, extra, command", [
    ("accelerate", "training.engine.loop", "train", ["train", "--preset", "fashion32", "--data", "DATA", "--out", "OUT"]),
    ("gradio", "space.app", "space", ["app"]),
])  # fmt: skip
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    package, module, extra, command, image_folder, tmp_path, capsys, monkeypatch
):
    import sngan_hub.cli.parser as parser

    for name in [name for name in sys.modules if name == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    words = {"DATA": str(image_folder), "OUT": str(tmp_path / "run")}
    with pytest.raises(SystemExit, match="2"):
        sngan([words.get(word, word) for word in command])
    assert f"{package} is not installed; run: pip install 'sngan-hub[{extra}]'" in capsys.readouterr().err
    text = (ROOT / "pyproject.toml").read_text()
    for name, group in parser.EXTRAS.items():  # the table follows pyproject.toml
        line = next(line for line in text.splitlines() if line.startswith(f"{group} = "))
        assert name.replace("_", "-") in line


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names of files are Unicode there")
def test_the_name_of_a_file_that_is_no_text_is_escaped(tmp_path, monkeypatch):
    for name in ("a.png", os.fsdecode(b"\xff.png")):
        Image.new("RGB", (32, 32)).save(tmp_path / name)
    for flags in ([], ["--json"]):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "utf-8", errors="strict", write_through=True))
        assert sngan(["score", "sngan_avatars32", str(tmp_path), *flags]) == 0
        said = written.getvalue().decode()
        assert "a.png" in said and "\\udcff.png" in said
        if flags:
            files = {json.loads(line)["file"] for line in said.splitlines()}
            assert files == {str(tmp_path / name) for name in ("a.png", os.fsdecode(b"\xff.png"))}


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_reader_that_stops_early_is_no_error(flags):
    """Also where Python keeps the output in memory until the command ends."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen([sys.executable, "-m", "sngan_hub.cli", "info", "sngan_imagenet128", *flags], cwd=ROOT,
                               env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    process.stdout.close()
    assert process.wait(60) == 141 and process.stderr.read() == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="of Linux")
def test_a_full_disk_behind_the_output_is_one_line():
    code = "import sys; from sngan_hub.cli.parser import run; sys.exit(run('sngan list', lambda: print('x')))"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=full,
                              stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert done.returncode == 2 and re.fullmatch("sngan list: error: .*No space left.*\n", done.stderr)


@pytest.mark.parametrize("command, flag", [
    ("sample m --out", "out"), ("morph m --classes 0 1 --out", "out"), ("walk m --out", "out"), ("static --out", "out"),
    ("static --out site --runtime", "runtime"), ("export m --out", "out"), ("spectrum m --out", "out"),
    ("mirror m me/m --records", "records"), ("study --preset cnn_cifar10 --page", "page"),
])  # fmt: skip
def test_a_tilde_that_the_shell_left_is_the_home_folder(command, flag, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # of Windows
    parsed = []
    monkeypatch.setattr("sngan_hub.cli.main.run", lambda program, call: parsed.append(call.__closure__) or 0)
    assert sngan(f"{command}=~/name".split()) == 0
    (arguments,) = (cell.cell_contents for cell in parsed[0])
    assert getattr(arguments, flag) == tmp_path / "name"


def test_the_advice_on_memory_names_flags_of_the_command(capsys):
    from sngan_hub.cli import parser
    from sngan_hub.cli.main import command_groups

    def fill():
        raise MemoryError

    subparsers = parser.Parser().add_subparsers(parser_class=parser.Parser)
    for group in command_groups():
        group.add_commands(subparsers)
    for name, command in subparsers.choices.items():
        with pytest.raises(SystemExit):
            parser.run(f"sngan {name}", fill)
        advice = capsys.readouterr().err
        assert all(flag in command.format_help() for flag in re.findall(r"--[\w-]+", advice)), advice


@pytest.mark.parametrize("n", ["2", "-1"])
def test_a_video_of_a_morph_has_one_row(n, tmp_path, capsys):
    with pytest.raises(SystemExit):
        sngan(["morph", "sngan_fashion32", "--classes", "0", "1", "--n", n, "--out", str(tmp_path / "a.gif")])
    assert f"n must be 1 for a video (got {n})" in capsys.readouterr().err


def test_the_installed_command_runs():
    done = subprocess.run([sys.executable, "-m", "sngan_hub.cli", "list"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "sngan_fashion32" in done.stdout and done.stderr == ""
