"""Prepares the random numbers and images of each iteration in background threads, and copies them to the GPU."""

from __future__ import annotations

import math
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sngan_hub.data import Images

from .augment import augment_draws
from .draws import dequantised, draw_dequantisation, latents, penalty_points, real_pixels
from .philox import uniform
from .streams import Stream, draws

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ..config.schema import Config
    from ..engine.state import State


class Real(NamedTuple):
    """The real images of one D step, as ``Feed`` returns them."""

    pixels: Tensor  # (N, 3, S, S) uint8; float if dequantisation is None
    dequantisation: Tensor | None  # its noise, (N, 3, S, S) float32 in [0, 1)
    labels: Tensor  # (N,) int64

    def images(self, part: slice = slice(None)) -> Tensor:
        """(n, 3, S, S) float32 in [-1, 1): the images ``part``, computed on the device of the pixels."""
        if self.dequantisation is None:
            return self.pixels[part]
        return dequantised(self.pixels[part], self.dequantisation[part])


class Fake(NamedTuple):
    """The inputs of G for one batch."""

    z: Tensor  # (N, z_dim) float32
    labels: Tensor | None  # (N,) int64; None if G is unconditional


Draws = list[Tensor]  # random numbers (k, N, ...) of each augmentation of one batch, see augment.py


class Iteration(NamedTuple):
    """This process's share of the random numbers and images of one iteration, on its device.

    The lists have an element for each D step.
    """

    real: list[Real]
    fake_g: Fake  # of the G step
    fake_d: list[Fake]
    augment_g: Draws  # of the fakes of the G step
    augment_real: list[Draws]
    augment_fake: list[Draws]
    points: list[Tensor]  # ``penalty_points`` (N,); empty without a gradient penalty


class SideStream:
    """Copies to one CUDA device on a separate stream.

    The feed's threads call ``host`` and ``send``; the thread that computes calls ``receive``.
    """

    def __init__(self, device: torch.device):
        self.device, self.stream = device, torch.cuda.Stream(device)

    def host(self, size: int) -> Tensor:
        """``size`` bytes of pinned memory. Torch reuses it only after the copy from it has ended."""
        with torch.cuda.stream(self.stream):  # the current device is set per thread
            return torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def send(self, host: Tensor) -> tuple[Tensor, Any]:
        """Starts the copy. Returns its target, and an event that marks its end on the stream."""
        with torch.cuda.stream(self.stream):
            there = host.to(self.device, non_blocking=True)
            return there, self.stream.record_event()

    def receive(self, sent: tuple[Tensor, Any]) -> Tensor:
        """The target, for use on the caller's current stream, which waits for the copy; the host does not wait."""
        there, end = sent
        current = torch.cuda.current_stream(self.device)
        current.wait_event(end)
        there.record_stream(current)  # allocated on the side stream: not to be reused before this stream is done
        return there


class InPlace:
    """The counterpart of ``SideStream`` on the CPU: no copy is needed."""

    def host(self, size: int) -> Tensor:
        return torch.empty(size, dtype=torch.uint8)

    def send(self, host: Tensor) -> Tensor:
        return host

    def receive(self, sent: Tensor) -> Tensor:
        return sent


class Feed:
    """Prepares ``Iteration`` number ``step`` of a run and copies it to ``device``, in threads, in advance.

    Every number is a function of (seed, step, index in the global batch). Therefore nothing is saved, steps can be
    requested in any order, and process ``process`` of ``processes`` generates only its consecutive share. ``size``:
    of the network's images. ``z_dim`` 0: no latents. ``ahead``: number of iterations that are kept ready, each of
    ``self.bytes`` bytes. ``dequantisation_on_device``: generate the dequantisation noise, which is most of the threads'
    work and four fifths of the bytes, on the device when it is used; the numbers are the same.
    """

    def __init__(
        self,
        data: Images,
        config: Config,
        size: int,
        z_dim: int = 0,
        n_classes: int = 0,
        process: int = 0,
        processes: int = 1,
        device: torch.device | str = "cpu",
        ahead: int = 3,
        threads: int = 0,  # 0: chosen automatically
        dequantisation_on_device: bool = False,
        compiled: bool = False,  # integers for the dequantisation on the device
    ):
        self.data, self.config, self.size, self.ahead = data, config, size, ahead
        self.z_dim, self.n_classes, self.compiled = z_dim, n_classes, compiled
        own, own_g = config.batch_size // processes, config.g_batch_size // processes
        self.own, self.own_g = (slice(n * process, n * (process + 1)) for n in (own, own_g))
        fields = _fields(config, size, z_dim, n_classes, own, own_g)
        self.dequantisation_on_device, self.dequantisation_shape = dequantisation_on_device, fields["dequantisation"][0]
        if dequantisation_on_device:
            del fields["dequantisation"]  # drawn there, not copied
        self.layout, self.bytes = _layout(fields)
        self.device = device = torch.device(device)
        self.copies = SideStream(device) if device.type == "cuda" else InPlace()
        self.pool = ThreadPoolExecutor(max_workers=threads or max(1, min(ahead, os.cpu_count() or 1)))
        self.coming: dict[int, Future] = {}
        if dequantisation_on_device:
            self._check_dequantisation()
        self.waited = 0.0  # total time in seconds that ``iteration`` has waited for the threads

    def iteration(self, step: int) -> Iteration:
        stop = max(step + 1, min(step + self.ahead + 1, self.config.steps))
        for s in range(step, stop):
            if s not in self.coming:
                self.coming[s] = self.pool.submit(self._prepare, s)
        start = time.perf_counter()
        sent = self.coming.pop(step).result()
        self.waited += time.perf_counter() - start
        self.coming = {s: future for s, future in self.coming.items() if s > step}
        views = _views(self.copies.receive(sent), self.layout)
        if self.dequantisation_on_device:
            views["dequantisation"] = self._dequantisation(step)
        return self._iteration(views)

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)

    def _prepare(self, step: int) -> Any:
        host = self.copies.host(self.bytes)
        self._fill({name: view.numpy() for name, view in _views(host, self.layout).items()}, step)
        return self.copies.send(host)

    def _fill(self, out: dict[str, np.ndarray], step: int) -> None:
        """Writes all random numbers and images of an iteration to the arrays of ``_fields``."""
        c, names = self.config, self.config.augmentations()

        def size_and_share(batch: str) -> tuple[int, slice]:
            return (c.g_batch_size, self.own_g) if batch == "g" else (c.batch_size, self.own)

        def draw_fakes(batch: str, i: int, part: int) -> None:
            total, own = size_and_share(batch)
            z, y = latents(c.seed, step, part, total, self.z_dim, self.n_classes)
            out[f"z_{batch}"][i] = z[own]
            if y is not None:
                out[f"y_{batch}"][i] = y[own]

        def draw_augmentation(batch: str, i: int, part: int) -> None:
            total, own = size_and_share(batch)
            drawn = augment_draws(names, c.seed, step, part, total, self.size, c.noise_at(step), c.augment_from)
            for k, values in enumerate(drawn):
                out[f"augment_{batch}_{k}"][i] = values[:, own]

        draw_fakes("g", 0, part=0)
        draw_augmentation("g", 0, part=0)
        for i in range(c.n_dis):
            position = step * c.n_dis + i
            out["pixels"][i], out["labels"][i] = real_pixels(
                self.data, c.seed, position, c.batch_size, c.flip, c.crop, self.size, c.contrast_stretch, self.own
            )
            if "dequantisation" in out:
                draw_dequantisation(c.seed, position, self.own.start, out["dequantisation"][i])
            if "points" in out:
                out["points"][i] = penalty_points(c.seed, step, i, c.batch_size)[self.own]
            draw_fakes("d", i, part=i + 1)
            draw_augmentation("real", i, part=2 * i + 1)
            draw_augmentation("fake", i, part=2 * i + 2)

    def _dequantisation(self, step: int) -> Tensor:
        """``draw_dequantisation`` of every D step, on the device."""
        n, own, *of_image = self.dequantisation_shape
        positions = torch.arange(step * n, (step + 1) * n, device=self.device)
        first, count = self.own.start * math.prod(of_image), own * math.prod(of_image)
        key = self.config.seed, Stream.DEQUANTISATION
        return uniform(key, positions, first, count, compiled=self.compiled).view(self.dequantisation_shape)

    def _check_dequantisation(self) -> None:
        """Raises ``RuntimeError`` if the device generates other numbers than NumPy."""
        key = self.config.seed, Stream.DEQUANTISATION
        drawn = draws(*key, 0).random(4096, dtype=np.float32)
        there = uniform(key, torch.zeros(1, dtype=torch.int64, device=self.device), 0, 4096)
        if not np.array_equal(there[0].cpu().numpy(), drawn):
            raise RuntimeError(
                f"{self.device} does not generate the same numbers as NumPy; use dequantisation_on_device=False"
            )

    def _iteration(self, of: dict[str, Tensor]) -> Iteration:
        n_dis, names = self.config.n_dis, self.config.augmentations()

        def fakes(batch: str, steps: int) -> list[Fake]:
            y = of.get(f"y_{batch}", [None] * steps)
            return [Fake(of[f"z_{batch}"][i], y[i]) for i in range(steps)]

        def augmentation(batch: str, steps: int) -> list[Draws]:
            return [[of[f"augment_{batch}_{k}"][i] for k in range(len(names))] for i in range(steps)]

        return Iteration(
            real=[Real(*values) for values in zip(of["pixels"], of["dequantisation"], of["labels"], strict=True)],
            fake_g=fakes("g", 1)[0],
            fake_d=fakes("d", n_dis),
            augment_g=augmentation("g", 1)[0],
            augment_real=augmentation("real", n_dis),
            augment_fake=augmentation("fake", n_dis),
            points=list(of["points"]) if "points" in of else [],
        )


def new_feed(data: Images, config: Config, state: State, accelerator: Accelerator) -> Feed:
    """The feed of this process's share of a run. A GPU draws the dequantisation if its numbers equal NumPy's."""
    g, device = state.generator, accelerator.device
    of = (data, config, g.size, g.z_dim, g.n_classes, accelerator.process_index, accelerator.num_processes, device)
    if device.type == "cuda":
        try:
            return Feed(*of, dequantisation_on_device=True, compiled=config.compiles)
        except RuntimeError:  # the numbers differ: generate them with NumPy
            pass
    return Feed(*of)


def empty_iteration(config: Config, size: int, z_dim: int, n_classes: int, processes: int = 1) -> Iteration:
    """The shapes of one process's random numbers and images, without values, to count operations."""
    feed = Feed(None, config, size, z_dim, n_classes, 0, processes)  # type: ignore[arg-type]  # asked for no images
    return feed._iteration(_views(torch.empty(feed.bytes, dtype=torch.uint8), feed.layout))


Fields = dict[str, tuple[tuple[int, ...], torch.dtype]]


def _fields(config: Config, size: int, z_dim: int, n_classes: int, own: int, own_g: int) -> Fields:
    """Name, shape and dtype of the data of an iteration, for ``own`` images of a D step and ``own_g`` of a G step."""
    n = config.n_dis
    fields: Fields = {
        "pixels": ((n, own, 3, size, size), torch.uint8),
        "dequantisation": ((n, own, 3, size, size), torch.float32),
        "labels": ((n, own), torch.int64),
    }
    if config.penalty == "gradient":
        fields["points"] = ((n, own), torch.float32)
    for batch, steps, count in (("g", 1, own_g), ("d", n, own)):
        fields[f"z_{batch}"] = ((steps, count, z_dim), torch.float32)
        if n_classes:
            fields[f"y_{batch}"] = ((steps, count), torch.int64)
    for batch, steps, count in (("g", 1, own_g), ("real", n, own), ("fake", n, own)):
        for k, values in enumerate(augment_draws(config.augmentations(), 0, 0, 0, count, size)):
            fields[f"augment_{batch}_{k}"] = ((steps, *values.shape), torch.from_numpy(values).dtype)
    return fields


class Span(NamedTuple):
    start: int  # in bytes
    stop: int
    shape: tuple[int, ...]
    dtype: torch.dtype


def _layout(fields: Fields) -> tuple[dict[str, Span], int]:
    """The offset of each field in one buffer, and the size of the buffer, so that one copy transfers all fields."""
    layout, end = {}, 0
    for name, (shape, dtype) in fields.items():
        start = -(-end // 256) * 256  # aligned for every dtype and for vector loads
        end = start + math.prod(shape) * dtype.itemsize
        layout[name] = Span(start, end, shape, dtype)
    return layout, end


def _views(buffer: Tensor, layout: dict[str, Span]) -> dict[str, Tensor]:
    return {name: buffer[s.start : s.stop].view(s.dtype).view(s.shape) for name, s in layout.items()}
