"""Edges added to a relation that is on disk already: one linear pass over both, nothing sorted again."""

from pathlib import Path

import numpy as np
from numba import njit

from graph.csr import Flat, Prune, write_csr
from graph.grouped import open_array
from graph.relation import UNKNOWN_TIME, Relation, time_codes, time_scale
from graph.saves import Saves
from navigator.contracts import UserError


def merge(
    folder: Path, old: Relation, added: Saves, n_source: int, n_target: int, prune: Prune | None,
    degree: np.ndarray | None, scratch: Path,
) -> Relation:  # fmt: skip
    """Write `old` and `added` as one relation; returns it mapped.

    Args:
        added: edges in any order, none of them in `old`.
        degree: (n_target,) degrees before any pruning, the added edges counted; needed with `prune`.

    Raises:
        UserError: a time that the relation's codes cannot say.
    """
    order = np.lexsort((added.item, added.owner))
    added = added.rows(order)
    scale = (old.time_first, old.time_unit) if old.time is not None else time_scale(added.at)
    try:
        code = time_codes(added.at, *scale)
    except ValueError as error:
        raise UserError(
            f"added {old.edge_type[1]} edges have {error} (seconds since 1970) that this graph can say; build the graph "
            "again from a catalogue with these edges"
        ) from error
    indptr = extended(old.indptr, n_source)
    counts = np.concatenate([[0], np.cumsum(np.bincount(added.owner, minlength=n_source))]).astype(np.int64)
    place_old, place_new = np.empty(old.n_edges, np.int64), np.empty(len(order), np.int64)
    _places(indptr, np.asarray(old.indices), counts, added.item.astype(np.int64), place_old, place_new)
    weight = np.ones(len(order), np.float16) if added.weight is None else added.weight.astype(np.float16)
    columns: dict[str, tuple[np.ndarray | None, np.ndarray, type]] = {"target": (old.indices, added.item, np.int32)}
    if old.time is not None or (added.at != UNKNOWN_TIME).any():
        columns["code"] = (old.time, code, np.uint16)
    if old.weight is not None or (weight != 1).any():
        columns["half"] = (old.weight, weight, np.float16)
    found: dict[str, np.ndarray] = {}
    for name, (before, new, dtype) in columns.items():
        out = open_array(scratch / f"{old.edge_type[1]}.{name}.npy", old.n_edges + len(order), dtype)
        absent = np.float16(1) if name == "half" else 0
        out[place_old] = absent if before is None else before
        out[place_new] = new
        found[name] = out
    flat = Flat(indptr + counts, found["target"], found.get("code"), found.get("half"))
    return write_csr(folder, old.edge_type, flat, n_target, scale, prune, degree)


def grow(folder: Path, old: Relation, n_source: int, n_target: int) -> Relation:
    """Write `old` for more nodes, which have no edges yet."""
    relation = Relation(
        old.edge_type, extended(old.indptr, n_source), old.indices, old.time, old.weight,
        extended(old.rev_indptr, n_target), old.rev_indices, old.time_first, old.time_unit,
    )  # fmt: skip
    relation.save(folder)
    return relation


def extended(indptr: np.ndarray, n: int) -> np.ndarray:
    """Bounds for `n` nodes, the new ones at the end and empty."""
    return np.concatenate([indptr, np.full(n + 1 - len(indptr), indptr[-1])]).astype(np.int64)


@njit(nogil=True, cache=True)
def _places(old_bounds, old, new_bounds, new, place_old, place_new):
    """Where each edge goes when two lists by (source, ascending target) become one."""
    for source in range(len(old_bounds) - 1):
        i, i_end = old_bounds[source], old_bounds[source + 1]
        j, j_end = new_bounds[source], new_bounds[source + 1]
        while i < i_end or j < j_end:
            if j >= j_end or (i < i_end and old[i] < new[j]):
                place_old[i] = i + j
                i += 1
            else:
                place_new[j] = i + j
                j += 1
