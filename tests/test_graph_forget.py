"""Forgetting: the graph afterwards is, byte by byte, the graph of a catalogue that never had the user."""

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from graph.audit import audit_path, read_audit, verify_audit
from graph.commands import add_edges, build_graph, refine
from graph.forget import forget
from graph.forgotten import add_forgotten, forgotten_path, forgotten_rows, read_forgotten
from graph.policy import DEFAULT
from graph.traces import traces
from navigator.contracts import Catalog, ItemVectors, UserError, publish, read_manifest
from navigator.contracts.catalog import FOLLOWS, TABLES
from navigator.contracts.vector_file import FILE, write_tensors
from navigator.contracts.vectors import normalise, write_vectors

OPTIONS: dict[str, Any] = {"seed": 3, "min_board": 3, "valid_fraction": 0.5, "walks": 30, "length": 6}
OWNERS = {"b0": "ada", "b1": "ben", "b2": "cleo", "b3": "ben", "b4": "cleo", "b5": None}


def tables() -> dict[str, list[dict[str, Any]]]:
    """40 items; ada saves, follows and owns b0; ben owns b1 and b3 and does nothing else; dan only saves; eve only follows."""
    chance = np.random.default_rng(5)

    def saves(user: str, count: int) -> list[dict[str, Any]]:
        items = chance.choice(40, count, replace=False).tolist()
        return [{"user_id": user, "item_id": f"i{i}", "action": "save", "at": 100 * n} for n, i in enumerate(items, 1)]

    boards = {board: chance.choice(40, 7, replace=False).tolist() for board in OWNERS}
    follows = [("ada", "b1"), ("ada", "b2"), ("cleo", "b0"), ("eve", "b0"), ("eve", "b4"), ("dan", "b3")]
    return {
        "items": [{"item_id": f"i{i}", "title": f"t{i}", "keywords": [], "text": ""} for i in range(40)],
        "boards": [{"board_id": b, "title": f"about {b}", "owner_id": owner} for b, owner in OWNERS.items()],
        "board_items": [{"board_id": b, "item_id": f"i{i}"} for b, items in boards.items() for i in items],
        "interactions": [row for user in ("ada", "cleo", "dan", "fay") for row in saves(user, 8)],
        "follows": [{"user_id": user, "board_id": board, "at": 50} for user, board in follows],
        "rejects": [],
    }


def without(rows: dict[str, list[dict[str, Any]]], user: str) -> dict[str, list[dict[str, Any]]]:
    """The oracle: strike every row of the user and of the boards they own."""
    boards = {row["board_id"] for row in rows["boards"] if row["owner_id"] == user}
    return {
        name: [row for row in table if row.get("user_id") != user and row.get("board_id") not in boards]
        for name, table in rows.items()
    }


def write_catalog(folder: Path, rows: dict[str, list[dict[str, Any]]]) -> Path:
    with publish(folder, "catalog", {}, {}) as work:
        for name, schema in {**TABLES, "follows": FOLLOWS}.items():
            pq.write_table(pa.Table.from_pylist(rows[name], schema=schema), work.path / f"{name}.parquet")
    return folder


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("first")
    build_graph(write_catalog(root / "catalog", tables()), root / "g", **OPTIONS)
    return root


@pytest.fixture
def world(first: Path, tmp_path: Path) -> Path:
    """A copy of the catalogue and its graph, to be changed."""
    shutil.copytree(first, tmp_path, dirs_exist_ok=True)
    return tmp_path


def files(folder: Path) -> dict[str, bytes]:
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    found.pop("manifest.json")
    return found


def never_had(folder: Path, *users: str) -> Path:
    rows = tables()
    for user in users:
        rows = without(rows, user)
    build_graph(write_catalog(folder / "never", rows), folder / "never-g", **OPTIONS)
    return folder / "never-g"


@pytest.mark.parametrize(
    ("user", "rows"),
    [
        ("ada", {"interactions": 8, "boards": 1, "board_items": 7, "follows": 4}),
        ("ben", {"boards": 2, "board_items": 14, "follows": 2}),
        ("dan", {"interactions": 8, "follows": 1}),
        ("eve", {"follows": 2}),
    ],
)
def test_the_graph_is_that_of_a_catalogue_that_never_had_the_user(world: Path, user: str, rows: dict[str, int]):
    before = read_manifest(world / "g", "graph", "")
    report = forget(user, world / "g", world / "catalog")
    expected, found = files(never_had(world, user)), files(world / "g")
    assert sorted(found) == sorted(expected)
    assert [name for name in found if found[name] != expected[name]] == []
    assert report["rows"] == rows and report["found"] == {} and report["complete"] and report["exit_code"] == 0
    after = read_manifest(world / "g", "graph", "")
    assert (report["before"], report["after"]) == (before.fingerprint, after.fingerprint)
    assert before.fingerprint != after.fingerprint == read_manifest(world / "never-g", "graph", "").fingerprint
    assert report["edges"].keys() == before.metrics["relations"].keys()


def test_a_graph_that_holds_out_the_last_saves_stays_one(world: Path):
    build_graph(world / "catalog", world / "g", last=3, **OPTIONS)
    assert forget("ada", world / "g", world / "catalog")["complete"]
    catalog = write_catalog(world / "never", without(tables(), "ada"))
    done = build_graph(catalog, world / "never-g", last=3, **OPTIONS)
    assert files(world / "g") == files(world / "never-g") and done["users_test_saves"] == 9


def test_what_was_removed_is_counted_by_relation(world: Path):
    """ada: 8 saves, of which one or two are held out; her board's 7, of which one or two are; 2 follows + 2 of her board."""
    sequences = {row["owner"]: row for row in pq.read_table(world / "g" / "sequences.parquet").to_pylist()}
    removed = forget("ada", world / "g", world / "catalog")["removed"]
    assert removed["saved"] == len(sequences["ada"]["items"]) and removed["holds"] == len(sequences["b0"]["items"])
    assert removed["follows"] == 4 and removed["about"] == 1
    assert not {"ada", "b0"} & {row["owner"] for row in pq.read_table(world / "g" / "sequences.parquet").to_pylist()}


def test_two_users_in_a_row_are_both_gone(world: Path):
    forget("ada", world / "g", world / "catalog")
    forget("ben", world / "g", world / "catalog")
    assert files(world / "g") == files(never_had(world, "ada", "ben"))


def test_the_same_user_twice_is_proved_again_and_changes_nothing(world: Path):
    once = forget("ada", world / "g", world / "catalog")
    before, listed = files(world / "g"), forgotten_path(world / "g").read_text()
    twice = forget("ada", world / "g", world / "catalog")
    assert twice["unchanged"] and not once["unchanged"] and twice["complete"] and set(twice["removed"].values()) == {0}
    assert files(world / "g") == before and forgotten_path(world / "g").read_text() == listed
    assert twice["user"] == once["user"] and len(read_audit(audit_path(world / "g"))) >= 2


def test_later_builds_leave_them_out_and_the_list_names_nobody(world: Path):
    forget("ada", world / "g", world / "catalog")
    listed = forgotten_path(world / "g")
    assert "ada" not in listed.read_text().split() and len(listed.read_text().splitlines()) == 2
    build_graph(world / "catalog", world / "g", **{**OPTIONS, "seed": 4})
    assert traces(world / "g", {"ada", "b0"}) == {}
    build_graph(world / "catalog", world / "elsewhere", **OPTIONS, forgotten=listed)
    assert traces(world / "elsewhere", {"ada", "b0"}) == {}
    counted = read_manifest(world / "elsewhere", "graph", "").metrics["forgotten"]
    assert counted == {"interactions": 8, "boards": 1, "board_items": 7, "follows": 4}
    build_graph(world / "catalog", world / "again", **OPTIONS)  # another --out without the list: they are back
    assert traces(world / "again", {"ada"}) != {}


def test_the_audit_line_proves_without_naming(world: Path):
    report = forget("ada", world / "g", world / "catalog")
    log = audit_path(world / "g")
    line = [line for line in read_audit(log) if line["what"] == "graph forget"][-1]
    assert line["outcome"] == "done" and line["purpose"] == "forget" and line["policy"]
    assert line["artefacts"]["before"] == report["before"] and line["artefacts"]["graph"] == report["after"]
    assert line["parameters"]["removed"] == report["removed"] and line["parameters"]["found"] == {}
    assert line["parameters"]["user"] == read_forgotten(forgotten_path(world / "g")).hash_of("ada")
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
def test_added_edges_are_added_again_without_the_user(world: Path, user: str, boards: set[str], rows: int):
    graph = add_all(world, world / "g", world / "catalog", set())
    report = forget(user, graph, world / "catalog")
    never = build_graph(write_catalog(world / "never", without(tables(), user)), world / "n", **OPTIONS)
    expected = add_all(world, Path(never["out"]), world / "never", {user, *boards})
    found, wanted = files(graph), files(expected)
    refusals = [found.pop("rejects.parquet"), wanted.pop("rejects.parquet")]  # rows of a longer file: other numbers
    tables_of = [pq.read_table(io.BytesIO(table)).drop_columns("row") for table in refusals]
    assert found == wanted and tables_of[0].equals(tables_of[1])
    assert report["complete"] and report["rows"].get("added edges", 0) == rows
    assert not list(world.glob("*.forget.*")) and len(forgotten_path(graph).read_text().splitlines()) == 2
    once = files(graph)
    assert forget(user, graph, world / "catalog")["unchanged"] and files(graph) == once


def test_a_file_of_nobody_else_is_forgotten_whole(world: Path):
    add_edges(
        world / "g", edge_file(world / "e.parquet", [("zoe", "i1"), ("zoe", "i2")]), world / "catalog", world / "h"
    )
    report = forget("zoe", world / "h", world / "catalog")
    assert report["complete"] and report["removed"]["saved"] == 2 and report["rows"] == {"added edges": 2}
    found, wanted = files(world / "h"), files(world / "g")
    assert pq.read_table(io.BytesIO(found.pop("rejects.parquet"))).num_rows == 0 and wanted.pop("rejects.parquet")
    assert found == wanted


@pytest.mark.parametrize("fate", ["gone", "changed"])
def test_added_edges_whose_file_is_lost_are_named(world: Path, fate: str):
    edges = edge_file(world / "e.parquet", [("dan", "i1"), ("new", "i2")])
    add_edges(world / "g", edges, world / "catalog", world / "h")
    edges.unlink()
    if fate == "changed":
        edge_file(edges, [("dan", "i3")])
    before = files(world / "h")
    with pytest.raises(
        UserError, match=r"holds edges of .*e\.parquet, which is gone or was changed; put that file back"
    ):
        forget("ada", world / "h", world / "catalog")
    assert files(world / "h") == before and not forgotten_path(world / "h").exists()


def refused(
    world: Path, said: str, user: str = "ada", catalog: str = "catalog", vectors: list[Path] | None = None
) -> None:
    """Refused in one line, in the log too, and nothing was changed."""
    before = {path: path.read_bytes() for path in world.rglob("*") if path.is_file() and path.suffix != ".jsonl"}
    with pytest.raises(UserError) as error:
        forget(user, world / "g", world / catalog, vectors)
    assert said in str(error.value) and "\n" not in str(error.value)
    line = read_audit(audit_path(world / "g"))[-1]
    assert (line["what"], line["outcome"]) == ("graph forget", "refused") and user not in line["reason"].split("'")
    assert {
        path: path.read_bytes() for path in world.rglob("*") if path.is_file() and path.suffix != ".jsonl"
    } == before


def test_an_unknown_user(world: Path):
    refused(world, "user 'zoe' is not among the 6 who have interactions, boards or follows", "zoe")


def test_a_graph_of_another_catalogue(world: Path):
    write_catalog(world / "other", without(tables(), "dan"))
    refused(world, "was built from catalogue", catalog="other")


def test_a_policy_that_does_not_know_forgetting(world: Path):
    purposes = yaml.safe_load(DEFAULT.read_text())["purposes"]
    del purposes["forget"]
    (world / "mine.yaml").write_text(yaml.safe_dump({"purposes": purposes}))
    build_graph(world / "catalog", world / "g", **OPTIONS, policy=world / "mine.yaml")
    refused(world, "has no purpose 'forget'; its purposes: bench, build, export")


def test_a_policy_that_does_not_let_forgetting_see(world: Path):
    purposes = yaml.safe_load(DEFAULT.read_text())["purposes"]
    purposes["forget"]["edge_types"] = ["holds"]
    (world / "mine.yaml").write_text(yaml.safe_dump({"purposes": purposes}))
    build_graph(world / "catalog", world / "g", **OPTIONS, policy=world / "mine.yaml")
    refused(world, "purpose 'forget' of policy")


def test_a_graph_that_is_nothing_without_them_is_named(tmp_path: Path):
    rows = tables() | {"boards": [], "board_items": [], "follows": []}
    rows["interactions"] = [row for row in rows["interactions"] if row["user_id"] == "ada"]
    build_graph(write_catalog(tmp_path / "catalog", rows), tmp_path / "g", **OPTIONS)
    with pytest.raises(UserError, match=r"no save.*still has them: remove that folder"):
        forget("ada", tmp_path / "g", tmp_path / "catalog")


def vectors(folder: Path, ids: list[str], config: dict[str, Any] | None = None, **inputs: str) -> Path:
    matrix = normalise(np.random.default_rng(len(ids)).standard_normal((len(ids), 8))).astype(np.float16)
    with publish(folder, "vectors", {"encoder": "e", "normalised": True, **(config or {})}, inputs) as work:
        write_vectors(work.path, ids, matrix)
    return folder


def test_stores_of_users_and_boards_lose_their_rows(world: Path):
    people = vectors(world / "users", ["fay", "ada", "dan"])
    before = ItemVectors.open(people)
    kept = before.float32(np.array([0, 2]))
    with publish(world / "boards", "vectors", {"encoder": "e", "normalised": True}, {}) as work:
        matrix, scale = np.arange(12, dtype=np.int8).reshape(4, 3), np.array([1, 2, 3], np.float32)
        write_tensors(work.path / FILE, [matrix], (4, 3), matrix.dtype, scale)
        pq.write_table(
            pa.table({"item_id": ["b1", "b0", "b2", "b4"], "content": list("wxyz")}), work.path / "ids.parquet"
        )
    report = forget("ada", world / "g", world / "catalog", [people, world / "boards"])
    after, boards = ItemVectors.open(people), ItemVectors.open(world / "boards")
    assert after.ids == ["fay", "dan"] and after.encoder == "e" and np.array_equal(after.float32(), kept)
    assert boards.ids == ["b1", "b2", "b4"] and boards.float32().tolist() == (matrix[[0, 2, 3]] * scale).tolist()
    assert pq.read_table(world / "boards" / "ids.parquet")["content"].to_pylist() == list("wyz")
    (line,) = read_audit(audit_path(people))
    assert line["outcome"] == "done" and line["artefacts"]["graph"] == report["after"]
    assert line["parameters"] == {"user": report["user"], "action": "rows removed"}
    assert [(v["rows"], v["action"]) for v in report["vectors"]] == [(1, "rows removed")] * 2 and report["complete"]


def test_an_item_that_is_spelled_like_the_user_stays(world: Path):
    """As in MovieLens, where films and people are both numbers."""
    rows = tables()
    for row in rows["interactions"]:
        row["user_id"] = {"ada": "i7"}.get(row["user_id"], row["user_id"])
    for row in rows["boards"]:
        row["owner_id"] = "i7" if row["owner_id"] == "ada" else row["owner_id"]
    rows["follows"] = []
    catalog = write_catalog(world / "alike", rows)
    build_graph(catalog, world / "h", **OPTIONS)
    items = vectors(world / "items", [f"i{i}" for i in range(40)])
    people = vectors(world / "users", ["i7", "i8"], {"node_type": "user"})
    report = forget("i7", world / "h", catalog, [items, people])
    assert ItemVectors.open(items).ids == [f"i{i}" for i in range(40)] and ItemVectors.open(people).ids == ["i8"]
    assert report["complete"] and report["found"] == {}
    assert "i7" not in pq.read_table(world / "h" / "nodes_user.parquet")["id"].to_pylist()
    assert "i7" in pq.read_table(world / "h" / "nodes_item.parquet")["id"].to_pylist()


def test_refined_vectors_are_those_of_the_graph_that_never_had_them(world: Path):
    content = vectors(world / "content", [f"i{i}" for i in range(40)])
    refine(world / "g", content, world / "refined", world / "catalog", dim=4, graph_weight=0.5)
    refused(world, "which --vectors does not name; add their folder", vectors=[world / "refined"])
    report = forget("ada", world / "g", world / "catalog", [world / "refined", content])
    refine(never_had(world, "ada"), content, world / "never-refined", world / "never", dim=4, graph_weight=0.5)
    found, expected = (ItemVectors.open(world / name) for name in ("refined", "never-refined"))
    assert found.ids == expected.ids and np.array_equal(found.matrix, expected.matrix)
    assert [v["action"] for v in report["vectors"]] == ["computed again", "nothing of theirs"] and report["complete"]
    assert read_manifest(world / "refined", "vectors", "").inputs["graph"] == report["after"]


def test_what_an_interrupted_command_left_behind_spoils_the_proof(world: Path):
    forget("ada", world / "g", world / "catalog")
    (world / "g.work").mkdir()
    report = forget("ada", world / "g", world / "catalog")
    assert report["found"] == {str(world / "g.work"): 1} and not report["complete"] and report["exit_code"] == 1


def test_vectors_learned_from_the_old_graph_are_named(world: Path):
    old = read_manifest(world / "g", "graph", "").fingerprint
    learned = vectors(world / "learned", ["fay", "ada", "dan"], graph=old)
    report = forget("ada", world / "g", world / "catalog", [learned])
    assert report["stale"] == [str(learned)] and "train again" in report["next"]
    assert not report["complete"] and report["exit_code"] == 1
    assert ItemVectors.open(learned).ids == ["fay", "dan"] and report["found"] == {}
    again = vectors(learned, ["fay", "dan"], graph=report["after"])  # trained on the new graph
    assert forget("ada", world / "g", world / "catalog", [again])["complete"]


def test_vectors_that_are_no_vectors_are_refused_first(world: Path):
    refused(world, "does not exist", vectors=[world / "nowhere"])


def test_the_search_finds_what_is_planted(tmp_path: Path):
    """The proof is worth what its search finds: plain, nested, in dictionaries, in JSON and in lists of words."""
    nested = pa.array([[{"who": "ada"}, {"who": "x"}], [{"who": "ada"}]], pa.list_(pa.struct([("who", pa.string())])))
    columns = {
        "owner": pa.array(["ada", "adamant"]), "deep": nested, "coded": pa.array(["x", "ada"]).dictionary_encode(),
        "items": pa.array(["ada", "ada"]), "large": pa.array(["ada", None], pa.large_string()), "n": pa.array([1, 2]),
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": ["ada"]}), tmp_path / "nodes_user.parquet")
    pq.write_table(pa.table({"id": ["ada"]}), tmp_path / "nodes_item.parquet")
    (tmp_path / "b.json").write_text('{"k": ["ada", {"ada": 1}], "adam": "not ada"}')
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.txt").write_text("ada\nadam\n")
    np.save(tmp_path / "d.npy", np.zeros(3))
    assert traces(tmp_path, {"ada", "b0"}) == {
        "a.parquet:owner": 1, "a.parquet:deep": 2, "a.parquet:coded": 1, "a.parquet:large": 1,
        "nodes_user.parquet:id": 1, "b.json": 2, "sub/c.txt": 1,
    }  # fmt: skip
    refused_edges = [("saved", "ada", "i1"), ("saved", "x", "ada"), ("follows", "x", "b0"), ("has", "ada", "x")]
    names = ("relation", "source", "target")
    pq.write_table(
        pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in refused_edges]),
        tmp_path / "rejects.parquet",
    )
    found = traces(tmp_path, {"ada", "b0"})  # an item spelled "ada" is no trace of her
    assert (found["rejects.parquet:source"], found["rejects.parquet:target"]) == (1, 1)
    (tmp_path / "e.bin").write_bytes(b"ada")
    with pytest.raises(UserError, match=r"e\.bin cannot be searched"):
        traces(tmp_path, {"ada"})


def test_the_list_is_salted_and_finds_its_people_again(world: Path):
    one, two = (add_forgotten(world / f"{name}.txt", "ada") for name in ("one", "two"))
    assert one.hashes.isdisjoint(two.hashes) and add_forgotten(world / "one.txt", "ada") == one
    found = forgotten_rows(world / "catalog", add_forgotten(world / "one.txt", "o'hara"))
    assert (found.users, found.boards) == (["ada"], ["b0"])
    nobody = forgotten_rows(world / "catalog", read_forgotten(world / "none.txt"))
    assert (nobody.users, nobody.rows, nobody.stay("follows")) == ([], {}, "true AND true")
    (world / "one.txt").write_text("ada\n")
    with pytest.raises(UserError, match="is not a list of forgotten users"):
        read_forgotten(world / "one.txt")


def test_a_board_without_an_owner_belongs_to_nobody(world: Path):
    assert Catalog.open(world / "catalog").rows("boards") == 6
    found = forgotten_rows(world / "catalog", add_forgotten(world / "one.txt", "b5"))
    assert (found.users, found.boards, found.rows) == ([], [], {})


def test_without_vectors_the_answer_says_that_none_was_searched(world: Path):
    report = forget("ada", world / "g", world / "catalog")
    assert report["note"].startswith("no vectors were given, none was searched")
    assert report["searched"] == [str(world / "g")] and report["complete"]
    items = vectors(world / "items", [f"i{i}" for i in range(40)])
    assert "note" not in forget("ada", world / "g", world / "catalog", [items])


def test_a_folder_of_trained_vectors_means_its_stores(world: Path):
    """A user who is spelled like an item goes from the users, and the item stays."""
    old = read_manifest(world / "g", "graph", "").fingerprint
    with publish(world / "trained", "taste-encoder", {}, {"graph": old}) as work:
        for name, ids in (("items", ["i0", "i1"]), ("boards", ["b0", "b1"]), ("users", ["ada", "dan"])):
            vectors(work.path / name, ids, {"of": name}, graph=old)
    report = forget("ada", world / "g", world / "catalog", [world / "trained", world / "trained" / "users"])
    stores = [str(world / "trained" / name) for name in ("items", "boards", "users")]
    assert report["searched"] == [str(world / "g"), *stores] and report["stale"] == stores
    assert ItemVectors.open(world / "trained" / "boards").ids == ["b1"]
    assert ItemVectors.open(world / "trained" / "users").ids == ["dan"]
    assert report["found"] == {} and not report["complete"]  # learned from the old graph


def test_a_store_of_users_who_are_all_spelled_like_items(world: Path):
    """As train.gnn writes them for MovieLens: the store says what it is of."""
    rows = tables()
    for table, column in (("interactions", "user_id"), ("boards", "owner_id"), ("follows", "user_id")):
        for row in rows[table]:
            row[column] = {"ada": "i7", "dan": "i8"}.get(row[column], row[column])
    catalog = write_catalog(world / "alike", rows)
    build_graph(catalog, world / "h", **OPTIONS)
    people, items = (vectors(world / name, ["i7", "i8"], {"of": name}) for name in ("users", "items"))
    report = forget("i7", world / "h", catalog, [people, items])
    assert ItemVectors.open(people).ids == ["i8"] and ItemVectors.open(items).ids == ["i7", "i8"]
    assert report["complete"]
