"""The catalogue's commands: the four imports and `navigator show`."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

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
    drawn = _lines(opened, boards, seed)
    rejects = Counter(opened.table("rejects", ["reason"])["reason"].to_pylist())
    contact_sheet(_sheet_rows(opened, drawn), Path(out))
    return {
        "catalog": str(catalog),
        "counts": {name: opened.rows(name) for name in ("items", "boards", "board_items", "interactions", "rejects")},
        "rejects": dict(rejects.most_common()),
        "coverage": _coverage(opened),
        "board_size": _board_sizes(opened),
        "contact_sheet": str(out),
    }  # fmt: skip


def _board_sizes(catalog: Catalog) -> dict[str, float] | None:
    """Quantiles of the items a board, over boards with any; None without boards."""
    sizes = "SELECT count(*) AS n FROM read_parquet(?) GROUP BY board_id"
    query = f"SELECT quantile_cont(n, [0, 0.25, 0.5, 0.75, 1]) FROM ({sizes})"
    found = duckdb.execute(query, [str(catalog.path / "board_items.parquet")]).fetchall()[0][0]
    return None if found is None else dict(zip(("min", "p25", "p50", "p75", "max"), found, strict=True))


def _coverage(catalog: Catalog) -> dict[str, float]:
    """Share of items with a picture (by the file's statistics: no picture is read), a text for models, keywords."""
    items = str(catalog.path / "items.parquet")
    metadata = pq.read_metadata(items)
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    columns = [group.column(i) for group in groups for i in range(group.num_columns)]
    missing = sum(c.statistics.null_count for c in columns if c.path_in_schema == "image.bytes")
    query = "SELECT avg((text <> '')::INT), avg((len(keywords) > 0)::INT) FROM read_parquet(?)"
    text, keywords = duckdb.execute(query, [items]).fetchall()[0]
    return {
        "picture": round(1 - missing / metadata.num_rows, 4), "text": round(text, 4), "keywords": round(keywords, 4),
    }  # fmt: skip


def _lines(catalog: Catalog, count: int, seed: int) -> list[tuple[str, list[str], int]]:
    """(title, ids of the items to draw, how many there are): boards, else users' latest saves, else items."""
    chance = random.Random(seed)
    if catalog.rows("board_items"):
        boards = {row["board_id"]: row for row in catalog.table("boards").to_pylist()}
        groups = _groups(catalog, "board_items", "board_id", count, chance)
        return [(_board_title(boards[board], total), ids, total) for board, ids, total in groups]
    if catalog.rows("interactions"):
        groups = _groups(catalog, "interactions", "user_id", count, chance)
        return [(f"user {user}: the latest of {total}", ids, total) for user, ids, total in groups]
    ids = chance.sample(catalog.item_ids, min(count * MAX_COLUMNS, catalog.rows("items")))
    lines = [ids[i : i + MAX_COLUMNS] for i in range(0, len(ids), MAX_COLUMNS)]
    return [("items, chosen by chance" if i == 0 else "", line, len(line)) for i, line in enumerate(lines)]


def _groups(
    catalog: Catalog, table: str, owner: str, count: int, chance: random.Random
) -> list[tuple[str, list[str], int]]:
    """Some owners by chance: (owner, the items to draw, all its items). Boards from their start, users at their end."""
    path = str(catalog.path / f"{table}.parquet")
    query = f"SELECT {owner}, count(*) FROM read_parquet(?) GROUP BY 1 ORDER BY 1"
    sizes = duckdb.execute(query, [path]).fetchall()
    chosen = chance.sample(sizes, min(count, len(sizes)))
    query = f"SELECT item_id FROM read_parquet(?, file_row_number = true) WHERE {owner} = ? ORDER BY file_row_number"
    groups = []
    for name, total in chosen:
        ids = [item_id for (item_id,) in duckdb.execute(query, [path, name]).fetchall()]
        groups.append((name, ids[:MAX_COLUMNS] if owner == "board_id" else ids[-MAX_COLUMNS:], total))
    return groups


def _board_title(board: dict[str, str], total: int) -> str:
    by = f"  ·  {board['owner_id']}" if board["owner_id"] else ""
    return f"{board['title'] or board['board_id']}{by}  ·  {total} items"


def _sheet_rows(catalog: Catalog, lines: list[tuple[str, list[str], int]]) -> list[SheetRow]:
    wanted = list({item_id for _, ids, _ in lines for item_id in ids})
    pictures = catalog.images(wanted)
    columns = catalog.table("items", ["item_id", "title"])
    titles = dict(zip(columns["item_id"].to_pylist(), columns["title"].to_pylist(), strict=True))
    return [SheetRow(title, [pictures.get(i) for i in ids], [titles[i] for i in ids]) for title, ids, _ in lines]
