"""Full-size files with random weights in the layouts of mmgeneration and the authors."""

from __future__ import annotations

from pathlib import Path

from sngan_hub import create_discriminator, create_generator

from . import foreign


def mmgen_imagenet(folder: Path) -> Path:
    """326 MB: G 42.0 M, D 39.4 M parameters."""
    g = foreign.randomise(create_generator("sngan_imagenet128", bn_eps=1e-4))
    d = create_discriminator("sngan_imagenet128", hidden="out", sn_eval="stored")
    name = "sngan_proj_imagenet1k_128_woReLUinplace_fid.pth"
    return foreign.mmgen_file(folder / name, g, foreign.randomise(d))


def authors_imagenet(folder: Path) -> tuple[Path, Path]:
    g = foreign.randomise(create_generator("sngan_imagenet128"))
    d = foreign.randomise(create_discriminator("sngan_imagenet128"))
    return (foreign.chainer_file(folder / "ResNetGenerator_850000.npz", g),
            foreign.chainer_file(folder / "SNResNetProjectionDiscriminator_850000.npz", d))  # fmt: skip
