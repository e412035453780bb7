"""Which runs a study consists of, and the configuration of each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from sngan_hub.text import nearest

from ..config.presets import METHODS, SETTINGS
from ..config.schema import Config, make_config
from ..engine.state import new_networks

WIDTH_METHODS = ("spectral_norm", "orthonormal")  # of the paper's Figure 4, in its setting
WIDTH_SETTING = "C"
#: Settings that the study chooses itself
OWN = ("method", "setting", "seed", "out", "preset", "source")


class Cell(NamedTuple):
    """One run of a study. ``width``: channels of D's last feature map, over the architecture's."""

    method: str
    setting: str
    seed: int
    width: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.method}-{self.setting}-{self.seed}" + (f"-width{self.width:g}" if self.width != 1 else "")


def cells(methods: Iterable[str], settings: Iterable[str], seeds: Iterable[int], widths: Iterable[float]) -> list[Cell]:
    """Every method in every setting for every seed, seed by seed, and the widths for the methods of Figure 4.

    Raises:
        ValueError: that names the unknown method or setting, or the width that is not positive; if there is no run.
    """
    methods, settings, widths = list(methods), list(settings), list(widths)
    for what, chosen, known in (("methods", methods, METHODS), ("settings", settings, SETTINGS)):
        for name in chosen:
            if name not in known:
                raise ValueError(f"{what}: unknown {name!r}{nearest(name, known)}; known are {', '.join(known)}")
    if bad := [width for width in widths if not 0 < width <= 16]:
        raise ValueError(f"widths must be above 0 and at most 16 (got {bad[0]:g})")
    found: dict[Cell, None] = {}
    for seed in seeds:
        found |= dict.fromkeys(Cell(method, setting, seed) for setting in settings for method in methods)
        found |= dict.fromkeys(Cell(method, WIDTH_SETTING, seed, float(width))
                               for width in widths for method in WIDTH_METHODS if method in methods)  # fmt: skip
    if not found:
        raise ValueError("the study has no runs: name at least one method, one setting and one seed")
    return list(found)


def check_fields(fields: Mapping[str, Any], methods: Sequence[str]) -> list[str]:
    """Lines about settings for all runs that some ``methods`` replace by their own.

    Raises ``ValueError`` if one of ``fields`` has no effect, because --settings or every method replaces it.
    """
    lines: list[str] = []
    for name, value in fields.items():
        if name in next(iter(SETTINGS.values())):
            raise ValueError(f"{name} must not be given, because --settings sets it for every run (got {value})")
        own = [method for method in methods if name in METHODS[method] and name != "discriminator_fields"]
        if len(own) == len(methods):
            raise ValueError(f"{name} must not be given, because it is part of {', '.join(own)} (got {value}); leave "
                             f"it out, or choose other --methods")  # fmt: skip
        if own:
            lines.append(f"{name} {value}: not for {', '.join(own)}, which set it themselves")
    return lines


def config_of(cell: Cell, preset: str, fields: Mapping[str, Any]) -> Config:
    """The run of a cell.

    ``fields``: settings for all runs; those of the method and of the optimiser setting replace them.
    """
    own = (SETTINGS[cell.setting].keys() | METHODS[cell.method].keys()) - {"discriminator_fields"}
    given = {name: value for name, value in fields.items() if name not in own}
    config = make_config(preset, **given, method=cell.method, setting=cell.setting, seed=cell.seed)
    if cell.width == 1:
        return config
    changed = {**json.loads(config.discriminator_fields), "widths": last_widened(config, cell.width)}
    return dataclasses.replace(config, discriminator_fields=json.dumps(changed))


def last_widened(config: Config, factor: float) -> list[int]:
    """The widths of D with the last one multiplied."""
    with torch.device("meta"):
        _, discriminator = new_networks(config, max(config.n_classes, 1))
    widths = list(discriminator.config["widths"])
    return [*widths[:-1], max(1, round(widths[-1] * factor))]
