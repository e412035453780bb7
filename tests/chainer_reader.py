"""Chainer's own reader on the files that ``sngan convert OUT SNAPSHOT.npz`` writes. Run by hand, in its own environment:

    python -m venv env && env/bin/pip install 'setuptools<70' wheel 'numpy==1.23.5' 'protobuf<4'
    env/bin/pip install --no-build-isolation chainer==7.8.1
    env/bin/python tests/chainer_reader.py FOLDER_OF_NPZ...

For each file it builds the links of the authors' network, loads the file with ``chainer.serializers.load_npz`` (strict),
saves it again with ``save_npz`` and compares keys, dtypes, shapes and values; generators are also run, in test mode, if
the golden's input and output lie beside the file (NAME.io.npz).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np


def spectral(link: chainer.Link, rows: int) -> chainer.Link:
    link.add_persistent("u", np.zeros((1, rows), np.float32))
    return link


class ConditionalNorm(chainer.Chain):
    """Statistics, and a gain and a bias per class in two embeddings."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        with self.init_scope():
            self.gammas, self.betas = L.EmbedID(classes, channels), L.EmbedID(classes, channels)
        self.add_persistent("avg_mean", np.zeros(channels, np.float32))
        self.add_persistent("avg_var", np.zeros(channels, np.float32))
        self.add_persistent("N", 0)

    def __call__(self, x, y):
        shape = (len(x), -1, 1, 1)
        gain, bias = F.reshape(self.gammas(y), shape), F.reshape(self.betas(y), shape)
        mean, var = (a[None, :, None, None] for a in (self.avg_mean, self.avg_var))
        return F.broadcast_to(gain, x.shape) * ((x - mean) / np.sqrt(var + 2e-5)) + F.broadcast_to(bias, x.shape)


def norm(channels: int, classes: int) -> chainer.Link:
    return ConditionalNorm(channels, classes) if classes else L.BatchNormalization(channels)


class Generator(chainer.Chain):
    def __init__(self, arrays: dict):
        super().__init__()
        self.n = len([key for key in arrays if key.endswith("c1/W")])
        self.classes = len(arrays["block2/b1/gammas/W"]) if "block2/b1/gammas/W" in arrays else 0
        head = "c5" if "c5/W" in arrays else f"l{self.n + 2}"
        with self.init_scope():
            self.l1 = L.Linear(arrays["l1/W"].shape[1], len(arrays["l1/W"]))
            for k in range(2, self.n + 2):
                c_out, c_in = arrays[f"block{k}/c1/W"].shape[:2]
                block = chainer.Chain()
                with block.init_scope():
                    block.b1, block.b2 = norm(c_in, self.classes), norm(c_out, self.classes)
                    block.c1 = L.Convolution2D(c_in, c_out, 3, pad=1)
                    block.c2 = L.Convolution2D(c_out, c_out, 3, pad=1)
                    block.c_sc = L.Convolution2D(c_in, c_out, 1)
                setattr(self, f"block{k}", block)
            setattr(self, f"b{self.n + 2}", L.BatchNormalization(c_out))
            setattr(self, head, L.Convolution2D(c_out, 3, 3, pad=1))
        self.head = head

    def __call__(self, z, y):
        h = self.l1(z)
        h = F.reshape(h, (len(z), -1, 4, 4))

        def normalise(bn, x):
            return bn(x, y) if self.classes else bn(x)

        def up(x):
            return F.unpooling_2d(x, 2, 2, 0, outsize=(2 * x.shape[2], 2 * x.shape[3]))

        for k in range(2, self.n + 2):
            block = self[f"block{k}"]
            r = block.c1(up(F.relu(normalise(block.b1, h))))
            h = block.c2(F.relu(normalise(block.b2, r))) + block.c_sc(up(h))
        return F.tanh(self[self.head](F.relu(self[f"b{self.n + 2}"](h))))


class Discriminator(chainer.Chain):
    def __init__(self, arrays: dict):
        super().__init__()
        n = len([key for key in arrays if key.endswith("c1/W")])
        with self.init_scope():
            for k in range(1, n + 1):
                block = chainer.Chain()
                with block.init_scope():
                    for name in ("c1", "c2", "c_sc"):
                        if f"block{k}/{name}/W" in arrays:
                            rows, columns, size, _ = arrays[f"block{k}/{name}/W"].shape
                            setattr(block, name, spectral(L.Convolution2D(columns, rows, size, pad=size // 2), rows))
                setattr(self, f"block{k}", block)
            head = f"l{n + 1}"
            setattr(
                self, head, spectral(L.Linear(arrays[f"{head}/W"].shape[1], 1, nobias=f"{head}/b" not in arrays), 1)
            )
            if "l_y/W" in arrays:
                self.l_y = spectral(L.EmbedID(*arrays["l_y/W"].shape), len(arrays["l_y/W"]))


def check(path: Path) -> None:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    chain = (Generator if "l1/W" in arrays else Discriminator)(arrays)
    chainer.serializers.load_npz(str(path), chain)
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "again.npz"
        chainer.serializers.save_npz(str(again), chain)
        with np.load(again) as archive:
            saved = {key: archive[key] for key in archive.files}
    assert saved.keys() == arrays.keys(), saved.keys() ^ arrays.keys()
    for key, array in arrays.items():
        assert saved[key].dtype == array.dtype and saved[key].shape == array.shape, key
        assert np.array_equal(saved[key], array), key
    said = f"{len(arrays)} arrays read and written alike"
    io = path.with_name(path.name.replace(".weights.npz", ".io.npz"))
    if isinstance(chain, Generator) and io.is_file():
        with np.load(io) as golden, chainer.using_config("train", False), chainer.no_backprop_mode():
            out = chain(golden["z"], golden["y"] if "y" in golden.files else None).array
            said += f"; its pictures are within {np.abs(out - golden['out_test']).max():.1e} of the golden's"
    print(f"{path.name}: {said}", flush=True)


if __name__ == "__main__":
    print(f"Chainer {chainer.__version__}, NumPy {np.__version__}")
    for argument in sys.argv[1:]:
        for file in sorted(Path(argument).glob("*.weights.npz")):
            check(file)
