"""Ask: every request through money, rate limits and retries, so many at a time, each step in the journal."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bench.frontier.answer import Failure, Usage, read_ranking, read_usage
from bench.frontier.client import Endpoint, Reply, attempt, open_client
from bench.frontier.journal import ANSWERED, Done, Journal, Sent
from bench.frontier.limits import Booking, Budget, RateLimit, Slot, retry_after_s, wait_s
from bench.frontier.request import Request
from bench.prices import ModelPrice

if TYPE_CHECKING:
    from openai import AsyncOpenAI


@dataclass(frozen=True)
class Manners:
    """How an endpoint is treated.

    Attributes:
        retries: attempts after the first.
        max_wait_s: when an endpoint asks to wait longer, the request is given up.
        concurrency: requests under way at once.
        requests_per_minute, tokens_per_minute: None is no limit of ours.
    """

    retries: int = 4
    max_wait_s: float = 120.0
    concurrency: int = 4
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a request.

    Attributes:
        done: its attempts; none where it was never sent.
        ranking: positions of candidates from 0, None where there is an error.
        kind, error: why there is no ranking.
        earlier: whether an earlier run had asked it.
    """

    request: Request
    done: list[Done]
    ranking: list[int] | None = None
    kind: str | None = None
    error: str | None = None
    earlier: bool = False

    @property
    def usage(self) -> Usage | None:
        return read_usage(self.done[-1].raw or "") if self.done else None


@dataclass
class Asker:
    """Asks one endpoint; `prices` names the models whose cost can be counted."""

    endpoint: Endpoint
    prices: dict[str, ModelPrice]
    manners: Manners = field(default_factory=Manners)
    budget: Budget = field(default_factory=lambda: Budget(None))
    journal: Journal | None = None
    seed: int = 0
    _client: "AsyncOpenAI | None" = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._rate = RateLimit(self.manners.requests_per_minute, self.manners.tokens_per_minute)

    async def ask_all(self, requests: Sequence[Request], ended: Callable[[Outcome], object]) -> list[Outcome]:
        """Ask all, in this order but for concurrency; `ended` is told of each as it ends.

        With a limit of money the first request goes alone: what it is billed corrects the bookings of all others.
        """
        places = asyncio.Semaphore(self.manners.concurrency)

        async def one(request: Request) -> Outcome:
            async with places:
                outcome = await self.ask(request)
            ended(outcome)
            return outcome

        alone = requests[: int(self.budget.limit is not None)]
        self._opened()  # an error of installation is one error, not one a request
        try:
            first = [await one(request) for request in alone]
            return first + list(await asyncio.gather(*(one(request) for request in requests[len(alone) :])))
        finally:
            if self._client is not None:
                await self._client.close()
                self._client = None

    async def ask(self, request: Request) -> Outcome:
        """Ask until there is an answer, or nothing that another attempt could change."""
        if self.journal is not None and self.journal.answered(request.key):
            return conclude(request, self.journal.done[request.key], earlier=True)
        try:
            payload = await asyncio.to_thread(request.payload)
        except OSError as error:
            return Outcome(request, [], kind="broken-picture", error=f"not sent: {error}")
        done: list[Done] = []
        since = time.perf_counter()
        for number in range(1, self.manners.retries + 2):
            try:
                booking, slot = await self._admit(request)
            except Failure as refused:
                return (
                    conclude(request, done) if done else Outcome(request, [], kind=refused.kind, error=refused.message)
                )
            ended, reply = await self._send(request, payload, number, since, booking, slot)
            done.append(ended)
            asked_s = retry_after_s(reply.headers or {})
            if not reply.worth_another or number > self.manners.retries or (asked_s or 0) > self.manners.max_wait_s:
                break
            since = time.perf_counter()
            await asyncio.sleep(wait_s(number, asked_s, self._chance))
        return conclude(request, done)

    def _opened(self) -> "AsyncOpenAI":
        """One client for all requests, so that connections are kept."""
        self._client = self._client or open_client(self.endpoint)
        return self._client

    async def _admit(self, request: Request) -> tuple[Booking, Slot]:
        """Money first, then the rate limit: a slot of the rate limit is of the moment of sending."""
        price = self.prices.get(request.model)
        booking = await self.budget.book(most_usd(request, price) if price else 0.0)
        tokens = request.tokens_in(price.picture) if price else 0
        return booking, await self._rate.take(tokens + request.max_output_tokens)

    async def _send(
        self, request: Request, payload: dict, number: int, since: float, booking: Booking, slot: Slot
    ) -> tuple[Done, Reply]:
        at, price = datetime.now(UTC).isoformat(), self.prices.get(request.model)
        if self.journal is not None:
            self.journal.write(Sent(key=request.key, attempt=number, at=at, usd_at_most=booking.usd if price else None))
        waited_ms = (time.perf_counter() - since) * 1000
        reply = await attempt(self._opened(), self.endpoint, payload)
        usage = read_usage(reply.raw or "")
        usd, known = _cost(reply, usage, price, booking)
        done = Done(
            key=request.key, attempt=number, at=at, query_id=request.query_id, model=request.model,
            base_url=self.endpoint.base_url, request=request.body, waited_ms=waited_ms, latency_ms=reply.latency_ms,
            status=reply.status, headers=reply.headers or {}, raw=reply.raw, error_kind=reply.error_kind, error=reply.error,
            usd=usd, usd_known=known,
        )  # fmt: skip
        if self.journal is not None:
            self.journal.write(done)
        await self.budget.pay(booking, usd or 0.0)
        if usage is not None:
            slot.tokens = usage.prompt_tokens + usage.output_tokens
        return done, reply


def most_usd(request: Request, price: ModelPrice) -> float:
    """The most a request can cost: its input at a token a byte and pictures by the vendor's rule, and the longest answer."""
    return price.usd(request.most_tokens_in(price.picture), request.max_output_tokens)


def conclude(request: Request, done: list[Done], earlier: bool = False) -> Outcome:
    """What the last attempt is worth, from what was written down of it alone."""
    last = done[-1]
    if last.status != ANSWERED or last.raw is None:
        return Outcome(request, done, kind=last.error_kind, error=last.error, earlier=earlier)
    try:
        return Outcome(request, done, read_ranking(last.raw, request.n_candidates), earlier=earlier)
    except Failure as failure:
        return Outcome(request, done, kind=failure.kind, error=failure.message, earlier=earlier)


def _cost(reply: Reply, usage: Usage | None, price: ModelPrice | None, booking: Booking) -> tuple[float | None, bool]:
    """US$ of an attempt, and whether that is known; see Done.usd."""
    if price is None:
        return None, False
    if usage is not None:
        return price.usd(usage.prompt_tokens, usage.output_tokens), True
    return (booking.usd, False) if reply.status in (None, ANSWERED) else (0.0, True)
