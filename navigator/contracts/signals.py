"""What the taste graph teaches and what the bench asks: sequences of saves with their held-out items, and queries.

    sequences.parquet   task, owner, title, items[], valid[], test[]     external ids, one row a board or user

`items` are the training saves (users: by time, then catalogue order; boards: catalogue order). Nothing held out is in
`items`. A validation query sees `items`; a test query sees `items` + `valid`, because whoever serves a request has every
save made before it.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from navigator.contracts.errors import UserError

Task = Literal["board-completion", "next-item"]
Part = Literal["valid", "test"]
TASKS: tuple[Task, ...] = ("board-completion", "next-item")

_IDS = pa.list_(pa.string())
SEQUENCES = pa.schema(
    [
        ("task", pa.string()),
        ("owner", pa.string()),
        ("title", pa.string()),
        ("items", _IDS),
        ("valid", _IDS),
        ("test", _IDS),
    ]
)


@dataclass(frozen=True)
class TasteSequence:
    """Saves of one board (task board-completion) or one user (task next-item), by internal item index."""

    task: Task
    owner: str
    title: str
    items: tuple[int, ...]
    valid: tuple[int, ...] = ()
    test: tuple[int, ...] = ()


@dataclass(frozen=True)
class Histories:
    """The training saves of many owners as arrays.

    Attributes:
        owner_ids: external ids of the owners, in the order of sequences.parquet.
        indptr: (n_owners + 1,) int64 bounds of each owner's items.
        items: (n,) int32 item indices, in the owner's order.
    """

    owner_ids: list[str]
    indptr: np.ndarray
    items: np.ndarray


@dataclass(frozen=True)
class Query:
    """One request of the bench: what is known of the board or user, and what should be found.

    Attributes:
        query_id: the owner's external id.
        history: item indices, oldest first; the system may use any suffix of it.
        targets: item indices held out, never in history.
        title: the board's title, empty for users.
    """

    query_id: str
    history: tuple[int, ...]
    targets: tuple[int, ...]
    title: str = ""

    def among_new(self, warm: np.ndarray) -> bool:
        """Whether none of its items has a training save, by `warm` (n_items,) bool: then it asks for new arrivals."""
        return not warm[[*self.history, *self.targets]].any()


def make_queries(sequences: Iterable[TasteSequence], task: Task, part: Part) -> list[Query]:
    """Queries of one part, in the order of the sequences; owners with nothing held out or no history give none.

    Raises:
        UserError: no query results (an empty split).
    """
    queries, others = [], set()
    for s in sequences:
        targets = s.test if part == "test" else s.valid
        history = s.items + s.valid if part == "test" else s.items
        if targets and history and s.task == task:
            queries.append(Query(s.owner, history, targets, s.title))
        elif targets and history:
            others.add(s.task)
    if not queries:
        raise UserError(
            f"the {part} split of task {task!r} is empty: the graph holds out nothing there; "
            + (
                f"ask for what it does hold out, --task {min(others)}"
                if others
                else f"allowed tasks are {', '.join(TASKS)}"
            )
            + "; or rebuild with `navigator graph build` and smaller minimum sizes"
        )
    return queries


def valid_queries(sequences: Sequence[TasteSequence], limit: int = 0) -> list[Query]:
    """Validation queries of every task that has some; a seeded choice of `limit` when that is not 0."""
    found: list[Query] = []
    for task in TASKS:
        if any(s.task == task and s.valid and s.items for s in sequences):
            found += make_queries(sequences, task, "valid")
    return some(found, limit)


def some(queries: list[Query], limit: int) -> list[Query]:
    """A seeded choice of `limit` queries, in their order; all of them when limit is 0 or they are fewer."""
    if not limit or len(queries) <= limit:
        return queries
    return [queries[i] for i in np.sort(np.random.default_rng(0).permutation(len(queries))[:limit])]


def leave_one_out(sequences: Iterable[TasteSequence], at_most: int = 20) -> list[Query]:
    """Each item of a board in turn asked for from all the others; of large boards the first `at_most` items.

    For boards that nothing was trained on, where one question a board would waste the rest. The query's id is the owner's,
    the same for all questions of a board.
    """
    found = []
    for s in sequences:
        items = s.items + s.valid + s.test
        found += [Query(s.owner, tuple(i for i in items if i != t), (t,), s.title) for t in items[:at_most]]
    return [query for query in found if query.history]


def unseen_queries(sequences: Iterable[TasteSequence], part: Part, show: int, seed: int = 0) -> list[Query]:
    """Requests of boards that nothing was trained on: `show` of a board's items are told, all others are asked for.

    Which items are shown depends on the seed and the board's id alone, and those shown of fewer are among those shown of
    more. `show` 0 asks with the title alone. Boards that have nothing left to ask for give no request, nor do boards
    without a title where nothing is shown.

    Args:
        sequences: unseen boards (graph.store.TasteGraph.unseen); whatever they hold out is among the items.
        part: of the boards that hold out an item for it.
        show: how many items, from 0.
        seed: of the items shown.

    Raises:
        UserError: show below 0, or no request results.
    """
    if show < 0:
        raise UserError(
            f"show is {show}; allowed are whole numbers from 0, such as 2: how many items of a board are shown"
        )
    queries = []
    for s in sequences:
        items = s.items + s.valid + s.test
        if not (s.test if part == "test" else s.valid) or len(items) <= show or not (show or s.title.strip()):
            continue
        shown = set(owner_rng(seed, f"show|{s.owner}").permutation(sorted(items))[:show].tolist())
        history, targets = (tuple(i for i in sorted(items) if (i in shown) == told) for told in (True, False))
        queries.append(Query(s.owner, history, targets, s.title))
    if not queries:
        raise UserError(
            f"no unseen board of part {part} has more than {show} items; build the graph with --unseen_owners or "
            "--unseen_valid, or from a catalogue whose boards have a column part"
        )
    return queries


def owner_rng(seed: int, owner_id: str) -> np.random.Generator:
    """An owner's own chance, by seed and id alone: it survives reordered rows and other owners that come and go."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(f"{seed}|{owner_id}".encode()).digest()[:8]))


def board_titles(sequences: Iterable[TasteSequence], n_items: int) -> list[list[str]]:
    """Titles of the boards that each item was saved to in training, each once, in the order of the sequences.

    What is held out of a board does not get its title: nothing of the answer is in there.
    """
    found: list[dict[str, None]] = [{} for _ in range(n_items)]
    for s in sequences:
        if s.task == "board-completion" and s.title.strip():
            for item in s.items:
                found[item][s.title.strip()] = None
    return [list(titles) for titles in found]


def write_sequences(path: Path, sequences: Sequence[TasteSequence], item_ids: Sequence[str]) -> None:
    """Write sequences with external ids (`item_ids[i]` is the id of index i)."""
    columns = {name: [] for name in SEQUENCES.names}
    for s in sequences:
        columns["task"].append(s.task)
        columns["owner"].append(s.owner)
        columns["title"].append(s.title)
        for part in ("items", "valid", "test"):
            columns[part].append([item_ids[i] for i in getattr(s, part)])
    pq.write_table(pa.table(columns, schema=SEQUENCES), path)


def read_sequences(path: Path, item_index: dict[str, int]) -> list[TasteSequence]:
    """Read sequences as internal indices; an unknown item means the graph belongs to another catalogue."""
    try:
        return [
            TasteSequence(
                row["task"], row["owner"], row["title"],
                *(tuple(item_index[i] for i in row[part]) for part in ("items", "valid", "test")),
            )
            for row in pq.read_table(path).to_pylist()
        ]  # fmt: skip
    except KeyError as error:
        raise UserError(
            f"{path} names item {error}, which this catalogue does not have; build the graph again"
        ) from error


def read_histories(path: Path, task: Task, item_ids: Sequence[str]) -> Histories:
    """The `items` of every owner of one task, column by column, no Python object a save.

    Raises:
        UserError: an item that `item_ids` lacks: the graph belongs to another catalogue.
    """
    ids = pa.array(item_ids, pa.string())
    owners: list[str] = []
    sizes, items = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=65_536, columns=["task", "owner", "items"]):
            chosen = batch.filter(pc.call_function("equal", [batch["task"], pa.scalar(task)]))
            lists = chosen["items"]
            found = pc.call_function("index_in", [lists.flatten()], pc.SetLookupOptions(ids))
            if found.null_count:
                raise UserError(f"{path} names an item that this catalogue does not have; build the graph again")
            owners += chosen["owner"].to_pylist()
            sizes.append(lists.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64))
            items.append(found.to_numpy(zero_copy_only=False).astype(np.int32))
    return Histories(owners, np.concatenate([[0], np.cumsum(np.concatenate(sizes))]), np.concatenate(items))
