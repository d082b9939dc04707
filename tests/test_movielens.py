"""The MovieLens importer, on a hand-made folder and, where it is at hand, on the real one."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from navigator.catalog_commands import import_movielens
from navigator.contracts import Catalog, UserError

REAL = Path(__file__).parents[1].parent / "shared" / "data" / "movielens-posters"


def world(folder: Path) -> Path:
    buffer = io.BytesIO()
    Image.new("RGB", (6, 9), "navy").save(buffer, "WEBP")
    (folder / "movies.csv").write_text(
        'movieId,title,genres\n10,"Heat, The (1995)",Crime|Drama\n'
        "2,Alien (1979),(no genres listed)\n3,Lost (1990),Drama\n"
    )
    (folder / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n2,10,4.5,70\n1,10,3.0,50\n1,3,5.0,40\n1,2,1.0,50\n1,2,2.0,20\n"
    )
    (folder / "tags.csv").write_text(
        "userId,movieId,tag,timestamp\n1,10,b  tag,1\n1,10,a tag,2\n2,10,B tag,3\n1,10,drama,3\n"
    )
    pq.write_table(
        pa.table({"movie_id": pa.array([2, 10], pa.int32()), "image": [buffer.getvalue()] * 2}),
        folder / "posters.parquet",
    )
    return folder


def test_small_world(tmp_path: Path) -> None:
    answer = import_movielens(tmp_path / "c", world(tmp_path))
    assert answer["counts"] == {"items": 2, "boards": 0, "board_items": 0, "interactions": 4, "rejects": 2}
    catalog = Catalog.open(tmp_path / "c")
    alien, heat = catalog.table("items").to_pylist()
    assert (alien["item_id"], alien["title"], alien["text"]) == ("2", "Alien (1979)", "Alien (1979)")
    assert heat["keywords"] == ["crime", "drama", "b tag", "a tag"]  # genres, then tags by frequency, each once
    assert heat["text"] == "Heat, The (1995). crime, drama, b tag, a tag"
    assert [tuple(row.values()) for row in catalog.table("rejects").to_pylist()] == [
        ("items", 1, "3", "no picture"),
        ("interactions", 2, "1 3", "unknown item"),
    ]
    # users as they first occur, then time, then the item's row
    assert [tuple(row.values()) for row in catalog.table("interactions").to_pylist()] == [
        ("2", "10", "rate", 70, 4.5),
        ("1", "2", "rate", 20, 2.0),
        ("1", "2", "rate", 50, 1.0),
        ("1", "10", "rate", 50, 3.0),
    ]


def test_bad_folders(tmp_path: Path) -> None:
    world(tmp_path)
    (tmp_path / "tags.csv").write_text("userId,movieId,word\n")
    with pytest.raises(UserError, match=r"tags.csv lacks the column tag; it has userId, movieId, word"):
        import_movielens(tmp_path / "c", tmp_path)
    (tmp_path / "ratings.csv").write_text("user,movieId,rating,timestamp\n")
    (tmp_path / "tags.csv").write_text("userId,movieId,tag,timestamp\n")
    with pytest.raises(UserError, match=r"ratings.csv: .*it needs the columns userId, movieId, timestamp, rating"):
        import_movielens(tmp_path / "c", tmp_path)
    (tmp_path / "tags.csv").unlink()
    with pytest.raises(UserError, match=r"lacks tags.csv; --source needs a folder with"):
        import_movielens(tmp_path / "c", tmp_path)


def test_bad_posters(tmp_path: Path) -> None:
    world(tmp_path)
    table = pq.read_table(tmp_path / "posters.parquet")
    pq.write_table(table.take([1, 0]), tmp_path / "posters.parquet")
    with pytest.raises(UserError, match="not sorted by movie_id"):
        import_movielens(tmp_path / "c", tmp_path)
    pq.write_table(table.rename_columns(["id", "image"]), tmp_path / "posters.parquet")
    with pytest.raises(UserError, match=r"posters.parquet needs the columns movie_id and image; it has id, image"):
        import_movielens(tmp_path / "c", tmp_path)
    (tmp_path / "posters.parquet").write_bytes(b"junk")
    with pytest.raises(UserError, match=r"posters.parquet is not a readable Parquet file"):
        import_movielens(tmp_path / "c", tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/data/movielens-posters")
def test_real_counts(tmp_path: Path) -> None:
    answer = import_movielens(tmp_path / "c", REAL)
    assert answer["counts"] == {"items": 9517, "boards": 0, "board_items": 0, "interactions": 100_329, "rejects": 732}
    assert answer["rejects"] == {"no picture": 225, "unknown item": 507}
    catalog = Catalog.open(tmp_path / "c")
    assert catalog.item_ids == sorted(catalog.item_ids, key=int)
    assert max(len(keywords) for keywords in catalog.table("items", ["keywords"])["keywords"].to_pylist()) <= 16
    rows = catalog.table("interactions").to_pylist()
    order = [(int(row["user_id"]), row["at"], int(row["item_id"])) for row in rows]
    assert order == sorted(order)
