"""Runs docs/tour.ipynb from top to bottom and stores its outputs: images as PNG and printed text, without warnings,
times or the kernel's version, so that the file only changes where a result does. ``make tour`` runs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parent.parent / "tour.ipynb"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def cleaned(cell: Any) -> Any:
    if cell.cell_type == "code":
        cell.metadata = {}
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            if "data" in output:
                output["data"].pop("image/jpeg", None)
                output["data"]["text/plain"] = (
                    "an image" if "image/png" in output["data"] else output["data"]["text/plain"]
                )
    return cell


def main() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute(cwd=str(NOTEBOOK.parent.parent))
    notebook.cells = [cleaned(cell) for cell in notebook.cells]
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
