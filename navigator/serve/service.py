"""Between HTTP and an engine: which release answers, a bounded line and batches for each kind of request, deadlines, the end.

A batch is answered whole by the engine that is live when it begins, so a cut-over falls between batches and every answer
names the one release that gave it.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from navigator.admission import Overloaded
from navigator.assistant.assistant import Retrieval
from navigator.assistant.conversation import Turn
from navigator.refusal import Refusal
from navigator.release.watch import Watcher
from navigator.serve.batching import Batcher, Closing, DeadlinePassed
from navigator.serve.compare import compare
from navigator.serve.engine import Engine
from navigator.serve.exchange import Done
from navigator.serve.options import ServeOptions
from navigator.serve.talk import PLANS_WAITING, Talk
from navigator.serve.telemetry import Telemetry


@dataclass(frozen=True)
class Reply:
    """An answer, the engine that gave it, and milliseconds by stage, the wait among them."""

    answer: Any
    engine: Engine
    stages_ms: dict[str, float]

    @property
    def release(self) -> str:
        return self.engine.name


class Service:
    """What the routes talk to.

    Attributes:
        engine: the release that answers; `use` sets it.
        watcher: what looks for newly promoted releases; None where the server was started with one model.
        draining: whether the server is being stopped: what is inside is finished, nothing new is taken.
    """

    def __init__(self, engine: Engine, options: ServeOptions | None = None, telemetry: Telemetry | None = None):
        self.engine, self.options = engine, options or ServeOptions()
        self.telemetry, self.draining = telemetry or Telemetry(self.options.usd_per_hour), False
        self.watcher: Watcher[Engine] | None = None
        self.telemetry.switched(engine.name)
        answered: dict[str, Callable[[Engine, Sequence[Any]], Sequence[Done | Exception]]] = {
            "search": Engine.search, "recommend": Engine.recommend, "rank": Engine.rank, "embed": Engine.embed,
        }  # fmt: skip
        size = self.options.batch_size
        self.lines = {kind: self._line(kind, work, size) for kind, work in answered.items()}
        self.lines["compare"] = self._line("compare", lambda engine, asked: compare(engine, asked, self.options), 1)
        self.talk = Talk(engine, self.options)
        self.lines["plan"] = Batcher(_plans, 1, 0.0, PLANS_WAITING, "plan", self.telemetry.batch("plan"))
        self.telemetry.watch_depth(self._depths)

    def use(self, engine: Engine) -> None:
        """Cut over: batches that begin from now on are answered by `engine`; those at work end with the old one."""
        old, self.talk = self.talk, Talk(engine, self.options)
        self.engine = engine
        old.replaced()
        self.telemetry.switched(engine.name)

    @classmethod
    def following(cls, watcher: Watcher[Engine], options: ServeOptions | None = None) -> "Service":
        """A service whose engine is what is live, from now on and until the watcher is closed."""
        service = cls(watcher.current.engine, options)
        service.watcher = watcher
        watcher.start(service.use, lambda: service.telemetry.switched(None))
        return service

    @contextmanager
    def talking(self) -> Iterator[Talk]:
        """The live release's assistant, which goes on until the block ends, whatever is promoted meanwhile."""
        while not (talk := self.talk).enter():
            pass  # it was replaced in this very moment
        try:
            yield talk
        finally:
            talk.leave()

    async def ask(self, kind: str, asked: Any, timeout_s: float | None = None) -> Reply:
        """The answer to one request.

        Raises:
            Refusal: 429 with no room, 503 while stopping, 504 past the deadline, or what the engine refused.
        """
        allowed = self.options.timeout_s if timeout_s is None else timeout_s
        try:
            future = self.lines[kind].submit(asked, time.monotonic() + allowed)
        except Overloaded as full:
            raise overloaded(full) from full
        except Closing as end:
            raise stopping() from end
        try:
            served = await asyncio.wait_for(asyncio.wrap_future(future), allowed)
        except (TimeoutError, DeadlinePassed) as late:
            raise too_late(allowed) from late
        engine, done = served.answer
        return Reply(done.answer, engine, {"queue": round(served.queue_s * 1000, 3)} | done.stages_ms)

    def drain(self, timeout_s: float) -> None:
        """Finish what is inside and take no more."""
        self.draining = True
        until = time.monotonic() + timeout_s
        for line in self.lines.values():
            line.close(max(0.0, until - time.monotonic()))
        self.talk.batch.close(max(0.0, until - time.monotonic()))
        if self.watcher is not None:
            self.watcher.close()

    def _depths(self) -> dict[str, int]:
        return {kind: line.depth for kind, line in self.lines.items()} | {"chat": self.talk.batch.depth}

    def _line(
        self, kind: str, work: Callable[[Engine, Sequence[Any]], Any], size: int
    ) -> Batcher[Any, tuple[Engine, Done]]:
        options = self.options
        window = options.window_ms / 1000 if size > 1 else 0.0

        def answered(asked: Sequence[Any]) -> list[tuple[Engine, Done] | Exception]:
            engine = self.engine
            return [_by(engine, done) for done in work(engine, asked)]

        return Batcher(answered, size, window, options.queue, kind, self.telemetry.batch(kind))


def _by(engine: Engine, done: Done | Exception) -> tuple[Engine, Done] | Exception:
    """A refusal names its release as well."""
    if isinstance(done, Refusal):
        done.release = engine.name
    return done if isinstance(done, Exception) else (engine, done)


def _plans(asked: Sequence[tuple[Talk, tuple[Turn, ...], Retrieval]]) -> list[tuple[Engine, Done] | Exception]:
    """Each turn planned by the release that was live when it came."""
    plans = [(talk, talk.plan(turns, retrieval)) for talk, turns, retrieval in asked]
    return [(talk.engine, Done(plan, talk.engine.name, plan.timings_ms)) for talk, plan in plans]


def overloaded(full: Overloaded) -> Refusal:
    return Refusal(
        429, "overloaded", f"{full.waiting} requests are waiting, as many as may; try again later",
        retry_after_s=full.retry_after_s,
    )  # fmt: skip


def stopping() -> Refusal:
    return Refusal(503, "stopping", "the server is being stopped; ask another one", retry_after_s=5)


def too_late(allowed_s: float) -> Refusal:
    return Refusal(504, "deadline", f"no answer within {allowed_s:g} s; give a longer X-Timeout-Ms or ask again later")
