"""Co-saves: items that stand near each other in an owner's training sequence, counted out of core by DuckDB."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graph.grouped import Grouped, RowFile
from graph.ingest import Ingest, quoted
from graph.relation import UNKNOWN_TIME
from graph.saves import Saves

MOST = 65_504  # the largest float16


def co_saved(
    ingest: Ingest, blocks: Iterable[tuple[Saves, np.ndarray]], n_items: int, window: int, scratch: Path
) -> Grouped:
    """Item -> item (smaller number first) pairs at most `window` positions apart in an owner's sequence.

    `weight` is the number of people (MOST at most; who has the pair on two boards is one), `at` the latest time at which
    one of them had saved both, unknown where a save's time is.

    Args:
        blocks: saves in sequence order, and whose each node is, by owner number.
    """
    path = scratch / "co_saves.parquet"
    schema = pa.schema([("a", pa.int32()), ("b", pa.int32()), ("person", pa.int32()), ("at", pa.int64())])
    with pq.ParquetWriter(path, schema) as writer:
        for block, person in blocks:
            for step in range(1, window + 1):
                writer.write_table(_pairs(block, person, step).cast(schema))
    rows = RowFile(scratch / "co_saves.rows", ("target", "at", "weight"))
    sizes = np.zeros(n_items, np.int64)
    query = (
        'SELECT a, b, CASE WHEN min(first) < 0 THEN -1 ELSE max(last) END AS "at", '
        f'least(count(*), {MOST}) AS weight FROM (SELECT a, b, person, min("at") AS first, max("at") AS last '
        f"FROM {quoted(path)} GROUP BY a, b, person) GROUP BY a, b ORDER BY a, b"
    )
    for batch in ingest.db.sql(query).to_arrow_reader(1 << 20):
        a, *values = (batch[name].to_numpy(zero_copy_only=False) for name in ("a", "b", "at", "weight"))
        sizes += np.bincount(a, minlength=n_items)
        rows.append(*values)
    return Grouped.of(sizes, rows)


def blocks_of(grouped: Grouped) -> Iterator[Saves]:
    """The edges of a relation in blocks, sources by their number."""
    for first, end in grouped.blocks():
        saves = grouped.saves(first, end)
        yield Saves([], saves.owner + first, saves.item, saves.at, None, saves.weight)


def _pairs(block: Saves, person: np.ndarray, step: int) -> pa.Table:
    near = block.owner[step:] == block.owner[:-step]
    one, other = block.item[:-step][near], block.item[step:][near]
    then, later = block.at[:-step][near], block.at[step:][near]
    at = np.where((then == UNKNOWN_TIME) | (later == UNKNOWN_TIME), UNKNOWN_TIME, np.maximum(then, later))
    who = person[block.owner[step:][near]]
    return pa.table({"a": np.minimum(one, other), "b": np.maximum(one, other), "person": who, "at": at})
