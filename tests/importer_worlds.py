"""What the tests of importers share: pictures, items, and a catalogue's refused rows."""

import io
from pathlib import Path

import pyarrow as pa
from PIL import Image

from navigator.contracts import Catalog
from navigator.importers.ingest import Limits, Source, write_catalog


def picture(side: int = 8, colour: str = "red", kind: str = "PNG", mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (side, side), colour).save(buffer, kind)
    return buffer.getvalue()


def links(**columns: list) -> list[pa.RecordBatch]:
    return [pa.record_batch(columns)]


def write(out: Path, source: Source, **limits) -> dict:
    return write_catalog(out, {"importer": "test"}, {}, lambda: source, Limits(**limits))


def rejects(out: Path) -> list[tuple[str, int, str, str]]:
    return [tuple(row.values()) for row in Catalog.open(out).table("rejects").to_pylist()]


def item(item_id: object, **more: object) -> dict:
    return {"item_id": item_id, "title": "thing", **more}


ITEMS = [
    item("a", image=picture()),  # 0 good
    item("b", image=b"no picture at all"),  # 1
    item("c", image=picture(40)),  # 2: 1,600 pixels
    item("d"),  # 3 no picture
    item("a", image=picture()),  # 4
    {"item_id": "e", "title": " ", "description": None, "image": picture()},  # 5
    item(None, image=picture()),  # 6
    {"item_id": "f", "title": 5, "image": picture()},  # 7
    item("g", image=picture(colour="blue")),  # 8 good
    item("h", keywords="not a list", image=picture()),  # 9
    item("i", image=picture()[:48]),  # 10 cut off
    item("j", image=Path("no-such-file.png")),  # 11
    item(7, image=picture()),  # 12 good: a whole number is an id
]


BOARDS = [{"board_id": "x", "title": "X", "owner_id": "u"}, {"board_id": "x"}, {"board_id": None}, {"board_id": "y"},
          {"board_id": "v", "part": "validation"}]  # fmt: skip


def bad_world() -> Source:
    saves = links(
        board_id=["x", "x", "x", "zz", "x", "y", "x", "x"],
        item_id=["a", "g", "b", "a", "a", "a", None, "g"],
        saved_at=["10", "2020-01-01T00:00:00Z", None, None, None, "yesterday", None, "5"],
    )
    log = links(
        user_id=["u", "u", "w", "u", "u", "w"],
        item_id=["g", "a", "a", "nope", "a", "7"],
        at=[5, 5, 9, 1, 5, 1577836800000],
    )
    return Source(ITEMS, BOARDS, saves, log)
