"""Records the updates of one iteration as a CUDA graph and replays them (``--compile graphs`` and ``graphs_only``).

An iteration launches about a thousand kernels. For small networks, launching them takes the host longer than running
them takes the GPU; a graph is launched in one call. It repeats the same kernels on the same addresses with the same
constants. Values that differ between iterations (random numbers, images, learning rates) are copied into tensors that
it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

Values = dict[str, Tensor]
WARM_UP = 3  # iterations before recording, in which steps are compiled and cuDNN selects algorithms


class RecordedUpdates:
    """Computes the first iterations directly, records one, and replays it for the others.

    ``update(drawn)`` makes one update by each of ``optimizers``, in this order, and returns values on the device. All
    tensors that it reads or writes must keep their addresses between calls, except those in ``drawn``.
    """

    def __init__(self, update: Callable[[Any], Values], optimizers: Sequence[Any], device: torch.device):
        self.update, self.optimizers, self.device = update, optimizers, device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.replay: Callable[[], Values] | None = None
        self.done = 0

    def __call__(self, drawn: Any) -> Values:
        """One iteration. The returned values are valid until the next call."""
        if self.replay is None and self.done < WARM_UP:
            self.done += 1
            return self._beside(lambda: self.update(drawn))
        rates = [rate for optimizer in self.optimizers for rate in optimizer.next_rates()]
        on_host = torch.tensor(rates, pin_memory=self.device.type == "cuda")
        if self.replay is None:
            self.inputs, self.rates = mapped(drawn, torch.clone), on_host.to(self.device)
            self.replay = self.record(self._body)
        else:
            for own, new in zip(tensors(self.inputs), tensors(drawn), strict=True):
                own.copy_(new)
            self.rates.copy_(on_host, non_blocking=True)
        return self.replay()

    def record(self, body: Callable[[], Values]) -> Callable[[], Values]:
        """Records ``body`` and returns a function that replays it. Recording runs no kernel."""
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(self.device)
        # thread_local: the feed's threads continue to copy during recording
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            values = body()

        def replay() -> Values:
            graph.replay()
            return values

        return replay

    def _body(self) -> Values:
        left = list(self.rates.unbind())
        for optimizer in self.optimizers:
            optimizer.planned.append([left.pop(0) for _ in optimizer.counted])
        return self.update(self.inputs)

    def _beside(self, act: Callable[[], Values]) -> Values:
        """On the stream that the graph is recorded on, so that autograd's nodes do not remember another one."""
        if self.stream is None:
            return act()
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            values = act()
        current.wait_stream(self.stream)
        return values


def tensors(of: Any) -> Iterator[Tensor]:
    """Every tensor in tuples and lists, in order."""
    if isinstance(of, Tensor):
        yield of
    elif isinstance(of, (tuple, list)):
        for part in of:
            yield from tensors(part)


def mapped(of: Any, act: Callable[[Tensor], Tensor]) -> Any:
    """The same tuples and lists with ``act`` applied to every tensor."""
    if isinstance(of, Tensor):
        return act(of)
    if isinstance(of, tuple) and hasattr(of, "_fields"):
        return type(of)(*(mapped(part, act) for part in of))
    return type(of)(mapped(part, act) for part in of) if isinstance(of, (tuple, list)) else of
