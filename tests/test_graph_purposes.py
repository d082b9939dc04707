"""What a graph's policy hides is behind no door: builds, readers, statistics, additions."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from graph.audit import audit_path, read_audit, verify_audit
from graph.commands import add_edges, build_graph
from graph.forget import forget
from graph.policy import DAY
from graph.relation import HOLDS, SAVED
from graph.stats import stats
from graph.store import TasteGraph
from navigator.contracts import Catalog, UserError, publish
from navigator.contracts.catalog import TABLES
from policy_worlds import policy_file, rules


def built(folder: Path, policy: Path | None) -> tuple[Path, Catalog]:
    """Three users with five saves each, two boards; a graph under the policy."""
    rows: dict[str, list[dict[str, Any]]] = {
        "items": [{"item_id": f"i{i}", "title": f"t{i}", "keywords": [], "text": ""} for i in range(9)],
        "boards": [{"board_id": f"b{b}", "title": f"about {b}", "owner_id": f"u{b}"} for b in range(2)],
        "board_items": [{"board_id": f"b{b}", "item_id": f"i{i + b}"} for b in range(2) for i in range(6)],
        "interactions": [
            {"user_id": f"u{u}", "item_id": f"i{i + u}", "action": "save", "at": DAY * (10 + i)}
            for u in range(3)
            for i in range(5)
        ],
        "rejects": [],
    }
    with publish(folder / "catalog", "catalog", {}, {}) as work:
        for name, schema in TABLES.items():
            pq.write_table(pa.Table.from_pylist(rows[name], schema=schema), work.path / f"{name}.parquet")
    build_graph(folder / "catalog", folder / "g", walks=5, policy=policy)
    return folder / "g", Catalog.open(folder / "catalog")


def test_a_forbidden_edge_type_comes_out_of_no_door(tmp_path: Path):
    every = {"edge_types": ["holds", "saved", "has", "about"], "fields": ["time", "titles"], "minimum_group_size": 1}
    shy = rules(edge_types=["holds", "has", "about"], fields=["titles"])
    path = policy_file(tmp_path, build=rules(**every), train=rules(**every), shy=shy)
    folder, catalog = built(tmp_path, path)
    taste_graph = TasteGraph.open(folder, catalog, purpose="shy")
    doors = {
        "relation": lambda: taste_graph.relation("saved"), "edges": lambda: taste_graph.edges(SAVED),
        "hetero": taste_graph.hetero, "histories": lambda: taste_graph.histories("next-item"),
        "sequences": lambda: taste_graph.sequences, "pairs": lambda: taste_graph.pairs,
        "hard_negatives": lambda: taste_graph.hard_negatives,
    }  # fmt: skip
    before = len(read_audit(audit_path(folder)))
    for count, (door, ask) in enumerate(doors.items(), 1):
        with pytest.raises(UserError, match=r"purpose 'shy' of policy .*may not read edge type 'saved'.*train") as no:
            ask()
        lines = read_audit(audit_path(folder))
        assert len(lines) == before + count, door
        assert (lines[-1]["purpose"], lines[-1]["outcome"], lines[-1]["reason"]) == ("shy", "refused", str(no.value))
    assert taste_graph.edges(HOLDS).src.size and len(taste_graph.histories("board-completion").items)
    assert verify_audit(audit_path(folder)) == []
    assert TasteGraph.open(folder, catalog).edges(SAVED).src.size


def test_fields_that_a_purpose_may_not_read_are_not_there(tmp_path: Path):
    every = {"edge_types": ["holds", "saved", "has", "about"], "fields": ["time", "titles"]}
    dull = rules(edge_types=["holds", "saved"], fields=[])
    folder, catalog = built(tmp_path, policy_file(tmp_path, build=rules(**every), train=rules(**every), dull=dull))
    full, bare = (TasteGraph.open(folder, catalog, purpose=name) for name in ("train", "dull"))
    assert (full.edges(SAVED).time >= 10 * DAY - DAY).all() and (bare.edges(SAVED).time == -1).all()
    assert {s.title for s in full.sequences} == {"", "about 0", "about 1"} and {s.title for s in bare.sequences} == {""}
    with pytest.raises(UserError, match="may not read field 'titles'"):
        bare.node_ids("interest")


def test_opening_for_an_unknown_purpose(tmp_path: Path):
    folder, catalog = built(tmp_path, None)
    with pytest.raises(UserError, match="has no purpose 'sell'; its purposes: build, train, bench, stats"):
        TasteGraph.open(folder, catalog, purpose="sell")
    last = read_audit(audit_path(folder))[-1]
    assert (last["what"], last["purpose"], last["outcome"]) == ("open", "sell", "refused")


def test_a_build_its_policy_forbids_leaves_a_line_and_no_graph(tmp_path: Path):
    path = policy_file(tmp_path, build=rules(edge_types=["holds"]), train=rules())
    with pytest.raises(UserError, match=r"purpose 'build' of policy .* may not read edge type 'saved'"):
        built(tmp_path, path)
    line = read_audit(audit_path(tmp_path / "g"))[-1]
    assert (line["what"], line["outcome"]) == ("graph build", "refused") and "may not read" in line["reason"]
    assert not (tmp_path / "g").exists()


def test_a_build_leaves_out_what_is_older_than_its_policy_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Saves on days 10 to 14, boards without a time; built on day 14 with 2 days kept: days 12, 13 and 14 are left."""
    monkeypatch.setattr("time.time", lambda: float(14 * DAY))
    every = {"edge_types": ["holds", "saved", "has", "about"], "fields": ["time", "titles"], "retention_days": 2}
    folder, catalog = built(tmp_path, policy_file(tmp_path, build=rules(**every), train=rules(**every)))
    saved = [s for s in TasteGraph.open(folder, catalog).sequences if s.task == "next-item"]
    assert {s.owner: len(s.items + s.valid + s.test) for s in saved} == {"u0": 3, "u1": 3, "u2": 3}
    refused = pq.read_table(folder / "rejects.parquet").to_pylist()
    assert [row["reason"] for row in refused if row["relation"] == "saved"] == ["older than the policy keeps"] * 6
    assert sum(row["relation"] == "holds" for row in refused) == 12  # no time: nobody can show that they are young


def test_what_tells_of_single_owners_needs_a_purpose_for_it(tmp_path: Path):
    folder, catalog = built(tmp_path, None)
    TasteGraph.open(folder, catalog, "train").purpose.check_single_owners("vectors of single users")
    with pytest.raises(
        UserError, match=r"purpose 'stats'.* fewer than 5 .* vectors of single users need a purpose with"
    ):
        TasteGraph.open(folder, catalog, "stats").purpose.check_single_owners("vectors of single users")
    assert read_audit(audit_path(folder))[-1]["outcome"] == "refused"


def test_a_missing_input_gets_no_log(tmp_path: Path):
    """Mistyped: neither beside what is read nor beside what a line would go to as well; what is made keeps its log."""
    folder, catalog = built(tmp_path, None)
    for command in (
        lambda: stats(tmp_path / "nog", catalog.path),
        lambda: forget("u0", tmp_path / "nog", catalog.path),
        lambda: forget("u0", tmp_path / "nog", tmp_path / "nowhere"),
        lambda: add_edges(tmp_path / "nog", tmp_path / "e.parquet", catalog.path, tmp_path / "out"),
        lambda: build_graph(tmp_path / "nowhere", tmp_path / "out2"),
    ):
        with pytest.raises(UserError, match="does not exist"):
            command()
    assert sorted(p.name for p in tmp_path.glob("*.jsonl")) == ["g.audit.jsonl", "out.audit.jsonl"]
    with pytest.raises(UserError, match="'ghost' is not"):
        forget("ghost", folder, catalog.path)
    assert read_audit(audit_path(folder))[-1]["outcome"] == "refused"
