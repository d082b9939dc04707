"""Pictures from strangers: nothing is fetched, no bomb goes off, what comes through can be decoded."""

import base64
import io
import random
import resource
import struct
import time
import zlib
from typing import Any

import pytest
from PIL import Image

from encoders.pictures import flatten_picture
from navigator.refusal import Refusal
from navigator.serve.door.options import DoorOptions
from navigator.serve.door.pictures import picture_of

LIMITS = DoorOptions()


def encoded(format: str, size: tuple[int, int] = (40, 30), mode: str = "RGB", **how: Any) -> bytes:
    """A picture with something in it."""
    image = Image.linear_gradient("L").resize(size).convert(mode)
    file = io.BytesIO()
    image.save(file, format, **how)
    return file.getvalue()


def url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def refused(text: str, limits: DoorOptions = LIMITS) -> str:
    with pytest.raises(Refusal) as caught:
        picture_of(text, limits, "messages.0.content")
    assert caught.value.param == "messages.0.content" and caught.value.status in (400, 413, 415)
    return caught.value.code


def png(width: int, height: int, pixels: bytes = b"", more: bytes = b"") -> bytes:
    """A PNG whose header says what we like."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_honest_pictures_come_through_as_they_are(mode: str):
    data = encoded("PNG", mode=mode)
    assert picture_of(url(data), LIMITS) == data
    assert flatten_picture(data, 64).mode == "RGB"


def test_the_three_formats_and_what_they_are_called():
    for format, kind in (("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp"), ("JPEG", "image/jpg")):
        data = encoded(format)
        assert picture_of(url(data, kind), LIMITS) == data
        assert picture_of(url(data, kind.upper() + ";charset=x").replace("data:", "DATA:"), LIMITS) == data
    assert picture_of(url(encoded("JPEG"), "image/png"), LIMITS)  # the bytes count, browsers mistake the rest
    assert picture_of(url(encoded("JPEG", progressive=True, size=(900, 700)), "image/jpeg"), LIMITS)
    assert picture_of(url(encoded("WEBP", lossless=True)), LIMITS)
    assert picture_of(url(encoded("WEBP", mode="RGBA")), LIMITS)


@pytest.mark.parametrize(
    "text",
    [
        "http://169.254.169.254/latest/meta-data", "https://a.example/x.png", "file:///etc/passwd", "ftp://a", "//a/b.png",
        "/etc/passwd", "", " data:image/png;base64,AA==", "blob:http://localhost/1", "gopher://a", "\ndata:", "dat\u0430:x",
    ],
)  # fmt: skip
def test_nothing_is_fetched(text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("socket.socket.connect", None)
    assert refused(text) == "no_fetching"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("data:", "bad_data_url"), ("data:image/png,abc", "bad_data_url"), ("data:image/png;base64", "bad_data_url"),
        ("data:image/png;base64,%41", "bad_data_url"), ("data:image/png;base64,AAA", "bad_data_url"),
        ("data:image/png;base64,AA AA", "bad_data_url"), ("data:image/png;base64,\u00e4AAA", "bad_data_url"),
        ("data:image/png;base64," + "=" * 9, "bad_data_url"), ("data:image/png;" + "x" * 500 + ";base64,AAAA", "bad_data_url"),
        ("data:image/svg+xml;base64,AAAA", "picture_not_supported"), ("data:;base64,AAAA", "picture_not_supported"),
        ("data:text/html;base64,AAAA", "picture_not_supported"), ("data:image/gif;base64,AAAA", "picture_not_supported"),
        ("data:image/png;base64,", "picture_not_supported"), ("data:image/png;base64,AAAA", "picture_not_supported"),
    ],
)  # fmt: skip
def test_odd_data_urls_are_refused(text: str, code: str):
    assert refused(text) == code


@pytest.mark.parametrize("format", ["GIF", "BMP", "TIFF", "ICO", "PPM", "EPS", "TGA", "PCX"])
def test_other_formats_are_refused_whatever_they_call_themselves(format: str):
    assert refused(url(encoded(format))) == "picture_not_supported"


def test_sizes_are_limits():
    small = DoorOptions(picture_bytes=1000, picture_side=100, picture_pixels=5000)
    assert picture_of(url(encoded("PNG", (100, 50), "1")), small)
    for size in ((101, 2), (2, 101), (100, 51)):
        for format in ("PNG", "JPEG", "WEBP"):
            assert refused(url(encoded(format, size, "L")), small) == "picture_too_large"
    assert refused(url(b"x" * 1001), small) == refused(url(b"x" * 10**6), small) == "picture_too_large"
    assert refused(url(b"x" * 1000), small) == "picture_not_supported"


BOMBS = {
    "sides of 2**31": png(2**31 - 1, 2**31 - 1, zlib.compress(b"")),
    "zeros, honestly announced": png(60_000, 60_000, zlib.compress(bytes(10**7))),
    "one long line": png(20_000, 1, zlib.compress(bytes(20_001))),
    "just over the pixels": png(5001, 5000, zlib.compress(b"")),
    "between Pillow's warning and its error": png(9_999, 9_999, zlib.compress(b"")),
    "webp, extended": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xfe\x3f\0" * 2 + bytes(8),
    "webp, lossless": b"RIFF\x1e\0\0\0WEBPVP8L\x0a\0\0\0\x2f" + b"\xff\xff\xff\x0f" + bytes(20),
    "webp, lossy": b"RIFF\x1e\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f" + bytes(20),
    "jpeg": encoded("JPEG").replace(struct.pack(">HH", 30, 40), b"\xff\xff\xff\xff", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_by_their_headers(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("navigator.serve.door.pictures.flatten_picture", None)  # no pixel is decoded
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    assert refused(url(BOMBS[name])) == "picture_too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB
    assert time.perf_counter() - started < 1


def test_bombs_within_an_honest_header_are_defused():
    endless = png(8, 8, zlib.compress(bytes(10**8), 9))  # 100 MB of zeros for 64 pixels
    text = zlib.compress(bytes(10**8), 9)
    kind, data = b"zTXt", b"a\0\0" + text
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert picture_of(url(endless), LIMITS)
    assert refused(url(png(8, 8, zlib.compress(bytes(72)), chunk))) == "picture_unreadable"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_a_jpeg_of_a_thousand_scans_is_refused_unread():
    file = io.BytesIO()
    Image.new("RGB", (2000, 2000), "red").save(file, "JPEG", progressive=True)
    data = file.getvalue()
    scan = data.rindex(b"\xff\xda")
    many = data[:scan] + data[scan:-2] * 1000 + b"\xff\xd9"
    started = time.perf_counter()
    assert refused(url(many)) == "picture_not_supported"
    assert time.perf_counter() - started < 1


def test_moving_pictures_are_refused():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for format in ("WEBP", "PNG"):
        file = io.BytesIO()
        frames[0].save(file, format, save_all=True, append_images=frames[1:])
        assert refused(url(file.getvalue())) == "picture_animated"


def test_a_phones_photo_with_its_thumbnail_is_a_picture():
    file = io.BytesIO()
    Image.new("RGB", (80, 80), "red").save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    assert picture_of(url(file.getvalue(), "image/jpeg"), LIMITS) == file.getvalue()


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_cut_off_pictures_are_refused(format: str):
    data = encoded(format, (200, 200))
    for share in (0.1, 0.3, 0.5, 0.9):
        code = refused(url(data[: int(len(data) * share)]))
        assert code in ("picture_unreadable", "picture_not_supported"), share


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_mutated_pictures_are_decoded_or_refused(format: str):
    draw = random.Random(7)
    data = encoded(format, (60, 60), "RGB")
    outcomes = set()
    for _ in range(400):
        broken = bytearray(data)
        for _ in range(draw.randint(1, 6)):
            broken[draw.randrange(len(broken) if draw.random() < 0.5 else 64)] = draw.randrange(256)
        try:
            outcomes.add(bool(flatten_picture(picture_of(url(bytes(broken)), LIMITS), 64)))
        except Refusal as refusal:
            outcomes.add(refusal.code)
    assert True in outcomes and "picture_unreadable" in outcomes
