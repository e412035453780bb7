"""Seconds of G128's forward, by form: plain, channels-last, for_sampling() in float32 and bfloat16. One JSON line.

Batch 8, eval, no gradients; the contestants alternate in one run; two warm-ups, median of five.
"""

from __future__ import annotations

import json
import statistics
import time

import torch

from sngan_hub import create_generator
from sngan_hub.metrics.protocols import machine, versions


@torch.no_grad()
def main(name: str = "sngan_imagenet128", batch: int = 8) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    g = create_generator(name).eval().to(device)
    g.set_resampling("plain")
    forms = {
        "plain": g,
        "plain, channels-last": create_generator(name).eval().to(device, memory_format=torch.channels_last),  # type: ignore[call-overload]
        "for_sampling()": g.for_sampling(),
        "for_sampling(bfloat16)": g.for_sampling(torch.bfloat16),
    }
    forms["plain, channels-last"].set_resampling("plain")
    z, y = torch.randn(batch, g.z_dim, device=device), torch.zeros(batch, dtype=torch.int64, device=device)
    times: dict[str, list[float]] = {form: [] for form in forms}
    for repeat in range(7):
        for form, network in forms.items():
            start = time.perf_counter()
            network(z, y)
            if device == "cuda":
                torch.cuda.synchronize()
            if repeat >= 2:
                times[form].append(time.perf_counter() - start)
    seconds = {form: round(statistics.median(taken), 4) for form, taken in times.items()}
    spread = {form: round(max(taken) - min(taken), 4) for form, taken in times.items()}
    about = {"benchmark": "speed", "model": name, "batch": batch, "n": 5, "machine": machine(), **versions()}
    print(json.dumps({**about, "median_s": seconds, "range_s": spread}))


if __name__ == "__main__":
    main()
