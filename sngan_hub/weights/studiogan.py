"""StudioGAN's SNGAN runs on the Hub: a file per network, both of the same step, all at one commit.

The files contain Adam's state, 12 bytes for each parameter in all; conversion keeps the network's tensors only. A hash
that is absent here was not found; the Hub states one at download, which is then compared.
"""

from __future__ import annotations

from typing import Any

from ..class_names import class_list
from .published_model import PublishedModel

REPO = "Mingguksky/PyTorch-StudioGAN"
COMMIT = "7297a41ca14de2b5016e79d6deacf9d10f5144d4"
ROOT = "studiogan_official_ckpt"
_READ = f"https://huggingface.co/{REPO}: copies of its README and file pages, commit {COMMIT[:7]}"
_CIFAR10, _IMAGENET = class_list("cifar10"), class_list("imagenet")
_MB = 1_000_000

# fmt: off
_TAILORED = [  # name, run, step, data, classes, parameters and MB of G and D, sha256 of G and D
    ("sngan_imagenet128.studio", "ImageNet_tailored/ImageNet-SNGAN-256-train-2022_03_06_03_53_44", 472_000, "ImageNet (ILSVRC 2012)", _IMAGENET, (41_996_931, 39_443_137), (504, 474),
     "8e7e8049a357ae597938988300333b4a482e06a6c7e4a2bf4ee26b21733b7ca2", "8dfd3fe8e0243fc212d30acce0fd21504eed0d8c8b2965a6d4bbf04764e37145"),
    ("sngan_cifar10.studio", "CIFAR10_tailored/CIFAR10-SNGAN-train-2022_03_06_02_24_46", 88_000, "CIFAR-10", _CIFAR10, (4_304_387, 1_055_105), (51.7, 12.7), "", ""),
]
_SUBSETS = [  # name, run, step, sha256 of G and D: 100 classes of ImageNet, 64 px
    ("sngan_babyimagenet64.studio_0309_0316", "Baby_ImageNet_tailored/Baby_ImageNet-SNGAN-train-2022_03_09_03_16_06", 100_000,
     "39408017c351e55cd742fa5636df402108eab089613339319b2439405c89b869", "da2b4bebff0624712461a06f0d5ed4125385fe8bfb94bd01ff6518dd938a6fed"),
    ("sngan_papaimagenet64.studio_0308_0319", "Papa_ImageNet_tailored/Papa_ImageNet-SNGAN-train-2022_03_08_03_19_50", 100_000,
     "04a164dfc92b031b05fdb0c58cc0ab5969eaa31fc493babdaf6cb68e4b18cce8", "e96c196bb82ed49bb8e6c11eb1716839ba5f9258243575af00d31a0e5d889864"),
    ("sngan_papaimagenet64.studio_0308_2213", "Papa_ImageNet_tailored/Papa_ImageNet-SNGAN-train-2022_03_08_22_13_02", 94_000,
     "", "223ba96abfe2611f8b1f85f7cfc4afb18a20d592574935df86292995f8732ff6"),
    ("sngan_grandpaimagenet64.studio_0306_1019", "Grandpa_ImageNet_tailored/Grandpa_ImageNet-SNGAN-train-2022_03_06_10_19_17", 88_000,
     "82459af98c00e043d93a2e3c7155740a336111e4b88b1366ac938f04999bd797", "99b0a2357ac18dc6552543efcf609200c669029e30dabcb1ac1a9293f1c1f759"),
    ("sngan_grandpaimagenet64.studio_0306_1149", "Grandpa_ImageNet_tailored/Grandpa_ImageNet-SNGAN-train-2022_03_06_11_49_19", 74_000,
     "32774f6e1ec68960ed46c7acbd6466b0a7d9a6e2b09a35b43a41864535f6709c", "2db949fa8dce33b249d9a8a3f79c8ceeddbffe9a628d524f0f946176c344ee35"),
]
_EFFICIENT = [  # percent of CIFAR-10's training images, method, time of the run, step, sha256 of G and D
    (100, "DiffAug",       "2022_02_26_03_56_11", 164_000, "1d0b65d314f9845c6c1d83d1c52e7be21221c20f68e078b441f072af1a538a2a", ""),
    (100, "ADA",           "2022_02_11_01_06_35", 168_000, "f757d8c1ca95e3405c2ae2f28812bda6e594db873d5ac14dbb0781646b13b7cd", "00da32c2ae181e6220a896c6a836f44485c10672584aa9f1091d89051b68b01d"),
    (100, "APA",           "2022_02_11_01_04_17", 186_000, "2adc5d760e37de245ac183e38d912e420be8366c91ed2ec74d40cb2d962f3ae1", "040e93930126603e1a26560dba3e73e05570722e1d9f75317d5291d03c257cfc"),
    (100, "LeCam",         "2022_02_11_01_06_35", 176_000, "6cc623b49e607f4f16933e23b516d3b37d169c338a017f567d96cd21e6cdc80e", "4ada83ada91852031453930e469bb3219da7c2125f25581cb1940948612fcd8a"),
    (100, "DiffAug-LeCam", "2022_02_11_07_34_06", 176_000, "e25b43bf71290d11db1994c0fc91e3c38b8b3c1072ede035556f7705f0b4b022", "00840ae31f090ac79e94dc4673ca7ebdf32c28a7c64fd6ddb50ab1d685660add"),
    (30,  "",              "2022_02_15_02_25_07",  58_000, "", ""),
    (30,  "DiffAug",       "2022_02_15_02_20_27", 144_000, "", ""),
    (30,  "ADA",           "2022_02_15_09_58_10", 136_000, "", ""),
    (30,  "APA",           "2022_02_15_02_28_27",  48_000, "95975233b831d183193fb987aed9b0af54172562d5fc4109a9fe347e7eac9890", "1e7adb6a28033fc69e9e551d29d9760b9f345215b0e1c8e7d0643f01cee76fa7"),
    (30,  "LeCam",         "2022_02_15_02_17_07", 108_000, "a9bbeefb1edf385475e8238392b45abf68c36ce389248a570ad628e6a2d5ef87", ""),
    (30,  "DiffAug-LeCam", "2022_02_15_05_09_52", 148_000, "9c13cae6beb503495ff072bc9f5529123c54c5811425f60ece7e5f98a30f2fd4", ""),
    (10,  "",              "2022_02_12_20_25_30",  16_000, "704c066bb5f24587941f7e121d20b1cb5667821281ae42614c694fcce6e02deb", ""),
    (10,  "DiffAug",       "2022_02_12_20_23_32",  56_000, "", ""),
    (10,  "ADA",           "2022_02_13_09_28_17", 112_000, "", ""),
    (10,  "APA",           "2022_02_12_20_23_37",  12_000, "", "7bdc911900e51e4056f121f22b1b90cc747629833c7d6c8022a6d8720a1e22e7"),
    (10,  "LeCam",         "2022_02_13_09_27_56",  26_000, "8790859e5b89f40aeda870d0eeefd909f1c90ba15d15a239eb53d0d4a02325e8", "4285306462d3b9cd7f452e1c05932363c3931e9ca80fa0a06fc4b3e80e548243"),
    (10,  "DiffAug-LeCam", "2022_02_13_09_28_21", 122_000, "679ef887870d31f146f680b675e72ba82315c2c32bf2f6c033201d6c85bbb0aa", "30d3342f1fe0d85813372ca3fe1912b1956283e643e2fcb34fe7810799e615eb"),
]
# fmt: on


def studiogan() -> list[PublishedModel]:
    """StudioGAN's rows."""
    rows = [
        _row(name, run, step, data, classes, parameters, megabytes, hashes)
        for name, run, step, data, classes, parameters, megabytes, *hashes in _TAILORED
    ]
    for name, run, step, *hashes in _SUBSETS:
        subset = run.split("_ImageNet")[0]
        rows.append(_row(name, run, step, f"{subset}-ImageNet: 100 classes of ImageNet, 64 px", (),
                         (12_790_915, 19_645_121), (154, 236), hashes,
                         about="; its list of classes was not found: classes are given by index, 0 to 99"))  # fmt: skip
    for percent, method, run, step, *hashes in _EFFICIENT:
        data = "CIFAR10" if percent == 100 else f"CIFAR10_{percent}p"
        path = f"Efficient-CIFAR10-{percent}%/{data}-SNGAN-{method}{'-' if method else ''}train-{run}"
        tag = f"studio_{percent}" + (f"_{method.lower().replace('-', '_')}" if method else "")
        rows.append(_row(f"sngan_cifar10.{tag}", path, step, f"CIFAR-10, {percent} % of its training images", _CIFAR10,
                         (4_304_387, 1_055_105), (56.1, 12.7), hashes,
                         recipe={"percent of the training images": percent, "method": method or "none"},
                         read_on="2026-11-26"))  # fmt: skip
    return rows


def _row(
    name: str, run: str, step: int, data: str, classes: tuple[str, ...], parameters: tuple[int, int],
    megabytes: tuple[float, float], hashes: list[str], recipe: dict[str, Any] | None = None, about: str = "",
    read_on: str = "2026-11-24",
) -> PublishedModel:  # fmt: skip
    kinds = ("generator", "discriminator")
    files = {kind: f"model={kind[0].upper()}-best-weights-step={step}.pth" for kind in kinds}
    return PublishedModel(
        name, "StudioGAN", "MIT", data, f"Trained by StudioGAN in 2022, its best snapshot by FID{about}", classes,
        {"step": step, "flip": True, "adam_eps": 1e-6, **(recipe or {})}, {},
        dict(zip(kinds, parameters, strict=True)), files, _READ, read_on,
        repo=REPO, repo_folder=f"{ROOT}/{run}", revision=COMMIT,
        sha256={kind: sha256 for kind, sha256 in zip(kinds, hashes, strict=True) if sha256},
        sizes={kind: round(size * _MB) for kind, size in zip(kinds, megabytes, strict=True)},
    )  # fmt: skip
