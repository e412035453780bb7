"""SNGAN (spectral normalisation) and cGAN with projection discriminator: networks, trained weights, sampling.

>>> from sngan_hub import load_generator
>>> images = load_generator("sngan_fashion32").sample(classes=["Sneaker"], n=4, seed=0)  # uint8 (4, 3, 32, 32)
"""

from .convert import load_chainer, to_chainer
from .hub import load_discriminator, load_generator
from .models import MODELS, create_discriminator, create_generator, list_models
from .network import AnyDiscriminator, AnyGenerator
from .normalizers import spectral_norm
from .resnet import Discriminator, Generator
from .sampling import labelled_grid, save_png
from .weights import WEIGHTS, Record, Score

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
