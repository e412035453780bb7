"""What users get: the wheel, the sdist, ``pip install git+file://``, and the repository as torch.hub unpacks it."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from sngan_hub.models import MODELS

from .conftest import ROOT

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


@pytest.mark.slow
def test_the_wheel_holds_the_weights_and_samples_in_an_empty_environment(checkout, tmp_path):
    pytest.importorskip("setuptools", minversion="77")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, checkout)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for kind in ("generator", "discriminator"):
        for file in ("config.json", "model.safetensors", "README.md"):
            assert f"sngan_hub/pretrained/sngan_fashion32.v1/{kind}/{file}" in names
    assert {"sngan_hub/class_lists/imagenet.tsv", "sngan_hub/resample_table.json",
            "sngan_hub/pretrained/sngan_avatars32.v1/reference.json"} <= set(names)  # fmt: skip
    assert {name.split("/")[0].split("-")[0] for name in names} == {"sngan_hub"}  # no tests, training or space
    site = tmp_path / "site"
    pip("install", "--no-deps", "--target", site, wheel)
    code = f"sys.path.insert(0, {str(site)!r})\nfrom sngan_hub.cli import main\nmain(['sample', 'sngan_fashion32', '--n', '4', '--out', 'a.png']); import sngan_hub; print(sngan_hub.__file__)"
    assert "4 images of sngan_fashion32" in python(code, tmp_path)
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.mark.slow
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
    assert not [name for name in names if name.startswith(("tests", "training", "space", "docs"))]
    assert archive.stat().st_size < 15e6


@pytest.mark.slow
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


@pytest.mark.slow
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
    listed = {plain(line) for line in (ROOT / "space" / "requirements.txt").read_text().split("\n") if line.strip()}
    extras = project["optional-dependencies"]
    assert {plain(line) for line in [*project["dependencies"], *extras["space"], *extras["video"]]} <= listed
    assert Path(ROOT / "space" / "README.md").read_text().startswith("---\n")
