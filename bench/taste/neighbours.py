"""Nearest neighbours of a request's start: the rule by which the model's queries start, with its numbers tuned, no model.

navigator.start is that rule: a mean of the latest item vectors, older ones fading, a title's text vector beside them, a
gain on the graph part. Here validation chooses its numbers, there training does; so what a model wins over this rival is
the language model's own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bench.systems.base import recommend_by_scores
from bench.systems.rows import CatalogVectors
from bench.taste.options import Grids
from bench.taste.tune import Contender, Ranker, Settings
from bench.taste.world import Fold
from navigator.contracts.signals import Query
from navigator.start import QueryStart, lag_table

_CELLS = 1 << 25  # numbers of histories held at once


@dataclass(frozen=True)
class Neighbours:
    """A store as a recommender.

    Attributes:
        vectors: in catalogue order; `content_dim` of their dimensions are content.
        titles: title -> (D,) text vector.
        settings: last, decay, graph_weight, title_weight.
    """

    name: str
    vectors: CatalogVectors
    content_dim: int
    titles: dict[str, np.ndarray]
    settings: Settings

    def recommend(self, queries: Sequence[Query], k: int) -> tuple[np.ndarray, np.ndarray]:
        def score(batch: Sequence[Query]) -> np.ndarray:
            starts = self.starts(batch)
            scores = self.vectors.scores(starts)
            scores[~starts.any(axis=1)] = -np.inf  # neither a vector nor a title to start from
            return scores

        return recommend_by_scores(queries, k, self.vectors.n_items, score)

    def starts(self, queries: Sequence[Query]) -> np.ndarray:
        """(q, D) float32 unit vectors, zeros where a request has nothing to start from."""
        known = self.vectors.row >= 0
        histories = [[i for i in q.history if known[i]][-self.settings["last"] :] for q in queries]
        found = np.zeros((len(queries), self.vectors.unit.shape[1]), np.float32)
        order = sorted(range(len(queries)), key=lambda row: len(histories[row]))
        while order:  # long histories together and few at once
            longest = max(1, len(histories[order[-1]]))
            size = max(1, _CELLS // (longest * found.shape[1]))
            order, rows = order[:-size], order[-size:]
            found[rows] = self._starts([histories[row] for row in rows], [queries[row].title for row in rows])
        return found

    def _starts(self, histories: list[list[int]], titles: list[str]) -> np.ndarray:
        nothing = np.zeros(self.vectors.unit.shape[1], np.float32)
        texts = np.stack([self.titles.get(title, nothing) for title in titles])
        rows = np.array([item for history in histories for item in history], np.int64)
        lags = lag_table([len(history) for history in histories])
        with torch.inference_mode():
            return self._rule()(*(torch.from_numpy(part) for part in (lags, self.vectors.unit[rows], texts))).numpy()

    def _rule(self) -> QueryStart:
        rule = QueryStart(self.vectors.unit.shape[1], self.content_dim)
        rule.fade.fill_(-math.log(self.settings["decay"]))
        rule.graph.fill_(math.log(self.settings["graph_weight"]))
        rule.title.fill_(math.log(self.settings["title_weight"]) if self.settings["title_weight"] else -math.inf)
        return rule


def neighbours(
    name: str, source: str, vectors: CatalogVectors, content_dim: int, titles: dict[str, np.ndarray], grids: Grids
) -> Contender:
    """A kNN system over one store; only what makes a difference to it is in its grid."""
    whole = content_dim == vectors.unit.shape[1]

    def fit(fold: Fold, settings: Settings, seed: int) -> tuple[Ranker, Settings]:
        return Neighbours(name, vectors, content_dim, titles, settings), settings

    grid = [
        {"last": last, "decay": decay, "graph_weight": weight, "title_weight": title}
        for last in grids.last
        for decay in (grids.decay[:1] if last == 1 else grids.decay)
        for weight in ((1.0,) if whole else grids.graph_weight)
        for title in (grids.title_weight if titles else (1.0,))
    ]
    return Contender(name, source, grid, fit, without_history=bool(titles))
