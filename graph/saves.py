"""Saves of a block of whole owners as plain arrays, grouped and ordered by owner."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph.ordering import order_within, repeated
from graph.relation import UNKNOWN_TIME
from navigator.contracts import UserError


@dataclass(frozen=True)
class Saves:
    """Saves as parallel arrays, one row a save.

    Attributes:
        ids: external ids of the owners (boards or users).
        owner: (n,) int64, position in `ids`.
        item: (n,) item index.
        at: (n,) int64 seconds since 1970, UNKNOWN_TIME where unknown.
        row: (n,) int64 where each comes from, for reports; None when nobody asks.
        weight: (n,) float32; None when all weigh 1.
    """

    ids: Sequence[str]
    owner: np.ndarray
    item: np.ndarray
    at: np.ndarray
    row: np.ndarray | None = None
    weight: np.ndarray | None = None

    def rows(self, chosen: np.ndarray) -> "Saves":
        """The chosen rows (mask or positions), owners unchanged."""
        more = (None if values is None else values[chosen] for values in (self.row, self.weight))
        return Saves(self.ids, self.owner[chosen], self.item[chosen], self.at[chosen], *more)

    @property
    def by_owner(self) -> tuple["Saves", np.ndarray]:
        """The saves with each owner's together (rows in order), and (n_owners + 1,) int64 bounds."""
        bounds = np.concatenate([[0], np.cumsum(np.bincount(self.owner, minlength=len(self.ids)))]).astype(np.int64)
        if len(self.owner) and (np.diff(self.owner) < 0).any():
            return self.rows(np.argsort(self.owner, kind="stable")), bounds
        return self, bounds

    @property
    def order_key(self) -> np.ndarray:
        """Row numbers, or positions where there are none."""
        return np.arange(len(self.owner)) if self.row is None else self.row


def distinct(saves: Saves) -> tuple[Saves, Saves]:
    """The saves by (owner, item), each pair once, with its earliest time; and the repeats."""
    saves, bounds = saves.by_owner
    saves = saves.rows(order_within(bounds, saves.item.astype(np.int64), saves.at, saves.order_key))
    again = repeated(bounds, saves.item)
    return saves.rows(~again), saves.rows(again)


def in_user_order(saves: Saves) -> tuple[Saves, Saves]:
    """Distinct (user, item) by user, then (time, item), by row for users with an unknown time; and the repeats."""
    saves, bounds = saves.by_owner
    timeless = np.zeros(len(saves.ids), bool)
    timeless[saves.owner[saves.at == UNKNOWN_TIME]] = True
    by_row = timeless[saves.owner]
    item = saves.item.astype(np.int64)
    order = order_within(bounds, np.where(by_row, 0, saves.at), np.where(by_row, 0, item), saves.order_key)
    saves = saves.rows(order)
    again = repeated(bounds, saves.item)
    return saves.rows(~again), saves.rows(again)


def positions(values: pa.Array | pa.ChunkedArray, ids: pa.Array, what: str) -> np.ndarray:
    """(n,) int64 positions of external ids among `ids`.

    Raises:
        UserError: an id that is not there, named.
    """
    found = _index_in(values, ids)
    if found.null_count:
        unknown = values.filter(found.is_null())[0].as_py()
        raise UserError(
            f"{what} {unknown!r} is not among the {len(ids):,} of the catalogue; import the catalogue again"
        )
    return np.asarray(found, dtype=np.int64)


def _index_in(values: pa.Array | pa.ChunkedArray, ids: pa.Array) -> pa.Array | pa.ChunkedArray:
    return pc.call_function("index_in", [values], pc.SetLookupOptions(ids))
