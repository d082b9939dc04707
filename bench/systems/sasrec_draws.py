"""What training of SASRec draws at random: the windows of an epoch and the items that an owner has not saved."""

from collections.abc import Sequence

import numpy as np


def windows(
    rows: Sequence[np.ndarray], length: int, ordered: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Every row cut into pieces of length + 1 that share their ends, from a random place on; in random order.

    Returns:
        (W, length + 1) int64 items, -1 as padding on the right, and (W,) the row of each.
    """
    pieces, owner = [], []
    for number, row in enumerate(rows):
        items = row if ordered else rng.permutation(row)
        first = int(rng.integers(length)) if len(items) > length + 1 else 0
        starts = [*([0] if first else []), *range(first, len(items) - 1, length)]
        ends = [
            *([first + 1] if first else []),
            *(start + length + 1 for start in range(first, len(items) - 1, length)),
        ]
        for start, end in zip(starts, ends, strict=True):
            piece = items[start:end]
            pieces.append(np.pad(piece, (0, length + 1 - len(piece)), constant_values=-1))
            owner.append(number)
    order = rng.permutation(len(pieces))
    return np.stack(pieces)[order], np.array(owner)[order]


def negatives(owners: np.ndarray, n_items: int, taken: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(m,) items drawn at random that the owner has not saved; after ten draws any item will do.

    Args:
        owners: (m,) rows.
        n_items: size of the catalogue.
        taken: ascending owner * n_items + item of every save.
        rng: of the draws.
    """
    found = rng.integers(0, n_items, len(owners))
    for _ in range(10):
        keys = owners * n_items + found
        again = np.flatnonzero(taken[np.minimum(np.searchsorted(taken, keys), len(taken) - 1)] == keys)
        if not len(again):
            break
        found[again] = rng.integers(0, n_items, len(again))
    return found
