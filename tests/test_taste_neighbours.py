"""Nearest neighbours, item-kNN and EASE with short histories, against plain loops."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bench.graph.baselines import ItemToItem, co_saves, shrunk_cosines
from bench.systems.base import incidence
from bench.systems.ease import Ease
from bench.systems.rows import CatalogVectors
from bench.taste.neighbours import neighbours
from bench.taste.options import Grids
from bench.taste.tune import answer
from navigator.contracts.signals import Query
from taste_worlds import ALL, fold, unit


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
