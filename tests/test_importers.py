"""The writer behind every importer, and the importers `table` and `hf`: what gets in, what does not and why."""

import io
import random
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from navigator.catalog_commands import _lines, import_hf, import_table, show
from navigator.contracts import Catalog, UserError
from navigator.importers.ingest import Limits, Source, write_catalog
from navigator.importers.pictures import PictureError, pixels, shrink
from navigator.importers.rejects import REASONS

FASHION = Path(__file__).parents[1].parent / "shared" / "data" / "fashion" / "items.parquet"


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


def test_every_reject_reason_is_named_and_counted(tmp_path: Path) -> None:
    answer = write(tmp_path / "c", bad_world(), max_pixels=1000, need_pictures=True)
    expected = [
        ("items", 1, "b", "broken picture"),
        ("items", 2, "c", "picture too large"),
        ("items", 3, "d", "no picture"),
        ("items", 4, "a", "duplicate id"),
        ("items", 5, "e", "empty text"),
        ("items", 6, "", "wrong type"),
        ("items", 7, "f", "wrong type"),
        ("items", 9, "h", "wrong type"),
        ("items", 10, "i", "broken picture"),
        ("items", 11, "j", "broken picture"),
        ("boards", 1, "x", "duplicate id"),
        ("boards", 2, "", "wrong type"),
        ("boards", 4, "v", "unknown part"),
        ("board_items", 2, "x b", "unknown item"),
        ("board_items", 3, "zz a", "unknown board"),
        ("board_items", 4, "x a", "duplicate save"),
        ("board_items", 5, "y a", "wrong type"),
        ("board_items", 6, "x", "wrong type"),
        ("board_items", 7, "x g", "duplicate save"),
        ("interactions", 3, "u nope", "unknown item"),
        ("interactions", 4, "u a", "duplicate save"),
        ("interactions", 5, "w 7", "wrong type"),  # milliseconds
    ]
    assert rejects(tmp_path / "c") == expected
    assert {reason for *_, reason in expected} == set(REASONS)
    assert answer["rejects"] == {r: sum(e[3] == r for e in expected) for r in REASONS}
    counts = {"items": 3, "boards": 2, "board_items": 2, "interactions": 3, "rejects": len(expected)}
    assert answer["counts"] == counts
    catalog = Catalog.open(tmp_path / "c")
    assert catalog.manifest.metrics["counts"] == counts
    assert catalog.item_ids == ["a", "g", "7"]
    assert catalog.table("boards").to_pylist()[1] == {"board_id": "y", "title": "", "owner_id": ""}
    assert [tuple(r.values()) for r in catalog.table("board_items").to_pylist()] == [
        ("x", "a", 10),
        ("x", "g", 1577836800),
    ]
    # by user, time and then catalogue order: at 5 user u saved item a (row 0) and g (row 1)
    kept = [tuple(r.values()) for r in catalog.table("interactions").to_pylist()]
    assert kept == [("u", "a", "save", 5), ("u", "g", "save", 5), ("w", "a", "save", 9)]


@pytest.mark.parametrize(("table", "row", "reason"), [("items", 1, "broken"), ("board_items", 2, "unknown item")])
def test_strict_stops_at_the_first_reject_and_leaves_nothing(tmp_path: Path, table: str, row: int, reason: str) -> None:
    source = bad_world()
    if table == "board_items":
        source = Source([item("a"), item("g")], [{"board_id": "x"}], links(board_id=["x"] * 3, item_id=["a", "g", "b"]))
    with pytest.raises(UserError, match=rf"{table} row {row} \(id '.*b'\): {reason}"):
        write(tmp_path / "c", source, strict=True)
    assert not (tmp_path / "c").exists()


def test_a_first_good_row_counts_after_a_refused_one_with_the_same_id(tmp_path: Path) -> None:
    write(tmp_path / "c", Source([item("a", image=b"junk"), item("a", image=picture())]))
    assert Catalog.open(tmp_path / "c").item_ids == ["a"]
    assert rejects(tmp_path / "c") == [("items", 0, "a", "broken picture")]


def test_links_agree_with_a_plain_loop(tmp_path: Path) -> None:
    chance = random.Random(0)
    rows = [(str(chance.randrange(9)), str(chance.randrange(12)), chance.choice([None, 1, 2, 3])) for _ in range(500)]
    users, items, times = zip(*rows, strict=True)
    log = pa.record_batch({"user_id": users, "item_id": items, "at": pa.array(times, pa.int64())})
    source = Source([item(i) for i in range(10)], interactions=[log.slice(0, 200), log.slice(200)])
    write(tmp_path / "c", source)
    first: dict[str, int] = {}
    seen, kept = set(), []
    for number, (user, item_id, at) in enumerate(rows):
        first.setdefault(user, number)
        if int(item_id) < 10 and (user, item_id, at) not in seen:
            seen.add((user, item_id, at))
            kept.append((first[user], at is not None, at or number, int(item_id), user, item_id, at))
    expected = [(user, item_id, "save", at) for *_, user, item_id, at in sorted(kept, key=lambda row: row[:4])]
    assert [tuple(row.values()) for row in Catalog.open(tmp_path / "c").table("interactions").to_pylist()] == expected


def test_row_groups_stay_small_and_order_holds(tmp_path: Path) -> None:
    write(tmp_path / "c", Source(item(i) for i in range(600) if i % 7))
    file = pq.ParquetFile(tmp_path / "c" / "items.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [256, 256, 2]
    assert Catalog.open(tmp_path / "c").item_ids == [str(i) for i in range(600) if i % 7]


def test_second_import_is_unchanged_and_the_same_bytes(tmp_path: Path) -> None:
    first = write(tmp_path / "c", Source([item("a", image=picture(400))]))
    again = write(tmp_path / "c", Source([]))  # not even read
    assert (first["unchanged"], again["unchanged"], again["counts"]) == (False, True, first["counts"])
    write(tmp_path / "d", Source([item("a", image=picture(400))]))
    assert Catalog.open(tmp_path / "c").fingerprint == Catalog.open(tmp_path / "d").fingerprint


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no item could be imported.*empty text"):
        write(tmp_path / "c", Source([{"item_id": "a"}]))
    with pytest.raises(UserError, match="max_pixels is 0"):
        Limits(max_pixels=0)


def test_pictures_are_kept_shrunk_and_laid_on_white() -> None:
    small = picture(64)
    assert shrink(small, 256, 10_000) is small
    wide = io.BytesIO()
    Image.new("RGBA", (400, 100), (255, 0, 0, 0)).save(wide, "PNG")
    with Image.open(io.BytesIO(shrink(wide.getvalue(), 200, 10**6))) as shrunk:
        assert (shrunk.format, shrunk.mode, shrunk.size) == ("WEBP", "RGB", (200, 50))
        assert min(shrunk.getpixel((100, 25))) > 250  # type: ignore[type-var]
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (30, 10)).save(turned, "JPEG", exif=exif)
    with Image.open(io.BytesIO(shrink(turned.getvalue(), 256, 10**6))) as upright:
        assert upright.size == (10, 30)
    deep = io.BytesIO()
    Image.new("I;16", (4, 4), 0x8000).save(deep, "PNG")
    with Image.open(io.BytesIO(shrink(deep.getvalue(), 256, 10**6))) as grey:
        assert abs(grey.getpixel((1, 1))[0] - 128) <= 2  # type: ignore[index]


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    """The file claims 30,000 x 30,000 but holds no pixels: decoding it would say "broken picture"."""
    bomb = bytearray(picture())
    bomb[16:24] = (30_000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4, "big")
    with pytest.raises(PictureError, match="picture too large"):
        shrink(bytes(bomb), 256, 50_000_000)
    (tmp_path / "bomb.png").write_bytes(bomb)
    assert pixels(tmp_path / "bomb.png") > 50_000_000


def test_datasets_shows_the_pictures(tmp_path: Path) -> None:
    import datasets

    write(tmp_path / "c", Source([item("a", image=picture(), maker="me"), item("b", maker="me")], extra=("maker",)))
    files = str(tmp_path / "c" / "items.parquet")
    data = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert data[0]["image"].size == (8, 8) and data[0]["image"].getpixel((0, 0)) == (255, 0, 0)
    assert data[1]["image"] is None and data[1]["maker"] == "me" and data[0]["keywords"] == []


# ---- table


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


# ---- hf


def test_hf_reads_a_local_data_set(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {
            "photo": datasets.Image(),
            "caption": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
        }
    )
    photos = [{"bytes": picture(), "path": None}, {"bytes": b"junk", "path": None}, None]
    rows = {"photo": photos, "caption": ["A", "B", "C"], "label": [0, 1, 1]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "d")
    columns = {"title": "caption", "image": "photo", "keywords": "label"}
    answer = import_hf(tmp_path / "c", str(tmp_path / "d"), columns=columns)
    assert answer["rejects"] == {"broken picture": 1}
    kept = Catalog.open(tmp_path / "c").table("items").to_pylist()
    assert [(row["item_id"], row["title"], row["keywords"]) for row in kept] == [
        ("0", "A", ["cat"]),
        ("2", "C", ["dog"]),
    ]
    assert kept[0]["image"]["bytes"] == picture() and kept[1]["image"] is None
    assert import_hf(tmp_path / "c", str(tmp_path / "d"), columns=columns)["unchanged"]
    with pytest.raises(UserError, match=r"no column 'nome' \(for title\) in .*it has photo, caption, label"):
        import_hf(tmp_path / "c", str(tmp_path / "d"), columns={"title": "nome"})
    with pytest.raises(UserError, match="no column for title"):
        import_hf(tmp_path / "c", str(tmp_path / "d"))


def test_hf_unknown_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    datasets.DatasetDict({"test": datasets.Dataset.from_dict({"title": ["A"]})}).save_to_disk(tmp_path / "d")
    with pytest.raises(UserError, match="no split 'train'; it has test"):
        import_hf(tmp_path / "c", str(tmp_path / "d"))
    assert import_hf(tmp_path / "c", str(tmp_path / "d"), split="test")["counts"]["items"] == 1

    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(UserError, match=r"cannot open data set 'some/name'.*no route.*give a local folder"):
        import_hf(tmp_path / "c", "some/name")


# ---- show


def test_show_counts_and_draws(tmp_path: Path) -> None:
    write(tmp_path / "c", bad_world(), max_pixels=1000)
    answer = show(tmp_path / "c")
    assert answer["counts"]["items"] == 4 and answer["rejects"]["duplicate save"] == 3
    assert answer["coverage"] == {"picture": 0.75, "text": 1.0, "keywords": 0.0}
    assert answer["board_size"] == {"min": 2, "p25": 2, "p50": 2, "p75": 2, "max": 2}
    with Image.open(tmp_path / "c-boards.png") as sheet:
        assert sheet.format == "PNG" and answer["contact_sheet"].endswith("c-boards.png")


@pytest.mark.parametrize("log", [[], links(user_id=["u"], item_id=["1"])])
def test_show_without_boards(tmp_path: Path, log: list) -> None:
    write(tmp_path / "c", Source([item(i) for i in range(30)], interactions=log))
    answer = show(tmp_path / "c", tmp_path / "deep" / "s.png", boards=2)
    assert answer["board_size"] is None and (tmp_path / "deep" / "s.png").is_file()
    with pytest.raises(UserError, match="boards is 0"):
        show(tmp_path / "c", boards=0)


def test_sheet_of_users_shows_their_latest(tmp_path: Path) -> None:
    log = links(user_id=["u"] * 12, item_id=[str(i) for i in range(12)], at=list(range(12)))
    write(tmp_path / "c", Source([item(i) for i in range(12)], interactions=log))
    assert _lines(Catalog.open(tmp_path / "c"), 5, 0) == [
        ("user u: the latest of 12", [str(i) for i in range(2, 12)], 12)
    ]


def test_import_leaves_no_scratch(tmp_path: Path) -> None:
    write(tmp_path / "c", Source([item(1)]))
    names = {path.name for path in (tmp_path / "c").iterdir()}
    tables = {f"{t}.parquet" for t in ("items", "boards", "board_items", "interactions", "rejects")}
    assert names == {*tables, "manifest.json"}
    assert Catalog.open(tmp_path / "c").rows("rejects") == 0
