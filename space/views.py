"""The results and models of the page as HTML: rows of images, class buttons, the bar of scores, what is known of a
model. Every text of a user or a model is escaped.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import lru_cache
from html import escape

from torch import Tensor

from sngan_hub import Record, Score
from sngan_hub.sampling.pictures import to_pil

from . import models
from .actions import Drawn, Side

SMALL = 48  # px: images up to this size are shown eight in a row, larger ones four
#: What each of our protocols is called on the page; scores that others publish keep their names
LABELS = {
    "fid_paper": "FID, all test images", "fid5k_test": "FID, 5,000 test images", "fid50k_train": "FID, training images",
    "intra_fid": "intra-class FID", "kid1k_test": "KID", "kid1k_held_out": "KID, held-out images",
    "kid50k": "KID, training images", "is50k": "Inception Score", "is_paper": "Inception Score, 10 sets of 5,000",
    "prdc10k": "coverage", "cas": "classification accuracy score", "agreement2k": "class agreement",
    "diversity": "diversity",
}  # fmt: skip


def data_url(image: Tensor) -> str:
    """uint8 (3, S, S) -> an address that holds the image without loss."""
    file = io.BytesIO()
    if image.shape[-1] <= 64:
        to_pil(image).save(file, "PNG")
    else:
        to_pil(image).save(file, "WEBP", lossless=True)
    kind = "png" if image.shape[-1] <= 64 else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _img(image: Tensor, text: str, kind: str = "", more: str = "") -> str:
    small = "pixels" if image.shape[-1] <= 64 else ""
    size = image.shape[-1]
    return (
        f'<img class="{small} {kind}" src="{data_url(image)}" alt="{escape(text)}" width="{size}" height="{size}"'
        f"{more}>"
    )


def _cells(images: Tensor, columns: int, name: Callable[[int], str]) -> str:
    """A row or several rows of images, each of which opens in large (page.js). ``name``: the text of image i."""
    cells = (_img(image, name(i), more=f' role="button" tabindex="{-1 if i else 0}"') for i, image in enumerate(images))
    return f'<div class="cells" style="--columns: {columns}">{"".join(cells)}</div>'


def _numbered(text: str, count: int) -> Callable[[int], str]:
    return lambda i: f"{text}, image {i + 1} of {count}"


def _result(said: str, inside: str) -> str:
    """The result of a tab. Its note is shown when an input changes afterwards (``STALE`` of look.py)."""
    line = f'<p class="said" role="status">{escape(said)}</p>' if said else ""
    return (
        f'<div class="drawn">{line}'
        f'<p class="note">The settings have changed since these images were drawn.</p>{inside}</div>'
    )


def rows(drawn: Drawn, large: bool = False) -> str:
    """One labelled row per class."""
    if large:
        label = drawn.labels[0] if drawn.labels else "Generated image"
        return _result(drawn.said, f"<h3>{escape(label)}</h3>{_img(drawn.images[0], label, 'large')}")
    width = 8 if drawn.images.shape[-1] <= SMALL else 4
    if not drawn.labels:
        return _result(drawn.said, _cells(drawn.images, width, _numbered("Generated image", len(drawn.images))))
    parts = [
        f'<div class="row"><h3>{escape(label)}</h3>{_cells(images, width, _numbered(label, len(images)))}</div>'
        for label, images in zip(drawn.labels, drawn.images.split(drawn.columns), strict=True)
    ]
    return _result(drawn.said, f'<div class="rows">{"".join(parts)}</div>')


def strip(drawn: Drawn) -> str:
    """Rows of a morph, with the classes at their places above; images of a blend."""
    if not drawn.labels:
        return _result(drawn.said, _cells(drawn.images, 8, _numbered("Blend", len(drawn.images))))
    ends = "".join(f"<span>{escape(label)}</span>" for label in drawn.labels)
    lines = "".join(
        _cells(images, drawn.columns, lambda j, i=i: f"Latent {i + 1}, step {j + 1} of {drawn.columns}")
        for i, images in enumerate(drawn.images.split(drawn.columns))
    )
    inside = (
        f'<div class="morph" tabindex="0" role="region" aria-label="Morph, one row per latent">'
        f'<div class="film" style="--columns: {drawn.columns}"><div class="ends">{ends}</div>{lines}</div></div>'
    )
    return _result(drawn.said, inside)


def said_only(text: str) -> str:
    return _result(text, "")


def waiting(model: str, button: str) -> str:
    """What stands in place of the images of a model that is not loaded yet."""
    record = models.needs_download(model) or models.needs_download(model, "discriminator")
    size = f" Its file has {record.file_bytes / 1e6:.0f} MB and" if record and record.file_bytes else " Its file"
    return (
        f'<div class="drawn waiting"><p>Press <b>{escape(button)}</b> to draw with this model.{size} is downloaded '
        "once.</p></div>"
    )


def failed() -> str:
    return (
        '<div class="drawn waiting"><p>The images of this link could not be drawn. See the message below the field.'
        "</p></div>"
    )


def error(text: str) -> str:
    return f'<p class="field-error" role="alert">{escape(text)}</p>'


# ---------------------------------------------------------------------------------------------------------------------
# Models


@lru_cache(maxsize=8)
def _thumbnails(model: str) -> tuple[str, ...]:
    network = models.generator(model)
    return tuple(
        data_url(image) for image in network.sample(None if not network.n_classes else models.classes_of(model), 1, 0)
    )


def has_thumbnails(model: str) -> bool:
    """Whether the classes are shown as pictures: models that need no download, with few classes."""
    return models.needs_download(model) is None and 0 < len(models.classes_of(model)) <= models.MOST_THUMBNAILS


def class_buttons(model: str, chosen: list[str] | None) -> str:
    """A button with a picture for each class; empty for models without thumbnails."""
    if not has_thumbnails(model):
        return ""
    picked = set(chosen or [])
    buttons = "".join(
        f'<button type="button" data-class="{escape(name)}" aria-pressed="{"true" if name in picked else "false"}">'
        f'<img class="pixels" src="{address}" alt="" width="32" height="32"><span>{escape(name)}</span></button>'
        for name, address in zip(models.classes_of(model), _thumbnails(model), strict=True)
    )
    said = f"{len(picked)} chosen" if picked else "none chosen: all"
    return (
        f'<div class="classes" role="group" aria-label="Classes"><p>Classes <small>{said}</small></p>'
        f"<div>{buttons}</div></div>"
    )


def about(model: str) -> str:
    """A line about the model, and its card folded away."""
    record = models.record_of(model)
    if record is None:
        count = len(models.classes_of(model))
        return f'<div class="about"><p>{escape(model)}: your model, {count or "no"} classes.</p></div>'
    count = len(models.classes_of(model))  # their names may be unknown
    classes = f"{count:,} classes" if count else "no classes"
    here = {"shipped": "included", "folder": "in a folder of this machine"}.get(record.where, "downloaded")
    if models.needs_download(model):
        here = f"downloaded on first use, {record.file_bytes / 1e6:.0f} MB"
    facts = [
        ("Measured", "; ".join(_score(name, score) for name, score in record.scores.items()) or "no scores"),
        ("Training data", record.data),
        ("Licence", f"{record.licence} (data: {record.data_licence})" if record.data_licence else record.licence),
        ("Limits", record.limits),
    ]
    card = models.card_address(record)
    links = f'<dd><a href="{escape(card)}" target="_blank" rel="noopener">Model card</a></dd>' if card else ""
    listed = "".join(f"<dt>{key}</dt><dd>{escape(value)}</dd>" for key, value in facts if value)
    return (
        f'<div class="about"><p>{escape(record.name)}: {classes}, {here}.</p>'
        f"<details><summary>About this model</summary>"
        f"<dl>{listed}{links and '<dt>More</dt>' + links}</dl></details></div>"
    )


def _score(protocol: str, score: Score) -> str:
    n = f", {score.n:,} images" if score.n else ""
    by = f", stated by {score.stated_by}" if score.stated_by else ""
    return f"{LABELS.get(protocol, protocol)} {score.value:.4g}{n}{by}"


def scores_of_record(record: Record | None) -> str:
    if record is None or not record.scores:
        return '<p class="scores">no published scores</p>'
    shown = sorted(record.scores.items(), key=lambda item: ("fid" not in item[0], "kid" not in item[0]))
    parts = "".join(
        f'<div title="{escape(score.evaluator)}"><dt>{escape(LABELS.get(name, name))}</dt>'
        f"<dd>{score.value:.3g}</dd></div>"
        for name, score in shown
    )
    return f'<dl class="scores">{parts}</dl>'


def side_by_side(sides: list[Side], said: str) -> str:
    halves = []
    for side in sides:
        record = models.record_of(side.model)
        name = f"{record.name}" if record else side.model
        subject = models.title(record) if record else f"{side.model} · your model"
        width = 4 if len(side.images) > 1 else 1
        halves.append(
            f'<section class="side"><h3>{escape(subject)}</h3><p>{escape(name)}'
            f"{', class ' + escape(side.class_name) if side.class_name else ''}</p>{scores_of_record(record)}"
            f"{_cells(side.images, width, _numbered(f'{name}, {side.class_name}', len(side.images)))}</section>"
        )
    evaluators = {s.evaluator for side in sides for r in [models.record_of(side.model)] if r for s in r.scores.values()}
    note = (
        "<p class='small'>Scores of different data sets or evaluators are not comparable.</p>"
        if len(evaluators) > 1 or len({_data(side.model) for side in sides}) > 1
        else ""
    )
    return _result(said, f'<div class="sides">{"".join(halves)}</div>{note}')


def _data(model: str) -> str:
    record = models.record_of(model)
    return record.data if record else model


# ---------------------------------------------------------------------------------------------------------------------
# Scores of one image

CALIBRATE = "sngan probe --from MODEL --data FOLDER --calibrate"


def score_of(model: str, class_name: str, scores: dict[str, float], image: Tensor) -> str:
    """The image, a sentence, one bar with the ranges of the class, and the table of all classes folded away."""
    value = scores.get(class_name, next(iter(scores.values())))
    spans = models.ranges_of(model)
    known = spans.get(class_name, {})
    named = f"as an image of the class {class_name}" if class_name in scores and len(scores) > 1 else ""
    body = _bar(value, known) if known.get("real") and known.get("generated") else _no_range(model)
    table = "".join(
        f'<tr{" class=chosen" if name == class_name else ""}><th scope="row">{escape(name)}</th><td>{score:.2f}</td>'
        f"<td>{_span(spans.get(name, {}).get('real'))}</td><td>{_span(spans.get(name, {}).get('generated'))}</td></tr>"
        for name, score in sorted(scores.items(), key=lambda item: -item[1])
    )
    details = (
        f"<details><summary>Scores for all {len(scores)} classes</summary><p>A score measures how real the image looks "
        "to the discriminator <em>as an image of that class</em>. It has no unit and does not tell which class the "
        "image belongs to: in training, every image had the correct label. Ranges are the middle 80 % of the images of "
        f"a class.</p><table><thead><tr><th scope='col'>class</th><th scope='col'>score</th><th scope='col'>real</th>"
        f"<th scope='col'>generated</th></tr></thead><tbody>{table}</tbody></table></details>"
        if len(scores) > 1
        else ""
    )
    sentence = f"Score <b>{value:.2f}</b> {escape(named)}: {escape(_verdict(value, known))}"
    return _result(
        "",
        f'<div class="scored">{_img(image, "The image as the discriminator receives it", "judged")}'
        f'<div><p class="verdict">{sentence}</p>{body}</div></div>{details}',
    )


def _verdict(value: float, known: dict[str, list[float]]) -> str:
    real, generated = known.get("real"), known.get("generated")
    if not real or not generated:
        return "this model has no measured ranges to compare with."
    in_real, in_generated = real[0] <= value <= real[2], generated[0] <= value <= generated[2]
    if in_real and in_generated:
        return "typical of real and of generated images of this class."
    if in_real:
        return "typical of real images of this class."
    if in_generated:
        return "typical of generated images of this class."
    if value > max(real[2], generated[2]):
        return "higher than most real and generated images of this class."
    if value < min(real[0], generated[0]):
        return "lower than most real and generated images of this class."
    return "between most generated and most real images of this class."


def _bar(value: float, known: dict[str, list[float]]) -> str:
    """Ranges of real and generated images on one scale, and the place of this image."""
    real, generated = known["real"], known["generated"]
    low, high = min(value, real[0], generated[0]), max(value, real[2], generated[2])
    room = 0.08 * (high - low) or 1.0
    low, high = low - room, high + room

    def place(x: float) -> float:
        return 100 * (x - low) / (high - low)

    spans = "".join(
        f'<div class="span {kind}" style="left: {place(q[0]):.2f}%; width: {place(q[2]) - place(q[0]):.2f}%"></div>'
        for kind, q in (("generated", generated), ("real", real))
    )
    at = place(value)
    text = (
        f"Generated images of this class score {generated[0]:.1f} to {generated[2]:.1f}, real ones {real[0]:.1f} to "
        f"{real[2]:.1f}, this image {value:.2f}"
    )
    return (
        f'<div class="bar" role="img" aria-label="{text}"><div class="track">{spans}'
        f'<div class="mark" style="left: {at:.2f}%"></div></div>'
        f'<div class="key"><span><i class="generated"></i>generated images: {_span(generated)}</span>'
        f'<span><i class="real"></i>real images: {_span(real)}</span>'
        f'<span><i class="this"></i>this image: {value:.2f}</span>'
        "</div></div>"
    )


def _no_range(model: str) -> str:
    if models.is_on_hub(model):
        return "<p>The publisher of this model has not measured the ranges of real and generated images.</p>"
    own = model in models.OWN  # its name is the page's own, and the page shows no paths
    command = CALIBRATE if own else CALIBRATE.replace("MODEL", model)
    note = "<p>MODEL is what follows <code>--model</code> in the command that started the page.</p>" if own else ""
    return (
        "<p>To measure the ranges of real and generated images, run this command with images that were not used in "
        f"training, and then score the image again:</p><pre>{escape(command)}</pre>{note}"
    )


def _span(quantiles: list[float] | None) -> str:
    return "-" if not quantiles else f"{quantiles[0]:.1f} to {quantiles[2]:.1f}"
