"""The web page. Start it with ``sngan app``, ``python space/app.py [--model FOLDER]`` or ``make demo``.

page.py holds the layout, tab.py what all tabs share, actions.py the functions of the tabs. The process keeps no images
of a user: they are in the user's page.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
if hasattr(os, "getuid"):  # Gradio's own folder belongs to the user of the machine who started first
    os.environ.setdefault("GRADIO_TEMP_DIR", str(Path(tempfile.gettempdir()) / f"gradio-{os.getuid()}"))
if "SPACE_ID" in os.environ:  # a Space has the files of `preload_from_hub` in the Hub's own cache
    os.environ.setdefault("SNGAN_HUB_CACHE", os.environ.get("HF_HOME", str(Path.home() / ".cache" / "huggingface")))
if __package__:  # `sngan app`
    from .page import serve
else:  # run as a file: in a checkout it lies in space/, in a deployed Space beside space/ and sngan_hub/
    here = Path(__file__).resolve().parent
    sys.path.insert(0, str(here if (here / "space").is_dir() else here.parent))
    from space.page import serve


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves the web page for sampling.")
    parser.add_argument("--model", action="append", default=[], metavar="FOLDER|REPO",
                        help="a run, a network's folder or a Hub repository id, selected by default")  # fmt: skip
    own = parser.parse_args().model  # a Space has variables instead of arguments
    own = own or [name for name in map(str.strip, os.environ.get("SNGAN_HUB_MODELS", "").split(",")) if name]
    try:
        serve(own)
    except (ValueError, OSError) as error:
        parser.exit(2, f"app.py: error: {error}\n")


if __name__ == "__main__":
    main()
