"""Random walks with restart over the relations of the taste graph, and whom they visit most.

The visit counts of a seed estimate its personalised PageRank; the most visited nodes are its neighbours and the
counts their importance (PinSage, arXiv 1806.01973; OmniSage, arXiv 2504.17811). Each seed node has its own splitmix64
stream, so the counts depend on the seed and the node alone, not on threads, batches or order.

    edges = Walkable.of([taste_graph.relation("holds"), taste_graph.relation("saved")], {"item": 9, "board": 3, "user": 2})
    found = walk(edges, "item", np.arange(9), {"item": 20, "board": 10})
    found["item"].nodes        # (9, 20) int64 item indices, most visits first, -1 padding
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from graph.relation import NODE_TYPES, Relation
from graph.visit_table import rank
from graph.walk_kernel import SLOT_FIELDS, trace
from graph.walk_time import trace_before
from navigator.contracts import UserError

_BLOCK, _ROWS = 256, 16
_MOST = 2**31 - 2


@dataclass(frozen=True)
class Walkable:
    """Relations laid out for walking: each node type with its slots, one for each direction of a relation it can go.

    Attributes:
        names: node types in a fixed order (items, boards, users, interests, then others by name).
        base: (n_types + 1,) int64; node i of type t has the place base[t] + i, which also names its random stream.
        bounds: (n_types + 1,) int64, the slots of each type.
        slots: (n_slots, SLOT_FIELDS) int64, see graph.walk_kernel.
        relations: what the slots' addresses point into.
    """

    names: tuple[str, ...]
    base: np.ndarray
    bounds: np.ndarray
    slots: np.ndarray
    relations: tuple[Relation, ...]

    @classmethod
    def of(cls, relations: Sequence[Relation], sizes: dict[str, int]) -> "Walkable":
        """Both directions of every relation; nothing is copied, mapped arrays stay mapped.

        The order of `relations` does not matter: a type's slots are ordered by far type, relation and direction. With
        a type both ends of a relation (co-saves) have a slot each.

        Args:
            relations: as `Relation.open` or `Relation.from_edges` make them.
            sizes: nodes of every type that a relation names; further types may be named and are never visited.

        Raises:
            UserError: a size that does not fit a relation's arrays, or more than 2^31 - 2 nodes together.
        """
        rank = {name: position for position, name in enumerate(NODE_TYPES)}
        names = tuple(sorted(sizes, key=lambda name: (rank.get(name, len(rank)), name)))
        base = np.concatenate([[0], np.cumsum([sizes[name] for name in names])]).astype(np.int64)
        if base[-1] > _MOST:
            raise UserError(f"{base[-1]} nodes: walks allow {_MOST} of all types together; walk over fewer types")
        number = {name: position for position, name in enumerate(names)}
        rows: list[tuple[int, int, str, bool, list[int]]] = []
        for relation in relations:
            _check(relation, sizes)
            source, name, target = (*relation.edge_type,)
            ends = (number[source], number[target])
            rows.append((ends[0], ends[1], name, False, _slot(relation, ends[1], reverse=False)))
            rows.append((ends[1], ends[0], name, True, _slot(relation, ends[0], reverse=True)))
        rows.sort(key=lambda row: row[:4])
        slots = np.array([row[4] for row in rows], np.int64).reshape(-1, SLOT_FIELDS)
        bounds = np.searchsorted([row[0] for row in rows], np.arange(len(names) + 1)).astype(np.int64)
        return cls(names, base, bounds, slots, tuple(relations))

    @property
    def sizes(self) -> dict[str, int]:
        """Nodes of each type."""
        return dict(zip(self.names, np.diff(self.base).tolist(), strict=True))

    def __reduce__(self):
        """Addresses hold in one process only: another one lays its own copy out anew."""
        return Walkable.of, (self.relations, self.sizes)

    def size(self, name: str) -> int:
        """Nodes of that type.

        Raises:
            UserError: no such type.
        """
        if name not in self.names:
            raise UserError(f"node type {name!r} is not walked; allowed are {', '.join(self.names)}")
        return self.sizes[name]


@dataclass(frozen=True)
class TopVisits:
    """Most visited nodes of one type for each seed, the seed itself left out; ties to the smaller index.

    Attributes:
        nodes: (m, T) int64 node indices, most visits first, -1 padding.
        visits: (m, T) int64 visit counts, 0 padding.
    """

    nodes: np.ndarray
    visits: np.ndarray


def walk(
    edges: Walkable,
    seed_type: str,
    seeds: np.ndarray,
    top: dict[str, int],
    walks: int = 1000,
    length: int = 20,
    restart: float = 0.3,
    seed: int = 0,
    threads: int = 1,
    before: np.ndarray | None = None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, TopVisits]:
    """Walk from every seed node and keep the `top[type]` most visited nodes of each type asked for.

    A walk starts at the seed, is counted wherever it steps, and goes back to the seed with probability `restart` after
    every step, after `length` steps at the latest; `walks` such walks are made. A step takes one of the node's edges,
    of all its relations, with equal chance. In the limit of many long walks the counts are proportional to
    personalised PageRank with teleport probability `restart`.

    Args:
        seeds: (m,) node indices of `seed_type`; a node may come twice.
        threads: worker threads; the result is the same for any number.
        before: (m,) int64 seconds since 1970: a seed's walks use only edges whose time is known and strictly earlier, to
            the relation's `time_unit` (an edge in the same unit is later). So edges without times are never used then.
        progress: called with the number of seeds done, such as a tqdm bar's `update`.

    Raises:
        UserError: an unknown type, a seed outside its type, an option out of range.
    """
    seeds = check_seeds(edges, seed_type, seeds, top)
    if walks < 1 or length < 1 or not 0 < restart < 1 or walks * length > _MOST:
        raise UserError(
            f"walks {walks}, length {length}, restart {restart}: allowed are >= 1, >= 1 and between 0 and 1, and "
            f"walks x length up to {_MOST}"
        )
    if before is not None:
        before = np.ascontiguousarray(before, np.int64)
        if before.shape != seeds.shape:
            raise UserError(f"{before.shape} times for {seeds.shape} seeds: give one time a seed")
    kind = edges.names.index(seed_type)
    widths = np.array([top.get(name, 0) for name in edges.names], np.int64)
    shape = (len(seeds), int(widths.sum()))
    nodes, visits = np.full(shape, -1, np.int64), np.zeros(shape, np.int64)

    def block(start: int) -> int:
        stop = min(start + _BLOCK, len(seeds))
        places, counts = np.empty((_ROWS, walks * length), np.int32), np.empty(_ROWS, np.int64)
        for low in range(start, stop, _ROWS):
            part = slice(low, min(low + _ROWS, stop))
            request = (kind, seeds[part], walks, length, restart, np.uint64(seed), places, counts)
            if before is None:
                trace(edges.slots, edges.bounds, edges.base, *request)
            else:
                trace_before(edges.slots, edges.bounds, edges.base, *request, before[part])
            rank(places, counts[: part.stop - low], edges.base, widths, nodes[part], visits[part])
        return stop - start

    with ThreadPoolExecutor(threads) as pool:
        for done in pool.map(block, range(0, len(seeds), _BLOCK)):
            if progress is not None:
                progress(done)
    return split_types(edges, top, nodes, visits)


def check_seeds(edges: Walkable, seed_type: str, seeds: np.ndarray, top: dict[str, int]) -> np.ndarray:
    """The seeds as (m,) int64.

    Raises:
        UserError: an unknown type, a seed outside its type, a negative `top`.
    """
    seeds, size = np.ascontiguousarray(seeds, np.int64), edges.size(seed_type)
    if len(seeds) and (seeds.min() < 0 or seeds.max() >= size):
        wrong = seeds[(seeds < 0) | (seeds >= size)][0]
        raise UserError(f"seed {wrong} is no {seed_type} index; allowed are 0 to {size - 1}")
    for name, width in top.items():
        edges.size(name)
        if width < 0:
            raise UserError(f"top {width} of type {name}: allowed are whole numbers from 0")
    return seeds


def split_types(edges: Walkable, top: dict[str, int], nodes: np.ndarray, visits: np.ndarray) -> dict[str, TopVisits]:
    """Results a type, of (m, sum of `top`) arrays with one type's columns after another's in the order of `edges.names`."""
    found, end = {}, 0
    for name in edges.names:
        columns = slice(end, end + top.get(name, 0))
        end = columns.stop
        found[name] = TopVisits(nodes[:, columns], visits[:, columns])
    return {name: found[name] for name in top}


def _check(relation: Relation, sizes: dict[str, int]) -> None:
    """Kernels read by address, so that a length that does not fit must never reach them."""
    source, name, target = relation.edge_type
    for end, bounds in ((source, relation.indptr), (target, relation.rev_indptr)):
        if end not in sizes or len(bounds) != sizes[end] + 1 or bounds[-1] != relation.n_edges:
            raise UserError(
                f"relation {name!r} has {len(bounds) - 1} {end} nodes, the sizes say {sizes.get(end, 'nothing')}; give the "
                "whole relation, opened with both directions, and the sizes of its graph"
            )
    for part, kind in _KINDS.items():
        array = getattr(relation, part)
        if array is not None and (array.dtype != kind or not array.flags.c_contiguous):
            raise UserError(
                f"relation {name!r}: {part} is {array.dtype}, allowed is contiguous {kind}; build the graph again"
            )


_KINDS = {"indptr": "int64", "indices": "int32", "time": "uint16", "rev_indptr": "int64", "rev_indices": "int32"}


def _slot(relation: Relation, far: int, reverse: bool) -> list[int]:
    """The fields of graph.walk_kernel for one direction; address 0 stands for an array that is not there."""
    near = (relation.rev_indptr, relation.rev_indices) if reverse else (relation.indptr, relation.indices)
    forward = (relation.indptr, relation.indices) if reverse else (None, None)
    addresses = [0 if array is None else array.ctypes.data for array in (*near, relation.time, *forward)]
    return [*addresses[:2], far, *addresses[2:], relation.time_first, relation.time_unit]
