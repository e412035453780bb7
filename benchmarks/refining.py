"""Rejection and Langevin sampling beside plain sampling, at 2,000 samples: ``python benchmarks/refining.py --record``

Both shipped pairs, calibrated by ``python -m training probe --calibrate`` on their sources' test images; scored against
2,000 test images, class by class in turn. Inception computes in bfloat16.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sngan_hub import load_discriminator, load_generator, sampling  # noqa: E402
from sngan_hub.hub import load_calibration  # noqa: E402
from sngan_hub.metrics.classifier import classifier  # noqa: E402
from sngan_hub.metrics.inception import features  # noqa: E402
from sngan_hub.metrics.protocols import Evaluation, machine, versions  # noqa: E402
from sngan_hub.metrics.scores import fid, kid, mean_pairwise_distance  # noqa: E402
from sngan_hub.refining import METHODS, maker  # noqa: E402

N = 2000
PAIRS = (("sngan_fashion32", "fashion"), ("sngan_avatars32", "avatars"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true")
    record = parser.parse_args().record
    lines = [
        "| model | sampling | FID | KID | agreement | diversity |",
        "|---|---|---|---|---|---|",
    ]
    for name, source in PAIRS:
        g, d, calibration = load_generator(name).for_sampling(), load_discriminator(name), load_calibration(name)
        e = Evaluation(g, source, precision="bf16")
        k, judge = g.n_classes, classifier(e.train, e.test)
        real = e.real_features("test", N)
        apart = [mean_pairwise_distance(real[c::k]) for c in range(k)]
        for method in (None, *METHODS):
            make = maker(method, g, d, calibration, None) if method else lambda z, y, seed, start, g=g: g(z, y)
            images = []
            with torch.no_grad():
                for first in tqdm(range(0, N, 50), method or "plain", leave=False):
                    z, _ = sampling.latents(0, first, 50, g.z_dim)
                    y = torch.arange(first, first + 50) % k
                    images.append(sampling.to_uint8(make(z, y, 0, first)))
            drawn = features(e.inception, images, N, "samples", "bf16")
            agreed = float((judge.predict(torch.cat(images)) == torch.arange(N) % k).float().mean())
            spread = np.mean([mean_pairwise_distance(drawn[c::k]) / apart[c] for c in range(k)])
            lines.append(f"| `{name}` | {method or 'plain'} | {fid(drawn, real):.1f} | {kid(drawn, real):.4f} | "
                         f"{agreed:.1%} | {spread:.2f} |")  # fmt: skip
            print(lines[-1], flush=True)
    made = ", ".join(f"{key} {value}" for key, value in versions().items())
    lines += ["", f"{N:,} samples, seed 0, against {N:,} test images, Inception in bfloat16; {machine()}; {made}."]
    if record:
        (ROOT / "benchmarks" / "records" / "refining.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
