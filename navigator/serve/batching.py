"""Requests are answered in batches as they come: a bounded line before one worker thread.

The worker takes what waits, `size` at most. With `window_s` above 0 it first gives the oldest so long to be joined; while it
works the next batch gathers by itself, so under load the window costs nothing. The line is bounded: whoever finds it full is
refused at once (see navigator.admission for why), and whoever's deadline passes in it is not worked on.

No torch and no HTTP in here.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from navigator.admission import Overloaded, Served

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
Work = Callable[[Sequence[Asked]], Sequence[Answer | Exception]]

_MEMORY = 0.1  # weight of the newest batch in the running mean of the work


class DeadlinePassed(Exception):
    """The request waited until nobody wanted its answer any more."""


class Closing(Exception):
    """The server is being stopped and takes no more requests."""


@dataclass
class _Entry(Generic[Asked, Answer]):
    asked: Asked
    deadline: float
    came: float
    future: "Future[Served[Answer]]"


class Batcher(Generic[Asked, Answer]):
    """One worker thread that runs `work` on batches, and room for `waiting` requests before it.

    Args:
        work: from n requests to n answers; an answer that is an exception is raised for that request alone. Where `work`
            itself raises, the requests of the batch are tried one by one, so that none suffers for another.
        size: requests of a batch, at most.
        window_s: how long the oldest waits to be joined.
        waiting: requests that may wait.
        observe: called with the size and the seconds of every batch.
    """

    def __init__(
        self, work: Work, size: int, window_s: float, waiting: int, name: str = "batch",
        observe: Callable[[int, float], None] | None = None,
    ):  # fmt: skip
        if size < 1 or window_s < 0 or waiting < 1:
            raise ValueError(f"size {size}, window {window_s} s, waiting {waiting}: allowed are >= 1, >= 0, >= 1")
        self.work, self.size, self.window_s, self.waiting, self._observe = work, size, window_s, waiting, observe
        self._line: deque[_Entry[Asked, Answer]] = deque()
        self._changed, self._closing, self._inside, self._mean_s = threading.Condition(), False, 0, 0.0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Requests that wait now."""
        return len(self._line)

    def submit(self, asked: Asked, deadline: float = float("inf")) -> "Future[Served[Answer]]":
        """The answer to come; cancelling it while it waits makes room.

        Args:
            asked: the request.
            deadline: of time.monotonic(), after which its answer is not wanted.

        Raises:
            Overloaded: there is no room.
            Closing: `close` was called.
        """
        entry: _Entry[Asked, Answer] = _Entry(asked, deadline, time.monotonic(), Future())
        with self._changed:
            if self._closing:
                raise Closing("the server is stopping")
            if len(self._line) >= self.waiting:
                self._sweep()
            if len(self._line) >= self.waiting:
                batches = (len(self._line) + self._inside) / self.size
                raise Overloaded(self.waiting, batches * self._mean_s)
            self._line.append(entry)
            self._changed.notify()
        return entry.future

    def close(self, timeout_s: float | None = None) -> None:
        """Take no more, answer those who wait, and return when that is done or the time is up."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _sweep(self) -> None:
        """Whoever gave up or is too late leaves the line."""
        now, kept = time.monotonic(), deque()
        for entry in self._line:
            if entry.future.cancelled() or _late(entry, now):
                continue
            kept.append(entry)
        self._line = kept

    def _run(self) -> None:
        while batch := self._take():
            now = time.monotonic()
            live = [entry for entry in batch if not _late(entry, now) and entry.future.set_running_or_notify_cancel()]
            if live:
                self._answer(live)
            with self._changed:
                self._inside = 0
            del batch, live  # while the line is idle it holds no answer, and with it no engine that was replaced

    def _take(self) -> list[_Entry[Asked, Answer]]:
        """The next batch; empty when all is done and the line is closed."""
        with self._changed:
            while True:
                while not self._line and not self._closing:
                    self._changed.wait()
                until = (self._line[0].came if self._line else 0.0) + self.window_s
                while 0 < len(self._line) < self.size and not self._closing and (left := until - time.monotonic()) > 0:
                    self._changed.wait(left)
                batch = [self._line.popleft() for _ in range(min(self.size, len(self._line)))]
                self._inside = len(batch)
                if batch or self._closing:
                    return batch

    def _answer(self, batch: Sequence[_Entry[Asked, Answer]]) -> None:
        begun = time.monotonic()
        answers = self._worked([entry.asked for entry in batch])
        spent = time.monotonic() - begun
        self._mean_s += (spent - self._mean_s) * (_MEMORY if self._mean_s else 1)
        if self._observe is not None:
            self._observe(len(batch), spent)
        for entry, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                entry.future.set_exception(answer)
            else:
                entry.future.set_result(Served(answer, begun - entry.came, spent))

    def _worked(self, asked: Sequence[Asked]) -> Sequence[Answer | Exception]:
        try:
            answers = self.work(asked)
            if len(answers) != len(asked):
                raise RuntimeError(f"{len(asked)} requests were given {len(answers)} answers")
            return answers
        except Exception as error:  # whatever it is, the caller of each request hears it
            if len(asked) == 1:
                return [error]
            return [self._worked([one])[0] for one in asked]


def _late(entry: _Entry, now: float) -> bool:
    """Whether its deadline has passed; whoever waits for it is told."""
    if entry.deadline > now:
        return False
    if entry.future.set_running_or_notify_cancel():
        entry.future.set_exception(DeadlinePassed("the deadline passed while the request waited"))
    return True
