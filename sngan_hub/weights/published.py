"""Weights published by others, as rows: file, address, recipe, and the scores that the publisher states. No torch.

This file has mmgeneration's rows, the authors', and those of code bases that publish one model; studiogan.py and
mimicry.py have the others. Each row states where and when it was read.
"""

from __future__ import annotations

from ..class_names import class_list
from .mimicry import mimicry
from .published_model import NOT_STATED, PublishedModel
from .studiogan import studiogan

_MMGEN = ("https://download.openmmlab.com/mmgen/sngan_proj/", "https://download.openmmlab.com/mmediting/sngan_proj/")
_MMGEN_READ = "https://github.com/open-mmlab/mmgeneration: README and metafile of configs/sngan_proj at commit ccd1f56"
_MMGEN_MIRROR = "; the mirror: mmagic's README of configs/sngan_proj"

# fmt: off
_IMAGENET, _CIFAR10 = class_list("imagenet"), class_list("cifar10")
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


def _mmgen() -> list[PublishedModel]:
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
        rows.append(PublishedModel(
            name, "mmgeneration", "code Apache-2.0, weights not stated", _DATA[data], about, classes,
            recipe, scores, _PARAMETERS[architecture], {"generator": file, "discriminator": file},
            _MMGEN_READ + _MMGEN_MIRROR, "2026-11-22",
            addresses={kind: tuple(base + file for base in _MMGEN) for kind in ("generator", "discriminator")},
        ))
    return rows


# ---------------------------------------------------------------------------------------------------------------------
# The authors' Chainer snapshots, on a drive: a file per network

_DRIVE = "https://drive.google.com/"
_AUTHORS_READ = "https://github.com/pfnet-research/sngan_projection: README and README_paper"
#: The 850k pair as a project that uses it links it; tried before the authors' folder
_COPIES_READ = "; the file ids: https://github.com/human-ui/sngan_projection, generate.py"
_AUTHORS_COPIES = {
    "sngan_imagenet128.authors_850k": {"generator": "1TDGXDM4s_xJdHCDzXt18aqODpbWKk8qe", "discriminator": "1k27RlxEJgjUzPfbIqusGAmHhEKKp59rs"},
}
#: Folders of the drive; the file is found in them by its name
_AUTHORS_FOLDERS = {
    "sngan_imagenet128.authors": "1m04Db3HbN10Tz5XHqiPpIg8kw23fkbSi",
    "sngan_imagenet128.authors_concat": "1xInDUt8nFkq7VWUeIgnqvu2o2ZcsBB-2",
    "sngan_dogcat128.authors": "1wKMG6ontP8ZKdBYOA8l-z_JQUUpuA7XA",
    "sngan_dogcat64.authors_250k": "1KfhQo84fvWUtYQlRVAWf0nswf6X1nawh",
}
_AUTHORS_ALL = "1xZoL48uFOCnTxNGdknEYqE5YX0ZyoUej"  # the folder with all pretrained models
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


def _authors() -> list[PublishedModel]:
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
        ids, folder = _AUTHORS_COPIES.get(name, {}), _AUTHORS_FOLDERS.get(name.split("_450k")[0].split("_850k")[0])
        page = f"{_DRIVE}drive/folders/{folder or _AUTHORS_ALL}"
        addresses = {
            kind: (*([f"{_DRIVE}uc?id={ids[kind]}"] if ids else []), *([page] if folder else [])) for kind in files
        }
        rows.append(PublishedModel(
            name, "the authors", NOT_STATED, data, "Trained by the authors in Chainer", classes, recipe, scores,
            {"generator": g, "discriminator": d}, files, _AUTHORS_READ + (_COPIES_READ if ids else ""), "2026-11-24",
            addresses={kind: of for kind, of in addresses.items() if of}, pages=dict.fromkeys(files, page),
        ))
    return rows


# ---------------------------------------------------------------------------------------------------------------------
# Code bases that publish one model


def _single() -> list[PublishedModel]:
    tf = "TensorFlow's Inception (2015), CIFAR-10's training set"
    sngan_pytorch = {
        "sngan_pytorch_is50k": {"value": 8.21, "n": 50_000, "evaluator": tf, "stated_by": "sngan.pytorch"},
        "sngan_pytorch_fid50k": {"value": 14.21, "n": 50_000, "evaluator": tf, "stated_by": "sngan.pytorch"},
    }
    drive = "1koEJbx9anP2-BEMrqX6jgWXAvEUXG0AU"
    return [
        PublishedModel(
            "sngan_cifar10_unconditional.sngan_pytorch", "sngan.pytorch", "code MIT, weights not stated", "CIFAR-10",
            "SNGAN, trained by GongXinyuu/sngan.pytorch, average of the generator's weights", (),
            {"loss": "hinge", "average": "the file's avg_gen_state_dict, or the file itself"}, sngan_pytorch,
            {"generator": 4_276_739}, {"generator": "sngan_cifar10.pth"},
            "https://github.com/GongXinyuu/sngan.pytorch: README at commit 3d92616; layout: models/ at commits 5f4ecd3 and f56abfa, train.py and test.py", "2026-11-26",
            addresses={"generator": (f"{_DRIVE}uc?id={drive}",)},
            pages={"generator": f"{_DRIVE}file/d/{drive}"}, code_base="sngan_pytorch",
        ),
        PublishedModel(
            "sngan_cnn_cifar10.torch_fidelity", "torch-fidelity", "code Apache-2.0, weights not stated", "CIFAR-10",
            "The generator of torch-fidelity's example, a plain CNN", (),
            {"loss": "hinge", "lr": 2e-4, "betas": "0, 0.9", "batch": 64, "n_dis": 5, "iterations": 100_000, "decay": "linear"}, {},
            {"generator": 3_813_379}, {"generator": "example-sngan-cifar10-generator.pth"},
            "https://github.com/toshas/torch-fidelity: README; layout: examples/sngan_cifar10.py at commits 00050a8 and b07420f", "2026-11-26",
            addresses={"generator": ("https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/example-sngan-cifar10-generator.pth",)},
            code_base="torch_fidelity",
        ),
    ]
# fmt: on


def published() -> list[PublishedModel]:
    """All rows, in the order in which tags are listed."""
    return [*_mmgen(), *studiogan(), *mimicry(), *_authors(), *_single()]
