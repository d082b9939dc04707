"""Uniform neighbours from the one- or two-hop neighbourhood: what random walks are compared with.

Every node of the neighbourhood gets a random number from (seed, seed node, node) and the smallest are kept. That is a
uniform draw without replacement that needs no list of the neighbourhood, and it is the same for any order of edges,
batches or threads.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit

from graph.walk import TopVisits, Walkable, check_seeds, split_types
from graph.walk_kernel import FAR_TYPE, INDICES, INDPTR, mix, read_int32, read_int64, stream
from navigator.contracts import UserError

_BLOCK = 64
_NONE = np.uint64(0xFFFFFFFFFFFFFFFF)


def k_hop_uniform(
    edges: Walkable,
    seed_type: str,
    seeds: np.ndarray,
    top: dict[str, int],
    hops: int = 2,
    seed: int = 0,
    threads: int = 1,
) -> dict[str, TopVisits]:
    """For every seed `top[type]` nodes of each type, drawn uniformly from all nodes at most `hops` edges away.

    Args:
        seeds: (m,) node indices of `seed_type`.
        hops: 1 or 2.
        threads: worker threads; the result is the same for any number.

    Returns:
        As `graph.walk.walk` does, with 1 visit for every node; the order within a seed is random.

    Raises:
        UserError: an unknown type, a seed outside its type, hops that are not 1 or 2.
    """  # fmt: skip
    if hops not in (1, 2):
        raise UserError(f"hops {hops}: allowed are 1 and 2; use graph.walk.walk to go further")
    seeds = check_seeds(edges, seed_type, seeds, top)
    kind = edges.names.index(seed_type)
    widths = np.array([top.get(name, 0) for name in edges.names], np.int64)
    nodes = np.full((len(seeds), int(widths.sum())), -1, np.int64)

    def block(start: int) -> None:
        part = slice(start, start + _BLOCK)
        _draw(edges.slots, edges.bounds, edges.base, kind, seeds[part], hops, np.uint64(seed), widths, nodes[part])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(block, range(0, len(seeds), _BLOCK)))
    return split_types(edges, top, nodes, (nodes >= 0).astype(np.int64))


@njit(nogil=True, cache=True)
def _draw(slots, bounds, base, kind, seeds, hops, seed, widths, nodes):
    """Fill `nodes` (m, widths.sum()), one type's columns after another's."""
    first = np.concatenate((np.zeros(1, np.int64), np.cumsum(widths)))
    keys = np.empty(nodes.shape[1], np.uint64)
    for row in range(len(seeds)):
        keys[:] = _NONE
        state, start = stream(seed, base[kind] + seeds[row]), base[kind] + seeds[row]
        for slot in range(bounds[kind], bounds[kind + 1]):
            near = slots[slot, FAR_TYPE]
            for edge in range(*_row(slots, slot, seeds[row])):
                node = read_int32(slots[slot, INDICES], edge)
                _keep(state, base[near] + node, start, node, first[near], first[near + 1], keys, nodes[row])
                if hops == 1:
                    continue
                for next_slot in range(bounds[near], bounds[near + 1]):
                    far = slots[next_slot, FAR_TYPE]
                    for next_edge in range(*_row(slots, next_slot, node)):
                        other = read_int32(slots[next_slot, INDICES], next_edge)
                        _keep(state, base[far] + other, start, other, first[far], first[far + 1], keys, nodes[row])


@njit(nogil=True, cache=True)
def _row(slots: Any, slot: Any, node: Any) -> tuple[Any, Any]:
    return read_int64(slots[slot, INDPTR], node), read_int64(slots[slot, INDPTR], node + 1)


@njit(nogil=True, cache=True)
def _keep(state, place, start, node, low, high, keys, nodes):
    """Sort the node into columns low..high-1, ascending by key, when its key is among the smallest and not there yet."""
    key = mix(state ^ mix(np.uint64(place)))
    if low == high or place == start or key >= keys[high - 1]:
        return
    position = low
    while keys[position] < key:
        position += 1
    if keys[position] == key:
        return
    for column in range(high - 1, position, -1):
        keys[column], nodes[column] = keys[column - 1], nodes[column - 1]
    keys[position], nodes[position] = key, node
