"""Boards that say by themselves whether training may see them: built, added to, forgotten and checked like unseen owners'."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graph.commands import add_edges, build_graph
from graph.forget import forget
from graph.leaks import check_all
from graph.saved_files import open_files
from graph.split import TEST, TRAIN, VALID
from graph.store import TasteGraph
from graph.unseen import given_parts
from navigator.contracts import Catalog, UserError, publish
from navigator.contracts.catalog import BOARDS, PARTED_BOARDS, TABLES

FAST: dict[str, Any] = {"walks": 20, "valid_fraction": 0.5}
PARTS = {"b0": "test", "b1": None, "b2": "valid", "b3": "train", "b4": "", "b5": "test", "b6": "valid", "twin": "train"}
BOARD_ITEMS = {name: list(range(5 * n, 5 * n + 7)) for n, name in enumerate(list(PARTS)[:7])}
BOARD_ITEMS["twin"] = BOARD_ITEMS["b5"][::-1]


def write_catalog(folder: Path, boards: dict[str, list[int]], parts: dict[str, str | None] | None) -> Catalog:
    """48 items, boards of two owners in turn, six users; without `parts` there is no such column."""
    log = [
        {"user_id": f"u{u}", "item_id": f"i{(7 * u + 5 * t) % 42}", "action": "save", "at": 1_000 * t + u + 1}
        for u in range(6) for t in range(6)
    ]  # fmt: skip
    owners = {name: f"o{n % 2}" for n, name in enumerate(PARTS)}
    rows = {
        "items": [{"item_id": f"i{i}", "title": f"t{i}", "keywords": [], "text": ""} for i in range(48)],
        "boards": [{"board_id": b, "title": f"about {b}", "owner_id": owners[b], "part": (parts or {}).get(b)} for b in boards],
        "board_items": [{"board_id": b, "item_id": f"i{i}"} for b, items in boards.items() for i in items],
        "interactions": log,
    }  # fmt: skip
    with publish(folder, "catalog", {}, {}) as work:
        for name, schema in {**TABLES, "boards": BOARDS if parts is None else PARTED_BOARDS}.items():
            pq.write_table(pa.Table.from_pylist(rows.get(name, []), schema=schema), work.path / f"{name}.parquet")
    return Catalog.open(folder)


def files(folder: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {name: data for name, data in found.items() if name not in ("manifest.json", "unseen.parquet")}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_catalog(tmp_path / "catalog", BOARD_ITEMS, PARTS)
    build_graph(tmp_path / "catalog", tmp_path / "g", **FAST)
    return tmp_path


def test_training_is_as_if_boards_of_other_parts_had_never_been(home: Path):
    seen = {b: items for b, items in BOARD_ITEMS.items() if PARTS[b] in (None, "", "train") and b != "twin"}
    write_catalog(home / "seen", seen, None)
    build_graph(home / "seen", home / "expected", **FAST)
    assert files(home / "g") == files(home / "expected")
    taste_graph = TasteGraph.open(home / "g", Catalog.open(home / "catalog"))
    unseen = {s.owner: s for s in taste_graph.unseen}
    assert unseen.keys() == {"b0", "b2", "b5", "b6"}
    for board, s in unseen.items():
        assert sorted(s.items + s.valid + s.test) == BOARD_ITEMS[board] and s.title == f"about {board}"
        assert (len(s.valid), len(s.test)) == ((1, 0) if PARTS[board] == "valid" else (0, 1))
    counts = taste_graph.manifest.metrics
    assert counts["boards_by_part"] == {"train": 4, "valid": 2, "test": 2} and counts["unseen_owners"] == 0
    assert (counts["unseen_boards"], counts["seen_twins_dropped"], counts["boards"]) == (4, 1, 3)


def test_without_the_column_the_answer_has_no_parts(home: Path):
    write_catalog(home / "plain", BOARD_ITEMS, None)
    done = build_graph(home / "plain", home / "p", **FAST)
    assert "boards_by_part" not in done and not (home / "p" / "unseen.parquet").exists()


def test_two_splits_at_once_and_parts_that_are_none_are_refused(home: Path):
    shares: list[dict[str, Any]] = [{"unseen_owners": 0.2}, {"unseen_valid": 0.2}]
    for share in shares:
        with pytest.raises(UserError, match=r"the catalogue's boards have a column part.*leave both options out"):
            build_graph(home / "catalog", home / "x", **share)
    write_catalog(home / "odd", BOARD_ITEMS, {**PARTS, "b3": "Test"})
    with pytest.raises(UserError, match=r"part 'Test' of board 'b3' is no part.*are train, valid, test or nothing"):
        build_graph(home / "odd", home / "x")
    write_catalog(home / "none", {"b0": [1, 2, 3, 4]}, {"b0": "test"})
    (home / "none" / "interactions.parquet").unlink()
    pq.write_table(TABLES["interactions"].empty_table(), home / "none" / "interactions.parquet")
    with pytest.raises(UserError, match="all on unseen boards"):
        build_graph(home / "none", home / "x")
    assert not (home / "x").exists()
    ids, column = pa.array(list(PARTS)), pa.array(list(PARTS.values()), pa.string())
    expected = [TEST, TRAIN, VALID, TRAIN, TRAIN, TEST, VALID, TRAIN]
    np.testing.assert_array_equal(given_parts(ids, column), expected)
    np.testing.assert_array_equal(given_parts(ids, column.dictionary_encode()), expected)


def test_what_is_added_to_an_unseen_board_is_refused_and_the_rest_stays(home: Path):
    rows = [("b0", "i40"), ("b2", "i40"), ("b1", "i40"), ("new", "i40"), ("twin", "i40")]
    pq.write_table(pa.table({"source": [b for b, _ in rows], "target": [i for _, i in rows]}), home / "e.parquet")
    added = add_edges(home / "g", home / "e.parquet", home / "catalog", home / "g2", "holds")["added"]
    assert added["rejected"] == {"held out": 3} and added["kept"] == 2  # twin gave way to the unseen b5
    assert (home / "g2" / "unseen.parquet").read_bytes() == (home / "g" / "unseen.parquet").read_bytes()
    assert unseen_check(home, "g2") == ("pass", 4)


def test_forgetting_an_owner_takes_unseen_boards_too(home: Path):
    report = forget("o0", home / "g", home / "catalog")
    assert report["complete"]
    kept = {b: items for n, (b, items) in enumerate(BOARD_ITEMS.items()) if n % 2}
    write_catalog(home / "rest", kept, PARTS)
    build_graph(home / "rest", home / "expected", **FAST)
    assert files(home / "g") == files(home / "expected")
    assert (home / "g" / "unseen.parquet").read_bytes() == (home / "expected" / "unseen.parquet").read_bytes()
    assert unseen_check(home, "g") == ("pass", 4)


def test_the_check_goes_by_the_parts_and_not_by_the_owners(home: Path):
    """Owners have boards on both sides here; a leak of any unseen board is found."""
    assert unseen_check(home, "g") == ("pass", 4)
    nodes = pq.read_table(home / "g" / "nodes_board.parquet").to_pydict()
    nodes["id"][0] = "b6"
    pq.write_table(pa.table(nodes), home / "g" / "nodes_board.parquet")
    assert unseen_check(home, "g") == ("fail", 4)


def unseen_check(home: Path, name: str) -> tuple[str, int]:
    catalog = Catalog.open(home / "catalog")
    found = {c.name: c for c in check_all(open_files(TasteGraph.open(home / name, catalog, "build"), catalog))}
    check = found["unseen boards in the graph"]
    if check.verdict == "pass":
        assert not [c for c in found.values() if c.verdict == "fail"]
    return check.verdict, check.checked
