"""One row a request: what it brought, against what the turn expects.

NDCG@10 has gains 2, 1 and 0 (linear) and is divided by the best order of what was judged. Where items that were seen are to be
left out, those are taken out of the judgements too (residual collection: Salton and Buckley, Improving Retrieval Performance
by Relevance Feedback, JASIS 1990). Items that nobody judged count as wrong, or are left out of the list ("condensed": T. Sakai,
Alternatives to Bpref, SIGIR 2007): the truth lies between. A failed request brought nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.assistant.gold import Turn
from bench.assistant.grounding import Titles
from bench.assistant.replay import Asked
from bench.gold.metrics import dcg

DEPTH = 10
VIOLATIONS = ("seen", "keyword", "board", "never")
Row = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """What the catalogue says: keywords by item, items by board, titles."""

    keywords: Mapping[str, Sequence[str]]
    boards: Mapping[str, frozenset[str]]
    titles: Titles


def ndcg(ranked: Sequence[str], grades: Mapping[str, int]) -> float:
    """NDCG@10 of item ids, best first; what is not graded gains nothing. nan where nothing is graded above 0."""
    ideal = dcg(np.sort(np.array(list(grades.values()), np.float64))[::-1], DEPTH)
    return dcg(np.array([grades.get(item, 0) for item in ranked], np.float64), DEPTH) / ideal if ideal else float("nan")


def judged(asked: Asked) -> dict[str, int]:
    """Grades of the turn, with the items that the user has already as wrong, without what was seen and is not wanted again."""
    turn = asked.turn
    grades = {**turn.grades, **{item: 0 for item in turn.never}}
    gone = set(asked.seen) if turn.retrieval.exclude_seen else set()
    return {item: grade for item, grade in grades.items() if item not in gone}


def violations(asked: Asked, facts: Facts) -> dict[str, int]:
    """Shown items that a filter of the request forbids, by filter, and such as the user has already."""
    own, shown = asked.turn.retrieval, asked.reply.items
    seen = set(asked.seen) if own.exclude_seen else set()
    on_board = facts.boards.get(own.board, frozenset()) if own.board is not None else None
    return {
        "seen": sum(item in seen for item in shown),
        "keyword": sum(own.keyword not in facts.keywords.get(item, ()) for item in shown) if own.keyword else 0,
        "board": 0 if on_board is None else sum(item not in on_board for item in shown),
        "never": sum(item in asked.turn.never for item in shown),
    }


def filters(turn: Turn) -> set[str]:
    """Which of VIOLATIONS a turn can meet."""
    own = turn.retrieval
    given = {"seen": own.exclude_seen, "keyword": own.keyword, "board": own.board, "never": turn.never}
    return {name for name, value in given.items() if value}


def row(asked: Asked, facts: Facts) -> Row:
    """What requests.parquet says of a request; null is what does not apply or is not known."""
    own, turn, reply = asked.conversation, asked.turn, asked.reply
    named = facts.titles.named(reply.text, {*reply.items, *asked.seen, *asked.given}, asked.said, len(reply.items))
    return {
        "system": asked.system, "conversation": own.id, "split": own.split, "stratum": own.stratum, "turn": asked.place,
        "last": asked.place == own.last, "expect": turn.expect, "words": turn.words, "error": reply.error,
        "status": reply.status, "waits": reply.waits, "latency_ms": reply.latency_ms, "release": reply.release,
        "text": reply.text,
        "items": reply.items, "seen": list(asked.seen), "retrieved": reply.retrieved, "refused": reply.refused,
        "says_grounded": reply.grounded, "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens, "names": list(named.allowed),
        "names_elsewhere": list(named.elsewhere), "names_invented": list(named.invented), "grounded": named.grounded,
        **_quality(asked, turn), **{f"broke_{name}": n for name, n in violations(asked, facts).items()},
        **{f"asked_{name}": name in filters(turn) for name in VIOLATIONS},
    }  # fmt: skip


def _quality(asked: Asked, turn: Turn) -> Row:
    """NDCG@10 both ways and the judged share of the first ten; null where none are expected, or none are left to be found."""
    if turn.expect != "items":
        return {"ndcg": None, "ndcg_condensed": None, "judged": None}
    grades, shown = judged(asked), asked.reply.items
    value = ndcg(shown, grades)
    known = [item for item in shown if item in grades]
    share = len([item for item in shown[:DEPTH] if item in grades]) / len(shown[:DEPTH]) if shown else None
    if np.isnan(value):
        return {"ndcg": None, "ndcg_condensed": None, "judged": share}
    return {"ndcg": value, "ndcg_condensed": ndcg(known, grades), "judged": share}
