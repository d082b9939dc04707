"""Recall among cold targets, and bootstrap intervals for tens of thousands of owners (metrics: navigator.metrics)."""

from collections.abc import Sequence

import numpy as np

from bench.encoder.figures import Figure
from bench.intervals import RESAMPLES
from navigator.metrics import hits

_BLOCK = 1 << 20  # drawn indices held at once, as in bench.intervals: equal seeds give equal resamples


def recall_among(
    ranked: np.ndarray, targets: Sequence[Sequence[int]], marked: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Recall@k among an owner's marked targets.

    Args:
        marked: (n_items,) bool, such as the cold items.

    Returns:
        (m,) positions of the owners with a marked target, and their (m,) recalls.
    """
    kept = [[item for item in set(own) if marked[item]] for own in targets]
    asked = np.flatnonzero([len(own) > 0 for own in kept])
    sizes = np.array([len(kept[row]) for row in asked])
    return asked, hits(ranked[asked, :k], [kept[row] for row in asked]).sum(axis=1) / sizes


def intervals(values: np.ndarray, seed: int, resamples: int = RESAMPLES) -> list[Figure]:
    """Mean and 95 % percentile bootstrap interval over owners of every column; one owner has no interval.

    The resamples are those of bench.intervals.bootstrap, applied as counts of each row, so that any number of columns
    costs one product.

    Args:
        values: (q, m) float64, one row an owner.
        seed: of the resampling.
        resamples: how many.
    """
    n, centre = len(values), values.mean(axis=0)
    if n < 2:
        return [Figure(mean=float(mean)) for mean in centre]
    rng, step, means = np.random.default_rng(seed), max(1, _BLOCK // n), []
    for start in range(0, resamples, step):
        drawn = rng.integers(0, n, (min(step, resamples - start), n))
        counts = np.stack([np.bincount(row, minlength=n) for row in drawn]).astype(np.float64)
        means.append(counts @ values / n)
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5], axis=0)
    return [Figure(mean=float(m), ci95=(float(a), float(b))) for m, a, b in zip(centre, low, high, strict=True)]
