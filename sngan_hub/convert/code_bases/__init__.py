"""The code bases whose files are read: each in a file of its own, and a row here."""

from ..code_base import CodeBase
from .chainer import CHAINER
from .mimicry import MIMICRY
from .mmgeneration import MMGENERATION
from .studiogan import STUDIOGAN

#: In the order in which keys are compared with their marks.
CODE_BASES: tuple[CodeBase, ...] = (
    CHAINER,
    MMGENERATION,
    STUDIOGAN,
    MIMICRY,
)
