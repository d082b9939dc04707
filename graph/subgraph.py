"""The subgraph around sampled nodes: which nodes belong to which seed, and the edges among them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from torch import Tensor
from torch_geometric.data import HeteroData

from graph.relation import HOLDS, SAVED, UNKNOWN_TIME, Edges, Relation
from graph.walk import TopVisits
from navigator.contracts import UserError


@dataclass(frozen=True)
class Group:
    """Seeds of one node type: (m,) indices and, for time-respecting walks, (m,) seconds."""

    kind: str
    node: Tensor
    time: Tensor | None


@dataclass(frozen=True)
class Members:
    """The sampled nodes of one type: first the seeds, then each seed's neighbours.

    Attributes:
        slot: (n,) int64, number of the seed a node was sampled for.
        node: (n,) int64 index.
        visits: (n,) int64, 0 at the seeds.
        seeds: how many of them are seeds.
    """

    slot: np.ndarray
    node: np.ndarray
    visits: np.ndarray
    seeds: int

    @classmethod
    def of(cls, name: str, found: Sequence[tuple[int, str, np.ndarray, dict[str, TopVisits]]]) -> "Members":
        """Of groups (first slot, type of the seeds, seeds, what their walks found)."""
        own = [(first + np.arange(len(seeds)), seeds) for first, kind, seeds, _ in found if kind == name]
        near = []
        for first, _, _, visited in found:
            if name in visited:
                owner, rank = np.nonzero(visited[name].nodes >= 0)
                near.append((first + owner, visited[name].nodes[owner, rank], visited[name].visits[owner, rank]))
        none = np.zeros(0, np.int64)
        n = sum(len(seeds) for _, seeds in own)
        return cls(
            np.concatenate([none, *(slots for slots, _ in own), *(part[0] for part in near)]),
            np.concatenate([none, *(seeds for _, seeds in own), *(part[1] for part in near)]),
            np.concatenate([np.zeros(n, np.int64), *(part[2] for part in near)]),
            n,
        )


def relations_of(
    data: HeteroData, sizes: dict[str, int], relations: Sequence[Relation] | None
) -> tuple[list[Relation], list[np.ndarray | None]]:
    """Relations and, for each, the ids in `data` of its edges (None where they are their positions).

    Raises:
        UserError: a given relation has other edges than `data`, or in another order.
    """
    if relations is not None:
        for relation in relations:
            if relation.edge_type in data.edge_types:
                index = data[relation.edge_type].edge_index.numpy()
                if index.shape[1] != relation.n_edges or not np.array_equal(index[1], relation.indices):
                    raise UserError(
                        f"edges {relation.edge_type} of the data are not the relation's, by source and target; take both "
                        "from one TasteGraph"
                    )
        return list(relations), [None] * len(relations)
    made, ids = [], []
    for key in (HOLDS, SAVED):
        if key not in data.edge_types:
            continue
        source, target = data[key].edge_index.numpy()
        time = data[key].time.numpy() if "time" in data[key] else np.full(len(source), UNKNOWN_TIME)
        edges = Edges(source.astype(np.int32), target.astype(np.int32), time, np.ones(len(source), np.float32))
        made.append(Relation.from_edges(key, sizes[key[0]], sizes[key[2]], edges))
        ids.append(np.lexsort((target, source)))
    return made, ids


def group_by_slot(slot: np.ndarray, slots: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions ordered by slot, and (slots + 1,) bounds of each slot's."""
    bounds = np.concatenate([[0], np.cumsum(np.bincount(slot, minlength=slots))])
    return np.argsort(slot, kind="stable"), bounds


def edges_within(
    relation: Relation,
    source: tuple[np.ndarray, np.ndarray, np.ndarray],
    target: tuple[np.ndarray, np.ndarray, np.ndarray],
    before: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges between sampled nodes of the same slot: positions of both ends among the sampled nodes, and in the relation.

    Both ends are (node indices, positions by slot, bounds); `before` (slots,) seconds leaves only edges whose time is
    known and strictly earlier, to the relation's unit. Every pair is looked up, so that hubs cost no more than others.
    """
    row, col, place = _within(np.asarray(relation.indptr), np.asarray(relation.indices), *source, *target)
    if before is not None:
        if relation.time is None:
            return row[:0], col[:0], place[:0]
        slot = np.searchsorted(source[2], np.argsort(source[1])[row], side="right") - 1
        code = relation.time[place].astype(np.int64)
        early = (code > 0) & (code < (before[slot] - relation.time_first) // relation.time_unit + 1)
        row, col, place = row[early], col[early], place[early]
    return row, col, place


@njit(nogil=True, cache=True)
def _within(indptr, indices, sources, source_order, source_bounds, targets, target_order, target_bounds):
    most = (np.diff(source_bounds) * np.diff(target_bounds)).sum()
    row, col, place = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    n = 0
    for slot in range(len(source_bounds) - 1):
        for i in source_order[source_bounds[slot] : source_bounds[slot + 1]]:
            low, high = indptr[sources[i]], indptr[sources[i] + 1]
            for j in target_order[target_bounds[slot] : target_bounds[slot + 1]]:
                at = low + np.searchsorted(indices[low:high], targets[j])
                if at < high and indices[at] == targets[j]:
                    row[n], col[n], place[n] = i, j, at
                    n += 1
    return row[:n], col[:n], place[:n]
