"""How often an item is a target: what the logQ correction divides by, exactly or from a sketch of fixed size."""

import numpy as np

_PRIME = np.uint64((1 << 61) - 1)


class CountMin:
    """Count-min sketch (Cormode & Muthukrishnan 2005): counts of a stream in `depth` x `width` cells, never too low.

    With n counts seen, an estimate is too high by more than e n / width with a chance of at most exp(-depth).
    """

    def __init__(self, width: int = 1 << 16, depth: int = 4, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.cells = np.zeros((depth, width), np.int64)
        self.factor = rng.integers(1, 1 << 31, depth, dtype=np.uint64)
        self.shift = rng.integers(0, 1 << 31, depth, dtype=np.uint64)

    def add(self, items: np.ndarray) -> None:
        """Count (n,) item indices below 2^29."""
        for row, places in zip(self.cells, self._places(items), strict=True):
            np.add.at(row, places, 1)

    def estimate(self, items: np.ndarray) -> np.ndarray:
        """(n,) int64 counts, the truth or more."""
        return np.min([row[places] for row, places in zip(self.cells, self._places(items), strict=True)], axis=0)

    def _places(self, items: np.ndarray) -> list[np.ndarray]:
        width, keys = np.uint64(self.cells.shape[1]), items.astype(np.uint64)
        return [
            ((a * keys + b) % _PRIME % width).astype(np.int64) for a, b in zip(self.factor, self.shift, strict=True)
        ]


def target_shares(items: np.ndarray, n_items: int, counts: str) -> np.ndarray:
    """(n_items,) share of each item among all saves; an item never saved is never a target and has share 0.

    Args:
        items: (m,) items of all training saves.
        counts: "exact" or "count-min".
    """
    if counts == "exact":
        found = np.bincount(items, minlength=n_items)
    else:
        sketch = CountMin()
        sketch.add(items)
        found = sketch.estimate(np.arange(n_items))
    return found / max(len(items), 1)
