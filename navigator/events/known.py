"""Event ids that were taken lately, so that what a client sends again is not kept twice."""

import hashlib
from itertools import islice
from pathlib import Path

from navigator.events.compact import read_rows
from navigator.events.event import read_line
from navigator.events.folder import locked, segments, settled, split_lines


class KnownIds:
    """The latest `most` ids, 16 bytes of their SHA-256 each; the oldest fall out.

    Those of the group that is being written are kept apart until it is on the disk.
    """

    def __init__(self, folder: Path, most: int):
        self._most, self._kept, self._fresh = most, dict.fromkeys(reversed(_latest(folder, most))), {}

    def add(self, event_id: str) -> bool:
        """Whether the id is new."""
        key = _key(event_id)
        if key in self._kept or key in self._fresh:
            return False
        self._fresh[key] = None
        return True

    def keep(self) -> None:
        self._kept |= self._fresh
        self._fresh = {}
        for key in list(islice(self._kept, max(0, len(self._kept) - self._most))):
            del self._kept[key]

    def undo(self) -> None:
        self._fresh = {}


def _latest(folder: Path, most: int) -> list[bytes]:
    """Keys of the latest ids of a store, latest first."""
    found: list[bytes] = []
    with locked(folder, shared=True):
        for path in reversed(segments(folder)):
            lines, _ = split_lines(path.read_bytes())
            events = [event for line in lines if (event := read_line(line)) is not None]
            found += [_key(event["event_id"]) for event in reversed(events)]
            if len(found) >= most:
                return found[:most]
        for path in sorted(settled(folder), key=lambda path: path.stem, reverse=True):  # names begin with the time
            ids = read_rows(path, ["event_id"])["event_id"].to_pylist()
            found += [_key(event_id) for event_id in reversed(ids)]
            if len(found) >= most:
                return found[:most]
    return found


def _key(event_id: str) -> bytes:
    return hashlib.sha256(event_id.encode()).digest()[:16]
