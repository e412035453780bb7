"""mimicry's generators on a drive: SNGAN and cGAN-PD, and SSGAN and InfoMax-GAN, whose generators have SNGAN's layers.

SSGAN and InfoMax-GAN differ from SNGAN in their discriminators: SSGAN's has a second head that predicts rotations,
InfoMax-GAN's has projections of local and global features. One discriminator is published, of the 64-px CelebA SNGAN.
"""

from __future__ import annotations

from ..class_names import class_list
from .published_model import PublishedModel

_README = "https://github.com/kwotsin/mimicry: README"
_READ, _READ_MORE = f"{_README} at commit a7fda06", f"{_README} at commit 01680c9"
_CIFAR10, _CIFAR100, _IMAGENET = (class_list(name) for name in ("cifar10", "cifar100", "imagenet"))
#: Its discriminator: issue, drive id, parameters
_CELEBA64_DISCRIMINATOR = ("mimicry's issue 19", "1Hf0xMUjlO9pMi3GynagsXo6q2cPCjomi", 10_141_441)

# fmt: off
_SNGAN = [  # name, drive id, (IS, FID, KID as value and spread), data, classes, parameters, iterations, n_dis
    ("sngan_cifar10_unconditional.mimicry",    "16TxezS7VBTiuPdQdjDUM0-_rHXqyPrvr", (7.97, .06, 16.77, .04, .0125), "CIFAR-10", (), 4_276_739, 100_000, 5),
    ("sngan_cifar10.mimicry",                  "12nGJZjJyi-RJQFj98MlrSqhA_uST2_1n", (8.25, .13, 10.84, .03, .0070), "CIFAR-10", _CIFAR10, 4_304_387, 100_000, 5),
    ("sngan_cifar100_unconditional.mimicry",   "16XtxZd6ARXjfTBuOZml_FpR0WVaWkToA", (7.57, .11, 22.61, .06, .0156), "CIFAR-100", (), 4_276_739, 100_000, 5),
    ("sngan_cifar100.mimicry",                 "1wQY5IbqD_CcuVwpGZXfMdWxh7OZHrQxM", (8.92, .07, 14.16, .01, .0085), "CIFAR-100", _CIFAR100, 4_580_867, 100_000, 5),
    ("sngan_imagenet32_unconditional.mimicry", "1LF-tNfbVmHHw8onneOz3V5b-j2ff-Kh2", (8.97, .12, 23.04, .06, .0157), "ImageNet, 32 px", (), 4_276_739, 100_000, 5),
    ("sngan_imagenet32.mimicry",               "1gHduZDIP9QOr-YgkB3_4p4vU-gjCPnRH", (9.08, .17, 21.17, .05, .0145), "ImageNet, 32 px", _IMAGENET, 7_345_667, 100_000, 5),
    ("sngan_imagenet128_unconditional.mimicry", "1ZmjV9iMFgmthCgOKpMp8vKCIVQh_XPiR", (13.05, .05, 65.74, .31, .0663), "ImageNet, 128 px", (), 32_150_787, 450_000, 5),
    ("sngan_stl10.mimicry",                    "1tVRXDHgUTpBwfGh0RJvdjw2EUOGu-m-A", (8.04, .07, 39.56, .10, .0369), "STL-10, unlabelled, 48 px", (), 4_878_083, 100_000, 5),
    ("sngan_celeba64.mimicry",                 "1d9pYKKW9Hgi-ylOKwU0UM1ZsmUyD8Bpj", (2.68, .01, 5.71, .02, .0033), "CelebA, 64 px", (), 12_220_675, 100_000, 5),
    ("sngan_celeba128.mimicry",                "1rYnv2tCADbzljYlnc8Ypy-JTTipJlRyN", (2.72, .01, 12.93, .04, .0076), "CelebA, 128 px", (), 32_150_787, 100_000, 2),
    ("sngan_lsun128.mimicry",                  "1SrvdLM-5mUVYwEztY-6TVAdTKlNPUA7k", (2.30, .01, 25.87, .03, .0141), "LSUN bedrooms, 128 px", (), 32_150_787, 100_000, 2),
]
_OTHERS = [  # architecture, as in _SNGAN; SSGAN's drive id and scores; InfoMax-GAN's
    ("sngan_cifar10_unconditional",    "1sceT1tUPw2wRVqLcpg1EkWpz8Qa5j_fE", (8.17, .06, 14.65, .04, .0101), "15k7HmwcKBDL0wjpV4XG9AGs-7yzxuFKV", (8.08, .08, 15.12, .10, .0112)),
    ("sngan_cifar100_unconditional",   "1dkO0mf6S44tvrtqRYtTABmIlZQ0iCmNw", (7.56, .07, 22.18, .10, .0161), "1gkjytt_fdWIKsGOTHruahTQK-SuBds42", (7.86, .10, 18.94, .13, .0135)),
    ("sngan_imagenet32_unconditional", "1PzdCYzwg4lZ9r9tPf6I7XItoIu5lHhwy", (9.11, .12, 21.79, .09, .0152), "1aKtU9P9eccqSmPZrlMRy2eqmd0BJT0vo", (9.04, .10, 20.68, .02, .0149)),
    ("sngan_imagenet128_unconditional", "1LIqtrlRd2jOcrwLpzD_ztf7Dc2GZwH8g", (13.30, .03, 62.48, .31, .0616), "1kKfMddYe3gP0Y3xOhq0KD3GNjBwe_k9S", (13.68, .06, 58.91, .14, .0579)),
    ("sngan_stl10",                    "1TBeAhxvxJr3ykKwu4Wgw715D2fAslM-9", (8.25, .06, 37.06, .19, .0332), "1QHwyvaCqAKyXbkYYzHGNEsDWpBPn05oS", (8.54, .12, 35.52, .10, .0326)),
    ("sngan_celeba64",                 "1wM23g566VrHTJzC0F7X5MgxgcAzzhbLr", (2.67, .01, 6.03, .04, .0036), "1bvRvkOgZAuN89sVxfdNS16j6kAyKwN8z", (2.68, .01, 5.71, .06, .0033)),
    ("sngan_celeba128",                "1Gn4ouslRAHq3D7AP_V-T2x8Wi1S1hTXJ", (2.63, .01, 15.18, .10, .0101), "1C0jzZmx2uSUvBlQpAo3aRay1l8fB4McU", (2.84, .01, 9.50, .04, .0063)),
    ("sngan_lsun128",                  "1uSQHr0PMeCdpWAFPwbn-6YgZX0w0TApu", (2.12, .01, 12.02, .07, .0077), "1PNaYmzLb66D-JXdzVimZ-EiNjI7qAwu_", (2.22, .01, 12.13, .16, .0080)),
]
_REPRODUCTIONS = [  # of the papers' protocols on CIFAR-10: name, drive id, FID, protocol, fake images, parameters, classes
    ("sngan_cifar10_unconditional.mimicry_paper",         "1aLbds1EGFoWZZF2y1l8mvPCvnb7AGHh7", (23.90, .20), "mimicry_fid5k_test", 5_000, 4_276_739, ()),
    ("sngan_cifar10.mimicry_paper",                       "1v26E7mIk8PqIg5ldE-iQNMQ2AYQ36iGM", (17.84, .17), "mimicry_fid5k_test", 5_000, 4_304_387, _CIFAR10),
    ("sngan_cifar10_unconditional.mimicry_ssgan_paper",   "1lgOk4lC0-p4PoXvju9m5p0lOGoZDWELe", (17.61, .14), "mimicry_fid10k_10k", 10_000, 4_276_739, ()),
    ("sngan_cifar10_unconditional.mimicry_infomax_paper", "1hgoN6Nx59j_JuaCup2rBPC4koih9qZ1y", (17.14, .20), "mimicry_fid10k_50k", 10_000, 4_276_739, ()),
]
# fmt: on


def mimicry() -> list[PublishedModel]:
    """mimicry's rows."""
    rows: list[PublishedModel] = []
    sngan = {name.split(".")[0]: fields for name, *fields in _SNGAN if name.endswith(".mimicry")}
    for name, drive, scores, data, classes, parameters, iterations, n_dis in _SNGAN:
        rows.append(_row(name, drive, data, classes, parameters, iterations, n_dis, _three(scores)))
    for architecture, ssgan, ssgan_scores, infomax, infomax_scores in _OTHERS:
        _, _, data, classes, parameters, iterations, n_dis = sngan[architecture]
        for model, drive, scores in (("SSGAN", ssgan, ssgan_scores), ("InfoMax-GAN", infomax, infomax_scores)):
            tag = f"mimicry_{model.lower().removesuffix('-gan')}"
            rows.append(_row(f"{architecture}.{tag}", drive, data, classes, parameters, iterations, n_dis,
                             _three(scores), model, (_READ_MORE, "2026-11-26")))  # fmt: skip
    for name, drive, score, protocol, n, parameters, classes in _REPRODUCTIONS:
        model = "SSGAN" if "ssgan" in name else "InfoMax-GAN" if "infomax" in name else "SNGAN"
        read = (_READ, "2026-11-22") if model == "SNGAN" else (_READ_MORE, "2026-11-26")
        rows.append(
            _row(name, drive, "CIFAR-10", classes, parameters, 100_000, 5, {protocol: (*score, n)}, model, read)
        )
    return rows


def _three(scores: tuple[float, ...]) -> dict[str, tuple[float, float | None, int]]:
    return {"mimicry_is50k": (scores[0], scores[1], 50_000), "mimicry_fid50k": (scores[2], scores[3], 50_000),
            "mimicry_kid50k": (scores[4], None, 50_000)}  # fmt: skip


def _row(
    name: str, drive: str, data: str, classes: tuple[str, ...], parameters: int, iterations: int, n_dis: int,
    scores: dict[str, tuple[float, float | None, int]], model: str = "SNGAN", read: tuple[str, str] = (_READ, "2026-11-22"),
) -> PublishedModel:  # fmt: skip
    stated = {
        protocol: {"value": value, "spread": spread, "n": n, "evaluator": "mimicry: TensorFlow's Inception (2015)", "stated_by": "mimicry"}
        for protocol, (value, spread, n) in scores.items()
    }  # fmt: skip
    recipe = {
        "model": model,
        "loss": "hinge",
        "lr": 2e-4,
        "betas": "0, 0.9",
        "batch": 64,
        "n_dis": n_dis,
        "iterations": iterations,
    }
    ids, counts = {"generator": drive}, {"generator": parameters}
    files, about = {"generator": "netG.pth"}, f"{model}, trained by mimicry"
    if name == "sngan_celeba64.mimicry":
        where, ids["discriminator"], counts["discriminator"] = _CELEBA64_DISCRIMINATOR
        files["discriminator"] = "netD.pth"
        read = (f"{read[0]}; the discriminator: {where}", "2026-11-24")
    else:
        about += "; its discriminator is not published"
    return PublishedModel(
        name, "mimicry", "code MIT, weights not stated", data, about, classes, recipe, stated, counts, files, *read,
        addresses={kind: (f"https://drive.google.com/uc?id={found}",) for kind, found in ids.items()},
        pages={kind: f"https://drive.google.com/file/d/{found}" for kind, found in ids.items()}, code_base="mimicry",
    )  # fmt: skip
