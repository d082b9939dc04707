"""EASE: the closed-form linear item model, B = -P / diag(P), zero diagonal, P = (X'X + lambda I)^-1, scores = q B.

Steck, Embarrassingly shallow autoencoders for sparse data, arXiv 1905.03375. P is items x items; where there are fewer
boards (rows of X) than items it is written through the matrix inversion lemma,

    lambda P = I - X' (X X' + lambda I)^-1 X,

so that only a rows x rows matrix is inverted. Both forms give the same scores (tests/test_baselines.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse

from bench.systems.base import incidence, recommend_by_scores
from navigator.contracts.errors import UserError
from navigator.contracts.signals import Query

LAMBDA = 200.0
_LARGEST = 20_000  # rows of the matrix to invert: 3.2 GB in float64


@dataclass(frozen=True)
class Ease:
    """`inner` is P (items x items), or with `dual` K = (X X' + lambda I)^-1 (rows x rows); `diagonal` is diag(P).

    `last` keeps only that many items of a history; 0 keeps all.
    """

    matrix: sparse.csr_array
    inner: np.ndarray
    diagonal: np.ndarray
    regularisation: float
    dual: bool
    name: str = "ease"
    last: int = 0

    @classmethod
    def fit(
        cls, rows: Sequence[Sequence[int]], n_items: int, regularisation: float = LAMBDA, dual: bool | None = None
    ) -> "Ease":
        """Fit on the training saves `rows`; `dual` picks the form, by default the smaller one.

        Raises:
            UserError: the matrix to invert would not fit in memory.
        """
        matrix = incidence(rows, n_items)
        dual = len(rows) < n_items if dual is None else dual
        size = len(rows) if dual else n_items
        if size > _LARGEST:
            raise UserError(
                f"ease inverts a {size:,} x {size:,} matrix here; allowed are {_LARGEST:,}: "
                f"name the other systems with --systems"
            )
        gram = (matrix @ matrix.T if dual else matrix.T @ matrix).toarray()
        gram[np.diag_indices(size)] += regularisation
        inner = linalg.inv(gram, overwrite_a=True, check_finite=False)
        if dual:
            diagonal = (1.0 - _explained(matrix.T.tocsr(), inner, n_items)) / regularisation
        else:
            diagonal = inner.diagonal().copy()
        return cls(matrix, inner, diagonal, regularisation, dual)

    def recommend(self, queries: Sequence[Query], k: int) -> tuple[np.ndarray, np.ndarray]:
        # B has a zero diagonal; -P / diag(P) has -1 there, which only reaches items of the history: excluded anyway.
        def score(batch: Sequence[Query]) -> np.ndarray:
            asked = incidence([q.history[-self.last :] for q in batch], self.diagonal.size)
            return -self._through_p(asked, self.matrix, slice(None)) / self.diagonal

        return recommend_by_scores(queries, k, self.diagonal.size, score)

    def rank_one(self, history: Sequence[int], candidates: Sequence[int]) -> np.ndarray:
        columns = np.asarray(candidates)
        asked = incidence([history[-self.last :]], self.diagonal.size)
        part = self.matrix[:, columns] if self.dual else self.matrix
        scores = -self._through_p(asked, part, columns)[0] / self.diagonal[columns]
        return scores + np.isin(columns, history)

    def tokens(self, n_history: int, n_candidates: int) -> int | None:
        return None

    def _through_p(self, asked: sparse.csr_array, part: sparse.csr_array, columns: np.ndarray | slice) -> np.ndarray:
        """(b, columns) of q P; `part` is X at those columns (dual form only)."""
        if not self.dual:
            return asked @ self.inner[:, columns]
        overlap = (asked @ self.matrix.T).toarray()
        return (asked[:, columns].toarray() - (part.T @ (overlap @ self.inner).T).T) / self.regularisation


def _explained(columns: sparse.csr_array, inner: np.ndarray, n_items: int, block: int = 4096) -> np.ndarray:
    """x' K x for every column x of X (given as rows of X'), a block at a time."""
    blocks = [columns[start : start + block] for start in range(0, n_items, block)]
    return np.concatenate([np.asarray(b.multiply(b @ inner).sum(axis=1)).ravel() for b in blocks])
