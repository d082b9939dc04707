"""The same requests to both sides, one after the other, taking turns at who goes first; whatever fails becomes a row.

Turns, because a shared machine speeds up and slows down within minutes, and because the second to be asked finds the
processor's caches warm. Answers arrive as NumPy arrays, so an accelerator has finished when the clock is read.
"""

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from bench.shadow.sides import Side
from bench.shadow.traffic import Request
from bench.systems.base import RequestError
from navigator.contracts import UserError

LABELS = ("old", "new")
WARM_UP = 3
FAILURES = (RequestError, UserError, RuntimeError, ValueError)  # torch raises RuntimeErrors, NaN scores are ValueErrors


@dataclass(frozen=True, eq=False)
class Reply:
    """What one side made of one request.

    Attributes:
        items, scores: (n,) best first; empty when it failed.
        latency_ms: wall clock; None when it failed before it answered.
        error: None, or in a line why there is no answer that could be shown.
    """

    items: np.ndarray
    scores: np.ndarray
    latency_ms: float | None
    error: str | None = None


def replay(
    sides: tuple[Side, Side], requests: Sequence[Request], timeout_ms: float | None, warm_up: int = WARM_UP
) -> tuple[list[Reply], list[Reply]]:
    """Replies of old and new in the order of the requests; the first `warm_up` are asked once before, unrecorded.

    Args:
        sides: old, new.
        requests: what is asked.
        timeout_ms: an answer that took longer is a failure, whose latency still counts; None: no limit.
        warm_up: requests.
    """
    for request in requests[:warm_up]:
        for side in sides:
            _ask(side, request, timeout_ms)
    replies: tuple[list[Reply], list[Reply]] = ([], [])
    gc.collect()
    gc.disable()
    try:
        for number, request in enumerate(tqdm(requests, desc="shadow", unit="request")):
            first = first_asked(number)
            for place in (first, 1 - first):
                replies[place].append(_ask(sides[place], request, timeout_ms))
    finally:
        gc.enable()
    return replies


def first_asked(number: int) -> int:
    """Which side (0 old, 1 new) request `number` goes to first."""
    return number % 2


def _ask(side: Side, request: Request, timeout_ms: float | None) -> Reply:
    begun = time.perf_counter()
    try:
        items, scores = side.answer(request)
    except FAILURES as failure:
        reason = " ".join(str(failure).split())[:300] or type(failure).__name__
        return Reply(np.zeros(0, np.int64), np.zeros(0, np.float32), None, reason)
    latency_ms = (time.perf_counter() - begun) * 1000
    if timeout_ms is not None and latency_ms > timeout_ms:
        return Reply(items[:0], scores[:0], latency_ms, f"time-out: the answer took longer than {timeout_ms:g} ms")
    return Reply(items, scores, latency_ms)
