"""Groups of appends: what is refused, what is a duplicate, what goes to the disk; and who is told."""

import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from graph.forgotten import Forgotten, forgotten_path, read_forgotten
from navigator.contracts import UserError
from navigator.events.event import Event, line_of
from navigator.events.known import KnownIds
from navigator.events.segment import Segment
from navigator.refusal import Refusal

FORGOTTEN = "this user_id was forgotten; nothing more is kept of it"


@dataclass(frozen=True)
class Appended:
    """What became of an append.

    Attributes:
        accepted: events that are on the disk now.
        duplicates: events whose id was taken before: they are on the disk already.
        refused: (index, reason) of the others.
        ids: of each event, made where the client gave none; None where it was refused.
    """

    accepted: int
    duplicates: int
    refused: tuple[tuple[int, str], ...]
    ids: tuple[str | None, ...]


@dataclass(frozen=True)
class Pending:
    """An append that waits: each row an event or the reason against it."""

    rows: list[Event | str]
    future: "Future[Appended]"


def refuse(group: list[Pending], why: str) -> None:
    """Tell everybody who still waits that nothing of theirs was acknowledged."""
    for pending in group:
        if not pending.future.done():
            said = f"{why}; none of these was kept, send them again"
            pending.future.set_exception(Refusal(503, "events_unavailable", said, retry_after_s=5))


class Writer:
    """Used by one thread."""

    def __init__(self, folder: Path, segment_bytes: int, segment_s: float, remember: int):
        self._folder, self._limits = folder, (segment_bytes, segment_s)
        self._known = KnownIds(folder, remember)
        self._list, self._stamp, self._forgotten = forgotten_path(folder), 0, Forgotten()
        self._segment: Segment | None = None
        self.figures = dict.fromkeys(("accepted", "duplicates", "refused", "groups", "failed"), 0)

    def commit(self, group: list[Pending]) -> None:
        """Write a group and answer it; an empty one lets a segment end by its age."""
        try:
            self._roll()
            if any(pending.rows for pending in group):
                self._begin()
            answers, lines = self._sort(group)
            if lines and self._segment is not None:
                self._segment.append(b"".join(lines))
                self.figures["groups"] += 1
        except (OSError, UserError) as error:
            self.close()
            self._known.undo()
            self.figures["failed"] += sum(len(pending.rows) for pending in group)
            refuse(group, f"events cannot be written now ({getattr(error, 'strerror', None) or error})")
            return
        self._known.keep()
        for pending, answer in zip(group, answers, strict=True):
            self.figures["accepted"] += answer.accepted
            self.figures["duplicates"] += answer.duplicates
            self.figures["refused"] += len(answer.refused)
            pending.future.set_result(answer)

    def close(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def _sort(self, group: list[Pending]) -> tuple[list[Appended], list[bytes]]:
        answers, lines = [], []
        for pending in group:
            before, duplicates, refused, ids = len(lines), 0, [], []
            for index, row in enumerate(pending.rows):
                if not isinstance(row, str) and self._forgotten.hashes:
                    row = FORGOTTEN if self._forgotten.hash_of(row["user_id"]) in self._forgotten.hashes else row
                ids.append(None if isinstance(row, str) else row["event_id"])
                if isinstance(row, str):
                    refused.append((index, row))
                elif self._known.add(row["event_id"]):
                    lines.append(line_of(row))
                else:
                    duplicates += 1
            answers.append(Appended(len(lines) - before, duplicates, tuple(refused), tuple(ids)))
        return answers, lines

    def _roll(self) -> None:
        """End the segment when it is large or old, or somebody was forgotten since: then it may be searched at once."""
        most, age = self._limits
        if self._read_forgotten() or (
            self._segment is not None and (self._segment.size > most or time.monotonic() - self._segment.begun > age)
        ):
            self.close()

    def _begin(self) -> None:
        if self._segment is None:
            self._segment = Segment(self._folder, self._stamp)

    def _read_forgotten(self) -> bool:
        """Whether the list of forgotten people changed; it is read then."""
        try:
            stamp = self._list.stat().st_size  # it only grows
        except FileNotFoundError:
            stamp = 0
        if stamp == self._stamp:
            return False
        self._forgotten, self._stamp = read_forgotten(self._list), stamp
        return True
