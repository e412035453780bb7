"""What a visitor enters -> checked values. An error names its field, so that the page can show it there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

from sngan_hub.sampling.generate import check_request, random_seed_from_system

MAX_PICTURES = 64  # per class
MOST = 256  # per request
MAX_SECONDS = 12


class FieldError(ValueError):
    """``field``: the argument that caused it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@contextmanager
def of_field(name: str) -> Iterator[None]:
    """Attributes an error inside to a field."""
    try:
        yield
    except FieldError:
        raise
    except (ValueError, OSError) as error:
        raise FieldError(name, str(error)) from error


def whole(name: str, value: object, least: int, most: int, field: str = "") -> int:
    try:
        number = int(float(value))  # type: ignore[arg-type]
        legal = float(value) == number and least <= number <= most  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number, legal = 0, False
    if not legal:
        raise FieldError(
            field or name, f"{name} must be a whole number between {least} and {most} (got {str(value)[:40]})"
        )
    return number


def parse_seed(seed: object) -> int:
    """The text of the seed field -> a seed; empty: a random one."""
    if seed is None or str(seed).strip() == "":
        return random_seed_from_system()
    try:
        number = int(str(seed).strip())
    except ValueError:
        raise FieldError(
            "seed",
            f"seed must be a whole number between 0 and 2^63 - 1, or empty for a random one (got {str(seed)[:40]!r})",
        ) from None
    with of_field("seed"):
        check_request(1, number, None)
    return number


def parse_truncation(value: object) -> float | None:
    if value in (None, "", 0):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number <= 100:
        raise FieldError(
            "truncation", f"truncation must be 0 (off), or a number above 0 and at most 100 (got {str(value)[:40]})"
        )
    return number


def parse_way(text: object, n: int) -> tuple[int, list[float] | None]:
    """``"8"`` -> 8 steps; ``"2, 1"`` or a list -> weights, one for each of ``n`` classes."""
    parts = text if isinstance(text, list) else str("" if text is None else text).replace(";", ",").split(",")
    if len(parts) == 1:
        return whole("steps", parts[0] if str(parts[0]).strip() else 8, 2, 16), None
    try:
        weights = [float(part) for part in parts]
    except (TypeError, ValueError):
        raise FieldError(
            "weights", f"weights must be one number per class, such as 2, 1 (got {str(text)[:40]!r})"
        ) from None
    if len(weights) != n:
        raise FieldError(
            "weights",
            f"weights must be one number for each of the {n} classes (got {len(weights)}); or enter a number of steps",
        )
    return 0, weights


def link(tab: str, **fields: object) -> str:
    """The query string of an address that opens the page with these inputs."""
    kept = {key: value for key, value in fields.items() if value not in (None, "", [])}
    for key, value in kept.items():
        if isinstance(value, list):
            # a \ marks a | or \ of a name
            kept[key] = "|".join(re.sub(r"[|\\]", r"\\\g<0>", str(name)) for name in value)
    return "?" + urlencode({"tab": tab, **kept})


def listed(text: str | None) -> list[str]:
    """A list of names as ``link`` writes it -> the names."""
    names = [""] if text else []
    for part in re.findall(r"\\[|\\]|.", text or "", re.DOTALL):
        if part == "|":
            names.append("")
        else:
            names[-1] += part[1:] or part
    return names
