"""Quality of systems on the same queries: ranked lists, per-query metrics, then intervals and paired differences."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.intervals import paired, quality
from bench.systems.base import System
from navigator.contracts.report import METRICS, ColdQuality, Quality, RequestRecord
from navigator.contracts.signals import Query
from navigator.metrics import DEPTH, per_query


@dataclass(frozen=True)
class Evaluated:
    """One system's answers.

    Attributes:
        chosen: (m,) ascending positions of the queries that were asked.
        indices: (m, k) ranked items, -1 for none.
        metrics: name -> (m,) values.
    """

    chosen: np.ndarray
    indices: np.ndarray
    metrics: dict[str, np.ndarray]


@dataclass(frozen=True)
class Measured:
    """What a run measured.

    Attributes:
        systems: those that answered, hosted ones with an endpoint included.
        results: ranked lists and per-query metrics by name.
        records: raw rows of requests.
        memory: peak MiB by name, None where the machine cannot tell.
        dtype: what the models compute in, None without models.
        cuda: whether the models ran on an accelerator.
    """

    systems: list[System]
    results: dict[str, Evaluated]
    records: list[RequestRecord]
    memory: dict[str, float | None]
    dtype: str | None
    cuda: bool


def evaluate(system: System, queries: Sequence[Query], chosen: np.ndarray) -> Evaluated:
    """Ask the system the chosen queries and score its lists."""
    asked = [queries[i] for i in chosen]
    indices, _ = system.recommend(asked, DEPTH)
    return Evaluated(chosen, indices, per_query(indices, [q.targets for q in asked]))


def choose_queries(n_queries: int, limit: int | None, seed: int) -> np.ndarray:
    """Positions of all queries, or of a seeded sample of `limit`, ascending."""
    if limit is None or limit >= n_queries:
        return np.arange(n_queries)
    return np.sort(np.random.default_rng(seed).choice(n_queries, limit, replace=False))


def cold_quality(result: Evaluated, cold: np.ndarray, seed: int) -> ColdQuality | None:
    """Quality over the queries that `cold` ((q,) bool over all queries) marks; None when there are none."""
    keep = cold[result.chosen]
    found = quality(result.metrics, seed, keep)
    return None if found is None else ColdQuality.model_validate(found.model_dump() | {"n": int(keep.sum())})


def paired_to(result: Evaluated, rival: Evaluated, seed: int) -> Quality | None:
    """Result minus rival over the queries that both were asked."""
    _, mine, theirs = np.intersect1d(result.chosen, rival.chosen, return_indices=True)
    return paired(
        {name: result.metrics[name][mine] for name in METRICS},
        {name: rival.metrics[name][theirs] for name in METRICS},
        seed,
    )


def write_per_query(path: Path, results: dict[str, Evaluated], queries: Sequence[Query], cold: np.ndarray) -> None:
    """quality.parquet: one row per system and query."""
    columns: dict[str, list] = {name: [] for name in ("system", "query_id", "n_history", "n_targets", "cold", *METRICS)}
    for system, result in results.items():
        for row, position in enumerate(result.chosen.tolist()):
            query = queries[position]
            described = (system, query.query_id, len(query.history), len(set(query.targets)), bool(cold[position]))
            values = (float(result.metrics[name][row]) for name in METRICS)
            for name, value in zip(columns, (*described, *values), strict=True):
                columns[name].append(value)
    pq.write_table(pa.table(columns), path)
