"""Gold sets: kappa against scikit-learn, the rule that settles grades, and bad rows by name."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from bench.gold.agreement import PLAIN, QUADRATIC, agreement, confusion, kappa
from bench.gold.read import read_grades
from bench.gold.settle import settle, worst
from navigator.contracts import UserError

# ---- agreement


def test_kappa_is_scikit_learns_and_undefined_where_chance_explains_all():
    rng = np.random.default_rng(0)
    first, queries = rng.integers(1, 6, 300), rng.integers(0, 20, 300)
    second = np.clip(first + rng.integers(-1, 2, 300), 1, 5)
    own = agreement(("a", "b"), first, second, queries, 0)
    assert own.kappa and own.kappa_quadratic and own.kappa.ci95 and own.kappa_quadratic.ci95
    labels = [1, 2, 3, 4, 5]
    assert own.kappa.mean == pytest.approx(cohen_kappa_score(first, second, labels=labels))
    assert own.kappa_quadratic.mean == pytest.approx(
        cohen_kappa_score(first, second, labels=labels, weights="quadratic")
    )
    assert own.kappa.ci95[0] < own.kappa.mean < own.kappa.ci95[1] < own.kappa_quadratic.mean
    assert own.exact.mean == pytest.approx((first == second).mean()) and own.within_one.mean == 1
    assert own.first_minus_second.mean == pytest.approx((first - second).mean())
    assert np.array(own.confusion).sum() == 300 and own.confusion[0][1] == ((first == 1) & (second == 2)).sum()
    same = np.full(9, 3)
    alike = agreement(("a", "b"), same, same, np.arange(9), 0)
    assert alike.kappa is None and alike.kappa_quadratic is None and alike.exact.mean == 1


def test_intervals_resample_queries_not_pairs():
    """Each query twice as long with the same grades: the interval must stay where it is."""
    rng = np.random.default_rng(1)
    first, second, queries = rng.integers(1, 6, 60), rng.integers(1, 6, 60), np.repeat(np.arange(12), 5)
    once = agreement(("a", "b"), first, second, queries, 0).kappa
    twice = agreement(("a", "b"), *(np.tile(part, 2) for part in (first, second, queries)), 0).kappa
    assert once == twice
    assert kappa(confusion(first, second, queries).sum(axis=0), PLAIN) != kappa(
        confusion(first, second, queries).sum(axis=0), QUADRATIC
    )


# ---- the rule


def test_the_rule():
    assert (settle({"a": 4}, None, 1).grade, settle({"a": 4}, None, 1).how) == (4, "one grade")
    assert (settle({"a": 2, "b": 2}, 5, 1).grade, settle({"a": 2, "b": 2}, 5, 1).how) == (2, "equal grades")
    assert (settle({"a": 3, "b": 4}, None, 1).grade, settle({"a": 3, "b": 4}, None, 1).how) == (3, "mean, half down")
    assert settle({"a": 3, "b": 4, "c": 4}, None, 1).grade == 4  # 3.67
    assert settle({"a": 2, "b": 4}, None, 2).grade == 3
    assert (settle({"a": 2, "b": 4}, None, 1).grade, settle({"a": 2, "b": 4}, None, 1).how) == (None, "open")
    assert (settle({"a": 2, "b": 4}, 4, 1).grade, settle({"a": 2, "b": 4}, 4, 1).how) == (4, "third person")
    assert (settle({}, None, 1).grade, settle({}, None, 1).how) == (None, "missing")
    found = {
        n: settle(own, None, 1) for n, own in {"x": {"a": 1}, "y": {"a": 1, "b": 5}, "z": {"a": 2, "b": 3}}.items()
    }
    assert worst(found, 5) == ["y", "z"] and worst(found, 1) == ["y"]


# ---- rows


def test_bad_rows_are_refused_by_name(tmp_path):
    file = tmp_path / "a.csv"
    rows = [("p1", 5), ("p2", 6), ("p3", "good"), ("p4", ""), ("p5", 2), ("p5", 2), ("p6", 2), ("p6", 3), ("zz", 1), ("q1", 4),
            ("p7", "4.0"), ("p8", 2.5), ("p9", 0)]  # fmt: skip
    file.write_text("grade,pair,more\n" + "".join(f"{grade},{pair},x\n" for pair, grade in rows))
    theirs = [f"p{n}" for n in range(1, 10)]
    own = read_grades("a", file, theirs, dict.fromkeys([*theirs, "q1"]))
    assert own.grades == {"p1": 5, "p5": 2, "p7": 4} and own.rows == len(rows)
    assert own.missing == ["p2", "p3", "p4", "p6", "p8", "p9"]
    off = "grade is not a whole number from 1 to 5"
    twice = "pair graded twice, differently"
    named = {(bad.row, bad.pair, bad.reason) for bad in own.bad}
    assert named == {
        (2, "p2", off), (3, "p3", off), (6, "p5", "pair graded twice, equally"), (7, "p6", twice), (8, "p6", twice),
        (9, "zz", "unknown pair"), (10, "q1", "pair that was not theirs"), (12, "p8", off), (13, "p9", off),
    }  # fmt: skip
    file.write_text("pair,score\np1,3\n")
    with pytest.raises(UserError, match="lacks the column grade"):
        read_grades("a", file, theirs, {})
