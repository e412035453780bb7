"""Reads the tensors of an untrusted TorchScript archive, as ``torch.jit.save`` writes it. Its code is never executed.

An archive contains a pickle of the module, whose objects are of classes in ``code/``, and the storages of its tensors.
Here each object becomes a dictionary of its attributes; besides such classes the pickle may name tensors alone.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import PurePosixPath
from typing import Any

import torch
from torch import Tensor

_STORAGES = {"FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
             "LongStorage": torch.int64, "IntStorage": torch.int32, "BoolStorage": torch.bool}  # fmt: skip
_MAX_DEPTH = 64  # of modules in modules


class NotTensors(ValueError):
    """The pickle names something other than modules and tensors."""


def is_torchscript(names: list[str]) -> bool:
    """Whether a zip archive with these entries is a TorchScript archive."""
    return any(PurePosixPath(name).name == "constants.pkl" for name in names)


def read_torchscript(archive: zipfile.ZipFile) -> dict[str, Tensor]:
    """The parameters and buffers of the module, by their names as in its ``state_dict``.

    Args:
        archive: An archive whose entries, and the sizes that its pickle declares, have been checked.

    Raises:
        NotTensors: The pickle refers to anything but the archive's own classes and tensors.
    """
    (name,) = (name for name in archive.namelist() if PurePosixPath(name).name == "data.pkl")
    with archive.open(name) as stream:
        module = _Reader(stream, archive, PurePosixPath(name).parent).load()
    if not isinstance(module, _Module):
        raise NotTensors(f"{type(module).__name__} instead of a module")
    tensors: dict[str, Tensor] = {}
    _collect(module, "", tensors, 0)
    return tensors


class _Module:
    """An object of a class in the archive: its attributes, nothing else."""

    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}

    def __setstate__(self, attributes: Any) -> None:
        if not isinstance(attributes, dict):
            raise NotTensors("a module without a dictionary of attributes")
        self.attributes = attributes


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """``as_strided`` checks that the tensor lies within its storage."""
    return storage.as_strided(size, stride, offset)


class _Reader(pickle.Unpickler):
    def __init__(self, stream: Any, archive: zipfile.ZipFile, root: PurePosixPath):
        super().__init__(stream)
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):  # a tensor's backward hooks: always empty
            return OrderedDict
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise NotTensors(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, _, numel = pid[:5]
        if key not in self._storages:
            data = bytearray(self._archive.read(str(self._root / "data" / str(key))))
            self._storages[key] = torch.frombuffer(data, dtype=dtype, count=numel) if numel else torch.empty(0)
        return self._storages[key]


def _collect(module: _Module, prefix: str, tensors: dict[str, Tensor], depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise NotTensors("modules nested too deeply")
    for name, value in module.attributes.items():
        if isinstance(value, _Module):
            _collect(value, f"{prefix}{name}.", tensors, depth + 1)
        elif isinstance(value, Tensor):
            tensors[f"{prefix}{name}"] = value
