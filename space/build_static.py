"""Builds the static page: the sources in space/static/, three exported models, and onnxruntime-web, in one folder.

The folder can be served as it is, by GitHub Pages, a static Space or ``python -m http.server``. Nothing in it refers to
another host. ``sngan static --out FOLDER`` and ``make static`` call ``build``.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sngan_hub import load_generator
from sngan_hub.class_names import label_names
from sngan_hub.exporting import describe, difference, write_onnx
from sngan_hub.files import write_atomically, write_json
from sngan_hub.hub.cache import cache_folder
from sngan_hub.text import REPOSITORY
from sngan_hub.weights import Record, find_record

SOURCES = Path(__file__).parent / "static"
MODELS = (  # name, title on the page; the first is the one that the page opens with
    ("sngan_cifar10_small", "Photographs"),
    ("sngan_fashion32", "Clothes"),
    ("sngan_avatars32", "Avatars"),
)
FIRST_CLASSES = 4  # that a view begins with
UNFINISHED = ".sngan-build."  # how the folder of a build begins; no user's folder has such a name

RUNTIME = "onnxruntime-web"
RUNTIME_VERSION = "1.30.0"
#: Of the package file, as npm states it
RUNTIME_INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
RUNTIME_FILES = (  # see BUILDS in worker.js: WebAssembly alone, and two forms with WebGPU
    "ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm",
    "ort.jspi.min.mjs", "ort-wasm-simd-threaded.jspi.mjs", "ort-wasm-simd-threaded.jspi.wasm",
    "ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm",
)  # fmt: skip
LARGEST_DIFFERENCE = 2 / 127.5  # of an exported model: two levels of 255

FRONT_MATTER = """---
title: sngan-hub
emoji: 🎛
colorFrom: blue
colorTo: gray
sdk: static
app_file: index.html
pinned: false
license: mit
---

Images by class from small GANs, computed in the browser. Built by `sngan static` from
https://github.com/{repository}; contains onnxruntime-web {version} (MIT licence).
"""


def build(out: Path, runtime: Path | None = None, say: Callable[[str], None] = print) -> None:
    """Writes the folder ``out``, which must not exist or be empty or an earlier build.

    Hidden files and CNAME in ``out`` stay as they are, so it can be a branch that is published.

    Args:
        out: the folder.
        runtime: the package file of onnxruntime-web, of version RUNTIME_VERSION; None: from the cache, or by npm.
        say: called with a line for each step.

    Raises:
        ValueError: if ``out`` holds other files, if the package file has another hash, or if an exported model differs
            from the original by more than two levels of 255.
        FileNotFoundError: if there is no package file and no npm.
    """
    place = out.resolve()
    earlier = _earlier(place)
    package = runtime_package(runtime, say)
    place.mkdir(parents=True, exist_ok=True)
    for left in place.glob(f"{UNFINISHED}*"):  # of a build that was killed
        if left.is_dir() and not left.is_symlink():
            _remove(left)
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=place) as folder:  # in it: its parent may be another's
        _fill(Path(folder), package, say)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        _replace(place, earlier, Path(folder))
    say(f"{out}: {size / 1e6:.0f} MB, ready to serve")


def _earlier(out: Path) -> set[str]:
    """The names in ``out`` that an earlier build wrote. Raises ``ValueError`` if there are others."""
    paths = out.iterdir() if out.exists() else []
    names = {path.name for path in paths if not path.name.startswith(".") and path.name != "CNAME"}
    if foreign := sorted(names - _written(out)):
        raise ValueError(f"out must be a new folder, an empty one or an earlier static page (got {out}, where no build "
                         f"wrote {', '.join(foreign[:8])}); choose another folder")  # fmt: skip
    return names


def _written(out: Path) -> set[str]:
    """What the build that wrote sw.js says in it; see ``_fill_in_service_worker``. Nothing for another sw.js."""
    try:
        text = (out / "sw.js").read_text(encoding="utf-8")
        site = json.loads(text.split("const SITE = ")[1].split(";\n")[0])
        return {*site["files"], "sw.js", "README.md", f"{RUNTIME}-{site['runtime']}"}
    except (OSError, ValueError, LookupError, TypeError):
        return set()


def _replace(out: Path, earlier: set[str], new: Path) -> None:
    """Moves the content of ``new`` to ``out``, and removes what is only in the earlier build.

    The sw.js in ``out`` names every file beside it at any time: what a killed process leaves is an earlier build.
    """
    names = {path.name for path in new.iterdir()}
    out.mkdir(exist_ok=True)
    for name in earlier - names:
        _remove(out / name)
    for name in ["sw.js", *sorted(names - {"sw.js"})]:
        if (out / name).is_dir():  # it cannot be replaced by a rename
            _remove(out / name)
        os.replace(new / name, out / name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _fill(folder: Path, package: bytes, say: Callable[[str], None]) -> None:
    for source in SOURCES.iterdir():
        if source.is_file():
            shutil.copyfile(source, folder / source.name)
    models = []
    for name, title in MODELS:
        say(f"exporting {name} ...")
        models.append(_model(name, title, folder))
    runtime_folder = f"{RUNTIME}-{RUNTIME_VERSION}"
    unpack(package, folder / runtime_folder)
    write_json(folder / "models.json", {
        "home": f"https://github.com/{REPOSITORY}",
        "runtime": {"version": RUNTIME_VERSION, "folder": runtime_folder},
        "models": models,
    })  # fmt: skip
    _fill_in_service_worker(folder)
    (folder / "README.md").write_text(
        FRONT_MATTER.format(repository=REPOSITORY, version=RUNTIME_VERSION), encoding="utf-8"
    )
    (folder / ".nojekyll").touch()  # GitHub Pages then serves every file as it is


def _model(name: str, title: str, folder: Path) -> dict[str, Any]:
    """Exports a model to ``folder`` -> its entry in models.json."""
    record = find_record(name, "generator")
    generator = load_generator(name)
    path = folder / "model.onnx"
    write_onnx(generator, path, describe(name, generator), half=True)
    worst = difference(path, generator, n=64)
    if worst > LARGEST_DIFFERENCE:
        raise ValueError(f"{name}: float16 weights change pixels by {worst * 127.5:.1f} levels of 255, more than 2")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    file = f"{record.name}-{digest[:12]}.onnx"  # another content has another address, whatever caches hold
    path.rename(folder / file)
    fid = record.scores.get("fid_paper") or record.scores.get("fid5k_test")
    return {
        "name": record.name, "title": title, "about": record.about, "licence": record.licence,
        "file": file, "bytes": (folder / file).stat().st_size, "sha256": digest, "weights_sha256": record.sha256,
        "size": generator.size, "z_dim": generator.z_dim, "n_classes": generator.n_classes,
        "classes": label_names(generator),
        "first": first_classes(record), "fid": fid and round(fid.value, 3),
    }  # fmt: skip


def first_classes(record: Record) -> list[str]:
    """The classes whose samples a classifier recognises most often, in the order of the labels."""
    agreement = record.scores.get("agreement2k")
    recognised = dict(agreement.per_class or {}) if agreement else {}
    best = sorted(record.classes, key=lambda name: -recognised.get(name, 0.0))[:FIRST_CLASSES]
    return [name for name in record.classes if name in best]


def _fill_in_service_worker(folder: Path) -> None:
    """Writes into sw.js which files it stores, and their hash as the version: another content is another version."""
    own = sorted(path for path in folder.iterdir() if path.is_file() and path.name not in ("sw.js", "README.md"))
    digest = hashlib.sha256()
    for path in own:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    site = {"version": digest.hexdigest()[:16], "files": ["./", *(path.name for path in own)],
            "runtime": RUNTIME_VERSION}  # fmt: skip
    empty = 'const SITE = { version: "", files: [], runtime: "" };'
    text = (folder / "sw.js").read_text(encoding="utf-8")
    if text.count(empty) != 1:
        raise ValueError(f"sw.js must contain this line once: {empty}")
    (folder / "sw.js").write_text(text.replace(empty, f"const SITE = {json.dumps(site)};"), encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------------------
# onnxruntime-web


def package_path() -> Path:
    """Where the package file is kept once it was downloaded."""
    return cache_folder() / f"{RUNTIME}-{RUNTIME_VERSION}.tgz"


def runtime_package(given: Path | None, say: Callable[[str], None] = print) -> bytes:
    """The package file of onnxruntime-web, checked. See ``build``."""
    if given is not None:
        return _checked(given.read_bytes(), str(given))
    kept = package_path()
    if kept.is_file():
        try:
            return _checked(kept.read_bytes(), str(kept))
        except ValueError as error:
            say(f"{error}; downloading it again")
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(
            f"npm is not installed; install it, or download {RUNTIME} {RUNTIME_VERSION} elsewhere with "
            f"`npm pack {RUNTIME}@{RUNTIME_VERSION}` and pass the file with --runtime"
        )
    say(f"downloading {RUNTIME} {RUNTIME_VERSION} with npm")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([npm, "pack", "--silent", f"{RUNTIME}@{RUNTIME_VERSION}"], cwd=folder, text=True,
                              capture_output=True)  # fmt: skip
        found = sorted(Path(folder).glob("*.tgz"))
        if done.returncode or not found:
            reason = (done.stderr.strip().splitlines() or ["no file came"])[-1]
            raise FileNotFoundError(f"npm cannot download {RUNTIME} {RUNTIME_VERSION}: {reason}")
        content = _checked(found[0].read_bytes(), "the file from npm")
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(kept, lambda path: path.write_bytes(content))
    return content


def _checked(content: bytes, source: str) -> bytes:
    digest = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    if digest != RUNTIME_INTEGRITY:
        raise ValueError(f"{source}: this is not {RUNTIME} {RUNTIME_VERSION}: its hash is {digest}, not "
                         f"{RUNTIME_INTEGRITY}")  # fmt: skip
    return content


def unpack(package: bytes, folder: Path) -> None:
    """Writes the files of RUNTIME_FILES to ``folder``. Their licence is in static/third-party.txt."""
    folder.mkdir()
    wanted = {f"package/dist/{name}": name for name in RUNTIME_FILES}
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(package))) as archive:
        for member in archive:
            name = wanted.pop(member.name, None)
            file = archive.extractfile(member) if name else None
            if name and file:
                (folder / name).write_bytes(file.read())
    if wanted:
        raise ValueError(f"{RUNTIME} {RUNTIME_VERSION} lacks {', '.join(wanted)}")
