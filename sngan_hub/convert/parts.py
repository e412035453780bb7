"""Reads the tensors of a file and splits them into parts: the tensors of one network each, under their own keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .archive import file_kind, read_npz, read_torch


@dataclass(frozen=True)
class Part:
    """The tensors of one network in a file. Keys are those of the file without ``prefix``."""

    source: str  # name of the file in messages
    tensors: Mapping[str, Tensor]
    prefix: str = ""  # prefix of these keys in the file
    file_name: str = ""  # the published name, which may state settings
    metadata: Mapping[str, Any] = field(default_factory=dict)  # further entries of a torch file
    code_base: str = ""  # id of the code base, where the file itself shows it


@dataclass(frozen=True)
class Container:
    """All tensors of a file, which may contain several networks."""

    source: str
    entries: Mapping[str, Tensor] | Mapping[str, np.ndarray]
    file_name: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def part(self, prefix: str = "", code_base: str = "") -> Part:
        """The entries whose keys start with ``prefix``. ``code_base``: its id, where the file shows it.

        Raises ``ValueError`` for an array of no torch dtype.
        """
        tensors = {
            key.removeprefix(prefix): self._tensor(key, value)
            for key, value in self.entries.items()
            if key.startswith(prefix)
        }
        return Part(self.source, tensors, prefix, self.file_name, self.metadata, code_base)

    def _tensor(self, key: str, value: Tensor | np.ndarray) -> Tensor:
        if isinstance(value, Tensor):
            return value
        if value.dtype.kind not in "fiub" or value.dtype.itemsize > 8 or value.dtype.byteorder == ">":
            raise ValueError(f"{self.source}: {key} is {value.dtype}, expected float32")
        return torch.from_numpy(np.array(value))


def read_container(
    path: Path, file_name: str, tensor_entries: Sequence[str] = (), metadata_entries: Sequence[str] = (),
    network_entries: Sequence[str] = (),
) -> Container:  # fmt: skip
    """Reads an npz or torch file; nothing in it is executed.

    Args:
        path: The file.
        file_name: The name under which it was published.
        tensor_entries: Entries of a torch file that may contain the tensors. If there is none, the file itself is the
            dictionary of tensors.
        network_entries: Entries of a torch file that contain one network each; their keys get the prefix ENTRY/.
        metadata_entries: Further entries of a torch file to keep. All others, such as the optimizer's, are ignored.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, has another format, or contains anything other than plain tensors.
    """
    source = str(path)
    if file_kind(path) == "npz":
        return Container(source, read_npz(path), file_name)
    content = read_torch(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: the content must be a dictionary of tensors (got a {type(content).__name__})")
    networks = [key for key in network_entries if isinstance(content.get(key), dict)]
    if networks:
        tensors: Any = {f"{entry}/{key}": tensor for entry in networks for key, tensor in content[entry].items()}
    else:
        tensors = next((content[key] for key in tensor_entries if key in content), content)
    if not isinstance(tensors, dict) or not tensors:
        raise ValueError(f"{path}: the state_dict is not a dictionary of tensors")
    for key, tensor in tensors.items():
        _check_tensor(source, key, tensor)
    metadata = {key: content[key] for key in metadata_entries if key in content}
    return Container(source, tensors, file_name, metadata)


def _check_tensor(source: str, key: Any, tensor: Any) -> None:
    if not isinstance(key, str) or not isinstance(tensor, Tensor):
        raise ValueError(f"{source}: {key!r} is a {type(tensor).__name__}, expected a tensor")
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise ValueError(f"{source}: {key} is not a dense CPU tensor")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"{source}: {key} declares {tensor.numel():,} values, more than the file contains for it")
