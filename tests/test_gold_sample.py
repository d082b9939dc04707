"""Gold sets: strata and probabilities by hand, and the pool of a tiny world."""

import numpy as np
import pytest

from bench.gold.command import make
from bench.gold.pool import pool, share_out
from bench.gold.queries import Asking, candidates, draw
from bench.gold.strata import allocate, bands
from navigator.contracts import UserError
from navigator.contracts.signals import Query, TasteSequence


def boards(*sizes: int) -> list[TasteSequence]:
    """A board of each size, named by its number; every one holds out item 99."""
    return [
        TasteSequence("board-completion", f"b{n}", f"t{n}", tuple(range(size)), (), (99,))
        for n, size in enumerate(sizes)
    ]


# ---- strata


def test_bands_are_thirds_of_the_volume_and_equal_counts_share_one():
    assert bands(np.array([10, 6, 2, 2, 0])).tolist() == ["head", "torso", "tail", "tail", "tail"]
    assert bands(np.array([3, 3, 3])).tolist() == ["head"] * 3
    assert bands(np.array([0, 0])).tolist() == ["tail"] * 2
    assert bands(np.array([1, 30, 1, 28, 1])).tolist() == ["tail", "head", "tail", "torso", "tail"]


def test_every_stratum_gets_some_and_none_more_than_it_has():
    sizes = {"a": 2, "b": 50, "c": 100}
    assert allocate(sizes, 20, "equal") == {"a": 2, "b": 9, "c": 9}
    assert allocate(sizes, 15, "proportional") == {"a": 1, "b": 5, "c": 9}
    assert allocate(sizes, 999, "equal") == sizes
    with pytest.raises(UserError, match="3 strata"):
        allocate(sizes, 2, "equal")


def test_probabilities_weigh_the_sample_back_to_the_whole():
    every = candidates(boards(*range(1, 40)), {}, ["board"], None)
    drawn = draw(every, 12, "equal", 0)
    assert len({a.query.query_id for a in drawn}) == 12
    for stratum in {a.stratum for a in every}:
        whole, part = ([a for a in some if a.stratum == stratum] for some in (every, drawn))
        assert {a.p for a in part} == {len(part) / len(whole)} and {a.n_stratum for a in part} == {len(whole)}
    assert sum(1 / a.p for a in drawn) == pytest.approx(len(every))
    assert draw(every, 12, "equal", 0) == drawn != draw(every, 12, "equal", 1)


def test_kinds_of_queries(tmp_path):
    texts = tmp_path / "texts.csv"
    texts.write_text('text,count\nred  shoes,5\nred shoes,3\nhat,\n"",4\n')
    sequences = [*boards(3, 4), TasteSequence("board-completion", "b9", "t0", (7,), (8,), (98,))]
    sequences.append(TasteSequence("next-item", "u1", "", (1, 2), (3,), (4,)))
    found = {a.query.query_id: a for a in candidates(sequences, {"b0": "ann"}, None, texts)}
    assert set(found) == {
        "board:b0",
        "board:b1",
        "board:b9",
        "title:t0",
        "title:t1",
        "user:u1",
        "text:red shoes",
        "text:hat",
    }
    assert found["board:b9"].query == Query("board:b9", (7, 8), (98,), "t0") and found["board:b9"].volume == 1
    assert found["title:t0"].query == Query("title:t0", (), (99, 98), "t0") and found["title:t0"].volume == 4
    assert found["user:u1"].query.history == (1, 2, 3)
    assert (found["text:red shoes"].volume, found["text:hat"].volume, found["text:hat"].band) == (8, None, "unknown")
    assert (found["board:b0"].owner, found["board:b1"].owner) == ("ann", "board:b1")
    with pytest.raises(UserError, match="no query of kind user"):
        candidates(boards(3), {}, ["user"], None)
    texts.write_text("text,count\nhat,many\n")
    with pytest.raises(UserError, match="count 'many'"):
        candidates([], {}, None, texts)


# ---- the pool


def asking(history: tuple[int, ...], targets: tuple[int, ...], name: str = "q") -> Asking:
    return Asking("board", Query(name, history, targets, "t"), 1, name)


def test_pool_holds_every_systems_first_items_the_held_out_and_random_ones_with_their_chance():
    item_bands = np.array(["head"] * 4 + ["torso"] * 4 + ["tail"] * 12)
    ranked = {"x": np.array([[4, 5]]), "y": np.array([[5, -1]])}
    pairs = pool([asking((0, 1), (6,))], ranked, True, item_bands, 2, 0)
    pooled = {p.item: p.found_by for p in pairs if p.found_by}
    assert pooled == {4: ("x:1",), 5: ("x:2", "y:1"), 6: ("held-out saves",)} and all(
        p.p == 1 for p in pairs if p.found_by
    )
    drawn = [p for p in pairs if not p.found_by]
    assert {(p.band, p.p) for p in drawn} == {("head", 2 / 2), ("torso", 1 / 1), ("tail", 2 / 12)} and len(drawn) == 5
    assert not {0, 1, 4, 5, 6} & {p.item for p in drawn} and all(item_bands[p.item] == p.band for p in drawn)
    without = pool([asking((0, 1), (6,))], ranked, False, item_bands, 0, 0)
    assert [p.item for p in without] == [4, 5]


def test_random_items_do_not_depend_on_the_rest_of_the_sample():
    item_bands = np.array(["tail"] * 500)
    lists = {"x": np.array([[1], [2]])}
    both = pool([asking((), (), "p"), asking((), (), "q")], lists, True, item_bands, 5, 3)
    alone = pool([asking((), (), "q")], {"x": np.array([[2]])}, True, item_bands, 5, 3)
    assert [p.item for p in both if p.query == 1] == [p.item for p in alone]


def test_a_share_of_the_queries_goes_to_everybody():
    whose = share_out(20, ["a", "b"], 0.3, 0)
    assert sum(len(by) == 2 for by in whose) == 6
    assert [sum(by == (name,) for by in whose) for name in "ab"] == [7, 7]
    assert all(by == ("a",) for by in share_out(5, ["a"], 0.5, 0))
    assert all(len(by) == 1 for by in share_out(5, ["a", "b"], 0, 0))


# ---- the command


def test_kinds_that_nobody_but_popularity_answers_are_named(project, tmp_path):
    answer = make(project / "catalog", project / "graph", tmp_path / "task", 9, vectors={"x": str(project / "vectors")})
    assert answer["answered"]["x"]["title"] == 0 < answer["answered"]["popularity"]["title"]
    assert "kind title: only popularity" in answer["text"] and "kind board: only" not in answer["text"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"queries": 0}, "queries is 0"), ({"overlap": 2.0}, "overlap is 2"), ({"annotators": ["a/b"]}, "annotators a/b"),
        ({"annotators": ["a", "a"]}, "each once"), ({"systems": ["magic"]}, "unknown system 'magic'"),
        ({"vectors": {"popularity": "x"}}, "name 'popularity'"), ({"queries": 2}, "strata"),
    ],
)  # fmt: skip
def test_bad_options_are_named(project, tmp_path, changes, says):
    with pytest.raises(UserError, match=says):
        make(project / "catalog", project / "graph", tmp_path / "task", **changes)
