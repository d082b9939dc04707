"""Item kNN: sum of cosines between the 0/1 columns of the history and of the candidate; all neighbours, zero diagonal.

The item-by-item matrix is never built: with unit columns N (boards x items), scores = (q N') N minus the diagonal.
After Sarwar et al., Item-based collaborative filtering (WWW 2001).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from bench.systems.base import incidence, recommend_by_scores
from navigator.contracts.signals import Query


@dataclass(frozen=True)
class ItemKnn:
    """`unit` is (rows, n_items) with unit or zero columns; `last` keeps only that many items of a history."""

    unit: sparse.csc_array
    n_items: int
    last: int | None = None
    name: str = "item-knn"

    @classmethod
    def fit(cls, rows: Sequence[Sequence[int]], n_items: int, last: int | None = None) -> "ItemKnn":
        """`rows` are the training saves of every board or user."""
        matrix = incidence(rows, n_items)
        counts = np.asarray(matrix.sum(axis=0)).ravel()
        scale = np.divide(1.0, np.sqrt(counts), out=np.zeros_like(counts), where=counts > 0)
        return cls(sparse.csc_array(matrix @ sparse.diags_array(scale)), n_items, last)

    def recommend(self, queries: Sequence[Query], k: int) -> tuple[np.ndarray, np.ndarray]:
        # The diagonal only reaches items of the history, and those are excluded: no correction is needed here.
        def score(batch: Sequence[Query]) -> np.ndarray:
            asked = incidence([self._kept(q.history) for q in batch], self.n_items)
            return ((asked @ self.unit.T) @ self.unit).toarray()

        return recommend_by_scores(queries, k, self.n_items, score)

    def rank_one(self, history: Sequence[int], candidates: Sequence[int]) -> np.ndarray:
        kept = self._kept(history)
        profile = np.asarray(self.unit[:, sorted(set(kept))].sum(axis=1)).ravel()
        columns = self.unit[:, list(candidates)]
        own = np.asarray(columns.power(2).sum(axis=0)).ravel() * np.isin(candidates, kept)
        return profile @ columns - own

    def tokens(self, n_history: int, n_candidates: int) -> int | None:
        return None

    def _kept(self, history: Sequence[int]) -> Sequence[int]:
        return history if self.last is None else history[-self.last :]
