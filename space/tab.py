"""One tab of the page: its fields, an error slot below each, its results, and the events between them.

A tab is a function from the values of its fields to values of its outputs. The same function draws what the page opens
with, what a button asks for, what a link says, and what a change of model makes necessary.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from . import models, views
from .files import without_folders

Values = dict[str, Any]
ADVANCED = ("seed", "truncation")


def with_progress(act: Callable[..., Any], count: int) -> Callable[..., Any]:
    """``act`` of ``count`` arguments, for Gradio: downloads inside are shown as progress on the page."""

    def call(*arguments: Any) -> Any:
        return act(*arguments[:count])  # the last argument is Gradio's progress

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(f"value_{i}", kind) for i in range(count)]
    watched = inspect.Parameter("progress", kind, default=gr.Progress(track_tqdm=True))
    call.__signature__ = inspect.Signature([*parameters, watched])  # type: ignore[attr-defined]
    return call


class Tab:
    """``fields``: name -> input, in the order of the tab; ``outputs``: name -> output."""

    def __init__(self, name: str, title: str, draw: Callable[[Values], Values], model_fields: tuple[str, ...]) -> None:
        self.name, self.title, self._draw, self.model_fields = name, title, draw, model_fields
        self.fields: dict[str, Any] = {}
        self.slots: dict[str, gr.HTML] = {}
        self.outputs: dict[str, Any] = {}
        self.follow: Callable[[Values], tuple[Values, dict[Any, Any]]] = lambda values: (values, {})
        self.read: Callable[[dict[str, str], Values], Values] = lambda said, values: {**values, **said}

    # Layout

    def add(self, name: str, component: Any) -> Any:
        """Registers a field. Its errors are shown below it, until it is corrected."""
        self.fields[name] = component
        self.slot(name)
        return component

    def slot(self, name: str) -> None:
        self.slots[name] = gr.HTML("", elem_id=f"{self.name}-{name}-error", elem_classes="slot")

    def button(self, text: str) -> gr.Button:
        self.go = gr.Button(text, variant="primary", elem_classes="go", elem_id=f"{self.name}-go")
        return self.go

    @contextmanager
    def advanced(self, truncation: bool = True) -> Iterator[None]:
        with gr.Accordion("Advanced", open=False, elem_id=f"{self.name}-advanced") as self.accordion:
            self.add("seed", gr.Textbox("0", label="Seed", elem_id=f"{self.name}-seed", max_lines=1,
                                        info="The same seed gives the same images"))  # fmt: skip
            self.fields["locked"] = gr.Checkbox(False, label="Keep this seed", elem_id=f"{self.name}-locked")
            if truncation:
                self.add("truncation", gr.Slider(
                    0, 3, 0, step=0.1, label="Truncation", elem_id=f"{self.name}-truncation",
                    info="0: off. Otherwise |z| < value: lower values give more typical, less varied images",
                ))  # fmt: skip
            yield

    def first(self) -> Values:
        """What the page opens with; nothing if it cannot be drawn."""
        try:
            return self._draw({name: field.value for name, field in self.fields.items()})
        except (ValueError, OSError):
            return {}

    def link_box(self, first: Values) -> None:
        self.outputs["link"] = gr.Textbox(
            first.get("link", ""), label="Link to this result", interactive=False, buttons=["copy"], max_lines=1,
            elem_id=f"{self.name}-link",
        )  # fmt: skip
        self.outputs["seed"] = self.fields["seed"]

    # Drawing

    def run(self, values: Values, keep_seed: bool = False) -> dict[Any, Any]:
        """Values of the fields -> updates of the outputs, or the error below its field."""
        asked = dict(values)
        if not (asked.pop("locked") or keep_seed):
            asked["seed"] = ""
        updates: dict[Any, Any] = {slot: "" for slot in self.slots.values()}
        try:
            found = self._draw(asked)
        except (ValueError, OSError) as error:
            field = getattr(error, "field", "")
            field = field if field in self.slots else next(iter(self.slots))
            updates[self.slots[field]] = views.error(without_folders(str(error)))
            if field in ADVANCED:
                updates[self.accordion] = gr.update(open=True)
            return updates
        return updates | {self.outputs[name]: value for name, value in found.items()}

    def _pressed(self, *values: Any) -> dict[Any, Any]:
        return self.run(dict(zip(self.fields, values, strict=True)))

    def _model_changed(self, before: list[str], *values: Any) -> Any:
        """Draws with the new model at once, unless it must be downloaded."""
        asked = dict(zip(self.fields, values, strict=True))
        now = [asked[name] for name in self.model_fields]
        if now == before:  # leaving the box is an input too
            return gr.skip()
        return self.changed(asked)

    def changed(self, asked: Values, download: bool = False) -> dict[Any, Any]:
        """The choices that follow from the model, and its images."""
        updates: dict[Any, Any] = {slot: "" for slot in self.slots.values()}
        now = [asked[name] for name in self.model_fields]
        for name in self.model_fields:
            try:
                models.check_model(asked[name])
            except ValueError as error:
                return updates | {self.slots[name]: views.error(without_folders(str(error)))}
        try:
            asked, choices = self.follow(asked)
        except (ValueError, OSError) as error:
            return updates | {self.slots[self.model_fields[0]]: views.error(without_folders(str(error)))}
        updates |= {self.state: now, **choices}
        fetched = [name for name in now if models.needs_download(name)]
        if fetched and not download:
            return updates | self.emptied(fetched[0])
        return updates | self.run(asked, keep_seed=True)

    def emptied(self, model: str) -> dict[Any, Any]:
        """A note in place of the images: those of another model must not stay."""
        updates: dict[Any, Any] = {self.outputs["result"]: views.waiting(model, self.go.value)}
        for name in ("video", "file"):
            if name in self.outputs:
                updates[self.outputs[name]] = None
        return updates | {self.outputs["link"]: ""}

    def from_link(self, said: dict[str, str]) -> dict[Any, Any]:
        """Parameters of a link -> updates of the fields and the images of the link."""
        plain = {name: field.value for name, field in self.fields.items()}
        asked = {**plain, **self.read(said, plain), "locked": "seed" in said}
        updates = {self.fields[name]: gr.update(value=value) for name, value in asked.items()}
        return updates | self.changed(asked, download=True)

    # Events

    def all_outputs(self) -> list[Any]:
        found = [*self.fields.values(), *self.slots.values(), *self.outputs.values(), self.accordion, self.state]
        return list(dict.fromkeys([*found, *getattr(self, "followers", [])]))

    def connect(self) -> None:
        inputs, link = list(self.fields.values()), self.outputs["link"]
        outputs, shown = self.all_outputs(), self.outputs.get("video", self.outputs["result"])
        private = {"api_visibility": "private"}
        drawing = {**private, "concurrency_id": "draw", "show_progress_on": [shown]}
        drawn = {"inputs": [link, *inputs], "outputs": link, "js": f"(...v) => sngan.drawn('{self.name}', ...v)", **private}
        self.go.click(with_progress(self._pressed, len(inputs)), inputs, outputs, **drawing).then(None, **drawn)
        for name in self.model_fields:
            act = with_progress(self._model_changed, len(inputs) + 1)
            self.fields[name].input(act, [self.state, *inputs], outputs, **drawing).then(None, **drawn)
        if "locked" in self.fields:
            self.fields["seed"].input(None, None, self.fields["locked"], js="() => true", **private)
        for name, field in self.fields.items():
            field.change(None, inputs, None, js=f"(...v) => {{ sngan.changed('{self.name}', ...v); }}", **private)
            if name in self.slots and hasattr(field, "input"):
                field.input(None, None, self.slots[name], js="() => ''", **private)
