"""Hooks of MkDocs: README.md becomes the home page, the notebook with its outputs a page, one page documents the public
modules, and links to files of the repository that are not pages lead to the source code.
"""

from __future__ import annotations

import base64
import json
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from sngan_hub.text import REPOSITORY  # noqa: E402

SOURCE = f"https://github.com/{REPOSITORY}"
#: Pages whose text lies outside docs/
OUTSIDE = {"index.md": "README.md", "changelog.md": "CHANGELOG.md", "tour.md": "docs/tour.ipynb"}
#: Modules with a section of their own in the API page
MODULES = """
sngan_hub
sngan_hub.sampling.generate sngan_hub.sampling.pictures sngan_hub.sampling.morph sngan_hub.sampling.refine
sngan_hub.networks.registry sngan_hub.networks.base sngan_hub.networks.blocks sngan_hub.networks.resnet
sngan_hub.networks.cnn
sngan_hub.layers.spectral_norm sngan_hub.layers.normalizers sngan_hub.layers.logical_forward sngan_hub.layers.resample
sngan_hub.metrics.discriminator_scores sngan_hub.metrics.spectrum
sngan_hub.weights.records sngan_hub.data
""".split()

FORMULA = re.compile(r"\$\$(.+?)\$\$", re.S)
LINK = re.compile(r"(\]\()([^)\s#:]+)(#[^)\s]*)?(\))")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    config.nav = [*(config.nav or []), {"Source code": SOURCE}]  # the theme's repo_url asks GitHub for numbers
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name in ("index.md", "changelog.md"):
        files.append(File.generated(config, name, content=(ROOT / OUTSIDE[name]).read_text(encoding="utf-8")))
    api = ["# API", "", *(f"::: {name}" for name in MODULES)]
    files.append(File.generated(config, "api.md", content="\n\n".join(api)))
    for name, content in notebook(ROOT / "docs" / "tour.ipynb", "tour"):
        files.append(File.generated(config, name, content=content))
    return files


def notebook(path: Path, name: str) -> Iterator[tuple[str, str | bytes]]:
    """The page ``NAME.md`` of a notebook, after the images of its outputs."""
    parts: list[str] = []
    images = 0
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            if png := output.get("data", {}).get("image/png"):
                images += 1
                yield f"{name}-{images}.png", base64.b64decode("".join(png))
                parts.append(f"![output]({name}-{images}.png)")
            elif text := "".join(output.get("text", output.get("data", {}).get("text/plain", ""))).rstrip():
                parts.append(f"```text\n{text}\n```")
    yield f"{name}.md", "\n\n".join(parts)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas as MathML, and links relative to a text's place in the repository as links of the site."""
    place = OUTSIDE.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def link(found: re.Match[str]) -> str:
        before, target, anchor, after = found.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
        uri = next((uri for uri, text in OUTSIDE.items() if text == path), path.removeprefix("docs/"))
        if files.get_file_from_path(uri) is not None:
            return f"{before}{posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or '.')}{anchor or ''}{after}"
        if not (ROOT / path).exists():
            return found.group()  # MkDocs warns, and --strict fails
        return f"{before}{SOURCE}/blob/main/{path}{after}"

    return LINK.sub(link, FORMULA.sub(_formula, markdown))


def _formula(found: re.Match[str]) -> str:
    """A formula that scrolls where the screen is narrower."""
    return f'<div style="overflow-x: auto">{convert(found[1], display="block")}</div>'
