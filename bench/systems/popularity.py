"""Popularity: the number of training saves. What any personal system must beat."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.systems.base import incidence, recommend_by_scores
from navigator.contracts.signals import Query


@dataclass(frozen=True)
class Popularity:
    """`counts` is (n_items,) float64."""

    counts: np.ndarray
    name: str = "popularity"

    @classmethod
    def fit(cls, rows: Sequence[Sequence[int]], n_items: int) -> "Popularity":
        """`rows` are the training saves of every board or user."""
        return cls(np.asarray(incidence(rows, n_items).sum(axis=0)).ravel())

    def recommend(self, queries: Sequence[Query], k: int) -> tuple[np.ndarray, np.ndarray]:
        return recommend_by_scores(queries, k, self.counts.size, lambda batch: np.tile(self.counts, (len(batch), 1)))

    def rank_one(self, history: Sequence[int], candidates: Sequence[int]) -> np.ndarray:
        return self.counts[np.asarray(candidates)]

    def tokens(self, n_history: int, n_candidates: int) -> int | None:
        return None
