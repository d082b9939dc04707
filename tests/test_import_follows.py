"""Follows: who follows which board, an optional table of the catalogue."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from navigator.catalog_commands import import_table, show
from navigator.contracts import Catalog, UserError
from navigator.contracts.catalog import FOLLOWS

FOLLOWED = "user_id,board_id,at\nann,x,1577836800\nbob,y,2020-01-01\nann,x,5\n,x,\nann,z,\nbob,x,soon\ncem,x,\n"


def tables(folder: Path, follows: str | None = FOLLOWED) -> dict[str, Any]:
    texts = {
        "items": "item_id,title\na,one\nb,two\n",
        "boards": "board_id,title\nx,first\ny,second\n",
        "board_items": "board_id,item_id\nx,a\ny,b\n",
        "interactions": "user_id,item_id,at\nann,a,9\n",
    } | ({} if follows is None else {"follows": follows})
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text)
    return {name: folder / f"{name}.csv" for name in texts}


def test_follows_come_in_and_bad_rows_are_counted_and_named(tmp_path: Path) -> None:
    answer = import_table(tmp_path / "c", **tables(tmp_path))
    catalog = Catalog.open(tmp_path / "c")
    kept = [tuple(row.values()) for row in catalog.table("follows").to_pylist()]
    assert kept == [("ann", "x", 1577836800), ("bob", "y", 1577836800), ("cem", "x", None)]
    refused = [tuple(row.values()) for row in catalog.table("rejects").to_pylist()]
    assert refused == [
        ("follows", 2, "ann x", "duplicate follow"),
        ("follows", 3, "x", "wrong type"),
        ("follows", 4, "ann z", "unknown board"),
        ("follows", 5, "bob x", "wrong type"),
    ]
    assert answer["counts"]["follows"] == 3 and answer["counts"]["rejects"] == 4
    assert answer["rejects"] == {"wrong type": 2, "unknown board": 1, "duplicate follow": 1}
    assert catalog.has("follows") and catalog.rows("follows") == 3
    assert catalog.table("follows").schema.equals(FOLLOWS)
    assert import_table(tmp_path / "c", **tables(tmp_path))["unchanged"]
    changed = import_table(tmp_path / "c", **tables(tmp_path, "user_id,board_id\nann,y\n"))
    assert not changed["unchanged"] and changed["counts"]["follows"] == 1


def test_a_row_that_is_itself_refused_does_not_make_a_later_one_a_repeat(tmp_path: Path) -> None:
    import_table(tmp_path / "c", **tables(tmp_path, "user_id,board_id,at\nann,x,soon\nann,x,7\n"))
    assert Catalog.open(tmp_path / "c").table("follows").to_pylist() == [{"user_id": "ann", "board_id": "x", "at": 7}]


def test_a_catalogue_without_follows_has_an_empty_table(tmp_path: Path) -> None:
    answer = import_table(tmp_path / "c", **tables(tmp_path, None))
    catalog = Catalog.open(tmp_path / "c")
    assert "follows" not in answer["counts"] and not catalog.has("follows")
    assert catalog.rows("follows") == 0 and catalog.table("follows").schema.equals(FOLLOWS)
    assert catalog.table("follows", ["board_id"]).column_names == ["board_id"]
    assert show(tmp_path / "c")["counts"]["boards"] == 2


def test_columns_are_mapped_and_strict_stops(tmp_path: Path) -> None:
    files = tables(tmp_path, None)
    pq.write_table(pa.table({"who": [1, 2], "what": ["x", "y"]}), tmp_path / "f.parquet")
    names = {"follows.user_id": "who", "follows.board_id": "what"}
    import_table(tmp_path / "c", **files, follows=tmp_path / "f.parquet", columns=names)
    kept = [tuple(row.values()) for row in Catalog.open(tmp_path / "c").table("follows").to_pylist()]
    assert kept == [("1", "x", None), ("2", "y", None)]
    with pytest.raises(UserError, match=r"no column for board_id; name it with --columns board_id=NAME"):
        import_table(tmp_path / "d", **files, follows=tmp_path / "f.parquet", columns={"follows.user_id": "who"})
    with pytest.raises(UserError, match=r"follows row 2 \(id 'ann x'\): duplicate follow"):
        import_table(tmp_path / "d", **tables(tmp_path), strict=True)
    assert not (tmp_path / "d").exists()
