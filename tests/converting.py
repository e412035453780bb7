"""What the tests of conversion share: the goldens of other code bases, small networks of every layout, comparisons."""

import numpy as np
import torch

from sngan_hub import Discriminator, Generator, load_discriminator, load_generator
from sngan_hub.cli.main import main as sngan
from sngan_hub.convert import Options, convert_path

from . import foreign
from .conftest import GOLDEN

FOREIGN = GOLDEN / "foreign"
CASES = sorted(path.name.removesuffix(".io.npz") for path in FOREIGN.glob("*.io.npz"))
AUTHORS = sorted(GOLDEN.glob("sngan_*.weights.npz"))
FLAGS = {"mmgen32_cond10_w": ["--shortcut-relu", "1"]}  # its stored configuration lacks what a real file's says


def case_path(name):
    file = FOREIGN / f"{name}.pth"
    return file if file.exists() else FOREIGN / name


def convert(path, out, *flags):
    assert sngan(["convert", str(path), str(out), *flags]) == 0
    return load_generator(out), load_discriminator(out)


def golden(name):
    with np.load(FOREIGN / f"{name}.io.npz", allow_pickle=False) as archive:
        return {key: torch.from_numpy(np.array(archive[key])) for key in archive.files}


def difference(a, b):
    return (a - b).abs().max().item()


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
