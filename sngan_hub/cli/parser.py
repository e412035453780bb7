"""Shared by all commands: common flags, and errors as one line with exit code 2."""

from __future__ import annotations

import argparse
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..files import nearest_existing
from ..text import nearest

MODEL = (
    "a name (sngan_imagenet128), a run, a network's folder, a file that `sngan convert` reads, or a Hub repository id"
)

TRAINING = ("train", "finetune", "import", "study")  # commands that take --micro-batch

#: Command -> what to do if the memory is not sufficient, with flags that the command has
LESS_MEMORY = {
    "sample": "lower --batch-size, or --n, or choose another --device",
    "morph": "lower --n or --steps, or choose another --device",
    "walk": "choose another --device",
    "score": "choose another --device",
    "spectrum": "choose another --device",
    "probe": "lower --n (without --calibrate), or choose another --device",
    "prepare": "use fewer --workers",
    "evaluate": "lower --batch-size or --workers; store large data with sngan prepare; give pictures a smaller --size",
    # a started run keeps its batch sizes and its batch-norm groups
    **dict.fromkeys(TRAINING, "choose another --device; or, in a new --out, lower --batch-size and --g-batch-size; or "
                    "--micro-batch N (not with --diversity-weight; a preset without batch-norm groups needs "
                    "--bn-group-d and --bn-group-g with it, in a new --out)"),
}  # fmt: skip

#: Package -> the extra of pyproject.toml that installs it
EXTRAS = {
    "accelerate": "train", "tensorboard": "train", "jinja2": "train", "matplotlib": "plots",
    "torch_fidelity": "metrics", "scipy": "metrics", "gradio": "space", "imageio_ffmpeg": "video",
    "datasets": "data", "lmdb": "data", "gdown": "drive", "dicebear": "avatars", "resvg_py": "avatars",
    "onnx": "onnx", "onnxscript": "onnx", "onnxruntime": "onnx",
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    """An argument parser with one-line errors, whose long options accept both - and _."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})  # --batch must not mean --batch-size

    def error(self, message: str) -> NoReturn:
        if command := re.match(r"argument COMMAND: invalid choice: '([^']*)' \(choose from (.*)\)", message):
            known = re.findall(r"[\w-]+", command[2])
            message = f"there is no command {command[1]!r}{nearest(command[1], known)}; {self.prog} --help lists them"
        fail(self.prog, message)

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        return super().parse_known_args([_hyphenated(a) for a in (sys.argv[1:] if args is None else args)], namespace)


def _hyphenated(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("_", "-") + equals + value


def home_path(text: str) -> Path:
    """The type of paths in flags: a shell leaves the ~ of --out=~/file as it is."""
    return Path(os.path.expanduser(text))  # unlike Path.expanduser, it keeps ~NAME of an unknown user


def add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--device",
        default="auto",
        help="auto (an NVIDIA GPU if there is one, otherwise the CPU), cpu, cuda, cuda:N, mps",
    )


def add_push_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--private", action="store_true", help="create new repositories as private")
    command.add_argument("--revision", metavar="BRANCH", help="branch to commit to; created if missing")
    command.add_argument("--tag", help="tag of the commit")
    command.add_argument("--create-pr", action="store_true", help="open a pull request instead of committing")
    command.add_argument(
        "--dry-run", action="store_true", help="print the model cards and the files, and upload nothing"
    )


def new_command(
    subparsers: Any, name: str, run: Callable[[argparse.Namespace], None], help: str, description: str = "",
    example: str = "",
) -> Parser:  # fmt: skip
    """Adds a command. ``run`` is called with the parsed arguments. ``example``: command lines, one per line."""
    command = subparsers.add_parser(
        name, help=help, description=description or f"{help[0].upper()}{help[1:]}.",
        epilog="\n  ".join(["example:" if example.count("\n") == 0 else "examples:", *example.splitlines()])
        if example else None, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    command.description = "\n".join(textwrap.wrap(command.description, 100))
    command.set_defaults(run=run)
    return command


def fail(program: str, message: str) -> NoReturn:
    print(f"{program}: error: {message}", file=sys.stderr)
    raise SystemExit(2)


def run(program: str, command: Callable[[], Any]) -> int:
    """Calls ``command`` -> exit code. Errors of the user become one line; a command that was stopped returns 130."""
    try:
        command()
        if sys.stdout is not None:  # as it is where the command was started without one
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output, such as head, has closed the pipe
        return 141
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in EXTRAS:
            raise
        fail(program, f"{package} is not installed; run: pip install 'sngan-hub[{EXTRAS[package]}]'")
    except InterruptedError as error:  # stopped by the user, after saving its state
        print(f"{program}: {error}", file=sys.stderr)
        return 130
    except (ValueError, OSError, FloatingPointError) as error:
        fail(program, str(error))
    except (MemoryError, RuntimeError) as error:  # torch has no class for an allocation on the CPU that failed
        if not isinstance(error, MemoryError) and not re.search(r"out of memory|can't allocate memory", str(error)):
            raise
        way_out = LESS_MEMORY.get(program.split()[-1], "close other programs, or use a machine with more memory")
        fail(program, f"the memory is not sufficient; {way_out}")
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130
    finally:
        _end_output()
    return 0


def _end_output() -> None:
    """Writes the rest of the output, or drops it: Python tries again at exit, with a message and exit code 120."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:  # a closed pipe or a full disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def check_file(path: Path) -> None:
    """Raises ``OSError`` if a file cannot be written to ``path``; to be called before any work is done."""
    check_writable(path.parent, create=False)
    if path.is_dir():
        raise IsADirectoryError(f"out: {path} is a folder; choose a file name")


def check_writable(folder: Path, create: bool) -> None:
    """Raises ``OSError`` if files cannot be written to ``folder``; to be called before any work is done.

    ``create``: the folder may be missing if it can be created.
    """
    existing = nearest_existing(folder)
    if not existing.exists():
        raise FileNotFoundError(f"out: there is no {existing}; choose another folder")
    if not existing.is_dir():
        raise NotADirectoryError(f"out: {existing} is not a folder")
    if existing != folder.absolute() and not create:
        raise FileNotFoundError(f"out: there is no folder {folder}")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise PermissionError(f"out: {existing} is not writable")
