"""Model cards: valid metadata, the names that others chose, licences; of runs, networks and pushes."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from huggingface_hub import ModelCard
from PIL import Image

from sngan_hub import load_generator
from sngan_hub.cli.main import main as sngan
from sngan_hub.hub.cards import licence_of, model_card, update_record
from sngan_hub.weights.records import WEIGHTS
from training.__main__ import main as training
from training.publish.publish import stage
from training.publish.record import run_records

from .conftest import ROOT
from .hub_of_push import hub, run

hub, run = hub, run


NAMES = [
    "<script>alert(1)</script>",
    'a "quoted" class',
    "| `tick` *bold* [link](http://x.y) |",
    "line\nbreak",
    "plain",
]


def test_class_names_do_nothing_in_a_card(tmp_path):
    from sngan_hub.networks.card import as_text, network_card
    from sngan_hub.networks.resnet import Discriminator, Generator

    fields = {"size": 32, "n_classes": 5, "widths": [8, 8], "classes": NAMES}
    for network in (Generator(bottom_width=16, **fields), Discriminator(down="10", **fields)):
        text = network_card(network, "alice/pets")
        assert (
            "<script" not in text
            and "\\[link\\](http:&#47;/x.y)" in text
            and "| `tick`" not in text
            and "line\nbreak" not in text
        )
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text and "plain" in text
        compile(text.split("```python\n")[1].split("```")[0], "card", "exec")
        assert ModelCard(text).data.library_name == "sngan-hub"
    assert as_text("T-shirt, Ankle boot (it's 2)") == "T-shirt, Ankle boot (it's 2)"


def test_saved_and_pushed_networks_have_a_card_of_their_own(hub, tmp_path):

    network = load_generator("sngan_fashion32")
    network.save_pretrained(tmp_path / "saved")
    text = (tmp_path / "saved" / "README.md").read_text()
    assert "More Information Needed" not in text and "32x32 px" in text and "Trouser" in text
    (tmp_path / "saved" / "README.md").unlink()
    shown = hub.call(sngan, "push", tmp_path / "saved", "alice/clothes", "--dry-run")
    assert 'load_generator("alice/clothes")' in shown.stdout and not hub.hub.repos
    assert hub.call(sngan, "push", tmp_path / "saved", "alice/clothes").returncode == 0
    hub.user("hf_alice", False)
    network.push_to_hub("alice/others")
    for repo in ("alice/clothes", "alice/others"):
        entry = hub.hub.repos["model", repo]
        card = entry.commits[entry.branches["main"]]["files"]["README.md"]["data"].decode()
        assert "More Information Needed" not in card and f'load_generator("{repo}")' in card
    assert not (tmp_path / "saved" / "README.md").exists()


def test_a_run_on_ones_own_pictures_is_not_published_as_another_data_set(run, tmp_path):
    for folder, _ in stage(run, "alice/pets", tmp_path / "staged"):
        text = (folder / "README.md").read_text()
        config = json.loads((run / "config.json").read_text())
        assert config["architecture"] not in text and "torch.hub" not in text
        assert f"| data | {Path(config['data']).name} |" in text and "| family | resnet |" in text
        for result in ModelCard(text).data.eval_results or []:
            assert result.dataset_type == Path(config["data"]).name.replace("-", "_")


def test_a_card_of_a_run_from_scratch_has_no_rows_of_fine_tuning(run, tmp_path):
    recipe = run_records(run)["generator"].recipe
    assert not {"new_classes", "trained", "freeze_d", "like", "donor"} & recipe.keys() and "lr_g" in recipe
    tuned = Path(shutil.copytree(run, tmp_path / "tuned", symlinks=True))
    config = json.loads((run / "config.json").read_text())
    (tuned / "config.json").write_text(json.dumps({**config, "donor": "sngan_avatars32"}))
    assert run_records(tuned)["generator"].recipe["trained"] == "all"


def test_a_published_runs_card_holds_any_name(run, tmp_path):
    """Class names stand in the recipe too, and so do the names of the data and of the donor."""
    copy = tmp_path / "<b>run`|"
    shutil.copytree(run, copy, symlinks=True)
    config = json.loads((copy / "config.json").read_text())
    named = {"class_order": json.dumps(NAMES[:2]), "like": "<i>=dog", "data": "my/<b>pets`|", "donor": "/x/<u>`|"}
    (copy / "config.json").write_text(json.dumps({**config, **named}))
    for kind in ("generator", "discriminator"):
        path = copy / kind / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "classes": NAMES[:2]}))
    for folder, _ in stage(copy, "alice/pets", tmp_path / "staged"):
        text = (folder / "README.md").read_text()
        body = text.split("---\n", 2)[2]
        for tag in ("<script", "<b>", "<i>", "<u>"):
            assert tag not in body, tag
        assert "&lt;script&gt;" in body and "&lt;b&gt;pets" in body and "&lt;u&gt;" in body
        rows = [line for line in body.splitlines() if line.startswith("| ")]
        assert all(len(re.findall(r"(?<!\\)\|", row)) in (3, 7) for row in rows), rows
        ModelCard(text)


def test_a_push_alone_knows_every_network():
    """In a process of its own: here, other tests have imported the networks."""
    code = ("from pathlib import Path; from sngan_hub.hub.push import load_any; from sngan_hub.weights.records import PRETRAINED; "
            "print(type(load_any(Path(PRETRAINED, 'sngan_fashion32.v1', 'generator'))).__name__)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "Generator", done.stderr


def test_recorded_scores_replace_those_of_the_same_protocol_alone(tmp_path):
    """What ``sngan evaluate --record`` does."""
    source = WEIGHTS["sngan_fashion32.v1"].folder.parent
    folder = tmp_path / source.name
    shutil.copytree(source, folder)
    before = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    new = {**before["scores"]["kid1k_test"], "value": 0.0123}
    update_record(folder, {"kid1k_test": new})
    after = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    assert after == {**before, "scores": {**before["scores"], "kid1k_test": new}}
    for kind in ("generator", "discriminator"):
        assert "0.0123" in (folder / kind / "README.md").read_text(encoding="utf-8")


def test_a_stated_licence_is_the_cards_licence():
    assert licence_of("CC-BY-NC-4.0") == ("cc-by-nc-4.0", None) and licence_of("MIT") == ("mit", None)
    assert licence_of("code MIT, weights not stated") == ("other", "not-stated")
    assert licence_of("NVIDIA Source Code License") == ("other", "nvidia-source-code-license")


def test_a_run_is_published_with_cards_and_a_picture(hub, run):
    shown = hub.call(training, "publish", run, "alice/pets", "--dry-run")
    assert shown.returncode == 0 and not hub.hub.repos
    assert "alice/pets: config.json (" in shown.stdout and "samples.png (" in shown.stdout
    assert "Its discriminator is `alice/pets-discriminator`" in shown.stdout
    done = hub.call(
        training, "publish", run, "alice/pets", "--licence", "cc0-1.0", "--about", "Pets.", "--tag", "first"
    )
    assert done.returncode == 0, done.stderr
    for repo in ("alice/pets", "alice/pets-discriminator"):
        assert hub.files(repo) >= {"config.json", "model.safetensors", "README.md", "samples.png"}
        assert hub.files(repo, "first") == hub.files(repo)
        entry = hub.hub.repos["model", repo]
        card = entry.commits[entry.branches["main"]]["files"]["README.md"]["data"].decode()
        assert "license: cc0-1.0" in card and "Pets." in card and "kid1k_test" in card and "![Generated" in card
    assert hub.load("load_generator('alice/pets')").startswith("Generator ['cat', 'dog']")
    assert not any(p.name == "samples.png" for p in run.rglob("*"))  # the run's own folder is left as it is


def test_cards_are_valid_metadata(run, tmp_path):
    from huggingface_hub import ModelCardData

    from training.publish.publish import stage

    ours = [model_card(record) for record in WEIGHTS.values() if record.where == "shipped"]
    texts = ours + [(folder / "README.md").read_text() for folder, _ in stage(run, "alice/pets", tmp_path / "staged")]
    assert len(ours) == 6 and len(texts) == 8
    for text in texts:
        card = ModelCard(text)
        assert isinstance(card.data, ModelCardData)
        assert card.data.library_name == "sngan-hub" and card.data.license in ("mit", "other")
        assert card.data.pipeline_tag in ("unconditional-image-generation", "image-feature-extraction")
        assert all(result.metric_value is not None for result in card.data.eval_results)
        for heading in ("## Scores", "## Data and licence", "## Limits", "## Recipe"):
            assert heading in card.text
        assert not re.search(r"^\| [^|]+ \| (\{\}|\[\])? *\|$", card.text, re.M), "a setting without a value"
    assert "with the preset fashion32 of sngan-hub" in texts[6] and "`sngan app --model alice/pets`" in texts[6]
    assert 'load_generator("alice/pets")' in texts[6] and "torch.hub" not in texts[6]
    assert Image.open(tmp_path / "staged" / "generator" / "samples.png").height == 2 * 66 + 2  # two classes, a row each
