"""The settings of one run: a frozen dataclass, made from a preset's row and the user's settings."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sngan_hub.files import write_text
from sngan_hub.text import nearest

from .presets import METHODS, PRESETS, SETTINGS, SPEEDS
from .settings import (
    AdditionSettings,
    DataSettings,
    FineTuningSettings,
    GameSettings,
    MachineSettings,
    ModelSettings,
    OutputSettings,
    ScheduleSettings,
    check_setting,
    meaning,
)

if TYPE_CHECKING:
    import torch

AUGMENT_CHOICES = ("color", "translation", "cutout")  # functions of feed/augment.py


@dataclass(frozen=True)
class Config(
    OutputSettings, MachineSettings, FineTuningSettings, AdditionSettings, ScheduleSettings, GameSettings, DataSettings,
    ModelSettings,
):  # fmt: skip
    """All settings of a run. Steps are iterations of the authors' loop: one G step, then ``n_dis`` D steps."""

    def __post_init__(self) -> None:
        """Raises ``ValueError`` that names the invalid setting."""
        from sngan_hub.networks.registry import find_model  # here, as torch below

        find_model(self.architecture)
        for field in dataclasses.fields(self):
            check_setting(field, getattr(self, field.name))
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop must be above 0 and at most 1 (got {self.crop})")
        if self.penalty == "gradient" and self.augment:
            raise ValueError(
                f"penalty gradient cannot be combined with augment (got {self.augment!r}); set one of the two to ''"
            )
        if self.penalty == "gradient" and self.noise:
            raise ValueError(f"penalty gradient cannot be combined with noise (got {self.noise:g}); set --noise 0")
        if self.l2_sp and not self.donor:
            raise ValueError(f"l2_sp needs a donor, which this run does not have (got {self.l2_sp})")
        if self.diversity_distance == 0:
            raise ValueError("diversity_distance must be above 0 (got 0); for no such term, set --diversity-weight 0")
        if self.diversity_weight and self.micro_batch:
            raise ValueError(
                f"diversity_weight compares all images of a generator step, so micro_batch must be 0 "
                f"(got {self.micro_batch}); set --micro-batch 0, or --diversity-weight 0"
            )
        if not self.held_out:  # such as from an unset variable of the shell; it would mean a folder without a name
            raise ValueError("held_out must be tenth, none or a folder (got ''); for the default, omit it")
        if self.score_every and self.held_out == "none":
            raise ValueError(
                "score_every needs held-out images (got held_out none); set --held-out to tenth or a folder"
            )
        if self.patience and not self.score_every and not self.donor:  # a fine-tuning run may choose score_every
            raise ValueError(f"patience needs scores (got {self.patience}); set --score-every too")
        if self.steps < 1 and not self.donor:
            raise ValueError(f"steps must be 1 or more (got {self.steps})")
        for name in ("generator_fields", "discriminator_fields"):
            try:
                legal_json = isinstance(json.loads(getattr(self, name)), dict)
            except json.JSONDecodeError:
                legal_json = False
            if legal_json and (own := {"n_classes", "classes"} & json.loads(getattr(self, name)).keys()):
                raise ValueError(f"{name} must not set {min(own)}: the classes are those of the data; for networks "
                                 f"without classes, use --conditioning none")  # fmt: skip
            if not legal_json:
                raise ValueError(
                    f'{name} must be a JSON object such as {{"widths": [64]}} (got {getattr(self, name)!r})'
                )
        for name in ("decay", "transition"):
            if getattr(self, f"{name}_to") < getattr(self, f"{name}_from"):
                raise ValueError(
                    f"{name}_to must be {name}_from, {getattr(self, f'{name}_from'):,}, or more "
                    f"(got {getattr(self, f'{name}_to'):,})"
                )
        if not self.donor:  # a fine-tuning run may choose augment
            self.check_augment_from()
        for name in filter(None, self.augment.split(",")):
            if name not in AUGMENT_CHOICES:
                raise ValueError(
                    f"augment must be a comma-separated list of {', '.join(AUGMENT_CHOICES)} (got {name!r})"
                )

    def check_augment_from(self) -> None:
        """Raises ``ValueError`` for a start of the augmentation in a run without one."""
        if self.augment_from and not self.augment:
            raise ValueError(f"augment_from needs an augmentation (got {self.augment_from:,}); set --augment too")

    def augmentations(self) -> list[str]:
        """The functions of feed/augment.py that change what D scores, in order."""
        return [name for name in self.augment.split(",") if name] + ["noise"] * bool(self.noise)

    def noise_at(self, step: int) -> float:
        """The standard deviation of the noise on D's inputs at iteration ``step``."""
        return self.noise * (max(0.0, 1 - step / self.noise_to) if self.noise_to else 1.0)

    @property
    def compiles(self) -> bool:
        """Whether the steps are compiled by ``torch.compile``. Not before ``compile`` auto is resolved."""
        return COMPILES.get(self.compile, False)

    @property
    def uses_graphs(self) -> bool:
        """Whether iterations are replayed as CUDA graphs. Not before ``compile`` auto is resolved."""
        return self.compile in ("graphs", "graphs_only")

    def lr_scale(self, step: int) -> float:
        """The factor of update ``step`` (0-based): Chainer's LinearShift, which sets the rate after the update."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        if step <= self.decay_from or self.decay_from == self.decay_to:
            return 1.0
        return max(0.0, (self.decay_to - step) / (self.decay_to - self.decay_from))

    def lr_scale_g(self, step: int) -> float:
        """The same of the generator, whose rate rises from its first update on, after ``d_warm_up``."""
        risen = (step - self.d_warm_up + 1) / self.warm_up if self.d_warm_up and self.warm_up else 1.0
        return min(self.lr_scale(step), max(risen, 0.0))

    @property
    def size(self) -> int:
        """The side of the networks' images in pixels."""
        from sngan_hub.networks.registry import find_model

        given = json.loads(self.generator_fields).get("size")
        return given if isinstance(given, int) else find_model(self.architecture).size

    @property
    def split(self) -> str:
        """The split of the data that is trained on."""
        return "train" if self.held_out == "tenth" else "all"

    @property
    def test_folder(self) -> str:
        """The folder of held-out images; empty if they are a split of the data."""
        return "" if self.held_out in ("tenth", "none") else self.held_out

    def stretches_at_load(self, size: int) -> bool:
        """Whether images of a folder are stretched when loaded. Images stored larger are stretched in each batch."""
        return self.contrast_stretch and self.crop == 1 and self.stored_size in (0, size)

    def autocast(self, device: torch.device) -> torch.autocast:
        import torch  # imported here, so that the help of the commands stays fast

        # Not accelerate's autocast: its precision is fixed by the first Accelerator of the process.
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def class_strength(self, step: int) -> float:
        if step >= self.transition_to:
            return 1.0
        if step < self.transition_from:
            return 0.0
        return (step - self.transition_from) / (self.transition_to - self.transition_from)


#: Value of ``compile`` -> whether the steps are compiled, which changes rounding; CUDA graphs do not
COMPILES = {"on": True, "graphs": True, "off": False, "graphs_only": False}

#: Settings that a resumed run may change, because they do not affect the finished steps
FREE = frozenset(field.name for field in dataclasses.fields(Config) if meaning(field).resume)


def make_config(preset: str, **overrides: Any) -> Config:
    """Combines defaults, the preset's row, the rows of setting, method and speed, and ``overrides``, in this order.

    Raises ``ValueError`` that names the invalid setting.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}{nearest(preset, PRESETS)}")
    fields = {field.name for field in dataclasses.fields(Config)}
    for name in overrides:
        if name not in fields:
            raise ValueError(f"unknown setting {name!r}{nearest(name, fields)}")
    setting, method, speed = (str(overrides.get(name, "")) for name in ("setting", "method", "speed"))
    values: dict[str, Any] = {"preset": preset}
    rows = SETTINGS.get(setting, {}), METHODS.get(method, {}), SPEEDS.get(speed, {})
    for row in (PRESETS[preset], *rows, overrides):
        values |= row
    if own := METHODS.get(method, {}).get("discriminator_fields"):
        values["discriminator_fields"] = with_method(str(overrides.get("discriminator_fields", "{}")), method, own)
    return Config(**values)


def with_method(text: str, method: str, own: dict[str, Any]) -> str:
    """The JSON object ``text`` with the fields ``own`` of a method added. Other text is returned as it is.

    Raises ``ValueError`` if it has another value for one of them.
    """
    try:
        fields: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError:
        return text
    if not isinstance(fields, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        return text
    for name, value in own.items():
        if fields.get(name, value) != value:
            raise ValueError(f"discriminator_fields must not set {name}, which --method {method} sets to {value!r} "
                             f"(got {fields[name]!r})")  # fmt: skip
    return json.dumps({**fields, **own})


def load_config(run: Path) -> Config:
    """The settings of the run in folder ``run``. Settings that are new since it was written have their defaults.

    Raises ``ValueError`` if its config.json is damaged or names an unknown setting.
    """
    from sngan_hub.networks.mixin import read_config  # here, so that the help of the commands stays fast

    return config_from(read_config(run / "config.json"), run)


def config_from(values: dict[str, Any], where: Path) -> Config:
    """The settings that a file of the run ``where`` holds. Raises ``ValueError`` if one is unknown."""
    fields = {field.name for field in dataclasses.fields(Config)}
    if unknown := [name for name in values if name not in fields]:
        raise ValueError(f"{where}: unknown setting {unknown[0]!r}; a newer version of sngan-hub wrote this run: "
                         f"update sngan-hub")  # fmt: skip
    if values.get("held_out") == "":  # of a run before this was an error
        values = {**values, "held_out": "none"}
    return Config(**values)


def save_config(config: Config, path: Path) -> None:
    """Writes the settings atomically."""
    write_text(path, json.dumps(dataclasses.asdict(config), indent=2) + "\n")


def same_rates(old: Config, new: Config, done: int) -> bool:
    """Whether the learning rates of steps 0 to ``done`` - 1 are the same.

    Both schedules are piecewise linear, so it is enough to compare them next to every corner. The generator's rates
    are then the same too, because a resumed run keeps ``warm_up`` and ``d_warm_up``.
    """
    corners = {0, done - 1}
    for config in (old, new):
        corners |= {config.warm_up, config.decay_from, config.decay_to}
    beside = {corner + k for corner in corners for k in (-1, 0, 1)}
    return all(old.lr_scale(step) == new.lr_scale(step) for step in beside if 0 <= step < done)


def differences(old: dict[str, Any], new: Config, done: int) -> list[str]:
    """The settings that a resumed run must not change but would, one line each. ``done``: number of finished steps.

    Schedules may change if the learning rates and the augmentation of the finished steps stay the same.
    """
    now = dataclasses.asdict(new)
    old = {**dataclasses.asdict(Config()), "compile": "off", **old}  # with values for fields that are new since then
    free: frozenset[str] = FREE
    if same_rates(config_from(old, Path(new.out)), new, done):
        free |= {"decay_from", "decay_to"}
    if done <= min(old["augment_from"], new.augment_from):
        free |= {"augment_from"}
    return [
        f"{name}: was {old.get(name)!r}, now {now[name]!r}"
        for name in now
        if name not in free and old.get(name) != now[name]
    ]
