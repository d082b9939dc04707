"""Requests to rows of tokens: what one request is, which requests share a row, and the layout of the result."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from navigator.contracts import UserError


@dataclass(frozen=True)
class Request:
    """One trunk and its branches, as numbers of things; which items they are is said by the order of their vectors.

    Attributes:
        words: token ids before the items.
        items: history items after the words.
        asks: after how many history items a retrieve branch asks; (items,) after all of them, tuple(range(1, items + 1))
            after each, (0,) after the words alone.
        candidates: items to be ranked, each a branch that sees the whole trunk.
    """

    words: Sequence[int]
    items: int
    asks: tuple[int, ...]
    candidates: int = 0

    def __post_init__(self) -> None:
        if any(not 0 <= ask <= self.items for ask in self.asks):
            raise UserError(f"a request asks after {self.asks} of {self.items} items; allowed are 0 to {self.items}")

    def length(self, k: int) -> int:
        """Tokens, at k tokens an item."""
        return len(self.words) + len(self.asks) + (self.items + self.candidates) * k


@dataclass(frozen=True)
class Vocabulary:
    """The token ids that rows are written with."""

    item: int
    retrieve: int
    padding: int


def first_fit(lengths: Sequence[int], limit: int | None) -> list[list[int]]:
    """Numbers of requests by row: each goes into the first row where it fits.

    Args:
        lengths: tokens of each request.
        limit: tokens of a row; None gives every request its own.

    Raises:
        UserError: a request is longer than a row.
    """
    if limit is None:
        return [[number] for number in range(len(lengths))]
    rows: list[list[int]] = []
    room = np.zeros(0, np.int64)
    for number, length in enumerate(lengths):
        if length > limit:
            raise UserError(
                f"request {number} has {length} tokens, a row {limit}; give longer rows or show fewer items"
            )
        fits = np.flatnonzero(room >= length)
        if len(fits):
            rows[fits[0]].append(number)
            room[fits[0]] -= length
        else:
            rows.append([number])
            room = np.append(room, limit - length)
    return rows


def pack(
    requests: Sequence[Request], k: int, tokens: Vocabulary, limit: int | None
) -> tuple[dict[str, torch.Tensor], list[int]]:
    """Left-padded rows of requests.

    Args:
        requests: what to write.
        k: tokens an item.
        tokens: ids of the special tokens.
        limit: tokens of a row at most; None is one request a row. Two or three of the longest request fill rows to 95 %;
            longer ones only add attention that the mask throws away.

    Returns:
        input_ids, attention_mask (1 at real tokens) and the fields of Layout, each (B, T); and the numbers of the requests in
        reading order, row by row.
    """
    rows = first_fit([request.length(k) for request in requests], limit)
    width = max(sum(requests[number].length(k) for number in row) for row in rows)
    names = ("input_ids", "segment", "branch", "sees", "position")
    table = np.zeros((len(names), len(rows), width), np.int64)
    table[0], table[1] = tokens.padding, -1
    for r, row in enumerate(rows):
        written = np.concatenate([_written(requests[n], k, tokens, segment) for segment, n in enumerate(row)], axis=1)
        table[:, r, width - written.shape[1] :] = written
    arrays = {name: torch.from_numpy(table[i]) for i, name in enumerate(names)}
    arrays["attention_mask"] = (arrays["segment"] >= 0).long()
    return arrays, [number for row in rows for number in row]


def _written(request: Request, k: int, tokens: Vocabulary, segment: int) -> np.ndarray:
    """(5, length): token ids, segment, branch, sees and position of one request."""
    asks = np.array(request.asks, np.int64)
    words, n_asks, n_candidates = len(request.words), len(asks), request.candidates
    trunk = words + request.items * k
    place = np.arange(trunk)
    asked = words + asks * k  # trunk tokens that each retrieve branch sees, and its position
    columns = [
        ([*request.words, *[tokens.item] * (request.items * k)], place * 0, place + 1, place),
        (np.full(n_asks, tokens.retrieve), np.arange(1, n_asks + 1), asked, asked),
        (
            np.full(n_candidates * k, tokens.item), np.repeat(np.arange(n_candidates) + n_asks + 1, k),
            np.full(n_candidates * k, trunk), trunk + np.tile(np.arange(k), n_candidates),
        ),
    ]  # fmt: skip
    ids, branch, sees, position = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return np.stack([ids, np.full(len(ids), segment), branch, sees, position]).astype(np.int64)
