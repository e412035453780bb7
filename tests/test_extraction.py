"""Features of many batches: on several workers, stored on disk, in full precision."""

import time
import weakref

import pytest
import torch

from sngan_hub.metrics import extraction
from sngan_hub.metrics.extraction import Worker, extract
from sngan_hub.metrics.protocols import Evaluation

from .test_protocols import Tiny, features_of_samples, tiny, tiny_features

pytest.importorskip("torch_fidelity")

tiny = tiny


def test_workers_compute_at_the_same_time_and_in_order(monkeypatch):
    import threading

    together = threading.Barrier(3, timeout=20)  # passes only if three compute at once
    monkeypatch.setattr(
        extraction,
        "features_of",
        lambda network, x, precision: (together.wait(), torch.tensor([[float(x), network]]))[1],
    )
    workers = [Worker(None, i) for i in range(3)]
    threads = torch.get_num_threads()
    found = extract(workers, [lambda worker, i=i: i for i in range(9)], 9)
    assert found[:, 0].tolist() == list(range(9)) and set(found[:, 1].tolist()) == {0, 1, 2}
    assert torch.get_num_threads() == threads


def test_features_are_computed_without_tf32(tiny, monkeypatch):
    """The resize is a product of matrices, which a training run on a GPU allows in TF32."""
    seen = []

    def features(*of):
        seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))
        return tiny_features(*of)

    monkeypatch.setattr(extraction, "features_of", features)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        Evaluation(Tiny(), "source").sample_features(20)
        assert set(seen) == {(False, False)} and torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def test_large_features_are_saved_rarely(monkeypatch, tmp_path):
    """A save of a million features takes a minute of a hard disk: it must not be due again at once."""
    saves = []

    def slow(path, array):
        saves.append(len(array))
        time.sleep(0.2)

    monkeypatch.setattr(extraction, "SAVE_EVERY", 0)
    monkeypatch.setattr(extraction, "write_array", slow)
    monkeypatch.setattr(extraction, "features_of", lambda network, images, precision: images)
    tasks = [lambda worker: torch.zeros(1, 2)] * 50
    extraction.extract([extraction.Worker(None, None)], tasks, 50, store=tmp_path / "features.npy")
    assert saves == [1, 50], "the first is due at once, the next after 20 times its 0.2 s"


def test_a_longer_file_of_another_process_is_kept(monkeypatch, tmp_path):
    """Two evaluations of one generator at once: the shorter one ends last."""
    store = tmp_path / "features.npy"
    monkeypatch.setattr(extraction, "features_of", lambda network, images, precision: images)
    whole = torch.arange(10.0)[:, None]

    def meanwhile(worker):
        extract([worker], [lambda worker: whole], 10, store=store)
        return whole[:4]

    assert len(extract([Worker(None, None)], [meanwhile], 4, store=store)) == 4
    assert torch.equal(extraction.load_stored(store), whole)
    extract([Worker(None, None)], [lambda worker: whole], 10, store=store, known=whole)
    assert len(extraction.load_stored(store)) == 20


def test_batches_of_features_are_not_kept(monkeypatch):
    """Kept until the end, they scatter over the memory that the network frees: 30,000 images took 6 GB."""
    alive, most = weakref.WeakSet(), []

    def new(network, images, precision):
        most.append(len(alive))
        alive.add(features := torch.full((5, 2), float(images)))
        return features

    monkeypatch.setattr(extraction, "features_of", new)
    found = extract([Worker(None, None)], [lambda worker, i=i: i for i in range(10)], 50)
    assert torch.equal(found[:, 0], torch.arange(10.0).repeat_interleave(5)) and max(most) <= 1


def test_a_killed_extraction_has_stored_what_it_had(tiny, monkeypatch, tmp_path):
    """Not only an interrupted one: the features of every minute are on disk."""
    monkeypatch.setattr(extraction, "SAVE_EVERY", 0)
    monkeypatch.setattr(extraction, "RARELY", 0)
    calls = []

    def fails(*of):
        calls.append(1)
        if len(calls) == 8:
            raise MemoryError
        return tiny_features(*of)

    monkeypatch.setattr(extraction, "features_of", fails)
    e = Evaluation(Tiny(), "source", batch_size=1000)
    with pytest.raises(MemoryError):
        e.sample_features(10_000)
    assert len(extraction.load_stored(e.sample_store("turn"))) == 7000


def test_features_of_many_samples_survive_an_interruption(tiny, monkeypatch):
    """The first run is interrupted after 30 batches; the second computes the rest alone, with the same result."""
    whole = features_of_samples(50_000)
    calls = []

    def interrupted(*of):
        calls.append(1)
        if len(calls) == 31:
            raise KeyboardInterrupt
        return tiny_features(*of)

    monkeypatch.setattr(extraction, "features_of", interrupted)
    e = Evaluation(Tiny(), "source", batch_size=1000)
    with pytest.raises(KeyboardInterrupt):
        e.sample_features(50_000)
    again = Evaluation(Tiny(), "source", batch_size=1000)
    assert torch.allclose(again.sample_features(50_000), whole) and len(calls) == 31 + 20
    other = Evaluation(Tiny(), "source", 1, batch_size=1000)  # another seed finds nothing
    assert not torch.allclose(other.sample_features(50_000), whole) and len(calls) == 51 + 50
    trained = Tiny()
    trained.weight.data += 1
    assert not Evaluation(trained, "source").sample_store("turn").exists()  # nor do other weights
