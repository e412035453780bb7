"""``sngan probe --calibrate``: fits D's scores to log density ratios, for rejection sampling and Langevin steps.

sngan_hub/sampling/refine.py applies the calibration.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sngan_hub.class_names import label_names, without_synsets
from sngan_hub.data import Images, load_images
from sngan_hub.hub.load import load_discriminator, load_generator
from sngan_hub.metrics.discriminator_scores import scores_of
from sngan_hub.networks.base import AnyDiscriminator
from sngan_hub.sampling.refine import Calibration, gamma_for
from sngan_hub.text import nearest

from .probe import PENALTIES, check_unseen, config_of_run, logistic

ACCEPTANCE = 0.25  # mean acceptance probability in rejection sampling
FEWEST = 20  # minimum number of held-out images for a calibration
FEWEST_OF_CLASS = 5  # minimum number of held-out images of a class for its range of scores
PER_CLASS = 200  # minimum number of generated images per class for finding the largest ratio


def calibrate(model: str, source: str, seed: int = 0, device: str = "cpu") -> Calibration:
    """Fits the logistic function on the held-out images of the source and as many generated images of each class.

    Then finds the largest ratio among generated images. Raises ``ValueError`` if the data cannot be used.
    """
    g, d = load_generator(model, device=device), load_discriminator(model, device=device)
    split = held_out_split(model, source)
    test = load_images(source, split, d.size, config_of_run(model).contrast_stretch, [])
    check_unseen(model, source, split, d.size)
    labels = labels_for(d, test)
    if len(labels) < FEWEST:
        raise ValueError(f"data must have {FEWEST} or more held-out images (got {len(labels)} in {source})")
    k = max(d.n_classes, 1)
    of_class = torch.from_numpy(np.bincount(labels, minlength=k))
    drawn = max(PER_CLASS, int(of_class.max()))
    real = scores_of(d, np.asarray(test.images))[torch.arange(len(labels)), torch.from_numpy(labels)]
    fast = g.for_sampling()
    pictures = (fast.sample([label] if d.n_classes else None, drawn, seed + label) for label in range(k))
    of_g = torch.stack([scores_of(d, images)[:, label] for label, images in enumerate(pictures)])  # (classes, drawn)
    fake = torch.cat([scores[:count] for scores, count in zip(of_g, of_class, strict=True)])
    x, y = torch.cat([fake, real]).double()[:, None], torch.arange(2).repeat_interleave(len(real))
    spread = x.std()
    found = logistic(x / spread, y, 2, PENALTIES[0])
    slope = float((found.weight[1] - found.weight[0]) / spread)
    if slope <= 0:
        raise ValueError(f"--from must be a discriminator that scores held-out images above generated ones (got a "
                         f"slope of {slope:.3g}); use another model")  # fmt: skip
    offset = float(found.bias[1] - found.bias[0])
    ratios = slope * of_g.double() + offset
    largest = ratios.max(1, keepdim=True).values
    gamma = [gamma_for(over, ACCEPTANCE) for over in ratios - largest]
    names = label_names(d) or ["score"]
    ranges = {
        name: {"real": percentiles(of_real), "generated": percentiles(of_g[label])}
        for label, name in enumerate(names)
        if len(of_real := real[torch.from_numpy(labels == label)]) >= FEWEST_OF_CLASS
    }
    return Calibration(slope, offset, largest[:, 0].tolist(), gamma, ACCEPTANCE, len(real), of_g.numel(), seed,
                       Path(source).name, ranges)  # fmt: skip


def labels_for(d: AnyDiscriminator, test: Images) -> np.ndarray:
    """The discriminator's label for each image. Raises ``ValueError`` if the images have other classes."""
    if d.n_classes > 1:
        known, given = without_synsets(label_names(d)), without_synsets(test.classes)
        if unknown := [name for name in given if name not in known]:
            raise ValueError(
                f"data must have the discriminator's classes only (got {unknown[0]!r}){nearest(unknown[0], known)}"
            )
        return np.array([known.index(name) for name in given])[test.labels]
    if d.n_classes and len(test.classes) > 1:  # a single class may have any name, as in training and evaluation
        more = ", ..." if len(test.classes) > 3 else ""
        raise ValueError(f"data must have one class, as the discriminator (got {len(test.classes)}: "
                         f"{', '.join(test.classes[:3])}{more})")  # fmt: skip
    return np.zeros(len(test.labels), np.int64)


def percentiles(scores: Tensor) -> list[float]:
    """The 10th, 50th and 90th percentile, as the page's Score tab shows them."""
    return [round(value, 4) for value in scores.float().quantile(torch.tensor([0.1, 0.5, 0.9])).tolist()]


def held_out_split(model: str, source: str) -> str:
    """The split of ``source`` that ``model`` was not trained on: all images of a run's ``held_out`` folder, otherwise
    every tenth image. Raises ``ValueError`` if a run was trained on all images of ``source``.
    """
    config = config_of_run(model)
    if config.test_folder and Path(config.test_folder).resolve() == Path(source).resolve():
        return "all"
    if config.data and config.split == "all" and Path(config.data).resolve() == Path(source).resolve():
        raise ValueError(f"data must not be training images (got {source}, and {model} was trained on all of it); name "
                         f"a folder of other images, of which every tenth is used")  # fmt: skip
    return "test"
