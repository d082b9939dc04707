"""Random walks with restart over items and their contexts (boards and users), and whom they visit most.

The visit counts of a seed estimate its personalised PageRank; the most visited nodes are its neighbours and the
counts their importance (PinSage, arXiv 1806.01973; OmniSage, arXiv 2504.17811). Each seed node has its own splitmix64
stream, so the counts depend on the seed and the node alone, not on threads, batches or order.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit

_GAMMA, _MIX1, _MIX2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S11, _S27, _S30, _S31 = np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31)
_UNIT = 1.0 / (1 << 53)
_BLOCK = 256


@dataclass(frozen=True)
class Bipartite:
    """Items (nodes 0..n_items-1) and contexts (n_items..n_nodes-1) as one symmetric CSR.

    Attributes:
        indptr: (n_nodes + 1,) int64.
        indices: (n_edges * 2,) int64 neighbours.
        n_items: how many of the nodes are items.
    """

    indptr: np.ndarray
    indices: np.ndarray
    n_items: int

    @property
    def n_nodes(self) -> int:
        return len(self.indptr) - 1

    @classmethod
    def from_edges(cls, n_items: int, n_contexts: int, context: np.ndarray, item: np.ndarray) -> "Bipartite":
        """From (n,) context numbers (from 0) and (n,) item indices; the order of the edges does not matter."""
        far = context.astype(np.int64) + n_items
        source, target = np.concatenate([item.astype(np.int64), far]), np.concatenate([far, item.astype(np.int64)])
        order = np.lexsort((target, source))
        degree = np.bincount(source, minlength=n_items + n_contexts)
        return cls(np.concatenate([[0], np.cumsum(degree)]), target[order], n_items)


@dataclass(frozen=True)
class Visits:
    """Most visited nodes of each seed, the seed itself left out; most visits first, ties to the smaller node number.

    Attributes:
        items: (m, T) int64 item indices, -1 padding.
        item_visits: (m, T) int64 visit counts, 0 padding.
        contexts: (m, C) int64 context numbers (from 0), -1 padding.
        context_visits: (m, C) int64.
    """

    items: np.ndarray
    item_visits: np.ndarray
    contexts: np.ndarray
    context_visits: np.ndarray


def walk(
    edges: Bipartite,
    seeds: np.ndarray,
    top_items: int,
    top_contexts: int = 0,
    walks: int = 1000,
    length: int = 20,
    restart: float = 0.3,
    seed: int = 0,
    threads: int = 1,
) -> Visits:
    """Walk from every seed node (items: their index; contexts: n_items + number).

    A walk starts at the seed, is counted wherever it stands, and goes back to the seed with probability `restart`
    after every step, after `length` steps at the latest; `walks` such walks are made. In the limit of many long walks
    the counts are proportional to personalised PageRank with teleport probability `restart`.

    Args:
        threads: worker threads; the result is the same for any number.
    """
    shape = (len(seeds), top_items), (len(seeds), top_contexts)
    found = Visits(np.full(shape[0], -1), np.zeros(shape[0], int), np.full(shape[1], -1), np.zeros(shape[1], int))
    seeds = np.ascontiguousarray(seeds, np.int64)

    def block(start: int) -> None:
        part = slice(start, start + _BLOCK)
        _walk_block(
            edges.indptr, edges.indices, edges.n_items, seeds[part], walks, length, restart, np.uint64(seed),
            found.items[part], found.item_visits[part], found.contexts[part], found.context_visits[part],
        )  # fmt: skip

    starts = range(0, len(seeds), _BLOCK)
    if threads == 1:
        for start in starts:
            block(start)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(block, starts))
    return found


@njit(nogil=True, cache=True)
def _mix(state: np.uint64) -> np.uint64:
    """Output function of splitmix64 (Steele, Lea & Flood 2014)."""
    state = (state ^ (state >> _S30)) * _MIX1
    state = (state ^ (state >> _S27)) * _MIX2
    return state ^ (state >> _S31)


@njit(nogil=True, cache=True)
def _walk_block(
    indptr, indices, n_items, seeds, walks, length, restart, seed, items, item_visits, contexts, context_visits
):  # fmt: skip
    """Fill the four output arrays (see Visits) for a block of seed nodes."""
    n_nodes = len(indptr) - 1
    visits = np.zeros(n_nodes, np.int64)
    touched = np.empty(min(n_nodes, walks * (length + 1)), np.int64)
    for row in range(len(seeds)):
        start = seeds[row]
        state = _mix(_mix(seed + _GAMMA) ^ np.uint64(start))
        n_touched = 0
        for _ in range(walks):
            node = start
            for step in range(length + 1):
                if visits[node] == 0:
                    touched[n_touched] = node
                    n_touched += 1
                visits[node] += 1
                degree = indptr[node + 1] - indptr[node]
                if degree == 0 or step == length:
                    break
                state += _GAMMA
                if (_mix(state) >> _S11) * _UNIT < restart:
                    break
                state += _GAMMA
                node = indices[indptr[node] + np.int64((_mix(state) >> _S11) * _UNIT * degree)]
        visits[start] = 0
        _rank(visits, touched[:n_touched], start, 0, n_items, items[row], item_visits[row])
        _rank(visits, touched[:n_touched], start, n_items, n_nodes, contexts[row], context_visits[row])
        for position in range(n_touched):
            visits[touched[position]] = 0


@njit(nogil=True, cache=True)
def _rank(visits, touched, start, low, high, nodes, counts):
    """Write the most visited of the nodes low..high-1 (numbered from low) but `start`, ties to the smaller node."""
    width = high - low
    keys = np.empty(len(touched), np.int64)
    n = 0
    for node in touched:
        if low <= node < high and node != start:
            keys[n] = -visits[node] * width + (node - low)  # ascending: most visits first, then smallest node
            n += 1
    ranked = np.sort(keys[:n])
    for position in range(min(n, len(nodes))):
        node = ranked[position] % width
        nodes[position] = node
        counts[position] = visits[node + low]
