"""Timing: the same drawn requests for every system, one worker, systems interleaved, raw rows kept.

Round-robin, because a shared machine speeds up and slows down within minutes: what disturbs one system disturbs its
rivals in the same seconds. The clock is perf_counter; accelerators are synchronised before it is read.
"""

import gc
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from bench.systems.base import RequestError, System
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


def measure(systems: Sequence[System], requests: Sequence[TimedRequest], warm_up: int = WARM_UP) -> list[RequestRecord]:
    """Raw rows: every request once per system, after `warm_up` unrecorded ones each."""
    for system in systems:
        for request in requests[:warm_up]:
            _timed(system, request, "warm-up")
    records = []
    gc.collect()
    gc.disable()
    try:
        for number, request in enumerate(tqdm(requests, desc="timing", unit="round", disable=not systems)):
            turn = number % max(len(systems), 1)
            for system in [*systems[turn:], *systems[:turn]]:
                records.append(_timed(system, request, str(number)))
    finally:
        gc.enable()
    return records


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


def _timed(system: System, request: TimedRequest, request_id: str) -> RequestRecord:
    error = None
    _synchronise()
    begun = time.perf_counter()
    try:
        system.rank_one(request.history, request.candidates)
        _synchronise()
    except RequestError as failure:
        error = str(failure)
    elapsed_ms = (time.perf_counter() - begun) * 1000
    n_history, n_candidates = len(request.history), len(request.candidates)
    return RequestRecord(
        system=system.name, request_id=request_id, phase="timed", n_history=n_history, n_candidates=n_candidates,
        latency_ms=None if error else elapsed_ms, tokens=system.tokens(n_history, n_candidates), error=error,
    )  # fmt: skip


def _synchronise() -> None:
    """Wait for the accelerator, when torch is loaded and has one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()
