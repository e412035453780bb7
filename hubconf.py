"""Entry points for ``torch.hub``: ``torch.hub.load("sngan-hub/sngan-hub", "sngan_imagenet128")``.

Every architecture has two entry points, NAME and NAME_discriminator, which return a trained network in eval mode.
``weights`` selects a tag, a file of another code base, a folder or a Hub repository instead of the default weights.
``pretrained=False`` returns an untrained network in training mode and accepts its constructor arguments.
"""

dependencies = ["torch", "torchvision", "safetensors", "huggingface_hub", "filelock", "PIL", "numpy", "tqdm"]

from sngan_hub import MODELS as _MODELS  # noqa: E402
from sngan_hub import WEIGHTS as _WEIGHTS  # noqa: E402
from sngan_hub import create_discriminator as _create_discriminator  # noqa: E402
from sngan_hub import create_generator as _create_generator  # noqa: E402
from sngan_hub import load_discriminator as _load_discriminator  # noqa: E402
from sngan_hub import load_generator as _load_generator  # noqa: E402
from sngan_hub.hub.listing import about_architecture as _about  # noqa: E402


def _entry(name, kind, create, load):
    def entry(weights=None, pretrained=True, **arguments):
        if weights is not None and not pretrained:
            raise ValueError(
                f"weights must be None with pretrained=False, which builds a new network (got {weights!r})"
            )
        return load(name, weights, **arguments) if pretrained else create(name, **arguments)

    entry.__name__ = entry.__qualname__ = name if kind == "generator" else f"{name}_discriminator"
    entry.__doc__ = _about(name, kind)
    return entry


for _name in [*_MODELS, *{record.architecture for record in _WEIGHTS.values()} - {*_MODELS}]:
    globals()[_name] = _entry(_name, "generator", _create_generator, _load_generator)
    globals()[f"{_name}_discriminator"] = _entry(_name, "discriminator", _create_discriminator, _load_discriminator)
