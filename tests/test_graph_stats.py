"""Statistics of a graph, in the shell and drawn."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from graph.commands import add_edges
from graph.policy import DEFAULT
from graph.signal_table import read_signal
from graph.stats import moment, percentiles, stats
from leak_worlds import leak_order, leak_pair
from navigator.contracts import UserError
from stats_worlds import N, checks


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
