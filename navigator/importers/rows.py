"""One raw row of items or boards -> the contract's row, or the reason why not."""

import json
from typing import Any

import pyarrow as pa

from navigator.contracts.catalog import BOARD_PARTS, ITEMS
from navigator.importers.pictures import PictureError, picture_bytes, shrink

Row = dict[str, Any]


def item_schema(extra: tuple[str, ...]) -> pa.Schema:
    """The contract's item columns and the `extra` string columns, also in the metadata that `datasets` reads."""
    schema = ITEMS
    info = json.loads((ITEMS.metadata or {})[b"huggingface"])
    for name in extra:
        schema = schema.append(pa.field(name, pa.string()))
        info["info"]["features"][name] = {"dtype": "string", "_type": "Value"}
    return schema.with_metadata({"huggingface": json.dumps(info)})


def take_item(raw: Row, extra: tuple[str, ...], max_side: int, max_pixels: int) -> Row | str:
    """Check one item and shrink its picture. A string is the reason of a reject."""
    item_id = as_id(raw.get("item_id"))
    words = {name: raw.get(name) or "" for name in ("title", "description", *extra)}
    keywords = raw.get("keywords") or []
    text = raw.get("text")
    if item_id is None or not all(isinstance(value, str) for value in (*words.values(), text or "")):
        return "wrong type"
    if not isinstance(keywords, list) or not all(isinstance(keyword, str) for keyword in keywords):
        return "wrong type"
    words = {name: value.strip() for name, value in words.items()}
    if not words["title"] and not words["description"]:
        return "empty text"
    if text is None:
        text = ". ".join(part for part in (words["title"], words["description"], ", ".join(keywords)) if part)
    try:
        picture = picture_bytes(raw.get("image"))
        image = None if picture is None else {"bytes": shrink(picture, max_side, max_pixels), "path": None}
    except PictureError as error:
        return str(error)
    return {"item_id": item_id, **words, "keywords": keywords, "image": image, "text": text.strip()}


def take_board(raw: Row) -> Row | str:
    """Check one board; a missing title or owner is an empty string, a missing part null. A string is the reason of a reject."""
    board_id = as_id(raw.get("board_id"))
    title, owner = raw.get("title") or "", "" if raw.get("owner_id") is None else as_id(raw["owner_id"])
    if board_id is None or owner is None or not isinstance(title, str):
        return "wrong type"
    part = raw.get("part") or None
    if part is not None and part not in BOARD_PARTS:
        return "unknown part"
    return {"board_id": board_id, "title": title.strip(), "owner_id": owner, "part": part}


def as_id(value: Any) -> str | None:
    """An external id as a string: strings and whole numbers are ids, anything else (null, empty, true, 1.5) is not."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) or None
