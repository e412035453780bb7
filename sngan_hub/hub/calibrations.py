"""Finds the calibration of a discriminator: in a folder, on the Hub, or beside weights by name."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import hf_hub_download  # pyright: ignore[reportUnknownVariableType]
from huggingface_hub.errors import RemoteEntryNotFoundError

from ..sampling.refine import CALIBRATION, Calibration, read_calibration
from ..weights.records import find_record
from .errors import hub_errors
from .load import is_absent, offline
from .local import fetch_calibration, local_folder
from .resolve import resolve

_FIT = "sngan probe --from MODEL --data FOLDER --calibrate"


def calibration_folder(name: str) -> Path:
    """The local folder of a model's discriminator and its calibration. Raises as ``load_discriminator``."""
    found = resolve(name)
    path = found.path
    if found.kind == "folder":
        return path / "discriminator" if (path / "discriminator").is_dir() else path
    if found.kind != "name":
        raise FileNotFoundError(
            f"{name}: a calibration needs a folder or the name of a model; convert or download the network first"
        )
    return local_folder(find_record(name, "discriminator"))


def load_calibration(name: str) -> Calibration:
    """The calibration of a model's discriminator, which rejection sampling and Langevin steps need.

    Raises ``FileNotFoundError`` if there is none; the message states how to fit one. Raises ``OSError`` if the Hub
    cannot be reached.
    """
    kind = resolve(name).kind
    if kind == "repository":
        try:
            return _of_repository(name if name.endswith("-discriminator") else f"{name}-discriminator")
        except FileNotFoundError as error:
            if name.endswith("-discriminator") or not is_absent(error):
                raise
            try:
                return _of_repository(name)  # a discriminator that was pushed alone
            except FileNotFoundError as second:
                raise (error if is_absent(second) else second) from second.__cause__
    path = calibration_folder(name) / CALIBRATION
    if kind == "name":
        fetch_calibration(find_record(name, "discriminator"))
    if not path.is_file():
        raise FileNotFoundError(f"{name}: the discriminator is not calibrated; calibrate it on images that were not "
                                f"used in training: {_FIT.replace('MODEL', name)}")  # fmt: skip
    return read_calibration(path)


def _of_repository(repo: str) -> Calibration:
    with hub_errors(repo):
        try:
            return read_calibration(hf_hub_download(repo, CALIBRATION, local_files_only=offline()))
        except RemoteEntryNotFoundError as error:
            raise FileNotFoundError(f"{repo}: there is no {CALIBRATION}; the publisher must fit it before "
                                    f"publishing: {_FIT}"
                                    ) from error  # fmt: skip
