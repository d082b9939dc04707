"""What the page is shown in its tests: a dozen drawn pictures, two boards, and what a test wants to be different."""

import io
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, ImageDraw

COLOURS = (
    "crimson", "orange", "gold", "seagreen", "teal", "navy", "purple", "hotpink", "sienna", "gray", "black", "skyblue",
)  # fmt: skip
HOSTILE = "<img src=x onerror=alert(1)>"
TITLES = {f"i{n}": f"{colour.capitalize()} thing" for n, colour in enumerate(COLOURS)} | {"i3": HOSTILE}
BOARDS = {"ann/warm": ("Warm", ["i0", "i1", "i2"]), "bob/cold": ("Cold", ["i4", "i5", "i11"])}


@dataclass
class World:
    """What the server does, and what was asked of it.

    Attributes:
        busy: requests under /v1 that are still to be refused with 429 and Retry-After 1.
        full: requests to /v1/events that are still to be refused with 503; `turned` has their bodies.
        key: the API key that is asked for; None: none.
        keeps: whether events are kept at all.
        native: whether a native model is served.
        slow_s: seconds that /v1/events takes to answer, once it has noted what came.
        words: pieces of an answer of the chat, `pause_s` apart.
        asked: (path, body) of every POST but events.
        events: what came to /v1/events, each event_id once as the real store keeps it: what a browser gave up half way while
            it left the page, it sends again.
        batches: how many requests brought them.
    """

    busy: int = 0
    full: int = 0
    turned: list[Any] = field(default_factory=list)
    key: str | None = None
    keeps: bool = True
    native: bool = True
    words: tuple[str, ...] = ("I found ", "two things ", "like that: ", HOSTILE)
    pause_s: float = 0.02
    asked: list[tuple[str, Any]] = field(default_factory=list)
    slow_s: float = 0.0
    events: list[dict[str, Any]] = field(default_factory=list)
    batches: int = 0
    url: str = ""

    def keep(self, came: list[dict[str, Any]]) -> int:
        """Note events that come in one request; how many are new. One that comes again must be what it was."""
        known = {event["event_id"]: event for event in self.events}
        again = [event for event in came if event["event_id"] in known]
        assert all(event == known[event["event_id"]] for event in again), "an event_id came again for something else"
        self.events += [event for event in came if event["event_id"] not in known]
        self.batches += 1
        return len(came) - len(again)

    def bodies(self, path: str) -> list[Any]:
        """The bodies that were posted to a path."""
        return [body for asked, body in self.asked if asked == path]


def brief(item: str, score: float = 0.5) -> dict[str, Any]:
    """An item as results and boards name it."""
    return {"item": item, "title": TITLES[item], "score": score, "picture": f"/v1/items/{item}/picture"}


def drawn(item: str, size: int) -> bytes:
    """The picture of an item: a disc of its colour, WebP."""
    image = Image.new("RGB", (size, size), "white")
    ImageDraw.Draw(image).ellipse((size // 8, size // 8, size * 7 // 8, size * 7 // 8), COLOURS[int(item[1:])])
    made = io.BytesIO()
    image.save(made, "WEBP")
    return made.getvalue()


def left(exclude: list[str], k: int) -> list[str]:
    """The first k items that are not excluded."""
    return [item for item in TITLES if item not in exclude][:k]
