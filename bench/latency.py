"""Timing: the same drawn requests for every system, one worker, systems interleaved, raw rows kept.

Round-robin, because a shared machine speeds up and slows down within minutes: what disturbs one system disturbs its
rivals in the same seconds. The clock is perf_counter; accelerators are synchronised before it is read.
"""

import gc
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from tqdm import tqdm

from bench.systems.base import RequestError
from navigator.contracts.errors import UserError
from navigator.contracts.report import Latency, RequestRecord

HISTORY = 20
CANDIDATES = 20
WARM_UP = 3


@dataclass(frozen=True)
class TimedRequest:
    """Rank `candidates` for `history` (catalogue indices, all distinct)."""

    history: tuple[int, ...]
    candidates: tuple[int, ...]


class Timed(Protocol):
    """What can be timed: every System, and whatever else answers one request at a time."""

    @property
    def name(self) -> str:
        """The name in the report."""
        ...

    def rank_one(self, history: Sequence[int], candidates: Sequence[int]) -> np.ndarray:
        """See System."""
        ...

    def tokens(self, n_history: int, n_candidates: int) -> int | None:
        """See System."""
        ...


def draw_requests(pool: Sequence[int] | np.ndarray, count: int, seed: int) -> list[TimedRequest]:
    """`count` requests of 20 history and 20 candidate items from `pool`; a smaller pool is halved.

    Raises:
        UserError: the pool has fewer than two items, so that there is nothing to rank.
    """
    if len(pool) < 2:
        raise UserError(f"latency needs at least 2 items that every system knows, this catalogue has {len(pool)}")
    rng = np.random.default_rng(seed)
    n_history = min(HISTORY, len(pool) // 2)
    n_candidates = min(CANDIDATES, len(pool) - n_history)
    drawn = [rng.choice(pool, n_history + n_candidates, replace=False).tolist() for _ in range(count)]
    return [TimedRequest(tuple(d[:n_history]), tuple(d[n_history:])) for d in drawn]


def measure(systems: Sequence[Timed], requests: Sequence[TimedRequest], warm_up: int = WARM_UP) -> list[RequestRecord]:
    """Raw rows: every request once per system, after `warm_up` unrecorded ones each."""
    for system in systems:
        for request in requests[:warm_up]:
            _timed(system, request, "warm-up", None)
    synchronise = _synchroniser()  # after the warm-up: a system may load torch with its first request
    records = []
    with no_collection():
        for number, request in enumerate(tqdm(requests, desc="timing", unit="round", disable=not systems)):
            turn = number % max(len(systems), 1)
            for system in [*systems[turn:], *systems[:turn]]:
                records.append(_timed(system, request, str(number), synchronise))
    return records


@contextmanager
def no_collection() -> Iterator[None]:
    """No pause of the garbage collector among the measurements."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def latency(records: Iterable[RequestRecord]) -> Latency | None:
    """Percentiles of the successful rows; None when there is none."""
    return percentiles([r.latency_ms for r in records if r.latency_ms is not None])


def percentiles(values_ms: Sequence[float]) -> Latency | None:
    """P50, P95 and P99 (linear interpolation); None of nothing."""
    if not values_ms:
        return None
    p50, p95, p99 = np.percentile(values_ms, [50, 95, 99])
    return Latency(p50=float(p50), p95=float(p95), p99=float(p99))


def throughput_rps(records: Iterable[RequestRecord]) -> float | None:
    """Requests a second of one closed-loop worker: 1 / mean latency of the successful rows; None when there is none."""
    values = [r.latency_ms for r in records if r.latency_ms is not None]
    return 1000.0 / (sum(values) / len(values)) if values else None


def _timed(
    system: Timed, request: TimedRequest, request_id: str, synchronise: Callable[[], object] | None
) -> RequestRecord:
    """One row. Between the two readings of the clock stands the call, and on an accelerator the wait for it, alone."""
    error, answer = None, system.rank_one
    if synchronise:
        synchronise()
    begun = time.perf_counter()
    try:
        answer(request.history, request.candidates)
        if synchronise:
            synchronise()
    except RequestError as failure:
        error = str(failure)
    elapsed_ms = (time.perf_counter() - begun) * 1000
    n_history, n_candidates = len(request.history), len(request.candidates)
    return RequestRecord(
        system=system.name, request_id=request_id, phase="timed", n_history=n_history, n_candidates=n_candidates,
        latency_ms=None if error else elapsed_ms, tokens=system.tokens(n_history, n_candidates), error=error,
    )  # fmt: skip


def _synchroniser() -> Callable[[], object] | None:
    """What waits for the accelerator; None where torch is not loaded or has none, so that no request pays for asking."""
    torch = sys.modules.get("torch")
    return torch.cuda.synchronize if torch is not None and torch.cuda.is_available() else None
