"""Who saved what and follows whom: board_items, interactions and follows, joined out of core by DuckDB.

The raw rows go into a DuckDB file in the work folder, so that neither a long log nor its joins need fit into memory.
Columns are cast here: ids to strings, times to seconds since 1970, values to doubles. A value that cannot be cast makes
its row a reject ("wrong type"), null stays null where the contract allows it.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from navigator.contracts.catalog import BOARD_ITEMS, FOLLOWS, INTERACTIONS

AddReject = Callable[[str, int, Any, str], None]
Cast = Callable[[str, pa.DataType], str]  # quoted column and its Arrow type -> SQL that casts it, null if it cannot
_LATEST = 100_000_000_000  # seconds, the year 5138: a larger number is milliseconds or not a time
_BATCH = 65_536

_EMPTY = {
    "board_items": "CREATE TABLE board_items "
    "(row BIGINT, label VARCHAR, bad BOOL, board_id VARCHAR, item_id VARCHAR, saved_at BIGINT)",
    "interactions": "CREATE TABLE interactions (row BIGINT, label VARCHAR, bad BOOL, "
    'user_id VARCHAR, item_id VARCHAR, action VARCHAR, "at" BIGINT, value DOUBLE)',
    "follows": "CREATE TABLE follows "
    '(row BIGINT, label VARCHAR, bad BOOL, user_id VARCHAR, board_id VARCHAR, "at" BIGINT)',
}
# A row counts as a repeat when an earlier row that is not itself a reject says the same.
_BOARD_ITEMS = """
WITH judged AS (
    SELECT r.*, CASE
        WHEN bad OR board_id IS NULL OR item_id IS NULL THEN 'wrong type'
        WHEN b.id IS NULL THEN 'unknown board'
        WHEN i.id IS NULL THEN 'unknown item' END AS reason
    FROM board_items r LEFT JOIN boards b ON b.id = r.board_id LEFT JOIN items i ON i.id = r.item_id
), numbered AS (
    SELECT *, row_number() OVER (PARTITION BY board_id, item_id, reason IS NULL ORDER BY row) AS nth FROM judged
)
SELECT *, coalesce(reason, CASE WHEN nth > 1 THEN 'duplicate save' END) AS verdict FROM numbered
"""
_INTERACTIONS = """
WITH judged AS (
    SELECT r.*, i.row AS item_row, CASE
        WHEN bad OR user_id IS NULL OR item_id IS NULL THEN 'wrong type'
        WHEN i.id IS NULL THEN 'unknown item' END AS reason
    FROM interactions r LEFT JOIN items i ON i.id = r.item_id
), numbered AS (
    SELECT *, row_number() OVER (PARTITION BY user_id, item_id, action, "at", reason IS NULL ORDER BY row) AS nth,
        min(row) OVER (PARTITION BY user_id) AS user_row
    FROM judged
)
SELECT *, coalesce(reason, CASE WHEN nth > 1 THEN 'duplicate save' END) AS verdict FROM numbered
"""
_FOLLOWS = """
WITH judged AS (
    SELECT r.*, CASE
        WHEN bad OR user_id IS NULL OR board_id IS NULL THEN 'wrong type'
        WHEN b.id IS NULL THEN 'unknown board' END AS reason
    FROM follows r LEFT JOIN boards b ON b.id = r.board_id
), numbered AS (
    SELECT *, row_number() OVER (PARTITION BY user_id, board_id, reason IS NULL ORDER BY row) AS nth FROM judged
)
SELECT *, coalesce(reason, CASE WHEN nth > 1 THEN 'duplicate follow' END) AS verdict FROM numbered
"""
# Users as they first occur; a user's rows by time, equal times by the item's row, untimed ones first and as they came.
_ORDER = 'user_row, "at" NULLS FIRST, CASE WHEN "at" IS NULL THEN row END, item_row, row'


class LinkStore:
    """Takes the raw links, then writes the contract tables in one pass each."""

    def __init__(self, path: Path, item_ids: dict[str, int]):
        self._path = path
        self._item_ids = item_ids

    def __enter__(self) -> "LinkStore":
        self._path.unlink(missing_ok=True)
        self._db = duckdb.connect(str(self._path))
        self._db.execute("SET TimeZone = 'UTC'")
        self._keep("items", self._item_ids)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
        self._path.unlink(missing_ok=True)

    def load_board_items(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._load("board_items", {"board_id": _id, "item_id": _id, "saved_at": _time}, batches)

    def load_interactions(self, batches: Iterable[pa.RecordBatch]) -> None:
        """A row without an action is a "save"."""
        columns = {"user_id": _id, "item_id": _id, "action": _word, "at": _time, "value": _number}
        self._load("interactions", columns, batches)

    def load_follows(self, batches: Iterable[pa.RecordBatch]) -> None:
        self._load("follows", {"user_id": _id, "board_id": _id, "at": _time}, batches)

    def board_ids(self) -> Iterator[dict[str, str]]:
        """Boards made from the saves alone: the id is the title, the owner is unknown. In order of first save."""
        query = "SELECT board_id FROM board_items WHERE board_id IS NOT NULL GROUP BY board_id ORDER BY min(row)"
        for batch in self._db.sql(query).to_arrow_reader(_BATCH):
            yield from ({"board_id": board, "title": board} for board in batch["board_id"].to_pylist())

    def write_board_items(self, path: Path, board_ids: Iterable[str], reject: AddReject) -> int:
        """Write board_items.parquet in source order; returns its rows."""
        self._keep("boards", board_ids)
        self._reject("board_items", _BOARD_ITEMS, reject)
        return self._write(f"FROM ({_BOARD_ITEMS}) WHERE verdict IS NULL ORDER BY row", BOARD_ITEMS, path)

    def write_interactions(self, path: Path, reject: AddReject) -> int:
        """Write interactions.parquet ordered by user and time, with a `value` column when any row has one."""
        self._reject("interactions", _INTERACTIONS, reject)
        valued = self._db.execute("SELECT count(value) FROM interactions").fetchone()
        self._db.execute("UPDATE interactions SET action = 'save' WHERE action IS NULL AND NOT bad")
        schema = INTERACTIONS.append(pa.field("value", pa.float64())) if valued and valued[0] else INTERACTIONS
        return self._write(f"FROM ({_INTERACTIONS}) WHERE verdict IS NULL ORDER BY {_ORDER}", schema, path)

    def write_follows(self, path: Path, reject: AddReject) -> int:
        """Write follows.parquet in source order, after the boards are known (write_board_items); returns its rows."""
        self._reject("follows", _FOLLOWS, reject)
        return self._write(f"FROM ({_FOLLOWS}) WHERE verdict IS NULL ORDER BY row", FOLLOWS, path)

    def _keep(self, table: str, ids: Iterable[str]) -> None:
        """A lookup table (id, row)."""
        names = pa.array(list(ids), pa.string())
        numbers = pa.array(range(len(names)), pa.int64())
        known = pa.table({"id": names, "row": numbers})
        self._db.register("known", known)
        self._db.execute(f"CREATE TABLE {table} AS SELECT * FROM known")
        self._db.unregister("known")

    def _load(self, table: str, columns: dict[str, Cast], batches: Iterable[pa.RecordBatch]) -> None:
        """Cast the raw columns; `bad` marks rows with a value that is there but cannot be cast."""
        self._db.execute(_EMPTY[table])
        row = 0
        for batch in batches:
            raw = pa.Table.from_batches([batch])
            for name in columns.keys() - set(raw.column_names):
                raw = raw.append_column(name, pa.nulls(len(raw), pa.string()))
            raw = raw.append_column("row", pa.array(range(row, row + len(raw)), pa.int64()))
            row += len(raw)
            casts = {name: cast(f'"{name}"', raw.schema.field(name).type) for name, cast in columns.items()}
            bad = " OR ".join(f'("{name}" IS NOT NULL AND ({cast}) IS NULL)' for name, cast in casts.items())
            first, second = list(columns)[:2]
            label = f'concat_ws(\' \', CAST("{first}" AS VARCHAR), CAST("{second}" AS VARCHAR))'
            self._db.register("raw", raw)
            self._db.execute(f"INSERT INTO {table} SELECT row, {label}, {bad}, {', '.join(casts.values())} FROM raw")
            self._db.unregister("raw")

    def _reject(self, table: str, query: str, reject: AddReject) -> None:
        wrong = self._db.sql(f"SELECT row, label, verdict FROM ({query}) WHERE verdict IS NOT NULL ORDER BY row")
        for batch in wrong.to_arrow_reader(_BATCH):
            for row, label, reason in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                reject(table, row, label, reason)

    def _write(self, query: str, schema: pa.Schema, path: Path) -> int:
        rows, columns = 0, ", ".join(f'"{name}"' for name in schema.names)
        found = self._db.sql(f"SELECT {columns} {query}").to_arrow_reader(_BATCH)
        with pq.ParquetWriter(path, schema, compression="zstd") as out:
            for batch in found:
                out.write_table(pa.Table.from_batches([batch]).cast(schema))
                rows += len(batch)
        return rows


def _id(column: str, kind: pa.DataType) -> str:
    if _is_text(kind):
        return f"nullif(CAST({column} AS VARCHAR), '')"
    return f"CAST({column} AS VARCHAR)" if pa.types.is_integer(kind) else "CAST(NULL AS VARCHAR)"


def _word(column: str, kind: pa.DataType) -> str:
    return f"CAST({column} AS VARCHAR)" if _is_text(kind) else "CAST(NULL AS VARCHAR)"


def _number(column: str, kind: pa.DataType) -> str:
    number = f"TRY_CAST({column} AS DOUBLE)"
    return f"CASE WHEN isfinite({number}) THEN {number} END"


def _time(column: str, kind: pa.DataType) -> str:
    """Whole or fractional seconds, dates and timestamps, or either of them as text (ISO 8601; without a zone: UTC)."""
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return f"CAST(floor(epoch({column})) AS BIGINT)"
    seconds = f"TRY_CAST({column} AS DOUBLE)"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or _is_text(kind):
        written = f"epoch(TRY_CAST({column} AS TIMESTAMPTZ))" if _is_text(kind) else "NULL"
        seconds = f"coalesce({seconds}, {written})"
        return f"CASE WHEN abs({seconds}) < {_LATEST} THEN CAST(floor({seconds}) AS BIGINT) END"
    return "CAST(NULL AS BIGINT)"


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
