"""The compiled walker: all walks of a seed advance together over raw CSR arrays.

A walk alone waits for memory at every step, and a wrong guess of the processor (does it end here? which relation?)
throws away what it had begun. So the walks of a seed go step by step side by side, sorted by the node type they stand
on: first the ended ones are dropped, then every edge is chosen and its memory asked for, then every edge is followed and
the next rows are asked for, all without a branch on what is read. Arrays come in as addresses: one compilation serves any
number of relations, mapped or not. The caller (graph.walk) keeps them alive and has checked types, lengths and seeds.

numba keeps what it compiled by file: after a change here, touch graph/walk_time.py and graph/k_hop.py, which inline it.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

GAMMA, _MIX1, _MIX2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S11, _S27, _S30, _S31, _S32 = np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_UNIT = 1.0 / (1 << 53)
# Fields of a slot: one direction of one relation, as seen from the node type that walks it.
INDPTR, INDICES, FAR_TYPE, TIME, FORWARD_INDPTR, FORWARD_INDICES, TIME_FIRST, TIME_UNIT = range(8)
SLOT_FIELDS = 8


def _reader(bits: int, signed: bool) -> Any:
    """A compiled `read(address, index)` of an integer array of that width, widened to int64."""

    @intrinsic
    def read(_context, address, index):
        def emit(_context, builder, _signature, args):
            pointer = builder.inttoptr(args[0], ir.IntType(bits).as_pointer())
            value = builder.load(builder.gep(pointer, [args[1]]))
            if bits == 64:
                return value
            return (builder.sext if signed else builder.zext)(value, ir.IntType(64))

        return types.int64(types.int64, types.int64), emit

    return read


def _asker() -> Any:
    """A compiled `prefetch(address)`: ask for that memory without waiting for it; any address is allowed."""

    @intrinsic
    def prefetch(_context, address):
        def emit(context, builder, _signature, args):
            pointer, word = builder.inttoptr(args[0], ir.IntType(8).as_pointer()), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [pointer.type, word, word, word])
            ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            builder.call(ask, [pointer, word(0), word(3), word(1)])
            return context.get_dummy_value()

        return types.void(types.int64), emit

    return prefetch


prefetch = _asker()
read_int64, read_int32, read_uint16 = _reader(64, True), _reader(32, True), _reader(16, False)


@njit(nogil=True, cache=True)
def mix(state: Any) -> Any:
    """Output function of splitmix64 (Steele, Lea & Flood 2014)."""
    state = (state ^ (state >> _S30)) * _MIX1
    state = (state ^ (state >> _S27)) * _MIX2
    return state ^ (state >> _S31)


@njit(nogil=True, cache=True)
def unit(bits: Any) -> float:
    """Random bits as a number in [0, 1)."""
    return (bits >> _S11) * _UNIT


@njit(nogil=True, cache=True)
def stream(seed: Any, place: Any) -> Any:
    """Where the random stream of a seed node begins."""
    return mix(mix(seed + GAMMA) ^ np.uint64(place))


@njit(nogil=True, cache=True)
def trace(slots, bounds, base, kind, seeds, walks, length, restart, seed, places, counts):
    """Walk from some seeds, one after another.

    Args:
        slots: (n_slots, SLOT_FIELDS) int64.
        bounds: (n_types + 1,) int64, the slots of each node type.
        base: (n_types + 1,) int64, the first place of each node type; a place is base + local index.
        kind: node type of the seeds.
        seeds: (m,) int64 local indices.
        places: (m, walks * length) int32, filled with the places stepped on, without the seed itself.
        counts: (m,) int64, filled with how many.
    """
    n_types = len(bounds) - 1
    here, there = np.empty((n_types, walks), np.int32), np.empty((n_types, walks), np.int32)
    n_here, n_there = np.zeros(n_types, np.int64), np.zeros(n_types, np.int64)
    edges, ways = np.empty(walks, np.int64), np.empty(walks, np.int64)
    ends = np.uint64(restart * (1 << 32))
    for row in range(len(seeds)):
        start = base[kind] + seeds[row]
        state, n = stream(seed, start), 0
        n_here[:] = 0
        if degree_of(slots, bounds[kind], bounds[kind + 1], seeds[row]):
            here[kind, :walks], n_here[kind] = seeds[row], walks
        for _ in range(length):
            n_there[:] = 0
            for at in range(n_types):
                state, kept = _drop_ended(here[at], n_here[at], state, ends)
                if kept:
                    low, high = bounds[at], bounds[at + 1]
                    state = _choose(slots, low, high, here[at], kept, state, edges, ways)
                    n = _follow(slots, bounds, base, start, edges, ways, kept, there, n_there, places[row], n)
            here, there, n_here, n_there = there, here, n_there, n_here
        counts[row] = n


@njit(nogil=True, cache=True)
def degree_of(slots, low, high, node):
    """Edges of a node in the slots low..high-1."""
    degree = 0
    for slot in range(low, high):
        degree += read_int64(slots[slot, INDPTR], node + 1) - read_int64(slots[slot, INDPTR], node)
    return degree


@njit(nogil=True, cache=True)
def _drop_ended(nodes, n, state, ends):
    """Close up the walks that go on, each with probability 1 - restart; the random state and how many they are."""
    kept = 0
    for i in range(n):
        state += GAMMA
        nodes[kept] = nodes[i]
        kept += (mix(state) >> _S32) >= ends
    return state, kept


@njit(nogil=True, cache=True)
def _choose(slots, low, high, nodes, n, state, edges, ways):
    """Address of the edge that each of n walks takes, and the type it leads to; the random state after it.

    Every node has an edge: a walk came by one, or the caller looked.
    """
    if high - low == 1:
        indptr, indices = slots[low, INDPTR], slots[low, INDICES]
        ways[:n] = slots[low, FAR_TYPE]
        for i in range(n):
            state += GAMMA
            first = read_int64(indptr, nodes[i])
            edges[i] = indices + 4 * (first + _below(state, read_int64(indptr, nodes[i] + 1) - first))
            prefetch(edges[i])
        return state
    for i in range(n):
        state += GAMMA
        chosen = _below(state, degree_of(slots, low, high, nodes[i]))
        edge, way = np.int64(0), np.int64(0)
        for slot in range(low, high):
            first = read_int64(slots[slot, INDPTR], nodes[i])
            size = read_int64(slots[slot, INDPTR], nodes[i] + 1) - first
            inside = (chosen >= 0) & (chosen < size)
            edge = slots[slot, INDICES] + 4 * (first + chosen) if inside else edge
            way = slots[slot, FAR_TYPE] if inside else way
            chosen -= size
        edges[i], ways[i] = edge, way
        prefetch(edge)
    return state


@njit(nogil=True, cache=True)
def _below(state, limit):
    """A random number from 0 to limit - 1, from the upper half of the state's bits (Lemire 2019, without rejection)."""
    return np.int64(((mix(state) >> _S32) * np.uint64(limit)) >> _S32)


@njit(nogil=True, cache=True)
def _follow(slots, bounds, base, start, edges, ways, n, there, n_there, places, count):
    """Queue every walk under the type it comes to and write its place down, but for the seed's; returns the count."""
    for i in range(n):
        node, way = read_int32(edges[i], 0), ways[i]
        there[way, n_there[way]] = node
        n_there[way] += 1
        for slot in range(bounds[way], bounds[way + 1]):
            prefetch(slots[slot, INDPTR] + 8 * node)
        places[count] = base[way] + node
        count += base[way] + node != start
    return count
