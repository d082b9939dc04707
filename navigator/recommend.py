"""From a history to a query vector and to ranked candidates: the path that serves, trains its queries' start and is timed."""

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from navigator.contracts import ItemVectors, UserError
from navigator.contracts.vectors import normalise
from navigator.prefix import PrefixCache, Trunk
from navigator.start import lag_table
from navigator.swap import open_swapped
from navigator.texts import TextVectors, text_vectors

if TYPE_CHECKING:
    from encoders.load import Encoder

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

    Attributes:
        reads_vectors: whether the tower reads the store's vectors (and not pictures).
    """

    reads_vectors = True

    def __init__(
        self, model: Any, processor: Any, vectors: ItemVectors, max_history: int = MAX_HISTORY,
        text_vectors: TextVectors | None = None,
    ):  # fmt: skip
        self.model, self.processor, self.vectors = model, processor.attach(vectors), vectors
        self.max_history, self.device = max_history, next(model.parameters()).device
        self.text_vectors = text_vectors
        own = weakref.proxy(self)  # no ring of references: a model that is replaced leaves memory at once
        self.prefixes = PrefixCache(model, lambda rows: own._put(own.pixels(rows)))

    @classmethod
    def open(
        cls, model: str | Path, vectors: str | Path, device: str = "auto", dtype: str = "auto",
        max_history: int | None = None, attention: str = "sdpa", encoder: "str | Encoder | None" = None,
    ) -> "Recommender":  # fmt: skip
        """Attention is sdpa or flash_attention_2; the latter ranks through the prefix cache, as it takes no mask.

        With the `encoder` of the vectors' content, queries also start from titles; without, a title is only read.
        `max_history` is the model's own by default: what it was trained on.

        Raises:
            UserError: the folder is not a swapped model, or its vectors come from another encoder.
        """
        store = ItemVectors.open(vectors)
        where = pick_device(device)
        loaded, processor = open_swapped(model, pick_dtype(dtype, where), str(where))
        if attention != "sdpa":
            loaded.set_attn_implementation(attention)
        shown: int = max_history or getattr(loaded.config, "max_history", MAX_HISTORY)
        return cls(loaded, processor, store, shown, text_vectors(encoder, store) if encoder else None)

    @property
    def tokens_per_item(self) -> int:
        return self.processor.tokens_per_item

    def query_vectors(
        self, histories: Sequence[Sequence[int]], titles: Sequence[str] | None = None, batch_size: int = 32,
        session: str | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Unit query vectors (B, D) float32 of B requests, batched by length to waste little padding.

        Args:
            histories: rows of items, oldest first; a request that has none asks by its title.
            titles: board titles to be read, "" for none.
            batch_size: requests a forward pass.
            session: with one history: whose it is. What was read of it is kept, and not read again (navigator.prefix). A
                history that outgrows `max_history` is read anew, because its first item changes.

        Raises:
            UserError: a session, but not one history.
        """
        cut = [list(history[-self.max_history :]) for history in histories]
        if session is not None:
            if len(cut) != 1:
                raise UserError(
                    f"session {session!r} is one user's, but {len(cut)} histories were given; ask one by one"
                )
            trunk = self._trunk(cut[0], titles[0] if titles else "")
            return self.prefixes.retrieve(session, trunk, self.starts(cut, titles)).float().cpu().numpy()
        queries = np.zeros((len(cut), self.vectors.dim), np.float32)
        order = sorted(range(len(cut)), key=lambda i: len(cut[i]))
        for start in range(0, len(order), batch_size):
            picked = order[start : start + batch_size]
            queries[picked] = self._query_batch(
                [cut[i] for i in picked], [titles[i] for i in picked] if titles else None
            )
        return queries

    def rank(
        self, history: Sequence[int], candidates: Sequence[int], title: str = "", session: str | None = None
    ) -> np.ndarray:
        """Scores (C,) float32 of the candidates, all in one forward pass with the history; `session` as in `query_vectors`.

        With a session, or an attention kernel that takes no mask, they continue the history's keys and values instead.
        """
        history = list(history[-self.max_history :])
        start, wanted = self.starts([history], [title]), self._put(self.vectors.float32(np.asarray(candidates))[None])
        if session is not None or not self.model.takes_layout:
            scores, _ = self.prefixes.rank(session, self._trunk(history, title), start, candidates, wanted)
            return scores[0].float().cpu().numpy()
        inputs = self.processor.requests([len(history)], [title], candidates=len(candidates))
        with torch.inference_mode():
            scores, _ = self.model.rank(
                start, wanted, pixel_values=self._put(self.pixels([*history, *candidates])),
                **{key: value.to(self.device) for key, value in inputs.items()},
            )  # fmt: skip
        return scores[0].float().cpu().numpy()

    def count_tokens(self, n_history: int, n_candidates: int) -> int:
        """Tokens the language model reads for one ranking request without a title."""
        return self.processor.requests([n_history], candidates=n_candidates)["input_ids"].shape[1]

    def pixels(self, rows: Sequence[int]) -> np.ndarray:
        """What the tower reads of these items: their vectors, (n, D) float32."""
        return self.vectors.float32(np.asarray(rows, np.int64))

    def _query_batch(self, histories: list[list[int]], titles: list[str] | None) -> np.ndarray:
        rows = [row for history in histories for row in history]
        inputs = self.processor.requests([len(history) for history in histories], titles)
        with torch.inference_mode():
            query = self.model.retrieve(
                self.starts(histories, titles), pixel_values=self._put(self.pixels(rows)),
                **{key: value.to(self.device) for key, value in inputs.items()},
            )  # fmt: skip
        return query.float().cpu().numpy()

    def starts(self, histories: Sequence[Sequence[int]], titles: Sequence[str] | None = None) -> torch.Tensor:
        """(B, D) float32 where the queries of these histories and titles start, see navigator.start."""
        rows = np.array([row for history in histories for row in history], np.int64)
        lags = torch.from_numpy(lag_table([len(history) for history in histories])).to(self.device)
        words = np.zeros((len(histories), self.vectors.dim), np.float32)
        told = [row for row, title in enumerate(titles or ()) if title.strip()]
        if told and titles is not None and self.text_vectors is not None:
            words[told] = self.text_vectors([titles[row] for row in told])
        with torch.inference_mode():
            return self.model.query_start(lags, self._put(self.vectors.float32(rows)), self._put(words))

    def _trunk(self, history: list[int], title: str) -> Trunk:
        return Trunk(tuple(self.processor.words(title)), tuple(int(row) for row in history))

    def _put(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)
