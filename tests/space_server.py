"""The page in a process of its own, and a client of its API."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from .conftest import ROOT


@contextmanager
def serving(folder, *arguments, home=ROOT / "space", **variables):
    """-> (address, process)"""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": str(folder),
                   "GRADIO_SERVER_NAME": "127.0.0.1", **variables}  # fmt: skip
    process = subprocess.Popen([sys.executable, str(home / "app.py"), *map(str, arguments)], cwd=home.parent, env=environment,
                               stdout=subprocess.DEVNULL)  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1000):
            assert process.poll() is None, "the page stopped"
            try:
                urllib.request.urlopen(url, timeout=2).read()
                break
            except OSError:
                time.sleep(0.25)
        yield url, process
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("gradio")) as found:
        yield found


@pytest.fixture(scope="module")
def page_url(served):
    return served[0]


@pytest.fixture(scope="module")
def client(page_url):
    pytest.importorskip("gradio_client")
    from gradio_client import Client

    return Client(page_url, verbose=False)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))
