"""What the bench asks of a system, and the few lines that every scoring system shares."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from scipy import sparse
from tqdm import tqdm

from navigator.contracts.signals import Query, TasteSequence
from navigator.metrics import top_k

_CELLS = 1 << 24  # scores held at once, so that a large catalogue goes through in small batches of queries


class RequestError(Exception):
    """One request failed (timeout, refused, unreadable answer); the bench records it and goes on."""


class System(Protocol):
    """A recommender under test. Item indices are rows of the catalogue."""

    @property
    def name(self) -> str:
        """The name in the report."""
        ...

    def recommend(self, queries: Sequence[Query], k: int) -> tuple[np.ndarray, np.ndarray]:
        """(q, k) int64 items, best first, and their (q, k) scores; history items never appear; -1 pads short lists."""
        ...

    def rank_one(self, history: Sequence[int], candidates: Sequence[int]) -> np.ndarray:
        """The timed request: (len(candidates),) scores, higher is better. May raise RequestError."""
        ...

    def tokens(self, n_history: int, n_candidates: int) -> int | None:
        """Tokens one request makes the model read; None for a system that reads none."""
        ...


def recommend_by_scores(
    queries: Sequence[Query],
    k: int,
    n_items: int,
    score: Callable[[Sequence[Query]], np.ndarray],
    batch_size: int = 256,
    progress: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Top k of dense score rows, the history excluded.

    Args:
        queries: what is asked.
        k: list length.
        n_items: catalogue size.
        score: batch of queries -> (b, n_items) scores that may be overwritten.
        batch_size: queries at once, fewer when the catalogue is large.
        progress: label of a progress bar on stderr; None shows none.
    """
    step = max(1, min(batch_size, _CELLS // max(n_items, 1)))
    starts = tqdm(range(0, len(queries), step), desc=progress or "", unit="batch", disable=progress is None)
    parts = []
    for start in starts:
        batch = queries[start : start + step]
        scores = score(batch)
        for row, query in zip(scores, batch, strict=True):
            row[list(query.history)] = -np.inf
        parts.append(top_k(scores, k))
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def incidence(rows: Sequence[Sequence[int]], n_items: int) -> sparse.csr_array:
    """0/1 matrix (len(rows), n_items), float64: which row holds which item; repeats count once."""
    sets = [sorted(set(row)) for row in rows]
    pointers = np.concatenate([[0], np.cumsum([len(s) for s in sets])]).astype(np.int64)
    columns = np.array([item for s in sets for item in s], dtype=np.int64)
    return sparse.csr_array((np.ones(columns.size), columns, pointers), shape=(len(sets), n_items))


def training_rows(sequences: Sequence[TasteSequence], task: str) -> list[tuple[int, ...]]:
    """What a baseline may learn for a test query: every save of the task made before the held-out ones."""
    return [s.items + s.valid for s in sequences if s.task == task]
