"""Forgetting in stores: rows of users and boards go, items stay, what was learned from the old graph is named."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from forget_worlds import OPTIONS, never_had, refused, tables, vectors, write_catalog
from graph.audit import audit_path, read_audit
from graph.commands import build_graph, refine
from graph.forget import forget
from navigator.contracts import ItemVectors, publish, read_manifest
from navigator.contracts.vector_file import FILE, write_tensors


def test_stores_of_users_and_boards_lose_their_rows(town: Path):
    people = vectors(town / "users", ["fay", "ada", "dan"])
    before = ItemVectors.open(people)
    kept = before.float32(np.array([0, 2]))
    with publish(town / "boards", "vectors", {"encoder": "e", "normalised": True}, {}) as work:
        matrix, scale = np.arange(12, dtype=np.int8).reshape(4, 3), np.array([1, 2, 3], np.float32)
        write_tensors(work.path / FILE, [matrix], (4, 3), matrix.dtype, scale)
        pq.write_table(
            pa.table({"item_id": ["b1", "b0", "b2", "b4"], "content": list("wxyz")}), work.path / "ids.parquet"
        )
    report = forget("ada", town / "g", town / "catalog", [people, town / "boards"])
    after, boards = ItemVectors.open(people), ItemVectors.open(town / "boards")
    assert after.ids == ["fay", "dan"] and after.encoder == "e" and np.array_equal(after.float32(), kept)
    assert boards.ids == ["b1", "b2", "b4"] and boards.float32().tolist() == (matrix[[0, 2, 3]] * scale).tolist()
    assert pq.read_table(town / "boards" / "ids.parquet")["content"].to_pylist() == list("wyz")
    (line,) = read_audit(audit_path(people))
    assert line["outcome"] == "done" and line["artefacts"]["graph"] == report["after"]
    assert line["parameters"] == {"user": report["user"], "action": "rows removed"}
    assert [(v["rows"], v["action"]) for v in report["vectors"]] == [(1, "rows removed")] * 2 and report["complete"]


def test_an_item_that_is_spelled_like_the_user_stays(town: Path):
    """As in MovieLens, where films and people are both numbers."""
    rows = tables()
    for row in rows["interactions"]:
        row["user_id"] = {"ada": "i7"}.get(row["user_id"], row["user_id"])
    for row in rows["boards"]:
        row["owner_id"] = "i7" if row["owner_id"] == "ada" else row["owner_id"]
    rows["follows"] = []
    catalog = write_catalog(town / "alike", rows)
    build_graph(catalog, town / "h", **OPTIONS)
    items = vectors(town / "items", [f"i{i}" for i in range(40)])
    people = vectors(town / "users", ["i7", "i8"], {"node_type": "user"})
    report = forget("i7", town / "h", catalog, [items, people])
    assert ItemVectors.open(items).ids == [f"i{i}" for i in range(40)] and ItemVectors.open(people).ids == ["i8"]
    assert report["complete"] and report["found"] == {}
    assert "i7" not in pq.read_table(town / "h" / "nodes_user.parquet")["id"].to_pylist()
    assert "i7" in pq.read_table(town / "h" / "nodes_item.parquet")["id"].to_pylist()


def test_refined_vectors_are_those_of_the_graph_that_never_had_them(town: Path):
    content = vectors(town / "content", [f"i{i}" for i in range(40)])
    refine(town / "g", content, town / "refined", town / "catalog", dim=4, graph_weight=0.5)
    refused(town, "which --vectors does not name; add their folder", vectors=[town / "refined"])
    report = forget("ada", town / "g", town / "catalog", [town / "refined", content])
    refine(never_had(town, "ada"), content, town / "never-refined", town / "never", dim=4, graph_weight=0.5)
    found, expected = (ItemVectors.open(town / name) for name in ("refined", "never-refined"))
    assert found.ids == expected.ids and np.array_equal(found.matrix, expected.matrix)
    assert [v["action"] for v in report["vectors"]] == ["computed again", "nothing of theirs"] and report["complete"]
    assert read_manifest(town / "refined", "vectors", "").inputs["graph"] == report["after"]


def test_vectors_learned_from_the_old_graph_are_named(town: Path):
    old = read_manifest(town / "g", "graph", "").fingerprint
    learned = vectors(town / "learned", ["fay", "ada", "dan"], graph=old)
    report = forget("ada", town / "g", town / "catalog", [learned])
    assert report["stale"] == [str(learned)] and "train again" in report["next"]
    assert not report["complete"] and report["exit_code"] == 1
    assert ItemVectors.open(learned).ids == ["fay", "dan"] and report["found"] == {}
    again = vectors(learned, ["fay", "dan"], graph=report["after"])  # trained on the new graph
    assert forget("ada", town / "g", town / "catalog", [again])["complete"]


def test_vectors_that_are_no_vectors_are_refused_first(town: Path):
    refused(town, "does not exist", vectors=[town / "nowhere"])


def test_without_vectors_the_answer_says_that_none_was_searched(town: Path):
    report = forget("ada", town / "g", town / "catalog")
    assert report["note"].startswith("no vectors were given, none was searched")
    assert report["searched"] == [str(town / "g")] and report["complete"]
    items = vectors(town / "items", [f"i{i}" for i in range(40)])
    assert "note" not in forget("ada", town / "g", town / "catalog", [items])


def test_a_folder_of_trained_vectors_means_its_stores(town: Path):
    """A user who is spelled like an item goes from the users, and the item stays."""
    old = read_manifest(town / "g", "graph", "").fingerprint
    with publish(town / "trained", "taste-encoder", {}, {"graph": old}) as work:
        for name, ids in (("items", ["i0", "i1"]), ("boards", ["b0", "b1"]), ("users", ["ada", "dan"])):
            vectors(work.path / name, ids, {"of": name}, graph=old)
    report = forget("ada", town / "g", town / "catalog", [town / "trained", town / "trained" / "users"])
    stores = [str(town / "trained" / name) for name in ("items", "boards", "users")]
    assert report["searched"] == [str(town / "g"), *stores] and report["stale"] == stores
    assert ItemVectors.open(town / "trained" / "boards").ids == ["b1"]
    assert ItemVectors.open(town / "trained" / "users").ids == ["dan"]
    assert report["found"] == {} and not report["complete"]  # learned from the old graph


def test_a_store_of_users_who_are_all_spelled_like_items(town: Path):
    """As train.gnn writes them for MovieLens: the store says what it is of."""
    rows = tables()
    for table, column in (("interactions", "user_id"), ("boards", "owner_id"), ("follows", "user_id")):
        for row in rows[table]:
            row[column] = {"ada": "i7", "dan": "i8"}.get(row[column], row[column])
    catalog = write_catalog(town / "alike", rows)
    build_graph(catalog, town / "h", **OPTIONS)
    people, items = (vectors(town / name, ["i7", "i8"], {"of": name}) for name in ("users", "items"))
    report = forget("i7", town / "h", catalog, [people, items])
    assert ItemVectors.open(people).ids == ["i8"] and ItemVectors.open(items).ids == ["i7", "i8"]
    assert report["complete"]
