"""Anybody's CSV or Parquet files, with a column mapping from the command line.

Every CSV cell is read as text, so that an id such as 007 stays what it is. Further columns of the items come along as
text: the bench reads them as labels. No model does, for `text` is made of title, description and keywords alone.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from navigator.contracts import UserError
from navigator.contracts.manifest import file_digest
from navigator.importers.files import batches, count, file_schema, query_schema, quoted, scan
from navigator.importers.ingest import Limits, Source, tree_digest, write_catalog

COLUMNS = {
    "items": ("item_id", "title", "description", "keywords", "image", "text"),
    "boards": ("board_id", "title", "owner_id", "part"),
    "board_items": ("board_id", "item_id", "saved_at"),
    "interactions": ("user_id", "item_id", "action", "at", "value"),
    "follows": ("user_id", "board_id", "at"),
}
_NEEDED = {
    "items": ("item_id",), "boards": ("board_id",), "board_items": ("board_id", "item_id"),
    "interactions": ("user_id", "item_id"), "follows": ("user_id", "board_id"),
}  # fmt: skip


def import_table(
    out: Path, items: Path, interactions: Path | None = None, boards: Path | None = None,
    board_items: Path | None = None, columns: dict[str, str] | None = None, image_root: Path | None = None,
    separator: str = ",", strict: bool = False, max_pixels: int = 50_000_000, max_side: int = 256,
    follows: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Import CSV, TSV or Parquet files.

    Args:
        out: catalogue folder to write.
        items: file of items: item_id, title, description, keywords, image (bytes or a path), text; further columns of
            plain values are kept under their names, as text.
        interactions: file of user_id, item_id and perhaps action, at (seconds or ISO time), value.
        boards: file of board_id and perhaps title, owner_id, part (train, valid or test: boards of the latter two are kept
            from training by `navigator graph build`; empty is train); without it boards are those that board_items names.
        board_items: file of board_id, item_id and perhaps saved_at (seconds or ISO time).
        columns: what your columns are called, as in item_id=sku,title=name. It holds for every file that has such a
            column; interactions.item_id=product holds for one file.
        image_root: folder that paths in the image column start from; none may lead out of it.
        separator: between keywords that stand in one text cell.
        strict: stop at the first reject instead of counting it.
        max_pixels: largest picture that is decoded, width x height.
        max_side: side of the square, in pixels, that stored pictures fit.
        follows: file of user_id, board_id and perhaps at (seconds or ISO time): who follows which board.
    """
    given = {
        "items": items, "boards": boards, "board_items": board_items, "interactions": interactions, "follows": follows,
    }  # fmt: skip
    files = {table: Path(path) for table, path in given.items() if path is not None}
    selects = _selects(files, columns or {})
    extra, left_out = _further(file_schema(files["items"]), columns or {})
    paths = _holds_paths(selects["items"])
    if paths and image_root is None:
        raise UserError(f"the image column of {items} holds paths; say where they start with --image-root FOLDER")
    inputs = {table: file_digest(path) for table, path in files.items()}
    if image_root is not None:
        if not Path(image_root).is_dir():
            raise UserError(f"image_root {image_root} is not a folder; give the folder that image paths start from")
        inputs["image_root"] = tree_digest(image_root)

    def read() -> Source:
        def stream(table: str) -> Iterator[pa.RecordBatch]:
            return batches(selects[table]) if table in selects else iter(())

        own_boards = (row for batch in stream("boards") for row in batch.to_pylist()) if "boards" in selects else None
        rows = (_item(row, image_root, separator) for batch in stream("items") for row in batch.to_pylist())
        followed = stream("follows") if "follows" in selects else None
        return Source(rows, own_boards, stream("board_items"), stream("interactions"), followed, total, tuple(extra),
                      _has_part(selects))  # fmt: skip

    total = count(selects["items"])
    config = {"importer": "table", "columns": columns or {}, "separator": separator, "columns_kept": extra}
    config |= {"parted": True} if _has_part(selects) else {}
    metrics = {"columns_kept": extra, "columns_left_out": left_out}
    return write_catalog(out, config, inputs, read, Limits(strict, max_pixels, max_side), metrics)


def _selects(files: dict[str, Path], mapping: dict[str, str]) -> dict[str, str]:
    """table -> the SQL that reads it under the contract's names.

    Raises:
        UserError: a missing file or needed column, an unknown format, an unknown name on either side of the mapping.
    """
    _check_keys(mapping)
    schemas = {table: file_schema(path) for table, path in files.items()}
    present = {table: schema.names for table, schema in schemas.items()}
    for key, name in mapping.items():
        tables = [key.split(".")[0]] if "." in key else [t for t in files if key in COLUMNS[t]]
        if not any(name in present.get(table, ()) for table in tables):
            table = next((t for t in tables if t in files), None)
            if table is None:
                raise UserError(
                    f"columns maps {key}={name}, but no file for it is given; give --{key.split('.')[0]} FILE"
                )
            raise UserError(f"no column {name!r} (for {key}) in {files[table]}; it has {', '.join(present[table])}")
    selects = {}
    for table, path in files.items():
        chosen = _chosen(table, mapping, present[table])
        lacking = next((column for column in _NEEDED[table] if column not in chosen), None)
        if lacking:
            has = ", ".join(present[table])
            raise UserError(f"{path} has no column for {lacking}; name it with --columns {lacking}=NAME, one of {has}")
        parts = [f"{quoted(name)} AS {quoted(column)}" for column, name in chosen.items()]
        if table == "items":
            kept, _ = _further(schemas[table], mapping)
            parts += [f"CAST({quoted(name)} AS VARCHAR) AS {quoted(name)}" for name in kept]
        selects[table] = f"SELECT {', '.join(parts)} FROM {scan(path)}"
    return selects


def _check_keys(mapping: dict[str, str]) -> None:
    plain = list(dict.fromkeys(column for columns in COLUMNS.values() for column in columns))
    dotted = {f"{table}.{column}" for table, columns in COLUMNS.items() for column in columns}
    for key in mapping:
        if key not in plain and key not in dotted:
            raise UserError(f"columns names {key!r}; the columns to map are {', '.join(plain)}, or TABLE.COLUMN")


def _chosen(table: str, mapping: dict[str, str], present: list[str]) -> dict[str, str]:
    """Contract column -> the file's column: its own mapping, the general one if it fits, the contract's name."""
    chosen = {}
    for column in COLUMNS[table]:
        wanted = (mapping.get(f"{table}.{column}"), mapping.get(column), column)
        name = next((name for name in wanted if name in present), None)
        if name is not None:
            chosen[column] = name
    return chosen


def _further(schema: pa.Schema, mapping: dict[str, str]) -> tuple[list[str], list[str]]:
    """Columns of the items file that became no column of the contract: those kept as text, and those left out.

    Left out are bytes, nested values, and what is called like a column of the contract that another one became.
    """
    used = set(_chosen("items", mapping, schema.names).values())
    rest = [field for field in schema if field.name not in used]
    kept = [f.name for f in rest if f.name.lower() not in COLUMNS["items"] and _is_plain(f.type)]
    return kept, [field.name for field in rest if field.name not in kept]


def _is_plain(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _has_part(selects: dict[str, str]) -> bool:
    return "boards" in selects and "part" in query_schema(selects["boards"]).names


def _holds_paths(select: str) -> bool:
    schema = query_schema(select)
    return "image" in schema.names and pa.types.is_string(schema.field("image").type)


def _item(row: dict[str, Any], image_root: Path | None, separator: str) -> dict[str, Any]:
    keywords = row.get("keywords")
    if isinstance(keywords, str):
        keywords = [part for part in (piece.strip() for piece in keywords.split(separator)) if part]
    return {**row, "keywords": keywords, "image": _image(row.get("image"), image_root)}


def _image(value: Any, image_root: Path | None) -> Any:
    """Bytes, or a path below `image_root`. A path that leads out of it stays text, "wrong type" to the writer."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if not isinstance(value, str) or not value or image_root is None:
        return value or None
    path = (image_root / value).resolve()
    return path if path.is_relative_to(Path(image_root).resolve()) else value
