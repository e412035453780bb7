"""A forked process is one of its own: what it is given, what it says, how it ends."""

import os
import signal
import subprocess
import sys
import time

import pytest

from . import warm
from .conftest import ROOT


def python(code, *words):
    return [sys.executable, "-c", code, *words]


ABOUT = """
import json, os, sys, numpy
print(json.dumps([os.getcwd(), sys.argv, __name__, os.environ.get("HOW"), os.getpid() == os.getsid(0),
                  sorted(os.listdir("/proc/self/fd"))]), numpy.random.rand())
sys.stderr.write("seen")
raise SystemExit(SAYS)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
def test_it_is_as_if_it_were_started(tmp_path):
    for says, code, tail in (("None", 0, ""), ("3", 3, ""), ("'no'", 1, "no\n"), ("True", 1, "")):
        words = python(ABOUT.replace("SAYS", says), "--a", "b c")
        ours, theirs = (
            warm.run(words, {"HOW": "so"}, tmp_path),
            subprocess.run(words, cwd=tmp_path, env={**os.environ, "HOW": "so"}, capture_output=True, text=True,
                           start_new_session=True),
        )  # fmt: skip
        assert ours.returncode == theirs.returncode == code and ours.stderr == theirs.stderr == f"seen{tail}"
        assert ours.stdout.rsplit(" ", 1)[0] == theirs.stdout.rsplit(" ", 1)[0]
    first, second = (warm.run(python("import numpy; print(numpy.random.rand())")).stdout for _ in range(2))
    assert first != second


def until(reached):
    end = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_errors_and_signals_end_it(tmp_path):
    failed = warm.run(python("1 / 0"))
    assert failed.returncode == 1 and "ZeroDivisionError" in failed.stderr
    process = warm.start(python("import time; print('here', flush=True); time.sleep(100)"))
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    assert process.communicate(20) == ("here\n", "") and process.poll() == process.returncode == -signal.SIGKILL
    process = warm.start(python(f"import time; open({str(tmp_path / 'here')!r}, 'w').close(); time.sleep(100)"))
    until(lambda: (tmp_path / "here").exists())
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == -signal.SIGINT
    ended = warm.run(python("import atexit, threading, time; atexit.register(print, 'last')\n"
                            "threading.Thread(target=lambda: (time.sleep(0.3), print('thread'))).start()"))  # fmt: skip
    assert ended.stdout == "thread\nlast\n"


def test_a_module_and_a_file(tmp_path):
    assert "sngan_fashion32" in warm.run([sys.executable, "-m", "sngan_hub.cli", "list"]).stdout
    file = tmp_path / "file.py"
    file.write_text("import sys; print(sys.argv[1:], sys.path[0], __name__)")
    assert warm.run([sys.executable, str(file), "a"]).stdout == f"['a'] {tmp_path} __main__\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")
def test_a_variable_that_torch_has_read_already_is_refused(monkeypatch):
    with pytest.raises(AssertionError, match="HF_ENDPOINT.*start it by subprocess"):
        warm.run(python("pass"), {"HF_ENDPOINT": "nowhere"})
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with pytest.raises(AssertionError, match="OMP_NUM_THREADS"):
        warm.run(python("pass"))
    assert ROOT == warm.ROOT
