"""Swapped and native models by their retrieval head, and scores that another system wrote into a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from bench.graph.baselines import Ranker
from bench.graph.stores import open_checked
from bench.systems.base import recommend_by_scores
from bench.systems.navigator_models import NavigatorSystem
from bench.systems.rows import CatalogVectors
from bench.taste.tune import Contender, Settings
from bench.taste.world import Fold, World
from navigator.contracts import UserError, read_manifest
from navigator.contracts.signals import Query


def model_contender(name: str, folders: str, world: World) -> Contender:
    """A model from MODEL:VECTORS; its history length is the one setting.

    Raises:
        UserError: not two folders, or trained or refined with another graph than is asked here.
    """
    model, vectors = model_folders(name, folders)
    trained_on = read_manifest(model, "model", "accelerate launch -m train.posttrain").inputs.get("graph")
    if trained_on is not None and trained_on != world.graph:
        raise UserError(
            f"model {name}={model} was trained with graph {trained_on}, but {world.graph} is given: it may know what that "
            "one holds out; give the graph it was trained with"
        )
    store = open_checked(name, vectors, world.graph)
    aligned = CatalogVectors.align(store, world.catalog.item_ids, name)
    options = world.options

    @lru_cache(maxsize=1)
    def opened():
        from navigator.native import NativeRecommender
        from navigator.recommend import Recommender
        from navigator.tower import PatchTower

        longest = max(options.grids.model_last)
        found = Recommender.open(model, vectors, options.device, max_history=longest, encoder=options.encoder)
        if not isinstance(found.model.model.visual, PatchTower):
            return found
        pictures = world.catalog.images(store.ids)
        native = NativeRecommender(found.model, found.processor, found.vectors, pictures, longest)
        native.text_vectors = found.text_vectors
        return native

    def fit(fold: Fold, settings: Settings, seed: int) -> tuple[Ranker, Settings]:
        kind = "native" if hasattr(opened(), "pictures") else "swapped"
        return NavigatorSystem(kind, opened(), aligned, settings["last"], options.titles), settings

    grid = [{"last": last} for last in options.grids.model_last]
    return Contender(name, f"{model} over {vectors}", grid, fit, without_history=True)


def model_folders(name: str, folders: str) -> tuple[Path, Path]:
    """MODEL:VECTORS as two paths."""
    model, mark, vectors = folders.partition(":")
    if not (model and mark and vectors):
        raise UserError(f"models {name}={folders}: allowed is NAME=MODELFOLDER:VECTORSFOLDER")
    return Path(model), Path(vectors)


@dataclass(frozen=True)
class Scores:
    """Scores of another system; `row` is the row of each query id."""

    name: str
    scores: np.ndarray
    row: dict[str, int]

    def recommend(self, queries: Sequence[Query], k: int) -> tuple[np.ndarray, np.ndarray]:
        def score(batch: Sequence[Query]) -> np.ndarray:
            return np.array(self.scores[[self.row[q.query_id] for q in batch]], np.float32)

        return recommend_by_scores(queries, k, self.scores.shape[1], score)


def scores_contender(name: str, path: Path, world: World) -> Contender:
    """Scores (q, n_items) of the final queries, in their order; whoever wrote them has tuned them.

    Raises:
        UserError: no such file, or another shape.
    """
    wanted = (len(world.final.queries), world.final.n_items)
    if not path.is_file():
        raise UserError(f"scores {name}={path}: there is no such file")
    scores = np.load(path, mmap_mode="r", allow_pickle=False)
    if scores.shape != wanted or scores.dtype.kind != "f":
        raise UserError(
            f"scores {name}={path}: {scores.dtype} of shape {scores.shape}; needed are real numbers of shape {wanted}: a row "
            "a query in the order of per_query.parquet, a column an item in catalogue order"
        )
    ranker = Scores(name, scores, {q.query_id: row for row, q in enumerate(world.final.queries)})
    return Contender(name, str(path), [{}], lambda fold, settings, seed: (ranker, settings), without_history=True)
