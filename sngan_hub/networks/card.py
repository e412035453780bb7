"""The model card (README.md) of a network without a record: what it is and how to use it."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import ModelCardData

from ..class_names import label_names
from ..text import REPOSITORY

if TYPE_CHECKING:
    from .base import Network

CARD = "README.md"
NOT_DESCRIBED = "Not stated by the publisher."  # of a card that is generated from a network alone
PIPELINES = {"generator": "unconditional-image-generation", "discriminator": "image-feature-extraction"}


def network_card(network: Network, repo: str = "") -> str:
    """The model card of a network without a record: what it is and how to use it.

    ``repo``: its repository on the Hub; empty if not yet known.
    """
    classes = tuple(label_names(network))
    side = f"{network.size}x{network.size} px"
    what = f"{'conditional' if classes else 'unconditional'} {network.kind} for images of {side}"
    count = sum(parameter.numel() for parameter in network.parameters())
    data = ModelCardData(
        license="other", license_name="not-stated", library_name="sngan-hub", pipeline_tag=PIPELINES[network.kind],
        tags=["gan", "sngan", "spectral-normalization", network.kind, "pytorch"],
    )  # fmt: skip
    names = f"Its {len(classes):,} classes: {listed(classes)}.\n\n" if network.classes else ""
    return f"""---
{data.to_yaml().strip()}
---

# {repo or network.kind.capitalize()}

A {what}, of the class `{type(network).__name__}` of sngan-hub, with {count:,} parameters.
Code: https://github.com/{REPOSITORY}

```python
{use_snippet(network.kind, classes, repo or "FOLDER", network.size)}
```

{names}## Data, licence and scores

{NOT_DESCRIBED}
"""


_METADATA = (
    r"(library_name: sngan-hub|license: other|license_name: not-stated|pipeline_tag: [\w-]+|tags:"
    r"|- (gan|sngan|spectral-normalization|generator|discriminator|pytorch))"
)
_SNIPPET = (
    r'from sngan_hub import load_\w+\n\n\w+ = load_\w+\("[^"\n]*"\)\n'
    r"(images = generator\.sample\((classes=\[[^\]\n]*\], )?n=8, seed=0\)  # uint8 \(8, 3, \d+, \d+\)"
    r"|scores = discriminator\(images(, labels)?\)  # images \(N, 3, \d+, \d+\) in \[-1, 1\] -> \(N, 1\), no sigmoid)"
)
#: What ``network_card`` writes. A class name with a dot makes a card that does not match, which is kept as it is.
_GENERATED = re.compile(
    rf"---\n({_METADATA}\n)+---\n\n# [\w.-]+(/[\w.-]+)?\n\n"
    r"A (un)?conditional (generator|discriminator) for images of \d+x\d+ px, of the class `\w+` of sngan-hub, "
    rf"with [\d,]+ parameters\.\nCode: https://github\.com/{re.escape(REPOSITORY)}\n\n"
    rf"```python\n{_SNIPPET}\n```\n\n(Its [\d,]+ classes: [^.\n]+\.\n\n)?"
    rf"## Data, licence and scores\n\n{re.escape(NOT_DESCRIBED)}\s*"
)


def is_generated(card: str) -> bool:
    """Whether ``network_card`` generated the card, for any classes and repository, without any text by a person."""
    return _GENERATED.fullmatch(card) is not None


def own_card(folder: Path) -> str | None:
    """The card in ``folder`` that a person wrote, or a record; None without one.

    Raises ``ValueError`` if it is not UTF-8.
    """
    path = folder / CARD
    try:
        card = path.read_text(encoding="utf-8") if path.is_file() else None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: the card must be text in UTF-8 ({error}); save it in UTF-8") from error
    return None if card is None or is_generated(card) else card


def use_snippet(kind: str, classes: Sequence[str], handle: str, size: int) -> str:
    """Python code that loads the network ``handle`` and calls it."""
    shape = f"(8, 3, {size}, {size})"
    if kind == "generator":
        chosen = f"classes=[{first_class(classes)}], " if classes else ""
        return (f'from sngan_hub import load_generator\n\ngenerator = load_generator("{handle}")\n'
                f"images = generator.sample({chosen}n=8, seed=0)  # uint8 {shape}")  # fmt: skip
    labels = ", labels" if classes else ""
    return (f'from sngan_hub import load_discriminator\n\ndiscriminator = load_discriminator("{handle}")\n'
            f"scores = discriminator(images{labels})  # images (N, 3, {size}, {size}) in [-1, 1] -> (N, 1), no sigmoid"
            )  # fmt: skip


def first_class(classes: Sequence[str]) -> str:
    """The first class as a snippet names it: in quotes, or by its index if the name would need escaping."""
    return f'"{classes[0]}"' if re.fullmatch(r"[\w .,'()+-]+", classes[0]) else "0"


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 100:,} more, in config.json" if len(names) > 100 else ""
    return ", ".join(map(as_text, names[:100])) + more


def as_text(name: str) -> str:
    """Escapes a name, so that Markdown shows it literally."""
    escaped = re.sub(r"([\\`*_\[\]#|!~$])", r"\\\1", html.escape(" ".join(name.split()), quote=False))
    return escaped.replace("://", ":&#47;/")  # so that addresses do not become links
