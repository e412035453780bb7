"""The row type of published models, which ``published.py`` and the files beside it fill. No torch."""

from __future__ import annotations

from typing import Any, NamedTuple

NOT_STATED = "not stated"


class PublishedModel(NamedTuple):
    """One published model: its files and their description. The dictionaries have the keys of ``files``."""

    name: str  # architecture.tag
    publisher: str
    licence: str
    data: str
    about: str
    classes: tuple[str, ...]  # names, in label order; empty where they are unknown or there are none
    recipe: dict[str, Any]
    scores: dict[str, dict[str, Any]]  # protocol -> fields of Score
    parameters: dict[str, int]
    files: dict[str, str]  # kind -> file name; the same name twice: one file contains both
    read: str  # where these facts were read
    read_on: str  # when
    addresses: dict[str, tuple[str, ...]] = {}  # kind -> of the file, or of a folder of a drive
    repo: str = ""  # on the Hub
    repo_folder: str = ""
    revision: str = ""  # commit
    pages: dict[str, str] = {}  # kind -> page for download by hand
    sha256: dict[str, str] = {}  # kind -> whole; where it is absent, the digits in the file's name count
    sizes: dict[str, int] = {}  # kind -> bytes of the file; where absent, 4 bytes for each parameter
    code_base: str = ""  # id of the converter's record, where keys fit several
