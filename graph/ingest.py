"""External ids to node numbers, out of core: DuckDB joins, refuses and counts bad rows; what is left is plain arrays.

Every row of a table is either kept or rejected with a reason (kept + rejected = read). Rows come out of the join in any
order; each carries its row number, and nothing later depends on the order (see graph.grouped).
"""

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graph.grouped import Grouped, RowFile, group_rows
from graph.relation import FOLLOWS, HOLDS, SAVED, EdgeType
from navigator.contracts import UserError

REJECTS = pa.schema(
    [
        ("relation", pa.string()),
        ("row", pa.int64()),
        ("source", pa.string()),
        ("target", pa.string()),
        ("reason", pa.string()),
    ]
)
UNKNOWN, NEGATIVE, TOO_LARGE, FUTURE, TOO_EARLY, LOOP, DUPLICATE, HELD_OUT, AFTER_CUT, EXPIRED = range(1, 11)
REASONS = {
    UNKNOWN: "unknown node", NEGATIVE: "negative weight", TOO_LARGE: "weight above 65504",
    FUTURE: "time in the future", TOO_EARLY: "time before 1970", LOOP: "self-loop", DUPLICATE: "duplicate",
    HELD_OUT: "held out", AFTER_CUT: "after the time cut",
    EXPIRED: "older than the policy keeps",
}  # fmt: skip
MEMORY = "2500MB"
_BATCH = 1 << 20


@dataclass(frozen=True)
class Table:
    """Where a relation's edges are: a Parquet file, its columns, and the rows of it that count."""

    edge_type: EdgeType
    path: Path
    source: str
    target: str
    at: str
    where: str = "true"

    def narrowed(self, where: str) -> "Table":
        """Of the rows that count those for which the SQL condition `where` is true."""
        return replace(self, where=f"({self.where}) AND ({where})")


@dataclass
class Rejected:
    """Refused rows of one table by reason; row numbers are positions in the file."""

    table: Table
    read: int = 0
    rows: list[np.ndarray] = field(default_factory=list)
    reasons: list[np.ndarray] = field(default_factory=list)

    def add(self, rows: np.ndarray, reasons: np.ndarray | int) -> None:
        if len(rows):
            self.rows.append(np.asarray(rows, np.int64))
            self.reasons.append(np.broadcast_to(np.asarray(reasons, np.uint8), len(rows)))

    @property
    def n_rows(self) -> int:
        return sum(len(rows) for rows in self.rows)

    def counts(self) -> dict[str, int]:
        """How many rows each reason refused, by the reason's name."""
        n = sum(
            (np.bincount(codes, minlength=len(REASONS) + 1) for codes in self.reasons),
            np.zeros(len(REASONS) + 1, np.int64),
        )
        return {name: int(n[code]) for code, name in REASONS.items() if n[code]}


def board_table(folder: Path) -> Table:
    return Table(HOLDS, folder / "board_items.parquet", "board_id", "item_id", "saved_at")


def interaction_table(folder: Path, actions: list[str] | None = None, without: list[str] | None = None) -> Table:
    """Interactions of the named actions; without names of all actions but `without`."""
    where = "true"
    if actions is not None:
        where = f"action IN ({_literals(actions)})"
    elif without:
        where = f"(action IS NULL OR action NOT IN ({_literals(without)}))"
    return Table(SAVED, folder / "interactions.parquet", "user_id", "item_id", "at", where)


def follow_table(folder: Path) -> Table | None:
    path = folder / "follows.parquet"
    return Table(FOLLOWS, path, "user_id", "board_id", "at") if path.is_file() else None


class Ingest:
    """A DuckDB session over one scratch folder; node tables first (`nodes`), then tables of edges (`edges`)."""

    def __init__(self, scratch: Path, oldest: int | None = None):
        scratch.mkdir(parents=True, exist_ok=True)
        self.scratch = scratch
        self.now, self.oldest = int(time.time()), oldest
        self.db = duckdb.connect(str(scratch / "ingest.duckdb"))
        self.db.execute(f"SET memory_limit = '{MEMORY}'")
        self.db.execute(f"SET temp_directory = {quoted(scratch / 'spill')}")
        self.db.execute(f"SET threads = {os.cpu_count() or 1}")
        self.db.execute("SET preserve_insertion_order = false")
        self.db.execute("SET enable_progress_bar = false")

    def close(self) -> None:
        self.db.close()

    def nodes(self, node_type: str, ids: pa.Array) -> None:
        """Number the nodes of a type: position in `ids`."""
        found = pa.table({"id": ids, "n": np.arange(len(ids), dtype=np.int32)})
        self.db.register("incoming", found)
        self.db.execute(f"CREATE OR REPLACE TABLE nodes_{node_type} AS SELECT id, n FROM incoming")
        self.db.unregister("incoming")

    def sources(self, tables: list[Table]) -> pa.Array:
        """The distinct source ids of several tables, sorted by code point."""
        parts = [f"SELECT {_name(t.source)} AS id FROM {quoted(t.path)} WHERE {t.where}" for t in tables]
        query = f"SELECT DISTINCT id FROM ({' UNION ALL '.join(parts)}) WHERE id IS NOT NULL ORDER BY id"
        return self.db.sql(query).to_arrow_table()["id"].combine_chunks().cast(pa.string())

    def actions(self, path: Path) -> list[str]:
        rows = self.db.execute(f"SELECT DISTINCT action FROM {quoted(path)} ORDER BY 1").fetchall()
        return [str(row[0]) for row in rows]

    def rows_by_action(self, table: Table) -> dict[str, int]:
        """How many of a table's rows that count are of each action; one without an action is of ""."""
        query = (
            f"SELECT coalesce(action, '') AS name, count(*) FROM {quoted(table.path)} WHERE {table.where} GROUP BY name"
        )
        return dict(self.db.execute(f"{query} ORDER BY name").fetchall())

    def edges(self, table: Table, n_sources: int) -> tuple[Grouped, Rejected]:
        """The acceptable rows of a table, grouped by source; duplicates are still among them."""
        rejected = Rejected(table)
        stem = self.scratch / f"{table.edge_type[1]}-{len(list(self.scratch.glob('*.rows')))}"
        rows = RowFile(
            stem.with_suffix(".rows"), ("owner", "target", "at", "row", *(("weight",) if _has(table, "weight") else ()))
        )
        reader = self.db.sql(self._coding(table)).to_arrow_reader(_BATCH)
        for batch in reader:
            reason = batch["reason"].to_numpy(zero_copy_only=False)
            if "weight" in rows.columns:  # DuckDB believes a file's least and largest values, which leave NaN out
                no_number = np.isnan(batch["weight"].to_numpy(zero_copy_only=False))
                reason = np.where((reason == 0) & no_number, NEGATIVE, reason)
            good = reason == 0
            rejected.read += len(reason)
            number = batch["row"].to_numpy(zero_copy_only=False)
            rejected.add(number[~good], reason[~good])
            kept = batch.filter(pa.array(good)) if not good.all() else batch
            rows.append(*(kept[name].to_numpy(zero_copy_only=False) for name in rows.columns))
        return group_rows(rows, n_sources, stem), rejected

    def write_rejects(self, path: Path, rejected: list[Rejected]) -> None:
        """Every refused row with its external ids, by table and row."""
        with pq.ParquetWriter(path, REJECTS) as writer:
            for part in rejected:
                if part.n_rows:
                    writer.write_table(self._named(part))

    def _named(self, part: Rejected) -> pa.Table:
        names = pa.array([REASONS.get(code, "") for code in range(len(REASONS) + 1)], pa.string())
        codes = pa.array(np.concatenate(part.reasons))
        refused = pa.table({"row": np.concatenate(part.rows), "reason": names.take(codes)})
        self.db.register("refused", refused)
        table = part.table
        found = self.db.sql(
            f"SELECT '{table.edge_type[1]}' AS relation, f.file_row_number AS row, f.{_name(table.source)} AS source, "
            f"f.{_name(table.target)} AS target, refused.reason FROM "
            f"read_parquet({quoted(table.path)}, file_row_number = true) f "
            "JOIN refused ON refused.row = f.file_row_number ORDER BY row"
        ).to_arrow_table()
        self.db.unregister("refused")
        return found.cast(REJECTS)

    def _coding(self, table: Table) -> str:
        weight = "coalesce(CAST(f.weight AS FLOAT), 1)" if _has(table, "weight") else "CAST(1 AS FLOAT)"
        at = f"coalesce(CAST(f.{_name(table.at)} AS BIGINT), -1)" if _has(table, table.at) else "CAST(-1 AS BIGINT)"
        old = "false" if self.oldest is None else f"({at} = -1 OR {at} < {self.oldest})"
        loop = "s.n = t.n" if table.edge_type[0] == table.edge_type[2] else "false"
        return (
            f"SELECT f.file_row_number AS row, coalesce(s.n, -1) AS owner, coalesce(t.n, -1) AS target, {at} AS at, "
            f"{weight} AS weight, CAST(CASE WHEN s.n IS NULL OR t.n IS NULL THEN {UNKNOWN} "
            f"WHEN isnan({weight}) OR {weight} < 0 THEN {NEGATIVE} WHEN {weight} > 65504 THEN {TOO_LARGE} "
            f"WHEN {at} > {self.now} THEN {FUTURE} WHEN {at} < -1 THEN {TOO_EARLY} WHEN {loop} THEN {LOOP} "
            f"WHEN {old} THEN {EXPIRED} "
            f"ELSE 0 END AS UTINYINT) AS reason "
            f"FROM read_parquet({quoted(table.path)}, file_row_number = true) f "
            f"LEFT JOIN nodes_{table.edge_type[0]} s ON f.{_name(table.source)} = s.id "
            f"LEFT JOIN nodes_{table.edge_type[2]} t ON f.{_name(table.target)} = t.id WHERE {table.where}"
        )


def check_actions(ingest: Ingest, folder: Path, wanted: list[str]) -> None:
    """Raises UserError: an action that does not occur in interactions.parquet."""
    known = ingest.actions(folder / "interactions.parquet") if wanted else []
    missing = next((action for action in wanted if action not in known), None)
    if missing is not None:
        raise UserError(f"action {missing!r} does not occur in {folder}; it has {', '.join(known) or 'no interaction'}")


def _has(table: Table, column: str) -> bool:
    return column in pq.read_schema(table.path).names


def quoted(path: Path) -> str:
    """A path as an SQL literal."""
    return "'" + str(path).replace("'", "''") + "'"


def _literals(values: list[str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
