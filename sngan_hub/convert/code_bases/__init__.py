"""The supported code bases: one file each, and a row here."""

from ..code_base import CodeBase
from .chainer import CHAINER
from .mimicry import MIMICRY
from .mmgeneration import MMGENERATION
from .sngan_pytorch import SNGAN_PYTORCH
from .studiogan import STUDIOGAN
from .torch_fidelity import TORCH_FIDELITY

#: In the order in which their marks are compared with the keys of a file.
CODE_BASES: tuple[CodeBase, ...] = (
    CHAINER,
    MMGENERATION,
    STUDIOGAN,
    MIMICRY,
    SNGAN_PYTORCH,
    TORCH_FIDELITY,
)
