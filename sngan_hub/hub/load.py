"""Loads a verified network in eval mode from a name, a folder, a file or a Hub repository."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

from ..convert import convert_file
from ..devices import resolve_device
from ..networks.base import AnyDiscriminator, AnyGenerator, Network
from ..networks.mixin import CONFIG_NAME, SAFETENSORS_SINGLE_FILE, OtherKind, check_values, read_config
from ..networks.registry import MODELS, find_model
from ..networks.repository import damaged_files_deleted, hub_files
from ..weights.record import KINDS, Record
from ..weights.records import BUILT_IN, WEIGHTS, find_record, is_tag
from .errors import hub_errors
from .local import local_folder
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
        if kind == "generator" or place == repo or not is_absent(error):
            raise
        local = isinstance(error.__cause__, LocalEntryNotFoundError)  # the Hub cannot be reached
        try:
            with hub_errors(repo):  # its config.json first: a generator's weights are not fetched for nothing
                (path,) = hub_files(repo, [CONFIG_NAME], revision, token=token, local_files_only=local)
                with damaged_files_deleted([path]), torch.device("meta"):
                    cls.from_config(read_config(path), path)
                return cls.from_pretrained(repo, revision=revision, token=token, local_files_only=local)
        except OtherKind:
            raise error from error.__cause__
        except FileNotFoundError as second:
            raise (error if is_absent(second) else second) from second.__cause__


def is_absent(error: FileNotFoundError) -> bool:
    """Whether ``hub_errors`` says that there is no such repository, or nothing of it on this machine."""
    return isinstance(error.__cause__, RepositoryNotFoundError | LocalEntryNotFoundError)


def offline() -> bool:
    """Whether the Hub's host name cannot be resolved. The Hub client would retry for half a minute.

    With a proxy, always False: the proxy resolves names.
    """
    host = urlsplit(constants.ENDPOINT).hostname
    if not host or getproxies().keys() - {"no"}:  # NO_PROXY alone is no proxy
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
