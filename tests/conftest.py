from __future__ import annotations

import os
import shutil
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach out
os.environ.setdefault("TQDM_DISABLE", "1")
# One thread a process, also in processes that tests start: two workers (-n 2) then share two cores, and sums come in one
# order. Tests of threads set their own.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

# Their asserts are explained as those of tests are.
pytest.register_assert_rewrite(*(f"tests.{name}" for name in ("converting", "pictures", "space_server", "tuning")))

torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).parent / "golden"


def real_batch(data, seed, position, batch_size, *how):
    """Batch number ``position`` of a run, whole, by the parts of the feed -> images in [-1, 1), labels; ``how``: as
    ``real_pixels`` takes it.
    """
    from training.feed.draws import dequantised, draw_dequantisation, real_pixels

    pixels, labels = real_pixels(data, seed, position, batch_size, *how)
    noise = draw_dequantisation(seed, position, 0, np.empty(pixels.shape, np.float32))
    return dequantised(torch.from_numpy(pixels), torch.from_numpy(noise)), torch.from_numpy(labels)


@pytest.hookimpl(trylast=True)  # behind -m, which leaves some out
def pytest_collection_modifyitems(items):
    """Each worker begins with its part of the long tests: at the end nobody waits for one of them. ``--dist worksteal``
    gives a worker an even share of consecutive tests, and takes the last of what another has left when it is done.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers == 1:
        return
    long = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if not item.get_closest_marker("long")]
    shares = []
    for worker in range(workers):
        size = len(items) * (worker + 1) // workers - len(items) * worker // workers
        own = long[worker::workers][:size]
        shares += own + others[: size - len(own)]
        del others[: size - len(own)]
    items[:] = shares + [item for item in items if item not in set(shares)]


def pytest_runtest_setup(item):
    if item.get_closest_marker("soak") and not os.environ.get("SOAK"):
        pytest.skip("make soak runs it")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def once(tmp_path_factory, name, make):
    """The folder ``name`` that ``make(folder)`` fills, once in a session: every worker finds the same."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, done = root / name, root / f"{name}.done"
    with FileLock(root / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a test that failed while it was filled
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def draw_images(root: Path) -> Path:
    """Two classes of twenty 32-px pictures each: bright squares on the left, dark ones on the right."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("left", "right")):
        folder = root / "images" / name
        folder.mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(100, 120, (32, 32, 3), dtype=np.uint8)
            y, x = rng.integers(4, 20), rng.integers(0, 6) + 16 * label
            pixels[y : y + 8, x : x + 8] = 255 if label == 0 else 0
            Image.fromarray(pixels).save(folder / f"{i:02d}.png")
    return root / "images"


@pytest.fixture
def without_float64(monkeypatch):
    """A context in which "cuda" stands for a Mac's GPU, which has no float64. Tensors have shapes without values."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    def double(tensor, to=torch.Tensor.double):
        assert tensor.device.type == "cpu", "Cannot convert a MPS Tensor to float64"
        return to(tensor)

    monkeypatch.setattr(torch.Tensor, "double", double)
    return FakeTensorMode(allow_non_fake_inputs=True)


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    return draw_images(tmp_path)
