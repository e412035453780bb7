"""Full-size files with random weights in the layouts of other code bases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

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


# StudioGAN, with Adam's state: 12 bytes for each parameter in all -----------------------------------------------------


def studio_pair(
    folder: Path, architecture: str, step: int, run: str, shared: bool = False
) -> tuple[dict[str, Path], Any, Any]:
    """Both files of a run, as StudioGAN writes them -> {kind: path}, and the networks that they contain."""
    g = foreign.randomise(create_generator(architecture, bn_eps=1e-4))
    down = {"down": "11110"} if g.size == 64 else {}
    d = create_discriminator(architecture, hidden="out", sn_eval="stored", head_bias=True, shortcut_relu=True, **down)
    foreign.randomise(d, 1)
    tensors = foreign.studio_shared_generator(g) if shared else foreign.studio_generator(g)
    names = {
        kind: folder / f"model={kind[0].upper()}-best-weights-step={step}.pth"
        for kind in ("generator", "discriminator")
    }
    torch.save({"state_dict": tensors, "optimizer": adam(tensors)}, names["generator"])
    tensors = foreign.studio_discriminator(d)
    torch.save({"state_dict": tensors, "optimizer": adam(tensors), "seed": 1, "run_name": run, "step": step,
                "epoch": 3, "topk": "initialize", "aa_p": None, "best_step": step, "best_fid": np.float64(9.5),
                "best_fid_ckpt": f"{run}/model", "lecam_emas": None}, names["discriminator"])  # fmt: skip
    return names, g, d


def adam(tensors: dict[str, torch.Tensor]) -> dict:
    """The state of torch.optim.Adam over the parameters among ``tensors``."""
    parameters = [t for name, t in tensors.items() if not name.endswith(("_u", "_v", "mean", "var", "tracked"))]
    state = {i: {"step": torch.tensor(5.0), "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
             for i, p in enumerate(parameters)}  # fmt: skip
    return {"state": state, "param_groups": [{"lr": 2e-4, "betas": (0.0, 0.999), "eps": 1e-6,
                                              "params": list(state)}]}  # fmt: skip


# Generators ----------------------------------------------------------------------------------------------------------


def mimicry_file(path: Path, architecture: str, kind: str = "generator") -> tuple[Path, Any]:
    """netG.pth or netD.pth of mimicry, with Adam's state -> path, and the network that it contains."""
    if kind == "generator":
        network = foreign.randomise(create_generator(architecture, upsample="bilinear", bn_eps=1e-5))
        tensors = foreign.mimicry_generator(network)
    else:
        network = create_discriminator(architecture, sn_eval="stored", head_bias=True, shortcut_relu=True)
        tensors = foreign.mimicry_discriminator(foreign.randomise(network))
    torch.save({"model_state_dict": tensors, "optimizer_state_dict": adam(tensors), "global_step": 100_000}, path)
    return path, network


def sngan_pytorch(path: Path, whole: bool) -> tuple[Path, Any, Any]:
    """The checkpoint of sngan.pytorch's train.py, or the average generator's state_dict alone -> path, networks."""
    generator = foreign.randomise(create_generator("sngan_cifar10_unconditional", bn_eps=1e-5))
    g = foreign.mimicry_generator(generator)
    d = create_discriminator("sngan_cifar10_unconditional", sn_eval="stored", head_bias=False)
    tensors = foreign.mimicry_discriminator(foreign.randomise(d, 1))
    other = {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in g.items()}
    content = {"epoch": 320, "model": "sngan_cifar10", "gen_state_dict": other, "dis_state_dict": tensors,
               "avg_gen_state_dict": g, "gen_optimizer": adam(g), "dis_optimizer": adam(tensors),
               "best_fid": np.float64(14.21), "path_helper": {"prefix": "logs/x"}}  # fmt: skip
    torch.save(content if whole else g, path)
    return path, generator, d


def torch_fidelity(path: Path) -> tuple[Path, Any]:
    """generator.pth of torch-fidelity's example, traced and saved as TorchScript -> path, and its module."""
    network = foreign.randomise(foreign.TorchFidelityGenerator())
    torch.jit.save(torch.jit.trace(network, (torch.zeros(1, 128),)), path)
    return path, network
