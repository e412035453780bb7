"""The page: choose a model and classes, get pictures. Run it with ``python space/app.py`` or ``make demo``.

No user's state is kept in the process: a visit's pictures live in that visit's own outputs.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a Space carries sngan_hub/ beside app.py

import gradio as gr
import torch
from PIL.Image import Image
from sngan_hub import WEIGHTS, AnyGenerator, labelled_grid, load_generator, save_png
from sngan_hub.sampling import check_request, class_names, random_seed_from_system, to_pil

NAMES = sorted({record.architecture for record in WEIGHTS.values() if record.folder})
MAX_PICTURES = 64

INTRO = """# sngan-hub
Small pictures by class from GANs with **spectral normalisation** and a **projection discriminator**
(Miyato et al. 2018, Miyato & Koyama 2018), trained on two CPU cores and sampled right here.
"""

# Captions below small pictures hide half of them at Gradio's size; and eight columns must shrink to a phone's width.
CSS = """
.grid-container {
  grid-template-columns: repeat(auto-fill, minmax(76px, 1fr)) !important;
  grid-template-rows: none !important; grid-auto-rows: auto !important;
}
.grid-container > * { aspect-ratio: 1; height: auto !important; }
.grid-container .caption-label { font-size: 10px; padding: 0 4px; line-height: 14px; right: 0; bottom: 0; }
.grid-container img { image-rendering: pixelated; }
"""


@cache
def generator(name: str) -> AnyGenerator:
    return load_generator(name).for_sampling()


def sample(
    model: str, classes: list[str] | None, n: float | None, seed: str | float | None, truncation: float | None
) -> tuple[list[tuple[Image, str]], str, str, str]:
    """-> gallery of (picture, caption), the seed used, the PNG to download, one line about the request."""
    try:
        if model not in NAMES:
            raise ValueError(f"model: got {model!r}, legal are {', '.join(NAMES)}")
        seed = parse_seed(seed)
        if n is None or n != int(n):
            raise ValueError(f"n: got {n}, legal is a whole number from 1 to {MAX_PICTURES}")
        truncation = None if truncation in (None, 0) else float(truncation)  # type: ignore[arg-type]
        check_request(int(n), seed, truncation)
        network = generator(model)
        names = class_names(network)
        chosen = list(classes or names)
        if int(n) * len(chosen) > MAX_PICTURES * 4:
            raise ValueError(f"n: {int(n)} of each of {len(chosen)} classes is {int(n) * len(chosen)} pictures, "
                             f"legal is up to {MAX_PICTURES * 4} in all")  # fmt: skip
        start = time.perf_counter()
        images = network.sample(chosen, int(n), seed, truncation)
        seconds = time.perf_counter() - start
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error
    size = images.shape[-1]
    captions = [name for name in chosen for _ in range(int(n))]
    enlarged = torch.nn.functional.interpolate(images.float(), scale_factor=4, mode="nearest").to(torch.uint8)
    gallery = [(to_pil(image), caption) for image, caption in zip(enlarged, captions, strict=True)]
    path = Path(tempfile.mkdtemp(dir=downloads())) / f"{model}-{seed}.png"
    about = {"model": model, "seed": seed, "truncation": truncation, "classes": ", ".join(chosen)}
    save_png(labelled_grid(images, int(n), chosen), path, about)
    said = f"{len(images)} pictures of {size} x {size} px in {seconds:.2f} s on the CPU; seed {seed}"
    return gallery, str(seed), str(path), said


def parse_seed(seed: str | float | None) -> int:
    """The seed box's text -> a seed; empty draws one."""
    if seed is None or str(seed).strip() == "":
        return random_seed_from_system()
    try:
        return int(str(seed).strip())
    except ValueError:
        raise ValueError(
            f"seed: got {seed!r}, legal is a whole number from 0 to 2^63 - 1, or empty for a new one"
        ) from None


def downloads() -> Path:
    folder = Path(os.environ.get("GRADIO_TEMP_DIR", Path(tempfile.gettempdir()) / "gradio")) / "sngan_hub"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def class_choices(model: str) -> dict:
    return gr.update(choices=class_names(generator(model)), value=[])


def page() -> gr.Blocks:
    with gr.Blocks(title="sngan-hub", delete_cache=(3600, 3600)) as blocks:
        gr.Markdown(INTRO)
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                model = gr.Dropdown(NAMES, value=NAMES[0], label="Model")
                classes = gr.Dropdown(
                    class_names(generator(NAMES[0])), multiselect=True, filterable=True, label="Classes",
                    info="Type to search; leave empty for all of them",
                    allow_custom_value=True,  # choices follow the model in the page alone; sample() checks names itself
                )  # fmt: skip
                n = gr.Slider(1, MAX_PICTURES, 8, step=1, label="Pictures of each class")
                with gr.Row(equal_height=True):
                    seed = gr.Textbox(label="Seed", placeholder="empty: a new one", scale=3)
                    dice = gr.Button("⚄ New seed", scale=1, min_width=110)
                truncation = gr.Slider(
                    0, 3, 0, step=0.1, label="Truncation",
                    info="0: off. Lower values draw latents nearer the centre: more typical, less varied pictures",
                )  # fmt: skip
                go = gr.Button("Sample", variant="primary")
            with gr.Column(scale=2, min_width=320):
                gallery = gr.Gallery(label="Pictures", show_label=False, columns=8, height="auto", format="png")
                said = gr.Textbox(label="What you see", interactive=False)
                download = gr.DownloadButton("Download as one PNG", interactive=True)
        inputs, outputs = [model, classes, n, seed, truncation], [gallery, seed, download, said]
        gr.Examples(
            [[NAMES[0], [], 4, "1", 0], [NAMES[-1], class_names(generator(NAMES[-1]))[:3], 8, "7", 0.8]],
            inputs, outputs, sample, cache_examples=False, run_on_click=True, label="Try these",
        )  # fmt: skip
        model.input(class_choices, model, classes, api_visibility="private")
        dice.click(lambda: str(random_seed_from_system()), None, seed, api_visibility="private").then(
            sample, inputs, outputs, api_visibility="private"
        )
        go.click(sample, inputs, outputs, api_name="sample")
    return blocks.queue(max_size=32, default_concurrency_limit=2)


if __name__ == "__main__":
    page().launch(theme=gr.themes.Default(), css=CSS, allowed_paths=[str(downloads())])
