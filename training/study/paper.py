"""What the SN paper reports: Miyato et al. 2018, Table 2 (CIFAR-10), Figures 1 to 4 and the figure of times."""

from __future__ import annotations

from typing import NamedTuple

#: FID on CIFAR-10, 5,000 samples against 10,000 test images, each method in its best setting after 100,000 updates of G
FID_CIFAR10 = {
    "weight_clipping": 42.6, "gan_gp": 37.7, "wgan_gp": 40.2, "batch_norm": 56.3, "layer_norm": 33.9,
    "weight_norm": 34.7, "orthonormal": 29.0, "spectral_norm": 29.3,
}  # fmt: skip


class Figure(NamedTuple):
    title: str
    text: str  # below the title: what the paper reports


FIGURES = {
    "settings": Figure(
        "Scores by optimiser setting (Figures 1 and 2)",
        "The paper: spectral normalisation scores well in nearly all settings. WGAN-GP and weight normalisation fail "
        "at high learning rates or momentum (D, E, F). Orthonormal regularisation fails in setting E on STL-10 only.",
    ),
    "spectrum": Figure(
        "Singular values of the discriminator (Figure 3)",
        "The paper: with weight clipping and weight normalisation, few singular values are large in the first five "
        "layers. With spectral normalisation, many are.",
    ),
    "width": Figure(
        "Width of the last feature map (Figure 4)",
        "The paper: in setting C on STL-10, scores of orthonormal regularisation fall as the last feature map of D "
        "gets wider; those of spectral normalisation do not.",
    ),
    "time": Figure(
        "Time of an update, relative to weight normalisation",
        "The paper: on CIFAR-10, spectral normalisation takes about 1.1 to 1.2 times as long as weight normalisation. "
        "WGAN-GP takes much longer, because it differentiates a gradient.",
    ),
    "samples": Figure("Samples", "Eight samples of each method in each setting, with the same latent vectors."),
}
