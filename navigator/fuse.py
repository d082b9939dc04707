"""Several ranked lists to one: reciprocal rank fusion (Cormack, Clarke & Buettcher, SIGIR 2009), k = 60.

Places, not scores, are added up: cosines of different spaces and the ranking head's logits have no common scale, places do.
The weights of the lists that took part are brought to a sum of 1, so that a score means the same in every request: 1/61 is
an item that every list puts first. All scores are positive, which is what lets `navigator.diversify` multiply them.
"""

from collections.abc import Sequence

import numpy as np

RRF_K = 60


def fuse(lists: Sequence[np.ndarray], weights: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Score of an item = sum over lists of weight / (60 + its place there, from 1); a list without it adds nothing.

    Args:
        lists: each (n_i,) distinct item rows, best first.
        weights: of each list, not negative, not all zero; brought to a sum of 1.

    Returns:
        (m,) int64 rows of every list with a weight, best first, and their (m,) float64 scores. Of equal scores the one that
        an earlier list has, and has higher, is first.
    """
    share = np.asarray(weights, np.float64) / np.sum(weights)
    used = [(np.asarray(rows, np.int64), w) for rows, w in zip(lists, share, strict=True) if w > 0]
    rows = np.concatenate([rows for rows, _ in used])
    points = np.concatenate([w / (RRF_K + 1 + np.arange(len(rows))) for rows, w in used])
    distinct, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    scores = np.bincount(inverse, points, minlength=len(distinct))
    order = np.lexsort((first, -scores.round(15)))  # sums of the same points in another order are equal
    return distinct[order], scores[order]


def places(scores: np.ndarray) -> np.ndarray:
    """(n,) int64 places from 1, the highest score first; of equal scores the earlier one."""
    found = np.empty(len(scores), np.int64)
    found[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return found


def blend(fused: np.ndarray, place: np.ndarray, weight: float) -> np.ndarray:
    """Retrieval and ranking as two voices: (1 - weight) * fused + weight / (60 + place in the ranking).

    Args:
        fused: (C,) scores of `fuse`.
        place: (C,) by the model, from 1.
        weight: of the ranking, 0 (retrieval alone) to 1 (ranking alone).
    """
    return (1 - weight) * fused + weight / (RRF_K + place)
