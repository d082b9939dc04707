"""Admission control: a bounded queue before a fixed number of workers, which refuses at once what it has no room for.

Without a bound an overloaded server answers everybody late, long after most have given up, and stays late when the load has
gone. With one, those who are let in wait for at most `waiting` others, the rest hear "not now" in a millisecond and know when
to come back. How long a request waited and how long it was worked on are kept apart, because only the second is the model's.

No torch and no HTTP in here: a server maps `Overloaded` to status 429 and `retry_after_s` to the header Retry-After.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

_MEMORY = 0.1  # weight of the newest request in the running mean of the work


class Overloaded(Exception):
    """Refused, because as many requests wait as may.

    Attributes:
        waiting: requests that wait, which is the bound.
        retry_after_s: seconds until those ahead are answered, at the pace of the latest ones.
    """

    def __init__(self, waiting: int, retry_after_s: float):
        self.waiting, self.retry_after_s = waiting, retry_after_s
        super().__init__(f"{waiting} requests are waiting, as many as may; try again in {retry_after_s:.1f} s")


@dataclass(frozen=True)
class Served(Generic[Answer]):
    """An answer, the seconds it waited for a worker and the seconds it was worked on."""

    answer: Answer
    queue_s: float
    work_s: float


@dataclass(frozen=True)
class Counts:
    """What became of the requests; received = refused + answered + failed + abandoned + inside.

    Attributes:
        failed: the work raised an error.
        abandoned: cancelled by whoever asked, before a worker took it.
        inside: waiting or worked on now.
    """

    received: int = 0
    refused: int = 0
    answered: int = 0
    failed: int = 0
    abandoned: int = 0
    inside: int = 0

    def since(self, before: "Counts") -> "Counts":
        """What was added after `before`."""
        return Counts(*(getattr(self, f.name) - getattr(before, f.name) for f in fields(self)))


class Admission(Generic[Asked, Answer]):
    """`workers` threads that run `work`, and room for `waiting` requests more."""

    def __init__(self, work: Callable[[Asked], Answer], workers: int, waiting: int):
        """Raises ValueError where workers < 1 or waiting < 0."""
        if workers < 1 or waiting < 0:
            raise ValueError(f"workers {workers}, waiting {waiting}: allowed are workers >= 1, waiting >= 0")
        self.workers, self.waiting = workers, waiting
        self._work, self._pool = work, ThreadPoolExecutor(workers, "admitted")
        self._lock, self._counted = threading.Lock(), dict.fromkeys((f.name for f in fields(Counts)), 0)
        self._mean_work_s = 0.0

    def submit(self, asked: Asked) -> "Future[Served[Answer]]":
        """The answer to come; cancelling it while it waits makes room at once.

        Raises:
            Overloaded: there is no room; nothing was kept of the request.
        """
        with self._lock:
            self._counted["received"] += 1
            if self._counted["inside"] >= self.workers + self.waiting:
                self._counted["refused"] += 1
                ahead_s = self._counted["inside"] * self._mean_work_s / self.workers
                raise Overloaded(self.waiting, ahead_s)
            self._counted["inside"] += 1
        future = self._pool.submit(self._serve, asked, time.perf_counter())
        future.add_done_callback(self._leave)
        return future

    def counts(self) -> Counts:
        """The counts as of now, all of one moment."""
        with self._lock:
            return Counts(**self._counted)

    def close(self) -> None:
        """Refuse what still waits and let the workers finish what they have."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _serve(self, asked: Asked, came: float) -> Served[Answer]:
        begun = time.perf_counter()
        answer = self._work(asked)
        work_s = time.perf_counter() - begun
        with self._lock:
            before = self._mean_work_s or work_s
            self._mean_work_s = before + _MEMORY * (work_s - before)
        return Served(answer, begun - came, work_s)

    def _leave(self, future: "Future[Served[Answer]]") -> None:
        end = "abandoned" if future.cancelled() else "failed" if future.exception() is not None else "answered"
        with self._lock:
            self._counted["inside"] -= 1
            self._counted[end] += 1
