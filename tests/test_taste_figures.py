"""Slices by hand, tuning that takes the best setting, figures over seeds and owners."""

from dataclasses import replace

import numpy as np
import pytest

from bench.taste.slices import board_owners, owner_slices, resampling_unit, save_gaps
from bench.taste.summary import Resampled, slice_row
from bench.taste.tune import Contender, answer, measures, rank, try_all
from bench.taste.world import asked
from navigator.contracts.signals import Query, TasteSequence
from taste_worlds import ALL, Fixed, asks, fold, taste_catalog


def test_the_gap_is_from_the_latest_save_to_the_first_target(tmp_path):
    log = [
        ("u", "i0", "save", 100), ("u", "i1", "save", 700), ("u", "i2", "save", 730), ("u", "i3", "save", 5000),
        ("u", "i1", "save", 9000), ("u", "i4", "view", 720), ("v", "i0", "save", 5), ("v", "i1", "save", None),
    ]  # fmt: skip
    catalog = taste_catalog(tmp_path / "c", log)
    queries = [Query("u", (0, 1), (2, 3)), Query("u", (0, 1, 2), (3,)), Query("v", (0,), (1,)), Query("u", (0,), (4,))]
    gaps = save_gaps(catalog, ["save"], queries)
    assert gaps[:2].tolist() == [30, 4270] and np.isnan(gaps[2:]).all()  # of a repeat the first time counts
    assert save_gaps(catalog, [], queries)[3] == 620
    boards = [("b0", "", "ann"), ("b1", "", None)]
    other = taste_catalog(tmp_path / "d", [], boards)
    assert board_owners(other, [Query("b0", (0,), (1,)), Query("b1", (0,), (1,))]).tolist() == ["ann", "b1"]


def test_boards_are_drawn_and_read_apart_where_owners_are_few():
    assert resampling_unit(None) == ("queries", None) and owner_slices(None) == {}
    kinds = np.array(["keyword", "late", "keyword", "late", "alone"])
    assert resampling_unit(kinds) == ("boards", None)
    assert {name: keep.tolist() for name, keep in owner_slices(kinds).items()} == {
        "owner keyword": [True, False, True, False, False], "owner late": [False, True, False, True, False],
    }  # fmt: skip
    assert owner_slices(kinds[[0, 2]]) == {}  # the slice "all"
    people = np.repeat([f"o{n}" for n in range(10)], 2)
    unit, clusters = resampling_unit(people)
    assert unit == "owners of boards" and clusters is people and owner_slices(people) == {}


def test_boards_too_small_to_ask_are_counted():
    boards = [TasteSequence("board-completion", f"b{n}", "cats", (0, 1, 2), (), (5,)) for n in range(4)]
    boards += [
        TasteSequence("board-completion", "v", "", (1,), (2,)),
        TasteSequence("board-completion", "s", "", (7,), (), (8,)),
    ]
    found = [asked([], boards, asks("unseen-test", show), "test") for show in (0, 1, 2)]
    assert [len(queries) for queries, _ in found] == [4, 5, 4] and [unasked for _, unasked in found] == [1, 0, 1]
    assert [q.title for q in asked([], boards, asks("unseen-test", 1, titles=False), "valid")[0]] == [""]


def test_the_best_setting_on_validation_is_taken_and_of_equals_the_first():
    contender = Contender("x", "", [{"item": i} for i in (5, 7, 8, 7)], lambda f, s, seed: (Fixed(s["item"]), s))
    queries = [Query("a", (1,), (7,)), Query("b", (1,), (7,)), Query("c", (1,), (8,))]
    tried = try_all(contender, fold([], queries, 12))
    assert tried[0].settings["item"] == 7 and [t.settings["item"] for t in tried] == [7, 7, 8, 5]
    assert tried[0].valid is not None and tried[0].valid > (tried[2].valid or 0)


def test_who_needs_a_history_does_not_answer_without_one():
    queries = [Query("a", (), (7,), "cats"), Query("b", (1,), (7,))]
    plain = Contender("x", "", [{}], lambda f, s, seed: (Fixed(7), s))
    assert answer(Fixed(7), plain, queries, ALL, 3)[:, 0].tolist() == [-1, 7]
    assert answer(Fixed(7), replace(plain, without_history=True), queries, ALL, 3)[:, 0].tolist() == [7, 7]


def test_a_query_for_new_arrivals_is_answered_with_them_alone(monkeypatch):
    """Items 0..7 have training saves; the system would put a warm one first, and fills whole lists."""
    monkeypatch.setattr("bench.taste.tune._CELLS", 24)  # two queries at once
    warm = np.arange(12) < 8
    new, known = [Query(str(n), (8,) * n, (9,)) for n in (0, 1)], Query("k", (8,), (9, 3))
    ranked = rank(Fixed(7), [*new, known, *new], warm, 3)
    assert ranked[2].tolist() == [7, 0, 1]
    assert ranked[[0, 1, 3, 4]].tolist() == [[8, 9, 10]] * 4  # Fixed leaves the history in


def test_seeds_are_averaged_query_by_query_before_resampling():
    rng = np.random.default_rng(0)
    queries = [Query(str(n), (0,), (int(rng.integers(12)),)) for n in range(40)]
    runs = {
        f"m@{s}": measures(np.stack([rng.permutation(12) for _ in queries]), [q.targets for q in queries])
        for s in (0, 1)
    }
    runs["base"] = measures(np.stack([rng.permutation(12) for _ in queries]), [q.targets for q in queries])
    row = slice_row(runs, np.ones(40, bool), None, ["base"], 3)
    assert row is not None and list(row.systems) == ["m", "base"] and row.systems["base"].against == {}
    mean = (runs["m@0"]["ndcg@10"] + runs["m@1"]["ndcg@10"]) / 2
    drawn = np.random.default_rng(3).integers(0, 40, (2000, 40))
    own = row.systems["m"]
    for got, values in (
        (own.figures["ndcg@10"], mean[drawn].mean(1)),
        (own.against["base"].minus["ndcg@10"], (mean - runs["base"]["ndcg@10"])[drawn].mean(1)),
        (own.against["base"].times, mean[drawn].mean(1) / runs["base"]["ndcg@10"][drawn].mean(1)),
    ):
        assert got is not None and got.ci95 == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=1e-9)
    assert own.by_run is not None
    assert own.by_run["hr@10"] == pytest.approx([runs[f"m@{s}"]["hr@10"].mean() for s in (0, 1)])
    assert slice_row(runs, np.zeros(40, bool), None, ["base"], 3) is None


def test_a_ratio_to_nothing_is_null_and_one_owner_has_no_interval():
    values = {"a": {"ndcg@10": np.array([1.0, 0.0])}, "b": {"ndcg@10": np.array([0.0, 0.0])}}
    assert Resampled(values, None, 0).times("a", "b", "ndcg@10") is None
    assert Resampled(values, np.array(["x", "x"]), 0).figure("a", "ndcg@10").ci95 is None
