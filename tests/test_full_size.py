"""End to end at full size: a file of mmgeneration's exact layout (G 42.0 M, D 39.4 M parameters, 326 MB, random weights)
behind a web server is fetched by name, checked, converted and sampled by class name; then again with the server gone.
The same for the authors' snapshots.
"""

import json
import os
import subprocess
import sys

import pytest

from sngan_hub.hub.cache import sha256_of

from . import full_size
from .conftest import ROOT
from .loopback import Server, whole

pytestmark = pytest.mark.slow

HUB = """
import resource, sys, torch
load = lambda name: torch.hub.load({root!r}, name, source="local")
g, d = load({name!r}), load({name!r}.replace("128.", "128_discriminator.") if "." in {name!r} else {name!r} + "_discriminator")
x = g.sample(classes="golden retriever", n=1, seed=3)
score = d(x.float() / 127.5 - 1, torch.tensor([207])).item()
counts = [sum(p.numel() for p in n.parameters()) for n in (g, d)]
print(counts, x.sum().item(), score == score, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def python(*arguments, **environment):
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300,
                          env={**os.environ, **environment})  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.parametrize("family", [pytest.param("mmgeneration", marks=pytest.mark.soak), "authors"])
def test_by_name_at_full_size(family, tmp_path):
    server = Server()
    records = {}
    if family == "mmgeneration":
        tag, files = "", [full_size.mmgen_imagenet(tmp_path)]
        assert 325e6 < files[0].stat().st_size < 327e6
        expected = [41_996_931, 39_443_137]
    else:
        tag, files = ".authors_850k", list(full_size.authors_imagenet(tmp_path))
        expected = [41_996_931, 30_041_857]
    for file, name in zip(
        files, (f"sngan_imagenet128{tag or '.mmgen_fid'}", f"sngan_imagenet128_discriminator{tag}"), strict=False
    ):
        records[name] = {"url": f"{server.url}/{file.name}", "sha256": sha256_of(file)}
        server.answer[f"/{file.name}"] = whole(file.read_bytes())
        file.unlink()
    (tmp_path / "records.json").write_text(json.dumps(records))
    environment = {"SNGAN_HUB_RECORDS": str(tmp_path / "records.json"), "SNGAN_HUB_CACHE": str(tmp_path / "cache")}

    code = HUB.format(root=str(ROOT), name=f"sngan_imagenet128{tag}") if not tag else None
    sample = ["-m", "sngan_hub.cli", "sample", f"sngan_imagenet128{tag}", "--classes", "golden retriever", "n02110958",
              "--n", "2", "--seed", "3", "--out"]  # fmt: skip
    if code:
        *said, rss = python("-c", code, **environment).rsplit(" ", 1)
        assert str(expected) in said[0] and "True" in said[0] and int(rss) < 2.5e6
    python(*sample, str(tmp_path / "a.png"), **environment)
    if tag:
        load = (
            "import torch, sys; n = torch.hub.load(sys.argv[1], 'sngan_imagenet128_discriminator', source='local',"
            "weights='authors_850k'); print(sum(p.numel() for p in n.parameters()), n.classes[207])"
        )
        assert python("-c", load, str(ROOT), **environment).split("\n")[0] == f"{expected[1]} golden retriever"
    assert len(server.log) == len(files)
    server.close()
    python(*sample, str(tmp_path / "b.png"), **environment)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    if code:
        assert python("-c", code, **environment).rsplit(" ", 1)[0] == said[0]
