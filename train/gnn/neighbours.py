"""Each item's sampled neighbourhood, once from the whole graph and once for every fold without that fold's owners."""

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from graph.k_hop import k_hop_uniform
from graph.relation import HOLDS, SAVED, Edges, Relation
from graph.store import TasteGraph
from graph.walk import Walkable, walk
from navigator.contracts.vectors import normalise
from train.gnn.config import GnnConfig
from train.gnn.world import Owners

CONTEXTS = {"board": HOLDS, "user": SAVED}


@dataclass(frozen=True)
class Neighbourhoods:
    """Sampled neighbours; the first axis is the fold left out, and last the whole graph.

    Attributes:
        nodes: node type (item, board, user) -> (folds + 1, n_items, T) int32, -1 padding.
        visits: node type -> the same shape, float32 visit counts, 0 padding.
        features: node type -> (n_nodes, D) float32: what the encoder reads of a node; an owner is the unit mean of its items.
    """

    nodes: dict[str, np.ndarray]
    visits: dict[str, np.ndarray]
    features: dict[str, np.ndarray]


def sample_neighbourhoods(
    taste_graph: TasteGraph, owners: Owners, fold_of_owner: np.ndarray, content: np.ndarray, config: GnnConfig,
    seed: int, threads: int,
) -> Neighbourhoods:  # fmt: skip
    """Walk (or hop) from every item over the training edges of the graph."""
    sizes = {"item": len(content)} | {name: taste_graph.n_nodes(name) for name in CONTEXTS}
    edges = {name: taste_graph.edges(edge_type) for name, edge_type in CONTEXTS.items()}
    features = {"item": content} | {name: _means(edges[name], sizes[name], content) for name in CONTEXTS}
    folds = {name: _fold_of_node(taste_graph, name, owners, fold_of_owner) for name in CONTEXTS}
    top = {"item": config.top_items} | {name: config.top_contexts for name in CONTEXTS if sizes[name]}
    nodes, visits = ({name: [] for name in top} for _ in range(2))
    left_out = list(range(config.folds)) if config.folds > 1 else []
    for fold in tqdm([*left_out, -1], desc="neighbourhoods", unit="fold"):
        relations = [
            Relation.from_edges(
                edge_type, sizes[name], sizes["item"], edges[name].rows(folds[name][edges[name].src] != fold)
            )
            for name, edge_type in CONTEXTS.items()
        ]
        walkable, seeds = Walkable.of(relations, sizes), np.arange(sizes["item"])
        if config.neighbours == "walk":
            found = walk(walkable, "item", seeds, top, walks=config.walks, seed=seed, threads=threads)
        else:
            found = k_hop_uniform(walkable, "item", seeds, top, seed=seed, threads=threads)
        for name in top:
            nodes[name].append(found[name].nodes.astype(np.int32))
            visits[name].append(found[name].visits.astype(np.float32))
    return Neighbourhoods(
        {name: np.stack(found) for name, found in nodes.items()},
        {name: np.stack(found) for name, found in visits.items()}, features,
    )  # fmt: skip


def _means(edges: Edges, n: int, content: np.ndarray) -> np.ndarray:
    """(n, D) float32: the unit mean of each owner's items."""
    total = np.zeros((n, content.shape[1]), np.float32)
    np.add.at(total, edges.src, content[edges.dst])
    return normalise(total).astype(np.float32)


def _fold_of_node(taste_graph: TasteGraph, name: str, owners: Owners, fold_of_owner: np.ndarray) -> np.ndarray:
    """(n,) fold of each board or user of the graph; one without training saves is in none."""
    middle = owners.first["next-item"]
    own = slice(0, middle) if name == "board" else slice(middle, None)
    fold = dict(zip(owners.ids[own], fold_of_owner[own].tolist(), strict=True))
    return np.array([fold.get(node_id, -2) for node_id in taste_graph.node_ids(name)], np.int64)
