"""The event store as its writers see it: append, and once the answer is there the events are on the disk.

One thread of the process writes. While it waits for the disk, further appends queue up and share the next flush (group
commit). Several processes may write to one store, each to segments of its own; a thread of each compacts what is closed.

An event id that was taken before is a duplicate, so that a client may send again what was not answered. A writer knows the
latest `remember` ids: those found at opening, and those taken since. What is repeated beyond that, or through another
process, is found when the store is read (navigator.events.reading): there an id counts once, whatever happened.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from navigator.contracts import UserError
from navigator.events.compact import compact
from navigator.events.event import checked
from navigator.events.folder import make_store
from navigator.events.writer import Appended, Pending, Writer, refuse
from navigator.refusal import Refusal

__all__ = ["Appended", "EventStore", "Limits"]


@dataclass(frozen=True)
class Limits:
    """Of one writer.

    Attributes:
        segment_bytes, segment_s: a segment is closed above this size or age.
        remember: event ids that are known again when they come again.
        most: events in one append; waiting: events that may wait for the disk, above it appends are refused.
        compact_s: pause between compactions; 0 never compacts.
    """

    segment_bytes: int = 16 << 20
    segment_s: float = 900.0
    remember: int = 200_000
    most: int = 1_000
    waiting: int = 20_000
    compact_s: float = 60.0


class EventStore:
    """See the module; made by `open`, closed by `close` or at the end of a with block."""

    def __init__(self, folder: Path, limits: Limits, clock: Callable[[], float]):
        self.folder, self.limits, self._clock = folder, limits, clock
        self._writer = Writer(folder, limits.segment_bytes, limits.segment_s, limits.remember)
        self._queue: queue.SimpleQueue[Pending | None] = queue.SimpleQueue()
        self._lock, self._waiting, self._closed = threading.Lock(), 0, threading.Event()
        self._threads = [threading.Thread(target=self._write, name="events-write", daemon=True)]
        if limits.compact_s:
            self._threads.append(threading.Thread(target=self._compact, name="events-compact", daemon=True))
        self.trouble = ""
        for thread in self._threads:
            thread.start()

    @classmethod
    def open(
        cls, folder: str | Path, policy: Path | None = None, limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> "EventStore":  # fmt: skip
        """Open a store for writing; made where there is none.

        Args:
            folder: of the store, on a local disk.
            policy: YAML file of purposes that a new store is read under; graph/policy.yaml by default.
            limits: see Limits.
            clock: seconds since 1970.

        Raises:
            UserError: the folder holds other things, another policy, or cannot be written.
        """
        try:
            make_store(Path(folder), policy)
            return cls(Path(folder), limits or Limits(), clock)
        except OSError as error:
            raise UserError(
                f"event store {folder} cannot be written ({error.strerror}); give a folder that can"
            ) from error

    def submit(self, events: Sequence[Any], **also: str | None) -> "Future[Appended]":
        """Take events; the future's result is there once they are on the disk.

        Args:
            events: objects as POST /v1/events has them; one that is not allowed is refused by index, the others count.
            also: values of fields that an event leaves out, such as system="v1", request_id="...".

        Raises:
            Refusal: 400 too many at once, 429 too many waiting, 503 closed. The future raises 503 `events_unavailable`
                when the disk does not take them: none of them is acknowledged then.
        """
        if len(events) > self.limits.most:
            message = f"{len(events):,} events at once; allowed are {self.limits.most:,}"
            raise Refusal(400, "too_many_events", message, "events")
        rows = [checked(event, self._clock(), also) for event in events]
        pending = Pending(rows, Future())
        pending.future.set_running_or_notify_cancel()  # who no longer waits does not stop the writer
        with self._lock:  # so that nothing comes behind the end of the queue
            if self._closed.is_set() or not self._threads[0].is_alive():
                raise Refusal(503, "events_unavailable", "the event store is closed; try again", retry_after_s=5)
            if self._waiting + len(rows) > self.limits.waiting:
                raise Refusal(429, "events_busy", "too many events wait for the disk; try again", retry_after_s=1)
            self._waiting += len(rows)
            self._queue.put(pending)
        return pending.future

    def append(self, events: Sequence[Any], **also: str | None) -> Appended:
        """As `submit`, waiting for the disk."""
        return self.submit(events, **also).result()

    async def append_async(self, events: Sequence[Any], **also: str | None) -> Appended:
        """As `submit`, for an event loop."""
        return await asyncio.wrap_future(self.submit(events, **also))

    @property
    def figures(self) -> Mapping[str, int]:
        """Since opening: accepted, duplicates, refused, groups (flushes), failed; and how many wait."""
        return {**self._writer.figures, "waiting": self._waiting}

    def close(self) -> None:
        """Write what waits, let go of the segment; later appends are refused."""
        with self._lock:
            if not self._closed.is_set():
                self._closed.set()
                self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> "EventStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self) -> None:
        """The writing thread: whatever waits is one group. However it ends, nobody waits for ever."""
        group: list[Pending] | None = []
        try:
            while (group := self._next_group()) is not None:
                self._writer.commit(group)
                with self._lock:
                    self._waiting -= sum(len(pending.rows) for pending in group)
        finally:
            with self._lock:
                self._closed.set()
            refuse([*(group or []), *self._left()], "the event store stopped")
            self._writer.close()

    def _left(self) -> list[Pending]:
        left = []
        while not self._queue.empty():
            left.append(self._queue.get())
        return [pending for pending in left if pending is not None]

    def _next_group(self) -> list[Pending] | None:
        """What waits, at least one; empty after a second without any, None at the end of the queue."""
        try:
            group = [self._queue.get(timeout=1.0)]
            while group[-1] is not None and not self._queue.empty():
                group.append(self._queue.get())
        except queue.Empty:
            return []
        if group[-1] is None:
            self._queue.put(None)  # the end, for the next round
            group.pop()
            return [pending for pending in group if pending is not None] or None
        return [pending for pending in group if pending is not None]

    def _compact(self) -> None:
        """The compacting thread; trouble is kept for whoever asks, and tried again."""
        while not self._closed.wait(self.limits.compact_s):
            try:
                compact(self.folder, self._clock(), wait=False)
                self.trouble = ""
            except UserError as error:
                self.trouble = str(error)
