"""Content: nearest neighbours of the history's mean vector. With the tuned store the same code is content-tuned,
with the refined one content-graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.systems.base import recommend_by_scores
from bench.systems.rows import CatalogVectors
from navigator.contracts.signals import Query
from navigator.contracts.vectors import normalise


@dataclass(frozen=True)
class Content:
    """The query is the normalised mean of the unit vectors of the last `last` history items; scores are cosines."""

    name: str
    vectors: CatalogVectors
    last: int

    def recommend(self, queries: Sequence[Query], k: int) -> tuple[np.ndarray, np.ndarray]:
        def score(batch: Sequence[Query]) -> np.ndarray:
            return self.vectors.scores(np.stack([self._mean(q.history) for q in batch]))

        return recommend_by_scores(queries, k, self.vectors.n_items, score)

    def rank_one(self, history: Sequence[int], candidates: Sequence[int]) -> np.ndarray:
        return self.vectors.unit[np.asarray(candidates)] @ self._mean(history)

    def tokens(self, n_history: int, n_candidates: int) -> int | None:
        return None

    def _mean(self, history: Sequence[int]) -> np.ndarray:
        return normalise(self.vectors.unit[list(history[-self.last :])].mean(axis=0))
