"""What people see of the catalogue: titles and descriptions, boards, and pictures made small once and kept."""

import io
import threading
from collections import OrderedDict
from functools import cached_property
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from PIL import Image

from encoders.pictures import UnreadablePictureError, flatten_picture
from navigator.contracts import Catalog
from navigator.refusal import Refusal

SIZES = (64, 128, 256, 512)
KEPT_BYTES = 64 << 20
_QUALITY = 80


class Shelf:
    """A catalogue by item: words in memory, pictures read from their row group when asked for."""

    def __init__(self, catalog: Catalog, kept_bytes: int = KEPT_BYTES):
        self.catalog, self._file = catalog, catalog.path / "items.parquet"
        groups = pq.read_metadata(self._file)
        sizes = [groups.row_group(n).num_rows for n in range(groups.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._kept_bytes, self._room, self._lock = 0, kept_bytes, threading.Lock()

    @cached_property
    def words(self) -> pa.Table:
        """item_id, title, description and keywords in row order."""
        return self.catalog.table("items", ["item_id", "title", "description", "keywords"])

    def item(self, item_id: str) -> dict[str, object]:
        """Raises Refusal 404 for an unknown item."""
        row = self.words.slice(self._row(item_id), 1).to_pylist()[0]
        return {
            "item": item_id, "title": row["title"] or "", "description": row["description"] or "",
            "keywords": row["keywords"] or [],
        }  # fmt: skip

    def picture(self, item_id: str, size: int) -> bytes:
        """The picture as WebP, its longer side at most `size`; Refusal 404 where there is none that can be read."""
        key = (item_id, size)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = _small(self._read(item_id), item_id, size)
        with self._lock:
            self._kept_bytes += len(made) - len(self._kept.get(key, b""))
            self._kept[key] = made
            while self._kept_bytes > self._room and len(self._kept) > 1:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return made

    @cached_property
    def boards(self) -> pa.Table:
        """board, title and items of every board that holds an item, the largest first."""
        saves = self.catalog.table("board_items", ["board_id"])
        counts = saves.group_by("board_id").aggregate([([], "count_all")])
        joined = counts.join(self.catalog.table("boards", ["board_id", "title"]), "board_id", join_type="left outer")
        named = pa.table(
            {
                "board": joined["board_id"],
                "title": pc.call_function("coalesce", [joined["title"], joined["board_id"]]),
                "items": joined["count_all"],
            }
        )
        return named.sort_by([("items", "descending"), ("board", "ascending")])

    def find_boards(self, query: str, limit: int) -> list[dict[str, object]]:
        """Boards whose titles contain the words, the largest first."""
        rows = self.boards
        if query.strip():
            rows = rows.filter(pc.call_function("match_substring", [rows["title"]], _containing(query.strip())))
        return rows.slice(0, limit).to_pylist()

    def board(self, board_id: str, limit: int) -> tuple[str, list[str], int]:
        """Title, the first `limit` items and how many more; Refusal 404 for an unknown board."""
        found = self.boards.filter(pc.field("board") == board_id)
        if not len(found):
            raise Refusal(404, "board_not_found", "no such board; GET /v1/boards lists them", "board")
        saves = ds.dataset(self.catalog.path / "board_items.parquet").to_table(
            columns=["item_id"], filter=pc.field("board_id") == board_id
        )
        items = list(dict.fromkeys(saves["item_id"].to_pylist()))
        return found["title"][0].as_py(), items[:limit], max(0, len(items) - limit)

    def _row(self, item_id: str) -> int:
        row = self.catalog.item_index.get(item_id)
        if row is None:
            raise Refusal(404, "item_not_found", "no such item in the catalogue; check the id", "item")
        return row

    def _read(self, item_id: str) -> bytes:
        row = self._row(item_id)
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        with pq.ParquetFile(self._file) as file:  # opened anew: readers must not be shared by threads
            image = file.read_row_group(group, columns=["image"])["image"][row - int(self._starts[group])].as_py()
        if not image or not image["bytes"]:
            raise Refusal(404, "no_picture", "this item has no picture", "item")
        return image["bytes"]


def _small(picture: bytes, item_id: str, size: int) -> bytes:
    try:
        image = flatten_picture(picture, 2 * size)
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
    except (UnreadablePictureError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Refusal(404, "no_picture", "this item's picture cannot be read", "item") from error
    made = io.BytesIO()
    image.save(made, "WEBP", quality=_QUALITY, method=4)
    return made.getvalue()


def _containing(words: str) -> pc.MatchSubstringOptions:
    return pc.MatchSubstringOptions(words, ignore_case=True)


def picture_path(item_id: str) -> str:
    """Where an item's picture is served."""
    return f"/v1/items/{quote(item_id, safe='')}/picture"
