"""Computes the exact singular values of every layer: the effect of spectral normalisation (SN paper, Fig. 3).

Convolution weights are matrices (out-channels, rest). Values are those of the weight that the layer uses: if it is
spectrally normalised, it is divided by the estimate of sigma, so the largest value should be 1, or the layer's gain.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..evaluating import evaluating
from ..layers.normalizers import Conv2d, Embedding, Linear
from ..layers.spectral_norm import SpectralNorm


class Spectrum(NamedTuple):
    layer: str
    shape: tuple[int, int]  # of the matrix
    values: Tensor  # singular values, largest first, float64
    sigma: float | None  # the estimate of sigma; None without spectral normalisation

    @property
    def stable_rank(self) -> float:
        """The sum of the squared singular values, divided by the largest one squared."""
        return float((self.values**2).sum() / self.values[0] ** 2)


@torch.no_grad()
def spectra(network: nn.Module) -> list[Spectrum]:
    """One row per convolution, linear layer and class table, in network order. Does not change the network.

    Computed on the CPU: a Mac's GPU has no float64.
    """
    rows = []
    for name, layer in evaluating(network).named_modules():
        if isinstance(layer, Conv2d | Linear | Embedding):
            used = layer.effective_weight().cpu().double().flatten(1)
            sigma = None
            if isinstance(layer.normalize, SpectralNorm):
                sigma = float(layer.normalize.sigma(layer, layer.weight.flatten(1)))
            rows.append(Spectrum(name, (used.shape[0], used.shape[1]), torch.linalg.svdvals(used), sigma))
    return rows


def table(rows: list[Spectrum]) -> list[list[str]]:
    """Header and rows of text: the largest and smallest singular value, sigma's estimate, the stable rank."""
    cells = [["layer", "matrix", "largest", "smallest", "divided by", "stable rank"]]
    for row in rows:
        cells.append([
            row.layer, f"{row.shape[0]} x {row.shape[1]}", f"{row.values[0]:.4f}", f"{row.values[-1]:.4f}",
            "-" if row.sigma is None else f"{row.sigma:.4f}", f"{row.stable_rank:.1f} of {min(row.shape)}",
        ])  # fmt: skip
    return cells


def save_figure(rows: list[Spectrum], path: Path, title: str) -> None:
    """Squared singular values of each layer over its largest, against their rank: the axes of the paper's Fig. 3."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ValueError(f"{error}; figures need pip install 'sngan-hub[plots]'") from error
    rows = [row for row in rows if len(row.values) > 1]
    columns = min(4, len(rows))
    lines = -(-len(rows) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(3 * columns, 2.2 * lines), squeeze=False, sharey=True)
    for axis, row in zip(axes.flat, rows, strict=False):
        axis.plot(range(1, len(row.values) + 1), (row.values / row.values[0]) ** 2)
        axis.set_title(row.layer, fontsize=9)
        axis.set_ylim(0, 1.05)
        axis.tick_params(labelsize=7)
    for axis in list(axes.flat)[len(rows) :]:
        axis.axis("off")
    figure.suptitle(f"{title}: squared singular values, largest = 1", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
