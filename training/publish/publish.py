"""``sngan publish RUN NAMESPACE/NAME``: prepares a run's networks for the Hub, with model cards and sample images."""

from __future__ import annotations

import shutil
from pathlib import Path

from sngan_hub.class_names import label_names
from sngan_hub.hub.cards import PICTURE, model_card
from sngan_hub.hub.load import load_generator
from sngan_hub.hub.push import CARD, networks_in
from sngan_hub.networks.mixin import CONFIG_NAME, SAFETENSORS_SINGLE_FILE
from sngan_hub.sampling.pictures import labelled_grid, save_png
from sngan_hub.sampling.refine import CALIBRATION

from ..engine.run_folder import check_has_snapshot
from ..monitor.log import shown_classes
from .record import run_records

ROWS = 8  # images per class


def stage(
    run: Path, repo: str, folder: Path, about: str = "", data: str = "", licence: str = ""
) -> list[tuple[Path, str]]:
    """Copies the files to upload to ``folder``. Returns the folder and the repository of each network."""
    check_has_snapshot(run)
    records = run_records(run, about, data, licence)
    repos = dict(zip(records, (repo, f"{repo}-discriminator"), strict=True))
    for kind, record in records.items():
        (folder / kind).mkdir(parents=True)
        for name in (CONFIG_NAME, SAFETENSORS_SINGLE_FILE, CALIBRATION):
            if (run / kind / name).is_file():
                shutil.copy(run / kind / name, folder / kind / name)
        save_picture(run, folder / kind / PICTURE)
        size = load_generator(run).size
        (folder / kind / CARD).write_text(model_card(record, repos, size, picture=True), encoding="utf-8")
    return list(networks_in(folder, repo))


def save_picture(run: Path, path: Path) -> None:
    """Saves a grid of up to ten classes, one row per class, with seed 0."""
    generator = load_generator(run).for_sampling()
    chosen = shown_classes(generator.n_classes) if generator.n_classes else None
    images = generator.sample(chosen, n=ROWS if chosen else ROWS**2, seed=0)
    labels = [label_names(generator)[label] for label in chosen] if chosen else None
    save_png(labelled_grid(images, ROWS, labels), path, {"model": run.name, "seed": 0})
