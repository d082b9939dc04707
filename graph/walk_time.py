"""Time-respecting walks: the walker of graph.walk_kernel that takes only edges from before a seed's moment.

An edge is drawn among all edges of a node and drawn again when it is too late or of unknown time; after a while the
usable ones are counted and one is drawn among them, so that the chance is exactly equal for all of them. Walks go one
after another: their random numbers are not those of graph.walk_kernel, their distribution is.
"""

import numpy as np
from numba import njit

from graph.walk_kernel import (
    FAR_TYPE,
    FORWARD_INDICES,
    FORWARD_INDPTR,
    GAMMA,
    INDICES,
    INDPTR,
    TIME,
    TIME_FIRST,
    TIME_UNIT,
    mix,
    read_int32,
    read_int64,
    read_uint16,
    stream,
    unit,
)  # fmt: skip


@njit(nogil=True, cache=True)
def trace_before(slots, bounds, base, kind, seeds, walks, length, restart, seed, places, counts, before):
    """Like `graph.walk_kernel.trace`, each seed with only the edges before `before` (m,) int64 seconds."""
    limits = np.empty(len(slots), np.int64)
    for row in range(len(seeds)):
        _limits(slots, before[row], limits)
        state, n = stream(seed, base[kind] + seeds[row]), 0
        stuck = False
        for _ in range(walks):
            node, at = seeds[row], kind
            for step in range(length):
                state += GAMMA
                if unit(mix(state)) < restart:
                    break
                state, slot, edge = _draw(slots, bounds[at], bounds[at + 1], node, limits, state)
                if slot < 0:
                    stuck = step == 0
                    break
                node, at = read_int32(slots[slot, INDICES], edge), slots[slot, FAR_TYPE]
                if node != seeds[row] or at != kind:
                    places[row, n] = base[at] + node
                    n += 1
            if stuck:
                break
        counts[row] = n


@njit(nogil=True, cache=True)
def _limits(slots, before, limits):
    """The first time code of each slot that is not strictly before the moment; 0 where none can be used."""
    for slot in range(len(slots)):
        limits[slot] = 0
        if slots[slot, TIME] != 0:
            limits[slot] = (before - slots[slot, TIME_FIRST]) // slots[slot, TIME_UNIT] + 1


@njit(nogil=True, cache=True)
def _draw(slots, low, high, node, limits, state):
    """One usable edge of a node by equal chance: the random state after it, its slot (-1 when there is none), its position."""
    degree = 0
    for slot in range(low, high):
        if limits[slot] > 1:
            degree += read_int64(slots[slot, INDPTR], node + 1) - read_int64(slots[slot, INDPTR], node)
    if degree == 0:
        return state, -1, np.int64(0)
    for _ in range(16 + degree // 4):  # a few draws cost less than a look at every edge; many cost more
        state += GAMMA
        chosen = np.int64(unit(mix(state)) * degree)
        for slot in range(low, high):
            if limits[slot] > 1:
                first = read_int64(slots[slot, INDPTR], node)
                size = read_int64(slots[slot, INDPTR], node + 1) - first
                if chosen < size:
                    if 0 < _code(slots, slot, node, first + chosen) < limits[slot]:
                        return state, slot, first + chosen
                    break
                chosen -= size
    usable, _, _ = _usable(slots, low, high, node, limits, -1)
    if usable == 0:
        return state, -1, np.int64(0)
    state += GAMMA
    _, slot, edge = _usable(slots, low, high, node, limits, np.int64(unit(mix(state)) * usable))
    return state, slot, edge


@njit(nogil=True, cache=True)
def _usable(slots, low, high, node, limits, wanted):
    """How many edges can be used up to the one numbered `wanted` (all, when it is -1), and that one's slot and position."""
    n = 0
    for slot in range(low, high):
        if limits[slot] > 1:
            for edge in range(read_int64(slots[slot, INDPTR], node), read_int64(slots[slot, INDPTR], node + 1)):
                if 0 < _code(slots, slot, node, edge) < limits[slot]:
                    if n == wanted:
                        return n, slot, edge
                    n += 1
    return n, -1, np.int64(0)


@njit(nogil=True, cache=True)
def _code(slots, slot, node, edge):
    """Time code of an edge; a reverse edge's is found by bisection in the forward row of its far end."""
    if slots[slot, FORWARD_INDPTR] != 0:
        far = read_int32(slots[slot, INDICES], edge)
        low = read_int64(slots[slot, FORWARD_INDPTR], far)
        high = read_int64(slots[slot, FORWARD_INDPTR], far + 1)
        while low < high:
            middle = (low + high) >> 1
            if read_int32(slots[slot, FORWARD_INDICES], middle) < node:
                low = middle + 1
            else:
                high = middle
        edge = low
    return read_uint16(slots[slot, TIME], edge)
