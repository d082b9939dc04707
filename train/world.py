"""What training reads: a model with its item vectors, the catalogue's texts and the taste graph's signals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from graph.store import TasteGraph
from navigator.contracts import Catalog, ItemVectors, UserError
from navigator.contracts.signals import Query, TasteSequence, some, unseen_queries, valid_queries
from navigator.contracts.vectors import normalise
from navigator.native import NativeRecommender
from navigator.prompts import held_out_for_language
from navigator.recommend import MAX_HISTORY, Recommender
from navigator.texts import text_vectors


@dataclass
class World:
    """Everything a task draws its examples from; item indices are rows of the catalogue and of the vectors.

    Attributes:
        recommender: model, processor, vectors, and `pixels(rows)` for the tower's input.
        texts: what models may read of each item.
        sequences: boards and users with their training saves.
        hard_negatives: (n, m) item indices, -1 where there are fewer.
        impressions: of users that have some, item indices they were shown before anything held out and never saved.
        unseen: boards of which training knows nothing; those of part valid are validation.
    """

    recommender: Recommender
    texts: list[str]
    sequences: list[TasteSequence] = field(default_factory=list)
    hard_negatives: np.ndarray | None = None
    impressions: Mapping[str, Sequence[int]] = field(default_factory=dict)
    unseen: list[TasteSequence] = field(default_factory=list)

    @cached_property
    def matrix(self) -> np.ndarray:
        """(n, D) float32 item vectors."""
        return self.recommender.vectors.float32()

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

    @cached_property
    def warm(self) -> np.ndarray:
        """(n,) bool, items with a training save."""
        found = np.zeros(len(self.texts), bool)
        found[[i for sequence in self.sequences for i in sequence.items]] = True
        return found

    @cached_property
    def twins(self) -> dict[str, tuple[int, ...]]:
        """Text -> the items that have it, of texts that several items share."""
        of: dict[str, list[int]] = {}
        for item, text in enumerate(self.texts):
            of.setdefault(text, []).append(item)
        return {text: tuple(items) for text, items in of.items() if len(items) > 1}

    @cached_property
    def described(self) -> np.ndarray:
        """Indices of items that have words, without those that the language check keeps for itself."""
        kept = ~held_out_for_language(self.recommender.vectors.ids)
        return np.array([i for i, text in enumerate(self.texts) if text.strip() and kept[i]], np.int64)

    @cached_property
    def spared(self) -> np.ndarray:
        """Indices of items that have words and that the language check keeps for itself."""
        kept = held_out_for_language(self.recommender.vectors.ids)
        return np.array([i for i, text in enumerate(self.texts) if text.strip() and kept[i]], np.int64)

    def of_task(self, task: str) -> list[TasteSequence]:
        """Sequences of one task that are long enough to hide one item."""
        return [s for s in self.sequences if s.task == task and len(s.items) >= 2]

    def valid_queries(self, limit: int = 0, titles: bool = False) -> list[Query]:
        """What is asked of a model between steps; a seeded choice of `limit` when that is not 0.

        Args:
            limit: how many at most, 0 is all.
            titles: ask as the mixture trains with words: where there are unseen validation boards, those alone, with their
                title, and with their title and two of their items. Otherwise the saves held out of every owner, no title.
        """
        if titles and any(board.valid for board in self.unseen):
            found = [query for show in (0, 2) for query in unseen_queries(self.unseen, "valid", show)]
            return some(found, limit)
        return [query if titles else replace(query, title="") for query in valid_queries(self.sequences, limit)]


def open_world(
    model: Path, vectors: Path, catalog: Path, taste_graph: Path | None, native: bool, device: torch.device,
    encoder: str = "", max_history: int = MAX_HISTORY,
) -> World:  # fmt: skip
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
        recommender: Recommender = NativeRecommender.open(model, catalog, vectors, str(device), "float32", max_history)
    else:
        recommender = Recommender.open(model, vectors, str(device), "float32", max_history)
    recommender.text_vectors = text_vectors(encoder, store) if encoder else None
    world = World(recommender, opened.table("items", ["text"])["text"].to_pylist())
    if taste_graph is not None:
        signals = TasteGraph.open(taste_graph, opened)
        world.sequences, world.hard_negatives, world.unseen = signals.sequences, signals.hard_negatives, signals.unseen
        shown = signals.impressions
        bounds = zip(shown.owner_ids, pairwise(shown.indptr.tolist()), strict=True)
        world.impressions = {user: shown.items[slice(*ends)].tolist() for user, ends in bounds}
    return world
