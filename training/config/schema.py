"""One run's settings: a frozen dataclass, made from a preset's row and what the user says."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sngan_hub.networks.registry import find_model
from sngan_hub.text import nearest

from .presets import METHODS, PRESETS, SETTINGS, SPEEDS


@dataclass(frozen=True)
class Config:
    """Counts of steps are iterations of the authors' loop: one G step, then ``n_dis`` D steps."""

    preset: str = "fashion32"
    source: str = "ours"  # where the numbers of this preset come from
    setting: str = ""  # A to F: the SN paper's optimiser settings, in place of the preset's
    method: str = ""  # a method that the SN paper compares, in place of the preset's
    architecture: str = "sngan_fashion32"  # a row of MODELS
    conditioning: str = "projection"  # how D learns the class: projection or concat; none: G and D without classes
    generator_fields: str = "{}"  # constructor arguments that differ from the architecture's, as a JSON object
    discriminator_fields: str = "{}"
    data: str = ""  # fashion, avatars, cifar10, cifar100, stl10, a prepared folder, or a folder of class folders
    held_out: str = "tenth"  # images for scores: every tenth of a folder's; none; or a folder of them
    n_classes: int = 0  # as published, for a dry run without data; 0: the data's
    out: str = ""

    # The game
    loss: str = "hinge"  # hinge, non_saturating or wasserstein
    penalty: str = ""  # added to D's loss: gradient (Gulrajani et al. 2017) or orthonormal (Brock et al. 2016)
    penalty_weight: float = 10.0
    clip: float = 0.0  # every parameter of D is clipped to +-clip after its step (0: not)
    n_dis: int = 5  # D steps per iteration
    batch_size: int = 64  # real images, and as many fakes, per D step
    g_batch_size: int = 128  # fakes per G step
    bn_group_d: int = 0  # G's batch norm in D steps takes statistics over so many consecutive images (0: over all) ...
    bn_group_g: int = 0  # ... and in G steps: the paper's processes had 16 and 32 images each
    lr_g: float = 2e-4
    lr_d: float = 2e-4
    beta1: float = 0.0
    beta2: float = 0.9
    steps: int = 50_000
    decay_from: int = 0  # the learning rates fall linearly to 0 ...
    decay_to: int = 50_000  # ... at this step; where both are the same they never fall
    seed: int = 0

    # The authors' pictures (datasets/imagenet.py)
    stored_size: int = 0  # side of the stored images (0: the network's size)
    crop: float = 1.0  # side of a random crop of each, over the image's; then bilinear to the network's size
    contrast_stretch: bool = False  # values to 0..255 before that resize; for prepared data, at preparing
    flip: bool = False  # horizontal flips of real images

    # Fine-tuning (training/finetune/plan.py)
    donor: str = ""  # --from: the model whose weights the run starts from
    new_classes: str = "mean"  # rows of classes that the donor lacks: mean, nearest (of the donor's) or fresh
    like: str = ""  # chosen ones: "my dog=golden retriever;my cat=tabby"
    class_order: str = "[]"  # the classes' names, the donor's first, as a JSON list; set at the start
    trained: str = "all"  # all; tables (class tables and heads alone); gains (gains and biases alone)
    freeze_d: int = 0  # blocks of D, from the picture on, that stay as they are (FreezeD, Mo et al. 2020)
    l2_sp: float = 0.0  # pull of every trained weight towards the donor's (Li et al. 2018), per step over its rate
    d_warm_up: int = 0  # steps in which D alone is trained: for a donor without one
    warm_up: int = 0  # steps in which the learning rates rise to their value, for Adam starts afresh

    # Ours; a paper's preset leaves these off
    ema_decay: float = 0.0  # 0: no average; the snapshot is the generator itself
    augment: str = ""  # of color, translation, cutout (Zhao et al. 2020), comma-separated, on every input of D
    transition_from: int = 0  # class conditioning is off until here ...
    transition_to: int = 0  # ... and full from here on (Shahbazi et al. 2022)

    # The machine
    device: str = "auto"  # auto (a GPU where there is one), cpu, cuda, or cuda:1, one GPU of several
    precision: str = "fp32"  # fp32 or bf16
    speed: str = ""  # gpu or cpu: a row of SPEEDS, settings for speed in place of the preset's; the same algorithm
    tf32: bool = True  # on a GPU: what is float32 is multiplied in TF32 (10 bits of mantissa)
    compile: str = "auto"  # the steps, by torch.compile: on, off, auto (on where 5,000 iterations repay it), or
    # graphs: compiled, and replayed as CUDA graphs
    one_pass: bool = False  # real and fake images go through D together: the same algorithm, other roundings
    channels_last: bool = False
    threads: int = 0  # 0: torch's own choice
    micro_batch: int = 0  # images computed at once, for memory alone: a whole number of batch-norm groups (0: all)

    # What is kept
    log_every: int = 100
    sample_every: int = 1000
    snapshot_every: int = 5000
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2  # the last ones
    spectrum_every: int = 5000  # exact singular values of D (0: never)
    score_every: int = 0  # 0: never; else `score` is measured so often, and the best snapshot becomes RUN/generator
    score: str = "kid1k_test"  # a protocol of `sngan evaluate`; Inception computes in `precision`
    patience: int = 0  # the run ends after so many scores without a better one (0: never)

    def __post_init__(self) -> None:
        from ..engine.losses import LOSSES
        from ..feed.augment import AUGMENTATIONS

        find_model(self.architecture)
        legal = {
            "loss": tuple(LOSSES), "precision": ("fp32", "bf16"), "conditioning": ("projection", "concat", "none"),
            "setting": ("", *SETTINGS), "method": ("", *METHODS), "penalty": ("", "gradient", "orthonormal"),
            "new_classes": ("mean", "nearest", "fresh"), "trained": ("all", "tables", "gains"),
            "speed": ("", *SPEEDS), "compile": ("on", "off", "auto", "graphs"),
        }  # fmt: skip
        for name, values in legal.items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, legal are {', '.join(filter(None, values))}")
        at_least = {
            1: ("n_dis", "batch_size", "g_batch_size", "log_every", "sample_every", "snapshot_every",
                "checkpoint_every", "keep_checkpoints"),
            0: ("lr_g", "lr_d", "decay_from", "seed", "threads", "transition_from", "bn_group_d", "bn_group_g",
                "micro_batch", "penalty_weight", "clip", "stored_size", "spectrum_every", "score_every", "steps",
                "patience", "freeze_d", "l2_sp", "warm_up", "d_warm_up"),
        }  # fmt: skip
        for least, names in at_least.items():
            for name in names:
                if not getattr(self, name) >= least:
                    raise ValueError(f"{name}: got {getattr(self, name)}, legal is {least} or more")
        for name in ("beta1", "beta2", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, legal is 0 or more and under 1")
        if not 0 < self.crop <= 1:
            raise ValueError(f"crop: got {self.crop}, legal is above 0 and up to 1")
        if self.penalty == "gradient" and self.augment:
            raise ValueError("penalty, augment: the gradient penalty is of images as they are; set one of the two off")
        if self.l2_sp and not self.donor:
            raise ValueError(f"l2_sp: got {self.l2_sp}, which pulls towards a donor; this run has none")
        if self.score_every and self.held_out == "none":
            raise ValueError("held_out, score_every: got none, but scores need held-out images: tenth, or a folder")
        if self.patience and not self.score_every:
            raise ValueError(f"patience: got {self.patience}, which counts scores; set --score_every too")
        if self.steps < 1 and not self.donor:
            raise ValueError(f"steps: got {self.steps}, legal is 1 or more")
        for name in ("generator_fields", "discriminator_fields"):
            try:
                legal_json = isinstance(json.loads(getattr(self, name)), dict)
            except json.JSONDecodeError:
                legal_json = False
            if not legal_json:
                raise ValueError(
                    f'{name}: got {getattr(self, name)!r}, legal is a JSON object such as {{"widths": []}}'
                )
        for name in ("decay", "transition"):
            if getattr(self, f"{name}_to") < getattr(self, f"{name}_from"):
                raise ValueError(f"{name}_to: got {getattr(self, f'{name}_to')}, before {name}_from")
        for name in self.augmentations():
            if name not in AUGMENTATIONS:
                raise ValueError(f"augment: got {name!r}, legal are {', '.join(AUGMENTATIONS)}")

    def augmentations(self) -> list[str]:
        return [name for name in self.augment.split(",") if name]

    def lr_scale(self, step: int) -> float:
        """The factor of update ``step`` (0-based): Chainer's LinearShift, which sets the rate after the update."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        if step <= self.decay_from or self.decay_from == self.decay_to:
            return 1.0
        return max(0.0, (self.decay_to - step) / (self.decay_to - self.decay_from))

    @property
    def split(self) -> str:
        """Of the data: what is trained on."""
        return "train" if self.held_out == "tenth" else "all"

    @property
    def test_folder(self) -> str:
        """Of held-out images, apart from the data; empty where they are the data's own."""
        return "" if self.held_out in ("tenth", "none") else self.held_out

    def stretches_at_load(self, size: int) -> bool:
        """Whether a folder of image files is stretched as it is read; larger stored images are at each batch."""
        return self.contrast_stretch and self.crop == 1 and self.stored_size in (0, size)

    def autocast(self, device: torch.device) -> torch.autocast:
        # Not accelerate's: its precision is fixed by the first Accelerator of the process, whatever later ones ask for.
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def class_strength(self, step: int) -> float:
        if step >= self.transition_to:
            return 1.0
        return max(0.0, (step - self.transition_from) / (self.transition_to - self.transition_from))


#: Fields that cannot change the result so far: a resumed run may differ in them.
FREE = {
    "out", "data", "source", "setting", "method", "speed", "n_classes", "micro_batch", "steps", "log_every",
    "sample_every", "snapshot_every", "checkpoint_every", "keep_checkpoints", "spectrum_every", "score_every", "score",
    "patience", "held_out", "device",
}  # fmt: skip


def make_config(preset: str, **overrides: Any) -> Config:
    """The preset's row over the defaults, then a setting's, a method's and a speed's row, then ``overrides``.

    Raises ``ValueError`` naming what is wrong.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset: got {preset!r}{nearest(preset, PRESETS)}")
    fields = {field.name for field in dataclasses.fields(Config)}
    for name in overrides:
        if name not in fields:
            raise ValueError(f"config: unknown key {name!r}{nearest(name, fields)}")
    setting, method, speed = (str(overrides.get(name, "")) for name in ("setting", "method", "speed"))
    values: dict[str, Any] = {"preset": preset}
    rows = SETTINGS.get(setting, {}), METHODS.get(method, {}), SPEEDS.get(speed, {})
    for row in (PRESETS[preset], *rows, overrides):
        values |= row
    if isinstance(values.get("discriminator_fields"), dict):
        values["discriminator_fields"] = json.dumps(values["discriminator_fields"])
    return Config(**values)


def save_config(config: Config, path: Path) -> None:
    """Written whole or not at all."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def same_rates(old: Config, new: Config, done: int) -> bool:
    """Whether the learning rates of steps 0 to ``done`` - 1 are the same.

    Both fall piecewise linearly: where they agree next to every corner, they agree in between.
    """
    corners = {0, done - 1}
    for config in (old, new):
        corners |= {config.warm_up, config.decay_from, config.decay_to}
    beside = {corner + k for corner in corners for k in (-1, 0, 1)}
    return all(old.lr_scale(step) == new.lr_scale(step) for step in beside if 0 <= step < done)


def differences(old: dict[str, Any], new: Config, done: int) -> list[str]:
    """What a resumed run would change and must not, one line each. ``done`` steps lie behind it.

    The schedule may change where no finished step's learning rate does.
    """
    now = dataclasses.asdict(new)
    old = {**dataclasses.asdict(Config()), "compile": "off", **old}  # fields that are new since then
    free = FREE | ({"decay_from", "decay_to"} if same_rates(Config(**old), new, done) else set())
    return [
        f"{name}: was {old.get(name)!r}, now {now[name]!r}"
        for name in now
        if name not in free and old.get(name) != now[name]
    ]
