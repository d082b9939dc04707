"""rejects.parquet: every row that was refused, with its reason. Nothing is dropped silently."""

from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from navigator.contracts import UserError
from navigator.contracts.catalog import REJECTS

REASONS = (
    "broken picture", "picture too large", "no picture", "duplicate id", "empty text", "wrong type", "unknown item",
    "unknown board", "duplicate save", "unknown part",
)  # fmt: skip
FOLLOW_REASONS = ("wrong type", "unknown board", "duplicate follow")


class Rejects:
    """Writes rejects.parquet as rejects come and counts them by reason; in strict mode the first is an error."""

    def __init__(self, path: Path, strict: bool):
        self.counts: Counter[str] = Counter()
        self._strict = strict
        self._path = path
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> "Rejects":
        self._writer = pq.ParquetWriter(self._path, REJECTS, compression="zstd")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()
        self._writer.close()

    def add(self, table: str, row: int, row_id: Any, reason: str) -> None:
        """Raises UserError in strict mode."""
        if self._strict:
            raise UserError(f"{table} row {row} (id {row_id!r}): {reason}; mend it or import without --strict")
        self.counts[reason] += 1
        row_id = "" if row_id is None else str(row_id)
        self._rows.append({"table": table, "row": row, "id": row_id, "reason": reason})
        if len(self._rows) >= 4096:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, REJECTS))
        self._rows = []
