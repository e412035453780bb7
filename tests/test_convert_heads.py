"""Layouts read from public code: mimicry's SSGAN and InfoMax-GAN with their further heads, sngan.pytorch, and
torch-fidelity's TorchScript file, on files written in these layouts.
"""

import pickle
import zipfile

import pytest
import torch

from sngan_hub.cli.main import main as sngan
from sngan_hub.convert import Options, convert_file
from sngan_hub.convert.archive import Refused

from . import foreign, full_size
from .converting import pair


def one(path, **options):
    (converted,) = convert_file(path, Options(**options))
    return converted


def same(network, other):
    ours, theirs = network.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


MIMICRY_D = {"sn_eval": "stored", "head_bias": True, "shortcut_relu": True}


@pytest.mark.parametrize("size", [32, 48, 64, 128])
def test_ssgans_rotation_head_is_named_and_left_out(size, tmp_path):
    down = {"down": "11110"} if size == 48 else {}
    _, d = pair(size, 0, {}, {**MIMICRY_D, **down})
    torch.save({"model_state_dict": foreign.ssgan_discriminator(d), "global_step": 1}, tmp_path / "netD.pth")
    found = one(tmp_path / "netD.pth")
    assert found.network.n_classes == 0 and found.network.config["down"] == d.config["down"] and same(found.network, d)
    assert "left out: SSGAN's head for rotations (l_y.*)" in found.notes


@pytest.mark.parametrize("size", [32, 64, 128])
def test_infomax_gans_projections_are_named_and_left_out(size, tmp_path):
    _, d = pair(size, 0, {}, MIMICRY_D)
    torch.save({"model_state_dict": foreign.infomax_discriminator(d), "global_step": 1}, tmp_path / "netD.pth")
    found = one(tmp_path / "netD.pth")
    assert same(found.network, d) and found.network.config["shortcut_relu"] is True
    assert any(note.startswith("left out: InfoMax-GAN's projections") for note in found.notes)
    assert any("48-px" in note for note in found.notes) == (size == 64)  # what cannot be told apart is said


def test_a_conditional_discriminator_of_mimicry_keeps_its_embedding(tmp_path):
    _, d = pair(128, 4, {}, MIMICRY_D)
    torch.save({"model_state_dict": foreign.mimicry_discriminator(d)}, tmp_path / "netD.pth")
    assert one(tmp_path / "netD.pth").network.n_classes == 4


def test_tensors_besides_the_further_head_are_still_refused(tmp_path):
    _, d = pair(32, 0, {}, MIMICRY_D)
    keys = foreign.ssgan_discriminator(d) | {"l_z.weight": torch.ones(2)}
    torch.save({"model_state_dict": keys}, tmp_path / "netD.pth")
    with pytest.raises(ValueError, match="l_z.weight is not a tensor of this network"):
        one(tmp_path / "netD.pth")


# sngan.pytorch -------------------------------------------------------------------------------------------------------


def test_sngan_pytorchs_checkpoint_gives_its_average_and_its_discriminator(tmp_path):
    path, g, d = full_size.sngan_pytorch(tmp_path / "checkpoint.pth", whole=True)
    found = convert_file(path)
    assert [one.family for one in found] == ["sngan_pytorch"] * 2 and [one.kind for one in found] == [
        "generator",
        "discriminator",
    ]
    assert same(found[0].network, g) and same(found[1].network, d)
    assert found[0].network.config["upsample"] == "nearest" and found[0].network.config["bn_eps"] == 1e-5
    config = found[1].network.config
    assert (config["shortcut_relu"], config["head_bias"], config["sn_eval"], config["down"]) == (
        False,
        False,
        "stored",
        "1100",
    )


def test_a_state_dict_alone_needs_the_code_bases_name(tmp_path, capsys):
    """The same keys are mimicry's, whose upsampling is bilinear."""
    path, g, _ = full_size.sngan_pytorch(tmp_path / "sngan_cifar10.pth", whole=False)
    assert one(path).family == "mimicry" and one(path).network.config["upsample"] == "bilinear"
    assert one(path, code_base="sngan_pytorch").network.config["upsample"] == "nearest"
    assert sngan(["convert", str(path), str(tmp_path / "out"), "--code-base", "sngan_pytorch"]) == 0
    assert "generator of sngan.pytorch" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        sngan(["convert", str(path), str(tmp_path / "out2"), "--code-base", "sngan"])
    said = capsys.readouterr().err
    assert (
        "code_base must be one of chainer, mmgen, studio, mimicry, sngan_pytorch, torch_fidelity (got 'sngan')" in said
    )


def test_a_named_code_base_does_not_take_files_of_another(tmp_path):
    g, _ = pair(32, 3, {"bn_eps": 1e-4}, {})
    path = foreign.mmgen_file(tmp_path / "x.pth", g)
    assert one(path, code_base="sngan_pytorch").family == "mmgen"


# torch-fidelity's TorchScript ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scripted(tmp_path_factory):
    module = foreign.randomise(foreign.TorchFidelityGenerator(16, 32))
    path = tmp_path_factory.mktemp("jit") / "generator.pth"
    torch.jit.save(torch.jit.trace(module, (torch.zeros(1, 16),)), path)
    return path, module


def test_torch_fidelitys_generator_in_training_and_in_evaluation(scripted):
    path, module = scripted
    network = one(path).network
    z = torch.randn(6, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.equal((255 * (network(z) * 0.5 + 0.5)).to(torch.uint8), module(z))
        assert torch.allclose(network.train()(z), module.train()(z), atol=1e-5)
        assert torch.allclose(network.bn0.running_var, module.model[1].running_var, atol=1e-6)
        assert torch.allclose(network.eval()(z), module.model.eval()(z[:, :, None, None]), atol=1e-5)


def rewritten(path, out, change):
    """The archive with its entries changed: ``change(name, data)`` -> data."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return out


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_what_a_torchscript_pickle_may_name(scripted, tmp_path, capsys):
    path, _ = scripted

    def pickled(value):
        return rewritten(
            path, tmp_path / "x.pth", lambda name, data: pickle.dumps(value, 2) if name.endswith("/data.pkl") else data
        )

    with pytest.raises(Refused, match="print.*code in weight files is never executed"):
        one(pickled(Evil()))
    assert "executed" not in capsys.readouterr().out
    with pytest.raises(ValueError, match="dict instead of a module"):
        one(pickled({"a": 1}))
    with pytest.raises(ValueError, match="tensor data 0 declares 32,768 bytes, but it has 32,760"):
        one(rewritten(path, tmp_path / "y.pth", lambda name, data: data[:-8] if name.endswith("/data/0") else data))


def test_a_tensor_beyond_its_storage_is_refused(scripted, tmp_path):
    """The first weight declares 128 more rows than it has."""
    path, _ = scripted

    def change(name, data):
        if not name.endswith("/data.pkl"):
            return data
        assert data.count(b"K\x10K ") > 0  # (16, 32, 4, 4)
        return data.replace(b"(K\x10K ", b"(K\x40K ", 1)

    with pytest.raises(ValueError, match="not a valid PyTorch file|does not fit|out of bounds"):
        one(rewritten(path, tmp_path / "x.pth", change))


def test_another_torchscript_module_is_no_network(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 3), (torch.zeros(1, 2),)), tmp_path / "x.pth")
    with pytest.raises(ValueError, match="do not match a known network"):
        one(tmp_path / "x.pth")
