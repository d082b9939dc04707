"""Kernels over edges grouped by owner: order inside a group, repeats, fingerprints of item sets and of ids."""

import numpy as np
import pyarrow as pa
from numba import njit

_SMALL = 24
_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_GAMMA, _OTHER = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)
_S27, _S30, _S31 = np.uint64(27), np.uint64(30), np.uint64(31)
_FNV_START, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


@njit(nogil=True, cache=True)
def mix(state):
    """Output function of splitmix64 (Steele, Lea & Flood 2014)."""
    state = (state ^ (state >> _S30)) * _M1
    state = (state ^ (state >> _S27)) * _M2
    return state ^ (state >> _S31)


@njit(nogil=True, cache=True)
def order_within(indptr, first, second, third):
    """(n,) positions that sort each group by (first, second, third); positions stay inside their group."""
    order = np.arange(len(first))
    for group in range(len(indptr) - 1):
        low, high = indptr[group], indptr[group + 1]
        if high - low <= _SMALL:
            for i in range(low + 1, high):
                own = order[i]
                j = i
                while j > low:
                    o = order[j - 1]
                    if first[o] < first[own]:
                        break
                    if first[o] == first[own]:
                        if second[o] < second[own]:
                            break
                        if second[o] == second[own] and third[o] <= third[own]:
                            break
                    order[j] = o
                    j -= 1
                order[j] = own
            continue
        part = order[low:high].copy()
        part = part[np.argsort(third[part], kind="mergesort")]
        part = part[np.argsort(second[part], kind="mergesort")]
        order[low:high] = part[np.argsort(first[part], kind="mergesort")]
    return order


@njit(nogil=True, cache=True)
def repeated(indptr, value):
    """(n,) bool: a value that came before in its group."""
    out = np.zeros(len(value), np.bool_)
    for group in range(len(indptr) - 1):
        low, high = indptr[group], indptr[group + 1]
        if high - low <= _SMALL:
            for i in range(low + 1, high):
                for j in range(low, i):
                    if value[j] == value[i]:
                        out[i] = True
                        break
            continue
        order = np.argsort(value[low:high], kind="mergesort")
        for k in range(1, high - low):
            if value[low + order[k]] == value[low + order[k - 1]]:
                out[low + order[k]] = True
    return out


@njit(nogil=True, cache=True)
def set_hashes(indptr, value):
    """(n_groups, 2) uint64 that are equal for groups of the same distinct values, whatever their order (128 bits)."""
    out = np.zeros((len(indptr) - 1, 2), np.uint64)
    for group in range(len(indptr) - 1):
        for i in range(indptr[group], indptr[group + 1]):
            out[group, 0] += mix(np.uint64(value[i]) + _GAMMA)
            out[group, 1] += mix(np.uint64(value[i]) ^ _OTHER)
    return out


def id_hashes(ids: pa.Array) -> np.ndarray:
    """(n,) uint64 of external ids (FNV-1a, mixed): the same id has the same hash whatever its number."""
    if not len(ids):
        return np.zeros(0, np.uint64)
    ids = pa.concat_arrays([ids.cast(pa.large_string())])  # offsets that begin at the buffers' start
    _, offsets, data = ids.buffers()
    bounds = np.frombuffer(offsets, np.int64)[ids.offset : ids.offset + len(ids) + 1]
    octets = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
    return _id_hashes(bounds, octets)


@njit(nogil=True, cache=True)
def _id_hashes(bounds, octets):
    out = np.empty(len(bounds) - 1, np.uint64)
    for row in range(len(out)):
        state = _FNV_START
        for i in range(bounds[row], bounds[row + 1]):
            state = (state ^ np.uint64(octets[i])) * _FNV_PRIME
        out[row] = mix(state)
    return out
