"""Gold sets: metrics by hand and against ir_measures, weighted and paired means, TREC run files."""

import math
from typing import Any

import ir_measures
import numpy as np
import pytest
from ir_measures import P, R, nDCG

from bench.gold.frozen import Gold
from bench.gold.metrics import measures
from bench.gold.run import outside
from bench.gold.run_file import read_run
from bench.gold.summary import Resampled, slice_row
from navigator.contracts import Manifest, UserError

NAN = float("nan")


# ---- metrics


def test_metrics_by_hand():
    grades = {"a": 5, "b": 4, "c": 2, "d": 1}
    found = measures(["x", "b", "d", "a"], grades)
    gains = [0, 3, 0, 4]
    dcg = sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains))
    ideal = 4 + 3 / math.log2(3) + 1 / 2
    full = sum(4 / math.log2(rank + 2) for rank in range(25))
    wrong, condensed = found["unjudged_wrong"], found["condensed"]
    assert wrong["ndcg@10"] == pytest.approx(dcg / ideal) and wrong["sdcg@25"] == pytest.approx(dcg / full)
    assert (wrong["precision@10"], wrong["recall@10"], wrong["judged@10"]) == (0.2, 1.0, 0.75)
    moved = 3 + 4 / math.log2(4)
    assert condensed["ndcg@10"] == pytest.approx(moved / ideal) and "judged@10" not in condensed
    nothing = measures([], grades)["unjudged_wrong"]
    assert nothing["ndcg@10"] == nothing["sdcg@25"] == nothing["recall@25"] == 0 and math.isnan(nothing["judged@10"])
    hopeless = measures(["a"], {"a": 1})["unjudged_wrong"]
    assert math.isnan(hopeless["ndcg@10"]) and math.isnan(hopeless["recall@10"]) and hopeless["precision@10"] == 0


def test_metrics_are_those_of_ir_measures():
    rng = np.random.default_rng(3)
    qrels, runs, ours = [], [], {}
    for q in range(40):
        grades = {f"i{i}": int(rng.integers(1, 6)) for i in rng.permutation(60)[:30]} | {"top": 5}
        ranked = [f"i{i}" for i in rng.permutation(60)[: rng.integers(5, 50)]]
        ours[f"q{q}"] = measures(ranked, grades)
        qrels += [ir_measures.Qrel(f"q{q}", item, grade - 1) for item, grade in grades.items()]
        runs += [ir_measures.ScoredDoc(f"q{q}", item, float(100 - place)) for place, item in enumerate(ranked)]
    names = {
        nDCG @ 10: "ndcg@10",
        P(rel=3) @ 10: "precision@10",
        R(rel=3) @ 10: "recall@10",
        R(rel=3) @ 25: "recall@25",
    }
    asked: dict[Any, str] = dict(names)
    for row in ir_measures.iter_calc(list(asked), qrels, runs):
        assert ours[row.query_id]["unjudged_wrong"][asked[row.measure]] == pytest.approx(row.value, abs=1e-9)


# ---- means


def test_weights_and_undefined_values():
    values = np.array([[1.0, NAN], [0.0, 4.0], [0.0, 2.0]])
    found = Resampled(values, np.array([1.0, 1.0, 3.0]), None, 0)
    first, second = found.figure(0), found.figure(1)
    assert first and first.mean == pytest.approx(1 / 5) and second and second.mean == pytest.approx((4 + 3 * 2) / 4)
    assert Resampled(np.full((3, 1), NAN), np.ones(3), None, 0).figure(0) is None
    alone = Resampled(np.ones((1, 1)), np.ones(1), None, 0).figure(0)
    assert alone and alone.ci95 is None


def test_differences_are_paired():
    rng = np.random.default_rng(0)
    base = rng.random(50)
    metrics = ("ndcg@10", "sdcg@25", "precision@10", "recall@10", "recall@25")

    def system(values: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
        return {t: dict.fromkeys(metrics, values) for t in ("unjudged_wrong", "condensed")}

    row = slice_row({"x": system(base), "y": system(base + 0.1)}, np.ones(50, bool), np.ones(50), None, ["x"], 0)
    assert row
    minus = row.systems["y"].minus["x"]["condensed"]["ndcg@10"]
    wide = row.systems["y"].figures["condensed"]["ndcg@10"]
    assert minus and minus.ci95 and wide and wide.ci95
    assert minus.ci95 == pytest.approx((0.1, 0.1)) and wide.ci95[1] - wide.ci95[0] > 0.1
    assert slice_row({"x": system(base)}, np.zeros(50, bool), np.ones(50), None, [], 0) is None


def test_what_the_pool_missed_is_estimated_from_the_random_items():
    def row(grade: int, pooled: bool, p: float) -> dict[str, Any]:
        return {"grade": grade, "pooled": pooled, "p_item": p}

    judged = {
        "q": {"a": row(5, True, 1), "b": row(4, False, 0.1), "c": row(1, False, 0.1)},
        "r": {"a": row(3, True, 1)},
    }
    gold = Gold(Manifest(kind="gold", fingerprint="f", created_at=""), [{"query_id": "q"}, {"query_id": "r"}], judged)
    found = outside(gold, None, 0)
    assert (
        (found.drawn, found.relevant, found.in_pool.mean) == (2, 1, 0.5) and found.outside and found.outside.mean == 5
    )


# ---- run files


def test_run_files_are_read_by_score_and_refused_by_line(tmp_path):
    file = tmp_path / "run.trec"
    file.write_text("q%201 Q0 b 1 0.5 x\nq%201 Q0 a%25 2 0.9 x\nother Q0 a 1 1 x\n")
    found = read_run("x", file, {"q 1"})
    assert found.ranked == {"q 1": ["a%", "b"]} and found.foreign == 1
    file.write_text("q Q0 a 1 1 x\nq a 2\n")
    with pytest.raises(UserError, match="line 2"):
        read_run("x", file, {"q"})
    file.write_text("q Q0 a 1 1 x\nq Q0 a 2 0.5 x\n")
    with pytest.raises(UserError, match="an item twice"):
        read_run("x", file, {"q"})
    file.write_text("q Q0 a 1 nan x\n")
    with pytest.raises(UserError, match="line 1"):
        read_run("x", file, {"q"})
