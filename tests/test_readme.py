"""The code of README.md and of the first pages of docs/ as it stands: every fence is run, in a folder that holds what its
own words name and nothing else.

Two tables say where that is not possible: ``ELSEWHERE``, with where it is proven instead, and ``SHORTER``, flags that
make hours into seconds. Nothing reaches out: the Hub, GitHub and the publishers' servers are stand-ins on this machine.
"""

import json
import os
import pickle
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from sngan_hub.data import source_classes
from sngan_hub.hub.cache import sha256_of
from sngan_hub.weights.records import WEIGHTS

from . import full_size, minihub, warm
from .conftest import GOLDEN, ROOT
from .loopback import Server, whole

PAIR = WEIGHTS["sngan_avatars32.v1"].folder.parent


class Block(NamedTuple):
    language: str
    lines: list[str]
    section: str

    @property
    def name(self):
        return re.sub(r"\W+", "_", f"{self.section} {self.language} {self.lines[-1][:40]}").strip("_")


#: Pages, and the sections of them whose fences are run (None: all)
PAGES = {
    "README.md": None, "docs/sampling.md": None, "docs/hub.md": None, "docs/web-page.md": None,
    "docs/foreign-weights.md": ["Weights of other code bases"], "docs/training.md": ["First commands", "Several GPUs, Chainer snapshots and monitoring"],
    "docs/fine-tuning.md": ["Example"], "docs/how-it-works.md": None,
}  # fmt: skip


def blocks(page):
    """Every fenced block, with the heading that it stands under."""
    section, fence, found = "", None, []
    for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
        if fence is not None and line == "```":
            found.append(Block(*fence, section))
            fence = None
        elif fence is not None:
            fence[1].append(line)
        elif line.startswith("```"):
            fence = (line[3:], [])
        elif line.startswith("#"):
            section = line.lstrip("# ")
    assert fence is None
    return found


BLOCKS = [
    block for page, sections in PAGES.items() for block in blocks(page)
    if (sections is None or block.section in sections) and block.language != "bibtex"  # the citation
]  # fmt: skip
PYTHON = {block.name: "\n".join(block.lines) for block in BLOCKS if block.language == "python"}
SHELL = {block.name: [line for line in block.lines if line.strip()] for block in BLOCKS if block.language == "sh"}

#: Lines that a test cannot run -> why, and what runs instead
ELSEWHERE = {
    "pip install .": "needs package registries; test_release.py builds and installs the wheel",
    "pip install '": "the same, with extras",
    "sngan app": "serves until it is stopped; test_space.py starts it",
    "bash space/deploy.sh": "runs in a clone; the next lines' stand-in SPACE is what it writes",
    "hf auth login": "asks for a token; the Hub of this machine takes HF_TOKEN",
}

NARROW = (
    """--generator_fields '{"widths": [8, 8, 8, 8, 4, 4]}' --discriminator_fields '{"widths": [4, 4, 8, 8, 8, 8]}'"""
)
FEW = "--steps 2 --n_dis 1 --log_every 1 --threads 1"
SMALL = f"{FEW} --batch_size 8 --g_batch_size 8"
TINY = '--generator_fields \'{"widths": [2, 2, 2, 2], "z_dim": 4}\' --discriminator_fields \'{"widths": [2, 2, 2, 2]}\''
#: What a line holds -> the flags that are added to it. Later ones win. Two steps; 128 px narrow and without a GPU.
SHORTER = {
    "train --preset imagenet128_projection": f"{SMALL} {NARROW} --bn_group_d 2 --bn_group_g 2 --device cpu --precision fp32",
    "--micro-batch 32": "--micro-batch 4",
    "train --preset cnn_cifar10": SMALL,
    "train --preset avatars32": SMALL,
    "train --preset fashion32 --data": SMALL,
    "sngan finetune": f"{SMALL} --score ''",
    # the only whole-trainer snapshot here is the goldens' tiny one, which another preset made
    "--out CHAINER": f"--preset cifar10 {TINY} --n_dis 2 --steps 8 --decay_from 2 --decay_to 6 --batch_size 8 --g_batch_size 8",
}


def class_folders(root, *names, n=12, size=(40, 36)):
    rng = np.random.default_rng(0)
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(n):
            Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(root / name / f"{i}.png")


def small_run(folder):
    """What a training run leaves, at its smallest."""
    class_folders(folder.parent / "run's data", "cat", "dog")
    words = ["train", "--preset", "fashion32", "--data", "run's data", "--out", folder.name, *SMALL.split()]
    done = warm.run([sys.executable, "-m", "training", *words], {"PYTHONPATH": str(ROOT)}, folder.parent)
    assert done.returncode == 0, done.stderr


#: A name in a line that stands for something of the reader's -> who makes it
GIVEN = {
    "my/folder": lambda path: class_folders(path, "cat", "dog"),
    "pets": lambda path: class_folders(path, "cat", "dog"),
    "imagenet/train": lambda path: class_folders(path, "n01440764", "n01443537", size=(260, 280), n=4),
    "DATA": lambda path: class_folders(path, "n01440764", "n01443537", size=(130, 130)),
    "FOLDER": lambda path: class_folders(path, *(f"class {i}" for i in range(10))),
    "RUN": small_run,
    "SPACE": lambda path: subprocess.run(["bash", str(ROOT / "space" / "deploy.sh"), str(path)], check=True),
    "snapshot_iter_100000": lambda path: path.write_bytes((GOLDEN / "trainer_snapshot_tiny.npz").read_bytes()),
    "ResNetGenerator_850000.npz": lambda path: full_size.authors_imagenet(path.parent)[1].unlink(),
    "sngan_proj_imagenet1k_128_...pth": lambda path: full_size.mmgen_imagenet(path.parent).rename(path),
}
WRITTEN = re.compile(r"(?:--out|convert \S+|prepare \S+) +(\S+)")  # what a line makes itself


def environment(**more):
    """The reader's: the commands of this Python first in PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", **more}


def bash(line, folder, **more):
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", line], cwd=folder, env=environment(**more), text=True,
                          capture_output=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done


def shell(line, folder, **more):
    """As ``bash``. A line that is one command of sngan is forked, where its variables allow it: that is faster."""
    if (
        not line.startswith("sngan ")
        or set("*?|;&<>`$~") & set(line)
        or {*more} - {"SNGAN_HUB_CACHE", "SNGAN_HUB_RECORDS"}
    ):
        bash(line, folder, **more)
        return
    done = warm.run(
        [sys.executable, "-m", "sngan_hub.cli.main", *shlex.split(line)[1:]], {"PYTHONPATH": str(ROOT), **more}, folder
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def python(code, folder, before="", **more):
    done = subprocess.run([sys.executable, "-c", f"{before}\nexec(compile({code!r}, 'README.md', 'exec'))"], cwd=folder,
                          env=environment(**more), text=True, capture_output=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, f"{code}\n{done.stderr[-2000:]}"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Variables that point Hugging Face's client at a Hub of this machine, where ``me`` has ``me/pets``."""
    server, _, url = minihub.start(tokens={"hf_me": "me"})
    home = tmp_path_factory.mktemp("hub")
    variables = {"HF_ENDPOINT": url, "HF_TOKEN": "hf_me", "HF_HOME": str(home), "HF_HUB_OFFLINE": "0",
                 "HF_HUB_DISABLE_XET": "1"}  # fmt: skip
    bash(f"sngan push '{PAIR}' me/pets", home, **variables)
    yield variables
    server.shutdown()


@pytest.fixture(scope="module")
def publisher(tmp_path_factory):
    """Variables that make ``sngan_imagenet128`` a file of the published layout and size on a server of this machine."""
    server, home = Server(), tmp_path_factory.mktemp("publisher")
    file = full_size.mmgen_imagenet(home)
    server.answer[f"/{file.name}"] = whole(file.read_bytes())
    record = {"url": f"{server.url}/{file.name}", "sha256": sha256_of(file)}
    file.unlink()
    (home / "records.json").write_text(json.dumps({"sngan_imagenet128.mmgen_fid": record}))
    yield {"SNGAN_HUB_RECORDS": str(home / "records.json"), "SNGAN_HUB_CACHE": str(home / "cache")}
    server.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Variables under which the named sources are small files in the layouts of the real ones."""
    home = tmp_path_factory.mktemp("sources")
    base = home / "torchvision" / "cifar-10-batches-py"
    base.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for file in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        part = {"data": rng.integers(0, 256, (10, 3072), dtype=np.uint8), "labels": list(range(10))}
        (base / file).write_bytes(pickle.dumps(part))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": source_classes("cifar10")}))
    for split in ("train", "test"):
        np.save(home / f"avatars-{split}-32-r1.npy", rng.integers(0, 256, (80, 3, 32, 32), dtype=np.uint8))
    # the checksums are the real sets', so they are set aside, as is the number of avatars
    (home / "sitecustomize.py").write_text(
        "import sys\n"
        "class Small:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'sngan_hub.data':\n"
        "            sys.meta_path.remove(self)\n"
        "            from sngan_hub.data import avatars, torchvision_sets\n"
        "            avatars.AVATARS_PER_CLASS.update(train=8, test=8)\n"
        "            inner = torchvision_sets._torchvision\n"
        "            def unchecked(*arguments, **named):\n"
        "                import torchvision.datasets as sets\n"
        "                sets.CIFAR10._check_integrity = lambda self: True\n"
        "                sets.cifar.check_integrity = lambda *_: True\n"
        "                return inner(*arguments, **named)\n"
        "            torchvision_sets._torchvision = unchecked\n"
        "sys.meta_path.insert(0, Small())\n"
    )
    return {"SNGAN_HUB_CACHE": str(home), "PYTHONPATH": f"{home}{os.pathsep}{ROOT}"}


def needed(lines, request):
    """The stand-ins that these lines ask for."""
    variables = {}
    for fixture, words in (
        ("hub", "me/pets|me/my-space"),
        ("publisher", "sngan_imagenet128"),
        ("data", "--data cifar10|--data avatars"),
    ):
        if re.search(words, "\n".join(lines)):
            variables |= request.getfixturevalue(fixture)
    return variables


def test_every_fence_is_run_and_every_exception_is_of_use():
    assert {block.language for block in BLOCKS} == {"python", "sh"}, "another language needs another test"
    assert len(PYTHON) + len(SHELL) == len(BLOCKS), "two blocks of one name"
    lines = [line for lines in SHELL.values() for line in lines]
    for start in (*ELSEWHERE, *SHORTER, *GIVEN):
        assert any(start in line for line in lines), f"{start!r} is in no block any more"


def test_the_first_block_of_python_runs_in_an_empty_folder(tmp_path):
    name = next(iter(PYTHON))
    assert "load_" in PYTHON[name]
    python(f"{PYTHON[name]}\nassert scores.shape == (8, 10) and images.shape == (8, 3, 32, 32)", tmp_path)


LOCAL = f"""
import torch
inner = torch.hub.load
torch.hub.load = lambda repo, *names, **more: inner({str(ROOT)!r}, *names, **more | dict(source="local"))
del torch, inner
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", PYTHON)
def test_python_runs(name, tmp_path, request):
    code = PYTHON[name]
    before = LOCAL.replace("del torch, inner", "del torch") if "torch.hub" in code else ""
    python(code, tmp_path, before, **needed(code.splitlines(), request))


def words_of(line):
    return line.split("#")[0].split()


MINUTE = ("sngan mirror ", "sngan spectrum ", "--rejection")  # blocks with such a line are run by make soak


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.soak] * any(word in line for word in MINUTE for line in lines))
    for name, lines in SHELL.items() if not all(any(start in line for start in ELSEWHERE) for line in lines)
])  # fmt: skip
def test_shell_lines_run(name, tmp_path, request):
    """In the order of the page, in one folder; a line that trains starts without the runs of the lines before it."""
    variables = needed(SHELL[name], request)
    for line in SHELL[name]:
        if any(start in line for start in ELSEWHERE):
            continue
        made = set(WRITTEN.findall(line.split("#")[0]))
        for word in made & {"RUN"}:
            if (tmp_path / word).exists():
                (tmp_path / word).rename(tmp_path / f"{word} before {len(list(tmp_path.iterdir()))}")
        for word, make in GIVEN.items():
            if word in words_of(line) and word not in made and not (tmp_path / word).exists():
                make(tmp_path / word)
        more = " ".join(flags for words, flags in SHORTER.items() if words in line and "--dry-run" not in line)
        command = f"{line.split('  #')[0]} {more}"
        shell(command, tmp_path, **variables)
        for word in WRITTEN.findall(line.split("#")[0]):
            assert (tmp_path / word).exists() or "--dry-run" in line, f"{line}: no {word}"
