"""Requests that are almost right: valid ones of every POST route, broken in one of many ways, each drawn from a seed."""

import base64
import io
import json
import zlib
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Request:
    """One request; `how` says what was done to it."""

    path: str
    body: bytes
    how: str
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))


ODD_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**31, 2**63, 2**64, -(10**40), 0.1, 1e308, "", " ", "\x00", "a\x00b", "\ud800", "\udfff\ud800",
    "\u202e\u0301\u200b", "\U0001f9ff" * 50, "x" * 3000, "y" * 200_000, [], {}, [[]], [None], ["\x00"], {"": {}}, ["i"] * 1500,
    "../../etc/passwd", "%00", "' OR 1=1 --", "<script>", "http://127.0.0.1:22/", "file:///etc/passwd", "data:,", "NaN",
)  # fmt: skip
ODD_TEXTS = (
    b"", b"null", b"[]", b"{}", b"0", b'"', b"{", b"[" * 20_000, b'{"a":' * 5_000, b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}",
    b'{"text": "\xc3\x28"}', b'{"text": NaN}', b'{"k": 1e999}', b'{"k": -Infinity}', b'{"text": "\\ud800"}', b"\x00" * 100,
    b'{"k": ' + b"9" * 5_000 + b"}", b'{"text": "a", "text": "b"}', b'{"text": "a",}', b"text=a&k=3", b"<xml/>",
)  # fmt: skip
ODD_HEADERS: tuple[dict[str, str], ...] = (
    {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": ""},
    {"Content-Type": "multipart/form-data; boundary=x"}, {"Content-Type": "application/json; charset=utf-16"},
    {"X-Timeout-Ms": "nan"}, {"X-Timeout-Ms": "-1"}, {"X-Timeout-Ms": "9" * 400}, {"X-Timeout-Ms": "60000"},
    {"Content-Encoding": "gzip"}, {"Accept": "image/png"}, {"Origin": "http://evil.example"}, {"Authorization": "Bearer "},
    {"Authorization": "Basic Og=="}, {"X-Request-Id": "a" * 5000}, {"Range": "bytes=0-"}, {"Expect": "nothing"},
)  # fmt: skip


def valid_bodies(items: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Route and a body that it answers, over these item ids."""
    part = {"type": "image_url", "image_url": {"url": data_url(picture("PNG"), "png")}}
    return [
        ("/v1/search", {"text": "red flower", "k": 5, "exclude": [items[0]]}),
        ("/v1/search", {"item": items[1], "k": 3}),
        ("/v1/search", {"image": data_url(picture("PNG"), "png"), "k": 3}),
        ("/v1/recommend", {"history": list(items[:3]), "title": "cats", "text": "a cat", "k": 5, "session": "s1"}),
        ("/v1/recommend", {"image": data_url(picture("JPEG"), "jpeg"), "k": 2, "include_seen": True}),
        ("/v1/rank", {"history": list(items[:2]), "title": "cats", "candidates": list(items[2:6])}),
        ("/v1/compare", {"history": list(items[:2]), "candidates": list(items[2:6]), "k": 2}),
        ("/v1/embeddings", {"model": "m", "input": ["a red flower", "cat"], "encoding_format": "base64", "dimensions": 4}),
        ("/v1/embeddings", {"model": "m", "input": [part, {"type": "item", "item": items[0]}]}),
        ("/v1/events", {"events": [{"kind": "save", "user_id": "u", "item_id": items[0], "event_id": "e", "at": 1.0}]}),
        ("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "a cat"}], "max_tokens": 4}),
        ("/v1/admin/reload", {}),
    ]  # fmt: skip


def mutated(items: Sequence[str], count: int, seed: int, skip: Sequence[str] = ()) -> list[Request]:
    """So many requests; routes in `skip` are left out."""
    rng = np.random.default_rng(seed)
    bodies = [(path, body) for path, body in valid_bodies(items) if path not in skip]
    ways = (_value, _value, _value, _shape, _text, _headers, _picture, _picture)
    drawn = []
    for _ in range(count):
        path, body = bodies[rng.integers(len(bodies))]
        drawn.append(ways[rng.integers(len(ways))](path, body, rng))
    return drawn


def _value(path: str, body: dict[str, Any], rng: np.random.Generator) -> Request:
    """One value, however deep, becomes another."""
    changed, odd = deepcopy(body), ODD_VALUES[rng.integers(len(ODD_VALUES))]
    places = list(_places(changed))
    if not places:
        return Request(path, json.dumps(odd).encode(), "another document")
    holder, key = places[rng.integers(len(places))]
    holder[key] = odd
    return Request(path, json.dumps(changed).encode(), f"{key} = {str(odd)[:30]!r}")


def _shape(path: str, body: dict[str, Any], rng: np.random.Generator) -> Request:
    """A field less, one more, one twice, or the whole in a list."""
    changed, names = deepcopy(body), list(body)
    way = int(rng.integers(4))
    if way == 0 and names:
        del changed[names[rng.integers(len(names))]]
        return Request(path, json.dumps(changed).encode(), "a field less")
    if way == 1:
        return Request(path, json.dumps(changed | {"__proto__": 1, "k": 2}).encode(), "a field more")
    if way == 2 and names:
        twice = json.dumps(changed)[:-1] + ", " + json.dumps({names[0]: ODD_VALUES[rng.integers(len(ODD_VALUES))]})[1:]
        return Request(path, twice.encode(), "a field twice")
    return Request(path, json.dumps([changed]).encode(), "in a list")


def _text(path: str, body: dict[str, Any], rng: np.random.Generator) -> Request:
    """The bytes of the body are cut, changed or replaced."""
    whole = json.dumps(body).encode()
    way = int(rng.integers(4))
    if way == 0:
        return Request(path, whole[: rng.integers(len(whole))], "cut")
    if way == 1:
        at = int(rng.integers(len(whole)))
        return Request(path, whole[:at] + bytes([int(rng.integers(256))]) + whole[at + 1 :], "a byte changed")
    if way == 2:
        return Request(path, whole.decode().encode("utf-16" if rng.integers(2) else "utf-7"), "another encoding")
    return Request(path, ODD_TEXTS[rng.integers(len(ODD_TEXTS))], "another text")


def _headers(path: str, body: dict[str, Any], rng: np.random.Generator) -> Request:
    odd = ODD_HEADERS[rng.integers(len(ODD_HEADERS))]
    return Request(path, json.dumps(body).encode(), f"header {next(iter(odd.items()))}"[:60], JSON | odd)


def _picture(path: str, body: dict[str, Any], rng: np.random.Generator) -> Request:
    """A picture that is none, not whole, moves, or is huge, where the route takes one."""
    name, make = PICTURES[rng.integers(len(PICTURES))]
    url = make(rng)
    if path == "/v1/embeddings":
        body = {"model": "m", "input": [{"type": "image_url", "image_url": {"url": url}}]}
    elif path == "/v1/chat/completions":
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "like this"}]
        body = {"model": "m", "messages": [{"role": "user", "content": content}], "max_tokens": 4}
    else:
        path = path if path == "/v1/recommend" else "/v1/search"
        body = {"image": url, "k": 2}
    return Request(path, json.dumps(body).encode(), f"picture {name}")


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) of a JSON value."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [(value, key) for key in list(keys)] + [place for key in list(keys) for place in _places(value[key])]


@cache
def picture(kind: str, mode: str = "RGB", size: tuple[int, int] = (20, 16), frames: int = 1, **more: Any) -> bytes:
    """A file of `frames` pictures of one colour."""
    made = [Image.new(mode, size, n + 1) for n in range(frames)]
    file = io.BytesIO()
    animated = {"save_all": True, "append_images": made[1:]} if frames > 1 else {}
    made[0].save(file, kind, **animated, **more)
    return file.getvalue()


def data_url(file: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


def _damaged(kind: str) -> Callable[[np.random.Generator], str]:
    def make(rng: np.random.Generator) -> str:
        file = bytearray(picture(kind.upper(), size=(40, 30)))
        for _ in range(int(rng.integers(1, 12))):
            file[int(rng.integers(len(file)))] = int(rng.integers(256))
        return data_url(bytes(file[: int(rng.integers(len(file) // 2, len(file) + 1))]), kind)

    return make


def _claims(width: int, height: int) -> str:
    """A small PNG whose header says that it is huge; its checksum is right."""
    file = bytearray(picture("PNG"))
    file[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    file[29:33] = zlib.crc32(bytes(file[12:29])).to_bytes(4, "big")
    return data_url(bytes(file), "png")


PICTURES: tuple[tuple[str, Callable[[np.random.Generator], str]], ...] = (
    ("damaged PNG", _damaged("png")), ("damaged JPEG", _damaged("jpeg")), ("damaged WebP", _damaged("webp")),
    ("animated GIF", lambda _: data_url(picture("GIF", "P", frames=3), "gif")),
    ("animated WebP", lambda _: data_url(picture("WEBP", frames=3), "webp")),
    ("animated PNG", lambda _: data_url(picture("PNG", frames=3), "png")),
    ("bomb", lambda _: _claims(60_000, 60_000)), ("empty bomb", lambda _: _claims(0, 5)),
    ("thin", lambda _: data_url(picture("PNG", size=(9_000, 1)), "png")),
    ("large", lambda _: data_url(picture("PNG", "L", size=(4_900, 4_900)), "png")),
    ("too large", lambda _: data_url(picture("PNG", "L", size=(5_100, 5_100)), "png")),
    ("one pixel", lambda _: data_url(picture("PNG", size=(1, 1)), "png")),
    ("CMYK", lambda _: data_url(picture("JPEG", "CMYK"), "jpeg")),
    ("16 bit", lambda _: data_url(picture("PNG", "I;16"), "png")),
    ("palette", lambda _: data_url(picture("PNG", "P", transparency=1), "png")),
    ("bad profile", lambda _: data_url(picture("PNG", icc_profile=b"no profile"), "png")),
    ("of another name", lambda _: data_url(picture("WEBP"), "png")),
    ("TIFF", lambda _: data_url(picture("TIFF"), "tiff")), ("TIFF as PNG", lambda _: data_url(picture("TIFF"), "png")),
    ("SVG", lambda _: data_url(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "svg+xml")),
    ("no base64", lambda _: "data:image/png;base64,%%%="), ("no data", lambda _: "data:image/png;base64,"),
    ("padding", lambda _: data_url(picture("PNG"), "png") + "===="), ("no comma", lambda _: "data:image/png;base64"),
    ("spaces", lambda _: data_url(picture("PNG"), "png").replace("A", "A \n")),
    ("fetch", lambda _: "http://127.0.0.1:1/x.png"), ("file", lambda _: "file:///etc/passwd"),
    ("nothing", lambda _: ""), ("noise", lambda rng: data_url(rng.bytes(5_000), "jpeg")),
)  # fmt: skip
