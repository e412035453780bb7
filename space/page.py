"""The page: header, tabs, links, and the endpoints of its API."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import gradio as gr

from sngan_hub.text import NAMESPACE, REPOSITORY

from . import actions, look, models
from .drawing_tabs import compare_tab, morph_tab, sample_tab, walk_tab
from .files import downloads, without_folders
from .inputs import of_field
from .score_tab import score_tab
from .tab import Tab

TITLE = "sngan-hub: images by class from small GANs"
TEXT = (
    "Draws images by class from GANs with spectral normalisation and a projection discriminator, in a fraction of a "
    "second on a CPU."
)
CODE, CARDS = f"https://github.com/{REPOSITORY}", f"https://huggingface.co/{NAMESPACE}"
SOCIAL_CARD = f"https://huggingface.co/spaces/{NAMESPACE}/sngan-hub/resolve/main/space/social.png"
HEADER = f"""<header class="top"><h1>sngan-hub</h1><p>{TEXT}</p><nav aria-label="Links">
<a href="{CODE}" target="_blank" rel="noopener">Code</a>
<a href="https://arxiv.org/abs/1802.05957" target="_blank" rel="noopener">Paper: spectral normalisation</a>
<a href="https://arxiv.org/abs/1802.05637" target="_blank" rel="noopener">Paper: projection discriminator</a>
<a href="{CARDS}" target="_blank" rel="noopener">Model cards</a></nav></header>"""


def guarded(act: Callable, load: Callable[[str], Any]) -> Callable:
    """Wraps ``act`` for the API: its errors become the response. ``load``: loads the network of the model."""
    signature = inspect.signature(act)
    count = len(signature.parameters)

    @functools.wraps(act)
    def call(*arguments: Any) -> Any:
        try:
            with of_field("model"):
                load(arguments[0])
            with models.TURN:
                return act(*arguments[:count])  # the last argument is Gradio's progress, which shows downloads
        except (ValueError, OSError) as error:
            raise gr.Error(without_folders(str(error)), print_exception=False) from error

    watched = inspect.Parameter(
        "progress", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=gr.Progress(track_tqdm=True)
    )
    call.__signature__ = signature.replace(parameters=[*signature.parameters.values(), watched])  # type: ignore[attr-defined]
    call.__name__ = f"call_{act.__name__}"  # not the name of an endpoint; these are given explicitly
    return call


def endpoints() -> None:
    """/sample, /morph, /walk and /judge, for programs. The page itself shows results in another form."""
    with gr.Column(visible=False):
        model, classes = gr.Textbox(models.default_model()), gr.Dropdown([], multiselect=True, allow_custom_value=True)
        n, way, seconds = gr.Number(8), gr.Textbox("8"), gr.Number(4)
        seed, truncation, flag = gr.Textbox(""), gr.Number(0), gr.Checkbox(False)
        texts = [gr.Textbox() for _ in range(3)]
        gallery, image = gr.Gallery(format="png"), gr.Image(type="filepath", format="png")
        film, file, upload, scores = gr.Video(), gr.File(), gr.File(type="filepath"), gr.JSON()
        drawn, judged = models.generator, models.discriminator
        for name, act, load, inputs, outputs in (
            ("sample", actions.sample, drawn, [model, classes, n, seed, truncation, flag], [gallery, *texts, file]),
            ("morph", actions.morph_strip, drawn, [model, classes, way, seed, truncation], [image, *texts]),
            ("walk", actions.walk_film, drawn, [model, classes, seconds, seed, truncation, flag], [film, *texts, file]),
            ("judge", actions.judge, judged, [model, upload], scores),
        ):
            gr.Button(name).click(guarded(act, load), inputs, outputs, api_name=name, concurrency_id="draw")


def page() -> gr.Blocks:
    with gr.Blocks(title="sngan-hub", delete_cache=(3600, 3600)) as blocks:
        gr.HTML(HEADER)
        with gr.Tabs(elem_id="tabs") as tabs:
            made = {tab.name: tab for tab in (sample_tab(), morph_tab(), walk_tab(), score_tab(), compare_tab())}
        endpoints()
        _open(blocks, tabs, made)
    return blocks.queue(max_size=32, default_concurrency_limit=8)  # drawing: see TURN


def _open(blocks: gr.Blocks, tabs: gr.Tabs, made: dict[str, Tab]) -> None:
    """On opening: draws what a link says, in its tab. Other tabs keep what they open with."""

    def from_link(request: gr.Request) -> dict[Any, Any]:
        said = dict(request.query_params)
        name = {"judge": "score"}.get(said.get("tab", ""), said.get("tab", ""))
        if name not in made:
            return {tabs: gr.update()}
        return {tabs: gr.update(selected=name), **made[name].from_link(said)}

    outputs = list(dict.fromkeys([tabs, *(output for tab in made.values() for output in tab.all_outputs())]))
    opened = blocks.load(
        from_link, None, outputs, api_visibility="private", concurrency_id="draw", show_progress="hidden"
    )
    for tab in made.values():
        inputs, link = list(tab.fields.values()), tab.outputs["link"]
        opened.then(None, [link, tab.drawn_with, *inputs], link, api_visibility="private",
                    js=f"(...v) => [sngan.opened('{tab.name}', ...v)]")  # fmt: skip


def serve(own: list[str]) -> None:
    """Serves the page. ``own``: models that are offered first. Raises ``ValueError`` or ``OSError`` if one does not
    load.
    """
    for model in own:
        models.add_own(model)
    shown = page()
    # Gradio's own lines name options of its Python interface
    _, address, _ = shown.launch(theme=look.theme(), css_paths=look.CSS, head=look.head(TITLE, TEXT, SOCIAL_CARD),
                                 allowed_paths=[str(downloads())], max_file_size="10mb", show_error=True, quiet=True,
                                 prevent_thread_lock=True)  # fmt: skip
    print(f"The page is at {address} (Ctrl-C stops it)", flush=True)
    shown.block_thread()
