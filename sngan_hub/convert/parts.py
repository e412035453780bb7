"""A file -> its parts: one network's tensors each, under the file's own keys, with what else the file says of them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .archive import file_kind, read_npz, read_torch, some


@dataclass
class Part:
    """One network's tensors in a file, under the file's own keys."""

    source: str
    tensors: dict[str, Tensor]
    prefix: str = ""  # what the file puts before each of these keys
    file_name: str = ""  # as published: it tells what tensors cannot
    settings: Mapping[str, Any] = field(default_factory=dict)  # of this network, from the run's stored configuration
    run_name: str = ""


_TRAINER_PREFIXES = ("updater/model:opt_gen/", "updater/model:opt_dis/")
_MMGEN_PREFIXES = ("generator.", "discriminator.")


def read_parts(path: Path, file_name: str) -> list[Part]:
    source = str(path)
    if file_kind(path) == "npz":
        arrays = read_npz(path)
        if any(key.startswith(_TRAINER_PREFIXES) for key in arrays):  # the authors' whole-trainer snapshot
            return [
                chainer_part({k: v for k, v in arrays.items() if k.startswith(prefix)}, source, file_name, prefix)
                for prefix in _TRAINER_PREFIXES
            ]
        return [chainer_part(arrays, source, file_name)]
    content = read_torch(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds a {type(content).__name__}, expected a dictionary of tensors")
    tensors = next((content[key] for key in ("state_dict", "model_state_dict") if key in content), content)
    if not isinstance(tensors, dict) or not tensors:
        raise ValueError(f"{path}: its state_dict is no dictionary of tensors")
    for key, tensor in tensors.items():
        _check_tensor(source, key, tensor)
    settings = _mmgen_settings(content.get("meta"))
    run_name = content.get("run_name")
    run_name = run_name if isinstance(run_name, str) else ""
    parts = []
    for prefix in _MMGEN_PREFIXES:
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        if own:
            kind = prefix.removesuffix(".")
            parts.append(Part(source, own, prefix, file_name, settings.get(kind, {}), run_name))
    if not parts:
        return [Part(source, dict(tensors), "", file_name, {}, run_name)]
    surplus = [key for key in tensors if not key.startswith(_MMGEN_PREFIXES)]
    if surplus:
        raise ValueError(f"{path}: {some(surplus)}: neither of a generator nor of a discriminator")
    return parts


def _check_tensor(source: str, key: Any, tensor: Any) -> None:
    if not isinstance(key, str) or not isinstance(tensor, Tensor):
        raise ValueError(f"{source}: {key!r} is a {type(tensor).__name__}, expected a tensor")
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise ValueError(f"{source}: {key} is no plain tensor in memory")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"{source}: {key} claims {tensor.numel():,} values, more than the file holds for it")


def chainer_part(arrays: Mapping[str, np.ndarray], source: str, file_name: str = "", prefix: str = "") -> Part:
    tensors = {}
    for key, array in arrays.items():
        if array.dtype.kind not in "fiub" or array.dtype.byteorder == ">":
            raise ValueError(f"{source}: {key} is {array.dtype}, expected float32")
        tensors[key.removeprefix(prefix)] = torch.from_numpy(np.array(array))
    return Part(source, tensors, prefix, file_name)


def _mmgen_settings(meta: Any) -> dict[str, dict[str, Any]]:
    """generator's and discriminator's settings in mmgeneration's stored configuration, a Python text that is parsed and
    never run: {"generator": {"init_cfg": {"type": ...}, ...}, ...}, empty where it says nothing.
    """
    text = meta.get("config") if isinstance(meta, dict) else None
    if not isinstance(text, str):
        return {}
    try:
        tree = ast.parse(text[:1_000_000])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "model" for t in node.targets):
            model = _literal(node.value)
            if isinstance(model, dict):
                return {k: v for k, v in model.items() if k in ("generator", "discriminator") and isinstance(v, dict)}
    return {}


def _literal(node: ast.AST) -> Any:
    """``dict(a=1, b=dict(...))`` and literals -> values; None for anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return {keyword.arg: _literal(keyword.value) for keyword in node.keywords if keyword.arg}
    if isinstance(node, ast.Dict):
        return {
            k.value: _literal(v) for k, v in zip(node.keys, node.values, strict=True) if isinstance(k, ast.Constant)
        }
    return node.value if isinstance(node, ast.Constant) else None
