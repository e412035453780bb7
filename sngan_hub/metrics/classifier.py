"""A small classifier of images: trained on real images, it checks whether a sample shows the requested class
(``agreement2k``); trained on samples and tested on real images, its accuracy is a score (``cas``)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import Images, cache_folder
from ..devices import to_channels_last
from ..files import write_atomically
from ..progress import Progress

EPOCHS, BATCH, RECIPE = 2, 128, "1"


class Classifier(NamedTuple):
    network: nn.Module
    accuracy: float  # on real test images
    name: str
    recall: tuple[float, ...] = ()  # accuracy on the test images of each class

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:  # (N, 3, S, S) uint8 -> (N,) int64
        device = next(self.network.parameters()).device
        parts = [self.network(_scale(batch.to(device))).argmax(1).cpu() for batch in images.split(500)]
        return torch.cat(parts)


def _scale(images: Tensor) -> Tensor:
    return (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def build(n_classes: int) -> nn.Module:
    """Three conv3x3-BN-relu-conv3x3-BN-relu-pool stages (32, 64, 128 channels), then a mean and a linear layer."""
    layers: list[nn.Module] = []
    c_in = 3
    for width in (32, 64, 128):
        for _ in range(2):
            layers += [nn.Conv2d(c_in, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            c_in = width
        layers.append(nn.MaxPool2d(2))
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, n_classes))
    to_channels_last(network)
    return network


def classifier(
    train: Images, test: Images, device: torch.device | str = "cpu", protocol: str = "agreement2k"
) -> Classifier:
    """Trains on ``train`` with shifts of up to two pixels and measures the accuracy on ``test``.

    The result is cached by the content of the data. ``device``: for training and prediction. Raises ``ValueError`` if
    there are fewer training images than the batch size; ``protocol`` is named in the message.
    """
    if len(train.images) < BATCH:
        raise ValueError(f"data: the classifier of {protocol} needs {BATCH} or more training images (got "
                         f"{len(train.images)}); add images, or use another protocol")  # fmt: skip
    path = cache_folder() / f"classifier-{train.sha256()[:16]}-r{RECIPE}.pt"
    network = build(len(train.classes))
    if path.is_file():
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        network.to(device)
    else:
        network = _fit(train, torch.device(device))
        path.parent.mkdir(parents=True, exist_ok=True)
        weights = {key: value.cpu() for key, value in network.state_dict().items()}
        write_atomically(path, lambda temporary: torch.save(weights, temporary))
    result = Classifier(network.eval(), 0.0, f"{sum(p.numel() for p in network.parameters()):,}-parameter CNN")
    labels = torch.from_numpy(test.labels)
    right = (result.predict(torch.from_numpy(np.array(test.images))) == labels).float()
    recall = tuple(float(right[labels == label].mean()) for label in range(len(test.classes)))
    return result._replace(accuracy=float(right.mean()), recall=recall)


def _fit(data: Images, device: torch.device) -> nn.Module:
    rng = np.random.Generator(np.random.Philox(key=[0, 0]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(len(data.classes)).train().to(device)
        steps = EPOCHS * (len(data.images) // BATCH)
        optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, max(steps, 2))
        order = np.concatenate([rng.permutation(len(data.images)) for _ in range(EPOCHS + 1)])
        with Progress(steps, "training the classifier", "steps") as progress:
            for step in range(steps):
                index = order[step * BATCH : (step + 1) * BATCH]
                x = _scale(torch.from_numpy(data.images[index]).to(device))
                dx, dy = (int(v) for v in rng.integers(-2, 3, 2))
                x = F.pad(x, (2, 2, 2, 2), mode="replicate")[
                    :, :, 2 + dy : 2 + dy + x.shape[2], 2 + dx : 2 + dx + x.shape[3]
                ]
                with torch.autocast(device.type, torch.bfloat16):
                    logits = network(x)
                loss = F.cross_entropy(
                    logits.float(), torch.from_numpy(data.labels[index]).to(device), label_smoothing=0.05
                )
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                progress.update(1)
    return network
