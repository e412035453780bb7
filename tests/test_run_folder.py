"""A run's folder: what may become one, what in it is touched, who may write to it; and what a snapshot alone gives."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from sngan_hub.devices import resolve_device
from sngan_hub.hub.load import load_discriminator, load_generator
from sngan_hub.layers.normalizers import BatchNorm2d
from training.__main__ import main
from training.config.dry_run import describe
from training.config.schema import Config, differences, make_config, same_rates
from training.engine import machine
from training.engine.checkpoints import checkpoints, kept
from training.engine.loop import train
from training.engine.run_folder import check_out, link_snapshot, linked_step, locked
from training.engine.signals import stop_requests
from training.engine.snapshots import save_snapshot
from training.engine.state import new_state
from training.engine.transition import with_strength_applied
from training.monitor.log import Log
from training.monitor.score import best_score
from training.monitor.status import has_ended, lines, status

from .conftest import ROOT

SMALL = {"architecture": "sngan_fashion32", "generator_fields": '{"widths": [8, 8], "bottom_width": 16}',
         "discriminator_fields": '{"widths": [4, 8], "down": "10"}', "n_dis": 1, "batch_size": 4, "g_batch_size": 4,
         "precision": "fp32", "threads": 1}  # fmt: skip


def config_of(**fields):
    return make_config("fashion32", **{**SMALL, **fields})


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and "Traceback" not in said
    return said.splitlines()[-1]


@pytest.fixture
def run(tmp_path, image_folder):
    """A finished run of two steps in tmp_path/run."""
    train(config_of(data=str(image_folder), out=str(tmp_path / "run"), steps=2, decay_to=0, decay_from=0,
                    transition_from=0, transition_to=0, snapshot_every=1, spectrum_every=0))  # fmt: skip
    return tmp_path / "run"


# What may become a run's folder


def test_a_folder_that_is_no_run_is_refused_before_anything_is_written(tmp_path, image_folder, capsys):
    network = tmp_path / "network"
    load_generator("sngan_fashion32").save_pretrained(network)
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "thesis.txt").write_text("years of work")
    base = ["--data", image_folder, "--steps", 1, "--batch_size", 4, "--g_batch_size", 4]
    for folder, what in ((network, "with a network"), (notes, "with other files, such as thesis.txt")):
        before = {path: path.read_bytes() for path in folder.iterdir()}
        assert what in refusal(capsys, "train", "--preset", "fashion32", *base, "--out", folder)
        assert what in refusal(capsys, "finetune", "--from", "sngan_fashion32", *base, "--out", folder)
        with pytest.raises(FileExistsError, match="out must be a new or empty folder, or a run to resume"):
            train(config_of(data=str(image_folder), out=str(folder), steps=1))
        assert before == {path: path.read_bytes() for path in folder.iterdir()}
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".DS_Store").touch()
    (tmp_path / "new" / "compiled").mkdir()  # of a run that was stopped before its first step
    for fine in ("new", "missing"):
        check_out(tmp_path / fine)


def test_only_what_the_run_wrote_is_cut_back(tmp_path):
    """An image folder's metadata.jsonl, or a user's notes, are nobody's lines to drop."""
    rows = '{"file_name": "a.png"}\n{"step": 9}\n'
    for name in ("metadata.jsonl", "notes.jsonl", "log.jsonl", "spectrum.jsonl", "scores.jsonl"):
        (tmp_path / name).write_text(rows)
    Log(tmp_path, 5, torch.ones(2)).close()
    left = {path.name: path.read_text() for path in tmp_path.glob("*.jsonl")}
    assert left.pop("metadata.jsonl") == left.pop("notes.jsonl") == rows and set(left.values()) == {""}


def test_a_second_run_in_one_folder_is_refused_until_the_first_is_dead(tmp_path, image_folder, capsys):
    out = tmp_path / "run"
    hold = f"from pathlib import Path; from training.engine.run_folder import locked\nwith locked(Path({str(out)!r})):\n" \
           "    print('held', flush=True); import time; time.sleep(60)"  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", hold], cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        flags = ["train", "--preset", "fashion32", "--data", image_folder, "--out", out, "--steps", 1]
        assert f"another process is training in {out}" in refusal(capsys, *flags)
        assert [path.name for path in out.iterdir()] == [".lock"]
        first.send_signal(signal.SIGKILL)
        first.wait()
        for _ in range(50):
            try:
                with locked(out):
                    break
            except FileExistsError:
                time.sleep(0.1)
        else:
            raise AssertionError("the lock outlived its process")


# Runs that were copied


def copied(run, to):
    subprocess.run(["cp", "-rL", run, to], check=True)
    assert not (to / "generator").is_symlink()
    return to


def test_a_run_copied_without_links_resumes_reports_and_publishes(run, tmp_path, capsys, monkeypatch):
    from training.monitor.report import write_report
    from training.publish.publish import stage

    copy = copied(run, tmp_path / "copy")
    assert linked_step(copy) == linked_step(run) == 2
    assert load_generator(copy).size == 32
    config = json.loads((copy / "config.json").read_text())
    assert write_report(copy)[0].is_file()
    assert len(stage(copy, "alice/pets", tmp_path / "staged")) == 2
    train(make_config("fashion32", **{k: v for k, v in config.items() if k not in ("preset", "out", "steps")},
                      out=str(copy), steps=3))  # fmt: skip
    assert (copy / "generator").is_symlink() and linked_step(copy) == 3
    assert not [path for path in copy.iterdir() if path.name.startswith((".old", ".gen", ".dis"))]


def test_where_there_are_no_links_the_best_snapshot_is_copied(run, monkeypatch):
    def none(self, target, target_is_directory=False):
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr("pathlib.Path.symlink_to", none)
    for step in (1, 2, 1):
        link_snapshot(run, step)
        assert not (run / "generator").is_symlink() and linked_step(run) == step
        assert load_discriminator(run).size == 32
    shutil.rmtree(run / "snapshots" / "0000001")
    with pytest.raises(ValueError, match="copy the whole run folder again"):
        linked_step(run)


# The class transition


@pytest.mark.parametrize("fields", [
    {}, {"normalizer": "spectral_gain"}, {"sn_eval": "stored"}, {"conditioning": "concat", "concat_after": 1},
    {"normalizer": "none"},
])  # fmt: skip
def test_a_snapshot_alone_gives_what_was_measured_within_the_transition(fields, tmp_path):
    conditioning = {"conditioning": fields["conditioning"]} if "conditioning" in fields else {}
    fields = json.dumps({"widths": [8, 16], "down": "10", **fields})
    state = new_state(config_of(discriminator_fields=fields, ema_decay=0.9, **conditioning), ["a", "b", "c"])
    rng = torch.Generator().manual_seed(0)
    for module in [*state.ema.modules(), *state.generator.modules()]:
        if isinstance(module, BatchNorm2d):
            module.weight.data.normal_(generator=rng)
            module.bias.data.normal_(generator=rng)
    state.discriminator.embed.weight.data.normal_(generator=rng)
    z, y = torch.randn(6, 128, generator=rng), torch.arange(6) % 3
    x = torch.rand(6, 3, 32, 32, generator=rng) * 2 - 1
    for strength in (0.0, 0.4):
        for network in (state.generator, state.discriminator, state.ema):
            network.class_strength = torch.tensor(strength)
        state.step += 1
        folder = save_snapshot(state, tmp_path / str(strength))
        with torch.no_grad():
            pictures = state.ema.eval()(z, y)
            scores = state.discriminator.eval()(x, y)
            g, d = load_generator(folder), load_discriminator(folder)
            assert torch.allclose(g(z, y), pictures, atol=1e-5)
            assert torch.allclose(d(x, y), scores, atol=2e-5), (d(x, y) - scores).abs().max()
            if strength:
                assert not torch.allclose(copy_at_strength_one(state.ema)(z, y), pictures, atol=1e-3)
        assert state.generator.class_strength == strength  # the run goes on as it was
    assert with_strength_applied(g) is g


def copy_at_strength_one(network):
    import copy

    new = copy.deepcopy(network)
    new.class_strength = 1.0
    return new


TRANSITION = dict(transition_from=2500, transition_to=5000)


def test_a_table_of_unit_rows_has_no_transition():
    fields = '{"widths": [8, 16], "down": "10", "normalizer": "weight"}'
    with pytest.raises(ValueError, match="transition_to must be 0 .*length 1"):
        new_state(config_of(discriminator_fields=fields, **TRANSITION), ["a", "b"])


def test_a_dry_run_says_that_a_run_ends_within_the_transition():
    assert "ends during the class transition, at 20% of the class embeddings" in describe(
        config_of(steps=3001, **TRANSITION)
    )
    assert "class transition" not in describe(config_of(steps=5001, **TRANSITION))
    assert "class transition" not in describe(config_of(steps=1))


# The device


def test_the_device_is_resolved_once_and_what_is_not_there_is_refused(monkeypatch, tmp_path, image_folder, capsys):
    assert resolve_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    flags = ["--preset", "fashion32", "--data", image_folder, "--out", tmp_path / "run", "--steps", 1]
    for unknown in ("foo", "cuda:x", "meta", "cpu:3", ""):
        assert "device must be one of auto, cpu, cuda, cuda:N, mps" in refusal(
            capsys, "train", *flags, "--device", unknown
        )
    assert "device 'cuda' is not available" in refusal(capsys, "train", *flags, "--device", "cuda")
    assert not (tmp_path / "run").exists()
    assert any(line.split() == ["device", "cpu"] for line in describe(config_of()).splitlines())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert str(resolve_device()) == "cuda" and str(resolve_device("cuda:1")) == "cuda:1"
    with pytest.raises(ValueError, match="device must be between cuda:0 and cuda:1 on this machine"):
        resolve_device("cuda:2")


def test_a_run_goes_on_on_another_device_and_says_so(run, capsys):
    config = json.loads((run / "config.json").read_text())
    assert config["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    newest = sorted((run / "checkpoints").glob("*.pt"))[-1]
    parts = torch.load(newest, weights_only=True)
    parts["config"]["device"] = "cuda:3"
    torch.save(parts, newest)
    overrides = {k: v for k, v in config.items() if k not in ("preset", "steps")}
    assert train(make_config("fashion32", **overrides, steps=3)).step == 3
    assert "was saved on cuda:3 and the run continues on" in capsys.readouterr().err


@pytest.mark.parametrize("given, stored", [("auto", "on"), ("auto", "off"), ("on", "on"), ("off", "on")])
def test_a_compiled_run_goes_on_where_nothing_compiles_and_says_so(run, given, stored, capsys, monkeypatch):
    """``stored``: off after a first attempt there that was killed before it saved a checkpoint."""
    monkeypatch.setattr(machine, "why_not_compiled", lambda device: "no C++ compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(run / "compiled"))
    newest = checkpoints(run)[-1]
    parts = torch.load(newest, weights_only=True)
    parts["config"]["compile"] = "on"
    torch.save(parts, newest)
    config = {**json.loads((run / "config.json").read_text()), "steps": 3}
    (run / "config.json").write_text(json.dumps({**config, "compile": stored}))
    assert train(Config(**{**config, "compile": given})).step == 3
    said = capsys.readouterr().err
    assert "the steps before step 2 were compiled and the run continues uncompiled; the results may differ" in said
    assert train(Config(**{**config, "compile": given, "steps": 4})).step == 4  # uncompiled from then on
    assert "rounding errors" not in capsys.readouterr().err


def test_no_message_advises_to_delete_checkpoints(run):
    for path in (run / "checkpoints").iterdir():
        path.write_bytes(b"damaged")
    config = json.loads((run / "config.json").read_text())
    with pytest.raises(ValueError, match="no readable checkpoint .*; restore the folder from a copy") as error:
        train(make_config("fashion32", **{k: v for k, v in config.items() if k != "preset"}))
    assert "remove" not in str(error.value) and "delete" not in str(error.value)


# Settings


def test_schedules_are_compared_without_walking_through_them():
    start = time.perf_counter()
    long = {"steps": 450_000, "decay_from": 400_000, "decay_to": 450_000, "warm_up": 100}
    old = config_of(**long)
    assert same_rates(old, config_of(**long), 449_999)
    assert not differences(vars(old), config_of(**{**long, "decay_from": 420_000, "decay_to": 500_000}), 400_000)
    assert time.perf_counter() - start < 0.5
    rng = np.random.default_rng(0)
    agreed = 0
    for _ in range(3000):  # against the definition: every step
        a, b = ({"decay_from": int(f), "decay_to": int(f + w), "warm_up": int(u)} for f, w, u in
                zip(rng.integers(0, 12, 2), rng.integers(0, 4, 2), rng.integers(0, 3, 2), strict=True))  # fmt: skip
        a, b, done = config_of(**a), config_of(**b), int(rng.integers(0, 18))
        expected = all(a.lr_scale(step) == b.lr_scale(step) for step in range(done))
        assert same_rates(a, b, done) == expected
        agreed += expected
    assert 300 < agreed < 2700


def test_flags_are_whole_and_those_of_fine_tuning_belong_to_it(tmp_path, image_folder, capsys):
    base = ["train", "--preset", "fashion32", "--data", image_folder, "--out", tmp_path / "run"]
    assert "unrecognized arguments: --batch 7" in refusal(capsys, *base, "--batch", 7)
    for flag, value in (("--freeze-d", "1"), ("--l2_sp", "0.1"), ("--like", "a=b"), ("--trained", "tables")):
        assert "is a setting of fine-tuning" in refusal(capsys, *base, f"{flag}={value}")
    assert not (tmp_path / "run").exists()


# What crashed


def test_a_tilde_that_the_shell_left_is_the_home_folder(tmp_path, monkeypatch):
    from argparse import Namespace

    from training.commands import config_of

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # of Windows
    config = config_of(Namespace(preset="fashion32", out="~/run", data="~/pets", held_out="~/others"))
    assert (config.out, config.data, config.test_folder) == tuple(str(tmp_path / n) for n in ("run", "pets", "others"))
    assert config_of(Namespace(preset="fashion32", data="fashion")).held_out == "tenth"


def test_other_files_beside_checkpoints_are_left_alone(run):
    for name in ("0000001 (copy).pt", "0000009_old.pt"):
        shutil.copy(run / "checkpoints" / "0000002.pt", run / "checkpoints" / name)
    assert [path.name for path in checkpoints(run)] == ["0000002.pt"] and "of step 2" in kept(run)
    assert "step 2" in lines(status(run))


def test_steps_below_the_checkpoint_and_another_split_are_named(run, image_folder):
    given = dict(data=str(image_folder), out=str(run), decay_to=0, decay_from=0, transition_from=0, transition_to=0)
    with pytest.raises(ValueError, match="steps must be 2 or more, because .* has a checkpoint of that step .got 1"):
        train(config_of(**given, steps=1))
    with pytest.raises(ValueError, match="held_out: was 'tenth', now 'none', so other images are held out"):
        train(config_of(**given, steps=2, held_out="none"))


def test_a_network_is_no_run_and_a_finished_run_has_ended(run):
    with pytest.raises(FileNotFoundError, match="is not a run"):
        status(run / "generator")
    assert has_ended(run)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "steps": 9, "patience": 2, "score": "kid1k_test"}))
    scores = [(1, 0.5), (2, float("nan")), (3, 0.6)]
    text = "".join(json.dumps({"step": s, "protocol": "kid1k_test", "value": v}) + "\n" for s, v in scores)
    (run / "scores.jsonl").write_text(text.splitlines(True)[0])
    assert not has_ended(run)
    (run / "scores.jsonl").write_text(text)
    assert has_ended(run) and best_score(run, "kid1k_test")["step"] == 1


def test_what_scores_need_is_checked_before_the_first_step(tmp_path, image_folder, monkeypatch):
    from sngan_hub.metrics import inception

    monkeypatch.setattr(inception, "find_weights", lambda: None)
    pytest.importorskip("scipy")
    given = dict(data=str(image_folder), out=str(tmp_path / "run"), steps=2, score_every=1, score="kid1k_held_out")
    with pytest.raises(ValueError, match="kid1k_held_out needs at least 20 test images .got 4"):
        train(config_of(**given))
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_the_status_of_a_run_of_no_steps(run):
    path = run / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "steps": 0}))
    (run / "log.jsonl").unlink()
    found = status(run)
    assert found["done"] == "100.0%" and "step" in lines(found)


def test_an_imported_run_is_at_the_step_of_its_checkpoint(run):
    (run / "log.jsonl").unlink()
    assert status(run)["step"] == 2 and has_ended(run)


def test_a_run_stops_when_all_its_processes_have_what_they_need_to_resume(tmp_path, image_folder, monkeypatch):
    """torchrun ends all processes with the first one: not while another one writes the checkpoint."""
    from training.engine import loop

    out, waited, make = tmp_path / "run", [], loop.new_accelerator

    def recording(device):
        accelerator = make(device)
        monkeypatch.setattr(accelerator, "wait_for_everyone", lambda: waited.append(len(checkpoints(out))))
        return accelerator

    monkeypatch.setattr(loop, "new_accelerator", recording)
    monkeypatch.setattr(loop, "any_process", lambda *_: True)
    with pytest.raises(InterruptedError, match="stopped by another process at step 1 of 3"):
        train(config_of(data=str(image_folder), out=str(out), steps=3))
    assert waited == [0, 1]


@pytest.mark.parametrize("fields", ['{"x": 1}', '{"widths": 3}', '{"widths": ["a"]}', '{"size": 7}', '{"z_dim": 0}'])
def test_fields_that_no_network_has_are_one_line(fields, tmp_path, image_folder, capsys):
    flags = ["train", "--preset", "fashion32", "--data", image_folder, "--out", tmp_path / "run", "--steps", 1]
    assert "generator_fields" in refusal(capsys, *flags, "--generator_fields", fields)


def test_folders_of_any_name_under_the_c_locale_and_without_a_home(tmp_path, image_folder):
    data, out = tmp_path / "Bücher 猫", tmp_path / "läufe"
    shutil.copytree(image_folder, data)
    os.rename(data / "left", data / "süß")
    flags = ["--preset", "fashion32", "--steps", "1", "--batch_size", "4", "--g_batch_size", "4", "--precision", "fp32"]
    flags += [f"--{key}={SMALL[key]}" for key in ("generator_fields", "discriminator_fields")]
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "LANG", "LC_CTYPE", "PYTHONUTF8")}
    environment |= {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "OMP_NUM_THREADS": "1"}
    commands = (["train", *flags, "--data", data, "--out", out], ["status", out], ["report", out],
                ["sample", out, "--n", "2", "--out", tmp_path / "ü.png"], ["info", out])  # fmt: skip
    words = [str(word) for command in commands for word in (*command, ";")]
    done = subprocess.run([sys.executable, "-c", IN_TURNS, *words], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
    assert done.stderr.count(b"ended: 0") == len(commands)


#: The commands of its arguments one after the other, each ended by ";", in one process: the arguments are what counts
IN_TURNS = """
import sys
from sngan_hub.cli.main import main as sngan
from training.__main__ import main as training
words = sys.argv[1:]
while words:
    end = words.index(";")
    command, words = words[:end], words[end + 1:]
    try:
        code = (sngan if command[0] in ("sample", "info") else training)(command)
    except SystemExit as stop:
        code = stop.code
    print("ended:", int(code or 0), file=sys.stderr, flush=True)
"""


def test_one_gpu_cannot_be_named_for_several_processes(monkeypatch, tmp_path):
    from training.engine.machine import set_up

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"device must be cuda for several processes, .* \(got 'cuda:1'\)"):
        set_up(config_of(device="cuda:1", out=str(tmp_path)))


def test_tensorboard_keeps_the_point_of_the_step_that_a_run_resumes_at(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    samples = torch.rand(2 * 20, 3, 8, 8)
    for start, steps in ((0, (1, 2, 3)), (2, (3, 4))):  # the third step was not saved
        log = Log(tmp_path, start, torch.ones(2))
        for step in steps:
            log.write(step, {"loss_g": float(start)}, samples)
        log.close()
    points = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss_g")
    assert [(point.step, point.value) for point in points] == [(1, 0), (2, 0), (3, 2), (4, 2)]


def test_a_repeated_sigterm_does_not_end_a_run_before_its_state_is_saved():
    """torchrun passes on to its workers what a scheduler sends to all processes of a job. A second Ctrl-C ends it."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with stop_requests() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop[0] == "SIGTERM"
        os.kill(os.getpid(), signal.SIGINT)
        assert stop[-1] == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.parametrize("settings, count", [
    (dict(steps=100, snapshot_every=30), 4), (dict(steps=90, snapshot_every=30), 3),
    (dict(steps=100, snapshot_every=30, score_every=20), 7),  # 20 30 40 60 80 90 100
    (dict(steps=60, snapshot_every=1000, score_every=20), 3),
])  # fmt: skip
def test_a_dry_run_counts_the_snapshots_of_scores_too(settings, count):
    config = make_config("fashion32", data="fashion", **settings)
    assert f"snapshots             {count}, " in describe(config)
    written = [s for s in range(1, config.steps + 1) if s == config.steps or s % config.snapshot_every == 0
               or (config.score_every and s % config.score_every == 0)]  # fmt: skip
    assert len(written) == count
