"""What training reads: a model with its item vectors, the catalogue's texts and the taste graph's signals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from graph.store import TasteGraph
from navigator.contracts import Catalog, ItemVectors, UserError
from navigator.contracts.signals import Query, TasteSequence, valid_queries
from navigator.contracts.vectors import normalise
from navigator.native import NativeRecommender
from navigator.recommend import Recommender


@dataclass
class World:
    """Everything a task draws its examples from; item indices are rows of the catalogue and of the vectors.

    Attributes:
        recommender: model, processor, vectors, and `pixels(rows)` for the tower's input.
        texts: what models may read of each item.
        sequences: boards and users with their training saves.
        hard_negatives: (n, m) item indices, -1 where there are fewer.
        impressions: of users that have some, item indices they were shown before anything held out and never saved.
    """

    recommender: Recommender
    texts: list[str]
    sequences: list[TasteSequence] = field(default_factory=list)
    hard_negatives: np.ndarray | None = None
    impressions: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @cached_property
    def matrix(self) -> np.ndarray:
        """(n, D) float32 item vectors."""
        return self.recommender.vectors.float32()

    @cached_property
    def items(self) -> torch.Tensor:
        """`matrix` on the model's device."""
        return torch.from_numpy(self.matrix).to(self.recommender.device)

    @cached_property
    def neutral(self) -> np.ndarray:
        """(D,) where a query without history starts: the catalogue's unit mean vector."""
        return normalise(self.matrix.mean(0))

    @cached_property
    def popularity(self) -> torch.Tensor:
        """(n,) share of each item among all training saves, with one pseudo-save for each item."""
        counts = np.ones(len(self.texts))
        for sequence in self.sequences:
            np.add.at(counts, list(sequence.items), 1)
        return torch.from_numpy(counts / counts.sum()).float().to(self.recommender.device)

    def without_graph(self, rows: list[int], cold: np.ndarray) -> np.ndarray:
        """(len(rows), D) item vectors; where `cold`, without the graph factors beside the content (refined vectors)."""
        vectors = self.matrix[rows]
        manifest = self.recommender.vectors.manifest
        content = vectors.shape[1] if manifest is None else manifest.config.get("content_dim", vectors.shape[1])
        vectors[cold, content:] = 0.0
        vectors[cold] = normalise(vectors[cold])
        return vectors

    @cached_property
    def described(self) -> np.ndarray:
        """Indices of items that have words."""
        return np.array([i for i, text in enumerate(self.texts) if text.strip()])

    def of_task(self, task: str) -> list[TasteSequence]:
        """Sequences of one task that are long enough to hide one item."""
        return [s for s in self.sequences if s.task == task and len(s.items) >= 2]

    def valid_queries(self, limit: int = 0) -> list[Query]:
        """Validation queries of every task that has some; a seeded choice of `limit` when that is not 0."""
        return valid_queries(self.sequences, limit)


def open_world(
    model: Path, vectors: Path, catalog: Path, taste_graph: Path | None, native: bool, device: torch.device
) -> World:
    """Open the artefacts of one training run in float32 (autocast narrows what may be narrow).

    Raises:
        UserError: a missing artefact, vectors of another encoder, or vectors that do not cover the catalogue in order.
    """
    opened = Catalog.open(catalog)
    store = ItemVectors.open(vectors)
    if store.ids != opened.item_ids:
        raise UserError(
            f"vectors {vectors} ({len(store.ids)} items) are not of catalog {catalog} "
            f"({len(opened.item_ids)}); embed it again"
        )
    if native:
        recommender: Recommender = NativeRecommender.open(model, catalog, vectors, str(device), "float32")
    else:
        recommender = Recommender.open(model, vectors, str(device), "float32")
    world = World(recommender, opened.table("items", ["text"])["text"].to_pylist())
    if taste_graph is not None:
        signals = TasteGraph.open(taste_graph, opened)
        world.sequences, world.hard_negatives = signals.sequences, signals.hard_negatives
        shown = signals.impressions
        bounds = zip(shown.owner_ids, pairwise(shown.indptr.tolist()), strict=True)
        world.impressions = {user: shown.items[slice(*ends)].tolist() for user, ends in bounds}
    return world
