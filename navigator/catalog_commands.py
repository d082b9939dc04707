"""The catalogue's commands: the four imports and `navigator show`."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from navigator.contracts import Catalog, UserError
from navigator.importers.hf import import_hf
from navigator.importers.movielens import import_movielens
from navigator.importers.openclipart import import_openclipart
from navigator.importers.table import import_table
from navigator.sheet import MAX_COLUMNS, SheetRow, contact_sheet

__all__ = ["import_hf", "import_movielens", "import_openclipart", "import_table", "show"]


def show(catalog: Path, out: Path | None = None, boards: int = 12, seed: int = 0) -> dict[str, Any]:
    """Count what is in a catalogue and draw a contact sheet of boards (or users' histories, or items).

    Args:
        catalog: catalogue folder.
        out: PNG to write; by default CATALOG-boards.png beside the catalogue.
        boards: how many boards (users, lines of items) to draw, chosen by chance.
        seed: of that chance.
    """
    if boards < 1:
        raise UserError(f"boards is {boards}; give how many to draw, 1 or more")
    opened = Catalog.open(catalog)
    out = out or opened.path.resolve().with_name(opened.path.resolve().name + "-boards.png")
    items = opened.rows("items")
    if not items:
        raise UserError(f"catalog {catalog} has no items; import it again")
    board_of = opened.table("board_items", ["board_id"])["board_id"]
    sizes = np.array([entry.as_py() for entry in board_of.value_counts().field("counts")]) if len(board_of) else None
    drawn = _lines(opened, boards, seed)
    rejects = Counter(opened.table("rejects", ["reason"])["reason"].to_pylist())
    contact_sheet(_sheet_rows(opened, drawn), Path(out))
    return {
        "catalog": str(catalog),
        "counts": {name: opened.rows(name) for name in ("items", "boards", "board_items", "interactions", "rejects")},
        "rejects": dict(rejects.most_common()),
        "coverage": _coverage(opened),
        "board_size": None if sizes is None else {
            name: float(np.quantile(sizes, q)) for name, q in (("min", 0), ("p25", 0.25), ("p50", 0.5), ("p75", 0.75), ("max", 1))
        },
        "contact_sheet": str(out),
    }  # fmt: skip


def _coverage(catalog: Catalog) -> dict[str, float]:
    """Share of items that have a picture, a text for models, keywords."""
    filled = Counter({"picture": 0, "text": 0, "keywords": 0})
    for batch in catalog.batches(["image", "text", "keywords"], 1024):
        filled["picture"] += len(batch) - pc.struct_field(batch["image"], "bytes").null_count
        filled["text"] += pc.sum(pc.greater(pc.utf8_length(batch["text"]), 0)).as_py() or 0
        filled["keywords"] += pc.sum(pc.greater(pc.list_value_length(batch["keywords"]), 0)).as_py() or 0
    return {name: round(count / catalog.rows("items"), 4) for name, count in filled.items()}


def _lines(catalog: Catalog, count: int, seed: int) -> list[tuple[str, list[str], int]]:
    """(title, ids of the items to draw, how many there are): boards, else users' latest saves, else items."""
    chance = random.Random(seed)
    if catalog.rows("board_items"):
        names = {row["board_id"]: row for row in catalog.table("boards").to_pylist()}
        groups = _groups(catalog, "board_items", "board_id", count, chance)
        return [(_board_title(names[board]), ids, total) for board, ids, total in groups]
    if catalog.rows("interactions"):
        return [(f"user {user}", ids, n) for user, ids, n in _groups(catalog, "interactions", "user_id", count, chance)]
    ids = chance.sample(catalog.item_ids, min(count * MAX_COLUMNS, catalog.rows("items")))
    lines = [ids[i : i + MAX_COLUMNS] for i in range(0, len(ids), MAX_COLUMNS)]
    return [(f"items, by chance {i + 1}", line, len(line)) for i, line in enumerate(lines)]
