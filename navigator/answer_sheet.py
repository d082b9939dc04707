"""What search and recommend show of their answers: titles of items, and a contact sheet of the query and the results."""

from pathlib import Path

from navigator.contracts import Catalog
from navigator.sheet import SheetRow, contact_sheet


def titles_of(catalog: Catalog) -> dict[str, str]:
    """Item id -> title."""
    items = catalog.table("items", ["item_id", "title"])
    return dict(zip(items["item_id"].to_pylist(), items["title"].to_pylist(), strict=True))


def draw_answer(
    catalog: Catalog, sheet: Path, title: str, shown: list[str], found: list[str], image: Path | None = None
) -> str:
    """Draw one row of what was asked with, if there is any, and one of what was found; returns the path.

    Args:
        catalog: where pictures and titles come from.
        sheet: the PNG to write.
        title: of the first row.
        shown: item ids that the query was made of.
        found: item ids of the results.
        image: a picture file that was searched with, instead of items.
    """
    pictures: dict[str, bytes | None] = dict(catalog.images(shown + found))
    titles = titles_of(catalog)
    asked = [pictures.get(i) for i in shown] if image is None else [image.read_bytes() or None]
    captions = [titles.get(i) or i for i in shown] if image is None else [image.name]
    rows = [
        SheetRow(title, asked, captions),
        SheetRow("results", [pictures.get(i) for i in found], [titles.get(i) or i for i in found]),
    ]
    contact_sheet(rows if asked else rows[1:], sheet)
    return str(sheet)
