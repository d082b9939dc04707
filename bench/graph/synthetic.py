"""A synthetic catalogue of a given number of saves with power laws on both sides, written in chunks: for measuring scale.

Users come one after another with Pareto-distributed numbers of saves; each save's item is drawn from a truncated Pareto
law over the items' ranks (Zipf-like), the times are uniform over two years. The item of a repeated
(user, item) is drawn again, uniformly; users never lie in two chunks, so that no pair occurs twice.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from navigator.contracts import publish
from navigator.contracts.catalog import INTERACTIONS, ITEMS, TABLES

ITEM_SHARE = 50  # saves an item, on average
USER_SHARE = 20  # saves a user, on average
TWO_YEARS = 2 * 365 * 24 * 3600
_FIRST = 1_600_000_000
_CHUNK = 2_000_000  # saves held at once
_TAIL = 1.6  # exponent of the users' Pareto law


def write_synthetic(out: Path, edges: int, seed: int = 0) -> dict[str, int]:
    """Write the catalogue; returns its counts. `out` is a complete artefact afterwards.

    Args:
        out: catalogue folder.
        edges: saves, at least 1,000.
        seed: of everything drawn.
    """
    n_items, rng = max(edges // ITEM_SHARE, 100), np.random.default_rng(seed)
    with publish(out, "catalog", {"importer": "synthetic", "edges": edges}, {}, seed) as work:
        for name, schema in TABLES.items():
            if name not in ("items", "interactions"):
                pq.write_table(schema.empty_table(), work.path / f"{name}.parquet")
        _write_items(work.path / "items.parquet", n_items)
        n_users = _write_saves(work.path / "interactions.parquet", edges, n_items, rng)
        counts = {"items": n_items, "users": n_users, "interactions": edges}
        work.metrics["counts"] = json.loads(json.dumps(counts))
    return counts


def degrees(total: int, n_items: int, rng: np.random.Generator) -> np.ndarray:
    """(n_users,) saves of each user, together exactly `total`, Pareto with a mean near USER_SHARE, at least 2 but the last.

    None has more than a tenth of the items.
    """
    found, left = [], total
    while left > 0:
        drawn = 8 * (1 + rng.pareto(_TAIL, 1 + left // USER_SHARE))
        sizes = np.clip(drawn.astype(np.int64), 2, max(n_items // 10, 2))
        keep = int(np.searchsorted(np.cumsum(sizes), left)) + 1
        found.append(sizes[:keep])
        left -= int(sizes[:keep].sum())
    sizes = np.concatenate(found)
    sizes[-1] += left  # not positive: the last user gives back what was too much
    return sizes


def draw_items(user: np.ndarray, n_items: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) item of each save, no pair twice; `user` is sorted. Popularity falls with rank as Zipf's law does."""
    rank = (n_items ** rng.random(len(user))).astype(np.int64) - 1  # density 1 / rank
    half = rng.random(len(user)) < 0.5  # without uniform draws the tail would have no item
    rank = np.where(half, rank, rng.integers(0, n_items, len(user)))
    key = user * n_items + np.minimum(rank, n_items - 1)
    while True:
        key.sort()
        twice = np.flatnonzero(np.diff(key) == 0) + 1
        if not len(twice):
            return key % n_items
        key[twice] = user[twice] * n_items + rng.integers(0, n_items, len(twice))


def _write_items(path: Path, n_items: int) -> None:
    with pq.ParquetWriter(path, ITEMS, compression="zstd") as out:
        for first in range(0, n_items, _CHUNK):
            n = min(_CHUNK, n_items - first)
            ids = pa.array(np.char.add("i", np.arange(first, first + n).astype(str)), pa.string())
            empty = pa.array([""], pa.string()).take(pa.array(np.zeros(n, np.int8)))
            lists = pa.ListArray.from_arrays(pa.array(np.zeros(n + 1, np.int32)), pa.array([], pa.string()))
            columns = [ids, empty, empty, lists, pa.nulls(n, ITEMS.field("image").type), empty]
            out.write_table(pa.table(columns, schema=ITEMS))


def _write_saves(path: Path, edges: int, n_items: int, rng: np.random.Generator) -> int:
    """Write the interactions a chunk of users at a time; returns the number of users."""
    sizes = degrees(edges, n_items, rng)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    cuts = np.unique(np.searchsorted(bounds, np.arange(0, edges + _CHUNK, _CHUNK)).clip(max=len(sizes)))
    names = np.random.default_rng(rng.integers(2**31)).permutation(n_items)  # an item's place says nothing of its rank
    with (
        pq.ParquetWriter(path, INTERACTIONS, compression="zstd") as out,
        tqdm(total=edges, desc="saves", unit="save") as bar,
    ):
        for low, high in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            user = np.repeat(np.arange(low, high), sizes[low:high])
            item = names[draw_items(user, n_items, rng)]
            n = len(user)
            columns = [
                pa.array(np.char.add("u", user.astype(str)), pa.string()),
                pa.array(np.char.add("i", item.astype(str)), pa.string()),
                pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int8)), pa.array(["save"])).cast(pa.string()),
                pa.array(_FIRST + rng.integers(0, TWO_YEARS, n), pa.int64()),
            ]
            out.write_table(pa.table(columns, schema=INTERACTIONS))
            bar.update(n)
    return len(sizes)
