"""Weight files broken on purpose: bytes flipped, cut, keys renamed, shapes and types changed, sizes that lie, pickles
that call functions. Each maker takes a whole file and a random generator and returns the bytes of a broken one.
"""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import torch

from sngan_hub.convert.archive import read_npz, read_torch

HUGE = 25_000_000_000  # floats: 100 GB


class Call:
    """Pickles as a call of ``function``."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def flip(path: Path, rng: random.Random) -> bytes:
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 1, 4, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def flip_structure(path: Path, rng: random.Random) -> bytes:
    """A flip where it matters most: the first and the last kilobytes hold pickles and the archive's directory."""
    data = bytearray(path.read_bytes())
    place = rng.randrange(min(4096, len(data)))
    data[place if rng.random() < 0.5 else -1 - place] = rng.randrange(256)
    return bytes(data)


def cut(path: Path, rng: random.Random) -> bytes:
    data = path.read_bytes()
    return data[: rng.randrange(len(data))]


def _changed(path: Path, rng: random.Random, change) -> bytes:
    """``change(tensors, key, rng)`` on one random entry, saved in the file's own format."""
    out = io.BytesIO()
    if path.suffix == ".npz":
        arrays = read_npz(path)
        change(arrays, rng.choice(sorted(arrays)), rng)
        np.savez_compressed(out, **arrays)
        return out.getvalue()
    content = read_torch(path)
    tensors = content["state_dict" if "state_dict" in content else "model_state_dict"]
    change(
        tensors,
        rng.choice(sorted(key for key in tensors if key.split(".")[-1] != "sn_sigma" and "decision.bias" not in key)),
        rng,
    )
    torch.save(content, out, _use_new_zipfile_serialization=path.read_bytes()[:2] == b"PK")
    return out.getvalue()


def rename(path: Path, rng: random.Random) -> bytes:
    def change(tensors, key, rng):
        place = rng.randrange(len(key))
        tensors[key[:place] + rng.choice("xyz_9.".replace(key[place], "")) + key[place + 1 :]] = tensors.pop(key)

    return _changed(path, rng, change)


def remove(path: Path, rng: random.Random) -> bytes:
    return _changed(path, rng, lambda tensors, key, rng: tensors.pop(key))


def reshape(path: Path, rng: random.Random) -> bytes:
    def change(tensors, key, rng):
        x = np.asarray(tensors[key])
        forms = [x.reshape(-1), x[None], x.T, np.concatenate([x.reshape(-1), x.reshape(-1)]), x.reshape(-1)[:-1]]
        y = np.ascontiguousarray(rng.choice([form for form in forms if form.shape != x.shape]))
        tensors[key] = y if isinstance(tensors[key], np.ndarray) else torch.from_numpy(y)

    return _changed(path, rng, change)


def retype(path: Path, rng: random.Random) -> bytes:
    def change(tensors, key, rng):
        x = np.asarray(tensors[key]).astype(rng.choice(["float64", "float16", "int32", "uint8", "complex64", "bool"]))
        tensors[key] = x if isinstance(tensors[key], np.ndarray) else torch.from_numpy(x)

    return _changed(path, rng, change)


def poison(path: Path, rng: random.Random) -> bytes:
    def change(tensors, key, rng):
        x = np.asarray(tensors[key]).copy()
        if x.dtype.kind == "f":
            x.reshape(-1)[rng.randrange(x.size)] = rng.choice([np.nan, np.inf, -np.inf])
        else:
            x = x.astype(np.float32)
        tensors[key] = x if isinstance(tensors[key], np.ndarray) else torch.from_numpy(x)

    return _changed(path, rng, change)


def call(path: Path, rng: random.Random) -> bytes:
    """Somebody's code where a tensor or a score should be."""
    canary = os.environ["CANARY"]
    evil = Call(rng.choice([os.system, eval, exec]), f"open({canary!r}, 'w')")

    def change(tensors, key, rng):
        tensors[key] = np.array([evil], dtype=object) if isinstance(tensors[key], np.ndarray) else evil

    return _changed(path, rng, change)


def claim(path: Path, rng: random.Random) -> bytes:
    """A size of 100 GB: in an .npy header, in the pickle, as a view, or in the archive's directory."""
    data = path.read_bytes()
    if path.suffix == ".npz" and rng.random() < 0.5:
        out = io.BytesIO()
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
            victim = rng.choice(source.namelist())
            for name in source.namelist():
                entry = source.read(name)
                if name == victim:
                    header = io.BytesIO()
                    fields = {"descr": "<f4", "fortran_order": False, "shape": (HUGE,)}
                    np.lib.format.write_array_header_1_0(header, fields)
                    entry = header.getvalue() + entry[-64:]
                target.writestr(name, entry)
        return out.getvalue()
    if path.suffix != ".npz" and rng.random() < 0.5:
        content = read_torch(path)
        tensors = content["state_dict" if "state_dict" in content else "model_state_dict"]
        key = rng.choice(sorted(tensors))
        tensors[key] = torch.zeros(1).expand(HUGE // 1000, 1000)  # one value, seen 25 billion times
        out = io.BytesIO()
        torch.save(content, out, _use_new_zipfile_serialization=data[:2] == b"PK")
        return out.getvalue()
    if data[:2] == b"PK":
        return lying_directory(data, rng)
    return lying_pickle(data)


def lying_directory(data: bytes, rng: random.Random) -> bytes:
    """An entry of the central directory says 4 GB, the most that its 32 bits hold, compressed or not."""
    places, start = [], 0
    while (start := data.find(b"PK\x01\x02", start)) >= 0:
        places.append(start)
        start += 4
    place = rng.choice(places)
    sizes = struct.pack("<II", 0xFFFFFFF0 if rng.random() < 0.5 else struct.unpack_from("<I", data, place + 20)[0],
                        0xFFFFFFF0)  # fmt: skip
    return data[: place + 20] + sizes + data[place + 28 :]


def lying_pickle(data: bytes) -> bytes:
    """The first storage of the older format declares 25 billion values: its count is the integer before the tuple."""
    place = data.index(b"cpu") + 3
    number = place + 2 if data[place : place + 1] == b"q" else place  # behind the memo of "cpu"
    length = {b"K": 2, b"M": 3, b"J": 5}[data[number : number + 1]]
    lie = b"\x8a\x05" + HUGE.to_bytes(5, "little")
    return data[:number] + lie + data[number + length :]


def other_file(path: Path, rng: random.Random) -> bytes:
    """Something else under the name."""
    return rng.choice([
        b"", b"<!DOCTYPE html><html>sign in</html>", b"\x80\x04.", b"PK", b"PK\x05\x06" + bytes(18), os.urandom(4096),
        pickle.dumps({"state_dict": {}}), pickle.dumps([1] * 1000),
        b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00trueq\x00\x85R.", b"{}", b"\x80\x02" + b"(" * 100_000 + b".",
    ])  # fmt: skip


MAKERS = [
    flip,
    flip,
    flip_structure,
    flip_structure,
    cut,
    rename,
    remove,
    reshape,
    retype,
    poison,
    call,
    claim,
    other_file,
]
