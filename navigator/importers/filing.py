"""Boards from what uploaders filed their works under: what an importer needs to know of them, and boards of one uploader.

A board is a topic that somebody chose, so some keywords make none: the uploader's own name, "unsorted" (filed nowhere)
and "hash" (a script's slip).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from navigator.importers.leaks import term
from navigator.importers.rdf import Work

Key = tuple[str, str]  # owner and keyword

MIN_BOARD = 3
NO_TOPIC = {"unsorted", "hash"}


@dataclass(frozen=True)
class Filing:
    """Who filed what where.

    Attributes:
        boards: (owner, keyword) -> item ids in catalogue order.
        words: by item the keywords that its text must lack, because they name its boards.
        parts: of the boards, train, valid or test; None where no split is given.
        counts: for the manifest.
    """

    boards: dict[Key, list[str]]
    words: dict[str, set[str]]
    parts: dict[Key, str] | None = None
    counts: dict[str, int] = field(default_factory=dict)


def file_by_uploader(works: Iterable[tuple[str, Work]]) -> Filing:
    """A board for every uploader and keyword with three works; of works with the same id the first counts."""
    boards: dict[Key, list[str]] = defaultdict(list)
    seen: set[str] = set()
    for item_id, work in works:
        if item_id in seen or not work.uploader:
            continue
        seen.add(item_id)
        for keyword in work.keywords:
            if keyword not in NO_TOPIC and term(keyword) != term(work.uploader):
                boards[work.uploader, keyword].append(item_id)
    large = {key: items for key, items in sorted(boards.items()) if len(items) >= MIN_BOARD}
    words: dict[str, set[str]] = defaultdict(set)
    for (_, keyword), items in large.items():
        for item_id in items:
            words[item_id].add(keyword)
    return Filing(large, words)


def board_ids(boards: Iterable[Key]) -> dict[Key, str]:
    """owner/keyword in plain letters; -2, -3 where two would be the same."""
    names: dict[Key, str] = {}
    used: Counter[str] = Counter()
    for key in boards:
        slug = "/".join(re.sub(r"[^\w.]+|_", "-", part.lower()).strip("-.") or "x" for part in key)
        used[slug] += 1
        names[key] = slug if used[slug] == 1 else f"{slug}-{used[slug]}"
    return names
