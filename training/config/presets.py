"""The presets, one row for each recipe: only what differs from the defaults of Config, and where its numbers come from."""

from __future__ import annotations

from typing import Any

# fmt: off
#: The SN paper's optimiser settings, Table 1
SETTINGS: dict[str, dict[str, Any]] = {
    "A": dict(lr_g=1e-4, lr_d=1e-4, beta1=0.5, beta2=0.9,   n_dis=5),  # Gulrajani et al. 2017
    "B": dict(lr_g=1e-4, lr_d=1e-4, beta1=0.5, beta2=0.999, n_dis=1),  # Warde-Farley & Bengio 2017
    "C": dict(lr_g=2e-4, lr_d=2e-4, beta1=0.5, beta2=0.999, n_dis=1),  # Radford et al. 2016
    "D": dict(lr_g=1e-3, lr_d=1e-3, beta1=0.5, beta2=0.9,   n_dis=5),
    "E": dict(lr_g=1e-3, lr_d=1e-3, beta1=0.5, beta2=0.999, n_dis=5),
    "F": dict(lr_g=1e-3, lr_d=1e-3, beta1=0.9, beta2=0.999, n_dis=5),
}

#: Methods that the SN paper compares, with the standard loss except for WGAN-GP. Clipping at 0.01 and lambda 10 are the
#: paper's values. It states no weight for the orthonormal penalty; 10 is this project's choice.
METHODS: dict[str, dict[str, Any]] = {
    "spectral_norm":   dict(discriminator_fields={"normalizer": "spectral"}),
    "spectral_gain":   dict(discriminator_fields={"normalizer": "spectral_gain"}),
    "weight_norm":     dict(discriminator_fields={"normalizer": "weight"}),
    "batch_norm":      dict(discriminator_fields={"normalizer": "batch"}),
    "layer_norm":      dict(discriminator_fields={"normalizer": "layer"}),
    "weight_clipping": dict(discriminator_fields={"normalizer": "none"}, clip=0.01),
    "gan_gp":          dict(discriminator_fields={"normalizer": "none"}, penalty="gradient", penalty_weight=10.0),
    "wgan_gp":         dict(discriminator_fields={"normalizer": "none"}, penalty="gradient", penalty_weight=10.0, loss="wasserstein"),
    "orthonormal":     dict(discriminator_fields={"normalizer": "none"}, penalty="orthonormal", penalty_weight=10.0),
    "none":            dict(discriminator_fields={"normalizer": "none"}),
}

#: The fastest settings for a kind of machine. They do not change the algorithm: with bfloat16, statistics, sigma, sums,
#: losses and Adam stay float32. Measurements: docs/speed.md.
SPEEDS: dict[str, dict[str, Any]] = {
    "gpu": dict(precision="bf16", channels_last=True),
    "cpu": dict(channels_last=True),
}

_OURS = dict(
    batch_size=64, g_batch_size=64, beta2=0.99, ema_decay=0.999, precision="bf16", channels_last=True,
    source="ours (docs/shipped-models.md)",
)


def _authors(name: str, steps: int, decay_from: int, d: int, g: int, processes: int = 1, **fields: Any) -> dict[str, Any]:
    """A configuration of pfnet-research/sngan_projection: ``d`` real images and ``g`` fakes on each of its processes."""
    groups = dict(bn_group_d=d, bn_group_g=g) if processes > 1 else {}
    return dict(source=f"configuration of sngan_projection: {name}", steps=steps, decay_from=decay_from, decay_to=steps,
                batch_size=d * processes, g_batch_size=g * processes, **groups, **fields)


def _dogcat(name: str, steps: int, decay_from: int, d: int, g: int, processes: int = 1, **fields: Any) -> dict[str, Any]:
    """The authors' dogs and cats: ImageNet's classes 151 to 293, random crops of 0.9 of the side, flips."""
    return _authors(name, steps, decay_from, d, g, processes, n_classes=143, crop=0.9, flip=True, stored_size=256,
                    contrast_stretch=True, **fields)


def _cnn(**fields: Any) -> dict[str, Any]:
    return dict(source="SN paper, standard CNN (setting C unless another is named)", conditioning="none", batch_size=64,
                g_batch_size=64, steps=100_000, decay_from=100_000, decay_to=100_000, loss="non_saturating",
                **SETTINGS["C"], **fields)


#: mimicry's README names the decay of each experiment: None, or Linear from the first step
LINEAR = dict(decay_from=0)


def _mimicry(steps: int = 100_000, n_dis: int = 5, **fields: Any) -> dict[str, Any]:
    return dict(source="mimicry's README and trainer defaults (the networks: authors')", conditioning="none",
                steps=steps, decay_from=steps, decay_to=steps, n_dis=n_dis, batch_size=64, g_batch_size=64, **fields)


PRESETS: dict[str, dict[str, Any]] = {
    "imagenet128_projection":      _authors("sn_projection", 450_000, 400_000, 16, 32, 4, architecture="sngan_imagenet128", n_classes=1000, contrast_stretch=True),
    "imagenet128_projection_850k": _authors("sn_projection, for the 850,000 iterations of the paper", 850_000, 800_000, 16, 32, 4, architecture="sngan_imagenet128", n_classes=1000, contrast_stretch=True),
    "imagenet128_concat":          _authors("sn_concat", 450_000, 400_000, 16, 32, 4, architecture="sngan_imagenet128", n_classes=1000, contrast_stretch=True, conditioning="concat"),
    "imagenet128_unconditional":   _mimicry(450_000, architecture="sngan_imagenet128_unconditional"),
    "imagenet64":                  _authors("sn_projection_64", 250_000, 200_000, 64, 64, architecture="sngan_imagenet64", n_classes=1000, contrast_stretch=True),
    "dogcat64":                    _dogcat("dog_and_cat_64", 250_000, 200_000, 64, 64, architecture="sngan_dogcat64"),
    "dogcat128":                   _dogcat("dog_and_cat, small networks", 450_000, 400_000, 16, 32, 4, architecture="sngan_dogcat128"),
    "dogcat256":                   _dogcat("dog_and_cat_256", 450_000, 400_000, 8, 16, architecture="sngan_dogcat256"),
    "cifar10":                     _authors("CIFAR-10, conditional", 50_000, 0, 64, 128, architecture="sngan_cifar10", n_classes=10),
    "cifar10_unconditional":       _authors("CIFAR-10, unconditional", 50_000, 0, 64, 128, architecture="sngan_cifar10_unconditional", conditioning="none"),
    "cifar100":                    _authors("CIFAR-10, conditional, with 100 classes (there is none for CIFAR-100)", 50_000, 0, 64, 128, architecture="sngan_cifar100", n_classes=100),
    "stl10":      dict(source="SN paper, appendix: ResNet on STL-10", architecture="sngan_stl10", conditioning="none", batch_size=64, g_batch_size=64, steps=100_000, decay_from=100_000, decay_to=100_000),
    "cnn_cifar10":                 _cnn(architecture="sngan_cnn_cifar10"),
    "cnn_stl10":                   _cnn(architecture="sngan_cnn_stl10"),
    "celeba64":   _mimicry(architecture="sngan_celeba64") | LINEAR,
    "celeba128":  _mimicry(n_dis=2, architecture="sngan_celeba128"),
    "lsun128":    _mimicry(n_dis=2, architecture="sngan_lsun128") | LINEAR,
    "finetune":   dict(architecture="sngan_fashion32", source="ours: fine-tuning", batch_size=64, g_batch_size=64, n_dis=1, lr_g=3e-4, lr_d=6e-4, beta2=0.99, ema_decay=0.998, steps=2_000, decay_from=0, decay_to=0, warm_up=100, channels_last=True, log_every=50, sample_every=500, snapshot_every=500, checkpoint_every=250),
    # ours: chosen by the runs that docs/experiments.md lists
    "fashion32":  dict(architecture="sngan_fashion32", data="fashion", augment="translation", n_dis=2, lr_g=4e-4, lr_d=8e-4, steps=9_600, decay_from=5_600, decay_to=9_600, **_OURS),
    "cifar10_small": dict(architecture="sngan_cifar10_small", n_classes=10, flip=True, n_dis=2, batch_size=128, g_batch_size=128, lr_g=4e-4, lr_d=8e-4, beta2=0.99, ema_decay=0.9995, steps=20_000, decay_from=20_000, decay_to=20_000, precision="bf16", channels_last=True, one_pass=True, source="ours (docs/shipped-models.md)"),
    "avatars32":  dict(architecture="sngan_avatars32", data="avatars", n_dis=1, lr_g=4e-4, lr_d=8e-4, penalty="r1", penalty_weight=10.0, penalty_every=8, steps=20_000, decay_from=11_000, decay_to=20_000, **_OURS),
}
# fmt: on
