"""The writer behind every importer: what gets in, what does not and why."""

import io
import random
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from importer_worlds import bad_world, item, links, picture, rejects, write
from navigator.contracts import Catalog, UserError
from navigator.importers.ingest import Limits, Source
from navigator.importers.pictures import PictureError, pixels, shrink
from navigator.importers.rejects import REASONS


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
