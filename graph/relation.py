"""One edge type of the taste graph as two memory-mapped CSRs: opened at once, read page by page.

    NAME.indptr.npy       int64 (n_source + 1)   bounds of each source node's edges
    NAME.indices.npy      int32 (n)              targets, ascending within a source node
    NAME.time.npy         uint16 (n)             time codes beside `indices`; absent when no edge has a time
    NAME.weight.npy       float16 (n)            beside `indices`; absent when every weight is 1
    NAME.rev_indptr.npy   int64 (n_target + 1)   the same edges, grouped by target
    NAME.rev_indices.npy  int32 (n)              sources, ascending within a target node

An edge so costs 8 bytes for both directions, 2 for its time and 2 for a weight that is not 1, plus 8 a node. Times are
kept in steps of `time_unit` seconds: code 0 is an unknown time, code c >= 1 starts at `time_first + (c - 1) * time_unit`.
The time and weight of a reverse edge are those of the forward edge, found by bisection in the source's row.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

EdgeType = tuple[str, str, str]
HOLDS: EdgeType = ("board", "holds", "item")
SAVED: EdgeType = ("user", "saved", "item")
HAS: EdgeType = ("item", "has", "interest")
ABOUT: EdgeType = ("board", "about", "interest")
FOLLOWS: EdgeType = ("user", "follows", "board")
CO_SAVED: EdgeType = ("item", "co_saved", "item")
EDGE_TYPES = (HOLDS, SAVED, HAS, ABOUT, FOLLOWS, CO_SAVED)
NODE_TYPES = ("item", "board", "user", "interest")
UNKNOWN_TIME = -1
MAX_CODE = 65_535
_PARTS = ("indptr", "indices", "time", "weight", "rev_indptr", "rev_indices")


@dataclass(frozen=True)
class Edges:
    """Edges of one type as parallel (n,) arrays: src, dst int32; time int64 (-1 unknown); weight float32."""

    src: np.ndarray
    dst: np.ndarray
    time: np.ndarray
    weight: np.ndarray

    def rows(self, chosen: np.ndarray) -> "Edges":
        return Edges(self.src[chosen], self.dst[chosen], self.time[chosen], self.weight[chosen])


@dataclass(frozen=True)
class Relation:
    """One edge type; see the file's head for the arrays, which may be memory-mapped.

    Attributes:
        edge_type: (source type, name, target type).
        time_first: seconds since 1970 of code 1.
        time_unit: seconds a code lasts.
    """

    edge_type: EdgeType
    indptr: np.ndarray
    indices: np.ndarray
    time: np.ndarray | None
    weight: np.ndarray | None
    rev_indptr: np.ndarray
    rev_indices: np.ndarray
    time_first: int = 0
    time_unit: int = 1

    @property
    def n_edges(self) -> int:
        return len(self.indices)

    @classmethod
    def from_edges(cls, edge_type: EdgeType, n_source: int, n_target: int, edges: Edges) -> "Relation":
        """In memory, from edges in any order (no pair twice)."""
        edges = edges.rows(np.lexsort((edges.dst, edges.src)))
        first, unit = time_scale(edges.time)
        by_target = np.lexsort((edges.src, edges.dst))
        return cls(
            edge_type, _bounds(edges.src, n_source), edges.dst.astype(np.int32),
            time_codes(edges.time, first, unit) if (edges.time != UNKNOWN_TIME).any() else None,
            edges.weight.astype(np.float16) if (edges.weight != 1).any() else None,
            _bounds(edges.dst, n_target), edges.src[by_target].astype(np.int32), first, unit,
        )  # fmt: skip

    @classmethod
    def open(cls, folder: Path, edge_type: EdgeType, time_first: int, time_unit: int) -> "Relation":
        """Memory-mapped from `folder`; nothing is read yet."""
        arrays = {part: _map(folder / f"{edge_type[1]}.{part}.npy") for part in _PARTS}
        return cls(edge_type, **arrays, time_first=time_first, time_unit=time_unit)  # type: ignore[arg-type]

    @classmethod
    def open_forward(cls, folder: Path, edge_type: EdgeType, time_first: int, time_unit: int) -> "Relation":
        """Without the reverse direction, which may not be written yet; its arrays are empty."""
        forward = {part: _map(folder / f"{edge_type[1]}.{part}.npy") for part in _PARTS[:4]}
        none = np.zeros(0, np.int32)
        return cls(edge_type, **forward, rev_indptr=none, rev_indices=none, time_first=time_first, time_unit=time_unit)  # type: ignore[arg-type]

    def save(self, folder: Path) -> None:
        """Write the files that `open` maps."""
        folder.mkdir(parents=True, exist_ok=True)
        for part in _PARTS:
            if getattr(self, part) is not None:
                np.save(folder / f"{self.edge_type[1]}.{part}.npy", getattr(self, part), allow_pickle=False)

    def edges(self) -> Edges:
        """All edges by (source, target); times floored to `time_unit`."""
        src = np.repeat(np.arange(len(self.indptr) - 1, dtype=np.int32), np.diff(self.indptr))
        n = self.n_edges
        time = np.full(n, UNKNOWN_TIME, np.int64)
        if self.time is not None:
            time = np.where(
                self.time == 0, UNKNOWN_TIME, self.time_first + (self.time.astype(np.int64) - 1) * self.time_unit
            )
        weight = np.ones(n, np.float32) if self.weight is None else self.weight.astype(np.float32)
        return Edges(src, np.array(self.indices), time, weight)


def time_scale(time: np.ndarray) -> tuple[int, int]:
    """(first, unit) in seconds so that every known time has a code, with at least a quarter of the span left for later.

    The unit is a power of two and `first` a multiple of it, so that graphs of the same unit cut time at the same places.
    """
    known = time[time != UNKNOWN_TIME]
    if not len(known):
        return 0, 1
    low, high = int(known.min()), int(known.max())
    unit = 1
    while (high - low // unit * unit) * 5 // (4 * unit) + 1 > MAX_CODE:
        unit *= 2
    return low // unit * unit, unit


def time_codes(time: np.ndarray, first: int, unit: int) -> np.ndarray:
    """(n,) uint16 codes of times in seconds (-1 unknown).

    Raises:
        ValueError: a time before `first` or after the last code.
    """
    codes = np.where(time == UNKNOWN_TIME, 0, (time - first) // unit + 1)
    if len(codes) and (codes.max() > MAX_CODE or (codes[time != UNKNOWN_TIME] < 1).any()):
        raise ValueError(f"times outside {first}..{first + MAX_CODE * unit - 1}")
    return codes.astype(np.uint16)


def _bounds(sorted_or_not: np.ndarray, n: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(sorted_or_not, minlength=n))]).astype(np.int64)


def _map(path: Path) -> np.ndarray | None:
    """An absent file is an absent part; an empty array cannot be mapped and is read."""
    if not path.is_file():
        return None
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return array if array.size else np.array(array)
