"""The figures of `navigator-bench encoder` from ranked lists; ranking and ties are those of navigator.metrics."""

from collections.abc import Sequence

import numpy as np

from navigator.contracts.signals import Query
from navigator.contracts.vectors import normalise
from navigator.metrics import nearest, per_query

_DEPTH = 50  # recall@50


def board_figures(vectors: np.ndarray, queries: Sequence[Query], last: int) -> dict[str, np.ndarray]:
    """hr@10, ndcg@10 and recall@50 of ranking the whole catalogue by the mean of each history's last items."""
    return per_query(_ranked(vectors, queries, last), [q.targets for q in queries])


def mate_figures(vectors: np.ndarray, queries: Sequence[Query]) -> dict[str, np.ndarray]:
    """recall@10 (hits / min(10, targets)) and ndcg@10 of ranking the whole catalogue by one item's own vector."""
    ranked, targets = _ranked(vectors, queries, 1), [q.targets for q in queries]
    hits = [np.isin(row[:10], own).sum() / min(10, len(set(own))) for row, own in zip(ranked, targets, strict=True)]
    return {"recall@10": np.array(hits, np.float64), "ndcg@10": per_query(ranked, targets)["ndcg@10"]}


def text_figures(
    texts: np.ndarray, wanted: np.ndarray, pictures: np.ndarray, keys: np.ndarray, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, np.ndarray]:
    """r@k of finding pictures by text: 1 when one of the first k has the right text.

    Args:
        texts: (q, D) query vectors; `wanted`: (q,) the key of each query's text.
        pictures: (g, D) gallery; `keys`: (g,) the keys of the texts of its items.
    """
    ranked = nearest(texts, pictures, max(ks))
    right = (keys[ranked] == wanted[:, None]) & (ranked >= 0)
    return {f"r@{k}": right[:, :k].any(axis=1).astype(np.float64) for k in ks}


def purity(
    vectors: np.ndarray, asking: np.ndarray, gallery: np.ndarray, labels: np.ndarray, k: int = 10
) -> dict[str, np.ndarray]:
    """purity@k: share of the k nearest with the query's own label.

    Args:
        vectors: (n, D) all items; `asking` (q,) and `gallery` (g,) are rows of it.
        labels: (n,) label codes.
        k: neighbours; fewer when the gallery is smaller. The query itself is none of them.
    """
    place = {int(row): position for position, row in enumerate(gallery)}
    own = [(place[int(row)],) if int(row) in place else () for row in asking]
    ranked = nearest(vectors[asking], vectors[gallery], k, own)
    same = (labels[gallery][ranked] == labels[asking][:, None]) & (ranked >= 0)
    return {f"purity@{k}": same.sum(axis=1) / np.maximum((ranked >= 0).sum(axis=1), 1)}


def _ranked(vectors: np.ndarray, queries: Sequence[Query], last: int) -> np.ndarray:
    means = np.stack([normalise(vectors[list(q.history[-last:])].mean(axis=0)) for q in queries])
    return nearest(means, vectors, _DEPTH, [q.history for q in queries])
