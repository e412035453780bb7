"""Imports ``training`` and ``space``, which are beside the package in a checkout and inside it in a wheel.

The library imports neither. With these functions, ``sngan`` has all subcommands in both cases.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent.parent


def import_part(name: str) -> ModuleType:
    """The module ``name``, such as ``training.cli``. Raises ``ModuleNotFoundError`` if it is not installed."""
    folder = name.split(".")[0]
    if (PACKAGE / folder).is_dir():
        return import_module(f"{PACKAGE.name}.{name}")
    root = PACKAGE.parent
    if not (root / "pyproject.toml").is_file():
        raise ModuleNotFoundError(f"{folder}/ is not installed with {PACKAGE.name}", name=name)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))  # first: the current directory may contain a folder of the same name
    return import_module(name)
