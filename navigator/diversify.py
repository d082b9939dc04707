"""Fewer near-twins at the top: an item's score is multiplied by a decay for every similar item already above it.

The rule is that of Pinterest's user journeys (score x 0.95 for each similar one ranked above), applied greedily: the best is
taken, what resembles it is discounted, the best of the rest is taken, and so on. A factor below 1 lowers only positive
scores, so others are refused; those of `navigator.fuse` always are positive.
"""

import numpy as np


def diversify(
    scores: np.ndarray, unit: np.ndarray, k: int, decay: float, similar: float
) -> tuple[np.ndarray, np.ndarray]:
    """The first k of the new order.

    Args:
        scores: (C,) positive scores.
        unit: (C, E) unit vectors of the space in which items resemble each other.
        k: how many are wanted; fewer when C is smaller.
        decay: above 0 to 1; 1 changes nothing.
        similar: cosine from which two items are similar.

    Returns:
        (k,) positions in `scores`, best first, and the (k,) discounted scores. Of equal scores the earlier position wins.

    Raises:
        ValueError: a score that is not positive.
    """
    if len(scores) and not scores.min() > 0:
        raise ValueError(f"scores to diversify must be positive; the lowest is {scores.min()}")
    left = scores.astype(np.float64)  # a copy: what was taken becomes -inf
    taken, discounted = [], []
    for _ in range(min(k, len(scores))):
        best = int(left.argmax())
        taken.append(best)
        discounted.append(left[best])
        left[best] = -np.inf
        if decay < 1:
            left[unit @ unit[best] >= similar] *= decay
    return np.array(taken, np.int64), np.array(discounted)
