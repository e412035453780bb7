"""Refines the images of a generator with its discriminator: rejection sampling (Azadi et al. 2019, Discriminator
Rejection Sampling) and Langevin steps in the latent space (Che et al. 2020, DDLS). Works with any pair of networks.

Both methods need the log ratio of densities, log p_real(x) - log p_G(x) = slope * score + offset. A calibration stores
slope and offset; ``sngan probe --calibrate`` fits them on held-out real images and on generated images. Image i depends
only on (seed, i): for any batch size and number of threads, pixels differ by at most one level.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..evaluating import evaluating
from ..files import write_json
from .generate import latents, uniforms

CALIBRATION = "calibration.json"  # in the discriminator's folder
CANDIDATES = 100  # at most, per image; if none is accepted, the one with the largest ratio is used
ACCEPTANCE, LANGEVIN = 2**32, 2**33  # random-number streams: added to the candidate's or the step's number
STEPS, STEP_SIZE = 50, 0.01
METHODS = ("rejection", "ddls")

Make = Callable[[Tensor, "Tensor | None", int, int], Tensor]  # z, y, seed, number of the first image -> images


@dataclass(frozen=True)
class Calibration:
    """``max_log_ratio`` and ``gamma``: one value per class of D, or a single value if D is unconditional."""

    slope: float
    offset: float
    max_log_ratio: list[float]  # the largest among generated images
    gamma: list[float]  # Azadi et al. 2019, eq. 8: chosen so that the share ``acceptance`` of the class is accepted
    acceptance: float
    real: int  # number of images that it was fitted on
    generated: int
    seed: int
    data: str = ""
    ranges: dict[str, dict[str, list[float]]] = field(default_factory=dict[str, dict[str, list[float]]])
    # class -> {"real", "generated"} -> 10th, 50th and 90th percentile of the scores

    def log_ratio(self, scores: Tensor) -> Tensor:
        return self.slope * scores + self.offset

    def acceptance_of(self, ratio: Tensor, y: Tensor | None) -> Tensor:
        """Log ratios (N,), labels (N,) -> acceptance probabilities. Ratios are clamped to the calibration's maximum."""
        of = torch.zeros(len(ratio), dtype=torch.int64) if y is None else y.cpu()
        over = (ratio.cpu().double() - torch.tensor(self.max_log_ratio, dtype=torch.float64)[of]).clamp(max=-1e-9)
        # F = d - M - log(1 - exp(d - M)) - gamma, accepted with sigmoid(F): with gamma 0 that is exp(d - M)
        return torch.sigmoid(over - torch.log(-torch.expm1(over)) - torch.tensor(self.gamma).double()[of])


def gamma_for(over: Tensor, acceptance: float) -> float:
    """The gamma that gives a mean acceptance probability of ``acceptance``, by bisection.

    ``over`` (N,): log ratios minus their maximum.
    """
    over = over.double().clamp(max=-1e-9)
    f = over - torch.log(-torch.expm1(over))
    low, high = float(f.min()) - 50, float(f.max()) + 50
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if torch.sigmoid(f - middle).mean() > acceptance else (low, middle)
    return low


def save_calibration(calibration: Calibration, folder: Path) -> Path:
    path = folder / CALIBRATION
    write_json(path, dataclasses.asdict(calibration))
    return path


def read_calibration(path: str | Path) -> Calibration:
    """Raises ``ValueError`` if the file is not a valid calibration."""
    try:
        calibration = Calibration(**json.loads(Path(path).read_text(encoding="utf-8")))
        numbers = [calibration.slope, calibration.offset, *calibration.max_log_ratio, *calibration.gamma]
        if not all(map(math.isfinite, numbers)) or len(calibration.gamma) != len(calibration.max_log_ratio):
            raise ValueError("numbers are missing or not finite")
        if not all(
            len(q) == 3 and all(map(math.isfinite, q)) for of in calibration.ranges.values() for q in of.values()
        ):
            raise ValueError("a range must have three finite numbers")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: this is not a valid calibration ({error}); fit it again with sngan probe --calibrate"
                         ) from error  # fmt: skip
    return calibration


def maker(
    method: str, generator: Any, discriminator: Any, calibration: Calibration, truncation: float | None = None
) -> Make:
    """The function that ``sample_batches`` calls in place of the generator.

    Raises ``ValueError`` if the arguments do not fit together.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)} (got {method!r})")
    if generator.n_classes != discriminator.n_classes or generator.size != discriminator.size:
        raise ValueError("generator and discriminator must have the same image size and number of classes")
    if len(calibration.gamma) != max(discriminator.n_classes, 1):
        raise ValueError(f"the calibration must have as many classes as the discriminator, {discriminator.n_classes} "
                         f"(got {len(calibration.gamma)})")  # fmt: skip
    generator, discriminator = evaluating(generator), evaluating(discriminator)
    if method == "ddls":
        if truncation is not None:
            raise ValueError(
                "truncation cannot be combined with Langevin steps, which leave |z| < truncation; use one of the two"
            )
        kind = next(generator.parameters()).device.type
        if kind == "mps":
            raise ValueError(f"device must be cpu or cuda for method ddls, which computes in float64 (got {kind}); use "
                             f"one of them, or method rejection")  # fmt: skip
        g, d = in_double(generator), in_double(discriminator)
        return lambda *request: langevin(g, d, calibration, *request)
    return lambda *request: rejection(generator, discriminator, calibration, truncation, *request)


def in_double(network: Any) -> Any:
    """A copy in float64. Raises ``ValueError`` for a generator converted by ``for_sampling()``: its dtype is fixed."""
    try:
        return copy.deepcopy(network).double()
    except ValueError as error:
        raise ValueError(f"Langevin steps need the original generator, not one converted by for_sampling() ({error})"
                         ) from error  # fmt: skip


def rejection(
    generator: Any, discriminator: Any, calibration: Calibration, truncation: float | None, z: Tensor,
    y: Tensor | None, seed: int, start: int,
) -> Tensor:  # fmt: skip
    """Image i is the first accepted one of its own candidates; candidate 0 is the plain sample. Labels are fixed."""
    generator, discriminator = evaluating(generator), evaluating(discriminator)
    n, device = len(z), z.device
    best = torch.full((n,), -math.inf)
    pending, images = torch.arange(n), torch.empty(0)
    for candidate in range(CANDIDATES):
        if candidate:
            z = latents(seed, start, n, generator.z_dim, 0, truncation, stream=candidate)[0].to(device)
        label = None if y is None else y[pending]
        made = generator(z[pending], label)
        ratio = calibration.log_ratio(discriminator(made.float(), label)[:, 0].float()).cpu()
        u = uniforms(seed, start, n, 1, ACCEPTANCE + candidate)[pending, 0]
        accepted = u < calibration.acceptance_of(ratio, label)
        taken = accepted | (ratio > best[pending])
        images = made.clone() if not candidate else images
        images[pending[taken]] = made[taken]
        best[pending[taken]] = ratio[taken]
        pending = pending[~accepted]
        if not len(pending):
            break
    return images


def langevin(
    generator: Any, discriminator: Any, calibration: Calibration, z: Tensor, y: Tensor | None, seed: int, start: int,
    steps: int = STEPS, step_size: float = STEP_SIZE,
) -> Tensor:  # fmt: skip
    """z <- z - step_size / 2 grad E(z) + sqrt(step_size) noise, with E(z) = |z|^2 / 2 - log ratio of G(z).

    The chain runs in float64, networks included. It amplifies rounding errors: in float32, another batch size or number
    of threads, and so another order of summation, would give a different image.
    """
    z = z.double()
    for step in range(steps):
        noise = latents(seed, start, len(z), generator.z_dim, 0, None, LANGEVIN + step)[0].to(z.device, z.dtype)
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            ratio = calibration.log_ratio(discriminator(generator(z, y), y))
            (uphill,) = torch.autograd.grad(ratio.sum(), z)
        z = z.detach() - step_size / 2 * (z.detach() - uphill) + step_size**0.5 * noise
    return generator(z, y)
