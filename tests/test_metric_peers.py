"""Recall, NDCG and hit rate against two other people's libraries, query by query, on rankings drawn at random.

Rankings come from scores with many ties (ordered by our tie rule), with several targets a query, lists that end early and
lists that are empty. Both peers read scores: they get the places of our order, so that nobody breaks a tie anew.
"""

import ir_measures
import numpy as np
import pytest
import ranx

from navigator.metrics import per_query, ranking_metrics, top_k

QUERIES, ITEMS, DEPTH = 60, 90, 60
CUTS = (1, 5, 10, 50)
World = tuple[np.ndarray, list[list[int]]]


@pytest.fixture(scope="module", params=range(3))
def world(request: pytest.FixtureRequest) -> World:
    """(q, k) ranked items and their targets."""
    rng = np.random.default_rng(request.param)
    scores = rng.integers(0, 6, (QUERIES, ITEMS)).astype(float)  # six values: ties everywhere
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    for row in range(0, QUERIES, 7):
        scores[row, rng.integers(0, 12) :] = -np.inf  # few items left
    scores[::11] = -np.inf  # nothing left
    targets = [rng.choice(ITEMS, 1 + row % 14, replace=False).tolist() for row in range(QUERIES)]
    return top_k(scores, DEPTH)[0], targets


def as_run(ranked: np.ndarray) -> dict[str, dict[str, float]]:
    """Query -> item -> a score that falls with the place."""
    return {
        str(row): {str(item): float(len(items) - place) for place, item in enumerate(items) if item >= 0}
        for row, items in enumerate(ranked.tolist())
    }


def as_qrels(targets: list[list[int]]) -> dict[str, dict[str, int]]:
    return {str(row): {str(item): 1 for item in own} for row, own in enumerate(targets)}


def test_the_world_has_ties_empty_lists_and_short_ones(world: World) -> None:
    lengths = (world[0] >= 0).sum(1)
    assert (lengths == 0).sum() >= 6 and ((lengths > 0) & (lengths < 10)).any() and (lengths == DEPTH).any()


@pytest.mark.parametrize("k", CUTS)
def test_ir_measures_says_the_same_of_every_query(world: World, k: int) -> None:
    ranked, targets = world
    names = {ir_measures.R @ k: f"recall@{k}", ir_measures.nDCG @ k: f"ndcg@{k}", ir_measures.Success @ k: f"hr@{k}"}
    theirs = {name: np.zeros(QUERIES) for name in names.values()}
    for found in ir_measures.iter_calc(list(names), as_qrels(targets), as_run(ranked)):
        theirs[names[found.measure]][int(found.query_id)] = found.value
    ours = ranking_metrics(ranked, targets, k)
    for name in names.values():
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-12, err_msg=name)


@pytest.mark.parametrize("k", CUTS)
def test_ranx_says_the_same_of_every_query(world: World, k: int) -> None:
    ranked, targets = world
    names = {f"recall@{k}": f"recall@{k}", f"ndcg@{k}": f"ndcg@{k}", f"hit_rate@{k}": f"hr@{k}"}
    qrels, run = as_qrels(targets), as_run(ranked)
    asked = [query for query in qrels if run[query]]  # it takes no empty list: those must be ours to call 0
    given = ranx.Qrels({query: qrels[query] for query in asked}), ranx.Run({query: run[query] for query in asked})
    theirs = ranx.evaluate(*given, list(names), return_mean=False)
    ours = ranking_metrics(ranked, targets, k)
    rows = sorted(range(len(asked)), key=lambda row: asked[row])  # ranx answers in the order of sorted query ids
    for peer, name in names.items():
        expected = np.zeros(QUERIES)
        expected[[int(asked[row]) for row in rows]] = theirs[peer]
        np.testing.assert_allclose(ours[name], expected, atol=1e-12, err_msg=name)


def test_the_bench_report_figures_are_the_same_ones(world: World) -> None:
    ranked, targets = world
    found, at_10, at_50 = (
        per_query(ranked, targets),
        ranking_metrics(ranked, targets, 10),
        ranking_metrics(ranked, targets, 50),
    )
    for name, values in (("hr@10", at_10), ("ndcg@10", at_10), ("recall@50", at_50)):
        np.testing.assert_allclose(found[name], values[name], atol=1e-12, err_msg=name)


def test_a_repeated_target_counts_once() -> None:
    ours = ranking_metrics(np.array([[4, 2, 7]]), [[2, 2, 9]], 3)
    theirs = ir_measures.calc_aggregate(
        [ir_measures.R @ 3, ir_measures.nDCG @ 3], {"0": {"2": 1, "9": 1}}, as_run(np.array([[4, 2, 7]]))
    )
    assert [ours["recall@3"][0], ours["ndcg@3"][0]] == pytest.approx(
        [theirs[ir_measures.R @ 3], theirs[ir_measures.nDCG @ 3]]
    )
