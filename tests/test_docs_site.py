"""The documentation site: it builds without a warning, no link in it is dead, and its pages load nothing from elsewhere."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

from .conftest import ROOT


class Page(HTMLParser):
    """The ids of a page, its links, and what a browser loads with it."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loaded = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids |= {found["id"]} if found.get("id") else set()
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag == "link" and found.get("rel") != "canonical" and found.get("href"):
            self.loaded.append(found["href"])
        if found.get("src"):
            self.loaded.append(found["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return {path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}, folder


@pytest.mark.slow
def test_every_link_of_the_site_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    pages, folder = site
    assert len(pages) > 8
    for path, page in pages.items():
        if path.name == "404.html":  # its links begin at the root of the site
            continue
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                assert link in page.links, f"{path} loads {link}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target == folder / "demo" / "index.html":  # `make docs` adds it; test_static_page.py drives it
                continue
            target = target / "index.html" if target.is_dir() else target
            assert target.is_relative_to(folder) and target.is_file(), f"{path}: {link}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].ids | {"__codelineno"}, f"{path}: {link}"


@pytest.mark.slow
def test_the_site_has_the_api_the_formulas_and_the_outputs_of_the_tour(site):
    pages, folder = site
    api = pages[folder / "api" / "index.html"].ids
    for name in ("sngan_hub.load_generator", "sngan_hub.sampling.morph.walk_latents", "sngan_hub.layers.spectral_norm"):
        assert name in api
    assert "<math" in (folder / "how-it-works" / "index.html").read_text()
    notebook = json.loads((ROOT / "docs" / "tour.ipynb").read_text(encoding="utf-8"))
    images = [
        output
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    shown = re.findall(r'src="\.\./(tour-\d+\.png)"', (folder / "tour" / "index.html").read_text())
    assert len(shown) == len(images) == 3 and all((folder / name).stat().st_size > 1000 for name in shown)
