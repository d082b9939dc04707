"""One event: what a person did with what a version of the system showed, checked field by field when it comes in.

An event is a line of JSON until its segment is compacted, then a row of Parquet; both have the columns of SCHEMA.
"""

import json
import math
import secrets
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

KINDS = ("impression", "click", "save", "board_created")
LONGEST = {  # characters
    "event_id": 128, "user_id": 256, "system": 128, "kind": 32, "item_id": 512, "board_id": 512, "session": 128,
    "request_id": 128,
}  # fmt: skip
SENT = (*LONGEST, "at")  # what a client may say; received_at is ours
NEEDED = ("user_id", "system", "kind")
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in LONGEST),
        ("at", pa.float64()),  # seconds since 1970: when it happened
        ("received_at", pa.float64()),  # and when it was taken
    ]
)
AHEAD_S, BEHIND_S = 600.0, 31 * 86_400.0  # how far from the server's clock `at` may be
Event = dict[str, Any]


def checked(raw: Any, now: float, also: Mapping[str, str | None]) -> Event | str:
    """The event with what was not said filled in, or the reason for which it is refused.

    Args:
        raw: what a client sent.
        now: of the server, seconds since 1970; stands for `at` where the client gave none.
        also: values of fields that the client left out, such as system and request_id.
    """
    if not isinstance(raw, dict):
        return "an event is an object with kind, user_id and the like"
    unknown = next((name for name in raw if name not in SENT), None)
    if unknown is not None:
        return f"unknown field {str(unknown)[:40]!r}; fields are {', '.join(SENT)}"
    said = {**also, **{name: value for name, value in raw.items() if value is not None}}
    for name, longest in LONGEST.items():
        if (reason := _wrong_text(name, said.get(name), longest)) is not None:
            return reason
    kind = said["kind"]
    if kind not in KINDS:
        return f"kind is {kind!r}; allowed are {', '.join(KINDS)}"
    named = "board_id" if kind == "board_created" else "item_id"
    if said.get(named) is None:
        return f"{named} is missing; a {kind} names one"
    at = said.get("at", now)
    if (reason := _wrong_time(at, now)) is not None:
        return reason
    texts = {name: said.get(name) for name in LONGEST}
    return texts | {"event_id": texts["event_id"] or secrets.token_hex(16), "at": float(at), "received_at": now}


def line_of(event: Event) -> bytes:
    """A line of a segment, its end included."""
    said = {name: value for name, value in event.items() if value is not None}
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def read_line(line: bytes) -> Event | None:
    """The event of a line; None where it is none (a disk lost part of it)."""
    try:
        said = json.loads(line)
    except ValueError:
        return None
    if not isinstance(said, dict) or any(said.get(name) is None for name in ("event_id", *NEEDED, "at", "received_at")):
        return None
    event = {name: said.get(name) for name in SCHEMA.names}
    texts = all(isinstance(event[name], str | None) for name in LONGEST)
    return event if texts and all(isinstance(event[name], float) for name in ("at", "received_at")) else None


def _wrong_text(name: str, value: Any, longest: int) -> str | None:
    if value is None:
        return f"{name} is missing" if name in NEEDED else None
    if not isinstance(value, str):
        return f"{name} is not text"
    if not value or len(value) > longest:
        return f"{name} has {len(value):,} characters; allowed are 1 to {longest}"
    if not value.isprintable() or value != value.strip():  # a lone surrogate is not printable either
        return f"{name} has control characters, or spaces around it"
    return None


def _wrong_time(at: Any, now: float) -> str | None:
    if isinstance(at, bool) or not isinstance(at, int | float) or not math.isfinite(at):
        return "at is not a number of seconds since 1970"
    if at > now + AHEAD_S:
        return f"at is more than {AHEAD_S / 60:.0f} minutes ahead of the server; it is in seconds since 1970"
    if at < now - BEHIND_S:
        return f"at is more than {BEHIND_S / 86_400:.0f} days ago; older events come by navigator import table"
    return None
