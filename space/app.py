"""The web page, with four tabs: Sample, Morph, Walk and Score.

Start it with ``python space/app.py [--model FOLDER]`` or ``make demo``. This file contains the layout; actions.py
contains the functions of the tabs. The process keeps no state of a user: images are kept in the outputs of the user's
page.
"""

from __future__ import annotations

import argparse
import functools
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
if __package__:  # `sngan app`
    from . import actions
else:  # a Space contains sngan_hub/ beside app.py
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import actions

import gradio as gr

INTRO = """# sngan-hub
Sample images by class from GANs with **spectral normalisation** and a **projection discriminator**
(Miyato et al. 2018, Miyato & Koyama 2018). The three included models are small: they
generate CIFAR-10 photographs, avatars and clothes of 32 px in a fraction of a second on a CPU.
"""
#: The parameters in a link, in the order of the function's arguments
LINKED = {
    "sample": ("model", "classes", "n", "seed", "truncation", "single"),
    "morph": ("model", "classes", "way", "seed", "truncation"),
    "walk": ("model", "classes", "seconds", "seed", "truncation"),
}
ABOUT_SCORES = """A score measures how real the image looks to the discriminator *as an image of that class*. It has no
unit and does not tell which class the image belongs to: in training, every image had the correct label. Compare the
score for the image's own class with the ranges of real and generated images of that class (the middle 80 % of 200
images each)."""

# Gradio's captions would cover half of a small image; and eight columns must fit on a phone.
CSS = """
.grid-container {
  grid-template-columns: repeat(auto-fill, minmax(76px, 1fr)) !important;
  grid-template-rows: none !important; grid-auto-rows: auto !important;
}
.grid-container > * { aspect-ratio: 1; height: auto !important; }
.grid-container .caption-label { font-size: 10px; padding: 0 4px; line-height: 14px; right: 0; bottom: 0; }
.grid-container img, .pixels img { image-rendering: pixelated; }
/* Gradio's own greys and its orange miss the contrast that WCAG asks of small text. */
:root { --body-text-color-subdued: #5b5b66; --block-info-text-color: #5b5b66; --slider-color: #b93a04; }
.dark { --body-text-color-subdued: #b8b8c4; --block-info-text-color: #b8b8c4; }
#judge-scores * { font-family: var(--font) !important; font-size: 12px !important; letter-spacing: -0.01em; }
#judge-scores span { padding-left: 1px !important; padding-right: 1px !important; }
footer, footer a, footer button, .max_value, .min_value { color: var(--body-text-color-subdued) !important; }
body:not(.dark) button[role="tab"].selected { color: #b93a04 !important; }
button.primary { background: #b93a04 !important; color: #fff !important; }
"""


def guarded(act: Callable) -> Callable:
    """Wraps ``act``: its errors become a message on the page and in the API's response."""

    signature = inspect.signature(act)
    count = len(signature.parameters)

    @functools.wraps(act)
    def call(*arguments: Any) -> Any:
        try:
            return act(*arguments[:count])  # the last argument is Gradio's progress, which shows downloads
        except (ValueError, OSError) as error:
            raise gr.Error(str(error), print_exception=False) from error

    watched = inspect.Parameter(
        "progress", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=gr.Progress(track_tqdm=True)
    )
    call.__signature__ = signature.replace(parameters=[*signature.parameters.values(), watched])  # type: ignore[attr-defined]
    call.__name__ = f"show_{act.__name__}"  # not the name of an API endpoint; these are given explicitly
    return call


def class_choices(model: str, chosen: list[str], least: int) -> dict:
    """The classes of the model. Chosen classes that it has stay chosen, because leaving the box also calls this."""
    names = guarded(actions.classes_of)(model)
    kept = [name for name in chosen or [] if name in names]
    return gr.update(choices=names, value=kept if len(kept) >= least else names[:least])


def model_box(tab: str) -> gr.Dropdown:
    return gr.Dropdown(actions.model_choices(), value=actions.default_model(), label="Model", elem_id=f"{tab}-model")


def words(tab: str) -> tuple[gr.Textbox, gr.Textbox]:
    said = gr.Textbox(label="Result", interactive=False, elem_id=f"{tab}-said")
    again = gr.Textbox(label="Link to this result", interactive=False, buttons=["copy"], elem_id=f"{tab}-link",
                       info="Opens the page with the same model, classes and seed")  # fmt: skip
    return said, again


#: Completes a link in the browser, which knows the address of the page.
WHOLE_LINK = "(link) => link.startsWith('?') ? window.location.origin + window.location.pathname + link : link"


def drawing_tab(
    name: str,
    act: Callable,
    info: str,
    start: list[str],
    middle: Callable[[], Any],
    last: Callable[[], Any] | None,
    shown: Callable[[], Any],
    download: str,
    examples: dict[str, list],
) -> dict[str, Any]:
    """A tab that generates images from model, classes, ``middle``, seed, truncation and ``last``; shows ``shown``."""
    title = name.capitalize()
    with gr.Tab(title, id=name):
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                model = model_box(name)
                classes = gr.Dropdown(
                    actions.classes_of(actions.default_model()), value=start, multiselect=True, filterable=True,
                    label="Classes", info=f"Type to search. {info}", elem_id=f"{name}-classes",
                    allow_custom_value=True,  # only the browser knows the current choices; actions.py checks the names
                )  # fmt: skip
                own = middle()
                with gr.Row(equal_height=True):
                    seed = gr.Textbox("", label="Seed", placeholder="empty: random", scale=3, elem_id=f"{name}-seed")
                    dice = gr.Button("⚄ New seed", scale=1, min_width=90, elem_id=f"{name}-dice")
                truncation = gr.Slider(
                    0, 3, 0, step=0.1, label="Truncation",
                    info="0: off. Otherwise |z| < value: lower values give more typical, less varied images",
                )  # fmt: skip
                options = [last()] if last else []
                go = gr.Button(title, variant="primary")
            with gr.Column(scale=2, min_width=320):
                result = shown()
                said, again = words(name)
                kept = [gr.DownloadButton(download, interactive=True)] if download else []
        inputs = [model, classes, own, seed, truncation, *options]
        outputs = [result, seed, said, again, *kept]
        gr.Examples(
            list(examples.values()), inputs, outputs, guarded(act), cache_examples=False, run_on_click=True,
            example_labels=list(examples), label="Examples", api_visibility="private",
        )  # fmt: skip
        follow = functools.partial(class_choices, least=len(start))
        model.input(follow, [model, classes], classes, api_visibility="private")
        go.click(guarded(act), inputs, outputs, api_name=name, concurrency_id="draw", show_progress="minimal").success(
            None, again, again, js=WHOLE_LINK, api_visibility="private"
        )
        dice.click(
            lambda: str(actions.random_seed_from_system()), None, seed, api_visibility="private", queue=False
        ).then(guarded(act), inputs, outputs, api_visibility="private", concurrency_id="draw").success(
            None, again, again, js=WHOLE_LINK, api_visibility="private"
        )
    fields = [model, classes, own, seed, truncation, *options]
    return dict(zip(LINKED[name], fields, strict=False))


def sample_tab() -> dict[str, Any]:
    planets = actions.classes_of(actions.AVATARS)[3:4]
    return drawing_tab(
        "sample", actions.sample, "Leave empty for all classes.", [],
        lambda: gr.Slider(1, actions.MAX_PICTURES, 8, step=1, label="Images per class"),
        lambda: gr.Checkbox(label="One large image"),
        lambda: gr.Gallery(label="Images", show_label=False, columns=8, height="auto", format="png"),
        "Download as one PNG",
        {
            "Cars, horses and ships": [actions.PHOTOGRAPHS, ["automobile", "horse", "ship"], 8, "1", 0, False],
            "Four styles of avatars": [actions.AVATARS, actions.classes_of(actions.AVATARS)[:4], 8, "1", 0, False],
            "Clothes, truncation 0.8": [actions.CLOTHES, actions.classes_of(actions.CLOTHES)[:3], 8, "7", 0.8, False],
            "One planet, large": [actions.AVATARS, planets, 1, "3", 0, True],
        },
    )  # fmt: skip


def morph_tab() -> dict[str, Any]:
    return drawing_tab(
        "morph", actions.morph_strip, "Choose two to four classes, in order.",
        actions.classes_of(actions.default_model())[:2],
        lambda: gr.Textbox("8", label="Steps or weights", elem_id="morph-way",
                           info="Images from one class to the next, such as 8; or one weight per class, such as 2, 1"),
        None,
        lambda: gr.Image(label="Each row uses one latent", show_label=False, type="filepath", format="png",
                         elem_classes="pixels", buttons=["download", "fullscreen"], interactive=False),
        "",
        {
            "From a car to a truck": [actions.PHOTOGRAPHS, ["automobile", "truck"], "8", "5", 0],
            "Between two styles": [actions.AVATARS, actions.classes_of(actions.AVATARS)[:2], "8", "5", 0],
            "A blend of three clothing classes": [
                actions.CLOTHES, actions.classes_of(actions.CLOTHES)[:3], "1, 1, 2", "5", 0],
        },
    )  # fmt: skip


def walk_tab() -> dict[str, Any]:
    return drawing_tab(
        "walk", actions.walk_film, "Choose one class, or up to four to pass through.",
        actions.classes_of(actions.default_model())[:1],
        lambda: gr.Slider(1, actions.MAX_SECONDS, 4, step=1, label="Seconds"),
        lambda: gr.Checkbox(label="Download as GIF instead of MP4"),
        lambda: gr.Video(label="A closed path through latent space", show_label=False, autoplay=True, loop=True,
                         interactive=False, elem_classes="pixels"),
        "Download the video",
        {
            "Horses": [actions.PHOTOGRAPHS, ["horse"], 3, "2", 0, False],
            "One style of avatars": [actions.AVATARS, actions.classes_of(actions.AVATARS)[:1], 3, "2", 0, False],
            "Through three clothing classes": [
                actions.CLOTHES, actions.classes_of(actions.CLOTHES)[:3], 4, "4", 0, False],
        },
    )  # fmt: skip


def judge_tab() -> None:
    with gr.Tab("Score", id="judge"):
        gr.Markdown(ABOUT_SCORES)
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                model = model_box("judge")
                upload = gr.File(
                    label="An image (up to 10 MB)", file_count="single", type="filepath", elem_id="judge-file"
                )
                go = gr.Button("Score", variant="primary")
                with gr.Row(equal_height=True):
                    name = gr.Textbox(label="Or generate an image of this class", placeholder="empty: any", scale=3)
                    draw = gr.Button("Generate and score", scale=1, min_width=130)
                view = gr.Image(label="Input of the discriminator", interactive=False, type="pil", format="png",
                                height=280, elem_classes="pixels", buttons=["fullscreen"])  # fmt: skip
            with gr.Column(scale=2, min_width=320):
                table = gr.Dataframe(
                    headers=["class", "score", "real", "generated"], label="Scores, highest first",
                    interactive=False, elem_id="judge-scores",
                    column_widths=["27%", "17%", "28%", "28%"], wrap=True,
                )  # fmt: skip
                scores = gr.JSON(visible=False)
                seed = gr.Textbox(visible=False)
        go.click(guarded(actions.judge), [model, upload], scores, api_name="judge", concurrency_id="draw").success(
            actions.verdict, [model, scores], table, api_visibility="private"
        ).success(guarded(actions.seen), [model, upload], view, api_visibility="private")
        draw.click(guarded(actions.drawn), [model, name, seed], [upload, seed], api_visibility="private",
                   concurrency_id="draw").success(
            guarded(actions.judge), [model, upload], scores, api_visibility="private", concurrency_id="draw"
        ).success(actions.verdict, [model, scores], table, api_visibility="private").success(
            lambda: "", None, seed, api_visibility="private"  # the next image gets a new seed
        ).success(guarded(actions.seen), [model, upload], view, api_visibility="private")  # fmt: skip


def from_link(request: gr.Request) -> list[Any]:
    """Reads the parameters of a link -> the selected tab and its inputs. Other tabs do not change."""
    said = dict(request.query_params)
    tab = said.get("tab", "")
    updates: list[Any] = [gr.update(selected=tab) if tab in LINKED else gr.update()]
    for name, fields in LINKED.items():
        for field in fields:
            if name != tab or field not in said:
                updates.append(gr.update())
            elif field == "classes":
                updates.append(gr.update(value=said[field].split("|")))
            elif field in ("n", "seconds", "truncation"):
                updates.append(gr.update(value=_number(said[field])))
            elif field == "single":
                updates.append(gr.update(value=said[field] == "1"))
            else:
                updates.append(gr.update(value=said[field]))
    return updates


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text  # the function reports the error


def page() -> gr.Blocks:
    with gr.Blocks(title="sngan-hub", delete_cache=(3600, 3600)) as blocks:
        gr.Markdown(INTRO)
        with gr.Tabs() as tabs:
            made = {"sample": sample_tab(), "morph": morph_tab(), "walk": walk_tab()}
            judge_tab()
        fields = [made[name][field] for name, names in LINKED.items() for field in names]
        blocks.load(from_link, None, [tabs, *fields], api_visibility="private")
    return blocks.queue(max_size=32, default_concurrency_limit=2)


def serve(models: list[str]) -> None:
    """Serves the page. ``models`` are offered first. Raises ``ValueError`` or ``OSError`` if one does not load."""
    for model in models:
        actions.load_generator(model)
        actions.OWN.append(model)
    page().launch(theme=gr.themes.Default(), css=CSS, allowed_paths=[str(actions.downloads())], max_file_size="10mb",
                  show_error=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves the web page for sampling.")
    parser.add_argument("--model", action="append", default=[], metavar="FOLDER|REPO",
                        help="a run, a network's folder or a Hub repository id, selected by default")  # fmt: skip
    try:
        serve(parser.parse_args().model)
    except (ValueError, OSError) as error:
        parser.exit(2, f"app.py: error: {error}\n")


if __name__ == "__main__":
    main()
