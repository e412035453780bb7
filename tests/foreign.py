"""Files as the four code bases write them, from a network of ours, for any size, width and class count.

Written from the code bases' key names, one literal name after the other, and not from sngan_hub/convert: these are the
other side of its tests.
"""

from __future__ import annotations

import numpy as np
import torch


def randomise(network, seed=0):
    """Random values in every tensor: variances positive, u and v unit vectors."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(seed + 3)
        else:
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)
            if name.split(".")[-1] in ("u", "v"):
                tensor.div_(tensor.norm())
    return network.eval()


def plain(layer, name):
    return {f"{name}.weight": layer.weight.detach(), f"{name}.bias": layer.bias.detach()}


def spectral(layer, name):
    values = {f"{name}.weight_orig": layer.weight.detach(), f"{name}.weight_u": layer.u, f"{name}.weight_v": layer.v}
    if getattr(layer, "bias", None) is not None:
        values[f"{name}.bias"] = layer.bias.detach()
    return values


def statistics(bn, name):
    return {f"{name}.{leaf}": getattr(bn, leaf) for leaf in ("running_mean", "running_var", "num_batches_tracked")}


def affine(bn, name):
    return {f"{name}.weight": bn.weight.detach(), f"{name}.bias": bn.bias.detach(), **statistics(bn, name)}


# Batch norms inside a block, per code base ---------------------------------------------------------------------------


def mmgen_norm(bn, name, offset=1):
    if not bn.n_classes:
        return affine(bn, f"{name}.norm")
    return {f"{name}.weight_embedding.weight": bn.weight.detach() - offset,
            f"{name}.bias_embedding.weight": bn.bias.detach(), **statistics(bn, f"{name}.norm")}  # fmt: skip


def studio_2022_norm(bn, name):
    if not bn.n_classes:
        return affine(bn, name)
    return {f"{name}.gain.weight": (bn.weight.detach() - 1).t().contiguous(),
            f"{name}.bias.weight": bn.bias.detach().t().contiguous(), **statistics(bn, f"{name}.bn")}  # fmt: skip


def studio_2020_norm(bn, name):
    if not bn.n_classes:
        return affine(bn, name)
    return {f"{name}.embed0.weight": bn.weight.detach() - 1, f"{name}.embed1.weight": bn.bias.detach(),
            **statistics(bn, f"{name}.bn")}  # fmt: skip


def mimicry_norm(bn, name):
    if not bn.n_classes:
        return affine(bn, name)
    return {f"{name}.embed.weight": torch.cat([bn.weight.detach(), bn.bias.detach()], 1),
            **statistics(bn, f"{name}.bn")}  # fmt: skip


# Generators ----------------------------------------------------------------------------------------------------------


def mmgen_generator(g, offset=1, bgr=True):
    keys = plain(g.l1, "generator.noise2feat")
    for i, block in enumerate(g.blocks):
        name = f"generator.conv_blocks.{i}"
        keys |= plain(block.c1, f"{name}.conv_1.conv") | plain(block.c2, f"{name}.conv_2.conv")
        keys |= plain(block.c_sc, f"{name}.shortcut.conv")
        keys |= mmgen_norm(block.b1, f"{name}.norm_1", offset) | mmgen_norm(block.b2, f"{name}.norm_2", offset)
    keys |= affine(g.bn, "generator.to_rgb.bn")
    order = [2, 1, 0] if bgr else [0, 1, 2]
    keys["generator.to_rgb.conv.weight"] = g.conv.weight.detach()[order]
    keys["generator.to_rgb.conv.bias"] = g.conv.bias.detach()[order]
    return keys


def studio_generator(g, norm=studio_2022_norm):
    keys = plain(g.l1, "linear0") | affine(g.bn, "bn4") | plain(g.conv, "conv2d5")
    for i, block in enumerate(g.blocks):
        name = f"blocks.{i}.0"
        keys |= plain(block.c_sc, f"{name}.conv2d0") | plain(block.c1, f"{name}.conv2d1")
        keys |= plain(block.c2, f"{name}.conv2d2") | norm(block.b1, f"{name}.bn1") | norm(block.b2, f"{name}.bn2")
    return keys


def studio_shared_generator(g, seed=0):
    """Of January to March 2022: gains and biases are linear in one class embedding. Sets the tables of ``g`` to match."""
    random = torch.Generator().manual_seed(seed)
    shared = torch.randn(g.n_classes, 128, generator=random) * 0.1

    def norm(bn, name):
        gain, bias = (torch.randn(bn.channels, 128, generator=random) * 0.1 for _ in range(2))
        with torch.no_grad():
            bn.weight.copy_(1 + shared @ gain.t())
            bn.bias.copy_(shared @ bias.t())
        return {f"{name}.gain.weight": gain, f"{name}.bias.weight": bias, **statistics(bn, f"{name}.bn")}

    return {"shared.weight": shared, **studio_generator(g, norm)}


def mimicry_generator(g):
    last = {32: 5, 48: 5, 64: 6, 128: 7}[g.size]
    keys = plain(g.l1, "l1") | affine(g.bn, f"b{last}") | plain(g.conv, f"c{last}")
    for i, block in enumerate(g.blocks):
        name = f"block{i + 2}"
        keys |= plain(block.c1, f"{name}.c1") | plain(block.c2, f"{name}.c2") | plain(block.c_sc, f"{name}.c_sc")
        keys |= mimicry_norm(block.b1, f"{name}.b1") | mimicry_norm(block.b2, f"{name}.b2")
    return keys


# Discriminators ------------------------------------------------------------------------------------------------------


def mmgen_discriminator(d, bgr=True):
    keys = spectral(d.linear, "discriminator.decision")
    if d.embed is not None:
        keys |= spectral(d.embed, "discriminator.proj_y")
    for i, block in enumerate(d.blocks):
        name = "discriminator.from_rgb" if i == 0 else f"discriminator.conv_blocks.{i - 1}"
        keys |= spectral(block.c1, f"{name}.conv_1.conv") | spectral(block.c2, f"{name}.conv_2.conv")
        if block.c_sc is not None:
            keys |= spectral(block.c_sc, f"{name}.shortcut.conv")
    if bgr:
        for conv in ("conv_1", "shortcut"):
            name = f"discriminator.from_rgb.{conv}.conv"
            keys[f"{name}.weight_orig"] = keys[f"{name}.weight_orig"][:, [2, 1, 0]]
            k = keys[f"{name}.weight_orig"].shape[-1]
            keys[f"{name}.weight_v"] = keys[f"{name}.weight_v"].reshape(3, k, k)[[2, 1, 0]].flatten()
    return keys


def studio_discriminator(d):
    keys = spectral(d.linear, "linear1")
    if d.embed is not None:
        keys |= spectral(d.embed, "embedding")
    for i, block in enumerate(d.blocks):
        name = f"blocks.{i}.0"
        keys |= spectral(block.c1, f"{name}.conv2d1") | spectral(block.c2, f"{name}.conv2d2")
        if block.c_sc is not None:
            keys |= spectral(block.c_sc, f"{name}.conv2d0")
    return keys


def mimicry_discriminator(d):
    head = {32: "l5", 48: "l5", 64: "l6", 128: "l7"}[d.size]
    if d.embed is not None and d.size == 32:  # its own classes, by a shadowed import
        keys = {"l5.weight": d.linear.weight.detach(), "l5.bias": d.linear.bias.detach(), "l5.sn_u": d.linear.u[None],
                "l_y.weight": d.embed.weight.detach(), "l_y.sn_u": d.embed.u[None],
                "l5.sn_sigma": torch.ones(1), "l_y.sn_sigma": torch.ones(1)}  # fmt: skip
    else:
        keys = spectral(d.linear, head) | (spectral(d.embed, "l_y") if d.embed is not None else {})
    for i, block in enumerate(d.blocks):
        name = f"block{i + 1}"
        keys |= spectral(block.c1, f"{name}.c1") | spectral(block.c2, f"{name}.c2")
        if block.c_sc is not None:
            keys |= spectral(block.c_sc, f"{name}.c_sc")
    return keys


def ssgan_discriminator(d, seed=0):
    """mimicry's SSGAN: the discriminator of SNGAN, and a head with a bias for four rotations."""
    width = d.linear.weight.shape[1]
    head = {"l_y.weight_orig": torch.randn(4, width), "l_y.bias": torch.randn(4), "l_y.weight_u": torch.randn(4),
            "l_y.weight_v": torch.randn(width)}  # fmt: skip
    return mimicry_discriminator(d) | head


def infomax_discriminator(d):
    """mimicry's InfoMax-GAN: the last block is the global one, and features are projected to 1,024 dimensions."""
    keys = spectral(d.linear, "linear")
    for i, block in enumerate(d.blocks):
        name = f"local_feat_blocks.{i}" if i < len(d.blocks) - 1 else "global_feat_blocks.0"
        keys |= spectral(block.c1, f"{name}.c1") | spectral(block.c2, f"{name}.c2")
        if block.c_sc is not None:
            keys |= spectral(block.c_sc, f"{name}.c_sc")
    for name in ("local_nrkhs_a", "local_nrkhs_b", "local_nrkhs_sc", "global_nrkhs_a", "global_nrkhs_sc"):
        keys |= {f"{name}.weight_orig": torch.randn(8, 8), f"{name}.bias": torch.randn(8),
                 f"{name}.weight_u": torch.randn(8), f"{name}.weight_v": torch.randn(8)}  # fmt: skip
    return keys


class TorchFidelityGenerator(torch.nn.Module):
    """The layers that torch-fidelity's example names model.0 to model.13, and its uint8 output in evaluation mode."""

    def __init__(self, z_dim=128, width=512):
        super().__init__()
        widths = [width, width // 2, width // 4, width // 8]
        layers = [torch.nn.ConvTranspose2d(z_dim, width, 4)]
        for a, b in zip(widths, [*widths[1:], 3], strict=True):
            layers += [torch.nn.BatchNorm2d(a), torch.nn.ReLU()]
            layers += [torch.nn.ConvTranspose2d(a, b, 4, 2, 1) if b > 3 else torch.nn.ConvTranspose2d(a, b, 3, 1, 1)]
        self.model = torch.nn.Sequential(*layers, torch.nn.Tanh())

    def forward(self, z):
        image = self.model(z[:, :, None, None])
        return image if self.training else (255 * (image.clamp(-1, 1) * 0.5 + 0.5)).to(torch.uint8)


# Files ---------------------------------------------------------------------------------------------------------------


def mmgen_file(path, g=None, d=None, meta=None, offset=1, bgr=True, zip_format=True):
    tensors = (mmgen_generator(g, offset, bgr) if g is not None else {}) | (
        mmgen_discriminator(d, bgr) if d is not None else {}
    )
    content = {"meta": {"seed": 2021, "iter": 1, **(meta or {})}, "state_dict": tensors}
    torch.save(content, path, _use_new_zipfile_serialization=zip_format)
    return path


def chainer_file(path, network):
    """By names written out here: the authors' links at 32, 64, 128 and 256 px."""
    n, arrays = len(network.blocks), {}
    generator = hasattr(network, "l1")

    def put(layer, name):
        arrays[f"{name}/W"] = layer.weight.detach().numpy()
        if getattr(layer, "bias", None) is not None:
            arrays[f"{name}/b"] = layer.bias.detach().numpy()
        if hasattr(layer, "u"):
            arrays[f"{name}/u"] = layer.u.numpy()[None]

    def put_norm(bn, name):
        arrays[f"{name}/gammas/W" if bn.n_classes else f"{name}/gamma"] = bn.weight.detach().numpy()
        arrays[f"{name}/betas/W" if bn.n_classes else f"{name}/beta"] = bn.bias.detach().numpy()
        arrays[f"{name}/avg_mean"], arrays[f"{name}/avg_var"] = bn.running_mean.numpy(), bn.running_var.numpy()
        arrays[f"{name}/N"] = bn.num_batches_tracked.numpy()

    for i, block in enumerate(network.blocks):
        name = f"block{i + 2 if generator else i + 1}"
        for conv in ("c1", "c2", "c_sc"):
            if getattr(block, conv) is not None:
                put(getattr(block, conv), f"{name}/{conv}")
        if generator:
            put_norm(block.b1, f"{name}/b1")
            put_norm(block.b2, f"{name}/b2")
    if generator:
        put(network.l1, "l1")
        put_norm(network.bn, {3: "b5", 4: "b6", 5: "b7", 6: "b8"}[n])
        put(network.conv, {3: "c5", 4: "l6", 5: "l7", 6: "l8"}[n])
    else:
        put(network.linear, {4: "l5", 5: "l6", 6: "l7", 7: "l8"}[n])
        if network.embed is not None:
            put(network.embed, "l_y")
    np.savez_compressed(path, **arrays)
    return path
