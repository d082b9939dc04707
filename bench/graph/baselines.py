"""popularity, item-knn and EASE for tens of thousands of owners: item-to-item weights once, then one product a block.

Where the catalogue is too large for a dense item-to-item matrix, the systems of `navigator-bench run` stand in, which
give the same lists and keep none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import sparse
from scipy.linalg import get_lapack_funcs

from bench.systems.base import incidence, recommend_by_scores
from bench.systems.ease import Ease
from bench.systems.item_knn import ItemKnn
from bench.systems.popularity import Popularity
from navigator.contracts.errors import UserError
from navigator.contracts.signals import Query

LARGEST = 20_000  # items of a dense item-to-item matrix: 1.6 GB in float32


class Ranker(Protocol):
    """What is compared: top-k lists under the tie rule of navigator.metrics, the history excluded."""

    def recommend(self, queries: Sequence[Query], k: int) -> tuple[np.ndarray, np.ndarray]:
        """(q, k) item indices, -1 for none, and their scores."""
        ...


@dataclass(frozen=True)
class ItemToItem:
    """Scores are the 0/1 row of the latest `last` items (0: all) times `weights` (n_items, n_items) float32."""

    name: str
    weights: np.ndarray
    last: int = 0

    def recommend(self, queries: Sequence[Query], k: int) -> tuple[np.ndarray, np.ndarray]:
        def score(batch: Sequence[Query]) -> np.ndarray:
            rows = [q.history[-self.last :] for q in batch]
            return incidence(rows, len(self.weights)).astype(np.float32) @ self.weights

        return recommend_by_scores(queries, k, len(self.weights), score, progress=self.name)


def fit(name: str, rows: Sequence[Sequence[int]], n_items: int, ease_lambda: float) -> Ranker:
    """popularity, item-knn or ease on the training saves `rows` of every owner."""
    if name == "popularity":
        return Popularity.fit(rows, n_items)
    if n_items > LARGEST:
        return ItemKnn.fit(rows, n_items) if name == "item-knn" else Ease.fit(rows, n_items, ease_lambda)
    matrix = incidence(rows, n_items)
    return ItemToItem(name, cosine_weights(matrix) if name == "item-knn" else ease_weights(matrix, ease_lambda))


def co_saves(matrix: sparse.csr_array) -> np.ndarray:
    """(n, n) float32 X'X: how many owners saved both, of a pair; on the diagonal, how many saved the item."""
    return (matrix.T @ matrix).astype(np.float32).toarray(order="C")


def shrunk_cosines(together: np.ndarray, shrink: float) -> np.ndarray:
    """(n, n) float32 co-saves / (product of the norms + shrink), zero diagonal: chance meetings of rare items count less.

    R. Bell and Y. Koren, Scalable Collaborative Filtering with Jointly Derived Neighborhood Interpolation Weights (2007).
    """
    norms = np.sqrt(np.diagonal(together))
    weights = np.empty_like(together)
    for row, (norm, own) in enumerate(zip(norms, together, strict=True)):
        weights[row] = own / np.maximum(norm * norms + np.float32(shrink), np.float32(1e-12))
    np.fill_diagonal(weights, 0)
    return weights


def cosine_weights(matrix: sparse.csr_array) -> np.ndarray:
    """(n, n) float32 cosines of the 0/1 columns of X (owners, n), zero diagonal, all neighbours kept."""
    counts = np.asarray(matrix.sum(axis=0)).ravel()
    scale = np.divide(1.0, np.sqrt(counts), out=np.zeros_like(counts), where=counts > 0)
    unit = sparse.csr_array(matrix @ sparse.diags_array(scale))
    weights = (unit.T @ unit).astype(np.float32).toarray(order="C")
    np.fill_diagonal(weights, 0)
    return weights


def ease_weights(matrix: sparse.csr_array, regularisation: float) -> np.ndarray:
    """(n, n) float32 B = -P / diag(P) by column, zero diagonal, P = (X'X + lambda I)^-1 (arXiv 1905.03375).

    P by Cholesky in float32: X'X holds small whole numbers and lambda keeps the condition low.
    """
    gram = np.asfortranarray((matrix.T @ matrix).astype(np.float32).toarray())
    gram[np.diag_indices(len(gram))] += np.float32(regularisation)
    potrf, potri = get_lapack_funcs(("potrf", "potri"), (gram,))
    factor, failed = potrf(gram, lower=1, overwrite_a=1)
    if failed:
        raise UserError(
            f"ease_lambda {regularisation:g} is too small for these saves: X'X + lambda I is singular; try 100"
        )
    inverse, _ = potri(factor, lower=1, overwrite_c=1)
    weights = inverse.T  # the upper triangle, row by row in memory
    for row in range(1, len(weights)):
        weights[row, :row] = weights[:row, row]
    weights /= -np.diagonal(weights).copy()
    np.fill_diagonal(weights, 0)
    return weights
