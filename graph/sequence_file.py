"""sequences.parquet written block by block, straight from arrays: no Python object a save."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graph.saves import Saves
from graph.split import OUT, TEST, TRAIN, VALID
from navigator.contracts.signals import SEQUENCES, Task


class SequenceFile:
    """A sequences.parquet being written, one row group a block (see navigator.contracts.signals)."""

    def __init__(self, path: Path, item_ids: pa.Array):
        self.item_ids = item_ids
        self.writer = pq.ParquetWriter(path, SEQUENCES)

    def append(self, task: Task, saves: Saves, part: np.ndarray, titles: pa.Array | None = None) -> None:
        """The owners of a block that have a save in any part; `titles` by owner position."""
        inside = part != OUT
        saves, part = (saves, part) if inside.all() else (saves.rows(inside), part[inside])
        sizes = np.bincount(saves.owner, minlength=len(saves.ids))
        present = np.flatnonzero(sizes)
        if not len(present):
            return
        picked = pa.array(present)
        columns = {
            "task": pa.repeat(pa.scalar(task, pa.string()), len(present)),
            "owner": pa.array(saves.ids, pa.string()).take(picked),
            "title": titles.take(picked) if titles is not None else pa.repeat(pa.scalar("", pa.string()), len(present)),
        }
        for name, value in (("items", TRAIN), ("valid", VALID), ("test", TEST)):
            chosen = part == value
            length = np.bincount(saves.owner[chosen], minlength=len(saves.ids))[present]
            bounds = pa.array(np.concatenate([[0], np.cumsum(length)]), pa.int32())
            items = self.item_ids.take(pa.array(saves.item[chosen]))
            columns[name] = pa.ListArray.from_arrays(bounds, items)
        self.writer.write_table(pa.table(columns, schema=SEQUENCES))

    def close(self) -> None:
        self.writer.close()
