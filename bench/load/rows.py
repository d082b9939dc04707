"""One row a request, whatever became of it: the raw log from which every figure of the report is derived."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

Outcome = Literal[
    "ok", "http_429", "http_4xx", "http_5xx", "http_other", "timeout", "connection", "malformed"
]  # fmt: skip
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True)
class Row:
    """A request as it happened; times in seconds after the beginning of its step, what is unknown is None.

    Attributes:
        phase: of the plan.
        number: place in the step's schedule, from 0; every number has exactly one row.
        intended_s: when it was to be sent; in a closed loop, when its client was free.
        sent_s: when it was sent.
        ended_s: when its answer had been read, or its failure was known.
        outcome: one of OUTCOMES.
        status: HTTP status, None where no answer came.
        queue_ms, work_ms: what the server says of itself (header Server-Timing, entries queue and work).
        retry_after_s: header Retry-After, seconds.
        error: what went wrong, one line.
    """

    phase: str
    number: int
    intended_s: float
    sent_s: float
    ended_s: float
    outcome: Outcome
    status: int | None = None
    queue_ms: float | None = None
    work_ms: float | None = None
    retry_after_s: float | None = None
    error: str | None = None

    @property
    def response_ms(self) -> float:
        """From the intended arrival to the end: what a user waits."""
        return (self.ended_s - self.intended_s) * 1000

    @property
    def service_ms(self) -> float:
        """From the actual sending to the end."""
        return (self.ended_s - self.sent_s) * 1000

    @property
    def lateness_ms(self) -> float:
        """How late the generator was."""
        return (self.sent_s - self.intended_s) * 1000


_TYPES = {
    "phase": pa.string(), "number": pa.int64(), "intended_s": pa.float64(), "sent_s": pa.float64(), "ended_s": pa.float64(),
    "outcome": pa.string(), "status": pa.int32(), "queue_ms": pa.float64(), "work_ms": pa.float64(),
    "retry_after_s": pa.float64(), "error": pa.string(),
}  # fmt: skip
_SCHEMA = pa.schema([(f.name, _TYPES[f.name]) for f in fields(Row)])


def check_complete(rows: Sequence[Row], scheduled: int, step: str) -> None:
    """Every scheduled request has ended in exactly one row.

    Raises:
        RuntimeError: one is missing or double, which is a fault of this bench and makes its figures worthless.
    """
    seen = Counter(row.number for row in rows)
    wrong = [number for number in range(scheduled) if seen[number] != 1] + [n for n in seen if n >= scheduled]
    if wrong:
        raise RuntimeError(f"{step}: {len(wrong)} of {scheduled} requests lack their one row (first: {wrong[0]})")


def count_outcomes(rows: Iterable[Row]) -> dict[str, int]:
    """Outcome -> rows, all outcomes named, in the order of OUTCOMES."""
    counted = Counter(row.outcome for row in rows)
    return {outcome: counted[outcome] for outcome in OUTCOMES}


def write_rows(path: Path, rows: Sequence[Row], note: str) -> None:
    """A Parquet file that is whole or absent; `note` is kept in its metadata."""
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=_SCHEMA)
    beside = path.with_name(path.name + ".tmp")
    pq.write_table(table.replace_schema_metadata({"note": note}), beside)
    beside.replace(path)


def read_rows(path: Path) -> tuple[list[Row], str]:
    """Rows and note of a file of `write_rows`."""
    table = pq.read_table(path)
    return [Row(**row) for row in table.to_pylist()], (table.schema.metadata or {})[b"note"].decode()
