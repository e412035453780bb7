"""Seconds and memory of ``sngan convert`` on full-size files with random weights: ``python benchmarks/convert.py``.

Each conversion runs three times, in separate processes. The seconds include the whole command with imports.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy  # noqa: E402
import torch  # noqa: E402

from tests import full_size  # noqa: E402


def convert(path: Path, out: Path) -> tuple[float, float]:
    """-> seconds, and peak memory in GB."""
    command = [sys.executable, "-m", "sngan_hub.cli", "convert", str(path), str(out)]
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{path}: exit code {process.returncode}")
    shutil.rmtree(out)
    return seconds, usage.ru_maxrss * (1 if platform.system() == "Darwin" else 1024) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="small files, once, as a test of the script")
    smoke = parser.parse_args().smoke
    n = 1 if smoke else 3
    print(
        f"{platform.machine()}, {os.cpu_count()} cores; torch {torch.__version__}, NumPy {numpy.__version__}; {n} runs"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if smoke:
            golden = ROOT / "tests" / "golden"
            files = {"mmgeneration, G and D": golden / "foreign" / "mmgen32_cond10_wo.pth",
                     "authors, G": golden / "sngan_G32_cond_ch16_n10.weights.npz"}  # fmt: skip
        else:
            g, d = full_size.authors_imagenet(folder)
            files = {"mmgeneration, G and D": full_size.mmgen_imagenet(folder), "authors, G": g, "authors, D": d}
        for what, path in files.items():
            runs = [convert(path, folder / "out") for _ in range(n)]
            seconds, memory = (statistics.median(column) for column in zip(*runs, strict=True))
            spread = max(run[0] for run in runs) - min(run[0] for run in runs)
            print(
                f"{what:24}{path.stat().st_size / 1e6:7.0f} MB {seconds:6.1f} s (longest minus shortest {spread:.1f}) "
                f"{memory:6.2f} GB"
            )


if __name__ == "__main__":
    main()
