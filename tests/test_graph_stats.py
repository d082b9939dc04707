"""Statistics of a graph, and every check for leaks: it passes on what the builder makes and fails on a planted leak."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from graph.commands import add_edges, build_graph
from graph.leaks import Check, check_all
from graph.policy import DEFAULT
from graph.relation import Edges, Relation
from graph.saved_files import open_files
from graph.signal_table import SIGNAL_TABLE, read_signal, signal_rows
from graph.stats import moment, percentiles, stats
from graph.store import CSR, TasteGraph
from navigator.contracts import Catalog, UserError, publish
from navigator.contracts.catalog import TABLES

N = 48


def picture() -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (40, 24), "red").save(sink, "PNG")
    return sink.getvalue()


def write_catalog(folder: Path) -> Catalog:
    """Boards that share no item but one, four owners; six users that save in order of time and are shown more."""
    boards = {f"b{b}": [*range(6 * b, 6 * b + 6)] for b in range(7)}
    log = [
        {"user_id": f"u{u}", "item_id": f"i{(7 * u + 5 * t) % 42}", "action": "save", "at": 1_000 * t + u + 1}
        for u in range(6)
        for t in range(6)
    ]
    log += [{"user_id": f"u{u}", "item_id": f"i{42 + u}", "action": "show", "at": 1_500 + u} for u in range(5)]
    images = [{"bytes": picture(), "path": None}, None, {"bytes": b"broken", "path": None}]
    rows: dict[str, list[dict[str, Any]]] = {
        "items": [{"item_id": f"i{i}", "title": f"Thing $ {i}", "image": images[i % 3]} for i in range(N)],
        "boards": [{"board_id": b, "title": f"about {b}", "owner_id": f"o{n}"} for n, b in enumerate(boards)],
        "board_items": [
            {"board_id": b, "item_id": f"i{i}", "saved_at": 10} for b, items in boards.items() for i in items
        ],
        "interactions": log,
        "rejects": [],
    }
    with publish(folder, "catalog", {}, {}) as work:
        for name, schema in TABLES.items():
            pq.write_table(pa.Table.from_pylist(rows.get(name, []), schema=schema), work.path / f"{name}.parquet")
    return Catalog.open(folder)


def open_policy(folder: Path) -> Path:
    """The default policy, but statistics may show one person."""
    rules = yaml.safe_load(DEFAULT.read_text())
    rules["purposes"]["stats"]["minimum_group_size"] = 1
    path = folder / "open.yaml"
    path.write_text(yaml.safe_dump(rules))
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("stats")
    write_catalog(home / "catalog")
    options: dict[str, Any] = {
        "impressions": ["show"],
        "valid_fraction": 1.0,
        "walks": 100,
        "co_saves": 2,
        "policy": open_policy(home),
    }
    build_graph(home / "catalog", home / "last", unseen_owners=0.4, **options)
    build_graph(home / "catalog", home / "last-two", last=2, **options)
    build_graph(home / "catalog", home / "cut", user_split="global-time", global_quantile=0.7, **options)
    build_graph(home / "catalog", home / "last-plain", **({**options, "co_saves": 0}))
    build_graph(home / "catalog", home / "closed", **({**options, "policy": None}))
    return home


def checks(home: Path, folder: Path) -> dict[str, Check]:
    catalog = Catalog.open(home / "catalog")
    found = check_all(open_files(TasteGraph.open(folder, catalog, purpose="stats"), catalog))
    return {check.name: check for check in found}


def test_what_the_builder_makes_passes_every_check(home: Path):
    last, cut = checks(home, home / "last"), checks(home, home / "cut")
    assert not [check for check in (*last.values(), *cut.values()) if check.found]
    asked = {name for name, check in last.items() if check.verdict == "pass"}
    asked |= {name for name, check in cut.items() if check.verdict == "pass"}
    assert set(last) == asked
    two = checks(home, home / "last-two")
    assert not [check for check in two.values() if check.found]
    assert two["users whose held-out saves are not their last in time"].checked == 6
    none = checks(home, home / "closed")["co-saves that no training owner made"]
    assert none.verdict == "pass"  # all are looked at, though the purpose may see none of them
    assert last["saves and edges after the cut"].verdict == "nothing to check"


def read(folder: Path, name: str) -> list[dict[str, Any]]:
    return pq.read_table(folder / name).to_pylist()


def change_sequences(folder: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    rows = read(folder, "sequences.parquet")
    change(rows)
    pq.write_table(
        pa.Table.from_pylist(rows, pq.read_schema(folder / "sequences.parquet")), folder / "sequences.parquet"
    )


def change_signal(
    folder: Path, signal: str, change: Callable[[dict[str, Any]], None], items: list[str] | None = None
) -> None:
    """Change the first row of one signal, or the first of these items; the others stay as they are."""
    file, about = pq.ParquetFile(folder / "signals.parquet"), signal_rows(folder)
    tables = [file.read_row_group(group) for group in range(file.num_row_groups)]
    first = about["row_groups"][signal][0]
    rows = tables[first].to_pylist()
    change(next(row for row in rows if items is None or row["items"] == items))
    tables[first] = pa.Table.from_pylist(rows, SIGNAL_TABLE)
    with pq.ParquetWriter(folder / "signals.parquet", SIGNAL_TABLE) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
        writer.add_key_value_metadata({b"navigator.signals": json.dumps(about)})


def add_edge(folder: Path, name: str, edge: tuple[int, int, int]) -> None:
    """An edge (source, target, time) more in a relation; the manifest learns the new scale of time."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    about = manifest["metrics"]["relations"][name]
    kind = (about["source"], name, about["target"])
    old = Relation.open(folder / CSR, kind, about["time_first"], about["time_unit"])
    edges, sizes = old.edges(), (len(old.indptr) - 1, len(old.rev_indptr) - 1)
    src, dst, time = (np.append(a, v) for a, v in zip((edges.src, edges.dst, edges.time), edge, strict=True))
    new = Relation.from_edges(kind, *sizes, Edges(src, dst, time, np.append(edges.weight, np.float32(1))))
    del old, edges
    for old_part in (folder / CSR).glob(f"{name}.*.npy"):
        old_part.unlink()
    new.save(folder / CSR)
    about |= {"edges": new.n_edges, "time_first": new.time_first, "time_unit": new.time_unit}
    path.write_text(json.dumps(manifest))


def held(folder: Path, task: str, part: str = "test") -> dict[str, Any]:
    return next(row for row in read(folder, "sequences.parquet") if row["task"] == task and row[part])


def number(folder: Path, node_type: str, name: str) -> int:
    return [row["id"] for row in read(folder, f"nodes_{node_type}.parquet")].index(name)


def leak_sequence(folder: Path) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        row = next(row for row in rows if row["task"] == "next-item" and row["test"])
        row["items"].append(row["test"][0])

    change_sequences(folder, change)


def leak_edge(name: str, task: str, node_type: str, at: int = 10) -> Callable[[Path], None]:
    def leak(folder: Path) -> None:
        row = held(folder, task)
        add_edge(folder, name, (number(folder, node_type, row["owner"]), int(row["test"][0][1:]), at))

    return leak


def leak_interest(folder: Path) -> None:
    row = held(folder, "board-completion")
    add_edge(folder, "has", (int(row["test"][0][1:]), number(folder, "interest", row["title"]), -1))


def leak_signal(signal: str) -> Callable[[Path], None]:
    def leak(folder: Path) -> None:
        rows = {row["owner"]: row for row in read(folder, "sequences.parquet")}
        change_signal(folder, signal, lambda row: row["items"].append(rows[row["owner"]]["test"][0]))

    return leak


def leak_pair(folder: Path) -> None:
    """The target becomes an item that nobody saved in training."""
    degree = [row["degree"] for row in read(folder, "nodes_item.parquet")]
    change_signal(folder, "co-save", lambda row: row.update(target=f"i{degree.index(0)}"))


def spoil_negative(folder: Path) -> None:
    """A hard negative becomes an item of the same board."""
    rows = read(folder, "sequences.parquet")
    board = next(row["items"] for row in rows if row["task"] == "board-completion" and len(row["items"]) > 1)
    change_signal(folder, "hard-negative", lambda row: row.update(negatives=board[1:2], ranks=[60]), board[:1])


def leak_impression(part: str) -> Callable[[Path], None]:
    def leak(folder: Path) -> None:
        rows = {row["owner"]: row for row in read(folder, "sequences.parquet")}
        change_signal(folder, "impression", lambda row: row["negatives"].append(rows[row["owner"]][part][0]))

    return leak


def leak_late_impression(folder: Path) -> None:
    """An item that the user was never shown."""
    change_signal(folder, "impression", lambda row: row.update(negatives=["i47"]))


def leak_order(folder: Path) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        row = next(row for row in rows if row["task"] == "next-item" and row["valid"] and row["test"])
        row["valid"], row["test"] = row["test"], row["valid"]

    change_sequences(folder, change)


def leak_unseen(folder: Path) -> None:
    hidden = read(folder, "unseen.parquet")[0]["owner"]
    change_signal(folder, "board-title", lambda row: row.update(owner=hidden))


LEAKS = {
    "held-out saves among the training saves of next-item": ("last", leak_sequence),
    "held-out saves among the edges holds": ("last", leak_edge("holds", "board-completion", "board")),
    "held-out saves among the edges saved": ("last", leak_edge("saved", "next-item", "user")),
    "edges saved that are no training save": ("last", lambda folder: add_edge(folder, "saved", (0, 47, 5))),
    "co-saves that no training owner made": ("last", lambda folder: add_edge(folder, "co_saved", (0, 47, 5))),
    "held-out saves that an item's interests tell": ("last", leak_interest),
    "items of signal next-item that are no training save of their owner": ("last", leak_signal("next-item")),
    "items of signal board-completion that are no training save of their owner": (
        "last",
        leak_signal("board-completion"),
    ),
    "items of signal board-title that are no training save of their owner": ("last", leak_signal("board-title")),
    "co-save pairs that no path of training saves joins": ("last", leak_pair),
    "hard negatives that share a training board with their item": ("last", spoil_negative),
    "impressions of an item that the user saved": ("last", leak_impression("test")),
    "impressions not before what is held out of the user": ("last", leak_late_impression),
    "users whose held-out saves are not their last in time": ("last", leak_order),
    "unseen boards in the graph": ("last", leak_unseen),
    "saves and edges after the cut": ("cut", leak_edge("saved", "next-item", "user", at=900_000)),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_is_found(name: str, home: Path, tmp_path: Path):
    built, leak = LEAKS[name]
    shutil.copytree(home / built, tmp_path / "graph")
    leak(tmp_path / "graph")
    found = checks(home, tmp_path / "graph")[name]
    assert found.verdict == "fail" and 1 <= found.found <= found.checked


def test_the_command_tells_counts_examples_and_checks_and_draws(home: Path, tmp_path: Path):
    answer = stats(home / "last", home / "catalog", tmp_path / "out", item="i1")
    assert answer["exit_code"] == 0 and answer["failed"] == []
    assert answer["nodes"]["item"]["nodes"] == N and answer["nodes"]["user"] | {"degree": 0} == {
        "nodes": 6, "cold": 0, "degree": 0,
    }  # fmt: skip
    assert answer["edges"]["saved"]["first"] == answer["edges"]["saved"]["last"] == "1970-01-01"
    assert "Thing $ " in answer["signals"]["next-item"]["examples"][0]
    assert answer["signals"]["impression"]["rows"] == 5 and answer["signals"]["co-save"]["examples"]
    kept = json.loads((tmp_path / "out" / "stats.json").read_text())
    assert kept["checks"] == answer["checks"] and "pass " in answer["text"]
    with Image.open(tmp_path / "out" / "neighbourhood.png") as drawn:
        assert drawn.size == (1300, 1300) and len(set(drawn.convert("L").resize((80, 80)).tobytes())) > 20


def test_a_failed_check_makes_the_exit_code_1(home: Path, tmp_path: Path):
    shutil.copytree(home / "last", tmp_path / "graph")
    leak_pair(tmp_path / "graph")
    answer = stats(tmp_path / "graph", home / "catalog")
    assert answer["exit_code"] == 1 and answer["failed"] == ["co-save pairs that no path of training saves joins"]


def test_what_too_few_people_stand_behind_is_left_out(home: Path, tmp_path: Path):
    """Under the default policy five people are needed: no user's history, no largest degree of one user."""
    answer = stats(home / "closed", home / "catalog", tmp_path / "out")
    assert answer["minimum_group_size"] == 5
    signals = answer["signals"]
    assert not signals["next-item"]["examples"] and signals["next-item"]["suppressed"] == 6
    assert not signals["impression"]["examples"] and not signals["board-completion"]["examples"]
    assert answer["edges"]["co_saved"]["edges"] == 0 < answer["edges"]["co_saved"]["suppressed"]
    assert (tmp_path / "out" / "neighbourhood.png").is_file()
    degree, owner = np.array([1, 1, 1, 1, 9]), np.arange(5)
    assert percentiles(degree, owner, 2) == {"p50": 1, "p90": 1, "p99": 1, "max": None}
    assert percentiles(degree, owner, 1)["max"] == 9
    assert moment(np.array([5, 6, 7]), np.array([0, 0, 1]), 2) == 7 and moment(np.array([5]), np.array([0]), 2) is None


def test_bad_input_is_one_line(home: Path, tmp_path: Path):
    with pytest.raises(UserError, match="item 'nobody' is not in catalog"):
        stats(home / "last", home / "catalog", item="nobody")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        stats(home / "last", home / "catalog", tmp_path / "file")


def add_to(home: Path, folder: Path, edges: list[tuple[str, str, int]], relation: str = "saved") -> Path:
    names = ("source", "target", "at")
    table = pa.table({n: list(column) for n, column in zip(names, zip(*edges, strict=True), strict=True)})
    pq.write_table(table, folder / "edges.parquet")
    add_edges(home / "last-plain", folder / "edges.parquet", home / "catalog", folder / "grown", relation)
    return folder / "grown"


def test_added_saves_are_no_impressions_and_what_was_last_is_said_to_be_open(home: Path, tmp_path: Path):
    """u0 and u1 save what they were shown; a user that nobody knew saves too and has nothing held out."""
    plain = checks(home, home / "last-plain")["users whose held-out saves are not their last in time"]
    assert (plain.verdict, plain.checked) == ("pass", 6)
    edges = [("u0", "i42", 60_000), ("u1", "i43", 60_000), ("new", "i1", 60_000)]
    grown = add_to(home, tmp_path, edges)
    found = checks(home, grown)
    assert not [check for check in found.values() if check.found]
    rows = [row for t in read_signal(grown, "impression", ["owner", "negatives"]) for row in t.to_pylist()]
    shown = {row["owner"]: row["negatives"] for row in rows}
    assert shown == {f"u{u}": [f"i{42 + u}"] for u in (2, 3, 4)}
    assert found["impressions of an item that the user saved"].checked == 3
    order = found["users whose held-out saves are not their last in time"]
    assert (order.verdict, order.checked, order.open) == ("note", 6, 2) and "to 2 users" in order.note
    leak_order(grown)  # what the catalogue has is looked at all the same, also of u0
    assert checks(home, grown)["users whose held-out saves are not their last in time"].verdict == "fail"
    answer = stats(grown, home / "catalog")
    assert "to 2 users" in answer["text"]


def test_a_board_that_only_added_edges_know_is_its_own(home: Path, tmp_path: Path):
    grown = add_to(home, tmp_path, [("fresh", "i1", 50), ("fresh", "i9", 50)], "holds")
    assert stats(grown, home / "catalog")["nodes"]["board"]["nodes"] == 8


def test_what_the_purpose_hides_is_not_said_to_be_absent(home: Path, tmp_path: Path):
    """Ten people are asked for, and there are six users: no figure of theirs, but their edges have times."""
    rules = yaml.safe_load(DEFAULT.read_text())
    rules["purposes"]["stats"]["minimum_group_size"] = 10
    shutil.copytree(home / "closed", tmp_path / "graph")
    (tmp_path / "graph" / "policy.yaml").write_text(yaml.safe_dump(rules))
    lines = stats(tmp_path / "graph", home / "catalog")["text"].splitlines()
    users, saved, has = (next(s for s in lines if s.startswith(f"{name} ")) for name in ("user", "saved", "has"))
    assert "cold hidden by purpose" in users and "user to item, times hidden by purpose" in saved
    assert has.endswith("no times")
