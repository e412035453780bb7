"""The page as a program: many visitors, others' weights, one's own model, deployed alone, its links and its folders."""

import asyncio
import hashlib
import json
import os
import random
import re
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch

from sngan_hub import load_generator
from sngan_hub.weights.records import WEIGHTS, default_tag

from .conftest import GOLDEN, ROOT
from .loopback import Server, whole
from .space_server import pixels, serving

SOAK = bool(os.environ.get("SOAK"))


def resident(process):
    for line in open(f"/proc/{process.pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


@pytest.mark.slow
def test_many_visitors_at_once(tmp_path, capsys):
    """SOAK: 32 clients for two minutes; else 8 for five seconds. No error but "busy", nobody gets another's pictures."""
    from gradio_client import Client

    clients, seconds = (32, 120) if SOAK else (8, 5)
    generator = load_generator("sngan_avatars32")
    with serving(tmp_path) as (url, process):
        latencies, wrong, busy, memory = [], [], [], {}
        stop = time.monotonic() + seconds + 5

        def visitor(number):
            rng = random.Random(number)
            client = Client(url, verbose=False)
            while time.monotonic() < stop:
                seed, name = rng.randrange(10**6), rng.choice(generator.classes)
                start = time.monotonic()
                try:
                    gallery, said_seed, *_ = client.predict(
                        "sngan_avatars32", [name], 1, str(seed), 0, api_name="/sample"
                    )
                except Exception as error:
                    (busy if re.search("queue|busy|full", str(error), re.I) else wrong).append(str(error))
                    time.sleep(0.5)
                    continue
                latencies.append(time.monotonic() - start)
                shown = pixels(gallery[0]["image"])[2::4, 2::4].astype(int)
                mine = generator.sample([name], 1, seed)[0].permute(1, 2, 0).numpy()
                if said_seed != str(seed) or gallery[0]["caption"] != name or np.abs(shown - mine).max() > 1:
                    wrong.append(f"seed {seed} {name}: another's picture")

        threads = [threading.Thread(target=visitor, args=(i,)) for i in range(clients)]
        torch.set_num_threads(1)
        for thread in threads:
            thread.start()
        time.sleep(min(60, seconds / 2))
        memory["first"] = resident(process)
        for thread in threads:
            thread.join()
        memory["end"] = resident(process)
    latencies.sort()
    with capsys.disabled():
        print(f"\n{clients} clients, {seconds} s: {len(latencies)} answers, p50 {statistics.median(latencies):.2f} s, "
              f"p95 {latencies[int(0.95 * len(latencies))]:.2f} s, busy {len(busy)}, RSS {memory['first']:.0f} MB after the "
              f"first minute (or half), {memory['end']:.0f} MB at the end")  # fmt: skip
    assert not wrong, wrong[:3]
    assert len(latencies) >= clients
    assert memory["end"] <= 1.1 * memory["first"]


OWN = WEIGHTS["sngan_fashion32.v1"].folder.parent


@pytest.fixture(scope="module")
def other_page(tmp_path_factory):
    """(address, the publisher's server) of a page with ``--model OWN`` and records of others' weights."""
    home = tmp_path_factory.mktemp("other page")
    data = (GOLDEN / "foreign" / "mmgen32_cond10_wo.pth").read_bytes()
    server = Server()
    server.answer["/file.pth"] = whole(data)
    records = {"sngan_cifar10.mmgen_fid": {"url": f"{server.url}/file.pth", "sha256": hashlib.sha256(data).hexdigest()},
               "sngan_cifar10.mmgen_is": {"url": f"{server.url}/none.pth", "mirrors": []}}  # fmt: skip
    (home / "records.json").write_text(json.dumps(records))
    variables = {"SNGAN_HUB_RECORDS": str(home / "records.json"), "SNGAN_HUB_CACHE": str(home / "cache")}
    with serving(home / "gradio", "--model", OWN, **variables) as (url, _):
        yield url, server
    server.close()


def test_others_weights_are_fetched_when_they_are_asked_for(other_page):
    """Once for all visitors, the discriminator along with the generator; and what cannot be had is a sentence."""
    from gradio_client import Client, handle_file

    url, server = other_page
    clients = [Client(url, verbose=False) for _ in range(2)]
    jobs = [c.submit("sngan_cifar10.mmgen_fid", ["frog"], 1, "1", 0, api_name="/sample") for c in clients]
    shown = [job.result()[0][0] for job in jobs]
    assert [picture["caption"] for picture in shown] == ["frog", "frog"]
    scores = clients[0].predict("sngan_cifar10.mmgen_fid", handle_file(shown[0]["image"]), api_name="/judge")
    assert len(scores) == 10 and "frog" in scores
    assert [path for path, _ in server.log] == ["/file.pth"]
    with pytest.raises(Exception, match="sngan_cifar10.mmgen_is: "):
        clients[0].predict("sngan_cifar10.mmgen_is", ["frog"], 1, "1", 0, api_name="/sample")


def test_a_deployed_space_stands_alone(tmp_path):
    """The folder that goes to the Hub runs by itself, and its front matter says so to the Hub. A variable names models."""
    from gradio_client import Client

    home = tmp_path / "space"
    subprocess.run(["bash", "space/deploy.sh", str(home)], cwd=ROOT, check=True, capture_output=True)
    names = {path.name for path in home.iterdir()}
    assert names == {"app.py", "space", "requirements.txt", "README.md", "sngan_hub"}
    again = subprocess.run(["bash", "space/deploy.sh", str(home)], cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 2 and "is not empty" in again.stderr
    with serving(tmp_path / "gradio", home=home, SNGAN_HUB_MODELS=f"{OWN}, sngan_avatars32") as (url, process):
        assert "your model" in urllib.request.urlopen(url).read().decode()
        gallery, *_ = Client(url, verbose=False).predict("sngan_avatars32", ["moods"], 1, "1", 0, api_name="/sample")
        assert len(gallery) == 1
    yaml = pytest.importorskip("yaml")
    front = yaml.safe_load((home / "README.md").read_text().split("---")[1])
    assert front["app_file"] == "app.py" and front["sdk"] == "gradio" and front["license"] == "mit"


def test_ones_own_model_is_offered_first(other_page):
    from gradio_client import Client

    url, _ = other_page
    gallery, *_ = Client(url, verbose=False).predict(str(OWN), ["Sneaker"], 1, "1", 0, api_name="/sample")
    assert gallery[0]["caption"] == "Sneaker"
    opened = urllib.request.urlopen(url).read().decode()
    assert "your model" in opened and OWN.name in opened
    assert str(OWN) not in opened  # the page shows no path of the server
    *_, again, _ = Client(url, verbose=False).predict(OWN.name, ["Sneaker"], 1, "1", 0, api_name="/sample")
    assert f"model={OWN.name}&" in again
    done = subprocess.run(
        [sys.executable, "space/app.py", "--model", "nowhere/here/at-all"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2 and "there is no file or folder" in done.stderr and "Traceback" not in done.stderr


@pytest.fixture
def actions():
    pytest.importorskip("gradio")
    from space import actions

    return actions


def test_links_carry_what_they_must():
    from space import inputs

    made = inputs.link("sample", model="a/b c", classes=["x", "y|z"], n=3, seed=0, truncation=None)
    said = dict(urllib.parse.parse_qsl(made[1:]))
    assert said["model"] == "a/b c" and said["tab"] == "sample" and "truncation" not in said
    assert said["seed"] == "0"
    for names in (["x", "y|z"], ["a\\b", "c\\", "d"], ["\\|", "\\\\", "|"], ["", "a"]):
        said = dict(urllib.parse.parse_qsl(inputs.link("sample", classes=names)[1:]))
        assert inputs.listed(said["classes"]) == names
    assert inputs.listed("a\\b|c") == ["a\\b", "c"]  # of a link that was made before
    assert inputs.parse_way("8", 2) == (8, None) and inputs.parse_way("2, 1", 2) == (0, [2.0, 1.0])
    assert inputs.parse_way("", 2) == (8, None) and inputs.parse_way([1, 3], 2) == (0, [1.0, 3.0])


def test_titles_say_what_a_model_draws_its_size_and_its_score():
    from space import models

    titles = {name: title for title, name in models.model_choices()}
    assert len(set(titles.values())) == len(titles)
    for record in models.shipped():
        label, score = models.main_score(record)
        title = titles[record.architecture]
        assert models.subject_of(record) in title and f"{models.size_of(record)} px" in title
        assert f"{label} {score.value:.1f}" in title
    order = [name for name in titles if models.needs_download(name)]
    sizes = [(models.size_of(models.record_of(name)), models.record_of(name).file_bytes) for name in order]
    assert sizes == sorted(sizes) and len(order) > 5
    assert list(titles)[: len(models.shipped())] == [record.architecture for record in models.shipped()]
    assert models.default_model() == "sngan_cifar10_small"  # photographs; FIDs of different data do not compare
    assert models.classes_of("sngan_babyimagenet64") == [str(i) for i in range(100)]  # its names are not known
    assert any("326 MB" in title for title in titles.values())
    assert models.classes_of("sngan_imagenet128.mmgen_fid")[207] == "golden retriever"  # nothing is fetched for a list


def test_every_protocol_has_a_label_on_the_page():
    from sngan_hub.metrics.protocols import PROTOCOLS
    from space import models
    from space.views import LABELS, about, scores_of_record

    assert set(LABELS) == set(PROTOCOLS) and len(set(LABELS.values())) == len(LABELS)
    for record in models.shipped():
        for protocol in record.scores:
            assert f"<dt>{LABELS[protocol]}</dt>" in scores_of_record(record)
            assert f"{LABELS[protocol]} {record.scores[protocol].value:.4g}" in about(record.name)


@pytest.mark.parametrize("said, kept", [
    ("/srv/runs/x/generator/config.json: no such file", "config.json: no such file"),
    ("[Errno 28] No space left on device: '/home/a b/model.part'", None),
    ("the download failed: https://host.org/a/b.pth: 404", "the download failed: https://host.org/a/b.pth: 404"),
    ("seed must be between 0 and 2^63 - 1 (got -5)", "seed must be between 0 and 2^63 - 1 (got -5)"),
    ("1/2 and/or a/b stay", "1/2 and/or a/b stay"),
])  # fmt: skip
def test_errors_show_no_folders_of_the_server(said, kept):
    from space.files import without_folders

    found = without_folders(said)
    assert found == kept if kept else "/root" not in found and "/.cache" not in found


def test_what_a_class_or_model_is_called_is_escaped():
    from space import views

    assert "<script>" not in views.error("<script>") + views.waiting("<script>", "<script>")
    scores = {"<script>": 1.0, "b": 2.0}
    shown = views.score_of("sngan_avatars32", "<script>", scores, torch.zeros(3, 32, 32, dtype=torch.uint8))
    assert "<script>" not in shown and "&lt;script&gt;" in shown


def test_a_model_whose_classes_have_no_names_is_described_with_their_number():
    from space import views

    assert "100 classes" in views.about("sngan_babyimagenet64")
    assert "no classes" in views.about("sngan_cnn_cifar10")


def test_the_ranges_of_a_downloaded_model_are_those_in_the_cache(tmp_path, monkeypatch):
    """Nothing is fetched for them. For a model in a Hub repository, no command is offered that cannot add them."""
    from sngan_hub.hub.local import cached_folder
    from sngan_hub.sampling.refine import Calibration, save_calibration
    from sngan_hub.weights import find_record
    from space import models, views

    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path))
    assert models.ranges_of("sngan_imagenet128") == {}
    folder = cached_folder(find_record("sngan_imagenet128", "discriminator"))
    folder.mkdir(parents=True)
    ranges = {"tench": {"real": [1.0, 2.0, 3.0], "generated": [0.0, 1.0, 2.0]}}
    save_calibration(Calibration(1.0, 0.0, [0.0], [0.0], 0.25, 20, 200, 0, "data", ranges), folder)
    assert models.ranges_of("sngan_imagenet128") == ranges
    image = torch.zeros(3, 128, 128, dtype=torch.uint8)
    assert "sngan probe --from" in views.score_of("sngan_imagenet128", "goldfish", {"goldfish": 0.0}, image)
    monkeypatch.setitem(models.OWN, "me/pets", "me/pets")
    monkeypatch.setattr(models, "ranges_of", lambda name: {})
    shown = views.score_of("me/pets", "cat", {"cat": 0.0}, image)
    assert "sngan probe" not in shown and "publisher" in shown


def test_a_download_holds_up_no_other_model(monkeypatch):
    from space import models

    begun, go_on = threading.Event(), threading.Event()

    def load(name, device):
        if name == "sngan_imagenet128.mmgen_fid":  # the first visitor waits for its file
            begun.set()
            assert go_on.wait(60)
        return load_generator("sngan_fashion32")

    monkeypatch.setattr(models, "load_generator", load)
    models._generator.cache_clear()
    slow = threading.Thread(target=models.generator, args=("sngan_imagenet128.mmgen_fid",))
    slow.start()
    try:
        assert begun.wait(60)
        other = threading.Thread(target=models.generator, args=("sngan_fashion32",))
        other.start()
        other.join(30)
        assert not other.is_alive() and slow.is_alive()
    finally:
        go_on.set()
        slow.join(60)
        models._generator.cache_clear()


def test_visitors_who_wait_for_a_download_leave_the_turns_to_others(monkeypatch, tmp_path):
    """Through the tab itself: a network is loaded before a turn is taken, and an error of it is one of the model."""
    gr = pytest.importorskip("gradio")
    from space import models
    from space.drawing_tabs import sample_tab

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    loaded, go_on = models.generator, threading.Event()
    with gr.Blocks():
        tab = sample_tab()
    values = {name: field.value for name, field in tab.fields.items()} | {"classes": [], "n": 1}

    def generator(name):
        if name == "sngan_avatars32":
            assert go_on.wait(60)
        if name == "sngan_cifar10_small":
            raise FileNotFoundError("the download failed")
        return loaded(name)

    monkeypatch.setattr(models, "generator", generator)
    slow = [threading.Thread(target=tab.run, args=({**values, "model": "sngan_avatars32"},)) for _ in range(3)]
    for thread in slow:
        thread.start()
    try:
        found = tab.run({**values, "model": "sngan_fashion32"})
        assert "10 images" in found[tab.outputs["result"]] and all(thread.is_alive() for thread in slow)
        found = tab.run({**values, "model": "sngan_cifar10_small"})
        assert "the download failed" in found[tab.slots["model"]] and tab.outputs["result"] not in found
    finally:
        go_on.set()
        for thread in slow:
            thread.join(60)


@pytest.mark.parametrize("number", ["1e20", "-1e20", "1e400", "nan", "x"])
def test_a_number_that_no_message_can_carry_is_refused_below_its_field(number, monkeypatch, tmp_path):
    gr, orjson = pytest.importorskip("gradio"), pytest.importorskip("orjson")
    from space.drawing_tabs import sample_tab

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with gr.Blocks():
        tab = sample_tab()
    found = tab.from_link({"tab": "sample", "n": number})
    assert f"Images per class must be a whole number between 1 and 64 (got {number})" in found[tab.slots["n"]]
    orjson.dumps([value for value in found.values() if isinstance(value, dict | str | list)])  # what Gradio sends


def test_a_weight_without_a_number_is_refused_below_the_weights(monkeypatch, tmp_path):
    gr = pytest.importorskip("gradio")
    from space.drawing_tabs import WEIGHTS as MIX
    from space.drawing_tabs import morph_tab

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with gr.Blocks():
        tab = morph_tab()
    values = {name: field.value for name, field in tab.fields.items()}
    found = tab.run({**values, "mode": MIX, "weight_1": None})
    assert "weights must be one number per class" in found[tab.slots["weights"]]


def test_where_the_class_is_emptied_the_first_one_is_drawn_and_linked(monkeypatch, tmp_path):
    """A class at random would be scored as the first one, and another one be drawn by the link."""
    gr = pytest.importorskip("gradio")
    from space.drawing_tabs import compare_tab
    from space.score_tab import score_tab
    from space.tab import Tab

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(Tab, "first", lambda tab: {})
    with gr.Blocks():
        tabs = score_tab(), compare_tab()
    for tab, emptied in zip(tabs, ({"class": None}, {"left_class": None, "right_class": ""}), strict=True):
        values = {name: field.value for name, field in tab.fields.items()} | {"seed": "5", "n": 1}
        found, expected = (tab._draw(each) for each in ({**values, **emptied}, values))
        pictures = [re.findall(r"data:image[^\"]+", each["result"]) for each in (found, expected)]
        assert pictures[0] == pictures[1] != [] and found["link"] == expected["link"]


def test_a_model_without_classes_is_refused_for_a_morph_before_it_is_downloaded(monkeypatch, tmp_path):
    gr = pytest.importorskip("gradio")
    from space import models
    from space.drawing_tabs import morph_tab

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with gr.Blocks():
        tab = morph_tab()
    monkeypatch.setattr(models, "_generator", lambda name: pytest.fail("it is downloaded"))
    values = {name: field.value for name, field in tab.fields.items()} | {"model": "sngan_cnn_cifar10.torch_fidelity"}
    for found in (tab.run(values), tab.changed(values)):
        assert "this model has no classes to mix" in found[tab.slots["model"]]


def test_the_video_that_the_page_opens_with_is_known_by_its_fields(monkeypatch, tmp_path):
    """In the other format it is that video, also after a change of the fields."""
    gr = pytest.importorskip("gradio")
    from space.drawing_tabs import walk_tab
    from space.tab import Tab

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    for first in ({"result": "drawn"}, {}):
        monkeypatch.setattr(Tab, "first", lambda tab, first=first: first)
        with gr.Blocks():
            tab = walk_tab()
        values = [field.value for field in tab.fields.values()]
        assert tab.drawn_with.value == (json.dumps(values) if first else "")


def test_a_model_that_was_downloaded_is_drawn_at_once(monkeypatch):
    from space import models, views

    name = "sngan_cifar10.mmgen_fid"
    assert models.needs_download(name) and "downloaded on first use" in views.about(name)
    monkeypatch.setattr(models, "is_cached", lambda record: True)
    assert models.needs_download(name) is None and "on first use" not in views.about(name)
    monkeypatch.setattr(models, "is_cached", lambda record: record.kind == "generator")
    assert models.needs_download(name) is None and models.needs_download(name, "discriminator").kind == "discriminator"
    assert models.needs_download("sngan_fashion32", "discriminator") is not None  # as if it was not included
    assert models.needs_download("sngan_stl10.mimicry", "discriminator") is None  # there is none


def test_one_large_image_keeps_the_choice_in_its_link(actions, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    found = actions.sampled("sngan_fashion32", ["Bag", "Sneaker"], 5, 1, 0, True)
    assert len(found.images) == 1 and found.labels == ["Bag"] and "(of the first of 2 chosen classes)" in found.said
    assert "n=5" in found.link and "Sneaker" in found.link and "single=1" in found.link
    assert "chosen classes" not in actions.sampled("sngan_fashion32", ["Bag"], 5, 1, 0, True).said


@pytest.mark.parametrize("given, said", [("sneaker", "Sneaker"), ([7], "Sneaker"), ("7", "Sneaker"), (0, "T-shirt")])
def test_classes_are_spelled_as_the_model_spells_them(actions, given, said, tmp_path, monkeypatch):
    """Also a text or an index that a program gives in place of a list."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    found = actions.sampled("sngan_fashion32", given, 1, 1, 0)
    assert found.labels == [said] and f"classes={said}&" in found.link
    found = actions.morphed("sngan_fashion32", [given[0] if isinstance(given, list) else given, "bag"], 2, 1, 0)
    assert found.labels == [said, "Bag"] and f"classes={said}%7CBag&" in found.link
    sides, *_, again = actions.compared("sngan_fashion32", "bag", "sngan_fashion32", "Bag", 1, 1, 0)
    assert sides[0].class_name == "Bag" and "left_class=Bag&" in again


def test_a_text_in_place_of_a_list_is_not_split_into_letters(actions, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    for draw in (actions.sampled, actions.morphed, actions.walk_film):
        for given in ("35", 35):
            with pytest.raises(actions.FieldError, match="an index must be between 0 and 9 .got 35"):
                draw("sngan_fashion32", given, 2, 1, 0)
    assert len(actions.sampled("sngan_fashion32", "", 1, 1, 0).labels) == 10  # none chosen


def test_large_weights_are_shares_too(actions, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    found = actions.morphed("sngan_fashion32", ["Sneaker", "Bag"], "1e308, 1e308", 1, 0)
    assert "a blend of 50% Sneaker, 50% Bag" in found.said


def test_a_link_and_a_box_may_spell_a_class_in_another_way(monkeypatch, tmp_path):
    gr = pytest.importorskip("gradio")
    from space.drawing_tabs import sample_tab
    from space.score_tab import score_tab
    from space.tab import Tab

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(Tab, "first", lambda tab: {})
    with gr.Blocks():
        sample, score = sample_tab(), score_tab()
    for classes in ("sneaker|BAG", "7|8"):
        found = sample.from_link({"model": "sngan_fashion32", "classes": classes, "n": "1", "seed": "1"})
        buttons = found[sample.followers[1]]
        assert re.findall('data-class="([^"]+)" aria-pressed="true"', buttons) == ["Sneaker", "Bag"]
        assert found[sample.fields["classes"]]["value"] == ["Sneaker", "Bag"]
    for name, wrong in (("sneaker", False), ("zebra", True)):
        for tab, field in ((sample, "classes"), (score, "class")):
            found = tab.from_link({"model": "sngan_fashion32", field: name, "seed": "1"})
            assert bool(found[tab.slots[field]]) == wrong, found[tab.slots[field]]
            assert wrong or f"{field}=Sneaker&" in found[tab.outputs["link"]]["value"]


def test_a_class_may_have_an_empty_name(actions, monkeypatch, tmp_path):
    """It is drawn, not a class at random. An empty box means it where the model has it."""
    from sngan_hub import create_generator
    from space import models

    network = create_generator("sngan_cifar10", widths=[8, 8, 4, 4], n_classes=2, classes=["a", ""]).eval()
    network.save_pretrained(tmp_path / "net")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(models, "OWN", {"net": str(tmp_path / "net")})
    sides, *_ = actions.compared("net", "", "net", "a", 8, 1, 0)
    assert torch.equal(sides[0].images, network.sample([1], 8, 1))
    assert np.array_equal(pixels(actions.drawn("net", "", 1)[0]), network.sample([1], 1, 1)[0].permute(1, 2, 0))
    assert [models.class_or_first("net", name) for name in ("", None, "x")] == ["", "a", "x"]
    assert models.class_or_first("sngan_avatars32", "") == models.classes_of("sngan_avatars32")[0]


def test_another_model_can_be_chosen_after_any_link(monkeypatch, tmp_path):
    """Gradio's own checks refuse what a link may have and a slider not."""
    gr = pytest.importorskip("gradio")
    from gradio.state_holder import SessionState

    from space.drawing_tabs import sample_tab, walk_tab
    from space.tab import Tab

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(Tab, "first", lambda tab: {})
    with gr.Blocks() as blocks:
        sample, walk = sample_tab(), walk_tab()
    for tab, changed, name, odd in ((sample, "model", "truncation", 5), (sample, "model", "n", "abc"),
                                    (walk, "as_gif", "seconds", 99)):  # fmt: skip
        events = [fn for fn in blocks.fns.values() if fn.fn and (tab.fields[changed]._id, "input") in fn.targets]
        values = [odd if key == name else field.value for key, field in tab.fields.items()]
        first, *rest = asyncio.run(blocks.preprocess_data(events[0], [None, *values], SessionState(blocks)))
        assert len(events) == 1 and odd in rest and first == (tab.state.value if tab is sample else None)


def test_the_name_of_ones_own_model_is_no_path_for_a_command(monkeypatch):
    from space import models, views

    monkeypatch.setitem(models.OWN, "fashion", str(OWN))
    monkeypatch.setattr(models, "ranges_of", lambda name: {})
    shown = views.score_of("fashion", "Bag", {"Bag": 0.0}, torch.zeros(3, 32, 32, dtype=torch.uint8))
    assert "--from MODEL --data" in shown and "MODEL is what follows <code>--model</code>" in shown


def test_the_documented_models_of_a_space_can_be_fetched():
    (name,) = re.findall("`me/pets, ([^`]+)`", (ROOT / "docs" / "web-page.md").read_text(encoding="utf-8"))
    assert WEIGHTS[f"{name}.{default_tag(name)}"].where == "download"


def test_models_of_the_command_line(monkeypatch, tmp_path):
    """A published one keeps its description, and a folder of the same name does not take its place."""
    from space import models

    monkeypatch.setattr(models, "OWN", {})
    monkeypatch.setattr(models, "NAMED", [])
    for name in ("sngan_avatars32", "sngan_avatars32.v1"):  # the same
        models.add_own(name)
    assert models.OWN == {} and models.default_model() == "sngan_avatars32" != models.second_model()
    choices = models.model_choices()
    assert choices[0] == (models.title(WEIGHTS["sngan_avatars32.v1"]), "sngan_avatars32")
    assert len({name for _, name in choices}) == len(choices) == len(set(choices))
    folder = tmp_path / "sngan_fashion32"
    load_generator("sngan_fashion32").save_pretrained(folder)
    models.add_own(str(folder))
    models.add_own(str(folder))
    assert models.OWN == {"sngan_fashion32 (2)": str(folder)}
    assert models.record_of("sngan_fashion32").name == "sngan_fashion32.v1"
    assert models.source("sngan_fashion32") == "sngan_fashion32" and models.source("sngan_fashion32 (2)") == str(folder)


def test_a_mirrored_model_stays_on_the_list(monkeypatch, tmp_path):
    from space import models

    copies = {name: {"folder": name, "sha256": "0" * 64} for name in ("sngan_imagenet128.mmgen_fid", "gone.v1")}
    (tmp_path / "records.json").write_text(json.dumps(copies))
    before = {name for _, name in models.model_choices()}
    monkeypatch.setenv("SNGAN_HUB_RECORDS", str(tmp_path / "records.json"))
    assert {name for _, name in models.model_choices()} == before | {"gone.v1"}


def test_a_model_of_a_users_records_needs_no_classes_in_them(monkeypatch):
    from dataclasses import replace

    from space import models

    record = replace(
        WEIGHTS["sngan_fashion32.v1"], name="my_model.v2", folder=None, urls=("https://x/g.pth",), classes=()
    )
    monkeypatch.setattr(models, "WEIGHTS", {**WEIGHTS, "my_model.v2": record})
    monkeypatch.setattr(models, "generator", lambda name: load_generator("sngan_fashion32"))
    assert models.classes_of("my_model.v2") == load_generator("sngan_fashion32").classes


def test_the_sentence_about_a_score_says_where_it_lies():
    from space.views import _verdict

    known = {"real": [1.0, 2.0, 3.0], "generated": [-2.0, -1.0, 0.0]}
    assert [_verdict(value, known).split(" ")[0] for value in (-3, -1, 0.5, 2, 4)] == [
        "lower", "typical", "between", "typical", "higher"
    ]  # fmt: skip
    assert "generated" in _verdict(-1, known) and "real" in _verdict(2, known) and "generated" not in _verdict(2, known)
    overlapping = {"real": [1.0, 2.0, 3.0], "generated": [0.0, 1.0, 2.0]}
    assert _verdict(1.5, overlapping).startswith("typical of real and of generated")
    assert "no measured ranges" in _verdict(0, {})


def test_the_front_matter_names_what_the_records_hold():
    """The models, the files to load when a Space is built, and the picture, by the names of the package."""
    yaml = pytest.importorskip("yaml")
    from sngan_hub.hub.cards import repositories
    from sngan_hub.text import NAMESPACE
    from space import models, page, social

    front = yaml.safe_load((ROOT / "space" / "README.md").read_text(encoding="utf-8").split("---")[1])
    own = {repositories(record)["generator"] for record in models.shipped()}
    loaded = [WEIGHTS["sngan_cifar10.studio"], WEIGHTS["sngan_cifar10_discriminator.studio"]]
    assert set(front["models"]) == own | {loaded[0].repo}
    assert front["preload_from_hub"] == [f"{loaded[0].repo} {','.join(record.path for record in loaded)}"]
    assert front["thumbnail"] == page.SOCIAL_CARD and f"/{NAMESPACE}/" in front["thumbnail"]
    from PIL import Image

    with Image.open(ROOT / "space" / "social.png") as picture:
        assert picture.size == social.SIZE


def test_a_request_leaves_no_folder_behind_once_its_files_are_deleted(actions, tmp_path, monkeypatch):
    """Gradio deletes the files of a request after an hour, and leaves the folders, of which each request has several."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    old, new = [tmp_path / "sngan_hub" / "tmpold", tmp_path / ("a1" * 32)], [tmp_path / ("b2" * 32), tmp_path / "other"]
    full = tmp_path / ("c3" * 32)
    for folder in (*old, *new, full):
        folder.mkdir(parents=True)
    (full / "image.png").write_bytes(b"shown still")
    for folder in (*old, full, tmp_path / "other"):
        os.utime(folder, (0, 0))
    *_, path = actions.sample("sngan_avatars32", ["planets"], 1, 1, 0)
    assert Path(path).is_file() and not any(folder.exists() for folder in old)
    assert all(folder.exists() for folder in (*new, full))  # what a request is filling, what is shown, what is not ours
    old[0].mkdir()
    os.utime(old[0], (0, 0))
    actions.judge("sngan_avatars32", path)
    assert not old[0].exists()
