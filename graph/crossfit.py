"""Graph factors without the asker's own saves: what a model may be trained on.

Factors are made from training saves, the very ones that training then asks for: the item asked for lies near the history
because of this save, and a model learns to lean on that; no held-out target has it. So owners are dealt into folds, and
each fold is trained on with factors made from the others alone (cross-fitting, as in double machine learning, Chernozhukov
et al. 2018). Factors are only known up to a rotation, so each fold's are turned onto those that will be served by the
orthogonal Procrustes solution (Schoenemann 1966).
"""

import zlib
from collections.abc import Sequence

import numpy as np

from graph.factors import co_save_factors, train_counts
from navigator.contracts.signals import TasteSequence


def fold_of(owner: str, folds: int) -> int:
    """The fold of a board or user, by its external id alone."""
    return zlib.crc32(owner.encode()) % folds


def crossfitted_factors(sequences: Sequence[TasteSequence], served: np.ndarray, folds: int) -> list[np.ndarray]:
    """Factors for every fold, made of the saves of owners in the other folds, turned onto `served`.

    Args:
        sequences: boards and users with their training saves.
        served: (n, F) factors of all of them, unit or zero rows.
        folds: how many, at least 2.

    Returns:
        `folds` arrays (n, F) float32 of unit or zero rows.
    """
    found = []
    for fold in range(folds):
        others = [sequence for sequence in sequences if fold_of(sequence.owner, folds) != fold]
        factors = co_save_factors(train_counts(others, len(served)), served.shape[1])
        left, _, right = np.linalg.svd(factors.T @ served)
        found.append((factors @ (left @ right)).astype(np.float32))
    return found
