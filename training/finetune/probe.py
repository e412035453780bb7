"""``sngan probe``: measures how well a linear classifier predicts the classes from a discriminator's features.

With ``--calibrate``: fits the scores to log density ratios, for rejection sampling (sngan_hub/sampling/refine.py).

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

from sngan_hub.data import Images, load_images
from sngan_hub.hub.load import load_discriminator, load_generator
from sngan_hub.metrics.discriminator_scores import as_input, scores_of
from sngan_hub.networks.resnet import Discriminator
from sngan_hub.sampling.refine import Calibration, gamma_for
from sngan_hub.text import nearest

from ..config.schema import Config, load_config
from ..engine.run_folder import run_of
from ..feed.images import whole_images
from ..feed.near_copies import check_strangers

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
    stretch = _config_of(model).contrast_stretch
    train, test = (some_of(load_images(source, split, d.size, stretch), n, seed) for split in ("train", "test"))
    check_unseen(model, source, test, d.size)
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


ACCEPTANCE = 0.25  # mean acceptance probability in rejection sampling
FEWEST = 20  # minimum number of held-out images for a calibration
FEWEST_OF_CLASS = 5  # minimum number of held-out images of a class for its range of scores
PER_CLASS = 200  # minimum number of generated images per class for finding the largest ratio


def calibrate(model: str, source: str, seed: int = 0, device: str = "cpu") -> Calibration:
    """Fits the logistic function on the held-out images of the source and as many generated images of each class.

    Then finds the largest ratio among generated images. Raises ``ValueError`` if the data cannot be used.
    """
    g, d = load_generator(model, device=device), load_discriminator(model, device=device)
    test = load_images(source, held_out_split(model, source), d.size, _config_of(model).contrast_stretch, [])
    check_unseen(model, source, test, d.size)
    if d.n_classes:
        known = list(d.classes or map(str, range(d.n_classes)))
        if strangers := [name for name in test.classes if name not in known]:
            raise ValueError(
                f"data must have the discriminator's classes only (got {strangers[0]!r}){nearest(strangers[0], known)}"
            )
        labels = np.array([known.index(name) for name in test.classes])[test.labels]
    else:
        labels = np.zeros(len(test.labels), np.int64)
    if len(labels) < FEWEST:
        raise ValueError(f"data must have {FEWEST} or more held-out images (got {len(labels)} in {source})")
    k = max(d.n_classes, 1)
    of_class = torch.from_numpy(np.bincount(labels, minlength=k))
    drawn = max(PER_CLASS, int(of_class.max()))
    real = scores_of(d, np.asarray(test.images))[torch.arange(len(labels)), torch.from_numpy(labels)]
    fast = g.for_sampling()
    pictures = (fast.sample([label] if d.n_classes else None, drawn, seed + label) for label in range(k))
    of_g = torch.stack([scores_of(d, images)[:, label] for label, images in enumerate(pictures)])  # (classes, drawn)
    fake = torch.cat([scores[:count] for scores, count in zip(of_g, of_class, strict=True)])
    x, y = torch.cat([fake, real]).double()[:, None], torch.arange(2).repeat_interleave(len(real))
    spread = x.std()
    found = logistic(x / spread, y, 2, PENALTIES[0])
    slope = float((found.weight[1] - found.weight[0]) / spread)
    if slope <= 0:
        raise ValueError(f"--from must be a discriminator that scores held-out images above generated ones (got a "
                         f"slope of {slope:.3g}); use another model")  # fmt: skip
    offset = float(found.bias[1] - found.bias[0])
    ratios = slope * of_g.double() + offset
    largest = ratios.max(1, keepdim=True).values
    gamma = [gamma_for(over, ACCEPTANCE) for over in ratios - largest]
    names = list(d.classes or map(str, range(d.n_classes))) or ["score"]
    ranges = {
        name: {"real": percentiles(of_real), "generated": percentiles(of_g[label])}
        for label, name in enumerate(names)
        if len(of_real := real[torch.from_numpy(labels == label)]) >= FEWEST_OF_CLASS
    }
    return Calibration(slope, offset, largest[:, 0].tolist(), gamma, ACCEPTANCE, len(real), of_g.numel(), seed,
                       Path(source).name, ranges)  # fmt: skip


def percentiles(scores: Tensor) -> list[float]:
    """The 10th, 50th and 90th percentile, as the page's Score tab shows them."""
    return [round(value, 4) for value in scores.float().quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()]


def held_out_split(model: str, source: str) -> str:
    """The split of ``source`` that ``model`` was not trained on: all images of a run's ``held_out`` folder, otherwise
    every tenth image. Raises ``ValueError`` if a run was trained on all images of ``source``.
    """
    config = _config_of(model)
    if config.test_folder and Path(config.test_folder).resolve() == Path(source).resolve():
        return "all"
    if config.data and config.split == "all" and Path(config.data).resolve() == Path(source).resolve():
        raise ValueError(f"data must not be training images (got {source}, and {model} was trained on all of it); name "
                         f"a folder of other images, of which every tenth is used")  # fmt: skip
    return "test"


def check_unseen(model: str, source: str, test: Images, size: int) -> None:
    """Raises ``ValueError`` if a run was trained on these images, in any folder.

    Prints a line if the data of the run cannot be read any more.
    """
    config = _config_of(model)
    if not config.data:
        return
    try:
        training = whole_images(config, size)
    except (ValueError, OSError) as error:
        print(f"data: could not compare {source} with the training images of {model}: {error}", file=sys.stderr)
        return
    check_strangers(test, training, f"data: {source}")


def _config_of(model: str) -> Config:
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
