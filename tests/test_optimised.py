"""Under ``python -O`` assertions vanish; what a user gives is still checked."""

import ast
import subprocess
import sys

from .conftest import ROOT

CASES = """
import json, sys
from pathlib import Path
assert False, "not reached: this is python -O"
from space import inputs
from sngan_hub.hub.push import networks_in
from sngan_hub.data.prepared import read_about
folder = Path(sys.argv[1])
(folder / "dataset.json").write_text('{"classes": []}')
for call in (lambda: inputs.whole("n", 2.5, 1, 9), lambda: inputs.whole("n", 10, 1, 9), lambda: inputs.parse_truncation(101),
             lambda: inputs.parse_truncation(-1), lambda: read_about(str(folder)),
             lambda: list(networks_in(folder, "nobody"))):
    try:
        call()
    except ValueError as error:
        print(str(error).replace(":", " ").split()[0])
    else:
        print("accepted")
"""

#: What stays narrows a type, or states what the lines before it made sure of
NARROWING = ("isinstance(", " is not None")


def test_what_a_user_gives_is_checked_without_assertions(tmp_path):
    done = subprocess.run(
        [sys.executable, "-O", "-c", CASES, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    expected = ["n", "n", "truncation", "truncation", str(tmp_path / "dataset.json"), "repo"]
    assert done.stdout.split("\n")[:-1] == expected, done.stdout + done.stderr


def test_no_assertion_checks_what_a_user_gives():
    files = [path for folder in ("sngan_hub", "training", "space") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 60
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assert):
                said = ast.unparse(node.test)
                assert any(word in said for word in NARROWING), f"{path.relative_to(ROOT)}:{node.lineno}: {said}"
