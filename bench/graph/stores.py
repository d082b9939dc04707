"""Vector stores as recommenders: owner vectors times item vectors, or the mean of the history where there are none."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.systems.base import recommend_by_scores
from navigator.contracts import Catalog, ItemVectors, UserError, read_manifest
from navigator.contracts.manifest import MANIFEST, digest
from navigator.contracts.signals import Query

OWNERS = {"next-item": "users", "board-completion": "boards"}  # the store beside items/ that asks


@dataclass(frozen=True)
class VectorRanker:
    """score = query . item, in float32 as stored (nothing is normalised where owners have vectors of their own).

    Attributes:
        name: in the report.
        items: (n_items, D) float32 in catalogue order; `known`: (n_items,) bool, those that have a vector.
        owners: (n_owners, D) float32 and `owner_row`: owner id -> row; None asks with the unit mean of the history.
        fingerprint: of the stores.
        max_history: latest items that a mean of the history reads; 0 is all.
    """

    name: str
    items: np.ndarray
    known: np.ndarray
    owners: np.ndarray | None
    owner_row: dict[str, int]
    fingerprint: str
    max_history: int = 0

    @property
    def asks_by(self) -> str:
        return "mean of the history" if self.owners is None else "owner vector"

    def recommend(self, queries: Sequence[Query], k: int) -> tuple[np.ndarray, np.ndarray]:
        def score(batch: Sequence[Query]) -> np.ndarray:
            asked, answered = self._by_owner(batch) if self.owners is not None else self._by_history(batch)
            scores = asked @ self.items.T
            scores[:, ~self.known] = -np.inf
            scores[~answered] = -np.inf
            return scores

        return recommend_by_scores(queries, k, len(self.items), score, progress=self.name)

    def _by_owner(self, batch: Sequence[Query]) -> tuple[np.ndarray, np.ndarray]:
        assert self.owners is not None
        rows = np.array([self.owner_row.get(q.query_id, -1) for q in batch])
        return self.owners[rows], rows >= 0

    def _by_history(self, batch: Sequence[Query]) -> tuple[np.ndarray, np.ndarray]:
        """Unit means of the history items that have a vector, (b, D), and which requests have any, (b,)."""
        from navigator.recommend import history_means

        histories = [[i for i in q.history[-self.max_history :] if self.known[i]] for q in batch]
        answered = np.array([bool(own) for own in histories])
        asked = np.zeros((len(batch), self.items.shape[1]), np.float32)
        if answered.any():
            rows = [i for own in histories for i in own]
            asked[answered] = history_means(self.items[rows], [len(own) for own in histories if own])
        return asked, answered


def open_store(name: str, folder: Path, catalog: Catalog, graph: str, task: str, max_history: int = 0) -> VectorRanker:
    """A folder that is an ItemVectors store, or holds items/ and perhaps users/ or boards/.

    Raises:
        UserError: no such store, items of another catalogue, vectors made with another graph (which may have seen what
            this one holds out).
    """
    if (folder / MANIFEST).is_file() and not (folder / "items").is_dir():
        items, owners = open_checked(name, folder, graph), None
    elif (folder / "items").is_dir():
        items = open_checked(name, folder / "items", graph)
        beside = folder / OWNERS[task]
        owners = open_checked(name, beside, graph) if beside.is_dir() else None
    else:
        raise UserError(
            f"vectors {name}={folder}: neither a vector store nor a folder with items/ in it; train or embed"
        )
    if owners is not None and owners.dim != items.dim:
        raise UserError(f"vectors {name}={folder}: items have {items.dim} dimensions, {OWNERS[task]} {owners.dim}")
    rows = np.array([items.index.get(item_id, -1) for item_id in catalog.item_ids])
    if len(items.ids) > int((rows >= 0).sum()) or (rows < 0).all():
        raise UserError(
            f"vectors {name}={folder} hold items that the catalogue lacks; give vectors of this very catalogue"
        )
    matrix = items.float32(rows)
    matrix[rows < 0] = 0
    if owners is None:
        matrix /= np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    fingerprint = digest([s.manifest.fingerprint for s in (items, owners) if s is not None and s.manifest is not None])
    queries = None if owners is None else owners.float32()
    return VectorRanker(
        name, matrix, rows >= 0, queries, {} if owners is None else owners.index, fingerprint, max_history
    )


def open_checked(name: str, folder: Path, graph: str) -> ItemVectors:
    """A store; UserError for one that was made with another graph."""
    made_with = read_manifest(
        folder, "vectors", "navigator embed ... or accelerate launch -m train.gnn ..."
    ).inputs.get("graph")
    if made_with is not None and made_with != graph:
        raise UserError(
            f"vectors {name}={folder} were made with graph {made_with}, but {graph} is given: they may know what it holds "
            "out; give the graph they were made with"
        )
    return ItemVectors.open(folder)
