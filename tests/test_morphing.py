"""Morphs end at the pure classes, blends mix what they say, walks close with equal steps, films hold their frames."""

import math
import os

import numpy as np
import pytest
import torch
from PIL import Image

from sngan_hub import load_generator
from sngan_hub.networks.registry import create_generator
from sngan_hub.sampling.generate import latents
from sngan_hub.sampling.morph import blend, class_weights_at, morph, save_film, truncated_deviation, walk, walk_latents


@pytest.fixture(scope="module")
def generator():
    return load_generator("sngan_avatars32")


def levels(a, b):
    return (a.int() - b.int()).abs().max().item()


@pytest.mark.parametrize("fast", [False, True])
def test_a_morphs_ends_are_the_pure_classes(generator, fast):
    g = generator.for_sampling() if fast else generator
    for classes in (["planets", "moods"], ["planets", "moods", "thumbs", "sprouts"]):
        rows = morph(g, classes, steps=4, n=3, seed=5, truncation=1.0)
        assert rows.shape == (3, 3 * (len(classes) - 1) + 1, 3, 32, 32) and rows.dtype == torch.uint8
        for i, name in enumerate(classes):
            pure = generator.sample([name], n=3, seed=5, truncation=1.0)
            assert levels(rows[:, 3 * i], pure) <= 1
    assert levels(rows[:, 1], rows[:, 0]) > 3 and levels(rows[:, 1], rows[:, 3]) > 3  # on the way it is neither


def test_a_morph_mixes_gains_and_biases_linearly(generator):
    z, _ = latents(3, 0, 1, generator.z_dim)
    from sngan_hub.sampling.generate import to_uint8

    mixed = load_generator("sngan_avatars32")
    with torch.no_grad():
        for module in mixed.modules():
            if getattr(module, "n_classes", 0) and hasattr(module, "running_mean"):
                for table in (module.weight, module.bias):
                    table[0] = 0.75 * table[0] + 0.25 * table[7]
        expected = to_uint8(mixed(z, torch.tensor([0])))
    assert levels(morph(generator, [0, 7], steps=5, seed=3)[0, 1:2], expected) <= 1


def test_weights_along_the_way():
    assert class_weights_at(3, torch.tensor([0.0, 0.25, 1.0, 1.5, 2.0])).tolist() == [
        [1, 0, 0], [0.75, 0.25, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]
    ]  # fmt: skip


def test_blends(generator):
    pure = generator.sample(["moods"], n=2, seed=9)
    assert levels(blend(generator, ["planets", "moods"], [0, 3], n=2, seed=9), pure) <= 1
    half = morph(generator, ["planets", "moods"], steps=3, n=2, seed=9)[:, 1]
    for weight in (2, 1e308, 5e-324):  # large ones do not overflow
        assert levels(blend(generator, ["planets", "moods"], [weight, weight], n=2, seed=9), half) <= 1
    four = blend(generator, [0, 1, 2, 3], [1, 2, 3, 4], n=1, seed=9)
    assert four.shape == (1, 3, 32, 32) and levels(four, blend(generator, [3, 2, 1, 0], [4, 3, 2, 1], n=1, seed=9)) <= 1


@pytest.mark.parametrize("call, text", [
    (lambda g: morph(g, ["planets"]), "classes must be a list of 2 to 4 classes .got 1."),
    (lambda g: morph(g, ["planets"] * 5), "classes must .*got 5"),
    (lambda g: morph(g, ["planets", "mood"]), "nearest is moods"),
    (lambda g: morph(g, [0, 1], steps=1), "steps must be at least 2 .got 1."),
    (lambda g: morph(g, [0, 1], steps=300, n=10), "at most 2,000 images .got 10 rows of 300 = 3,000."),
    (lambda g: morph(g, [0, 1], seed=-1), "seed must .*got -1"),
    (lambda g: blend(g, [0, 1], [1]), r"weights must have .*for each of the 2 classes.*got \[1\]"),
    (lambda g: blend(g, [0, 1], [0, 0]), "not all 0"),
    (lambda g: blend(g, [0, 1], [1, -1]), "for each of the 2 classes, 0 or more"),
    (lambda g: blend(g, [0, 1], [1, math.nan]), "weights must .*got"),
    (lambda g: walk(g, frames=1), "frames must be between 2 and 2,000 .got 1."),
    (lambda g: walk(g, ["nothing"]), "no class"),
    (lambda g: morph(create_generator("sngan_cnn_cifar10", width=16), [0, 1]), "unconditional and has no classes to mix"),
    (lambda g: walk(create_generator("sngan_cnn_cifar10", width=16), [0]), "classes must be None.*unconditional"),
])  # fmt: skip
def test_what_is_refused_before_anything_is_drawn(generator, call, text):
    with pytest.raises(ValueError, match=text):
        call(generator)


@pytest.mark.parametrize("truncation", [None, 0.5])
def test_a_walk_is_closed_and_its_steps_are_equal(truncation):
    z = walk_latents(4, 100, 128, truncation).double()
    steps = (z - z.roll(-1, 0)).norm(dim=1)  # the last step leads back to the first frame
    assert steps.std() / steps.mean() < 1e-5 and (z[0] - z[50]).norm() > 5 * steps.mean()
    radius = math.sqrt(128) * (1 if truncation is None else truncated_deviation(0.5))
    assert torch.allclose(z.norm(dim=1), torch.full((100,), radius, dtype=torch.float64), rtol=1e-5)
    assert not torch.allclose(z, walk_latents(5, 100, 128, truncation).double())
    assert torch.equal(walk_latents(4, 100, 128, truncation), z.float())
    assert walk_latents(4, 10, 3).shape == (10, 3)  # a small z too


def test_the_truncated_deviation_is_that_of_truncated_latents():
    for t in (0.3, 1.0, 2.5):
        drawn, _ = latents(0, 0, 500, 128, truncation=t)
        assert truncated_deviation(t) == pytest.approx(drawn.std().item(), rel=0.01)
    assert truncated_deviation(20) == pytest.approx(1) and truncated_deviation(math.inf) == 1
    z = walk_latents(4, 100, 128)
    assert torch.equal(walk_latents(4, 100, 128, math.inf), z) and z.abs().max() > 1


def test_walks_through_classes_return(generator):
    frames = torch.cat(list(walk(generator, ["planets", "moods", "thumbs"], frames=12, seed=2, batch_size=5)))
    assert frames.shape == (12, 3, 32, 32)
    z = walk_latents(2, 12, generator.z_dim)
    from sngan_hub.sampling.generate import to_uint8

    for frame, label in ((0, "planets"), (4, "moods"), (8, "thumbs")):  # thirds of the way round
        with torch.no_grad():
            pure = to_uint8(generator(z[frame : frame + 1], torch.tensor([generator.classes.index(label)])))
        assert levels(frames[frame : frame + 1], pure) <= 1
    one = torch.cat(list(walk(generator, "moods", frames=4, seed=2)))
    with torch.no_grad():
        pure = to_uint8(
            generator(walk_latents(2, 4, generator.z_dim), torch.full((4,), generator.classes.index("moods")))
        )
    assert levels(one, pure) <= 1
    plain = create_generator("sngan_cnn_cifar10", width=16).eval()
    assert torch.cat(list(walk(plain, frames=3, seed=1))).shape == (3, 3, 32, 32)


def test_without_an_ffmpeg_program_the_way_out_is_named(tmp_path, monkeypatch):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")

    def absent():
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", absent)
    with pytest.raises(ValueError, match="no ffmpeg program for .mp4 files; install ffmpeg, or name a .gif file"):
        save_film(iter([torch.zeros(1, 3, 8, 8, dtype=torch.uint8)]), tmp_path / "a.mp4")


def test_a_video_that_ffmpeg_could_not_finish_does_not_replace_another(tmp_path, monkeypatch):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    write_frames = imageio_ffmpeg.write_frames

    def on_a_full_disk(path, *arguments, **options):
        try:
            yield from write_frames(path, *arguments, **options)
        finally:
            os.truncate(path, 1000)

    monkeypatch.setattr(imageio_ffmpeg, "write_frames", on_a_full_disk)
    (tmp_path / "a.mp4").write_text("old")
    with pytest.raises(OSError, match="did not write all 3 frames of a video in .*; free disk space"):
        save_film(iter([torch.zeros(3, 3, 64, 64, dtype=torch.uint8)]), tmp_path / "a.mp4", side=64)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"] and (tmp_path / "a.mp4").read_text() == "old"


def test_an_ffmpeg_that_ends_early_is_one_sentence(tmp_path, monkeypatch):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg._io, "get_ffmpeg_exe", lambda: str(tmp_path / "ffmpeg"))
    frames = torch.zeros(3, 3, 256, 256, dtype=torch.uint8)  # more than a pipe holds
    with pytest.raises(OSError, match="^ffmpeg ended before .* a video in .*; free disk space.* or name a .gif file$"):
        save_film(iter([frames]), tmp_path / "a.mp4")


def test_a_colon_in_a_films_name_is_no_protocol(tmp_path, monkeypatch):
    pytest.importorskip("imageio_ffmpeg")
    monkeypatch.chdir(tmp_path)
    assert save_film(iter([torch.zeros(3, 3, 64, 64, dtype=torch.uint8)]), "run:1.mp4", side=64) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["run:1.mp4"]


def test_films_hold_their_frames(generator, tmp_path):
    frames = torch.cat(list(walk(generator, "planets", frames=10, seed=0)))
    assert save_film(iter([frames]), tmp_path / "a.gif", fps=20) == 10
    with Image.open(tmp_path / "a.gif") as film:
        assert (film.n_frames, film.size, film.info["loop"], film.info["duration"]) == (10, (256, 256), 0, 50)
        film.seek(7)
        shown = np.asarray(film.convert("RGB"), np.float32)[4::8, 4::8]
    assert np.abs(shown - frames[7].permute(1, 2, 0).numpy()).mean() < 4  # 128 colours
    save_film(iter([frames.repeat_interleave(3, 0)[:24]]), tmp_path / "b.gif", fps=24)
    with Image.open(tmp_path / "b.gif") as film:
        durations = []
        for i in range(film.n_frames):
            film.seek(i)
            durations.append(film.info["duration"])
    assert sum(durations) == 1000  # a second, in hundredths
    (tmp_path / "b.gif").unlink()
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    assert save_film(iter([frames[:6], frames[6:]]), tmp_path / "a.mp4", fps=12.5) == 10
    read = imageio_ffmpeg.read_frames(str(tmp_path / "a.mp4"))
    about = next(read)
    assert (
        about["source_size"] == (256, 256)
        and about["codec"] == "h264"
        and about["fps"] == 12.5
        and "yuv420p" in about["pix_fmt"]
    )
    pictures = [np.frombuffer(frame, np.uint8).reshape(256, 256, 3) for frame in read]
    assert len(pictures) == 10
    assert np.abs(pictures[3][4::8, 4::8].astype(float) - frames[3].permute(1, 2, 0).numpy()).mean() < 8
    assert {p.name for p in tmp_path.iterdir()} == {"a.gif", "a.mp4"}
    with pytest.raises(ValueError, match=r"out must be one of FILE.gif, FILE.mp4"):
        save_film(iter([frames]), tmp_path / "a.avi")
    for name in ("b.gif", "b.mp4"):
        with pytest.raises(ValueError, match=r"fps must be a number above 0 and up to 1,000 \(got 0\)"):
            save_film(iter([frames]), tmp_path / name, fps=0)
        with pytest.raises(ValueError, match=r"frames must hold at least one image \(got none\)"):
            save_film(iter([]), tmp_path / name)

    def broken():
        yield frames
        raise RuntimeError("the generator died")

    for name in ("b.gif", "b.mp4"):
        with pytest.raises(RuntimeError):
            save_film(broken(), tmp_path / name)
    assert {p.name for p in tmp_path.iterdir()} == {"a.gif", "a.mp4"}  # whole or not at all
