"""From a history to a query vector and to ranked candidates: the path that serves, trains its queries' start and is timed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from navigator.contracts import ItemVectors, UserError
from navigator.contracts.vectors import normalise
from navigator.swap import open_swapped

MAX_HISTORY = 20


def history_means(vectors: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """Where queries start: the unit mean of each request's item vectors.

    Args:
        vectors: (sum(counts), D), the histories one after another.
        counts: items of each request, at least 1.

    Returns:
        (B, D) float32.
    """
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return normalise(np.add.reduceat(vectors, starts, axis=0) / np.asarray(counts)[:, None]).astype(np.float32)


def pick_device(device: str) -> torch.device:
    """ "auto" is CUDA when there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


def pick_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """ "auto" is bfloat16 where the hardware multiplies it (CUDA; CPUs with AVX512-BF16 or AMX), else float32."""
    if dtype == "auto":
        fast = device.type == "cuda" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    if dtype not in ("float32", "bfloat16", "float16"):
        raise UserError(f"dtype {dtype!r}; allowed are auto, float32, bfloat16, float16")
    return getattr(torch, dtype)


class Recommender:
    """A swapped model and the item vectors it reads, ready to answer.

    Histories and candidates are row numbers of the vector store; at most the last `max_history` items are read.
    """

    def __init__(self, model: Any, processor: Any, vectors: ItemVectors, max_history: int = MAX_HISTORY):
        self.model, self.processor, self.vectors, self.max_history = (
            model,
            processor.attach(vectors),
            vectors,
            max_history,
        )
        self.device = next(model.parameters()).device

    @classmethod
    def open(
        cls,
        model: str | Path,
        vectors: str | Path,
        device: str = "auto",
        dtype: str = "auto",
        max_history: int = MAX_HISTORY,
    ) -> "Recommender":
        """Raises UserError for a folder that is not a swapped model or vectors of another encoder."""
        store = ItemVectors.open(vectors)
        where = pick_device(device)
        loaded, processor = open_swapped(model, pick_dtype(dtype, where), str(where))
        return cls(loaded, processor, store, max_history)

    @property
    def tokens_per_item(self) -> int:
        return self.processor.tokens_per_item

    def query_vectors(
        self, histories: Sequence[Sequence[int]], titles: Sequence[str] | None = None, batch_size: int = 32
    ) -> np.ndarray:
        """Unit query vectors (B, D) float32 of B non-empty histories, batched by length to waste little padding."""
        cut = [list(history[-self.max_history :]) for history in histories]
        queries = np.zeros((len(cut), self.vectors.dim), np.float32)
        order = sorted(range(len(cut)), key=lambda i: len(cut[i]))
        for start in range(0, len(order), batch_size):
            picked = order[start : start + batch_size]
            queries[picked] = self._query_batch(
                [cut[i] for i in picked], [titles[i] for i in picked] if titles else None
            )
        return queries

    def rank(self, history: Sequence[int], candidates: Sequence[int], title: str = "") -> np.ndarray:
        """Scores (C,) float32 of the candidates, all in one forward pass with the history."""
        history = list(history[-self.max_history :])
        inputs = self.processor.requests([len(history)], [title], candidates=len(candidates))
        base = history_means(self.vectors.float32(np.asarray(history)), [len(history)])
        wanted = self.vectors.float32(np.asarray(candidates))
        with torch.inference_mode():
            scores, _ = self.model.rank(
                self._put(base), self._put(wanted[None]), pixel_values=self._put(self.pixels([*history, *candidates])),
                **{key: value.to(self.device) for key, value in inputs.items()},
            )  # fmt: skip
        return scores[0].float().cpu().numpy()

    def count_tokens(self, n_history: int, n_candidates: int) -> int:
        """Tokens the language model reads for one ranking request without a title."""
        return self.processor.requests([n_history], candidates=n_candidates)["input_ids"].shape[1]

    def pixels(self, rows: Sequence[int]) -> np.ndarray:
        """What the tower reads of these items: their vectors, (n, D) float32."""
        return self.vectors.float32(np.asarray(rows))

    def _query_batch(self, histories: list[list[int]], titles: list[str] | None) -> np.ndarray:
        counts = [len(history) for history in histories]
        rows = [row for history in histories for row in history]
        inputs = self.processor.requests(counts, titles)
        base = history_means(self.vectors.float32(np.asarray(rows)), counts)
        with torch.inference_mode():
            query = self.model.retrieve(
                self._put(base), pixel_values=self._put(self.pixels(rows)),
                **{key: value.to(self.device) for key, value in inputs.items()},
            )  # fmt: skip
        return query.float().cpu().numpy()

    def _put(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)
