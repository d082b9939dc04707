"""`navigator-bench gold run`: one whole run, checked by another tool, and run files alone.

All grades here are simulated by rules; none of them says anything about any catalogue.
"""

import json
from pathlib import Path

import ir_measures
import numpy as np
import pyarrow.parquet as pq
import pytest
from ir_measures import nDCG

from bench.cli import main
from bench.gold.command import check, make, run
from bench.gold.figures import GoldReport
from bench.gold.frozen import open_gold
from bench.gold.run_tables import run_text
from navigator.contracts import Catalog, UserError
from navigator.contracts.manifest import write_text


@pytest.fixture(scope="module")
def gold(project, tmp_path_factory) -> Path:
    """A frozen SIMULATED set: item number modulo 5 is the grade."""
    home = tmp_path_factory.mktemp("gold")
    make(
        project / "catalog",
        project / "graph",
        home / "task",
        queries=9,
        depth=4,
        vectors={"x": str(project / "vectors")},
    )
    rows = pq.read_table(home / "task" / "pairs.parquet").to_pylist()
    for name in ("a", "b"):
        own = [f"{row['pair']},{int(row['item_id'][1:]) % 5 + 1}\n" for row in rows if name in row["annotators"]]
        write_text(home / f"{name}.csv", "pair,grade\n" + "".join(own))
    grades = {name: str(home / f"{name}.csv") for name in ("a", "b")}
    check(home / "task", grades, home / "check", freeze=home / "gold", simulated=True)
    return home / "gold"


def test_a_whole_run(project, gold, tmp_path, capsys):
    words = [str(gold), str(project / "catalog"), str(project / "graph"), "--vectors", f"content={project / 'vectors'}"]
    words += [
        "--models",
        f"swapped={project / 'swapped'}:{project / 'vectors'}",
        "--device",
        "cpu",
        "--rivals",
        "content",
    ]
    assert main(["gold", "run", *words, "--out", str(tmp_path / "r")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("SIMULATED") and "NDCG@10 by stratum" in out
    report = GoldReport.model_validate_json((tmp_path / "r" / "report.json").read_text())
    assert report.simulated and report.gold == open_gold(gold).manifest.fingerprint == report.inputs["gold"]
    assert list(report.systems) == ["popularity", "item-knn", "content", "swapped"]
    strata = [row for name, row in report.slices.items() if "/" in name]
    assert sum(row.n for row in strata) == report.slices["all"].n == 9 and "all, weighted to the whole" in report.slices
    # figures are means of per_query.parquet, and the run files say the same to ir_measures
    table = pq.read_table(tmp_path / "r" / "per_query.parquet").to_pylist()
    for name, row in report.slices["all"].systems.items():
        values = [
            r["ndcg@10"]
            for r in table
            if (r["system"], r["unjudged"]) == (name, "unjudged_wrong") and r["ndcg@10"] is not None
        ]
        figure = row.figures["unjudged_wrong"]["ndcg@10"]
        assert figure and figure.mean == pytest.approx(np.mean(values))
        runs = ir_measures.read_trec_run(str(tmp_path / "r" / f"run.{name}.trec"))
        peer = ir_measures.calc_aggregate([nDCG @ 10], ir_measures.read_trec_qrels(str(gold / "qrels.trec")), runs)
        assert sum(values) / 9 == pytest.approx(peer[nDCG @ 10])
    for kind in ("board", "user"):  # an untrained swap is its content kNN; titles alone only the swapped model can read
        swapped = report.slices[kind].systems["swapped"].minus["content"]["unjudged_wrong"]["ndcg@10"]
        assert swapped and swapped.mean == pytest.approx(0, abs=1e-9)
    assert report.systems["content"].answered["title"] == 0 < report.systems["swapped"].answered["title"]
    careful = next(line for line in run_text(report).splitlines() if line.startswith("CAREFUL: "))
    assert "content" in careful and "of kind title" in careful and "swapped" not in careful
    assert main(["gold", "run", *words, "--out", str(tmp_path / "r")]) == 0 and "unchanged" in capsys.readouterr().out


def test_run_files_alone_need_no_catalogue(gold, tmp_path):
    own = open_gold(gold)
    lines = []
    for row in own.queries:
        best = sorted(own.grades_of(row["query_id"]).items(), key=lambda pair: -pair[1])
        query = row["query_id"].replace(" ", "%20")
        lines += [f"{query} Q0 {item} {rank} {-rank} best\n" for rank, (item, _) in enumerate(best, 1)]
        lines += [f"{query} Q0 {item} 99 -99 best\n" for item in row["history"][:1]]
    write_text(tmp_path / "best.trec", "".join(lines) + "nobody Q0 x 1 1 best\n")
    write_text(tmp_path / "empty.trec", "\n")
    files = {"best": str(tmp_path / "best.trec"), "empty": str(tmp_path / "empty.trec")}
    run(gold, out=tmp_path / "r", runs=files)
    report = GoldReport.model_validate_json((tmp_path / "r" / "report.json").read_text())
    best, empty = (report.slices["all"].systems[name].figures["unjudged_wrong"] for name in ("best", "empty"))
    assert (
        best["ndcg@10"]
        and best["ndcg@10"].mean == pytest.approx(1)
        and best["judged@10"]
        and best["judged@10"].mean == 1
    )
    assert empty["ndcg@10"] and empty["ndcg@10"].mean == 0 and empty["judged@10"] is None
    assert report.systems["best"].foreign_queries == 1
    assert report.systems["best"].left_out == sum(bool(row["history"]) for row in own.queries)
    assert json.loads((tmp_path / "r" / "report.json").read_text())["systems"]["empty"]["answered"] == {
        kind: 0 for kind in dict.fromkeys(row["kind"] for row in own.queries)
    }


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "no system given"), ({"systems": ["ease"]}, "needs --catalog and --graph"),
        ({"runs": {"x": "nowhere"}}, "there is no such file"), ({"runs": {"x": "f"}, "rivals": ["y"]}, "rival 'y'"),
        ({"runs": {"a b": "f"}}, "name 'a b'"),
    ],
)  # fmt: skip
def test_bad_options_are_named(gold, tmp_path, given, says):
    with pytest.raises(UserError, match=says):
        run(gold, out=tmp_path / "r", **given)


def test_a_catalogue_without_the_items_is_refused(gold, project, tmp_path, monkeypatch):
    monkeypatch.setattr(Catalog, "item_index", {"i00": 0})
    monkeypatch.setattr(
        "bench.gold.rank.open_graph", lambda *given: type("G", (), {"catalog": Catalog.open(project / "catalog")})
    )
    with pytest.raises(UserError, match="items of the gold set"):
        run(gold, project / "catalog", project / "graph", tmp_path / "r")
