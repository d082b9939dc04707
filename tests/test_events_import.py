"""From events back into the graph, and into the product metrics: a small world that is counted by hand."""

import json

import pyarrow.parquet as pq
import pytest

from bench.cli import main as bench
from bench.product.figures import ProductReport
from event_worlds import QUIET, save, write_policy
from forget_worlds import tables, write_catalog
from graph.audit import audit_path, read_audit
from graph.commands import add_edges, build_graph
from graph.stats import stats
from navigator.cli import main
from navigator.contracts import Catalog
from navigator.events.compact import compact
from navigator.events.store import EventStore


@pytest.fixture
def town(tmp_path):
    rows_of = tables()  # without times: a graph of saves in 1970 has no code for today's
    timeless = [row | {"at": None} for row in rows_of["interactions"]]
    write_catalog(tmp_path / "catalog", rows_of | {"interactions": timeless})
    shown = [save("new", f"i{n}", kind="impression") for n in range(6)]
    with EventStore.open(tmp_path / "s", limits=QUIET) as store:
        store.append(
            [
                *shown, save("new", "i1", kind="click"), save("new", "i1", board_id="b1", event_id="twice"),
                save("new", "i2", board_id="mine"), save("new", "i2", board_id="mine"), save("ada", "i3", board_id="gone"),
                {"kind": "board_created", "user_id": "new", "board_id": "mine", "system": "v1"},
                save("ada", "lost"), save("dan", "lost"), save("dan", "i4", kind="click"),
            ]
        )  # fmt: skip
    with EventStore.open(tmp_path / "s", limits=QUIET) as store:
        store._writer._known._kept.clear()  # as another replica, which does not know the id
        store.append([save("new", "i1", board_id="b1", event_id="twice")])
    return tmp_path


def importing(town, *more: str) -> list[str]:
    """The command that imports the town's events."""
    return ["import", "events", str(town / "s"), "--catalog", str(town / "catalog"), "--out", str(town / "e"), *more]


def rows(path) -> list[tuple]:
    return [tuple(row.values())[:2] for row in pq.read_table(path).to_pylist()]


def test_events_become_edges_that_a_graph_takes(town, capsys):
    command = importing(town, "--json")
    assert main([*command, "--catalog_out", str(town / "c2")]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["rows"] == {"saved": 3, "holds": 2, "boards": 1, "interactions": 12, "rejects": 3}
    assert said["events"] == {"board_created": 1, "click": 2, "impression": 6, "save": 6}
    assert said["refused"] == {"unknown board": 1, "unknown item": 2} and said["unknown"] == {"lost": 2, "gone": 1}
    assert said["store"]["repeated"] == 1
    assert set(rows(town / "e" / "saved.parquet")) == {("new", "i1"), ("new", "i2"), ("ada", "i3")}
    assert set(rows(town / "e" / "holds.parquet")) == {("b1", "i1"), ("mine", "i2")}
    assert main(command) == 0 and json.loads(capsys.readouterr().out)["unchanged"] is True
    log = read_audit(audit_path(town / "s"))
    assert [(line["what"], line["purpose"], line["outcome"]) for line in log] == [
        ("import events", "build", "done")
    ] * 2

    build_graph(town / "catalog", town / "g", walks=0, min_board=3)
    added = add_edges(town / "g", town / "e" / "saved.parquet", town / "catalog", town / "g1")["added"]
    assert added["kept"] + sum(added["rejected"].values()) == 3 and added["new_sources"] == 1
    added = add_edges(town / "g1", town / "e" / "holds.parquet", town / "catalog", town / "g2", "holds")["added"]
    assert added["new_sources"] == 1 and not stats(town / "g2", town / "catalog", town / "st").get("exit_code")


def test_what_was_shown_and_not_saved_becomes_negatives(town):
    main(importing(town, "--catalog_out", str(town / "c2")))
    larger = Catalog.open(town / "c2")
    assert larger.rows("interactions") == 32 + 12 and larger.rows("boards") == 7
    built = build_graph(town / "c2", town / "g", actions=["save"], impressions=["impression"], walks=0, min_board=3)
    assert (
        built["impressions"] + built.get("impressions_not_before_held_out", 0) == 4 and built["impressions_saved"] == 2
    )


def test_clicks_count_as_saves_when_asked(town, capsys):
    command = importing(town)
    assert main([*command, "--clicks"]) == 0
    assert ("dan", "i4") in rows(town / "e" / "saved.parquet") and len(rows(town / "e" / "saved.parquet")) == 4
    assert main([*command, "--purpose", "export"]) == 2
    assert "lets nothing leave that fewer than 5 owners" in capsys.readouterr().err


def test_the_product_bench_reads_a_store_as_it_is(town, capsys):
    """The same figures before and after compaction, repeats and torn lines counted, each reading in the audit log."""
    segment = next((town / "s" / "segments").iterdir())
    segment.write_bytes(segment.read_bytes() + b'{"event_id":')
    figures = []
    for step in (lambda folder: None, compact):
        step(town / "s")
        assert bench(["product", str(town / "s"), "--out", str(town / "r")]) == 0
        report = ProductReport.model_validate_json((town / "r" / "report.json").read_text())
        assert report.refused == {"event_id seen before": 1, "last line torn off": 1}
        assert (report.rows, report.used) == (17, 15)
        figures.append(report.versions_of_system)
    assert figures[0] == figures[1]
    row = figures[0]["v1"]
    assert row.counts == {"impression": 6, "click": 2, "save": 6, "board_created": 1, "user_day": 3}
    assert bench(["product", str(town / "s"), "--out", str(town / "r")]) == 0 and "unchanged" in capsys.readouterr().out
    lines = read_audit(audit_path(town / "s"))
    assert [line["what"] for line in lines] == ["product", "events compact", "product"]


def test_the_product_bench_tells_nothing_of_small_groups(tmp_path, capsys):
    policy = write_policy(tmp_path / "p.yaml", bench={"minimum_group_size": 3})
    with EventStore.open(tmp_path / "s", policy, QUIET) as store:
        store.append([save("ann"), save("ben")])
    assert bench(["product", str(tmp_path / "s"), "--out", str(tmp_path / "r")]) == 2
    assert "comes from 2 owners" in capsys.readouterr().err and not (tmp_path / "r").exists()
