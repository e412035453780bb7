"""Settings that tensors do not contain: given by the user, or assumed by the record of the code base. Each decision is
noted with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from .parts import Part


@dataclass(frozen=True)
class Options:
    """Options of a conversion. None: determined from the file."""

    gain_offset: int | None = None  # 0 or 1, added to the stored class gains
    shortcut_relu: bool | None = None  # discriminators: whether shortcuts read relu(x)
    channel_order: str | None = None  # of the training images: rgb or bgr
    classes: tuple[str, ...] | None = None  # names, in label order
    code_base: str | None = None  # id of the record to use where its keys fit; None: the first one whose keys fit

    def __post_init__(self) -> None:
        for name, legal in (("gain_offset", (None, 0, 1)), ("channel_order", (None, "rgb", "bgr"))):
            if getattr(self, name) not in legal:
                raise ValueError(f"{name} must be one of {legal[1]}, {legal[2]} (got {getattr(self, name)!r})")


class Assumed(NamedTuple):
    """An assumed value and the reason for it. With an empty reason, no note is printed."""

    value: Any
    reason: str


def always(value: Any, reason: str = "") -> Callable[[Part], Assumed]:
    """The same assumption for every file of a code base."""
    return lambda part: Assumed(value, reason)


def choose(what: str, asked: Any, assumed: Assumed, notes: list[str]) -> Any:
    """``asked``, or the assumed value if it is None. Appends a note with the reason to ``notes``."""
    if asked is not None:
        notes.append(f"{what} {asked}: set explicitly")
        return asked
    if assumed.reason:
        notes.append(f"{what} {assumed.value}: {assumed.reason}")
    return assumed.value
