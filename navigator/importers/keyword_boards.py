"""Boards made of keywords over all uploaders, and which of them training may see: a harder world than one's own folders.

A board holds the works that anybody filed under one keyword. Spellings of a keyword are one board: number (icon, icons),
case, accents and how its words are joined (north_america, northamerica) do not count; nor do boards of the same works
stay apart. A fixed share of the keywords, by a hash of what their spellings have in common, makes test and validation
boards, of which training sees nothing.

A fixed share of the uploaders, by a hash of their names, is unseen: none of their works is on any of these boards, so
that nobody ever saved them. Their works make boards of their own, which only ask.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from navigator.contracts.catalog import held_out
from navigator.importers.filing import NO_TOPIC, Filing
from navigator.importers.leaks import stem, term
from navigator.importers.rdf import Work

MIN_WORKS, MIN_UPLOADERS, MIN_UNSEEN = 6, 2, 4
TEST, VALID, UNSEEN_UPLOADERS, UNSEEN_VALID = 0.2, 0.15, 0.15, 1 / 3
OWNER, UNSEEN = "keyword", "unseen-uploaders"


@dataclass
class _Topic:
    """What is filed under one keyword, however it is spelled."""

    items: dict[bool, list[str]] = field(default_factory=lambda: {False: [], True: []})  # by whether they are unseen
    uploaders: set[str] = field(default_factory=set)  # of the seen works
    spellings: Counter[str] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        """The most used spelling, of equally used ones the first."""
        return min(self.spellings, key=lambda spelling: (-self.spellings[spelling], spelling))

    @property
    def sides(self) -> list[bool]:
        """Of which works there is a board: of seen uploaders, of unseen ones."""
        enough = len(self.items[False]) >= MIN_WORKS and len(self.uploaders) >= MIN_UPLOADERS
        return [False] * enough + [True] * (len(self.items[True]) >= MIN_UNSEEN)


def file_by_keyword(works: Iterable[tuple[str, Work]]) -> Filing:
    """Boards of keywords over all uploaders; of works with the same id the first counts, those of nobody do not.

    The words of a work's keywords leave its text wherever the keyword makes a board, also where the work itself is cut
    from that board, or the text of what is cut would name the answer.
    """
    first: dict[str, Work] = {}
    for item_id, work in works:
        if work.uploader:
            first.setdefault(item_id, work)
    names = sorted({work.uploader for work in first.values()})
    unseen = {
        name for name, out in zip(names, held_out(names, UNSEEN_UPLOADERS, "unseen-uploaders-v1"), strict=True) if out
    }
    topics = _topics(first, unseen)
    made, twins = _without_twins(topics)
    words: dict[str, set[str]] = defaultdict(set)
    for topic in topics.values():
        for item_id in [i for side in topic.items.values() for i in side] if topic.sides else ():
            words[item_id].update(topic.spellings)
    boards = {(UNSEEN if side else OWNER, topics[root].name): topics[root].items[side] for root, side in made}
    parts = dict(zip(boards, _parts(made), strict=True))
    by_part = Counter((key[0], part) for key, part in parts.items())
    return Filing(boards, words, parts, {
        **{f"{owner} boards, {part}": n for (owner, part), n in sorted(by_part.items())},
        "spellings joined": sum(len(t.spellings) - 1 for t in topics.values() if t.sides), "twins joined": twins,
        "unseen uploaders": len(unseen), "their works": sum(work.uploader in unseen for work in first.values()),
    })  # fmt: skip


def _topics(works: dict[str, Work], unseen: set[str]) -> dict[str, _Topic]:
    """By stem, in alphabetical order; keywords that are no topic or that name an uploader left out."""
    people = {term(work.uploader) for work in works.values()}
    topics: dict[str, _Topic] = defaultdict(_Topic)
    for item_id, work in works.items():
        for keyword in work.keywords:
            root = stem(keyword)
            if keyword in NO_TOPIC or not root or term(keyword) in people:
                continue
            topic, side = topics[root], work.uploader in unseen
            topic.spellings[keyword] += 1
            if item_id not in topic.items[side][-1:]:  # not twice under two spellings
                topic.items[side].append(item_id)
            if not side:
                topic.uploaders.add(work.uploader)
    return dict(sorted(topics.items()))


def _without_twins(topics: dict[str, _Topic]) -> tuple[list[tuple[str, bool]], int]:
    """(stem, whether of unseen uploaders) of every board, the first of each set of works; and how many were joined."""
    made = sorted(((root, side) for root, topic in topics.items() for side in topic.sides), key=lambda board: board[1])
    first: dict[frozenset[str], tuple[str, bool]] = {}
    for root, side in made:
        first.setdefault(frozenset(topics[root].items[side]), (root, side))
    return list(first.values()), len(made) - len(first)


def _parts(made: list[tuple[str, bool]]) -> list[str]:
    """Part of each board by its stem alone."""
    roots, sides = [root for root, _ in made], np.array([side for _, side in made], bool)
    test = held_out(roots, TEST, "keyword-boards-v1")
    known = np.select([test, held_out(roots, TEST + VALID, "keyword-boards-v1")], ["test", "valid"], "train")
    cold = np.where(held_out(roots, UNSEEN_VALID, "unseen-boards-v1"), "valid", "test")
    return np.where(sides, cold, known).tolist()
