"""What the encoder reads of items, shard by shard, from any shard of the catalogue on, in bounded memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from encoders.reuse import OldStore, content_hash
from navigator.contracts import Catalog, Manifest, UserError, read_manifest
from navigator.contracts.signals import board_titles, read_sequences


class Source:
    """A catalogue's items with the titles of their training boards and the rows that an older store has of them."""

    def __init__(self, catalog: Path, taste_graph: Path | None = None, old: Path | None = None):
        self.catalog = Catalog.open(catalog)
        self.titles: list[list[str]] | None = None
        if taste_graph is not None:
            open_graph(taste_graph, self.catalog)
            sequences = read_sequences(taste_graph / "sequences.parquet", self.catalog.item_index)
            self.titles = board_titles(sequences, self.catalog.rows("items"))
        self.old = OldStore.open(old) if old is not None else None

    def shards(self, numbers: Sequence[int], size: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Shards of `size` items by ascending number; each item has item_id, picture, text, titles, caption, content.

        Blank words are "" and a missing picture b"".
        """
        with pq.ParquetFile(self.catalog.path / "items.parquet") as file:
            groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
            starts = np.concatenate([[0], np.cumsum(groups)])
            columns = ["item_id", "text", "image"]
            columns += ["caption"] if "caption" in file.schema_arrow.names else []
            done = 0
            while done < len(numbers):
                run = _run(numbers, done)
                rows = self._rows(file, columns, starts, numbers[done] * size)
                for number in numbers[done : done + run]:
                    yield number, [item for _, item in zip(range(size), rows, strict=False)]
                done += run

    def _rows(
        self, file: pq.ParquetFile, columns: list[str], starts: np.ndarray, first: int
    ) -> Iterator[dict[str, Any]]:
        """Items from row `first` on; row groups before it are not read."""
        group = int(np.searchsorted(starts, first, "right")) - 1
        for at in range(group, len(starts) - 1):
            row = int(starts[at])
            # A reader of all row groups keeps what it read: 6 kB an item on openclipart.
            for batch in file.iter_batches(batch_size=_READ, row_groups=[at], columns=columns):
                skip = min(max(first - row, 0), len(batch))
                for i, found in enumerate(batch.slice(skip).to_pylist(), row + skip):
                    yield self._item(found, i)
                row += len(batch)

    def _item(self, row: dict[str, Any], position: int) -> dict[str, Any]:
        item = {
            "item_id": row["item_id"],
            "picture": (row["image"] or {}).get("bytes") or b"",
            "text": row["text"] if (row["text"] or "").strip() else "",
            "titles": self.titles[position] if self.titles is not None else [],
            "caption": row["caption"] if (row.get("caption") or "").strip() else "",
        }
        return item | {"content": content_hash(item["picture"], item["text"], item["titles"], item["caption"])}


_READ = 128  # rows decoded at a time


def open_graph(path: Path, catalog: Catalog) -> Manifest:
    """The manifest of a taste graph of this catalogue.

    Raises:
        UserError: missing, half-written or built from another catalogue.
    """
    manifest = read_manifest(path, "graph", f"navigator graph build {catalog.path} --out {path}")
    if manifest.inputs.get("catalog") != catalog.fingerprint:
        raise UserError(
            f"taste graph {path} was built from catalogue {manifest.inputs.get('catalog')}; {catalog.path} is "
            f"{catalog.fingerprint}; give the graph of this catalogue, or build one with "
            f"`navigator graph build {catalog.path} --out ...`"
        )
    return manifest


def _run(numbers: Sequence[int], start: int) -> int:
    """How many of the numbers follow each other from `start` on."""
    run = 1
    while start + run < len(numbers) and numbers[start + run] == numbers[start] + run:
        run += 1
    return run
