"""Processes that do not each import torch anew: one process imports it once and forks the others.

``run(command)`` and ``start(command)`` stand in for ``subprocess.run`` and ``subprocess.Popen`` where a test is about
what a process does, and not about how it starts. Each is a process of its own, in a session of its own: it is killed,
holds locks, and ends with its exit code, as any other. What it does not have of its own: the seed of Python's hashes,
which all that are forked here share, and what a variable changes while torch is imported. A test that compares two
runs therefore starts one of them by ``subprocess``.

``python -m tests.warm FD`` is the process that forks: it reads commands from that socket until its other end is closed.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import types
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent

#: What the commands of ``training`` and ``sngan_hub.cli`` import, and the first optimizer of torch
IMPORTED = ("accelerate", "torch._dynamo", "torch.distributed", "torch.utils.tensorboard", "torchvision.utils",
            "training.__main__", "training.engine.loop", "training.finetune.load", "training.prepare.build",
            "sngan_hub.cli.main", "sngan_hub.hub.load")  # fmt: skip
#: Variables that are read when they are used: others cannot be given to a process that has imported torch already
READ_LATER = {"GRADIO_ANALYTICS_ENABLED", "GRADIO_TEMP_DIR", "HOW", "KILL", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PYTHONPATH", "RANK",
              "SNGAN_HUB_CACHE", "SNGAN_HUB_RECORDS", "TORCHINDUCTOR_CACHE_DIR", "WORLD_SIZE"}  # fmt: skip
#: The environment that the process which forks is given
AT_START = dict(os.environ)


class Process:
    """What tests use of ``subprocess.Popen``; what it writes is there when it has ended."""

    def __init__(self, command: list[str], env: dict[str, str] | None = None, cwd: Path = ROOT):
        self.args, self.returncode = command, None
        now = {**os.environ, **(env or {})}
        own = {name: now.get(name) for name in now.keys() | AT_START.keys() if now.get(name) != AT_START.get(name)}
        own = {name: value for name, value in own.items() if not name.startswith(("PYTEST_", "_TORCH"))}  # their own
        assert own.keys() <= READ_LATER, f"{own.keys() - READ_LATER}: start it by subprocess"
        self._written = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
        self._answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = json.dumps({"command": [str(word) for word in command[1:]], "env": own, "cwd": str(cwd)}).encode()
        with theirs:
            socket.send_fds(_forker()[0], [request], [theirs.fileno(), *(file.fileno() for file in self._written)])
        self.pid = self._answer(None)

    def _answer(self, timeout: float | None) -> int:
        """The next message: the process's id, and then its exit code."""
        self._answers.settimeout(timeout)
        try:
            message = self._answers.recv(100)
        except (TimeoutError, BlockingIOError):
            raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
        if not message:
            raise RuntimeError("the process that forks is gone")
        return int(message)

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.returncode = self._answer(timeout)
            self._answers.close()
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        out, err = map(_text, self._written)
        return out, err

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _text(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode()


def start(command: list[str], env: dict[str, str] | None = None, cwd: Path = ROOT):
    """``command``: ``[sys.executable, "-c", code]``, ``[sys.executable, "-m", module]`` or ``[sys.executable, file]``,
    and all its words. ``env``: what is added to the environment of the tests.
    """
    if sys.platform != "linux":  # where a process that has loaded frameworks cannot be relied on to fork
        return subprocess.Popen(command, cwd=cwd, env={**os.environ, **(env or {})}, start_new_session=True, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    return Process(command, env, cwd)


def run(
    command: list[str], env: dict[str, str] | None = None, cwd: Path = ROOT, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    process = start(command, env, cwd)
    try:
        out, err = process.communicate(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(command, process.wait(), out, err)


def start_together(command: list[str], processes: int) -> list[Process]:
    """The processes of one run, as torchrun starts them, without torchrun."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    count = str(processes)
    run_of = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [start(command, {**run_of, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(processes)]


@functools.cache
def _forker() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """This process's own forking process, and the socket by which it is asked. It ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen([sys.executable, "-m", "tests.warm", str(theirs.fileno())], cwd=ROOT, env=AT_START,
                         pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True)  # fmt: skip

    def stop() -> None:
        ours.close()
        process.terminate()  # a process that was forked from this one may hold the other end
        process.wait()

    atexit.register(stop)
    return ours, process


# The process that forks -----------------------------------------------------------------------------------------------


def serve(requests: socket.socket) -> dict[str, Any]:
    """Forks a process for each request; returns in these, with the request. The first end is the caller's own."""
    for name in IMPORTED:
        importlib.import_module(name)
    assert threading.active_count() == 1 and len(os.listdir("/proc/self/task")) == 1, "a thread would not be forked"
    gc.freeze()
    while True:
        request, fds, _, _ = socket.recv_fds(requests, 2**20, 3)
        if not request:
            os._exit(0)
        if os.fork():
            for fd in fds:
                os.close(fd)
            while _ended():  # those that waited for a process that has ended
                pass
            continue
        requests.close()
        answers, *written = fds
        pid = os.fork()
        if pid:
            _wait(pid, answers, written)
        os.setsid()
        for number, fd in enumerate((os.open(os.devnull, os.O_RDONLY), *written)):
            os.dup2(fd, number)
        os.closerange(3, max(fds) + 2)
        return json.loads(request)


def _ended() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] > 0
    except ChildProcessError:
        return False


def _wait(pid: int, answers: int, written: list[int]) -> None:
    """Says the process's id, and when it has ended how."""
    for fd in written:
        os.close(fd)
    try:
        os.write(answers, str(pid).encode())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(answers, str(code).encode())
    except BrokenPipeError:  # nobody waits any more
        pass
    os._exit(0)


def become(command: list[str], env: dict[str, str | None], cwd: str) -> None:
    """Runs the command as Python would, in this process."""
    import numpy as np

    for name, value in env.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    os.chdir(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in a shell's background
    if env.get("PYTHONPATH"):
        sys.path[1:1] = str(env["PYTHONPATH"]).split(os.pathsep)
    np.random.seed()  # as a new process; Python's own generator is seeded anew by the fork
    kind, *rest = command
    if kind == "-c":
        code, *words = rest
        sys.argv, sys.path[0] = ["-c", *words], ""
        main = types.ModuleType("__main__")
        sys.modules["__main__"] = main
        exec(compile(code, "<string>", "exec"), main.__dict__)
    elif kind == "-m":
        module, *words = rest
        sys.argv, sys.path[0] = [module, *words], os.getcwd()
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = [kind, *rest], str(Path(kind).parent)
        runpy.run_path(kind, run_name="__main__")


def end(code: object) -> None:
    """As Python ends, but for taking down every module: that would copy the memory that is shared with the others."""
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else bool(code))


if __name__ == "__main__":
    request = serve(socket.socket(fileno=int(sys.argv[1])))
    try:
        become(**request)
    except SystemExit as stop:
        end(stop.code)
    end(0)
