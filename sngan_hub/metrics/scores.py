"""Scores as pure functions of features."""

# Tensor.split and torch_fidelity have no types:
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

BLOCK = 10_000  # rows that are converted to float64 at once
PIECE = 1_000  # rows of a matrix of distances


def statistics(x: Tensor) -> dict[str, np.ndarray]:
    """Features (N, F) -> mean (F,) and covariance (F, F), as ``np.cov``, in float64 and block by block."""
    rows = x.split(BLOCK)
    mean = torch.stack([part.double().sum(0) for part in rows]).sum(0) / len(x)
    square = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    for part in rows:
        centred = part.double() - mean
        square.addmm_(centred.t(), centred)
    return {"mu": mean.numpy(), "sigma": (square / (len(x) - 1)).numpy()}


def fid(a: Tensor, b: Tensor) -> float:
    """Frechet distance of two sets of features (N, F), (M, F): Heusel et al. 2017; torch-fidelity's, in float64."""
    if min(len(a), len(b)) < 2:
        raise ValueError(f"fid needs at least 2 images on both sides (got {len(a)} and {len(b)})")
    return fid_of(statistics(a), statistics(b))


def fid_of(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    """``fid`` of two ``statistics``."""
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    return fid_statistics_to_metric(a, b, verbose=False)["frechet_inception_distance"]


def kid(a: Tensor, b: Tensor, of_b: float | None = None) -> float:
    """Squared MMD with the kernel (x.y / F + 1)^3, unbiased, over all images at once: Binkowski et al. 2018.

    ``of_b``: ``mean_kernel(b)``, if it is known.
    """
    across = sum(float(_kernel(x, y).sum()) for x in a.split(PIECE) for y in b.split(PIECE)) / (len(a) * len(b))
    return mean_kernel(a) + (mean_kernel(b) if of_b is None else of_b) - 2 * across


def mean_kernel(x: Tensor) -> float:
    """Mean of the kernel of ``kid`` over all pairs of different rows, piece by piece: (N, N) may not fit in memory."""
    parts, total = x.split(PIECE), 0.0
    for i, part in enumerate(parts):
        own = _kernel(part, part)
        total += float(own.sum() - own.diagonal().sum())
        total += 2 * sum(float(_kernel(part, other).sum()) for other in parts[i + 1 :])
    return total / (len(x) * (len(x) - 1))


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x.double() @ y.double().t() / x.shape[1] + 1) ** 3


class Repeated(NamedTuple):
    """A score that is the mean of several, and their standard deviation."""

    mean: float
    deviation: float


def kid_of_subsets(a: Tensor, b: Tensor, subsets: int = 100, size: int = 1000) -> Repeated:
    """Mean ``kid`` of random subsets of ``size`` images of each side: torch-fidelity's KID, with its seed.

    The subsets alone are converted to float64: the features of ImageNet would take 21 GB.
    """
    if min(len(a), len(b)) < size:
        raise ValueError(f"kid needs at least {size} images on both sides (got {len(a)} and {len(b)})")
    rng, found = np.random.RandomState(2020), list[float]()
    for _ in range(subsets):
        first, second = (torch.from_numpy(rng.choice(len(x), size, replace=False)) for x in (a, b))
        found.append(kid(a[first], b[second]))
    return Repeated(float(np.mean(found)), float(np.std(found)))


def inception_score(logits: Tensor, splits: int = 10, shuffle: bool = True) -> Repeated:
    """exp of the mean KL divergence between p(y|x) and p(y), for each split: Salimans et al. 2016; torch-fidelity's.

    ``logits``: (N, 1008), without the bias, as in OpenAI's code. ``shuffle``: with torch-fidelity's seed; otherwise the
    splits are consecutive.
    """
    from torch_fidelity.metric_isc import isc_features_to_metric

    found = isc_features_to_metric(logits, splits=splits, shuffle=shuffle, rng_seed=2020)
    return Repeated(found["inception_score_mean"], found["inception_score_std"])


def inception_score_chainer(logits: Tensor, splits: int = 10) -> Repeated:
    """The same formula on columns 1 to 1000 of the softmax over 1,008, not normalised again, in consecutive splits.

    ``logits``: (N, 1008), with the bias. Source: the authors' evaluation without ``--tf``
    (source/inception/inception_score.py). Their network also resizes and pools in another way, which is not repeated.
    """
    p = logits.double().softmax(1)[:, 1:1001]
    parts = [p[i * len(p) // splits : (i + 1) * len(p) // splits] for i in range(splits)]
    scores = [float((part * (part.log() - part.mean(0, keepdim=True).log())).sum(1).mean().exp()) for part in parts]
    return Repeated(float(np.mean(scores)), float(np.std(scores)))


def prdc(fake: Tensor, real: Tensor, k: int = 5) -> dict[str, float]:
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020), with k neighbours.

    precision: share of fake images within the ball of a real image, whose radius is the distance to its k-th
    neighbour; recall: share of real images within the ball of a fake one; density: balls of real images around a fake
    image, over k; coverage: share of real images whose ball has a fake image.

    Args:
        fake: features (N, F) of generated images.
        real: features (M, F) of real images.
        k: neighbours; each side needs more images than that.

    Returns:
        precision, recall and coverage from 0 to 1; density from 0, which can be above 1.

    Raises:
        ValueError: if a side has too few images.
    """
    if min(len(fake), len(real)) <= k:
        raise ValueError(f"prdc needs more than {k} images on both sides (got {len(fake)} and {len(real)})")
    fake, real = fake.double(), real.double()
    of_real, of_fake = radii(real, k), radii(fake, k)
    precise, density = 0.0, 0.0
    recalled = torch.zeros(len(real), dtype=torch.bool)
    nearest = torch.full((len(real),), torch.inf, dtype=torch.float64)
    for part, radius in zip(fake.split(PIECE), of_fake.split(PIECE), strict=True):
        distance = torch.cdist(part, real)  # (n, M)
        inside = distance <= of_real
        precise += float(inside.any(1).sum())
        density += float(inside.sum())
        recalled |= (distance <= radius[:, None]).any(0)
        nearest = torch.minimum(nearest, distance.amin(0))
    return {
        "precision": precise / len(fake),
        "recall": float(recalled.double().mean()),
        "density": density / (k * len(fake)),
        "coverage": float((nearest <= of_real).double().mean()),
    }


def radii(x: Tensor, k: int) -> Tensor:
    """Distance of each row of (N, F) to its k-th neighbour, without itself -> (N,)."""
    return torch.cat([torch.cdist(part, x).topk(k + 1, largest=False).values[:, k] for part in x.split(PIECE)])


def mean_pairwise_distance(x: Tensor) -> float:
    """Mean Euclidean distance over all pairs of rows of (N, F)."""
    return float(torch.pdist(x).mean())
