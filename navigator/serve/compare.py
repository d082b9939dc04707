"""The same ranking by the swapped and by the native model, one after the other, on the clock."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from navigator.ask import Ask
from navigator.contracts import UserError
from navigator.recommend import Recommender
from navigator.serve.engine import Engine
from navigator.serve.exchange import Asked, Done, Found, as_refusal
from navigator.serve.options import ServeOptions
from navigator.serve.schemas import CompareRequest

CANDIDATES = 20


@dataclass(frozen=True)
class Side:
    """One model's order, how long it took, what that costs, and the tokens it read."""

    found: Found
    latency_ms: float
    usd_per_1000: float | None
    tokens: int


@dataclass(frozen=True)
class Sides:
    """Both models over the same candidates; native is None where none is served."""

    swapped: Side
    native: Side | None
    candidates: int


def compare(
    engine: Engine, asked: Sequence[Asked[CompareRequest]], options: ServeOptions
) -> list[Done[Sides] | Exception]:
    """Of each request the ranking by either model; candidates that are not given are what retrieval finds.

    Both are given the same history, of which each reads as much as the shorter reader does, so that they do the same work.
    """
    return [_compare(engine, one.body, options) for one in asked]


def _compare(engine: Engine, body: CompareRequest, options: ServeOptions) -> Done[Sides] | Exception:
    store, swapped, native = engine.pipeline.store, engine.pipeline.recommender, engine.native
    names = body.candidates
    if not names:
        found = engine.pipeline.answer([Ask(body.history, min(CANDIDATES, len(store.ids)))])[0]
        if isinstance(found, UserError):
            return as_refusal(found)
        names = [one.item for one in found.results]
    try:
        history, rows = store.rows_of(body.history).tolist(), store.rows_of(names)
    except UserError as error:
        return as_refusal(error)
    shared = min(reader.max_history for reader in (swapped, native) if reader is not None)
    sides = [
        None if reader is None else _side(reader, history[-shared:], rows, store.ids, body.k, options)
        for reader in (swapped, native)
    ]
    assert sides[0] is not None
    spent = {"swapped": sides[0].latency_ms} | ({} if sides[1] is None else {"native": sides[1].latency_ms})
    return Done(Sides(sides[0], sides[1], len(rows)), engine.name, spent)


def _side(
    reader: Recommender, history: list[int], rows: np.ndarray, ids: list[str], k: int, options: ServeOptions
) -> Side:
    begun = time.perf_counter()
    scores = reader.rank(history, rows.tolist())
    spent = time.perf_counter() - begun
    order = np.argsort(-scores, kind="stable")[:k]
    price = None if options.usd_per_hour is None else spent * options.usd_per_hour / 3600 * 1000
    found = Found([ids[row] for row in rows[order]], scores[order].tolist())
    return Side(found, round(spent * 1000, 3), price, reader.count_tokens(len(history), len(rows)))
