"""``navigator-bench overhead``: how much of a measured latency is the bench's own time?

A system that only waits, and reads the clock itself, goes through the timing of `navigator-bench run` (bench.latency). What
the bench measured minus what the system measured inside is the bench's own time: the call, the clock, on a GPU the wait for
it. Waiting, and not computing, is the dearest case: the processor goes to sleep and comes back with cold caches.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from bench.documents import where, write_documents
from bench.latency import WARM_UP, TimedRequest, measure
from bench.markdown import aligned, bullets, piped, provenance, stamp
from bench.provenance import came_about, command_words
from navigator.contracts.errors import UserError
from navigator.contracts.manifest import file_digest, is_current, publish
from navigator.contracts.report import Latency, Provenance

KIND = "overhead-report"
SCHEMA_VERSION: Literal[1] = 1
ITEMS = 20  # of the history, and candidates
_FEWEST, _MOST = 20, 5000


class OverheadRow(BaseModel):
    """Requests of one length.

    Attributes:
        torch: whether torch was loaded, as it is beside a model.
        asked_ms: how long the system was told to wait; 0 is the empty system.
        requests: how many.
        own_ms: how long it took by its own clock, mean; more than asked where the machine is busy.
        overhead_us: measured latency minus own time.
        share: the median overhead over the length asked for; null for the empty system, whose every request is overhead.
        share_p95: the same of the overhead's 95th percentile.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    torch: bool
    asked_ms: float
    requests: int
    own_ms: float
    overhead_us: Latency
    share: float | None
    share_p95: float | None


class OverheadReport(Provenance):
    """All lengths, and the share that was allowed."""

    schema_version: Literal[1] = SCHEMA_VERSION
    allowed: float
    met: bool
    rows: list[OverheadRow]


class Waiting:
    """A system that answers every request with a wait, and keeps how long it took by its own clock."""

    def __init__(self, wait_s: float):
        self.name = f"waits {wait_s * 1000:g} ms"
        self.wait_s = wait_s
        self.own_s: list[float] = []
        self.answer = np.zeros(ITEMS)

    def rank_one(self, history: Sequence[int], candidates: Sequence[int]) -> np.ndarray:
        """Zeros, after the wait."""
        begun = time.perf_counter()
        if self.wait_s:
            time.sleep(self.wait_s)
        self.own_s.append(time.perf_counter() - begun)
        return self.answer

    def tokens(self, n_history: int, n_candidates: int) -> int | None:
        """None: nothing is read."""
        return None


def overhead(
    out: Path = Path("runs/overhead-report"), lengths_ms: list[float] | None = None, seconds: float = 5.0,
    allowed: float = 0.01, torch: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Measure the bench's own time inside a measured request, with systems that only wait.

    Args:
        out: report folder to write.
        lengths_ms: how long requests are, besides the empty one; default 1,10,100.
        seconds: about how long each length is measured; between 20 and 5,000 requests.
        allowed: largest share of a request that the bench may take, by the median of every length; above it the exit code
            is 1.
        torch: whether to measure a second time with torch loaded, as beside a model; on a GPU the wait for it is then part.

    Returns:
        Where the report is, a row a length, whether the share was kept, and the table as text.

    Raises:
        UserError: a length, the seconds or the share out of range.
    """
    lengths = [1.0, 10.0, 100.0] if lengths_ms is None else lengths_ms
    if not all(0 < length <= 10_000 for length in lengths) or not 0 < seconds <= 600 or not 0 < allowed < 1:
        raise UserError(
            f"lengths_ms {lengths}, seconds {seconds:g}, allowed {allowed:g}: allowed are lengths above 0 to 10,000, seconds "
            "above 0 to 600 and a share between 0 and 1"
        )
    config: dict[str, Any] = {
        "lengths_ms": lengths, "seconds": seconds, "allowed": allowed, "torch": torch, "schema_version": SCHEMA_VERSION,
    }  # fmt: skip
    inputs = {"bench/latency.py": file_digest(Path(__file__).with_name("latency.py"))[:16]}
    if is_current(out, KIND, config, inputs):
        return _answer(out, OverheadReport.model_validate_json((out / "report.json").read_text()), True)
    with publish(out, KIND, config, inputs) as work:
        rows, cuda = [_row(length, seconds) for length in (0.0, *lengths)], False
        if torch:
            from torch.cuda import is_available

            cuda = is_available()
            rows += [_row(length, seconds) for length in (0.0, *lengths)] if not rows[0].torch else []
        report = OverheadReport(
            allowed=allowed, met=all(row.share is None or row.share <= allowed for row in rows), rows=rows,
            **came_about(0, _command(out, config), config, inputs, _PROTOCOL, cuda=cuda),
        )  # fmt: skip
        write_documents(work.path, report, _markdown(report))
        work.metrics = {"met": report.met}
    return _answer(out, report, False)


def _row(length_ms: float, seconds: float) -> OverheadRow:
    count = min(max(int(seconds * 1000 / length_ms), _FEWEST), _MOST) if length_ms else _MOST
    request = TimedRequest(tuple(range(ITEMS)), tuple(range(ITEMS, 2 * ITEMS)))
    system = Waiting(length_ms / 1000)
    records = measure([system], [request] * count)
    latencies_ms = np.array([record.latency_ms for record in records], np.float64)
    own_ms = np.array(system.own_s[-count:]) * 1000
    extra_us = (latencies_ms - own_ms) * 1000
    p50, p95, p99 = np.percentile(extra_us, [50, 95, 99]).tolist()
    return OverheadRow(
        torch="torch" in sys.modules, asked_ms=length_ms, requests=count, own_ms=own_ms.mean(),
        overhead_us=Latency(p50=p50, p95=p95, p99=p99),
        share=p50 / length_ms / 1000 if length_ms else None, share_p95=p95 / length_ms / 1000 if length_ms else None,
    )  # fmt: skip


_PROTOCOL = [
    f"One system that waits (time.sleep) and reads perf_counter at its begin and end goes through bench.latency.measure: "
    f"{WARM_UP} requests unrecorded, then one after another, garbage collection off.",
    "Overhead is the latency that the bench recorded minus the system's own time, request by request; its percentiles are "
    "over requests. Share is the median overhead over the length asked for, share at P95 the overhead's P95 over it: on a "
    "busy machine a wait takes longer than asked, and the share of what it took would look smaller.",
    "The empty system does not wait: its overhead is that of a warm processor.",
]


def _command(out: Path, config: dict[str, Any]) -> str:
    options = {name: value for name, value in config.items() if name != "schema_version"}
    return command_words(["navigator-bench", "overhead"], {"out": out} | options)


def _table(report: OverheadReport) -> list[tuple[str, ...]]:
    head = ("request", "torch", "requests", "overhead P50 us", "P95 us", "P99 us", "share", "share at P95")
    body = [
        (
            f"{row.asked_ms:g} ms" if row.asked_ms else "empty", "loaded" if row.torch else "not loaded",
            f"{row.requests:,}", *(f"{value:.1f}" for value in (row.overhead_us.p50, row.overhead_us.p95, row.overhead_us.p99)),
            *("-" if share is None else f"{share:.3%}" for share in (row.share, row.share_p95)),
        )
        for row in report.rows
    ]  # fmt: skip
    return [head, *body]


def _summary(report: OverheadReport) -> str:
    device = report.device
    where_run = device.accelerator or f"{device.cpu}, {device.cores} cores"
    kept = "kept" if report.met else "NOT kept"
    return f"The bench takes at most {report.allowed:.1%} of a median request: {kept}; {where_run}; {stamp(report)}."


def _markdown(report: OverheadReport) -> str:
    parts = [
        "# The bench's own time in a measured request", _summary(report), piped(_table(report)),
        bullets("Protocol", report.protocol), bullets("Provenance", provenance(report)),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _answer(out: Path, report: OverheadReport, unchanged: bool) -> dict[str, Any]:
    text = "\n".join([_summary(report), "", *aligned(_table(report)), "", where(out, unchanged)])
    return {
        "out": str(out), "unchanged": unchanged, "met": report.met, "rows": [row.model_dump() for row in report.rows],
        "text": text, "exit_code": int(not report.met),
    }  # fmt: skip
