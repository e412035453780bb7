"""The page's API: the pictures and scores of the library, and a sentence for bad calls and odd or hostile uploads."""

import io
import time

import numpy as np
from PIL import Image, PngImagePlugin

from sngan_hub import load_generator
from sngan_hub.hub.load import load_discriminator
from sngan_hub.metrics.discriminator_scores import scores_of
from sngan_hub.sampling.pictures import to_pil

from . import space_server
from .space_server import pixels

served, page_url, client = space_server.served, space_server.page_url, space_server.client


def test_the_endpoint_gives_the_same_picture_for_the_same_seed(client):
    calls = [client.predict("sngan_avatars32", ["planets"], 2, "9", 0.8, api_name="/sample") for _ in range(2)]
    pictures = [open(gallery[0]["image"], "rb").read() for gallery, *_ in calls]
    assert pictures[0] == pictures[1] and calls[0][1] == "9" and len(calls[0][0]) == 2
    pure = load_generator("sngan_avatars32").sample(["planets"], 2, 9, 0.8)
    shown = pixels(calls[0][0][1]["image"])[2::4, 2::4]
    assert np.abs(shown.astype(int) - pure[1].permute(1, 2, 0).numpy()).max() <= 1


def test_morph_walk_and_judge_through_the_api(client):
    from gradio_client import handle_file

    strip, seed, said, _ = client.predict("sngan_avatars32", ["planets", "moods"], "6", "5", api_name="/morph")
    image = pixels(strip)
    assert seed == "5" and "24 images" in said and image.shape[1] > image.shape[0]
    g = load_generator("sngan_avatars32")
    for column, name in ((0, "planets"), (5, "moods")):  # its ends are the pure classes' pictures
        pure = g.sample([name], 1, 5)[0].permute(1, 2, 0).numpy()
        x = 2 + column * 98
        assert np.abs(image[2 + 1 : 98 : 3, x + 1 : x + 96 : 3].astype(int) - pure).max() <= 1
    blend, *_ = client.predict("sngan_avatars32", ["planets", "moods"], "0, 1", "5", api_name="/morph")
    assert np.abs(pixels(blend)[3:98:3, 3:98:3].astype(int) - pure).max() <= 1
    film, seed, said, *_ = client.predict("sngan_avatars32", ["planets"], 2, "3", api_name="/walk")
    film = film["video"] if isinstance(film, dict) else film
    from imageio_ffmpeg import count_frames_and_secs

    assert count_frames_and_secs(film)[0] == 48 and "48 frames" in said
    *_, kept = client.predict("sngan_avatars32", ["planets"], 1, "3", 0, True, api_name="/walk")
    assert Image.open(kept).n_frames == 24
    path = g.sample(["planets"], 1, 5)
    file = film + ".png"
    to_pil(path[0]).save(file)
    scores = client.predict("sngan_avatars32", handle_file(file), api_name="/judge")
    expected = scores_of(load_discriminator("sngan_avatars32"), path)[0]
    assert list(scores) == g.classes and np.abs(np.array(list(scores.values())) - expected.numpy()).max() < 1e-3


BAD = [
    ("/sample", ("sngan_x", [], 2, "1", 0)), ("/sample", ("../etc/passwd", [], 2, "1", 0)),
    ("/sample", ("sngan_avatars32", ["planet"], 2, "1", 0)), ("/sample", ("sngan_avatars32", ["Sneaker"], 2, "1", 0)),
    ("/sample", ("sngan_avatars32", ["planets"] * 5, 64, "1", 0)), ("/sample", ("sngan_avatars32", [99], 2, "1", 0)),
    *[("/sample", ("sngan_avatars32", ["planets"], n, "1", 0)) for n in (-2, 0, 65, 1.5, 1e18, None, "many")],
    *[("/sample", ("sngan_avatars32", ["planets"], 2, s, 0)) for s in ("-1", str(2**63), "seven", "1e3", "0x10", "9" * 5000)],
    *[("/sample", ("sngan_avatars32", ["planets"], 2, "1", t)) for t in (-1, -0.001, 1e9, "much", float("nan"))],
    *[("/morph", ("sngan_avatars32", c, "8", "1", 0)) for c in ([], ["planets"], ["planets"] * 5, ["planets", "x"], None)],
    *[("/morph", ("sngan_avatars32", ["planets", "moods"], w, "1", 0))
      for w in ("1", "17", "-3", "2.5", "a", "1,2,3", "0,0", "-1,2", "nan,1", "inf,1", ",", "1e400,1")],
    *[("/morph", ("sngan_avatars32", ["planets", "moods"], "8", s, 0)) for s in ("-1", "x", str(2**63))],
    *[("/walk", ("sngan_avatars32", ["planets"], s, "1", 0)) for s in (0, -1, 13, 1.5, 1e9, None, "long")],
    *[("/walk", ("sngan_avatars32", c, 1, "1", 0)) for c in (["planets"] * 5, ["nobody"], [""])],
    *[("/walk", ("sngan_avatars32", ["planets"], 1, s, 0)) for s in ("-1", "x")],
    *[("/walk", ("sngan_avatars32", ["planets"], 1, "1", t)) for t in (-3, 1e300, "x")],
    ("/judge", ("sngan_avatars32", None)), ("/judge", ("nobody", None)),
]  # fmt: skip


def answers(client, calls):
    """(result, None) or (None, error) of each (endpoint, arguments), a few at a time: the page's queue holds 32."""
    for first in range(0, len(calls), 16):
        jobs = [client.submit(*arguments, api_name=endpoint) for endpoint, arguments in calls[first : first + 16]]
        for job in jobs:
            error = job.exception(60)
            yield (None, error) if error else (job.result(), None)


def test_out_of_range_calls_are_answered_with_a_sentence(client, page_url):
    assert len(BAD) >= 60
    for (endpoint, arguments), (_, error) in zip(BAD, answers(client, BAD), strict=True):
        assert error, f"{endpoint} took {arguments}"
        said = str(error)
        assert said and "Traceback" not in said and "show_error=True" not in said and len(said) < 3000, (
            endpoint,
            arguments,
            said,
        )
    told = type(client)(page_url, verbose=False, download_files=False)  # not the 256 files, one by one
    gallery, _, said, *_ = told.predict("sngan_avatars32", [], 64, "1", 0, api_name="/sample")
    assert len(gallery) == 256 and "the first 4 of 10 classes" in said  # what is left out is said


def uploads(folder):
    """(path, whether it can be scored) of sixty odd and hostile files."""
    rng = np.random.default_rng(0)
    base = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    made = []

    def put(name, data, good):
        (folder / name).write_bytes(data)
        made.append((folder / name, good))

    def encoded(image, kind, **options):
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    for kind, suffix in (
        ("PNG", "png"),
        ("JPEG", "jpg"),
        ("WEBP", "webp"),
        ("BMP", "bmp"),
        ("GIF", "gif"),
        ("TIFF", "tif"),
        ("PPM", "ppm"),
    ):
        put(f"plain.{suffix}", encoded(base, kind), True)
        data = encoded(base, kind)
        put(f"cut.{suffix}", data[: len(data) // 3], kind in ("GIF",) and None)
        put(f"head.{suffix}", data[:20], False)
        put(f"other.{suffix}", b"<html>not a picture</html>" + data, False)
    for mode in ("L", "LA", "P", "1", "RGBA", "CMYK", "I;16", "F", "YCbCr", "LAB", "HSV"):
        image = (
            base.convert("L").convert("I").point(lambda v: v * 256).convert("I;16")
            if mode == "I;16"
            else base.convert(mode)
        )
        kind = "TIFF" if mode in ("CMYK", "F", "YCbCr", "LAB", "HSV") else "PNG"
        try:
            put(
                f"mode-{mode.replace(';', '')}.{kind.lower()}",
                encoded(image, kind),
                mode not in ("LAB", "HSV", "YCbCr") or None,
            )
        except OSError:
            continue
    put("cmyk.jpg", encoded(base.convert("CMYK"), "JPEG"), True)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        put(f"turned{orientation}.jpg", encoded(base, "JPEG", exif=exif), True)
    frames = [Image.new("RGB", (40, 40), c) for c in ("white", "black")]
    put("animated.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), True)
    put("animated.webp", encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]), True)
    put("animated.png", encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]), True)
    put("one.png", encoded(Image.new("RGB", (1, 1)), "PNG"), True)
    put("thin.png", encoded(Image.new("RGB", (5000, 1)), "PNG"), True)
    put("fifty.png", encoded(Image.new("L", (10_000, 5_000)), "PNG"), False)
    put("bomb.png", encoded(Image.new("1", (30_000, 30_000)), "PNG", optimize=False), False)
    info = PngImagePlugin.PngInfo()
    info.add_text("a", "b" * 1000, zip=True)
    put("text.png", encoded(base, "PNG", pnginfo=info), True)
    put("script.svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", False)
    put("script.png", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", False)
    put("empty.png", b"", False)
    put("zeros.png", bytes(1000), False)
    put("pickle.png", b"\x80\x04cos\nsystem\n(S'true'\ntR.", False)
    put("zip.jpg", b"PK\x03\x04" + bytes(100), False)
    put("no-suffix", encoded(base, "PNG"), True)
    put("naïve 絵 🎲.png", encoded(base, "PNG"), True)
    put("shell;rm -rf.png", encoded(base, "PNG"), True)
    put("large.bmp", encoded(Image.new("RGB", (2200, 2200)), "BMP"), False)  # 14 MB
    broken = bytearray(encoded(base, "PNG"))
    broken[200] ^= 255
    put("crc.png", bytes(broken), False)
    huge = bytearray(encoded(base, "PNG"))
    huge[16:24] = b"\x7f\xff\xff\xff" * 2
    put("lies.png", bytes(huge), False)
    return made


def test_odd_and_hostile_uploads_are_scored_or_refused_in_a_sentence(client, served, tmp_path):
    from gradio_client import handle_file

    made = uploads(tmp_path)
    assert len(made) >= 60
    calls = [("/judge", ("sngan_avatars32", handle_file(str(path)))) for path, _ in made]
    start = time.monotonic()
    for (path, good), (scores, error) in zip(made, answers(client, calls), strict=True):
        if error:
            said = str(error)
            assert good is not True, f"{path.name}: {said}"
            assert "Traceback" not in said and "show_error=True" not in said and len(said) < 1000, (
                f"{path.name}: {said}"
            )
        else:
            assert good is not False and len(scores) == 10 and all(np.isfinite(list(scores.values()))), path.name
        assert time.monotonic() - start < 20, path.name  # since the one before it was answered
        start = time.monotonic()
    assert served[1].poll() is None
    upright = [
        client.predict("sngan_avatars32", handle_file(str(tmp_path / f"turned{o}.jpg")), api_name="/judge")
        for o in (1, 3)
    ]
    assert upright[0] != upright[1]  # a picture and itself upside down are two
    white = tmp_path / "white.png"
    Image.new("RGB", (40, 40), "white").save(white)
    first, only = (client.predict("sngan_avatars32", handle_file(str(tmp_path / n)), api_name="/judge")
                   for n in ("animated.gif", "white.png"))  # fmt: skip
    assert np.allclose(list(first.values()), list(only.values()), atol=1e-3)  # the first frame is the one that counts
