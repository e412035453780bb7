"""The tabs Sample, Morph, Walk and Compare."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import gradio as gr

from sngan_hub.class_names import resolve_classes

from . import actions, models, views
from .inputs import MAX_PICTURES, MAX_SECONDS, MOST, listed, of_field
from .tab import NOTHING, Tab, Values


def model_box(name: str, label: str = "Model", value: str | None = None) -> gr.Dropdown:
    return gr.Dropdown(models.model_choices(), value=value or models.default_model(), label=label, elem_id=name)


LARGEST = 10**9  # Gradio cannot send integers of more than 64 bits, and no field goes so far


def numbers(said: dict[str, str], *names: str) -> Values:
    """The parameters of a link that are numbers. What is none stays text; the function reports the error."""
    found: Values = {}
    for name in names:
        if name in said:
            try:
                number = float(said[name])
                whole = int(number)
            except (ValueError, OverflowError):
                found[name] = said[name]
                continue
            exact = whole if number == whole else number
            found[name] = exact if abs(number) <= LARGEST else said[name]
    return found


def as_text(weight: object) -> str:
    """A weight as a link has it; a slider whose number was deleted has None."""
    return f"{weight:g}" if isinstance(weight, int | float) else str("" if weight is None else weight)


def scaled(weights: Values) -> Values:
    """Weights of a link, which may exceed 1, for sliders that end at 1: only their ratios count."""
    if any(isinstance(w, str) for w in weights.values()):
        return weights
    most = max(1, *weights.values())
    return {name: w / most for name, w in weights.items()}


def spelled(model: str, classes: list[str]) -> list[str]:
    """The classes of a link as the model spells them. What it does not have stays; the function reports the error."""
    try:
        names = models.classes_of(model)
        return [names[i] for i in resolve_classes(classes, names, len(names))] if classes else []
    except (ValueError, OSError):
        return classes


def kept(model: str, chosen: list[str] | None) -> list[str]:
    """The chosen classes that the model has."""
    names = models.classes_of(model)
    return [name for name in chosen or [] if name in names]


def many_classes(name: str, value: list[str], info: str, shown: bool | str = True) -> gr.Dropdown:
    return gr.Dropdown(
        models.classes_of(models.default_model()), value=value, multiselect=True, filterable=True, label="Classes",
        info=f"Type to search. {info}", elem_id=f"{name}-classes", visible=shown,  # type: ignore[arg-type]
        allow_custom_value=True,  # only the browser knows the current choices; actions.py checks the names
    )  # fmt: skip


def examples(*rows: tuple[str, str]) -> None:
    """Links (text, address) that open the page with an example."""
    links = " ".join(f'<a href="{escape(address)}">{escape(text)}</a>' for text, address in rows if address)
    if links:
        gr.HTML(f'<div class="examples"><span>Examples:</span> {links}</div>')


def example(
    tab: str, index: int, first: int, last: int, words: str, between: str = ", ", **fields: Any
) -> tuple[str, str]:
    """An example with classes ``first`` to ``last`` of included model number ``index``. ``words`` has a %s for them."""
    found = models.shipped()
    if index >= len(found):
        return "", ""
    chosen = list(found[index].classes[first:last])
    address = actions.link(tab, model=models.short_name(found[index]), classes=chosen, **fields)
    return words.replace("%s", between.join(chosen)), address


# ---------------------------------------------------------------------------------------------------------------------
# Sample


def sample_tab() -> Tab:
    def draw(v: Values) -> Values:
        found = actions.sampled(v["model"], v["classes"], v["n"], v["seed"], v["truncation"], bool(v["single"]))
        return {"result": views.rows(found, bool(v["single"])), "seed": str(found.seed), "link": found.link,
                "file": str(found.file)}  # fmt: skip

    tab = Tab("sample", "Sample", draw, ("model",))
    start = models.default_model()
    with tab.layout():
        with tab.asking():
            tab.add("model", model_box("sample-model"))
            about = gr.HTML(views.about(start))
            thumbs = gr.HTML(
                views.class_buttons(start, []), elem_classes="thumbs", elem_id="sample-thumbs", js_on_load=PICK
            )
            picture_choice = views.has_thumbnails(start)
            classes = tab.add(
                "classes",
                many_classes(
                    "sample", [], f"None chosen: all, up to {MOST} images.", "hidden" if picture_choice else True
                ),
            )
            tab.add("n", gr.Slider(1, MAX_PICTURES, 8, step=1, label="Images per class", elem_id="sample-n"))
            tab.add("single", gr.Checkbox(label="One large image", elem_id="sample-single"))
            tab.state = gr.State([start])
            tab.button("Sample")
            with tab.advanced():
                pass
        with tab.showing("Download as one PNG"):
            examples(
                example("sample", 0, 7, 10, "%s", n=8, seed=1),
                example("sample", 2, 0, 4, "%s", n=8, seed=1),
                example("sample", 1, 0, 3, "%s, truncation 0.8", n=8, seed=7, truncation=0.8),
                example("sample", 2, 3, 4, "%s, one large image", n=1, seed=3, single=1),
            )
    tab.followers = [about, thumbs]

    def follow(v: Values) -> tuple[Values, dict[Any, Any]]:
        chosen = kept(v["model"], v["classes"])
        shown = "hidden" if views.has_thumbnails(v["model"]) else bool(models.classes_of(v["model"]))
        choices = gr.update(choices=models.classes_of(v["model"]), value=chosen, visible=shown)
        return {**v, "classes": chosen}, {
            classes: choices, about: views.about(v["model"]), thumbs: views.class_buttons(v["model"], chosen)
        }  # fmt: skip

    def read(said: dict[str, str], plain: Values) -> Values:
        classes = spelled(said.get("model") or plain["model"], listed(said.get("classes")))
        return {"classes": classes, "single": said.get("single") == "1",
                **numbers(said, "n", "truncation"), **{k: said[k] for k in ("model", "seed") if k in said}}  # fmt: skip

    tab.follow, tab.read = follow, read
    tab.connect()
    # in the browser alone: Gradio drops a click while it waits for the answer to the last one
    thumbs.click(None, None, [classes, tab.slots["classes"]], js="() => [sngan.picked, '']", api_visibility="private")
    return tab


#: A click on a class button selects or deselects it; the names are checked when they are used.
PICK = """element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-class]');
  if (!button) return;
  button.setAttribute('aria-pressed', button.getAttribute('aria-pressed') === 'true' ? 'false' : 'true');
  const chosen = element.querySelectorAll('[aria-pressed="true"]').length;
  element.querySelector('p small').textContent = chosen ? `${chosen} chosen` : 'none chosen: all';
  sngan.picked = [...element.querySelectorAll('[aria-pressed="true"]')].map((b) => b.dataset.class);
  trigger('click');
});"""


# ---------------------------------------------------------------------------------------------------------------------
# Morph

ORDINALS = ("From", "To", "Then (optional)", "Last (optional)")
MIXED = ("First class", "Second class", "Third class (optional)", "Fourth class (optional)")
STEPS, WEIGHTS = "From class to class", "Mix by weight"


def morph_tab() -> Tab:
    def draw(v: Values) -> Values:
        names = models.classes_of(v["model"])
        chosen = [i for i in range(1, 5) if v[f"class_{i}"] or v[f"class_{i}"] in names]
        if not names:
            raise actions.FieldError("model", "this model has no classes to mix; choose another, or use the Walk tab")
        for i in chosen:
            with of_field(f"class_{i}"):
                resolve_classes([v[f"class_{i}"]], names, len(names))
        way: Any = [v[f"weight_{i}"] for i in chosen] if v["mode"] == WEIGHTS else v["steps"]
        text = ", ".join(map(as_text, way)) if isinstance(way, list) else way
        if isinstance(way, list) and len(way) < 2:
            raise actions.FieldError("classes", "classes: choose two to four classes to mix")
        found = actions.morphed(v["model"], [v[f"class_{i}"] for i in chosen], text, v["seed"], v["truncation"])
        return {"result": views.strip(found), "seed": str(found.seed), "link": found.link, "file": str(found.file)}

    tab = Tab("morph", "Morph", draw, ("model",))
    start = models.default_model()
    names = models.classes_of(start)
    boxes, weights = [], []
    with tab.layout():
        with tab.asking():
            tab.add("model", model_box("morph-model"))
            mode = tab.fields["mode"] = gr.Radio([STEPS, WEIGHTS], value=STEPS, show_label=False, container=False,
                                                 elem_id="morph-mode", label="Kind")  # fmt: skip
            for i in range(4):
                with gr.Row():
                    box = gr.Dropdown(
                        names, value=names[i] if i < min(2, len(names)) else None, label=ORDINALS[i], min_width=130,
                        allow_custom_value=True, elem_id=f"morph-class-{i + 1}",
                    )  # fmt: skip
                    weight = gr.Slider(0, 1, 0.5, step=0.05, label="Weight", visible=False, min_width=130,
                                       elem_id=f"morph-weight-{i + 1}")  # fmt: skip
                tab.fields[f"class_{i + 1}"], tab.fields[f"weight_{i + 1}"] = box, weight
                tab.slot(f"class_{i + 1}")
                boxes.append(box)
                weights.append(weight)
            for name in ("classes", "weights"):
                tab.slot(name)
            steps = tab.add("steps", gr.Slider(2, 16, 8, step=1, label="Images from one class to the next",
                                               elem_id="morph-steps"))  # fmt: skip
            tab.state = gr.State([start])
            tab.button("Morph")
            with tab.advanced():
                pass
        with tab.showing("Download as one PNG"):
            examples(
                example("morph", 0, 8, 10, "%s", " to ", way=8, seed=5),
                example("morph", 2, 0, 3, "%s", " to ", way=6, seed=5),
                example("morph", 1, 0, 3, "a mix of %s", way="0.25, 0.25, 0.5", seed=5),
            )

    def follow(v: Values) -> tuple[Values, dict[Any, Any]]:
        names = models.classes_of(v["model"])
        chosen = [v[f"class_{i}"] if v[f"class_{i}"] in names else None for i in range(1, 5)]
        if sum(name is not None for name in chosen) < 2:
            chosen = [*names[:2], None, None, None, None][:4]
        mixing = v["mode"] == WEIGHTS
        updates: dict[Any, Any] = {steps: gr.update(visible=not mixing)}
        for i, box in enumerate(boxes):
            label = (MIXED if mixing else ORDINALS)[i]
            updates[box] = gr.update(choices=names, value=chosen[i], label=label)
            updates[weights[i]] = gr.update(visible=mixing, value=v[f"weight_{i + 1}"])
        return {**v, **{f"class_{i + 1}": name for i, name in enumerate(chosen)}}, updates

    def read(said: dict[str, str], plain: Values) -> Values:
        found: Values = {**numbers(said, "truncation"), **{k: said[k] for k in ("model", "seed") if k in said}}
        classes, way = listed(said.get("classes")), said.get("way", "").split(",")
        for i in range(4):
            found[f"class_{i + 1}"] = (
                (classes[i] if i < len(classes) else NOTHING) if classes else plain[f"class_{i + 1}"]
            )
        if len(way) > 1:
            found["mode"] = WEIGHTS
            texts = {f"weight_{i + 1}": text for i, text in enumerate(way[:4])}
            found |= scaled(numbers(texts, *texts))
        elif way[0]:
            found |= numbers({"steps": way[0]}, "steps")
        return found

    def switched(kind: str) -> list[Any]:
        mixing = kind == WEIGHTS
        labels = MIXED if mixing else ORDINALS
        return [gr.update(visible=not mixing), *(gr.update(visible=mixing) for _ in weights),
                *(gr.update(label=label) for label in labels)]  # fmt: skip

    tab.kinds = lambda v: ["generator"] * bool(models.classes_of(v["model"]))  # else nothing is drawn
    tab.follow, tab.read = follow, read
    tab.connect()
    mode.input(switched, mode, [steps, *weights, *boxes], queue=False, api_visibility="private", show_progress="hidden")
    for field in (*boxes, *weights):
        for name in ("classes", "weights"):
            field.input(None, None, tab.slots[name], js="() => ['']", api_visibility="private")
    return tab


# ---------------------------------------------------------------------------------------------------------------------
# Walk


def walk_tab() -> Tab:
    def draw(v: Values) -> Values:
        film, seed, said, link, file = actions.walk_film(
            v["model"], v["classes"], v["seconds"], v["seed"], v["truncation"], bool(v["as_gif"])
        )
        return {"video": film, "result": views.said_only(said), "seed": seed, "link": link, "file": file}

    tab = Tab("walk", "Walk", draw, ("model",))
    start = models.default_model()
    with tab.layout():
        with tab.asking():
            tab.add("model", model_box("walk-model"))
            classes = tab.add(
                "classes", many_classes("walk", models.classes_of(start)[:1], "One class, or up to four in turn.")
            )
            tab.add("seconds", gr.Slider(1, MAX_SECONDS, 4, step=1, label="Seconds", elem_id="walk-seconds"))
            tab.state = gr.State([start])
            tab.button("Walk")
            with tab.advanced():
                tab.fields["as_gif"] = gr.Checkbox(label="Download as GIF instead of MP4", elem_id="walk-gif")
        with tab.showing("Download the video", film="A closed path through latent space"):
            examples(
                example("walk", 0, 7, 8, "%s", seconds=3, seed=2),
                example("walk", 2, 0, 1, "%s", seconds=3, seed=2),
                example("walk", 1, 0, 3, "%s", " to ", seconds=4, seed=4),
            )

    def follow(v: Values) -> tuple[Values, dict[Any, Any]]:
        names = models.classes_of(v["model"])
        chosen = kept(v["model"], v["classes"]) or names[:1]
        return {**v, "classes": chosen}, {classes: gr.update(choices=names, value=chosen, visible=bool(names))}

    def read(said: dict[str, str], plain: Values) -> Values:
        chosen = {"classes": listed(said["classes"])} if said.get("classes") else {}
        return {**chosen, **numbers(said, "seconds", "truncation"),
                **{k: said[k] for k in ("model", "seed") if k in said}}  # fmt: skip

    def other_format(drawn: str, *values: Any) -> Any:
        """The video that is shown again, in the other format: the fields may ask for another one by now."""
        asked = dict(zip(tab.fields, values, strict=True))
        if models.needs_download(asked["model"]):
            return gr.skip()
        shown = dict(zip(tab.fields, json.loads(drawn), strict=True)) if drawn else asked
        return tab.run({**shown, "as_gif": asked["as_gif"]}, keep_seed=True)

    tab.follow, tab.read = follow, read
    tab.connect()
    tab.draw_on(tab.fields["as_gif"].input, other_format, (tab.drawn_with,), trigger_mode="always_last")
    return tab


# ---------------------------------------------------------------------------------------------------------------------
# Compare


def compare_tab() -> Tab:
    def draw(v: Values) -> Values:
        left, right = (models.class_or_first(v[side], v[f"{side}_class"]) for side in ("left", "right"))
        sides, seed, said, link = actions.compared(
            v["left"], left, v["right"], right, v["n"], v["seed"], v["truncation"]
        )
        return {"result": views.side_by_side(sides, said), "seed": seed, "link": link}

    tab = Tab("compare", "Compare", draw, ("left", "right"))
    starts = {"left": models.default_model(), "right": models.second_model()}
    with tab.layout():
        with tab.asking():
            for side, model in starts.items():
                names = models.classes_of(model)
                tab.add(side, model_box(f"compare-{side}", f"{'First' if side == 'left' else 'Second'} model", model))
                tab.add(f"{side}_class", gr.Dropdown(
                    names, value=names[0] if names else None, label="Class", allow_custom_value=True,
                    visible=bool(names), elem_id=f"compare-{side}-class",
                ))  # fmt: skip
            tab.add("n", gr.Slider(1, actions.MOST_COMPARED, 8, step=1, label="Images", elem_id="compare-n"))
            tab.state = gr.State(list(starts.values()))
            tab.button("Compare")
            with tab.advanced():
                pass
        with tab.showing():
            pass

    def follow(v: Values) -> tuple[Values, dict[Any, Any]]:
        """Each side keeps its class if it has one of the name, else takes the other side's class or its first one."""
        updates, found = {}, dict(v)
        for side, other in (("left", "right"), ("right", "left")):
            names = models.classes_of(v[side])
            wanted = [v[f"{side}_class"], v[f"{other}_class"], *names[:1]]
            found[f"{side}_class"] = next((name for name in wanted if name in names), None)
            updates[tab.fields[f"{side}_class"]] = gr.update(
                choices=names, value=found[f"{side}_class"], visible=bool(names)
            )
        return found, updates

    def read(said: dict[str, str], plain: Values) -> Values:
        keys = ("left", "left_class", "right", "right_class", "seed")
        return {**numbers(said, "n", "truncation"), **{k: said[k] for k in keys if k in said}}

    tab.follow, tab.read = follow, read
    tab.connect()
    return tab
