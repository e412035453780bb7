"""The layout: which file may import which, what a bare import pulls in, and what the repository must not hold."""

import ast
import json
import re
import subprocess
import sys

import pytest

from .conftest import ROOT
from .mutations import MUTATIONS

# Files in reading order: a file imports only what stands before it. FOLDER.* are its files, none of which imports another.
ORDER = [
    "text", "files", "progress", "devices", "evaluating", "class_names", "layers.sigma_gradient", "layers.spectral_norm",
    "layers.normalizers", "layers.logical_forward", "layers.resample", "sampling.generate", "sampling.pictures",
    "sampling.refine", "sampling.morph", "networks.card", "networks.repository", "networks.mixin", "networks.base", "networks.inference",
    "networks.blocks", "networks.resnet", "networks.cnn", "networks.registry", "weights.published_model",
    "weights.studiogan", "weights.mimicry", "weights.published", "weights.record", "weights.user_records", "weights.records", "hub.cards",
    "hub.resolve", "convert.torchscript", "convert.archive", "convert.parts", "convert.assumptions", "convert.code_base",
    "convert.resnets", "convert.code_bases.*", "convert.networks", "convert.snapshot", "convert.folders",
    "hub.cache", "hub.errors", "hub.transfer", "hub.drive", "hub.download", "hub.local", "hub.load", "hub.calibrations", "hub.push", "hub.verify", "hub.sources",
    "hub.mirror", "hub.listing", "exporting", "metrics.spectrum", "data.images",
    "data.avatars", "data.torchvision_sets", "data.folders", "data.prepared", "metrics.discriminator_scores",
    "metrics.published_inception", "metrics.inception", "metrics.extraction", "metrics.scores", "metrics.references",
    "metrics.real_images", "metrics.standing", "metrics.pictures", "metrics.classifier", "metrics.evaluation", "metrics.plan",
    "metrics.measures", "metrics.provenance", "metrics.protocols", "cli.parser", "cli.parts", "cli.weights",
    "cli.library", "cli.drawing", "cli.scoring", "cli.exporting", "cli.page", "cli.main", "cli.__main__",
]  # fmt: skip
TRAINING = [
    "engine.losses", "engine.penalties", "feed.streams", "feed.draws", "feed.augment", "config.presets",
    "config.settings", "config.schema", "feed.philox", "feed.images", "feed.feed", "engine.ema", "engine.run_folder",
    "engine.transition", "engine.cuda_graph", "engine.state", "engine.checkpoints", "engine.snapshots", "engine.distributed",
    "engine.machine", "engine.import_chainer", "feed.near_copies", "feed.checks", "monitor.log", "monitor.progress",
    "monitor.score", "engine.signals", "engine.step", "config.cost", "config.dry_run", "engine.loop",
    "finetune.plan", "finetune.transfer", "finetune.load", "monitor.report", "finetune.probe", "finetune.calibrate", "monitor.status",
    "prepare.sources", "prepare.build", "publish.record", "publish.ship", "publish.tables", "publish.publish", "study.paper",
    "study.plan", "study.timing", "study.worker_processes", "study.run", "study.page", "commands", "cli",
    "__main__",
]  # fmt: skip


def imports_of(text, package, modules):
    """Every module that the source imports, also inside functions; what only a type checker reads is left out.

    ``package``: the dotted folder of the file. ``modules``: ours; of ``from X import Y`` it is X.Y where that is one.
    """

    def visit(node):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules else base
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    yield from visit(ast.parse(text))


def with_files(name):
    """``FOLDER.*`` -> its files, none of which may import another."""
    folder = ROOT / name.removesuffix(".*").replace(".", "/")
    return [f"{name[:-1]}{path.stem}" for path in sorted(folder.glob("[!_]*.py"))] if name.endswith(".*") else [name]


ORDERED = [file for package, order in (("sngan_hub", ORDER), ("training", TRAINING))
           for name in order for file in with_files(f"{package}.{name}")]  # fmt: skip
ALIKE = {f"{package}.{name.removesuffix('.*')}" for package, order in (("sngan_hub", ORDER), ("training", TRAINING))
         for name in order if name.endswith(".*")}  # fmt: skip
FOLDERS = {name.rpartition(".")[0] for name in ORDERED}  # their __init__.py hands on names of the files in them


def upward(name, text):
    """The imports of file ``name`` that do not stand before it in the order."""
    folder = name.rpartition(".")[0]
    beside = {other for other in ORDERED if other.rpartition(".")[0] == folder} if folder in ALIKE else set()
    before = set(ORDERED[: ORDERED.index(name)]) - beside | {"sngan_hub"}
    for module in imports_of(text, name.rpartition(".")[0], set(ORDERED)):
        if module.split(".")[0] in ("space", "tests", "benchmarks", "hubconf", "example"):
            yield module
        if module.split(".")[0] not in ("sngan_hub", "training") or module in before:
            continue
        inside = {other for other in ORDERED if other.startswith(f"{module}.")} if module in FOLDERS else set()
        if not inside or not inside <= before:
            yield module


@pytest.mark.parametrize("name", ORDERED)
def test_imports_run_downwards(name):
    text = (ROOT / (name.replace(".", "/") + ".py")).read_text(encoding="utf-8")
    assert not list(upward(name, text)), f"{name} imports what stands below it"


@pytest.mark.parametrize("name, planted", [
    ("sngan_hub.layers.resample", "from ..networks.resnet import Generator"),
    ("sngan_hub.networks.base", "def f():\n    from ..hub.load import load_generator"),
    ("sngan_hub.hub.load", "def f():\n    import training.engine.loop"),
    ("sngan_hub.metrics.scores", "from . import protocols"),
    ("training.config.schema", "def f():\n    from ..engine.step import train_step"),
    ("training.engine.step", "from space import actions"),
])  # fmt: skip
def test_an_import_upwards_is_found(name, planted):
    assert list(upward(name, planted))


def test_the_order_names_every_file():
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts)
             for folder in ("sngan_hub", "training") for path in (ROOT / folder).rglob("*.py")}  # fmt: skip
    assert {name for name in files if not name.endswith("__init__")} == set(ORDERED)


#: What the page, torch.hub, the example and the benchmarks may import of the package: what its folders hand on
@pytest.mark.parametrize(
    "path", [*(f"space/{path.name}" for path in sorted((ROOT / "space").glob("*.py"))), "hubconf.py", "example.py"]
)
def test_the_page_and_the_entry_points_do_not_import_training(path):
    found = imports_of((ROOT / path).read_text(encoding="utf-8"), path.split("/")[0], set(ORDERED))
    assert "training" not in {module.split(".")[0] for module in found}


def test_only_the_code_of_processes_imports_accelerate():
    users = [
        p.name
        for p in (ROOT / "training").rglob("*.py")
        if "accelerate" in {m.split(".")[0] for m in imports_of(p.read_text(encoding="utf-8"), "training", set())}
    ]
    assert set(users) == {"distributed.py"}


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
    from training.publish.tables import TABLES, with_tables

    text = (ROOT / path).read_text(encoding="utf-8")
    assert with_tables(text) == text, "run: python -m training tables"
    assert set(re.findall(r"<!-- (\w+) -->", text)) <= set(TABLES), "a marker that nothing prints"


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
