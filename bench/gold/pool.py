"""Which items are judged for a query: the first `depth` of every system, what is known to belong, and some at random.

Pooling is how TREC makes judgements that are fair to all systems in the pool (Sparck Jones and van Rijsbergen, 1975). What
lies outside the pool is not judged, so a few items of each popularity band are drawn from there at random: they say how much
the pool missed, and their probability is kept so that it can be estimated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.gold.queries import Asking
from bench.gold.strata import BANDS
from navigator.contracts.manifest import digest
from navigator.contracts.signals import owner_rng

HELD_OUT = "held-out saves"
_IDS = pa.list_(pa.string())
PAIRS = pa.schema(
    [
        ("pair", pa.string()), ("query_id", pa.string()), ("item_id", pa.string()), ("item_band", pa.string()),
        ("pooled", pa.bool_()), ("p_item", pa.float64()), ("found_by", _IDS), ("annotators", _IDS),
    ]
)  # fmt: skip
QUERIES = pa.schema(
    [
        ("query_id", pa.string()), ("kind", pa.string()), ("band", pa.string()), ("title", pa.string()),
        ("history", _IDS), ("owner", pa.string()), ("volume", pa.float64()), ("n_stratum", pa.int64()),
        ("p_query", pa.float64()),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """One judgement to be made.

    Attributes:
        query: position among the drawn queries.
        item: catalogue row; `band` is its popularity band.
        found_by: "system:rank" of everything that put it into the pool; empty for a random item.
        p: probability with which it was drawn, given its query: 1 in the pool.
    """

    query: int
    item: int
    band: str
    found_by: tuple[str, ...]
    p: float


def pool(
    asked: Sequence[Asking],
    ranked: Mapping[str, np.ndarray],
    held_out: bool,
    item_bands: np.ndarray,
    random: int,
    seed: int,
) -> list[Pair]:
    """The pairs of every query, in the order of the queries; a query's own history is never judged.

    Args:
        asked: drawn queries.
        ranked: system -> (q, depth) items, -1 for none.
        held_out: whether held-out saves are in the pool too.
        item_bands: (n_items,) popularity bands.
        random: items drawn outside the pool from each band.
        seed: of that draw, which depends on the query's id and on nothing else of the sample.
    """
    pairs = []
    for number, asking in enumerate(asked):
        found: dict[int, list[str]] = {}
        for name, lists in ranked.items():
            for rank, item in enumerate(lists[number].tolist(), 1):
                if item >= 0:
                    found.setdefault(item, []).append(f"{name}:{rank}")
        for item in asking.query.targets if held_out else ():
            found.setdefault(item, []).append(HELD_OUT)
        pairs += [Pair(number, item, str(item_bands[item]), tuple(own), 1.0) for item, own in found.items()]
        outside = np.ones(len(item_bands), bool)
        outside[[*found, *asking.query.history]] = False
        rng = owner_rng(seed, f"gold|{asking.query.query_id}")
        for band in BANDS:
            rows = np.flatnonzero(outside & (item_bands == band))
            drawn = rng.choice(rows, min(random, len(rows)), replace=False)
            pairs += [Pair(number, int(item), band, (), len(drawn) / len(rows)) for item in np.sort(drawn)]
    return pairs


def pair_name(query_id: str, item_id: str) -> str:
    """What a pair is called in the annotators' files: safe in any spreadsheet, and says nothing of how it was found."""
    return digest([query_id, item_id])


def share_out(n_queries: int, annotators: Sequence[str], overlap: float, seed: int) -> list[tuple[str, ...]]:
    """Who grades which query: a seeded share of the queries by all annotators, the others by one each, in turn.

    At least two queries are shared where there are two annotators and any overlap is wanted.
    """
    shared = 0 if len(annotators) < 2 or overlap == 0 else min(n_queries, max(2, round(overlap * n_queries)))
    order = np.random.default_rng([seed, 1]).permutation(n_queries).tolist()
    by_query = {query: tuple(annotators) for query in order[:shared]}
    by_query |= {query: (annotators[turn % len(annotators)],) for turn, query in enumerate(order[shared:])}
    return [by_query[query] for query in range(n_queries)]


def write_queries(path: Path, asked: Sequence[Asking], item_ids: Sequence[str]) -> None:
    """queries.parquet, external ids."""
    rows = [
        {
            "query_id": a.query.query_id, "kind": a.kind, "band": a.band, "title": a.query.title,
            "history": [item_ids[i] for i in a.query.history], "owner": a.owner, "volume": a.volume,
            "n_stratum": a.n_stratum, "p_query": a.p,
        }
        for a in asked
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, QUERIES), path)


def write_pairs(
    path: Path, pairs: Sequence[Pair], asked: Sequence[Asking], item_ids: Sequence[str], whose: Sequence[Sequence[str]]
) -> None:
    """pairs.parquet, external ids: everything that annotators must not see is here and nowhere else."""
    rows = [
        {
            "pair": pair_name(asked[p.query].query.query_id, item_ids[p.item]), "query_id": asked[p.query].query.query_id,
            "item_id": item_ids[p.item], "item_band": p.band, "pooled": bool(p.found_by), "p_item": p.p,
            "found_by": list(p.found_by), "annotators": list(whose[p.query]),
        }
        for p in pairs
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, PAIRS), path)
