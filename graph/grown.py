"""The relations and node tables of a graph that edges are added to."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from graph.assemble import SCRATCH
from graph.build import plain_edges
from graph.csr import Prune
from graph.divide import Boards
from graph.merge import grow, merge
from graph.ordering import id_hashes
from graph.relation import EdgeType, Relation
from graph.saves import Saves
from graph.store import CSR, TasteGraph, describe, write_nodes


@dataclass
class Addition:
    """What is at hand while edges are added.

    Attributes:
        ids: external ids of each node type, new nodes at the end.
        edges: the accepted edges, by node number.
        boards: of the catalogue.
    """

    folder: Path
    old: TasteGraph
    edge_type: EdgeType
    ids: dict[str, pa.Array]
    edges: Saves
    boards: Boards
    counts: dict[str, Any]


def write_relations(added: Addition) -> None:
    """The relation that grows, interests of new board saves, node tables; everything else for more nodes."""
    old, name, folder = added.old, added.edge_type[1], added.folder / CSR
    edges, extra = added.edges, {}
    degree = {kind: old.degrees(kind).astype(np.int64) for kind in ("item", "board", "user", "interest")}
    if name == "holds":
        extra = _interests(added)
        degree["interest"] = _padded(degree["interest"], len(added.ids["interest"]))
        degree["interest"] += np.bincount(extra["has"].item, minlength=len(added.ids["interest"]))
    sizes = {kind: len(ids) for kind, ids in added.ids.items()}
    for source, kind, target in old.edge_types:
        relation = old.relation(kind)
        ends = sizes[source], sizes[target]
        if kind == name:
            prune, before = None, None
            path = old.path / CSR / f"{kind}.degree.npy"
            if path.is_file():
                prune = Prune(old.manifest.config["seed"], id_hashes(added.ids[source]), id_hashes(added.ids[target]))
                before = np.load(path).astype(np.int64) + np.bincount(edges.item, minlength=sizes[target])
            made = merge(folder, relation, edges, *ends, prune, before, added.folder / SCRATCH)
        elif kind in extra and len(extra[kind].owner):
            made = merge(folder, relation, extra[kind], *ends, None, None, added.folder / SCRATCH)
        else:
            made = grow(folder, relation, *ends)
            if (old.path / CSR / f"{kind}.degree.npy").is_file():
                shutil.copyfile(old.path / CSR / f"{kind}.degree.npy", folder / f"{kind}.degree.npy")
        _count(added, made)
    if name != "follows":
        degree["item"] += np.bincount(edges.item, minlength=sizes["item"])
        own = added.edge_type[0]
        degree[own] = _padded(degree[own], sizes[own]) + np.bincount(edges.owner, minlength=sizes[own])
    for kind, ids in added.ids.items():
        write_nodes(added.folder, kind, ids, _padded(degree[kind], sizes[kind]))
        added.counts[f"nodes_{kind}"] = sizes[kind]
        added.counts[f"cold_{kind}"] = int((_padded(degree[kind], sizes[kind]) == 0).sum())


def _interests(added: Addition) -> dict[str, Saves]:
    """New edges item -> interest and board -> interest of the added board saves; new interests are appended."""
    old = added.old
    title_of = dict(zip(added.boards.ids.to_pylist(), added.boards.titles.to_pylist(), strict=True))
    touched = np.unique(added.edges.owner)
    names = added.ids["interest"].to_pylist()
    index = {name: number for number, name in enumerate(names)}
    label = np.full(len(added.ids["board"]), -1, np.int64)
    for board, board_id in zip(touched.tolist(), added.ids["board"].take(pa.array(touched)).to_pylist(), strict=True):
        name = title_of.get(board_id, "").strip().lower()
        if name:
            label[board] = index.setdefault(name, len(index))
    added.ids["interest"] = pa.array(list(index), pa.string())
    boards = touched[label[touched] >= 0]
    found = {"about": (boards, label[boards]), "has": (np.zeros(0, np.int64), np.zeros(0, np.int64))}
    if old.manifest.config["interests"] == "boards":
        own = label[added.edges.owner]
        found["has"] = added.edges.item[own >= 0].astype(np.int64), own[own >= 0]
    width = len(index)
    fresh = {}
    for kind, (source, target) in found.items():
        known = old.relation(kind).edges()
        keys = np.setdiff1d(source * max(width, 1) + target, known.src.astype(np.int64) * max(width, 1) + known.dst)
        edges = plain_edges(keys // max(width, 1), keys % max(width, 1))
        fresh[kind] = Saves([], edges.src, edges.dst, edges.time)
    return fresh


def _count(added: Addition, made: Relation) -> None:
    name = made.edge_type[1]
    added.counts["relations"] = added.counts["relations"] | {name: describe(made)}
    added.counts[f"edges_{name}"] = made.n_edges


def _padded(degree: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([degree, np.zeros(n - len(degree), np.int64)])
