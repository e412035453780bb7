"""Pictures of noise, and the command that prepares them."""

import io

import numpy as np
import pytest
from PIL import Image

from training.__main__ import main


def prepare(*arguments):
    return main(["prepare", *map(str, arguments)])


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        prepare(*arguments)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def picture(seed, size=(40, 30), mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(seed, kind="PNG", **options):
    buffer = io.BytesIO()
    picture(seed).save(buffer, kind, **options)
    return buffer.getvalue()
