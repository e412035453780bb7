"""The page of a study: tables and figures from results.jsonl and times.json, each beside what the paper reports."""

from __future__ import annotations

import json
import math
import shlex
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from sngan_hub.files import write_text
from sngan_hub.metrics.protocols import made_on

from ..config.presets import METHODS, SETTINGS
from .paper import FID_CIFAR10, FIGURES
from .plan import WIDTH_METHODS, WIDTH_SETTING
from .run import SAMPLES, TIMES, cell_of, read_results, read_study, read_times
from .timing import Seconds

PAGE, NOTES, BASE = "study.md", "notes.json", "weight_norm"  # times are compared with BASE
RUNS = "runs"  # a remark on all runs, above the sections
Rows = list[dict[str, Any]]


def write_page(folder: Path, out: Path | None = None) -> Path:
    """Writes ``study.md`` and its figures from the results of ``folder`` to ``out`` (default: the folder itself).

    ``notes.json`` in ``folder``, if it exists, has remarks: on the runs (runs), and for the sections settings,
    spectrum, width, time and samples.
    """
    rows = read_results(folder)
    if not rows:
        raise FileNotFoundError(f"{folder} holds no results of a study; make one: sngan study --out {folder}")
    out = out or folder
    out.mkdir(parents=True, exist_ok=True)
    study = read_study(folder)
    notes = json.loads((folder / NOTES).read_text(encoding="utf-8")) if (folder / NOTES).is_file() else {}
    if unknown := set(notes) - {RUNS, *FIGURES}:
        legal = ", ".join([RUNS, *FIGURES])
        raise ValueError(f"{folder / NOTES}: unknown {', '.join(sorted(unknown))}; known are {legal}")
    seconds = read_times(folder)
    plain = [row for row in rows if row["width"] == 1]
    parts = [
        "# Comparison of normalisation methods",
        f"Runs of the preset `{study['preset']}` with methods and optimiser settings of Miyato et al. 2018. "
        + what_ran(rows, study),
        *([notes[RUNS]] if RUNS in notes else []),
        "The settings of all runs; `--methods`, `--settings` and `--seeds` name the runs:",
        f"```sh\n{command_of(study)}\n```",
    ]
    sections: list[tuple[str, list[str], Callable[[Path], None] | None]] = [
        ("settings", settings_table(plain), lambda path: draw_settings(plain, path)),
        ("spectrum", [], (lambda path: draw_spectra(plain, path)) if any(map(has_spectrum, plain)) else None),
        ("width", width_table(rows), (lambda path: draw_widths(rows, path)) if has_widths(rows) else None),
        ("time", time_table(seconds, folder), (lambda path: draw_times(seconds, path)) if BASE in seconds else None),
        ("samples", [], (lambda path: draw_samples(plain, folder, path)) if strips(plain, folder) else None),
    ]
    for name, table, draw in sections:
        title, text = FIGURES[name]
        parts += [f"## {title}", text]
        if name in notes:
            parts.append(f"This study: {notes[name]}")
        if table:
            parts.append("\n".join(table))
        if draw:
            draw(out / f"study-{name}.png")
            parts.append(f"![{title}](study-{name}.png)")
        elif not table:
            parts.append("Not part of this study.")
    write_text(out / PAGE, "\n\n".join(parts) + "\n")
    return out / PAGE


def command_of(study: dict[str, Any]) -> str:
    """The command of a study with these settings, at most 120 characters a line."""
    words = [f"sngan study --preset {study['preset']}"]
    for name, value in {**study["fields"], "samples": study["samples"]}.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        words.append(f"--{name.replace('_', '-')} {shlex.quote(text)}")
    lines = [words[0]]
    for word in [*words[1:], "--out STUDY"]:
        if len(lines[-1]) + len(word) > 117:
            lines[-1] += " \\"
            lines.append("  " + word)
        else:
            lines[-1] += f" {word}"
    return "\n".join(lines)


def what_ran(rows: Rows, study: dict[str, Any]) -> str:
    steps = sorted({row["steps"] for row in rows})
    of = ", ".join(f"{key} `{value}`" for key, value in study["fields"].items() if key in ("generator_fields",
                   "discriminator_fields", "batch_size", "precision"))  # fmt: skip
    evaluator = next((row["evaluator"] for row in rows if "evaluator" in row), "")
    floors = [row["fid_floor"] for row in rows if row.get("fid_floor") is not None]
    floor = f" Training images instead of samples: FID {statistics.mean(floors):.1f}." if floors else ""
    return (f"{len(rows)} runs of {', '.join(f'{n:,}' for n in steps)} updates of G{f'; {of}' if of else ''}. Scores: "
            f"{evaluator}.{floor} {made_on(rows)}.")  # fmt: skip


def scores(rows: Rows, method: str, setting: str) -> tuple[list[float], int]:
    """The FIDs of a method in a setting, and the number of runs that diverged."""
    own = [row for row in rows if (row["method"], row["setting"]) == (method, setting)]
    return [row["fid"] for row in own if row["fid"] is not None], sum(row["fid"] is None for row in own)


def known(rows: Rows) -> tuple[list[str], list[str]]:
    """Methods and settings of the results, in the paper's order."""
    return ([name for name in METHODS if any(row["method"] == name for row in rows)],
            [name for name in SETTINGS if any(row["setting"] == name for row in rows)])  # fmt: skip


def as_cell(values: list[float], diverged: int) -> str:
    """The mean FID, its range over seeds, and the number of runs that diverged."""
    spread = f" ({min(values):.1f} to {max(values):.1f}, {len(values)} seeds)" if len(values) > 1 else ""
    text = f"{statistics.mean(values):.1f}{spread}" if values else ""
    return "; ".join(filter(None, [text, f"{diverged} diverged" if diverged else ""])) or "not run"


def settings_table(rows: Rows) -> list[str]:
    methods, settings = known(rows)
    lines = ["| method | " + " | ".join(f"FID, {name}" for name in settings) + " | best here | paper, best, CIFAR-10 |",
             "|---" * (3 + len(settings)) + "|"]  # fmt: skip
    for method in methods:
        cells, means = [], []
        for setting in settings:
            values, diverged = scores(rows, method, setting)
            if values:
                means.append(statistics.mean(values))
            cells.append(as_cell(values, diverged))
        best = f"{min(means):.1f}" if means else "diverged"
        stated = f"{FID_CIFAR10[method]}" if method in FID_CIFAR10 else "not reported"
        lines.append(f"| `{method}` | " + " | ".join([*cells, best, stated]) + " |")
    columns = ["lr_g", "beta1", "beta2", "n_dis"]
    stated = "; ".join(f"{name}: {', '.join(f'{SETTINGS[name][c]:g}' for c in columns)}" for name in settings)
    return [*lines, "", f"Settings (learning rate, beta1, beta2, D steps for each G step): {stated}."]


def has_spectrum(row: dict[str, Any]) -> bool:
    return bool(row.get("spectrum")) and math.isfinite(row["fid"])


def has_widths(rows: Rows) -> bool:
    return any(row["width"] != 1 for row in rows)


def widths_of(rows: Rows, method: str) -> dict[float, tuple[list[float], int]]:
    """For each width, the FIDs and the number of runs that diverged."""
    own = [row for row in rows if row["setting"] == WIDTH_SETTING]
    made = sorted({row["width"] for row in own if row["method"] == method})
    return {width: scores([row for row in own if row["width"] == width], method, WIDTH_SETTING) for width in made}


def width_table(rows: Rows) -> list[str]:
    if not has_widths(rows):
        return []
    every = sorted({width for method in WIDTH_METHODS for width in widths_of(rows, method)})
    lines = ["| method | " + " | ".join(f"FID, width x {width:g}" for width in every) + " |",
             "|---" * (1 + len(every)) + "|"]  # fmt: skip
    for method in WIDTH_METHODS:
        own = widths_of(rows, method)
        cells = [as_cell(*own.get(width, ([], 0))) for width in every]
        lines.append(f"| `{method}` | " + " | ".join(cells) + " |")
    return lines


def time_table(seconds: dict[str, Seconds], folder: Path) -> list[str]:
    if BASE not in seconds:
        return []
    base = seconds[BASE].median
    lines = ["| method | seconds per iteration, median (least to most) | time relative to `weight_norm` |",
             "|---|---|---|"]  # fmt: skip
    for method, row in sorted(seconds.items(), key=lambda item: item[1].median):
        lines.append(f"| `{method}` | {row.median:.3f} ({row.least:.3f} to {row.most:.3f}) | {row.median / base:.2f} |")
    times = json.loads((folder / TIMES).read_text(encoding="utf-8"))
    return [*lines, "", f"{times['rounds']} iterations of each method, in turns. {made_on([times])}."]


# ---------------------------------------------------------------------------------------------------------------------
# Figures


def figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(f"{error}; figures need pip install 'sngan-hub[plots]'") from error
    return Figure((width, height), layout="constrained")


def colour(method: str) -> str:
    """The same in all figures."""
    return f"C{list(METHODS).index(method)}"


def draw_settings(rows: Rows, path: Path) -> None:
    """FID by setting: a line of points for each method; runs that diverged are crosses at the top."""
    methods, settings = known(rows)
    plot = figure(1.3 * len(settings) + 4, 4)
    axes = plot.subplots()
    top = max([row["fid"] for row in rows if row["fid"] is not None], default=1.0) * 1.08
    for i, method in enumerate(methods):
        place = [k + (i - (len(methods) - 1) / 2) * 0.07 for k in range(len(settings))]
        for x, setting in zip(place, settings, strict=True):
            values, diverged = scores(rows, method, setting)
            label = method if setting == settings[0] else None
            axes.plot([x] * len(values), values, "o", markersize=5, color=colour(method), alpha=0.8, label=label)
            axes.plot([x] * diverged, [top] * diverged, "x", markersize=6, color=colour(method))
    axes.set_xticks(range(len(settings)), settings)
    axes.set_xlabel("optimiser setting (crosses: the run diverged)")
    axes.set_ylabel("FID")
    axes.set_ylim(0, top * 1.03)
    axes.spines[["top", "right"]].set_visible(False)
    plot.legend(loc="outside right center", frameon=False)
    plot.savefig(path, dpi=110)


def draw_spectra(rows: Rows, path: Path) -> None:
    """Squared singular values over the largest: a panel per layer, a line per method, in the method's best setting."""
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        if has_spectrum(row) and row["fid"] < best.get(row["method"], {"fid": float("inf")})["fid"]:
            best[row["method"]] = row
    best = {method: best[method] for method in METHODS if method in best}
    layers = list(next(iter(best.values()))["spectrum"])
    columns = min(4, len(layers))
    plot = figure(2.6 * columns + 1.8, 2.1 * -(-len(layers) // columns))
    panels = list(plot.subplots(-(-len(layers) // columns), columns, squeeze=False, sharey=True).flat)
    for axes in panels[len(layers) :]:
        axes.set_visible(False)
    for axes, layer in zip(panels, layers, strict=False):
        for method, row in best.items():
            values = row["spectrum"].get(layer, [])
            rank = [k / max(len(values) - 1, 1) for k in range(len(values))]
            axes.plot(rank, values, color=colour(method), label=method)
        axes.set_title(layer, fontsize=9)
        axes.set_ylim(0, 1.05)
        axes.tick_params(labelsize=7)
    handles, labels = plot.axes[0].get_legend_handles_labels()
    plot.legend(handles, labels, loc="outside right center", frameon=False, fontsize=8)
    plot.supxlabel("rank, over the number of singular values", fontsize=9)
    plot.supylabel("squared singular value, largest = 1", fontsize=9)
    plot.savefig(path, dpi=110)


def draw_widths(rows: Rows, path: Path) -> None:
    plot = figure(5, 3.4)
    axes = plot.subplots()
    for method in WIDTH_METHODS:
        own = {width: values for width, (values, _) in widths_of(rows, method).items() if values}
        axes.plot(list(own), [statistics.mean(values) for values in own.values()], marker="o", label=method)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("channels of D's last feature map, over the architecture's")
    axes.set_ylabel("FID")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    plot.savefig(path, dpi=110)


def strips(rows: Rows, folder: Path) -> dict[tuple[str, str], Path]:
    """The samples of every method in every setting, of one seed, which has the same latent vectors: the first."""
    made = {cell_of(row): folder / SAMPLES / f"{cell_of(row).name}.png" for row in rows}
    made = {cell: path for cell, path in made.items() if path.is_file()}
    first = min((cell.seed for cell in made), default=0)
    return {(cell.method, cell.setting): path for cell, path in made.items() if cell.seed == first}


def draw_samples(rows: Rows, folder: Path, path: Path) -> None:
    """A row per method, a column per setting. Empty where a run diverged or was not made."""
    methods, settings = known(rows)
    found = {key: Image.open(strip).convert("RGB") for key, strip in strips(rows, folder).items()}
    width, height = next(iter(found.values())).size
    sheet = Image.new("RGB", (width * len(settings), height * len(methods)), "white")
    for (method, setting), strip in found.items():
        sheet.paste(strip, (width * settings.index(setting), height * methods.index(method)))
    plot = figure(sheet.width / 100 + 2, sheet.height / 100 + 0.5)
    axes = plot.subplots()
    axes.imshow(sheet, interpolation="nearest")
    axes.set_xticks([width * (k + 0.5) for k in range(len(settings))], settings)
    axes.set_yticks([height * (k + 0.5) for k in range(len(methods))], methods)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    plot.savefig(path, dpi=110)


def draw_times(seconds: dict[str, Seconds], path: Path) -> None:
    base = seconds[BASE].median
    ordered = sorted(seconds.items(), key=lambda item: item[1].median)
    plot = figure(5.5, 0.32 * len(ordered) + 1)
    axes = plot.subplots()
    axes.barh([name for name, _ in ordered], [row.median / base for _, row in ordered], color="C0")
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_xlabel("seconds per iteration, relative to weight normalisation")
    axes.spines[["top", "right"]].set_visible(False)
    plot.savefig(path, dpi=110)
