"""Saves as plain arrays: how they are read from a catalogue (external ids in, indices out) and grouped by owner."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from navigator.contracts import Catalog, UserError

UNKNOWN_TIME = -1


@dataclass(frozen=True)
class Saves:
    """Saves as parallel arrays, one row a save.

    Attributes:
        ids: external ids of the owners (boards or users).
        owner: (n,) int64, position in `ids`.
        item: (n,) int64 item index.
        at: (n,) int64 seconds since 1970, UNKNOWN_TIME where unknown.
    """

    ids: Sequence[str]
    owner: np.ndarray
    item: np.ndarray
    at: np.ndarray

    def rows(self, chosen: np.ndarray) -> "Saves":
        """The chosen rows (mask or positions), owners unchanged."""
        return Saves(self.ids, self.owner[chosen], self.item[chosen], self.at[chosen])


def board_saves(catalog: Catalog) -> tuple[Saves, list[str]]:
    """All saves to boards (owners in the order of boards.parquet) and the boards' titles."""
    boards, rows = catalog.table("boards", ["board_id", "title"]), catalog.table("board_items")
    ids = boards["board_id"].to_pylist()
    owner = positions(rows["board_id"], pa.array(ids, pa.string()), "board")
    titles = [title or "" for title in boards["title"].to_pylist()]
    return _saves(catalog, ids, owner, rows["item_id"], rows["saved_at"]), titles


def board_owners(catalog: Catalog) -> list[str]:
    """Whose each board is, in the order of boards.parquet; a board without an owner is its own."""
    boards = catalog.table("boards", ["board_id", "owner_id"])
    return [
        owner or board
        for owner, board in zip(boards["owner_id"].to_pylist(), boards["board_id"].to_pylist(), strict=True)
    ]


def user_saves(catalog: Catalog, actions: list[str] | None = None) -> tuple[Saves, int]:
    """Saves of users (owners by id) and how many interactions were left out because of their action.

    Raises:
        UserError: an action that does not occur.
    """
    rows = catalog.table("interactions")
    total = rows.num_rows
    if actions is not None:
        known = [str(action) for action in rows["action"].unique().to_pylist()]
        missing = next((action for action in actions if action not in known), None)
        if missing is not None:
            raise UserError(
                f"action {missing!r} does not occur in {catalog.path}; it has {', '.join(known) or 'no interaction'}"
            )
        rows = rows.filter(_index_in(rows["action"], pa.array(actions, pa.string())).is_valid())
    ids = sorted(rows["user_id"].unique().to_pylist())
    owner = positions(rows["user_id"], pa.array(ids, pa.string()), "user")
    return _saves(catalog, ids, owner, rows["item_id"], rows["at"]), total - rows.num_rows


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


def distinct(saves: Saves) -> Saves:
    """The saves by (owner, item), each pair once, with its earliest time."""
    saves = saves.rows(np.lexsort((saves.at, saves.item, saves.owner)))
    return saves.rows(first_of_pairs(saves.owner, saves.item))


def first_of_pairs(owner: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Positions of the first occurrence of each (owner, item), ascending."""
    key = owner.astype(np.int64) * (int(item.max(initial=0)) + 1) + item
    return np.sort(np.unique(key, return_index=True)[1])


def groups(owner: np.ndarray) -> list[np.ndarray]:
    """Row numbers of each run of equal owners; `owner` is sorted."""
    if not len(owner):
        return []
    return np.split(np.arange(len(owner)), np.flatnonzero(np.diff(owner)) + 1)


def id_of(saves: Saves, rows: np.ndarray) -> str:
    """The external id of the owner whose rows these are."""
    return saves.ids[int(saves.owner[rows[0]])]


def owner_rng(seed: int, owner_id: str) -> np.random.Generator:
    """An owner's own chance, by seed and id alone: it survives reordered rows and other owners that come and go."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(f"{seed}|{owner_id}".encode()).digest()[:8]))


def _index_in(values: pa.Array | pa.ChunkedArray, ids: pa.Array) -> pa.Array | pa.ChunkedArray:
    return pc.call_function("index_in", [values], pc.SetLookupOptions(ids))


def _saves(catalog: Catalog, ids: list[str], owner: np.ndarray, item: pa.ChunkedArray, at: pa.ChunkedArray) -> Saves:
    items = positions(item, pa.array(catalog.item_ids, pa.string()), "item")
    return Saves(ids, owner, items, np.asarray(at.fill_null(UNKNOWN_TIME), dtype=np.int64))
