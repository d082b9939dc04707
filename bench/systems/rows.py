"""Catalogue index <-> row of a vector store: the two agree by external id, not by luck."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from navigator.contracts.errors import UserError
from navigator.contracts.vectors import ItemVectors, normalise


@dataclass(frozen=True)
class CatalogVectors:
    """A store seen from the catalogue.

    Attributes:
        row: (n_items,) row of the store for every catalogue item, -1 where the store has none.
        unit: (n_items, D) float32 unit vectors in catalogue order, zeros where the store has none.
    """

    row: np.ndarray
    unit: np.ndarray

    @classmethod
    def align(cls, store: ItemVectors, item_ids: Sequence[str], label: str) -> "CatalogVectors":
        """Raises UserError when the store holds none of the catalogue's items, or items of another catalogue."""
        foreign = set(store.ids).difference(item_ids)
        if foreign:
            raise UserError(
                f"{label} vectors hold {len(foreign):,} items that the catalogue lacks (first: {min(foreign)!r}); "
                f"give vectors embedded from this catalogue"
            )
        row = np.array([store.index.get(item_id, -1) for item_id in item_ids], dtype=np.int64)
        if (row < 0).all():
            raise UserError(
                f"{label} vectors hold none of the catalogue's {len(row):,} items; embed this catalogue first"
            )
        unit = np.zeros((len(row), store.dim), dtype=np.float32)
        unit[row >= 0] = normalise(store.float32(row[row >= 0]))
        return cls(row, unit)

    @property
    def n_items(self) -> int:
        return len(self.row)

    @property
    def missing(self) -> int:
        """Catalogue items without a vector: never recommended, misses when they are targets."""
        return int((self.row < 0).sum())

    def scores(self, queries: np.ndarray) -> np.ndarray:
        """(b, D) -> (b, n_items) dot products with the unit vectors; -inf where the store has none."""
        scores = np.asarray(queries, dtype=np.float32) @ self.unit.T
        scores[:, self.row < 0] = -np.inf
        return scores

    def rows_of(self, items: Sequence[int]) -> list[int]:
        """Store rows of catalogue items, order kept; items without a vector are left out."""
        return [int(r) for r in self.row[list(items)] if r >= 0]
