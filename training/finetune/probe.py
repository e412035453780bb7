"""``sngan probe``: measures how well a linear classifier predicts the classes from a discriminator's features.

The features are not trained. A multinomial logistic regression is fitted to the training images of the source and
evaluated on its test images, also for an untrained discriminator of the same architecture.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sngan_hub.data import SOURCES, Images, load_images
from sngan_hub.hub.load import load_discriminator
from sngan_hub.metrics.discriminator_scores import as_input
from sngan_hub.networks.resnet import Discriminator
from sngan_hub.text import plural

from ..config.schema import Config, load_config
from ..engine.checkpoints import stored_fingerprint
from ..engine.run_folder import run_of
from ..feed.images import at_size, images_now, like_training
from ..feed.near_copies import check_no_training_images

BATCH = 100
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)  # on the squared weights; chosen on a tenth of the training images


def probe(
    model: str, source: str, n: int = 5000, layer: int | None = None, seed: int = 0, device: str = "cpu"
) -> dict[str, Any]:
    """Accuracies on up to ``n`` test images, with up to ``n`` training images.

    Raises ``ValueError`` if the model or the data cannot be used.
    """
    d = load_discriminator(model, device=device)
    if not isinstance(d, Discriminator):
        raise ValueError(f"--from must be a ResNet discriminator (got {model}, a {type(d).__name__})")
    stretch = config_of_run(model).contrast_stretch
    check_unseen(model, source, "test", d.size)
    damaged: list[str] = []
    both = (load_images(source, split, d.size, stretch, damaged) for split in ("train", "test"))
    train, test = (some_of(images, n, seed) for images in both)
    if damaged:
        print(f"data: {plural(len(damaged), 'damaged image')} of {source} left out: {'; '.join(damaged[:3])}",
              file=sys.stderr)  # fmt: skip
    if len(train.classes) < 2:
        raise ValueError(f"data must have 2 or more classes (got {source}, with 1)")
    torch.manual_seed(seed)
    untrained = Discriminator.from_config(d.config).eval().to(next(d.parameters()).device)
    result = {"model": model, "data": source, "layer": layer or len(d.blocks), "train": len(train.images),
              "test": len(test.images), "seed": seed, "chance": round(1 / len(train.classes), 4)}  # fmt: skip
    for name, network in (("trained", d), ("untrained", untrained)):
        x, x_test = (features(network, data, layer) for data in (train, test))
        mean, deviation = x.mean(0), x.std(0).clamp(min=1e-6)
        right = fit((x - mean) / deviation, torch.from_numpy(train.labels), seed)((x_test - mean) / deviation).argmax(1)
        result[name] = round(float((right == torch.from_numpy(test.labels)).float().mean()), 4)
    return result


def check_unseen(model: str, source: str, split: str, size: int) -> None:
    """Raises ``ValueError`` if a run was trained on images of this split of ``source``, in any folder, or if that is
    not known, because they are of the run's data, which have changed since.

    Prints a line if the data of the run cannot be read any more, or have changed.
    """
    config = config_of_run(model)
    if not config.data:
        return
    run = run_of(model)
    try:
        training, changed = images_now(stored_fingerprint(run) if run else "", config, size)
    except (ValueError, OSError) as error:
        print(f"data: could not compare {source} with the training images of {model}: {error}", file=sys.stderr)
        return
    since = f"data: the images of {config.data} have changed since {model} was trained"
    if changed and Path(config.data).resolve() == Path(source).resolve():
        raise ValueError(f"{since}, so it is not known which of them it has not seen; restore them, or name other "
                         f"images with --data")  # fmt: skip
    if changed:
        print(f"{since}, so {source} is compared with the present ones only", file=sys.stderr)
    if source in SOURCES:  # of one size, or drawn in this one
        training, seen = at_size(training, size), load_images(source, split, size)
    else:
        seen = like_training(source, split, training, config)
    check_no_training_images(seen, training, f"data: {source}")


def config_of_run(model: str) -> Config:
    """The settings of the run that ``model`` is or belongs to; the defaults for other models."""
    run = run_of(model)
    return load_config(run) if run else Config()


def some_of(data: Images, n: int, seed: int) -> Images:
    index = np.sort(np.random.default_rng(seed).permutation(len(data.images))[:n])
    return data._replace(images=np.asarray(data.images[index]), labels=data.labels[index], digest="")


@torch.no_grad()
def features(network: Discriminator, data: Images, layer: int | None) -> Tensor:
    device = next(network.parameters()).device
    parts = (data.images[i : i + BATCH] for i in range(0, len(data.images), BATCH))
    return torch.cat([network.features(as_input(part).to(device), layer).cpu() for part in parts])


class Linear:
    """Logits of a linear classifier."""

    def __init__(self, weight: Tensor, bias: Tensor):
        self.weight, self.bias = weight, bias

    def __call__(self, x: Tensor) -> Tensor:
        return x @ self.weight.t() + self.bias


def fit(x: Tensor, y: Tensor, seed: int) -> Linear:
    """Logistic regression. The penalty is chosen on a held-out tenth; then all images are used."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(x)))
    held, rest = order[: len(x) // 10], order[len(x) // 10 :]
    k = int(y.max()) + 1

    def accuracy(penalty: float) -> float:
        return float((logistic(x[rest], y[rest], k, penalty)(x[held]).argmax(1) == y[held]).float().mean())

    return logistic(x, y, k, max(PENALTIES, key=accuracy))


def logistic(x: Tensor, y: Tensor, k: int, penalty: float) -> Linear:
    """Minimises mean cross-entropy + ``penalty`` / 2 times the squared weights, by L-BFGS starting from 0."""
    weight = torch.zeros(k, x.shape[1], dtype=x.dtype, requires_grad=True)
    bias = torch.zeros(k, dtype=x.dtype, requires_grad=True)
    search = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        value = F.cross_entropy(x @ weight.t() + bias, y) + penalty / 2 * (weight**2).sum()
        value.backward()
        return value

    search.step(loss)  # type: ignore[arg-type]
    return Linear(weight.detach(), bias.detach())
