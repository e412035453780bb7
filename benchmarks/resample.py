"""Times each resampling layer of the MODELS table, plain and fused: writes sngan_hub/layers/resample_table.json.

For each shape, both forms are timed alternately in one run: forward and backward in training, including the computation
of the fused kernel, medians of ``REPEATS``. ``fused`` states whether the fused form is faster. Batches of 8, and of 64
for networks of up to 64 px. Rows of the same device, unit (``cpu-amx``: bfloat16 on AMX), precision and batch are
replaced in the table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch

from sngan_hub.layers.normalizers import Conv2d
from sngan_hub.layers.resample import BATCHES, Resampling, conv_down, layer_key, up_conv
from sngan_hub.metrics.protocols import machine
from sngan_hub.networks.registry import MODELS

TABLE = Path(__file__).parent.parent / "sngan_hub" / "layers" / "resample_table.json"
REPEATS = 3
LARGE_BATCH_UP_TO = 64  # px: larger networks train in micro-batches


def shapes() -> set[tuple[str, int, int, int, int]]:
    """(kind, channels in, channels out, side of the input, batch) of every resampling layer of every architecture."""
    from sngan_hub.networks.registry import create_discriminator, create_generator

    found = set()
    with torch.device("meta"):
        for name in MODELS:
            g, d = create_generator(name), create_discriminator(name)
            batches = BATCHES if d.size <= LARGE_BATCH_UP_TO else BATCHES[:1]
            for i, block in enumerate(getattr(g, "blocks", [])):
                if not isinstance(block, Resampling):  # other blocks, which have a single form
                    break
                layer = "up", block.c1.in_channels, block.c1.out_channels, g.bottom_width * 2**i
                found |= {(*layer, batch) for batch in batches}
            side = d.size
            for block in getattr(d, "blocks", []):
                if isinstance(block, Resampling) and block.down:
                    layer = "down", block.c2.in_channels, block.c2.out_channels, side
                    found |= {(*layer, batch) for batch in batches}
                    side //= 2
    return found


def seconds(kind: str, x: torch.Tensor, conv: Conv2d, form: str) -> float:
    if x.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    y = up_conv(x, conv, form=form) if kind == "up" else conv_down(x, conv, form=form)
    torch.autograd.grad(y.sum(), (x, conv.weight))
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure_layer(layer: tuple[str, int, int, int, int], dtype: torch.dtype, device: str) -> tuple[str, dict]:
    """The key and the row of the table for a layer of ``shapes``."""
    kind, c_in, c_out, side, batch = layer
    x = torch.randn(batch, c_in, side, side, device=device).to(memory_format=torch.channels_last).requires_grad_()
    conv = Conv2d(c_in, c_out, 3, padding=1).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    times: dict[str, list[float]] = {"plain": [], "fused": []}
    with torch.autocast(device, dtype, enabled=dtype != torch.float32):
        for repeat in range(REPEATS + 1):
            for form, taken in times.items():
                value = seconds(kind, x, conv, form)
                if repeat:
                    taken.append(value)
    plain, fused = (statistics.median(taken) * 1e3 for taken in times.values())
    key = layer_key(*layer[:4], dtype, device, batch)
    print(f"{key:44} plain {plain:8.2f} ms  fused {fused:8.2f} ms  {plain / fused:.2f}x", file=sys.stderr)
    return key, {"fused": fused < plain, "plain_ms": round(plain, 2), "fused_ms": round(fused, 2)}


def write_table(layers: dict[str, dict], path: Path = TABLE) -> None:
    """Replaces the rows of the same layers, device, unit, precision and batch in the table."""
    old = json.loads(path.read_text(encoding="utf-8"))["layers"] if path.is_file() else {}
    layers = old | layers
    about = (
        f"benchmarks/resample.py: forward + backward, channels-last, median of {REPEATS}; "
        f"last run on {machine()}, torch {torch.__version__}"
    )
    rows = ",\n".join(f"  {json.dumps(key)}: {json.dumps(row)}" for key, row in sorted(layers.items()))
    path.write_text(f'{{"about": {json.dumps(about)},\n "layers": {{\n{rows}\n }}}}\n', encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="the smallest layer of each kind; nothing is recorded")
    parser.add_argument("--record", action="store_true", help="write the table from which networks choose their form")
    arguments = parser.parse_args()
    smoke = arguments.smoke
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtypes = torch.float32, torch.bfloat16
    layers = sorted(shapes())
    if smoke:
        layers = [
            min((own for own in layers if own[0] == kind), key=lambda own: own[1] * own[2]) for kind in ("down", "up")
        ]
    found = dict(measure_layer(layer, dtype, device) for layer in layers for dtype in dtypes)
    if arguments.record and not smoke:
        write_table(found)
    else:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
