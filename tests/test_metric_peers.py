"""Recall, NDCG and hit rate against two other people's libraries, query by query, on rankings drawn at random.

Rankings come from scores with many ties (ordered by our tie rule), with several targets a query, lists that end early and
lists that are empty. Both peers read scores: they get the places of our order, so that nobody breaks a tie anew.

ranx compiles itself with numba for half a minute before its first answer. It runs in a process of its own, where numba is
told to leave Python as it is.
"""

import json
import os
import subprocess
import sys

import ir_measures
import numpy as np
import pytest

from navigator.metrics import per_query, ranking_metrics, top_k

QUERIES, ITEMS, DEPTH = 60, 90, 60
CUTS = (1, 5, 10, 50)
SEEDS = range(3)
HEADS = {"recall": "recall", "ndcg": "ndcg", "hit_rate": "hr"}  # as ranx calls them, as we do
World = tuple[np.ndarray, list[list[int]]]
RANX = """
import json, sys
import ranx
answers = []
for case in json.load(sys.stdin):
    run = ranx.Run(case["run"])
    ranx.evaluate(ranx.Qrels(case["qrels"]), run, case["metrics"], return_mean=False)
    answers.append(run.scores)
json.dump(answers, sys.stdout)
"""


def draw(seed: int) -> World:
    """(q, k) ranked items and their targets."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, (QUERIES, ITEMS)).astype(float)  # six values: ties everywhere
    scores[rng.random(scores.shape) < 0.2] = -np.inf
    for row in range(0, QUERIES, 7):
        scores[row, rng.integers(0, 12) :] = -np.inf  # few items left
    scores[::11] = -np.inf  # nothing left
    targets = [rng.choice(ITEMS, 1 + row % 14, replace=False).tolist() for row in range(QUERIES)]
    return top_k(scores, DEPTH)[0], targets


@pytest.fixture(scope="module", params=SEEDS)
def world(request: pytest.FixtureRequest) -> World:
    """The world of a seed."""
    return draw(request.param)


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


def test_ranx_says_the_same_of_every_query() -> None:
    names = {f"{theirs}@{k}": f"{ours}@{k}" for k in CUTS for theirs, ours in HEADS.items()}
    cases = []
    for ranked, targets in map(draw, SEEDS):
        run, qrels = as_run(ranked), as_qrels(targets)
        asked = [query for query in qrels if run[query]]  # it takes no empty list: those are ours to call 0
        cases.append({"run": {q: run[q] for q in asked}, "qrels": {q: qrels[q] for q in asked}, "metrics": list(names)})
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RANX],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    for (ranked, targets), answer in zip(map(draw, SEEDS), json.loads(done.stdout), strict=True):
        for peer, name in names.items():
            expected = [answer[peer].get(str(row), 0.0) for row in range(QUERIES)]
            ours = ranking_metrics(ranked, targets, int(name.partition("@")[2]))[name]
            np.testing.assert_allclose(ours, expected, atol=1e-12, err_msg=name)
        assert len(answer["recall@10"]) == (ranked[:, 0] >= 0).sum()


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
