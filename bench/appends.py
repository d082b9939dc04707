"""``navigator-bench appends``: how many events a second a store keeps, and how long a client waits for its answer.

An answer means that the event is on the disk, so the disk's flush decides. Beside the store stands the flush alone, one
event at a time, on the same disk: what group commit is worth is the quotient of the two.
"""

import os
import threading
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from bench.documents import where, write_documents
from bench.markdown import aligned, bullets, piped, provenance, stamp
from bench.provenance import came_about, command_words
from navigator.contracts.errors import UserError
from navigator.contracts.manifest import publish
from navigator.contracts.report import Latency, Provenance
from navigator.events.event import checked, line_of
from navigator.events.store import EventStore, Limits

KIND = "appends-report"
SCHEMA_VERSION: Literal[1] = 1


class AppendsRow(BaseModel):
    """One run.

    Attributes:
        way: store, or flush alone.
        writers: threads, each with one event on the way at a time.
        appends: acknowledged events, and per second of the run.
        per_flush: events that shared a flush.
        latency_ms: from the call to its answer.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    way: Literal["store", "flush alone"]
    writers: int
    appends: int
    appends_per_s: float
    per_flush: float
    latency_ms: Latency


class AppendsReport(Provenance):
    """All runs in the order in which they ran; the row in the middle of each way, by appends per second."""

    schema_version: Literal[1] = SCHEMA_VERSION
    rows: list[AppendsRow]
    middle: list[AppendsRow]


def appends(
    folder: Path, out: Path = Path("runs/appends-report"), writers: int = 16, seconds: float = 5.0, repeats: int = 3
) -> dict[str, Any]:
    """Measure appends to an event store by clients that each wait for their answer, and the disk's flush alone.

    Args:
        folder: on the disk that is measured; a store is made in it for each run and removed.
        out: report folder to write.
        writers: clients at the same time.
        seconds: of each run.
        repeats: runs of each way, in turn; the report's middle is the one with the median rate.

    Returns:
        Where the report is, the middle runs, and the table as text.

    Raises:
        UserError: no such folder, an option out of range.
    """
    if not folder.is_dir():
        raise UserError(f"folder {folder} does not exist; give one on the disk that is to be measured")
    if not 1 <= writers <= 1000 or not 0 < seconds <= 600 or repeats < 1:
        raise UserError(
            f"writers {writers}, seconds {seconds:g}, repeats {repeats}: allowed are 1 to 1,000, above 0 to 600, 1 and more"
        )
    config: dict[str, Any] = {
        "writers": writers,
        "seconds": seconds,
        "repeats": repeats,
        "schema_version": SCHEMA_VERSION,
    }
    rows = [run for _ in range(repeats) for run in (_flush_alone(folder, seconds), _store(folder, writers, seconds))]
    command = command_words(
        ["navigator-bench", "appends", str(folder)],
        {"out": out} | {name: config[name] for name in ("writers", "seconds", "repeats")},
    )
    report = AppendsReport(
        rows=rows, middle=[_middle([row for row in rows if row.way == way]) for way in ("flush alone", "store")],
        **came_about(0, command, config, {}, _PROTOCOL),
    )  # fmt: skip
    with publish(out, KIND, config, {}) as work:
        write_documents(work.path, report, _markdown(report))
        work.metrics = {row.way: row.appends_per_s for row in report.middle}
    text = "\n".join([_summary(report), "", *aligned(_table(report)), "", where(out, False)])
    return {"out": str(out), "middle": [row.model_dump() for row in report.middle], "text": text}


def _store(folder: Path, writers: int, seconds: float) -> AppendsRow:
    spent_s: list[list[float]] = [[] for _ in range(writers)]
    with TemporaryDirectory(dir=folder) as place, EventStore.open(place, limits=Limits(compact_s=0)) as store:
        store.append([_event(0)])
        until = time.perf_counter() + seconds

        def client(number: int) -> None:
            while (begun := time.perf_counter()) < until:
                store.append([_event(number)])
                spent_s[number].append(time.perf_counter() - begun)

        clients = [threading.Thread(target=client, args=(number,)) for number in range(writers)]
        begun = time.perf_counter()
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
        taken_s, groups = time.perf_counter() - begun, store.figures["groups"] - 1
    return _row("store", writers, [spent for own in spent_s for spent in own], taken_s, groups)


def _flush_alone(folder: Path, seconds: float) -> AppendsRow:
    spent_s: list[float] = []
    with TemporaryDirectory(dir=folder) as place, (Path(place) / "lines").open("ab", buffering=0) as handle:
        first = time.perf_counter()
        while (begun := time.perf_counter()) < first + seconds:
            event = checked(_event(0), time.time(), {})
            assert not isinstance(event, str), event
            handle.write(line_of(event))
            os.fdatasync(handle.fileno())
            spent_s.append(time.perf_counter() - begun)
        taken_s = time.perf_counter() - first
    return _row("flush alone", 1, spent_s, taken_s, len(spent_s))


def _event(number: int) -> dict[str, Any]:
    return {"kind": "impression", "user_id": f"user-{number}", "item_id": "item-0123456789", "system": "v1"}


def _row(
    way: Literal["store", "flush alone"], writers: int, spent_s: list[float], taken_s: float, groups: int
) -> AppendsRow:
    p50, p95, p99 = np.percentile(np.array(spent_s) * 1000, [50, 95, 99]).tolist()
    return AppendsRow(
        way=way, writers=writers, appends=len(spent_s), appends_per_s=len(spent_s) / taken_s,
        per_flush=len(spent_s) / groups, latency_ms=Latency(p50=p50, p95=p95, p99=p99),
    )  # fmt: skip


def _middle(rows: list[AppendsRow]) -> AppendsRow:
    rate = median(row.appends_per_s for row in rows)
    return min(rows, key=lambda row: abs(row.appends_per_s - rate))


_PROTOCOL = [
    "Clients are threads of one process; each appends one event, waits for the answer and appends the next (closed loop). "
    "An answer comes when the event's line was written and fdatasync returned.",
    "The flush alone: the same line written and fdatasync called, one after another, by one thread without a store.",
    "Ways take turns; compaction is off; latency is from the call to its answer, by perf_counter; percentiles are over the "
    "appends of one run.",
]


def _table(report: AppendsReport) -> list[tuple[str, ...]]:
    head = ("way", "writers", "appends/s", "events a flush", "P50 ms", "P95 ms", "P99 ms")
    return [head, *(
        (row.way, f"{row.writers}", f"{row.appends_per_s:,.0f}", f"{row.per_flush:.1f}",
         *(f"{value:.2f}" for value in (row.latency_ms.p50, row.latency_ms.p95, row.latency_ms.p99)))
        for row in report.middle
    )]  # fmt: skip


def _summary(report: AppendsReport) -> str:
    device, (alone, store) = report.device, report.middle
    return (
        f"{store.writers} clients at once: {store.appends_per_s / alone.appends_per_s:.1f} times the appends of one flush "
        f"after another; {device.cpu}, {device.cores} cores; {stamp(report)}."
    )


def _markdown(report: AppendsReport) -> str:
    parts = [
        "# Appends to the event store", _summary(report), piped(_table(report)), bullets("Protocol", report.protocol),
        bullets("Provenance", provenance(report)),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"
