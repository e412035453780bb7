"""What the tests of fine-tuning share: a donor, folders of pictures that it drew, and the command."""

import numpy as np
import pytest
import torch
from PIL import Image

from sngan_hub import load_discriminator, load_generator
from training.__main__ import main

DONOR = "sngan_avatars32"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """``make(names)`` -> a folder of class folders with six pictures each, drawn by the donor where it knows the class."""
    home = tmp_path_factory.mktemp("data")
    g = load_generator(DONOR)
    rng = np.random.default_rng(0)

    def make(*names):
        root = home / "-".join(names)[:80]
        for k, name in enumerate(names):
            (root / name).mkdir(parents=True, exist_ok=True)
            images = (
                g.sample([name], 6, k)
                if name in g.classes
                else torch.from_numpy(rng.integers(0, 256, (6, 3, 32, 32), dtype=np.uint8))
            )
            for i, image in enumerate(images):
                Image.fromarray(image.permute(1, 2, 0).numpy()).save(root / name / f"{i}.png")
        return root

    return make


def finetune(folder, out, *flags, donor=DONOR):
    options = {"steps": 2, "batch_size": 4, "g_batch_size": 4, "threads": 1, "log_every": 1, "spectrum_every": 0}
    given = [f"--{key}={value}" for key, value in options.items() if not any(f.startswith(f"--{key}") for f in flags)]
    assert main(["finetune", "--from", str(donor), "--data", str(folder), "--out", str(out), *given, *flags]) == 0
    return load_generator(out), load_discriminator(out)


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["finetune", *map(str, arguments)])
    said = capsys.readouterr().err
    assert stop.value.code == 2 and "Traceback" not in said
    return said.splitlines()[-1]
