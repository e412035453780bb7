"""Compares rejection and Langevin sampling with plain sampling, at 2,000 samples: ``python benchmarks/refining.py``

Both included pairs are calibrated by ``sngan probe --calibrate`` on the test images of their sources, and compared with
2,000 test images, with classes in turn. Inception computes in bfloat16.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sngan_hub import load_discriminator, load_generator  # noqa: E402
from sngan_hub.files import append_json, read_json_lines  # noqa: E402
from sngan_hub.hub.calibrations import load_calibration  # noqa: E402
from sngan_hub.metrics.inception import features  # noqa: E402
from sngan_hub.metrics.protocols import Evaluation, machine, made_on, versions  # noqa: E402
from sngan_hub.metrics.scores import fid, kid, mean_pairwise_distance  # noqa: E402
from sngan_hub.sampling import generate as sampling  # noqa: E402
from sngan_hub.sampling.refine import METHODS, maker  # noqa: E402

N, BATCH = 2000, 50
PAIRS = (("sngan_fashion32", "fashion"), ("sngan_avatars32", "avatars"))
RECORD = ROOT / "benchmarks" / "records" / "refining.jsonl"  # recorded measurements are not repeated


def measure(
    name: str, source: str, n: int = N, precision: str = "bf16", done: Sequence[tuple[str, str]] = ()
) -> Iterator[dict[str, Any]]:
    """One row for each sampling method that is not ``done``."""
    plain, d, calibration = load_generator(name), load_discriminator(name), load_calibration(name)
    g = plain.for_sampling()
    e = Evaluation(g, source, precision=precision)
    k = g.n_classes
    real = e.real_features("test", n)
    apart = [mean_pairwise_distance(real[c::k]) for c in range(k)]
    for method in (None, *METHODS):
        if (name, method or "plain") in done:
            continue
        make = (
            maker(method, plain if method == "ddls" else g, d, calibration)
            if method
            else lambda z, y, seed, start: g(z, y)
        )
        size = min(BATCH, n)
        batches = (
            (sampling.latents(0, first, size, g.z_dim)[0], torch.arange(first, first + size) % k, 0, first)
            for first in tqdm(range(0, n, size), method or "plain", leave=False, disable=None)
        )
        images = [drawn for drawn, _ in sampling.generate(g, batches, make)]
        drawn = features(e.inception, images, n, "samples", precision)
        spread = np.mean([mean_pairwise_distance(drawn[c::k]) / apart[c] for c in range(k)])
        yield {"model": name, "sampling": method or "plain", "fid": round(fid(drawn, real), 1),
               "kid": round(kid(drawn, real), 4), "diversity": round(float(spread), 2), "machine": machine(),
               "versions": versions()}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="one pair, 20 samples in float32, nothing recorded")
    if parser.parse_args().smoke:
        for row in measure(*PAIRS[0], n=20, precision="fp32"):
            print(row, flush=True)
        return
    for name, source in PAIRS:
        for row in measure(name, source, done=[(row["model"], row["sampling"]) for row in read_json_lines(RECORD)]):
            print(row, flush=True)
            append_json(RECORD, row)
    rows = read_json_lines(RECORD)
    lines = ["| model | sampling | FID | KID | diversity |", "|---|---|---|---|---|"]
    lines += [f"| `{row['model']}` | {row['sampling']} | {row['fid']:.1f} | {row['kid']:.4f} | {row['diversity']:.2f} |"
              for row in rows]  # fmt: skip
    lines += ["", f"{N:,} samples, seed 0, against {N:,} test images, Inception in bfloat16; {made_on(rows)}."]
    RECORD.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
