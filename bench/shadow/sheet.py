"""The requests whose answers changed most, as pictures: what was asked with, the old answer, the new one below it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.shadow.compare import AGREEMENT, NEAR, QUALITY, Replies, Values, changed_most
from bench.shadow.replay import LABELS
from bench.shadow.traffic import Request
from navigator.answer_sheet import titles_of
from navigator.contracts import Catalog
from navigator.sheet import SheetRow, contact_sheet

FOUND = "+ "  # before the caption of an item that was saved next


def draw_changed(
    path: Path, requests: Sequence[Request], replies: Replies, values: Values, catalog: Catalog, count: int
) -> bool:
    """Three rows a request, with its figures: its history, newest first, old, new.

    Returns:
        Whether a sheet was drawn; it is not where both answered no request.
    """
    chosen = changed_most(values, count)
    if not chosen:
        return False
    shown = {row: _lists(requests[row], replies, row) for row in chosen}
    ids = {item: catalog.item_ids[item] for lists in shown.values() for own in lists for item in own}
    pictures, titles = catalog.images(list(ids.values())), titles_of(catalog)
    rows = []
    for place, (row, lists) in enumerate(shown.items(), 1):
        query = requests[row].query
        asked = f"{place}. {query.query_id} {query.title}, newest first ({_words(values, AGREEMENT, row)})"
        mark = f" ({FOUND}was saved next)" if query.targets else ""
        heads = [asked, *(f"{label}: {_words(values, QUALITY, row, f'_{label}')}{mark}" for label in LABELS)]
        for head, items in zip(heads, lists, strict=True):
            captions = [(FOUND if i in query.targets else "") + (titles.get(ids[i]) or ids[i]) for i in items]
            rows.append(SheetRow(head, [pictures.get(ids[i]) for i in items], captions))
    contact_sheet(rows, path)
    return True


def _words(values: Values, names: Sequence[str], row: int, end: str = "") -> str:
    """The request's own figures, those that were measured; `end` is what the names of their columns end in."""
    found = {name: values[name + end][row] for name in names}
    return ", ".join(f"{name} {value:.2f}" for name, value in found.items() if not np.isnan(value))


def _lists(request: Request, replies: Replies, row: int) -> tuple[list[int], list[int], list[int]]:
    old, new = (own[row].items[:NEAR].tolist() for own in replies)
    return list(request.query.history[::-1]), old, new
