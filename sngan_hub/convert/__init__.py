"""Weights that others trained -> our networks, exactly; and ours -> the authors' .npz.

archive       a file -> its arrays, safely
parts         a file -> one network's tensors each
assumptions   what tensors cannot tell: asked of the user, or assumed with a reason
code_base     the record of a code base
resnets       the ResNets in any code base's layout of keys
code_bases/   the records, one file each
networks      a file -> networks: recognised, mapped, read strictly
snapshot      the authors' .npz <-> networks
folders       a code base's checkpoint folder -> networks -> a folder of ours
"""

from .assumptions import Options
from .folders import convert_path, save_networks
from .networks import Converted, convert_file
from .snapshot import chainer_keys, from_chainer, load_chainer, save_snapshot, to_chainer

__all__ = [
    "Converted", "Options", "chainer_keys", "convert_file", "convert_path", "from_chainer", "load_chainer",
    "save_networks", "save_snapshot", "to_chainer",
]  # fmt: skip
