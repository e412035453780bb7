"""``training`` and ``space``: folders beside the package in a checkout, packages inside it in a wheel.

The library imports neither. The command finds them here, so that ``sngan`` has every subcommand in both.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent.parent


def import_part(name: str) -> ModuleType:
    """The module ``name`` (``training.cli``). Raises ``ModuleNotFoundError`` where it is not installed."""
    folder = name.split(".")[0]
    if (PACKAGE / folder).is_dir():
        return import_module(f"{PACKAGE.name}.{name}")
    root = PACKAGE.parent
    if not (root / "pyproject.toml").is_file():
        raise ModuleNotFoundError(f"{folder}/ is not installed with {PACKAGE.name}", name=name)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))  # before a folder of the same name where the command was called
    return import_module(name)
