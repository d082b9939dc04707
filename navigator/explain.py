"""Why an item was recommended: the history item it is nearest to, and a board that holds it together with the history.

Nothing here decides what is recommended. Boards are those of the catalogue, which knows more than the training part of a
taste graph: an explanation may name a save that was held out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from navigator.contracts import Catalog, ItemVectors, UnknownNameError
from navigator.contracts.vectors import normalise


@dataclass(frozen=True)
class Because:
    """The history item that a recommendation is nearest to, and the cosine of the two in the model's item space."""

    item: str
    title: str
    cosine: float


@dataclass(frozen=True)
class OnBoard:
    """A board that holds the recommendation and `shared` items of the history."""

    board: str
    title: str
    shared: int


def nearest_history(found: np.ndarray, history: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest item of a history for each found item.

    Args:
        found: (F, D) unit vectors.
        history: (H, D) unit vectors, H at least 1.
        same: (F, H) bool, where the two are one item, which explains nothing.

    Returns:
        (F,) positions in the history and (F,) cosines; of equal cosines the earlier position, -inf where there is none.
    """
    cosines = np.where(same, -np.inf, found @ history.T)
    best = cosines.argmax(1)
    return best, cosines[np.arange(len(found)), best]


def reasons(store: ItemVectors, found: np.ndarray, seen: np.ndarray, titles: dict[str, str]) -> list[Because | None]:
    """For each found row of the store the nearest row of the history; None where there is no other item to name."""
    if not len(seen):
        return [None] * len(found)
    theirs, own = normalise(store.float32(found)), normalise(store.float32(seen))
    at, cosines = nearest_history(theirs, own, found[:, None] == seen[None])
    near = [store.ids[row] for row in seen[at]]
    return [
        Because(item, titles.get(item, ""), round(float(cosine), 4)) if np.isfinite(cosine) else None
        for item, cosine in zip(near, cosines, strict=True)
    ]


@dataclass(frozen=True)
class Boards:
    """Who is on a board with whom.

    Attributes:
        ids, titles: of the boards that hold an item, "" for a board without a title.
        sizes: (n_boards,) items that each holds.
        of_item: (n_items, n_boards) 0/1 CSR; rows are rows of a vector store.
    """

    ids: list[str]
    titles: list[str]
    sizes: np.ndarray
    of_item: sparse.csr_array

    @classmethod
    def of(cls, catalog: Catalog, item_ids: Sequence[str]) -> "Boards":
        """The catalogue's boards over the items of a store; saves of items that the store lacks are left out."""
        boards = catalog.table("boards", ["board_id", "title"])
        saves = catalog.table("board_items", ["board_id", "item_id"])
        ids = pc.call_function("unique", [saves["board_id"]])
        item, board = _index_in(saves["item_id"], pa.array(item_ids, pa.string())), _index_in(saves["board_id"], ids)
        item, board = item[item >= 0], board[item >= 0]
        of_item = sparse.csr_array((np.ones(len(item), bool), (item, board)), shape=(len(item_ids), len(ids)))
        of_item.sum_duplicates()
        titled = dict(zip(boards["board_id"].to_pylist(), boards["title"].to_pylist(), strict=True))
        names = ids.to_pylist()
        sizes = np.bincount(of_item.indices, minlength=len(ids))
        return cls(names, [titled.get(name) or "" for name in names], sizes, of_item)

    def shared(self, found: Sequence[int], history: Sequence[int]) -> list[tuple[int, int] | None]:
        """For each found item the board that holds it and most of the history (itself not counted), and how many that are.

        Of boards with as many the smaller one says more, then the earlier. None where no board holds both.
        """
        past = set(history)
        held = [self._boards(item) for item in sorted(past)]
        boards, counts = np.unique(np.concatenate([*held, np.zeros(0, np.int64)]), return_counts=True)
        answers: list[tuple[int, int] | None] = []
        for item in found:
            at = np.flatnonzero(np.isin(boards, self._boards(item)))
            both = counts[at] - int(item in past)
            order = np.lexsort((boards[at], self.sizes[boards[at]], -both))
            best = order[0] if len(order) else 0
            answers.append((int(boards[at[best]]), int(both[best])) if len(order) and both[best] > 0 else None)
        return answers

    def items(self, board: str) -> np.ndarray:
        """(n,) rows of the items of a board, ascending; UnknownNameError for a board that holds none of them."""
        if board not in self._numbers:
            raise UnknownNameError(
                f"board {board!r} is not in the catalogue, or none of its items has a vector; check the id"
            )
        return self._columns.indices[
            self._columns.indptr[n := self._numbers[board]] : self._columns.indptr[n + 1]
        ].astype(np.int64)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {board: n for n, board in enumerate(self.ids)}

    @cached_property
    def _columns(self) -> sparse.csc_array:
        columns = self.of_item.tocsc()
        columns.sort_indices()
        return columns

    def _boards(self, item: int) -> np.ndarray:
        return self.of_item.indices[self.of_item.indptr[item] : self.of_item.indptr[item + 1]].astype(np.int64)


def _index_in(values: pa.ChunkedArray, ids: pa.Array) -> np.ndarray:
    """(n,) int64 positions among `ids`, -1 for a value that is not there."""
    found = pc.call_function("index_in", [values], pc.SetLookupOptions(ids))
    return pc.call_function("coalesce", [found, pa.scalar(-1, pa.int32())]).to_numpy().astype(np.int64)
