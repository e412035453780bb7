"""The settings of a run: one row each, from which flags, help, checks, rules of resuming and docs/settings.md come."""

import argparse
import dataclasses
import re
import subprocess
import sys
import time

import pytest

from sngan_hub.cli.main import ORDER
from sngan_hub.cli.main import main as sngan
from training.__main__ import main as training
from training.cli import help_of
from training.config import schema
from training.config.schema import FREE, Config, differences, make_config
from training.config.settings import GROUPS, FineTuningSettings, flag, meaning, settings_tables
from training.engine.losses import LOSSES
from training.feed.augment import AUGMENTATIONS

from .conftest import ROOT

FIELDS = [field for group in GROUPS for field in dataclasses.fields(group)]


def said(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        sngan(arguments)
    out = capsys.readouterr()
    return stop.value.code, " ".join((out.out + out.err).split())


def test_the_config_is_made_of_the_groups():
    assert {field.name for field in FIELDS} == {field.name for field in dataclasses.fields(Config)}
    assert len(FIELDS) == len(dataclasses.fields(Config)) and all(issubclass(Config, group) for group in GROUPS)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_setting_is_explained(field, capsys):
    known = meaning(field)
    assert known.help.endswith(".") and len(known.help) > 15
    if field.name in ("donor", "class_order", "source"):
        return
    code, text = said(capsys, "finetune" if "fine" in _group(field).lower() else "train", "--help")
    assert code == 0 and f"{flag(field)} " in text
    assert " ".join(help_of(field).replace("%%", "%").split()) in text or field.name == "preset"


def _group(field):
    return next(group.__doc__ for group in GROUPS if field in dataclasses.fields(group))


@pytest.mark.parametrize("field", [f for f in FIELDS if meaning(f).choices], ids=lambda field: field.name)
def test_what_is_no_choice_is_refused(field):
    with pytest.raises(ValueError, match=f"^{field.name}[ :].*(must be one of|nearest|choose one of|legal)"):
        make_config("fashion32", **{field.name: "abacus"}) if field.name != "preset" else Config(preset="abacus")


@pytest.mark.parametrize("field", [f for f in FIELDS if meaning(f).least is not None], ids=lambda field: field.name)
def test_what_is_too_small_is_refused(field):
    with pytest.raises(ValueError, match=f"^{field.name} must be .*got -1"):
        make_config("finetune", donor="x", **{field.name: type(field.default)(meaning(field).least - 1 or -1)}) if (
            meaning(field).least == 0
        ) else make_config("finetune", donor="x", **{field.name: -1})


def test_choices_are_those_of_the_functions():
    by_name = {field.name: meaning(field).choices for field in FIELDS}
    assert set(by_name["loss"]) == set(LOSSES) and {*schema.AUGMENT_CHOICES, "noise"} == set(AUGMENTATIONS)


def test_a_resume_may_change_what_the_rows_say():
    assert {field.name for field in FIELDS if meaning(field).resume} == FREE
    old = dataclasses.asdict(make_config("fashion32"))
    for name, value in (("lr_g", 1.0), ("batch_size", 8), ("loss", "wasserstein")):
        assert len(differences(old, make_config("fashion32", **{name: value}), 10)) == 1
    for name, value in (("log_every", 7), ("threads", 3), ("micro_batch", 8)):
        changed = differences(old, make_config("fashion32", **{name: value}), 10)
        assert bool(changed) == (name not in FREE)


def test_the_guide_is_printed_from_the_rows():
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert "\n".join(settings_tables()) in text, "run: python -m training tables"


@pytest.mark.parametrize("command", ["train", "finetune", "prepare"])
def test_the_help_has_three_examples_that_parse(command, capsys):
    _, text = said(capsys, command, "--help")
    assert text.count(f"sngan {command}") + text.count(f"training {command}") >= 4  # usage and three examples
    assert "--batch_size" not in text


def test_the_help_of_fine_tuning_has_the_defaults_of_its_preset(capsys):
    _, text = said(capsys, "finetune", "--help")
    for name, value in (("--steps", "2000"), ("--n-dis", "1"), ("--beta2", "0.99"), ("--ema-decay", "0.998")):
        assert re.search(rf" {name} [NX] [^-]*\(default: {value}\)", text), name
    assert "--architecture" not in text and "--generator-fields" not in text  # the donor's


def test_flags_of_fine_tuning_are_refused_by_train(capsys):
    for field in dataclasses.fields(FineTuningSettings):
        code, text = said(capsys, "train", "--preset", "fashion32", flag(field), "x")
        assert code == 2 and f"{flag(field)} is a setting of fine-tuning" in text


# The one command

VERBS = ("list", "info", "convert", "push", "sample", "morph", "walk", "score", "evaluate", "spectrum", "train",
         "finetune", "prepare", "import", "status", "report", "publish", "probe", "app")  # fmt: skip


def test_the_command_alone_prints_its_help(capsys):
    assert sngan([]) == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^    {verb} ", text, re.M) for verb in VERBS)
    assert tuple(re.findall(r"^    (\w+) ", text, re.M)) == ORDER
    code, version = said(capsys, "--version")
    assert code == 0 and re.fullmatch(r"sngan-hub \d+\.\d+\.\d+", version)


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_explains_every_flag(verb, capsys, monkeypatch):
    explained = []
    add = argparse.ArgumentParser._add_action

    def watched(self, action):
        explained.append((self.prog, action))
        return add(self, action)

    monkeypatch.setattr(argparse.ArgumentParser, "_add_action", watched)
    code, text = said(capsys, verb, "--help")
    assert code == 0 and not re.search(r"--[a-z]+_[a-z]", text.replace("--nproc_per_node", ""))
    own = [action for prog, action in explained if prog == f"sngan {verb}" and action.option_strings]
    assert own and all(action.help for action in own), [a.option_strings for a in own if not a.help]


def test_the_help_names_every_protocol(capsys):
    pytest.importorskip("torch_fidelity")
    from sngan_hub.metrics.protocols import PROTOCOLS

    assert ", ".join(PROTOCOLS) in said(capsys, "evaluate", "--help")[1]


def test_help_imports_no_torch_and_is_quick():
    code = ("import sys\nfrom sngan_hub.cli.main import main\ntry:\n    main(['train', '--help'])\nexcept SystemExit:\n"
            "    pass\nprint('torch' in sys.modules, 'numpy' in sys.modules, file=sys.stderr)")  # fmt: skip
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        times.append(time.perf_counter() - start)
    assert done.stderr.split() == ["False", "False"]
    assert min(times) < 1  # 0.2 s on a quiet machine


def test_both_commands_have_the_training_verbs(capsys):
    with pytest.raises(SystemExit):
        training(["status", "--help"])
    ours = capsys.readouterr().out
    with pytest.raises(SystemExit):
        sngan(["status", "--help"])
    assert capsys.readouterr().out == ours.replace("python -m training", "sngan")
