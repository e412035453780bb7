"""The house: who may import whom, what a bare import pulls in, and what the repository must not hold."""

import ast
import json
import re
import subprocess
import sys

import pytest

from .conftest import ROOT
from .mutations import MUTATIONS

# Rooms in reading order: a file imports only what stands before it. FOLDER.* are its files, none of which imports another.
ORDER = [
    "text", "devices", "evaluating", "class_names", "layers.spectral_norm", "layers.normalizers", "layers.resample",
    "sampling.generate", "sampling.refine", "sampling.morph", "networks.mixin", "networks.base", "networks.inference",
    "networks.resnet", "networks.cnn", "networks.registry", "weights.published", "weights.records", "hub.resolve",
    "convert.archive", "convert.parts", "convert.assumptions", "convert.code_base", "convert.resnets",
    "convert.code_bases.*", "convert.networks", "convert.snapshot", "convert.folders", "hub.download", "hub.load", "hub.cards", "hub.push", "hub.listing",
    "metrics.spectrum", "data.images", "data.avatars", "data.torchvision_sets", "data.folders", "data.prepared",
    "metrics.discriminator_scores", "metrics.inception", "metrics.scores", "metrics.classifier", "metrics.protocols",
    "cli.parser", "cli.commands", "cli.main", "cli.__main__",
]  # fmt: skip
TRAINING = [
    "engine.losses", "engine.penalties", "feed.streams", "feed.draws", "feed.augment", "config.presets", "config.schema", "feed.philox",
    "feed.feed", "engine.ema", "engine.run_folder", "engine.transition", "engine.state", "engine.distributed",
    "engine.machine", "engine.import_chainer", "feed.near_copies", "feed.checks", "monitor.log", "monitor.score",
    "engine.signals", "engine.step", "config.cost", "config.dry_run", "engine.loop", "finetune.transfer",
    "finetune.plan", "monitor.report", "finetune.probe", "monitor.status", "prepare.sources", "prepare.build",
    "publish.record", "publish.ship", "publish.publish", "__main__",
]  # fmt: skip


def top_level_imports(path, package):
    """(module, names) of imports that run when the file is imported."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ([f"{module}.{alias.name}" for alias in node.names] if not node.module else [module])
        elif isinstance(node, ast.ImportFrom):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def with_folders(package, order):
    """-> (the files, with those of each FOLDER.* in its place, how many files stand before each of them)"""
    files, places = [], []
    for name in order:
        names = [name]
        if name.endswith(".*"):
            folder = name.removesuffix(".*")
            paths = sorted((ROOT / package / folder.replace(".", "/")).glob("*.py"))
            names = [f"{folder}.{path.stem}" for path in paths if path.stem != "__init__"]
        places += [len(files)] * len(names)
        files += names
    return files, places


@pytest.mark.parametrize("package, order", [("sngan_hub", ORDER), ("training", TRAINING)])
def test_imports_run_downwards(package, order):
    order, places = with_folders(package, order)
    for name, place in zip(order, places, strict=True):
        path = ROOT / package / (name.replace(".", "/") + ".py")
        own = ".".join([package, *name.split(".")[:-1]])
        for module in top_level_imports(path, own):
            if module.startswith(f"{package}."):
                other = module.removeprefix(f"{package}.")
                inside = {other} if other in order else {n for n in order if n.startswith(f"{other}.")}  # a package
                assert inside and inside <= set(order[:place]), (
                    f"{package}/{name} imports {other}, which stands below it"
                )
            assert not (package == "sngan_hub" and module.split(".")[0] == "training"), name
    files = {
        p.relative_to(ROOT / package).with_suffix("").as_posix().replace("/", ".")
        for p in (ROOT / package).rglob("*.py")
    }
    assert {f for f in files if not f.endswith("__init__")} == set(order)


def test_only_the_loop_imports_accelerate():
    users = [
        p.name
        for p in (ROOT / "training").rglob("*.py")
        if "accelerate" in {m.split(".")[0] for m in top_level_imports(p, "training")}
    ]
    assert users == ["loop.py"]


def test_a_bare_import_pulls_in_nothing_optional():
    code = "import sys, sngan_hub; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    optional = {
        "gradio",
        "accelerate",
        "tensorboard",
        "torch_fidelity",
        "scipy",
        "dicebear",
        "resvg_py",
        "matplotlib",
        "training",
    }
    assert not optional & set(loaded)


def test_public_names_are_in_reading_order_and_exist():
    import sngan_hub

    assert all(hasattr(sngan_hub, name) for name in sngan_hub.__all__)


def test_files_are_small_and_clean():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, tracked.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            assert path.stat().st_size <= 12e6, name


@pytest.mark.parametrize("path", ["README.md", *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))])
def test_tables_are_printed_from_the_records(path):
    from training.publish.ship import guide_tables, readme_tables

    text = (ROOT / path).read_text(encoding="utf-8")
    printed = (readme_tables if path == "README.md" else guide_tables)(text)
    assert printed == text, "run: python -m training tables"


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / ".github/workflows").glob("*.yml")))
def test_the_workflows_fit_the_schema_of_what_we_use(name):
    jsonschema = pytest.importorskip("jsonschema")
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load((ROOT / ".github/workflows" / name).read_text())
    workflow["on"] = workflow.pop(True, workflow.get("on"))  # YAML 1.1 reads the key `on` as true
    step = {"type": "object", "additionalProperties": False, "oneOf": [{"required": ["uses"]}, {"required": ["run"]}],
            "properties": {"uses": {"pattern": "^[^@]+@v?[0-9]"}, "with": {"type": "object"}, "run": {"type": "string"},
                           "env": {"type": "object"}}}  # fmt: skip
    job = {
        "type": "object",
        "required": ["runs-on", "steps"],
        "properties": {"steps": {"type": "array", "items": step}},
    }
    jsonschema.validate(workflow, {"type": "object", "required": ["name", "on", "jobs"],
                                   "properties": {"jobs": {"additionalProperties": job}}})  # fmt: skip
    for part in workflow["jobs"].values():
        for step in part["steps"]:
            for script in re.findall(r"bash (\S+\.sh|\.ci/run)", step.get("run", "")):
                assert (ROOT / script).is_file(), f"{name} calls {script}, which is not there"
    if name == "test.yml":
        assert json.dumps(workflow["jobs"]["test"]["steps"]).count(".ci/run") == 1


@pytest.mark.parametrize("what, file, right, wrong, test", MUTATIONS, ids=[mutation[0] for mutation in MUTATIONS])
def test_every_mutation_still_finds_the_line_that_it_breaks(what, file, right, wrong, test):
    assert (ROOT / file).read_text(encoding="utf-8").count(right) == 1 and right != wrong
    file, _, name = test.partition("::")
    assert not name or f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8")
