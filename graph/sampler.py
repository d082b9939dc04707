"""A PyG sampler by random walk with restart: each seed with its most visited items and contexts.

PyG's own NeighborLoader needs pyg-lib, which is on no package index. `WalkSampler` is a `BaseSampler` and works in
`torch_geometric.loader.NodeLoader`; `WalkLoader` is that loader with the visit counts (PinSage's importance) put on the
batch, for which PyG's sampler contract has no place.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.loader import NodeLoader
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    HeteroSamplerOutput,
    NegativeSampling,
    NodeSamplerInput,
)

from graph.build import HOLDS, SAVED, EdgeType
from graph.walk import Bipartite, walk
from navigator.contracts import UserError

CONTEXT_EDGES: tuple[EdgeType, ...] = (HOLDS, SAVED)


class WalkSampler(BaseSampler):
    """Samples, for every seed node, its `top_items` and `top_contexts` (boards and users) by visit count.

    Each seed has its own subgraph: a node that two seeds share appears once for each, and `batch` says whose it is.
    Edges are all edges of the graph among a seed's sampled nodes; `edge` holds their ids in the graph, so that time
    and weight follow. Node order: the seeds, then each seed's nodes, most visited first. The same node has the same
    neighbours in every batch, on every worker.

    Args:
        data: graph with `graph.build` edge types; only training edges are in it.
        top_items: items kept a seed.
        top_contexts: boards and users kept a seed, together.
        walks: see `graph.walk.walk`, as are `length`, `restart`, `seed`.
    """

    def __init__(
        self,
        data: HeteroData,
        top_items: int = 20,
        top_contexts: int = 10,
        walks: int = 200,
        length: int = 20,
        restart: float = 0.3,
        seed: int = 0,
    ):
        self.top = top_items, top_contexts
        self.options = {"walks": walks, "length": length, "restart": restart, "seed": seed}
        n_items, n_boards, n_users = (int(data[name].num_nodes or 0) for name in ("item", "board", "user"))
        self.first = {"item": 0, "board": n_items, "user": n_items + n_boards}
        self.size = {"item": n_items, "board": n_boards, "user": n_users}
        ends = {key: data[key].edge_index.numpy() for key in CONTEXT_EDGES}
        context = np.concatenate([index[0] + self.first[key[0]] - n_items for key, index in ends.items()])
        item = np.concatenate([index[1] for index in ends.values()])
        self.bipartite = Bipartite.from_edges(n_items, n_boards + n_users, context, item)
        self.by_item = {key: _by_item(index, n_items) for key, index in ends.items()}

    def sample_from_nodes(self, index: NodeSamplerInput, **kwargs: Any) -> HeteroSamplerOutput:
        """Neighbourhoods of `index.node` (items, boards or users by `index.input_type`).

        `metadata` is (input_id, None, importance); importance holds an int64 tensor of visits a node type, 0 at the
        seeds.

        Raises:
            UserError: seed times are given; the graph holds only edges before its split and walks ignore time.
        """
        if index.time is not None:
            raise UserError(
                "WalkSampler takes no seed times: the taste graph holds training edges only, walks ignore time"
            )
        seed_type = index.input_type or "item"
        seeds = index.node.numpy().astype(np.int64)
        slot, node, importance, sampled = self._members(seed_type, seeds)
        row, col, edge = {}, {}, {}
        for key in CONTEXT_EDGES:
            context, item, ids = self._edges(key, (slot[key[0]], node[key[0]]), (slot["item"], node["item"]))
            reverse = ("item", f"rev_{key[1]}", key[0])
            row[key], col[key], edge[key] = map(torch.from_numpy, (context, item, ids))
            row[reverse], col[reverse], edge[reverse] = col[key], row[key], edge[key]
        return HeteroSamplerOutput(
            node=_tensors(node), row=row, col=col, edge=edge, batch=_tensors(slot), num_sampled_nodes=sampled,
            num_sampled_edges={key: [len(ids)] for key, ids in edge.items()},
            metadata=(index.input_id, None, _tensors(importance)),
        )  # fmt: skip

    def sample_from_edges(
        self, index: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None
    ) -> HeteroSamplerOutput:
        """Not offered: walks start from nodes. Raises UserError."""
        raise UserError(
            "WalkSampler samples around nodes; use NodeLoader or WalkLoader, and take pairs from TasteGraph.pairs"
        )

    def _members(self, seed_type: str, seeds: np.ndarray) -> tuple[dict, dict, dict, dict]:
        """Slots, node indices, visits (each a type's array) and [seeds, sampled] counts."""
        visits = walk(self.bipartite, seeds + self.first[seed_type], *self.top, **self.options)
        found = {"item": (visits.items, visits.item_visits)}
        for name in ("board", "user"):
            low = self.first[name] - self.size["item"]
            inside = (visits.contexts >= low) & (visits.contexts < low + self.size[name])
            found[name] = (np.where(inside, visits.contexts - low, -1), visits.context_visits)
        slot, node, importance, sampled = {}, {}, {}, {}
        for name, (nodes, counts) in found.items():
            own = seeds if name == seed_type else seeds[:0]
            owner, rank = np.nonzero(nodes >= 0)
            slot[name] = np.concatenate([np.arange(len(own)), owner])
            node[name] = np.concatenate([own, nodes[owner, rank]])
            importance[name] = np.concatenate([np.zeros(len(own), np.int64), counts[owner, rank]])
            sampled[name] = [len(own), len(owner)]
        return slot, node, importance, sampled

    def _edges(
        self, key: EdgeType, contexts: tuple[np.ndarray, np.ndarray], items: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Local context, local item and id of the edges within a slot; nodes are given as (slot, node)."""
        edge_ids, context_of_edge, indptr = self.by_item[key]
        degree = indptr[items[1] + 1] - indptr[items[1]]
        local_item = np.repeat(np.arange(len(items[1])), degree)
        offset = np.arange(degree.sum()) - np.repeat(np.cumsum(degree) - degree, degree)
        position = indptr[items[1]][local_item] + offset
        width = max(self.size[key[0]], 1)
        wanted = items[0][local_item] * width + context_of_edge[position]
        present = contexts[0] * width + contexts[1]
        order = np.argsort(present)
        place = np.searchsorted(present[order], wanted)
        hit = place < len(present)
        hit[hit] = present[order][place[hit]] == wanted[hit]
        return order[place[hit]], local_item[hit], edge_ids[position[hit]]


class WalkLoader(NodeLoader):
    """NodeLoader over a WalkSampler; each node type of a batch also carries `importance` (visits, 0 at the seeds)."""

    def filter_fn(self, out: HeteroSamplerOutput) -> HeteroData:
        importance = out.metadata[2]  # type: ignore[index]
        data = super().filter_fn(out)
        assert isinstance(data, HeteroData)
        data.set_value_dict("importance", importance)
        return data


def _by_item(index: np.ndarray, n_items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edge ids and their contexts, grouped by item, and (n_items + 1,) bounds of the groups."""
    order = np.lexsort((index[0], index[1]))
    degree = np.bincount(index[1], minlength=n_items)
    return order, index[0][order], np.concatenate([[0], np.cumsum(degree)])


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
