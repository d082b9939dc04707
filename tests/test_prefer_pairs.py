"""Pairs of a saved and a rejected item: from the graph, from grades, with weights, and what is refused."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from navigator.contracts import UserError
from navigator.contracts.signals import TasteSequence
from prefer_worlds import ITEM_INDEX, ITEMS, make_world, write_csv
from train.loop import LoopConfig
from train.prefer.__main__ import prefer
from train.prefer.config import PreferConfig
from train.prefer.grades import grade_pairs, read_grades
from train.prefer.pairs import Pairs, Question, graph_pairs


def columns_of(pairs: Pairs) -> list[tuple[tuple[int, ...], int, int]]:
    """(history, chosen, rejected) of every pair."""
    columns = zip(pairs.question.tolist(), pairs.chosen.tolist(), pairs.rejected.tolist(), strict=True)
    return [(pairs.questions[number].history, chosen, rejected) for number, chosen, rejected in columns]


def rows_of(pairs: Pairs) -> set[tuple[tuple[int, ...], int, int]]:
    return set(columns_of(pairs))


def test_saved_over_shown_pairs_are_these_and_no_others():
    train, valid = graph_pairs(make_world(), "shown", 9, 20, 0, 0)
    assert rows_of(train) == {
        ((0,), 1, 10), ((0,), 1, 11), ((0, 1), 2, 10), ((0, 1), 2, 11), ((5,), 6, 0), ((5,), 6, 12),
    }  # fmt: skip
    assert rows_of(valid) == {((0, 1, 2), 3, 10), ((0, 1, 2), 3, 11)}
    assert all(question.title == "" for question in train.questions)


def test_nothing_saved_is_rejected_and_nothing_held_out_is_learned_from():
    rng = np.random.default_rng(1)
    users, shown = [], {}
    for n in range(20):
        items = rng.permutation(ITEMS).tolist()
        users.append(TasteSequence("next-item", f"u{n}", "", tuple(items[:8]), tuple(items[8:10]), (items[10],)))
        shown[f"u{n}"] = [*items[:3], *items[15:25]]  # a careless log: three of the saves among the impressions
    world = make_world()
    world.sequences, world.impressions = users, shown
    train, _ = graph_pairs(world, "shown", 4, 5, 0, 0)
    assert len(train) == 20 * 7 * 4
    for at, (history, chosen, rejected) in enumerate(columns_of(train)):  # users in order, 28 pairs each
        owner = users[at // 28]
        place = owner.items.index(chosen)
        assert history == owner.items[max(0, place - 5) : place]
        assert rejected in shown[owner.owner] and rejected not in owner.items
        assert not {*owner.valid, *owner.test} & {*history, chosen, rejected}


def test_pairs_are_limited_by_save_and_in_all_and_depend_on_the_seed_alone():
    assert len(graph_pairs(make_world(), "shown", 1, 20, 0, 0)[0]) == 3
    assert rows_of(graph_pairs(make_world(), "shown", 1, 1, 0, 4)[0]) == rows_of(
        graph_pairs(make_world(), "shown", 1, 1, 0, 4)[0]
    )
    users = [TasteSequence("next-item", f"u{n}", "", tuple(range(10))) for n in range(100)]
    world = make_world()
    world.sequences, world.impressions = users, {s.owner: [20, 21, 22] for s in users}
    assert len(graph_pairs(world, "shown", 3, 20, 0, 0)[0]) == 2700
    assert 400 < len(graph_pairs(world, "shown", 3, 20, 600, 0)[0]) < 800


def test_a_graph_without_impressions_is_refused_and_hard_negatives_are_a_choice():
    with pytest.raises(UserError, match=r"no impressions.*--impressions ACTION.*--grades.*--negatives hard"):
        graph_pairs(make_world(impressions=False), "shown", 8, 20, 0, 0)
    train, _ = graph_pairs(make_world(impressions=False), "hard", 9, 20, 0, 0)
    found = rows_of(train)
    assert ((1, 2), 0, 13) in found and ((0,), 1, 13) in found  # the board's other items; the user's earlier one
    assert {rejected for _, _, rejected in found} == {13}  # item 1 is near 0 and 2, but who saved those saved it too
    world = make_world()
    world.hard_negatives = None
    with pytest.raises(UserError, match="no hard negatives"):
        graph_pairs(world, "hard", 9, 20, 0, 0)


def test_a_draw_follows_the_weights_and_the_step_alone():
    question = Question("", (0,))
    pairs = Pairs.of([(question, 1, 2, 1.0), (question, 3, 4, 3.0)])
    drawn = pairs.draw(4000, 0, 7)
    assert drawn.mean() == pytest.approx(0.75, abs=0.03)
    assert np.array_equal(drawn, pairs.draw(4000, 0, 7)) and not np.array_equal(drawn, pairs.draw(4000, 0, 8))
    both = pairs + pairs
    assert len(both) == 4 and rows_of(both) == rows_of(pairs) and both.question.tolist() == [0, 0, 1, 1]


GOOD = [
    ("red", "i0|i1", "i2", "5"), ("red", "i0|i1", "i3", "3"), ("red", "i0|i1", "i4", "3"), ("red", "i0|i1", "i4", "4"),
    ("", "i5", "i6", "1"), ("", "i5", "i7", "1.5"),
]  # fmt: skip


BAD = [
    ("red", "i0|i1", "nobody", "5", "unknown item"), ("red", "i0|ghost", "i2", "5", "unknown item in its history"),
    ("red", "", "i2", "0", "grade outside 1 to 5"), ("red", "", "i2", "6", "grade outside 1 to 5"),
    ("red", "", "i2", "good", "grade is not a number"), ("red", "", "i2", "nan", "grade outside 1 to 5"),
    ("", "", "i2", "3", "neither title nor history"), ("", "i2|i3", "i2", "3", "item is in its own history"),
]  # fmt: skip


def test_grades_make_pairs_within_a_request_and_bad_rows_are_named(tmp_path):
    read = read_grades(write_csv(tmp_path / "grades.csv", [*GOOD, *BAD]), ITEM_INDEX)
    assert [(row, item, reason) for row, item, reason in read.bad] == [
        (len(GOOD) + 1 + at, bad[2], bad[4]) for at, bad in enumerate(BAD)
    ]
    counts = read.counts()
    assert (counts["rows"], counts["queries"], counts["bad_rows"]["grade outside 1 to 5"]) == (14, 2, 3)
    assert counts["first_bad_rows"][0] == "row 7, item 'nobody': unknown item"
    train, valid = grade_pairs(read, 1.0, 8, 20, 0.0, 0)
    assert (
        rows_of(train) == {((0, 1), 2, 3), ((0, 1), 2, 4)} and len(valid) == 0
    )  # item 4 has 3.5; 6 and 7 are too close
    assert dict(zip(train.rejected.tolist(), train.weight.tolist(), strict=True)) == {3: 2.0, 4: 1.5}
    assert train.questions[0].title == "red"
    assert ((5,), 7, 6) in rows_of(grade_pairs(read, 0.5, 8, 20, 0.0, 0)[0])
    assert rows_of(grade_pairs(read, 0.5, 1, 1, 0.0, 0)[0]) <= {((1,), 2, 3), ((1,), 2, 4), ((1,), 4, 3), ((5,), 7, 6)}


def test_grades_from_parquet_equal_those_from_a_csv(tmp_path):
    columns = {"board_title": [r[0] for r in GOOD], "history": [r[1].split("|") for r in GOOD]}
    columns |= {"item": [r[2] for r in GOOD], "grade": [float(r[3]) for r in GOOD]}
    pq.write_table(pa.table(columns), tmp_path / "grades.parquet")
    of_parquet = read_grades(tmp_path / "grades.parquet", ITEM_INDEX)
    assert of_parquet.graded == read_grades(write_csv(tmp_path / "grades.csv", GOOD), ITEM_INDEX).graded
    assert not of_parquet.bad


def test_unusable_grades_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"row 7 \(item 'nobody'\): unknown item"):
        read_grades(write_csv(tmp_path / "a.csv", [*GOOD, *BAD]), ITEM_INDEX, strict=True)
    (tmp_path / "b.csv").write_text("item,grade\ni1,3\n")
    with pytest.raises(UserError, match="lacks the column board_title; it has item, grade"):
        read_grades(tmp_path / "b.csv", ITEM_INDEX)
    only_bad = read_grades(write_csv(tmp_path / "c.csv", BAD), ITEM_INDEX)
    with pytest.raises(UserError, match=r"8 rows, 8 bad.*row 1, item 'nobody'"):
        grade_pairs(only_bad, 1.0, 8, 20, 0.0, 0)


def test_whole_requests_are_held_out_of_the_grades(tmp_path):
    rows = [(f"red {n}", "", item, grade) for n in range(60) for item, grade in (("i1", "5"), ("i2", "1"))]
    read = read_grades(write_csv(tmp_path / "grades.csv", rows), ITEM_INDEX)
    train, valid = grade_pairs(read, 1.0, 8, 20, 0.3, 0)
    assert len(train) + len(valid) == 60 and 5 < len(valid) < 35
    assert not {q.title for q in train.questions} & {q.title for q in valid.questions}


def test_options_that_cannot_work_are_refused(tmp_path):
    for config, said in (
        (PreferConfig(loss="apo_zero"), "allowed are sigmoid"), (PreferConfig(score="tokens"), "rank, retrieve"),
        (PreferConfig(beta=0.0), "above 0"), (PreferConfig(loss="exo_pair"), "label_smoothing"),
        (PreferConfig(label_smoothing=0.1), "does not read"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said):
            config.check()
    nowhere = {name: tmp_path / name for name in ("model", "vectors", "catalog", "graph", "out")}
    with pytest.raises(UserError, match="negatives none leaves no pairs"):
        prefer(**nowhere, negatives="none")
    with pytest.raises(UserError, match="learning rate of 'eyes'; allowed parts are tower"):
        prefer(**nowhere, loop=LoopConfig(learning_rates={"eyes": 1.0}))
    with pytest.raises(UserError, match="allowed are auto, shown, hard, none"):
        prefer(**nowhere, negatives="random")
