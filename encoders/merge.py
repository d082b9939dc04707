"""Finished shards become one store: the vectors in one file, their ids, and what is to be told of them.

One shard is in memory at a time. int8 takes two passes: the first finds the largest value of every dimension, which sets
its step; the second rounds. A store that continues an older one never gets a smaller step than that had, so that rows
copied from it keep their bits unless something larger came.
"""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from encoders.reuse import IDS
from encoders.shards import Job
from encoders.source import Source
from navigator.contracts.manifest import Work, write_text
from navigator.contracts.vectors import FILE, write_tensors

_NAMED = 20  # items named in the manifest; all are counted
_STEPS = 127
_SCHEMA = pa.schema([("item_id", pa.string()), ("content", pa.string()), ("problem", pa.string())])


def merged(work: Work) -> bool:
    """Whether this work folder was interrupted after its shards were merged."""
    return (work.path / FILE).is_file()


def merge(work: Work, job: Job, source: Source, shards: int, precision: str) -> None:
    """Write vectors.safetensors and ids.parquet, fill the metrics, remove the shards."""
    if not merged(work):
        notes = _Notes()
        tables = []
        for number in range(shards):
            found = json.loads(job.stem(number).with_suffix(".json").read_text())
            tables.append(pa.table([found[name] for name in _SCHEMA.names], schema=_SCHEMA))
            notes.add(found)
        ids = pa.concat_tables(tables) if tables else _SCHEMA.empty_table()
        pq.write_table(ids, work.path / IDS)
        removed = _removed(source, ids)
        write_text(work.path / "notes.json", json.dumps(notes.metrics() | {"removed": removed}))
        scale = _scale(job, source, shards) if precision == "int8" else None
        dtype = np.dtype(precision)
        blocks = (block if scale is None else _round(block, scale) for block in _blocks(job, shards))
        write_tensors(work.path / FILE, blocks, (ids.num_rows, job.dim), dtype, scale)
    shutil.rmtree(job.out, ignore_errors=True)
    work.metrics = json.loads((work.path / "notes.json").read_text())


def drop_reused(work: Work, job: Job) -> None:
    """Remove from an interrupted run whatever was copied from an older store."""
    if merged(work) and json.loads((work.path / "notes.json").read_text())["reused"]:
        (work.path / FILE).unlink()
    for path in job.out.glob("*.json"):
        if json.loads(path.read_text())["reused"]:
            path.unlink()


class _Notes:
    """Counts over all shards, and the first names of what could not be read or has nothing to read."""

    def __init__(self):
        self.items = self.reused = 0
        self.seen: dict[str, int] = {}
        self.problems: dict[str, str] = {}
        self.neither: list[str] = []
        self.zero: list[str] = []

    def add(self, found: dict[str, Any]) -> None:
        self.items += len(found["item_id"])
        self.reused += found["reused"]
        self.seen = {key: self.seen.get(key, 0) + count for key, count in found["seen"].items()}
        self.problems |= {name: why for name, why in zip(found["item_id"], found["problem"], strict=True) if why}
        self.neither += found["neither"]
        self.zero += found["zero"]

    def metrics(self) -> dict[str, Any]:
        seen = {"picture": 0, "text": 0, "titles": 0, "caption": 0} | self.seen
        return {
            "items": self.items, "encoded": self.items - self.reused, "reused": self.reused,
            "no_picture": self.items - seen["picture"], "no_text": self.items - seen["text"],
            "with_boards": seen["titles"], "with_caption": seen["caption"],
            "unreadable_pictures": len(self.problems), "unreadable_first": dict(list(self.problems.items())[:_NAMED]),
            "neither": len(self.neither), "neither_first": self.neither[:_NAMED],
            "zero_vectors": len(self.zero), "zero_first": self.zero[:_NAMED],
        }  # fmt: skip


def _removed(source: Source, ids: pa.Table) -> int:
    if source.old is None:
        return 0
    now = set(ids["item_id"].to_pylist())
    return sum(item_id not in now for item_id in source.old.vectors.ids)


def _blocks(job: Job, shards: int) -> Iterator[np.ndarray]:
    for number in range(shards):
        yield np.load(job.stem(number).with_suffix(".npy"), allow_pickle=False)


def _scale(job: Job, source: Source, shards: int) -> np.ndarray:
    """(D,) float32 step of every dimension: the largest absolute value / 127, at least the older store's."""
    largest = np.zeros(job.dim, np.float32)
    for block in _blocks(job, shards):
        largest = np.maximum(largest, np.abs(block).max(0))
    scale = (largest / _STEPS).astype(np.float32)
    before = source.old.vectors.scale if source.old is not None else None
    return scale if before is None else np.maximum(scale, before)


def _round(block: np.ndarray, scale: np.ndarray) -> np.ndarray:
    steps = np.rint(block / np.where(scale > 0, scale, 1))
    return np.clip(steps, -_STEPS, _STEPS).astype(np.int8)
