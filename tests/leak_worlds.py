"""Leaks to plant into a graph: each function spoils a folder in one way."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graph.relation import Edges, Relation
from graph.signal_table import SIGNAL_TABLE, signal_rows
from graph.store import CSR


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    return pq.read_table(folder / name).to_pylist()


def change_sequences(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    rows = read(folder, "sequences.parquet")
    change(rows)
    pq.write_table(
        pa.Table.from_pylist(rows, pq.read_schema(folder / "sequences.parquet")), folder / "sequences.parquet"
    )


def change_signal(
    folder: Path, signal: str, change: Callable[[dict[str, Any]], None], items: list[str] | None = None
) -> None:
    """Change the first row of one signal, or the first of these items; the others stay as they are."""
    file, about = pq.ParquetFile(folder / "signals.parquet"), signal_rows(folder)
    tables = [file.read_row_group(group) for group in range(file.num_row_groups)]
    first = about["row_groups"][signal][0]
    rows = tables[first].to_pylist()
    change(next(row for row in rows if items is None or row["items"] == items))
    tables[first] = pa.Table.from_pylist(rows, SIGNAL_TABLE)
    with pq.ParquetWriter(folder / "signals.parquet", SIGNAL_TABLE) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
        writer.add_key_value_metadata({b"navigator.signals": json.dumps(about)})


def add_edge(folder: Path, name: str, edge: tuple[int, int, int]) -> None:
    """An edge (source, target, time) more in a relation; the manifest learns the new scale of time."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    about = manifest["metrics"]["relations"][name]
    kind = (about["source"], name, about["target"])
    old = Relation.open(folder / CSR, kind, about["time_first"], about["time_unit"])
    edges, sizes = old.edges(), (len(old.indptr) - 1, len(old.rev_indptr) - 1)
    src, dst, time = (np.append(a, v) for a, v in zip((edges.src, edges.dst, edges.time), edge, strict=True))
    new = Relation.from_edges(kind, *sizes, Edges(src, dst, time, np.append(edges.weight, np.float32(1))))
    del old, edges
    for old_part in (folder / CSR).glob(f"{name}.*.npy"):
        old_part.unlink()
    new.save(folder / CSR)
    about |= {"edges": new.n_edges, "time_first": new.time_first, "time_unit": new.time_unit}
    path.write_text(json.dumps(manifest))


def held(folder: Path, task: str, part: str = "test") -> dict[str, Any]:
    return next(row for row in read(folder, "sequences.parquet") if row["task"] == task and row[part])


def number(folder: Path, node_type: str, name: str) -> int:
    return [row["id"] for row in read(folder, f"nodes_{node_type}.parquet")].index(name)


def leak_sequence(folder: Path) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        row = next(row for row in rows if row["task"] == "next-item" and row["test"])
        row["items"].append(row["test"][0])

    change_sequences(folder, change)


def leak_edge(name: str, task: str, node_type: str, at: int = 10) -> Callable[[Path], None]:
    def leak(folder: Path) -> None:
        row = held(folder, task)
        add_edge(folder, name, (number(folder, node_type, row["owner"]), int(row["test"][0][1:]), at))

    return leak


def leak_interest(folder: Path) -> None:
    row = held(folder, "board-completion")
    add_edge(folder, "has", (int(row["test"][0][1:]), number(folder, "interest", row["title"]), -1))


def leak_signal(signal: str) -> Callable[[Path], None]:
    def leak(folder: Path) -> None:
        rows = {row["owner"]: row for row in read(folder, "sequences.parquet")}
        change_signal(folder, signal, lambda row: row["items"].append(rows[row["owner"]]["test"][0]))

    return leak


def leak_pair(folder: Path) -> None:
    """The target becomes an item that nobody saved in training."""
    degree = [row["degree"] for row in read(folder, "nodes_item.parquet")]
    change_signal(folder, "co-save", lambda row: row.update(target=f"i{degree.index(0)}"))


def spoil_negative(folder: Path) -> None:
    """A hard negative becomes an item of the same board."""
    rows = read(folder, "sequences.parquet")
    board = next(row["items"] for row in rows if row["task"] == "board-completion" and len(row["items"]) > 1)
    change_signal(folder, "hard-negative", lambda row: row.update(negatives=board[1:2], ranks=[60]), board[:1])


def leak_impression(part: str) -> Callable[[Path], None]:
    def leak(folder: Path) -> None:
        rows = {row["owner"]: row for row in read(folder, "sequences.parquet")}
        change_signal(folder, "impression", lambda row: row["negatives"].append(rows[row["owner"]][part][0]))

    return leak


def leak_late_impression(folder: Path) -> None:
    """An item that the user was never shown."""
    change_signal(folder, "impression", lambda row: row.update(negatives=["i47"]))


def leak_order(folder: Path) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        row = next(row for row in rows if row["task"] == "next-item" and row["valid"] and row["test"])
        row["valid"], row["test"] = row["test"], row["valid"]

    change_sequences(folder, change)


def leak_unseen(folder: Path) -> None:
    hidden = read(folder, "unseen.parquet")[0]["owner"]
    change_signal(folder, "board-title", lambda row: row.update(owner=hidden))
