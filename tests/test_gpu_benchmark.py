"""``make gpu`` without a GPU: what it records, that it goes on where it stopped, and what it refuses."""

import json
import os
import subprocess
import sys

import jsonschema
import pytest
import torch

from benchmarks import gpu
from sngan_hub.files import read_json_lines

from . import warm
from .conftest import ROOT

NUMBER, COUNT = {"type": "number", "minimum": 0}, {"type": "integer", "minimum": 0}
MAYBE = {"type": ["number", "null"], "minimum": 0}


def fields(**own):
    return {"type": "object", "properties": own, "required": list(own), "additionalProperties": False}


FOUND = {
    "tests": fields(passed=COUNT, skipped=COUNT, failed={"type": "array", "items": {"type": "string"}}),
    "resample": fields(layers=COUNT, fused=COUNT, rows={
        "type": "object", "minProperties": 1, "propertyNames": {"pattern": "^(cpu|cpu-amx|cuda)/(float32|bfloat16)/(up|down)/"},
        "additionalProperties": fields(fused={"type": "boolean"}, plain_ms=NUMBER, fused_ms=NUMBER)}),
    "sample": fields(images_per_s={"type": "object", "minProperties": 1, "additionalProperties": NUMBER},
                     peak_memory_gb=NUMBER),
    "train": fields(
        preset={"enum": list(gpu.PRESETS)}, precision={"enum": list(gpu.PRECISIONS)}, one_pass={"type": "boolean"},
        tf32={"type": "boolean"}, d_step_s=NUMBER, g_step_s=NUMBER, iteration_s=NUMBER, real_images_per_s=NUMBER,
        tflop=NUMBER, mfu={**MAYBE, "maximum": 1}, peak_memory_gb=NUMBER, launches=COUNT, counted_launches=COUNT,
        predicted_s=MAYBE, hours=NUMBER, steps=COUNT),
    "compile": fields(preset={"enum": list(gpu.PRESETS)}, precision={"const": "bf16"}, **{
        key: {"type": "object", "propertyNames": {"enum": ["off", "on", "graphs", "graphs_only"]}, "minProperties": 2,
              "additionalProperties": NUMBER} for key in ("iteration_s", "first_s")}),
}  # fmt: skip


def check(row):
    schema = fields(device={"type": "string"}, piece={"enum": list(gpu.PIECES)}, small={"type": "boolean"},
                    torch={"type": "string"}, cuda={"type": ["string", "null"]}, seconds=NUMBER,
                    found=FOUND[row["piece"].partition(":")[0]])  # fmt: skip
    jsonschema.validate(row, schema)


def call(*arguments):
    return warm.run([sys.executable, "benchmarks/gpu.py", *map(str, arguments)], {"PYTHONPATH": str(ROOT)}, timeout=500)


def test_committed_records_are_of_gpus_and_whole():
    for row in read_json_lines(gpu.RECORD):
        check(row)
        assert not row["small"] and row["cuda"]


def test_what_is_done_is_not_done_again(tmp_path):
    path = tmp_path / "gpu.jsonl"
    assert list(gpu.missing(["a", "b"], "X", path)) == ["a", "b"]
    path.write_text('{"device": "X", "piece": "a"}\n{"device": "Y", "piece": "b"}\n')
    assert list(gpu.missing(["a", "b"], "X", path)) == ["b"]
    assert list(gpu.missing(["a", "b"], "Y", path)) == ["a"]


def refusal(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["gpu.py", *map(str, arguments)])
    with pytest.raises(SystemExit, match="2"):
        gpu.main()
    return capsys.readouterr().err


def test_what_is_refused(tmp_path, monkeypatch, capsys):
    small = ("--small", "--record", tmp_path / "r", "--table", tmp_path / "t")
    said = refusal(monkeypatch, capsys, *small, "--pieces", "abacus")
    assert "--pieces must be of tests, resample" in said and "(got 'abacus')" in said
    assert "--small must write to other files" in refusal(monkeypatch, capsys, "--small")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no GPU" in refusal(monkeypatch, capsys)


@pytest.mark.soak
@pytest.mark.slow
def test_the_small_form_records_every_piece_and_goes_on(tmp_path):
    record, table = tmp_path / "gpu.jsonl", tmp_path / "table.json"
    command = ("--small", "--record", record, "--table", table)
    nothing = [sys.executable, "benchmarks/gpu.py", *map(str, command), "--seconds", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(nothing, cwd=ROOT, capture_output=True, env=environment, timeout=500).returncode == 0
    assert not record.exists()
    pieces = ["tests", "resample", "sample", "train:fashion32:bf16", "compile:fashion32"]
    for chosen in (pieces[:2], pieces):  # each call does what is missing
        done = call(*command, "--pieces", ",".join(chosen))
        assert done.returncode == 0, done.stderr
        rows = read_json_lines(record)
        assert [row["piece"] for row in rows] == chosen
    assert call(*command, "--pieces", "tests", "--again").returncode == 0
    rows = read_json_lines(record)
    assert [row["piece"] for row in rows] == [*pieces[1:], "tests"]
    for row in rows:
        check(row)
    found = {row["piece"]: row["found"] for row in rows}
    assert found["tests"]["failed"] == [] and found["tests"]["passed"] + found["tests"]["skipped"] > 5
    layers = json.loads(table.read_text())["layers"]
    assert layers == found["resample"]["rows"] and len(layers) == 4
    for piece in pieces[3:4]:  # what runs is what was counted on tensors without values
        assert found[piece]["launches"] == pytest.approx(found[piece]["counted_launches"], rel=0.02)
