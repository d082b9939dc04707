"""What training takes from the graph: co-save pairs, hard negatives, completion and next-item examples.

All of it is made from training saves only: the walks run over training edges and the examples read
`TasteSequence.items`.
"""

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from graph.split import Saves
from graph.walk import Visits
from navigator.contracts.signals import TasteSequence

RANK_LOW, RANK_HIGH = 50, 200
NEGATIVES = 20
_BLOCK = 1024


def co_save_pairs(visits: Visits, top: int) -> pa.Table:
    """Columns item_a, item_b (int64 indices), visits: b is among the `top` most visited items of a's walks."""
    items, counts = visits.items[:, :top], visits.item_visits[:, :top]
    a, rank = np.nonzero(items >= 0)
    return pa.table({"item_a": a, "item_b": items[a, rank], "visits": counts[a, rank]})


def hard_negatives(visits: Visits, train_boards: Saves, count: int = NEGATIVES) -> tuple[np.ndarray, np.ndarray]:
    """Items that walks reach, but late: near, yet never saved to a board of the item (PinSage's mid ranks).

    Items at walk ranks RANK_LOW to RANK_HIGH (from 0) that share no training board with the item, `count` of them
    evenly spread. Where the walk reaches fewer than RANK_LOW * 2 items the window begins in the middle of what it
    reaches.

    Args:
        visits: of all items in order, at least RANK_HIGH wide.
        train_boards: the training saves of boards, none pruned.

    Returns:
        negatives (n_items, count) int32 item indices, -1 padding, and their ranks (n_items, count) int32, -1 padding.
    """
    n_items = len(visits.items)
    shape = (len(train_boards.ids), n_items)
    incidence = sp.csr_array((np.ones(len(train_boards.owner)), (train_boards.owner, train_boards.item)), shape=shape)
    transposed = sp.csr_array(incidence.T)
    negatives = np.full((n_items, count), -1, np.int32)
    ranks = np.full((n_items, count), -1, np.int32)
    for start in range(0, n_items, _BLOCK):
        together = sp.csr_array(transposed[start : start + _BLOCK] @ incidence)
        for row in range(start, min(start + _BLOCK, n_items)):
            reached = visits.items[row][visits.items[row] >= 0]
            shared = together.indices[together.indptr[row - start] : together.indptr[row - start + 1]]
            low = min(RANK_LOW, len(reached) // 2)
            window = np.arange(low, min(len(reached), RANK_HIGH))
            window = window[~np.isin(reached[window], shared)]
            if len(window) > count:
                window = window[np.linspace(0, len(window) - 1, count).astype(int)]
            negatives[row, : len(window)] = reached[window]
            ranks[row, : len(window)] = window
    return negatives, ranks


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
