"""Which places a list of visits names most: counts in a small hash table, the largest by a bounded heap.

The table grows with the distinct places of one seed, never with the graph, so that a seed costs the same among a
thousand nodes and among ten million.
"""

import numpy as np
from numba import njit

_S32, _ONE, _LOW = np.uint64(32), np.uint64(1), np.uint64(0xFFFFFFFF)
_HASH = np.uint64(0x9E3779B97F4A7C15)
_FIRST = 1024


@njit(nogil=True, cache=True)
def rank(places, counts, base, top, nodes, visits):
    """The most visited places of each node type for several seeds.

    Args:
        places: (m, capacity) int32, the places a seed's walks stepped on, of which `counts` (m,) are filled.
        base: (n_types + 1,) int64, the first place of each node type.
        top: (n_types,) int64, how many to keep of each.
        nodes: (m, top.sum()) int64, filled with local indices, one type's columns after another's.
        visits: the same shape, filled with their counts.
    """
    table, touched = np.zeros(_FIRST, np.uint64), np.empty(_FIRST, np.int64)
    for row in range(len(counts)):
        table, touched, n = _count(places[row, : counts[row]], table, touched)
        end = 0
        for kind in range(len(top)):
            part = slice(end, end + top[kind])
            end += top[kind]
            if top[kind]:
                _most(table, touched[:n], base[kind], base[kind + 1], nodes[row, part], visits[row, part])
        for position in range(n):
            table[touched[position]] = 0


@njit(nogil=True, cache=True)
def _count(places, table, touched):
    """Count `places` in a hash table of (place + 1) << 32 | visits, 0 empty; it grows when half full.

    Returns:
        The table, the positions in it that are in use, and how many there are.
    """
    n = 0
    bits = np.uint64(64 - _log2(len(table)))
    last = np.uint64(len(table) - 1)
    for place in places:
        key = np.uint64(place) + _ONE
        spot = (key * _HASH) >> bits
        while table[spot] >> _S32 != key:
            if table[spot] == 0:
                table[spot] = key << _S32
                touched[n] = spot
                n += 1
                break
            spot = (spot + _ONE) & last
        table[spot] += _ONE
        if 2 * n > len(table):
            table, touched = _grow(table, touched, n)
            bits -= _ONE
            last = np.uint64(len(table) - 1)
    return table, touched, n


@njit(nogil=True, cache=True)
def _log2(n):
    bits = 0
    while 1 << bits < n:
        bits += 1
    return bits


@njit(nogil=True, cache=True)
def _grow(table, touched, n):
    wide, spots = np.zeros(2 * len(table), np.uint64), np.empty(2 * len(touched), np.int64)
    bits, last = np.uint64(64 - _log2(len(wide))), np.uint64(len(wide) - 1)
    for position in range(n):
        entry = table[touched[position]]
        spot = ((entry >> _S32) * _HASH) >> bits
        while wide[spot] != 0:
            spot = (spot + _ONE) & last
        wide[spot] = entry
        spots[position] = spot
    return wide, spots


@njit(nogil=True, cache=True)
def _most(table, touched, low, high, nodes, visits):
    """Fill `nodes` (numbered from `low`) and `visits` with the most visited places of low..high-1, ties to the smaller.

    A heap of len(nodes) keys, visits << 32 | (2^32 - 1 - place), keeps the largest seen; its root is the smallest kept.
    """
    heap = np.empty(len(nodes), np.uint64)
    size = 0
    for spot in touched:
        entry = table[spot]
        place = np.int64(entry >> _S32) - 1
        if place < low or place >= high:
            continue
        key = (entry & _LOW) << _S32 | (_LOW - np.uint64(place))
        if size < len(heap):
            heap[size] = key
            size += 1
            if size == len(heap):
                for root in range(size // 2 - 1, -1, -1):
                    _sink(heap, root, size)
        elif key > heap[0]:
            heap[0] = key
            _sink(heap, 0, size)
    ranked = np.sort(heap[:size])
    for position in range(size):
        key = ranked[size - 1 - position]
        nodes[position] = np.int64(_LOW - (key & _LOW)) - low
        visits[position] = np.int64(key >> _S32)


@njit(nogil=True, cache=True)
def _sink(heap, root, size):
    """Restore the heap's order below `root`."""
    key = heap[root]
    while 2 * root + 1 < size:
        child = 2 * root + 1
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if key <= heap[child]:
            break
        heap[root] = heap[child]
        root = child
    heap[root] = key
