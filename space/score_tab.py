"""The tab Score: one image, one class, one bar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from sngan_hub.class_names import resolve_classes

from . import actions, models, views
from .drawing_tabs import model_box
from .inputs import of_field
from .tab import Tab, Values

NO_LINK = "-Uploaded images are not kept, so they have no link"  # "-": see page.js


def score_tab() -> Tab:
    def draw(v: Values) -> Values:
        """Scores the uploaded image, or draws one of the class and scores that."""
        picture, name, seed, link = v["image"], v["class"], v["seed"], NO_LINK
        if not picture:
            name = models.class_or_first(v["model"], name)
            picture, seed = actions.drawn(v["model"], name, v["seed"])
        try:
            scores = actions.judge(v["model"], picture)
            image = actions.seen(v["model"], picture)
        finally:
            if not v["image"]:
                Path(picture).unlink(missing_ok=True)
        names = list(scores)
        if len(names) > 1 and (name or name in names):
            with of_field("class"):
                name = names[resolve_classes([name], names, len(names))[0]]
        if not v["image"]:
            link = actions.link("score", **{"model": v["model"], "class": name, "seed": seed})
        name = name if name in scores else names[0]
        return {"result": views.score_of(v["model"], name, scores, image), "seed": seed or "", "link": link}

    tab = Tab("score", "Score", draw, ("model",))
    start = models.default_model()
    names = models.classes_of(start)
    with tab.layout():
        with tab.asking():
            tab.add("model", model_box("score-model"))
            box = tab.add("class", gr.Dropdown(
                names, value=names[0] if names else None, label="Class", allow_custom_value=True,
                elem_id="score-class",
            ))  # fmt: skip
            tab.state = gr.State([start])
            tab.button("Draw and score")
            upload = tab.add("image", gr.File(
                label="Or score your own image (up to 10 MB)", file_count="single", type="filepath", height=110,
                elem_id="score-file",
            ))  # fmt: skip
            with tab.advanced(truncation=False):
                pass
        with tab.showing():
            pass

    def follow(v: Values) -> tuple[Values, dict[Any, Any]]:
        names = models.classes_of(v["model"])
        name = v["class"] if v["class"] in names else next(iter(names), None)
        return {**v, "class": name}, {box: gr.update(choices=names, value=name, visible=bool(names))}

    def read(said: dict[str, str], plain: Values) -> Values:
        return {key: said[key] for key in ("model", "class", "seed") if key in said}

    def drawn_anew(*values: Any) -> dict[Any, Any]:
        """The button draws, also if an image was uploaded before."""
        asked = dict(zip(tab.fields, values, strict=True)) | {"image": None}
        return {upload: None, **tab.run(asked)}

    def uploaded(*values: Any) -> dict[Any, Any]:
        return tab.run(dict(zip(tab.fields, values, strict=True)), keep_seed=True)

    tab.kinds = lambda v: ["discriminator"] + ["generator"] * (not v["image"])
    tab.follow, tab.read = follow, read
    tab._pressed = drawn_anew  # type: ignore[method-assign]
    tab.connect()
    for event in (upload.upload, box.input):
        tab.draw_on(event, uploaded)
    return tab
