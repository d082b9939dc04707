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
