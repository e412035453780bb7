"""The published Inception file in this network: the same features and logits as torch-fidelity computes from it."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sngan_hub.metrics import inception, published_inception
from sngan_hub.metrics.inception import Inception, features_of, load_inception
from sngan_hub.metrics.published_inception import PUBLISHED, as_graph, find_published, graph_name, read_published
from sngan_hub.metrics.scores import fid, inception_score, kid_of_subsets, prdc

from .loopback import Server, whole

theirs = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")


@pytest.fixture
def extractor(monkeypatch):
    """torch-fidelity's network with random weights, and statistics that keep features apart."""
    torch.manual_seed(0)
    monkeypatch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: {})
    with monkeypatch.context() as patch:
        patch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        network = theirs.FeatureExtractorInceptionV3("x", ["2048", "logits_unbiased", "logits"])
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.1, 0.3)
            module.bias.data.uniform_(-0.1, 0.2)
    return network


def pictures(n, seed=0):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (n, 3, 8, 8), dtype=np.uint8)
    return torch.from_numpy(small.repeat(4, 2).repeat(4, 3))


def test_every_layer_has_its_name_in_the_graph(extractor):
    convolutions = [
        name.removesuffix(".conv") for name, module in extractor.named_modules() if isinstance(module, torch.nn.Conv2d)
    ]
    names = {graph_name(name) for name in convolutions}
    assert len(names) == len(convolutions) == 94
    assert graph_name("Mixed_6c.branch7x7dbl_5") == "mixed_5/tower_1/conv_4" and graph_name("Conv2d_4a_3x3") == "conv_4"
    assert graph_name("Mixed_7a.branch7x7x3_1") == "mixed_8/tower_1/conv" and "mixed_10/tower_mixed_conv_1" in names


def test_features_and_logits_are_torch_fidelitys(extractor):
    """Any weights, so also the published: features to 1e-4, logits with and without the bias."""
    network = Inception(*as_graph(extractor.state_dict())[:1], head=as_graph(extractor.state_dict())[1]).eval()
    images = pictures(2)
    ours = features_of(network, images)
    expected, unbiased, logits = extractor(images)
    scale = expected.abs().max()
    assert (ours - expected).abs().max() < 1e-4 * scale and expected.std(0).max() > 1e-3 * scale
    assert (ours @ network.head.weight.t() - unbiased).abs().max() < 1e-4 * unbiased.abs().max()
    assert (ours @ network.head.weight.t() + network.head.bias - logits).abs().max() < 1e-4 * logits.abs().max()


@pytest.mark.soak
@pytest.mark.slow
def test_scores_are_those_of_torch_fidelitys_interface_on_the_same_files(extractor, tmp_path):
    """FID, KID, IS, precision and recall of two folders of 32 PNG files: within 1e-3. The real weights if installed."""
    torch_fidelity = pytest.importorskip("torch_fidelity")
    state = extractor.state_dict()
    try:
        real = load_inception()
    except FileNotFoundError:
        real = None
    if real is not None:  # into torch-fidelity's layout: kernels with folded norms
        for name, module in extractor.named_modules():
            if isinstance(module, torch.nn.Conv2d):
                conv, prefix = real.convs[graph_name(name.removesuffix(".conv"))], name.removesuffix("conv")
                state[f"{prefix}conv.weight"], state[f"{prefix}bn.bias"] = conv.kernel.contiguous(), conv.bias
                state[f"{prefix}bn.running_mean"] = torch.zeros_like(conv.bias)
                state[f"{prefix}bn.running_var"] = torch.full_like(conv.bias, 1 - 1e-3)
    torch.save(state, tmp_path / "weights.pth")
    folders, sets = [], [pictures(32, 1), pictures(32, 2) // 2 + 60]
    for i, images in enumerate(sets):
        folders.append(tmp_path / str(i))
        folders[-1].mkdir()
        for j, image in enumerate(images):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folders[-1] / f"{j:02d}.png")
    expected = torch_fidelity.calculate_metrics(
        input1=str(folders[0]), input2=str(folders[1]), isc=True, fid=True, kid=True, prc=True, kid_subset_size=20,
        kid_subsets=5, isc_splits=2, feature_extractor_weights_path=str(tmp_path / "weights.pth"), cuda=False,
        cache=False, verbose=False, batch_size=16, prc_neighborhood=3, feature_extractor="inception-v3-compat",
        feature_layer_prc="2048",
    )  # fmt: skip
    tensors, head = as_graph(state)
    network = Inception(tensors, head=head).eval()
    a, b = (torch.cat([features_of(network, part) for part in images.split(16)]) for images in sets)
    assert fid(a, b) == pytest.approx(expected["frechet_inception_distance"], rel=1e-3)
    found = kid_of_subsets(a, b, 5, 20)
    assert found.mean == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-3)
    assert found.deviation == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-2)
    score = inception_score(a @ head.weight.t(), 2)
    assert score.mean == pytest.approx(expected["inception_score_mean"], rel=1e-3)
    parts = prdc(a, b, 3)
    assert (parts["precision"], parts["recall"]) == pytest.approx((expected["precision"], expected["recall"]), abs=1e-6)
    single = torch.cat([features_of(network, part) for part in sets[0].flip(0).split(5)])
    assert fid(single, b) == pytest.approx(fid(a, b), rel=1e-4)  # order and batch size
    assert abs(fid(a, a)) < 1e-3 * fid(a, b)


# ---------------------------------------------------------------------------------------------------------------------
# The file


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No file on this machine, and addresses that serve nothing."""
    monkeypatch.setenv("SNGAN_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("SNGAN_HUB_INCEPTION", raising=False)
    return tmp_path


def published_as(monkeypatch, data, urls):
    from dataclasses import replace

    record = replace(PUBLISHED, sha256=hashlib.sha256(data).hexdigest(), urls=urls)
    for module in (published_inception, inception):
        monkeypatch.setattr(module, "PUBLISHED", record)
        monkeypatch.setattr(module, "BYTES", len(data))


def test_without_the_file_a_line_says_where_to_put_it(nowhere, monkeypatch):
    monkeypatch.setattr("sngan_hub.hub.transfer.PAUSE", 0)
    published_as(monkeypatch, b"x", ("http://127.0.0.1:9/weights.pth",))
    assert find_published(download=False) is None
    with pytest.raises(FileNotFoundError) as error:
        load_inception(logits=True)
    text = str(error.value)
    assert "\n" not in text and text.startswith(
        "Inception Scores need the Inception weights with logits (96 MB). Offline: put"
    )
    assert str(nowhere / "cache/downloads/inception.2015" / PUBLISHED.file) in text and "SNGAN_HUB_INCEPTION" in text


def test_only_inception_scores_need_the_file(nowhere, monkeypatch, image_folder):
    """Said before anything is measured; the other protocols of the same data start without it."""
    from sngan_hub import Generator
    from sngan_hub.metrics.protocols import evaluate

    monkeypatch.setattr("sngan_hub.hub.transfer.PAUSE", 0)
    published_as(monkeypatch, b"x", ("http://127.0.0.1:9/weights.pth",))
    g = Generator(32, 2, widths=[4] * 4, classes=["left", "right"])
    with pytest.raises(FileNotFoundError, match="is50k and is_paper: Inception Scores need .*do not need this file"):
        evaluate(g, str(image_folder), ["diversity", "is50k", "is_paper"])
    evaluate(g, str(image_folder), ["diversity", "intra_fid", "fid50k_train"])


def test_it_is_fetched_once_and_its_hash_checked(nowhere, monkeypatch, extractor, tmp_path):
    torch.save(extractor.state_dict(), tmp_path / "w.pth")
    data = (tmp_path / "w.pth").read_bytes()
    server = Server()
    server.answer["/weights.pth"] = whole(data)
    published_as(monkeypatch, data, (f"{server.url}/weights.pth",))
    network = load_inception(logits=True)
    assert load_inception(logits=True).head is not None and len(server.log) == 1
    server.close()
    assert network.sha256 == hashlib.sha256(data).hexdigest() and network.head.weight.shape == (1008, 2048)
    for name in published_inception.NAMES:  # where torch-fidelity and pytorch-fid keep theirs
        place = nowhere / "torch/hub/checkpoints" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        monkeypatch.setenv("SNGAN_HUB_CACHE", str(nowhere / "none"))
        assert find_published(download=False) == place
        place.unlink()
    (tmp_path / "w.pth").write_bytes(data[:-1] + b"x")
    monkeypatch.setenv("SNGAN_HUB_INCEPTION", str(tmp_path / "w.pth"))
    with pytest.raises(ValueError, match="sha256 must be [0-9a-f]{64} .got "):
        load_inception(logits=True)


def test_torch_fidelitys_published_address_is_ours():
    assert theirs.URL_INCEPTION_V3 == PUBLISHED.urls[0] and "6726825d" in PUBLISHED.file
    assert PUBLISHED.sha256.startswith("6726825d")


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_the_published_file_runs_no_code(tmp_path, monkeypatch):
    file, touched = tmp_path / "weights.pth", tmp_path / "touched"
    torch.save({"fc.weight": Touch(touched)}, file)
    published_as(monkeypatch, file.read_bytes(), ())
    with pytest.raises(pickle.UnpicklingError):
        read_published(file)
    assert not touched.exists()
