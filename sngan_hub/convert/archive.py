"""Reads the arrays of an untrusted weight file. Nothing in the file is executed. CRCs are verified, and every declared
size is compared with the actual bytes before memory is allocated.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
import torch

from .torchscript import NotTensors, is_torchscript, read_torchscript

try:
    from numpy._core.multiarray import scalar as _scalar
except ImportError:  # NumPy 1
    from numpy.core.multiarray import scalar as _scalar  # type: ignore[no-redef]

#: Types that files of these code bases pickle besides tensors: scores, as NumPy scalars. Both module names are listed
#: because torch compares the pickled name and NumPy 2 renamed the module.
_ALLOWED: list[Any] = [
    np.dtype, np.dtypes.Float32DType, np.dtypes.Float64DType, np.dtypes.Int64DType,
    (_scalar, "numpy.core.multiarray.scalar"), (_scalar, "numpy._core.multiarray.scalar"),
]  # fmt: skip

_allowing = threading.Lock()  # torch's list of allowed types is one for all threads

MAX_INFLATED = 2**30  # maximum unpacked size of an archive in bytes; the largest published network has 168 MB
_MAX_RATIO = 1032  # the maximum compression ratio of deflate
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_ITEM_SIZES = {
    "FloatStorage": 4, "DoubleStorage": 8, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1, "UntypedStorage": 1,
    "ComplexFloatStorage": 8, "ComplexDoubleStorage": 16,
}  # fmt: skip


class Refused(ValueError):
    """The file is readable, but refers to code that is never executed."""


def file_kind(path: Path) -> str:
    """``npz`` or ``torch``, by the content of the file. Raises ``ValueError`` for other files."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    with open(path, "rb") as file:
        head = file.read(512)
    if head[:2] == b"PK":
        with _open(path) as archive:
            names = archive.namelist()
        if names and all(name.endswith(".npy") for name in names):
            return "npz"
        return "torch"  # its reader reports what is missing
    if head[:1] == b"\x80":
        return "torch"
    looks = "the file is empty" if not head else "it is a web page" if head.lstrip()[:1] == b"<" else "unknown format"
    hint = "; pass the folder that contains it" if path.suffix == ".safetensors" else "; download it again"
    raise ValueError(f"{path}: this is not an .npz file or a PyTorch file ({looks}){hint}")


# ---------------------------------------------------------------------------------------------------------------------
# Zip archives


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (FileNotFoundError, PermissionError):
        raise
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError, IndexError) as error:
        raise ValueError(f"{path}: the file is damaged or incomplete ({error}); download it again") from error


def _check_entries(path: Path, archive: zipfile.ZipFile) -> None:
    """Raises ``ValueError`` if an entry declares a larger size than the file can contain. Reads no entry."""
    size, inflated, seen = path.stat().st_size, 0, set()
    for entry in archive.infolist():
        compressed = entry.compress_type == zipfile.ZIP_DEFLATED
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{path}: {shown(entry.filename)} uses an unsupported compression or encryption")
        limit = entry.compress_size * _MAX_RATIO if compressed else entry.compress_size
        if entry.header_offset + entry.compress_size > size or entry.file_size > limit:
            raise ValueError(
                f"{path}: {shown(entry.filename)} declares {entry.file_size:,} bytes, more than the file can contain"
            )
        inflated += entry.file_size if compressed else 0
        if inflated > MAX_INFLATED:
            raise ValueError(f"{path}: the unpacked size exceeds the limit of {MAX_INFLATED:,} bytes")
        if entry.filename in seen:
            raise ValueError(f"{path}: contains {shown(entry.filename)} twice")
        seen.add(entry.filename)


def _read_entry(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)  # reads to the end, which verifies the CRC
    except Exception as error:  # damaged data cause many kinds of errors: zlib.error, BadZipFile, EOFError ...
        raise ValueError(f"{path}: {shown(name)} is damaged ({_line(error)}); download the file again") from error


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of an npz file. Raises ``ValueError`` if it is not a valid npz file or contains pickled objects."""
    path = Path(path)
    arrays = {}
    with _open(path) as archive:
        _check_entries(path, archive)
        for name in archive.namelist():
            arrays[name.removesuffix(".npy")] = _read_array(path, name, _read_entry(path, archive, name))
    return arrays


def _read_array(path: Path, name: str, data: bytes) -> np.ndarray:
    """Reads an .npy entry. The size in its header must equal the number of bytes that follow."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[
            version
        ]
        shape, _, dtype = read_header(stream)
        claimed = math.prod(shape) * dtype.itemsize
        if dtype.hasobject:
            raise ValueError("it contains pickled objects, which are never loaded")
        if claimed != len(data) - stream.tell():
            raise ValueError(f"its header declares {claimed:,} bytes, but it has {len(data) - stream.tell():,}")
        stream.seek(0)
        return np.lib.format.read_array(stream, allow_pickle=False)
    except Exception as error:
        raise ValueError(f"{path}: {shown(name)} is not a plain array ({_line(error)})") from error


# ---------------------------------------------------------------------------------------------------------------------
# torch's two formats


def read_torch(path: str | Path) -> Any:
    """Reads a file of ``torch.save``, in zip or legacy format, by ``torch.load(weights_only=True)``.

    NumPy scalars are allowed as well. Raises ``ValueError`` if the pickle refers to anything else, or if a declared
    size is wrong.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"  # the same rule as torch
        if zipped:
            _check_torch_zip(path)
        else:
            _check_legacy(path)
        if zipped and (scripted := _read_torchscript(path)) is not None:
            return scripted
        mapped = zipped and _is_stored(path)  # then tensors that are not used, such as the optimizer's, take no memory
        with _allowing, torch.serialization.safe_globals(_new_globals()):
            return torch.load(str(path), map_location="cpu", mmap=mapped, weights_only=True)
    except (Refused, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # torch does not document which errors it raises
        called = re.search(r"GLOBAL (\S+) (?:was not an allowed global|whose module)", str(error))
        if called:
            raise Refused(
                f"{path}: the file was not loaded, because its pickle refers to {shown(called[1])}; code in weight "
                f"files is never executed"
            ) from error
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: this is not a valid PyTorch file ({_line(error)}); download it again") from error


def _new_globals() -> list[Any]:
    """The entries of ``_ALLOWED`` that are not allowed yet. Torch would disallow those of the user afterwards."""
    known = torch.serialization.get_safe_globals()
    return [each for each in _ALLOWED if each not in known]


def _read_torchscript(path: Path) -> dict[str, torch.Tensor] | None:
    """The tensors of a TorchScript archive; None for another file."""
    with _open(path) as archive:
        if not is_torchscript(archive.namelist()):
            return None
        try:
            return read_torchscript(archive)
        except NotTensors as error:
            raise Refused(
                f"{path}: the file was not loaded, because its pickle refers to {shown(str(error))}; code in weight "
                f"files is never executed"
            ) from error


def _is_stored(path: Path) -> bool:
    """Whether no entry is compressed, so that the file can be mapped into memory."""
    with _open(path) as archive:
        return all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


def _check_torch_zip(path: Path) -> None:
    with _open(path) as archive:
        _check_entries(path, archive)
        for entry in archive.infolist():
            _check_crc(path, archive, entry)
        sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        pickles = [name for name in sizes if PurePosixPath(name).name == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError(f"{path}: this zip archive is not a PyTorch file: data.pkl is missing")
        root = PurePosixPath(pickles[0]).parent
        with archive.open(pickles[0]) as stream:
            for key, nbytes in _declared_storages(stream):
                held = sizes.get(str(root / "data" / key))
                if held != nbytes:
                    raise ValueError(
                        f"{path}: tensor data {shown(key)} declares {nbytes:,} bytes, but it has {held or 0:,}"
                    )


def _check_crc(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    try:
        with archive.open(entry) as stream:
            while stream.read(2**22):
                pass
    except Exception as error:
        raise ValueError(
            f"{path}: {shown(entry.filename)} is damaged ({_line(error)}); download the file again"
        ) from error


def _check_legacy(path: Path) -> None:
    """Checks the legacy format: four pickles, then the storages, whose declared sizes must fit into the file."""
    with open(path, "rb") as file:
        first = [arg for op, arg, _ in pickletools.genops(file) if op.name.startswith("LONG")]
        if first != [_LEGACY_MAGIC]:
            raise ValueError(f"{path}: this pickle was not written by torch.save")
        for _ in range(2):  # protocol version, then integer sizes of the writer
            for _ in pickletools.genops(file):
                pass
        declared = sum(dict(_declared_storages(file)).values())
    if declared > path.stat().st_size:
        raise ValueError(f"{path}: the file declares {declared:,} bytes of tensors, more than it contains")


def _declared_storages(stream: IO[bytes]) -> Iterator[tuple[str, int]]:
    """(key, bytes) of each storage in a torch pickle. Reads the opcodes without executing them."""
    for pid in _persistent_ids(stream):
        if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage"):
            raise ValueError("it refers to an object that is not a tensor storage")
        _, kind, key, _, numel = pid[:5]
        name = str(kind).split(" ")[-1]
        if name not in _ITEM_SIZES or not isinstance(numel, int) or numel < 0:
            raise ValueError(f"it declares a storage of kind {shown(name)} with {numel!r} values")
        yield str(key), numel * _ITEM_SIZES[name]


def _persistent_ids(stream: IO[bytes]) -> Iterator[Any]:
    """The persistent ids in a pickle. Simulates its stack with literals and tuples; objects are replaced by None."""
    stack: list[Any] = []
    marks: list[int] = []  # heights of the stack
    memo: dict[int, Any] = {}

    def pop_to_mark() -> list[Any]:
        place = marks.pop()
        items = stack[place:]
        del stack[place:]
        return items

    for op, arg, _ in pickletools.genops(stream):
        if op.name == "MARK":
            marks.append(len(stack))
        elif op.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if op.name == "MEMOIZE" else int(arg)] = stack[-1]  # type: ignore[arg-type]
        elif op.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(arg)])  # type: ignore[arg-type]
        elif op.name == "TUPLE":
            stack.append(tuple(pop_to_mark()))
        elif op.name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            n = int(op.name[-1])
            items = tuple(stack[-n:])
            del stack[-n:]
            stack.append(items)
        elif op.name == "STACK_GLOBAL":
            name, module = stack.pop(), stack.pop()
            stack.append(f"{module} {name}")
        elif op.name == "BINPERSID":
            yield stack.pop()
            stack.append(None)
        elif op.name == "PERSID":
            yield arg
        elif not op.stack_before and len(op.stack_after) == 1:
            stack.append(arg)  # literals, GLOBAL, and empty containers
        else:
            before = list(op.stack_before)
            if pickletools.markobject in before:
                pop_to_mark()
                before = before[: before.index(pickletools.markobject)]
            popped = [stack.pop() for _ in before]
            stack.extend(popped[-1] if popped else None for _ in op.stack_after)


def _line(error: BaseException) -> str:
    """The first sentence of an exception, for a one-line message."""
    text = re.split(r"\. |\n", str(error).strip())[0]
    return shown(text) if text else type(error).__name__


def shown(text: str) -> str:
    """A name from a damaged file for use in a message: printable, and at most one line long."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 120 else text[:117] + "..."


def some(names: list[str], n: int = 3, separator: str = ", ") -> str:
    return separator.join(map(shown, names[:n])) + (f"{separator}and {len(names) - n} more" if len(names) > n else "")
