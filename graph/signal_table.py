"""All training signals of a taste graph in one versioned Parquet, for whoever trains on them, Navigator or not.

    signal            owner  title  items[]        target  negatives[]                  ranks[]  weight
    next-item         user   -      saves by time  -       -                            -        -
    board-completion  board  title  saves          -       -                            -        -
    board-title       board  title  saves          -       -                            -        -
    co-save           -      -      one item       item    -                            -        visits
    hard-negative     -      -      one item       -       late in the item's walk      theirs   -
    impression        user   -      -              -       shown to the user, not saved -       -

Ids are external; `items` are training saves only, so nothing held out is in here. Of the first three an example is drawn
on the fly, because a sequence holds many: next-item asks for any item but the first, given those before it;
board-completion asks for any item, given the others; board-title asks for any item, given the title. That is also why
they are one row an owner: written out they would be a row a save, with the history of each. The table repeats what
sequences.parquet knows so that it can be read alone.

Row groups hold one signal each and the file's metadata says which (``navigator.signals``: JSON with schema_version and,
for each signal, its rows and its row groups), so that a reader touches only what it asks for and a writer needs memory
for one row group only.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graph.saves import positions
from graph.signals import Walked
from navigator.contracts import UserError
from navigator.contracts.signals import Histories

FILE = "signals.parquet"
SCHEMA_VERSION = 1
SIGNALS: tuple[str, ...] = ("next-item", "board-completion", "board-title", "co-save", "hard-negative", "impression")
_KEY = b"navigator.signals"
_IDS = pa.list_(pa.string())
SIGNAL_TABLE = pa.schema(
    [
        ("signal", pa.string()), ("owner", pa.string()), ("title", pa.string()), ("items", _IDS),
        ("target", pa.string()), ("negatives", _IDS), ("ranks", pa.list_(pa.int32())), ("weight", pa.float32()),
    ]
)  # fmt: skip
_OWNERS_A_GROUP = 65_536


def write_signal_table(
    folder: Path, item_ids: Sequence[str], walked: Iterable[Walked], impressions: Iterable[pa.RecordBatch] = ()
) -> dict[str, int]:
    """Write signals.parquet beside the sequences.parquet of a work folder; returns the rows of each signal.

    Args:
        folder: a graph's work folder; its sequences are read batch by batch.
        item_ids: external ids of the items, by index.
        walked: pairs and hard negatives, block by block (see graph.signals.walked_signals).
        impressions: owner and negatives[] (see graph.impressions), none by default.
    """
    ids = pa.array(item_ids, pa.string())
    groups: dict[str, list[int]] = {name: [] for name in SIGNALS}
    rows = dict.fromkeys(SIGNALS, 0)
    with pq.ParquetWriter(folder / FILE, SIGNAL_TABLE, compression="zstd") as writer:
        for name, table in _tables(folder, ids, walked, impressions):
            if table.num_rows:
                groups[name].append(sum(map(len, groups.values())))
                rows[name] += table.num_rows
                writer.write_table(table, row_group_size=table.num_rows)
        about = {"schema_version": SCHEMA_VERSION, "rows": rows, "row_groups": groups}
        writer.add_key_value_metadata({_KEY: json.dumps(about)})
    return rows


def read_pairs(folder: Path, item_ids: Sequence[str]) -> np.ndarray:
    """(n, 3) int64: item_a, item_b, visits of b in the walks from a.

    Raises:
        UserError: no table, one of another version, or of another catalogue.
    """
    ids = pa.array(item_ids, pa.string())
    blocks = [np.empty((0, 3), np.int64)]
    for group in read_signal(folder, "co-save", ["items", "target", "weight"]):
        columns = [positions(group["items"].combine_chunks().flatten(), ids, "item")]
        columns += [positions(group["target"], ids, "item"), group["weight"].to_numpy().astype(np.int64)]
        blocks.append(np.stack(columns, axis=1))
    return np.concatenate(blocks)


def read_hard_negatives(folder: Path, item_ids: Sequence[str]) -> np.ndarray:
    """(n_items, m) int32 item indices, -1 padding; m is the longest list.

    Raises:
        UserError: see read_pairs.
    """
    ids = pa.array(item_ids, pa.string())
    blocks = []
    for group in read_signal(folder, "hard-negative", ["items", "negatives"]):
        lists = group["negatives"].combine_chunks()
        item = positions(group["items"].combine_chunks().flatten(), ids, "item")
        blocks.append((item, lists.value_lengths().to_numpy(), positions(lists.flatten(), ids, "item")))
    width = max((int(sizes.max(initial=0)) for _, sizes, _ in blocks), default=0)
    out = np.full((len(item_ids), width), -1, np.int32)
    for item, sizes, negatives in blocks:
        column = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        out[np.repeat(item, sizes), column] = negatives
    return out


def read_impressions(folder: Path, item_ids: Sequence[str]) -> Histories:
    """What users were shown and never saved; no user without such an item is in there.

    Raises:
        UserError: see read_pairs.
    """
    ids = pa.array(item_ids, pa.string())
    owners: list[str] = []
    sizes, items = [np.zeros(1, np.int64)], [np.empty(0, np.int32)]
    for group in read_signal(folder, "impression", ["owner", "negatives"]):
        lists = group["negatives"].combine_chunks()
        owners += group["owner"].to_pylist()
        sizes.append(lists.value_lengths().to_numpy().astype(np.int64))
        items.append(positions(lists.flatten(), ids, "item").astype(np.int32))
    return Histories(owners, np.cumsum(np.concatenate(sizes)), np.concatenate(items))


def read_signal(folder: Path, signal: str, columns: list[str]) -> Iterator[pa.Table]:
    """The row groups of one signal, in the order they were written; other signals stay on disk.

    Raises:
        UserError: see read_pairs.
    """
    groups = signal_rows(folder)["row_groups"][signal]
    with pq.ParquetFile(folder / FILE) as file:
        for group in groups:
            yield file.read_row_group(group, columns=columns)


def signal_rows(folder: Path) -> dict[str, Any]:
    """What the table says of itself: schema_version, rows and row_groups of each signal.

    Raises:
        UserError: no table, or one of another version.
    """
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"{folder} has no {FILE}: the graph is of an older layout; build the graph again")
    about = json.loads((pq.read_metadata(path).metadata or {}).get(_KEY, b"{}"))
    if about.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"{path} has signals of schema version {about.get('schema_version', 'unknown')}, this program reads "
            f"version {SCHEMA_VERSION}; build the graph again"
        )
    return about


def _tables(
    folder: Path, ids: pa.Array, walked: Iterable[Walked], impressions: Iterable[pa.RecordBatch]
) -> Iterator[tuple[str, pa.Table]]:
    """(signal, rows of one row group) in the order they are written."""
    for name in ("next-item", "board-completion", "board-title"):
        yield from ((name, table) for table in _sequences(folder / "sequences.parquet", name))
    for block in walked:
        yield "co-save", _pairs(block, ids)
        yield "hard-negative", _negatives(block, ids)
    for batch in impressions:
        yield (
            "impression",
            _table("impression", batch.num_rows, owner=batch["owner"], negatives=batch["negatives"].cast(_IDS)),
        )


def _sequences(path: Path, name: str) -> Iterator[pa.Table]:
    """Owners with something to learn from: two saves, or for a title one."""
    titled, task = name == "board-title", "next-item" if name == "next-item" else "board-completion"
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_OWNERS_A_GROUP, columns=["task", "owner", "title", "items"]):
            sizes = np.asarray(batch["items"].value_lengths().fill_null(0))
            rows = np.asarray(batch["task"].to_numpy(zero_copy_only=False) == task) & (sizes >= (1 if titled else 2))
            if titled:
                rows &= np.array([bool(title and title.strip()) for title in batch["title"].to_pylist()], bool)
            kept = batch.filter(pa.array(rows))
            title = {} if name == "next-item" else {"title": kept["title"]}
            yield _table(name, kept.num_rows, owner=kept["owner"], items=kept["items"], **title)


def _pairs(block: Walked, ids: pa.Array) -> pa.Table:
    a, b, visits = (block.pairs[name].combine_chunks() for name in ("item_a", "item_b", "visits"))
    items = pa.ListArray.from_arrays(pa.array(np.arange(len(a) + 1), pa.int32()), ids.take(a))
    return _table("co-save", len(a), items=items, target=ids.take(b), weight=visits.cast(pa.float32()))


def _negatives(block: Walked, ids: pa.Array) -> pa.Table:
    """The items of the block that have hard negatives."""
    rows = np.flatnonzero((block.negatives >= 0).any(axis=1))
    filled = block.negatives[rows] >= 0
    bounds = pa.array(np.concatenate([[0], np.cumsum(filled.sum(axis=1))]), pa.int32())
    items = pa.ListArray.from_arrays(
        pa.array(np.arange(len(rows) + 1), pa.int32()), ids.take(pa.array(rows + block.first))
    )
    negatives = pa.ListArray.from_arrays(bounds, ids.take(pa.array(block.negatives[rows][filled])))
    ranks = pa.ListArray.from_arrays(bounds, pa.array(block.ranks[rows][filled]))
    return _table("hard-negative", len(rows), items=items, negatives=negatives, ranks=ranks)


def _table(signal: str, n_rows: int, **columns: pa.Array) -> pa.Table:
    """A table of the schema; columns that are not given are null."""
    columns["signal"] = pa.array([signal] * n_rows, pa.string())
    empty = {field.name: pa.nulls(n_rows, field.type) for field in SIGNAL_TABLE}
    return pa.table({**empty, **columns}, schema=SIGNAL_TABLE)
