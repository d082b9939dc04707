"""Edges by source -> the files of graph.relation, linear in the edges: pruned by item, then turned round.

Popular items are thinned by OmniSage's law (arXiv 2504.17811: a node of degree d keeps d^0.86 edges, at least 10, at
most 10,000), so that a hub does not swallow every walk: recent edges first, to the relation's time unit; ties by a hash
of the seed and of both external ids, so that the choice depends on no numbering and later edges can be added to it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit

from graph.grouped import BLOCK, RowFile, open_array
from graph.ordering import mix
from graph.relation import UNKNOWN_TIME, EdgeType, Relation, time_codes, time_scale
from graph.saves import Saves

PRUNE_POWER, PRUNE_MIN, PRUNE_MAX = 0.86, 10, 10_000
_S16, _S48 = np.uint64(16), np.uint64(48)


@dataclass(frozen=True)
class Prune:
    """How to thin targets: a seed, and hashes of the external ids (graph.ordering.id_hashes)."""

    seed: int
    source_hash: np.ndarray
    target_hash: np.ndarray


@dataclass(frozen=True)
class Flat:
    """Edges by source before pruning; arrays may be mapped. Time codes and weights are None where none are needed."""

    indptr: np.ndarray
    target: np.ndarray
    code: np.ndarray | None
    weight: np.ndarray | None


def degree_limit(degree: np.ndarray) -> np.ndarray:
    """Edges a node of this degree may keep: clip(degree^0.86, 10, 10,000), whole numbers."""
    return np.clip(np.floor(np.asarray(degree, float) ** PRUNE_POWER), PRUNE_MIN, PRUNE_MAX).astype(np.int64)


def scale_of(blocks: Iterable[Saves]) -> tuple[int, int]:
    """`time_scale` of all edges."""
    ends = [np.array([known.min(), known.max()]) for b in blocks if len(known := b.at[b.at != UNKNOWN_TIME])]
    return time_scale(np.concatenate(ends) if ends else np.zeros(0, np.int64))


def write_relation(
    folder: Path, edge_type: EdgeType, sizes: dict[str, int], blocks: Callable[[], Iterator[Saves]],
    prune: Prune | None, scratch: Path,
) -> Relation:  # fmt: skip
    """Write the CSR of edges that come in blocks of whole sources, ascending; returns it mapped.

    Args:
        sizes: nodes of each type.
        blocks: gives the edges, twice; no pair twice.
        prune: thin the targets; None keeps every edge.
    """
    first, unit = scale_of(blocks())
    flat = _flatten(edge_type, sizes[edge_type[0]], blocks(), first, unit, scratch)
    return write_csr(folder, edge_type, flat, sizes[edge_type[2]], (first, unit), prune)


def write_csr(
    folder: Path, edge_type: EdgeType, flat: Flat, n_target: int, scale: tuple[int, int], prune: Prune | None,
    degree: np.ndarray | None = None,
) -> Relation:  # fmt: skip
    """Prune, write both directions, return them mapped.

    Args:
        degree: (n_target,) true degrees where `flat` lacks edges that were pruned before; counted by default.
    """
    folder.mkdir(parents=True, exist_ok=True)
    n, stem = len(flat.target), folder / edge_type[1]
    there = np.zeros(n_target, np.int64)
    for start in range(0, n, BLOCK):
        there += np.bincount(flat.target[start : start + BLOCK], minlength=n_target)
    keep = None
    if prune is not None:
        degree = there if degree is None else degree
        keep = kept_edges(flat, there, degree_limit(degree), prune)
        narrow = np.min_scalar_type(int(degree.max(initial=0)))
        np.save(f"{stem}.degree.npy", degree.astype(narrow), allow_pickle=False)
    indptr = flat.indptr if keep is None else _kept_bounds(flat.indptr, keep)
    np.save(f"{stem}.indptr.npy", np.asarray(indptr, np.int64), allow_pickle=False)
    columns = {"indices": (flat.target, np.int32), "time": (flat.code, np.uint16), "weight": (flat.weight, np.float16)}
    for name, (values, dtype) in columns.items():
        if values is not None:
            _write_kept(Path(f"{stem}.{name}.npy"), values, keep, int(indptr[-1]), dtype)
    relation = Relation.open_forward(folder, edge_type, *scale)
    if keep is not None:
        there = np.zeros(n_target, np.int64)
        for start in range(0, relation.n_edges, BLOCK):
            there += np.bincount(relation.indices[start : start + BLOCK], minlength=n_target)
    rev_indptr = np.concatenate([[0], np.cumsum(there)]).astype(np.int64)
    np.save(f"{stem}.rev_indptr.npy", rev_indptr, allow_pickle=False)
    reverse = open_array(Path(f"{stem}.rev_indices.npy"), relation.n_edges, np.int32)
    _turn_round(np.asarray(indptr, np.int64), relation.indices, rev_indptr[:-1].copy(), reverse)
    del reverse
    return Relation.open(folder, edge_type, *scale)


def kept_edges(flat: Flat, there: np.ndarray, limit: np.ndarray, prune: Prune) -> np.ndarray:
    """(n,) bool: the edges that stay; `there` edges of each target are in `flat`, `limit` of them may stay."""
    over = there > limit
    start = np.concatenate([[0], np.cumsum(np.where(over, there, 0))]).astype(np.int64)
    code = np.zeros(0, np.uint16) if flat.code is None else flat.code
    keys = np.empty(start[-1], np.uint64)
    arguments = flat.indptr, flat.target, code, np.uint64(prune.seed), prune.source_hash, prune.target_hash
    _gather(*arguments, over, start[:-1].copy(), keys)
    least = np.zeros(len(there), np.uint64)
    _least_kept(start, over, limit, keys, least)
    keep = np.ones(len(flat.target), bool)
    _keep(*arguments, over, least, keep)
    return keep


def _flatten(edge_type: EdgeType, n_source: int, blocks: Iterator[Saves], first: int, unit: int, scratch: Path) -> Flat:
    """Edges by (source, target) on disk."""
    rows = {name: RowFile(scratch / f"{edge_type[1]}.flat", (name,)) for name in ("target", "code", "half")}
    counts = np.zeros(n_source, np.int64)
    timed, weighted = False, False
    for block in blocks:
        order = np.argsort(block.owner.astype(np.int64) << 32 | block.item, kind="stable")
        block = block.rows(order)
        counts += np.bincount(block.owner, minlength=n_source)
        weight = np.ones(len(order), np.float16) if block.weight is None else block.weight.astype(np.float16)
        timed |= bool((block.at != UNKNOWN_TIME).any())
        weighted |= bool((weight != 1).any())
        for name, values in (("target", block.item), ("code", time_codes(block.at, first, unit)), ("half", weight)):
            rows[name].append(values)
    found = {name: file.done()[name] for name, file in rows.items()}
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Flat(indptr, found["target"], found["code"] if timed else None, found["half"] if weighted else None)


def _kept_bounds(indptr: np.ndarray, keep: np.ndarray) -> np.ndarray:
    before = np.empty(len(keep) + 1, np.int64)
    before[0] = 0
    np.cumsum(keep, out=before[1:])
    return before[indptr]


def _write_kept(path: Path, values: np.ndarray, keep: np.ndarray | None, n: int, dtype: type) -> None:
    out = open_array(path, n, dtype)
    place = 0
    for start in range(0, len(values), BLOCK):
        part = np.asarray(values[start : start + BLOCK])
        part = part if keep is None else part[keep[start : start + BLOCK]]
        out[place : place + len(part)] = part
        place += len(part)


@njit(nogil=True, cache=True)
def _key(seed, source_hash, target_hash, code):
    """Recent first, then by hash: larger stays."""
    return (np.uint64(code) << _S48) | (mix(mix(seed ^ source_hash) ^ target_hash) >> _S16)


@njit(nogil=True, cache=True)
def _gather(indptr, target, code, seed, source_hash, target_hash, over, cursor, keys):
    for source in range(len(indptr) - 1):
        for edge in range(indptr[source], indptr[source + 1]):
            t = target[edge]
            if over[t]:
                at = code[edge] if len(code) else np.uint16(0)
                keys[cursor[t]] = _key(seed, source_hash[source], target_hash[t], at)
                cursor[t] += 1


@njit(nogil=True, cache=True)
def _least_kept(start, over, limit, keys, least):
    for t in range(len(over)):
        if over[t]:
            ranked = np.sort(keys[start[t] : start[t + 1]])
            least[t] = ranked[len(ranked) - limit[t]]


@njit(nogil=True, cache=True)
def _keep(indptr, target, code, seed, source_hash, target_hash, over, least, keep):
    for source in range(len(indptr) - 1):
        for edge in range(indptr[source], indptr[source + 1]):
            t = target[edge]
            if over[t]:
                at = code[edge] if len(code) else np.uint16(0)
                keep[edge] = _key(seed, source_hash[source], target_hash[t], at) >= least[t]


@njit(nogil=True, cache=True)
def _turn_round(indptr, target, cursor, reverse):
    """Counting sort by target; sources come out ascending."""
    for source in range(len(indptr) - 1):
        for edge in range(indptr[source], indptr[source + 1]):
            reverse[cursor[target[edge]]] = source
            cursor[target[edge]] += 1
