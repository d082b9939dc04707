"""`navigator-bench taste`: systems against plain loops, slices by hand, tuning that cannot see the test, one whole run."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.cli import main
from bench.graph.baselines import ItemToItem, co_saves, shrunk_cosines
from bench.systems.base import incidence
from bench.systems.ease import Ease
from bench.systems.rows import CatalogVectors
from bench.taste.command import SYSTEMS, taste
from bench.taste.figures import TasteReport
from bench.taste.neighbours import neighbours
from bench.taste.options import Grids
from bench.taste.slices import board_owners, owner_slices, resampling_unit, save_gaps
from bench.taste.summary import Resampled, slice_row
from bench.taste.tune import Contender, answer, measures, rank, try_all
from bench.taste.world import Fold, asked
from navigator.contracts import Catalog, UserError, publish
from navigator.contracts.signals import Query, TasteSequence
from navigator.contracts.vectors import normalise, write_vectors
from navigator.metrics import top_k

ONE = Grids(
    (200.0,), (0.0,), (5,), (0,), (1.0,), (1.0,), (1.0,), (20,), (16,), (0.0,), ("full",), (8,), (1e-2,), (0.0,)
)


ALL = np.ones(12, bool)


def asks(part: str, show: int, titles: bool = True) -> Any:
    """The options that decide what is asked."""
    return SimpleNamespace(part=part, show=show, titles=titles, seed=0)


def unit(n: int, dim: int, seed: int = 0) -> np.ndarray:
    return normalise(np.random.default_rng(seed).normal(size=(n, dim))).astype(np.float32)


def fold(rows: list[tuple[int, ...]], queries: list[Query], n_items: int) -> Fold:
    return Fold(rows, queries, n_items, ordered=True, warm=np.ones(n_items, bool))


# ---- kNN over vectors


def start_by_hand(vectors, history, title, content_dim, last, decay, graph_weight, title_weight) -> np.ndarray:
    """The rule, item by item."""
    total = np.zeros(vectors.shape[1])
    kept = list(history)[-last:] if last else list(history)
    for age, item in enumerate(reversed(kept)):
        total += decay**age * vectors[item]
    if title is not None:
        total += title_weight * title
    total[content_dim:] *= graph_weight
    return total / np.linalg.norm(total)


@pytest.mark.parametrize(
    "last, decay, weight, title_weight", [(0, 1.0, 1.0, 1.0), (3, 0.6, 4.0, 0.5), (1, 0.9, 0.25, 0.0)]
)
def test_neighbours_are_those_of_a_plain_loop(last, decay, weight, title_weight):
    vectors = unit(30, 6)
    store, text = CatalogVectors(np.arange(30), vectors), unit(1, 6, 3)[0]
    grids = Grids(last=(last,), decay=(decay,), graph_weight=(weight,), title_weight=(title_weight,))
    contender = neighbours("x", "", store, 4, {"cats": text}, grids)
    queries = [Query("a", (1, 5, 9, 2), (3,)), Query("b", (7,), (3,), "cats"), Query("c", (4, 8), (3,), "dogs")]
    ranker, settings = contender.fit(fold([], queries, 30), contender.grid[0], 0)
    assert settings == {"last": last, "decay": decay, "graph_weight": weight, "title_weight": title_weight}
    ranked, scores = ranker.recommend(queries, 5)
    for row, query in enumerate(queries):
        title = text if query.title == "cats" else None
        start = start_by_hand(vectors, query.history, title, 4, last, decay, weight, title_weight)
        expected = vectors @ start
        order = [i for i in np.argsort(-expected) if i not in query.history][:5]
        assert ranked[row].tolist() == order and scores[row] == pytest.approx(expected[order], abs=1e-5)


def test_neighbours_start_from_a_title_alone_and_leave_out_items_without_a_vector():
    vectors = unit(6, 4)
    vectors[2] = 0
    store = CatalogVectors(np.array([0, 1, -1, 2, 3, 4]), vectors)
    contender = neighbours("x", "", store, 4, {"cats": vectors[3]}, Grids())
    queries = [Query("a", (), (3,), "cats"), Query("b", (2,), (3,)), Query("c", (2, 3), (0,))]
    ranked = answer(contender.fit(fold([], queries, 6), contender.grid[0], 0)[0], contender, queries, ALL[:6], 6)
    assert ranked[0, 0] == 3 and 2 not in ranked[0]
    assert (ranked[1] == -1).all()  # nothing to start from
    assert ranked[2, 0] == max((0, 1, 4, 5), key=lambda i: vectors[i] @ vectors[3])


def test_only_what_makes_a_difference_is_tried():
    store = CatalogVectors(np.arange(5), unit(5, 4))
    whole = neighbours("x", "", store, 4, {}, Grids(last=(1, 2), decay=(1.0, 0.5), graph_weight=(1.0, 2.0)))
    assert [(s["last"], s["decay"]) for s in whole.grid] == [(1, 1.0), (2, 1.0), (2, 0.5)]
    assert (
        len(neighbours("x", "", store, 2, {}, Grids(last=(1, 2), decay=(1.0, 0.5), graph_weight=(1.0, 2.0))).grid) == 6
    )


# ---- item-kNN and EASE with short histories


def test_short_histories_score_with_the_latest_items_and_leave_out_all():
    rng = np.random.default_rng(2)
    rows = [tuple(rng.permutation(12)[:6].tolist()) for _ in range(30)]
    queries = [Query("a", (1, 2, 3, 4), (5,))]
    cut = [Query("a", (3, 4), (5,))]
    for whole in (Ease.fit(rows, 12, 10.0), ItemToItem("knn", shrunk_cosines(co_saves(incidence(rows, 12)), 5.0))):
        short, scores = replace(whole, last=2).recommend(queries, 12)
        other, others = whole.recommend(cut, 12)
        keep = [i for i in other[0].tolist() if i not in (1, 2, -1)]
        assert [i for i in short[0].tolist() if i >= 0] == keep
        assert scores[0, : len(keep)] == pytest.approx(others[0, np.isin(other[0], keep)], abs=1e-6)


def test_shrunk_cosines_in_the_head():
    # Items 0 and 1 meet twice (saved twice each), items 0 and 2 once (item 2 saved once), item 3 is saved by nobody.
    weights = shrunk_cosines(co_saves(incidence([(0, 1, 2), (0, 1)], 4)), 1.0)
    assert weights[0] == pytest.approx([0, 2 / 3, 1 / (math.sqrt(2) + 1), 0]) and not weights[3].any()


# ---- slices


def taste_catalog(
    folder: Path, interactions: Sequence[tuple], boards: Sequence[tuple] = (), board_items: Sequence[tuple] = ()
) -> Catalog:
    from navigator.contracts.catalog import PARTED_BOARDS, TABLES

    schemas = TABLES | ({"boards": PARTED_BOARDS} if boards and len(boards[0]) == 4 else {})
    items, texts = [f"i{i}" for i in range(12)], [""] * 12
    columns = {"items": (items, texts, texts, [[]] * 12, [None] * 12, texts), "rejects": ([],) * 4}
    for name, rows in (("interactions", interactions), ("boards", boards), ("board_items", board_items)):
        columns[name] = tuple(zip(*rows, strict=True)) if rows else ([],) * len(schemas[name])
    with publish(folder, "catalog", {}, {}) as work:
        for name, values in columns.items():
            pq.write_table(pa.table([list(v) for v in values], schema=schemas[name]), work.path / f"{name}.parquet")
    return Catalog.open(folder)


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


# ---- tuning


class Fixed:
    """Recommends one item first."""

    def __init__(self, item: int):
        self.item = item

    def recommend(self, queries, k):
        scores = np.zeros((len(queries), 12))
        scores[:, self.item] = 1
        return top_k(scores, k)


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


# ---- figures


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


# ---- the whole


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Users who walk 0, 1, 2, ... in a circle of 12, from anywhere; two kinds of boards of three owners each."""
    from graph.commands import build_graph

    home = tmp_path_factory.mktemp("taste")
    log = [(f"u{u}", f"i{(u + t) % 12}", "save", 100 * t) for u in range(24) for t in range(7)]
    boards = [(f"b{b}", ("odd", "even")[b % 2], f"o{b // 2}") for b in range(40)]
    rng = np.random.default_rng(1)
    held = [
        (f"b{b}", f"i{i}", None)
        for b in range(40)
        for i in (np.arange(b % 2, 12, 2)[rng.permutation(6)[: 5 - b % 3 // 2]])
    ]
    catalog = taste_catalog(home / "catalog", log, boards, held)
    build_graph(
        home / "catalog",
        home / "graph",
        valid_fraction=1.0,
        walks=0,
        signals=False,
        unseen_owners=0.3,
        unseen_valid=0.3,
    )
    with publish(
        home / "vectors", "vectors", {"encoder": "e", "normalised": True}, {"catalog": catalog.fingerprint}
    ) as work:
        angle = 2 * np.pi * np.arange(12) / 12
        write_vectors(work.path, catalog.item_ids, np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32))
    return home


def test_a_whole_run(world, tmp_path):
    args = {
        "systems": list(SYSTEMS),
        "vectors": {"content": str(world / "vectors")},
        "rivals": ["popularity", "content"],
    }
    args |= {"sasrec_vectors": world / "vectors", "sasrec_seeds": [0, 1], "sasrec_epochs": 3, "device": "cpu"}
    found = taste(world / "catalog", world / "graph", tmp_path / "out", grids=replace(ONE, last=(0, 1)), **args)
    assert not found["unchanged"] and found["queries"] == 24 and "ease-short" in found["text"]
    report = TasteReport.model_validate_json((tmp_path / "out" / "report.json").read_text())
    assert list(report.systems) == [*SYSTEMS, "content"] and set(report.slices) >= {"all", "gap"}
    assert report.slices["gap"].n == 24 and report.n_tuning == 24  # 100 s from save to save
    assert report.systems["content"].settings["content"]["last"] == 1  # the neighbours of the latest item, not of all
    assert len(report.systems["content"].tried["content"]) == 2
    assert report.systems["sasrec"].runs == ["sasrec@0", "sasrec@1"]
    assert report.systems["sasrec"].settings["sasrec"]["epochs"] <= 3
    every = report.slices["all"].systems
    assert set(every["ease"].against) == {"popularity", "content"} and set(every["content"].against) == {"popularity"}
    table = pq.read_table(tmp_path / "out" / "per_query.parquet").to_pandas()
    for name, own in every.items():
        mine = table[table["system"].astype(str).str.partition("@")[0] == name]
        assert own.figures["hr@10"].mean == pytest.approx(mine["hr@10"].mean())
    again = taste(world / "catalog", world / "graph", tmp_path / "out", grids=replace(ONE, last=(0, 1)), **args)
    assert again["unchanged"] and again["slices"] == found["slices"]
    assert "## Settings" in (tmp_path / "out" / "report.md").read_text()


def test_what_is_chosen_does_not_depend_on_the_test(world, tmp_path, monkeypatch):
    """With other test saves planted into the graph the same settings are tried, with the same figures."""
    from bench.taste import world as opened
    from bench.taste.run import compare_taste
    from graph.store import TasteGraph

    seen = []
    monkeypatch.setattr(
        "bench.taste.run.compare_taste", lambda options: seen.append(options) or {"out": "", "unchanged": True}
    )
    taste(
        world / "catalog",
        world / "graph",
        tmp_path / "a",
        vectors={"content": str(world / "vectors")},
        systems=["ease", "item-knn"],
    )
    options = seen[0]
    compare_taste(options)
    planted = [replace(s, test=tuple((i + 5) % 12 for i in s.test)) for s in opened.open_world(options).known]
    planted = [replace(s, test=(11 - s.items[0],)) for s in planted]
    monkeypatch.setattr(TasteGraph, "sequences", planted)
    compare_taste(replace(options, out=tmp_path / "b"))
    first, second = (
        TasteReport.model_validate_json((tmp_path / name / "report.json").read_text()) for name in ("a", "b")
    )
    assert first.split.queries != second.split.queries
    assert first.slices["all"] != second.slices["all"]
    for name, row in first.systems.items():
        assert row.tried == second.systems[name].tried and row.settings == second.systems[name].settings


def test_even_a_single_recipe_is_stopped_by_validation_and_never_by_the_test(world, tmp_path, monkeypatch):
    from bench.systems import sasrec_train
    from bench.taste import sequential

    stopped = []

    def train(saves, recipe, seed, stop, valid=None, device="cpu"):
        stopped.append(valid is not None)
        return sasrec_train.train_sasrec(saves, recipe, seed, replace(stop, epochs=min(stop.epochs, 2)), valid, device)

    monkeypatch.setattr(sequential, "train_sasrec", train)
    found = taste(
        world / "catalog",
        world / "graph",
        tmp_path / "out",
        systems=["sasrec"],
        sasrec_seeds=[0],
        grids=ONE,
        device="cpu",
    )
    assert stopped == [True, False] and found["settings"]["sasrec"]["sasrec"]["epochs"] in (1, 2)


@pytest.mark.parametrize("part", ["unseen-test", "unseen-valid"])
@pytest.mark.parametrize("show", [0, 2])
def test_unseen_boards_are_asked_by_title_or_by_some_items(world, tmp_path, part, show):
    found = taste(
        world / "catalog", world / "graph", tmp_path / "out", vectors={"content": str(world / "vectors")}, part=part,
        task="board-completion", show=show, systems=["popularity", "ease"], grids=replace(ONE, last=(0, 1)),
    )  # fmt: skip
    report = TasteReport.model_validate_json((tmp_path / "out" / "report.json").read_text())
    row = report.slices["all"]
    assert row.n == found["queries"] == row.clusters  # fewer than ten owners: boards are drawn
    assert any("over boards" in line for line in report.protocol)
    owners = [own.n for name, own in report.slices.items() if name.startswith("owner ")]
    assert owners and set(owners) == {2}
    assert report.systems["ease"].unanswered == (row.n if show == 0 else 0)
    assert row.systems["popularity"].figures["recall@50"].mean == 1  # twelve items


@pytest.mark.parametrize("show", [0, 2])
def test_new_arrivals_are_asked_among_new_arrivals(tmp_path, show):
    """Training knows items 0..5; one kind of unseen boards is made of them, the other of 6..11, which nobody saved."""
    from graph.commands import build_graph

    sets = list(combinations(range(6), 4))
    plan = [("keyword", "train", 0)] * 8 + [("keyword", "valid", 0)] * 2 + [("keyword", "test", 0)] * 3
    plan += [("late", "valid", 6)] * 2 + [("late", "test", 6)] * 3
    boards = [(f"b{n}", f"kind {n}", owner, part) for n, (owner, part, _) in enumerate(plan)]
    held = [(f"b{n}", f"i{first + i}", None) for n, (_, _, first) in enumerate(plan) for i in sets[n % 13]]
    taste_catalog(tmp_path / "catalog", [], boards, held)
    build_graph(tmp_path / "catalog", tmp_path / "graph", valid_fraction=1.0, walks=0, signals=False)
    scores = np.tile(-np.arange(12, dtype=np.float32), (6, 1))  # would show what everybody has
    np.save(tmp_path / "s.npy", scores)
    taste(
        tmp_path / "catalog", tmp_path / "graph", tmp_path / "out", systems=["popularity", "ease"], show=show, grids=ONE,
        scores={"theirs": str(tmp_path / "s.npy")}, part="unseen-test", task="board-completion",
    )  # fmt: skip
    report = TasteReport.model_validate_json((tmp_path / "out" / "report.json").read_text())
    assert {name: row.n for name, row in report.slices.items() if name != "cold"} == {
        "all": 6, "new": 3, "owner keyword": 3, "owner late": 3,
    }  # fmt: skip
    assert report.slices["new"].systems == report.slices["owner late"].systems
    assert any(line.startswith("Slice new, 3 of 6 queries") and "6 of 12 items" in line for line in report.protocol)
    late = [q for q in asked([], unseen_of(tmp_path), asks("unseen-test", show), "test")[0] if min(q.targets) > 5]
    lists = np.array([[i for i in range(6, 12) if i not in q.history] for q in late])
    wanted = measures(lists, [q.targets for q in late])["ndcg@10"].mean()
    for name in ("theirs", "popularity"):  # popularity: nobody saved them, so by number
        assert report.slices["new"].systems[name].figures["ndcg@10"].mean == pytest.approx(wanted)
    assert report.systems["ease"].unanswered == (6 if show == 0 else 0)


def unseen_of(home: Path) -> list[TasteSequence]:
    from graph.store import TasteGraph

    return TasteGraph.open(home / "graph", Catalog.open(home / "catalog"), purpose="bench").unseen


def test_an_encoder_lets_neighbours_start_from_titles(clip_project, tmp_path):
    from navigator.encode_commands import embed

    embed(clip_project / "catalog", tmp_path / "vectors", str(clip_project / "bert"), device="cpu")
    found = taste(
        clip_project / "catalog", clip_project / "graph", tmp_path / "out", vectors={"content": str(tmp_path / "vectors")},
        part="unseen-test", task="board-completion", show=0, systems=["ease"], encoder=str(clip_project / "bert"),
        grids=ONE,
    )  # fmt: skip
    report = TasteReport.model_validate_json((tmp_path / "out" / "report.json").read_text())
    assert report.systems["content"].unanswered == 0 and report.systems["ease"].unanswered == found["queries"]
    with pytest.raises(UserError, match="comes from encoder"):
        taste(
            clip_project / "catalog", clip_project / "graph", tmp_path / "out", vectors={"content": str(tmp_path / "vectors")},
            part="unseen-test", task="board-completion", show=0, encoder=str(clip_project / "native"), grids=ONE,
        )  # fmt: skip


def test_scores_of_another_system_take_part(world, tmp_path):
    scores = np.tile(np.arange(12, dtype=np.float32), (24, 1))
    np.save(tmp_path / "s.npy", scores)
    base = {"systems": ["popularity"], "scores": {"theirs@0": str(tmp_path / "s.npy")}}
    taste(world / "catalog", world / "graph", tmp_path / "out", **base)
    report = TasteReport.model_validate_json((tmp_path / "out" / "report.json").read_text())
    assert list(report.slices["all"].systems) == ["popularity", "theirs"]
    np.save(tmp_path / "s.npy", scores[1:])
    with pytest.raises(UserError, match=r"needed are real numbers of shape \(24, 12\)"):
        taste(world / "catalog", world / "graph", tmp_path / "out", **base)


def test_a_swapped_model_takes_part(project, tmp_path):
    model = f"{project / 'swapped'}:{project / 'vectors'}"
    taste(
        project / "catalog", project / "graph", tmp_path / "out", systems=["ease"], grids=replace(ONE, decay=(1.0,)),
        vectors={"content": str(project / "vectors")}, models={"ours@0": model, "ours@1": model}, device="cpu",
    )  # fmt: skip
    report = TasteReport.model_validate_json((tmp_path / "out" / "report.json").read_text())
    every = report.slices["all"].systems
    # Before training a model starts where the plain mean is: the same lists.
    assert every["ours"].figures == every["content"].figures and report.systems["ours"].runs == ["ours@0", "ours@1"]


@pytest.mark.parametrize(
    "words, part",
    [
        (["--systems", "nobody"], "unknown system 'nobody'"),
        (["--systems", "sasrec-vectors"], "--sasrec_vectors"),
        (["--rivals", "nobody"], "rival 'nobody'"),
        (["--systems", "[]"], "no system given"),
        (["--vectors", "ease=x"], "every name once"),
        (["--part", "unseen-test"], "unseen owners have boards"),
        (["--grids.ease_lambda", "[0]"], "ease_lambda"),
        (["--grids.shrinks", "[0]"], "shrink"),
        (["--show", "-1"], "show is -1"),
        (["--models", "m=folder"], "MODELFOLDER:VECTORSFOLDER"),
    ],
)
def test_bad_options_are_one_line(world, tmp_path, capsys, words, part):
    assert main(["taste", str(world / "catalog"), str(world / "graph"), str(tmp_path / "out"), *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and part in err and err.startswith("error: ") and err.count("\n") == 1


def test_a_graph_without_validation_says_how_to_build_one(world, tmp_path):
    from graph.commands import build_graph

    build_graph(world / "catalog", tmp_path / "graph", valid_fraction=0.0, walks=0, signals=False)
    with pytest.raises(UserError, match=r"--valid_fraction 1\.0"):
        taste(world / "catalog", tmp_path / "graph", tmp_path / "out", systems=["ease"])
    one = replace(ONE, last=(0,))
    assert taste(world / "catalog", tmp_path / "graph", tmp_path / "out", systems=["ease"], grids=one)["queries"] == 24
