"""Entry points for ``torch.hub``: ``torch.hub.load("sngan-hub/sngan-hub", "sngan_fashion32")``.

Every entry returns a network in eval mode. ``pretrained=False`` builds it untrained; ``weights`` names a tag, a folder
or a Hub repository id instead of the default weights.
"""

dependencies = ["torch", "torchvision", "safetensors", "huggingface_hub", "PIL", "numpy", "tqdm"]

from sngan_hub import create_discriminator as _create_discriminator  # noqa: E402
from sngan_hub import create_generator as _create_generator  # noqa: E402
from sngan_hub import load_discriminator as _load_discriminator  # noqa: E402
from sngan_hub import load_generator as _load_generator  # noqa: E402


def _generator(name, weights, pretrained, **overrides):
    return _load_generator(name, weights, **overrides) if pretrained else _create_generator(name, **overrides)


def _discriminator(name, weights, pretrained, **overrides):
    return _load_discriminator(name, weights, **overrides) if pretrained else _create_discriminator(name, **overrides)


def sngan_fashion32(weights=None, pretrained=True, **overrides):
    """Generator of clothing by class, 32 px (Fashion-MNIST). ``.sample(classes=["Sneaker"], n=8, seed=0)``"""
    return _generator("sngan_fashion32", weights, pretrained, **overrides)


def sngan_fashion32_discriminator(weights=None, pretrained=True, **overrides):
    """Discriminator of sngan_fashion32: images (N, 3, 32, 32) in [-1, 1] and labels (N,) -> scores (N, 1)."""
    return _discriminator("sngan_fashion32", weights, pretrained, **overrides)


def sngan_avatars32(weights=None, pretrained=True, **overrides):
    """Generator of drawn avatars by style, 32 px. ``.sample(classes=["planets"], n=8, seed=0)``"""
    return _generator("sngan_avatars32", weights, pretrained, **overrides)


def sngan_avatars32_discriminator(weights=None, pretrained=True, **overrides):
    """Discriminator of sngan_avatars32: images (N, 3, 32, 32) in [-1, 1] and labels (N,) -> scores (N, 1)."""
    return _discriminator("sngan_avatars32", weights, pretrained, **overrides)
