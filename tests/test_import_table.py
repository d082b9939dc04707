"""The importer `table`: columns by name, parts of boards, further columns, Parquet with pictures, errors."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from importer_worlds import picture, rejects
from navigator.catalog_commands import import_table
from navigator.contracts import Catalog, UserError

FASHION = Path(__file__).parents[1].parent / "shared" / "data" / "fashion" / "items.parquet"


def shop(folder: Path) -> dict[str, Any]:
    """A shop's own files, with its own column names."""
    (folder / "img").mkdir()
    (folder / "img" / "1.png").write_bytes(picture())
    (folder / "secret.png").write_bytes(picture())
    files = {
        "items": 'sku,name,tags,photo\n007,Red hat,"hats, red",1.png\n8,Blue hat,,\n9,Spy hat,,../secret.png\n',
        "interactions": "who,product,when\nann,007,2020-01-01 00:00:00+02:00\nann,8,1577836800\nbob,5,\n",
        "board_items": "board_id,sku\nwinter,007\nwinter,8\n",
    }
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return {name: folder / f"{name}.csv" for name in files}


NAMES = {
    "item_id": "sku", "title": "name", "keywords": "tags", "image": "photo", "user_id": "who", "at": "when",
    "interactions.item_id": "product",
}  # fmt: skip


def test_table_maps_columns(tmp_path: Path) -> None:
    answer = import_table(tmp_path / "c", **shop(tmp_path), columns=NAMES, image_root=tmp_path / "img")
    assert answer["counts"] == {"items": 2, "boards": 1, "board_items": 2, "interactions": 2, "rejects": 2}
    assert rejects(tmp_path / "c") == [("items", 2, "9", "wrong type"), ("interactions", 2, "bob 5", "unknown item")]
    catalog = Catalog.open(tmp_path / "c")
    first = catalog.table("items").to_pylist()[0]
    assert (first["item_id"], first["title"], first["keywords"]) == ("007", "Red hat", ["hats", "red"])
    assert first["text"] == "Red hat. hats, red" and catalog.images(["007", "8"]) == {"007": picture()}
    assert catalog.table("boards").to_pylist() == [{"board_id": "winter", "title": "winter", "owner_id": ""}]
    assert [row["at"] for row in catalog.table("interactions").to_pylist()] == [1577829600, 1577836800]
    again = import_table(tmp_path / "c", **shop_files(tmp_path), columns=NAMES, image_root=tmp_path / "img")
    assert again["unchanged"]


def test_table_passes_the_part_of_boards_through_and_rejects_other_values(tmp_path: Path) -> None:
    files = shop(tmp_path)
    rows = "board_id,name,split\nwinter,W,test\nsummer,S,\nautumn,A,train\nspring,P,tset\n"
    (tmp_path / "boards.csv").write_text(rows)
    options = {"columns": {**NAMES, "part": "split", "boards.title": "name"}, "image_root": tmp_path / "img"}
    answer = import_table(tmp_path / "c", **files, boards=tmp_path / "boards.csv", **options)
    boards = Catalog.open(tmp_path / "c").table("boards").to_pylist()
    assert [(b["board_id"], b["part"]) for b in boards] == [("winter", "test"), ("summer", None), ("autumn", "train")]
    assert ("boards", 3, "spring", "unknown part") in rejects(tmp_path / "c") and answer["rejects"]["unknown part"] == 1
    options["columns"].pop("part")
    import_table(tmp_path / "c", **files, boards=tmp_path / "boards.csv", **options)
    assert Catalog.open(tmp_path / "c").columns("boards") == ["board_id", "title", "owner_id"]


def test_table_keeps_further_columns_as_text_and_names_those_it_leaves_out(tmp_path: Path) -> None:
    rows = {
        "id": [1, 2], "name": ["one", "two"], "photo": [picture(), None], "kind": ["hat", None], "year": [2011, None],
        "thumb": [b"1", b"2"], "sizes": [[1], [2]], "Title": ["loud", "loud"],
    }  # fmt: skip
    pq.write_table(pa.table(rows), tmp_path / "items.parquet")
    names = {"item_id": "id", "title": "name", "image": "photo"}
    answer = import_table(tmp_path / "c", tmp_path / "items.parquet", columns=names)
    assert answer["columns_kept"] == ["kind", "year"] and answer["columns_left_out"] == ["thumb", "sizes", "Title"]
    kept = Catalog.open(tmp_path / "c").table("items").drop_columns(["image"]).to_pylist()
    assert kept == [
        {
            "item_id": "1",
            "title": "one",
            "description": "",
            "keywords": [],
            "text": "one",
            "kind": "hat",
            "year": "2011",
        },
        {"item_id": "2", "title": "two", "description": "", "keywords": [], "text": "two", "kind": "", "year": ""},
    ]
    assert Catalog.open(tmp_path / "c").images(["1", "2"]) == {"1": picture()}


def test_table_keeps_further_columns_of_a_csv(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id,title,caption,year\n007,Red hat, a hat on a chair ,2011\n8,Blue,,\n")
    import_table(tmp_path / "c", tmp_path / "items.csv")
    items = Catalog.open(tmp_path / "c").table("items")
    assert items["caption"].to_pylist() == ["a hat on a chair", ""] and items["year"].to_pylist() == ["2011", ""]
    assert items["text"].to_pylist() == ["Red hat", "Blue"]


@pytest.mark.skipif(not FASHION.is_file(), reason="the shared fashion data is not here")
def test_table_takes_a_whole_parquet_with_pictures_and_labels(tmp_path: Path) -> None:
    source = pq.read_table(FASHION, columns=["item_id", "title", "article_type", "image"])
    answer = import_table(tmp_path / "c", FASHION)
    catalog = Catalog.open(tmp_path / "c")
    assert answer["counts"]["items"] == len(source) and answer["rejects"] == {}
    assert catalog.item_ids == [str(i) for i in source["item_id"].to_pylist()]
    items = catalog.table("items", ["text", "article_type"])
    assert items["text"].to_pylist() == [title.strip() for title in source["title"].to_pylist()]
    assert items["article_type"].to_pylist() == source["article_type"].to_pylist()
    assert catalog.images(catalog.item_ids[:1]) == {catalog.item_ids[0]: source["image"][0].as_py()}


def shop_files(folder: Path) -> dict[str, Any]:
    return {name: folder / f"{name}.csv" for name in ("items", "interactions", "board_items")}


def test_table_reads_parquet_with_pictures_and_typed_times(tmp_path: Path) -> None:
    rows = {"item_id": [1, 2], "title": ["one", "two"], "image": [{"bytes": picture(), "path": "x"}, None]}
    pq.write_table(pa.table({**rows, "keywords": [["k"], None]}), tmp_path / "items.parquet")
    at = pa.array([datetime(2020, 1, 1, tzinfo=UTC), None], pa.timestamp("us", "UTC"))
    log = pa.table({"user_id": [5, 5], "item_id": [2, 1], "at": at, "action": ["click", "save"], "value": [0.5, None]})
    pq.write_table(log, tmp_path / "log.parquet")
    import_table(tmp_path / "c", tmp_path / "items.parquet", interactions=tmp_path / "log.parquet")
    catalog = Catalog.open(tmp_path / "c")
    assert catalog.table("items")["keywords"].to_pylist() == [["k"], []] and list(catalog.images(["1", "2"])) == ["1"]
    kept = [tuple(row.values()) for row in catalog.table("interactions").to_pylist()]
    assert kept == [("5", "1", "save", None, None), ("5", "2", "click", 1577836800, 0.5)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": {**NAMES, "title": "nome"}}, r"no column 'nome' \(for title\).*it has sku, name, tags, photo"),
        ({"columns": {**NAMES, "titel": "name"}}, r"columns names 'titel'; the columns to map are item_id, title"),
        ({"columns": {"title": "name"}}, r"no column for item_id.*one of sku, name, tags, photo"),
        ({"columns": {**NAMES, "owner_id": "who"}}, r"no file for it is given"),
        ({"image_root": None}, r"--image-root FOLDER"),
        ({"items": Path("absent.csv")}, r"absent.csv does not exist"),
        ({"items": Path(__file__)}, r"unknown format; give a .csv, .tsv, .parquet"),
    ],
)
def test_table_errors_say_what_is_allowed(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        import_table(tmp_path / "c", **{**shop(tmp_path), "columns": NAMES, "image_root": tmp_path / "img", **change})


def test_table_broken_parquet(tmp_path: Path) -> None:
    (tmp_path / "items.parquet").write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(UserError, match="cannot read the file"):
        import_table(tmp_path / "c", tmp_path / "items.parquet")
