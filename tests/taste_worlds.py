"""What the tests of `navigator-bench taste` share: one setting of everything, folds, small catalogues."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.taste.options import Grids
from bench.taste.world import Fold
from navigator.contracts import Catalog, publish
from navigator.contracts.signals import Query
from navigator.contracts.vectors import normalise
from navigator.metrics import top_k

ONE = Grids(
    (200.0,), (0.0,), (5,), (0,), (1.0,), (1.0,), (1.0,), (20,), (16,), (0.0,), ("full",), (8,), (1e-2,), (0.0,)
)


ALL = np.ones(12, bool)


def asks(part: str, show: int, titles: bool = True) -> Any:
    """The options that decide what is asked."""
    return SimpleNamespace(part=part, show=show, titles=titles, seed=0)


def unit(n: int, dim: int, seed: int = 0) -> np.ndarray:
    return normalise(np.random.default_rng(seed).normal(size=(n, dim))).astype(np.float32)


def fold(rows: list[tuple[int, ...]], queries: list[Query], n_items: int) -> Fold:
    return Fold(rows, queries, n_items, ordered=True, warm=np.ones(n_items, bool))


def taste_catalog(
    folder: Path, interactions: Sequence[tuple], boards: Sequence[tuple] = (), board_items: Sequence[tuple] = ()
) -> Catalog:
    from navigator.contracts.catalog import PARTED_BOARDS, TABLES

    schemas = TABLES | ({"boards": PARTED_BOARDS} if boards and len(boards[0]) == 4 else {})
    items, texts = [f"i{i}" for i in range(12)], [""] * 12
    columns = {"items": (items, texts, texts, [[]] * 12, [None] * 12, texts), "rejects": ([],) * 4}
    for name, rows in (("interactions", interactions), ("boards", boards), ("board_items", board_items)):
        columns[name] = tuple(zip(*rows, strict=True)) if rows else ([],) * len(schemas[name])
    with publish(folder, "catalog", {}, {}) as work:
        for name, values in columns.items():
            pq.write_table(pa.table([list(v) for v in values], schema=schemas[name]), work.path / f"{name}.parquet")
    return Catalog.open(folder)


class Fixed:
    """Recommends one item first."""

    def __init__(self, item: int):
        self.item = item

    def recommend(self, queries, k):
        scores = np.zeros((len(queries), 12))
        scores[:, self.item] = 1
        return top_k(scores, k)
