"""The static page without a browser: its latents are Python's to the last bit, and what `sngan static` writes."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import torch

from sngan_hub.cli.main import main
from sngan_hub.sampling.generate import latents, uniforms
from sngan_hub.sampling.morph import truncated_deviation, walk_latents

from .conftest import ROOT

SOURCES = ROOT / "space" / "static"


# ---------------------------------------------------------------------------------------------------------------------
# Latents, without a browser


def node():
    """node, or the one that Playwright brings."""
    found = shutil.which("node")
    if not found:
        playwright = pytest.importorskip("playwright")
        found = Path(playwright.__file__).parent / "driver" / "node"
        if not found.is_file():
            pytest.skip("no node")
    return str(found)


def computed(tmp_path, expression, module="latents.js"):
    """The value of a JavaScript expression that may use what a module exports, as L."""
    script = tmp_path / "script.mjs"
    script.write_text(f"import * as L from {json.dumps((SOURCES / module).as_uri())};\n"
                      f"console.log(JSON.stringify({expression}));\n")  # fmt: skip
    return json.loads(subprocess.run([node(), str(script)], capture_output=True, text=True, check=True).stdout)


SEEDS = (0, 1, 2**31, 2**53 + 1, 2**63 - 1)


def test_uniforms_are_pythons(tmp_path):
    found = computed(tmp_path, f"{json.dumps([str(seed) for seed in SEEDS])}.map(seed => [0, 1, 99999].map(i => "
                               f"[...L.uniforms(BigInt(seed), i, 10)]))")  # fmt: skip
    for seed, rows in zip(SEEDS, found, strict=True):
        for i, row in zip((0, 1, 99_999), rows, strict=True):
            assert row == uniforms(seed, i, 1, 11)[0, :11].tolist()


@pytest.mark.parametrize("truncation", [None, 0.1, 0.7, 2.9])
def test_latents_and_walks_are_pythons_to_the_last_bit(tmp_path, truncation):
    t = truncation or 0
    found = computed(tmp_path, f"{json.dumps([str(seed) for seed in SEEDS])}.map(seed => [[0, 7, 500].map(i => "
                               f"[...L.latent(BigInt(seed), i, 128, {t})]), [0, 0.25, 0.9].map(t => "
                               f"[...L.walkLatent(BigInt(seed), t, 128, {t})])])")  # fmt: skip
    for seed, (sampled, walked) in zip(SEEDS, found, strict=True):
        expected = torch.cat([latents(seed, i, 1, 128, 0, truncation)[0] for i in (0, 7, 500)])
        assert torch.equal(torch.tensor(sampled), expected)
        path = walk_latents(seed, 20, 128, truncation)[[0, 5, 18]]
        # LAPACK's sums may come in another order on another processor.
        assert (torch.tensor(walked) - path).abs().max() <= 1e-6


def test_quantiles_reach_into_the_tails(tmp_path):
    p = [2.0**-54, 1e-12, 1e-5, 0.074, 0.076, 0.3, 0.5, 0.7, 0.924, 0.926, 1 - 1e-5, 1 - 2.0**-53]
    found = torch.tensor(computed(tmp_path, f"{json.dumps(p)}.map(L.normalQuantile)"), dtype=torch.float64)
    expected = torch.special.ndtri(torch.tensor(p, dtype=torch.float64))
    assert torch.allclose(found, expected, rtol=1e-14, atol=0)


def test_truncated_deviation_is_pythons(tmp_path):
    t = [0.1, 0.5, 1, 2, 3, 8]
    found = computed(tmp_path, f"{json.dumps(t)}.map(L.truncatedDeviation)")
    assert found == pytest.approx([truncated_deviation(each) for each in t], rel=1e-12)


# ---------------------------------------------------------------------------------------------------------------------
# Links and walks, without a browser


def test_a_link_that_the_page_writes_shows_the_same_again(tmp_path):
    """And classes that the model does not have are not an empty choice."""
    links = ["truncation=2.97", "truncation=2.94", "truncation=0.7", "classes=", "classes=foo", "classes=a|foo"]
    read, again = computed(tmp_path, f"""(() => {{
        const read = (hash) => L.readState(hash, [{{ name: "m", classes: ["a", "b", "c"], first: ["b", "c"] }}]);
        const states = {json.dumps(links)}.map((link) => read("#tab=sample&" + link));
        const about = ({{ truncation, classes }}) => [truncation, classes.sample];
        return [states.map(about), states.map((state) => about(read(L.writeState(state, ""))))];
    }})()""", "state.js")  # fmt: skip
    assert read == again
    assert read == [[0, ["b", "c"]], [2.9, ["b", "c"]], [0.7, ["b", "c"]], [0, []], [0, ["b", "c"]], [0, ["a"]]]


def test_weights_of_a_link_stay_with_their_classes(tmp_path):
    """Also where another name of the list is unknown or comes twice, and where so few are known that others are shown."""
    links = ["a|x|b&weights=10|20|70", "a|a|b&weights=10|20|70", "x|b&weights=20|70", "a|b&weights=|70", ""]
    assert computed(tmp_path, f"""{json.dumps(links)}.map((link) => L.readState("#tab=morph&classes=" + link,
        [{{ name: "m", classes: ["a", "b", "c"], first: ["b", "c"] }}]).weights)""", "state.js") == [
        {"a": 10, "b": 70}, {"a": 10, "b": 70}, {"b": 70, "c": 50}, {"a": 50, "b": 70}, {"b": 50, "c": 50},
    ]  # fmt: skip
    assert computed(tmp_path, """L.readState("#tab=morph&weights=10|70",
        [{ name: "m", classes: ["a", "b"], first: ["b", "a"] }]).weights""", "state.js") == {"b": 10, "a": 70}  # fmt: skip


def test_a_frame_that_comes_late_is_not_painted_over_a_later_choice(tmp_path):
    """Frame 2 is being computed when the visitor goes back to frame 1, which is known. It is kept."""
    seen = computed(tmp_path, """await (async () => {
        const painted = [], waiting = [];
        const canvas = { setAttribute() {}, getContext: () => ({ putImageData: (image) => painted.push(image.of) }) };
        const image = ({ seed, places }) => [{ of: [seed, 48 * places[0]] }];
        const engine = { draw: (request) => new Promise((done) => waiting.push(() => done(image(request)))) };
        const walk = new L.Walk({ querySelector: () => canvas }, engine);
        const model = { name: "m", classes: ["a"] };
        const state = (seed) => ({ model, seed, truncation: 0, seconds: 2, classes: { walk: ["a"] } });
        walk.update(state(1));
        const all = [walk.show(1)];
        waiting.shift()();
        await all[0];
        all.push(walk.show(2), walk.show(1));
        await all[2];
        waiting.shift()();
        await all[1];
        all.push(walk.show(2));
        await all[3];
        walk.update(state(5)); // of two frames that are computed, both are painted: the first may be saved
        all.push(walk.show(3), walk.show(4));
        waiting.splice(0).forEach((finish) => finish());
        return [await Promise.all(all), painted, walk.painted];
    })()""", "views.js")  # fmt: skip
    assert seen == [[True, True, False, False, True, True], [[1, 1], [1, 1], [1, 2], [5, 3], [5, 4]], 4]


# ---------------------------------------------------------------------------------------------------------------------
# The build


def test_the_service_worker_stores_every_file_of_the_page(tmp_path):
    from space import build_static

    for source in SOURCES.iterdir():
        shutil.copy(source, tmp_path / source.name)
    (tmp_path / "models.json").write_text("{}")
    build_static._fill_in_service_worker(tmp_path)
    site = json.loads((tmp_path / "sw.js").read_text().split("const SITE = ")[1].split(";\n")[0])
    assert set(site["files"]) == {"./", "models.json", *(p.name for p in SOURCES.iterdir())} - {"sw.js"}
    shutil.copy(SOURCES / "sw.js", tmp_path / "sw.js")
    (tmp_path / "models.json").write_text('{"new": 1}')
    build_static._fill_in_service_worker(tmp_path)
    assert site["version"] not in (tmp_path / "sw.js").read_text()  # another content, another version


def test_sources_name_no_other_host_and_every_module_is_there():
    for path in SOURCES.iterdir():
        text = path.read_text(encoding="utf-8")
        hosts = {part.split("/")[0].split('"')[0] for part in text.split("://")[1:]}
        assert hosts <= {"arxiv.org", "www.w3.org"}, path.name  # links that a visitor may follow; a namespace
        for line in text.splitlines():
            if line.startswith("import ") and path.suffix == ".js":
                assert (SOURCES / line.split('"./')[1].split('"')[0]).is_file(), line
    html = (SOURCES / "index.html").read_text(encoding="utf-8")
    ids = {part.split('"')[0] for part in html.split('id="')[1:]}
    used = {
        word.split('"')[0].split(" ")[0] for path in SOURCES.glob("*.js") for word in path.read_text().split('$("#')[1:]
    }
    assert used <= ids


def test_classes_to_begin_with_are_those_best_recognised():
    from dataclasses import replace

    from sngan_hub.weights import find_record
    from space.build_static import first_classes

    record = find_record("sngan_fashion32", "generator")
    score = replace(record.scores["agreement2k"], per_class={name: i for i, name in enumerate(record.classes)})
    assert first_classes(replace(record, scores={"agreement2k": score})) == list(record.classes[-4:])
    assert len(first_classes(replace(record, scores={}))) == 4


def test_the_page_shows_the_fid_that_the_documentation_shows(tmp_path, monkeypatch):
    """Against all test images where that was measured."""
    from sngan_hub.weights import find_record
    from space import build_static

    monkeypatch.setattr(build_static, "write_onnx", lambda generator, path, *_, **__: path.write_bytes(b"network"))
    monkeypatch.setattr(build_static, "difference", lambda path, generator, n: 0.0)
    entry = build_static._model("sngan_fashion32", "Clothes", tmp_path)
    assert entry["fid"] == round(find_record("sngan_fashion32", "generator").scores["fid_paper"].value, 3)


def test_another_package_file_is_refused(tmp_path, capsys):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    with tarfile.open(tmp_path / "other.tgz", "w:gz") as archive:
        archive.add(ROOT / "LICENSE", "package/LICENSE")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    for words, message in (
        (["--out", "new", "--runtime", "other.tgz"], "this is not onnxruntime-web"),
        (["--out", "new", "--runtime", "none.tgz"], "none.tgz"),
        (["--out", "full"], "out must be a new folder"),
    ):
        words = [str(tmp_path / word) if not word.startswith("--") else word for word in words]
        with pytest.raises(SystemExit):
            main(["static", *words])
        assert message in capsys.readouterr().err
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine" and not (tmp_path / "new").exists()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A page that is built without models; its one model has the name in ``site.model``."""
    from space import build_static

    def model(name, title, folder):
        (folder / f"{name}-{build.digest}.onnx").write_text(build.digest)
        return {}

    def build(fails=False):
        def unpack(package, folder):
            folder.mkdir()
            (folder / "ort.mjs").write_text(build.digest)
            if fails:
                raise KeyboardInterrupt

        monkeypatch.setattr(build_static, "unpack", unpack)
        build_static.build(tmp_path / "site", say=lambda line: None)

    build.digest, build.folder = "1", tmp_path / "site"
    monkeypatch.setattr(build_static, "runtime_package", lambda given, say: b"")
    monkeypatch.setattr(build_static, "_model", model)
    return build


def test_a_damaged_package_in_the_cache_is_fetched_again(tmp_path, monkeypatch):
    from space import build_static

    content = b"the package"
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()

    def npm(command, cwd, **_):
        (Path(cwd) / "ort.tgz").write_bytes(content)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build_static, "RUNTIME_INTEGRITY", f"sha512-{digest}")
    monkeypatch.setattr(build_static.shutil, "which", lambda name: name)
    monkeypatch.setattr(build_static.subprocess, "run", npm)
    kept, said = build_static.package_path(), []
    assert build_static.runtime_package(None, said.append) == kept.read_bytes() == content
    kept.write_bytes(content[:5])  # as of a process that was killed while it wrote
    assert build_static.runtime_package(None, said.append) == kept.read_bytes() == content
    assert "this is not onnxruntime-web" in said[1] and said[1].endswith("downloading it again")
    monkeypatch.setattr(build_static, "write_atomically", lambda path, write: (_ for _ in ()).throw(KeyboardInterrupt))
    kept.unlink()
    with pytest.raises(KeyboardInterrupt):
        build_static.runtime_package(None, said.append)
    assert not kept.exists()


def test_a_build_replaces_its_own_files_and_leaves_those_of_a_published_branch(site):
    (site.folder / ".git").mkdir(parents=True)  # a new branch for the page
    (site.folder / ".git" / "HEAD").write_text("ref")
    (site.folder / "CNAME").write_text("example.org")
    (site.folder / ".build.yml").write_text("tasks")
    (site.folder / ".sngan-build.killed").mkdir()
    site()
    assert (site.folder / ".build.yml").read_text() == "tasks" and not (site.folder / ".sngan-build.killed").exists()
    site.digest = "2"
    with pytest.raises(KeyboardInterrupt):
        site(fails=True)
    names = {path.name for path in site.folder.iterdir()}
    assert "sngan_fashion32-1.onnx" in names and [p.name for p in site.folder.parent.iterdir()] == ["site"]
    site()
    assert {path.name for path in site.folder.iterdir()} == {name.replace("-1.onnx", "-2.onnx") for name in names}
    assert next(site.folder.glob("onnxruntime-web-*/ort.mjs")).read_text() == "2"
    assert (site.folder / ".git" / "HEAD").read_text() == "ref"
    assert (site.folder / "CNAME").read_text() == "example.org"
    before = {path.name: path.stat().st_mtime_ns for path in site.folder.iterdir()}
    (site.folder / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="out must be .*thesis.txt"):
        site()
    (site.folder / "thesis.txt").unlink()
    assert before == {path.name: path.stat().st_mtime_ns for path in site.folder.iterdir()}


def test_a_build_that_was_killed_while_it_moved_its_files_is_an_earlier_build(site, monkeypatch):
    replace, left = os.replace, 0

    def killed(source, target):
        nonlocal left
        left -= Path(target).parent == site.folder
        if left == -1:
            raise KeyboardInterrupt
        replace(source, target)

    site()
    monkeypatch.setattr(os, "replace", killed)
    for moves in (0, 1, 4):
        site.digest, left = str(moves), moves
        with pytest.raises(KeyboardInterrupt):
            site()
    left = 100
    site()
    assert sorted(path.name for path in site.folder.glob("*.onnx")) == [
        "sngan_avatars32-4.onnx", "sngan_cifar10_small-4.onnx", "sngan_fashion32-4.onnx",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "names", [["models.json"], ["models.json", "index.html", "README.md"], ["models.json", "sw.js"]]
)
def test_a_project_with_a_models_json_is_not_an_earlier_build(site, names):
    site.folder.mkdir()
    for name in names:
        (site.folder / name).write_text("[1]")
    with pytest.raises(ValueError, match="out must be a new folder, an empty one or an earlier static page"):
        site()
    assert all((site.folder / name).read_text() == "[1]" for name in names)
