"""sequences.parquet of a graph that edges are added to: read and written batch by batch."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from graph.grown import Addition
from graph.relation import FOLLOWS, HOLDS, SAVED, EdgeType
from graph.saves import Saves
from graph.sequence_file import SequenceFile
from graph.split import TEST, TRAIN, VALID
from graph.store import TasteGraph
from navigator.contracts import UserError
from navigator.contracts.signals import Task


def sequence_blocks(old: TasteGraph, edge_type: EdgeType, owner_ids: pa.Array):
    """(owner numbers, items, parts) of each save in the sequences of one task, and the batch, block by block."""
    task = task_of(edge_type)
    item_ids = pa.array(old.catalog.item_ids, pa.string())
    with pq.ParquetFile(old.path / "sequences.parquet") as file:
        for batch in file.iter_batches(65_536):
            batch = batch.filter(pc.call_function("equal", [batch["task"], pa.scalar(task)]))
            number = _index(batch["owner"], owner_ids)
            owners, items, parts = [], [], []
            for name, part in (("items", TRAIN), ("valid", VALID), ("test", TEST)):
                lists = batch[name]
                owners.append(np.repeat(number, lists.value_lengths().to_numpy(zero_copy_only=False)))
                items.append(_index(lists.flatten(), item_ids))
                parts.append(np.full(len(items[-1]), part, np.int8))
            yield np.concatenate(owners), np.concatenate(items), np.concatenate(parts), batch


def task_of(edge_type: EdgeType) -> Task:
    return "board-completion" if edge_type == HOLDS else "next-item"


def write_sequences(added: Addition) -> None:
    """sequences.parquet with the added saves: of boards in the items' order, of users at the end."""
    old, edges = added.old, added.edges
    file = SequenceFile(added.folder / "sequences.parquet", added.ids["item"])
    titles = dict(zip(added.boards.ids.to_pylist(), added.boards.titles.to_pylist(), strict=True))
    for edge_type in (HOLDS, SAVED):
        all_ids = added.ids[edge_type[0]]
        left = np.ones(len(edges.owner), bool) if edge_type == added.edge_type else np.zeros(len(edges.owner), bool)
        for owner, items, part, batch in sequence_blocks(old, edge_type, all_ids):
            number = _index(batch["owner"], all_ids)
            place = np.full(len(all_ids), -1, np.int64)
            place[number] = np.arange(len(number))
            here = left & (place[edges.owner] >= 0) if left.any() else left
            left = left & ~here
            _append(
                file, edge_type, batch["owner"].to_pylist(), batch["title"],
                (np.concatenate([place[owner], place[edges.owner[here]]]), np.concatenate([items, edges.item[here]])),
                np.concatenate([part, np.full(int(here.sum()), TRAIN, np.int8)]),
            )  # fmt: skip
        if left.any():
            number, owner = np.unique(edges.owner[left], return_inverse=True)
            ids = all_ids.take(pa.array(number)).to_pylist()
            title = pa.array([titles.get(i, "") if edge_type == HOLDS else "" for i in ids], pa.string())
            _append(file, edge_type, ids, title, (owner, edges.item[left]), np.zeros(len(owner), np.int8))
            who = "boards" if edge_type == HOLDS else "users"
            added.counts[who] += len(ids)
    file.close()
    if added.edge_type != FOLLOWS:
        who = "boards" if added.edge_type == HOLDS else "users"
        added.counts[f"{who}_train_saves"] += len(edges.owner)
        trained = added.counts["boards_train_saves"] + added.counts["users_train_saves"]
        added.counts["edges_pruned"] = trained - added.counts["edges_holds"] - added.counts["edges_saved"]


def _append(
    file: SequenceFile, edge_type: EdgeType, ids: list[str], titles: pa.Array, pairs: tuple[np.ndarray, np.ndarray],
    part: np.ndarray,
) -> None:  # fmt: skip
    owner, item = pairs
    order = np.lexsort((item, owner)) if edge_type == HOLDS else np.argsort(owner, kind="stable")
    saves = Saves(ids, owner[order], item[order], np.full(len(order), -1))
    file.append(task_of(edge_type), saves, part[order], titles)


def _index(values: pa.Array, ids: pa.Array) -> np.ndarray:
    found = pc.call_function("index_in", [values], pc.SetLookupOptions(ids))
    if found.null_count:
        raise UserError("the graph's sequences name an owner or item that its nodes lack; build the graph again")
    return found.to_numpy(zero_copy_only=False).astype(np.int64)
