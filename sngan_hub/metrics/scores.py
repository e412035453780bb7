"""Scores as pure functions of features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def fid(a: Tensor, b: Tensor) -> float:
    """Frechet distance of two sets of features (N, F), (M, F): Heusel et al. 2017; torch-fidelity's, in float64."""
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    if min(len(a), len(b)) < 2:
        raise ValueError(f"fid needs at least 2 images on both sides (got {len(a)} and {len(b)})")
    statistics = [{"mu": x.mean(0), "sigma": np.cov(x, rowvar=False)} for x in (a.double().numpy(), b.double().numpy())]
    return fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]


def kid(a: Tensor, b: Tensor) -> float:
    """Squared MMD with the kernel (x.y / F + 1)^3, unbiased, over all images at once: Binkowski et al. 2018."""
    a, b = a.double(), b.double()

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.t() / x.shape[1] + 1) ** 3

    def off_diagonal(k: Tensor) -> Tensor:
        return (k.sum() - k.diagonal().sum()) / (len(k) * (len(k) - 1))

    value = off_diagonal(kernel(a, a)) + off_diagonal(kernel(b, b)) - 2 * kernel(a, b).mean()
    return float(value)


def mean_pairwise_distance(x: Tensor) -> float:
    """Mean Euclidean distance over all pairs of rows of (N, F)."""
    return float(torch.pdist(x).mean())
