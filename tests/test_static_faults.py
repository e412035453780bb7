"""The static page where something goes wrong, or changes: seeds, saved files, files that are missing, new versions."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from sngan_hub import load_generator, walk

from . import static_site
from .static_site import drawn, follow, levels, link, visit, wait_for

site, models, url = static_site.site, static_site.models, static_site.url
playwright, chromium, browser = static_site.playwright, static_site.chromium, static_site.browser


@pytest.mark.slow
def test_faults_are_shown_where_they_arise(browser, url, site, models):
    page = visit(browser, url, "#tab=nothing&seed=%00&classes=<script>&n=x&model=none&weights=-1&truncation=9")
    drawn(page, 0)
    page.locator("#seed").fill("-5")
    assert page.get_by_text("A whole number from 0 to 2^63 - 1.").is_visible()
    page.locator("#seed").fill("5")
    assert page.get_by_text("A whole number from 0 to 2^63 - 1.").is_hidden()
    drawn(page, 5)
    page.locator("#seed").fill("abc")
    page.get_by_role("tab", name="Walk").click()
    assert page.locator("#seed").input_value() == "5" and page.locator("#seed").get_attribute("aria-invalid") is None
    page.locator("#classes label").filter(has=page.locator("input:checked")).click()
    assert "At least one class" in page.locator("#classes-hint").inner_text()
    page = visit(browser, url, "?no-service-worker")
    page.context.route("**/*.onnx", lambda route: route.fulfill(body=b"damaged"))
    page.reload()
    wait_for(page, "#failure", "damaged")
    assert page.locator("#status").inner_text() == ""


@pytest.mark.slow
def test_a_pasted_link_with_another_backend_is_computed_by_it(browser, url, models):
    page = visit(browser, url, link("sample", models[0], 3, models[0]["classes"][:1], n=1))
    drawn(page, 3)
    address = link("sample", models[0], 4, models[0]["classes"][:1], n=1) + "&backend=wasm"
    with page.expect_event("load"):
        page.evaluate("address => { location.hash = address }", address)
    drawn(page, 4)
    assert page.locator("#backend").input_value() == "wasm" and "backend=wasm" in page.evaluate("location.hash")


@pytest.mark.slow
def test_saved_files_hold_the_pictures_and_what_made_them(browser, url, models, tmp_path):
    model = models[0]
    names = model["classes"][:2]
    page = visit(browser, url, link("sample", model, 11, names, n=3))
    shown = drawn(page, 11)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as PNG").click()
    download.value.save_as(tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as image:
        assert image.text["model"] == model["name"] and image.text["seed"] == "11"
        assert image.text["classes"] == ", ".join(names)
        assert image.text["link"].startswith(f"{url}#") and "seed=11" in image.text["link"]
        grid = np.asarray(image.convert("RGB"))
    step = 2 * model["size"] + 2
    found = [grid[2 + r * step :: 2, grid.shape[1] - (3 - c) * step :: 2][: model["size"], : model["size"]]
             for r in range(2) for c in range(3)]  # fmt: skip
    assert np.array_equal(np.stack(found), shown)
    page.get_by_role("button", name=f"{names[1]}, image 2: show large").click()
    assert page.locator("#large canvas").bounding_box()["width"] == 512
    with page.expect_download() as download:
        page.locator("#large-save").click()
    download.value.save_as(tmp_path / "large.png")
    with Image.open(tmp_path / "large.png") as image:
        large = np.asarray(image.convert("RGB"))
    scale = 512 // model["size"]
    assert np.array_equal(large[::scale, ::scale], shown[4]) and large.shape == (512, 512, 3)


@pytest.mark.slow
def test_enter_in_the_seed_field_keeps_the_seed(browser, url, models):
    page = visit(browser, url, link("sample", models[-1], 1, models[-1]["classes"][:1], n=1))
    drawn(page, 1)
    page.locator("#seed").fill("77")
    page.keyboard.press("Enter")
    drawn(page, 77)
    page.wait_for_timeout(300)
    assert page.locator("#seed").input_value() == "77"


@pytest.mark.slow
def test_names_of_javascript_are_no_tabs(browser, url):
    page = visit(browser, url, "#tab=toString")
    drawn(page, 0)
    assert page.faults == []


@pytest.mark.slow
def test_what_is_saved_is_what_the_page_says(browser, url, site, models, tmp_path):
    """Pressed while rows are still those of the last seed, and when the next model cannot be loaded."""
    model = models[-1]
    names = model["classes"][:8]
    page = visit(browser, url, link("sample", model, 11, names, n=12), service_workers="block")
    drawn(page, 11)
    with page.expect_download() as download:
        page.evaluate("""() => {
            const seed = document.querySelector('#seed');
            seed.value = '12';
            seed.dispatchEvent(new Event('input', { bubbles: true }));
            document.querySelector('#save').click();
        }""")
    download.value.save_as(tmp_path / "grid.png")
    shown = drawn(page, 12)
    with Image.open(tmp_path / "grid.png") as image:
        assert image.text["seed"] == "12"
        grid = np.asarray(image.convert("RGB"))
    step = 2 * model["size"] + 2
    first = [
        grid[2 + r * step :: 2, grid.shape[1] - 12 * step :: 2][: model["size"], : model["size"]] for r in range(8)
    ]
    assert np.array_equal(np.stack(first), shown[::12])
    page.get_by_role("tab", name="Walk").click()
    wait_for(page, "#status", "frames")
    page.context.route(f"**/{models[0]['file']}", lambda route: route.abort())
    downloads = []
    page.on("download", lambda download: downloads.append(download))
    page.evaluate("name => document.querySelector(`#models input[value='${name}']`).click()", models[0]["name"])
    page.locator("#save").click()
    page.wait_for_timeout(500)
    assert not downloads, "a frame of the other model would have this model's name"


@pytest.mark.slow
def test_a_sheet_that_is_left_before_it_is_drawn_is_not_saved(browser, url, models):
    model = models[-1]
    page = visit(browser, url, link("sample", model, 11, model["classes"][:4], n=8), service_workers="block")
    drawn(page, 11)
    downloads = []
    page.on("download", lambda download: downloads.append(download))
    press = """leave => {
        const seed = document.querySelector('#seed');
        seed.value = '12';
        seed.dispatchEvent(new Event('input', { bubbles: true }));
        document.querySelector('#save').click();
        if (leave[0] === '#') location.hash = leave;
        else document.getElementById(leave).click();
    }"""
    page.evaluate(press, "tab-morph")
    drawn(page, 12, "morph")
    follow(page, link("sample", model, 13, model["classes"][:4], n=8))
    drawn(page, 13)
    page.evaluate(press, link("morph", model, 14, model["classes"][:2]))
    drawn(page, 14, "morph")
    page.wait_for_timeout(500)
    assert not downloads, "the other tab's pictures would have been saved"


@pytest.mark.slow
def test_a_model_that_is_there_at_the_second_attempt_is_named(browser, url, models):
    """Its file is missing once, on a first visit. A change of a control draws with it."""
    page = visit(browser, url, "icon.svg")
    page.context.route(f"**/{models[0]['file']}", lambda route: route.fulfill(status=404), times=1)
    page.goto(f"{url}#n=1")
    wait_for(page, "#failure", "404")
    assert page.locator("#about").inner_text() == ""
    page.locator("#seed").fill("5")
    drawn(page, 5)
    wait_for(page, "#about", models[0]["name"])
    wait_for(page, "#offline", "Available offline")
    blank = page.evaluate("""() => [...document.querySelectorAll('#classes canvas')].filter(canvas =>
        !canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.width).data.some(value => value)).length""")
    assert blank == 0


@pytest.mark.slow
def test_a_lost_graphics_processor_is_no_longer_named(browser, url, site, models):
    """The worker takes WebAssembly for WebGPU until it draws seed 5, where that fails."""
    text = (site / "worker.js").read_text()
    for old, new in (
        ('provider = build === "wasm" ? "wasm" : "webgpu"', "provider = self.lost ? 'wasm' : 'webgpu'"),
        ("executionProviders: [provider]", "executionProviders: ['wasm']"),
        (
            "    values = (await",
            "    if (seed === '5' && !self.lost) throw (self.lost = new Error('lost'));\n    values = (await",
        ),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    page = visit(browser, url, "icon.svg", service_workers="block")
    page.context.route("**/worker.js", lambda route: route.fulfill(body=text, content_type="text/javascript"))
    page.goto(url + link("sample", models[-1], 4, models[-1]["classes"][:1], n=1))
    drawn(page, 4)
    wait_for(page, "#about", "Computed with WebGPU")
    page.locator("#seed").fill("5")
    drawn(page, 5)
    wait_for(page, "#about", "Computed with WebAssembly", seconds=20)


@pytest.mark.slow
def test_a_walk_that_stands_says_which_frame(browser, url, models):
    address = link("walk", models[-1], 3, models[-1]["classes"][:1], seconds=2, frame=7)
    page = visit(browser, url, address, reduced_motion="reduce")
    wait_for(page, "#status", "Frame 8 of 48, seed 3")
    page.get_by_role("button", name="Play").click()
    assert page.locator("#status").get_attribute("aria-live") == "off"
    page.get_by_role("button", name="Pause").click()
    wait_for(page, "#status", "of 48, seed 3")
    assert page.locator("#status").get_attribute("aria-live") == "polite"


@pytest.mark.slow
def test_a_walk_that_plays_is_saved_with_the_link_to_its_frame(browser, url, models, tmp_path):
    model = models[-1]
    names = model["classes"][:1]
    page = visit(browser, url, link("walk", model, 3, names, seconds=2))
    wait_for(page, "#status", "frames per second, seed 3")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as PNG").click()
    download.value.save_as(tmp_path / "frame.png")
    with Image.open(tmp_path / "frame.png") as image:
        frame = int(image.text["link"].split("frame=")[1].split("&")[0])
        shown = np.asarray(image.convert("RGB"))[:: 512 // model["size"], :: 512 // model["size"]]
    frames = torch.cat(list(walk(load_generator(model["name"]), names, 48, 3)))
    assert levels(shown[None], frames[frame : frame + 1]) <= 2


@pytest.mark.slow
def test_weights_of_a_morph_are_shown_after_a_choice_of_class(browser, url, models):
    names = models[-1]["classes"]
    page = visit(browser, url, link("morph", models[-1], 3, names[:2]))
    drawn(page, 3, "morph")
    page.locator(f"#classes input[value='{names[2]}']").check()
    assert page.locator("#weights output").all_inner_texts() == ["33 %"] * 3


@pytest.mark.slow
def test_a_program_that_cannot_be_loaded_is_loaded_later(browser, url, site):
    page = visit(browser, url, service_workers="block")
    drawn(page, 0)
    page.context.route("**/ort.wasm.min.mjs", lambda route: route.abort())
    page.reload()
    wait_for(page, "#failure", "Reload the page")
    page.context.unroute("**/ort.wasm.min.mjs")
    page.reload()
    drawn(page, 0)


@pytest.mark.slow
def test_a_new_version_is_offered_and_works_offline(browser, site, models, tmp_path):
    """Also where it has another version of the runtime, which only the page itself stores on a first visit."""
    folder = shutil.copytree(site, tmp_path / "site")
    (old,) = (path.name for path in folder.glob("onnxruntime-web-*"))
    version = old.rpartition("-")[2]
    with static_site.serving(folder) as (url, stop):
        page = visit(browser, url)
        drawn(page, 0)
        wait_for(page, "#offline", "Available offline")
        assert page.locator("#update").is_hidden()
        (folder / old).rename(folder / old.replace(version, "9.9.9"))
        for name in ("models.json", "sw.js"):
            text = (folder / name).read_text().replace(version, "9.9.9")
            (folder / name).write_text(text.replace('"version": "', '"version": "new') if name == "sw.js" else text)
        text = (folder / "index.html").read_text()
        (folder / "index.html").write_text(text.replace("<title>", "<title>New: "))
        page.reload()
        drawn(page, 0)
        page.locator("#update").wait_for(timeout=60_000)
        assert not page.title().startswith("New: ")
        page.locator("#update").click()
        for _ in range(100):
            if page.title().startswith("New: "):
                break
            page.wait_for_timeout(100)
        assert page.title().startswith("New: ")
        stop()
        page.reload()
        drawn(page, 0)
        assert page.title().startswith("New: ") and page.outside == []
