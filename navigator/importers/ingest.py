"""The one writer behind every importer: raw rows in, a checked catalogue out.

An importer only says where rows come from. Here they are checked, pictures are decoded and shrunk, references are
joined, and every row that cannot be taken is written to rejects.parquet with its table, its row in the source, its id
and one reason of REASONS. Memory is bounded: items stream through in groups of 256, links through DuckDB (links.py); of
the whole catalogue only the ids of items and boards are held.
"""

import itertools
import os
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from tqdm import tqdm

from navigator.contracts import UserError, is_current, publish, read_manifest
from navigator.contracts.catalog import BOARDS, PARTED_BOARDS
from navigator.contracts.manifest import digest
from navigator.importers import links, rows
from navigator.importers.pictures import PILLOW_LIMIT
from navigator.importers.rejects import FOLLOW_REASONS, REASONS, Rejects

Row = dict[str, Any]
ROW_GROUP = 256
VERSION = 1  # raise it when the same source would give other rows: older catalogues are then made again
THREADS = min(4, os.cpu_count() or 1)  # few: each may hold a picture of max_pixels, decoded


@dataclass(frozen=True)
class Limits:
    """What is let in.

    Attributes:
        strict: stop at the first reject.
        max_pixels: largest picture, width x height, by its header.
        max_side: pictures are stored shrunk to fit a square of this side, in pixels.
        need_pictures: an item without a picture is a reject.
    """

    strict: bool = False
    max_pixels: int = 50_000_000
    max_side: int = 256
    need_pictures: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.max_pixels <= PILLOW_LIMIT:
            raise UserError(f"max_pixels is {self.max_pixels}; give a number of pixels from 1 to {PILLOW_LIMIT}")
        if not 16 <= self.max_side <= 4096:
            raise UserError(f"max_side is {self.max_side}; give a side in pixels from 16 to 4096")


@dataclass(frozen=True)
class Source:
    """Raw rows of the tables; a reject's row number is the position in its stream, from 0.

    Attributes:
        items: dicts with item_id, title, description, keywords, text (None: title, description and
            keywords joined), image (bytes,
            Path, {bytes, path} or None) and the `extra` columns.
        boards: dicts with board_id, title, owner_id and perhaps part; None takes the board ids that occur in board_items.
        board_items: Arrow batches with board_id, item_id and perhaps saved_at.
        interactions: Arrow batches with user_id, item_id and perhaps action, at, value.
        follows: Arrow batches with user_id, board_id and perhaps at; None leaves the table out of the catalogue.
        items_total: for the progress bar.
        extra: names of further item columns, strings.
        parted: whether boards have a part, the column that says which of them training may see.
    """

    items: Iterable[Row]
    boards: Iterable[Row] | None = ()
    board_items: Iterable[pa.RecordBatch] = ()
    interactions: Iterable[pa.RecordBatch] = ()
    follows: Iterable[pa.RecordBatch] | None = None
    items_total: int | None = None
    extra: tuple[str, ...] = ()
    parted: bool = False


def write_catalog(
    out: Path,
    config: dict[str, Any],
    inputs: dict[str, str],
    read: Callable[[], Source],
    limits: Limits,
    metrics: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Import what `read()` gives into the catalogue folder `out`, unless `out` was made from just this already.

    Args:
        out: the catalogue folder.
        config: the importer's name and options; the limits are added here.
        inputs: name -> fingerprint of the sources.
        read: opens the source; called only when there is work to do.
        limits: what is let in.
        metrics: further figures for the manifest; may be filled while the rows stream.

    Raises:
        UserError: nothing could be imported, or strict mode met a reject.
    """
    out = Path(out)
    config = {**config, **vars(limits), "version": VERSION}
    if is_current(out, "catalog", config, inputs):
        return {"out": str(out), "unchanged": True, **read_manifest(out, "catalog", "navigator import").metrics}
    with publish(out, "catalog", config, inputs) as work:
        source = read()
        with Rejects(work.path / "rejects.parquet", limits.strict) as rejects:
            item_ids = _write_items(work.path / "items.parquet", source, limits, rejects)
            if not item_ids:
                raise UserError(f"no item could be imported ({dict(rejects.counts) or 'the source is empty'})")
            with links.LinkStore(work.path / "links.duckdb", item_ids) as store:
                store.load_board_items(source.board_items)
                boards = store.board_ids() if source.boards is None else source.boards
                board_ids = _write_boards(work.path / "boards.parquet", boards, source.parted, rejects)
                saves = store.write_board_items(work.path / "board_items.parquet", board_ids, rejects.add)
                store.load_interactions(source.interactions)
                actions = store.write_interactions(work.path / "interactions.parquet", rejects.add)
                more = {}
                if source.follows is not None:
                    store.load_follows(source.follows)
                    more["follows"] = store.write_follows(work.path / "follows.parquet", rejects.add)
        work.metrics["counts"] = {
            "items": len(item_ids), "boards": len(board_ids), "board_items": saves, "interactions": actions,
            **more, "rejects": rejects.counts.total(),
        }  # fmt: skip
        reasons = dict.fromkeys((*REASONS, *FOLLOW_REASONS))
        work.metrics["rejects"] = {reason: rejects.counts[reason] for reason in reasons if rejects.counts[reason]}
        work.metrics.update(metrics or {})
    return {"out": str(out), "unchanged": False, **work.metrics}


def tree_digest(folder: Path, suffixes: tuple[str, ...] = ()) -> str:
    """Fingerprint of a folder by the names, sizes and link targets of its files (not by their bytes)."""
    files = (p for p in Path(folder).rglob("*") if not suffixes or p.suffix.lower() in suffixes)
    return digest(sorted((p.relative_to(folder).as_posix(), p.lstat().st_size) for p in files if not p.is_dir()))


def _write_items(path: Path, source: Source, limits: Limits, rejects: Rejects) -> dict[str, int]:
    """Write items.parquet; returns item_id -> row."""
    schema = rows.item_schema(source.extra)
    ids: dict[str, int] = {}
    ready: list[Row] = []
    stream = enumerate(source.items)
    progress = tqdm(total=source.items_total, desc="items", unit="item")
    take = partial(rows.take_item, extra=source.extra, max_side=limits.max_side, max_pixels=limits.max_pixels)
    writer = pq.ParquetWriter(path, schema, compression="zstd")
    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool, progress, writer as out:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the pixel limit is ours to check
        while chunk := list(itertools.islice(stream, ROW_GROUP)):
            for (number, raw), taken in zip(chunk, pool.map(take, [raw for _, raw in chunk]), strict=True):
                reason = taken if isinstance(taken, str) else _item_reason(taken, ids, limits)
                if reason or isinstance(taken, str):
                    rejects.add("items", number, raw.get("item_id"), reason)
                    continue
                ids[taken["item_id"]] = len(ids)
                ready.append(taken)
            progress.update(len(chunk))
            while len(ready) >= ROW_GROUP:
                out.write_table(pa.Table.from_pylist(ready[:ROW_GROUP], schema))
                ready = ready[ROW_GROUP:]
        if ready:
            out.write_table(pa.Table.from_pylist(ready, schema))
    return ids


def _item_reason(item: Row, ids: dict[str, int], limits: Limits) -> str:
    if item["item_id"] in ids:
        return "duplicate id"
    return "no picture" if limits.need_pictures and item["image"] is None else ""


def _write_boards(path: Path, boards: Iterable[Row], parted: bool, rejects: Rejects) -> set[str]:
    """Write boards.parquet; returns the board ids."""
    ids: set[str] = set()
    stream = enumerate(boards)
    schema = PARTED_BOARDS if parted else BOARDS
    with pq.ParquetWriter(path, schema, compression="zstd") as out:
        while chunk := list(itertools.islice(stream, 4096)):
            ready = []
            for number, raw in chunk:
                taken = rows.take_board(raw)
                if isinstance(taken, str) or taken["board_id"] in ids:
                    rejects.add(
                        "boards", number, raw.get("board_id"), taken if isinstance(taken, str) else "duplicate id"
                    )
                    continue
                ids.add(taken["board_id"])
                ready.append(taken)
            out.write_table(pa.Table.from_pylist(ready, schema))
    return ids
