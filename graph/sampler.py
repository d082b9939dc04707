"""PyG samplers over the taste graph: each seed with the nodes its random walks visit most.

PyG's own NeighborLoader needs pyg-lib, which is on no package index. `WalkSampler` is a `BaseSampler` and works in
`torch_geometric.loader.NodeLoader` and `LinkLoader`; `WalkLoader` and `WalkLinkLoader` are those loaders with the visit
counts (PinSage's importance) put on the batch, for which PyG's sampler contract has no place.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch_geometric.typing
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.loader import LinkLoader, NeighborLoader, NodeLoader
from torch_geometric.sampler import (
    BaseSampler,
    EdgeSamplerInput,
    HeteroSamplerOutput,
    NegativeSampling,
    NodeSamplerInput,
)

from graph.relation import Relation
from graph.subgraph import Group, Members, edges_within, group_by_slot, relations_of
from graph.walk import Walkable, walk
from navigator.contracts import UserError


class WalkSampler(BaseSampler):
    """Samples, for every seed node, its `top` most visited nodes of each type.

    Each seed has its own subgraph: a node that two seeds share appears once for each. Node order: the seeds, then each
    seed's nodes, most visited first. Edges are all edges of the walked relations among a seed's nodes; `edge` holds
    their ids in `data`, so that time and weight follow. The same node has the same neighbours in every batch, on every
    worker. With times, a seed's walks and edges are strictly earlier than its time (see `graph.walk.walk`); without, a
    walk from a seed link may cross that link.

    Args:
        data: graph whose edge types the relations name; only their edges are walked.
        top: nodes kept a seed and type, such as {"item": 20, "board": 10}.
        relations: of the same graph, so that nothing is copied (`TasteGraph.relation`); by default made of the edges
            of `data` that hold items (boards' and users' saves).
        walks: see `graph.walk.walk`, as are `length`, `restart`, `seed`.

    Raises:
        UserError: relations with other edges than `data`, or an unknown node type.
    """

    def __init__(
        self,
        data: HeteroData,
        top: dict[str, int],
        relations: Sequence[Relation] | None = None,
        walks: int = 200,
        length: int = 20,
        restart: float = 0.3,
        seed: int = 0,
    ):
        sizes = {name: int(data[name].num_nodes or 0) for name in data.node_types}
        self.relations, self.edge_ids = relations_of(data, sizes, relations)
        self.walkable = Walkable.of(self.relations, sizes)
        self.top = {name: width for name, width in top.items() if self.walkable.size(name) >= 0}
        self.options = {"walks": walks, "length": length, "restart": restart, "seed": seed}

    def sample_from_nodes(self, index: NodeSamplerInput, **kwargs: Any) -> HeteroSamplerOutput:
        """Neighbourhoods of `index.node`, nodes of type `index.input_type`.

        `metadata` is (input_id, time, extras); extras hold for each node type `importance`, int64 visits (0 at the
        seeds), and `slot`, the number of the seed, here the same as `batch`.
        """
        out, extras = self._sample([Group(_name(index.input_type), index.node, index.time)], len(index.node))
        out.metadata = (index.input_id, index.time, extras)
        return out

    def sample_from_edges(
        self, index: EdgeSamplerInput, neg_sampling: NegativeSampling | None = None
    ) -> HeteroSamplerOutput:
        """Neighbourhoods of both ends of links and of negative ends, as PyG's disjoint link sampling lays them out.

        `batch` is the number of the positive link, shared by both ends and their negatives; `slot` in the extras (last
        in `metadata`) numbers the ends themselves: sources with their negatives, then targets with theirs.
        """
        source, target = (_name(index.input_type and index.input_type[end]) for end in (0, -1))
        n, row, col = len(index.row), index.row, index.col
        label, row_time, col_time = index.label, index.time, index.time
        if neg_sampling is not None:
            extra = math.ceil(n * neg_sampling.amount)
            col = torch.cat([col, neg_sampling.sample(extra, "dst", self.walkable.size(target))])
            col_time = _repeat(index.time, n + extra)
            if neg_sampling.is_binary():
                row = torch.cat([row, neg_sampling.sample(extra, "src", self.walkable.size(source))])
                row_time = col_time
                label = torch.ones(n) if label is None else label
                label = torch.cat([label, label.new_zeros((extra, *label.shape[1:]))])
        out, extras = self._sample([Group(source, row, row_time), Group(target, col, col_time)], n)
        offset = len(row) if source == target else 0  # in a type of its own, the targets are numbered from 0
        ends = torch.arange(offset, offset + len(col))
        if neg_sampling is not None and neg_sampling.is_triplet():
            negative = ends[n:].view(-1, n).t().squeeze(-1)
            out.metadata = (index.input_id, torch.arange(n), ends[:n], negative, row_time, extras)
        else:
            out.metadata = (index.input_id, torch.stack([torch.arange(len(row)), ends]), label, row_time, extras)
        return out

    def _sample(self, groups: list[Group], n: int) -> tuple[HeteroSamplerOutput, dict[str, dict[str, Tensor]]]:
        """Subgraphs of groups of seeds, numbered through, and their extras; seed i of a group is of batch i mod n."""
        found, first = [], 0
        for group in groups:
            before = None if group.time is None else group.time.numpy()
            seeds = group.node.numpy().astype(np.int64)
            found.append(
                (
                    first,
                    group.kind,
                    seeds,
                    walk(self.walkable, group.kind, seeds, self.top, before=before, **self.options),
                )
            )
            first += len(seeds)
        members = {name: Members.of(name, found) for name in self.walkable.names}
        batch = torch.cat([torch.arange(len(group.node)) % max(n, 1) for group in groups])
        limit = None
        if groups[0].time is not None:
            limit = np.concatenate([group.time.numpy() for group in groups if group.time is not None])
        by_slot = {name: group_by_slot(part.slot, first) for name, part in members.items()}
        row, col, edge = {}, {}, {}
        for relation, ids in zip(self.relations, self.edge_ids, strict=True):
            source, name, target = relation.edge_type
            ends = [(members[end].node, *by_slot[end]) for end in (source, target)]
            rows, cols, places = edges_within(relation, ends[0], ends[1], limit)
            key, reverse = relation.edge_type, (target, f"rev_{name}", source)
            row[key] = col[reverse] = torch.from_numpy(rows)
            col[key] = row[reverse] = torch.from_numpy(cols)
            edge[key] = edge[reverse] = torch.from_numpy(places if ids is None else ids[places])
        slot = {name: torch.from_numpy(part.slot) for name, part in members.items()}
        extras = {
            "importance": {name: torch.from_numpy(part.visits) for name, part in members.items()},
            "slot": slot,
        }
        out = HeteroSamplerOutput(
            node={name: torch.from_numpy(part.node) for name, part in members.items()}, row=row, col=col, edge=edge,
            batch={name: batch[numbers] for name, numbers in slot.items()},
            num_sampled_nodes={name: [part.seeds, len(part.node) - part.seeds] for name, part in members.items()},
            num_sampled_edges={key: [len(ids)] for key, ids in edge.items()},
        )  # fmt: skip
        return out, extras


class WalkLoader(NodeLoader):
    """NodeLoader over a WalkSampler; each node type of a batch also carries `importance` and `slot`."""

    def filter_fn(self, out: Any) -> HeteroData:
        return _with_extras(super().filter_fn(out), out)


class WalkLinkLoader(LinkLoader):
    """LinkLoader over a WalkSampler; each node type of a batch also carries `importance` and `slot`."""

    def filter_fn(self, out: Any) -> HeteroData:
        return _with_extras(super().filter_fn(out), out)


def neighbour_loader(
    data: HeteroData,
    input_nodes: Any,
    top: dict[str, int],
    kind: Literal["walk", "pyg"] = "walk",
    input_time: Tensor | None = None,
    sampler: dict[str, Any] | None = None,
    **loader: Any,
) -> NodeLoader:
    """A loader of neighbourhoods: by our walks, or by PyG's own NeighborLoader where pyg-lib is installed.

    Args:
        top: nodes a seed and type; NeighborLoader takes them as the fan-out of every edge type, by its far end, twice.
        input_time: seconds since 1970 of each seed; only earlier edges are used.
        sampler: further options of WalkSampler.
        loader: options of torch's DataLoader, such as batch_size.

    Raises:
        UserError: kind "pyg" without pyg-lib and torch-sparse, or an unknown kind.
    """
    if kind == "walk":
        walks = WalkSampler(data, top, **(sampler or {}))
        return WalkLoader(data, walks, input_nodes=input_nodes, input_time=input_time, **loader)
    if kind != "pyg" or sampler:
        raise UserError(
            f"loader kind {kind!r} with sampler options {sampler}: allowed are 'walk', and 'pyg' without them"
        )
    if not (torch_geometric.typing.WITH_PYG_LIB or torch_geometric.typing.WITH_TORCH_SPARSE):
        raise UserError(
            "loader kind 'pyg' needs pyg-lib, which is not installed and on no package index; install the wheel that "
            "PyG's installation page lists for this torch version, or use kind 'walk'"
        )
    fan_out = {key: [top.get(key[0], 0)] * 2 for key in data.edge_types}
    strict = None if input_time is None else input_time - 1  # NeighborLoader allows edges of the seed's own time
    time_attr = None if input_time is None else "time"
    return NeighborLoader(data, fan_out, input_nodes, input_time=strict, time_attr=time_attr, **loader)


def _with_extras(data: Any, out: HeteroSamplerOutput) -> HeteroData:
    for key, values in out.metadata[-1].items():  # type: ignore[index]
        data.set_value_dict(key, values)
    return data


def _name(kind: str | None) -> str:
    if kind is None:
        raise UserError("WalkSampler needs the node type of its seeds; give input_nodes=('item', indices)")
    return kind


def _repeat(time: Tensor | None, n: int) -> Tensor | None:
    return None if time is None else time.repeat(-(-n // max(len(time), 1)))[:n]
