"""Recall@k, NDCG@k and HR@k with several targets an owner, and their bootstrap intervals, for tens of thousands of owners.

Recall@k = hits / number of targets; NDCG@k has binary gains and the ideal cut at min(targets, k); HR@k is 1 when any
target is among the first k (TREC: R@k, nDCG@k, Success@k). All are per owner; means are taken over owners.
"""

from collections.abc import Sequence

import numpy as np

from bench.encoder.figures import Figure
from bench.intervals import RESAMPLES

_BLOCK = 1 << 20  # drawn indices held at once, as in bench.intervals: equal seeds give equal resamples


def hits(ranked: np.ndarray, targets: Sequence[Sequence[int]]) -> np.ndarray:
    """(q, k) bool, which places of the (q, k) ranked items (-1 for none) hold a target of their row."""
    owner = np.repeat(np.arange(len(targets)), [len(own) for own in targets])
    wanted = np.array([item for own in targets for item in own], np.int64)
    width = max(int(ranked.max(initial=0)), int(wanted.max(initial=0))) + 1
    return np.isin(ranked + width * np.arange(len(ranked))[:, None], owner * width + wanted) & (ranked >= 0)


def ranking_metrics(ranked: np.ndarray, targets: Sequence[Sequence[int]], k: int) -> dict[str, np.ndarray]:
    """Metrics of every owner.

    Args:
        ranked: (q, >= k unless the catalogue is smaller) item indices, best first, -1 for none.
        targets: what was held out of each owner, at least one; a repeat counts once.
        k: cut.

    Returns:
        ``recall@k``, ``ndcg@k``, ``hr@k`` -> (q,) float64.
    """
    found = hits(ranked[:, :k], targets)
    sizes = np.array([len(set(own)) for own in targets])
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(sizes, k) - 1]
    values = found.sum(axis=1) / sizes, found @ discounts[: found.shape[1]] / ideal, found.any(axis=1)
    return {f"{name}@{k}": np.asarray(v, np.float64) for name, v in zip(("recall", "ndcg", "hr"), values, strict=True)}


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
