"""SNGAN (spectral normalisation) and cGAN with projection discriminator: networks, trained weights, sampling.

>>> from sngan_hub import load_generator
>>> images = load_generator("sngan_fashion32").sample(classes=["Sneaker"], n=4, seed=0)  # uint8 (4, 3, 32, 32)

A name is imported when it is first asked for, so that `sngan --help` does not wait for torch.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .convert import load_chainer, to_chainer
    from .hub.load import load_discriminator, load_generator
    from .layers.spectral_norm import spectral_norm
    from .networks.base import AnyDiscriminator, AnyGenerator
    from .networks.registry import MODELS, create_discriminator, create_generator, list_models
    from .networks.resnet import Discriminator, Generator
    from .sampling.pictures import labelled_grid, save_png
    from .weights.records import WEIGHTS, Record, Score

__version__ = "0.3.0"
__all__ = [
    "MODELS",
    "WEIGHTS",
    "AnyDiscriminator",
    "AnyGenerator",
    "Discriminator",
    "Generator",
    "Record",
    "Score",
    "create_discriminator",
    "create_generator",
    "labelled_grid",
    "list_models",
    "load_chainer",
    "load_discriminator",
    "load_generator",
    "save_png",
    "spectral_norm",
    "to_chainer",
]

_MODULES = {  # as above, for when the program runs
    "convert": ("load_chainer", "to_chainer"),
    "hub.load": ("load_discriminator", "load_generator"),
    "layers.spectral_norm": ("spectral_norm",),
    "networks.base": ("AnyDiscriminator", "AnyGenerator"),
    "networks.registry": ("MODELS", "create_discriminator", "create_generator", "list_models"),
    "networks.resnet": ("Discriminator", "Generator"),
    "sampling.pictures": ("labelled_grid", "save_png"),
    "weights.records": ("WEIGHTS", "Record", "Score"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
        globals()[name] = value
        return value
    if not name.startswith("_") and find_spec(f"{__name__}.{name}"):
        return import_module(f".{name}", __name__)  # `import sngan_hub` has always led to its modules
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
