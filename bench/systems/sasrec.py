"""SASRec: self-attention over the saves before, the next save after every one of them.

W.-C. Kang and J. McAuley, Self-Attentive Sequential Recommendation (ICDM 2018), after its published code: learned
positions, item vectors times the square root of their width, blocks of causal self-attention (queries are normalised,
keys and values are not, the residual is the normalised query) and of a two-layer ReLU network of the same width, one table
of items for reading and for scoring. Two things differ. Sequences are padded on the right, so that a position counts
from the first item read. And the table may be a learned projection of given item vectors, which an item without a single
save has as well: the fair control for a model that reads those vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from bench.systems.base import recommend_by_scores
from navigator.contracts.signals import Query


class Block(nn.Module):
    """Attention, then the position-wise network."""

    def __init__(self, dim: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.before, self.between = nn.LayerNorm(dim, eps=1e-8), nn.LayerNorm(dim, eps=1e-8)
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.inner, self.outer = nn.Linear(dim, dim), nn.Linear(dim, dim)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """(B, T, dim) -> (B, T, dim); a position sees itself and what is left of it."""
        asking = self.before(states)
        query, key, value = (
            layer(part).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, part in ((self.query, asking), (self.key, states), (self.value, states))
        )
        dropout = self.dropout if self.training else 0.0
        seen = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        states = self.between(asking + seen.transpose(1, 2).flatten(-2))
        hidden = functional.dropout(self.inner(states).relu(), self.dropout, self.training)
        return states + functional.dropout(self.outer(hidden), self.dropout, self.training)


class Sasrec(nn.Module):
    """The network; item indices in, scores of all items out.

    Args:
        n_items: size of the catalogue.
        length: most items read.
        dim: width of the items and of the blocks.
        blocks: how many.
        heads: of the attention.
        dropout: of the input, the attention and the network.
        vectors: (n_items, D) unit rows in place of a free table, zeros where there is none.
    """

    vectors: torch.Tensor | None

    def __init__(
        self, n_items: int, length: int, dim: int, blocks: int, heads: int, dropout: float,
        vectors: torch.Tensor | None = None,
    ):  # fmt: skip
        super().__init__()
        self.n_items, self.length, self.dropout = n_items, length, dropout
        self.positions = nn.Parameter(torch.randn(length, dim))
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(dim, eps=1e-8)
        self.register_buffer("vectors", vectors, persistent=False)
        rows = n_items if vectors is None else vectors.shape[1]
        self.weight = nn.Parameter(torch.randn(rows, dim) * dim**-0.5)

    def table(self) -> torch.Tensor:
        """(n_items, dim), what items are read and scored by."""
        return self.weight if self.vectors is None else self.vectors @ self.weight

    def forward(self, items: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """(B, T) item indices, T <= length, any index as padding on the right -> (B, T, dim)."""
        read = functional.embedding(items, table) * table.shape[1] ** 0.5 + self.positions[: items.shape[1]]
        states = functional.dropout(read, self.dropout, self.training)
        for block in self.blocks:
            states = block(states)
        return self.norm(states)


@dataclass(frozen=True)
class SasrecSystem:
    """A trained network as a recommender; `known` (n_items,) bool are the items that it can read and find."""

    model: Sasrec
    known: np.ndarray
    name: str = "sasrec"

    def recommend(self, queries: Sequence[Query], k: int) -> tuple[np.ndarray, np.ndarray]:
        self.model.eval()
        with torch.inference_mode():
            table = self.model.table()

            def score(batch: Sequence[Query]) -> np.ndarray:
                histories = [[i for i in q.history if self.known[i]][-self.model.length :] for q in batch]
                scores = (self._last(histories, table) @ table.T).float().cpu().numpy()
                scores[:, ~self.known] = -np.inf
                scores[[not own for own in histories]] = -np.inf
                return scores

            return recommend_by_scores(queries, k, len(self.known), score)

    def _last(self, histories: list[list[int]], table: torch.Tensor) -> torch.Tensor:
        """(B, dim) states at the last item of each history; anything for an empty one."""
        sizes = torch.tensor([max(len(own), 1) for own in histories])
        items = torch.zeros(len(histories), int(sizes.max()), dtype=torch.int64)
        for row, own in zip(items, histories, strict=True):
            row[: len(own)] = torch.tensor(own, dtype=torch.int64)
        return self.model(items.to(table.device), table)[torch.arange(len(sizes)), sizes - 1]
