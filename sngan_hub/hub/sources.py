"""The table of published files: address, size, hash, licence, and where and when each was read. docs/ prints it."""

from __future__ import annotations

from urllib.parse import quote

from ..weights.record import KINDS, Record
from ..weights.records import WEIGHTS


def address(record: Record) -> str:
    """The address of the published file: of a Hub repository, the one at the record's commit."""
    if record.repo:
        return f"https://huggingface.co/{record.repo}/resolve/{record.revision}/{quote(record.path)}"
    if record.urls:
        return " or ".join(f"{record.file} in {url}" if "/folders/" in url else url for url in record.urls)
    return f"{record.file}, by hand, from {record.page}"


def source_lines() -> list[str]:
    """A Markdown table with a row for each published file, and the list of its sources."""
    files: dict[tuple[str, str], list[Record]] = {}
    for record in WEIGHTS.values():
        if record.read:
            files.setdefault((record.name, address(record)), []).append(record)
    sources = list(dict.fromkeys((records[0].read, records[0].read_on) for records in files.values()))
    lines = ["| weights | network | address | MB | sha256 | licence | source |", "|---" * 7 + "|"]
    for (name, where), records in files.items():
        record = records[0]
        networks = ", ".join(kind[0].upper() for kind in KINDS if kind in [r.kind for r in records])
        digest = f"`{record.sha256}`" if len(record.sha256) == 64 else f"`{record.sha256}...`"
        unknown = "stated by the Hub" if record.repo else "not published"
        cells = [name, networks, where, f"{record.file_bytes / 1e6:.0f}", digest if record.sha256 else unknown,
                 record.licence, str(sources.index((record.read, record.read_on)) + 1)]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", *(f"{i}. {read}; read on {on}." for i, (read, on) in enumerate(sources, 1))]
