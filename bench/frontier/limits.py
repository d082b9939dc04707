"""What holds requests back: money, the endpoint's rate limits, and waiting after a failure.

All of it runs in one event loop, so that a check and the booking after it cannot be torn apart by another request.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from bench.frontier.answer import Failure

WINDOW_S = 60.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 60.0


@dataclass(frozen=True)
class Booking:
    """Money set aside for a request: `usd`, for one that should cost `most` at most."""

    usd: float
    most: float


class Budget:
    """US$ that may be spent. A request books the most it can cost before it is sent, and pays what it did cost after.

    So what was paid and what is booked together never pass the limit. When a booking does not fit, it waits for the requests
    under way, which may cost less than they booked; when nothing is under way and it still does not fit, this and every
    later one is refused (small requests do not slip past a large one, which would choose what is measured).

    Should an endpoint bill more than a request should cost at most, the rule behind it is wrong: later bookings grow by that
    factor.

    Attributes:
        limit: US$, or None.
        spent: US$ paid, earlier runs included.
        factor: most that a request was billed over what it should cost at most, at least 1.
        closed: whether a booking was refused.
    """

    def __init__(self, limit: float | None, spent: float = 0.0):
        self.limit, self.spent = limit, spent
        self.factor, self.closed = 1.0, False
        self._booked: list[Booking] = []
        self._changed = asyncio.Condition()

    async def book(self, most: float) -> Booking:
        """Set money aside for a request that costs at most `most`; waits for those under way where it must.

        Raises:
            Failure: of kind budget; nothing may be sent.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self.closed or self._fits(most) or not self._booked)
            if self.closed or not self._fits(most):
                self.closed = True
                left = f"${self.spent:.4g} of ${self.limit:g} is spent, this may cost ${most * self.factor:.4g}"
                raise Failure("budget", f"not sent: {left}")
            self._booked.append(Booking(most * self.factor, most))
            return self._booked[-1]

    async def pay(self, booking: Booking, usd: float) -> None:
        """Turn a booking into what the request cost."""
        async with self._changed:
            self._booked.remove(booking)
            self.spent += usd
            if usd > booking.most > 0:
                self.factor = max(self.factor, usd / booking.most)
            self._changed.notify_all()

    def _fits(self, most: float) -> bool:
        booked = sum(booking.usd for booking in self._booked)
        return self.limit is None or self.spent + booked + most * self.factor <= self.limit


@dataclass
class Slot:
    """A request inside the window: when it was let through and what tokens it counts as."""

    at: float
    tokens: int


class RateLimit:
    """At most so many requests and tokens in any 60 seconds, first come first served.

    A request that alone is larger than the token limit goes when the window is empty: waiting longer would not help it.

    Args:
        requests, tokens: a minute; None is no limit.
        now: the clock, seconds.
    """

    def __init__(self, requests: float | None, tokens: float | None, now: Callable[[], float] = time.monotonic):
        self.requests, self.tokens, self._now = requests, tokens, now
        self._slots: deque[Slot] = deque()
        self._turn = asyncio.Lock()

    async def take(self, tokens: int) -> Slot:
        """Wait for room; correct the slot's tokens once they are known."""
        async with self._turn:
            while (wait := self._wait(tokens)) > 0:
                await asyncio.sleep(wait)
            self._slots.append(Slot(self._now(), tokens))
            return self._slots[-1]

    def _wait(self, tokens: int) -> float:
        now = self._now()
        while self._slots and self._slots[0].at <= now - WINDOW_S:
            self._slots.popleft()
        full = self.requests is not None and len(self._slots) + 1 > self.requests
        full |= self.tokens is not None and sum(s.tokens for s in self._slots) + tokens > self.tokens
        return self._slots[0].at + WINDOW_S - now if full and self._slots else 0.0


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that the endpoint asks to wait: retry-after-ms, else Retry-After in seconds or as an HTTP date."""
    asked = headers.get("retry-after", "")
    try:
        return max(0.0, float(headers["retry-after-ms"]) / 1000 if "retry-after-ms" in headers else float(asked))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(asked)
    except ValueError:
        return None
    return max(0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds())


def wait_s(attempt: int, asked_s: float | None, chance: random.Random) -> float:
    """Seconds before the attempt after the `attempt`-th (from 1).

    What the endpoint asked for and up to a tenth more, so that requests refused together do not come back together; else
    0.5 s doubled each time, at most 60 s, of which half is drawn.
    """
    if asked_s is not None:
        return asked_s * (1 + 0.1 * chance.random())
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(attempt - 1, 20)) * (0.5 + 0.5 * chance.random())
