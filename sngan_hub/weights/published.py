"""Weights published by others, as rows: file, address, recipe, and the scores that the publisher states.

mmgeneration: its README and metafile (configs/sngan_proj). StudioGAN: paths on the Hub as third parties quote them.
mimicry: its README. The authors': README of pfnet-research/sngan_projection and the two papers. No torch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..class_names import class_list

_MMGEN = ("https://download.openmmlab.com/mmgen/sngan_proj/", "https://download.openmmlab.com/mmediting/sngan_proj/")
_STUDIO_REPO = "Mingguksky/PyTorch-StudioGAN"
_AUTHORS = "https://github.com/pfnet-research/sngan_projection (its README links the drive)"
_UNSTATED = "not stated"


class Trained(NamedTuple):
    """One published model: its files and their description."""

    name: str  # architecture.tag
    publisher: str
    licence: str
    data: str
    about: str
    classes: tuple[str, ...]
    recipe: dict[str, Any]
    scores: dict[str, dict[str, Any]]  # protocol -> fields of Score
    parameters: dict[str, int]
    files: dict[str, str]  # kind -> file name; the same name twice: one file contains both
    urls: tuple[str, ...] = ()  # addresses of the folders with the files
    repo: str = ""  # on the Hub
    repo_folder: str = ""
    page: str = ""  # page for download by hand


# fmt: off
_IMAGENET, _CIFAR10, _CIFAR100 = (class_list(name) for name in ("imagenet", "cifar10", "cifar100"))
_DATA = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet (ILSVRC 2012)"}

# ---------------------------------------------------------------------------------------------------------------------
# mmgeneration: generator and discriminator in one file; the last eight digits are the start of its sha256

_MMGEN_FILES = [  # name, file, FID, IS, relu in place
    ("sngan_cifar10.mmgen_fid",      "sngan_proj_cifar10_32_lr-2e-4_b64x1_woReLUinplace_fid-iter490000_20210709_163329-ba0862a0.pth", 8.1158, 9.5659),
    ("sngan_cifar10.mmgen_is",       "sngan_proj_cifar10_32_lr-2e-4_b64x1_woReLUinplace_is-iter400000_20210709_163823-902ce1ae.pth", 9.8203, 9.6919),
    ("sngan_cifar10.mmgen_w_fid",    "sngan_proj_cifar10_32_lr-2e-4-b64x1_wReLUinplace_fid-iter490000_20210709_203038-191b2648.pth", 8.3462, 9.5564),
    ("sngan_cifar10.mmgen_w_is",     "sngan_proj_cifar10_32_lr-2e-4_b64x1_wReLUinplace_is-iter490000_20210709_202230-cd863c74.pth", 8.3462, 9.5564),
    ("sngan_cifar10.studio_2020",    "sngan_cifar10_convert-studio-rgb_20210709_111346-2979202d.pth", 10.2011, 9.372),
    ("sngan_imagenet128.mmgen_fid",  "sngan_proj_imagenet1k_128_Glr2e-4_Dlr5e-5_ndisc5_b128x2_woReLUinplace_fid-iter988000_20210730_131424-061bf803.pth", 32.6193, 29.5779),
    ("sngan_imagenet128.mmgen_is",   "sngan_proj_imagenet1k_128_Glr2e-4_Dlr5e-5_ndisc5_b128x2_woReLUinplace_is-iter952000_20210730_132027-9c884a21.pth", 33.4682, 30.0651),
    ("sngan_imagenet128.mmgen_w_fid", "sngan_proj_imagenet1k_128_Glr2e-4_Dlr5e-5_ndisc5_b128x2_wReLUinplace_fid-iter988000_20210730_132401-9a682411.pth", 33.4821, 27.7948),
    ("sngan_imagenet128.mmgen_w_is", "sngan_proj_imagenet1k_128_Glr2e-4_Dlr5e-5_ndisc5_b128x2_wReLUinplace_is-iter944000_20210730_132714-ca0ccd07.pth", 34.3383, 28.1799),
    ("sngan_imagenet128.studio_2020", "sngan_imagenet1k_convert-studio-rgb_20210709_111406-877b1130.pth", 29.8199, 30.218),
]
_STUDIO_LOGS = {"sngan_cifar10": (13.248, 8.677), "sngan_imagenet128": (26.792, 32.247)}  # FID, IS
_MMGEN_EVALUATOR = "mmgeneration: StyleGAN2-ADA's TorchScript Inception, against the whole training set"
_MMGEN_RECIPES = {
    "sngan_cifar10": {"lr": 2e-4, "betas": "0.5, 0.999", "batch": 64, "n_dis": 5, "flip": True, "decay": "none"},
    "sngan_imagenet128": {"lr_g": 2e-4, "lr_d": 5e-5, "betas": "0, 0.999", "batch": "2 x 128", "n_dis": 5, "flip": True, "decay": "none"},
}
_PARAMETERS = {
    "sngan_cifar10": {"generator": 4_304_387, "discriminator": 1_055_105},
    "sngan_imagenet128": {"generator": 41_996_931, "discriminator": 39_443_137},
}


def _mmgen() -> list[Trained]:
    rows = []
    for name, file, fid, inception_score in _MMGEN_FILES:
        architecture, tag = name.split(".")
        scores = {
            "mmgen_fid50k": {"value": fid, "n": 50_000, "evaluator": _MMGEN_EVALUATOR, "stated_by": "mmgeneration"},
            "mmgen_is50k": {"value": inception_score, "n": 50_000, "evaluator": _MMGEN_EVALUATOR, "stated_by": "mmgeneration"},
        }
        if tag == "studio_2020":
            recipe = {"iterations": 100_000, "n_dis": 5} if architecture == "sngan_cifar10" else {"iterations": 1_000_000, "n_dis": 2}
            about = "Trained by StudioGAN in 2020, republished by mmgeneration"
            for key, value in zip(("studiogan_fid", "studiogan_is"), _STUDIO_LOGS[architecture], strict=True):
                scores[key] = {"value": value, "n": None, "evaluator": "StudioGAN's log of 2020", "stated_by": "StudioGAN"}
        else:
            iterations = int(file.split("-iter")[1].split("_")[0])
            recipe = {**_MMGEN_RECIPES[architecture], "iterations": f"{iterations} (D steps included)"}
            best = "FID" if tag.endswith("fid") else "Inception Score"
            about = f"Trained by mmgeneration, its best snapshot by {best}" + (", relu in place" if "_w_" in tag else "")
        data, classes = ("cifar10", _CIFAR10) if architecture == "sngan_cifar10" else ("imagenet", _IMAGENET)
        rows.append(Trained(
            name, "mmgeneration", "code Apache-2.0, weights not stated", _DATA[data], about, classes,
            recipe, scores, _PARAMETERS[architecture], {"generator": file, "discriminator": file}, _MMGEN,
        ))
    return rows


# ---------------------------------------------------------------------------------------------------------------------
# StudioGAN on the Hub: a file per network

_STUDIO = [  # name, run, step, data, batch
    ("sngan_cifar10.studio",     "CIFAR10_tailored/CIFAR10-SNGAN-train-2022_03_06_02_24_46", 88_000, "cifar10", _CIFAR10),
    ("sngan_imagenet128.studio", "ImageNet_tailored/ImageNet-SNGAN-256-train-2022_03_06_03_53_44", 472_000, "imagenet", _IMAGENET),
]


def _studio() -> list[Trained]:
    return [
        Trained(
            name, "StudioGAN", _UNSTATED, _DATA[data], "Trained by StudioGAN in 2022, its best snapshot by FID", classes,
            {"step": step, "flip": True, "adam_eps": 1e-6}, {}, _PARAMETERS[name.split(".")[0]],
            {"generator": f"model=G-best-weights-step={step}.pth", "discriminator": f"model=D-best-weights-step={step}.pth"},
            repo=_STUDIO_REPO, repo_folder=f"studiogan_official_ckpt/{run}",
        )
        for name, run, step, data, classes in _STUDIO
    ]


# ---------------------------------------------------------------------------------------------------------------------
# mimicry: generators alone, on a drive

_MIMICRY = [  # name, drive id, (IS, FID, KID as value and spread), data, classes, parameters, iterations, n_dis
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
_MIMICRY_REPRODUCTIONS = [  # of the paper's protocol: FID of 5,000 samples against 10,000 test images
    ("sngan_cifar10_unconditional.mimicry_paper", "1aLbds1EGFoWZZF2y1l8mvPCvnb7AGHh7", (23.90, .20), (), 4_276_739),
    ("sngan_cifar10.mimicry_paper",               "1v26E7mIk8PqIg5ldE-iQNMQ2AYQ36iGM", (17.84, .17), _CIFAR10, 4_304_387),
]


def _mimicry() -> list[Trained]:
    def row(name: str, drive: str, data: str, classes: tuple[str, ...], parameters: int, iterations: int, n_dis: int,
            scores: dict[str, tuple[float, float | None, int]]) -> Trained:
        stated = {
            protocol: {"value": value, "spread": spread, "n": n, "evaluator": "mimicry: TensorFlow's Inception (2015)", "stated_by": "mimicry"}
            for protocol, (value, spread, n) in scores.items()
        }
        recipe = {"loss": "hinge", "lr": 2e-4, "betas": "0, 0.9", "batch": 64, "n_dis": n_dis, "iterations": iterations}
        return Trained(name, "mimicry", "code MIT, weights not stated", data, "Trained by mimicry; its discriminator is not published",
                       classes, recipe, stated, {"generator": parameters}, {"generator": "netG.pth"},
                       page=f"https://drive.google.com/file/d/{drive}")

    rows = [
        row(name, drive, data, classes, parameters, iterations, n_dis,
            {"mimicry_is50k": (s[0], s[1], 50_000), "mimicry_fid50k": (s[2], s[3], 50_000), "mimicry_kid50k": (s[4], None, 50_000)})
        for name, drive, s, data, classes, parameters, iterations, n_dis in _MIMICRY
    ]
    return rows + [
        row(name, drive, "CIFAR-10", classes, parameters, 100_000, 5, {"mimicry_fid5k_test": (*s, 5_000)})
        for name, drive, s, classes, parameters in _MIMICRY_REPRODUCTIONS
    ]


# ---------------------------------------------------------------------------------------------------------------------
# The authors' Chainer snapshots, on a drive: a file per network

_PROJECTION, _CONCAT = "SNResNetProjectionDiscriminator", "SNResNetConcatDiscriminator"
_DOGS_AND_CATS = class_list("dogs_and_cats")
_AUTHORS_FILES = [  # name, discriminator, iterations, decay from, IS, intra-FID, classes, parameters G, D
    ("sngan_imagenet128.authors_850k",        _PROJECTION, 850_000, 800_000, 36.8,  92.4, _IMAGENET,      41_996_931, 30_041_857),
    ("sngan_imagenet128.authors_450k",        _PROJECTION, 450_000, 400_000, 29.7, 103.1, _IMAGENET,      41_996_931, 30_041_857),
    ("sngan_imagenet128.authors_concat_450k", _CONCAT,     450_000, 400_000, 21.1, 141.2, _IMAGENET,      41_996_931, 30_538_625),
    ("sngan_dogcat64.authors_250k",           _PROJECTION, 250_000, 200_000, None,  None, _DOGS_AND_CATS, 13_038_595, 10_287_873),
    ("sngan_dogcat128.authors_450k",          _PROJECTION, 450_000, 400_000, 28.2,  None, _DOGS_AND_CATS, 10_606_339,  8_574_977),
    ("sngan_dogcat256.authors_450k",          _PROJECTION, 450_000, 400_000, None,  None, _DOGS_AND_CATS, 10_662_659,  8_576_129),
]


def _authors() -> list[Trained]:
    rows = []
    for name, judge, iterations, decay, inception_score, intra_fid, classes, g, d in _AUTHORS_FILES:
        evaluator = "the authors' evaluations (Inception 2015)"
        scores = {}
        if inception_score is not None:
            scores["authors_is50k"] = {"value": inception_score, "n": 50_000, "evaluator": evaluator, "stated_by": "the authors"}
        if intra_fid is not None:
            scores["authors_intra_fid5k"] = {"value": intra_fid, "n": 5_000, "evaluator": evaluator + ", 5,000 a class, mean over classes", "stated_by": "the authors"}
        data = _DATA["imagenet"] + ("" if len(classes) == 1000 else ", its 143 dogs and cats")
        recipe = {"loss": "hinge", "lr": 2e-4, "betas": "0, 0.9", "n_dis": 5, "iterations": iterations, "decay_from": decay}
        files = {"generator": f"ResNetGenerator_{iterations}.npz", "discriminator": f"{judge}_{iterations}.npz"}
        rows.append(Trained(name, "the authors", _UNSTATED, data, "Trained by the authors in Chainer", classes, recipe,
                            scores, {"generator": g, "discriminator": d}, files, page=_AUTHORS))
    return rows
# fmt: on


def published() -> list[Trained]:
    return [*_mmgen(), *_studio(), *_mimicry(), *_authors()]
