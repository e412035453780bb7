"""Every setting of a run, in groups: default, meaning, legal values, and whether a resumed run may change it.

The flags of the commands and their help, the checks of a config, the rules of resuming and docs/settings.md are made
from these rows.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from .presets import METHODS, PRESETS, SETTINGS, SPEEDS


class Meaning(NamedTuple):
    """The description of a setting, apart from its default."""

    help: str
    choices: tuple[str, ...] = ()
    least: float | None = None
    below: float | None = None
    resume: bool = False  # a resumed run may change it, because it does not affect the finished steps
    flag: str = ""  # if it differs from the name
    resume_if: str = ""  # the condition under which a resumed run may change it, for docs/settings.md


def option(default: Any, help: str, **known: Any) -> Any:
    """A field of a group. ``known``: further fields of ``Meaning``."""
    return dataclasses.field(default=default, metadata={"meaning": Meaning(help, **known)})


SAME_VALUES = "if the values that it selects stay the same"
SAME_RATES = "if the learning rates of the finished steps stay the same"
NOT_BEGUN = "before the augmentation starts, to an iteration that is not yet computed"


@dataclass(frozen=True)
class ModelSettings:
    """Model"""

    preset: str = option("fashion32", "Recipe that the other settings start from.", choices=tuple(PRESETS))
    source: str = option("ours", "Where the numbers of the preset come from.", resume=True)
    setting: str = option(
        "", "Optimiser settings A to F of the SN paper (Table 1), in place of the preset's.",
        choices=("", *SETTINGS), resume=True, resume_if=SAME_VALUES,
    )  # fmt: skip
    method: str = option(
        "", "Method that the SN paper compares, in place of the preset's.", choices=("", *METHODS), resume=True,
        resume_if=SAME_VALUES,
    )  # fmt: skip
    architecture: str = option("sngan_fashion32", "Architecture, as `sngan list` names it.")
    conditioning: str = option(
        "projection", "How the discriminator uses the class. With none, both networks are unconditional.",
        choices=("projection", "concat", "none"),
    )  # fmt: skip
    generator_fields: str = option(
        "{}", "Constructor arguments of the generator that differ from the architecture's, as a JSON object."
    )
    discriminator_fields: str = option("{}", "The same for the discriminator.")


@dataclass(frozen=True)
class DataSettings:
    """Data"""

    data: str = option(
        "", "Training images: fashion, avatars, cifar10, cifar100, stl10, a prepared folder, or a folder with one "
        "folder per class.", resume=True, resume_if="the path, if the images are the same",
    )  # fmt: skip
    held_out: str = option(
        "tenth", "Images for scores: tenth (every tenth image of a folder's classes), none, or a folder.", resume=True,
        resume_if="if the training images stay the same",
    )  # fmt: skip
    n_classes: int = option(
        0, "Number of classes for a dry run without data. 0: that of the data.", least=0, resume=True
    )
    stored_size: int = option(0, "Side of the stored images in pixels. 0: that of the network.", least=0)
    crop: float = option(
        1.0, "Side of a random crop as a fraction of the image's side; the crop is resized to the network's size."
    )
    contrast_stretch: bool = option(
        False, "Stretch the values of each image to 0..255 before it is resized (authors' datasets/imagenet.py)."
    )
    flip: bool = option(False, "Flip real images horizontally at random.")


@dataclass(frozen=True)
class GameSettings:
    """Loss and batch sizes"""

    loss: str = option("hinge", "Adversarial loss.", choices=("hinge", "non_saturating", "wasserstein"))
    penalty: str = option(
        "", "Penalty added to the discriminator's loss: gradient (Gulrajani et al. 2017), r1 (Mescheder et al. "
        "2018) or orthonormal (Brock et al. 2016).", choices=("", "gradient", "r1", "orthonormal"),
    )  # fmt: skip
    penalty_weight: float = option(10.0, "Weight of the penalty.", least=0)
    penalty_every: int = option(
        1, "Iterations from one penalty to the next. The penalty is multiplied by this number (lazy regularisation, "
        "Karras et al. 2020).", least=1,
    )  # fmt: skip
    clip: float = option(0.0, "Clip every parameter of the discriminator to +-clip after its step. 0: off.", least=0)
    n_dis: int = option(5, "Discriminator steps per iteration.", least=1)
    batch_size: int = option(64, "Real images, and as many generated ones, per discriminator step.", least=1)
    g_batch_size: int = option(128, "Generated images per generator step.", least=1)
    bn_group_d: int = option(
        0, "Consecutive images that share batch-norm statistics of the generator in discriminator steps. 0: all.",
        least=0,
    )  # fmt: skip
    bn_group_g: int = option(0, "The same in generator steps. The paper's processes had 16 and 32 images.", least=0)


@dataclass(frozen=True)
class ScheduleSettings:
    """Schedule"""

    steps: int = option(50_000, "Number of iterations.", least=0, resume=True)
    lr_g: float = option(2e-4, "Learning rate of the generator.", least=0)
    lr_d: float = option(2e-4, "Learning rate of the discriminator.", least=0)
    beta1: float = option(0.0, "Adam's decay rate of the mean.", least=0, below=1)
    beta2: float = option(0.9, "Adam's decay rate of the variance.", least=0, below=1)
    decay_from: int = option(0, "Iteration from which the learning rates fall linearly.", least=0, resume_if=SAME_RATES)
    decay_to: int = option(
        50_000, "Iteration at which they reach 0. Equal to decay_from: no decay.", least=0, resume_if=SAME_RATES
    )
    warm_up: int = option(0, "Iterations in which the learning rates rise linearly from 0.", least=0)
    seed: int = option(0, "Seed of every random number.", least=0, below=2**63)


@dataclass(frozen=True)
class FineTuningSettings:
    """Fine-tuning"""

    donor: str = option("", "Model whose weights the run starts from.", flag="from")
    new_classes: str = option(
        "mean", "Start of classes that the donor does not have: the mean of its classes, the nearest ones, or fresh.",
        choices=("mean", "nearest", "fresh"),
    )  # fmt: skip
    like: str = option("", 'Classes to start from, by name: "my dog=golden retriever;my cat=tabby".')
    class_order: str = option("[]", "Class names, the donor's first, as a JSON list. Set when the run starts.")
    trained: str = option(
        "all", "Weights that are trained: all, tables (class tables, D's output layer), or gains (gains and biases).",
        choices=("all", "tables", "gains"),
    )  # fmt: skip
    freeze_d: int = option(
        0, "First blocks of the discriminator that are not trained (FreezeD, Mo et al. 2020).", least=0
    )
    l2_sp: float = option(
        0.0,
        "Regularisation of trained weights towards the donor's (L2-SP, Li et al. 2018), per unit of learning rate.",
        least=0,
    )
    d_warm_up: int = option(
        0, "Iterations at the start in which only the discriminator is trained. `sngan finetune` sets 200 if the donor "
        "has none.", least=0,
    )  # fmt: skip


@dataclass(frozen=True)
class AdditionSettings:
    """Additions that a paper's preset does not use"""

    ema_decay: float = option(0.0, "Decay of the average of the generator's weights. 0: no average.", least=0, below=1)
    augment: str = option(
        "",
        "Augmentation of every input of the discriminator (Zhao et al. 2020): of color, translation, cutout, separated "
        "by commas.",
    )  # fmt: skip
    augment_from: int = option(
        0, "Iteration from which images are augmented.", least=0, resume_if=NOT_BEGUN,
    )  # fmt: skip
    noise: float = option(
        0.0, "Standard deviation of Gaussian noise on every input of the discriminator (instance noise, Sonderby et "
        "al. 2017), in units of the images' range of -1 to 1.", least=0,
    )  # fmt: skip
    noise_to: int = option(0, "Iteration at which this noise has fallen linearly to 0. 0: it does not fall.", least=0)
    diversity_weight: float = option(
        0.0, "Weight of the similarity of generated images in the generator's loss, which pushes similar images of a "
        "class apart (after Yang et al. 2019).", least=0,
    )  # fmt: skip
    diversity_distance: float = option(
        0.2, "Two images of a class are similar if they differ by less than this: the root mean square difference of "
        "their values (-1 to 1) on a grid of 16x16 squares.", least=0,
    )  # fmt: skip
    transition_from: int = option(
        0, "Iteration from which class conditioning is faded in (class transition, Shahbazi et al. 2022).", least=0
    )
    transition_to: int = option(0, "Iteration from which class conditioning has full strength.", least=0)


@dataclass(frozen=True)
class MachineSettings:
    """Machine"""

    device: str = option("auto", "auto (an NVIDIA GPU if there is one), cpu, cuda, or cuda:1.", resume=True)
    precision: str = option("fp32", "Precision of the networks.", choices=("fp32", "bf16"))
    speed: str = option(
        "", "Settings for speed in place of the preset's: gpu or cpu. The algorithm is the same.",
        choices=("", *SPEEDS), resume=True, resume_if=SAME_VALUES,
    )  # fmt: skip
    tf32: bool = option(True, "Multiply float32 in TF32 (10 bits of mantissa) on a GPU.")
    compile: str = option(
        "auto",
        "Compile the steps with torch.compile. graphs: compile, and replay iterations as CUDA graphs. graphs_only: "
        "CUDA graphs without compilation, which start at once. auto: compile from 5,000 iterations on, where it is "
        "faster; CUDA graphs on one GPU.", choices=("on", "off", "auto", "graphs", "graphs_only"),
        resume=True,
        resume_if="yes, but the results may differ by rounding errors; `auto` keeps the value that it selected",
    )  # fmt: skip
    one_pass: bool = option(False, "Real and generated images go through the discriminator in one pass.")
    channels_last: bool = option(False, "Use the channels-last memory format.")
    threads: int = option(0, "CPU threads. 0: as torch chooses.", least=0, below=1025, resume=True)
    micro_batch: int = option(
        0, "Images computed at once, to save memory: a multiple of the batch-norm groups. 0: all.", least=0, resume=True
    )


@dataclass(frozen=True)
class OutputSettings:
    """Output"""

    out: str = option("", "Folder of the run. The same command resumes the run in it.", resume=True)
    log_every: int = option(100, "Iterations between lines of log.jsonl.", least=1, resume=True)
    sample_every: int = option(1000, "Iterations between grids of samples.", least=1, resume=True)
    snapshot_every: int = option(5000, "Iterations between snapshots of the networks.", least=1, resume=True)
    checkpoint_every: int = option(1000, "Iterations between checkpoints.", least=1, resume=True)
    keep_checkpoints: int = option(2, "Checkpoints that are kept.", least=1, resume=True)
    spectrum_every: int = option(
        5000, "Iterations between exact singular values of the discriminator. 0: never.", least=0, resume=True
    )
    score_every: int = option(
        0, "Iterations between scores; RUN/generator is then the snapshot with the best one. 0: never.", least=0,
        resume=True,
    )  # fmt: skip
    score: str = option("kid1k_test", "Protocol of the scores, as `sngan evaluate` names it.", resume=True)
    patience: int = option(0, "Scores without a better one after which the run ends. 0: never.", least=0, resume=True)


#: In the order of the help and of docs/settings.md
GROUPS = (ModelSettings, DataSettings, GameSettings, ScheduleSettings, AdditionSettings, FineTuningSettings,
          MachineSettings, OutputSettings)  # fmt: skip


def meaning(field: dataclasses.Field[Any]) -> Meaning:
    return field.metadata["meaning"]


def flag(field: dataclasses.Field[Any]) -> str:
    return "--" + (meaning(field).flag or field.name).replace("_", "-")


def check_setting(field: dataclasses.Field[Any], value: Any) -> None:
    """Raises ``ValueError`` that states the setting, the legal values and the given one."""
    known = meaning(field)
    if known.choices and value not in known.choices:
        raise ValueError(f"{field.name} must be one of {', '.join(filter(None, known.choices))} (got {value!r})")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{field.name} must be a finite number (got {value})")
    if known.least is None:
        return
    if known.below is not None and not known.least <= value < known.below:
        raise ValueError(f"{field.name} must be at least {known.least:g} and below {known.below:,} (got {value})")
    if not value >= known.least:
        raise ValueError(f"{field.name} must be {known.least:g} or more (got {value})")


def settings_tables() -> list[str]:
    """The lines of docs/settings.md: a table for each group."""
    lines: list[str] = []
    for group in GROUPS:
        lines += ["", f"## {group.__doc__}", "", "| flag | default | meaning | a resumed run may change it |",
                  "|---|---|---|---|"]  # fmt: skip
        for field in dataclasses.fields(group):
            if field.name in ("source", "class_order"):  # set by the preset or the run; no flags
                continue
            known, default = meaning(field), field.default
            shown = str(default).lower() if isinstance(default, bool) else str(default)
            legal = f" One of {', '.join(f'`{c}`' for c in known.choices if c)}." if known.choices else ""
            if field.name == "preset":
                shown, legal = "", " `train` needs it; `sngan train --help` lists the names."
            lines.append(f"| `{flag(field)}` | {f'`{shown}`' if shown else ''} | {known.help}{legal} | "
                         f"{known.resume_if or ('yes' if known.resume else 'no')} |")  # fmt: skip
    return lines[1:]
