"""swapped and native: the language model as recommender, with its item tower or with a runtime vision tower.

Quality comes from the retrieval head (one query vector against the whole catalogue), the timed request from the ranking
head (history and candidates in one forward pass).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bench.systems.base import recommend_by_scores
from bench.systems.rows import CatalogVectors
from navigator.contracts.signals import Query
from navigator.contracts.vectors import ItemVectors

_BATCH = {"swapped": 128, "native": 8}  # a native request carries 49 tokens an item


class Model(Protocol):
    """The part of navigator.recommend.Recommender and navigator.native.NativeRecommender that the bench uses."""

    @property
    def vectors(self) -> ItemVectors: ...

    def query_vectors(self, histories: Sequence[Sequence[int]], titles: Sequence[str]) -> np.ndarray: ...

    def rank(self, history: Sequence[int], candidates: Sequence[int], title: str = "") -> np.ndarray: ...

    def count_tokens(self, n_history: int, n_candidates: int) -> int: ...


@dataclass(frozen=True)
class NavigatorSystem:
    """Adapts a recommender, which counts in store rows, to the bench, which counts in catalogue rows.

    Attributes:
        name: "swapped" or "native".
        model: the recommender.
        vectors: its own store, aligned with the catalogue.
        last: history length the model is given; a query without a title whose history has no vector gets no answer (a miss).
        titles: whether the model may read the board's title.
    """

    name: str
    model: Model
    vectors: CatalogVectors
    last: int
    titles: bool = True

    def recommend(self, queries: Sequence[Query], k: int) -> tuple[np.ndarray, np.ndarray]:
        def score(batch: Sequence[Query]) -> np.ndarray:
            histories = [self.vectors.rows_of(q.history)[-self.last :] for q in batch]
            titles = [q.title if self.titles else "" for q in batch]
            known = [i for i, history in enumerate(histories) if history or titles[i]]
            scores = np.full((len(batch), self.vectors.n_items), -np.inf, dtype=np.float32)
            if known:
                asked = self.model.query_vectors([histories[i] for i in known], [titles[i] for i in known])
                scores[known] = self.vectors.scores(asked)
            return scores

        n_items = self.vectors.n_items
        return recommend_by_scores(queries, k, n_items, score, _BATCH.get(self.name, 32), progress=self.name)

    def rank_one(self, history: Sequence[int], candidates: Sequence[int]) -> np.ndarray:
        rows = self.vectors.rows_of(history)[-self.last :]
        return np.asarray(self.model.rank(rows, self.vectors.rows_of(candidates)))

    def tokens(self, n_history: int, n_candidates: int) -> int | None:
        return self.model.count_tokens(min(n_history, self.last), n_candidates)
