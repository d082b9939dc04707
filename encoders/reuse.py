"""What need not be embedded again: rows of an older store whose item did not change, told by a hash of what was read.

A row is copied only from a store of the very same recipe (encoder, fusion, precision, prefix), so that a copy is what
encoding would give, up to the rounding of another batch.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from navigator.contracts import ItemVectors, UserError, read_manifest

IDS = "ids.parquet"
_HASH_BYTES = 16


def content_hash(picture: bytes, text: str, titles: Sequence[str], caption: str) -> str:
    """32 hex digits of everything of an item that an encoder reads; the order of its boards does not matter."""
    sha = hashlib.blake2b(digest_size=_HASH_BYTES)
    words = [text, caption, *sorted(titles)]
    for part in (picture, *(word.encode() for word in words)):
        sha.update(len(part).to_bytes(8, "little") + part)
    return sha.hexdigest()


@dataclass(frozen=True)
class OldStore:
    """An older store: its vectors, the hash of what each row was made from and what was wrong with pictures."""

    vectors: ItemVectors
    content: np.ndarray
    problems: dict[int, str]

    @classmethod
    def open(cls, path: Path) -> "OldStore":
        table = pq.read_table(path / IDS, columns=["content", "problem"])
        content = np.array(table["content"].to_pylist(), f"S{2 * _HASH_BYTES}")
        problems = {row: why for row, why in enumerate(table["problem"].to_pylist()) if why}
        return cls(ItemVectors.open(path), content, problems)

    def find(self, item_ids: Sequence[str], content: Sequence[str]) -> np.ndarray:
        """(n,) int64 rows of this store that hold these items unchanged, -1 where there is none."""
        rows = np.array([self.vectors.index.get(item_id, -1) for item_id in item_ids], np.int64)
        known = np.flatnonzero(rows >= 0)
        same = self.content[rows[known]] == np.array(content, self.content.dtype)[known]
        rows[known[~same]] = -1
        return rows


def reusable(places: Sequence[Path], config: dict[str, Any]) -> Path | None:
    """The first of these stores that is whole, of this very config (whatever its encoder was called) and has hashes."""
    for path in places:
        try:
            manifest = read_manifest(path, "vectors", "navigator embed")
        except UserError:
            continue
        same = manifest.config | {"encoder_name": None} == config | {"encoder_name": None}
        if same and {"content", "problem"} <= set(pq.read_schema(path / IDS).names):
            return path
    return None
