"""Converts weights of other code bases to this project's networks without loss, and back to the authors' .npz.

torchscript   reads the tensors of a TorchScript archive
archive       reads the arrays of an untrusted file
parts         splits a file into the tensors of each network
assumptions   settings that tensors do not contain: given by the user, or assumed with a reason
code_base     the record that describes a code base
resnets       mapping of ResNets with any layout of keys
code_bases/   the records, one file each
networks      converts a file to networks: recognises it, maps keys, checks all tensors
snapshot      reads and writes the authors' .npz snapshots
folders       converts a checkpoint folder, and writes folders in this project's format
"""

from .assumptions import Options
from .folders import convert_path, save_networks
from .networks import Converted, convert_file
from .snapshot import chainer_keys, from_chainer, load_chainer, save_snapshot, to_chainer

__all__ = [
    "Converted", "Options", "chainer_keys", "convert_file", "convert_path", "from_chainer", "load_chainer",
    "save_networks", "save_snapshot", "to_chainer",
]  # fmt: skip
