"""Percentile bootstrap over queries: how far a mean, or a paired difference of means, could be off.

Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13. Queries are the sampling unit. The same seed
and the same number of queries give the same resamples, so that intervals of systems on equal queries belong together.
"""

import numpy as np

from navigator.contracts.report import METRICS, Interval, Quality

RESAMPLES = 2000
_BLOCK = 1 << 20  # drawn indices held at once


def bootstrap(values: np.ndarray, seed: int, resamples: int = RESAMPLES) -> list[Interval]:
    """Mean and 95 % interval of every column.

    Args:
        values: (q, m) one row a query, q >= 1.
        seed: of the resampling.
        resamples: how many times the queries are drawn again with replacement.
    """
    n = values.shape[0]
    if n == 0:
        raise ValueError("no query to resample: an empty distribution has no interval")
    rng = np.random.default_rng(seed)
    step = max(1, _BLOCK // n)
    means = [
        values[rng.integers(0, n, (min(step, resamples - start), n))].mean(axis=1)
        for start in range(0, resamples, step)
    ]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5], axis=0)
    centre = values.mean(axis=0)
    return [Interval(mean=float(m), ci95=(float(a), float(b))) for m, a, b in zip(centre, low, high, strict=True)]


def quality(metrics: dict[str, np.ndarray], seed: int, keep: np.ndarray | None = None) -> Quality | None:
    """Intervals of the metrics over the queries `keep` selects ((q,) bool, default all); None when that is none."""
    values = np.stack([metrics[name] for name in METRICS], axis=1)
    values = values if keep is None else values[keep]
    if not len(values):
        return None
    return Quality.model_validate(dict(zip(METRICS, bootstrap(values, seed), strict=True)))


def paired(system: dict[str, np.ndarray], rival: dict[str, np.ndarray], seed: int) -> Quality | None:
    """Intervals of system minus rival, query by query (the two must hold the same queries in the same order)."""
    return quality({name: system[name] - rival[name] for name in METRICS}, seed)
