"""What tensors cannot tell: taken from the user, the run's stored configuration, the file's name or the code base, in
this order, and noted with the reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..class_names import CLASS_LISTS, class_list
from .families import CODE, FIELDS, GAIN_OFFSETS
from .parts import Part


@dataclass(frozen=True)
class Options:
    """What a user may say about a file; None leaves it to the file."""

    gain_offset: int | None = None  # 0 or 1: added to the stored gains of the classes
    shortcut_relu: bool | None = None  # discriminators: whether shortcuts read relu(x)
    channel_order: str | None = None  # of the images that the networks were trained on: rgb or bgr
    classes: tuple[str, ...] | None = None  # names, in label order

    def __post_init__(self) -> None:
        for name, legal in (("gain_offset", (None, 0, 1)), ("channel_order", (None, "rgb", "bgr"))):
            if getattr(self, name) not in legal:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, legal are {legal[1]} and {legal[2]}")


def is_studio_file(part: Part) -> bool:
    return "convert-studio" in part.file_name


def note_fields(family: str, kind: str, notes: list[str]) -> None:
    fields = {k: v for k, v in FIELDS[family][kind].items() if k not in ("hidden", "shortcut_relu")}
    if fields:
        said = ", ".join(f"{name} {value}" for name, value in fields.items())
        notes.append(f"{said}: {CODE[family]}")


def choose_gain_offset(part: Part, family: str, options: Options, notes: list[str]) -> int:
    if options.gain_offset is not None:
        notes.append(f"gain_offset {options.gain_offset}: as asked")
        return options.gain_offset
    offset, why = GAIN_OFFSETS[family], f"{CODE[family]}"
    if family == "mmgen":
        init = part.settings.get("init_cfg")
        kind = str(init.get("type", "")).lower() if isinstance(init, dict) else ""
        if kind:
            offset = int(kind in ("biggan", "studio"))
            why = f"the file's configuration has init {kind!r}"
        else:
            why = "mmgeneration's default, and the file's configuration names no init"
        why += "; --gain-offset overrides"
    notes.append(f"gain_offset {offset}: {why}")
    return offset


def choose_shortcut_relu(part: Part, family: str, options: Options, notes: list[str]) -> bool:
    if options.shortcut_relu is not None:
        notes.append(f"shortcut_relu {options.shortcut_relu}: as asked")
        return options.shortcut_relu
    value, why = FIELDS[family]["discriminator"].get("shortcut_relu", False), f"{CODE[family]}"
    if family == "mmgen":
        act = part.settings.get("act_cfg")
        if isinstance(act, dict) and "inplace" in act and not is_studio_file(part):
            value, why = bool(act["inplace"]), "the file's configuration"
        elif is_studio_file(part):
            value, why = True, "trained by StudioGAN, whose relu is in place (file name)"
        elif named := re.search(r"_(wo|w)ReLUinplace", part.file_name):
            value, why = named[1] == "w", f"file name ({named[0][1:]})"
        else:
            why = "mmgeneration's default, and neither configuration nor file name says more"
        why += "; --shortcut-relu overrides"
    notes.append(f"shortcut_relu {value}: {why}")
    return value


def is_bgr(part: Part, family: str, options: Options, notes: list[str]) -> bool:
    if options.channel_order is not None:
        notes.append(f"channel order {options.channel_order}: as asked")
        return options.channel_order == "bgr"
    if family != "mmgen":
        return False
    bgr = not is_studio_file(part)
    why = "mmgeneration trains on BGR; folded into the weights" if bgr else "trained by StudioGAN (file name)"
    notes.append(f"channel order {'bgr' if bgr else 'rgb'}: {why}; --channel-order overrides")
    return bgr


def choose_class_names(part: Part, n: int, family: str, options: Options, notes: list[str]) -> list[str] | None:
    """The names of a published data set, where its name or its count gives it away."""
    if not n:
        return None
    if options.classes is not None:
        if len(options.classes) != n:
            raise ValueError(f"classes: got {len(options.classes)} names, {part.source} has {n} classes")
        return list(options.classes)
    said = f"{part.file_name} {part.run_name} {Path(part.source).parent.name}".lower()
    named = [name for name in CLASS_LISTS if name in said and len(class_list(name)) == n]
    if n == 1000:
        named, why = ["imagenet"], "1,000 classes, taken to be ImageNet's in the order of their synsets"
    elif family == "chainer" and n == 143:
        named, why = ["dogs_and_cats"], "143 classes, as in the authors' dog-and-cat sets"
    else:
        why = "by the file's or run's name"
    if not named:
        notes.append("class names: none known; --classes names them")
        return None
    notes.append(f"class names {named[0]}: {why}; --classes overrides")
    return list(class_list(named[0]))
