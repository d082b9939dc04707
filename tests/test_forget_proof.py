"""What forgetting refuses, the search that proves it, and the list of those who were forgotten."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from forget_worlds import OPTIONS, refused, tables, without, write_catalog
from graph.commands import build_graph
from graph.forget import forget
from graph.forgotten import add_forgotten, forgotten_rows, read_forgotten
from graph.policy import DEFAULT
from graph.traces import traces
from navigator.contracts import Catalog, UserError


def test_an_unknown_user(town: Path):
    refused(town, "user 'zoe' is not among the 6 who have interactions, boards or follows", "zoe")


def test_a_graph_of_another_catalogue(town: Path):
    write_catalog(town / "other", without(tables(), "dan"))
    refused(town, "was built from catalogue", catalog="other")


def test_a_policy_that_does_not_know_forgetting(town: Path):
    purposes = yaml.safe_load(DEFAULT.read_text())["purposes"]
    del purposes["forget"]
    (town / "mine.yaml").write_text(yaml.safe_dump({"purposes": purposes}))
    build_graph(town / "catalog", town / "g", **OPTIONS, policy=town / "mine.yaml")
    refused(town, "has no purpose 'forget'; its purposes: bench, build, export")


def test_a_policy_that_does_not_let_forgetting_see(town: Path):
    purposes = yaml.safe_load(DEFAULT.read_text())["purposes"]
    purposes["forget"]["edge_types"] = ["holds"]
    (town / "mine.yaml").write_text(yaml.safe_dump({"purposes": purposes}))
    build_graph(town / "catalog", town / "g", **OPTIONS, policy=town / "mine.yaml")
    refused(town, "purpose 'forget' of policy")


def test_a_graph_that_is_nothing_without_them_is_named(tmp_path: Path):
    rows = tables() | {"boards": [], "board_items": [], "follows": []}
    rows["interactions"] = [row for row in rows["interactions"] if row["user_id"] == "ada"]
    build_graph(write_catalog(tmp_path / "catalog", rows), tmp_path / "g", **OPTIONS)
    with pytest.raises(UserError, match=r"no save.*still has them: remove that folder"):
        forget("ada", tmp_path / "g", tmp_path / "catalog")


def test_what_an_interrupted_command_left_behind_spoils_the_proof(town: Path):
    forget("ada", town / "g", town / "catalog")
    (town / "g.work").mkdir()
    report = forget("ada", town / "g", town / "catalog")
    assert report["found"] == {str(town / "g.work"): 1} and not report["complete"] and report["exit_code"] == 1


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


def test_the_list_is_salted_and_finds_its_people_again(town: Path):
    one, two = (add_forgotten(town / f"{name}.txt", "ada") for name in ("one", "two"))
    assert one.hashes.isdisjoint(two.hashes) and add_forgotten(town / "one.txt", "ada") == one
    found = forgotten_rows(town / "catalog", add_forgotten(town / "one.txt", "o'hara"))
    assert (found.users, found.boards) == (["ada"], ["b0"])
    nobody = forgotten_rows(town / "catalog", read_forgotten(town / "none.txt"))
    assert (nobody.users, nobody.rows, nobody.stay("follows")) == ([], {}, "true AND true")
    (town / "one.txt").write_text("ada\n")
    with pytest.raises(UserError, match="is not a list of forgotten users"):
        read_forgotten(town / "one.txt")


def test_a_board_without_an_owner_belongs_to_nobody(town: Path):
    assert Catalog.open(town / "catalog").rows("boards") == 6
    found = forgotten_rows(town / "catalog", add_forgotten(town / "one.txt", "b5"))
    assert (found.users, found.boards, found.rows) == ([], [], {})
