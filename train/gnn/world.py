"""What the graph encoder reads of a taste graph: owners with their saves, frequencies, hard negatives, questions."""

from dataclasses import dataclass

import numpy as np

from graph.store import TasteGraph
from navigator.contracts import ItemVectors, UserError
from navigator.contracts.signals import TASKS, Query, Task, valid_queries
from navigator.contracts.vectors import normalise

NODE_OF: dict[Task, str] = {"board-completion": "board", "next-item": "user"}


@dataclass(frozen=True)
class Owners:
    """Boards and users, one after another, with their training saves.

    Attributes:
        ids: external ids.
        indptr: (n + 1,) int64 bounds of each owner's items.
        items: (m,) int64 item indices, in the owner's order.
        first: where each task's owners begin, and after the last task the number of owners.
    """

    ids: list[str]
    indptr: np.ndarray
    items: np.ndarray
    first: dict[str, int]

    @property
    def sizes(self) -> np.ndarray:
        return np.diff(self.indptr)

    def saves(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(k,) position in `chosen` and (k,) item of each save of the chosen owners."""
        sizes = self.sizes[chosen]
        row = np.repeat(np.arange(len(chosen)), sizes)
        offset = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return row, self.items[self.indptr[chosen][row] + offset]


@dataclass(frozen=True)
class GnnWorld:
    """Everything a step is drawn from; item indices are rows of the catalogue.

    Attributes:
        n_items: catalogue size.
        owners: boards and users.
        content: (n_items, D) float32 unit rows, or None.
        hard_negatives: (n_items, m) item indices, -1 padding; None without signals.
        queries: validation questions of every task.
    """

    n_items: int
    owners: Owners
    content: np.ndarray | None
    hard_negatives: np.ndarray | None
    queries: list[Query]

    @property
    def degree(self) -> np.ndarray:
        """(n_items,) training saves of each item."""
        return np.bincount(self.owners.items, minlength=self.n_items)


def open_world(taste_graph: TasteGraph, vectors: ItemVectors | None, hard: bool, limit: int) -> GnnWorld:
    """Read what training needs.

    Args:
        vectors: content of every item, in the catalogue's order.
        hard: whether hard negatives will be asked for.
        limit: validation questions at most, a seeded choice; 0 is all.

    Raises:
        UserError: vectors of other items, no owner with two saves, no hard negatives where they are asked for.
    """
    item_ids = taste_graph.catalog.item_ids
    if vectors is not None and vectors.ids != item_ids:
        raise UserError(
            f"the vectors ({len(vectors.ids):,} items) are not of this catalogue ({len(item_ids):,}); embed it again"
        )
    owners = _owners(taste_graph)
    if not (owners.sizes >= 2).any():
        raise UserError(f"no board or user of {taste_graph.path} has two training saves; there is nothing to learn")
    negatives = taste_graph.hard_negatives if hard else None
    if hard and (negatives is None or not (negatives >= 0).any()):
        raise UserError(
            f"{taste_graph.path} has no hard negatives; build it with --walks 1000, or give --objective.hard_negatives 0"
        )
    content = None if vectors is None else normalise(vectors.float32(slice(None))[:, : vectors.content_dim])
    return GnnWorld(len(item_ids), owners, content, negatives, valid_queries(taste_graph.sequences, limit))


def _owners(taste_graph: TasteGraph) -> Owners:
    ids: list[str] = []
    items, sizes, first = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], {}
    for task in TASKS:
        first[task] = len(ids)
        found = taste_graph.histories(task)
        ids += found.owner_ids
        items.append(found.items.astype(np.int64))
        sizes.append(np.diff(found.indptr))
    first["end"] = len(ids)
    return Owners(ids, np.concatenate([[0], np.cumsum(np.concatenate(sizes))]), np.concatenate(items), first)
