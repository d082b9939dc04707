"""The speed measurement on a tiny graph: what its rows count, and that its walks are walks."""

import json

import numpy as np
import pytest

from bench.graph import sampler_speed as speed
from graph.walk import Walkable
from navigator.contracts import UserError


def tiny() -> Walkable:
    relations = speed.power_law(2_000, seed=1)
    return Walkable.of(relations, speed._sizes(relations))


def test_every_contender_has_a_row_for_one_and_two_threads_and_our_ratios_follow_from_them(tmp_path):
    out = tmp_path / "speed.json"
    result = speed.sampler_speed(out, edges=2_000, seconds=0.01, turns=1)
    assert json.loads(out.read_text()) == result
    mps = {(row["name"], row["threads"]): row["mps"] for row in result["rows"]}
    assert {name for name, _ in mps} >= {"walker counted", "walker steps", "numpy counted", "numpy steps"}
    assert all(value > 0 for value in mps.values()) and {threads for _, threads in mps} == {1, 2}
    for row in result["ratios"]:
        expected = mps[row["of"], row["threads"]] / mps[row["over"], row["threads"]]
        assert row["ratio"] == pytest.approx(expected)
    assert 1_500 < result["protocol"]["edges"] <= 2_002 and {"machine", "date", "seed"} <= result.keys()


def test_the_matrix_of_numpy_and_igraph_has_every_edge_both_ways():
    edges = tiny()
    indptr, indices = speed.symmetric(edges)
    assert len(indices) == 2 * sum(relation.n_edges for relation in edges.relations)
    pairs = set(zip(np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)).tolist(), indices.tolist(), strict=True))
    assert len(pairs) == len(indices) and pairs == {(b, a) for a, b in pairs}


def test_numpy_makes_as_many_steps_as_walks_make_on_average():
    edges = tiny()
    indptr, indices = speed.symmetric(edges)
    seeds = np.flatnonzero(np.diff(indptr) > 0)[:50]
    steps = speed.numpy_walk(indptr, indices, seeds, 0, counted=True)
    assert steps / (50 * speed.WALKS) == pytest.approx(speed.STEPS_A_WALK, rel=0.02)


@pytest.mark.parametrize("change", [{"edges": 0}, {"turns": 0}, {"seconds": 0.0}, {"graph": "somewhere"}])
def test_requests_that_make_no_sense_are_refused(tmp_path, change):
    with pytest.raises(UserError, match="allowed are"):
        speed.sampler_speed(tmp_path / "speed.json", **change)
