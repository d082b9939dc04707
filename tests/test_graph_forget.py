"""Forgetting: the graph afterwards is, byte by byte, the graph of a catalogue that never had the user."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forget_worlds import OPTIONS, files, never_had, tables, without, write_catalog
from graph.audit import audit_path, read_audit, verify_audit
from graph.commands import add_edges, build_graph
from graph.forget import forget
from graph.forgotten import forgotten_path, read_forgotten
from graph.traces import traces
from navigator.contracts import UserError, read_manifest


@pytest.mark.parametrize(
    ("user", "rows"),
    [
        ("ada", {"interactions": 8, "boards": 1, "board_items": 7, "follows": 4}),
        ("ben", {"boards": 2, "board_items": 14, "follows": 2}),
        ("dan", {"interactions": 8, "follows": 1}),
        ("eve", {"follows": 2}),
    ],
)
def test_the_graph_is_that_of_a_catalogue_that_never_had_the_user(town: Path, user: str, rows: dict[str, int]):
    before = read_manifest(town / "g", "graph", "")
    report = forget(user, town / "g", town / "catalog")
    expected, found = files(never_had(town, user)), files(town / "g")
    assert sorted(found) == sorted(expected)
    assert [name for name in found if found[name] != expected[name]] == []
    assert report["rows"] == rows and report["found"] == {} and report["complete"] and report["exit_code"] == 0
    after = read_manifest(town / "g", "graph", "")
    assert (report["before"], report["after"]) == (before.fingerprint, after.fingerprint)
    assert before.fingerprint != after.fingerprint == read_manifest(town / "never-g", "graph", "").fingerprint
    assert report["edges"].keys() == before.metrics["relations"].keys()


def test_a_graph_that_holds_out_the_last_saves_stays_one(town: Path):
    build_graph(town / "catalog", town / "g", last=3, **OPTIONS)
    assert forget("ada", town / "g", town / "catalog")["complete"]
    catalog = write_catalog(town / "never", without(tables(), "ada"))
    done = build_graph(catalog, town / "never-g", last=3, **OPTIONS)
    assert files(town / "g") == files(town / "never-g") and done["users_test_saves"] == 9


def test_what_was_removed_is_counted_by_relation(town: Path):
    """ada: 8 saves, of which one or two are held out; her board's 7, of which one or two are; 2 follows + 2 of her board."""
    sequences = {row["owner"]: row for row in pq.read_table(town / "g" / "sequences.parquet").to_pylist()}
    removed = forget("ada", town / "g", town / "catalog")["removed"]
    assert removed["saved"] == len(sequences["ada"]["items"]) and removed["holds"] == len(sequences["b0"]["items"])
    assert removed["follows"] == 4 and removed["about"] == 1
    assert not {"ada", "b0"} & {row["owner"] for row in pq.read_table(town / "g" / "sequences.parquet").to_pylist()}


def test_two_users_in_a_row_are_both_gone(town: Path):
    forget("ada", town / "g", town / "catalog")
    forget("ben", town / "g", town / "catalog")
    assert files(town / "g") == files(never_had(town, "ada", "ben"))


def test_the_same_user_twice_is_proved_again_and_changes_nothing(town: Path):
    once = forget("ada", town / "g", town / "catalog")
    before, listed = files(town / "g"), forgotten_path(town / "g").read_text()
    twice = forget("ada", town / "g", town / "catalog")
    assert twice["unchanged"] and not once["unchanged"] and twice["complete"] and set(twice["removed"].values()) == {0}
    assert files(town / "g") == before and forgotten_path(town / "g").read_text() == listed
    assert twice["user"] == once["user"] and len(read_audit(audit_path(town / "g"))) >= 2


def test_later_builds_leave_them_out_and_the_list_names_nobody(town: Path):
    forget("ada", town / "g", town / "catalog")
    listed = forgotten_path(town / "g")
    assert "ada" not in listed.read_text().split() and len(listed.read_text().splitlines()) == 2
    build_graph(town / "catalog", town / "g", **{**OPTIONS, "seed": 4})
    assert traces(town / "g", {"ada", "b0"}) == {}
    build_graph(town / "catalog", town / "elsewhere", **OPTIONS, forgotten=listed)
    assert traces(town / "elsewhere", {"ada", "b0"}) == {}
    counted = read_manifest(town / "elsewhere", "graph", "").metrics["forgotten"]
    assert counted == {"interactions": 8, "boards": 1, "board_items": 7, "follows": 4}
    build_graph(town / "catalog", town / "again", **OPTIONS)  # another --out without the list: they are back
    assert traces(town / "again", {"ada"}) != {}


def test_the_audit_line_proves_without_naming(town: Path):
    report = forget("ada", town / "g", town / "catalog")
    log = audit_path(town / "g")
    line = [line for line in read_audit(log) if line["what"] == "graph forget"][-1]
    assert line["outcome"] == "done" and line["purpose"] == "forget" and line["policy"]
    assert line["artefacts"]["before"] == report["before"] and line["artefacts"]["graph"] == report["after"]
    assert line["parameters"]["removed"] == report["removed"] and line["parameters"]["found"] == {}
    assert line["parameters"]["user"] == read_forgotten(forgotten_path(town / "g")).hash_of("ada")
    assert '"ada"' not in log.read_text() and "'ada'" not in log.read_text() and '"b0"' not in log.read_text()
    assert verify_audit(log, report["audit"]) == []


def edge_file(path: Path, edges: list[tuple[str, str]]) -> Path:
    """Edges of times after those of `tables`."""
    source, target = zip(*edges, strict=True)
    pq.write_table(pa.table({"source": source, "target": target, "at": range(5_000, 5_000 + len(edges))}), path)
    return path


ADDED = [
    ("saved", [("ada", "i39"), ("dan", "i39"), ("new", "i1"), ("new", "i2"), ("zoe", "i3")]),
    ("holds", [("b0", "i38"), ("b1", "i38"), ("b9", "i5")]),
    ("follows", [("ada", "b3"), ("dan", "b0"), ("cleo", "b3")]),
]  # fmt: skip


def add_all(root: Path, graph: Path, catalog: Path, left_out: set[str]) -> Path:
    """ADDED in three steps, without edges that name anything of `left_out`; the last graph."""
    for step, (relation, edges) in enumerate(ADDED):
        kept = [edge for edge in edges if not left_out & set(edge)]
        edges_path = edge_file(root / f"{graph.name}-{relation}.parquet", kept)
        table = pq.read_table(edges_path).set_column(2, "at", pa.array([5_000 + edges.index(edge) for edge in kept]))
        pq.write_table(table, edges_path)
        add_edges(graph, edges_path, catalog, root / f"{graph.name}{step}", relation)
        graph = root / f"{graph.name}{step}"
    return graph


@pytest.mark.parametrize(
    ("user", "boards", "rows"),
    [("ada", {"b0"}, 4), ("dan", set(), 2), ("zoe", set(), 1), ("eve", set(), 0)],
)
def test_added_edges_are_added_again_without_the_user(town: Path, user: str, boards: set[str], rows: int):
    graph = add_all(town, town / "g", town / "catalog", set())
    report = forget(user, graph, town / "catalog")
    never = build_graph(write_catalog(town / "never", without(tables(), user)), town / "n", **OPTIONS)
    expected = add_all(town, Path(never["out"]), town / "never", {user, *boards})
    found, wanted = files(graph), files(expected)
    refusals = [found.pop("rejects.parquet"), wanted.pop("rejects.parquet")]  # rows of a longer file: other numbers
    tables_of = [pq.read_table(io.BytesIO(table)).drop_columns("row") for table in refusals]
    assert found == wanted and tables_of[0].equals(tables_of[1])
    assert report["complete"] and report["rows"].get("added edges", 0) == rows
    assert not list(town.glob("*.forget.*")) and len(forgotten_path(graph).read_text().splitlines()) == 2
    once = files(graph)
    assert forget(user, graph, town / "catalog")["unchanged"] and files(graph) == once


def test_a_file_of_nobody_else_is_forgotten_whole(town: Path):
    add_edges(town / "g", edge_file(town / "e.parquet", [("zoe", "i1"), ("zoe", "i2")]), town / "catalog", town / "h")
    report = forget("zoe", town / "h", town / "catalog")
    assert report["complete"] and report["removed"]["saved"] == 2 and report["rows"] == {"added edges": 2}
    found, wanted = files(town / "h"), files(town / "g")
    assert pq.read_table(io.BytesIO(found.pop("rejects.parquet"))).num_rows == 0 and wanted.pop("rejects.parquet")
    assert found == wanted


@pytest.mark.parametrize("fate", ["gone", "changed"])
def test_added_edges_whose_file_is_lost_are_named(town: Path, fate: str):
    edges = edge_file(town / "e.parquet", [("dan", "i1"), ("new", "i2")])
    add_edges(town / "g", edges, town / "catalog", town / "h")
    edges.unlink()
    if fate == "changed":
        edge_file(edges, [("dan", "i3")])
    before = files(town / "h")
    with pytest.raises(
        UserError, match=r"holds edges of .*e\.parquet, which is gone or was changed; put that file back"
    ):
        forget("ada", town / "h", town / "catalog")
    assert files(town / "h") == before and not forgotten_path(town / "h").exists()
