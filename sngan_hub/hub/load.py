"""Loads a verified network in eval mode from a name, a folder, a file or a Hub repository."""

# _save_pretrained, the Hub mixin's hook, writes a network's two files; save_pretrained a card as well:
# pyright: reportPrivateUsage=false

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from huggingface_hub import (
    constants,
    hf_hub_download,  # pyright: ignore[reportUnknownVariableType]  (one of its parameters is a bare dict)
)
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

from ..convert import Converted, Options, convert_file
from ..devices import resolve_device
from ..files import write_folder, write_json
from ..networks.base import AnyDiscriminator, AnyGenerator, Network
from ..networks.mixin import CONFIG_NAME, SAFETENSORS_SINGLE_FILE, OtherKind, check_values, read_config
from ..networks.registry import MODELS, find_model
from ..weights.records import BUILT_IN, KINDS, WEIGHTS, Record, find_record, is_tag
from .cache import cache_folder, forget, keep_first, one_process_at_a_time, place, sha256_of
from .download import Fetched, fetch
from .errors import hub_errors
from .resolve import Resolved, resolve

Moved = TypeVar("Moved", bound=Network)


def load_generator(
    name: str | Path,
    weights: str | Path | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> AnyGenerator:
    """Loads a trained generator.

    Args:
        name: ``architecture[.tag]`` (sngan_fashion32), a run, a network's folder, a folder with generator/ and
            discriminator/, the authors' .npz, a .pth of another code base, or a Hub repository id.
        weights: a tag, or another source of the same kinds, to use instead of the default weights of ``name``, which
            must be a model's name; the network must have its image size, and classes if it has.
        revision: branch, tag or commit of a Hub repository; None for any other source.
        token: access token of the Hub; True: the token of ``hf auth login``. Other sources do not use it.
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: float32 (default), float64, bfloat16 or float16.

    Returns:
        A network in eval mode. Published weights are downloaded, verified and converted on first use, then cached.

    Raises:
        ValueError: if an argument is invalid, or the weights are.
        FileNotFoundError: if the weights do not exist or cannot be downloaded.

    Example:
        >>> images = load_generator("sngan_fashion32").sample(["Sneaker"], n=4, seed=0)  # uint8 (4, 3, 32, 32)
    """
    on = resolve_device(device)
    network = _load(name, weights, "generator", revision, token)
    if not isinstance(network, AnyGenerator):
        raise ValueError(f"{weights or name}: this is a {type(network).__name__}; use load_discriminator")
    return _moved(network, str(weights or name), on, dtype)


def load_discriminator(
    name: str | Path,
    weights: str | Path | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> AnyDiscriminator:
    """Loads a trained discriminator. ``NAME`` and ``NAME_discriminator`` are equivalent.

    Args:
        name: ``architecture[.tag]`` (sngan_fashion32), a run, a network's folder, a folder with generator/ and
            discriminator/, the authors' .npz, a .pth of another code base, or a Hub repository id.
        weights: a tag, or another source of the same kinds, to use instead of the default weights of ``name``, which
            must be a model's name; the network must have its image size, and classes if it has.
        revision: branch, tag or commit of a Hub repository; None for any other source.
        token: access token of the Hub; True: the token of ``hf auth login``. Other sources do not use it.
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: float32 (default), float64, bfloat16 or float16.

    Returns:
        A network in eval mode. Published weights are downloaded, verified and converted on first use, then cached.

    Raises:
        ValueError: if an argument is invalid, or the weights are.
        FileNotFoundError: if the weights do not exist or cannot be downloaded.

    Example:
        >>> scores = load_discriminator("sngan_fashion32")(images, labels)  # images in [-1, 1] -> (N, 1)
    """
    on = resolve_device(device)
    network = _load(name, weights, "discriminator", revision, token)
    if not isinstance(network, AnyDiscriminator):
        raise ValueError(f"{weights or name}: this is a {type(network).__name__}; use load_generator")
    return _moved(network, str(weights or name), on, dtype)


DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def _moved(network: Moved, source: str, device: str | torch.device, dtype: torch.dtype | None) -> Moved:
    if dtype not in (None, *DTYPES):
        raise ValueError(f"dtype must be one of {', '.join(map(str, DTYPES))}, or None for float32 (got {dtype})")
    if dtype in (None, torch.float32):
        return network.to(device)
    network = network.to(dtype=dtype)
    check_values(network, source)
    return network.to(device)


def _load(
    name: str | Path, weights: str | Path | None, kind: str, revision: str | None, token: str | bool | None
) -> AnyGenerator | AnyDiscriminator:
    cls = AnyGenerator if kind == "generator" else AnyDiscriminator
    if isinstance(weights, str) and is_tag(_architecture(str(name)), weights, kind):
        found = Resolved("name", weights)  # also beside a folder of this name
    else:
        found = resolve(name if weights is None else weights)
    if revision is not None and found.kind != "repository":
        raise ValueError(f"revision applies to a Hub repository (got revision {revision!r} for the {found.kind} "
                         f"{found.text}); omit it")  # fmt: skip
    if found.kind != "name":
        if weights is not None:
            _check_name(str(name), kind)
        if found.kind == "folder":
            network = cls.from_pretrained(_folder_of(found, kind))
        elif found.kind == "file":
            network = _from_file(found.path, kind, None if weights is None else str(name))
        else:
            network = _from_hub(cls, found.text, kind, revision, token)
        if weights is not None:
            _check_fits(str(name), network, found.text)
        return network
    record = find_record(str(name), kind, None if weights is None else str(weights))
    network = cls.from_pretrained(local_folder(record))
    _name_classes(network, record)
    return network


def _name_classes(network: Network, record: Record) -> None:
    """Gives the network the record's names, which may have been added after the conversion. A user's must fit."""
    built_in = BUILT_IN.get(record.key)
    own = built_in is None or built_in.classes != record.classes
    fits = network.classes is None and len(record.classes) == network.n_classes
    if record.classes and network.n_classes and (own or fits):
        try:
            network.name_classes(record.classes)
        except ValueError as error:
            raise ValueError(f"{record.key}: {error}") from error


def _architecture(name: str) -> str:
    return name.partition(".")[0].removesuffix("_discriminator")


def _check_name(name: str, kind: str) -> None:
    """Raises ``ValueError`` if ``name``, given with ``weights``, is not the name of a model."""
    if not any(record.architecture == _architecture(name) for record in WEIGHTS.values()):
        try:
            find_model(_architecture(name))
        except ValueError as error:
            raise ValueError(f"{error}; without a name, load_{kind}(weights) loads any network") from None


def _check_fits(name: str, network: Network, source: str) -> None:
    """Raises ``ValueError`` if a network is not of the size of the model ``name``, or one of both has no classes.

    The number of classes may differ: fine-tuning changes it.
    """
    model = MODELS.get(_architecture(name))
    if model and (network.size, network.n_classes > 0) != (model.size, model.n_classes > 0):
        given, own = (f"{one.size} px and {one.n_classes or 'no'} classes" for one in (network, model))
        raise ValueError(f"weights: {source} is a network of {given}, but {name} has {own}; use a name that fits, or "
                         f"load_{network.kind}({source!r})")  # fmt: skip


def _folder_of(found: Resolved, kind: str) -> Path:
    """The folder of the network of this kind. Raises ``FileNotFoundError`` if there is none."""
    path = found.path
    folder = path / kind if (path / kind).is_dir() else path
    if (folder / CONFIG_NAME).is_file():
        return folder
    other = KINDS[kind == "generator"]
    if (path / other / CONFIG_NAME).is_file() and folder == path:
        said = f"{path}: contains a {other} but no {kind}"
    else:
        said = (f"{folder}: there is no {CONFIG_NAME}; the folder of a network contains {CONFIG_NAME} and "
                f"{SAFETENSORS_SINGLE_FILE}. Convert the folder of another code base first: sngan convert {path} "
                f"OUT")  # fmt: skip
    if _architecture(found.text) in {*MODELS, *(record.architecture for record in WEIGHTS.values())}:
        said += (f". The local folder {found.text} hides the model of that name; rename the folder, or work in another "
                 f"one")  # fmt: skip
    raise FileNotFoundError(said)


def _from_hub(
    cls: type[AnyGenerator | AnyDiscriminator], repo: str, kind: str, revision: str | None, token: str | bool | None
) -> AnyGenerator | AnyDiscriminator:
    """Loads from REPO (generator) or REPO-discriminator; either name selects the pair.

    A discriminator that was pushed alone is in REPO itself, which is tried if there is no REPO-discriminator.
    """
    if kind == "generator":
        place = repo.removesuffix("-discriminator")
    else:
        place = repo if repo.endswith("-discriminator") else f"{repo}-discriminator"
    try:
        with hub_errors(place):
            return cls.from_pretrained(place, revision=revision, token=token, local_files_only=offline())
    except FileNotFoundError as error:
        if kind == "generator" or place == repo or not _is_absent(error):
            raise
        local = isinstance(error.__cause__, LocalEntryNotFoundError)  # the Hub cannot be reached
        try:
            with hub_errors(repo):  # its config.json first: a generator's weights are not fetched for nothing
                path = hf_hub_download(repo, CONFIG_NAME, revision=revision, token=token, local_files_only=local)
                with torch.device("meta"):
                    cls.from_config(read_config(path), path)
                return cls.from_pretrained(repo, revision=revision, token=token, local_files_only=local)
        except OtherKind:
            raise error from error.__cause__
        except FileNotFoundError as second:
            raise (error if _is_absent(second) else second) from second.__cause__


def _is_absent(error: FileNotFoundError) -> bool:
    """Whether ``hub_errors`` says that there is no such repository, or nothing of it on this machine."""
    return isinstance(error.__cause__, RepositoryNotFoundError | LocalEntryNotFoundError)


def offline() -> bool:
    """Whether the Hub's host name cannot be resolved. The Hub client would retry for half a minute.

    With a proxy, always False: the proxy resolves names.
    """
    host = urlsplit(constants.ENDPOINT).hostname
    if not host or getproxies():
        return False
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return True
    return False


def _from_file(path: Path, kind: str, name: str | None) -> AnyGenerator | AnyDiscriminator:
    """Loads a file of another code base. ``name``: the architecture whose class names it gets."""
    converted = convert_file(path)
    networks = [one.network for one in converted if one.kind == kind]
    if not networks:
        raise OtherKind(f"{path}: this file contains a {converted[0].kind}, not a {kind}; use load_{converted[0].kind}")
    (network,) = networks
    classes = next((r.classes for r in WEIGHTS.values() if r.architecture == _architecture(str(name))), ())
    if not network.classes and len(classes) == network.n_classes > 0:
        network.name_classes(classes)
    return network


# ---------------------------------------------------------------------------------------------------------------------
# A record -> the folder of its network on this machine

PROVENANCE = "source.json"  # beside a converted network: its source file, and the hash of the converted file


def local_folder(record: Record) -> Path:
    """The local folder of the record's network. Published weights are downloaded, verified and converted on first use.

    Raises ``FileNotFoundError`` or ``ValueError``; the message states what to do.
    """
    if record.folder is not None:
        verify(record)
        return record.folder
    folder = cached_folder(record)
    if not _is_ready(folder, record):
        with one_process_at_a_time(cache_folder() / "weights" / f"{record.name}.lock"):
            if not _is_ready(folder, record):  # another process may have been faster
                _fetch_and_convert(record)
    return folder


def cached_folder(record: Record) -> Path:
    """The folder of a published network in the cache, after conversion."""
    return cache_folder() / "weights" / record.name / record.kind


def is_cached(record: Record) -> bool:
    """Whether the name loads without a network connection."""
    return record.folder is not None or is_made_of(cached_folder(record), record) or place(record).is_file()


def is_made_of(folder: Path, record: Record) -> bool:
    """Whether ``folder`` was converted from the record's file, as the record says."""
    made = provenance(folder)
    return (
        made is not None
        and made["file"] == record.file
        and made["sha256"].startswith(record.sha256)
        and made.get("asked", _asked(record)) == _asked(record)
    )


def _asked(record: Record) -> str:
    """What decides about a conversion besides the file: the code base and, without a hash, the addresses."""
    source = [] if record.sha256 else [record.urls, record.repo, record.path, record.revision]
    return hashlib.sha256(json.dumps([record.code_base, source]).encode()).hexdigest()[:16]


def damage(folder: Path) -> str:
    """What is wrong with a converted network in the cache; empty if it is as it was written."""
    made = provenance(folder) or {}
    for name, key in ((SAFETENSORS_SINGLE_FILE, "converted_sha256"), (CONFIG_NAME, "converted_config_sha256")):
        if not (folder / name).is_file():
            return f"{name} is missing"
        if key in made and sha256_of(folder / name) != made[key]:
            return f"{name} is damaged or changed"
    return ""


def _is_ready(folder: Path, record: Record) -> bool:
    return is_made_of(folder, record) and not damage(folder)


def provenance(folder: Path) -> dict[str, str] | None:
    """The content of source.json beside a converted network; None if there is none."""
    try:
        made = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
        return made if {"file", "sha256", "converted_sha256", "revision"} <= made.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _fetch_and_convert(record: Record) -> None:
    home = cached_folder(record).parent
    fetched = fetch(record, commit_of_partner(record))
    try:
        converted = _converted(record, fetched)
    except ValueError:
        if fetched.source != "file":  # left there, it would be taken for the user's own file
            forget(fetched.path)
        raise
    for one in converted:
        if record.classes and len(record.classes) == one.network.n_classes:
            one.network.name_classes(record.classes)
        write_folder(home / one.kind, partial(_save_converted, one, record, fetched))
    if fetched.source != "file":
        if not fetched.revision:
            keep_first(record, fetched.sha256, fetched.source)
        forget(fetched.path)  # no longer needed: the converted folders contain everything


def commit_of_partner(record: Record) -> str:
    """The commit of the pair's other network, if it is of the same repository and the record names no commit."""
    partner = provenance(cached_folder(record).parent / KINDS[record.kind == "generator"]) or {}
    same = bool(record.repo) and f"/{record.repo}/" in partner.get("from", "")
    return partner["revision"] if same and not re.fullmatch("[0-9a-f]{40}", record.revision) else ""


def _converted(record: Record, fetched: Fetched) -> list[Converted]:
    if record.file.endswith(SAFETENSORS_SINGLE_FILE):
        converted = [_in_own_format(record, fetched)]
    else:
        converted = convert_file(fetched.path, Options(code_base=record.code_base or None), record.file)
    if record.kind not in [one.kind for one in converted]:
        raise ValueError(f"{record.key}: {record.file} does not contain a {record.kind}")
    return converted


def _in_own_format(record: Record, fetched: Fetched) -> Converted:
    """The network of a mirror, whose file lies beside its config.json, at the same address but for the name."""
    config = fetch(config_of(record), fetched.revision)
    with tempfile.TemporaryDirectory() as name:
        for path, file in ((config.path, CONFIG_NAME), (fetched.path, SAFETENSORS_SINGLE_FILE)):
            shutil.copyfile(path, Path(name) / file)
        cls = AnyGenerator if record.kind == "generator" else AnyDiscriminator
        network = cls.from_pretrained(name)
    if config.source != "file":
        forget(config.path)
    return Converted(network, "sngan-hub", ("in this project's format",))


def config_of(record: Record) -> Record:
    """The record of the config.json beside a file in this project's own format."""

    def beside(address: str) -> str:  # a query may follow the file's name, or contain it
        return re.sub(rf"{re.escape(SAFETENSORS_SINGLE_FILE)}(?=$|[?&#])", CONFIG_NAME, address)

    return replace(record, file=beside(record.file), urls=tuple(map(beside, record.urls)),
                   path=record.path and beside(record.path), sha256=record.config_sha256, parameters=0)  # fmt: skip


def _save_converted(one: Converted, record: Record, fetched: Fetched, folder: Path) -> None:
    one.network._save_pretrained(folder)
    made = {"file": record.file, "from": fetched.source, "sha256": fetched.sha256, "revision": fetched.revision,
            "asked": _asked(record), "converted_sha256": sha256_of(folder / SAFETENSORS_SINGLE_FILE),
            "converted_config_sha256": sha256_of(folder / CONFIG_NAME), "notes": one.notes}  # fmt: skip
    write_json(folder / PROVENANCE, made)


def verify(record: Record) -> None:
    """Raises ``ValueError`` if a file that is included, or in a mirror's folder, does not have its record's hash."""
    assert record.folder is not None
    hashes = {SAFETENSORS_SINGLE_FILE: record.sha256, CONFIG_NAME: record.config_sha256}
    for name, expected in hashes.items():
        path = record.folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path}: the file is missing; {_remedy(record)}")
        if not expected and name == CONFIG_NAME:  # the records of included models have no hash for it
            continue
        found = sha256_of(path)
        if found != expected:
            raise ValueError(f"{path}: sha256 must be {expected[:16]}... (got {found[:16]}...); the file is damaged "
                             f"or was changed; {_remedy(record)}")  # fmt: skip


def _remedy(record: Record) -> str:
    return "reinstall sngan-hub" if record.where == "shipped" else "mirror it again with sngan mirror"
