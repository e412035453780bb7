"""Scores against independent NumPy and SciPy formulas on the same features, against torch-fidelity, and known answers."""

import numpy as np
import pytest
import torch

from sngan_hub.metrics.scores import (
    fid,
    inception_score,
    inception_score_chainer,
    kid,
    kid_of_subsets,
    prdc,
    statistics,
)

pytest.importorskip("torch_fidelity")
linalg = pytest.importorskip("scipy.linalg")


def sets(n=300, m=400, width=12, shift=0.4):
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(width, width)) / width**0.5
    return (torch.from_numpy((rng.normal(size=(n, width)) @ mix + shift).astype(np.float32)),
            torch.from_numpy((rng.normal(size=(m, width)) ** 3).astype(np.float32)))  # fmt: skip


def scipy_fid(a, b):
    """Heusel et al. 2017, with SciPy's matrix root: the formula of the authors' FID and of TTUR."""
    a, b = a.double().numpy(), b.double().numpy()
    root = linalg.sqrtm(np.cov(a, rowvar=False) @ np.cov(b, rowvar=False)).real
    return (((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a, rowvar=False) + np.cov(b, rowvar=False))
            - 2 * np.trace(root))  # fmt: skip


def numpy_kid(a, b):
    """Equation (4) of Binkowski et al. 2018, by loops over pairs."""

    def k(x, y):
        return (float(np.dot(x, y)) / len(x) + 1) ** 3

    a, b = a.double().numpy(), b.double().numpy()
    n, m = len(a), len(b)
    return (sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
            + sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
            - 2 * sum(k(x, y) for x in a for y in b) / (n * m))  # fmt: skip


def numpy_prdc(fake, real, k):
    """Definitions of Kynkaanniemi et al. 2019 and Naeem et al. 2020, by loops over images."""

    def distances(x, y):
        return np.array([[np.linalg.norm(p - q) for q in y] for p in x])

    fake, real = fake.double().numpy(), real.double().numpy()
    ball_real = np.sort(distances(real, real), 1)[:, k]
    ball_fake = np.sort(distances(fake, fake), 1)[:, k]
    d = distances(fake, real)
    return {
        "precision": np.mean([any(d[i, j] <= ball_real[j] for j in range(len(real))) for i in range(len(fake))]),
        "recall": np.mean([any(d[i, j] <= ball_fake[i] for i in range(len(fake))) for j in range(len(real))]),
        "density": np.sum([d[i, j] <= ball_real[j] for i in range(len(fake)) for j in range(len(real))])
        / k
        / len(fake),
        "coverage": np.mean([d[:, j].min() <= ball_real[j] for j in range(len(real))]),
    }


def test_fid_is_scipys():
    a, b = sets()
    assert fid(a, b) == pytest.approx(scipy_fid(a, b), rel=1e-6) and fid(a, b) > 1
    assert abs(fid(a, a)) < 1e-6 and abs(fid(b, b)) < 1e-6


def test_statistics_block_by_block_are_numpys(monkeypatch):
    from sngan_hub.metrics import scores

    a, _ = sets(n=257)
    monkeypatch.setattr(scores, "BLOCK", 50)
    found = statistics(a + 1000)  # a large mean, which a one-pass formula would lose
    assert np.allclose(found["mu"], (a + 1000).double().numpy().mean(0), rtol=1e-12)
    assert np.allclose(found["sigma"], np.cov((a + 1000).double().numpy(), rowvar=False), rtol=1e-9, atol=1e-9)


def test_kid_is_the_mean_over_pairs_and_over_torch_fidelitys_subsets():
    a, b = sets(60, 80)
    assert kid(a, b) == pytest.approx(numpy_kid(a, b), rel=1e-9)
    found = kid_of_subsets(a, b, subsets=4, size=30)
    rng, values = np.random.RandomState(2020), []
    for _ in range(4):
        first = a[rng.choice(60, 30, replace=False)]
        values.append(numpy_kid(first, b[rng.choice(80, 30, replace=False)]))
    assert found.mean == pytest.approx(np.mean(values), rel=1e-6)
    assert found.deviation == pytest.approx(np.std(values), rel=1e-6)
    with pytest.raises(ValueError, match="kid needs at least 1000 images on both sides .got 60 and 80."):
        kid_of_subsets(a, b)


def test_kid_never_holds_the_kernel_of_all_pairs(monkeypatch):
    """50,000 images would take 20 GB; the sums of the pieces are those of the whole."""
    from sngan_hub.metrics import scores

    a, b = sets(60, 80)
    whole, whole_subsets = kid(a, b), kid_of_subsets(a, b, subsets=3, size=30)
    sizes, inner = [], scores._kernel
    monkeypatch.setattr(scores, "PIECE", 13)
    monkeypatch.setattr(scores, "_kernel", lambda x, y: sizes.append(max(len(x), len(y))) or inner(x, y))
    assert kid(a, b) == pytest.approx(whole, rel=1e-12) == kid(a, b, scores.mean_kernel(b))
    assert kid_of_subsets(a, b, subsets=3, size=30) == pytest.approx(whole_subsets, rel=1e-12)
    assert max(sizes) == 13 and min(sizes) < 13


def logits_by_hand():
    """Two splits of three images over 1,008 outputs: probabilities given, logits their logarithms."""
    p = np.full((6, 1008), 0.2 / 1006)
    for row, column in enumerate((1, 2, 3, 1, 1, 1007)):  # 0 and 1001 to 1007 are no classes of ImageNet
        p[row, column] = 0.5
        p[row, 10] = 0.3
    return p / p.sum(1, keepdims=True)


def test_both_inception_scores_on_probabilities_by_hand():
    """OpenAI's: all 1,008 outputs. The authors' Chainer version: 1 to 1,000, not normalised. The splits in order."""
    p = logits_by_hand()
    logits = torch.from_numpy(np.log(p)).float()
    openai, chainer = [], []
    for part in (p[:3], p[3:]):
        kl = [sum(q * (np.log(q) - np.log(m)) for q, m in zip(row, part.mean(0), strict=True)) for row in part]
        openai.append(np.exp(np.mean(kl)))
        cut = part[:, 1:1001]
        kl = [sum(q * (np.log(q) - np.log(m)) for q, m in zip(row, cut.mean(0), strict=True)) for row in cut]
        chainer.append(np.exp(np.mean(kl)))
    found = inception_score(logits, 2, shuffle=False)
    assert found.mean == pytest.approx(np.mean(openai), rel=1e-5) and found.deviation == pytest.approx(
        np.std(openai), rel=1e-4
    )
    other = inception_score_chainer(logits, 2)
    assert other.mean == pytest.approx(np.mean(chainer), rel=1e-5) and other.deviation == pytest.approx(
        np.std(chainer), rel=1e-4
    )
    assert abs(other.mean - found.mean) > 0.01  # the test tells one from the other
    assert inception_score(torch.zeros(10, 1008), 2).mean == pytest.approx(1)
    certain = torch.eye(1008)[:10] * 100
    assert inception_score(certain, 1).mean == pytest.approx(10, rel=1e-5)


def test_the_shuffled_inception_score_is_torch_fidelitys():
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = torch.randn(200, 1008, generator=torch.Generator().manual_seed(0)) * 3
    theirs = isc_features_to_metric(logits)  # its own defaults
    assert inception_score(logits).mean == pytest.approx(theirs["inception_score_mean"], rel=1e-9)
    order = np.random.RandomState(2020).permutation(200)
    assert inception_score(logits).mean == pytest.approx(inception_score(logits[order], shuffle=False).mean, rel=1e-9)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_prdc_is_its_definition_and_torch_fidelitys(k, monkeypatch):
    from torch_fidelity.metric_prc import prc_features_to_metric

    from sngan_hub.metrics import scores

    fake, real = sets(70, 90, 4, 0.2)
    monkeypatch.setattr(scores, "PIECE", 16)
    found = prdc(fake, real, k)
    assert found == pytest.approx(numpy_prdc(fake, real, k), rel=1e-9)
    theirs = prc_features_to_metric(
        fake, real, prc_neighborhood=k, prc_batch_size=100, save_cpu_ram=False, verbose=False
    )
    assert found["precision"] == pytest.approx(theirs["precision"], abs=1e-3)
    assert found["recall"] == pytest.approx(theirs["recall"], abs=1e-3)


def test_precision_and_recall_are_not_swapped():
    """Perfect samples of one of two modes: precise, half recalled. Both modes and as many images of nothing: the reverse."""
    rng = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 200, 2, generator=rng)
    real = torch.cat([one, two + 100])
    copies = torch.randn(200, 2, generator=rng)
    found = prdc(copies, real, 5)
    assert found["precision"] > 0.95 and found["recall"] == pytest.approx(0.5, abs=0.03)
    assert found["coverage"] == pytest.approx(0.5, abs=0.03)
    spread = torch.cat(
        [real + 0.01 * torch.randn(400, 2, generator=rng), -1000 - 50 * torch.rand(400, 2, generator=rng)]
    )
    found = prdc(spread, real, 5)
    assert found["precision"] == pytest.approx(0.5, abs=0.03) and found["recall"] > 0.95
    assert found["coverage"] > 0.95 and found["density"] == pytest.approx(0.5, abs=0.1)
    with pytest.raises(ValueError, match="prdc needs more than 5 images on both sides .got 4 and 400."):
        prdc(copies[:4], real)


def test_the_order_of_images_changes_nothing():
    a, b = sets()
    turned, order = a.flip(0), torch.randperm(len(b), generator=torch.Generator().manual_seed(1))
    for score in (fid, kid, lambda x, y: prdc(x, y)["coverage"], lambda x, y: prdc(x, y)["density"]):
        assert score(turned, b[order]) == pytest.approx(score(a, b), rel=1e-6)
