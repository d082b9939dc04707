"""How much two ranked lists agree: overlap, Kendall's tau-b and rank-biased overlap; nan where there is nothing to compare."""

from typing import Any

import numpy as np
from scipy.stats import kendalltau

PERSISTENCE = 0.9  # of rank-biased overlap: the first ten places carry about 86 % of the weight


def overlap(old: np.ndarray, new: np.ndarray, k: int) -> float:
    """Share of the longer of the two lists, cut at k, that both hold; nan when one is empty."""
    if not (len(old) and len(new)):
        return float("nan")
    return len(np.intersect1d(old[:k], new[:k])) / max(len(old[:k]), len(new[:k]))


def tau_b(old: np.ndarray, old_scores: np.ndarray, new: np.ndarray, new_scores: np.ndarray) -> float:
    """Kendall's tau-b between the scores that the two gave to the items that both show.

    1: the same order, -1: the reverse. Items that a side scores equally are ties (M. G. Kendall, The treatment of ties in
    ranking problems, 1945). nan with fewer than two common items, or where a side scores all of them equally.
    """
    _, mine, theirs = np.intersect1d(old, new, return_indices=True)
    a, b = old_scores[mine], new_scores[theirs]
    if len(mine) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    found: Any = kendalltau(a, b, variant="b")
    return float(found.statistic)


def rank_biased_overlap(old: np.ndarray, new: np.ndarray, p: float = PERSISTENCE) -> float:
    """Extrapolated rank-biased overlap of two lists without repeats: 0 disjoint, 1 equal as far as both go.

    W. Webber, A. Moffat and J. Zobel, A similarity measure for indefinite rankings (2010), equation 32, which also takes
    lists of two lengths. nan when one is empty.
    """
    short, long = sorted((old, new), key=len)
    s, n = len(short), len(long)
    if not s:
        return float("nan")
    depth = np.arange(1, n + 1)
    short_place = {item: place for place, item in enumerate(short.tolist())}
    meets = [max(short_place[item], place) for place, item in enumerate(long.tolist()) if item in short_place]
    common = np.cumsum(np.bincount(meets, minlength=n))  # (n,) items that both hold by each depth
    weights = p ** depth.astype(np.float64)
    beyond = depth[s:]
    total = (common / depth * weights).sum() + (common[s - 1] * (beyond - s) / (s * beyond) * weights[s:]).sum()
    tail = (common[-1] - common[s - 1]) / n + common[s - 1] / s
    return float((1 - p) / p * total + tail * p**n)
