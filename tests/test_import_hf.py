"""The importer `hf`, and `navigator show` of what was imported."""

from pathlib import Path

import pytest
from PIL import Image

from importer_worlds import bad_world, item, links, picture, write
from navigator.catalog_commands import _lines, import_hf, show
from navigator.contracts import Catalog, UserError
from navigator.importers.ingest import Source


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
