"""One tab of the page: its fields, an error slot below each, its results, and the events between them.

A tab is a function from the values of its fields to values of its outputs. The same function draws what the page opens
with, what a button asks for, what a link says, and what a change of model makes necessary.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from . import models, views
from .files import without_folders
from .inputs import of_field, parse_seed, parse_truncation

Values = dict[str, Any]
NOTHING: Any = object()  # what a link says of a field that it leaves empty on purpose; None: it does not name the field
ADVANCED = ("seed", "truncation")
FILE = "[object Object]"  # an uploaded file, as page.js has it as text
SHOWN = ("video", "file", "link")  # outputs that are hidden while there is no result


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
        self.state: Any = None  # the models whose images are shown
        self.accordion: Any = None
        self.drawn_with: Any = None
        self.go: Any = None
        self.followers: list[Any] = []  # what else a change of model updates
        self.follow: Callable[[Values], tuple[Values, dict[Any, Any]]] = lambda values: (values, {})
        #: The networks of each model that the images need: generator, discriminator
        self.kinds: Callable[[Values], list[str]] = lambda values: ["generator"]
        self.read: Callable[[dict[str, str], Values], Values] = lambda said, values: {**values, **said}

    # Layout

    @contextmanager
    def layout(self) -> Iterator[None]:
        with gr.Tab(self.title, id=self.name), gr.Row(elem_classes="two"):
            yield

    @contextmanager
    def asking(self) -> Iterator[None]:
        """The column of the fields. All of them must be there before ``showing``."""
        with gr.Column(scale=3, min_width=300, elem_classes="asking"):
            yield

    @contextmanager
    def showing(self, download: str = "", film: str = "") -> Iterator[None]:
        """The column of the results, with what the page opens with; the body adds what stands below them.

        ``download``: text of the button for the file; ``film``: label of the video. Without, there is none.
        """
        with gr.Column(scale=7, min_width=300, elem_classes="showing", elem_id=f"{self.name}-result"):
            first = self.first()
            self.outputs["result"] = gr.HTML(first.get("result", ""))
            if film:
                self.outputs["video"] = gr.Video(
                    first.get("video"), label=film, show_label=False, autoplay=True, loop=True, interactive=False,
                    elem_id=f"{self.name}-video", buttons=[],
                )  # fmt: skip
            if download:
                self.outputs["file"] = gr.DownloadButton(
                    download, value=first.get("file"), size="sm", elem_classes="download"
                )
            self.outputs["link"] = gr.Textbox(
                first.get("link", ""), label="Link to this result", interactive=False, buttons=["copy"], max_lines=1,
                elem_id=f"{self.name}-link",
            )  # fmt: skip
            self.outputs["seed"] = self.fields["seed"]
            used = self._used({name: field.value for name, field in self.fields.items()}) if first else ""
            self.drawn_with = gr.Textbox(used, visible="hidden")  # type: ignore[arg-type]
            yield

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

    # Drawing

    def run(self, values: Values, keep_seed: bool = False) -> dict[Any, Any]:
        """Values of the fields -> updates of the outputs, or the error below its field."""
        asked = dict(values)
        if not (asked.pop("locked") or keep_seed):
            asked["seed"] = ""
        updates: dict[Any, Any] = {slot: "" for slot in self.slots.values()}
        try:
            parse_seed(asked["seed"])  # before anything is downloaded
            parse_truncation(asked.get("truncation", 0))
            for name in self.model_fields:
                with of_field(name):
                    for kind in self.kinds(asked):
                        {"generator": models.generator, "discriminator": models.discriminator}[kind](asked[name])
            with models.TURN:
                found = self._draw(asked)
        except (ValueError, OSError) as error:
            field = getattr(error, "field", "")
            field = field if field in self.slots else next(iter(self.slots))
            updates[self.slots[field]] = views.error(self.worded(field, without_folders(str(error))))
            if field in ADVANCED:
                updates[self.accordion] = gr.update(open=True)
            return updates
        if str(asked["seed"]).strip():  # as the field has it: a result must not replace what is typed meanwhile
            found = {name: value for name, value in found.items() if name != "seed"}
        used = {**values, "seed": found.get("seed", values["seed"])}
        updates |= {self.outputs[name]: value for name, value in found.items()}
        updates[self.drawn_with] = self._used(used)
        return updates | {
            self.outputs[name]: gr.update(value=found[name], visible=True) for name in SHOWN if name in found
        }

    def _used(self, values: Values) -> str:
        """The values of the fields that images were drawn with, as JSON."""
        return json.dumps([self._as_text(name, values[name]) for name in self.fields])

    def _as_text(self, name: str, value: Any) -> Any:
        """What page.js compares with the value of a field in the browser."""
        return FILE if value and isinstance(self.fields[name], gr.File) else value

    def worded(self, field: str, text: str) -> str:
        """Names the field as the page does."""
        label = getattr(self.fields.get(field), "label", None)
        return f"{label}{text[len(field) :]}" if label and text.startswith(f"{field} must") else text

    def _pressed(self, *values: Any) -> dict[Any, Any]:
        return self.run(dict(zip(self.fields, values, strict=True)))

    def _model_changed(self, before: list[str], *values: Any) -> Any:
        """Draws with the new model at once, unless it must be downloaded."""
        asked = dict(zip(self.fields, values, strict=True))
        now = [asked[name] for name in self.model_fields]
        if now == before:  # leaving the box is an input too
            return gr.skip()
        return self.changed(asked)

    def changed(self, asked: Values, said: Values | None = None) -> dict[Any, Any]:
        """The choices that follow from the model, and its images. ``said``: what a link names; it is not replaced by
        what the model has, and its model is downloaded.
        """
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
        fetched = [name for name in now if any(models.needs_download(name, kind) for kind in self.kinds(asked))]
        if fetched and said is None:
            return updates | self.emptied(views.waiting(fetched[0], self.go.value))
        return updates | self.run({**asked, **(said or {})}, keep_seed=True)

    def emptied(self, note: str) -> dict[Any, Any]:
        """A note in place of the images: those of other inputs must not stay."""
        hidden = {
            self.outputs[name]: gr.update(value="" if name == "link" else None, visible=False)
            for name in SHOWN
            if name in self.outputs
        }
        return {self.outputs["result"]: note, self.drawn_with: "", **hidden}

    def from_link(self, text: dict[str, str]) -> dict[Any, Any]:
        """Parameters of a link -> updates of the fields, and the images of the link or an error below its field."""
        plain = {name: field.value for name, field in self.fields.items()}
        read = {name: value for name, value in self.read(text, plain).items() if value not in (None, "", [])}
        said = {name: None if value is NOTHING else value for name, value in read.items()}
        said["locked"] = "seed" in text
        choices = models.model_choices()
        for name in self.model_fields:
            if models.is_default_tag(str(said.get(name))):
                choice = models.as_listed(str(said[name]))
                said[name] = choice[1]
                choices += [choice] * (choice not in choices)
        known = {value for _, value in choices}
        updates = {
            self.fields[name]: gr.update(value=value)
            for name, value in {**plain, **said}.items()
            if name not in self.model_fields
        }
        updates |= {
            self.fields[name]: gr.update(value=value, choices=choices)
            for name in self.model_fields
            if (value := {**plain, **said}[name]) in known
        }
        found = self.changed({**plain, **said}, said)
        if any(found.get(slot) for slot in self.slots.values()):
            found |= self.emptied(views.failed())
        # a choice that follows keeps its choices, a value of the link its value
        for name, value in said.items():
            if isinstance(choice := found.get(self.fields[name]), dict):
                found[self.fields[name]] = {**choice, "value": value}
        return updates | found

    # Events

    def all_outputs(self) -> list[Any]:
        found = [*self.fields.values(), *self.slots.values(), *self.outputs.values(), self.accordion, self.state,
                 self.drawn_with]  # fmt: skip
        return list(dict.fromkeys([*found, *self.followers]))

    def draw_on(
        self, event: Callable[..., Any], act: Callable[..., Any], before: tuple[Any, ...] = (), **options: Any
    ) -> None:
        """``act`` of ``before`` and the values of the fields draws on an event; the link and the page follow."""
        # without Gradio's own checks, whose errors would not be beside the field; an upload needs them
        options["preprocess"] = "image" in self.fields
        inputs, link = list(self.fields.values()), self.outputs["link"]
        shown = self.outputs.get("video", self.outputs["result"])
        drawn = event(with_progress(act, len(before) + len(inputs)), [*before, *inputs], self.all_outputs(),
                      api_visibility="private", concurrency_id="draw", show_progress_on=[shown], **options)  # fmt: skip
        drawn.then(None, [link, self.drawn_with, *inputs], link, api_visibility="private",
                   js=f"(...v) => [sngan.drawn('{self.name}', ...v)]")  # fmt: skip

    def connect(self) -> None:
        inputs = list(self.fields.values())
        private: dict[str, Any] = {"api_visibility": "private"}
        self.draw_on(self.go.click, self._pressed)
        for name in self.model_fields:  # of several choices while one is drawn, the last one counts
            self.draw_on(self.fields[name].input, self._model_changed, (self.state,), trigger_mode="always_last")
        for name, field in self.fields.items():
            field.change(None, inputs, None, js=f"(...v) => {{ sngan.changed('{self.name}', ...v); }}", **private)
            if name in self.slots and hasattr(field, "input"):
                field.input(None, None, self.slots[name], js="() => ['']", **private)
