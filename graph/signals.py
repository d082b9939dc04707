"""What training takes from the graph: co-save pairs, hard negatives, completion and next-item examples.

All of it is made from training saves only: the walks run over training edges and the examples read
`TasteSequence.items`. Walks are long and their results wide, so pairs and negatives are made block by block
(`walked_signals`) and go to disk as they come.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numba import njit

from graph.saves import Saves
from graph.walk import TopVisits
from navigator.contracts.signals import Histories, TasteSequence

RANK_LOW, RANK_HIGH = 50, 200
NEGATIVES = 20
BLOCK = 16_384


@dataclass(frozen=True)
class Walked:
    """The signals of one block of items.

    Attributes:
        first: index of the block's first item.
        pairs: columns item_a, item_b, visits (see `co_save_pairs`).
        negatives: (n, m) int32 item indices, -1 padding.
        ranks: (n, m) int32 their ranks in the walk, -1 padding.
    """

    first: int
    pairs: pa.Table
    negatives: np.ndarray
    ranks: np.ndarray


def walked_signals(
    visits_of: Callable[[np.ndarray], TopVisits], n_items: int, train_boards: Histories, top: int, block: int = BLOCK
) -> Iterator[Walked]:
    """Pairs and hard negatives of all items, a block at a time.

    Args:
        visits_of: walks from the given (n,) item indices and keeps the RANK_HIGH most visited items of each.
        n_items: items there are.
        train_boards: what boards hold in training, none pruned.
        top: pairs an item.
        block: items a block; the result does not depend on it.
    """
    owner = np.repeat(np.arange(len(train_boards.owner_ids), dtype=np.int32), np.diff(train_boards.indptr))
    boards = boards_of_items(owner, train_boards.items, n_items)
    for first in range(0, n_items, block):
        visits = visits_of(np.arange(first, min(first + block, n_items)))
        negatives, ranks = late_strangers(visits.nodes, first, *boards, NEGATIVES)
        yield Walked(first, co_save_pairs(visits, top, first), negatives, ranks)


def co_save_pairs(visits: TopVisits, top: int, first: int = 0) -> pa.Table:
    """Columns item_a, item_b (int64 indices), visits: b is among the `top` most visited items of a's walks.

    Row r of `visits` is of item `first` + r.
    """
    items, counts = visits.nodes[:, :top], visits.visits[:, :top]
    a, rank = np.nonzero(items >= 0)
    columns = {"item_a": a + first, "item_b": items[a, rank], "visits": counts[a, rank]}
    return pa.table({name: column.astype(np.int64) for name, column in columns.items()})


def hard_negatives(visits: TopVisits, train_boards: Saves, count: int = NEGATIVES) -> tuple[np.ndarray, np.ndarray]:
    """`late_strangers` of all items in order."""
    boards = boards_of_items(train_boards.owner, train_boards.item, len(visits.nodes))
    return late_strangers(visits.nodes, 0, *boards, count)


def late_strangers(
    reached: np.ndarray, first: int, indptr: np.ndarray, boards: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Items that walks reach, but late: near, yet never saved to a board of the item (PinSage's mid ranks).

    Items at walk ranks RANK_LOW to RANK_HIGH (from 0) that share no training board with the item, `count` of them
    evenly spread. Where the walk reaches fewer than RANK_LOW * 2 items the window begins in the middle of what it
    reaches.

    Args:
        reached: (n, T) items that the walks from items `first`, `first` + 1, ... visit, most visited first, -1 padding.
        first: see `reached`.
        indptr: with `boards` the boards of all items (see `boards_of_items`).
        boards: see `indptr`.
        count: negatives an item.

    Returns:
        negatives (n, count) int32 item indices, -1 padding, and their ranks (n, count) int32, -1 padding.
    """
    negatives = np.full((len(reached), count), -1, np.int32)
    ranks = np.full((len(reached), count), -1, np.int32)
    _late_strangers(reached, first, indptr, boards, negatives, ranks)
    return negatives, ranks


def boards_of_items(owner: np.ndarray, item: np.ndarray, n_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Owners of each item's saves, ascending: bounds (n_items + 1,) int64 and owners (n,) int32."""
    order = np.lexsort((owner, item))
    bounds = np.concatenate([[0], np.cumsum(np.bincount(item, minlength=n_items))])
    return bounds.astype(np.int64), owner[order].astype(np.int32)


def completion_example(
    sequence: TasteSequence, rng: np.random.Generator, max_history: int
) -> tuple[tuple[int, ...], int]:
    """Board completion: a random target among the training items; history = the others, shuffled and cut.

    Raises:
        ValueError: fewer than two training items.
    """
    shuffled = rng.permutation(_at_least_two(sequence)).tolist()
    return tuple(shuffled[1 : max_history + 1]), shuffled[0]


def next_item_example(
    sequence: TasteSequence, rng: np.random.Generator, max_history: int
) -> tuple[tuple[int, ...], int]:
    """Next item: a random position t >= 1 of the training items; history = the last `max_history` before t.

    Raises:
        ValueError: fewer than two training items.
    """
    items = _at_least_two(sequence)
    t = int(rng.integers(1, len(items)))
    return items[max(0, t - max_history) : t], items[t]


def _at_least_two(sequence: TasteSequence) -> tuple[int, ...]:
    if len(sequence.items) < 2:
        raise ValueError(
            f"{sequence.task} sequence {sequence.owner!r} has {len(sequence.items)} training items; needs 2"
        )
    return sequence.items


@njit(nogil=True, cache=True)
def _late_strangers(reached, first, indptr, boards, negatives, ranks):
    """Fill `negatives` and `ranks`, see `late_strangers`."""
    window = np.empty(RANK_HIGH, np.int64)
    count = negatives.shape[1]
    for row in range(len(reached)):
        item, width = first + row, 0
        while width < reached.shape[1] and reached[row, width] >= 0:
            width += 1
        found = 0
        for rank in range(min(RANK_LOW, width // 2), min(width, RANK_HIGH)):
            other = reached[row, rank]
            if not _meet(
                boards[indptr[item] : indptr[item + 1]],
                boards[indptr[other] : indptr[other + 1]],
            ):
                window[found] = rank
                found += 1
        kept = min(found, count)
        for place in range(kept):
            # the places of np.linspace(0, found - 1, count), whole numbers; all of them where they fit
            chosen = window[place if found <= count else _spread(place, found, count)]
            negatives[row, place] = reached[row, chosen]
            ranks[row, place] = chosen


@njit(nogil=True, cache=True)
def _spread(place, found, count):
    if count == 1:
        return 0
    return found - 1 if place == count - 1 else int(place * ((found - 1) / (count - 1)))


@njit(nogil=True, cache=True)
def _meet(a, b):
    """Whether two ascending arrays share a value: the shorter one is looked up in the longer."""
    if len(a) > len(b):
        a, b = b, a
    low = 0
    for value in a:
        high = len(b)
        while low < high:
            middle = (low + high) // 2
            if b[middle] < value:
                low = middle + 1
            else:
                high = middle
        if low == len(b):
            return False
        if b[low] == value:
            return True
    return False
