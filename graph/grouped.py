"""Edges as arrays on disk, grouped by their source: written in any order, read in blocks of whole sources.

Grouping is a counting sort, so it is linear in the edges; memory holds the bounds of the sources and what the operating
system keeps of the mapped files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit
from numpy.lib.format import open_memmap

from graph.saves import Saves

BLOCK = 1 << 21  # edges read at a time, whole sources
TYPES = {
    "owner": np.int32, "target": np.int32, "at": np.int64, "row": np.int64, "weight": np.float32, "part": np.int8,
    "code": np.uint16, "half": np.float16,
}  # fmt: skip


class RowFile:
    """Rows appended to one flat file a column."""

    def __init__(self, folder: Path, columns: tuple[str, ...]):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.columns = columns
        self.handles = [(folder / name).open("wb") for name in self.columns]
        self.n = 0

    def append(self, *columns: np.ndarray) -> None:
        for name, handle, values in zip(self.columns, self.handles, columns, strict=True):
            handle.write(np.ascontiguousarray(values, TYPES[name]).data)
        self.n += len(columns[0])

    def append_saves(self, saves: Saves) -> None:
        """Item, time and weight of saves that are in their final order."""
        weight = () if "weight" not in self.columns else (_ones(saves) if saves.weight is None else saves.weight,)
        self.append(saves.item, saves.at, *weight)

    def done(self) -> dict[str, np.ndarray]:
        """The columns, mapped."""
        for handle in self.handles:
            handle.close()
        if not self.n:
            return {name: np.zeros(0, TYPES[name]) for name in self.columns}
        return {name: np.memmap(self.folder / name, TYPES[name], "r") for name in self.columns}

    def remove(self) -> None:
        for name in self.columns:
            (self.folder / name).unlink()


@dataclass(frozen=True)
class Grouped:
    """Edges by source; arrays may be mapped.

    Attributes:
        indptr: (n_sources + 1,) int64 bounds of each source's edges.
        target: (n,) int32.
        at: (n,) int64 seconds since 1970, -1 unknown.
        row: (n,) int64 row of the file it came from; None once nobody asks.
        weight: (n,) float32; None when all weigh 1.
    """

    indptr: np.ndarray
    target: np.ndarray
    at: np.ndarray
    row: np.ndarray | None = None
    weight: np.ndarray | None = None

    @classmethod
    def of(cls, sizes: np.ndarray, rows: RowFile) -> "Grouped":
        """From rows appended in the order of their sources, `sizes` of each."""
        return cls(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), **rows.done())

    @property
    def n_sources(self) -> int:
        return len(self.indptr) - 1

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[int, int]]:
        """Ranges of sources (first, end) of about `size` edges each, at least one source."""
        first = 0
        while first < self.n_sources:
            end = int(np.searchsorted(self.indptr, self.indptr[first] + size, side="right")) - 1
            end = min(max(end, first + 1), self.n_sources)
            yield first, end
            first = end

    def span(self, first: int, end: int) -> slice:
        """The edges of a range of sources."""
        return slice(int(self.indptr[first]), int(self.indptr[end]))

    def saves(self, first: int, end: int, ids: Sequence[str] | None = None) -> Saves:
        """The edges of a range of sources, read into memory; owners are numbered from `first`."""
        span = self.span(first, end)
        more = (None if values is None else np.array(values[span]) for values in (self.row, self.weight))
        owner = np.repeat(np.arange(end - first), np.diff(self.indptr[first : end + 1]))
        ids = [""] * (end - first) if ids is None else ids
        return Saves(ids, owner, np.array(self.target[span]), np.array(self.at[span]), *more)


def group_rows(rows: RowFile, n_sources: int, stem: Path) -> Grouped:
    """Counting sort by owner; within an owner in no particular order. Removes the row files."""
    columns = rows.done()
    counts = np.zeros(n_sources, np.int64)
    for start in range(0, rows.n, BLOCK):
        counts += np.bincount(columns["owner"][start : start + BLOCK], minlength=n_sources)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    place = open_array(stem.with_suffix(".place.npy"), rows.n, np.int64)
    places(columns["owner"], indptr[:-1].copy(), place)
    grouped = {}
    for name in rows.columns[1:]:
        grouped[name] = open_array(stem.with_suffix(f".{name}.npy"), rows.n, TYPES[name])
        scatter(columns[name], place, grouped[name])
    rows.remove()
    stem.with_suffix(".place.npy").unlink()
    return Grouped(indptr, **grouped)


def open_array(path: Path, n: int, dtype: type) -> np.ndarray:
    """A new array on disk to be filled; an empty one cannot be mapped and is plain."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if n:
        return open_memmap(path, "w+", dtype, (n,))
    np.save(path, np.zeros(0, dtype), allow_pickle=False)
    return np.zeros(0, dtype)


@njit(nogil=True, cache=True)
def places(group, cursor, place):
    """Where each row goes when rows are sorted by group; `cursor` holds each group's first place and is used up."""
    for row in range(len(group)):
        place[row] = cursor[group[row]]
        cursor[group[row]] += 1


@njit(nogil=True, cache=True)
def scatter(values, place, out):
    for row in range(len(values)):
        out[place[row]] = values[row]


def _ones(saves: Saves) -> np.ndarray:
    return np.ones(len(saves.owner), np.float32)
