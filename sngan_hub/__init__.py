"""SNGAN (spectral normalisation) and cGAN with projection discriminator: networks, trained weights, sampling.

Names are imported on first use, so that `sngan --help` does not import torch.

Example:
    >>> from sngan_hub import load_generator
    >>> images = load_generator("sngan_fashion32").sample(classes=["Sneaker"], n=4, seed=0)  # uint8 (4, 3, 32, 32)
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .convert import load_chainer, to_chainer
    from .hub.listing import list_models, list_weights
    from .hub.load import load_discriminator, load_generator
    from .layers.normalizers import spectral_norm
    from .metrics.discriminator_scores import scores_of
    from .metrics.protocols import evaluate
    from .networks.base import AnyDiscriminator, AnyGenerator
    from .networks.registry import MODELS, create_discriminator, create_generator
    from .networks.resnet import Discriminator, Generator
    from .sampling.morph import blend, morph, save_film, walk
    from .sampling.pictures import labelled_grid, save_png
    from .weights.record import Record, Score
    from .weights.records import WEIGHTS

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
    "blend",
    "create_discriminator",
    "create_generator",
    "evaluate",
    "labelled_grid",
    "list_models",
    "list_weights",
    "load_chainer",
    "load_discriminator",
    "load_generator",
    "morph",
    "save_film",
    "save_png",
    "scores_of",
    "spectral_norm",
    "to_chainer",
    "walk",
]

_MODULES = {  # the same names at run time
    "convert": ("load_chainer", "to_chainer"),
    "hub.listing": ("list_models", "list_weights"),
    "hub.load": ("load_discriminator", "load_generator"),
    "layers.normalizers": ("spectral_norm",),
    "metrics.discriminator_scores": ("scores_of",),
    "metrics.protocols": ("evaluate",),
    "networks.base": ("AnyDiscriminator", "AnyGenerator"),
    "networks.registry": ("MODELS", "create_discriminator", "create_generator"),
    "networks.resnet": ("Discriminator", "Generator"),
    "sampling.morph": ("blend", "morph", "save_film", "walk"),
    "sampling.pictures": ("labelled_grid", "save_png"),
    "weights.record": ("Record", "Score"),
    "weights.records": ("WEIGHTS",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        value = getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)
        globals()[name] = value
        return value
    if not name.startswith("_") and find_spec(f"{__name__}.{name}"):
        return import_module(f".{name}", __name__)  # makes the modules available after `import sngan_hub`
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
