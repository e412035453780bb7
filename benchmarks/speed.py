"""Seconds of G128's forward, by form: plain, channels-last, for_sampling() in float32 and bfloat16. One JSON line.

Batches 1 and 8, eval mode, no gradients. The forms alternate in one run; two warm-ups, median of five.
``conv_rate`` is what a large 3x3 convolution reaches in the same run, in GFLOP/s, and ``of_conv_rate`` how much of that
for_sampling() in float32 reaches, counted on the FLOPs of the form that runs: its kernels', once folded and fused.
Without native bfloat16, that form is omitted. ``--smoke``: a small 32-px network, one
warm-up and two repeats, in seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

from sngan_hub import AnyGenerator, create_generator
from sngan_hub.metrics.protocols import machine, versions
from sngan_hub.networks.inference import FrozenConv, fast_bfloat16

BATCHES = (1, 8)


def count_flops(fast: AnyGenerator, z: torch.Tensor, y: torch.Tensor) -> int:
    """FLOPs of one call: its convolutions', in the form that runs, and its dense layer's. Elementwise work counts 0."""
    counted = [2 * len(z) * fast.l1.weight.numel()]  # type: ignore[union-attr,operator,arg-type]
    hooks = [
        module.register_forward_hook(lambda own, given, _: counted.append(own.flops(len(given[0]), given[0].shape[-1])))
        for module in fast.modules()
        if isinstance(module, FrozenConv)
    ]
    fast(z, y)
    for hook in hooks:
        hook.remove()
    return sum(counted)


def alternate(
    contestants: dict[str, Callable[[], object]], warm_ups: int, repeats: int, device: str
) -> dict[str, list[float]]:
    """Seconds of each call after the warm-ups; every round calls each form once."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for repeat in range(warm_ups + repeats):
        for name, call in contestants.items():
            start = time.perf_counter()
            call()
            if device == "cuda":
                torch.cuda.synchronize()
            if repeat >= warm_ups:
                times[name].append(time.perf_counter() - start)
    return times


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true")
    smoke = parser.parse_args().smoke
    name, warm_ups, repeats = ("sngan_fashion32", 1, 2) if smoke else ("sngan_imagenet128", 2, 5)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    g = create_generator(name).eval().to(device)
    g.set_resampling("plain")
    forms: dict[str, AnyGenerator] = {
        "plain": g,
        "plain, channels-last": create_generator(name).eval().to(device, memory_format=torch.channels_last),  # type: ignore[call-overload]
        "for_sampling()": g.for_sampling(),
    }
    forms["plain, channels-last"].set_resampling("plain")
    if fast_bfloat16(device):
        forms["for_sampling(bfloat16)"] = g.for_sampling(torch.bfloat16)
    side = 16 if smoke else 32
    x, w = (torch.randn(n, 256, k, k, device=device).contiguous(memory_format=torch.channels_last)
            for n, k in ((8, side), (256, 3)))  # fmt: skip
    median_s, range_s, of_conv_rate, rates = {}, {}, {}, []
    for batch in BATCHES:
        z, y = torch.randn(batch, g.z_dim, device=device), torch.arange(batch, device=device) % g.n_classes
        calls = {form: partial(network, z, y) for form, network in forms.items()}
        times = alternate({**calls, "conv": lambda: F.conv2d(x, w, padding=1)}, warm_ups, repeats, device)
        rate = 2 * len(x) * side**2 * w.numel() / statistics.median(times.pop("conv"))
        rates.append(round(rate / 1e9, 1))
        median_s[batch] = {form: round(statistics.median(taken), 4) for form, taken in times.items()}
        range_s[batch] = {form: round(max(taken) - min(taken), 4) for form, taken in times.items()}
        flops = count_flops(forms["for_sampling()"], z, y)
        of_conv_rate[batch] = round(flops / statistics.median(times["for_sampling()"]) / rate, 3)
    about = {"benchmark": "speed", "model": name, "n": repeats, "machine": machine(), **versions()}
    print(json.dumps({**about, "median_s": median_s, "range_s": range_s, "conv_rate": rates,
                      "of_conv_rate": of_conv_rate}))  # fmt: skip


if __name__ == "__main__":
    main()
