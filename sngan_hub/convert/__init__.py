"""Weights that others trained -> our networks, exactly; and ours -> the authors' .npz.

archive   a file -> its arrays, safely
families  the four code bases as tables of keys and fields
parts     a file -> one network's arrays each
assumptions  what arrays cannot tell, and why it is taken to be so
networks  arrays -> network
snapshot  network -> the authors' .npz
folders   a code base's checkpoint folder -> networks -> a folder of ours
"""

from .assumptions import Options
from .folders import convert_path, save_networks
from .networks import Converted, convert_file, from_chainer, load_chainer
from .snapshot import chainer_keys, save_snapshot, to_chainer

__all__ = [
    "Converted", "Options", "chainer_keys", "convert_file", "convert_path", "from_chainer", "load_chainer",
    "save_networks", "save_snapshot", "to_chainer",
]  # fmt: skip
