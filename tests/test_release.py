"""What users get: the wheel, the sdist, ``pip install git+file://``, and the repository as torch.hub unpacks it."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sngan_hub.networks.registry import MODELS

from .conftest import GOLDEN, ROOT

#: What no environment of a plain user holds: every import that is in an extra
OPTIONAL = ["gradio", "accelerate", "tensorboard", "torch_fidelity", "scipy", "dicebear", "resvg_py", "matplotlib", "datasets",
            "lmdb", "imageio_ffmpeg", "playwright", "pytest"]  # fmt: skip
BLOCK = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {OPTIONAL!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}")
sys.meta_path.insert(0, Absent())
"""


def python(code, cwd, **environment):
    done = subprocess.run([sys.executable, "-I", "-c", BLOCK + code], cwd=cwd, capture_output=True, text=True,
                          env={**os.environ, "HF_HUB_OFFLINE": "1", **environment})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The tracked files alone, as a clone has them."""
    folder = tmp_path_factory.mktemp("clone") / "sngan-hub"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_the_wheel_holds_the_weights_and_samples_in_an_empty_environment(checkout, tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, checkout)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for kind in ("generator", "discriminator"):
        for file in ("config.json", "model.safetensors", "README.md"):
            assert f"sngan_hub/pretrained/sngan_fashion32.v1/{kind}/{file}" in names
    assert {"sngan_hub/class_lists/imagenet.tsv", "sngan_hub/layers/resample_table.json",
            "sngan_hub/pretrained/sngan_avatars32.v1/reference.json"} <= set(names)  # fmt: skip
    assert {name.split("/")[0].split("-")[0] for name in names} == {"sngan_hub"}  # no tests; training and space inside
    assert {"sngan_hub/training/config/devices.json", "sngan_hub/training/config/throughput.json",
            "sngan_hub/training/monitor/report.html", "sngan_hub/space/app.py", "sngan_hub/space/static/index.html", "sngan_hub/py.typed"} <= set(names)  # fmt: skip
    ours = {path for path in (line.strip() for line in _tracked()) if path.endswith(".py")}
    for folder, inside in (("sngan_hub/", "sngan_hub/"), ("training/", "sngan_hub/training/")):
        assert {inside + path.removeprefix(folder) for path in ours if path.startswith(folder)} <= set(names)
    site = tmp_path / "site"
    pip("install", "--no-deps", "--target", site, wheel)
    code = f"sys.path.insert(0, {str(site)!r})\nfrom sngan_hub.cli.main import main\nmain(['sample', 'sngan_fashion32', '--n', '4', '--out', 'a.png']); import sngan_hub; print(sngan_hub.__file__)"
    assert "4 images of sngan_fashion32" in python(code, tmp_path)
    assert (tmp_path / "a.png").stat().st_size > 1000


def _tracked():
    return subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()


#: In one process, in an empty folder, with the installed package alone
FROM_A_WHEEL = """
import sys
sys.path.insert(0, sys.argv[1])
from sngan_hub.cli.main import main
import sngan_hub
assert sngan_hub.__file__.startswith(sys.argv[1]), sngan_hub.__file__
NARROW = ["--generator-fields", '{"widths": [8, 8, 4, 4]}', "--discriminator-fields", '{"widths": [4, 4, 8, 8]}']
SMALL = ["--steps", "20", "--batch-size", "4", "--g-batch-size", "4", "--threads", "1", "--precision", "fp32",
         "--spectrum-every", "0", "--device", "cpu"]
assert main(["train", "--preset", "fashion32", "--data", "pictures", "--out", "run", *SMALL, *NARROW]) == 0
assert main(["status", "run"]) == 0
assert main(["sample", "run", "--n", "2", "--out", "run.png"]) == 0
assert main(["finetune", "--from", "run", "--data", "pictures", "--out", "tuned", *SMALL, "--score", "kid1k_test",
             "--score-every", "0"]) == 0
assert main(["convert", sys.argv[2], "converted"]) == 0
assert main(["prepare", "pictures", "prepared", "--size", "32"]) == 0
assert "training" not in sys.modules and "sngan_hub.training.engine.step" in sys.modules
try:
    main(["app", "--help"])
except SystemExit as stop:
    assert stop.code == 0
from sngan_hub.cli.parts import import_part
assert import_part("space.page").page() is not None
"""


@pytest.mark.slow
def test_every_command_runs_from_a_wheel_in_an_empty_folder(checkout, tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    pytest.importorskip("accelerate")
    pytest.importorskip("gradio")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, checkout)
    site, empty = tmp_path / "site", tmp_path / "empty"
    pip("install", "--no-deps", "--target", site, next(tmp_path.glob("*.whl")))
    empty.mkdir()
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (empty / "pictures" / name).mkdir(parents=True)
        for i in range(12):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
                empty / "pictures" / name / f"{i}.png"
            )
    snapshot = GOLDEN / "sngan_G32_cond_ch16_n10.weights.npz"
    done = subprocess.run([sys.executable, "-I", "-c", FROM_A_WHEEL, str(site), str(snapshot)], cwd=empty,
                          capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert (empty / "tuned" / "generator" / "config.json").is_file()


def test_the_sdist_holds_what_a_build_needs_and_no_tests(checkout, tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    code = ("import os, sys; from setuptools import build_meta; os.chdir(sys.argv[1]); print(build_meta.build_sdist(sys.argv[2]))")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, str(checkout), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    names = ["/".join(name.split("/")[1:]) for name in tarfile.open(archive).getnames()]
    assert {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "sngan_hub/pretrained/sngan_fashion32.v1/generator/model.safetensors",
    } <= set(names)
    assert {"training/cli.py", "training/config/devices.json", "space/app.py"} <= set(names)
    assert not [name for name in names if name.startswith(("tests", "docs"))]
    assert archive.stat().st_size < 26e6


def test_pip_installs_from_a_bare_clone(checkout, tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    work, bare = tmp_path / "work", tmp_path / "bare.git"
    shutil.copytree(checkout, work, ignore=shutil.ignore_patterns("build", "*.egg-info"))
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(work)]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(bare)], check=True, capture_output=True)
    pip("install", "--no-deps", "--no-build-isolation", "--target", tmp_path / "site", f"git+file://{bare}")
    code = f"sys.path.insert(0, {str(tmp_path / 'site')!r})\nimport sngan_hub; print(len(sngan_hub.list_models()))"
    assert int(python(code, tmp_path)) == len(MODELS)


def test_torch_hub_on_the_repository_as_github_has_it(checkout, tmp_path):
    """owner_name_branch under TORCH_HOME, where only what ``dependencies`` names can be imported."""
    cached = tmp_path / "hub" / "sngan-hub_sngan-hub_main"
    shutil.copytree(checkout, cached)
    code = """
import json, torch
options = dict(skip_validation=True, trust_repo=True)
names = torch.hub.list("sngan-hub/sngan-hub:main", **options)
said = torch.hub.help("sngan-hub/sngan-hub:main", "sngan_imagenet128", **options)
g = torch.hub.load("sngan-hub/sngan-hub:main", "sngan_fashion32", **options)
d = torch.hub.load("sngan-hub/sngan-hub:main", "sngan_fashion32_discriminator", **options)
images = g.sample(classes=["Sneaker"], n=2, seed=0)
scores = d(images.float() / 127.5 - 1, torch.tensor([7, 7]))
new = torch.hub.load("sngan-hub/sngan-hub:main", "sngan_cnn_cifar10", pretrained=False, **options)
print(json.dumps([names, said, list(images.shape), list(scores.shape), new.size]))
"""
    names, said, images, scores, size = json.loads(python(code, tmp_path, TORCH_HOME=str(tmp_path)).splitlines()[-1])
    assert sorted(names) == sorted(f"{name}{suffix}" for name in MODELS for suffix in ("", "_discriminator"))
    assert "128 px" in said and "mmgen_fid" in said and (images, scores, size) == ([2, 3, 32, 32], [2, 1], 32)


def test_the_space_installs_what_the_package_needs():
    if sys.version_info < (3, 11):
        pytest.skip("tomllib")
    import re

    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    plain = lambda line: re.match(r"[\w-]+", line)[0].lower().replace("_", "-")  # noqa: E731
    listed = {
        plain(line) for line in (ROOT / "space" / "requirements.txt").read_text().split("\n") if line[:1].isalpha()
    }
    extras = project["optional-dependencies"]
    assert {plain(line) for line in [*project["dependencies"], *extras["space"], *extras["video"]]} <= listed
    assert Path(ROOT / "space" / "README.md").read_text().startswith("---\n")


def test_the_notebook_runs_from_top_to_bottom():
    """Each cell as Python; the last expression of each must be something that a notebook can show."""
    import ast

    notebook = json.loads((ROOT / "docs" / "tour.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    names: dict = {}
    shown = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] and all(output.get("name") != "stderr" for output in cell["outputs"])
            tree = ast.parse("".join(cell["source"]))
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, "cell", "exec"), names)
            if last is not None:
                shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
                stored = [output["data"] for output in cell["outputs"] if "data" in output]
                if hasattr(shown[-1], "_repr_png_"):  # the stored image is what the cell shows, to a few levels
                    old = np.asarray(Image.open(io.BytesIO(base64.b64decode("".join(stored[0]["image/png"])))), float)
                    assert np.abs(old - np.asarray(shown[-1], float)).max() <= 3
    assert sum(hasattr(value, "_repr_png_") for value in shown) == 3


def test_a_space_is_locked_to_one_gradio():
    text = (ROOT / "space" / "requirements.txt").read_text()
    pins = dict(line.split("==") for line in text.splitlines() if "==" in line)
    assert f"sdk_version: {pins['gradio']}\n" in (ROOT / "space" / "README.md").read_text()
    assert {"gradio", "huggingface_hub", "safetensors", "pillow", "numpy"} <= pins.keys() and "torch>=" in text


def test_names_are_completed_in_the_shell(tmp_path):
    pytest.importorskip("argcomplete")
    line = "sngan sample sngan_fash"
    environment = {**os.environ, "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n",
                   "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "names")}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "sngan_hub.cli"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert set((tmp_path / "names").read_text().split()) == {"sngan_fashion32", "sngan_fashion32.v1"}
