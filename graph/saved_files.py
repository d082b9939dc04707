"""What the checks and the statistics of a taste graph compare: its sequences as keys, and the catalogue's times.

A save is one int64 key, the owner's row among the sequences of its task * number of items + item, so that any two sets
of saves are compared by sorting.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import scipy.sparse as sp

from graph.relation import UNKNOWN_TIME
from graph.store import TasteGraph
from navigator.contracts import Catalog
from navigator.contracts.signals import TASKS, Task

_ROWS = 65_536


@dataclass(frozen=True)
class Owners:
    """The sequences of one task, as keys; see the file's head.

    Attributes:
        ids: external ids of the owners, (n,) strings.
        titles: of boards, (n,) strings.
        train: (m,) int64 keys of the training saves, as are `valid` and `test` of the held-out ones.
    """

    ids: pa.Array
    titles: pa.Array
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray

    @property
    def held(self) -> np.ndarray:
        return np.concatenate([self.valid, self.test])

    def rows_of(self, ids: Any) -> np.ndarray:
        """(n,) int64 rows of external ids, -1 of those that have none."""
        return index_of(ids, self.ids)


@dataclass(frozen=True)
class Files:
    """What the checks compare: sequences by task, and of each save the time that the catalogue knows.

    Attributes:
        owners: by task.
        times: by task: sorted keys and the earliest time of each, UNKNOWN_TIME where there is none.
    """

    taste_graph: TasteGraph
    catalog: Catalog
    item_ids: pa.Array
    owners: dict[Task, Owners]
    times: dict[Task, tuple[np.ndarray, np.ndarray]]

    @property
    def n(self) -> int:
        return max(len(self.item_ids), 1)

    @cached_property
    def item_owners(self) -> sp.csr_array:
        """(n_items, boards + users) which owners saved each item in training."""
        boards, users = (self.owners[task] for task in TASKS)
        rows = np.concatenate([boards.train // self.n, users.train // self.n + len(boards.ids)])
        items = np.concatenate([boards.train % self.n, users.train % self.n])
        shape = (self.n, len(boards.ids) + len(users.ids))
        return sp.csr_array((np.ones(len(rows), np.int32), (items, rows)), shape=shape)

    @cached_property
    def people(self) -> dict[str, np.ndarray]:
        """Whose each board and each user is, as numbers by node; a board without an owner is its own."""
        ids, person = board_people(self.catalog)
        boards, users = (pa.array(self.taste_graph.node_ids(name), pa.string()) for name in ("board", "user"))
        place = index_of(boards, ids)  # a board that came with added edges need not be in the catalogue
        known = person.take(pa.array(place, mask=place < 0)).cast(pa.string())
        own = pc.call_function("coalesce", [known, boards])
        names = pa.concat_arrays([own, users]).dictionary_encode().indices.to_numpy()
        return {"board": names[: len(boards)], "user": names[len(boards) :]}

    @cached_property
    def item_people(self) -> sp.csr_array:
        """(n_items, people) bool: who saved each item in training, to a board or otherwise."""
        columns = []
        for task, name in zip(TASKS, ("board", "user"), strict=True):
            nodes = pa.array(self.taste_graph.node_ids(name), pa.string())
            columns.append(self.people[name][index_of(self.owners[task].ids, nodes)])
        columns = np.concatenate(columns)
        owner, n = np.arange(len(columns)), int(columns.max(initial=0)) + 1
        of_person = sp.csr_array((np.ones(len(columns), np.int32), (owner, columns)), shape=(len(columns), n))
        return sp.csr_array((self.item_owners @ of_person).astype(bool))

    def time_of(self, task: Task, keys: np.ndarray) -> np.ndarray:
        """(n,) seconds since 1970 of saves, UNKNOWN_TIME where the catalogue has none."""
        known, at = self.times[task]
        place = np.minimum(np.searchsorted(known, keys), max(len(known) - 1, 0))
        return np.where(known[place] == keys, at[place], UNKNOWN_TIME) if len(known) else np.full(len(keys), -1)


def open_files(taste_graph: TasteGraph, catalog: Catalog) -> Files:
    """Read what the checks compare."""
    item_ids = pa.array(catalog.item_ids, pa.string())
    owners = read_owners(taste_graph, item_ids)
    config = taste_graph.manifest.config
    boards, log = catalog.table("board_items"), catalog.table("interactions")
    log = log.filter(pa.array(is_save(log["action"], config)))
    times = {
        "board-completion": _times(owners["board-completion"], boards["board_id"], boards, "saved_at", item_ids),
        "next-item": _times(owners["next-item"], log["user_id"], log, "at", item_ids),
    }
    return Files(taste_graph, catalog, item_ids, owners, times)  # type: ignore[arg-type]


def read_owners(taste_graph: TasteGraph, item_ids: pa.Array) -> dict[Task, Owners]:
    """The sequences of each task as keys, read column by column."""
    n, found = max(len(item_ids), 1), {}
    for task in TASKS:
        ids, titles, first = [], [], 0
        keys: dict[str, list[np.ndarray]] = {part: [np.empty(0, np.int64)] for part in ("items", "valid", "test")}
        with pq.ParquetFile(taste_graph.path / "sequences.parquet") as file:
            for batch in file.iter_batches(_ROWS):
                rows = batch.filter(pc.call_function("equal", [batch["task"], pa.scalar(task)]))
                ids.append(rows["owner"])
                titles.append(rows["title"])
                for part, into in keys.items():
                    into.append(keys_of(rows[part], np.arange(first, first + len(rows)), item_ids, n))
                first += len(rows)
        arrays = [pa.chunked_array(parts, pa.string()).combine_chunks() for parts in (ids, titles)]
        found[task] = Owners(*arrays, *(np.concatenate(keys[part]) for part in keys))
    return found


def board_people(catalog: Catalog) -> tuple[pa.Array, pa.Array]:
    """All boards of a catalogue and whose each is; a board without an owner is its own."""
    table = catalog.table("boards", ["board_id", "owner_id"])
    ids, owners = (table[name].combine_chunks().cast(pa.string()) for name in ("board_id", "owner_id"))
    blank = pc.call_function("equal", [owners.fill_null(""), pa.scalar("")])
    return ids, pc.call_function("if_else", [blank, ids, owners])


def owners_of_both(files: Files, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) how many boards and users saved both items in training."""
    return both_of(files.item_owners, a, b)


def people_of_both(files: Files, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) how many people saved both items in training."""
    return both_of(files.item_people, a, b)


def both_of(saved: sp.csr_array, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) how many columns the rows a and b of a sparse 0-1 array have in common."""
    parts = [slice(start, start + _ROWS) for start in range(0, len(a), _ROWS)]
    return np.concatenate([np.zeros(0, int), *(saved[a[part]].multiply(saved[b[part]]).sum(axis=1) for part in parts)])


def is_save(actions: pa.ChunkedArray, config: dict[str, Any]) -> np.ndarray:
    """(n,) bool: which actions save, by the options of the build."""
    chosen, shown = config.get("actions"), config.get("impressions") or []
    listed = shown if chosen is None else [*chosen, *(config.get("test_actions") or [])]
    listed = pc.call_function("is_in", [actions], pc.SetLookupOptions(pa.array(listed, pa.string())))
    return np.asarray(listed, bool) == (chosen is not None)


def _times(
    owners: Owners, ids: pa.ChunkedArray, table: pa.Table, column: str, item_ids: pa.Array
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted keys of the catalogue's saves and the earliest time of each."""
    rows, items = owners.rows_of(ids), index_of(table["item_id"], item_ids)
    keys = np.where((rows >= 0) & (items >= 0), rows * max(len(item_ids), 1) + items, -1)
    at = np.asarray(table[column].fill_null(UNKNOWN_TIME), dtype=np.int64)
    order = np.lexsort((at, keys))
    known, first = np.unique(keys[order], return_index=True)
    return known, at[order][first]


def keys_of(lists: Any, rows: np.ndarray, item_ids: pa.Array, n: int) -> np.ndarray:
    """Keys of lists of external item ids, one list a row; -1 for an unknown owner or item."""
    row, items = np.repeat(rows, np.asarray(lists.value_lengths(), np.int64)), index_of(lists.flatten(), item_ids)
    return np.where((row >= 0) & (items >= 0), row * n + items, -1)


def index_of(values: Any, ids: pa.Array) -> np.ndarray:
    """(n,) int64 positions of `values` among `ids`, -1 of those that are not there."""
    found = pc.call_function("index_in", [values], pc.SetLookupOptions(ids))
    return np.asarray(found.fill_null(-1), dtype=np.int64)
