"""Seed and classes -> latents and labels -> uint8 images. Works with any generator and imports none.

The latent and the label of image i depend only on (seed, i), not on the device, the batch size or the number of images.
Random bits come from Philox (NumPy guarantees that its stream does not change); the inverse CDF converts them to normal
numbers.
"""

# torch.special, torch.from_numpy and ndarray.reshape have no types, or not for all that they take:
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
import operator
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from numbers import Real
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from ..class_names import resolve_classes
from ..evaluating import evaluating

MAX_SEED = 2**63 - 1
MAX_IMAGES = 100_000


def check_request(n: int, seed: int | None, truncation: float | None) -> tuple[int, int | None]:
    """Returns ``n`` and ``seed`` as Python integers. Raises ``ValueError`` if an argument is invalid."""
    n = whole_number("n", n, 1, MAX_IMAGES)
    if seed is not None:
        seed = whole_number("seed", seed, 0, MAX_SEED, "between 0 and 2^63 - 1")
    number = not isinstance(truncation, bool) and isinstance(truncation, Real)
    if truncation is not None and not (number and truncation > 0):
        raise ValueError(f"truncation must be a number above 0 (1 keeps |z| < 1), or None (got {truncation!r})")
    return n, seed


def whole_number(name: str, value: Any, least: int, most: int, legal: str = "") -> int:
    """Returns an integer, also one of NumPy, as a Python integer. Raises ``ValueError`` for floats, bools and numbers
    outside of ``least`` to ``most``.
    """
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        integer = "an integer, " if number is None else ""
        shown = f"{value!r}" if number is None else number
        raise ValueError(f"{name} must be {integer}{legal or f'between {least:,} and {most:,}'} (got {shown})")
    return number


Called = TypeVar("Called", bound=Callable[..., Any])


def no_bare_integer(other: str) -> Callable[[Called], Called]:
    """Decorates functions whose first argument is ``classes``: refuses ``sample(8)``, which may mean the class or n.

    ``other``: the name of the argument that the integer may mean instead of the class.
    """

    def decorate(function: Called) -> Called:
        @functools.wraps(function)
        def checked(generator: Any, *args: Any, **kwargs: Any) -> Any:
            if args and isinstance(args[0], int | float | np.number):
                raise ValueError(
                    f"{function.__name__}({args[0]}) is ambiguous; write classes={args[0]} or {other}={args[0]}"
                )
            return function(generator, *args, **kwargs)

        return cast("Called", checked)

    return decorate


def random_seed() -> int:
    """A seed from torch's global generator, below 2^31, so that it is short."""
    return int(torch.randint(0, 2**31, ()))


def random_seed_from_system() -> int:
    """A seed from the operating system, different in every process; for commands and pages that show the seed."""
    return secrets.randbelow(2**31)


def latents(
    seed: int, start: int, n: int, z_dim: int, n_classes: int = 0, truncation: float | None = None, stream: int = 0
) -> tuple[Tensor, Tensor | None]:
    """Images ``start`` to ``start + n`` of ``seed`` -> z (n, z_dim) float32, and labels (n,) uniform over the classes.

    ``truncation`` t: z is sampled from the standard normal restricted to |z| < t, by inverse CDF; the same seed then
    gives a similar image at every t. ``stream``: selects another sequence of the same seed.
    """
    u = uniforms(seed, start, n, z_dim + 1, stream)  # per image: one for the label, the rest for z
    z = u[:, 1 : z_dim + 1]
    if truncation is not None:
        low = cast("Tensor", torch.special.ndtr(torch.tensor(-float(truncation), dtype=torch.float64)))
        z = low + z * (1 - 2 * low)
    z = cast("Tensor", torch.special.ndtri(z)).float()
    return z, (u[:, 0] * n_classes).long() if n_classes else None


def uniforms(seed: int, start: int, n: int, each: int, stream: int = 0) -> Tensor:
    """Uniform numbers in (0, 1) for the images ``start`` to ``start + n`` of ``seed``: float64 (n, numbers per image).

    Their number per image is ``each``, rounded up to a multiple of 4.
    """
    words = each + -each % 4  # whole Philox blocks
    bits = np.random.Philox(key=[seed, stream]).advance(start * words // 4).random_raw(n * words).reshape(n, words)
    # The largest of the 2^53 numbers would round to 1, whose quantile is infinite.
    return torch.from_numpy(np.minimum(((bits >> np.uint64(11)) + 0.5) * 2.0**-53, 1 - 2.0**-53))


def as_tensor(images: np.ndarray | Tensor) -> Tensor:
    """Images as a tensor. Arrays are copied, because those on disk are mapped read-only."""
    return images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))


def to_uint8(images: Tensor) -> Tensor:
    """[-1, 1] -> 0..255: clip(127.5 x + 127.5), truncated as the authors do (evaluation.py)."""
    return (images.float() * 127.5 + 127.5).clamp_(0, 255).to(torch.uint8)


@torch.no_grad()
def outputs(
    generator: Any, batches: Iterable[tuple[Any, ...]], make: Callable[..., Tensor] | None = None
) -> Iterator[tuple[Tensor, Any]]:
    """Batches (z, y, further arguments) -> images in [-1, 1] on the generator's device, and y unchanged.

    Computed in eval mode, whatever mode the generator is in. A generator without classes gets no y. ``make``: called
    instead of the generator.
    """
    device = next(generator.parameters()).device
    for z, y, *more in batches:
        network = make or evaluating(generator)
        labels = y.to(device) if y is not None and generator.n_classes else None
        yield network(z.to(device), labels, *(v.to(device) if isinstance(v, Tensor) else v for v in more)), y


def generate(
    generator: Any, batches: Iterable[tuple[Any, ...]], make: Callable[..., Tensor] | None = None
) -> Iterator[tuple[Tensor, Any]]:
    """As ``outputs``, but uint8 and on the CPU."""
    for images, y in outputs(generator, batches, make):
        yield to_uint8(images).cpu(), y


@no_bare_integer("n")
def sample_batches(
    generator: Any,
    classes: Sequence[str | int] | str | int | None = None,
    n: int = 1,
    seed: int | None = None,
    truncation: float | None = None,
    batch_size: int = 50,
    make: Callable[[Tensor, Tensor | None, int, int], Tensor] | None = None,
) -> Iterator[tuple[Tensor, list[int] | None]]:
    """Batches of uint8 images (b, 3, S, S) on the CPU with their labels. Arguments are checked before the first batch.

    ``make``: generates images from (z, y, seed, number of the first image) in place of the generator; see refine.py.
    The generator keeps its mode; images are always computed in eval mode.
    """
    n, seed = check_request(n, seed, truncation)
    batch_size = whole_number("batch_size", batch_size, 1, MAX_SEED, "at least 1")
    wanted = None if classes is None else resolve_classes(classes, generator.classes, generator.n_classes)
    total = n if wanted is None else n * len(wanted)
    if total > MAX_IMAGES:
        raise ValueError(
            f"n images of each class must be at most {MAX_IMAGES:,} in all (got {n} x {total // n} = {total:,})"
        )
    seed = random_seed() if seed is None else seed

    def batches() -> Iterator[tuple[Any, ...]]:
        for start in range(0, total, batch_size):
            count = min(batch_size, total - start)
            z, y = latents(seed, start, count, generator.z_dim, generator.n_classes, truncation)
            if wanted is not None:
                y = torch.tensor([wanted[i // n] for i in range(start, start + count)])
            yield (z, y, seed, start) if make else (z, y)

    return ((images, None if y is None else y.tolist()) for images, y in generate(generator, batches(), make))


@no_bare_integer("n")
def sample(generator: Any, *args: Any, **kwargs: Any) -> Tensor:
    """As ``sample_batches``, in one tensor: (N, 3, S, S) uint8."""
    return torch.cat([images for images, _ in sample_batches(generator, *args, **kwargs)])
