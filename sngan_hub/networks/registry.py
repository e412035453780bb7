"""The table MODELS of architectures by name, and functions that build them untrained. Weights: weights/records.py."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..text import nearest
from .base import AnyDiscriminator, AnyGenerator
from .cnn import CNNDiscriminator, CNNGenerator, GanLibResNetDiscriminator, GanLibResNetGenerator
from .resnet import ROWS, Discriminator, Generator

#: Family -> its pair of classes. The CNNs and chainer-gan-lib's networks are unconditional.
FAMILIES: dict[str, tuple[type[AnyGenerator], type[AnyDiscriminator]]] = {
    "resnet": (Generator, Discriminator),
    "cnn": (CNNGenerator, CNNDiscriminator),
    "ganlib_resnet": (GanLibResNetGenerator, GanLibResNetDiscriminator),
}


class Model(NamedTuple):
    """An architecture: image size, number of classes, and arguments that differ from the defaults of its family."""

    size: int
    n_classes: int = 0
    generator: dict[str, Any] = {}  # arguments that differ from the row of this size
    discriminator: dict[str, Any] = {}
    family: str = "resnet"


def _row(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    row = ROWS[name]
    return (
        {"widths": [row.g_base * k for k in row.g_widths], "bottom_width": row.bottom_width},
        {"widths": [row.d_base * k for k in row.d_widths], "down": row.d_down},
    )


# This project's own architectures, small enough to include in the package: the authors' at 32 px with fewer channels.
_SMALL_D = {"widths": [64, 96, 128, 128], "down": "1100", "head_bias": True}
_FASHION = {"widths": [128, 128, 64, 64]}, _SMALL_D
_AVATARS = {"widths": [128, 128, 128, 64]}, _SMALL_D

# The authors' 32-px discriminator, and a generator with fewer channels where maps are large: 11 MB for both in float32.
_CIFAR_SMALL = {"widths": [192, 192, 128, 96]}, {"widths": [128, 128, 128, 128], "down": "1100", "head_bias": True}

_GANLIB = {"widths": [64, 128, 128, 256, 256, 512, 512], "slope": 0.2}  # chainer-gan-lib, common/net.py

# fmt: off
MODELS: dict[str, Model] = {
    "sngan_imagenet128":               Model(128, 1000),
    "sngan_imagenet128_unconditional": Model(128),
    "sngan_imagenet64":                Model(64, 1000),
    "sngan_babyimagenet64":            Model(64, 100),
    "sngan_papaimagenet64":            Model(64, 100),
    "sngan_grandpaimagenet64":         Model(64, 100),
    "sngan_imagenet32":                Model(32, 1000),
    "sngan_imagenet32_unconditional":  Model(32),
    "sngan_dogcat64":                  Model(64, 143),
    "sngan_dogcat128":                 Model(128, 143, *_row("small")),
    "sngan_dogcat256":                 Model(256, 143),
    "sngan_cifar10":                   Model(32, 10),
    "sngan_cifar10_unconditional":     Model(32),
    "sngan_cifar10_small":             Model(32, 10, *_CIFAR_SMALL),
    "sngan_cifar100":                  Model(32, 100),
    "sngan_cifar100_unconditional":    Model(32),
    "sngan_stl10":                     Model(48),
    "sngan_celeba64":                  Model(64),
    "sngan_celeba128":                 Model(128),
    "sngan_lsun128":                   Model(128),
    "sngan_cnn_cifar10":               Model(32, family="cnn"),
    "sngan_cnn_stl10":                 Model(48, family="cnn"),
    "ganlib_dcgan_cifar10":            Model(32, 0, {}, _GANLIB, "cnn"),
    "ganlib_resnet_cifar10":           Model(32, family="ganlib_resnet"),
    "sngan_fashion32":                 Model(32, 10, *_FASHION),
    "sngan_avatars32":                 Model(32, 10, *_AVATARS),
}
# fmt: on


def create_generator(name: str, **overrides: Any) -> AnyGenerator:
    """An untrained generator.

    Args:
        name: name of an architecture; see ``list_models``.
        overrides: constructor arguments that replace those of the architecture.

    Returns:
        A generator in training mode, on the CPU.

    Raises:
        ValueError: if the name is unknown or an argument is invalid.

    Example:
        >>> generator = create_generator("sngan_imagenet128")
    """
    model = find_model(name)
    build, _ = FAMILIES[model.family]
    return build(**{"size": model.size, "n_classes": model.n_classes, **model.generator, **overrides})


def create_discriminator(name: str, **overrides: Any) -> AnyDiscriminator:
    """An untrained discriminator.

    Args:
        name: name of an architecture; see ``list_models``.
        overrides: constructor arguments that replace those of the architecture.

    Returns:
        A discriminator in training mode, on the CPU.

    Raises:
        ValueError: if the name is unknown or an argument is invalid.

    Example:
        >>> discriminator = create_discriminator("sngan_imagenet128")
    """
    model = find_model(name)
    _, build = FAMILIES[model.family]
    return build(**{"size": model.size, "n_classes": model.n_classes, **model.discriminator, **overrides})


def find_model(name: str) -> Model:
    """The row of ``MODELS``. Raises ``ValueError`` with similar names if the name is unknown."""
    if name not in MODELS:
        raise ValueError(f"there is no model {name!r}{nearest(name, MODELS)}")
    return MODELS[name]
