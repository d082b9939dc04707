"""Tuning and asking: what every system has in common, and the order of things that keeps the test untouched."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from bench.graph.baselines import Ranker
from bench.taste.world import Fold, World
from navigator.contracts.signals import Query
from navigator.metrics import ranking_metrics

DEPTH = 50
_CELLS = 1 << 22  # places of whole lists held at once
K = 10
TUNED_BY = "ndcg@10"
Settings = dict[str, Any]


@dataclass(frozen=True)
class Contender:
    """A system before it is fitted.

    Attributes:
        name: in the report.
        source: what it is made of, in words.
        grid: the settings to choose from, at least one.
        fit: (fold, settings, seed) -> a ranker and its settings. A system that finds something out while it is tuned
            (epochs, by early stopping on the fold's queries) adds it to the settings; given them back, it keeps to them.
            The fold that the test is answered after has no queries.
        seeds: one run each; NAME@SEED in the report where there are several.
        without_history: whether a request without a history can be answered.
        finds: whether tuning adds to the settings, so that even a single one must be tried.
    """

    name: str
    source: str
    grid: Sequence[Settings]
    fit: Callable[[Fold, Settings, int], tuple[Ranker, Settings]]
    seeds: tuple[int, ...] = (0,)
    without_history: bool = False
    finds: bool = False

    def run_name(self, seed: int) -> str:
        """What one run is called; bench.encoder.seeds puts the runs of a recipe together again."""
        return self.name if len(self.seeds) == 1 else f"{self.name}@{seed}"


@dataclass(frozen=True)
class Tried:
    """Settings and the figure on validation; None where nothing was chosen, because there was one value."""

    settings: Settings
    valid: float | None


def tune(contender: Contender, world: World) -> list[Tried]:
    """Every setting tried on the tuning fold, the chosen one first (of equals the one earlier in the grid)."""
    if len(contender.grid) == 1 and not contender.finds:
        return [Tried(contender.grid[0], None)]
    return try_all(contender, world.tuning)


def try_all(contender: Contender, fold: Fold) -> list[Tried]:
    """The same, on the fold given."""
    targets = [q.targets for q in fold.queries]
    tried = []
    for settings in tqdm(contender.grid, desc=f"tune {contender.name}", unit="setting"):
        ranker, found = contender.fit(fold, settings, contender.seeds[0])
        ranked = answer(ranker, contender, fold.queries, fold.warm, K)
        tried.append(Tried(found, float(ranking_metrics(ranked, targets, K)[TUNED_BY].mean())))
    return sorted(tried, key=lambda one: -(one.valid or 0.0))  # stable


def rank(ranker: Ranker, queries: Sequence[Query], warm: np.ndarray, k: int) -> np.ndarray:
    """(q, k) items, best first, -1 for none.

    A query of which training knows no item asks for new arrivals, among the items without a training save, as in
    train.stage.ndcg. Its whole list is taken and what is warm struck out: that binds every system alike.

    Args:
        ranker: the system.
        queries: what is asked.
        warm: (n_items,) bool, items with a training save.
        k: list length; the catalogue's size where that is less.
    """
    new = np.array([query.among_new(warm) for query in queries], bool)
    ranked = np.full((len(queries), min(k, len(warm))), -1, np.int64)
    if not new.all():
        ranked[~new] = ranker.recommend([queries[row] for row in np.flatnonzero(~new).tolist()], k)[0]
    asking, step = np.flatnonzero(new).tolist(), max(1, _CELLS // len(warm))
    for rows in (asking[start : start + step] for start in range(0, len(asking), step)):
        whole, _ = ranker.recommend([queries[row] for row in rows], len(warm))
        for row, items in zip(rows, whole, strict=True):
            left = items[(items >= 0) & ~warm[items]][:k]
            ranked[row, : len(left)] = left
    return ranked


def answer(
    ranker: Ranker, contender: Contender, queries: Sequence[Query], warm: np.ndarray, k: int = DEPTH
) -> np.ndarray:
    """The same; nothing for a request without a history, unless the system can answer it."""
    ranked = rank(ranker, queries, warm, k)
    if not contender.without_history:
        ranked[[not q.history for q in queries]] = -1
    return ranked


def measures(ranked: np.ndarray, targets: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """ndcg@10, hr@10, recall@10 and recall@50 of every query."""
    found = ranking_metrics(ranked, targets, K)
    order = (f"ndcg@{K}", f"hr@{K}", f"recall@{K}")
    return {name: found[name] for name in order} | {
        f"recall@{DEPTH}": ranking_metrics(ranked, targets, DEPTH)[f"recall@{DEPTH}"]
    }
