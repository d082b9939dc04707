"""Ranking metrics from top-k lists, with the tie rule spelled out once.

Order: score descending, then the smaller item index. HR@10 is 1 when any target is among the first ten (TREC:
Success@10). NDCG@10 has binary gains and the ideal cut at min(number of targets, 10). recall@50 is the share of targets
among the first fifty; `ranking_metrics` cuts anywhere. Each is per query; means are taken elsewhere.
"""

from collections.abc import Sequence

import numpy as np

from navigator.contracts.report import METRICS

DEPTH = 100
_CELLS = 1 << 24  # scores held at once


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of every row under the tie rule.

    Args:
        scores: (q, n) real scores; -inf means "must not be recommended".
        k: how many; at most n are returned.

    Returns:
        (q, k) int64 indices and (q, k) scores; where a row has fewer than k admissible items the rest is -1 and -inf.

    Raises:
        ValueError: a score is NaN, which has no place in an order.
    """
    if np.isnan(scores).any():
        raise ValueError("scores contain NaN")
    k = min(k, scores.shape[1])
    indices = np.full((scores.shape[0], k), -1, dtype=np.int64)
    best = np.full((scores.shape[0], k), -np.inf, dtype=scores.dtype)
    for row, values in enumerate(scores):
        threshold = np.partition(values, values.size - k)[values.size - k]
        candidates = np.flatnonzero((values >= threshold) & (values > -np.inf))
        chosen = candidates[np.lexsort((candidates, -values[candidates]))[:k]]
        indices[row, : chosen.size] = chosen
        best[row, : chosen.size] = values[chosen]
    return indices, best


def nearest(
    queries: np.ndarray, gallery: np.ndarray, k: int, excluded: Sequence[Sequence[int]] | None = None
) -> np.ndarray:
    """The k nearest of every query.

    Args:
        queries: (q, D) float32.
        gallery: (n, D) float32 unit rows.
        k: list length; fewer when the gallery is smaller.
        excluded: per query positions in the gallery that must not be found.

    Returns:
        (q, min(k, n)) int64 positions in the gallery, best first, -1 where nothing is left.
    """
    step = max(1, min(256, _CELLS // max(len(gallery), 1)))
    found = [np.zeros((0, min(k, len(gallery))), np.int64)]
    for start in range(0, len(queries), step):
        scores = queries[start : start + step] @ gallery.T
        for row, own in zip(scores, (excluded or [])[start : start + step], strict=False):
            row[list(own)] = -np.inf
        found.append(top_k(scores, k)[0])
    return np.concatenate(found)


def per_query(indices: np.ndarray, targets: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """Metrics of every query.

    Args:
        indices: (q, k) ranked item indices, best first, -1 for none; k >= 50 unless the catalogue is smaller.
        targets: per query the held-out items, at least one.

    Returns:
        metric name -> (q,) float64.
    """
    hits = np.array([np.isin(row, list(found)) for row, found in zip(indices, targets, strict=True)], dtype=np.float64)
    hits = hits.reshape(indices.shape)
    sizes = np.array([len(set(found)) for found in targets], dtype=np.int64)
    discounts = 1.0 / np.log2(np.arange(2, 12))
    first = hits[:, :10]
    ideal = np.cumsum(discounts)[np.minimum(sizes, 10) - 1]
    values = (
        first.any(axis=1).astype(np.float64),
        first @ discounts[: first.shape[1]] / ideal,
        hits[:, :50].sum(1) / sizes,
    )
    return {name: np.asarray(value) for name, value in zip(METRICS, values, strict=True)}


def hits(ranked: np.ndarray, targets: Sequence[Sequence[int]]) -> np.ndarray:
    """(q, k) bool, which places of the (q, k) ranked items (-1 for none) hold a target of their row."""
    owner = np.repeat(np.arange(len(targets)), [len(own) for own in targets])
    wanted = np.array([item for own in targets for item in own], np.int64)
    width = max(int(ranked.max(initial=0)), int(wanted.max(initial=0))) + 1
    return np.isin(ranked + width * np.arange(len(ranked))[:, None], owner * width + wanted) & (ranked >= 0)


def ranking_metrics(ranked: np.ndarray, targets: Sequence[Sequence[int]], k: int) -> dict[str, np.ndarray]:
    """Recall@k = hits / number of targets, NDCG@k with the ideal cut at min(targets, k), HR@k (any hit), each per owner.

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
