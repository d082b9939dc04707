"""TREC run files of other systems, as ranked item ids."""

import math
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from navigator.contracts.errors import UserError


@dataclass(frozen=True)
class RunFile:
    """Ranked items by query id; `foreign` counts queries that were not asked."""

    ranked: dict[str, list[str]]
    foreign: int


def read_run(name: str, path: Path, asked: set[str]) -> RunFile:
    """Lines `query Q0 item rank score tag`, ids percent-encoded as bench.trec writes them; by score, ties by rank.

    Raises:
        UserError: no such file, a line of another form, an item twice for a query.
    """
    if not path.is_file():
        raise UserError(f"run {name}={path}: there is no such file")
    rows: dict[str, list[tuple[float, int, str]]] = {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            _, _, item, rank, score, _ = words
            place = (-float(score), int(rank), unquote(item))
        except ValueError:
            place = (math.nan, 0, "")
        if math.isnan(place[0]):
            raise UserError(f"run {name}={path} line {number}: {line[:80]!r}; needed is: query Q0 item rank score tag")
        rows.setdefault(unquote(words[0]), []).append(place)
    ranked = {query: [item for _, _, item in sorted(own)] for query, own in rows.items() if query in asked}
    twice = next((query for query, own in ranked.items() if len(set(own)) < len(own)), None)
    if twice is not None:
        raise UserError(f"run {name}={path} ranks an item twice for query {twice!r}; each may come once")
    return RunFile(ranked, len(rows.keys() - ranked.keys()))
