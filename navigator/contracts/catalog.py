"""The catalogue: a folder of Parquet files, the one form in which pictures, words and saves enter Navigator.

    items.parquet         item_id, title, description, keywords[], image {bytes, path}, text, ... (further columns are kept)
    boards.parquet        board_id, title, owner_id, part?
    board_items.parquet   board_id, item_id, saved_at?
    interactions.parquet  user_id, item_id, action, at?
    follows.parquet       user_id, board_id, at?          only where the source has follows
    rejects.parquet       table, row, id, reason        every row that an importer refused
    manifest.json         written last

External ids are strings. Contiguous integers exist only inside a process: an item's index is its row in items.parquet.
Times are seconds since 1970 (int64). `text` is what encoders and language models read of an item; `title` is what people
see. They differ where a title would give away the answer (see navigator/importers/openclipart.py). `part` is there where
the source says which boards training may see: train (or null), valid or test.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from navigator.contracts.errors import UserError
from navigator.contracts.manifest import Manifest, read_manifest

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
# Tells `datasets` to decode `image` as a picture.
_FEATURES = {
    "item_id": {"dtype": "string", "_type": "Value"},
    "title": {"dtype": "string", "_type": "Value"},
    "description": {"dtype": "string", "_type": "Value"},
    "keywords": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"},
    "image": {"_type": "Image"},
    "text": {"dtype": "string", "_type": "Value"},
}
ITEMS = pa.schema(
    [
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("description", pa.string()),
        ("keywords", pa.list_(pa.string())),
        ("image", _IMAGE),
        ("text", pa.string()),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)
BOARDS = pa.schema([("board_id", pa.string()), ("title", pa.string()), ("owner_id", pa.string())])
BOARD_PARTS = ("train", "valid", "test")  # by number in graph.split
PARTED_BOARDS = BOARDS.append(pa.field("part", pa.string()))  # with the column that is not always there
BOARD_ITEMS = pa.schema([("board_id", pa.string()), ("item_id", pa.string()), ("saved_at", pa.int64())])
INTERACTIONS = pa.schema(
    [("user_id", pa.string()), ("item_id", pa.string()), ("action", pa.string()), ("at", pa.int64())]
)
FOLLOWS = pa.schema([("user_id", pa.string()), ("board_id", pa.string()), ("at", pa.int64())])
REJECTS = pa.schema([("table", pa.string()), ("row", pa.int64()), ("id", pa.string()), ("reason", pa.string())])
TABLES = {
    "items": ITEMS, "boards": BOARDS, "board_items": BOARD_ITEMS, "interactions": INTERACTIONS, "rejects": REJECTS,
}  # fmt: skip
OPTIONAL = {"follows": FOLLOWS}  # a catalogue may lack the file: it then has no such rows


@dataclass(frozen=True)
class Catalog:
    """A complete catalogue folder, opened for reading."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | Path) -> "Catalog":
        """Raises UserError when the folder is missing, half-written or not a catalogue."""
        path = Path(path)
        manifest = read_manifest(path, "catalog", f"navigator import ... --out {path}")
        missing = [name for name in TABLES if not (path / f"{name}.parquet").is_file()]
        if missing:
            raise UserError(f"catalog {path} lacks {missing[0]}.parquet; import it again")
        return cls(path, manifest)

    @property
    def fingerprint(self) -> str:
        return self.manifest.fingerprint

    def has(self, name: str) -> bool:
        """Whether the table's file is there; only a table of OPTIONAL may lack it."""
        return (self.path / f"{name}.parquet").is_file()

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """One table, whole; give `columns` to leave the pictures on disk. One of OPTIONAL without a file has no rows."""
        if name in OPTIONAL and not self.has(name):
            return OPTIONAL[name].empty_table().select(columns or OPTIONAL[name].names)
        return pq.read_table(self.path / f"{name}.parquet", columns=columns)

    def rows(self, name: str) -> int:
        if name in OPTIONAL and not self.has(name):
            return 0
        return pq.read_metadata(self.path / f"{name}.parquet").num_rows

    def columns(self, name: str) -> list[str]:
        """Column names of one table, those beyond the contract among them."""
        return pq.read_schema(self.path / f"{name}.parquet").names

    @cached_property
    def item_ids(self) -> list[str]:
        """External ids in row order: the position is the internal index."""
        return self.table("items", ["item_id"])["item_id"].to_pylist()

    @cached_property
    def item_index(self) -> dict[str, int]:
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    def batches(self, columns: list[str], batch_size: int) -> Iterator[pa.RecordBatch]:
        """Items in row order, `batch_size` rows at a time (a batch may be shorter at a row group's end)."""
        with pq.ParquetFile(self.path / "items.parquet") as file:
            for group in range(file.num_row_groups):  # one reader of all groups would keep what it read
                yield from file.iter_batches(batch_size=batch_size, row_groups=[group], columns=columns)

    def images(self, item_ids: list[str]) -> dict[str, bytes]:
        """Picture bytes of the named items (items without a picture are left out); reads only matching row groups."""
        wanted = pa.array(sorted(set(item_ids)), pa.string())
        found = pq.read_table(
            self.path / "items.parquet", columns=["item_id", "image"], filters=[("item_id", "in", wanted.to_pylist())]
        )
        rows = zip(found["item_id"].to_pylist(), found["image"].to_pylist(), strict=True)
        return {item_id: image["bytes"] for item_id, image in rows if image and image["bytes"]}


def held_out(item_ids: Sequence[str], fraction: float, name: str = "holdout-v1") -> np.ndarray:
    """(n,) bool: a fixed share of the items, chosen by their ids alone, that an encoder is measured on and never tuned on.

    Another `name` chooses another share, independently.

    Raises:
        UserError: a share outside 0..1.
    """
    if not 0 <= fraction < 1:
        raise UserError(f"holdout {fraction}: allowed is a share of the items from 0 to below 1, such as 0.1")
    heads = [hashlib.sha256(f"{name}|{item_id}".encode()).hexdigest()[:8] for item_id in item_ids]
    return np.array([int(head, 16) / 2**32 < fraction for head in heads], bool)
