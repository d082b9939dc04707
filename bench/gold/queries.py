"""What a gold set may ask, and the stratified draw of what it does ask.

board   a board's title and its saves (those of the test part held back)
title   a board's title alone, as somebody would type it
user    a user's saves
text    a line of a file of free text: columns text and, where known, count (how often it is asked)
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.gold.options import KINDS, Allocation, Kind
from bench.gold.strata import UNKNOWN, allocate, bands
from navigator.contracts.errors import UserError
from navigator.contracts.signals import Query, Task, TasteSequence
from navigator.importers.files import batches, file_schema, scan

_TASKS: dict[Kind, Task] = {"board": "board-completion", "user": "next-item"}


@dataclass(frozen=True)
class Asking:
    """A query of a gold set.

    Attributes:
        kind: board, title, user or text.
        query: id (unique over kinds), history, held-out saves as targets, title.
        volume: training saves of the board or user, of all boards of that title, or the count of a text; None: unknown.
        owner: whose board it is, else the query's own id: what intervals draw.
        band: head, torso or tail of its kind by volume, or unknown.
        n_stratum, p: queries that could have been drawn from its stratum, and the share of them that was.
    """

    kind: Kind
    query: Query
    volume: float | None
    owner: str
    band: str = UNKNOWN
    n_stratum: int = 0
    p: float = 1.0

    @property
    def stratum(self) -> str:
        return f"{self.kind}/{self.band}"


def candidates(
    sequences: Sequence[TasteSequence], owners: dict[str, str], kinds: Sequence[Kind] | None, texts: Path | None
) -> list[Asking]:
    """Every query that could be asked, with its band.

    Args:
        sequences: of the taste graph.
        owners: board -> owner.
        kinds: those wanted; None: all that there is something of.
        texts: file of free text.

    Raises:
        UserError: a kind that is wanted has no query.
    """
    found: dict[Kind, list[Asking]] = {
        "board": _owned("board", sequences, owners), "title": _titles(sequences), "user": _owned("user", sequences, {}),
        "text": _texts(texts) if texts else [],
    }  # fmt: skip
    wanted: list[Kind] = [kind for kind in KINDS if found[kind]] if kinds is None else list(dict.fromkeys(kinds))
    empty = next((kind for kind in wanted if not found[kind]), None)
    if empty is not None or not wanted:
        have = ", ".join(f"{kind} {len(own):,}" for kind, own in found.items())
        raise UserError(f"no query of kind {empty or 'any'}; there are: {have}; text queries need --texts FILE")
    return [asking for kind in wanted for asking in _banded(found[kind])]


def draw(every: Sequence[Asking], n: int, allocation: Allocation, seed: int) -> list[Asking]:
    """A stratified sample without replacement; each query carries its stratum's size and its chance."""
    sizes = Counter(asking.stratum for asking in every)
    taken = allocate(sizes, n, allocation)
    rng, drawn = np.random.default_rng(seed), []
    for name, count in taken.items():
        own = [asking for asking in every if asking.stratum == name]
        picked = np.sort(rng.choice(len(own), count, replace=False))
        drawn += [replace(own[i], n_stratum=len(own), p=count / len(own)) for i in picked]
    return drawn


def _owned(kind: Kind, sequences: Sequence[TasteSequence], owners: dict[str, str]) -> list[Asking]:
    found = []
    for s in sequences:
        history = s.items + s.valid
        if s.task == _TASKS[kind] and history:
            query = Query(f"{kind}:{s.owner}", history, s.test, s.title.strip())
            found.append(Asking(kind, query, len(s.items), owners.get(s.owner) or query.query_id))
    return found


def _titles(sequences: Sequence[TasteSequence]) -> list[Asking]:
    """Titles of boards, each once; whatever boards of that title hold out may be found."""
    own: dict[str, list[TasteSequence]] = {}
    for s in sequences:
        if s.task == _TASKS["board"] and s.title.strip():
            own.setdefault(s.title.strip(), []).append(s)
    found = []
    for title, boards in own.items():
        targets = tuple(dict.fromkeys(item for s in boards for item in s.test))
        query = Query(f"title:{title}", (), targets, title)
        found.append(Asking("title", query, sum(len(s.items) for s in boards), query.query_id))
    return found


def _texts(path: Path) -> list[Asking]:
    """Raises UserError for a missing column, a count that is no number, or no text at all."""
    names = file_schema(path).names
    if "text" not in names:
        raise UserError(
            f"{path} lacks the column text; it has {', '.join(names)}; columns are text and, if known, count"
        )
    columns = "text, count" if "count" in names else "text, NULL AS count"
    counts: dict[str, float | None] = {}
    for batch in batches(f"SELECT {columns} FROM {scan(path)}"):
        for row in batch.to_pylist():
            text = " ".join(str(row["text"] or "").split())
            if text:
                counts[text] = _plus(counts.get(text), row["count"], path)
    if not counts:
        raise UserError(f"{path} holds no text; give one query a row in the column text")
    return [Asking("text", Query(f"text:{t}", (), (), t), volume, f"text:{t}") for t, volume in counts.items()]


def _plus(before: float | None, given: Any, path: Path) -> float | None:
    """Counts of one text in several rows add up."""
    if given is None or given == "":
        return before
    try:
        count = float(given)
    except ValueError:
        count = -1.0
    if not 0 <= count < float("inf"):
        raise UserError(f"{path}: count {given!r} is no number from 0; mend it or leave it empty")
    return count + (before or 0)


def _banded(own: list[Asking]) -> list[Asking]:
    known = [asking for asking in own if asking.volume is not None]
    named = bands(np.array([asking.volume for asking in known], np.float64)) if known else []
    band = {a.query.query_id: str(name) for a, name in zip(known, named, strict=True)}
    return [replace(asking, band=band.get(asking.query.query_id, UNKNOWN)) for asking in own]
