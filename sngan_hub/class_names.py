"""Class names of common data sets; converts names, synsets, synonyms or indices of classes to indices."""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from .text import nearest

_FOLDER = Path(__file__).with_name("class_lists")
DOGS_AND_CATS = slice(151, 294)  # of ImageNet's labels: the authors' dog_and_cat sets


class ClassName(NamedTuple):
    name: str
    synset: str = ""  # WordNet's id
    synonyms: tuple[str, ...] = ()


@cache
def _read(list_name: str) -> tuple[ClassName, ...]:
    rows: list[ClassName] = []
    for line in (_FOLDER / f"{list_name}.tsv").read_text(encoding="utf-8").splitlines():
        first, *rest = line.split("\t")
        synonyms = tuple(rest[1].split(", ")) if len(rest) > 1 else ()
        rows.append(ClassName(rest[0], first, synonyms) if rest else ClassName(first))
    return tuple(rows)


@cache
def class_list(name: str) -> tuple[str, ...]:
    """``imagenet`` (1,000 names, in label order), ``dogs_and_cats`` (143 of them), ``cifar10``, ``cifar100``."""
    if name == "dogs_and_cats":
        return class_list("imagenet")[DOGS_AND_CATS]
    if name not in CLASS_LISTS:
        raise ValueError(f"there is no class list {name!r}; choose one of {', '.join(CLASS_LISTS)}")
    return tuple(row.name for row in _read(name))


CLASS_LISTS = ("imagenet", "dogs_and_cats", "cifar10", "cifar100")


def synset_names(folders: Sequence[str]) -> list[str] | None:
    """Folder names that are all ImageNet synsets -> their class names; None where one is not."""
    known = {row.synset: row.name for row in _read("imagenet")}
    return [known[name] for name in folders] if folders and all(name in known for name in folders) else None


def without_synsets(names: Sequence[str]) -> list[str]:
    """Names that are all ImageNet synsets -> their class names; other names as they are."""
    return synset_names(names) or list(names)


def synsets_of(names: Sequence[str]) -> list[str] | None:
    """The inverse of ``synset_names``: names that are all ImageNet's -> their synsets; None where one is not."""
    known = {row.name: row.synset for row in _read("imagenet")}
    return [known[name] for name in names] if names and all(name in known for name in names) else None


def resolve_classes(classes: Sequence[str | int] | str | int, names: Sequence[str] | None, n_classes: int) -> list[int]:
    """Names, synsets, synonyms (in any case, _ for a space) or indices -> indices.

    An integer is always an index, also where a class has it as its name. An exact match has priority: ImageNet has the
    classes Cardigan and cardigan. Raises ``ValueError`` that lists the nearest names, or both meanings of an ambiguous
    name.
    """
    if not n_classes:
        raise ValueError("classes must be None: this generator is unconditional")
    given_classes = as_list(classes)
    if not given_classes:
        raise ValueError("classes must not be empty; name at least one class, or omit the argument for all classes")
    exact: dict[str, list[int]] = {}
    for i, name in enumerate(names or []):
        exact.setdefault(name, []).append(i)
    known = _aliases(tuple(names or []))
    indices: list[int] = []
    for given in given_classes:
        if not isinstance(given, str):
            try:
                given = None if isinstance(given, bool) else operator.index(given)
            except TypeError:
                given = None
        if given is None:
            raise ValueError(f"classes must be names, or integers between 0 and {n_classes - 1} "
                             f"(got {reprlib.repr(classes)})")  # fmt: skip
        found = (exact.get(given) or known.get(_key(given), [])) if isinstance(given, str) else []
        if len(found) > 1:
            assert names is not None
            meant = " or ".join(f"{i} ({names[i]})" for i in found)
            raise ValueError(f"class {given!r} is ambiguous; use its index: {meant}")
        elif found:
            index = found[0]
        else:
            try:
                index = int(given)
            except ValueError:
                close = nearest(_key(str(given)), known, _spelling(tuple(names))) if names else ""
                raise ValueError(
                    f"there is no class {given!r}{close}; or use an index between 0 and {n_classes - 1}"
                ) from None
            if not 0 <= index < n_classes:
                raise ValueError(f"classes: an index must be between 0 and {n_classes - 1} (got {index})")
        indices.append(index)
    return indices


def as_list(classes: Any) -> list[Any]:
    """One name or index, or several -> a list."""
    if isinstance(classes, str | bytes):
        return [classes]
    try:
        return list(classes)
    except TypeError:  # an integer of Python or NumPy, or an unsupported type
        return [classes]


def _key(name: str) -> str:
    return name.casefold().replace("_", " ").strip()


@cache
def _aliases(names: tuple[str, ...]) -> dict[str, list[int]]:
    """Each accepted name of a class -> the indices that it can mean. A name has priority over a synonym."""
    known: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        known.setdefault(_key(name), []).append(i)
    imagenet = {row.name: row for row in _read("imagenet")}
    if names and all(name in imagenet for name in names):
        others: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            for alias in (imagenet[name].synset, *imagenet[name].synonyms):
                others.setdefault(_key(alias), []).append(i)
        known = {**others, **known}
    return known


@cache
def _spelling(names: tuple[str, ...]) -> dict[str, str]:
    """Each key of ``_aliases`` -> the name or synonym as it is spelled. A name has priority over a synonym."""
    imagenet = {row.name: row for row in _read("imagenet")}
    rows = [imagenet[name] for name in names] if all(name in imagenet for name in names) else []
    synonyms = {_key(alias): alias for row in rows for alias in (row.synset, *row.synonyms)}
    return synonyms | {_key(name): name for name in reversed(names)}


def label_names(network: Any) -> list[str]:
    """The names of the classes in the order of their labels; the labels as text where classes have no names."""
    return list(network.classes or map(str, range(network.n_classes)))
