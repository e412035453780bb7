"""Every benchmark runs: in its smallest form, on this machine, without touching the records."""

import os
import subprocess
import sys

import pytest

from benchmarks import curve
from sngan_hub.data import FASHION_DEBIAN

from . import static_site, warm
from .conftest import ROOT

BENCHMARKS = sorted(path.name for path in (ROOT / "benchmarks").glob("*.py"))
ELSEWHERE = {"gpu.py": "test_gpu_benchmark.py runs its small form, piece by piece"}
MINUTES = {
    "refining.py",
    "finetune.py",
    "recipes.py",
    "curve.py",
    "changed.py",
    "cost.py",
    "resample.py",
    "static_page.py",
    "space.py",
    "walk.py",
}  # run by make soak
AS_A_READER = {"convert.py", "resample.py"}  # the others are forked: what they start themselves is not
NEEDS = {"probe.py": "fashion", "refining.py": "fashion inception", "changed.py": "fashion inception", "walk.py": "dicebear", "finetune.py": "dicebear",
         "space.py": "gradio_client", "copies.py": "fashion", "recipes.py": "fashion", "curve.py": "fashion inception",
         "static_page.py": "static"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.soak] * (name in MINUTES)) for name in BENCHMARKS
                                  if name not in ELSEWHERE])  # fmt: skip
def test_every_benchmark_runs(name, tmp_path):
    for what in NEEDS.get(name, "").split():
        if what == "fashion" and not FASHION_DEBIAN.is_dir():
            pytest.skip("Debian's dataset-fashion-mnist is not installed")
        if what == "inception":
            from sngan_hub.metrics.inception import find_weights

            try:
                find_weights()
            except FileNotFoundError as error:
                pytest.skip(str(error))
        if what == "static":
            static_site.needed()
        if what in ("dicebear", "gradio_client"):
            pytest.importorskip(what)
    records = contents(ROOT / "benchmarks" / "records")
    tables = {path: (ROOT / path).read_bytes() for path in TABLES}
    command = [sys.executable, str(ROOT / "benchmarks" / name), "--smoke"]
    if name in AS_A_READER:
        done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
                              text=True, timeout=300)  # fmt: skip
    else:
        done = warm.run(command, {"PYTHONPATH": str(ROOT)}, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() or name == "resample.py", "it shows nothing"
    assert contents(ROOT / "benchmarks" / "records") == records, "a smoke run is no record"
    assert {path: (ROOT / path).read_bytes() for path in TABLES} == tables, "a smoke run is no record"


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


TABLES = (
    "sngan_hub/layers/resample_table.json",
    "training/config/devices.json",
    "training/config/throughput.json",
    "README.md",
)


def test_make_bench_names_benchmarks_that_are_there():
    lines = (ROOT / "Makefile").read_text().splitlines()
    named = {line.split("benchmarks/")[1].split()[0] for line in lines if "benchmarks/" in line}
    assert named <= set(BENCHMARKS) and "resample.py" in named


def test_the_curve_extrapolates_a_power_law():
    rows = [{"core_hours": hours, "fid": 90 * hours**-0.5, "decayed": True} for hours in (1.0, 2.0, 3.0)]
    constant_rates = {"core_hours": 2.5, "fid": 80.0, "decayed": False}
    without_fid = {"core_hours": 9.0, "decayed": True}
    other = {"core_hours": 4.0, "fid": 10.0, "decayed": True, "settings": {"diversity_weight": 10.0}}
    text = " ".join(curve.extrapolation([*rows, constant_rates, without_fid, other, {"hours": 1.0}]))
    assert "FID = 90 x core-hours^-0.50 (largest error 0.0)" in text
    assert "45 after 4 and 25 after 13 core-hours" in text  # (90 / 45)^2, (90 / 25)^2
    assert curve.extrapolation([*rows[:2], constant_rates]) == [], "two points fit any power law"
    assert "does not fall" in " ".join(curve.extrapolation([{**row, "fid": row["core_hours"]} for row in rows]))
