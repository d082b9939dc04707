"""A few rows of each signal in words that people can read, as far as enough people stand behind them."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from graph.saved_files import Files, people_of_both
from graph.signal_table import SIGNALS, read_signal

EXAMPLES = 3
LOOK_AT = 2_000
_LIST = 5


def examples_of(files: Files, rows: dict[str, int], least: int) -> dict[str, dict[str, Any]]:
    """For each signal its rows, up to EXAMPLES examples, and how many of the rows looked at are not shown.

    Args:
        rows: of each signal.
        least: fewest people behind an example (see graph.policy).
    """
    titles, found = titles_of(files), {}
    for name in SIGNALS:
        shown, suppressed = [], 0
        for behind, words in _rows(files, name, titles, least):
            suppressed += behind < least
            if behind >= least and len(shown) < EXAMPLES:
                shown.append(words)
        found[name] = {"rows": rows[name], "examples": shown, "suppressed": suppressed}
    return found


def titles_of(files: Files) -> dict[str, str]:
    """What people read of each item: its title, else its id."""
    table = files.catalog.table("items", ["item_id", "title"])
    return {i: title or i for i, title in zip(table["item_id"].to_pylist(), table["title"].to_pylist(), strict=True)}


def _rows(files: Files, name: str, titles: dict[str, str], least: int) -> Iterator[tuple[int, str]]:
    """(people behind it, example) of the first LOOK_AT rows of a signal; co-saves of most visits first."""
    table = next(
        read_signal(
            files.taste_graph.path, name, ["owner", "title", "items", "target", "negatives", "ranks", "weight"]
        ),
        None,
    )
    if table is None:
        return
    if name == "co-save":
        table = table.take(table["weight"].to_numpy().argsort(kind="stable")[::-1])
    table = table.slice(0, LOOK_AT)
    rows = table.to_pylist()
    if name == "board-title":
        yield from _by_title(files, rows, titles, least)
        return
    for row, count in zip(rows, _behind(files, name, rows), strict=True):
        yield count, _words(name, row, titles)


def _behind(files: Files, name: str, rows: list[dict[str, Any]]) -> list[int]:
    """People behind each row: of a sequence its owner; of two items those who saved both, or either of them alone."""
    if name not in ("co-save", "hard-negative"):
        return [1] * len(rows)
    index = files.catalog.item_index
    a = np.array([index[row["items"][0]] for row in rows])
    if name == "co-save":
        return people_of_both(files, a, np.array([index[row["target"]] for row in rows])).tolist()
    own = {i: n for i, n in zip(a.tolist(), people_of_both(files, a, a).tolist(), strict=True)}
    lists = [[index[i] for i in row["negatives"][:_LIST]] for row in rows]
    flat = np.array([i for one in lists for i in one])
    sizes = dict(zip(flat.tolist(), people_of_both(files, flat, flat).tolist(), strict=True))
    return [min(own[i], *(sizes[j] for j in one)) for i, one in zip(a.tolist(), lists, strict=True)]


def _by_title(
    files: Files, rows: list[dict[str, Any]], titles: dict[str, str], least: int
) -> Iterator[tuple[int, str]]:
    """Boards of one title together, with the items that enough of their owners saved."""
    node = {board: n for n, board in enumerate(files.taste_graph.node_ids("board"))}
    together: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        together.setdefault(row["title"].strip(), []).append(row)
    for title, boards in sorted(together.items(), key=lambda entry: -len(entry[1])):
        owners = [int(files.people["board"][node[row["owner"]]]) for row in boards]
        savers: dict[str, set[int]] = {}
        for row, owner in zip(boards, owners, strict=True):
            for item in row["items"]:
                savers.setdefault(item, set()).add(owner)
        items = sorted((i for i in savers if len(savers[i]) >= least), key=lambda i: -len(savers[i]))
        yield len(set(owners)) if items else 0, f"“{title}” asks for {_some([titles[i] for i in items], 'or')}"


def _words(name: str, row: dict[str, Any], titles: dict[str, str]) -> str:
    items = [titles[i] for i in row["items"] or []]
    if name == "next-item":
        return f"after {_some(items[:-1][-_LIST:], 'and')} comes “{items[-1]}”"
    if name == "board-completion":
        return f"“{row['title']}” with {_some(items[1:], 'and')} is completed by “{items[0]}”"
    if name == "co-save":
        return f"“{items[0]}” leads to “{titles[row['target']]}” ({row['weight']:,.0f} visits)"
    negatives = [titles[i] for i in row["negatives"][:_LIST]]
    if name == "impression":
        return f"shown and not saved: {_some(negatives, 'and')}"
    near = [f"{title}” (rank {rank})" for title, rank in zip(negatives, row["ranks"], strict=False)]
    return f"“{items[0]}” is near, but not with " + ", ".join(f"“{words}" for words in near)


def _some(words: list[str], last: str) -> str:
    quoted = [f"“{word}”" for word in words[:_LIST]]
    more = [f"{len(words) - _LIST:,} more"] if len(words) > _LIST else []
    parts = quoted + more
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}" if parts else "nothing"
