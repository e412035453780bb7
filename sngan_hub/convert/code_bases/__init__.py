"""The supported code bases: one file each, and a row here."""

from ..code_base import CodeBase
from .chainer import CHAINER
from .mimicry import MIMICRY
from .mmgeneration import MMGENERATION
from .studiogan import STUDIOGAN

#: In the order in which their marks are compared with the keys of a file.
CODE_BASES: tuple[CodeBase, ...] = (
    CHAINER,
    MMGENERATION,
    STUDIOGAN,
    MIMICRY,
)
