"""Saves of a catalogue as plain arrays: external ids in, indices out."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from graph.split import UNKNOWN_TIME, Saves
from navigator.contracts import Catalog, UserError


def board_saves(catalog: Catalog) -> tuple[Saves, list[str]]:
    """All saves to boards (owners in the order of boards.parquet) and the boards' titles."""
    boards, rows = catalog.table("boards", ["board_id", "title"]), catalog.table("board_items")
    ids = boards["board_id"].to_pylist()
    owner = positions(rows["board_id"], pa.array(ids, pa.string()), "board")
    titles = [title or "" for title in boards["title"].to_pylist()]
    return _saves(catalog, ids, owner, rows["item_id"], rows["saved_at"]), titles


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


def _index_in(values: pa.Array | pa.ChunkedArray, ids: pa.Array) -> pa.Array | pa.ChunkedArray:
    return pc.call_function("index_in", [values], pc.SetLookupOptions(ids))


def _saves(catalog: Catalog, ids: list[str], owner: np.ndarray, item: pa.ChunkedArray, at: pa.ChunkedArray) -> Saves:
    items = positions(item, pa.array(catalog.item_ids, pa.string()), "item")
    return Saves(ids, owner, items, np.asarray(at.fill_null(UNKNOWN_TIME), dtype=np.int64))
