"""Percentile bootstrap over clusters of queries: boards of one uploader resemble each other, so owners are drawn.

A. C. Cameron and D. L. Miller, A Practitioner's Guide to Cluster-Robust Inference (2015), section VI (pairs cluster
bootstrap). A resample draws as many clusters as there are, with replacement, and takes the mean of all their queries.
Where every query is its own cluster this is bench.intervals.bootstrap, number for number.
"""

import numpy as np

from bench.encoder.figures import Figure
from bench.intervals import RESAMPLES

_BLOCK = 1 << 20  # drawn indices held at once


def resampled_means(
    values: np.ndarray, clusters: np.ndarray | None, seed: int, resamples: int = RESAMPLES
) -> np.ndarray:
    """Means of the resamples.

    Args:
        values: (q, m) one row a query, q >= 1.
        clusters: (q,) what each query belongs to; None: every query stands alone.
        seed: the same seed and number of clusters give the same draws.
        resamples: how many.

    Returns:
        (resamples, m) float64.
    """
    if clusters is None:
        sums, sizes = np.asarray(values, np.float64), np.ones(len(values))
    else:
        codes = np.unique(clusters, return_inverse=True)[1]
        sizes = np.bincount(codes).astype(np.float64)
        sums = np.stack([np.bincount(codes, column) for column in np.asarray(values, np.float64).T], axis=1)
    n, rng = len(sizes), np.random.default_rng(seed)
    step = max(1, _BLOCK // n)
    means = []
    for start in range(0, resamples, step):
        drawn = rng.integers(0, n, (min(step, resamples - start), n))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)[:, None])
    return np.concatenate(means)


def intervals(values: np.ndarray, clusters: np.ndarray | None, seed: int) -> list[Figure]:
    """Mean and 95 % interval of every column of (q, m) values; no interval where there is nothing to draw from."""
    centre = np.asarray(values, np.float64).mean(axis=0)
    if _units(values, clusters) < 2:
        return [Figure(mean=float(mean)) for mean in centre]
    low, high = np.percentile(resampled_means(values, clusters, seed), [2.5, 97.5], axis=0)
    return [Figure(mean=float(m), ci95=(float(a), float(b))) for m, a, b in zip(centre, low, high, strict=True)]


def ratio(part: np.ndarray, whole: np.ndarray, clusters: np.ndarray | None, seed: int) -> Figure | None:
    """Mean of `part` over mean of `whole`, both (q,) on the same queries; None where the whole is 0."""
    if whole.mean() == 0:
        return None
    value = float(part.mean() / whole.mean())
    if _units(whole, clusters) < 2:
        return Figure(mean=value)
    means = resampled_means(np.stack([part, whole], axis=1), clusters, seed)
    if (means[:, 1] == 0).any():
        return Figure(mean=value)
    low, high = np.percentile(means[:, 0] / means[:, 1], [2.5, 97.5])
    return Figure(mean=value, ci95=(float(low), float(high)))


def _units(values: np.ndarray, clusters: np.ndarray | None) -> int:
    return len(values) if clusters is None else len(np.unique(clusters))
