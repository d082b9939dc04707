"""Graph factors beside content: the strongest simple rival, and a vector that a model can read.

Items that are saved together get similar factors: positive pointwise mutual information of co-saves, then a truncated
SVD (Levy & Goldberg 2014, "Neural word embedding as implicit matrix factorization"). A board is a bag, so all its
pairs count; a user's history is a sequence, so only neighbours within a window do. Factors are laid beside the
content vector; an item that nobody has saved yet keeps its content alone.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from scipy.linalg import eigh
from scipy.sparse.linalg import eigsh

from navigator.contracts.signals import TasteSequence
from navigator.contracts.vectors import normalise

_DENSE = 4096  # items up to which all is computed at once


def train_counts(sequences: Sequence[TasteSequence], n_items: int) -> sp.csr_array:
    """(n_items, n_items) co-saves of the TRAINING items: whole boards, and windows of users' histories."""
    boards = [s.items for s in sequences if s.task == "board-completion"]
    users = [s.items for s in sequences if s.task == "next-item"]
    return sp.csr_array(board_counts(boards, n_items) + window_counts(users, n_items))


def board_counts(boards: Sequence[Sequence[int]], n_items: int) -> sp.csr_array:
    """(n_items, n_items) co-saves over boards: a board of s items gives each of its pairs 1 / (s - 1).

    So an item's row sums to the number of boards it is on, and a large board does not outvote many small ones.
    """
    sizes = np.array([len(b) for b in boards], np.int64)
    incidence = _incidence(boards, sizes, n_items)
    scale = sp.diags_array(1.0 / np.maximum(sizes - 1, 1))
    return _without_diagonal(incidence.T @ scale @ incidence)


def window_counts(histories: Sequence[Sequence[int]], n_items: int, window: int = 5) -> sp.csr_array:
    """(n_items, n_items) symmetric counts of two items at most `window` positions apart in a history."""
    flat = np.array([i for h in histories for i in h], np.int64)
    owner = np.repeat(np.arange(len(histories)), [len(h) for h in histories])
    total = sp.csr_array((n_items, n_items), dtype=np.float64)
    for step in range(1, window + 1):
        same = owner[step:] == owner[:-step]
        left, right = flat[:-step][same], flat[step:][same]
        one_way = sp.csr_array((np.ones(len(left)), (left, right)), shape=(n_items, n_items))
        total = total + one_way + one_way.T
    return _without_diagonal(total)


def ppmi(counts: sp.csr_array, smoothing: float = 0.75) -> sp.csr_array:
    """Positive PMI, log(p(a, b) / (p(a) p'(b))), made symmetric; p' is raised to `smoothing` (Levy et al. 2015)."""
    counts = sp.csr_array(counts)
    row_sum = np.asarray(counts.sum(axis=1)).ravel()
    context = row_sum**smoothing
    table = counts.tocoo()
    rows, cols = table.row, table.col
    value = np.log(table.data * context.sum() / (row_sum[rows] * context[cols]))
    positive = sp.csr_array((np.maximum(value, 0), (rows, cols)), shape=counts.shape)
    positive = (positive + positive.T) / 2
    positive.eliminate_zeros()
    return sp.csr_array(positive)


def co_save_factors(counts: sp.csr_array, dim: int = 256, smoothing: float = 0.75) -> np.ndarray:
    """Factors of co-save counts.

    Args:
        counts: (n, n) symmetric, from `board_counts` and `window_counts`.
        dim: width; columns beyond the rank of the data are zero.
        smoothing: see `ppmi`.

    Returns:
        (n, dim) float32: eigenvectors of the PPMI matrix times the square root of the eigenvalues, so that inner
        products approximate PPMI; rows of unit L2 norm; items without co-saves are zero rows. The matrix is
        symmetric, so this is its SVD without the directions of negative eigenvalues, which set co-saved items apart.
    """
    association = ppmi(counts, smoothing)
    n_items = len(association.indptr) - 1
    active = np.flatnonzero(np.diff(association.indptr))
    factors = np.zeros((n_items, dim), np.float32)
    if len(active) == 0:
        return factors
    small = sp.csr_array(association[active][:, active])
    if len(active) <= max(2 * dim, _DENSE):  # few boards leave many equal eigenvalues, on which Lanczos takes long
        values, left = eigh(small.toarray(), subset_by_index=(max(0, len(active) - dim), len(active) - 1))
    else:
        start = np.random.default_rng(0).standard_normal(len(active))
        values, left = eigsh(small, k=dim, which="LA", v0=start)
    order = np.argsort(-values, kind="stable")[:dim]
    left, values = left[:, order], np.maximum(values[order], 0)
    signs = np.sign(left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])])
    factors[active, : len(order)] = normalise(left * signs * np.sqrt(values))
    return factors


def fuse(content: np.ndarray, factors: np.ndarray, graph_weight: float = 1.0) -> np.ndarray:
    """Content (n, D) of unit rows beside factors (n, F) times `graph_weight`: (n, D + F) float32 of unit rows."""
    return normalise(np.concatenate([content, graph_weight * factors], axis=1).astype(np.float32))


def _incidence(groups: Sequence[Sequence[int]], sizes: np.ndarray, n_items: int) -> sp.csr_array:
    flat = np.array([i for g in groups for i in g], np.int64)
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    return sp.csr_array((np.ones(len(flat)), flat, indptr), shape=(len(groups), n_items))


def _without_diagonal(counts: sp.csr_array) -> sp.csr_array:
    counts = sp.csr_array(counts)
    counts.setdiag(0)
    counts.eliminate_zeros()
    return counts
