"""A strict ``PyTorchModelHubMixin``: files that do not match the network exactly are an error.

The original mixin loads with ``strict=False`` (missing weights stay random), ignores unknown configuration keys, uses
defaults if config.json is missing, and falls back to a pickle. Here each of these is an error. A network is stored as a
folder with two files: config.json (the constructor arguments and ``"class"``) and model.safetensors.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from huggingface_hub import HfApi, ModelCard, PyTorchModelHubMixin
from huggingface_hub.constants import CONFIG_NAME, SAFETENSORS_SINGLE_FILE
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from ..files import write_atomically, write_text
from .card import CARD, is_generated, network_card, own_card
from .repository import OtherKind, check_name_of_kind, create_repo, damaged_files_deleted, description, hub_files

Network = TypeVar("Network", bound="StrictHubMixin")
_CARD_TEXT = "card_text"  # among model_card_kwargs: the card itself, instead of a generated one


class StrictHubMixin(nn.Module, PyTorchModelHubMixin):
    """An ``nn.Module`` whose constructor takes JSON values and passes all of them to ``set_config``."""

    _hub_mixin_config: Any  # what ``set_config`` was given; None in what ``for_sampling`` returns

    def set_config(self, **arguments: Any) -> None:
        """Stores the resolved constructor arguments, for config.json."""
        self._hub_mixin_config = {"class": type(self).__name__, **arguments}

    @property
    def config(self) -> dict[str, Any]:
        """The content of config.json: the resolved constructor arguments and ``"class"``."""
        if not isinstance(self._hub_mixin_config, dict):
            raise ValueError("a generator converted by for_sampling() cannot be saved; save the original generator")
        return dict(self._hub_mixin_config)

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | Path,
        *,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        model_card_kwargs: dict[str, Any] | None = None,
        **arguments: Any,
    ) -> str | None:
        """Like ``PyTorchModelHubMixin.save_pretrained``; what cannot be saved is refused before a file changes.

        Args:
            save_directory: the folder, which is created if it does not exist.
            push_to_hub: upload the network too, with the README.md of the folder if a person wrote it.
            repo_id: the repository; None: the name of the folder.
            model_card_kwargs: arguments of ``generate_model_card``.
            arguments: see ``PyTorchModelHubMixin.save_pretrained``.

        Returns:
            The address of the commit, with ``push_to_hub=True``; else None.

        Raises:
            ValueError: for a generator converted by ``for_sampling()``, and for weights that are not finite.
        """
        folder, described = Path(save_directory), dict(model_card_kwargs or {})
        self._check_savable()  # the original method removes config.json first
        card = described.pop(_CARD_TEXT, None)
        path = folder / CONFIG_NAME
        before = path.read_text(encoding="utf-8") if path.is_file() else None
        try:
            if card is not None:
                folder.mkdir(parents=True, exist_ok=True)
                write_text(folder / CARD, card)
            super().save_pretrained(folder, model_card_kwargs=described, **arguments)
        except BaseException:  # such as a full disk: the network that was there stays whole
            if before is not None and not path.exists():
                write_text(path, before)
            raise
        if not push_to_hub:
            return None
        card = own_card(folder)
        if card is not None:
            described[_CARD_TEXT] = card
        return self.push_to_hub(repo_id or folder.name, model_card_kwargs=described, **arguments)

    def _check_savable(self) -> None:
        """Raises ``ValueError`` for what could not be loaded again."""
        _ = self.config  # raises the error
        stored = self.state_dict().items()  # loaded as float32, whatever the dtype
        values = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in stored}
        if bad := _bad_values(self, values):
            raise ValueError(f"the network cannot be saved, since it could not be loaded again: {_some(bad)}; save an "
                             f"earlier one, or train with a lower learning rate")  # fmt: skip

    def _save_pretrained(self, save_directory: Path) -> None:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        # A single metadata key: with several, the saved bytes would vary.
        file = save_directory / SAFETENSORS_SINGLE_FILE
        try:
            write_atomically(file, lambda path: save_file(tensors, path, {"format": "pt"}))
        except SafetensorError as error:
            raise OSError(f"{file}: the weights could not be written ({error})") from error
        write_text(save_directory / CONFIG_NAME, json.dumps(self.config, indent=2, ensure_ascii=False) + "\n")

    def generate_model_card(self, repo_id: str = "", **_: Any) -> ModelCard:  # type: ignore[override]
        """The model card that ``save_pretrained`` and ``push_to_hub`` write if there is no README.md."""
        return ModelCard(network_card(cast("Any", self), repo_id), ignore_metadata_errors=True)

    def push_to_hub(self, repo_id: str, *, model_card_kwargs: dict[str, Any] | None = None, **arguments: Any) -> str:
        """Like ``PyTorchModelHubMixin.push_to_hub``, with a card that names the repository.

        A card in the repository that a person wrote is not replaced by a generated one.

        Args:
            repo_id: the repository, which is created if it does not exist.
            model_card_kwargs: arguments of ``generate_model_card``.
            arguments: see ``PyTorchModelHubMixin.push_to_hub``.

        Returns:
            The address of the commit.

        Raises:
            ValueError: for a generator converted by ``for_sampling()``, for weights that are not finite, for a
                generator's repository whose name ends in -discriminator, and for ``private=True`` with a repository
                that is public.
        """
        self._check_savable()  # before a repository is created
        check_name_of_kind(repo_id, getattr(self, "kind", ""))
        api = HfApi(token=arguments.get("token"))
        repo_id = create_repo(api, repo_id, arguments.get("private"))
        described = {"repo_id": repo_id, **(model_card_kwargs or {})}
        plain = _CARD_TEXT not in described and is_generated(str(self.generate_model_card(**described)))
        if plain and (theirs := description(api, repo_id, arguments.get("branch"))) is not None:
            described[_CARD_TEXT] = theirs
        return super().push_to_hub(repo_id, model_card_kwargs=described, **arguments)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls: type[Network],
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        map_location: str = "cpu",
    ) -> Network:
        """Loads a network.

        Args:
            pretrained_model_name_or_path: a folder with config.json and model.safetensors, or a Hub repository id.
            force_download: see ``hf_hub_download``; also for the next four arguments.
            token: access token of the Hub.
            cache_dir: folder of the downloads.
            local_files_only: do not access the internet.
            revision: branch, tag or commit of the repository.
            map_location: the device.

        Returns:
            The network in eval mode, in float32.

        Raises:
            FileNotFoundError: if a file is missing.
            ValueError: if the files do not match this class exactly.
        """
        source = str(pretrained_model_name_or_path)
        names = (CONFIG_NAME, SAFETENSORS_SINGLE_FILE)
        if os.path.isdir(source):
            paths = [os.path.join(source, name) for name in names]
            if missing := [name for name, path in zip(names, paths, strict=True) if not os.path.isfile(path)]:
                raise FileNotFoundError(f"{source}: there is no {missing[0]}; the folder of a network contains "
                                        f"{CONFIG_NAME} and {SAFETENSORS_SINGLE_FILE}")  # fmt: skip
            network = cls._from_files(*paths)
        else:
            paths = hub_files(
                source, names, revision, token=token, cache_dir=cache_dir, force_download=force_download,
                local_files_only=local_files_only,
            )  # fmt: skip
            with damaged_files_deleted(paths):
                network = cls._from_files(*paths)
        network.to(map_location)
        return network.eval()

    @classmethod
    def _from_files(cls: type[Network], config: str, weights: str) -> Network:
        with torch.device("meta"):  # shapes only: no memory is allocated for sizes that config.json declares
            network = cls.from_config(read_config(config), source=config)
        load_weights(network, weights)
        return network

    @classmethod
    def from_config(cls: type[Network], config: dict[str, Any], source: str = "config") -> Network:
        """Builds the untrained network that a configuration describes.

        Called on a base class, it builds the derived class that ``"class"`` names.

        Args:
            config: the content of config.json.
            source: its name in error messages.

        Returns:
            The network, with newly initialised weights.

        Raises:
            ValueError: for a configuration of another class, or an unknown, missing or invalid key.
        """
        arguments = dict(config)
        abstract = cls.__init__ is nn.Module.__init__
        if abstract and "class" not in arguments:
            raise ValueError(f"{source}: the key class is missing")
        kind = arguments.pop("class", cls.__name__)
        if not isinstance(kind, str):
            raise ValueError(f"{source}: class must be the name of a network's class (got {kind!r})")
        if kind != cls.__name__ or abstract:
            for known in _subclasses(cls):
                if known.__name__ == kind:
                    return known.from_config(config, source)
            own = [base for base in cls.__mro__ if issubclass(base, StrictHubMixin)]
            concrete = {base.__name__ for base in own if base.__init__ is not nn.Module.__init__}
            if abstract or kind not in concrete:  # a user's class takes the files of the class that it extends
                raise OtherKind(
                    f"{source}: describes a {kind}, not a {getattr(cls, 'kind', cls.__name__)}; load it as a {kind}"
                )
        parameters = inspect.signature(cls).parameters
        unknown = sorted(set(arguments) - set(parameters))
        if unknown:
            raise ValueError(
                f"{source}: unknown key {', '.join(unknown)}; the allowed keys are class, {', '.join(parameters)}"
            )
        missing = [p.name for p in parameters.values() if p.default is p.empty and p.name not in arguments]
        if missing:
            raise ValueError(f"{source}: the key {', '.join(missing)} is missing")
        try:
            return cls(**arguments)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{source}: {error}") from error


def _subclasses(cls: type[Network]) -> Iterator[type[Network]]:
    for known in cls.__subclasses__():
        yield known
        yield from _subclasses(known)


def read_config(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file; raises ``ValueError`` for anything else."""
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also for very long numbers and deeply nested lists
        raise ValueError(f"{path}: this is not valid JSON ({error})") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path}: the content must be a JSON object (got a {type(config).__name__})")
    return config


#: Dtypes that stored tensors may have: floats are converted to the network's dtype, counters to int64
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
           "I64": torch.int64, "I32": torch.int32}  # fmt: skip


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Loads all tensors of ``network`` from a safetensors file.

    Raises ``ValueError`` that names missing, additional or wrongly shaped tensors, before memory is allocated. A
    network on the meta device becomes float32 on the CPU.
    """
    try:
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}
            header = {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
        _refuse(network, str(path), _misfits(network, header))
        tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}  # not views of the file
    except (FileNotFoundError, PermissionError):
        raise
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path}: this is not a valid safetensors file ({error}); download or save it again"
        ) from error
    load_tensors(network, tensors, str(path), assign=any(t.is_meta for t in network.state_dict().values()))


def load_tensors(network: nn.Module, tensors: dict[str, torch.Tensor], source: str, assign: bool = False) -> None:
    """Like ``load_weights``, from tensors in memory. Changes nothing unless all tensors fit.

    ``assign``: use the tensors themselves instead of copies, for a network on the meta device.
    """
    names = {dtype: name for name, dtype in _DTYPES.items()}
    described = {name: (names.get(t.dtype, str(t.dtype)), tuple(t.shape)) for name, t in tensors.items()}
    _refuse(network, source, _misfits(network, described))
    own = network.state_dict()
    cast = {}
    for name, tensor in tensors.items():
        dtype = own[name].dtype
        if assign and dtype.is_floating_point:
            dtype = torch.float32  # whatever torch's default is
        cast[name] = tensor.to(dtype)
    _refuse(network, source, _bad_values(network, cast))
    network.load_state_dict(cast, strict=True, assign=assign)


def check_values(network: nn.Module, source: str) -> None:
    """Raises ``ValueError`` if values are invalid after a conversion to another dtype."""
    _refuse(network, source, _bad_values(network, network.state_dict()))


def _misfits(network: nn.Module, given: dict[str, tuple[str, tuple[int, ...]]]) -> list[str]:
    """``given``: name -> (safetensors dtype, shape)."""
    own = network.state_dict()
    problems = [f"{name} is missing" for name in own if name not in given]
    problems += [f"{name} is not a tensor of this network" for name in given if name not in own]
    for name in own.keys() & given.keys():
        (kind, shape), ours = given[name], own[name]
        if shape != tuple(ours.shape):
            problems.append(f"{name} has shape {shape}, expected {tuple(ours.shape)}")
        elif kind not in _DTYPES or _DTYPES[kind].is_floating_point != ours.is_floating_point():
            expected = "float32" if ours.is_floating_point() else "int64"
            problems.append(f"{name} is {_DTYPES.get(kind, kind)}, expected torch.{expected}")
    return problems


def _bad_values(network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> list[str]:
    problems = []
    for name, tensor in tensors.items():
        if tensor.is_meta or not tensor.is_floating_point():
            continue
        if not torch.isfinite(tensor).all():
            problems.append(f"{name} contains values that are not finite in {str(tensor.dtype).removeprefix('torch.')}")
        elif name.rpartition(".")[2] == "running_var":
            norm: Any = network.get_submodule(name.rpartition(".")[0])
            scale = (tensor + norm.eps).rsqrt()
            if (tensor < 0).any():
                problems.append(f"{name} contains a negative variance")
            elif not (torch.isfinite(scale) & (scale > 0)).all():
                problems.append(f"{name} contains a variance whose inverse square root is zero or not finite")
    return problems


def _refuse(network: nn.Module, source: str, problems: list[str]) -> None:
    if problems:
        raise ValueError(f"{source}: the tensors do not match this {type(network).__name__}: {_some(problems)}")


def _some(problems: list[str]) -> str:
    return "; ".join(sorted(problems)[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
